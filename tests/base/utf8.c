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

int main(void)
{
    TCase *tests = tcase_create("utf8");
    tcase_add_test(tests, characters_one_by_one);
    tcase_add_test(tests, copies_are_valid);
    return run_case("base/utf8", tests);
}
