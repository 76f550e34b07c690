// SPDX-License-Identifier: MIT
// tests/base/utf8.c: text that nobody vouches for.
#include "run.h"

START_TEST(characters_one_by_one)
{
    static const struct {
        const char *text;
        size_t length;
        uint32_t code;
    } cases[] = {
        { "", 0, 0 },
        { "a", 1, 'a' },
        { "\x7F", 1, 0x7F },
        { "\xC2\x80", 2, 0x80 },
        { "\xDF\xBFx", 2, 0x7FF },
        { "\xE0\xA0\x80", 3, 0x800 },
        { "\xEF\xBF\xBD", 3, SL_REPLACEMENT },
        { "\xF0\x90\x80\x80", 4, 0x10000 },
        { "\xF4\x8F\xBF\xBF", 4, 0x10FFFF },
        { "\x80", 1, SL_REPLACEMENT },             // begins none
        { "\xC1\xBF", 1, SL_REPLACEMENT },         // overlong
        { "\xE0\x9F\xBF", 1, SL_REPLACEMENT },     // overlong
        { "\xF0\x8F\xBF\xBF", 1, SL_REPLACEMENT }, // overlong
        { "\xED\xA0\x80", 1, SL_REPLACEMENT },     // a surrogate
        { "\xF4\x90\x80\x80", 1, SL_REPLACEMENT }, // beyond the last
        { "\xF8\x88\x80\x80", 1, SL_REPLACEMENT },
        { "\xE2\x82", 1, SL_REPLACEMENT }, // cut short
        { "\xC3(", 1, SL_REPLACEMENT },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        uint32_t code = 1;
        ck_assert_uint_eq(sl_utf8_next(cases[i].text, &code), cases[i].length);
        ck_assert_uint_eq(code, cases[i].code);
    }
}
END_TEST

START_TEST(copies_are_valid)
{
    char *copy = sl_utf8_copy(ctx, "a\xFF\xC3\xA9\xE2\x82.png");
    ck_assert_str_eq(copy, "a\xEF\xBF\xBD\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBD.png");
    free(copy);
    copy = sl_utf8_copy(ctx, "");
    ck_assert_str_eq(copy, "");
    free(copy);
}
END_TEST

START_TEST(cuts_are_between_characters)
{
    static const char text[] = "ab\xC3\xA9\xE2\x82\xAC";
    static const size_t kept[] = { 0, 1, 2, 2, 4, 4, 4, 7, 7 };
    for (size_t most = 0; most < SL_ARRAY_LEN(kept); most++)
        ck_assert_uint_eq(sl_utf8_cut(text, most), kept[most]);
    ck_assert_uint_eq(sl_utf8_cut("\x80\x80\x80", 2), 0);
}
END_TEST

START_TEST(marks_are_skipped)
{
    static const struct {
        const char *text;
        size_t size, left;
    } cases[] = { { "\xEF\xBB\xBF[]", 5, 2 }, { "\xEF\xBB\xBF", 3, 0 },   { NULL, 0, 0 },
                  { "\xEF\xBB\xBF", 2, 2 },   { "\xEF\xBB\xBD[]", 5, 5 }, { "[]", 2, 2 } };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        const char *text = cases[i].text;
        size_t size = cases[i].size;
        sl_utf8_skip_mark(&text, &size);
        ck_assert_uint_eq(size, cases[i].left);
        ck_assert(size == cases[i].size || text == cases[i].text + 3);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("utf8");
    tcase_add_test(tests, characters_one_by_one);
    tcase_add_test(tests, copies_are_valid);
    tcase_add_test(tests, cuts_are_between_characters);
    tcase_add_test(tests, marks_are_skipped);
    return run_case("base/utf8", tests);
}
