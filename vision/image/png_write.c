// SPDX-License-Identifier: MIT
// image/png_write.c: PNG out, by libpng. As in png_read.c, nothing local lives across a longjmp.
#include "image/codec.h"

#include <png.h>

typedef struct writer {
    sl_ctx *ctx;
    const sl_image *image;
    const char *name;
    const sl_save_options *options;
    png_structp png;
    png_infop info;
    sl_blob exif, remarks; // of upright pixels
    char *text;
    sl_blob *out;
    size_t capacity;
    sl_status status;
    bool out_of_memory;
} writer;

static void on_error(png_structp png, png_const_charp text)
{
    writer *w = png_get_error_ptr(png);
    if (w->out_of_memory)
        w->status = sl_fail(w->ctx, SL_ERR_NOMEM, "%s: out of memory", w->name);
    else
        w->status = sl_fail(w->ctx, SL_ERR_UNSUPPORTED, "%s: cannot be a PNG: %s", w->name, text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    writer *w = png_get_error_ptr(png);
    sl_log(w->ctx, SL_LOG_WARNING, "%s: left out: %s", w->name, text);
}

static void write_bytes(png_structp png, png_bytep data, size_t size)
{
    writer *w = png_get_io_ptr(png);
    if (sl_blob_append(w->ctx, w->out, &w->capacity, data, size) != SL_OK) {
        w->out_of_memory = true;
        png_error(png, "out of memory");
    }
}

static void flush_nothing(png_structp png)
{
    (void)png;
}

static png_voidp get_memory(png_structp png, png_alloc_size_t size)
{
    writer *w = png_get_mem_ptr(png);
    void *data = malloc(size);
    if (!data)
        w->out_of_memory = true;
    return data;
}

static void release_memory(png_structp png, png_voidp data)
{
    (void)png;
    free(data);
}

static void set_density(writer *w)
{
    double scale = 1;
    int unit = PNG_RESOLUTION_METER;
    switch (w->image->density_unit) {
    case SL_DENSITY_NONE:
        return;
    case SL_DENSITY_ASPECT:
        unit = PNG_RESOLUTION_UNKNOWN;
        break;
    case SL_DENSITY_PER_INCH:
        scale = 1 / 0.0254;
        break;
    case SL_DENSITY_PER_METRE:
        break;
    case SL_DENSITY_PER_CM:
        scale = 100;
        break;
    }
    double x = w->image->density_x * scale + 0.5, y = w->image->density_y * scale + 0.5;
    if (x >= 1 && y >= 1 && x < 0x7FFFFFFF && y < 0x7FFFFFFF)
        png_set_pHYs(w->png, w->info, (png_uint_32)x, (png_uint_32)y, unit);
}

static void set_colour(writer *w)
{
    const sl_blob *icc = &w->image->icc;
    const sl_png_colour *c = &w->image->png_colour;
    const int32_t *v = c->chroma;
    if (icc->size > 0 && icc->size <= 0x7FFFFFFF) {
        // A profile that libpng finds faulty (or meant for other channels) is left out with a word.
        png_set_iCCP(w->png, w->info, "icc", PNG_COMPRESSION_TYPE_BASE, icc->data,
                     (png_uint_32)icc->size);
        return;
    }
    if (c->has_srgb) {
        png_set_sRGB(w->png, w->info, c->srgb_intent);
        return;
    }
    if (c->has_gamma)
        png_set_gAMA_fixed(w->png, w->info, c->gamma);
    if (c->has_chroma)
        png_set_cHRM_fixed(w->png, w->info, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]);
}

static void set_header(writer *w)
{
    static const int types[] = { 0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA,
                                 PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGB_ALPHA };
    const sl_image *image = w->image;
    png_set_benign_errors(w->png, 1);
    png_set_user_limits(w->png, 0x7FFFFFFF, 0x7FFFFFFF);
    png_set_IHDR(w->png, w->info, image->width, image->height, image->depth, types[image->channels],
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_option(w->png, PNG_SKIP_sRGB_CHECK_PROFILE, PNG_OPTION_ON); // profiles stay as they are
    set_colour(w);
    set_density(w);
}

static void set_xmp(writer *w)
{
    size_t size = 0;
    const uint8_t *xmp = sl_remarks_xmp(&w->remarks, &size);
    char key[] = SL_PNG_XMP, none[] = "";
    if (!xmp)
        return;
    w->text = sl_alloc(w->ctx, size + 1, 1); // libpng wants it to end with a zero
    if (!w->text) {
        w->out_of_memory = true;
        png_error(w->png, "out of memory");
    }
    memcpy(w->text, xmp, size);
    png_text text = { .compression = PNG_ITXT_COMPRESSION_NONE,
                      .key = key,
                      .text = w->text,
                      .itxt_length = size,
                      .lang = none,
                      .lang_key = none };
    png_set_text(w->png, w->info, &text, 1);
}

static sl_status set_metadata(writer *w)
{
    if (w->options->strip_metadata)
        return SL_OK;
    sl_status st = sl_exif_upright(w->ctx, w->image, &w->exif);
    if (st == SL_OK)
        st = sl_remarks_upright(w->ctx, w->image, &w->remarks);
    if (st != SL_OK)
        return st;
    if (w->exif.size > 0 && w->exif.size <= 0x7FFFFFFF)
        png_set_eXIf_1(w->png, w->info, (png_uint_32)w->exif.size, w->exif.data);
    set_xmp(w);
    return SL_OK;
}

static sl_status encode(writer *w)
{
    if (setjmp(png_jmpbuf(w->png)))
        return w->status;
    png_set_write_fn(w->png, w, write_bytes, flush_nothing);
    set_header(w);
    sl_status st = set_metadata(w);
    if (st != SL_OK)
        return st;
    // On photographs, level 3 is as small as 6 (noise defeats the longer search) in half the time.
    png_set_compression_level(w->png, 3);
    png_write_info(w->png, w->info);
    if (w->image->depth == 16 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
        png_set_swap(w->png);
    for (uint32_t y = 0; y < w->image->height; y++)
        png_write_row(w->png, sl_image_row_const(w->image, y));
    png_write_end(w->png, NULL); // with what png_write_info wrote, EXIF would stand there twice
    return SL_OK;
}

sl_status sl_png_encode(sl_ctx *ctx, const sl_image *image, const char *name,
                        const sl_save_options *options, sl_blob *out)
{
    writer w = { .ctx = ctx, .image = image, .name = name, .options = options, .out = out };
    *out = (sl_blob) { NULL, 0 };
    w.png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &w, on_error, on_warning, &w,
                                      get_memory, release_memory);
    if (w.png)
        w.info = png_create_info_struct(w.png);
    sl_status st = w.info ? encode(&w) : sl_fail(ctx, SL_ERR_NOMEM, "%s: out of memory", name);
    png_destroy_write_struct(&w.png, &w.info);
    sl_blob_free(&w.exif);
    sl_blob_free(&w.remarks);
    free(w.text);
    if (st == SL_OK && w.out_of_memory) // libpng goes on without what it had no room for
        st = sl_fail(ctx, SL_ERR_NOMEM, "%s: out of memory", name);
    if (st != SL_OK)
        sl_blob_free(out);
    return st;
}
