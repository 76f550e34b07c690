// SPDX-License-Identifier: MIT
// image/draw.c: pictures about pictures: two side by side, and heat over one.
#include "image/codec.h"

#define MID_GREY 128

// A row as 8-bit RGB over mid-grey. rgb: [width, 3].
static void rgb_row(const sl_image *image, uint32_t y, uint8_t *rgb)
{
    sl_image_row_flat(image, y, MID_GREY, rgb);
    if (image->channels >= 3)
        return;
    for (size_t x = image->width; x-- > 0;) // from the end: grey and RGB share the buffer
        rgb[x * 3] = rgb[x * 3 + 1] = rgb[x * 3 + 2] = rgb[x];
}

static bool same_bytes(const sl_blob *a, const sl_blob *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

sl_status sl_image_compare(sl_ctx *ctx, const sl_image *before, const sl_image *after,
                           sl_image **out)
{
    *out = NULL;
    uint64_t sum = (uint64_t)before->width + after->width;
    uint32_t gap = (uint32_t)(sum / 300) + 2;
    if (sum + gap > UINT32_MAX)
        return sl_fail(ctx, SL_ERR_LIMIT, "the pictures are too wide to stand side by side");
    uint32_t height = before->height > after->height ? before->height : after->height;
    sl_image *image = NULL;
    sl_status st = sl_image_new(ctx, (uint32_t)sum + gap, height, 3, 8, &image);
    if (st != SL_OK)
        return st;
    // Two pictures in one colour space keep it; otherwise no profile is right for both.
    if (before->channels >= 3 && after->channels >= 3 && same_bytes(&before->icc, &after->icc))
        st = sl_blob_copy(ctx, before->icc.data, before->icc.size, &image->icc);
    if (st != SL_OK) {
        sl_image_free(image);
        return st;
    }
    for (uint32_t y = 0; y < height; y++) {
        uint8_t *row = sl_image_row(image, y);
        memset(row, 255, image->row_bytes);
        if (y < before->height)
            rgb_row(before, y, row);
        if (y < after->height)
            rgb_row(after, y, row + ((size_t)before->width + gap) * 3);
    }
    *out = image;
    return SL_OK;
}

// Lightness rises steadily along the map, and faster than the picture below fades: more heat is
// lighter over every picture, even when seen in grey.
static const uint8_t heat_colours[][3] = {
    { 0, 0, 0 }, { 70, 14, 112 }, { 182, 42, 88 }, { 243, 132, 34 }, { 252, 240, 112 },
};

static void heat_pixel(uint8_t *rgb, float value)
{
    const unsigned steps = SL_ARRAY_LEN(heat_colours) - 1;
    float v = value > 0 ? (value < 1 ? value : 1) : 0; // not a number counts as 0
    unsigned i = (unsigned)(v * (float)steps);
    if (i == steps)
        i--;
    float t = v * (float)steps - (float)i;
    // Luma of BT.601, dimmed: the sum below stays under 255.
    float grey = 0.5f * (0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2]);
    for (int c = 0; c < 3; c++) {
        float from = heat_colours[i][c], to = heat_colours[i + 1][c];
        rgb[c] = (uint8_t)((1 - 0.8f * v) * grey + 0.8f * (from + t * (to - from)) + 0.5f);
    }
}

sl_status sl_image_heat(sl_ctx *ctx, const sl_image *image, const float *heat, sl_image **out)
{
    sl_status st = sl_image_new(ctx, image->width, image->height, 3, 8, out);
    if (st != SL_OK)
        return st;
    for (uint32_t y = 0; y < image->height; y++) {
        uint8_t *row = sl_image_row(*out, y);
        rgb_row(image, y, row);
        for (size_t x = 0; x < image->width; x++)
            heat_pixel(row + x * 3, heat[(size_t)y * image->width + x]);
    }
    return SL_OK;
}
