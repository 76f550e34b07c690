// SPDX-License-Identifier: MIT
// image/png_read.c: PNG in, by libpng. Errors come back by longjmp: all state that lives across
// one is in the reader, none in local variables.
#include "image/codec.h"

#include <png.h>

#define MAX_CHUNK_BYTES (64u << 20) // also what a compressed chunk may grow to
#define MAX_KEPT_CHUNKS 64

typedef struct reader {
    sl_ctx *ctx;
    const sl_coded *coded;
    size_t at;
    png_structp png;
    png_infop info;
    sl_image *image;
    sl_blob remarks;
    uint8_t colour_numbers[2]; // of H.273: primaries, transfer; 0: not told
    bool is_animation;
    bool has_odd_profile; // one that libpng warned of; it may be there all the same
    sl_status status;     // of the error that ended decoding
    bool out_of_memory;
} reader;

static void on_error(png_structp png, png_const_charp text)
{
    reader *r = png_get_error_ptr(png);
    if (r->out_of_memory)
        r->status = sl_fail(r->ctx, SL_ERR_NOMEM, "%s: out of memory", r->coded->name);
    else
        r->status = sl_fail(r->ctx, SL_ERR_FORMAT, "%s: damaged PNG: %s", r->coded->name, text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    reader *r = png_get_error_ptr(png);
    sl_log(r->ctx, SL_LOG_INFO, "%s: %s", r->coded->name, text);
    r->has_odd_profile = r->has_odd_profile || strncmp(text, "iCCP", 4) == 0;
}

static void read_bytes(png_structp png, png_bytep to, size_t size)
{
    reader *r = png_get_io_ptr(png);
    if (r->coded->size - r->at < size)
        png_error(png, "the file ends early");
    memcpy(to, r->coded->data + r->at, size);
    r->at += size;
}

static png_voidp get_memory(png_structp png, png_alloc_size_t size)
{
    reader *r = png_get_mem_ptr(png);
    void *data = malloc(size);
    if (!data)
        r->out_of_memory = true;
    return data;
}

static void release_memory(png_structp png, png_voidp data)
{
    (void)png;
    free(data);
}

static uint32_t big_endian_32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

// The size is the first thing in every PNG: it is judged before libpng sees a byte.
static sl_status check_header(sl_ctx *ctx, const sl_coded *c)
{
    if (c->size < 33 || memcmp(c->data + 12, "IHDR", 4) != 0)
        return sl_fail(ctx, SL_ERR_FORMAT, "%s: damaged PNG: it ends before or lacks its header",
                       c->name);
    return sl_coded_check_size(ctx, c, big_endian_32(c->data + 16), big_endian_32(c->data + 20));
}

// XMP: a text of its key, no compression, method 0; two more strings; the text itself.
static void find_xmp(reader *r, const uint8_t *at, size_t size)
{
    static const uint8_t head[] = SL_PNG_XMP "\0\0";
    if (r->remarks.size > 0 || size < sizeof(head) || memcmp(at, head, sizeof(head)) != 0)
        return;
    const uint8_t *end = at + size;
    at += sizeof(head);
    for (int i = 0; i < 2 && at; i++) { // the language, the key in it
        at = memchr(at, '\0', (size_t)(end - at));
        at = at ? at + 1 : NULL;
    }
    if (at && sl_remarks_add_xmp(r->ctx, &r->remarks, at, (size_t)(end - at), r->coded->name))
        r->out_of_memory = true;
}

// Of every chunk that libpng leaves to us: whether that is all there is to do.
static int read_chunk(png_structp png, png_unknown_chunkp chunk)
{
    const bool is_critical = chunk->name[0] < 'a';
    reader *r = png_get_user_chunk_ptr(png);
    if (memcmp(chunk->name, "iTXt", 4) == 0)
        find_xmp(r, chunk->data, chunk->size);
    // RGB of the full range; what else it could say no picture has.
    if (memcmp(chunk->name, "cICP", 4) == 0 && chunk->size == 4 && chunk->data[2] == 0 &&
        chunk->data[3] == 1)
        memcpy(r->colour_numbers, chunk->data, 2);
    if (memcmp(chunk->name, "acTL", 4) == 0 && chunk->size == 8)
        r->is_animation = big_endian_32(chunk->data) > 1;
    return !is_critical;
}

static void set_limits(reader *r)
{
    // Texts and the like are stepped over, not inflated; read_chunk sees them as they are.
    static const uint8_t skipped[] =
        "tEXt\0zTXt\0iTXt\0sPLT\0hIST\0bKGD\0sBIT\0oFFs\0pCAL\0sCAL\0tIME\0cICP";
    png_set_user_limits(r->png, 0x7FFFFFFF, 0x7FFFFFFF); // check_header is stricter
    png_set_chunk_malloc_max(r->png, MAX_CHUNK_BYTES);
    png_set_chunk_cache_max(r->png, MAX_KEPT_CHUNKS);
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, skipped, sizeof(skipped) / 5);
    png_set_read_user_chunk_fn(r->png, r, read_chunk);
    png_set_crc_action(r->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
}

// Palettes to RGB, few bits to 8, transparent colours to alpha, 16 bits to this machine's order.
static void set_transforms(reader *r)
{
    png_set_expand(r->png);
    if (png_get_bit_depth(r->png, r->info) == 16 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
        png_set_swap(r->png);
}

static sl_status read_pixels(reader *r)
{
    set_transforms(r);
    int passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    uint32_t width = png_get_image_width(r->png, r->info);
    uint32_t height = png_get_image_height(r->png, r->info);
    sl_status st = sl_coded_check_size(r->ctx, r->coded, width, height);
    if (st == SL_OK)
        st = sl_image_new(r->ctx, width, height, png_get_channels(r->png, r->info),
                          png_get_bit_depth(r->png, r->info), &r->image);
    if (st != SL_OK)
        return st;
    if (png_get_rowbytes(r->png, r->info) != r->image->row_bytes)
        png_error(r->png, "rows of an unexpected length");
    for (int pass = 0; pass < passes; pass++)
        for (uint32_t y = 0; y < height; y++)
            png_read_row(r->png, sl_image_row(r->image, y), NULL);
    png_read_end(r->png, r->info);
    return SL_OK;
}

// Of a picture without an ICC profile. The numbers count before the rest (PNG, third edition, 4.3).
static sl_status read_colour(reader *r)
{
    sl_png_colour *c = &r->image->png_colour;
    if (r->image->channels >= 3) {
        sl_status st = sl_icc_of_numbers(r->ctx, r->coded->name, r->colour_numbers[0],
                                         r->colour_numbers[1], &r->image->icc);
        if (st != SL_OK || r->image->icc.size > 0)
            return st;
    }
    c->has_srgb = png_get_sRGB(r->png, r->info, &c->srgb_intent) != 0;
    png_fixed_point gamma = 0, v[8] = { 0 };
    c->has_gamma = png_get_gAMA_fixed(r->png, r->info, &gamma) != 0;
    c->gamma = gamma;
    c->has_chroma = png_get_cHRM_fixed(r->png, r->info, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5],
                                       &v[6], &v[7]) != 0;
    for (int i = 0; i < 8; i++)
        c->chroma[i] = v[i];
    return SL_OK;
}

static sl_status read_metadata(reader *r)
{
    sl_image *image = r->image;
    png_charp name = NULL;
    png_bytep icc = NULL, exif = NULL;
    png_uint_32 icc_size = 0, exif_size = 0, x = 0, y = 0;
    int compression = 0, unit = 0;
    sl_status st = SL_OK;
    if (png_get_iCCP(r->png, r->info, &name, &compression, &icc, &icc_size))
        st = sl_blob_copy(r->ctx, icc, icc_size, &image->icc);
    else
        st = read_colour(r);
    if (r->has_odd_profile && image->icc.size == 0)
        sl_log(r->ctx, SL_LOG_WARNING, SL_PROFILE_LOST, r->coded->name);
    if (st == SL_OK && png_get_eXIf_1(r->png, r->info, &exif_size, &exif))
        st = sl_blob_copy(r->ctx, exif, exif_size, &image->exif);
    if (st == SL_OK) {
        image->remarks = r->remarks;
        r->remarks = (sl_blob) { NULL, 0 };
    }
    if (png_get_pHYs(r->png, r->info, &x, &y, &unit) && x > 0 && y > 0) {
        image->density_x = x;
        image->density_y = y;
        image->density_unit =
            unit == PNG_RESOLUTION_METER ? SL_DENSITY_PER_METRE : SL_DENSITY_ASPECT;
    }
    return st;
}

static sl_status decode(reader *r)
{
    if (setjmp(png_jmpbuf(r->png)))
        return r->status;
    set_limits(r);
    png_set_read_fn(r->png, r, read_bytes);
    png_read_info(r->png, r->info);
    if (r->is_animation)
        return sl_fail(r->ctx, SL_ERR_UNSUPPORTED, "%s: an animation; take one picture out of it",
                       r->coded->name);
    sl_status st = read_pixels(r);
    return st == SL_OK ? read_metadata(r) : st;
}

sl_status sl_png_decode(sl_ctx *ctx, const sl_coded *coded, sl_image **out)
{
    reader r = { .ctx = ctx, .coded = coded };
    *out = NULL;
    sl_status st = check_header(ctx, coded);
    if (st != SL_OK)
        return st;
    r.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &r, on_error, on_warning, &r,
                                     get_memory, release_memory);
    if (r.png)
        r.info = png_create_info_struct(r.png);
    st = r.info ? decode(&r) : sl_fail(ctx, SL_ERR_NOMEM, "%s: out of memory", coded->name);
    png_destroy_read_struct(&r.png, &r.info, NULL);
    sl_blob_free(&r.remarks);
    if (st == SL_OK && r.out_of_memory) // libpng goes on without what it had no room for
        st = sl_fail(ctx, SL_ERR_NOMEM, "%s: out of memory", coded->name);
    if (st != SL_OK) {
        sl_image_free(r.image);
        return st;
    }
    r.image->format = SL_IMAGE_PNG;
    *out = r.image;
    return SL_OK;
}
