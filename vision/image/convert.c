// SPDX-License-Identifier: MIT
// image/convert.c: any picture's row as 8-bit opaque samples, and alpha made straight.
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

static unsigned straight(unsigned sample, unsigned alpha, unsigned white)
{
    uint64_t v = alpha ? ((uint64_t)sample * white + alpha / 2) / alpha : 0;
    return v < white ? (unsigned)v : white;
}

void sl_image_row_straighten(sl_image *image, uint32_t y)
{
    const size_t channels = image->channels, samples = image->width * channels;
    uint8_t *bytes = sl_image_row(image, y);
    uint16_t *words = sl_image_row(image, y);
    for (size_t at = 0; at < samples; at += channels)
        for (size_t i = at, alpha = at + channels - 1; i < alpha; i++)
            if (image->depth == 16)
                words[i] = (uint16_t)straight(words[i], words[alpha], 65535);
            else
                bytes[i] = (uint8_t)straight(bytes[i], bytes[alpha], 255);
}
