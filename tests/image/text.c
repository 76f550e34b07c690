// SPDX-License-Identifier: MIT
// tests/image/text.c: lines of text as masks. No golden pictures: fonts and rasterisers differ by
// versions; what has to hold whatever they do is asked.
#include "../base/run.h"
#include "image/text.h"

#include <math.h>

#define WIDE 4000

static sl_text *text;

static void begin(void)
{
    set_up();
    ck_ok(sl_text_new(ctx, NULL, 24, &text));
}

static void end(void)
{
    sl_text_free(text);
    tear_down();
}

static sl_mask mask_of(const char *label, const char *suffix, uint32_t most)
{
    sl_mask mask;
    ck_ok(sl_text_mask(text, label, suffix, most, &mask));
    ck_assert_uint_le(mask.width, most);
    ck_assert_ptr_nonnull(mask.coverage);
    return mask;
}

// All coverage of the columns from `first` to before `last`, in pixels.
static double ink_between(const sl_mask *m, uint32_t first, uint32_t last)
{
    double sum = 0;
    for (uint32_t y = 0; y < m->height; y++)
        for (uint32_t x = first; x < last && x < m->width; x++)
            sum += m->coverage[(size_t)y * m->width + x] / 255.0;
    return sum;
}

static double ink(const sl_mask *m)
{
    return ink_between(m, 0, m->width);
}

static bool same(const sl_mask *a, const sl_mask *b)
{
    return a->width == b->width && a->height == b->height &&
           memcmp(a->coverage, b->coverage, (size_t)a->width * a->height) == 0;
}

static bool same_text(const char *a, const char *b)
{
    sl_mask x = mask_of(a, "", WIDE), y = mask_of(b, "", WIDE);
    const bool result = same(&x, &y);
    free(x.coverage);
    free(y.coverage);
    return result;
}

START_TEST(letters_have_ink)
{
    // Latin, Greek, Cyrillic, Hebrew, Arabic, Armenian, Georgian: all in the shipped font.
    static const char *const labels[] = { "person", "Ελληνικά", "пилот", "חתול",
                                          "قطة",    "կատու",    "კატა" };
    for (size_t i = 0; i < SL_ARRAY_LEN(labels); i++) {
        sl_mask m = mask_of(labels[i], "", WIDE);
        ck_assert_msg(m.width > 30 && m.width < 200, "%s: %u wide", labels[i], m.width);
        ck_assert_msg(ink(&m) > 40, "%s: %g pixels of ink", labels[i], ink(&m));
        free(m.coverage);
    }
    ck_assert_int_eq(warnings, 0);
}
END_TEST

START_TEST(letters_are_smooth)
{
    sl_mask m = mask_of("oooo", "", WIDE);
    size_t between = 0;
    for (size_t i = 0; i < (size_t)m.width * m.height; i++)
        between += m.coverage[i] > 20 && m.coverage[i] < 235;
    ck_assert_uint_gt(between, 40);
    free(m.coverage);
}
END_TEST

START_TEST(an_empty_label_is_blank)
{
    sl_mask m = mask_of("", "", WIDE);
    ck_assert_uint_eq(m.height, sl_text_height(text));
    ck_assert_double_eq(ink(&m), 0);
    free(m.coverage);
}
END_TEST

// "Right to left" is more than order: letters take other forms by their neighbours, and a reader of
// characters from left to right would show the mirror of this.
START_TEST(right_to_left_is_not_reversed)
{
    ck_assert(!same_text("شجرة", "ةرجش"));
    // Joined, a word is narrower than its letters apart.
    sl_mask word = mask_of("شجرة", "", WIDE), apart = mask_of("ش ج ر ة", "", WIDE);
    ck_assert_uint_lt(word.width + 20, apart.width);
    free(word.coverage);
    free(apart.coverage);
    // Lamed is the one letter of these that towers: it comes first, so it stands at the right.
    sl_mask m = mask_of("לוווו", "", WIDE);
    uint32_t first = 0;
    for (uint32_t x = 0; x < m.width * m.height && !first; x++)
        first = m.coverage[x] > 128 ? x % m.width : 0;
    ck_assert_uint_gt(first, m.width / 2);
    free(m.coverage);
}
END_TEST

START_TEST(the_suffix_stays_at_the_right)
{
    static const char *const labels[] = { "person", "قطة", "\u202Eabc", "abc\u2066" };
    sl_mask number = mask_of("", "0.97", WIDE);
    for (size_t i = 0; i < SL_ARRAY_LEN(labels); i++) {
        sl_mask m = mask_of(labels[i], " 0.97", WIDE);
        const double end_ink = ink_between(&m, m.width - number.width, m.width);
        ck_assert_msg(fabs(end_ink - ink(&number)) < 6, "%s: %g for %g", labels[i], end_ink,
                      ink(&number));
        free(m.coverage);
    }
    free(number.coverage);
    ck_assert(same_text("\u202Eabc",
                        "abc")); // no override turns a label
}
END_TEST

START_TEST(long_labels_end_early)
{
    char *label = NULL;
    const char *word = _i == 0 ? "a long label " : _i == 1 ? "قطة صغيرة " : "e\xCC\x81";
    for (int i = 0; i < 9; i++) {
        char *longer = sl_format(ctx, "%s%s%s", label ? label : word, label ? label : word, "");
        free(label);
        label = longer;
    }
    sl_mask m = mask_of(label, " 0.97", 200), number = mask_of("", "0.97", WIDE);
    ck_assert_uint_gt(m.width, 150);
    ck_assert_double_lt(fabs(ink_between(&m, m.width - number.width, m.width) - ink(&number)), 6);
    free(m.coverage);
    for (uint32_t most = 0; most < 60; most += 7) {
        m = mask_of(label, " 0.97", most);
        free(m.coverage);
    }
    free(number.coverage);
    free(label);
}
END_TEST

START_TEST(bytes_that_are_no_text_show)
{
    ck_assert(same_text("a\xFF"
                        "b\xC3",
                        "a\uFFFDb\uFFFD"));
    ck_assert(same_text("\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD")); // a surrogate
    ck_assert(same_text("a\x01"
                        "b",
                        "a\uFFFDb"));
    ck_assert(same_text("a\tb\nc", "a b c"));
    ck_assert_int_eq(warnings, 0);
}
END_TEST

// Egyptian hieroglyphs, of which the shipped font has none, and a character that will never be.
START_TEST(a_missing_glyph_is_a_box)
{
    sl_mask m = mask_of("\U000E1234", "", WIDE);
    ck_assert_int_eq(warnings, 1);
    ck_assert_ptr_nonnull(strstr(warning, "U+E1234"));
    ck_assert_double_gt(ink(&m), 20);
    sl_mask two = mask_of("\U000E1234\U000E1235", "", WIDE);
    ck_assert_double_eq_tol(ink(&two), 2 * ink(&m), 1e-6);
    ck_assert_int_eq(warnings, 1); // once is enough
    free(m.coverage);
    free(two.coverage);
}
END_TEST

static void write_text(const char *path, const char *content)
{
    ck_ok(sl_file_write(ctx, path, true, content, strlen(content)));
}

// The system's fonts are those of a configuration that the test writes: one font or none.
START_TEST(other_fonts_are_asked)
{
    const char *conf = in_dir("fonts.conf");
    char content[1024];
    snprintf(content, sizeof(content),
             "<?xml version=\"1.0\"?><!DOCTYPE fontconfig SYSTEM \"fonts.dtd\"><fontconfig>"
             "%s<cachedir>%s</cachedir></fontconfig>",
             _i ? "<dir>" OTHER_FONTS "</dir>" : "", dir);
    write_text(conf, content);
    setenv("FONTCONFIG_FILE", conf, 1);
    sl_mask m = mask_of("बिल्ली", "", WIDE);
    ck_assert_int_eq(warnings, _i && HAS_OTHER_FONTS ? 0 : 1);
    sl_mask letter = mask_of("ल", "", WIDE), letters = mask_of("लल", "", WIDE);
    ck_assert_double_gt(ink(&letter), 15);
    ck_assert_double_eq_tol(ink(&letters), 2 * ink(&letter), ink(&letter) / 4);
    free(m.coverage);
    free(letter.coverage);
    free(letters.coverage);
}
END_TEST

START_TEST(other_sizes)
{
    for (unsigned pixels = 1; pixels <= 600; pixels += pixels < 12 ? 1 : 97) {
        sl_text *other = NULL;
        sl_mask m;
        ck_ok(sl_text_new(ctx, NULL, pixels, &other));
        ck_ok(sl_text_mask(other, "Ag", "", WIDE, &m));
        ck_assert_uint_le(m.height,
                          sl_text_height(other) + (pixels < 8)); // of ink rounded outwards
        ck_assert_uint_ge(m.height, pixels);
        ck_assert_uint_le(m.height, 2 * pixels + 2);
        free(m.coverage);
        sl_text_free(other);
    }
}
END_TEST

START_TEST(towers_are_bounded)
{
    char label[600] = "e";
    for (int i = 0; i < 200; i++)
        strcat(label, "\xCC\x81");
    sl_mask m = mask_of(label, "", WIDE);
    ck_assert_uint_le(m.height, 2 * sl_text_height(text) + 1);
    free(m.coverage);
}
END_TEST

START_TEST(fonts_that_are_none)
{
    sl_text *other = NULL;
    ck_fails(sl_text_new(ctx, in_dir("none.ttf"), 20, &other), SL_ERR_IO, "none.ttf");
    write_text(in_dir("text.ttf"), "this is no font");
    ck_fails(sl_text_new(ctx, in_dir("text.ttf"), 20, &other), SL_ERR_FORMAT, "not a font");
    write_text(in_dir("empty.ttf"), "");
    ck_fails(sl_text_new(ctx, in_dir("empty.ttf"), 20, &other), SL_ERR_FORMAT, "not a font");
    ck_assert_ptr_null(other);
    sl_text_free(NULL);
}
END_TEST

// The shipped font as a file is the shipped font; cut short, it may lack glyphs but breaks nothing.
START_TEST(a_font_of_the_user)
{
    sl_blob font;
    sl_text *other = NULL;
    sl_mask a = mask_of("person", " 0.97", WIDE), b;
    ck_ok(sl_text_new(ctx, SHIPPED_FONT, 24, &other));
    ck_ok(sl_text_mask(other, "person", " 0.97", WIDE, &b));
    ck_assert(same(&a, &b));
    free(a.coverage);
    free(b.coverage);
    sl_text_free(other);
    ck_ok(sl_file_read(ctx, SHIPPED_FONT, 1 << 24, &font));
    for (size_t size = 1000; size < font.size; size += font.size / 16) {
        ck_ok(sl_file_write(ctx, in_dir("cut.ttf"), true, font.data, size));
        if (sl_text_new(ctx, in_dir("cut.ttf"), 24, &other) != SL_OK)
            continue;
        ck_ok(sl_text_mask(other, "person قطة", " 0.97", WIDE, &b));
        free(b.coverage);
        sl_text_free(other);
    }
    sl_blob_free(&font);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("text");
    tcase_add_test(tests, letters_have_ink);
    tcase_add_test(tests, letters_are_smooth);
    tcase_add_test(tests, an_empty_label_is_blank);
    tcase_add_test(tests, right_to_left_is_not_reversed);
    tcase_add_test(tests, the_suffix_stays_at_the_right);
    tcase_add_loop_test(tests, long_labels_end_early, 0, 3);
    tcase_add_test(tests, bytes_that_are_no_text_show);
    tcase_add_test(tests, a_missing_glyph_is_a_box);
    tcase_add_loop_test(tests, other_fonts_are_asked, 0, 2);
    tcase_add_test(tests, other_sizes);
    tcase_add_test(tests, towers_are_bounded);
    tcase_add_test(tests, fonts_that_are_none);
    tcase_add_test(tests, a_font_of_the_user);
    return run_case_with("image/text", tests, begin, end);
}
