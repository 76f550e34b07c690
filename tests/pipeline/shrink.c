// SPDX-License-Identifier: MIT
// tests/pipeline/shrink.c: means of squares, changes enlarged, and deblurring in small.
#include "scene.h"

#include "pipeline/shrink.h"

static const struct {
    uint32_t width, height, factor;
} cases[] = {
    { 1, 1, 1 }, { 1, 1, 16 }, { 40, 30, 2 }, { 41, 29, 3 }, { 5, 90, 7 }, { 33, 17, 16 }
};

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

// Of a square of the picture, in 65535ths.
static double mean_of(const sl_image *image, uint32_t factor, uint32_t x, uint32_t y, unsigned k)
{
    double sum = 0, count = 0;
    for (uint32_t j = y * factor; j < least((y + 1) * factor, image->height); j++)
        for (uint32_t i = x * factor; i < least((x + 1) * factor, image->width); i++) {
            sum += sample(image, i, j, k) * (image->depth == 16 ? 1.0 : 257.0);
            count++;
        }
    return sum / count;
}

START_TEST(a_small_pixel_is_the_mean_of_its_square)
{
    const uint32_t factor = cases[_i].factor;
    for (unsigned channels = 1; channels <= 4; channels++)
        for (unsigned depth = 8; depth <= 16; depth += 8) {
            sl_image *image = scene(cases[_i].width, cases[_i].height, channels, depth, SCENE_MIXED,
                                    31 + channels),
                     *small;
            ck_ok(sl_shrink_picture(ctx, image, factor, &small));
            ck_assert_uint_eq(small->width, (image->width + factor - 1) / factor);
            ck_assert_uint_eq(small->height, (image->height + factor - 1) / factor);
            ck_assert_uint_eq(small->channels, channels >= 3 ? 3 : 1);
            ck_assert_uint_eq(small->depth, 16);
            for (uint32_t y = 0; y < small->height; y++)
                for (uint32_t x = 0; x < small->width; x++)
                    for (unsigned k = 0; k < small->channels; k++)
                        ck_assert_double_le(
                            fabs(sample(small, x, y, k) - mean_of(image, factor, x, y, k)), 0.5);
            sl_image_free(small);
            sl_image_free(image);
        }
}
END_TEST

// A value of a small map at a pixel of the large one, by the four middles around it.
static double enlarged(const double *map, uint32_t width, uint32_t height, uint32_t factor,
                       uint32_t x, uint32_t y)
{
    double u = fmin(fmax((x + 0.5) / factor - 0.5, 0), width - 1);
    double v = fmin(fmax((y + 0.5) / factor - 0.5, 0), height - 1), sum = 0;
    for (uint32_t j = 0; j < height; j++)
        for (uint32_t i = 0; i < width; i++)
            sum += fmax(0, 1 - fabs(u - i)) * fmax(0, 1 - fabs(v - j)) * map[j * width + i];
    return sum;
}

START_TEST(changes_are_enlarged_and_added)
{
    const uint32_t factor = cases[_i].factor;
    for (unsigned channels = 1; channels <= 4; channels++)
        for (unsigned depth = 8; depth <= 16; depth += 8) {
            sl_image *image = scene(cases[_i].width, cases[_i].height, channels, depth, SCENE_MIXED,
                                    41 + channels),
                     *before, *after, *out;
            const double step = depth == 16 ? 1.0 : 257.0, top = depth == 16 ? 65535 : 255;
            ck_ok(sl_shrink_picture(ctx, image, factor, &before));
            ck_ok(sl_image_clone(ctx, before, &after));
            uint16_t *to = sl_image_row(after, 0);
            const size_t pixels = (size_t)before->width * before->height;
            double *map = sl_alloc(ctx, pixels, sizeof(*map));
            uint32_t seed = 5;
            for (size_t i = 0; i < pixels * before->channels; i++)
                to[i] = (uint16_t)(scene_noise(&seed) % 65536);
            ck_ok(sl_shrink_undo(ctx, image, factor, before, after, &out));
            for (unsigned k = 0; k < channels; k++) {
                const bool is_colour = k < before->channels;
                for (size_t i = 0; i < pixels; i++)
                    map[i] = !is_colour ? 0
                                        : (double)to[i * before->channels + k] -
                                              sample(before, (uint32_t)(i % before->width),
                                                     (uint32_t)(i / before->width), k);
                for (uint32_t y = 0; y < image->height; y++)
                    for (uint32_t x = 0; x < image->width; x++) {
                        double by = enlarged(map, before->width, before->height, factor, x, y);
                        double want = fmin(fmax(sample(image, x, y, k) + by / step, 0), top);
                        ck_assert_double_le(fabs(sample(out, x, y, k) - want), 0.51);
                    }
            }
            free(map);
            sl_image_free(out);
            ck_ok(sl_shrink_undo(ctx, image, factor, before, before, &out));
            ck_assert_mem_eq(out->pixels, image->pixels, image->row_bytes * image->height);
            sl_image *const all[] = { image, before, after, out };
            for (size_t i = 0; i < SL_ARRAY_LEN(all); i++)
                sl_image_free(all[i]);
        }
}
END_TEST

START_TEST(maps_are_enlarged)
{
    const uint32_t factor = cases[_i].factor;
    sl_image *image = scene(cases[_i].width, cases[_i].height, 1, 8, SCENE_DARK, 1), *small;
    ck_ok(sl_shrink_picture(ctx, image, factor, &small));
    const size_t pixels = (size_t)small->width * small->height;
    float *map = sl_alloc(ctx, pixels, sizeof(*map)), *large;
    double *same = sl_alloc(ctx, pixels, sizeof(*same));
    uint32_t seed = 6;
    for (size_t i = 0; i < pixels; i++)
        same[i] = map[i] = (float)(scene_noise(&seed) % 1000) / 1000.0f;
    ck_ok(sl_shrink_undo_map(ctx, image, factor, small, map, &large));
    for (uint32_t y = 0; y < image->height; y++)
        for (uint32_t x = 0; x < image->width; x++)
            ck_assert_double_le(fabs(large[(size_t)y * image->width + x] -
                                     enlarged(same, small->width, small->height, factor, x, y)),
                                1e-5);
    free(map);
    free(same);
    free(large);
    sl_image_free(small);
    sl_image_free(image);
}
END_TEST

// What comes out is what the small picture becomes, put back: alpha, kind and size stay.
START_TEST(deblurring_in_small_is_deblurring_the_small_one)
{
    sl_model *model = model_of(2, 2, 1, TEST_KEEPS_BRIGHT, 51);
    sl_deblur_options options = { .shrink = 3 };
    sl_deblur *in_small, *plain;
    ck_ok(sl_deblur_new(ctx, model, &options, &in_small));
    ck_ok(sl_deblur_new(ctx, model, NULL, &plain)); // too small a picture for more than one look
    sl_image *image = scene(250, 190, 4, 8, SCENE_BRIGHT_SPOT, 52), *small, *after, *want, *out;
    sl_image *heat;
    sl_deblur_report report, of_small;
    ck_ok(sl_shrink_picture(ctx, image, 3, &small));
    ck_ok(sl_deblur_run(plain, small, &after, NULL, &of_small));
    ck_ok(sl_shrink_undo(ctx, image, 3, small, after, &want));
    ck_ok(sl_deblur_run(in_small, image, &out, &heat, &report));
    ck_assert_mem_eq(out->pixels, want->pixels, image->row_bytes * image->height);
    ck_assert(report.width == 250 && report.height == 190 && report.shrink[0] == 3 &&
              report.shrink[1] == 0);
    ck_assert(of_small.width == 84 && of_small.height == 64 && of_small.shrink[0] == 1);
    ck_assert(heat->width == 250 && heat->height == 190);
    ck_assert(report.kept_share > 0 && report.kept_share < 1);
    ck_assert_double_eq(report.kept_share, of_small.kept_share);
    ck_assert_uint_gt(differing(image, out), 100);
    ck_assert_uint_lt(differing(image, out), 250 * 190);
    sl_image *const all[] = { image, small, after, want, out, heat };
    for (size_t i = 0; i < SL_ARRAY_LEN(all); i++)
        sl_image_free(all[i]);
    sl_deblur_free(in_small);
    sl_deblur_free(plain);
    sl_model_free(model);
}
END_TEST

START_TEST(too_small_is_refused)
{
    sl_model *model = model_of(1, 1, 1, TEST_KEEPS_RANDOM, 53);
    sl_deblur_options options = { .shrink = SL_SHRINK_MOST + 1 };
    sl_deblur *d;
    ck_fails(sl_deblur_new(ctx, model, &options, &d), SL_ERR_ARGUMENT, "at most 16");
    ck_assert_ptr_null(d);
    sl_model_free(model);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("shrink");
    tcase_add_loop_test(tests, a_small_pixel_is_the_mean_of_its_square, 0, SL_ARRAY_LEN(cases));
    tcase_add_loop_test(tests, changes_are_enlarged_and_added, 0, SL_ARRAY_LEN(cases));
    tcase_add_loop_test(tests, maps_are_enlarged, 0, SL_ARRAY_LEN(cases));
    tcase_add_test(tests, deblurring_in_small_is_deblurring_the_small_one);
    tcase_add_test(tests, too_small_is_refused);
    return run_case("pipeline/shrink", tests);
}
