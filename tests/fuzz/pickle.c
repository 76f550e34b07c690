// SPDX-License-Identifier: MIT
// tests/fuzz/pickle.c: any bytes as the pickle of a checkpoint whose archive is sound, so that the
// archive's checksums do not keep the fuzzer from what lies behind them.
#include "../tensor/made_zip.h"
#include "tensor_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sl_ctx *ctx;
    static const uint8_t storage[432];
    if (!ctx && sl_ctx_new(&(sl_ctx_options) { .threads = 1 }, &ctx) != SL_OK)
        abort();
    // Sizes that the seeds refer to: 108 floats, 4 floats, 48 floats, none.
    const made_member members[] = {
        { .name = "a/data.pkl", .data = data, .size = size },
        { .name = "a/data/0", .data = storage, .size = 432 },
        { .name = "a/data/1", .data = storage, .size = 16 },
        { .name = "a/data/2", .data = storage, .size = 192 },
        { .name = "a/data/3", .data = storage, .size = 0 },
    };
    sl_blob file = made_zip(members, SL_ARRAY_LEN(members));
    sl_tensor_set *set = NULL;
    sl_status st = sl_pth_parse(ctx, file.data, file.size, "fuzz", &set);
    check_set(ctx, st, set);
    sl_blob_free(&file);
    return 0;
}
