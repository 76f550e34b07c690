// SPDX-License-Identifier: MIT
// image/: pixels in and out of files, their metadata, and drawing on them. May include base/ only.
#ifndef SL_IMAGE_IMAGE_H
#define SL_IMAGE_IMAGE_H

#include "base/base.h"

#define SL_DEFAULT_MAX_PIXELS 200000000u
#define SL_DEFAULT_QUALITY 92

typedef enum sl_density_unit {
    SL_DENSITY_NONE,   // not stated
    SL_DENSITY_ASPECT, // a ratio of pixel sides only
    SL_DENSITY_PER_INCH,
    SL_DENSITY_PER_METRE,
    SL_DENSITY_PER_CM,
} sl_density_unit;

// What a PNG without an ICC profile says about its colours.
typedef struct sl_png_colour {
    bool has_srgb, has_gamma, has_chroma;
    int srgb_intent;
    int32_t gamma;     // times 100000, as in the file
    int32_t chroma[8]; // white, red, green, blue: x and y, times 100000
} sl_png_colour;

struct sl_image {
    uint32_t width, height; // both at least 1
    uint8_t channels;       // 1 grey, 2 grey+alpha, 3 RGB, 4 RGBA; straight alpha
    uint8_t depth;          // 8 or 16
    sl_image_format format; // what it was read from, or what it is written as by itself:
    bool is_foreign;        // it was read from what is read alone
    size_t row_bytes;       // width * channels * depth / 8: rows are packed
    uint8_t *pixels;        // native uint16_t at depth 16
    sl_blob icc;
    sl_png_colour png_colour;
    sl_blob exif;    // the TIFF structure, without "Exif\0\0"; orientation reset to 1
    sl_blob remarks; // XMP, IPTC and comments, as segments of a JPEG (remarks.c)
    bool had_more;   // pictures behind it in the file (a film, a gain map), which are not kept
    uint32_t density_x, density_y;
    sl_density_unit density_unit;
    int chroma_h, chroma_v; // JPEG luma sampling factors as read (2,2: 4:2:0); 0 when unknown
    // The file it was read from, where saving can keep what does not change: a JPEG, whole, not of
    // inks. `turned`: the EXIF orientation that was applied, 1 to 8; 0: the file has none.
    sl_blob coded;
    unsigned turned;
};

// As sl_image_load / sl_image_save, from and to memory; `name` stands in messages.
sl_status sl_image_decode(sl_ctx *ctx, const void *data, size_t size, const char *name,
                          const sl_load_options *options, sl_image **out);
sl_status sl_image_encode(sl_ctx *ctx, const sl_image *image, const char *name,
                          const sl_save_options *options, sl_blob *out); // format: not SAME

// A picture of the same size, channels, depth and metadata, pixels black.
sl_status sl_image_new_like(sl_ctx *ctx, const sl_image *image, sl_image **out);
sl_status sl_image_clone(sl_ctx *ctx, const sl_image *image, sl_image **out);
// Format, PNG's colours, density and chroma, but neither ICC nor EXIF.
void sl_image_copy_notes(const sl_image *from, sl_image *to);

// Moves sample `at` of a row of 8 or 16 bits by a share of white; clamped and rounded.
static inline void sl_sample_move(void *row, unsigned depth, size_t at, float by)
{
    uint8_t *bytes = row;
    uint16_t *words = row;
    float top = depth == 16 ? 65535.0f : 255.0f;
    float x = (depth == 16 ? (float)words[at] : (float)bytes[at]) / top + by;
    x = (x > 1.0f ? 1.0f : x > 0.0f ? x : 0.0f) * top + 0.5f; // a NaN becomes 0
    if (depth == 16)
        words[at] = (uint16_t)x;
    else
        bytes[at] = (uint8_t)x;
}

// 8-bit RGB: the picture in grey under a heat colour by value. heat: [height, width], 0..1.
sl_status sl_image_heat(sl_ctx *ctx, const sl_image *image, const float *heat, sl_image **out);

// What classifiers see (resize.c): the picture resized so that its short side is `short_side`, the
// long one int(short_side * long / short); of that the central crop x crop pixels, which begin at
// round((side - crop) / 2), halves to even. Bicubic (a = -0.5) with antialias, bit for bit as
// Pillow resizes 8-bit pictures. 16 bits are rounded to 8 before; alpha is laid over mid-grey; grey
// becomes three equal channels. rgb: [crop, crop, 3]. Only what the crop needs is computed.
// SL_ERR_ARGUMENT unless 1 <= crop <= short_side <= 65535. SL_ERR_NOMEM.
sl_status sl_image_centre(sl_ctx *ctx, const sl_image *image, uint32_t short_side, uint32_t crop,
                          uint8_t *rgb);

typedef struct sl_rectangle {
    uint32_t x, y, width, height; // in pixels
} sl_rectangle;

// What detectors see (fit.c): a rectangle of the picture resized to width x height, bilinear, bit
// for bit as OpenCV's INTER_LINEAR does it with 8-bit pictures: of a picture that shrinks much most
// pixels are skipped. is_averaged: means over areas where it shrinks to less than half, by which
// all are seen. 16 bits, alpha and grey as of sl_image_centre. rgb: [height, width, 3].
// SL_ERR_ARGUMENT: a rectangle that is empty or not inside, or sides not in 1..SL_FIT_LARGEST.
// SL_ERR_NOMEM.
#define SL_FIT_LARGEST 16384u
sl_status sl_image_fit(sl_ctx *ctx, const sl_image *image, const sl_rectangle *from, uint32_t width,
                       uint32_t height, bool is_averaged, uint8_t *rgb);

// EXIF (exif.c): the orientation (1..8; 1 when absent or malformed), and its change in place.
unsigned sl_exif_orientation(const uint8_t *tiff, size_t size);
void sl_exif_set_orientation(uint8_t *tiff, size_t size, unsigned orientation);
// What must change with pixels that were turned upright: the thumbnail, which was not, goes;
// is_transposed: width and height change places. In place.
void sl_exif_turn(uint8_t *tiff, size_t size, bool is_transposed);
// EXIF without what could hold a picture (exif_strip.c): thumbnails, XMP, maker's notes and the
// like; is_resized: nor what measures the whole picture. *out: empty where `exif` is malformed.
sl_status sl_exif_strip(sl_ctx *ctx, const sl_blob *exif, bool is_resized, sl_blob *out);
// That, done to a picture's own.
sl_status sl_image_forget_pictures(sl_ctx *ctx, sl_image *image, bool is_resized);

// A part of a picture, with all that goes along with it. SL_ERR_ARGUMENT: reaches beyond it.
sl_status sl_image_cut(sl_ctx *ctx, const sl_image *image, uint32_t left, uint32_t top,
                       uint32_t width, uint32_t height, sl_image **out);

#endif
