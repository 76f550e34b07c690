// SPDX-License-Identifier: MIT
// image/font_none.c: stands in where the library is built without fontconfig: there are no other
// fonts than the one that text begins with.
#include "image/font.h"

sl_status sl_system_fonts_new(sl_ctx *ctx, sl_system_fonts **out)
{
    (void)ctx;
    *out = NULL;
    return SL_OK;
}

void sl_system_fonts_free(sl_system_fonts *fonts)
{
    (void)fonts;
}

sl_status sl_system_fonts_find(sl_ctx *ctx, sl_system_fonts *fonts, uint32_t character, char **path,
                               long *index)
{
    (void)ctx, (void)fonts, (void)character;
    *path = NULL;
    *index = 0;
    return SL_OK;
}
