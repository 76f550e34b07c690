// SPDX-License-Identifier: MIT
// image/cmyk.c: CMYK to RGB, for printed pictures that somebody kept as JPEG.
#include "image/codec.h"

#include <lcms2.h>

struct sl_cmyk {
    cmsContext lcms;         // of its own: no global state, no printing
    cmsHTRANSFORM transform; // NULL: the plain formula
};

static cmsHTRANSFORM make_transform(cmsContext lcms, const sl_blob *icc)
{
    if (icc->size == 0 || icc->size > UINT32_MAX)
        return NULL;
    cmsHTRANSFORM transform = NULL;
    cmsHPROFILE from = cmsOpenProfileFromMemTHR(lcms, icc->data, (cmsUInt32Number)icc->size);
    cmsHPROFILE to = cmsCreate_sRGBProfileTHR(lcms);
    if (from && to && cmsGetColorSpace(from) == cmsSigCmykData)
        transform = cmsCreateTransformTHR(lcms, from, TYPE_CMYK_8, to, TYPE_RGB_8,
                                          INTENT_PERCEPTUAL, cmsFLAGS_NOCACHE);
    if (from)
        cmsCloseProfile(from);
    if (to)
        cmsCloseProfile(to);
    return transform;
}

sl_status sl_cmyk_new(sl_ctx *ctx, const sl_blob *icc, sl_cmyk **out)
{
    sl_cmyk *cmyk = calloc(1, sizeof(*cmyk));
    *out = NULL;
    if (cmyk)
        cmyk->lcms = cmsCreateContext(NULL, NULL);
    if (!cmyk || !cmyk->lcms) {
        free(cmyk);
        return sl_fail(ctx, SL_ERR_NOMEM, "out of memory for a colour conversion");
    }
    cmyk->transform = make_transform(cmyk->lcms, icc);
    *out = cmyk;
    return SL_OK;
}

void sl_cmyk_convert(const sl_cmyk *cmyk, const uint8_t *from, uint8_t *rgb, uint32_t pixels)
{
    if (cmyk->transform) {
        cmsDoTransform(cmyk->transform, from, rgb, pixels);
        return;
    }
    // What an ink leaves of the light, times what black leaves of it.
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < 3; c++)
            rgb[i * 3 + c] =
                (uint8_t)(((255u - from[i * 4 + c]) * (255u - from[i * 4 + 3]) + 127u) / 255u);
}

void sl_cmyk_free(sl_cmyk *cmyk)
{
    if (!cmyk)
        return;
    if (cmyk->transform)
        cmsDeleteTransform(cmyk->transform);
    cmsDeleteContext(cmyk->lcms);
    free(cmyk);
}
