// SPDX-License-Identifier: MIT
// tests/pipeline/looks.c: which sizes a picture is looked at in, and what the looks come to.
#include "pipeline/looks.h"

#include "scene.h"

static const struct {
    uint32_t width, height, first;
} sizes[] = {
    { 1, 1, 1 },       { 639, 639, 1 },  { 640, 127, 1 },  { 640, 128, 2 },    { 128, 640, 2 },
    { 4000, 3000, 8 }, { 4000, 255, 2 }, { 100000, 1, 1 }, { 6144, 4096, 16 }, { 65535, 65535, 16 },
};

START_TEST(sizes_halve_down_to_some_hundred_pixels)
{
    uint32_t factor[SL_LOOKS_MOST];
    size_t count = sl_looks_choose(sizes[_i].width, sizes[_i].height, factor);
    ck_assert_uint_ge(count, 1);
    ck_assert_uint_eq(factor[0], sizes[_i].first);
    ck_assert_uint_eq(factor[count - 1], 1);
    for (size_t i = 1; i < count; i++)
        ck_assert_uint_eq(2 * factor[i], factor[i - 1]);
}
END_TEST

// ---- joined, against plain loops

#define CELL 32
#define CALM 3.0

typedef struct made {
    sl_image *image, *small[SL_LOOKS_MOST];
    sl_looks looks;
    size_t colours;
} made;

static void set_sample(sl_image *image, uint32_t x, uint32_t y, unsigned k, unsigned value)
{
    size_t at = (size_t)x * image->channels + k;
    if (image->depth == 16)
        ((uint16_t *)sl_image_row(image, y))[at] = (uint16_t)value;
    else
        ((uint8_t *)sl_image_row(image, y))[at] = (uint8_t)value;
}

// Moves samples of `after`, most where x + y is large.
static void disturb(const sl_image *before, sl_image *after, unsigned colours, uint32_t *seed)
{
    unsigned top = after->depth == 16 ? 65535 : 255;
    for (uint32_t y = 0; y < after->height; y++)
        for (uint32_t x = 0; x < after->width; x++)
            for (unsigned k = 0; k < colours; k++) {
                int reach = (int)(top * (x + y) / (4 * (after->width + after->height)));
                int by = (int)(scene_noise(seed) % (unsigned)(2 * reach + 1)) - reach;
                int value = (int)sample(before, x, y, k) + by;
                set_sample(after, x, y, k,
                           (unsigned)(value < 0          ? 0
                                      : value > (int)top ? (int)top
                                                         : value));
            }
}

static made make(uint32_t width, uint32_t height, unsigned channels, unsigned depth,
                 const uint32_t *factor, size_t count, bool still)
{
    uint32_t seed = 7 + width;
    made m = { .image = scene(width, height, channels, depth, SCENE_MIXED, 61),
               .looks = { .ctx = ctx, .count = count },
               .colours = channels >= 3 ? 3 : 1 };
    for (size_t i = 0; i < count; i++) {
        sl_look *look = &m.looks.look[i];
        look->factor = factor[i];
        if (factor[i] > 1)
            ck_ok(sl_shrink_picture(ctx, m.image, factor[i], &m.small[i]));
        look->before = m.small[i] ? m.small[i] : m.image;
        ck_ok(sl_image_clone(ctx, look->before, &look->after));
        if (!still)
            disturb(look->before, look->after, (unsigned)m.colours, &seed);
        size_t pixels = (size_t)look->before->width * look->before->height;
        look->heat = sl_alloc(ctx, pixels, sizeof(float));
        for (size_t p = 0; p < pixels; p++)
            look->heat[p] = (float)(scene_noise(&seed) % 1000) / 1000.0f;
    }
    return m;
}

static void unmake(made *m)
{
    for (size_t i = 0; i < SL_LOOKS_MOST; i++) {
        sl_image_free(m->small[i]);
        sl_image_free(m->looks.look[i].after);
        free(m->looks.look[i].heat);
    }
    sl_looks_free(&m->looks);
    sl_image_free(m->image);
}

static double shade(double v, double low, double high)
{
    return fmin(fmax(v, low), high);
}

// By the four middles around a pixel: values [height, width] of cells of `cell` pixels.
static double between(const double *values, size_t width, size_t height, double cell, double x,
                      double y)
{
    double u = shade((x + 0.5) / cell - 0.5, 0, (double)width - 1);
    double v = shade((y + 0.5) / cell - 0.5, 0, (double)height - 1);
    size_t i = (size_t)u, j = (size_t)v;
    size_t i1 = i + 1 < width ? i + 1 : i, j1 = j + 1 < height ? j + 1 : j;
    double a = u - (double)i, b = v - (double)j;
    return (1 - b) * ((1 - a) * values[j * width + i] + a * values[j * width + i1]) +
           b * ((1 - a) * values[j1 * width + i] + a * values[j1 * width + i1]);
}

// Of a look, in the pixels of the finest: [colours][height][width].
static double *changes_of(const made *m, size_t i)
{
    const sl_look *look = &m->looks.look[i], *fine = &m->looks.look[m->looks.count - 1];
    const sl_image *small = look->before, *large = fine->before;
    size_t pixels = (size_t)large->width * large->height;
    double *plane = sl_alloc(ctx, (size_t)small->width * small->height, sizeof(double));
    double *out = sl_alloc(ctx, pixels * m->colours, sizeof(double));
    for (unsigned k = 0; k < m->colours; k++) {
        for (uint32_t y = 0; y < small->height; y++)
            for (uint32_t x = 0; x < small->width; x++)
                plane[y * small->width + x] =
                    ((double)sample(look->after, x, y, k) - (double)sample(small, x, y, k)) /
                    (small->depth == 16 ? 65535 : 255);
        for (uint32_t y = 0; y < large->height; y++)
            for (uint32_t x = 0; x < large->width; x++)
                out[k * pixels + y * large->width + x] =
                    between(plane, small->width, small->height, look->factor / fine->factor, x, y);
    }
    free(plane);
    return out;
}

static double *energies_of(const made *m, const double *change, double *mean)
{
    const sl_image *large = m->looks.look[m->looks.count - 1].before;
    size_t columns = (large->width + CELL - 1) / CELL, rows = (large->height + CELL - 1) / CELL;
    size_t pixels = (size_t)large->width * large->height;
    double *sum = sl_alloc(ctx, columns * rows, sizeof(double));
    double *count = sl_alloc(ctx, columns * rows, sizeof(double));
    for (uint32_t y = 0; y < large->height; y++)
        for (uint32_t x = 0; x < large->width; x++) {
            size_t c = y / CELL * columns + x / CELL;
            count[c]++;
            for (unsigned k = 0; k < m->colours; k++)
                sum[c] += change[k * pixels + y * large->width + x] *
                          change[k * pixels + y * large->width + x];
        }
    *mean = 0;
    for (size_t c = 0; c < columns * rows; c++) {
        sum[c] /= count[c];
        *mean += sum[c] / (double)(columns * rows);
    }
    free(count);
    return sum;
}

static double smoothed(const double *cells, size_t columns, size_t rows, size_t x, size_t y)
{
    static const double share[5] = { 1 / 16.0, 4 / 16.0, 6 / 16.0, 4 / 16.0, 1 / 16.0 };
    double sum = 0;
    for (int j = -2; j <= 2; j++)
        for (int i = -2; i <= 2; i++) {
            size_t u = (size_t)shade((double)x + i, 0, (double)columns - 1);
            size_t v = (size_t)shade((double)y + j, 0, (double)rows - 1);
            sum += share[i + 2] * share[j + 2] * cells[v * columns + u];
        }
    return sum;
}

typedef struct wanted {
    double *change[SL_LOOKS_MOST], *weight[SL_LOOKS_MOST], mean[SL_LOOKS_MOST];
    size_t columns, rows;
} wanted;

static wanted want(const made *m)
{
    const sl_image *large = m->looks.look[m->looks.count - 1].before;
    wanted w = { .columns = (large->width + CELL - 1) / CELL,
                 .rows = (large->height + CELL - 1) / CELL };
    double *energy[SL_LOOKS_MOST];
    for (size_t i = 0; i < m->looks.count; i++) {
        w.change[i] = changes_of(m, i);
        energy[i] = energies_of(m, w.change[i], &w.mean[i]);
        w.weight[i] = sl_alloc(ctx, w.columns * w.rows, sizeof(double));
    }
    for (size_t c = 0; c < w.columns * w.rows; c++) {
        double sum = 0;
        for (size_t i = 0; i < m->looks.count; i++) {
            double e = smoothed(energy[i], w.columns, w.rows, c % w.columns, c / w.columns);
            w.weight[i][c] = pow(e + CALM * w.mean[i], 2);
            sum += w.weight[i][c];
        }
        for (size_t i = 0; i < m->looks.count; i++)
            w.weight[i][c] /= sum;
    }
    for (size_t i = 0; i < m->looks.count; i++)
        free(energy[i]);
    return w;
}

static void check_pixel(const made *m, const wanted *w, uint32_t x, uint32_t y)
{
    const sl_look *fine = &m->looks.look[m->looks.count - 1];
    const sl_image *large = fine->before;
    size_t pixels = (size_t)large->width * large->height;
    const double top = large->depth == 16 ? 65535 : 255;
    for (unsigned k = 0; k < m->colours; k++) {
        double sum = 0;
        for (size_t i = 0; i < m->looks.count; i++)
            sum += between(w->weight[i], w->columns, w->rows, CELL, x, y) *
                   w->change[i][k * pixels + y * large->width + x];
        double value = shade((double)sample(large, x, y, k) + sum * top, 0, top);
        ck_assert_double_le(fabs((double)sample(fine->after, x, y, k) - value),
                            large->depth == 16 ? 2.0 : 0.51);
    }
    for (unsigned k = (unsigned)m->colours; k < large->channels; k++)
        ck_assert_uint_eq(sample(fine->after, x, y, k), sample(large, x, y, k));
}

static const struct {
    uint32_t width, height;
    unsigned channels, depth;
    uint32_t factor[SL_LOOKS_MOST];
    size_t count;
} cases[] = {
    { 70, 45, 3, 8, { 2, 1 }, 2 },       { 101, 67, 4, 8, { 4, 2, 1 }, 3 },
    { 90, 131, 1, 16, { 4, 2 }, 2 },     { 97, 40, 2, 8, { 8, 4, 2, 1 }, 4 },
    { 300, 33, 3, 16, { 16, 8, 4 }, 3 }, { 3, 2, 3, 8, { 2, 1 }, 2 },
};

START_TEST(changes_are_added_by_their_energies)
{
    made m = make(cases[_i].width, cases[_i].height, cases[_i].channels, cases[_i].depth,
                  cases[_i].factor, cases[_i].count, false);
    const sl_look *fine = &m.looks.look[m.looks.count - 1];
    float *heat[SL_LOOKS_MOST];
    for (size_t i = 0; i < m.looks.count; i++) {
        size_t pixels = (size_t)m.looks.look[i].before->width * m.looks.look[i].before->height;
        heat[i] = sl_alloc(ctx, pixels, sizeof(float));
        memcpy(heat[i], m.looks.look[i].heat, pixels * sizeof(float));
    }
    wanted w = want(&m);
    ck_ok(sl_looks_measure(&m.looks));
    ck_ok(sl_looks_join(&m.looks));
    for (size_t i = 0; i < m.looks.count; i++)
        ck_assert_double_le(fabs(m.looks.mean[i] - w.mean[i]), 1e-4 * w.mean[i]);
    for (uint32_t y = 0; y < fine->before->height; y++)
        for (uint32_t x = 0; x < fine->before->width; x++)
            check_pixel(&m, &w, x, y);
    // Heat goes by the same weights: of the finest look's own corner.
    double corner = 0;
    for (size_t i = 0; i < m.looks.count; i++)
        corner += w.weight[i][0] * (double)heat[i][0];
    ck_assert_double_le(fabs((double)fine->heat[0] - corner), 1e-4);
    for (size_t i = 0; i < m.looks.count; i++) {
        free(w.change[i]);
        free(w.weight[i]);
        free(heat[i]);
    }
    unmake(&m);
}
END_TEST

START_TEST(what_no_look_changes_stays)
{
    made m = make(100, 70, 4, 8, (uint32_t[]) { 4, 2, 1 }, 3, true);
    ck_ok(sl_looks_measure(&m.looks));
    ck_assert(!sl_looks_are_enough(&m.looks));
    ck_ok(sl_looks_join(&m.looks));
    ck_assert_mem_eq(m.looks.look[2].after->pixels, m.image->pixels,
                     m.image->row_bytes * m.image->height);
    unmake(&m);
}
END_TEST

START_TEST(a_finer_look_that_sees_less_is_the_last)
{
    static const struct {
        double before, last;
        bool enough;
    } seen[] = { { 4, 3, true },    { 4, 0.5, true }, { 4, 4.1, false },
                 { 4, 0.3, false }, { 4, 0, false },  { 0, 0, false } };
    for (size_t i = 0; i < SL_ARRAY_LEN(seen); i++) {
        sl_looks looks = { .count = 3, .mean = { 9, seen[i].before, seen[i].last } };
        ck_assert(sl_looks_are_enough(&looks) == seen[i].enough);
    }
    sl_looks one = { .count = 1, .mean = { 1 } };
    ck_assert(!sl_looks_are_enough(&one));
}
END_TEST

// ---- through the network

START_TEST(large_pictures_are_looked_at_several_times)
{
    sl_model *model = model_of(1, 1, 1, TEST_KEEPS_BRIGHT, 63);
    watched seen = { 0 };
    sl_deblur *by_itself, *small, *full;
    ck_ok(sl_deblur_new(ctx, model, NULL, &by_itself));
    ck_ok(sl_deblur_new(ctx, model, &(sl_deblur_options) { .shrink = 2 }, &small));
    ck_ok(sl_deblur_new(ctx, model, &(sl_deblur_options) { .shrink = 1 }, &full));
    sl_image *image = scene(780, 130, 4, 8, SCENE_BRIGHT_SPOT, 64), *of_both, *heat, *of_full;
    sl_deblur_report report, of_small, whole;
    watch_progress(&seen);
    ck_ok(sl_deblur_run(by_itself, image, &of_both, &heat, &report));
    ctx->options.progress = NULL;
    ck_assert(seen.returns == 0 && !seen.is_beyond && seen.done == seen.total && seen.total > 0);
    sl_image *of_half;
    ck_ok(sl_deblur_run(small, image, &of_half, NULL, &of_small));
    ck_ok(sl_deblur_run(full, image, &of_full, NULL, &whole));
    ck_assert(report.shrink[0] == 2 && report.shrink[1] == 1 && report.shrink[2] == 0);
    ck_assert(of_small.shrink[0] == 2 && of_small.shrink[1] == 0);
    ck_assert(whole.shrink[0] == 1 && whole.shrink[1] == 0);
    ck_assert_uint_eq(report.tiles, of_small.tiles + whole.tiles);
    ck_assert_uint_eq(report.tile_width, whole.tile_width);
    ck_assert(heat->width == 780 && heat->height == 130);
    // A mean of both, pixel by pixel, but for rounding.
    for (uint32_t y = 0; y < image->height; y++)
        for (uint32_t x = 0; x < image->width; x++) {
            for (unsigned k = 0; k < 3; k++) {
                int a = (int)sample(of_half, x, y, k), b = (int)sample(of_full, x, y, k);
                int c = (int)sample(of_both, x, y, k);
                ck_assert(c >= (a < b ? a : b) - 1 && c <= (a < b ? b : a) + 1);
            }
            ck_assert_uint_eq(sample(of_both, x, y, 3), sample(image, x, y, 3));
        }
    ck_assert_uint_gt(differing(image, of_both), 100);
    ck_assert_uint_gt(differing(of_full, of_both), 100);
    ck_assert_double_ge(report.blurred_share, report.kept_share);
    sl_image *const all[] = { image, of_both, of_half, of_full, heat };
    for (size_t i = 0; i < SL_ARRAY_LEN(all); i++)
        sl_image_free(all[i]);
    sl_deblur_free(by_itself);
    sl_deblur_free(small);
    sl_deblur_free(full);
    sl_model_free(model);
}
END_TEST

// Stripes of which every window is bright enough on average at a quarter of the size, and only
// every second one at half of it.
static sl_image *stripes(uint32_t width, uint32_t height)
{
    sl_image *image = scene(width, height, 3, 8, SCENE_DARK, 67);
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            for (unsigned k = 0; k < 3 && x % 32 < 17; k++)
                set_sample(image, x, y, k, 230);
    return image;
}

START_TEST(a_course_may_end_early)
{
    sl_model *model = model_of(1, 1, 1, TEST_KEEPS_BRIGHT, 66);
    watched seen = { 0 };
    sl_deblur *d;
    sl_image *image = stripes(1280, 256), *out, *heat;
    sl_deblur_report report;
    ck_ok(sl_deblur_new(ctx, model, NULL, &d));
    watch_progress(&seen);
    ck_ok(sl_deblur_run(d, image, &out, &heat, &report));
    ctx->options.progress = NULL;
    ck_assert(seen.returns == 0 && !seen.is_beyond && seen.done == 1000 && seen.total == 1000);
    ck_assert(report.shrink[0] == 4 && report.shrink[1] == 2 && report.shrink[2] == 0);
    ck_assert_double_ge(report.blurred_share, report.kept_share);
    ck_assert(out->width == 1280 && out->height == 256 && heat->width == 1280);
    ck_assert_uint_gt(differing(image, out), 100);
    sl_image *const all[] = { image, out, heat };
    for (size_t i = 0; i < SL_ARRAY_LEN(all); i++)
        sl_image_free(all[i]);
    sl_deblur_free(d);
    sl_model_free(model);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("looks");
    tcase_add_loop_test(tests, sizes_halve_down_to_some_hundred_pixels, 0, SL_ARRAY_LEN(sizes));
    tcase_add_loop_test(tests, changes_are_added_by_their_energies, 0, SL_ARRAY_LEN(cases));
    tcase_add_test(tests, what_no_look_changes_stays);
    tcase_add_test(tests, a_finer_look_that_sees_less_is_the_last);
    tcase_add_test(tests, large_pictures_are_looked_at_several_times);
    tcase_add_test(tests, a_course_may_end_early);
    return run_case("pipeline/looks", tests);
}
