// SPDX-License-Identifier: MIT
// image/image.c: pictures in memory.
#include "image/image.h"

sl_status sl_image_new(sl_ctx *ctx, uint32_t width, uint32_t height, unsigned channels,
                       unsigned depth, sl_image **out)
{
    size_t row = 0, bytes = 0;
    *out = NULL;
    if (width < 1 || height < 1 || channels < 1 || channels > 4 || (depth != 8 && depth != 16))
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "a picture of %ux%u, %u channels, %u bits; sides start at 1, channels are 1 "
                       "to 4, bits 8 or 16",
                       width, height, channels, depth);
    if (!sl_mul(width, (size_t)channels * (depth / 8), &row) || !sl_mul(row, height, &bytes) ||
        bytes > PTRDIFF_MAX)
        return sl_fail(ctx, SL_ERR_LIMIT, "a picture of %ux%u does not fit the address space",
                       width, height);
    sl_image *image = calloc(1, sizeof(*image));
    // calloc, not sl_alloc: pages of a header that promises much and delivers little stay unused.
    uint8_t *pixels = calloc(bytes, 1);
    if (!image || !pixels) {
        free(image);
        free(pixels);
        return sl_fail(ctx, SL_ERR_NOMEM, "out of memory for a picture of %ux%u: %zu bytes", width,
                       height, bytes);
    }
    sl_wish_large_pages(pixels, bytes);
    image->width = width;
    image->height = height;
    image->channels = (uint8_t)channels;
    image->depth = (uint8_t)depth;
    image->format = SL_IMAGE_PNG;
    image->row_bytes = row;
    image->pixels = pixels;
    *out = image;
    return SL_OK;
}

void sl_image_free(sl_image *image)
{
    if (!image)
        return;
    sl_blob_free(&image->icc);
    sl_blob_free(&image->exif);
    sl_blob_free(&image->remarks);
    sl_blob_free(&image->coded);
    free(image->pixels);
    free(image);
}

void sl_image_copy_notes(const sl_image *from, sl_image *to)
{
    to->format = from->format;
    to->is_foreign = from->is_foreign;
    to->png_colour = from->png_colour;
    to->density_x = from->density_x;
    to->density_y = from->density_y;
    to->density_unit = from->density_unit;
    to->chroma_h = from->chroma_h;
    to->chroma_v = from->chroma_v;
    to->had_more = from->had_more;
}

sl_status sl_image_new_like(sl_ctx *ctx, const sl_image *image, sl_image **out)
{
    sl_image *copy = NULL;
    *out = NULL;
    sl_status st =
        sl_image_new(ctx, image->width, image->height, image->channels, image->depth, &copy);
    if (st == SL_OK)
        st = sl_blob_copy(ctx, image->icc.data, image->icc.size, &copy->icc);
    if (st == SL_OK)
        st = sl_blob_copy(ctx, image->exif.data, image->exif.size, &copy->exif);
    if (st == SL_OK)
        st = sl_blob_copy(ctx, image->remarks.data, image->remarks.size, &copy->remarks);
    if (st == SL_OK)
        st = sl_blob_copy(ctx, image->coded.data, image->coded.size, &copy->coded);
    if (st != SL_OK) {
        sl_image_free(copy);
        return st;
    }
    sl_image_copy_notes(image, copy);
    copy->turned = image->turned;
    *out = copy;
    return SL_OK;
}

sl_status sl_image_clone(sl_ctx *ctx, const sl_image *image, sl_image **out)
{
    sl_status st = sl_image_new_like(ctx, image, out);
    if (st == SL_OK)
        memcpy((*out)->pixels, image->pixels, image->row_bytes * image->height);
    return st;
}

uint32_t sl_image_width(const sl_image *image)
{
    return image->width;
}

uint32_t sl_image_height(const sl_image *image)
{
    return image->height;
}

unsigned sl_image_channels(const sl_image *image)
{
    return image->channels;
}

unsigned sl_image_depth(const sl_image *image)
{
    return image->depth;
}

sl_image_format sl_image_kind(const sl_image *image)
{
    return image->is_foreign ? SL_IMAGE_SAME : image->format;
}

void *sl_image_row(sl_image *image, uint32_t y)
{
    return image->pixels + image->row_bytes * y;
}

const void *sl_image_row_const(const sl_image *image, uint32_t y)
{
    return image->pixels + image->row_bytes * y;
}
