// SPDX-License-Identifier: MIT
// image/tiff_none.c: builds that cannot read TIFF.
#include "image/codec.h"

sl_status sl_tiff_decode(sl_ctx *ctx, const sl_coded *coded, sl_image **out)
{
    *out = NULL;
    return sl_fail(ctx, SL_ERR_UNSUPPORTED,
                   "%s: a TIFF picture, and softlens was built without the "
                   "header of libtiff 4.5; convert it "
                   "first",
                   coded->name);
}
