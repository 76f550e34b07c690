// SPDX-License-Identifier: MIT
// image/tiff_pixels.c: lines and tiles of a TIFF become rows of a picture.
#include "image/tiff_reader.h"

#define SPARE_BYTES (64u << 20)  // of one allocation, besides what 16-bit RGBA takes
#define SPARE_PIXELS (16u << 20) // of tiles, besides four times the picture's own

sl_status sl_tiff_damaged(const sl_tiff_reader *r)
{
    return sl_fail(r->ctx, SL_ERR_FORMAT, "%s: damaged TIFF: %s", r->coded->name,
                   *r->error ? r->error : "it ends early");
}

sl_status sl_tiff_unsupported(const sl_tiff_reader *r, const char *what)
{
    return sl_fail(r->ctx, SL_ERR_UNSUPPORTED,
                   "%s: a TIFF %s, which is not read; save it with 8 or 16 bits of RGB or grey",
                   r->coded->name, what);
}

tmsize_t sl_tiff_most_bytes(const sl_tiff_reader *r)
{
    const uint64_t most = INT64_MAX - SPARE_BYTES;
    return (tmsize_t)((r->coded->max_pixels < most / 8 ? r->coded->max_pixels * 8 : most) +
                      SPARE_BYTES);
}

// Tiles may be larger than the picture, and all stand for the same bytes: what is decoded is to be
// near what is shown, and what is read near what there is.
sl_status sl_tiff_check_work(const sl_tiff_reader *r)
{
    const uint64_t pixels = (uint64_t)r->width * r->height;
    uint32_t wide = r->width, high = 1, rows = 0;
    if (TIFFIsTiled(r->tiff)) {
        TIFFGetField(r->tiff, TIFFTAG_TILEWIDTH, &wide);
        TIFFGetField(r->tiff, TIFFTAG_TILELENGTH, &high);
        if (!wide || !high)
            return sl_tiff_damaged(r);
        rows = (r->height - 1) / high + 1;
        const uint64_t tiles = (uint64_t)((r->width - 1) / wide + 1) * rows;
        const uint64_t area = (uint64_t)wide * high;
        if (area > (4 * pixels + SPARE_PIXELS) / tiles)
            return sl_tiff_unsupported(r, "of tiles much larger than the picture");
    }
    const uint32_t parts =
        TIFFIsTiled(r->tiff) ? TIFFNumberOfTiles(r->tiff) : TIFFNumberOfStrips(r->tiff);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < parts && bytes <= 4 * (uint64_t)r->coded->size; i++) {
        const uint64_t part = TIFFGetStrileByteCount(r->tiff, i);
        bytes += part < r->coded->size ? part : r->coded->size;
    }
    if (bytes > 4 * (uint64_t)r->coded->size)
        return sl_fail(r->ctx, SL_ERR_FORMAT,
                       "%s: damaged TIFF: its pixels take more room than the file has",
                       r->coded->name);
    return SL_OK;
}

static void copy_sample(void *to, const void *from, size_t to_step, size_t from_step, uint32_t n,
                        unsigned bits, unsigned inverse)
{
    for (size_t i = 0; i < n; i++)
        if (bits == 16)
            ((uint16_t *)to)[i * to_step] =
                (uint16_t)(((const uint16_t *)from)[i * from_step] ^ inverse);
        else
            ((uint8_t *)to)[i * to_step] =
                (uint8_t)(((const uint8_t *)from)[i * from_step] ^ inverse);
}

// n pixels of inks to row y from column x on.
static void put_inks(sl_tiff_reader *r, const uint8_t *from, uint32_t x, uint32_t y, uint32_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 4; k++)
            r->inks[i * 4 + k] =
                r->bits == 16
                    ? (uint8_t)((((const uint16_t *)from)[i * r->samples + k] + 128u) / 257u)
                    : from[i * r->samples + k];
    sl_cmyk_convert(r->cmyk, r->inks, (uint8_t *)sl_image_row(r->image, y) + (size_t)x * 3, n);
}

// n pixels as they lie in the file to row y from column x on: all samples, or those of one plane.
static void put_pixels(sl_tiff_reader *r, const uint8_t *from, uint32_t x, uint32_t y, uint32_t n,
                       unsigned plane)
{
    const unsigned bytes = r->bits / 8, channels = r->image->channels;
    const bool is_whole = r->plane_kind == PLANARCONFIG_CONTIG;
    const unsigned inverse =
        r->colours == PHOTOMETRIC_MINISWHITE ? (r->bits == 16 ? 0xFFFF : 0xFF) : 0;
    uint8_t *row = (uint8_t *)sl_image_row(r->image, y) + (size_t)x * channels * bytes;
    if (r->cmyk) {
        put_inks(r, from, x, y, n);
        return;
    }
    for (unsigned c = 0; c < channels; c++) {
        const bool is_alpha = c == r->colour_samples;
        const unsigned sample = is_alpha ? (unsigned)r->alpha : c;
        if (is_whole)
            copy_sample(row + c * bytes, from + sample * bytes, channels, r->samples, n, r->bits,
                        is_alpha ? 0 : inverse);
        else if (sample == plane)
            copy_sample(row + c * bytes, from, channels, 1, n, r->bits, is_alpha ? 0 : inverse);
    }
}

static sl_status read_lines(sl_tiff_reader *r, uint8_t *line, unsigned plane)
{
    for (uint32_t y = 0; y < r->height; y++) {
        if (TIFFReadScanline(r->tiff, line, y, (uint16_t)plane) != 1)
            return sl_tiff_damaged(r);
        put_pixels(r, line, 0, y, r->width, plane);
    }
    return SL_OK;
}

static sl_status read_tiles(sl_tiff_reader *r, uint8_t *tile, unsigned plane)
{
    uint32_t wide = 0, high = 0;
    TIFFGetField(r->tiff, TIFFTAG_TILEWIDTH, &wide);
    TIFFGetField(r->tiff, TIFFTAG_TILELENGTH, &high);
    const size_t row_bytes = (size_t)TIFFTileRowSize(r->tiff);
    if (!wide || !high || !row_bytes)
        return sl_tiff_damaged(r);
    for (uint64_t top = 0; top < r->height; top += high)
        for (uint64_t left = 0; left < r->width; left += wide) {
            const uint32_t x = (uint32_t)left, y = (uint32_t)top;
            if (TIFFReadTile(r->tiff, tile, x, y, 0, (uint16_t)plane) < 0)
                return sl_tiff_damaged(r);
            const uint32_t n = r->width - x < wide ? r->width - x : wide;
            const uint32_t rows = r->height - y < high ? r->height - y : high;
            for (uint32_t i = 0; i < rows; i++)
                put_pixels(r, tile + i * row_bytes, x, y + i, n, plane);
        }
    return SL_OK;
}

static sl_status read_samples(sl_tiff_reader *r)
{
    const bool is_tiled = TIFFIsTiled(r->tiff);
    const unsigned planes = r->plane_kind == PLANARCONFIG_CONTIG ? 1 : r->samples;
    const tmsize_t bytes = is_tiled ? TIFFTileSize(r->tiff) : TIFFScanlineSize(r->tiff);
    // What libtiff fills has to hold what is taken out of it.
    const uint64_t pixel = (uint64_t)r->bits / 8 * (planes == 1 ? r->samples : 1);
    const uint64_t line = is_tiled ? (uint64_t)TIFFTileRowSize(r->tiff) : (uint64_t)bytes;
    uint32_t wide = r->width;
    if (is_tiled)
        TIFFGetField(r->tiff, TIFFTAG_TILEWIDTH, &wide);
    if (bytes <= 0 || bytes > sl_tiff_most_bytes(r) || line < pixel * wide)
        return sl_tiff_damaged(r);
    uint8_t *buffer = sl_alloc(r->ctx, (size_t)bytes, 1);
    sl_status st = buffer ? SL_OK : SL_ERR_NOMEM;
    for (unsigned plane = 0; plane < planes && st == SL_OK; plane++) {
        if (planes > 1 && plane >= r->colour_samples && (int)plane != r->alpha)
            continue;
        st = is_tiled ? read_tiles(r, buffer, plane) : read_lines(r, buffer, plane);
    }
    free(buffer);
    return st;
}

// By libtiff's own conversion to 8 bits of RGB, one raster of all pixels.
static sl_status read_mapped(sl_tiff_reader *r)
{
    TIFFRGBAImage source;
    char why[1024] = "";
    const size_t pixels = (size_t)r->width * r->height;
    uint32_t *raster = sl_alloc(r->ctx, pixels, sizeof(*raster));
    if (!raster)
        return SL_ERR_NOMEM;
    if (!TIFFRGBAImageBegin(&source, r->tiff, 1, why)) {
        free(raster);
        return sl_tiff_unsupported(r, "of colours that libtiff has no conversion of");
    }
    source.req_orientation = source.orientation; // as they lie
    const bool is_read = TIFFRGBAImageGet(&source, raster, r->width, r->height) == 1;
    TIFFRGBAImageEnd(&source);
    const unsigned channels = r->image->channels;
    for (size_t i = 0; i < pixels && is_read; i++)
        for (unsigned c = 0; c < channels; c++)
            r->image->pixels[i * channels + c] = (uint8_t)(raster[i] >> (8 * c));
    free(raster);
    return is_read ? SL_OK : sl_tiff_damaged(r);
}

sl_status sl_tiff_read_pixels(sl_tiff_reader *r)
{
    return r->is_mapped ? read_mapped(r) : read_samples(r);
}
