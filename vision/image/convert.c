// SPDX-License-Identifier: MIT
// image/convert.c: any picture's row as 8-bit opaque samples.
#include "image/codec.h"

static inline unsigned sample_8(const uint8_t *row, size_t i, bool deep)
{
    if (!deep)
        return row[i];
    // Rounded, not cut off: 65535 and its nearest neighbours become 255, 128 * 257 becomes 128.
    return (((const uint16_t *)(const void *)row)[i] * 255u + 32767u) / 65535u;
}

// One sample laid over the background, computed in the row's own depth and rounded once.
static inline uint8_t blend(const uint8_t *row, size_t i, size_t alpha_at, bool deep,
                            unsigned background)
{
    if (!deep)
        return (uint8_t)((row[i] * row[alpha_at] + background * (255u - row[alpha_at]) + 127u) /
                         255u);
    const uint16_t *wide = (const uint16_t *)(const void *)row;
    const uint64_t full = 65535;
    uint64_t sum =
        (uint64_t)wide[i] * wide[alpha_at] + (uint64_t)background * 257 * (full - wide[alpha_at]);
    return (uint8_t)((sum * 255 + full * full / 2) / (full * full));
}

bool sl_image_row_flat(const sl_image *image, uint32_t y, uint8_t background, uint8_t *out)
{
    return sl_image_span_flat(image, y, 0, image->width, background, out);
}

bool sl_image_span_flat(const sl_image *image, uint32_t y, uint32_t first, uint32_t count,
                        uint8_t background, uint8_t *out)
{
    bool deep = image->depth == 16;
    unsigned channels = image->channels, colours = channels >= 3 ? 3 : 1;
    const uint8_t *row =
        (const uint8_t *)sl_image_row_const(image, y) + (size_t)first * channels * (deep ? 2 : 1);
    size_t samples = (size_t)count * channels;
    if (channels == colours) { // no alpha
        if (!deep)
            memcpy(out, row, samples);
        else
            for (size_t i = 0; i < samples; i++)
                out[i] = (uint8_t)sample_8(row, i, true);
        return false;
    }
    bool transparent = false;
    for (size_t at = 0; at < samples; at += channels) {
        size_t alpha_at = at + colours;
        transparent |= sample_8(row, alpha_at, deep) != 255;
        for (unsigned c = 0; c < colours; c++)
            *out++ = blend(row, at + c, alpha_at, deep, background);
    }
    return transparent;
}
