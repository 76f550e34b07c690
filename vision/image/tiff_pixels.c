// SPDX-License-Identifier: MIT
// image/tiff_pixels.c: lines and tiles of a TIFF become rows of a picture.
#include "image/tiff_reader.h"

#define SPARE_BYTES (64u << 20)  // of one allocation, besides what 16-bit RGBA takes
#define SPARE_PIXELS (16u << 20) // of tiles, besides four times the picture's own
#define SPARE_CODED (16u << 20)  // bytes of strips, besides four times the file's: some are shared
#define WHOLE_STRIP (16u << 20)  // bytes of a strip that is read at once

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
    if (r->lib->IsTiled(r->tiff)) {
        r->lib->GetField(r->tiff, TIFFTAG_TILEWIDTH, &wide);
        r->lib->GetField(r->tiff, TIFFTAG_TILELENGTH, &high);
        if (!wide || !high)
            return sl_tiff_damaged(r);
        rows = (r->height - 1) / high + 1;
        const uint64_t tiles = (uint64_t)((r->width - 1) / wide + 1) * rows;
        const uint64_t area = (uint64_t)wide * high;
        if (area > (4 * pixels + SPARE_PIXELS) / tiles)
            return sl_tiff_unsupported(r, "of tiles much larger than the picture");
    }
    const uint32_t parts =
        r->lib->IsTiled(r->tiff) ? r->lib->NumberOfTiles(r->tiff) : r->lib->NumberOfStrips(r->tiff);
    const uint64_t most = 4 * (uint64_t)r->coded->size + SPARE_CODED;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < parts && bytes <= most; i++) {
        const uint64_t part = r->lib->GetStrileByteCount(r->tiff, i);
        bytes += part < r->coded->size ? part : r->coded->size;
    }
    if (bytes > most)
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
        if (r->lib->ReadScanline(r->tiff, line, y, (uint16_t)plane) != 1)
            return sl_tiff_damaged(r);
        put_pixels(r, line, 0, y, r->width, plane);
    }
    return SL_OK;
}

// Strips that are not large are read whole: some writers of PackBits let runs cross lines.
static sl_status read_strips(sl_tiff_reader *r, uint8_t *strip, size_t line_bytes, unsigned plane)
{
    uint32_t high = 0;
    r->lib->GetFieldDefaulted(r->tiff, TIFFTAG_ROWSPERSTRIP, &high);
    for (uint64_t top = 0; top < r->height; top += high) {
        const uint32_t y = (uint32_t)top, rows = r->height - y < high ? r->height - y : high;
        const tmsize_t want = (tmsize_t)(rows * line_bytes);
        const uint32_t number = r->lib->ComputeStrip(r->tiff, y, (uint16_t)plane);
        if (r->lib->ReadEncodedStrip(r->tiff, number, strip, want) < want)
            return sl_tiff_damaged(r);
        for (uint32_t i = 0; i < rows; i++)
            put_pixels(r, strip + i * line_bytes, 0, y + i, r->width, plane);
    }
    return SL_OK;
}

static sl_status read_tiles(sl_tiff_reader *r, uint8_t *tile, unsigned plane)
{
    uint32_t wide = 0, high = 0;
    r->lib->GetField(r->tiff, TIFFTAG_TILEWIDTH, &wide);
    r->lib->GetField(r->tiff, TIFFTAG_TILELENGTH, &high);
    const size_t row_bytes = (size_t)r->lib->TileRowSize(r->tiff);
    if (!wide || !high || !row_bytes)
        return sl_tiff_damaged(r);
    for (uint64_t top = 0; top < r->height; top += high)
        for (uint64_t left = 0; left < r->width; left += wide) {
            const uint32_t x = (uint32_t)left, y = (uint32_t)top;
            r->wide = r->width - x < wide ? r->width - x : wide;
            r->high = r->height - y < high ? r->height - y : high;
            if (r->lib->ReadTile(r->tiff, tile, x, y, 0, (uint16_t)plane) < 0)
                return sl_tiff_damaged(r);
            for (uint32_t i = 0; i < r->high; i++)
                put_pixels(r, tile + i * row_bytes, x, y + i, r->wide, plane);
        }
    return SL_OK;
}

// Bytes of what is read at once, tiles, strips or lines. 0: what libtiff fills would not hold what
// is taken out of it, or is more than may be.
static size_t portion(const sl_tiff_reader *r, bool *is_strip)
{
    const bool is_tiled = r->lib->IsTiled(r->tiff);
    const unsigned samples = r->plane_kind == PLANARCONFIG_CONTIG ? r->samples : 1;
    const tmsize_t line = is_tiled ? r->lib->TileRowSize(r->tiff) : r->lib->ScanlineSize(r->tiff);
    uint32_t wide = r->width, high = 0;
    r->lib->GetFieldDefaulted(r->tiff, TIFFTAG_ROWSPERSTRIP, &high);
    if (is_tiled)
        r->lib->GetField(r->tiff, TIFFTAG_TILEWIDTH, &wide);
    if (line <= 0 || (uint64_t)line < (uint64_t)r->bits / 8 * samples * wide)
        return 0;
    high = high < r->height ? high : r->height;
    *is_strip = !is_tiled && high > 0 && (uint64_t)line <= WHOLE_STRIP / high;
    const tmsize_t bytes = is_tiled ? r->lib->TileSize(r->tiff) : *is_strip ? line * high : line;
    return bytes > 0 && bytes <= sl_tiff_most_bytes(r) ? (size_t)bytes : 0;
}

static sl_status read_samples(sl_tiff_reader *r)
{
    const unsigned planes = r->plane_kind == PLANARCONFIG_CONTIG ? 1 : r->samples;
    bool is_strip = false;
    const size_t bytes = portion(r, &is_strip);
    if (bytes == 0)
        return sl_tiff_damaged(r);
    uint8_t *buffer = sl_alloc(r->ctx, bytes, 1);
    sl_status st = buffer ? SL_OK : SL_ERR_NOMEM;
    for (unsigned plane = 0; plane < planes && st == SL_OK; plane++) {
        if (planes > 1 && plane >= r->colour_samples && (int)plane != r->alpha)
            continue;
        if (r->lib->IsTiled(r->tiff))
            st = read_tiles(r, buffer, plane);
        else if (is_strip)
            st = read_strips(r, buffer, (size_t)r->lib->ScanlineSize(r->tiff), plane);
        else
            st = read_lines(r, buffer, plane);
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
    if (!r->lib->RGBAImageBegin(&source, r->tiff, 1, why)) {
        free(raster);
        return sl_tiff_unsupported(r, "of colours that libtiff has no conversion of");
    }
    source.req_orientation = source.orientation; // as they lie
    const bool is_read = r->lib->RGBAImageGet(&source, raster, r->width, r->height) == 1;
    r->lib->RGBAImageEnd(&source);
    const unsigned channels = r->image->channels;
    for (size_t i = 0; i < pixels && is_read; i++)
        for (unsigned c = 0; c < channels; c++)
            r->image->pixels[i * channels + c] = (uint8_t)(raster[i] >> (8 * c));
    free(raster);
    return is_read ? SL_OK : sl_tiff_damaged(r);
}

sl_status sl_tiff_read_pixels(sl_tiff_reader *r)
{
    r->wide = r->high = UINT32_MAX; // of strips libtiff knows it
    return r->is_mapped ? read_mapped(r) : read_samples(r);
}
