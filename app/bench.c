// SPDX-License-Identifier: MIT
// app/bench.c: softlens bench: how fast a model is on this machine, and where the time goes.
#include "app.h"

static const app_option rows[] = {
    APP_SIZE_OPTION,
    { .name = "repeats",
      .kind = APP_INTEGER,
      .at = APP_AT(repeats),
      .value = "N",
      .min = 1,
      .max = 10000,
      .help = "Timed runs; the median is told (default: 5)" },
    { .name = "keep-share",
      .kind = APP_REAL,
      .at = APP_AT(keep_share),
      .value = "S",
      .min = 0,
      .max = 1,
      .closed = true,
      .help = "Compute this share of the windows, spread evenly, above 0 and at most 1 (default: "
              "as the model decides)" },
    APP_DENSE_OPTION,
    APP_DEVICE_OPTION,
    APP_PRECISION_OPTION,
    APP_PROFILE_OPTION,
    APP_THREADS_OPTION,
    { .name = "simd",
      .kind = APP_CHOICE,
      .at = APP_AT(simd),
      .value = "LEVEL",
      .choices = "portable|avx2|avx512",
      .help = "At most portable, avx2 or avx512 (default: the best there is)" },
    APP_OVERWRITE_OPTION,
    { .name = "json", .at = APP_AT(json), .help = "Print JSON" },
    APP_COMMON_OPTIONS,
};

static int bench(app_session *session, int count, char **operands)
{
    const app_values *values = &session->values;
    if (values->dense && values->keep_share > 0)
        return app_usage(session->command, "--dense and --keep-share contradict each other");
    sl_bench_options how = {
        .device = values->device,
        .precision = app_precision(session),
        .width = values->size[0],
        .height = values->size[1],
        .repeats = (unsigned)values->repeats,
        .keep_share = values->keep_share,
        .dense = values->dense,
    };
    sl_model *model = NULL;
    char *text = NULL;
    app_exit result = app_open_model(session, count ? operands[0] : NULL, &model);
    if (result == APP_DONE) {
        app_progress_begin(&session->progress, "bench");
        sl_status status = sl_model_bench(session->ctx, model, &how, &text);
        app_progress_end(&session->progress);
        result = status == SL_OK ? app_print_report(session, text) : app_fail(session, status);
    }
    sl_model_free(model);
    return result;
}

const app_command app_bench = {
    .name = "bench",
    .summary = "times a model on this machine, operation by operation",
    .operands = "[MODEL]",
    .operands_min = 0,
    .operands_max = 1,
    .about = "Runs a model on a picture of noise and prints the median time and, for each kind of "
             "operation, its time, its share, and how near it comes to what the device can do.",
    .examples = "softlens bench\n"
                "softlens bench model.safetensors --size 1024x1024 --keep-share 0.2 --json\n",
    .options = rows,
    .run = bench,
};
