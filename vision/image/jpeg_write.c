// SPDX-License-Identifier: MIT
// image/jpeg_write.c: JPEG out, by libjpeg-turbo. As in jpeg_read.c, nothing local lives across a
// longjmp.
#include "image/jpeg.h"

#include <setjmp.h>

#include <jerror.h>

#define EXIF_HEADER "Exif\0"    // and the terminating zero: six bytes
#define MAX_ICC (255u * 65519u) // what APP2 markers can hold

typedef struct writer {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    jmp_buf jump;
    sl_ctx *ctx;
    const sl_image *image;
    const char *name;
    const sl_save_options *options;
    sl_jpeg_kept *kept; // NULL: all is coded anew
    uint8_t *row, *marker;
    sl_blob exif, remarks; // of upright pixels
    sl_status status;
    sl_jpeg_target target;
} writer;

static void on_error(j_common_ptr jpeg)
{
    writer *w = jpeg->client_data;
    char text[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, text);
    if (jpeg->err->msg_code == JERR_OUT_OF_MEMORY)
        w->status = sl_fail(w->ctx, SL_ERR_NOMEM, "%s: out of memory", w->name);
    else
        w->status = sl_fail(w->ctx, SL_ERR_UNSUPPORTED, "%s: cannot be a JPEG: %s", w->name, text);
    longjmp(w->jump, 1);
}

static void set_density(writer *w)
{
    double scale = 1;
    uint8_t unit = 1;
    switch (w->image->density_unit) {
    case SL_DENSITY_NONE:
        return;
    case SL_DENSITY_ASPECT:
        unit = 0;
        break;
    case SL_DENSITY_PER_INCH:
        break;
    case SL_DENSITY_PER_METRE:
        scale = 0.0254;
        break;
    case SL_DENSITY_PER_CM:
        unit = 2;
        break;
    }
    double x = w->image->density_x * scale + 0.5, y = w->image->density_y * scale + 0.5;
    if (x < 1 || y < 1 || x >= 65536 || y >= 65536)
        return;
    w->jpeg.density_unit = unit;
    w->jpeg.X_density = (UINT16)x;
    w->jpeg.Y_density = (UINT16)y;
}

static void copy_parameters(writer *w)
{
    struct jpeg_decompress_struct *source = sl_jpeg_kept_source(w->kept);
    jpeg_copy_critical_parameters(source, &w->jpeg);
    w->jpeg.optimize_coding = TRUE; // of two passes over coefficients that are there already
    if (source->progressive_mode)
        jpeg_simple_progression(&w->jpeg);
}

static void set_parameters(writer *w)
{
    struct jpeg_compress_struct *jpeg = &w->jpeg;
    const sl_image *image = w->image;
    bool colour = image->channels >= 3;
    jpeg->image_width = image->width;
    jpeg->image_height = image->height;
    jpeg->input_components = colour ? 3 : 1;
    jpeg->in_color_space = colour ? JCS_RGB : JCS_GRAYSCALE;
    jpeg_set_defaults(jpeg);
    jpeg_set_quality(jpeg, w->options->quality, TRUE);
    if (colour) {
        bool known = image->chroma_h > 0 && image->chroma_v > 0;
        int usual = w->options->quality >= 90 ? 1 : 2;
        jpeg->comp_info[0].h_samp_factor = known ? image->chroma_h : usual;
        jpeg->comp_info[0].v_samp_factor = known ? image->chroma_v : usual;
    }
}

static sl_status write_exif(writer *w)
{
    const size_t header = sizeof(EXIF_HEADER);
    const sl_blob *exif = w->kept ? &w->image->exif : &w->exif;
    if (exif->size == 0)
        return SL_OK;
    if (exif->size > SL_JPEG_SEGMENT - header) {
        sl_log(w->ctx, SL_LOG_WARNING, "%s: left out: EXIF of %zu bytes; a JPEG holds 64 KiB of it",
               w->name, exif->size);
        return SL_OK;
    }
    w->marker = sl_alloc(w->ctx, header + exif->size, 1);
    if (!w->marker)
        return SL_ERR_NOMEM;
    memcpy(w->marker, EXIF_HEADER, header);
    memcpy(w->marker + header, exif->data, exif->size);
    jpeg_write_marker(&w->jpeg, JPEG_APP0 + 1, w->marker, (unsigned)(header + exif->size));
    return SL_OK;
}

static void write_remarks(writer *w)
{
    sl_remark r;
    for (size_t at = 0; sl_remarks_next(w->kept ? &w->image->remarks : &w->remarks, &at, &r);)
        jpeg_write_marker(&w->jpeg, (int)r.marker, r.data, (unsigned)r.size);
}

// Pixels that are kept lie as in their file, and so does what is said of them; others are upright.
static sl_status write_metadata(writer *w)
{
    sl_status st = SL_OK;
    if (w->options->strip_metadata)
        return SL_OK;
    if (!w->kept)
        st = sl_exif_upright(w->ctx, w->image, &w->exif);
    if (!w->kept && st == SL_OK)
        st = sl_remarks_upright(w->ctx, w->image, &w->remarks);
    if (st == SL_OK)
        st = write_exif(w);
    if (st == SL_OK)
        write_remarks(w);
    return st;
}

static void write_icc(writer *w)
{
    const sl_blob *icc = &w->image->icc;
    if (icc->size > MAX_ICC)
        sl_log(w->ctx, SL_LOG_WARNING, "%s: left out: an ICC profile of %zu bytes", w->name,
               icc->size);
    else if (icc->size > 0)
        jpeg_write_icc_profile(&w->jpeg, icc->data, (unsigned)icc->size);
}

static void write_rows(writer *w)
{
    bool transparent = false;
    while (w->jpeg.next_scanline < w->jpeg.image_height) {
        transparent |= sl_image_row_flat(w->image, w->jpeg.next_scanline, 255, w->row);
        jpeg_write_scanlines(&w->jpeg, &w->row, 1);
    }
    if (transparent)
        sl_log(w->ctx, SL_LOG_WARNING, "%s: JPEG has no transparency; laid over white", w->name);
    if (w->image->depth == 16)
        sl_log(w->ctx, SL_LOG_INFO, "%s: JPEG has 8 bits a sample; rounded from 16", w->name);
}

static sl_status steps(writer *w, sl_blob *out)
{
    jpeg_create_compress(&w->jpeg);
    sl_jpeg_target_set(&w->target, w->ctx, &w->jpeg, out);
    if (w->kept)
        copy_parameters(w);
    else
        set_parameters(w);
    set_density(w);
    w->row = sl_alloc(w->ctx, w->image->width, 3);
    if (!w->row)
        return SL_ERR_NOMEM;
    if (w->kept)
        jpeg_write_coefficients(&w->jpeg, sl_jpeg_kept_blocks(w->kept));
    else
        jpeg_start_compress(&w->jpeg, TRUE);
    sl_status st = write_metadata(w);
    if (st != SL_OK)
        return st;
    write_icc(w);
    if (!w->kept)
        write_rows(w);
    jpeg_finish_compress(&w->jpeg);
    return SL_OK;
}

static sl_status encode(writer *w, sl_blob *out)
{
    if (setjmp(w->jump))
        return w->status;
    return steps(w, out);
}

static sl_status write_jpeg(sl_ctx *ctx, const sl_image *image, const char *name,
                            const sl_save_options *options, sl_jpeg_kept *kept, sl_blob *out)
{
    writer *w = calloc(1, sizeof(*w)); // too large for a stack
    if (!w)
        return sl_fail(ctx, SL_ERR_NOMEM, "%s: out of memory", name);
    w->ctx = ctx;
    w->image = image;
    w->name = name;
    w->options = options;
    w->kept = kept;
    w->jpeg.err = sl_jpeg_errors(&w->errors, on_error);
    w->jpeg.client_data = w;
    sl_status st = encode(w, out);
    jpeg_destroy_compress(&w->jpeg);
    free(w->row);
    free(w->marker);
    sl_blob_free(&w->exif);
    sl_blob_free(&w->remarks);
    free(w);
    if (st != SL_OK)
        sl_blob_free(out);
    return st;
}

// The picture as it lies in its file: turned back, and with EXIF that says so. Its file is the
// original's.
static sl_status turned_back(sl_ctx *ctx, const sl_image *image, sl_image **out)
{
    static const unsigned back[] = { 1, 1, 2, 3, 4, 5, 8, 7, 6 };
    sl_status st = sl_image_oriented(ctx, image, back[image->turned], out);
    if (st == SL_OK)
        st = sl_blob_copy(ctx, image->icc.data, image->icc.size, &(*out)->icc);
    if (st == SL_OK)
        st = sl_blob_copy(ctx, image->remarks.data, image->remarks.size, &(*out)->remarks);
    if (st == SL_OK)
        st = sl_blob_copy(ctx, image->exif.data, image->exif.size, &(*out)->exif);
    if (st != SL_OK)
        return st;
    sl_exif_set_orientation((*out)->exif.data, (*out)->exif.size, image->turned);
    (*out)->coded = image->coded;
    return SL_OK;
}

// SL_ERR_UNSUPPORTED: of this picture nothing can be kept.
static sl_status write_kept(sl_ctx *ctx, const sl_image *image, const char *name,
                            const sl_save_options *options, sl_blob *out)
{
    sl_image *stored = NULL;
    sl_jpeg_kept *kept = NULL;
    sl_status st = SL_OK;
    if (image->coded.size == 0 || (image->turned > 1 && options->strip_metadata))
        return SL_ERR_UNSUPPORTED; // without EXIF it would lie on its side
    if (image->turned > 1)
        st = turned_back(ctx, image, &stored);
    if (st == SL_OK)
        st = sl_jpeg_kept_open(ctx, stored ? stored : image, name, &kept);
    if (st == SL_OK)
        st = write_jpeg(ctx, stored ? stored : image, name, options, kept, out);
    sl_jpeg_kept_free(kept);
    if (stored)
        stored->coded = (sl_blob) { NULL, 0 };
    sl_image_free(stored);
    return st;
}

sl_status sl_jpeg_encode(sl_ctx *ctx, const sl_image *image, const char *name,
                         const sl_save_options *options, sl_blob *out)
{
    sl_save_options o = *options;
    *out = (sl_blob) { NULL, 0 };
    if (image->width > JPEG_MAX_DIMENSION || image->height > JPEG_MAX_DIMENSION)
        return sl_fail(ctx, SL_ERR_LIMIT, "%s: %ux%u pixels; a JPEG's sides end at %d, save a PNG",
                       name, image->width, image->height, (int)JPEG_MAX_DIMENSION);
    sl_status st = o.quality == 0 ? write_kept(ctx, image, name, &o, out) : SL_ERR_UNSUPPORTED;
    if (st != SL_ERR_UNSUPPORTED)
        return st;
    if (o.quality == 0)
        o.quality = SL_DEFAULT_QUALITY;
    return write_jpeg(ctx, image, name, &o, NULL, out);
}
