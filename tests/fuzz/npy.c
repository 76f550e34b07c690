// SPDX-License-Identifier: MIT
// tests/fuzz/npy.c: any bytes as an npy file; what is accepted must be readable to its last byte.
#include "tensor/tensor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sl_ctx *ctx;
    if (!ctx && sl_ctx_new(&(sl_ctx_options) { .threads = 1 }, &ctx) != SL_OK)
        abort();
    sl_tensor tensor;
    if (sl_npy_parse(ctx, data, size, "fuzz", &tensor) == SL_OK) {
        size_t elements;
        if (!sl_shape_elements(&tensor.shape, &elements) ||
            elements * sl_dtype_size(tensor.dtype) != tensor.bytes)
            abort();
        float *values = sl_alloc(ctx, elements, sizeof(*values));
        if (values)
            sl_tensor_to_f32(&tensor, values);
        free(values);
    } else if (!*sl_ctx_message(ctx)) {
        abort();
    }
    return 0;
}
