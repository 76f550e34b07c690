// SPDX-License-Identifier: MIT
// tests/pipeline/model.h: small LMD-ViT models with seeded weights.
#ifndef TESTS_PIPELINE_MODEL_H
#define TESTS_PIPELINE_MODEL_H

#include "net/net.h"

// How the predictors of a test model decide.
typedef enum test_keeps {
    TEST_KEEPS_BRIGHT, // windows that are brighter than mid-grey on average
    TEST_KEEPS_RANDOM, // as random weights have it
} test_keeps;

typedef struct test_model {
    uint32_t scales, depth, unshuffle; // every layer has `depth` blocks
    test_keeps keeps;
    unsigned seed;
} test_model;

// Writes a model to `path` and opens it.
sl_status test_model_open(sl_ctx *ctx, const char *path, const test_model *spec, sl_model **out);

#endif
