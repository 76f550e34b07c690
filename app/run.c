// SPDX-License-Identifier: MIT
// app/run.c: softlens run: one tensor through a model, for comparison with other implementations.
#include "app.h"

static const app_option rows[] = {
    { .name = "input",
      .kind = APP_FILE,
      .at = APP_AT(input),
      .value = "FILE.npy",
      .help = "Picture as float32 [H,W,3], 0 to 1, for SOFT and detectors normalised; required" },
    { .name = "output-dir",
      .kind = APP_FILE,
      .at = APP_AT(output_dir),
      .value = "DIR",
      .help = "Write the .npy files there; made if missing; required" },
    APP_THRESHOLD_OPTION,
    APP_DENSE_OPTION,
    { .name = "composed",
      .at = APP_AT(composed),
      .help = "Compute windows operation by operation, the reference form" },
    APP_OVERWRITE_OPTION,
    APP_DEVICE_OPTION,
    APP_PRECISION_OPTION,
    APP_PROFILE_OPTION,
    APP_THREADS_OPTION,
    APP_COMMON_OPTIONS,
};

static int run(app_session *session, int count, char **operands)
{
    (void)count; // the table says one
    const app_values *values = &session->values;
    if (!values->input || !values->output_dir)
        return app_usage(session->command, "run needs --input FILE.npy and --output-dir DIR");
    if (values->dense && values->keep_threshold > 0)
        return app_usage(session->command, "--dense and --keep-threshold contradict each other");
    sl_run_options how = {
        .device = values->device,
        .precision = app_precision(session),
        .keep_threshold = values->keep_threshold,
        .dense = values->dense,
        .composed = values->composed,
        .overwrite = values->overwrite,
    };
    sl_model *model = NULL;
    app_exit result = app_open_model(session, operands[0], &model);
    if (result == APP_DONE) {
        app_progress_begin(&session->progress, values->input);
        sl_status status =
            sl_model_run(session->ctx, model, values->input, values->output_dir, &how);
        app_progress_end(&session->progress);
        if (status == SL_OK)
            app_say(session, "%s: written", values->output_dir);
        else
            result = app_fail(session, status);
    }
    sl_model_free(model);
    return result;
}

const app_command app_run = {
    .name = "run",
    .summary = "runs one raw tensor through a model, for researchers",
    .operands = "MODEL",
    .operands_min = 1,
    .operands_max = 1,
    .about = "Runs the network on a picture as it is, and writes .npy files. An LMD-ViT pads it as "
             "the official evaluation does and writes output and keep/LAYER.BLOCK. A SOFT writes "
             "stage1 to stage4, pool3, pool4, embedding and logits; a detector, which has zeros "
             "added to the right and below up to multiples of 32, cls_P3 to cls_P7 and reg_P3 to "
             "reg_P7.",
    .examples = "softlens run model.safetensors --input x.npy --output-dir out\n"
                "softlens run checkpoint.pth --input x.npy --output-dir out --composed\n",
    .options = rows,
    .run = run,
};
