// SPDX-License-Identifier: MIT
// pipeline/choose.h: which Vulkan device computes where none is named exactly.
#ifndef SL_PIPELINE_CHOOSE_H
#define SL_PIPELINE_CHOOSE_H

#include "pipeline/selftest.h"

#define SL_CHOICE_BYTES 32

// Sees to it that the device has a verdict; one that failed gets a refusal. False: it cannot be
// tested now, and has a refusal that says why.
bool sl_choose_judge(sl_ctx *ctx, sl_vk_info *info);
// Same, of a verdict that there is already. False: there is none.
bool sl_choose_recall(sl_ctx *ctx, sl_vk_info *info);

// out: "vulkan:N" for the device that "auto" (or NULL) or "vulkan" means; "" for the CPU, which
// only the former can mean. Warns about better devices that are passed over. SL_ERR_DEVICE: none
// can serve. SL_ERR_ARGUMENT: there is none.
sl_status sl_choose_name(sl_ctx *ctx, const char *name, char out[SL_CHOICE_BYTES]);

// SL_ERR_ARGUMENT, with a list of all devices: there is none of that name.
sl_status sl_choose_fail(sl_ctx *ctx, const char *name);

#endif
