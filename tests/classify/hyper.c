// SPDX-License-Identifier: MIT
// tests/classify/hyper.c: cosines with many rows at every SIMD level, and the best of them.
#include "classify/hyper.h"

#include "made.h"

static const char *const levels[] = { "portable", "avx2", "avx512" };

// trained rows, enrolled rows, dimension
static const size_t shapes[][3] = { { 0, 1, 1 },    { 1, 0, 3 },     { 5, 7, 16 },
                                    { 100, 0, 33 }, { 3, 2500, 64 }, { 1100, 1030, 7 },
                                    { 2, 40, 700 } };

START_TEST(cosines_agree_with_loops)
{
    const size_t *s = shapes[_i % (int)SL_ARRAY_LEN(shapes)], all = s[0] + s[1], d = s[2];
    const sl_ctx_options options = { .threads = 2, .simd = levels[_i / (int)SL_ARRAY_LEN(shapes)] };
    sl_ctx *level = NULL;
    sl_hyper *hyper = NULL;
    uint64_t state = (uint64_t)_i;
    ck_ok(sl_ctx_new(&options, &level));
    float *rows = sl_alloc(ctx, all * d, sizeof(*rows)), *query = sl_alloc(ctx, d, sizeof(*query));
    ck_assert(rows && query);
    for (size_t i = 0; i < all; i++) {
        for (size_t j = 0; j < d; j++)
            rows[i * d + j] = made_normal(&state);
        made_unit(rows + i * d, d);
    }
    const sl_directions directions = { d, rows, rows + s[0] * d, s[0], s[1] };
    ck_ok(sl_hyper_new(level, &directions, &hyper));
    for (int round = 0; round < 3; round++) {
        for (size_t j = 0; j < d; j++)
            query[j] = made_normal(&state);
        made_unit(query, d);
        const float *got = sl_hyper_cosines(hyper, query);
        for (size_t i = 0; i < all; i++) {
            double want = 0;
            for (size_t j = 0; j < d; j++)
                want += (double)rows[i * d + j] * (double)query[j];
            ck_assert_msg(fabs((double)got[i] - want) < 1e-6, "%s, shape %zu %zu %zu, row %zu",
                          options.simd, s[0], s[1], d, i);
        }
    }
    sl_hyper_free(hyper);
    free(rows);
    free(query);
    sl_ctx_free(level);
}
END_TEST

START_TEST(the_best_of_many)
{
    enum { N = 300 };
    float values[N], p[N];
    size_t index[N];
    uint64_t state = 1;
    for (size_t i = 0; i < N; i++) // many are equal
        values[i] = floorf(8 * made_normal(&state)) / 8;
    for (size_t top = 0; top <= N; top += top < 4 ? 1 : 37) {
        bool taken[N] = { false };
        sl_hyper_top(values, N, top, index);
        for (size_t k = 0; k < top; k++) {
            size_t best = N;
            for (size_t i = 0; i < N; i++)
                if (!taken[i] && (best == N || values[i] > values[best]))
                    best = i;
            ck_assert_uint_eq(index[k], best);
            taken[best] = true;
        }
    }
    sl_hyper_top(values, N, N, index);
    sl_hyper_softmax(values, N, 50, index, N, p);
    double sum = 0, total = 0;
    for (size_t i = 0; i < N; i++)
        sum += exp(50 * (double)(values[i] - values[index[0]]));
    for (size_t k = 0; k < N; k++) {
        ck_assert_double_eq_tol(
            (double)p[k], exp(50 * (double)(values[index[k]] - values[index[0]])) / sum, 1e-6);
        total += (double)p[k];
    }
    ck_assert_double_eq_tol(total, 1, 1e-5);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("hyper");
    tcase_add_loop_test(tests, cosines_agree_with_loops, 0,
                        SL_ARRAY_LEN(shapes) * SL_ARRAY_LEN(levels));
    tcase_add_test(tests, the_best_of_many);
    return run_case("classify-hyper", tests);
}
