// SPDX-License-Identifier: MIT
// tests/fuzz/tensor_set.h: what must hold of any set of tensors that a reader accepted.
#ifndef TESTS_FUZZ_TENSOR_SET_H
#define TESTS_FUZZ_TENSOR_SET_H

#include "tensor/tensor.h"

static inline void check_set(sl_ctx *ctx, sl_status status, sl_tensor_set *set)
{
    if ((status == SL_OK) != (set != NULL) || (status != SL_OK && !*sl_ctx_message(ctx)))
        abort();
    for (size_t i = 0; set && i < sl_tensor_set_count(set); i++) {
        const sl_tensor *tensor = sl_tensor_set_at(set, i);
        size_t elements;
        if (!tensor->data || !sl_shape_elements(&tensor->shape, &elements) ||
            elements * sl_dtype_size(tensor->dtype) != tensor->bytes ||
            sl_tensor_set_find(set, tensor->name) != tensor)
            abort();
        float *values = i < 64 ? sl_alloc(ctx, elements, sizeof(*values)) : NULL;
        if (values)
            sl_tensor_to_f32(tensor, values);
        free(values);
    }
    sl_tensor_set_free(set);
}

#endif
