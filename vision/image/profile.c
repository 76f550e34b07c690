// SPDX-License-Identifier: MIT
// image/profile.c: an ICC profile for colours that a file tells of by the numbers of ITU-T H.273,
// which PNG and JPEG as they are read everywhere do not know.
#include "image/codec.h"

#include <lcms2.h>

#define PRIMARIES_SRGB 1
#define TRANSFER_GAMMA 4 // 2.2
#define TRANSFER_LINEAR 8
#define TRANSFER_PQ 16
#define TRANSFER_HLG 18
#define ICC_DATE 24 // where the header of a profile says when it was made

// Red, green, blue: x and y (H.273, table 2). The white of all is that of daylight, D65.
typedef struct primaries {
    unsigned number;
    const char *name;
    double xy[6];
} primaries;

static const primaries *find_primaries(unsigned number)
{
    static const primaries known[] = {
        { PRIMARIES_SRGB, "sRGB primaries", { 0.640, 0.330, 0.300, 0.600, 0.150, 0.060 } },
        { 9, "BT.2020", { 0.708, 0.292, 0.170, 0.797, 0.131, 0.046 } },
        { 12, "P3 D65", { 0.680, 0.320, 0.265, 0.690, 0.150, 0.060 } },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(known); i++)
        if (known[i].number == number)
            return &known[i];
    return NULL;
}

// NULL: of light that no such profile tells of (HDR), or out of memory.
static cmsToneCurve *make_curve(cmsContext lcms, unsigned transfer)
{
    // From samples to light: (a x + b) ^ g, from d on, c x below. sRGB (IEC 61966-2-1), BT.709.
    static const double srgb[5] = { 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045 };
    static const double bt709[5] = { 1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081 };
    switch (transfer) {
    case 2: // not stated: what everybody means
    case 13:
        return cmsBuildParametricToneCurve(lcms, 4, srgb);
    case 1:
    case 6:
    case 11:
    case 14:
    case 15:
        return cmsBuildParametricToneCurve(lcms, 4, bt709);
    case TRANSFER_GAMMA:
        return cmsBuildGamma(lcms, 2.2);
    case TRANSFER_LINEAR:
        return cmsBuildGamma(lcms, 1.0);
    default:
        return NULL;
    }
}

static void set_name(cmsContext lcms, cmsHPROFILE profile, const char *name)
{
    cmsMLU *text = cmsMLUalloc(lcms, 1);
    if (text && cmsMLUsetASCII(text, "en", "US", name))
        cmsWriteTag(profile, cmsSigProfileDescriptionTag, text);
    if (text)
        cmsMLUfree(text);
}

static sl_status save(sl_ctx *ctx, cmsHPROFILE profile, sl_blob *out)
{
    static const uint8_t date[12] = { 2026 >> 8, 2026 & 255, 0, 1, 0, 1 };
    cmsUInt32Number size = 0;
    if (!cmsSaveProfileToMem(profile, NULL, &size) || size < ICC_DATE + sizeof(date))
        return SL_OK;
    out->data = sl_alloc(ctx, size, 1);
    if (!out->data)
        return SL_ERR_NOMEM;
    out->size = size;
    if (!cmsSaveProfileToMem(profile, out->data, &size)) {
        sl_blob_free(out);
        return SL_OK;
    }
    // The same picture makes the same file at any time.
    memcpy(out->data + ICC_DATE, date, sizeof(date));
    return SL_OK;
}

static sl_status make(sl_ctx *ctx, const primaries *p, unsigned transfer, sl_blob *out)
{
    const cmsCIExyY white = { 0.3127, 0.3290, 1 };
    const double *v = p->xy;
    const cmsCIExyYTRIPLE colours = { { v[0], v[1], 1 }, { v[2], v[3], 1 }, { v[4], v[5], 1 } };
    cmsContext lcms = cmsCreateContext(NULL, NULL); // of its own: no global state, no printing
    cmsToneCurve *curve = lcms ? make_curve(lcms, transfer) : NULL;
    cmsToneCurve *curves[3] = { curve, curve, curve };
    cmsHPROFILE profile = curve ? cmsCreateRGBProfileTHR(lcms, &white, &colours, curves) : NULL;
    sl_status st = SL_OK;
    if (profile) {
        set_name(lcms, profile, p->name);
        st = save(ctx, profile, out);
        cmsCloseProfile(profile);
    }
    if (curve)
        cmsFreeToneCurve(curve);
    if (lcms)
        cmsDeleteContext(lcms);
    return st;
}

sl_status sl_icc_of_numbers(sl_ctx *ctx, const char *name, unsigned primaries_number,
                            unsigned transfer, sl_blob *out)
{
    const primaries *p = find_primaries(primaries_number);
    *out = (sl_blob) { NULL, 0 };
    const bool is_hdr = transfer == TRANSFER_PQ || transfer == TRANSFER_HLG;
    const bool is_wide = p && p->number != PRIMARIES_SRGB;
    const bool is_odd = p && (transfer == TRANSFER_GAMMA || transfer == TRANSFER_LINEAR);
    if (!is_hdr && !is_wide && !is_odd) // BT.709's curve is everywhere shown as if it were sRGB's
        return SL_OK;
    sl_status st = p && !is_hdr ? make(ctx, p, transfer, out) : SL_OK;
    if (st == SL_OK && out->size == 0)
        sl_log(ctx, SL_LOG_WARNING,
               "%s: has %s colours without an ICC profile; they are taken for sRGB", name,
               is_hdr ? "HDR" : "wide");
    return st;
}
