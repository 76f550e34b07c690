// SPDX-License-Identifier: MIT
// image/load.c: finds out what a file holds, has it decoded, and turns the picture upright.
#include "image/codec.h"

typedef struct magic {
    size_t at;
    const char *bytes, *name;
    size_t size;
} magic;

#define MAGIC(at, bytes, name)                                                                     \
    {                                                                                              \
        at, bytes, name, sizeof(bytes) - 1                                                         \
    }

// Contents that people try, for a sentence that helps.
static const magic others[] = {
    MAGIC(0, "GIF8", "GIF"),
    MAGIC(4, "ftypcrx ", "Canon raw"),
    MAGIC(4, "ftypmsf1", "an animation"),
    MAGIC(4, "ftypavis", "an animation"),
    MAGIC(4, "ftyphev", "an animation"),
    MAGIC(4, "ftyp", "a video"),
    MAGIC(8, "CR\2\0", "Canon raw"),
    MAGIC(0, "IIU\0", "Panasonic raw"),
    MAGIC(0, "FUJIFILM", "Fujifilm raw"),
    MAGIC(0, "BM", "BMP"),
    MAGIC(0, "8BPS", "a Photoshop document"),
    MAGIC(0, "gimp xcf", "a GIMP document"),
    MAGIC(0, "\xFF\x0A", "JPEG XL"),
    MAGIC(4, "JXL ", "JPEG XL"),
    MAGIC(4, "jP  ", "JPEG 2000"),
    MAGIC(0, "qoif", "QOI"),
    MAGIC(0, "%PDF", "PDF"),
    MAGIC(0, "<svg", "SVG"),
    MAGIC(0, "PK\3\4", "a zip archive"),
};

static const uint8_t png_signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n' };

static bool has_magic(const sl_coded *c, const magic *m)
{
    return c->size >= m->at + m->size && memcmp(c->data + m->at, m->bytes, m->size) == 0;
}

static bool is_webp(const sl_coded *c)
{
    static const magic riff = MAGIC(0, "RIFF", ""), webp = MAGIC(8, "WEBP", "");
    return has_magic(c, &riff) && has_magic(c, &webp);
}

static bool is_heif(const sl_coded *c)
{
    static const magic brands[] = {
        MAGIC(4, "ftypheic", ""), MAGIC(4, "ftypheix", ""), MAGIC(4, "ftypheim", ""),
        MAGIC(4, "ftypheis", ""), MAGIC(4, "ftypmif1", ""), MAGIC(4, "ftypmif2", ""),
        MAGIC(4, "ftypavif", ""),
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(brands); i++)
        if (has_magic(c, &brands[i]))
            return true;
    return false;
}

static bool is_tiff(const sl_coded *c)
{
    static const magic kinds[] = { MAGIC(0, "II*\0", ""), MAGIC(0, "MM\0*", ""),
                                   MAGIC(0, "II+\0", ""), MAGIC(0, "MM\0+", "") };
    static const magic canon = MAGIC(8, "CR\2\0", "");
    bool is = false;
    for (size_t i = 0; i < SL_ARRAY_LEN(kinds); i++)
        is |= has_magic(c, &kinds[i]);
    return is && !has_magic(c, &canon);
}

static bool looks_like_text(const uint8_t *data, size_t size)
{
    size_t n = size < 512 ? size : 512;
    for (size_t i = 0; i < n; i++)
        if (data[i] < 0x20 && data[i] != '\n' && data[i] != '\r' && data[i] != '\t')
            return false;
    return true;
}

static sl_status refuse(sl_ctx *ctx, const sl_coded *c)
{
    if (c->size == 0)
        return sl_fail(ctx, SL_ERR_FORMAT, "%s: empty file; copy it again from where it came",
                       c->name);
    if (c->size >= 4 && memcmp(c->data, png_signature, 4) == 0)
        return sl_fail(ctx, SL_ERR_FORMAT,
                       "%s: a PNG whose first bytes are damaged, as by a transfer in text mode; "
                       "copy it again as binary",
                       c->name);
    for (size_t i = 0; i < SL_ARRAY_LEN(others); i++)
        if (has_magic(c, &others[i]))
            return sl_fail(
                ctx, SL_ERR_UNSUPPORTED,
                "%s: not PNG, JPEG, WebP, TIFF, HEIC or AVIF (looks like %s); convert it first",
                c->name, others[i].name);
    return sl_fail(ctx, SL_ERR_FORMAT,
                   "%s: not PNG, JPEG, WebP, TIFF, HEIC or AVIF%s; is this the right file?",
                   c->name, looks_like_text(c->data, c->size) ? " (looks like text)" : "");
}

sl_status sl_coded_check_size(sl_ctx *ctx, const sl_coded *coded, uint64_t width, uint64_t height)
{
    uint64_t pixels = 0;
    if (__builtin_mul_overflow(width, height, &pixels) || pixels > coded->max_pixels)
        return sl_fail(ctx, SL_ERR_LIMIT, "%s: %llux%llu pixels; the limit is %llu pixels",
                       coded->name, (unsigned long long)width, (unsigned long long)height,
                       (unsigned long long)coded->max_pixels);
    return SL_OK;
}

// These may come in other colours than they were: their profile would be an error in what is
// written.
static void drop_odd_profile(sl_image *image)
{
    const char *colours = image->channels < 3 ? "GRAY" : "RGB ";
    if (image->icc.size < 20 || memcmp(image->icc.data + 16, colours, 4) != 0)
        sl_blob_free(&image->icc);
}

static sl_status decode(sl_ctx *ctx, const sl_blob *file, const char *name,
                        const sl_load_options *options, sl_image **out, bool *can_keep)
{
    sl_coded coded = { .data = file->data, .size = file->size, .name = name };
    coded.max_pixels = options && options->max_pixels ? options->max_pixels : SL_DEFAULT_MAX_PIXELS;
    coded.allow_truncated = options && options->allow_truncated;
    sl_image *image = NULL;
    *out = NULL;
    *can_keep = false;
    sl_status st;
    if (file->size >= 8 && memcmp(file->data, png_signature, 8) == 0)
        st = sl_png_decode(ctx, &coded, &image);
    else if (file->size >= 3 && memcmp(file->data, "\xFF\xD8\xFF", 3) == 0)
        st = sl_jpeg_decode(ctx, &coded, &image, can_keep);
    else if (is_webp(&coded))
        st = sl_webp_decode(ctx, &coded, &image);
    else if (is_heif(&coded))
        st = sl_heif_decode(ctx, &coded, &image);
    else if (is_tiff(&coded))
        st = sl_tiff_decode(ctx, &coded, &image);
    else
        st = refuse(ctx, &coded);
    if (st == SL_OK && image->is_foreign)
        drop_odd_profile(image);
    if (st == SL_OK && image->exif.size > 0) {
        if (!image->turned) { // not by the decoder
            image->turned = sl_exif_orientation(image->exif.data, image->exif.size);
            st = sl_image_orient(ctx, image, image->turned);
        }
        sl_exif_set_orientation(image->exif.data, image->exif.size, 1);
    }
    if (st != SL_OK) {
        sl_image_free(image);
        return st;
    }
    *out = image;
    return SL_OK;
}

sl_status sl_image_decode(sl_ctx *ctx, const void *data, size_t size, const char *name,
                          const sl_load_options *options, sl_image **out)
{
    const sl_blob file = { (uint8_t *)data, size };
    bool can_keep = false;
    sl_status st = decode(ctx, &file, name, options, out, &can_keep);
    if (st == SL_OK && can_keep)
        st = sl_blob_copy(ctx, data, size, &(*out)->coded);
    if (st != SL_OK) {
        sl_image_free(*out);
        *out = NULL;
    }
    return st;
}

// Takes the file's bytes.
static sl_status decode_file(sl_ctx *ctx, sl_blob *file, const char *name,
                             const sl_load_options *options, sl_image **out)
{
    bool can_keep = false;
    sl_status st = decode(ctx, file, name, options, out, &can_keep);
    if (st == SL_OK && can_keep) {
        (*out)->coded = *file;
        *file = (sl_blob) { NULL, 0 };
    }
    sl_blob_free(file);
    return st;
}

// No sensible coding needs more than 16-bit RGBA does; metadata come on top.
static size_t most_bytes(const sl_load_options *options)
{
    const uint64_t metadata = 64u << 20;
    uint64_t pixels = options && options->max_pixels ? options->max_pixels : SL_DEFAULT_MAX_PIXELS;
    return pixels < (SIZE_MAX - metadata) / 8 ? (size_t)(pixels * 8 + metadata) : SIZE_MAX;
}

sl_status sl_image_load(sl_ctx *ctx, const char *path, const sl_load_options *options,
                        sl_image **out)
{
    double start = sl_trace_start(ctx);
    sl_blob file;
    *out = NULL;
    sl_status st = sl_file_read(ctx, path, most_bytes(options), &file);
    if (st == SL_OK)
        st = decode_file(ctx, &file, path, options, out);
    sl_trace_end(ctx, "decode", start);
    return st;
}

sl_status sl_image_load_memory(sl_ctx *ctx, const void *data, size_t size, const char *name,
                               const sl_load_options *options, sl_image **out)
{
    double start = sl_trace_start(ctx);
    *out = NULL;
    sl_status st = size > 0 ? sl_image_decode(ctx, data, size, name, options, out)
                            : sl_fail(ctx, SL_ERR_FORMAT, "%s: empty file", name);
    sl_trace_end(ctx, "decode", start);
    return st;
}

sl_status sl_image_load_fd(sl_ctx *ctx, int fd, const char *name, const sl_load_options *options,
                           sl_image **out)
{
    double start = sl_trace_start(ctx);
    sl_blob file;
    *out = NULL;
    sl_status st = sl_file_read_fd(ctx, fd, name, most_bytes(options), &file);
    if (st == SL_OK)
        st = decode_file(ctx, &file, name, options, out);
    sl_trace_end(ctx, "decode", start);
    return st;
}
