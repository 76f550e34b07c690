// SPDX-License-Identifier: MIT
// image/rgb.c: grey pictures become RGB, so that something can be drawn on them in colour.
#include "image/shapes.h"

#include <lcms2.h>

// What a grey's profile says of it, as a curve from grey to the three equal samples of sRGB.
typedef struct curve {
    bool is_plain; // grey is what it is
    uint16_t *to;  // [256] or [65536]
} curve;

typedef enum profile_kind { PROFILE_NONE, PROFILE_GREY, PROFILE_RGB } profile_kind;

static sl_status make_curve(sl_ctx *ctx, const sl_image *image, profile_kind *kind, curve *out)
{
    const bool deep = image->depth == 16;
    const uint32_t count = deep ? 65536 : 256;
    *out = (curve) { true, NULL };
    *kind = PROFILE_NONE;
    if (image->icc.size == 0 || image->icc.size > UINT32_MAX)
        return SL_OK;
    cmsContext lcms = cmsCreateContext(NULL, NULL);
    uint16_t *grey = sl_alloc(ctx, count, sizeof(*grey)), *rgb = sl_alloc(ctx, count, 6);
    sl_status st = grey && rgb ? SL_OK : SL_ERR_NOMEM;
    if (!lcms)
        st = sl_fail(ctx, SL_ERR_NOMEM, "out of memory for a colour conversion");
    cmsHPROFILE from = NULL, to = NULL;
    cmsHTRANSFORM transform = NULL;
    if (st == SL_OK) {
        from = cmsOpenProfileFromMemTHR(lcms, image->icc.data, (cmsUInt32Number)image->icc.size);
        to = cmsCreate_sRGBProfileTHR(lcms);
    }
    if (from && cmsGetColorSpace(from) == cmsSigRgbData)
        *kind = PROFILE_RGB;
    if (from && to && cmsGetColorSpace(from) == cmsSigGrayData)
        transform = cmsCreateTransformTHR(lcms, from, TYPE_GRAY_16, to, TYPE_RGB_16,
                                          INTENT_RELATIVE_COLORIMETRIC, cmsFLAGS_NOCACHE);
    if (transform) {
        *kind = PROFILE_GREY;
        for (uint32_t i = 0; i < count; i++)
            grey[i] = (uint16_t)(deep ? i : i * 257);
        cmsDoTransform(transform, grey, rgb, count);
        for (uint32_t i = 0; i < count; i++)
            grey[i] = (uint16_t)(deep ? rgb[i * 3 + 1] : (rgb[i * 3 + 1] + 128u) / 257u);
        *out = (curve) { false, grey };
        grey = NULL;
        cmsDeleteTransform(transform);
    }
    if (from)
        cmsCloseProfile(from);
    if (to)
        cmsCloseProfile(to);
    if (lcms)
        cmsDeleteContext(lcms);
    free(grey);
    free(rgb);
    return st;
}

static void spread_8(const uint8_t *from, uint8_t *to, size_t pixels, bool has_alpha,
                     const curve *c)
{
    for (size_t i = 0; i < pixels; i++) {
        uint8_t grey = *from++;
        grey = c->is_plain ? grey : (uint8_t)c->to[grey];
        *to++ = grey;
        *to++ = grey;
        *to++ = grey;
        if (has_alpha)
            *to++ = *from++;
    }
}

static void spread_16(const uint16_t *from, uint16_t *to, size_t pixels, bool has_alpha,
                      const curve *c)
{
    for (size_t i = 0; i < pixels; i++) {
        uint16_t grey = *from++;
        grey = c->is_plain ? grey : c->to[grey];
        *to++ = grey;
        *to++ = grey;
        *to++ = grey;
        if (has_alpha)
            *to++ = *from++;
    }
}

sl_status sl_image_to_rgb(sl_ctx *ctx, sl_image *image)
{
    profile_kind kind = PROFILE_NONE;
    curve c = { true, NULL };
    sl_image *wide = NULL;
    const bool has_alpha = image->channels == 2;
    if (image->channels >= 3)
        return SL_OK;
    sl_status st = make_curve(ctx, image, &kind, &c);
    if (st == SL_OK)
        st = sl_image_new(ctx, image->width, image->height, has_alpha ? 4 : 3, image->depth, &wide);
    if (st != SL_OK) {
        free(c.to);
        return st;
    }
    for (uint32_t y = 0; y < image->height; y++) {
        const void *from = sl_image_row_const(image, y);
        void *to = sl_image_row(wide, y);
        if (image->depth == 16)
            spread_16(from, to, image->width, has_alpha, &c);
        else
            spread_8(from, to, image->width, has_alpha, &c);
    }
    uint8_t *grey = image->pixels;
    image->pixels = wide->pixels;
    wide->pixels = grey;
    image->channels = wide->channels;
    image->row_bytes = wide->row_bytes;
    if (kind != PROFILE_RGB) // the pixels are sRGB now, or as plain as without a profile
        sl_blob_free(&image->icc);
    sl_image_free(wide);
    free(c.to);
    return SL_OK;
}
