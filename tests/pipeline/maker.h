// SPDX-License-Identifier: MIT
// tests/pipeline/maker.h: tensors of seeded numbers, to be written as a model's file.
#ifndef TESTS_PIPELINE_MAKER_H
#define TESTS_PIPELINE_MAKER_H

#include "tensor/tensor.h"

#define TEST_MAKER_TENSORS 1024
#define DIM(...) ((const uint64_t[5]) { __VA_ARGS__ })

typedef struct test_maker {
    sl_ctx *ctx;
    sl_arena arena;
    sl_tensor tensors[TEST_MAKER_TENSORS];
    size_t count;
    uint32_t state;
} test_maker;

static inline float test_noise(test_maker *m) // -1..1
{
    m->state ^= m->state << 13;
    m->state ^= m->state >> 17;
    m->state ^= m->state << 5;
    return (float)(m->state >> 8) / 8388608.0f - 1.0f;
}

// A tensor filled with `centre` +- `spread`. Dimensions end at a 0.
static inline float *test_add(test_maker *m, const char *name, const uint64_t dim[5], float centre,
                              float spread)
{
    sl_tensor *t = &m->tensors[m->count++];
    size_t elements = 1;
    *t = (sl_tensor) { .name = sl_arena_strdup(m->ctx, &m->arena, name), .dtype = SL_F32 };
    for (; dim[t->shape.rank]; t->shape.rank++) {
        t->shape.dim[t->shape.rank] = dim[t->shape.rank];
        elements *= dim[t->shape.rank];
    }
    float *data = sl_arena_alloc(m->ctx, &m->arena, elements, sizeof(float));
    for (size_t i = 0; i < elements; i++)
        data[i] = centre + spread * test_noise(m);
    t->data = data;
    t->bytes = elements * sizeof(float);
    return data;
}

#endif
