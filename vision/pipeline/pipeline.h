// SPDX-License-Identifier: MIT
// pipeline/: what a user asks for: decode -> tile -> run -> stitch -> encode. May include every
// room.
#ifndef SL_PIPELINE_PIPELINE_H
#define SL_PIPELINE_PIPELINE_H

#include "cpu/cpu.h"
#include "image/image.h"
#include "net/net.h"

// A place to compute, opened once and shared by its plans, which it must outlive.
typedef struct sl_device sl_device;

// name: NULL, "auto", "cpu", or of a Vulkan device (vulkan/vulkan.h). "auto" and "vulkan" take the
// best that passed its self-test (selftest.h); a device that is named exactly is only warned about.
// SL_ERR_ARGUMENT: no such device; lists those there are. SL_ERR_DEVICE: none, or this one, can
// serve.
sl_status sl_device_open(sl_ctx *ctx, const char *name, sl_device **out);
void sl_device_close(sl_device *device);
bool sl_device_is_cpu(const sl_device *device);

// Whether the CPU may take over from a device whose compilation or run ended like that: it is full,
// it failed, or it was not asked for and cannot compute this.
bool sl_device_may_fall_back(const sl_device *device, sl_status failure);
// From here on the device is the CPU, and its plans tell so; warns, with the context's message. The
// plans there were must be freed before.
sl_status sl_device_fall_back(sl_device *device, sl_status failure);
bool sl_device_fell_back(const sl_device *device);

// Of the plans compiled from now on, f32 at first. SL_ERR_ARGUMENT: this device cannot, or no
// precision that we know.
sl_status sl_device_set_precision(sl_device *device, sl_precision precision);
sl_precision sl_device_precision(const sl_device *device);

// The bytes of activations and scratch that a graph takes on a device, without allocating them.
sl_status sl_device_memory(const sl_device *device, const sl_graph *graph, size_t *out);

// What the device can do at most, measured now: about 0.1 s (cpu/cpu.h, vulkan/vulkan.h).
sl_status sl_device_peak(sl_device *device, double *gflops, double *gbytes);

// SL_ERR_UNSUPPORTED: an op that this device cannot compute. SL_ERR_NOMEM: not enough memory, here
// or on the device.
sl_status sl_device_compile(sl_device *device, const sl_graph *graph, sl_plan **out);

// The context that a classifier was made with.
sl_ctx *sl_classify_ctx(const sl_classify *classify);

#endif
