// SPDX-License-Identifier: MIT
// image/tiff.c: TIFF in, by libtiff: what scanners, Photoshop and raw converters write. Of a
// camera's raw file, which is a TIFF on the outside, only a preview could be read, so that it is
// refused.
#include "image/codec.h"

#include <stdarg.h>
#include <tiffio.h>

#define SPARE_BYTES (64u << 20) // of one allocation, besides what 16-bit RGBA takes
#define COLOURS_RAW 34892u      // LinearRaw, of DNG
#define TAG_DNG_VERSION 50706u

typedef struct reader {
    sl_ctx *ctx;
    const sl_coded *coded;
    TIFF *tiff;
    toff_t at;       // of what libtiff reads as from a file
    char error[160]; // the first one that libtiff told
    uint32_t width, height;
    uint16_t bits, samples, colours, plane_kind, compression, orientation;
    unsigned colour_samples;       // that are kept: 1 or 3; of inks 4
    int alpha;                     // the sample that is alpha, or -1
    bool is_multiplied, is_mapped; // colours times alpha; colours that libtiff makes RGB of
    sl_image *image;
    sl_cmyk *cmyk;
    uint8_t *inks; // a row of them
} reader;

static tmsize_t read_bytes(thandle_t handle, void *to, tmsize_t size)
{
    reader *r = handle;
    const toff_t left = r->at < r->coded->size ? r->coded->size - r->at : 0;
    const size_t got = size < 0 ? 0 : (toff_t)size < left ? (size_t)size : (size_t)left;
    memcpy(to, r->coded->data + (got ? r->at : 0), got);
    r->at += got;
    return (tmsize_t)got;
}

static tmsize_t write_nothing(thandle_t handle, void *from, tmsize_t size)
{
    (void)handle, (void)from, (void)size;
    return -1;
}

static toff_t seek(thandle_t handle, toff_t to, int whence)
{
    reader *r = handle;
    r->at = whence == SEEK_CUR ? r->at + to : whence == SEEK_END ? r->coded->size + to : to;
    return r->at;
}

static int close_nothing(thandle_t handle)
{
    (void)handle;
    return 0;
}

static toff_t size_of(thandle_t handle)
{
    return ((reader *)handle)->coded->size;
}

// libtiff then reads what is not compressed from where it lies.
static int map(thandle_t handle, void **data, toff_t *size)
{
    const reader *r = handle;
    *data = (void *)(uintptr_t)r->coded->data;
    *size = r->coded->size;
    return 1;
}

static void unmap(thandle_t handle, void *data, toff_t size)
{
    (void)handle, (void)data, (void)size;
}

static int on_error(TIFF *tiff, void *user, const char *where, const char *format, va_list values)
{
    reader *r = user;
    (void)tiff, (void)where;
    if (!*r->error)
        vsnprintf(r->error, sizeof(r->error), format, values);
    return 1; // and to nobody else
}

static int on_warning(TIFF *tiff, void *user, const char *where, const char *format, va_list values)
{
    (void)tiff, (void)user, (void)where, (void)format, (void)values;
    return 1;
}

static sl_status damaged(const reader *r)
{
    return sl_fail(r->ctx, SL_ERR_FORMAT, "%s: damaged TIFF: %s", r->coded->name,
                   *r->error ? r->error : "it ends early");
}

static sl_status unsupported(const reader *r, const char *what)
{
    return sl_fail(r->ctx, SL_ERR_UNSUPPORTED,
                   "%s: a TIFF %s, which is not read; save it with 8 or 16 bits of RGB or grey",
                   r->coded->name, what);
}

static tmsize_t most_bytes(const reader *r)
{
    const uint64_t most = INT64_MAX - SPARE_BYTES;
    return (tmsize_t)((r->coded->max_pixels < most / 8 ? r->coded->max_pixels * 8 : most) +
                      SPARE_BYTES);
}

static sl_status open_file(reader *r)
{
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options)
        return sl_fail(r->ctx, SL_ERR_NOMEM, "%s: out of memory", r->coded->name);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, most_bytes(r));
    TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, r);
    TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, r);
    r->tiff = TIFFClientOpenExt(r->coded->name, "r", r, read_bytes, write_nothing, seek,
                                close_nothing, size_of, map, unmap, options);
    TIFFOpenOptionsFree(options);
    return r->tiff ? SL_OK : damaged(r);
}

static bool is_camera_raw(const reader *r)
{
    uint32_t kind = 0, count = 0;
    const void *version = NULL;
    TIFFGetField(r->tiff, TIFFTAG_SUBFILETYPE, &kind);
    return (kind & FILETYPE_REDUCEDIMAGE) || r->colours == PHOTOMETRIC_CFA ||
           r->colours == COLOURS_RAW ||
           TIFFGetField(r->tiff, TAG_DNG_VERSION, &count, &version) == 1;
}

// Of all that libtiff has: not old-style JPEG, which has no one meaning, nor LZMA, whose header can
// ask for gigabytes, nor what pictures for people are never packed with.
static bool is_known_compression(unsigned compression)
{
    static const uint16_t known[] = {
        COMPRESSION_NONE, COMPRESSION_CCITTRLE, COMPRESSION_CCITTFAX3,     COMPRESSION_CCITTFAX4,
        COMPRESSION_LZW,  COMPRESSION_JPEG,     COMPRESSION_ADOBE_DEFLATE, COMPRESSION_DEFLATE,
        COMPRESSION_ZSTD, COMPRESSION_PACKBITS,
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(known); i++)
        if (known[i] == compression)
            return true;
    return false;
}

static sl_status read_header(reader *r)
{
    uint16_t sample_kind = SAMPLEFORMAT_UINT;
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_BITSPERSAMPLE, &r->bits);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_SAMPLESPERPIXEL, &r->samples);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_SAMPLEFORMAT, &sample_kind);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_PLANARCONFIG, &r->plane_kind);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_COMPRESSION, &r->compression);
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_ORIENTATION, &r->orientation);
    if (!TIFFGetField(r->tiff, TIFFTAG_PHOTOMETRIC, &r->colours))
        r->colours = r->samples < 3 ? PHOTOMETRIC_MINISBLACK : PHOTOMETRIC_RGB;
    if (is_camera_raw(r))
        return sl_fail(r->ctx, SL_ERR_UNSUPPORTED,
                       "%s: a camera's raw file; develop it first, as JPEG, PNG or TIFF",
                       r->coded->name);
    if (!TIFFGetField(r->tiff, TIFFTAG_IMAGEWIDTH, &r->width) ||
        !TIFFGetField(r->tiff, TIFFTAG_IMAGELENGTH, &r->height) || !r->width || !r->height)
        return damaged(r);
    if (sample_kind != SAMPLEFORMAT_UINT && sample_kind != SAMPLEFORMAT_VOID)
        return unsupported(r, "of floating-point or signed numbers");
    if (!is_known_compression(r->compression) || !TIFFIsCODECConfigured(r->compression))
        return unsupported(r, "of a rare compression");
    return sl_coded_check_size(r->ctx, r->coded, r->width, r->height);
}

static void find_alpha(reader *r)
{
    uint16_t count = 0, *kinds = NULL;
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_EXTRASAMPLES, &count, &kinds);
    bool has_more = r->samples > r->colour_samples + count;
    r->alpha = -1;
    for (unsigned i = 0; i < count && r->colour_samples + i < r->samples; i++) {
        const bool is_alpha = kinds[i] != EXTRASAMPLE_UNSPECIFIED && r->colour_samples < 4;
        if (is_alpha && r->alpha < 0) {
            r->alpha = (int)(r->colour_samples + i);
            r->is_multiplied = kinds[i] == EXTRASAMPLE_ASSOCALPHA;
        } else {
            has_more = true;
        }
    }
    if (has_more)
        sl_log(r->ctx, SL_LOG_WARNING, "%s: without the channels that it has besides its colours",
               r->coded->name);
}

// What becomes of the samples; `depth` is that of the picture.
static sl_status choose_samples(reader *r)
{
    const bool is_grey =
        r->colours == PHOTOMETRIC_MINISBLACK || r->colours == PHOTOMETRIC_MINISWHITE;
    const bool is_plain = r->bits == 8 || r->bits == 16;
    const bool is_contiguous = r->plane_kind == PLANARCONFIG_CONTIG;
    uint16_t ink_set = INKSET_CMYK;
    if (r->colours == PHOTOMETRIC_YCBCR && r->compression == COMPRESSION_JPEG && is_contiguous) {
        TIFFSetField(r->tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        r->colours = PHOTOMETRIC_RGB;
    }
    switch (r->colours) {
    case PHOTOMETRIC_MINISBLACK:
    case PHOTOMETRIC_MINISWHITE:
        r->colour_samples = 1;
        break;
    case PHOTOMETRIC_RGB:
        r->colour_samples = 3;
        break;
    case PHOTOMETRIC_SEPARATED:
        r->colour_samples = 4;
        TIFFGetFieldDefaulted(r->tiff, TIFFTAG_INKSET, &ink_set);
        if (ink_set != INKSET_CMYK || !is_contiguous || !is_plain)
            return unsupported(r, "of inks other than CMYK, or of planes of them");
        break;
    case PHOTOMETRIC_PALETTE:
    case PHOTOMETRIC_YCBCR:
        r->colour_samples = r->colours == PHOTOMETRIC_PALETTE ? 1 : 3;
        r->is_mapped = true;
        break;
    default:
        return unsupported(r, "of a kind of colours");
    }
    if (is_grey && r->bits < 8)
        r->is_mapped = true;
    if (!is_plain && (!r->is_mapped || r->bits > 8))
        return unsupported(r, "of an odd number of bits");
    if (r->samples < r->colour_samples)
        return damaged(r);
    find_alpha(r);
    if (r->is_mapped && r->samples > r->colour_samples)
        return unsupported(r, "of such colours with alpha");
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
static void put_inks(reader *r, const uint8_t *from, uint32_t x, uint32_t y, uint32_t n)
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
static void put_pixels(reader *r, const uint8_t *from, uint32_t x, uint32_t y, uint32_t n,
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

static sl_status read_lines(reader *r, uint8_t *line, unsigned plane)
{
    for (uint32_t y = 0; y < r->height; y++) {
        if (TIFFReadScanline(r->tiff, line, y, (uint16_t)plane) != 1)
            return damaged(r);
        put_pixels(r, line, 0, y, r->width, plane);
    }
    return SL_OK;
}

static sl_status read_tiles(reader *r, uint8_t *tile, unsigned plane)
{
    uint32_t wide = 0, high = 0;
    TIFFGetField(r->tiff, TIFFTAG_TILEWIDTH, &wide);
    TIFFGetField(r->tiff, TIFFTAG_TILELENGTH, &high);
    const size_t row_bytes = (size_t)TIFFTileRowSize(r->tiff);
    if (!wide || !high || !row_bytes)
        return damaged(r);
    for (uint64_t top = 0; top < r->height; top += high)
        for (uint64_t left = 0; left < r->width; left += wide) {
            const uint32_t x = (uint32_t)left, y = (uint32_t)top;
            if (TIFFReadTile(r->tiff, tile, x, y, 0, (uint16_t)plane) < 0)
                return damaged(r);
            const uint32_t n = r->width - x < wide ? r->width - x : wide;
            const uint32_t rows = r->height - y < high ? r->height - y : high;
            for (uint32_t i = 0; i < rows; i++)
                put_pixels(r, tile + i * row_bytes, x, y + i, n, plane);
        }
    return SL_OK;
}

static sl_status read_samples(reader *r)
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
    if (bytes <= 0 || bytes > most_bytes(r) || line < pixel * wide)
        return damaged(r);
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
static sl_status read_mapped(reader *r)
{
    TIFFRGBAImage source;
    char why[1024] = "";
    const size_t pixels = (size_t)r->width * r->height;
    uint32_t *raster = sl_alloc(r->ctx, pixels, sizeof(*raster));
    if (!raster)
        return SL_ERR_NOMEM;
    if (!TIFFRGBAImageBegin(&source, r->tiff, 1, why)) {
        free(raster);
        return unsupported(r, "of colours that libtiff has no conversion of");
    }
    source.req_orientation = source.orientation; // as they lie
    const bool is_read = TIFFRGBAImageGet(&source, raster, r->width, r->height) == 1;
    TIFFRGBAImageEnd(&source);
    const unsigned channels = r->image->channels;
    for (size_t i = 0; i < pixels && is_read; i++)
        for (unsigned c = 0; c < channels; c++)
            r->image->pixels[i * channels + c] = (uint8_t)(raster[i] >> (8 * c));
    free(raster);
    return is_read ? SL_OK : damaged(r);
}

static sl_status read_profile(reader *r)
{
    uint32_t size = 0;
    const void *icc = NULL;
    return TIFFGetField(r->tiff, TIFFTAG_ICCPROFILE, &size, &icc) == 1 && size > 0
               ? sl_blob_copy(r->ctx, icc, size, &r->image->icc)
               : SL_OK;
}

static sl_status read_pixels(reader *r)
{
    const bool is_cmyk = r->colours == PHOTOMETRIC_SEPARATED;
    const unsigned channels = (r->is_mapped && r->colours > PHOTOMETRIC_MINISBLACK) || is_cmyk
                                  ? 3
                                  : r->colour_samples + (r->alpha >= 0);
    const unsigned depth = r->bits == 16 && !r->is_mapped && !is_cmyk ? 16 : 8;
    sl_status st = sl_image_new(r->ctx, r->width, r->height, channels, depth, &r->image);
    if (st == SL_OK)
        st = read_profile(r);
    if (st == SL_OK && is_cmyk) {
        st = sl_cmyk_new(r->ctx, &r->image->icc, &r->cmyk);
        r->inks = st == SL_OK ? sl_alloc(r->ctx, r->width, 4) : NULL;
        st = st == SL_OK && !r->inks ? SL_ERR_NOMEM : st;
    }
    if (st == SL_OK)
        st = r->is_mapped ? read_mapped(r) : read_samples(r);
    if (is_cmyk && st == SL_OK)
        sl_blob_free(&r->image->icc); // it described the inks; the pixels are sRGB now
    for (uint32_t y = 0; st == SL_OK && r->is_multiplied && y < r->height; y++)
        sl_image_row_straighten(r->image, y);
    return st;
}

static void read_density(reader *r)
{
    uint16_t unit = RESUNIT_INCH;
    float x = 0, y = 0;
    TIFFGetFieldDefaulted(r->tiff, TIFFTAG_RESOLUTIONUNIT, &unit);
    if (!TIFFGetField(r->tiff, TIFFTAG_XRESOLUTION, &x) ||
        !TIFFGetField(r->tiff, TIFFTAG_YRESOLUTION, &y) || !(x >= 1 && x < 65536) ||
        !(y >= 1 && y < 65536))
        return;
    r->image->density_x = (uint32_t)(x + 0.5f);
    r->image->density_y = (uint32_t)(y + 0.5f);
    r->image->density_unit = unit == RESUNIT_INCH         ? SL_DENSITY_PER_INCH
                             : unit == RESUNIT_CENTIMETER ? SL_DENSITY_PER_CM
                                                          : SL_DENSITY_ASPECT;
}

static sl_status read_metadata(reader *r)
{
    const sl_blob file = { (uint8_t *)(uintptr_t)r->coded->data, r->coded->size };
    uint32_t size = 0;
    const void *xmp = NULL;
    read_density(r);
    sl_status st = sl_exif_of_tiff(r->ctx, &file, &r->image->exif);
    if (st == SL_OK && TIFFGetField(r->tiff, TIFFTAG_XMLPACKET, &size, &xmp) == 1 && size > 0)
        st = sl_image_add_xmp(r->ctx, r->image, xmp, size, r->coded->name);
    if (st == SL_OK) {
        r->image->turned = r->orientation >= 1 && r->orientation <= 8 ? r->orientation : 1;
        st = sl_image_orient(r->ctx, r->image, r->image->turned);
    }
    return st;
}

// Further pages; smaller copies of the same picture are none.
static void tell_of_pages(reader *r)
{
    uint32_t kind = 0;
    if (!TIFFReadDirectory(r->tiff))
        return;
    TIFFGetField(r->tiff, TIFFTAG_SUBFILETYPE, &kind);
    if (!(kind & (FILETYPE_REDUCEDIMAGE | FILETYPE_MASK)))
        sl_log(r->ctx, SL_LOG_WARNING, "%s: has several pictures; the first one is taken",
               r->coded->name);
}

sl_status sl_tiff_decode(sl_ctx *ctx, const sl_coded *coded, sl_image **out)
{
    reader r = { .ctx = ctx, .coded = coded };
    *out = NULL;
    sl_status st = open_file(&r);
    if (st == SL_OK)
        st = read_header(&r);
    if (st == SL_OK)
        st = choose_samples(&r);
    if (st == SL_OK)
        st = read_pixels(&r);
    if (st == SL_OK)
        st = read_metadata(&r);
    if (st == SL_OK)
        tell_of_pages(&r);
    if (r.tiff)
        TIFFClose(r.tiff);
    sl_cmyk_free(r.cmyk);
    free(r.inks);
    if (st != SL_OK) {
        sl_image_free(r.image);
        return st;
    }
    r.image->is_foreign = true;
    r.image->format = SL_IMAGE_PNG;
    *out = r.image;
    return SL_OK;
}
