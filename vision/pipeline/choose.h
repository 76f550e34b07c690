// SPDX-License-Identifier: MIT
// pipeline/choose.h: which Vulkan device computes where none is named exactly.
#ifndef SL_PIPELINE_CHOOSE_H
#define SL_PIPELINE_CHOOSE_H

#include "pipeline/selftest.h"

// Sees to it that the device has a verdict; one that failed gets a refusal, one that failed in f16
// alone loses that. False: it cannot be tested now, and has a refusal that says why.
bool sl_choose_judge(sl_ctx *ctx, sl_vk_info *info);
// Same, of a verdict that there is already. False: there is none.
bool sl_choose_recall(sl_ctx *ctx, sl_vk_info *info);

// Opens the best device that passed its self-test: among the real ones for "auto", where NULL and
// SL_OK mean the CPU, also where it cannot be opened or the search fails; else ("vulkan") among
// all. Warns about better devices that are passed over. SL_ERR_DEVICE: none can serve.
// SL_ERR_ARGUMENT: there is none.
sl_status sl_choose_open(sl_ctx *ctx, bool is_auto, sl_vk_device **out);

// SL_ERR_ARGUMENT, with a list of all devices: there is none of that name.
sl_status sl_choose_fail(sl_ctx *ctx, const char *name);

#endif
