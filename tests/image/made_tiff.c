// SPDX-License-Identifier: MIT
// tests/image/made_tiff.c: the pictures of made_tiff.h.
#include "made_tiff.h"

#include <math.h>

static bool is_of_inks(const made_tiff_spec *s)
{
    return s->colours == PHOTOMETRIC_SEPARATED;
}

static unsigned colours_of(const made_tiff_spec *s)
{
    return s->colours == PHOTOMETRIC_RGB ? 3 : is_of_inks(s) ? 4 : 1;
}

static unsigned white_of(const made_tiff_spec *s)
{
    return (1u << s->bits) - 1;
}

// Of the picture, 0 to 255.
unsigned made_tiff_scene(uint32_t x, uint32_t y, unsigned sample)
{
    const unsigned values[4] = { x * 5, y * 7, 200 - 2 * x - y, 255 - 3 * x };
    return values[sample] & 255;
}

static unsigned alpha_at(const made_tiff_spec *s, uint32_t x)
{
    return s->extra ? made_tiff_scene(x, 0, 3) : 255;
}

// As it lies in the file.
static unsigned stored(const made_tiff_spec *s, uint32_t x, uint32_t y, unsigned sample)
{
    const unsigned white = white_of(s);
    if (sample == colours_of(s) && !is_of_inks(s))
        return s->extra ? alpha_at(s, x) * (white / 255) : 1;
    unsigned v = s->bits < 8 ? made_tiff_scene(x, y, sample) >> (8 - s->bits)
                             : made_tiff_scene(x, y, sample) * (white / 255);
    if (s->extra == EXTRASAMPLE_ASSOCALPHA)
        v = (unsigned)lround(v * (alpha_at(s, x) / 255.0));
    return s->colours == PHOTOMETRIC_MINISWHITE ? white - v : v;
}

static void put(uint8_t *line, unsigned bits, size_t at, unsigned v)
{
    if (bits == 16)
        ((uint16_t *)(void *)line)[at] = (uint16_t)v;
    else if (bits == 8)
        line[at] = (uint8_t)v;
    else
        line[at * bits / 8] |= (uint8_t)(v << (8 - bits - at * bits % 8));
}

// `count` samples of a line from column x on, zeros beyond the picture.
static void fill(const made_tiff_spec *s, uint8_t *line, uint32_t x, uint32_t y, uint32_t wide,
                 unsigned plane)
{
    for (uint32_t i = 0; i < wide && x + i < s->width && y < s->height; i++)
        if (s->is_planar)
            put(line, s->bits, i, stored(s, x + i, y, plane));
        else
            for (unsigned k = 0; k < s->samples; k++)
                put(line, s->bits, (size_t)i * s->samples + k, stored(s, x + i, y, k));
}

static void set_tags(TIFF *tiff, const made_tiff_spec *s, uint32_t page)
{
    uint16_t palette[3][256];
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, s->width);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, s->height);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, s->bits);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, s->samples);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, s->colours);
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, s->compression ? s->compression : COMPRESSION_NONE);
    TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, s->is_planar ? PLANARCONFIG_SEPARATE : 1);
    if (s->samples > colours_of(s))
        TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, 1, &s->extra);
    if (s->orientation)
        TIFFSetField(tiff, TIFFTAG_ORIENTATION, s->orientation);
    if (s->sample_kind)
        TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, s->sample_kind);
    const uint32_t subfile = page == 0 ? s->subfile : page == 1 ? s->second : 0;
    if (subfile)
        TIFFSetField(tiff, TIFFTAG_SUBFILETYPE, subfile);
    if (s->dng)
        TIFFSetField(tiff, 50706, s->dng);
    if (s->icc)
        TIFFSetField(tiff, TIFFTAG_ICCPROFILE, s->icc_size, s->icc);
    for (unsigned i = 0; i < 256; i++)
        for (unsigned k = 0; k < 3; k++)
            palette[k][i] = (uint16_t)((k == 0 ? i : k == 1 ? 255 - i : i ^ 1) * 257);
    if (s->colours == PHOTOMETRIC_PALETTE)
        TIFFSetField(tiff, TIFFTAG_COLORMAP, palette[0], palette[1], palette[2]);
}

static void write_lines(TIFF *tiff, const made_tiff_spec *s)
{
    const unsigned planes = s->is_planar ? s->samples : 1;
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, 5u);
    uint8_t *line = malloc((size_t)TIFFScanlineSize(tiff));
    for (unsigned plane = 0; plane < planes; plane++)
        for (uint32_t y = 0; y < s->height; y++) {
            memset(line, 0, (size_t)TIFFScanlineSize(tiff));
            fill(s, line, 0, y, s->width, plane);
            ck_assert_int_eq(TIFFWriteScanline(tiff, line, y, (uint16_t)plane), 1);
        }
    free(line);
}

static void write_tiles(TIFF *tiff, const made_tiff_spec *s)
{
    const uint32_t wide = 32, high = 16;
    const unsigned planes = s->is_planar ? s->samples : 1;
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, wide);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, high);
    const size_t row = (size_t)TIFFTileRowSize(tiff);
    uint8_t *tile = malloc(row * high);
    for (unsigned plane = 0; plane < planes; plane++)
        for (uint32_t y = 0; y < s->height; y += high)
            for (uint32_t x = 0; x < s->width; x += wide) {
                memset(tile, 0, row * high);
                for (uint32_t i = 0; i < high; i++)
                    fill(s, tile + i * row, x, y + i, wide, plane);
                ck_assert_int_ge(TIFFWriteTile(tiff, tile, x, y, 0, (uint16_t)plane), 0);
            }
    free(tile);
}

void made_tiff(const char *path, const made_tiff_spec *s)
{
    TIFFSetWarningHandler(NULL);
    TIFF *tiff = TIFFOpen(path, s->mode ? s->mode : "w");
    ck_assert_ptr_nonnull(tiff);
    for (uint32_t page = 0; page <= s->pages; page++) {
        set_tags(tiff, s, page);
        if (s->is_tiled)
            write_tiles(tiff, s);
        else
            write_lines(tiff, s);
        ck_assert_int_eq(TIFFWriteDirectory(tiff), 1);
    }
    TIFFClose(tiff);
}

// What inks leave of the light, by the plain formula, of 255.
static double light(uint32_t x, uint32_t y, unsigned k)
{
    return (255 - made_tiff_scene(x, y, k)) * (255 - made_tiff_scene(x, y, 3)) / 255.0;
}

void made_tiff_check(const made_tiff_spec *s, const sl_image *image)
{
    const unsigned channels = is_of_inks(s) ? 3 : colours_of(s) + (s->extra != 0);
    const double white = sl_image_depth(image) == 16 ? 65535 : 255;
    ck_assert_uint_eq(sl_image_depth(image), is_of_inks(s) || s->bits < 16 ? 8 : 16);
    ck_assert_uint_eq(sl_image_channels(image), channels);
    ck_assert_uint_eq(sl_image_width(image), s->width);
    ck_assert_uint_eq(sl_image_height(image), s->height);
    for (uint32_t y = 0; y < s->height; y++)
        for (uint32_t x = 0; x < s->width; x++)
            for (unsigned k = 0; k < channels; k++) {
                double off = 0, want = made_tiff_scene(x, y, k);
                if (is_of_inks(s))
                    want = light(x, y, k);
                else if (s->extra && k == channels - 1)
                    want = alpha_at(s, x);
                else if (s->bits < 8)
                    want = (made_tiff_scene(x, y, k) >> (8 - s->bits)) * 255.0 / white_of(s);
                if (is_of_inks(s))
                    off = 0.51;
                else if (s->extra == EXTRASAMPLE_ASSOCALPHA) // rounded while it was small
                    off = 255.0 / alpha_at(s, x) * (s->bits == 16 ? 0.01 : 1);
                const double got = made_sample(image, x, y, k) / white * 255;
                ck_assert_msg(fabs(got - want) <= off + 1e-9, "%u, %u, %u: %g, not %g", x, y, k,
                              got, want);
            }
}
