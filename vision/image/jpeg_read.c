// SPDX-License-Identifier: MIT
// image/jpeg_read.c: JPEG in, by libjpeg-turbo. Errors come back by longjmp: all state that lives
// across one is in the reader, none in local variables.
#include "image/jpeg.h"

#include <setjmp.h>

#include <jerror.h>

#define EXIF_HEADER "Exif\0" // and the terminating zero: six bytes
#define MAX_SCANS 100        // each costs a pass over the picture, however few bytes it has
#define MAX_SEGMENTS 4096    // before the picture; extended XMP of 100 megabytes takes 1,600
#define MARKER_FIRST_SEGMENT 0xC0
#define MARKER_SCAN 0xDA

typedef struct reader {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    sl_ctx *ctx;
    const sl_coded *coded;
    sl_image *image;
    sl_cmyk *cmyk;
    uint8_t *cmyk_row;
    JOCTET *icc;  // from libjpeg, for free()
    bool damaged; // a warning was let pass
    bool warned;  // the error is a warning that was not
    sl_status status;
} reader;

static reader *reader_of(j_common_ptr jpeg)
{
    return jpeg->client_data;
}

static void on_error(j_common_ptr jpeg)
{
    reader *r = reader_of(jpeg);
    char text[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, text);
    const char *name = r->coded->name;
    switch (jpeg->err->msg_code) {
    case JERR_OUT_OF_MEMORY:
        r->status = sl_fail(r->ctx, SL_ERR_NOMEM, "%s: out of memory", name);
        break;
    case JERR_IMAGE_TOO_BIG:
        r->status = sl_fail(r->ctx, SL_ERR_LIMIT, "%s: sides above %d pixels", name,
                            (int)JPEG_MAX_DIMENSION);
        break;
    case JERR_BAD_PRECISION:
        r->status = sl_fail(r->ctx, SL_ERR_UNSUPPORTED,
                            "%s: a JPEG of other than 8 bits a sample; convert it to 8 bits", name);
        break;
    case JERR_ARITH_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_NOT_COMPILED:
    case JERR_SOF_UNSUPPORTED:
        r->status = sl_fail(r->ctx, SL_ERR_UNSUPPORTED,
                            "%s: a rare kind of JPEG; convert it first (%s)", name, text);
        break;
    default:
        r->status =
            sl_fail(r->ctx, SL_ERR_FORMAT, "%s: damaged JPEG: %s%s", name, text,
                    r->warned ? "; what is there can be had if truncated ones are allowed" : "");
    }
    longjmp(r->jump, 1);
}

// Warnings that leave every pixel as it was meant.
static bool is_harmless(j_common_ptr jpeg)
{
    switch (jpeg->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
        return true;
    case JWRN_EXTRANEOUS_DATA: // some cameras pad the end of the picture, others its header
        return jpeg->err->msg_parm.i[1] == JPEG_EOI ||
               ((j_decompress_ptr)jpeg)->input_scan_number == 0;
    default:
        return false;
    }
}

static void on_message(j_common_ptr jpeg, int level)
{
    reader *r = reader_of(jpeg);
    if (level >= 0 || is_harmless(jpeg)) // traces, and what needs no word
        return;
    if (jpeg->err->msg_code == JWRN_BOGUS_ICC) {
        sl_log(r->ctx, SL_LOG_WARNING, SL_PROFILE_LOST, r->coded->name);
        return;
    }
    r->warned = !r->coded->allow_truncated;
    if (r->warned)
        on_error(jpeg);
    r->damaged = true;
}

static void count_scans(j_common_ptr jpeg)
{
    if (((j_decompress_ptr)jpeg)->input_scan_number <= MAX_SCANS)
        return;
    reader *r = reader_of(jpeg);
    r->status = sl_fail(r->ctx, SL_ERR_LIMIT, "%s: a JPEG of more than %d scans", r->coded->name,
                        MAX_SCANS);
    longjmp(r->jump, 1);
}

static sl_status choose_colours(reader *r, unsigned *channels)
{
    struct jpeg_decompress_struct *jpeg = &r->jpeg;
    switch (jpeg->jpeg_color_space) {
    case JCS_GRAYSCALE:
        jpeg->out_color_space = JCS_GRAYSCALE;
        *channels = 1;
        return SL_OK;
    case JCS_YCbCr:
    case JCS_RGB:
        jpeg->out_color_space = JCS_RGB;
        *channels = 3;
        return SL_OK;
    case JCS_CMYK:
    case JCS_YCCK:
        jpeg->out_color_space = JCS_CMYK;
        *channels = 3;
        return SL_OK;
    default:
        return sl_fail(r->ctx, SL_ERR_UNSUPPORTED,
                       "%s: a JPEG of %d unknown colour components; convert it first",
                       r->coded->name, jpeg->num_components);
    }
}

// By how much luma is finer than chroma, where both chroma planes agree and a writer can do it.
static void note_chroma(reader *r)
{
    const jpeg_component_info *c = r->jpeg.comp_info;
    if (r->jpeg.num_components != 3 || c[1].h_samp_factor != c[2].h_samp_factor ||
        c[1].v_samp_factor != c[2].v_samp_factor || c[0].h_samp_factor % c[1].h_samp_factor != 0 ||
        c[0].v_samp_factor % c[1].v_samp_factor != 0)
        return;
    int h = c[0].h_samp_factor / c[1].h_samp_factor, v = c[0].v_samp_factor / c[1].v_samp_factor;
    if (h * v + 2 > C_MAX_BLOCKS_IN_MCU)
        return;
    r->image->chroma_h = h;
    r->image->chroma_v = v;
}

static void note_density(reader *r)
{
    static const sl_density_unit units[] = { SL_DENSITY_ASPECT, SL_DENSITY_PER_INCH,
                                             SL_DENSITY_PER_CM };
    const struct jpeg_decompress_struct *jpeg = &r->jpeg;
    if (!jpeg->saw_JFIF_marker || jpeg->density_unit >= SL_ARRAY_LEN(units) ||
        jpeg->X_density == 0 || jpeg->Y_density == 0)
        return;
    if (jpeg->density_unit == 0 && jpeg->X_density == jpeg->Y_density)
        return; // square pixels go without saying
    r->image->density_x = jpeg->X_density;
    r->image->density_y = jpeg->Y_density;
    r->image->density_unit = units[jpeg->density_unit];
}

static sl_status note_exif(reader *r)
{
    const size_t header = sizeof(EXIF_HEADER);
    for (jpeg_saved_marker_ptr m = r->jpeg.marker_list; m; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length > header &&
            memcmp(m->data, EXIF_HEADER, header) == 0)
            return sl_blob_copy(r->ctx, m->data + header, m->data_length - header, &r->image->exif);
    return SL_OK;
}

static bool tells_of_pictures(const reader *r)
{
    for (jpeg_saved_marker_ptr m = r->jpeg.marker_list; m; m = m->next)
        if (sl_remark_kind_of(&(sl_remark) { m->marker, m->data, m->data_length }) ==
            SL_REMARK_XMP_OF_PICTURES)
            return true;
    return false;
}

static sl_status note_remarks(reader *r)
{
    const bool without_xmp = tells_of_pictures(r);
    size_t room = 0;
    sl_status st = SL_OK;
    r->image->had_more = without_xmp;
    for (jpeg_saved_marker_ptr m = r->jpeg.marker_list; m && st == SL_OK; m = m->next) {
        const sl_remark segment = { m->marker, m->data, m->data_length };
        const sl_remark_kind kind = sl_remark_kind_of(&segment);
        if (kind == SL_REMARK_OTHER || (kind != SL_REMARK_NONE && !without_xmp))
            st = sl_remarks_add(r->ctx, &r->image->remarks, &room, &segment);
    }
    return st;
}

static sl_status note_icc(reader *r)
{
    unsigned size = 0;
    if (!jpeg_read_icc_profile(&r->jpeg, &r->icc, &size))
        return SL_OK;
    return sl_blob_copy(r->ctx, r->icc, size, &r->image->icc);
}

static void read_rows(reader *r)
{
    while (r->jpeg.output_scanline < r->jpeg.output_height) {
        JSAMPROW row = sl_image_row(r->image, r->jpeg.output_scanline);
        jpeg_read_scanlines(&r->jpeg, &row, 1);
    }
}

static sl_status read_cmyk_rows(reader *r)
{
    sl_status st = sl_cmyk_new(r->ctx, &r->image->icc, &r->cmyk);
    if (st != SL_OK)
        return st;
    size_t samples = (size_t)r->image->width * 4;
    r->cmyk_row = sl_alloc(r->ctx, samples, 1);
    if (!r->cmyk_row)
        return SL_ERR_NOMEM;
    while (r->jpeg.output_scanline < r->jpeg.output_height) {
        uint32_t y = r->jpeg.output_scanline;
        jpeg_read_scanlines(&r->jpeg, &r->cmyk_row, 1);
        if (r->jpeg.saw_Adobe_marker) // Adobe stores what ink leaves of the paper
            for (size_t i = 0; i < samples; i++)
                r->cmyk_row[i] = (uint8_t)(255 - r->cmyk_row[i]);
        sl_cmyk_convert(r->cmyk, r->cmyk_row, sl_image_row(r->image, y), r->image->width);
    }
    sl_blob_free(&r->image->icc); // it described the inks; the pixels are sRGB now
    return SL_OK;
}

// Whether so many segments stand before the picture that libjpeg, which looks for the end of its
// list whenever it keeps another one, would not come to an end.
static bool has_too_many_segments(const sl_coded *coded)
{
    const uint8_t *p = coded->data, *end = p + coded->size;
    size_t count = 0;
    p += coded->size < 2 ? coded->size : 2;
    while (count <= MAX_SEGMENTS && (p = memchr(p, 0xFF, (size_t)(end - p)))) {
        while (p < end && *p == 0xFF)
            p++;
        if (end - p < 3 || *p == MARKER_SCAN)
            break;
        const bool is_bare = *p < MARKER_FIRST_SEGMENT || (*p >= 0xD0 && *p <= 0xD9);
        const size_t length = is_bare ? 0 : (size_t)(p[1] << 8 | p[2]);
        p += 1 + (length < (size_t)(end - p) - 1 ? length : (size_t)(end - p) - 1);
        count += !is_bare;
    }
    return count > MAX_SEGMENTS;
}

static void save_markers(reader *r, unsigned most)
{
    static const int markers[] = { JPEG_APP0 + 1, JPEG_APP0 + 2, JPEG_APP0 + 13, JPEG_COM };
    for (size_t i = 0; i < SL_ARRAY_LEN(markers); i++)
        jpeg_save_markers(&r->jpeg, markers[i], most);
}

static sl_status steps(reader *r)
{
    unsigned channels = 0;
    if (has_too_many_segments(r->coded))
        return sl_fail(r->ctx, SL_ERR_LIMIT, "%s: more than %d segments before the picture",
                       r->coded->name, MAX_SEGMENTS);
    jpeg_create_decompress(&r->jpeg);
    r->progress.progress_monitor = count_scans;
    r->jpeg.progress = &r->progress;
    jpeg_mem_src(&r->jpeg, r->coded->data, r->coded->size);
    save_markers(r, 0xFFFF);
    jpeg_read_header(&r->jpeg, TRUE);
    save_markers(r, 0); // between scans nothing is looked for
    sl_status st = sl_coded_check_size(r->ctx, r->coded, r->jpeg.image_width, r->jpeg.image_height);
    if (st == SL_OK)
        st = choose_colours(r, &channels);
    if (st == SL_OK)
        st =
            sl_image_new(r->ctx, r->jpeg.image_width, r->jpeg.image_height, channels, 8, &r->image);
    if (st == SL_OK)
        st = note_exif(r);
    if (st == SL_OK)
        st = note_remarks(r);
    if (st == SL_OK)
        st = note_icc(r);
    if (st != SL_OK)
        return st;
    note_chroma(r);
    note_density(r);
    jpeg_start_decompress(&r->jpeg);
    if (r->jpeg.out_color_space == JCS_CMYK)
        st = read_cmyk_rows(r);
    else
        read_rows(r);
    if (st != SL_OK)
        return st;
    jpeg_finish_decompress(&r->jpeg);
    const struct jpeg_source_mgr *rest = r->jpeg.src; // XMP need not tell of what is there
    if (sl_tells_of_pictures(rest->next_input_byte, rest->bytes_in_buffer))
        r->image->had_more = true;
    return SL_OK;
}

static sl_status decode(reader *r)
{
    if (setjmp(r->jump))
        return r->status;
    return steps(r);
}

static sl_status decode_once(sl_ctx *ctx, const sl_coded *coded, sl_image **out, bool *can_keep)
{
    reader r = { .ctx = ctx, .coded = coded };
    *out = NULL;
    r.jpeg.err = sl_jpeg_errors(&r.errors, on_error);
    r.errors.emit_message = on_message;
    r.jpeg.client_data = &r;
    sl_status st = decode(&r);
    *can_keep = !r.damaged && !r.cmyk;
    jpeg_destroy_decompress(&r.jpeg);
    sl_cmyk_free(r.cmyk);
    free(r.cmyk_row);
    free(r.icc);
    if (st != SL_OK) {
        sl_image_free(r.image);
        return st;
    }
    if (r.damaged)
        sl_log(ctx, SL_LOG_WARNING, "%s: ends early or is damaged; parts of it are missing",
               coded->name);
    r.image->format = SL_IMAGE_JPEG;
    *out = r.image;
    return SL_OK;
}

// Where the last marker begins that is not part of the coded pixels; 0 when there is none.
static size_t last_marker(const uint8_t *data, size_t size)
{
    for (size_t i = size; i-- > 2;)
        if (data[i] == 0xFF && (i + 1 == size || (data[i + 1] >= 0xC0 && data[i + 1] != 0xFF &&
                                                  (data[i + 1] < 0xD0 || data[i + 1] > 0xD7))))
            return i;
    return 0;
}

sl_status sl_jpeg_decode(sl_ctx *ctx, const sl_coded *coded, sl_image **out, bool *can_keep)
{
    sl_status st = decode_once(ctx, coded, out, can_keep);
    if (st != SL_ERR_FORMAT || !coded->allow_truncated)
        return st;
    // A progressive file may end inside a table between two scans, which libjpeg does not forgive:
    // without that table, the scans before it still make a picture.
    sl_coded shorter = *coded;
    shorter.size = last_marker(coded->data, coded->size);
    return shorter.size > 0 ? decode_once(ctx, &shorter, out, can_keep) : st;
}
