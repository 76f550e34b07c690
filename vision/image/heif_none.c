// SPDX-License-Identifier: MIT
// image/heif_none.c: builds that cannot read HEIC and AVIF.
#include "image/codec.h"

sl_status sl_heif_decode(sl_ctx *ctx, const sl_coded *coded, sl_image **out)
{
    *out = NULL;
    return sl_fail(ctx, SL_ERR_UNSUPPORTED,
                   "%s: a HEIC or AVIF picture, and softlens was built without the header of "
                   "libheif; convert it first",
                   coded->name);
}
