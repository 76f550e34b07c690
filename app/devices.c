// SPDX-License-Identifier: MIT
// app/devices.c: softlens devices: what could compute on this machine.
#include "app.h"

static const app_option rows[] = {
    { .name = "json", .at = APP_AT(json), .help = "Print JSON" },
    APP_COMMON_OPTIONS,
};

static int devices(app_session *session, int count, char **operands)
{
    char *text = NULL;
    (void)count; // the table says none
    (void)operands;
    sl_status status = sl_devices_describe(session->ctx, &text);
    return status == SL_OK ? app_print_report(session, text) : app_fail(session, status);
}

const app_command app_devices = {
    .name = "devices",
    .summary = "lists what can compute: the processor and Vulkan devices",
    .operands = "",
    .operands_min = 0,
    .operands_max = 0,
    .about = "Prints every device under the name that --device takes, with its driver, memory and "
             "limits, what its self-test found, and why it is not used unless it is named. "
             "Graphics cards that were not tested yet are tested.",
    .examples = "softlens devices\n"
                "softlens devices --json\n",
    .options = rows,
    .run = devices,
};
