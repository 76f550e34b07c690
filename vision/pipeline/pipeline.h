// SPDX-License-Identifier: MIT
// pipeline/: what a user asks for: decode -> tile -> run -> stitch -> encode. May include every
// room.
#ifndef SL_PIPELINE_PIPELINE_H
#define SL_PIPELINE_PIPELINE_H

#include "cpu/cpu.h"
#include "image/image.h"
#include "net/net.h"

// Checks a device name ("auto", "cpu", NULL). SL_ERR_DEVICE lists the devices there are.
sl_status sl_device_check(sl_ctx *ctx, const char *name);

// The bytes of activations and scratch that a graph takes on a device, without allocating them.
sl_status sl_device_memory(sl_ctx *ctx, const char *name, const sl_graph *graph, size_t *out);

// Compiles a graph for a device.
sl_status sl_device_compile(sl_ctx *ctx, const char *name, const sl_graph *graph,
                            sl_cpu_weights *weights, sl_plan **out);

#endif
