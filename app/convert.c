// SPDX-License-Identifier: MIT
// app/convert.c: softlens convert: checkpoints become safetensors.
#include "app.h"

static const app_option rows[] = {
    { .name = "output",
      .letter = 'o',
      .kind = APP_FILE,
      .at = APP_AT(output),
      .value = "FILE",
      .help = "Write to FILE.safetensors; required" },
    { .name = "inverse",
      .kind = APP_CHOICE,
      .at = APP_AT(inverse),
      .value = "KIND",
      .choices = "soft|norm",
      .help = "What a SOFT computes, soft or norm (SOFT-Norm): needed where its file cannot say" },
    { .name = "labels",
      .kind = APP_FILE,
      .at = APP_AT(labels),
      .value = "FILE.txt",
      .help = "Name the classes as FILE does, a name a line (default: as MODEL does)" },
    { .name = "half", .at = APP_AT(half), .help = "Store matrices as 16-bit floats" },
    APP_OVERWRITE_OPTION,
    APP_COMMON_OPTIONS,
};

static int convert(app_session *session, int count, char **operands)
{
    (void)count; // the table says one
    const app_values *values = &session->values;
    if (!values->output)
        return app_usage(session->command, "convert needs --output FILE.safetensors");
    sl_convert_options how = { .half = values->half,
                               .overwrite = values->overwrite,
                               .inverse = values->inverse,
                               .labels = values->labels };
    sl_model *model = NULL;
    app_exit result = app_check_safetensors(session);
    if (result == APP_DONE)
        result = app_open_model(session, operands[0], &model);
    if (result == APP_DONE) {
        sl_status status = sl_model_convert(session->ctx, model, values->output, &how);
        if (status == SL_OK)
            app_say(session, "%s: written from %s", values->output, operands[0]);
        else
            result = app_fail(session, status);
    }
    sl_model_free(model);
    return result;
}

const app_command app_convert = {
    .name = "convert",
    .summary = "turns a PyTorch checkpoint into safetensors",
    .operands = "MODEL",
    .operands_min = 1,
    .operands_max = 1,
    .about = "Reads a .pth checkpoint, or a .safetensors model, of a known architecture (LMD-ViT, "
             "SOFT, RetinaNet on SOFT as mmdetection 2.x names it) and writes it as one "
             "safetensors file with its hyper-parameters. Nothing in a "
             "checkpoint is executed; the names of a detector's classes come along.\nThe official "
             "files of SOFT and SOFT-Norm are alike to the "
             "last name: --inverse says which one a checkpoint is.",
    .examples = "softlens convert checkpoint.pth -o model.safetensors\n"
                "softlens convert soft_norm_tiny.pth -o soft.safetensors --inverse norm\n"
                "softlens convert retinanet.pth -o detector.safetensors --inverse norm\n"
                "softlens convert model.safetensors -o small.safetensors --half\n",
    .options = rows,
    .run = convert,
};
