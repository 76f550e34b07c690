// SPDX-License-Identifier: MIT
// image/font.h: what text.c needs to know of fonts. FreeType's types are named as in its headers,
// which whoever looks into them includes.
#ifndef SL_IMAGE_FONT_H
#define SL_IMAGE_FONT_H

#include "image/image.h"

#define SL_MOST_FACES 16
#define SL_MOST_MISSES 64

// The system's fonts, looked for when a glyph is missing for the first time (font_system.c, or
// font_none.c where the library is built without fontconfig).
typedef struct sl_system_fonts sl_system_fonts;

// *out: NULL where there are none.
sl_status sl_system_fonts_new(sl_ctx *ctx, sl_system_fonts **out);
void sl_system_fonts_free(sl_system_fonts *fonts); // takes NULL
// A font file that has the character: *path malloc'ed, NULL if there is none.
sl_status sl_system_fonts_find(sl_ctx *ctx, sl_system_fonts *fonts, uint32_t character, char **path,
                               long *index);

typedef struct sl_fonts {
    sl_ctx *ctx;
    struct FT_LibraryRec_ *library;
    unsigned pixels;
    sl_blob file; // what the first face reads, where it is no part of the library
    struct FT_FaceRec_ *faces[SL_MOST_FACES];
    size_t count;
    uint32_t misses[SL_MOST_MISSES]; // characters that no font here has
    size_t miss_count;
    bool is_told; // about the first miss
    bool has_looked;
    sl_system_fonts *system;
} sl_fonts;

// Fills *fonts, which sl_fonts_close empties even after a failure.
sl_status sl_fonts_open(sl_ctx *ctx, const char *font, unsigned pixels, sl_fonts *fonts);
void sl_fonts_close(sl_fonts *fonts);

// *face: which of the faces is to show the character; the first where none can.
sl_status sl_fonts_face(sl_fonts *fonts, uint32_t character, size_t *face);

// DejaVu Sans, whole (font_data.c).
extern const uint8_t sl_font_data[], sl_font_data_end[];

#endif
