// SPDX-License-Identifier: MIT
// tests/fuzz/safetensors.c: any bytes as a safetensors file.
#include "tensor_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sl_ctx *ctx;
    if (!ctx && sl_ctx_new(&(sl_ctx_options) { .threads = 1 }, &ctx) != SL_OK)
        abort();
    sl_tensor_set *set = NULL;
    sl_status st = sl_safetensors_parse(ctx, data, size, "fuzz", &set);
    check_set(ctx, st, set);
    return 0;
}
