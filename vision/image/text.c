// SPDX-License-Identifier: MIT
// image/text.c: a line of letters as a mask. Raqm puts it into order and shape (FriBidi: who stands
// left of whom; HarfBuzz: which glyph, where), FreeType fills the outlines.
#include "image/text.h"
#include "image/font.h"

#include <ft2build.h>
#include <hb.h>
#include <raqm.h>

#include FT_FREETYPE_H
#include FT_OUTLINE_H

#define MOST_CHARACTERS 512 // of a label; what is behind them is cut off as if there were no room
#define MOST_SUFFIX 32
#define LOAD_FLAGS (FT_LOAD_TARGET_LIGHT | FT_LOAD_NO_BITMAP)
#define ISOLATE_BEGIN 0x2068u // the direction of what is inside is its own affair
#define ISOLATE_END 0x2069u
#define ELLIPSIS 0x2026u

struct sl_text {
    sl_ctx *ctx;
    sl_fonts fonts;
    int32_t ascent, descent; // whole pixels above and below the baseline
};

// The characters to lay out: label, perhaps an ellipsis, suffix.
typedef struct line {
    uint32_t characters[MOST_CHARACTERS + MOST_SUFFIX + 3];
    size_t count;
} line;

// A line laid out. Glyphs stand from left to right; advances are in 1/64 pixel.
typedef struct layout {
    raqm_t *raqm;
    const raqm_glyph_t *glyphs; // Raqm's
    size_t count;
} layout;

// Where ink is, in whole pixels from the pen's start, y upwards.
typedef struct extent {
    int64_t left, right, bottom, top;
} extent;

sl_status sl_text_new(sl_ctx *ctx, const char *font, unsigned pixels, sl_text **out)
{
    sl_text *text = sl_alloc(ctx, 1, sizeof(*text));
    *out = NULL;
    if (!text)
        return SL_ERR_NOMEM;
    text->ctx = ctx;
    pixels = pixels < 1 ? 1 : pixels > SL_MOST_TEXT_PIXELS ? SL_MOST_TEXT_PIXELS : pixels;
    sl_status st = sl_fonts_open(ctx, font, pixels, &text->fonts);
    if (st != SL_OK) {
        sl_text_free(text);
        return st;
    }
    // A font may claim anything; letters fit between these in every sane one.
    const FT_Size_Metrics *m = &text->fonts.faces[0]->size->metrics;
    const int32_t most = 2 * (int32_t)pixels;
    int64_t up = ((int64_t)m->ascender + 63) / 64, down = (63 - (int64_t)m->descender) / 64;
    text->ascent = up < 1 || up > most ? (int32_t)pixels : (int32_t)up;
    text->descent = down < 0 || down > most ? (int32_t)pixels / 4 : (int32_t)down;
    *out = text;
    return SL_OK;
}

void sl_text_free(sl_text *text)
{
    if (text)
        sl_fonts_close(&text->fonts);
    free(text);
}

uint32_t sl_text_height(const sl_text *text)
{
    return (uint32_t)(text->ascent + text->descent);
}

// ---- characters

static hb_unicode_general_category_t category(uint32_t c)
{
    return hb_unicode_general_category(hb_unicode_funcs_get_default(), c);
}

static bool is_mark(uint32_t c)
{
    hb_unicode_general_category_t k = category(c);
    return k == HB_UNICODE_GENERAL_CATEGORY_NON_SPACING_MARK ||
           k == HB_UNICODE_GENERAL_CATEGORY_SPACING_MARK ||
           k == HB_UNICODE_GENERAL_CATEGORY_ENCLOSING_MARK;
}

// Takes no place of its own and needs no glyph.
static bool is_format(uint32_t c)
{
    return category(c) == HB_UNICODE_GENERAL_CATEGORY_FORMAT || (c >= 0xFE00 && c <= 0xFE0F);
}

// Embeddings, overrides and isolates: a label is one line of its own direction, and nothing in it
// may turn what stands beside it.
static bool is_direction(uint32_t c)
{
    return (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

// What is drawn for a character of a label: itself, or what stands for it.
static uint32_t shown(uint32_t c)
{
    if (c == '\t' || c == '\n' || c == '\r' || c == 0x2028 || c == 0x2029)
        return ' ';
    return c < 0x20 || (c >= 0x7F && c < 0xA0) ? SL_REPLACEMENT : c;
}

// *complete: false where the label is longer.
static size_t decode(const char *label, uint32_t *out, bool *complete)
{
    size_t count = 0;
    uint32_t c = 0;
    for (size_t length; (length = sl_utf8_next(label, &c)) > 0; label += length) {
        if (is_direction(c))
            continue;
        if (count == MOST_CHARACTERS) {
            *complete = false;
            return count;
        }
        out[count++] = shown(c);
    }
    *complete = true;
    return count;
}

static void compose(const uint32_t *label, size_t count, bool whole, const char *suffix, line *out)
{
    out->count = 0;
    out->characters[out->count++] = ISOLATE_BEGIN;
    while (!whole && count > 0 && (is_mark(label[count]) || is_format(label[count])))
        count--; // not between a letter and its marks
    memcpy(out->characters + out->count, label, count * sizeof(*label));
    out->count += count;
    if (!whole)
        out->characters[out->count++] = ELLIPSIS;
    out->characters[out->count++] = ISOLATE_END;
    for (size_t i = 0; suffix[i] && i < MOST_SUFFIX; i++)
        out->characters[out->count++] = (uint8_t)suffix[i];
}

// ---- layout

static void close_layout(layout *l)
{
    if (l->raqm)
        raqm_destroy(l->raqm);
    *l = (layout) { NULL, NULL, 0 };
}

// Marks stay with the letter that they belong to, where its face has them: no other can place them.
static sl_status choose_faces(sl_text *text, const line *from, raqm_t *raqm)
{
    size_t face = 0;
    for (size_t i = 0; i < from->count; i++) {
        const uint32_t c = from->characters[i];
        const bool stays = is_format(c) || (i > 0 && is_mark(c) &&
                                            FT_Get_Char_Index(text->fonts.faces[face], c) != 0);
        sl_status st = stays ? SL_OK : sl_fonts_face(&text->fonts, c, &face);
        if (st != SL_OK)
            return st;
        if (!raqm_set_freetype_face_range(raqm, text->fonts.faces[face], i, 1))
            return sl_fail(text->ctx, SL_ERR_NOMEM, "out of memory for a label");
    }
    return SL_OK;
}

static sl_status lay_out(sl_text *text, const line *from, layout *out)
{
    *out = (layout) { raqm_create(), NULL, 0 };
    // From left to right as a whole, so that the suffix is at the right.
    bool ok = out->raqm && raqm_set_text(out->raqm, from->characters, from->count) &&
              raqm_set_par_direction(out->raqm, RAQM_DIRECTION_LTR) &&
              raqm_set_freetype_load_flags(out->raqm, LOAD_FLAGS);
    sl_status st = ok ? choose_faces(text, from, out->raqm) : SL_ERR_NOMEM;
    if (st == SL_OK && raqm_layout(out->raqm))
        out->glyphs = raqm_get_glyphs(out->raqm, &out->count);
    else
        ok = ok && st != SL_OK; // what failed has told why
    if (!ok)
        st = sl_fail(text->ctx, SL_ERR_NOMEM, "out of memory for a label");
    if (st != SL_OK)
        close_layout(out);
    return st;
}

// ---- glyphs

// A glyph that no font has is drawn as a box by us: the font's own may be empty.
static bool is_missing(const raqm_glyph_t *glyph)
{
    return glyph->index == 0;
}

static int64_t advance(const sl_text *text, const raqm_glyph_t *glyph)
{
    const int64_t em = (int64_t)text->fonts.pixels * 64, a = glyph->x_advance;
    if (is_missing(glyph))
        return em * 5 / 8;
    return a < -4 * em || a > 4 * em ? em : a; // of a hostile font
}

static int64_t down_to_pixel(int64_t v)
{
    return v >= 0 ? v / 64 : -((63 - v) / 64);
}

// The inner edges of the box that stands for a missing glyph lie a stroke inside of this.
static extent box_extent(const sl_text *text, int64_t pen)
{
    const int64_t em = text->fonts.pixels, left = down_to_pixel(pen) + em / 16;
    const int64_t width = em / 2 > 1 ? em / 2 : 1;
    return (extent) { left, left + width, 0, em * 3 / 4 > 1 ? em * 3 / 4 : 1 };
}

// Loads the glyph's outline, moved to where it stands within its pixel. False: it has no ink.
static bool load(const raqm_glyph_t *glyph, int64_t pen, int64_t *x, int64_t *y, extent *ink)
{
    const int64_t far = (int64_t)1 << 26; // a million pixels
    FT_BBox box;
    int64_t at_x = pen + glyph->x_offset, at_y = glyph->y_offset;
    if (at_x < -far || at_x > far || at_y < -far || at_y > far ||
        FT_Load_Glyph(glyph->ftface, glyph->index, LOAD_FLAGS) != 0 ||
        glyph->ftface->glyph->format != FT_GLYPH_FORMAT_OUTLINE)
        return false;
    FT_Outline *outline = &glyph->ftface->glyph->outline;
    *x = down_to_pixel(at_x);
    *y = down_to_pixel(at_y + 32);
    FT_Outline_Translate(outline, (FT_Pos)(at_x - *x * 64), 0);
    FT_Outline_Get_CBox(outline, &box);
    if (box.xMin < -far || box.xMax > far || box.yMin < -far || box.yMax > far ||
        box.xMin >= box.xMax || box.yMin >= box.yMax)
        return false;
    *ink = (extent) { *x + down_to_pixel(box.xMin), *x + down_to_pixel(box.xMax + 63),
                      *y + down_to_pixel(box.yMin), *y + down_to_pixel(box.yMax + 63) };
    return true;
}

static void include(extent *all, const extent *more)
{
    all->left = more->left < all->left ? more->left : all->left;
    all->right = more->right > all->right ? more->right : all->right;
    all->bottom = more->bottom < all->bottom ? more->bottom : all->bottom;
    all->top = more->top > all->top ? more->top : all->top;
}

// The line's box and all ink; towers of marks end at twice the line's height.
static extent measure(const sl_text *text, const layout *l)
{
    extent all = { 0, 0, -text->descent, text->ascent }, ink = { 0, 0, 0, 0 };
    const int64_t height = text->ascent + text->descent;
    int64_t pen = 0, x = 0, y = 0;
    for (size_t i = 0; i < l->count; i++) {
        if (is_missing(&l->glyphs[i])) {
            ink = box_extent(text, pen);
            include(&all, &ink);
        } else if (load(&l->glyphs[i], pen, &x, &y, &ink)) {
            include(&all, &ink);
        }
        pen += advance(text, &l->glyphs[i]);
    }
    all.right = down_to_pixel(pen + 63) > all.right ? down_to_pixel(pen + 63) : all.right;
    all.top = all.top > text->ascent + height / 2 ? text->ascent + height / 2 : all.top;
    all.bottom =
        all.bottom < -text->descent - height / 2 ? -text->descent - height / 2 : all.bottom;
    return all;
}

// ---- ink

static void add_ink(sl_mask *mask, int64_t x, int64_t y, unsigned coverage)
{
    if (x < 0 || y < 0 || x >= mask->width || y >= mask->height)
        return;
    uint8_t *at = &mask->coverage[(size_t)y * mask->width + (size_t)x];
    *at = (uint8_t)(*at + coverage - *at * coverage / 255); // neighbours may share a pixel
}

static void ink_box(const sl_text *text, int64_t pen, const extent *all, sl_mask *mask)
{
    const extent box = box_extent(text, pen);
    const int64_t stroke = text->fonts.pixels / 14 > 1 ? text->fonts.pixels / 14 : 1;
    for (int64_t y = box.bottom; y < box.top; y++)
        for (int64_t x = box.left; x < box.right; x++)
            if (x < box.left + stroke || x >= box.right - stroke || y < box.bottom + stroke ||
                y >= box.top - stroke)
                add_ink(mask, x - all->left, all->top - 1 - y, 255);
}

static sl_status ink_glyph(const sl_text *text, const raqm_glyph_t *glyph, int64_t pen,
                           const extent *all, sl_mask *mask)
{
    int64_t left = 0, base = 0;
    extent ink;
    // What lies outside of the mask is not filled: a hostile outline may be huge.
    if (!load(glyph, pen, &left, &base, &ink) || ink.left >= all->left + mask->width ||
        ink.right <= all->left || ink.right - ink.left > 16 * (int64_t)text->fonts.pixels ||
        ink.top - ink.bottom > 16 * (int64_t)text->fonts.pixels)
        return SL_OK;
    FT_GlyphSlot slot = glyph->ftface->glyph;
    FT_Error error = FT_Render_Glyph(slot, FT_RENDER_MODE_NORMAL);
    if (error == FT_Err_Out_Of_Memory)
        return sl_fail(text->ctx, SL_ERR_NOMEM, "out of memory for a label");
    const FT_Bitmap *bitmap = &slot->bitmap;
    if (error || bitmap->pixel_mode != FT_PIXEL_MODE_GRAY)
        return SL_OK;
    left += slot->bitmap_left - all->left;
    const int64_t top = all->top - base - slot->bitmap_top;
    for (unsigned y = 0; y < bitmap->rows; y++)
        for (unsigned x = 0; x < bitmap->width; x++)
            add_ink(mask, left + x, top + y,
                    bitmap->buffer[(ptrdiff_t)y * bitmap->pitch + (ptrdiff_t)x]);
    return SL_OK;
}

static sl_status fill(const sl_text *text, const layout *l, uint32_t most, sl_mask *out)
{
    const extent all = measure(text, l);
    const int64_t width = all.right - all.left, height = all.top - all.bottom;
    out->width = width < most ? (uint32_t)width : most;
    out->height = (uint32_t)height;
    out->coverage = sl_alloc(text->ctx, out->width, out->height);
    if (!out->coverage)
        return SL_ERR_NOMEM;
    int64_t pen = 0;
    sl_status st = SL_OK;
    for (size_t i = 0; i < l->count && st == SL_OK; i++) {
        if (is_missing(&l->glyphs[i]))
            ink_box(text, pen, &all, out);
        else
            st = ink_glyph(text, &l->glyphs[i], pen, &all, out);
        pen += advance(text, &l->glyphs[i]);
    }
    return st;
}

// ---- a line

static int64_t width_of(const sl_text *text, const layout *l)
{
    extent all = measure(text, l);
    return all.right - all.left;
}

// The longest beginning of the label that fits, by halving. l: laid out whole and too wide; then
// what is drawn instead.
static sl_status shorten(sl_text *text, const uint32_t *label, size_t count, const char *suffix,
                         uint32_t most, line *scratch, layout *l)
{
    sl_status st = SL_OK;
    size_t fits = 0;
    for (size_t first = 1, end = count; first < end && st == SL_OK;) {
        const size_t middle = first + (end - first) / 2;
        compose(label, middle, false, suffix, scratch);
        close_layout(l);
        st = lay_out(text, scratch, l);
        if (st == SL_OK && width_of(text, l) <= most) {
            fits = middle;
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    if (st != SL_OK)
        return st;
    compose(label, fits, false, suffix, scratch);
    close_layout(l);
    return lay_out(text, scratch, l);
}

sl_status sl_text_mask(sl_text *text, const char *label, const char *suffix, uint32_t most,
                       sl_mask *out)
{
    uint32_t characters[MOST_CHARACTERS + 1] = { 0 };
    line scratch;
    layout l = { NULL, NULL, 0 };
    bool complete = true;
    *out = (sl_mask) { 0, 0, NULL };
    size_t count = decode(label, characters, &complete);
    compose(characters, count, complete, suffix, &scratch);
    sl_status st = lay_out(text, &scratch, &l);
    if (st == SL_OK && width_of(text, &l) > most)
        st = shorten(text, characters, count, suffix, most, &scratch, &l);
    if (st == SL_OK)
        st = fill(text, &l, most, out);
    close_layout(&l);
    if (st != SL_OK) {
        free(out->coverage);
        *out = (sl_mask) { 0, 0, NULL };
    }
    return st;
}
