// SPDX-License-Identifier: MIT
// app/info.c: softlens info: what a model is and what it costs.
#include "app.h"

static const app_option rows[] = {
    APP_SIZE_OPTION,
    { .name = "graph", .at = APP_AT(graph), .help = "Also print the network, an operation a line" },
    { .name = "json", .at = APP_AT(json), .help = "Print JSON" },
    APP_COMMON_OPTIONS,
};

static int info(app_session *session, int count, char **operands)
{
    (void)count; // the table says one
    const app_values *values = &session->values;
    sl_model *model = NULL;
    char *text = NULL;
    app_exit result = app_open_model(session, operands[0], &model);
    if (result == APP_DONE) {
        sl_status status = sl_model_describe(session->ctx, model, values->size[0], values->size[1],
                                             values->graph, &text);
        result = status == SL_OK ? app_print_report(session, text) : app_fail(session, status);
    }
    sl_model_free(model);
    return result;
}

const app_command app_info = {
    .name = "info",
    .summary = "describes a model: architecture, parameters, work per picture",
    .operands = "MODEL",
    .operands_min = 1,
    .operands_max = 1,
    .about = "Opens a .safetensors model or a .pth checkpoint, checks every tensor, and prints "
             "what it holds and how much work a picture of the given size takes.",
    .examples = "softlens info model.safetensors\n"
                "softlens info checkpoint.pth --size 1920x1080 --json\n",
    .options = rows,
    .run = info,
};
