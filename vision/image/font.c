// SPDX-License-Identifier: MIT
// image/font.c: the faces that a text is drawn with: first the chosen one, behind it those of the
// system that had to be fetched for what it lacks.
#include "image/font.h"

#include <ft2build.h>
#include FT_FREETYPE_H

#define MOST_FONT_BYTES (256u << 20)

static sl_status font_error(sl_ctx *ctx, const char *name, FT_Error error)
{
    if (error == FT_Err_Out_Of_Memory)
        return sl_fail(ctx, SL_ERR_NOMEM, "%s: out of memory for a font", name);
    return sl_fail(ctx, SL_ERR_FORMAT,
                   "%s: not a font with outlines that FreeType reads; name a .ttf or .otf file",
                   name);
}

// Outlines of one colour, and the size that was asked for.
static bool is_usable(FT_Face face, unsigned pixels)
{
    return FT_IS_SCALABLE(face) && !FT_HAS_COLOR(face) && FT_Set_Pixel_Sizes(face, 0, pixels) == 0;
}

static sl_status open_first(sl_fonts *fonts, const char *font)
{
    const uint8_t *data = sl_font_data;
    size_t size = (size_t)(sl_font_data_end - sl_font_data);
    if (font) {
        sl_status st = sl_file_read(fonts->ctx, font, MOST_FONT_BYTES, &fonts->file);
        if (st != SL_OK)
            return st;
        data = fonts->file.data;
        size = fonts->file.size;
    }
    FT_Error error = FT_New_Memory_Face(fonts->library, data, (FT_Long)size, 0, &fonts->faces[0]);
    if (error)
        return font_error(fonts->ctx, font ? font : "the library's font", error);
    fonts->count = 1;
    if (!is_usable(fonts->faces[0], fonts->pixels))
        return font_error(fonts->ctx, font ? font : "the library's font", 0);
    return SL_OK;
}

sl_status sl_fonts_open(sl_ctx *ctx, const char *font, unsigned pixels, sl_fonts *fonts)
{
    *fonts = (sl_fonts) { .ctx = ctx, .pixels = pixels };
    if (FT_Init_FreeType(&fonts->library) != 0) {
        fonts->library = NULL;
        return sl_fail(ctx, SL_ERR_NOMEM, "out of memory for fonts");
    }
    return open_first(fonts, font);
}

void sl_fonts_close(sl_fonts *fonts)
{
    for (size_t i = 0; i < fonts->count; i++)
        FT_Done_Face(fonts->faces[i]);
    if (fonts->library)
        FT_Done_FreeType(fonts->library);
    sl_system_fonts_free(fonts->system);
    sl_blob_free(&fonts->file);
    *fonts = (sl_fonts) { 0 };
}

static bool is_missed(const sl_fonts *fonts, uint32_t character)
{
    for (size_t i = 0; i < fonts->miss_count; i++)
        if (fonts->misses[i] == character)
            return true;
    return fonts->miss_count == SL_MOST_MISSES || fonts->count == SL_MOST_FACES;
}

static void note_miss(sl_fonts *fonts, uint32_t character)
{
    fonts->misses[fonts->miss_count++] = character;
    if (!fonts->is_told)
        sl_log(fonts->ctx, SL_LOG_WARNING,
               "no font here has U+%04X: a box stands for it in labels; install a font for its "
               "script, such as one of Noto",
               (unsigned)character);
    fonts->is_told = true;
}

// Adds the system's font for the character, where it is one that we can draw with.
static sl_status fetch(sl_fonts *fonts, uint32_t character)
{
    char *path = NULL;
    long index = 0;
    FT_Face face = NULL;
    sl_status st = SL_OK;
    if (!fonts->has_looked)
        st = sl_system_fonts_new(fonts->ctx, &fonts->system);
    fonts->has_looked = st == SL_OK;
    if (st == SL_OK && fonts->system)
        st = sl_system_fonts_find(fonts->ctx, fonts->system, character, &path, &index);
    if (st == SL_OK && path && FT_New_Face(fonts->library, path, index, &face) == 0) {
        if (is_usable(face, fonts->pixels) && FT_Get_Char_Index(face, character) != 0)
            fonts->faces[fonts->count++] = face;
        else
            FT_Done_Face(face);
    }
    free(path);
    return st;
}

sl_status sl_fonts_face(sl_fonts *fonts, uint32_t character, size_t *face)
{
    for (*face = 0; *face < fonts->count; ++*face)
        if (FT_Get_Char_Index(fonts->faces[*face], character) != 0)
            return SL_OK;
    const size_t before = fonts->count;
    *face = 0;
    if (is_missed(fonts, character))
        return SL_OK;
    sl_status st = fetch(fonts, character);
    if (st != SL_OK)
        return st;
    if (fonts->count > before)
        *face = before;
    else
        note_miss(fonts, character);
    return SL_OK;
}
