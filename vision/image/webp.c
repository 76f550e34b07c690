// SPDX-License-Identifier: MIT
// image/webp.c: WebP in, by libwebp.
#include "image/codec.h"

#include <webp/decode.h>
#include <webp/demux.h>

static sl_status damaged(sl_ctx *ctx, const sl_coded *coded)
{
    return sl_fail(ctx, SL_ERR_FORMAT, "%s: damaged WebP, or it ends early; copy it again",
                   coded->name);
}

static sl_status read_header(sl_ctx *ctx, const sl_coded *coded, WebPBitstreamFeatures *out)
{
    if (WebPGetFeatures(coded->data, coded->size, out) != VP8_STATUS_OK)
        return damaged(ctx, coded);
    if (out->has_animation)
        return sl_fail(ctx, SL_ERR_UNSUPPORTED, "%s: an animation; take one picture out of it",
                       coded->name);
    if (out->width < 1 || out->height < 1)
        return damaged(ctx, coded);
    return sl_coded_check_size(ctx, coded, (uint64_t)out->width, (uint64_t)out->height);
}

static sl_status read_pixels(sl_ctx *ctx, const sl_coded *coded, const WebPBitstreamFeatures *f,
                             sl_image **out)
{
    sl_status st =
        sl_image_new(ctx, (uint32_t)f->width, (uint32_t)f->height, f->has_alpha ? 4 : 3, 8, out);
    if (st != SL_OK)
        return st;
    sl_image *image = *out;
    size_t bytes = image->row_bytes * image->height;
    int stride = (int)image->row_bytes; // sides are below 2^14
    const uint8_t *done =
        f->has_alpha ? WebPDecodeRGBAInto(coded->data, coded->size, image->pixels, bytes, stride)
                     : WebPDecodeRGBInto(coded->data, coded->size, image->pixels, bytes, stride);
    image->is_foreign = true;
    // As of other pictures: what has no loss stays without.
    image->format = f->has_alpha || f->format == 2 ? SL_IMAGE_PNG : SL_IMAGE_JPEG;
    return done ? SL_OK : damaged(ctx, coded);
}

static WebPData find_chunk(const WebPDemuxer *file, const char name[4])
{
    WebPChunkIterator it;
    WebPData found = { NULL, 0 };
    if (WebPDemuxGetChunk(file, name, 1, &it))
        found = it.chunk; // lies in the file's own bytes
    WebPDemuxReleaseChunkIterator(&it);
    return found;
}

static sl_status read_metadata(sl_ctx *ctx, const sl_coded *coded, sl_image *image)
{
    static const char prefix[6] = "Exif\0"; // some programs write a JPEG's header along
    WebPData data = { coded->data, coded->size };
    WebPDemuxer *file = WebPDemux(&data);
    if (!file) { // damage behind the pixels, which are whole
        sl_log(ctx, SL_LOG_WARNING,
               "%s: a damaged WebP; its pixels are whole, but its profile, EXIF (and with it which "
               "way is up) and XMP are lost; copy it again",
               coded->name);
        return SL_OK;
    }
    WebPData icc = find_chunk(file, "ICCP"), exif = find_chunk(file, "EXIF"),
             xmp = find_chunk(file, "XMP ");
    if (exif.size >= sizeof(prefix) && memcmp(exif.bytes, prefix, sizeof(prefix)) == 0) {
        exif.bytes += sizeof(prefix);
        exif.size -= sizeof(prefix);
    }
    sl_status st = icc.size ? sl_blob_copy(ctx, icc.bytes, icc.size, &image->icc) : SL_OK;
    if (st == SL_OK && exif.size)
        st = sl_blob_copy(ctx, exif.bytes, exif.size, &image->exif);
    if (st == SL_OK && xmp.size)
        st = sl_image_add_xmp(ctx, image, xmp.bytes, xmp.size, coded->name);
    WebPDemuxDelete(file);
    return st;
}

sl_status sl_webp_decode(sl_ctx *ctx, const sl_coded *coded, sl_image **out)
{
    WebPBitstreamFeatures features;
    sl_image *image = NULL;
    *out = NULL;
    sl_status st = read_header(ctx, coded, &features);
    if (st == SL_OK)
        st = read_pixels(ctx, coded, &features, &image);
    if (st == SL_OK)
        st = read_metadata(ctx, coded, image);
    if (st != SL_OK) {
        sl_image_free(image);
        return st;
    }
    *out = image;
    return SL_OK;
}
