// SPDX-License-Identifier: MIT
// tests/tensor/dtype.c: shapes, and numbers of every type on their way to f32.
#include "../base/run.h"

#include "tensor/tensor.h"

#include <math.h>

START_TEST(shapes_are_counted)
{
    size_t n = 7;
    ck_assert(sl_shape_elements(&(sl_shape) { 0, { 0 } }, &n) && n == 1);
    ck_assert(sl_shape_elements(&(sl_shape) { 3, { 2, 3, 4 } }, &n) && n == 24);
    ck_assert(sl_shape_elements(&(sl_shape) { 3, { UINT64_MAX, UINT64_MAX, 0 } }, &n) && n == 0);
    ck_assert(!sl_shape_elements(&(sl_shape) { 2, { UINT64_MAX, 2 } }, &n));
    ck_assert(!sl_shape_elements(&(sl_shape) { 2, { 1ull << 32, 1ull << 32 } }, &n));
    ck_assert(!sl_shape_elements(&(sl_shape) { SL_MAX_RANK + 1, { 1 } }, &n));
}
END_TEST

START_TEST(shapes_are_compared_and_told)
{
    sl_shape a = { 2, { 2, 3, 9 } }, b = { 2, { 2, 3, 8 } }, c = { 3, { 2, 3, 8 } };
    char text[32], all[200], cut[6];
    ck_assert(sl_shape_equal(&a, &b));
    ck_assert(!sl_shape_equal(&b, &c));
    sl_shape_text(&(sl_shape) { 4, { 96, 24, 3, 3 } }, text, sizeof(text));
    ck_assert_str_eq(text, "[96, 24, 3, 3]");
    sl_shape_text(&(sl_shape) { 0, { 0 } }, text, sizeof(text));
    ck_assert_str_eq(text, "[]");
    sl_shape_text(&(sl_shape) { 2, { 1234, 5678 } }, cut, sizeof(cut));
    ck_assert_str_eq(cut, "[1234");
    sl_shape most = { SL_MAX_RANK, { 0 } };
    for (int i = 0; i < SL_MAX_RANK; i++)
        most.dim[i] = UINT64_MAX;
    sl_shape_text(&most, all, sizeof(all));
    ck_assert_uint_eq(strlen(all), SL_MAX_RANK * 20 + (SL_MAX_RANK - 1) * 2 + 2);
}
END_TEST

// By definition, in double.
static double half_value(uint16_t x)
{
    int exponent = x >> 10 & 31, mantissa = x & 1023;
    double sign = x & 0x8000 ? -1.0 : 1.0;
    if (exponent == 31)
        return mantissa ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0)
        return sign * ldexp(mantissa, -24);
    return sign * ldexp(1024 + mantissa, exponent - 25);
}

START_TEST(every_half_is_read_and_written_back)
{
    for (uint32_t x = 0; x < 65536; x++) {
        double want = half_value((uint16_t)x);
        float got = sl_f16_to_f32((uint16_t)x);
        uint16_t back = sl_f32_to_f16(got);
        bool same =
            isnan(want)
                ? isnan(got) && isnan(sl_f16_to_f32(back)) && (back & 0x8000u) == (x & 0x8000u)
                : (double)got == want && !signbit(got) == !signbit(want) && back == x;
        if (!same) // an assertion for each would take seconds
            ck_abort_msg("0x%04x is %g, not %g, and comes back as 0x%04x", x, got, want, back);
    }
}
END_TEST

// Between every two neighbours: the middle goes to the even one, a hair beside it to the nearer.
START_TEST(halves_round_to_nearest_even)
{
    for (uint32_t x = 0; x < 0x7c00; x++) {
        double low = half_value((uint16_t)x);
        double high = x + 1 == 0x7c00 ? 65536.0 : half_value((uint16_t)(x + 1));
        float middle = (float)((low + high) / 2); // exact: one bit more
        uint16_t even = (uint16_t)(x % 2 ? x + 1 : x);
        for (uint32_t sign = 0; sign <= 0x8000; sign += 0x8000) {
            float s = sign ? -1.0f : 1.0f;
            uint16_t at = sl_f32_to_f16(s * middle);
            uint16_t below = sl_f32_to_f16(s * nextafterf(middle, 0.0f));
            uint16_t above = sl_f32_to_f16(s * nextafterf(middle, INFINITY));
            if (at != (even | sign) || below != (x | sign) || above != ((x + 1) | sign))
                ck_abort_msg("around %a: 0x%04x 0x%04x 0x%04x", middle, below, at, above);
        }
    }
    ck_assert_uint_eq(sl_f32_to_f16(3e38f), 0x7c00);
    ck_assert_uint_eq(sl_f32_to_f16(-INFINITY), 0xfc00);
    ck_assert_uint_eq(sl_f32_to_f16(1e-45f), 0);
    ck_assert_uint_eq(sl_f32_to_f16(-0.0f), 0x8000);
}
END_TEST

// Four values of each type at an odd address, with the neighbours left alone.
START_TEST(every_type_becomes_f32)
{
    static const struct {
        sl_dtype dtype;
        const char *name;
        uint8_t bytes[32];
        float want[4];
    } cases[] = {
        { SL_F32,
          "F32",
          { 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x80, 0x7f },
          { 1, -2, 0, INFINITY } },
        { SL_F16, "F16", { 0, 0x3c, 0, 0xc0, 1, 0, 0, 0xfc }, { 1, -2, 0x1p-24f, -INFINITY } },
        { SL_BF16,
          "BF16",
          { 0x80, 0x3f, 0x49, 0x40, 1, 0, 0x80, 0xff },
          { 1, 3.140625f, 0x1p-133f, -INFINITY } },
        { SL_F64,
          "F64",
          { 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0,    0xc0,
            0, 0, 0, 0, 0, 0, 0xe0, 0x3f, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f },
          { 1, -2, 0.5f, INFINITY } },
        { SL_U8, "U8", { 0, 1, 128, 255 }, { 0, 1, 128, 255 } },
        { SL_I8, "I8", { 0, 1, 128, 255 }, { 0, 1, -128, -1 } },
        { SL_I16, "I16", { 1, 0, 0xff, 0xff, 0, 0x80, 0xff, 0x7f }, { 1, -1, -32768, 32767 } },
        { SL_I32,
          "I32",
          { 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0x80, 0, 0, 1, 0 },
          { 1, -1, -0x1p31f, 65536 } },
        { SL_I64,
          "I64",
          { 1, 0, 0, 0, 0, 0, 0, 0,    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0, 0, 0, 0, 0, 0, 0, 0x80, 0,    0,    0,    0,    1,    0,    0,    0 },
          { 1, -1, -0x1p63f, 0x1p32f } },
    };
    ck_assert_uint_eq(SL_ARRAY_LEN(cases), SL_DTYPE_COUNT);
    for (size_t c = 0; c < SL_ARRAY_LEN(cases); c++) {
        uint8_t bytes[33];
        float got[5] = { 0, 0, 0, 0, 12345 };
        memcpy(bytes + 1, cases[c].bytes, 32);
        ck_assert_str_eq(sl_dtype_name(cases[c].dtype), cases[c].name);
        sl_tensor tensor = { .name = "t",
                             .dtype = cases[c].dtype,
                             .shape = { 1, { 4 } },
                             .data = bytes + 1,
                             .bytes = 4 * sl_dtype_size(cases[c].dtype) };
        sl_tensor_to_f32(&tensor, got);
        for (int i = 0; i < 4; i++)
            ck_assert_msg(got[i] == cases[c].want[i], "%s[%d]: %g", cases[c].name, i, got[i]);
        ck_assert(got[4] == 12345.0f);
    }
}
END_TEST

START_TEST(what_is_not_finite_is_found)
{
    static const struct {
        sl_dtype dtype;
        uint8_t last[8]; // the last element; those before it are 0
        bool is_finite;
    } cases[] = {
        { SL_F32, { 0xff, 0xff, 0x7f, 0x7f }, true },
        { SL_F32, { 0, 0, 0x80, 0x7f }, false },
        { SL_F32, { 1, 0, 0x80, 0xff }, false },
        { SL_F16, { 0xff, 0x7b }, true },
        { SL_F16, { 0, 0x7c }, false },
        { SL_F16, { 1, 0xfe }, false },
        { SL_BF16, { 0x7f, 0x7f }, true },
        { SL_BF16, { 0x80, 0xff }, false },
        { SL_BF16, { 0xc0, 0x7f }, false },
        { SL_F64, { [6] = 0xf0, 0x7f }, false },
        { SL_F64, { [6] = 0xf8, 0xff }, false },
        { SL_F64, { [6] = 0xef, 0x47 }, true },
        { SL_F64, { [6] = 0xf0, 0x47 }, false }, // 2^128: infinite as f32
        { SL_I32, { 0xff, 0xff, 0xff, 0x7f }, true },
        { SL_U8, { 0xff }, true },
    };
    for (size_t c = 0; c < SL_ARRAY_LEN(cases); c++) {
        enum { COUNT = 37 }; // vectors and a rest
        size_t size = sl_dtype_size(cases[c].dtype);
        uint8_t bytes[1 + COUNT * 8] = { 0 };
        memcpy(bytes + 1 + (COUNT - 1) * size, cases[c].last, size);
        sl_tensor tensor = { .name = "t",
                             .dtype = cases[c].dtype,
                             .shape = { 1, { COUNT } },
                             .data = bytes + 1,
                             .bytes = COUNT * size };
        ck_assert_msg(sl_tensor_is_finite(&tensor) == cases[c].is_finite, "case %zu", c);
        tensor.bytes -= size; // without the last
        ck_assert(sl_tensor_is_finite(&tensor));
    }
}
END_TEST

// As tensors are read: many at a time, which may be other code than one alone.
START_TEST(many_halves_are_read_as_one)
{
    static uint16_t halves[65536];
    static float got[65536];
    for (uint32_t x = 0; x < 65536; x++)
        halves[x] = (uint16_t)x;
    sl_tensor tensor = {
        .name = "t", .dtype = SL_F16, .shape = { 1, { 65536 } }, .data = halves, .bytes = 131072
    };
    sl_tensor_to_f32(&tensor, got);
    for (uint32_t x = 0; x < 65536; x++) {
        float want = sl_f16_to_f32((uint16_t)x);
        if (memcmp(&want, &got[x], sizeof(want)) != 0)
            ck_abort_msg("0x%04x is %g alone, %g among others", x, want, got[x]);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("dtype");
    tcase_add_test(tests, shapes_are_counted);
    tcase_add_test(tests, shapes_are_compared_and_told);
    tcase_add_test(tests, every_half_is_read_and_written_back);
    tcase_add_test(tests, halves_round_to_nearest_even);
    tcase_add_test(tests, many_halves_are_read_as_one);
    tcase_add_test(tests, every_type_becomes_f32);
    tcase_add_test(tests, what_is_not_finite_is_found);
    return run_case("tensor-dtype", tests);
}
