// SPDX-License-Identifier: MIT
// image/font_system.c: the system's fonts, by fontconfig. Its configuration takes some milliseconds
// to read, more than all of the drawing: nothing here is called before a glyph is missing.
#include "image/font.h"

#include <fontconfig/fontconfig.h>

struct sl_system_fonts {
    FcConfig *config; // our own: the program around us may have one as well
};

sl_status sl_system_fonts_new(sl_ctx *ctx, sl_system_fonts **out)
{
    sl_system_fonts *fonts = sl_alloc(ctx, 1, sizeof(*fonts));
    *out = NULL;
    if (!fonts)
        return SL_ERR_NOMEM;
    fonts->config = FcInitLoadConfigAndFonts();
    if (!fonts->config) { // a system without any
        free(fonts);
        return SL_OK;
    }
    *out = fonts;
    return SL_OK;
}

void sl_system_fonts_free(sl_system_fonts *fonts)
{
    if (fonts)
        FcConfigDestroy(fonts->config);
    free(fonts);
}

// Outlines alone: pictures of letters (emoji in colour) do not take a label's colour.
static FcPattern *make_pattern(uint32_t character)
{
    FcPattern *pattern = FcPatternCreate();
    FcCharSet *set = FcCharSetCreate();
    bool ok = pattern && set && FcCharSetAddChar(set, character) &&
              FcPatternAddCharSet(pattern, FC_CHARSET, set) &&
              FcPatternAddBool(pattern, FC_SCALABLE, FcTrue) &&
              FcPatternAddBool(pattern, FC_COLOR, FcFalse) &&
              FcPatternAddString(pattern, FC_FAMILY, (const FcChar8 *)"sans-serif");
    if (set)
        FcCharSetDestroy(set);
    if (ok)
        return pattern;
    if (pattern)
        FcPatternDestroy(pattern);
    return NULL;
}

sl_status sl_system_fonts_find(sl_ctx *ctx, sl_system_fonts *fonts, uint32_t character, char **path,
                               long *index)
{
    sl_status st = SL_OK;
    FcResult result = FcResultMatch;
    FcChar8 *file = NULL;
    FcCharSet *set = NULL;
    int number = 0;
    *path = NULL;
    *index = 0;
    FcPattern *pattern = make_pattern(character);
    if (!pattern || !FcConfigSubstitute(fonts->config, pattern, FcMatchPattern)) {
        if (pattern)
            FcPatternDestroy(pattern);
        return sl_fail(ctx, SL_ERR_NOMEM, "out of memory for a font");
    }
    FcDefaultSubstitute(pattern);
    FcPattern *match = FcFontMatch(fonts->config, pattern, &result);
    // The best match need not have what was asked for.
    if (match && FcPatternGetCharSet(match, FC_CHARSET, 0, &set) == FcResultMatch &&
        FcCharSetHasChar(set, character) &&
        FcPatternGetString(match, FC_FILE, 0, &file) == FcResultMatch) {
        if (FcPatternGetInteger(match, FC_INDEX, 0, &number) == FcResultMatch)
            *index = number;
        *path = sl_strdup(ctx, (const char *)file);
        st = *path ? SL_OK : SL_ERR_NOMEM;
    }
    if (match)
        FcPatternDestroy(match);
    FcPatternDestroy(pattern);
    return st;
}
