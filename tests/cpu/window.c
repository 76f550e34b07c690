// SPDX-License-Identifier: MIT
// tests/cpu/window.c: windows of rolled maps, gathered and scattered, and their masks.
#include "cpu/op.h"
#include "reference.h"
#include "testing.h"

#include <math.h>

typedef struct window_case {
    ref_windows m;
    size_t channels, windows, kept;
    bool has_list;
} window_case;

static window_case window_case_new(test_rng *rng)
{
    size_t w = test_range(rng, 2, 8);
    window_case c = { .m = { .window = w, .shift = test_range(rng, 0, 1) * (w / 2) } };
    c.m.height = w * test_range(rng, 1, 4);
    c.m.width = w * test_range(rng, 1, 4);
    c.channels = test_range(rng, 1, 40);
    c.windows = ref_window_count(&c.m);
    c.has_list = test_range(rng, 0, 3) > 0;
    c.kept = c.has_list ? test_range(rng, 0, c.windows) : c.windows;
    return c;
}

static sl_attr window_attr(const window_case *c)
{
    return (sl_attr) { .window = (uint32_t)c->m.window, .shift = (uint32_t)c->m.shift };
}

static size_t listed(const int32_t *list, size_t i)
{
    return list ? (size_t)list[4 + i] : i;
}

START_TEST(gather_takes_kept_windows_in_order)
{
    test_rng rng = test_seed(100 + (uint64_t)_i);
    window_case c = window_case_new(&rng);
    sl_attr attr = window_attr(&c);
    test_op *t = test_op_new(SL_OP_WINDOW_GATHER, &attr, 100 + (uint64_t)_i);
    const float *x = test_op_input(t, 0, c.m.height, c.m.width, c.channels);
    const int32_t *list = c.has_list ? test_op_list(t, 1, c.windows, c.kept) : NULL;
    size_t n = c.m.window * c.m.window, count = c.windows * n * c.channels;
    double *want = malloc(count * sizeof *want);
    for (size_t i = 0; i < count; i++)
        want[i] = (double)NAN;
    for (size_t i = 0; i < c.kept * n; i++)
        for (size_t k = 0; k < c.channels; k++)
            want[i * c.channels + k] =
                (double)x[ref_pixel(&c.m, listed(list, i / n), i % n) * c.channels + k];
    test_op_agrees(t, want, 0);
    free(want);
    test_op_free(t);
}
END_TEST

START_TEST(scatter_writes_kept_windows_alone)
{
    test_rng rng = test_seed(200 + (uint64_t)_i);
    window_case c = window_case_new(&rng);
    sl_attr attr = window_attr(&c);
    test_op *t = test_op_new(SL_OP_WINDOW_SCATTER, &attr, 200 + (uint64_t)_i);
    size_t n = c.m.window * c.m.window, count = c.windows * n * c.channels;
    const float *x = test_op_input(t, 0, c.m.height, c.m.width, c.channels);
    const float *rows = test_op_input(t, 1, c.windows * n, c.channels, 0);
    const int32_t *list = c.has_list ? test_op_list(t, 2, c.windows, c.kept) : NULL;
    double *want = ref_doubles(x, count);
    for (size_t i = 0; i < c.kept * n; i++)
        for (size_t k = 0; k < c.channels; k++)
            want[ref_pixel(&c.m, listed(list, i / n), i % n) * c.channels + k] =
                (double)rows[i * c.channels + k];
    test_op_agrees(t, want, 0);
    free(want);
    test_op_free(t);
}
END_TEST

START_TEST(load_writes_its_rows_alone)
{
    uint64_t seed = 300 + (uint64_t)_i;
    test_rng rng = test_seed(seed);
    window_case c = window_case_new(&rng);
    sl_window_map map = { c.m.height, c.m.width, c.channels, c.m.window, c.m.shift };
    size_t n = c.m.window * c.m.window, count = c.m.height * c.m.width * c.channels;
    float *x = test_floats(&rng, count, -1, 1), *y = test_guarded(count);
    for (size_t i = 0; i < c.windows; i++) { // each pixel lies in one window, so y becomes x
        float *rows = test_guarded(n * c.channels);
        sl_window_load(&map, x, i, rows);
        test_guard_check(rows, n * c.channels, seed);
        sl_window_store(&map, y, i, rows);
        test_guarded_free(rows);
    }
    test_guard_check(y, count, seed);
    ck_assert_mem_eq(x, y, count * sizeof *x);
    test_guarded_free(y);
    free(x);
}
END_TEST

START_TEST(masks_follow_the_regions)
{
    test_rng rng = test_seed(400 + (uint64_t)_i);
    window_case c = window_case_new(&rng);
    c.m.shift = c.m.window / 2;
    size_t n = c.m.window * c.m.window;
    float *masks = test_guarded(3 * n * n);
    sl_shift_masks(c.m.window, c.m.shift, masks);
    test_guard_check(masks, 3 * n * n, 400 + (uint64_t)_i);
    for (size_t i = 0; i < c.windows; i++) {
        const float *mask =
            sl_shift_mask(masks, c.m.window, c.m.height / c.m.window, c.m.width / c.m.window, i);
        for (size_t p = 0; p < n; p++)
            for (size_t q = 0; q < n; q++)
                ck_assert_double_eq(mask ? (double)mask[p * n + q] : 0.0, ref_mask(&c.m, i, p, q));
    }
    ck_assert_ptr_null(sl_shift_mask(NULL, c.m.window, 1, 1, 0));
    test_guarded_free(masks);
}
END_TEST

int main(void)
{
    const TTest *tests[] = { gather_takes_kept_windows_in_order, scatter_writes_kept_windows_alone,
                             load_writes_its_rows_alone, masks_follow_the_regions };
    const int loops[] = { 12, 12, 12, 12 };
    return test_main("cpu-window", tests, loops, SL_ARRAY_LEN(tests));
}
