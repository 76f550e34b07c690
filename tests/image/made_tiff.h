// SPDX-License-Identifier: MIT
// tests/image/made_tiff.h: TIFF of every kind, made by libtiff, in one scene of any size: red 5x,
// green 7y, blue 200 - 2x - y, alpha 255 - 3x, all of 255.
#ifndef TESTS_IMAGE_MADE_TIFF_H
#define TESTS_IMAGE_MADE_TIFF_H

#include "made.h"

#include <tiffio.h>

typedef struct made_tiff_spec {
    uint32_t width, height;
    uint16_t bits, colours, samples;
    uint16_t extra;       // EXTRASAMPLE_..., of the last sample; samples beyond the colours alone
    uint16_t compression; // 0: none
    bool is_planar, is_tiled;
    uint16_t orientation; // 0: none
    const char *mode;     // NULL: "w"
    uint16_t sample_kind; // 0: unsigned
    uint32_t subfile;     // of the first page; 0: none
    uint32_t second;      // of the second page
    const char *dng;      // its version
    uint32_t pages;       // further ones
    const uint8_t *icc;
    uint32_t icc_size;
} made_tiff_spec;

unsigned made_tiff_scene(uint32_t x, uint32_t y, unsigned sample); // 0 to 255
void made_tiff(const char *path, const made_tiff_spec *s);
// Fails the test unless the picture is what was made.
void made_tiff_check(const made_tiff_spec *s, const sl_image *image);

#endif
