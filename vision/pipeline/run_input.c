// SPDX-License-Identifier: MIT
// pipeline/run_input.c: the files of a raw run: the picture that goes in, what may not be in the
// way of what comes out.
#include "pipeline/network.h"

#include <math.h>

static sl_status check_finite(sl_ctx *ctx, const char *path, const sl_tensor *t)
{
    size_t width = (size_t)t->shape.dim[1], count = (size_t)t->shape.dim[0] * width * 3;
    const uint8_t *bytes = t->data;
    for (size_t i = 0; i < count; i++) {
        float value;
        memcpy(&value, bytes + i * sizeof(value), sizeof(value));
        if (!isfinite(value))
            return sl_fail(ctx, SL_ERR_FORMAT,
                           "%s: the value of row %zu, column %zu, channel %zu is not finite", path,
                           i / 3 / width, i / 3 % width, i % 3);
    }
    return SL_OK;
}

sl_status sl_input_read(sl_ctx *ctx, const char *path, sl_blob *storage, sl_tensor *out)
{
    sl_status st = sl_npy_read(ctx, path, storage, out);
    if (st != SL_OK)
        return st;
    char shape[128];
    sl_shape_text(&out->shape, shape, sizeof(shape));
    if (out->dtype != SL_F32 || out->shape.rank != 3 || out->shape.dim[2] != 3)
        return sl_fail(ctx, SL_ERR_FORMAT, "%s: %s %s; give float32 of shape [H, W, 3]", path,
                       sl_dtype_name(out->dtype), shape);
    uint64_t h = out->shape.dim[0], w = out->shape.dim[1];
    if (h == 0 || w == 0)
        return sl_fail(ctx, SL_ERR_FORMAT, "%s: %s has no pixels", path, shape);
    if (h > SL_DEFAULT_MAX_PIXELS || w > SL_DEFAULT_MAX_PIXELS / h)
        return sl_fail(ctx, SL_ERR_LIMIT, "%s: %s is more than %u pixels", path, shape,
                       SL_DEFAULT_MAX_PIXELS);
    return check_finite(ctx, path, out);
}

// Finds a file in the way before the time of a run is spent, and before any other is written.
sl_status sl_target_check(sl_ctx *ctx, char *path, bool overwrite)
{
    sl_status st = SL_OK;
    if (!path)
        return SL_ERR_NOMEM;
    if (!overwrite && sl_file_exists(path))
        st = sl_fail(ctx, SL_ERR_EXISTS,
                     "%s: already exists; name another directory or ask to overwrite", path);
    free(path);
    return st;
}
