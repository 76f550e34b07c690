// SPDX-License-Identifier: MIT
// app/eval.c: softlens eval: how good a model is, by annotations.
#include "detect.h"

#include <stdlib.h>
#include <string.h>

static const app_option rows[] = {
    { .name = "annotations",
      .kind = APP_FILE,
      .at = APP_AT(annotations),
      .value = "FILE.json",
      .help = "What is in the pictures, as COCO has it" },
    { .name = "images",
      .kind = APP_FILE,
      .at = APP_AT(images),
      .value = "DIR",
      .help = "The folder of the pictures (default: that of the annotations)" },
    { .name = "results",
      .kind = APP_FILE,
      .at = APP_AT(results),
      .value = "FILE.json",
      .help = "Measure what this file says was found, COCO's results of any program, in place of "
              "a model" },
    APP_NMS_OPTIONS,
    APP_MODEL_OPTION,
    APP_DEVICE_OPTION,
    APP_PRECISION_OPTION,
    APP_PROFILE_OPTION,
    APP_THREADS_OPTION,
    APP_OVERWRITE_OPTION,
    { .name = "json", .at = APP_AT(json), .help = "Print JSON" },
    APP_COMMON_OPTIONS,
};

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
}

static app_exit eval_results(app_session *session)
{
    const app_values *values = &session->values;
    // No network runs, so nothing can be said to it.
    const struct {
        const char *option;
        bool is_given;
    } unused[] = {
        { "--model", values->model },
        { "--images", values->images },
        { "--nms", values->nms },
        { "--iou", values->iou > 0 },
        { "--sigma", values->sigma > 0 },
        { "--max", values->most },
        { "--tta", values->tta },
        { "--tile", values->tile },
        { "--size", values->size[0] },
        { "--device", values->device },
        { "--precision", values->precision },
    };
    char *text = NULL;
    for (size_t i = 0; i < APP_LEN(unused); i++)
        if (unused[i].is_given)
            return app_usage(session->command,
                             "--results are there already: no %s is asked for them",
                             unused[i].option);
    sl_status status =
        sl_detections_evaluate(session->ctx, values->annotations, values->results, &text);
    return status == SL_OK ? app_print_report(session, text) : app_fail(session, status);
}

static app_exit eval_model(app_session *session)
{
    const app_values *values = &session->values;
    sl_model *model = NULL;
    sl_detect *detect = NULL;
    char *text = NULL;
    char *folder = values->images ? strdup(values->images) : folder_of(values->annotations);
    if (!folder) {
        app_error("out of memory");
        return APP_FAILED;
    }
    app_exit result = app_open_model_for(session, values->model, "soft-retinanet", &model);
    if (result == APP_DONE) {
        const sl_detect_options options = app_detect_options(session);
        app_progress_begin(&session->progress, "pictures");
        sl_status status = sl_detect_new(session->ctx, model, &options, &detect);
        if (status == SL_OK)
            status = sl_detect_evaluate(detect, values->annotations, folder, &text);
        app_progress_end(&session->progress);
        result = status == SL_OK ? app_print_report(session, text) : app_fail(session, status);
    }
    free(folder);
    sl_detect_free(detect);
    sl_model_free(model);
    return result;
}

static int eval(app_session *session, int count, char **operands)
{
    (void)count;
    if (strcmp(operands[0], "detect") != 0)
        return app_usage(session->command, "cannot measure \"%s\"; detect is what it can",
                         operands[0]);
    if (!session->values.annotations)
        return app_usage(session->command, "name the --annotations");
    if (session->values.results)
        return eval_results(session);
    app_exit result = app_detect_check(session);
    return result == APP_DONE ? eval_model(session) : result;
}

const app_command app_eval = {
    .name = "eval",
    .summary = "measures a detector on annotated pictures",
    .operands = "detect",
    .operands_min = 1,
    .operands_max = 1,
    .about =
        "Runs the detector over the pictures of a COCO file and prints COCO's average "
        "precision: AP over overlaps from 0.5 to 0.95, AP50, AP75, by size and by class, and "
        "the same with hard NMS beside it. With --results no network runs: what another program "
        "found is measured alike.",
    .examples = "softlens eval detect --annotations val.json --images val/\n"
                "softlens eval detect --model cells.safetensors --annotations cells.json --json\n"
                "softlens eval detect --annotations val.json --results other-program.json\n",
    .options = rows,
    .run = eval,
};
