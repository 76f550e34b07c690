// SPDX-License-Identifier: MIT
// tests/image/made.h: coded pictures, made by libpng and libjpeg directly, for the readers to read.
#ifndef TESTS_IMAGE_MADE_H
#define TESTS_IMAGE_MADE_H

#include "../base/run.h"
#include "image/image.h"

#include <png.h>

#include <jpeglib.h>

// A small fixed generator: the same pictures everywhere.
uint32_t made_random(uint32_t *state);

typedef struct made_segment {
    unsigned marker;
    const void *data;
    size_t size;
} made_segment;

typedef struct made_png_spec {
    uint32_t width, height;
    int type, depth, interlace; // libpng's names
    const uint8_t *rows;        // packed as in the file, big-endian at 16
    bool transparent;           // with tRNS: entry i of a palette has alpha made_alpha(i); grey and
                                // RGB: the colour whose samples are all 1
    const uint8_t *exif;
    uint32_t exif_size;
    bool exif_late; // after the pixels
    const uint8_t *icc;
    uint32_t icc_size;
    bool gamma; // gAMA 1/1.8 and a cHRM
    bool srgb;
    uint32_t density[2];      // per metre; 0: none
    const made_segment *text; // of an iTXt chunk, as it stands there
    const uint8_t *numbers;   // the four of a cICP chunk
    uint8_t frames;           // of an acTL chunk; 0: none
} made_png_spec;

sl_blob made_png(const made_png_spec *spec);
png_color made_palette(unsigned i);
uint8_t made_alpha(unsigned i);
size_t made_png_row_bytes(const made_png_spec *spec);

typedef struct made_jpeg_spec {
    uint32_t width, height;
    J_COLOR_SPACE in,
        file; // JCS_GRAYSCALE, JCS_RGB, JCS_YCbCr, JCS_CMYK, JCS_YCCK; JCS_UNKNOWN: two channels
    int h, v; // luma sampling; 0: 1
    int quality;
    bool progressive, no_adobe;
    const uint8_t *rows;
    const uint8_t *exif;
    uint32_t exif_size;
    const uint8_t *icc;
    uint32_t icc_size;
    const made_segment *segments; // behind EXIF and ICC
    size_t segment_count;
    int density_unit, density[2];
} made_jpeg_spec;

sl_blob made_jpeg(const made_jpeg_spec *spec);

// Kinds of JPEG that are read whole: all that decides how pixels lie in blocks.
typedef struct made_jpeg_kind {
    J_COLOR_SPACE in, file;
    int h, v; // luma sampling
    bool progressive;
} made_jpeg_kind;

#define MADE_JPEG_KINDS 9
extern const made_jpeg_kind made_jpeg_kinds[MADE_JPEG_KINDS];

// A minimal EXIF block with that orientation; size: *size bytes, at most 64.
const uint8_t *made_exif(unsigned orientation, bool big, uint32_t *size);

// Profiles made by lcms. The CMYK one ignores black, which no plain formula does.
sl_blob made_srgb_profile(void);
sl_blob made_cmyk_profile(void);
sl_blob made_grey_profile(double gamma);

// A smooth picture of random colours in `channels` 8-bit channels; freed by the caller.
uint8_t *made_gradient(uint32_t width, uint32_t height, unsigned channels);

static inline sl_image *decode_ok(const sl_blob *coded, const sl_load_options *options)
{
    sl_image *image = NULL;
    sl_status st = sl_image_decode(ctx, coded->data, coded->size, "made", options, &image);
    ck_assert_msg(st == SL_OK, "status %d: %s", st, sl_ctx_message(ctx));
    return image;
}

// A sample as it lies in a picture of 8 or 16 bits.
unsigned made_sample(const sl_image *image, uint32_t x, uint32_t y, unsigned k);

// A file of 48 x 32 pixels cut at every byte, and with every byte changed, of what is cut and of
// the whole: an error or a picture, nothing else, or the test fails.
void made_damage(sl_ctx *context, const char *path);

#endif
