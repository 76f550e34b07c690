// SPDX-License-Identifier: MIT
// tests/cpu/select.c: which windows are kept: the map and the list, at and near the threshold.
#include "testing.h"

#include <math.h>

static void check_list(const int32_t *list, const uint8_t *keep, size_t windows)
{
    int32_t count = 0;
    for (size_t i = 0; i < windows; i++)
        if (keep[i])
            ck_assert_int_eq(list[4 + count++], (int32_t)i);
    ck_assert_int_eq(list[0], count);
}

START_TEST(select_agrees_with_loop)
{
    static const size_t grids[][2] = { { 1, 1 }, { 3, 5 }, { 16, 9 } };
    static const float thresholds[] = { 0.5f, 0.2f, 0.9f };
    size_t rows = grids[_i % 3][0], columns = grids[_i % 3][1], windows = rows * columns;
    float threshold = thresholds[_i / 3];
    test_op *t =
        test_op_new(SL_OP_SELECT, &(sl_attr) { .threshold = threshold }, 80 + (uint64_t)_i);
    const float *scores = test_op_input(t, 0, rows, columns, 2);
    int32_t *list = malloc((windows + 4) * sizeof *list);
    uint8_t *keep = malloc(windows);
    for (unsigned threads = 1; threads < 3; threads++) {
        test_op_run(t, NULL, threads, (void *[SL_MAX_OUTPUTS]) { list, keep });
        for (size_t i = 0; i < windows; i++) {
            double p = 1 / (1 + exp((double)scores[2 * i + 1] - (double)scores[2 * i]));
            if (fabs(p - (double)threshold) > 1e-5)
                ck_assert_int_eq(keep[i], p > (double)threshold);
        }
        check_list(list, keep, windows);
    }
    free(list);
    free(keep);
    test_op_free(t);
}
END_TEST

// Equal scores, and those that f32 cannot tell from equal once they are probabilities, are pruned;
// so is what is no number.
START_TEST(select_prunes_at_the_threshold)
{
    static const float scores[][2] = {
        { 0, 0 },        { 1, 1 },        { 1e-9f, 0 },     { 0, 1e-9f },
        { 1e-6f, 0 },    { NAN, 0 },      { 0, NAN },       { INFINITY, INFINITY },
        { INFINITY, 0 }, { 0, INFINITY }, { -INFINITY, 0 }, { 0, -INFINITY },
        { 1000, -1000 }, { -1000, 1000 },
    };
    static const uint8_t want[] = { 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 1, 0 };
    size_t windows = SL_ARRAY_LEN(scores);
    test_op *t = test_op_new(SL_OP_SELECT, &(sl_attr) { .threshold = 0.5f }, 90);
    float *in = test_op_input(t, 0, 1, windows, 2);
    memcpy(in, scores, sizeof scores);
    int32_t list[SL_ARRAY_LEN(scores) + 4];
    uint8_t keep[SL_ARRAY_LEN(scores)];
    test_op_run(t, NULL, 1, (void *[SL_MAX_OUTPUTS]) { list, keep });
    for (size_t i = 0; i < windows; i++)
        ck_assert_msg(keep[i] == want[i], "scores %g, %g: kept %d", (double)scores[i][0],
                      (double)scores[i][1], keep[i]);
    check_list(list, keep, windows);
    test_op_free(t);
}
END_TEST

int main(void)
{
    const TTest *tests[] = { select_agrees_with_loop, select_prunes_at_the_threshold };
    const int loops[] = { 9, 1 };
    return test_main("cpu-select", tests, loops, SL_ARRAY_LEN(tests));
}
