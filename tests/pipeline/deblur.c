// SPDX-License-Identifier: MIT
// tests/pipeline/deblur.c: pictures of every kind and size, tiles, seams, budgets, batches.
#include "scene.h"

static sl_deblur *deblur_of(const sl_model *model, const sl_deblur_options *options)
{
    sl_deblur *d;
    ck_ok(sl_deblur_new(ctx, model, options, &d));
    return d;
}

static void check_like(const sl_image *image, const sl_image *out)
{
    ck_assert_uint_eq(out->width, image->width);
    ck_assert_uint_eq(out->height, image->height);
    ck_assert_uint_eq(out->channels, image->channels);
    ck_assert_uint_eq(out->depth, image->depth);
}

static bool same_channel(const sl_image *a, const sl_image *b, unsigned channel)
{
    bool same = true;
    for (uint32_t y = 0; y < a->height; y++)
        for (uint32_t x = 0; x < a->width; x++)
            same = same && sample(a, x, y, channel) == sample(b, x, y, channel);
    return same;
}

static const struct {
    uint32_t width, height;
} sizes[] = { { 1, 1 }, { 7, 300 }, { 200, 150 }, { 64, 64 }, { 2, 1 } };

// Alpha must come through; the rest of the picture must change where all is bright.
START_TEST(all_sizes_and_kinds_work)
{
    sl_model *model = model_of(2, 2, 1, TEST_KEEPS_BRIGHT, 1);
    sl_deblur *d = deblur_of(model, NULL);
    for (unsigned channels = 1; channels <= 4; channels++)
        for (unsigned depth = 8; depth <= 16; depth += 8) {
            sl_image *image =
                scene(sizes[_i].width, sizes[_i].height, channels, depth, SCENE_BRIGHT, 7);
            sl_image *out, *heat;
            sl_deblur_report report;
            ck_ok(sl_deblur_run(d, image, &out, &heat, &report));
            check_like(image, out);
            ck_assert_uint_eq(heat->width, image->width);
            ck_assert_uint_eq(heat->channels, 3);
            ck_assert_uint_gt(differing(image, out), 0);
            if (channels % 2 == 0)
                ck_assert(same_channel(image, out, channels - 1));
            ck_assert_uint_eq(report.tiles, 1);
            ck_assert_uint_eq(report.tile_width, (sizes[_i].width + 31) / 32 * 32);
            ck_assert_uint_eq(report.tile_height, (sizes[_i].height + 31) / 32 * 32);
            ck_assert_double_eq(report.kept_share, 1.0);
            ck_assert_ptr_nonnull(strcasestr(report.device, "cpu ("));
            sl_image_free(image);
            sl_image_free(out);
            sl_image_free(heat);
        }
    sl_deblur_free(d);
    sl_model_free(model);
}
END_TEST

// A grey picture is the mean of what the same picture in three equal colours becomes.
START_TEST(grey_is_the_mean_of_its_colours)
{
    sl_model *model = model_of(1, 1, 1, TEST_KEEPS_BRIGHT, 2);
    sl_deblur *d = deblur_of(model, NULL);
    sl_image *grey = scene(50, 40, 1, 16, SCENE_BRIGHT, 3), *rgb, *grey_out, *rgb_out;
    ck_ok(sl_image_new(ctx, 50, 40, 3, 16, &rgb));
    for (uint32_t y = 0; y < 40; y++)
        for (uint32_t x = 0; x < 150; x++)
            ((uint16_t *)sl_image_row(rgb, y))[x] = (uint16_t)sample(grey, x / 3, y, 0);
    ck_ok(sl_deblur_run(d, grey, &grey_out, NULL, NULL));
    ck_ok(sl_deblur_run(d, rgb, &rgb_out, NULL, NULL));
    unsigned unclamped = 0;
    double worst = 0;
    for (uint32_t y = 0; y < 40; y++)
        for (uint32_t x = 0; x < 50; x++) {
            double mean = 0;
            for (unsigned k = 0; k < 3; k++)
                mean += sample(rgb_out, x, y, k) / 3.0;
            worst = fmax(worst, fabs(mean - sample(grey_out, x, y, 0)));
            unclamped += mean > 0 && mean < 65535;
        }
    ck_assert_msg(worst <= 1.1, "off by %g / 65535", worst);
    ck_assert_uint_gt(unclamped, 0);
    sl_image_free(grey);
    sl_image_free(rgb);
    sl_image_free(grey_out);
    sl_image_free(rgb_out);
    sl_deblur_free(d);
    sl_model_free(model);
}
END_TEST

START_TEST(nothing_kept_changes_nothing)
{
    sl_model *model = model_of(2, 2, 1 + _i, TEST_KEEPS_BRIGHT, 4);
    sl_deblur *d = deblur_of(model, NULL);
    for (unsigned depth = 8; depth <= 16; depth += 8) {
        sl_image *image = scene(111, 77, 4, depth, SCENE_DARK, 9), *out;
        sl_deblur_report report;
        ck_ok(sl_deblur_run(d, image, &out, NULL, &report));
        ck_assert_mem_eq(out->pixels, image->pixels, image->row_bytes * image->height);
        ck_assert_double_eq(report.kept_share, 0.0);
        sl_image_free(image);
        sl_image_free(out);
    }
    sl_deblur_free(d);
    sl_model_free(model);
}
END_TEST

// The largest difference of two 16-bit pictures, as a share of white, `margin` pixels off the edge.
static double distance(const sl_image *a, const sl_image *b, uint32_t margin)
{
    double most = 0;
    for (uint32_t y = margin; y < a->height - margin; y++)
        for (uint32_t x = margin; x < a->width - margin; x++)
            for (unsigned k = 0; k < a->channels; k++) {
                double d = fabs((double)sample(a, x, y, k) - sample(b, x, y, k)) / 65535.0;
                most = d > most ? d : most;
            }
    return most;
}

// With one scale, what the border of a tile spoils stays within the part that is never shown.
// Shifted windows (a second block) wrap round the canvas, and their depthwise convolution sees over
// the wrap: the picture's own edge depends on what lies at the other end of the tile.
START_TEST(tiles_agree_with_the_whole)
{
    uint32_t depth = 1 + _i / 2 % 2, margin = depth == 1 ? 0 : 64;
    unsigned views = _i < 4 ? 1 : 4;
    sl_model *model = model_of(1, depth, 1 + _i % 2, TEST_KEEPS_RANDOM, 5);
    sl_image *image = scene(500, 420, 3, 16, SCENE_MIXED, 11), *whole_out, *tiled_out;
    sl_deblur_options whole = { .dense = true, .views = views };
    sl_deblur_options tiled = { .dense = true, .views = views, .tile = 256 };
    sl_deblur *a = deblur_of(model, &whole), *b = deblur_of(model, &tiled);
    sl_deblur_report report;
    ck_ok(sl_deblur_run(a, image, &whole_out, NULL, &report));
    ck_assert_uint_eq(report.tiles, 1);
    ck_ok(sl_deblur_run(b, image, &tiled_out, NULL, &report));
    ck_assert_uint_ge(report.tiles, 4);
    double d = distance(whole_out, tiled_out, margin);
    ck_assert_msg(d < 0.02 / 255, "they differ by %g / 255", d * 255);
    ck_assert_uint_gt(differing(image, whole_out), 500 * 420 / 2);
    sl_image_free(image);
    sl_image_free(whole_out);
    sl_image_free(tiled_out);
    sl_deblur_free(a);
    sl_deblur_free(b);
    sl_model_free(model);
}
END_TEST

// The picture fills the canvas, so that a view is what a turned picture gives. Where one of them
// computes no window, its share of the change is nothing.
START_TEST(views_are_averaged)
{
    const unsigned views = _i ? 4 : 2;
    sl_model *model = model_of(2, 2, 1, TEST_KEEPS_BRIGHT, 21);
    sl_image *image = scene(128, 64, 3, 16, SCENE_BRIGHT_SPOT, 22), *seen[4], *out;
    sl_deblur_options options = { .views = views };
    sl_deblur *one = deblur_of(model, NULL), *all = deblur_of(model, &options);
    double kept = 0, worst = 0;
    sl_deblur_report report;
    for (unsigned v = 0; v < views; v++) {
        sl_image *view = turned(image, v & 1, v & 2), *made;
        ck_ok(sl_deblur_run(one, view, &made, NULL, &report));
        kept += report.kept_share / views;
        seen[v] = turned(made, v & 1, v & 2);
        sl_image_free(view);
        sl_image_free(made);
    }
    ck_ok(sl_deblur_run(all, image, &out, NULL, &report));
    ck_assert_double_eq_tol(report.kept_share, kept, 1e-12);
    ck_assert(kept > 0 && kept < 1 && report.views == views && report.tiles == 1);
    for (uint32_t y = 0; y < image->height; y++)
        for (uint32_t x = 0; x < image->width; x++)
            for (unsigned k = 0; k < 3; k++) {
                double mean = 0;
                bool is_clamped = false;
                for (unsigned v = 0; v < views; v++) {
                    unsigned is = sample(seen[v], x, y, k);
                    is_clamped = is_clamped || is == 0 || is == 65535;
                    mean += (double)is / views;
                }
                if (!is_clamped)
                    worst = fmax(worst, fabs(mean - sample(out, x, y, k)));
            }
    ck_assert_msg(worst <= 1.1, "off by %g / 65535", worst);
    ck_assert_uint_gt(differing(image, out), 100);
    ck_assert_uint_gt(differing(seen[0], out), 100);
    for (unsigned v = 0; v < views; v++)
        sl_image_free(seen[v]);
    sl_image_free(out);
    sl_image_free(image);
    sl_deblur_free(one);
    sl_deblur_free(all);
    sl_model_free(model);
}
END_TEST

// Picture and heat map of the mirror image are the mirror images of both.
START_TEST(views_turn_with_the_picture)
{
    sl_model *model = model_of(2, 2, 1, TEST_KEEPS_BRIGHT, 23);
    sl_image *image = scene(128, 64, 3, 8, SCENE_BRIGHT_SPOT, 24);
    sl_image *mirrored = turned(image, true, false), *a, *b, *heat_a, *heat_b;
    sl_deblur_options options = { .views = 2 };
    sl_deblur *d = deblur_of(model, &options);
    ck_ok(sl_deblur_run(d, image, &a, &heat_a, NULL));
    ck_ok(sl_deblur_run(d, mirrored, &b, &heat_b, NULL));
    sl_image *c = turned(b, true, false), *heat_c = turned(heat_b, true, false);
    ck_assert_uint_eq(differing(a, c), 0);
    ck_assert_uint_gt(differing(a, b), 100);
    for (uint32_t y = 0; y < image->height; y++) // drawn over pictures that are the same
        for (uint32_t x = 0; x < image->width; x++)
            for (unsigned k = 0; k < 3; k++)
                ck_assert_int_le(abs((int)sample(heat_a, x, y, k) - (int)sample(heat_c, x, y, k)),
                                 1);
    sl_image *const all[] = { image, mirrored, a, b, c, heat_a, heat_b, heat_c };
    for (size_t i = 0; i < SL_ARRAY_LEN(all); i++)
        sl_image_free(all[i]);
    sl_deblur_free(d);
    sl_model_free(model);
}
END_TEST

START_TEST(a_budget_shrinks_the_tile)
{
    sl_model *model = model_of(1, 1, 1, TEST_KEEPS_RANDOM, 6);
    sl_image *image = scene(300, 200, 3, 8, SCENE_MIXED, 12), *out;
    sl_deblur_report report;
    uint32_t last = 0;
    for (uint64_t mib = 2; mib <= 512; mib *= 4) {
        sl_deblur_options options = { .memory_bytes = mib << 20 };
        sl_deblur *d = deblur_of(model, &options);
        ck_ok(sl_deblur_run(d, image, &out, NULL, &report));
        ck_assert_uint_ge(report.tile_width, last);
        last = report.tile_width;
        ck_assert(mib > 2 || report.tiles > 1);
        sl_image_free(out);
        sl_deblur_free(d);
    }
    ck_assert_uint_eq(last, 304);
    sl_deblur_options tiny = { .memory_bytes = 10000 };
    sl_deblur *d = deblur_of(model, &tiny);
    ck_fails(sl_deblur_run(d, image, &out, NULL, &report), SL_ERR_LIMIT, "memory budget");
    ck_assert_ptr_null(out);
    sl_deblur_free(d);
    sl_image_free(image);
    sl_model_free(model);
}
END_TEST

START_TEST(a_tile_too_large_for_the_budget_shrinks_with_a_warning)
{
    sl_model *model = model_of(1, 1, 1, TEST_KEEPS_RANDOM, 6);
    sl_image *image = scene(300, 200, 3, 8, SCENE_MIXED, 12), *out;
    sl_deblur_options options = { .memory_bytes = 2 << 20, .tile = 256 };
    sl_deblur *d = deblur_of(model, &options);
    sl_deblur_report report;
    ck_ok(sl_deblur_run(d, image, &out, NULL, &report));
    ck_assert_uint_lt(report.tile_width, 256);
    ck_assert_msg(strstr(warning, "do not fit"), "%s", warning);
    sl_image_free(out);
    sl_image_free(image);
    sl_deblur_free(d);
    sl_model_free(model);
}
END_TEST

// One object over pictures of several shapes gives what fresh ones give.
START_TEST(a_batch_equals_single_runs)
{
    static const uint32_t widths[] = { 200, 200, 64, 300, 200, 1 };
    sl_model *model = model_of(2, 2, 1, TEST_KEEPS_BRIGHT, 8);
    sl_deblur_options options = { .tile = 128 };
    sl_deblur *batch = deblur_of(model, &options);
    for (unsigned i = 0; i < SL_ARRAY_LEN(widths); i++) {
        sl_image *image = scene(widths[i], 150, 3, 8, SCENE_MIXED, 20 + i), *a, *b, *heat;
        sl_deblur *fresh = deblur_of(model, &options);
        ck_ok(sl_deblur_run(batch, image, &a, i == 1 ? &heat : NULL, NULL));
        ck_ok(sl_deblur_run(fresh, image, &b, NULL, NULL));
        ck_assert_msg(differing(a, b) == 0, "picture %u: %zu pixels differ", i, differing(a, b));
        if (i == 1)
            sl_image_free(heat);
        sl_image_free(image);
        sl_image_free(a);
        sl_image_free(b);
        sl_deblur_free(fresh);
    }
    sl_deblur_free(batch);
    sl_model_free(model);
}
END_TEST

// A heat map can be asked for although nothing is pruned, and changes nothing in the picture.
START_TEST(a_dense_run_has_heat_too)
{
    sl_model *model = model_of(1, 2, 1, TEST_KEEPS_BRIGHT, 9);
    sl_deblur_options options = { .dense = true };
    sl_deblur *d = deblur_of(model, &options);
    sl_image *image = scene(90, 60, 3, 8, SCENE_BRIGHT_SPOT, 13), *plain, *out, *heat, *cold;
    sl_deblur_report report;
    ck_ok(sl_deblur_run(d, image, &plain, NULL, NULL));
    ck_ok(sl_deblur_run(d, image, &out, &heat, &report));
    ck_assert_uint_eq(differing(plain, out), 0);
    ck_assert_double_eq(report.kept_share, 1.0);
    float *none = sl_alloc(ctx, 90 * 60, sizeof(float));
    ck_ok(sl_image_heat(ctx, image, none, &cold));
    ck_assert_uint_gt(differing(cold, heat), 100);
    free(none);
    sl_image_free(image);
    sl_image_free(plain);
    sl_image_free(out);
    sl_image_free(heat);
    sl_image_free(cold);
    sl_deblur_free(d);
    sl_model_free(model);
}
END_TEST

typedef struct stopper {
    size_t calls, stop_at, total;
} stopper;

static bool stop(void *user, size_t done, size_t total)
{
    stopper *s = user;
    ck_assert_uint_eq(done, s->calls);
    s->total = total;
    return ++s->calls <= s->stop_at;
}

// Cancelled before any tile, after each, and not at all; the object serves on.
START_TEST(progress_can_stop_a_run)
{
    sl_model *model = model_of(1, 1, 1, TEST_KEEPS_RANDOM, 10);
    sl_image *image = scene(300, 100, 3, 8, SCENE_MIXED, 14), *out;
    stopper s = { 0 };
    sl_ctx *own = NULL;
    sl_ctx_options options = { .threads = 2, .progress = stop, .progress_user = &s };
    ck_ok(sl_ctx_new(&options, &own));
    sl_deblur_options tiles = { .tile = 192 };
    sl_deblur *d;
    ck_ok(sl_deblur_new(own, model, &tiles, &d));
    for (size_t i = 0; i < 3; i++) {
        s = (stopper) { .stop_at = i };
        ck_assert_int_eq(sl_deblur_run(d, image, &out, NULL, NULL), SL_ERR_CANCELLED);
        ck_assert_ptr_null(out);
        ck_assert_uint_eq(s.calls, i + 1);
        ck_assert_uint_gt(s.total, 1);
    }
    s = (stopper) { .stop_at = SIZE_MAX };
    ck_assert_int_eq(sl_deblur_run(d, image, &out, NULL, NULL), SL_OK);
    ck_assert_uint_eq(s.calls, s.total + 1);
    sl_image_free(out);
    sl_image_free(image);
    sl_deblur_free(d);
    sl_ctx_free(own);
    sl_model_free(model);
}
END_TEST

// In strict order, and where none is given the model's own, which is 0.5.
START_TEST(a_lower_threshold_keeps_more)
{
    static const float thresholds[] = { 0.05f, 0.5f, 0.95f };
    sl_model *model = model_of(2, 2, 1, TEST_KEEPS_RANDOM, 15);
    sl_image *image = scene(200, 150, 3, 8, SCENE_MIXED, 16), *out[SL_ARRAY_LEN(thresholds)], *own;
    sl_deblur *d = deblur_of(model, NULL);
    double last = 2;
    sl_deblur_report report;
    ck_ok(sl_deblur_run(d, image, &own, NULL, NULL));
    sl_deblur_free(d);
    for (size_t i = 0; i < SL_ARRAY_LEN(thresholds); i++) {
        sl_deblur_options options = { .keep_threshold = thresholds[i] };
        d = deblur_of(model, &options);
        ck_ok(sl_deblur_run(d, image, &out[i], NULL, &report));
        ck_assert_double_lt(report.kept_share, last);
        last = report.kept_share;
        sl_deblur_free(d);
    }
    ck_assert_uint_eq(differing(own, out[1]), 0);
    ck_assert_uint_gt(differing(own, out[0]), 100);
    ck_assert_uint_gt(differing(own, out[2]), 100);
    for (size_t i = 0; i < SL_ARRAY_LEN(thresholds); i++)
        sl_image_free(out[i]);
    sl_image_free(own);
    sl_image_free(image);
    sl_model_free(model);
}
END_TEST

START_TEST(bad_options_are_refused)
{
    sl_model *model = model_of(1, 1, 1, TEST_KEEPS_RANDOM, 10);
    static const float thresholds[] = { -0.1f, 1.0f, 2.0f, NAN, INFINITY };
    sl_deblur *d;
    for (size_t i = 0; i < SL_ARRAY_LEN(thresholds); i++) {
        sl_deblur_options options = { .keep_threshold = thresholds[i] };
        ck_fails(sl_deblur_new(ctx, model, &options, &d), SL_ERR_ARGUMENT, "threshold");
        ck_assert_ptr_null(d);
    }
    for (unsigned views = 3; views < 6; views += 2) {
        sl_deblur_options options = { .views = views };
        ck_fails(sl_deblur_new(ctx, model, &options, &d), SL_ERR_ARGUMENT, "1, 2 or 4");
    }
    sl_deblur_options options = { .device = "abacus" };
    ck_fails(sl_deblur_new(ctx, model, &options, &d), SL_ERR_ARGUMENT, "auto, cpu");
    ck_assert_ptr_null(d);
    sl_deblur_free(NULL);
    sl_model_free(model);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("deblur");
    tcase_add_loop_test(tests, all_sizes_and_kinds_work, 0, SL_ARRAY_LEN(sizes));
    tcase_add_test(tests, grey_is_the_mean_of_its_colours);
    tcase_add_loop_test(tests, nothing_kept_changes_nothing, 0, 2);
    tcase_add_loop_test(tests, tiles_agree_with_the_whole, 0, 5);
    tcase_add_loop_test(tests, views_are_averaged, 0, 2);
    tcase_add_test(tests, views_turn_with_the_picture);
    tcase_add_test(tests, a_budget_shrinks_the_tile);
    tcase_add_test(tests, a_tile_too_large_for_the_budget_shrinks_with_a_warning);
    tcase_add_test(tests, a_batch_equals_single_runs);
    tcase_add_test(tests, a_dense_run_has_heat_too);
    tcase_add_test(tests, progress_can_stop_a_run);
    tcase_add_test(tests, a_lower_threshold_keeps_more);
    tcase_add_test(tests, bad_options_are_refused);
    return run_case("pipeline/deblur", tests);
}
