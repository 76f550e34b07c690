// SPDX-License-Identifier: MIT
// tests/image/fit.c: what detectors see equals OpenCV's resizing (tools/golden/fit.py): bilinear to
// the bit, by areas to one level.
#include "made.h"
#include "tensor/tensor.h"

#include <math.h>

#define MOST (96 * 96 * 3)

static sl_image *picture_of(uint32_t width, uint32_t height, const uint8_t *rgb)
{
    sl_image *image;
    ck_ok(sl_image_new(ctx, width, height, 3, 8, &image));
    memcpy(image->pixels, rgb, (size_t)width * height * 3);
    return image;
}

static void compare(const sl_tensor *want, const uint8_t *got, int tolerance)
{
    const uint8_t *data = want->data;
    for (size_t i = 0; i < want->bytes; i++)
        ck_assert_msg(abs(got[i] - data[i]) <= tolerance, "%s: sample %zu is %d, not %d",
                      want->name, i, got[i], data[i]);
}

static void check_golden(const char *kind, bool is_averaged, int tolerance, int least)
{
    sl_tensor_set *set;
    int cases = 0;
    ck_ok(sl_tensor_set_open(ctx, GOLDEN_DIR "/fit.safetensors", &set));
    for (size_t i = 0; i < sl_tensor_set_count(set); i++) {
        const sl_tensor *want = sl_tensor_set_at(set, i);
        uint32_t w, h, width, height;
        char end[16], name[64];
        uint8_t got[MOST];
        ck_assert_int_eq(sscanf(want->name, "%ux%u-%ux%u.%15s", &w, &h, &width, &height, end), 5);
        if (strcmp(end, kind) != 0)
            continue;
        snprintf(name, sizeof(name), "%ux%u-%ux%u.in", w, h, width, height);
        sl_image *image = picture_of(w, h, sl_tensor_set_find(set, name)->data);
        const sl_rectangle all = { 0, 0, w, h };
        ck_assert_uint_le(want->bytes, sizeof(got));
        ck_ok(sl_image_fit(ctx, image, &all, width, height, is_averaged, got));
        compare(want, got, tolerance);
        sl_image_free(image);
        cases++;
    }
    ck_assert_int_ge(cases, least);
    sl_tensor_set_free(set);
}

START_TEST(bilinear_equals_opencv)
{
    check_golden("out", false, 0, 12);
}
END_TEST

START_TEST(areas_equal_opencv)
{
    check_golden("area", true, 1, 3);
}
END_TEST

static sl_image *pattern(uint32_t width, uint32_t height, unsigned channels, unsigned depth)
{
    sl_image *image;
    ck_ok(sl_image_new(ctx, width, height, channels, depth, &image));
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            for (unsigned c = 0; c < channels; c++) {
                bool is_alpha = channels % 2 == 0 && c == channels - 1;
                unsigned value = is_alpha ? 255 : (x * 71 + y * 37 + c * (x ^ y)) % 256;
                size_t at = ((size_t)y * width + x) * channels + c;
                if (depth == 8)
                    image->pixels[at] = (uint8_t)value;
                else
                    ((uint16_t *)(void *)image->pixels)[at] = (uint16_t)(value * 257);
            }
    return image;
}

START_TEST(depth_and_channels_do_not_matter)
{
    for (int averaged = 0; averaged < 2; averaged++)
        for (unsigned channels = 1; channels <= 4; channels++) {
            uint8_t want[9 * 8 * 3], got[9 * 8 * 3];
            const sl_rectangle all = { 0, 0, 50, 41 };
            sl_image *plain = pattern(50, 41, channels >= 3 ? 3 : 1, 8);
            ck_ok(sl_image_fit(ctx, plain, &all, 9, 8, averaged, want));
            for (unsigned depth = 8; depth <= 16; depth += 8) {
                sl_image *image = pattern(50, 41, channels, depth);
                ck_ok(sl_image_fit(ctx, image, &all, 9, 8, averaged, got));
                ck_assert_mem_eq(got, want, sizeof(got));
                sl_image_free(image);
            }
            sl_image_free(plain);
        }
}
END_TEST

// How much of pixel i lies in sample k of `samples` that share `length` pixels.
static double share(uint32_t i, uint32_t k, uint32_t length, uint32_t samples)
{
    const double step = (double)length / samples;
    const double common = fmin(i + 1.0, (k + 1) * step) - fmax(i, k * step);
    return common > 0 ? common / step : 0;
}

// A side that shrinks a lot has the other one counted by areas, too.
START_TEST(one_side_is_enough_for_areas)
{
    static const uint32_t sizes[][4] = { { 40, 10, 10, 8 }, { 10, 40, 8, 10 }, { 30, 9, 11, 9 } };
    for (size_t s = 0; s < SL_ARRAY_LEN(sizes); s++) {
        const uint32_t w = sizes[s][0], h = sizes[s][1], to_w = sizes[s][2], to_h = sizes[s][3];
        const sl_rectangle all = { 0, 0, w, h };
        sl_image *image = pattern(w, h, 3, 8);
        uint8_t got[11 * 10 * 3];
        ck_ok(sl_image_fit(ctx, image, &all, to_w, to_h, true, got));
        for (uint32_t i = 0; i < to_w * to_h * 3; i++) {
            double want = 0;
            for (uint32_t y = 0; y < h; y++)
                for (uint32_t x = 0; x < w; x++)
                    want += share(x, i / 3 % to_w, w, to_w) * share(y, i / 3 / to_w, h, to_h) *
                            image->pixels[(y * w + x) * 3 + i % 3];
            ck_assert_msg(fabs(got[i] - want) < 0.51, "%zu: %u: %d, not %g", s, i, got[i], want);
        }
        sl_image_free(image);
    }
}
END_TEST

START_TEST(a_rectangle_is_a_picture_of_its_own)
{
    for (int averaged = 0; averaged < 2; averaged++) {
        uint8_t want[11 * 7 * 3], got[11 * 7 * 3];
        const sl_rectangle part = { 5, 9, 31, 22 }, all = { 0, 0, 31, 22 };
        sl_image *image = pattern(50, 41, 3, 8), *cut;
        ck_ok(sl_image_new(ctx, 31, 22, 3, 8, &cut));
        for (uint32_t y = 0; y < 22; y++)
            memcpy(sl_image_row(cut, y),
                   (const uint8_t *)sl_image_row_const(image, y + 9) + (size_t)5 * 3, 31 * 3);
        ck_ok(sl_image_fit(ctx, image, &part, 11, 7, averaged, got));
        ck_ok(sl_image_fit(ctx, cut, &all, 11, 7, averaged, want));
        ck_assert_mem_eq(got, want, sizeof(got));
        sl_image_free(image);
        sl_image_free(cut);
    }
}
END_TEST

START_TEST(rectangles_are_checked)
{
    static const sl_rectangle bad[] = { { 0, 0, 0, 5 }, { 0, 0, 5, 0 },          { 4, 0, 5, 1 },
                                        { 9, 0, 1, 1 }, { 0, 1, 1, 8 },          { 0, 0, 9, 8 },
                                        { 1, 1, 8, 7 }, { 1, 0, UINT32_MAX, 1 }, { 0, 8, 1, 1 } };
    sl_image *image = pattern(8, 8, 3, 8);
    uint8_t got[3];
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        ck_fails(sl_image_fit(ctx, image, &bad[i], 1, 1, true, got), SL_ERR_ARGUMENT, "cannot");
    const sl_rectangle all = { 0, 0, 8, 8 };
    ck_fails(sl_image_fit(ctx, image, &all, 0, 1, true, got), SL_ERR_ARGUMENT, "become 0");
    ck_fails(sl_image_fit(ctx, image, &all, 1, 16385, true, got), SL_ERR_ARGUMENT, "16385");
    sl_image_free(image);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("fit");
    tcase_add_test(tests, bilinear_equals_opencv);
    tcase_add_test(tests, areas_equal_opencv);
    tcase_add_test(tests, depth_and_channels_do_not_matter);
    tcase_add_test(tests, one_side_is_enough_for_areas);
    tcase_add_test(tests, a_rectangle_is_a_picture_of_its_own);
    tcase_add_test(tests, rectangles_are_checked);
    return run_case("image/fit", tests);
}
