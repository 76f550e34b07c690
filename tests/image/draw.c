// SPDX-License-Identifier: MIT
// tests/image/draw.c: two pictures side by side, and heat over one.
#include "made.h"

static sl_image *flat(uint32_t width, uint32_t height, unsigned channels, unsigned depth,
                      unsigned value)
{
    sl_image *image;
    ck_ok(sl_image_new(ctx, width, height, channels, depth, &image));
    size_t samples = (size_t)width * height * channels;
    for (size_t i = 0; i < samples; i++) {
        if (depth == 8)
            image->pixels[i] = (uint8_t)value;
        else
            ((uint16_t *)(void *)image->pixels)[i] = (uint16_t)value;
    }
    return image;
}

static void check_pixel(const sl_image *image, uint32_t x, uint32_t y, int want)
{
    const uint8_t *p = (const uint8_t *)sl_image_row_const(image, y) + (size_t)x * 3;
    for (int c = 0; c < 3; c++)
        ck_assert_msg(p[c] - want <= 1 && want - p[c] <= 1, "pixel %u, %u: %d, not %d", x, y, p[c],
                      want);
}

START_TEST(compare_puts_them_side_by_side)
{
    sl_image *a = flat(300, 4, 1, 8, 90), *b = flat(200, 6, 4, 16, 32768), *both;
    ck_ok(sl_image_compare(ctx, a, b, &both));
    ck_assert_uint_eq(both->height, 6);
    ck_assert_uint_eq(both->channels, 3);
    ck_assert_uint_eq(both->depth, 8);
    uint32_t gap = both->width - 500;
    ck_assert(gap >= 1 && gap < 10);
    check_pixel(both, 0, 0, 90);
    check_pixel(both, 299, 3, 90);
    check_pixel(both, 299, 4, 255); // the shorter one ends
    check_pixel(both, 300, 0, 255); // the gap
    check_pixel(both, 300 + gap - 1, 5, 255);
    check_pixel(both, 300 + gap, 0, 128); // half grey, half over mid-grey
    check_pixel(both, 499 + gap, 5, 128);
    sl_image_free(a);
    sl_image_free(b);
    sl_image_free(both);
}
END_TEST

START_TEST(compare_lays_alpha_over_mid_grey)
{
    sl_image *a = flat(2, 2, 2, 8, 0), *b = flat(2, 2, 4, 8, 255), *both;
    ck_ok(sl_image_compare(ctx, a, b, &both));
    check_pixel(both, 0, 0, 128);               // clear
    check_pixel(both, both->width - 1, 1, 255); // opaque white
    sl_image_free(a);
    sl_image_free(b);
    sl_image_free(both);
}
END_TEST

START_TEST(compare_keeps_a_common_profile)
{
    sl_image *a = flat(2, 2, 3, 8, 0), *b = flat(2, 2, 3, 8, 9), *both;
    a->icc = made_srgb_profile();
    b->icc = made_srgb_profile();
    ck_ok(sl_image_compare(ctx, a, b, &both));
    ck_assert_uint_eq(both->icc.size, a->icc.size);
    sl_image_free(both);
    b->icc.data[100] ^= 1;
    ck_ok(sl_image_compare(ctx, a, b, &both));
    ck_assert_uint_eq(both->icc.size, 0);
    sl_image_free(a);
    sl_image_free(both);
    a = flat(2, 2, 1, 8, 0);
    ck_ok(sl_blob_copy(ctx, b->icc.data, b->icc.size, &a->icc)); // one for colours says naught here
    ck_ok(sl_image_compare(ctx, a, b, &both));
    ck_assert_uint_eq(both->icc.size, 0);
    sl_image_free(a);
    sl_image_free(b);
    sl_image_free(both);
}
END_TEST

START_TEST(compare_refuses_what_no_picture_can_hold)
{
    sl_image wide = { .width = 0x80000000, .height = 1, .channels = 3, .depth = 8 }, *both;
    ck_fails(sl_image_compare(ctx, &wide, &wide, &both), SL_ERR_LIMIT, "too wide");
    ck_assert_ptr_null(both);
}
END_TEST

static float luma(const uint8_t *p)
{
    return 0.299f * p[0] + 0.587f * p[1] + 0.114f * p[2];
}

// More heat is never darker, over dark, middle and bright pictures.
START_TEST(heat_rises_in_lightness)
{
    sl_image *image = flat(1001, 1, 3, 8, (unsigned)_i * 85), *hot;
    float heat[1001];
    for (int i = 0; i <= 1000; i++)
        heat[i] = (float)i / 1000;
    ck_ok(sl_image_heat(ctx, image, heat, &hot));
    ck_assert(hot->channels == 3 && hot->depth == 8 && hot->width == 1001);
    int grey = hot->pixels[0];
    ck_assert_int_eq(grey, hot->pixels[1]);
    ck_assert_int_eq(grey, hot->pixels[2]);
    float brightest = 0;
    for (int i = 0; i <= 1000; i++) {
        float l = luma(hot->pixels + i * 3);
        ck_assert_msg(l >= brightest - 1, "at %d: %g after %g", i, l, brightest);
        brightest = l > brightest ? l : brightest;
    }
    ck_assert_msg(brightest > (float)grey + 50, "%g over %d", brightest, grey);
    sl_image_free(image);
    sl_image_free(hot);
}
END_TEST

START_TEST(odd_values_count_as_the_nearest)
{
    sl_image *image = flat(6, 1, 2, 16, 40000), *hot;
    const float infinity = __builtin_inff();
    float heat[6] = { 0, -5, __builtin_nanf(""), 1, 7, infinity };
    ck_ok(sl_image_heat(ctx, image, heat, &hot));
    ck_assert_mem_eq(hot->pixels, hot->pixels + 3, 3);
    ck_assert_mem_eq(hot->pixels, hot->pixels + 6, 3);
    ck_assert_mem_eq(hot->pixels + 9, hot->pixels + 12, 3);
    ck_assert_mem_eq(hot->pixels + 9, hot->pixels + 15, 3);
    ck_assert(memcmp(hot->pixels, hot->pixels + 9, 3) != 0);
    sl_image_free(image);
    sl_image_free(hot);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("draw");
    tcase_add_test(tests, compare_puts_them_side_by_side);
    tcase_add_test(tests, compare_lays_alpha_over_mid_grey);
    tcase_add_test(tests, compare_keeps_a_common_profile);
    tcase_add_test(tests, compare_refuses_what_no_picture_can_hold);
    tcase_add_loop_test(tests, heat_rises_in_lightness, 0, 4);
    tcase_add_test(tests, odd_values_count_as_the_nearest);
    return run_case("image/draw", tests);
}
