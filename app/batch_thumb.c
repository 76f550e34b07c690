// SPDX-License-Identifier: MIT
// app/batch_thumb.c: pictures small enough for a report that holds them itself.
#include "batch.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/base64.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIDE 320u
#define MAX_BYTES ((off_t)1 << 20)

static unsigned sample(const sl_image *image, const void *row, size_t at)
{
    return sl_image_depth(image) == 16 ? ((const uint16_t *)row)[at] >> 8
                                       : ((const uint8_t *)row)[at];
}

// The mean of the pixels under [x, x_end) x [y, y_end); alpha is left out.
static void mean(const sl_image *image, const uint32_t area[4], uint8_t out[3])
{
    unsigned channels = sl_image_channels(image), colours = channels < 3 ? 1 : 3;
    uint64_t sum[3] = { 0 }, count = (uint64_t)(area[2] - area[0]) * (area[3] - area[1]);
    for (uint32_t y = area[1]; y < area[3]; y++) {
        const void *row = sl_image_row_const(image, y);
        for (uint32_t x = area[0]; x < area[2]; x++)
            for (unsigned c = 0; c < colours; c++)
                sum[c] += sample(image, row, (size_t)x * channels + c);
    }
    for (unsigned c = 0; c < 3; c++)
        out[c] = (uint8_t)((sum[c % colours] + count / 2) / count);
}

static sl_status shrink(sl_ctx *ctx, const sl_image *image, sl_image **out)
{
    uint32_t width = sl_image_width(image), height = sl_image_height(image);
    uint32_t longest = width > height ? width : height;
    uint32_t w = longest > SIDE ? (uint32_t)((uint64_t)width * SIDE / longest) : width;
    uint32_t h = longest > SIDE ? (uint32_t)((uint64_t)height * SIDE / longest) : height;
    w = w ? w : 1;
    h = h ? h : 1;
    sl_status status = sl_image_new(ctx, w, h, 3, 8, out);
    for (uint32_t y = 0; status == SL_OK && y < h; y++) {
        uint8_t *row = sl_image_row(*out, y);
        for (uint32_t x = 0; x < w; x++) {
            uint32_t area[4] = { (uint32_t)((uint64_t)x * width / w),
                                 (uint32_t)((uint64_t)y * height / h),
                                 (uint32_t)(((uint64_t)x + 1) * width / w),
                                 (uint32_t)(((uint64_t)y + 1) * height / h) };
            mean(image, area, row + 3 * (size_t)x);
        }
    }
    return status;
}

static char *encode_file(const char *path)
{
    struct stat st;
    char *out = NULL;
    uint8_t *bytes = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size < MAX_BYTES)
        bytes = malloc((size_t)st.st_size);
    if (bytes && read(fd, bytes, (size_t)st.st_size) == st.st_size)
        out = malloc(BASE64_ENCODE_RAW_LENGTH((size_t)st.st_size) + 1);
    if (out) {
        base64_encode_raw(out, (size_t)st.st_size, bytes);
        out[BASE64_ENCODE_RAW_LENGTH((size_t)st.st_size)] = '\0';
    }
    free(bytes);
    if (fd >= 0)
        close(fd);
    return out;
}

char *batch_thumbnail(sl_ctx *ctx, const char *path, const char *scratch)
{
    sl_image *image = NULL, *small = NULL;
    sl_save_options options = { .format = SL_IMAGE_JPEG, .quality = 80, .overwrite = true };
    char *out = NULL;
    sl_status status = sl_image_load(ctx, path, NULL, &image);
    if (status == SL_OK)
        status = shrink(ctx, image, &small);
    if (status == SL_OK)
        status = sl_image_save(ctx, small, scratch, &options);
    if (status == SL_OK)
        out = encode_file(scratch);
    unlink(scratch);
    sl_image_free(image);
    sl_image_free(small);
    return out;
}
