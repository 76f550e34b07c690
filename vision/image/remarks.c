// SPDX-License-Identifier: MIT
// image/remarks.c: what people and their programs wrote about a picture: XMP (ratings, rights,
// edits), IPTC in Photoshop's resources (captions, keywords), comments. They go along as they are;
// of XMP the orientation alone is understood.
#include "image/jpeg.h"

#define APP1 (JPEG_APP0 + 1)
#define APP13 (JPEG_APP0 + 13)
#define HEAD 3 // bytes before a segment's data: its marker, its length

static const char xmp_header[] = "http://ns.adobe.com/xap/1.0/"; // each with the zero that ends it
static const char more_xmp_header[] = "http://ns.adobe.com/xmp/extension/";
static const char photoshop_header[] = "Photoshop 3.0";

static bool begins(const sl_remark *r, unsigned marker, const char *header, size_t size)
{
    return r->marker == marker && r->size > size && memcmp(r->data, header, size) == 0;
}

static bool is_xmp(const sl_remark *r)
{
    return begins(r, APP1, xmp_header, sizeof(xmp_header));
}

bool sl_tells_of_pictures(const void *data, size_t size)
{
    // Google's containers (motion photos, gain maps) and what came before them; gain maps of Apple
    // and of ISO 21496-1; Samsung's motion photos.
    static const char *const signs[] = { "Container:Directory", "GCamera:MicroVideo",
                                         "GCamera:MotionPhoto", "hdrgm:",
                                         "HDRGainMap",          "urn:iso:std:iso:ts:21496:-1",
                                         "MotionPhoto_Data" };
    for (size_t i = 0; i < SL_ARRAY_LEN(signs); i++)
        if (memmem(data, size, signs[i], strlen(signs[i])))
            return true;
    return false;
}

sl_remark_kind sl_remark_kind_of(const sl_remark *segment)
{
    if (is_xmp(segment))
        return sl_tells_of_pictures(segment->data, segment->size) ? SL_REMARK_XMP_OF_PICTURES
                                                                  : SL_REMARK_XMP;
    if (begins(segment, APP1, more_xmp_header, sizeof(more_xmp_header)))
        return SL_REMARK_XMP;
    bool is_other = segment->marker == JPEG_COM ||
                    begins(segment, APP13, photoshop_header, sizeof(photoshop_header));
    return is_other ? SL_REMARK_OTHER : SL_REMARK_NONE;
}

sl_status sl_remarks_add(sl_ctx *ctx, sl_blob *remarks, size_t *room, const sl_remark *remark)
{
    const size_t length = remark->size + 2;
    const uint8_t head[HEAD] = { (uint8_t)remark->marker, (uint8_t)(length >> 8), (uint8_t)length };
    sl_status st = sl_blob_append(ctx, remarks, room, head, sizeof(head));
    return st == SL_OK ? sl_blob_append(ctx, remarks, room, remark->data, remark->size) : st;
}

bool sl_remarks_next(const sl_blob *remarks, size_t *at, sl_remark *out)
{
    if (remarks->size - *at < HEAD)
        return false;
    const uint8_t *p = remarks->data + *at;
    const size_t size = (size_t)(p[1] << 8 | p[2]) - 2;
    *out = (sl_remark) { p[0], p + HEAD, size };
    *at += HEAD + size;
    return true;
}

const uint8_t *sl_remarks_xmp(const sl_blob *remarks, size_t *size)
{
    sl_remark r;
    for (size_t at = 0; sl_remarks_next(remarks, &at, &r);)
        if (is_xmp(&r)) {
            *size = r.size - sizeof(xmp_header);
            return r.data + sizeof(xmp_header);
        }
    return NULL;
}

sl_status sl_remarks_add_xmp(sl_ctx *ctx, sl_blob *remarks, const void *xmp, size_t size,
                             const char *name)
{
    if (size > SL_JPEG_SEGMENT - sizeof(xmp_header)) {
        sl_log(ctx, SL_LOG_INFO, "%s: left out: XMP of %zu bytes; 64 KiB of it are kept", name,
               size);
        return SL_OK;
    }
    size_t room = remarks->size;
    uint8_t *data = sl_alloc(ctx, sizeof(xmp_header) + size, 1);
    if (!data)
        return SL_ERR_NOMEM;
    memcpy(data, xmp_header, sizeof(xmp_header));
    memcpy(data + sizeof(xmp_header), xmp, size);
    sl_status st =
        sl_remarks_add(ctx, remarks, &room, &(sl_remark) { APP1, data, sizeof(xmp_header) + size });
    free(data);
    return st;
}

sl_status sl_image_add_xmp(sl_ctx *ctx, sl_image *image, const void *xmp, size_t size,
                           const char *name)
{
    image->had_more = image->had_more || sl_tells_of_pictures(xmp, size);
    return image->had_more ? SL_OK : sl_remarks_add_xmp(ctx, &image->remarks, xmp, size, name);
}

// tiff:Orientation="6" or <tiff:Orientation>6</tiff:Orientation>: the digit becomes 1.
static void set_upright(uint8_t *xmp, size_t size)
{
    static const char name[] = "tiff:Orientation";
    const uint8_t *end = xmp + size;
    for (uint8_t *p = xmp; (p = memmem(p, (size_t)(end - p), name, sizeof(name) - 1));) {
        p += sizeof(name) - 1;
        while (p < end && *p && strchr(" \t\r\n=>\"'", *p))
            p++;
        if (p < end && *p >= '1' && *p <= '8')
            *p = '1';
    }
}

sl_status sl_remarks_upright(sl_ctx *ctx, const sl_image *image, sl_blob *out)
{
    sl_remark r;
    sl_status st = sl_blob_copy(ctx, image->remarks.data, image->remarks.size, out);
    if (st != SL_OK || image->turned <= 1)
        return st;
    for (size_t at = 0; sl_remarks_next(out, &at, &r);)
        if (is_xmp(&r))
            set_upright(out->data + (r.data - out->data), r.size);
    return SL_OK;
}
