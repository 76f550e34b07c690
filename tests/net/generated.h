// SPDX-License-Identifier: MIT
// tests/net/generated.h: what golden tensors are stored as, and weights that names and shapes give
// (tools/golden/generated.py).
#ifndef TESTS_NET_GENERATED_H
#define TESTS_NET_GENERATED_H

#include "net/net.h"

// The model that the answers NAME.SIZE are of, and *set, those: NAME is stored beside them, or,
// where they have no tensor "input", generated.
sl_model *test_golden_model(sl_ctx *ctx, const char *name, const char *architecture,
                            sl_tensor_set **set);
float *test_generated_picture(size_t height, size_t width); // [height, width, 3], malloc'ed

// The picture `input`, u8 [H,W,3], as the network sees it; malloc'ed.
float *test_stored_picture(const sl_tensor *input, const sl_soft_config *config);

float test_number_at(const sl_tensor *t, size_t i); // f32, maybe unaligned
// Element i of what is wanted: maps of small models are kept in 16 bits of their range.
double test_wanted_at(const sl_tensor_set *set, const sl_tensor *want, size_t i);

#endif
