// SPDX-License-Identifier: MIT
// tests/base/number.c: numbers in files have a point, whatever the locale has.
#include "comma.h"
#include "run.h"

static void check_both_ways(double value, const char *want)
{
    char text[48];
    double back = 0;
    snprintf(text, sizeof(text), "%.7g", value);
    sl_number_point(text);
    ck_assert_str_eq(text, want);
    ck_assert(sl_number_read(text, &back));
    ck_assert_double_eq_tol(back, value, 1e-6 * (value < 0 ? -value : value));
}

START_TEST(a_point_whatever_the_locale)
{
    bool has_comma = _i && test_set_comma(dir);
    char text[32];
    snprintf(text, sizeof(text), "%.1f", 0.5);
    ck_assert(!has_comma || text[1] != '.');
    check_both_ways(1234.5625, "1234.562");
    check_both_ways(-1e-20, "-1e-20");
    check_both_ways(-1.5e-20, "-1.5e-20");
    check_both_ways(3, "3");
    setlocale(LC_ALL, "C");
}
END_TEST

START_TEST(marks_of_several_bytes)
{
    char text[] = "12\xD9\xAB"
                  "5e+30";
    sl_number_point(text);
    ck_assert_str_eq(text, "12.5e+30");
}
END_TEST

START_TEST(what_is_no_number)
{
    static const char *const bad[] = { NULL, "", "x", "0,3", "0.3 ", "0.3x" };
    double value;
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        ck_assert_msg(!sl_number_read(bad[i], &value), "%zu", i);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("number");
    tcase_add_loop_test(tests, a_point_whatever_the_locale, 0, 2);
    tcase_add_test(tests, marks_of_several_bytes);
    tcase_add_test(tests, what_is_no_number);
    return run_case("base/number", tests);
}
