// SPDX-License-Identifier: MIT
// image/heif.c: HEIC and AVIF in, by libheif, which is looked for when the first such picture
// comes: with its decoders it is large, and everything else does without. It turns pictures itself.
#include "image/codec.h"

#include <dlfcn.h>
#include <libheif/heif.h>
#include <pthread.h>

#define MAX_METADATA 16 // blocks that are looked at

#define FUNCTIONS(X)                                                                               \
    X(heif_context_alloc)                                                                          \
    X(heif_context_free)                                                                           \
    X(heif_context_get_primary_image_handle)                                                       \
    X(heif_context_read_from_memory_without_copy)                                                  \
    X(heif_decode_image)                                                                           \
    X(heif_image_get_bits_per_pixel_range)                                                         \
    X(heif_image_get_height)                                                                       \
    X(heif_image_get_plane_readonly)                                                               \
    X(heif_image_get_width)                                                                        \
    X(heif_image_handle_get_color_profile_type)                                                    \
    X(heif_image_handle_get_height)                                                                \
    X(heif_image_handle_get_list_of_metadata_block_IDs)                                            \
    X(heif_image_handle_get_luma_bits_per_pixel)                                                   \
    X(heif_image_handle_get_metadata)                                                              \
    X(heif_image_handle_get_metadata_content_type)                                                 \
    X(heif_image_handle_get_metadata_size)                                                         \
    X(heif_image_handle_get_metadata_type)                                                         \
    X(heif_image_handle_get_raw_color_profile)                                                     \
    X(heif_image_handle_get_raw_color_profile_size)                                                \
    X(heif_image_handle_get_width)                                                                 \
    X(heif_image_handle_get_nclx_color_profile)                                                    \
    X(heif_image_handle_has_alpha_channel)                                                         \
    X(heif_image_handle_is_premultiplied_alpha)                                                    \
    X(heif_image_handle_release)                                                                   \
    X(heif_image_release)                                                                          \
    X(heif_nclx_color_profile_free)

#define POINTER(name) __typeof__(&name) name;
static struct {
    bool is_there;
    char why[160]; // not
    FUNCTIONS(POINTER)
} lib;

static void find_library(void)
{
    void *library = dlopen("libheif.so.1", RTLD_NOW | RTLD_LOCAL);
    bool ok = library != NULL;
#define FIND(name) ok = ok && (lib.name = (__typeof__(&name))dlsym(library, #name)) != NULL;
    FUNCTIONS(FIND)
    lib.is_there = ok;
    if (!ok)
        snprintf(lib.why, sizeof(lib.why), "%s", dlerror());
    // Where decoders are libraries of their own, some versions look for them here alone.
    __typeof__(&heif_init) start = ok ? (__typeof__(&heif_init))dlsym(library, "heif_init") : NULL;
    if (start)
        start(NULL);
}

typedef struct reader {
    sl_ctx *ctx;
    const sl_coded *coded;
    struct heif_context *file;
    struct heif_image_handle *picture;
    struct heif_image *pixels;
    sl_image *image;
} reader;

static sl_status check(const reader *r, struct heif_error e)
{
    if (e.code == heif_error_Ok)
        return SL_OK;
    if (e.code == heif_error_Memory_allocation_error)
        return sl_fail(r->ctx, SL_ERR_NOMEM, "%s: out of memory", r->coded->name);
    bool has_no_decoder =
        e.code == heif_error_Unsupported_filetype ||
        (e.code == heif_error_Unsupported_feature && e.subcode == heif_suberror_Unsupported_codec);
    if (has_no_decoder)
        return sl_fail(r->ctx, SL_ERR_UNSUPPORTED,
                       "%s: libheif has no decoder for it; install one (such as "
                       "libheif-plugin-libde265 or libheif-plugin-dav1d), or convert the picture "
                       "first",
                       r->coded->name);
    bool is_other = e.code == heif_error_Unsupported_feature;
    return sl_fail(r->ctx, is_other ? SL_ERR_UNSUPPORTED : SL_ERR_FORMAT,
                   "%s: libheif cannot read it: %s", r->coded->name,
                   e.message ? e.message : "it does not say why");
}

static sl_status check_size(const reader *r, int width, int height)
{
    if (width < 1 || height < 1)
        return sl_fail(r->ctx, SL_ERR_FORMAT, "%s: a picture without pixels", r->coded->name);
    return sl_coded_check_size(r->ctx, r->coded, (uint64_t)width, (uint64_t)height);
}

static sl_status open_picture(reader *r)
{
    r->file = lib.heif_context_alloc();
    if (!r->file)
        return sl_fail(r->ctx, SL_ERR_NOMEM, "%s: out of memory", r->coded->name);
    sl_status st = check(r, lib.heif_context_read_from_memory_without_copy(r->file, r->coded->data,
                                                                           r->coded->size, NULL));
    if (st == SL_OK)
        st = check(r, lib.heif_context_get_primary_image_handle(r->file, &r->picture));
    if (st != SL_OK)
        return st;
    return check_size(r, lib.heif_image_handle_get_width(r->picture),
                      lib.heif_image_handle_get_height(r->picture));
}

static sl_status decode(reader *r)
{
    bool is_deep = lib.heif_image_handle_get_luma_bits_per_pixel(r->picture) > 8;
    bool has_alpha = lib.heif_image_handle_has_alpha_channel(r->picture) != 0;
    bool is_little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
    enum heif_chroma deep = has_alpha   ? is_little ? heif_chroma_interleaved_RRGGBBAA_LE
                                                    : heif_chroma_interleaved_RRGGBBAA_BE
                            : is_little ? heif_chroma_interleaved_RRGGBB_LE
                                        : heif_chroma_interleaved_RRGGBB_BE;
    enum heif_chroma flat = has_alpha ? heif_chroma_interleaved_RGBA : heif_chroma_interleaved_RGB;
    sl_status st = check(r, lib.heif_decode_image(r->picture, &r->pixels, heif_colorspace_RGB,
                                                  is_deep ? deep : flat, NULL));
    if (st != SL_OK)
        return st;
    // What the file said before may have been something else.
    int width = lib.heif_image_get_width(r->pixels, heif_channel_interleaved);
    int height = lib.heif_image_get_height(r->pixels, heif_channel_interleaved);
    st = check_size(r, width, height);
    return st == SL_OK ? sl_image_new(r->ctx, (uint32_t)width, (uint32_t)height, has_alpha ? 4 : 3,
                                      is_deep ? 16 : 8, &r->image)
                       : st;
}

// Samples of so many bits, 9 to 15, become 16: white stays white.
static void widen(uint16_t *row, size_t count, int bits)
{
    for (size_t i = 0; i < count; i++) {
        unsigned v = row[i] & ((1u << bits) - 1);
        row[i] = (uint16_t)(v << (16 - bits) | v >> (2 * bits - 16));
    }
}

static sl_status copy_pixels(reader *r)
{
    sl_image *image = r->image;
    int stride = 0;
    const uint8_t *from =
        lib.heif_image_get_plane_readonly(r->pixels, heif_channel_interleaved, &stride);
    int bits = lib.heif_image_get_bits_per_pixel_range(r->pixels, heif_channel_interleaved);
    if (!from || stride < 0 || (size_t)stride < image->row_bytes ||
        (image->depth == 16 && (bits < 9 || bits > 16)))
        return sl_fail(r->ctx, SL_ERR_UNSUPPORTED, "%s: libheif decodes it to an unknown form",
                       r->coded->name);
    bool is_multiplied =
        image->channels == 4 && lib.heif_image_handle_is_premultiplied_alpha(r->picture);
    for (uint32_t y = 0; y < image->height; y++) {
        memcpy(sl_image_row(image, y), from + (size_t)y * (size_t)stride, image->row_bytes);
        if (image->depth == 16 && bits < 16)
            widen(sl_image_row(image, y), (size_t)image->width * image->channels, bits);
        if (is_multiplied)
            sl_image_row_straighten(image, y);
    }
    return SL_OK;
}

static sl_status read_block(reader *r, heif_item_id id, sl_blob *out)
{
    size_t size = lib.heif_image_handle_get_metadata_size(r->picture, id);
    *out = (sl_blob) { NULL, 0 };
    if (size == 0 || size > r->coded->size)
        return SL_OK;
    out->data = sl_alloc(r->ctx, size, 1);
    if (!out->data)
        return SL_ERR_NOMEM;
    out->size = size;
    if (lib.heif_image_handle_get_metadata(r->picture, id, out->data).code != heif_error_Ok)
        sl_blob_free(out);
    return SL_OK;
}

// Four bytes say how far behind them the TIFF structure begins. Its orientation is what was done,
// as far as a picture agrees with itself: the file's own turns alone count.
static sl_status keep_exif(reader *r, const sl_blob *block)
{
    if (block->size < 4 || r->image->exif.size > 0)
        return SL_OK;
    const uint8_t *p = block->data;
    size_t at = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    if (at >= block->size - 4)
        return SL_OK;
    sl_blob *exif = &r->image->exif;
    sl_status st = sl_blob_copy(r->ctx, p + 4 + at, block->size - 4 - at, exif);
    if (st == SL_OK)
        r->image->turned = sl_exif_orientation(exif->data, exif->size);
    return st;
}

static sl_status read_blocks(reader *r)
{
    heif_item_id ids[MAX_METADATA];
    int count =
        lib.heif_image_handle_get_list_of_metadata_block_IDs(r->picture, NULL, ids, MAX_METADATA);
    sl_status st = SL_OK;
    for (int i = 0; i < count && i < MAX_METADATA && st == SL_OK; i++) {
        const char *type = lib.heif_image_handle_get_metadata_type(r->picture, ids[i]);
        const char *content = lib.heif_image_handle_get_metadata_content_type(r->picture, ids[i]);
        bool is_exif = type && strcmp(type, "Exif") == 0;
        bool is_xmp = type && strcmp(type, "mime") == 0 && content &&
                      strcmp(content, "application/rdf+xml") == 0;
        sl_blob block = { NULL, 0 };
        if (is_exif || is_xmp)
            st = read_block(r, ids[i], &block);
        if (st == SL_OK && is_exif)
            st = keep_exif(r, &block);
        if (st == SL_OK && is_xmp && block.size > 0)
            st = sl_image_add_xmp(r->ctx, r->image, block.data, block.size, r->coded->name);
        sl_blob_free(&block);
    }
    return st;
}

// Of colours that no ICC profile tells of, but numbers.
static sl_status make_profile(reader *r)
{
    struct heif_color_profile_nclx *c = NULL;
    if (lib.heif_image_handle_get_nclx_color_profile(r->picture, &c).code != heif_error_Ok || !c)
        return SL_OK;
    const unsigned primaries = c->color_primaries, transfer = c->transfer_characteristics;
    lib.heif_nclx_color_profile_free(c);
    return sl_icc_of_numbers(r->ctx, r->coded->name, primaries, transfer, &r->image->icc);
}

static sl_status read_profile(reader *r)
{
    enum heif_color_profile_type type = lib.heif_image_handle_get_color_profile_type(r->picture);
    size_t size = lib.heif_image_handle_get_raw_color_profile_size(r->picture);
    bool is_icc = type == heif_color_profile_type_rICC || type == heif_color_profile_type_prof;
    if (!is_icc)
        return make_profile(r);
    if (size == 0 || size > r->coded->size)
        return SL_OK;
    sl_blob *icc = &r->image->icc;
    icc->data = sl_alloc(r->ctx, size, 1);
    if (!icc->data)
        return SL_ERR_NOMEM;
    icc->size = size;
    if (lib.heif_image_handle_get_raw_color_profile(r->picture, icc->data).code != heif_error_Ok)
        sl_blob_free(icc);
    return SL_OK;
}

sl_status sl_heif_decode(sl_ctx *ctx, const sl_coded *coded, sl_image **out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    reader r = { .ctx = ctx, .coded = coded };
    *out = NULL;
    pthread_once(&once, find_library);
    if (!lib.is_there)
        return sl_fail(ctx, SL_ERR_UNSUPPORTED,
                       "%s: a HEIC or AVIF picture, which libheif reads (%s); install it (libheif1 "
                       "of Debian and Ubuntu), or convert the picture first",
                       coded->name, lib.why);
    sl_status st = open_picture(&r);
    if (st == SL_OK)
        st = decode(&r);
    if (st == SL_OK)
        st = copy_pixels(&r);
    if (st == SL_OK)
        st = read_profile(&r);
    if (st == SL_OK)
        st = read_blocks(&r);
    if (r.pixels)
        lib.heif_image_release(r.pixels);
    if (r.picture)
        lib.heif_image_handle_release(r.picture);
    if (r.file)
        lib.heif_context_free(r.file);
    if (st != SL_OK) {
        sl_image_free(r.image);
        return st;
    }
    // Of a gain map tells its own XMP, not the picture's.
    r.image->had_more = r.image->had_more || sl_tells_of_pictures(coded->data, coded->size);
    r.image->is_foreign = true;
    r.image->format = r.image->channels == 4 ? SL_IMAGE_PNG : SL_IMAGE_JPEG;
    *out = r.image;
    return SL_OK;
}
