// SPDX-License-Identifier: MIT
// pipeline/selftest.h: whether a Vulkan device computes what the processor computes. A device is
// trusted only after that.
#ifndef SL_PIPELINE_SELFTEST_H
#define SL_PIPELINE_SELFTEST_H

#include "pipeline/pipeline.h"
#include "vulkan/vulkan.h"

// How far from the processor's an output may lie, as shares of its range.
#define SL_SELFTEST_TOLERANCE 1e-4f
#define SL_SELFTEST_TOLERANCE_F16 5e-3f

// Computes small networks (specimen.h: all ops that one uses) on both. *was_lost: the device was,
// in f16, which says nothing about the next time. Anything but SL_OK: no verdict, as the device
// does not open, is lost, or memory is exhausted.
sl_status sl_selftest_run(sl_ctx *ctx, const sl_vk_info *info, sl_vk_verdict *out, bool *was_lost);

// The verdict that was kept (sl_vk_verdict_load), else that of a test now, which is then kept, but
// for that of a lost device.
sl_status sl_selftest_verdict(sl_ctx *ctx, const sl_vk_info *info, sl_vk_verdict *out);

#endif
