// SPDX-License-Identifier: MIT
// image/crop.c: a part of a picture as a picture; what goes along with it, and what must not.
#include "image/image.h"

sl_status sl_image_forget_pictures(sl_ctx *ctx, sl_image *image, bool is_resized)
{
    sl_blob_free(&image->coded); // it shows all that is to be hidden
    image->had_more = false;
    sl_blob_free(&image->remarks); // XMP and Photoshop's resources may hold pictures, too
    sl_blob exif = { NULL, 0 };
    sl_status st = sl_exif_strip(ctx, &image->exif, is_resized, &exif);
    if (st != SL_OK)
        return st;
    sl_blob_free(&image->exif);
    image->exif = exif;
    return SL_OK;
}

sl_status sl_image_cut(sl_ctx *ctx, const sl_image *image, uint32_t left, uint32_t top,
                       uint32_t width, uint32_t height, sl_image **out)
{
    sl_image *part = NULL;
    *out = NULL;
    if (left > image->width || width > image->width - left || top > image->height ||
        height > image->height - top)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "a part of %ux%u at %u, %u of a picture of %ux%u",
                       width, height, left, top, image->width, image->height);
    sl_status st = sl_image_new(ctx, width, height, image->channels, image->depth, &part);
    if (st == SL_OK)
        st = sl_blob_copy(ctx, image->icc.data, image->icc.size, &part->icc);
    if (st == SL_OK)
        st = sl_exif_strip(ctx, &image->exif, true, &part->exif);
    if (st != SL_OK) {
        sl_image_free(part);
        return st;
    }
    sl_image_copy_notes(image, part);
    part->had_more = false; // nobody looks for a film behind a part
    const size_t pixel = image->row_bytes / image->width;
    for (uint32_t y = 0; y < height; y++)
        memcpy(sl_image_row(part, y),
               (const uint8_t *)sl_image_row_const(image, top + y) + left * pixel, width * pixel);
    *out = part;
    return SL_OK;
}
