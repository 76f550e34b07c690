// SPDX-License-Identifier: MIT
// tests/pipeline/soft_model.h: the smallest SOFT-Norm with every part, of seeded weights: pictures
// of 64 pixels, 32 channels throughout, one block a stage.
#ifndef TESTS_PIPELINE_SOFT_MODEL_H
#define TESTS_PIPELINE_SOFT_MODEL_H

#include "net/net.h"

#define TEST_SOFT_CHANNELS 32
#define TEST_SOFT_EMBEDDING 16 // of the heads with directions
#define TEST_SOFT_CROP 64
#define TEST_SOFT_RESIZE 72

typedef struct test_soft {
    sl_soft_head head;
    uint32_t classes; // "thing 0", "thing 1", ...
    bool has_reject;  // statistics by which every picture is unknown, or none
    bool all_unknown;
    bool mirror;  // it wants the mirror image, too
    bool is_soft; // it says that the same weights are a SOFT's
    unsigned seed;
} test_soft;

// Writes a model to `path` and opens it.
sl_status test_soft_open(sl_ctx *ctx, const char *path, const test_soft *spec, sl_model **out);

#endif
