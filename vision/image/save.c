// SPDX-License-Identifier: MIT
// image/save.c: which format a file gets, and its way to the disk.
#include "image/codec.h"

static const char *format_name(sl_image_format format)
{
    return format == SL_IMAGE_JPEG ? "JPEG" : "PNG";
}

static const char *ending_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash + 1 : path, '.');
    return dot ? dot + 1 : "";
}

// Whether an ending is this word of small letters and digits. Not strcasecmp, which asks the
// locale: in Turkish I is not the capital of i.
static bool is_word(const char *ending, const char *word)
{
    size_t i = 0;
    for (; ending[i] && word[i]; i++) {
        const bool is_capital = ending[i] >= 'A' && ending[i] <= 'Z';
        if ((is_capital ? ending[i] + ('a' - 'A') : ending[i]) != word[i])
            return false;
    }
    return ending[i] == word[i];
}

static sl_image_format format_of(const char *ending)
{
    if (is_word(ending, "png"))
        return SL_IMAGE_PNG;
    if (is_word(ending, "jpg") || is_word(ending, "jpeg"))
        return SL_IMAGE_JPEG;
    return SL_IMAGE_SAME;
}

// A PNG named .webp helps nobody.
static bool is_foreign(const char *ending)
{
    static const char *const foreign[] = { "webp", "hif",  "tif",  "tiff", "gif", "bmp",
                                           "heic", "heif", "avif", "jxl",  "jp2" };
    for (size_t i = 0; i < SL_ARRAY_LEN(foreign); i++)
        if (is_word(ending, foreign[i]))
            return true;
    return false;
}

static sl_status choose_format(sl_ctx *ctx, const sl_image *image, const char *path,
                               sl_save_options *options)
{
    const char *ending = ending_of(path);
    sl_image_format named = format_of(ending);
    if (is_foreign(ending))
        return sl_fail(ctx, SL_ERR_UNSUPPORTED, "%s: cannot write .%s; name a .png or .jpg file",
                       path, ending);
    if (options->format == SL_IMAGE_SAME)
        options->format = named != SL_IMAGE_SAME ? named : image->format;
    else if (named != SL_IMAGE_SAME && named != options->format)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "%s: the name says %s, the format asked for is %s",
                       path, format_name(named), format_name(options->format));
    return SL_OK;
}

sl_status sl_image_encode(sl_ctx *ctx, const sl_image *image, const char *name,
                          const sl_save_options *options, sl_blob *out)
{
    sl_save_options o = options ? *options : (sl_save_options) { 0 };
    *out = (sl_blob) { NULL, 0 };
    if (o.quality < 0 || o.quality > 100)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "%s: JPEG quality %d; it is 1 to 100", name,
                       o.quality);
    if (image->had_more && !o.strip_metadata)
        sl_log(ctx, SL_LOG_WARNING,
               "%s: without the film or gain map that lay in the file behind the picture, nor XMP "
               "that tells of it",
               name);
    switch (o.format) {
    case SL_IMAGE_PNG:
        return sl_png_encode(ctx, image, name, &o, out);
    case SL_IMAGE_JPEG:
        return sl_jpeg_encode(ctx, image, name, &o, out);
    default:
        return sl_fail(ctx, SL_ERR_ARGUMENT, "%s: no format to encode to", name);
    }
}

sl_status sl_image_save_memory(sl_ctx *ctx, const sl_image *image, const char *name,
                               const sl_save_options *options, void **data, size_t *size)
{
    sl_save_options o = options ? *options : (sl_save_options) { 0 };
    double start = sl_trace_start(ctx);
    sl_blob coded;
    if (o.format == SL_IMAGE_SAME)
        o.format = image->format;
    sl_status st = sl_image_encode(ctx, image, name, &o, &coded);
    *data = coded.data;
    *size = coded.size;
    sl_trace_end(ctx, "encode", start);
    return st;
}

sl_status sl_image_save(sl_ctx *ctx, const sl_image *image, const char *path,
                        const sl_save_options *options)
{
    sl_save_options o = options ? *options : (sl_save_options) { 0 };
    sl_output *output = NULL;
    sl_blob coded = { NULL, 0 };
    double start = sl_trace_start(ctx);
    sl_status st = choose_format(ctx, image, path, &o);
    // Opened first: no picture is encoded for a place where it cannot go.
    if (st == SL_OK)
        st = sl_output_open(ctx, path, o.overwrite, &output);
    if (st == SL_OK)
        st = sl_image_encode(ctx, image, path, &o, &coded);
    if (st == SL_OK)
        st = sl_output_write(output, coded.data, coded.size);
    if (st == SL_OK) {
        st = sl_output_commit(output);
        output = NULL;
    }
    sl_output_discard(output);
    sl_blob_free(&coded);
    sl_trace_end(ctx, "encode", start);
    return st;
}
