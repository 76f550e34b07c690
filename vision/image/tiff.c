// SPDX-License-Identifier: MIT
// image/tiff.c: TIFF in, by libtiff: what scanners, Photoshop and raw converters write. Of a
// camera's raw file, which is a TIFF on the outside, only a preview could be read, so that it is
// refused.
#include "image/tiff_reader.h"

#include <stdarg.h>

#define COLOURS_RAW 34892u // LinearRaw, of DNG
#define TAG_DNG_VERSION 50706u
#define MOST_SAMPLES 64u // of a pixel: all are decoded, whatever is taken of them

static tmsize_t read_bytes(thandle_t handle, void *to, tmsize_t size)
{
    sl_tiff_reader *r = handle;
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
    sl_tiff_reader *r = handle;
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
    return ((sl_tiff_reader *)handle)->coded->size;
}

// libtiff then reads what is not compressed from where it lies.
static int map(thandle_t handle, void **data, toff_t *size)
{
    const sl_tiff_reader *r = handle;
    *data = (void *)(uintptr_t)r->coded->data;
    *size = r->coded->size;
    return 1;
}

static void unmap(thandle_t handle, void *data, toff_t size)
{
    (void)handle, (void)data, (void)size;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static void keep_error(sl_tiff_reader *r, const char *format, va_list values)
{
    if (!*r->error)
        vsnprintf(r->error, sizeof(r->error), format, values);
}

// What is wrong with faxes libtiff tells, and goes on.
static int on_error(TIFF *tiff, void *user, const char *where, const char *format, va_list values)
{
    sl_tiff_reader *r = user;
    (void)tiff;
    r->is_damaged |= r->is_reading && begins(where, "Fax");
    keep_error(r, format, values);
    return 1; // and to nobody else
}

// Warnings of libjpeg that leave every pixel as it was meant.
static bool is_harmless_text(const char *text)
{
    return begins(text, "Warning: unknown JFIF") || begins(text, "Unknown Adobe") ||
           strstr(text, "before marker 0xd9");
}

// Of most there is nothing to be said: tags that libtiff does not know. But what is wrong with
// coded pixels it says of these codecs in no other way.
static int on_warning(TIFF *tiff, void *user, const char *where, const char *format, va_list values)
{
    sl_tiff_reader *r = user;
    (void)tiff;
    if (!r->is_reading)
        return 1;
    bool is_broken = begins(where, "PackBits");
    r->is_damaged |= begins(where, "Fax");
    if (begins(where, "JPEGLib") && strcmp(format, "%s") == 0) {
        va_list copy;
        va_copy(copy, values);
        is_broken = !is_harmless_text(va_arg(copy, const char *));
        va_end(copy);
    } else if (begins(where, "JPEGPreDecode") && begins(format, "Improper JPEG strip/tile size")) {
        va_list copy; // expected width and height, those that are there
        va_copy(copy, values);
        uint32_t sizes[4];
        for (int i = 0; i < 4; i++)
            sizes[i] = va_arg(copy, uint32_t);
        va_end(copy);
        is_broken = sizes[2] < r->wide || sizes[3] < r->high;
    }
    if (is_broken)
        keep_error(r, format, values);
    r->is_broken |= is_broken;
    return 1;
}

static sl_status open_file(sl_tiff_reader *r)
{
    TIFFOpenOptions *options = r->lib->OpenOptionsAlloc();
    if (!options)
        return sl_fail(r->ctx, SL_ERR_NOMEM, "%s: out of memory", r->coded->name);
    r->lib->OpenOptionsSetMaxSingleMemAlloc(options, sl_tiff_most_bytes(r));
    r->lib->OpenOptionsSetErrorHandlerExtR(options, on_error, r);
    r->lib->OpenOptionsSetWarningHandlerExtR(options, on_warning, r);
    // By a fixed name, which some warnings give as where they come from.
    r->tiff = r->lib->ClientOpenExt("TIFF", "r", r, read_bytes, write_nothing, seek, close_nothing,
                                    size_of, map, unmap, options);
    r->lib->OpenOptionsFree(options);
    return r->tiff ? SL_OK : sl_tiff_damaged(r);
}

static bool is_camera_raw(const sl_tiff_reader *r)
{
    const void *version = NULL;
    return r->colours == PHOTOMETRIC_CFA || r->colours == COLOURS_RAW ||
           r->lib->GetField(r->tiff, TAG_DNG_VERSION, &version) == 1;
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

static sl_status read_header(sl_tiff_reader *r)
{
    uint16_t sample_kind = SAMPLEFORMAT_UINT;
    r->lib->GetFieldDefaulted(r->tiff, TIFFTAG_BITSPERSAMPLE, &r->bits);
    r->lib->GetFieldDefaulted(r->tiff, TIFFTAG_SAMPLESPERPIXEL, &r->samples);
    r->lib->GetFieldDefaulted(r->tiff, TIFFTAG_SAMPLEFORMAT, &sample_kind);
    r->lib->GetFieldDefaulted(r->tiff, TIFFTAG_PLANARCONFIG, &r->plane_kind);
    r->lib->GetFieldDefaulted(r->tiff, TIFFTAG_COMPRESSION, &r->compression);
    r->lib->GetFieldDefaulted(r->tiff, TIFFTAG_ORIENTATION, &r->orientation);
    if (!r->lib->GetField(r->tiff, TIFFTAG_PHOTOMETRIC, &r->colours))
        r->colours = r->samples < 3 ? PHOTOMETRIC_MINISBLACK : PHOTOMETRIC_RGB;
    if (is_camera_raw(r))
        return sl_tiff_refuse_raw(r->ctx, r->coded);
    if (!r->lib->GetField(r->tiff, TIFFTAG_IMAGEWIDTH, &r->width) ||
        !r->lib->GetField(r->tiff, TIFFTAG_IMAGELENGTH, &r->height) || !r->width || !r->height)
        return sl_tiff_damaged(r);
    if (sample_kind != SAMPLEFORMAT_UINT && sample_kind != SAMPLEFORMAT_VOID)
        return sl_tiff_unsupported(r, "of floating-point or signed numbers");
    if (!is_known_compression(r->compression) || !r->lib->IsCODECConfigured(r->compression))
        return sl_tiff_unsupported(r, "of a rare compression");
    return sl_coded_check_size(r->ctx, r->coded, r->width, r->height);
}

static void find_alpha(sl_tiff_reader *r)
{
    uint16_t count = 0, *kinds = NULL;
    r->lib->GetFieldDefaulted(r->tiff, TIFFTAG_EXTRASAMPLES, &count, &kinds);
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

// Which samples there are, and whether libtiff makes colours of them.
static sl_status choose_samples(sl_tiff_reader *r)
{
    const bool is_plain = r->bits == 8 || r->bits == 16;
    const bool is_contiguous = r->plane_kind == PLANARCONFIG_CONTIG;
    uint16_t ink_set = INKSET_CMYK;
    if (r->colours == PHOTOMETRIC_YCBCR && r->compression == COMPRESSION_JPEG && is_contiguous) {
        r->lib->SetField(r->tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        r->colours = PHOTOMETRIC_RGB;
    }
    switch (r->colours) {
    case PHOTOMETRIC_MINISBLACK:
    case PHOTOMETRIC_MINISWHITE:
        r->colour_samples = 1;
        r->is_mapped = r->bits < 8;
        break;
    case PHOTOMETRIC_RGB:
        r->colour_samples = 3;
        break;
    case PHOTOMETRIC_SEPARATED:
        r->colour_samples = 4;
        r->lib->GetFieldDefaulted(r->tiff, TIFFTAG_INKSET, &ink_set);
        if (ink_set != INKSET_CMYK || !is_contiguous || !is_plain)
            return sl_tiff_unsupported(r, "of inks other than CMYK, or of planes of them");
        break;
    case PHOTOMETRIC_PALETTE:
    case PHOTOMETRIC_YCBCR:
        r->colour_samples = r->colours == PHOTOMETRIC_PALETTE ? 1 : 3;
        r->is_mapped = true;
        break;
    default:
        return sl_tiff_unsupported(r, "of a kind of colours");
    }
    if (!is_plain && (!r->is_mapped || r->bits > 8))
        return sl_tiff_unsupported(r, "of an odd number of bits");
    if (r->samples < r->colour_samples)
        return sl_tiff_damaged(r);
    if (r->samples > MOST_SAMPLES)
        return sl_tiff_unsupported(r, "of more channels than a picture for people has");
    find_alpha(r);
    if (r->is_mapped && r->samples > r->colour_samples)
        return sl_tiff_unsupported(r, "of such colours with alpha");
    return SL_OK;
}

static sl_status read_profile(sl_tiff_reader *r)
{
    uint32_t size = 0;
    const void *icc = NULL;
    return r->lib->GetField(r->tiff, TIFFTAG_ICCPROFILE, &size, &icc) == 1 && size > 0
               ? sl_blob_copy(r->ctx, icc, size, &r->image->icc)
               : SL_OK;
}

static sl_status read_pixels(sl_tiff_reader *r)
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
    r->is_reading = true;
    if (st == SL_OK)
        st = sl_tiff_read_pixels(r);
    r->is_reading = false;
    if (st == SL_OK && r->is_broken && !r->coded->allow_truncated)
        st = sl_tiff_damaged(r);
    if (is_cmyk && st == SL_OK)
        sl_blob_free(&r->image->icc); // it described the inks; the pixels are sRGB now
    for (uint32_t y = 0; st == SL_OK && r->is_multiplied && y < r->height; y++)
        sl_image_row_straighten(r->image, y);
    return st;
}

static void read_density(sl_tiff_reader *r)
{
    uint16_t unit = RESUNIT_INCH;
    float x = 0, y = 0;
    r->lib->GetFieldDefaulted(r->tiff, TIFFTAG_RESOLUTIONUNIT, &unit);
    if (!r->lib->GetField(r->tiff, TIFFTAG_XRESOLUTION, &x) ||
        !r->lib->GetField(r->tiff, TIFFTAG_YRESOLUTION, &y) || !(x >= 1 && x < 65536) ||
        !(y >= 1 && y < 65536))
        return;
    const float scale = unit == RESUNIT_CENTIMETER ? 100 : 1; // 300 an inch are 118.11 there
    r->image->density_x = (uint32_t)(x * scale + 0.5f);
    r->image->density_y = (uint32_t)(y * scale + 0.5f);
    r->image->density_unit = unit == RESUNIT_INCH         ? SL_DENSITY_PER_INCH
                             : unit == RESUNIT_CENTIMETER ? SL_DENSITY_PER_METRE
                                                          : SL_DENSITY_ASPECT;
}

static sl_status read_metadata(sl_tiff_reader *r)
{
    const sl_blob file = { (uint8_t *)(uintptr_t)r->coded->data, r->coded->size };
    uint32_t size = 0;
    const void *xmp = NULL;
    read_density(r);
    sl_status st = sl_exif_of_tiff(r->ctx, &file, &r->image->exif);
    if (st == SL_OK && r->lib->GetField(r->tiff, TIFFTAG_XMLPACKET, &size, &xmp) == 1 && size > 0)
        st = sl_image_add_xmp(r->ctx, r->image, xmp, size, r->coded->name);
    if (st == SL_OK) {
        r->image->turned = r->orientation >= 1 && r->orientation <= 8 ? r->orientation : 1;
        st = sl_image_orient(r->ctx, r->image, r->image->turned);
    }
    return st;
}

static void tell(const sl_tiff_reader *r, const sl_tiff_facts *facts)
{
    if (facts->has_pages)
        sl_log(r->ctx, SL_LOG_WARNING, "%s: has several pictures; the first one is taken",
               r->coded->name);
    if (facts->loses_exif)
        sl_log(r->ctx, SL_LOG_WARNING, "%s: a BigTIFF, whose EXIF is not kept", r->coded->name);
    if (r->is_damaged || r->is_broken)
        sl_log(r->ctx, SL_LOG_WARNING, "%s: ends early or is damaged; parts of it are missing",
               r->coded->name);
}

sl_status sl_tiff_decode(sl_ctx *ctx, const sl_coded *coded, sl_image **out)
{
    const char *why = "";
    sl_tiff_reader r = { .ctx = ctx, .coded = coded, .lib = sl_tiff_find_library(&why) };
    *out = NULL;
    sl_tiff_facts facts;
    sl_status st = sl_tiff_survey(ctx, coded, &facts);
    if (st == SL_OK && !r.lib)
        st = sl_fail(ctx, SL_ERR_UNSUPPORTED,
                     "%s: a TIFF picture, which libtiff reads (%s); install it (libtiff6 of Debian "
                     "and Ubuntu), or convert the picture first",
                     coded->name, why);
    if (st == SL_OK)
        st = open_file(&r);
    if (st == SL_OK)
        st = read_header(&r);
    if (st == SL_OK)
        st = choose_samples(&r);
    if (st == SL_OK)
        st = sl_tiff_check_work(&r);
    if (st == SL_OK)
        st = read_pixels(&r);
    if (st == SL_OK)
        st = read_metadata(&r);
    if (st == SL_OK)
        tell(&r, &facts);
    if (r.tiff)
        r.lib->Close(r.tiff);
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
