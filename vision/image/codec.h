// SPDX-License-Identifier: MIT
// image/codec.h: what the files of image/ share among themselves.
#ifndef SL_IMAGE_CODEC_H
#define SL_IMAGE_CODEC_H

#include "image/image.h"

// One coded picture in memory. `name` stands in messages.
typedef struct sl_coded {
    const uint8_t *data;
    size_t size;
    const char *name;
    uint64_t max_pixels; // at least 1
    bool allow_truncated;
} sl_coded;

// Pixels and metadata as stored: the orientation is still to be applied.
sl_status sl_png_decode(sl_ctx *ctx, const sl_coded *coded, sl_image **out);
// can_keep: whether saving the picture may keep what the file holds; false of damage and of inks.
sl_status sl_jpeg_decode(sl_ctx *ctx, const sl_coded *coded, sl_image **out, bool *can_keep);

// options: not NULL, quality 0..100.
sl_status sl_png_encode(sl_ctx *ctx, const sl_image *image, const char *name,
                        const sl_save_options *options, sl_blob *out);
sl_status sl_jpeg_encode(sl_ctx *ctx, const sl_image *image, const char *name,
                         const sl_save_options *options, sl_blob *out);

// SL_ERR_LIMIT when the picture has more pixels than `coded` allows. To be called before anything
// of the picture's size is allocated.
sl_status sl_coded_check_size(sl_ctx *ctx, const sl_coded *coded, uint64_t width, uint64_t height);

// Turns the picture upright: `orientation` is that of EXIF, 1 to 8. Density and chroma turn along.
sl_status sl_image_orient(sl_ctx *ctx, sl_image *image, unsigned orientation);

// A row in 8 bits without alpha: grey (channels 1, 2) or RGB (3, 4), laid over `background`.
// True when any pixel was not opaque. out: [width] or [width, 3].
bool sl_image_row_flat(const sl_image *image, uint32_t y, uint8_t background, uint8_t *out);
// Same, of `count` pixels from column `first` on.
bool sl_image_span_flat(const sl_image *image, uint32_t y, uint32_t first, uint32_t count,
                        uint8_t background, uint8_t *out);

// CMYK to sRGB by the picture's own ICC profile, or plainly where there is none that fits.
typedef struct sl_cmyk sl_cmyk;

sl_status sl_cmyk_new(sl_ctx *ctx, const sl_blob *icc, sl_cmyk **out);
// cmyk: 0 is no ink, 255 full ink. rgb may not overlap it.
void sl_cmyk_convert(const sl_cmyk *cmyk, const uint8_t *from, uint8_t *rgb, uint32_t pixels);
void sl_cmyk_free(sl_cmyk *cmyk);

#endif
