// SPDX-License-Identifier: MIT
// tests/cpu/tokens.c: position embeddings, class tokens, rows, means and unit rows, against plain
// loops.
#include "backend.h"
#include "testing.h"

#include <math.h>

// One coordinate of the resized grid, written as the four-tap sum over all of its rows.
static double share_of(size_t row, size_t i, size_t count, size_t side)
{
    double at = ((double)i + 0.5) * (double)side / (double)count - 0.5;
    at = fmin(fmax(at, 0), (double)side - 1);
    return fmax(0, 1 - fabs(at - (double)row));
}

static double resized(const float *grid, size_t side, size_t channels, size_t c, size_t y,
                      size_t height, size_t x, size_t width)
{
    double sum = 0;
    for (size_t i = 0; i < side; i++)
        for (size_t j = 0; j < side; j++)
            sum += share_of(i, y, height, side) * share_of(j, x, width, side) *
                   (double)grid[(i * side + j) * channels + c];
    return sum;
}

typedef struct position_case {
    size_t h, w, c, side;
    bool has_class_row, makes_token;
} position_case;

static const position_case position_cases[] = {
    { 7, 7, 8, 7, false, false },   { 5, 9, 3, 7, false, false },   { 1, 1, 4, 7, true, false },
    { 16, 11, 20, 3, true, false }, { 9, 14, 33, 1, false, false }, { 7, 7, 8, 7, true, true },
    { 8, 6, 32, 7, true, true },    { 2, 2, 5, 2, true, true },     { 1, 40, 16, 4, true, true },
};

START_TEST(positions_agree_with_loop)
{
    const position_case *p = &position_cases[_i];
    size_t rows = p->side * p->side + p->has_class_row, token = p->makes_token;
    test_op *t = test_op_new(p->makes_token ? SL_OP_CLASS_TOKENS : SL_OP_ADD_POSITION, NULL,
                             700 + (uint64_t)_i);
    const float *x = test_op_input(t, 0, p->h, p->w, p->c);
    const float *embedding = test_op_weight(t, 0, 1, 1, rows, p->c, 0);
    const float *cls = p->makes_token ? test_op_weight(t, 1, 1, 1, 1, p->c, 0) : NULL;
    const float *grid = embedding + p->has_class_row * p->c;
    double *want = malloc((token + p->h * p->w) * p->c * sizeof *want);
    for (size_t c = 0; c < p->c; c++) {
        if (cls)
            want[c] = (double)cls[c] + (double)embedding[c];
        for (size_t i = 0; i < p->h * p->w; i++)
            want[(token + i) * p->c + c] =
                (double)x[i * p->c + c] +
                resized(grid, p->side, p->c, c, i / p->w, p->h, i % p->w, p->w);
    }
    test_op_agrees(t, want, 5e-7);
    free(want);
    test_op_free(t);
}
END_TEST

// A grid of the map's own size is added as it is.
START_TEST(positions_of_the_same_size_are_exact)
{
    test_op *t = test_op_new(SL_OP_ADD_POSITION, NULL, 720);
    const float *x = test_op_input(t, 0, 5, 5, 12);
    const float *grid = test_op_weight(t, 0, 1, 1, 25, 12, 0);
    double want[25 * 12];
    for (size_t i = 0; i < 25 * 12; i++)
        want[i] = (double)(x[i] + grid[i]);
    test_op_agrees(t, want, test_backend_is_half() ? 2e-6 : 0); // f16 rounds all three
    test_op_free(t);
}
END_TEST

START_TEST(rows_are_copied)
{
    static const uint32_t cases[][3] = { { 1, 7, 7 }, { 0, 5, 10 }, { 49, 1, 0 }, { 0, 1, 0 } };
    const sl_attr attr = { .first = cases[_i][0], .rows = cases[_i][1], .columns = cases[_i][2] };
    test_op *t = test_op_new(SL_OP_ROWS, &attr, 730 + (uint64_t)_i);
    const float *x = test_op_input(t, 0, 50, 33, 0);
    size_t count = test_op_elements(t, 0);
    double *want = malloc(count * sizeof *want);
    for (size_t i = 0; i < count; i++)
        want[i] = (double)x[attr.first * 33 + i];
    test_op_agrees(t, want, 0);
    free(want);
    test_op_free(t);
}
END_TEST

START_TEST(means_agree_with_loop)
{
    static const size_t shapes[][3] = {
        { 1, 1, 1 }, { 7, 7, 512 }, { 14, 11, 320 }, { 300, 41, 0 }, { 65, 0, 0 }
    };
    test_op *t = test_op_new(SL_OP_MEAN, NULL, 740 + (uint64_t)_i);
    const float *x = test_op_input(t, 0, shapes[_i][0], shapes[_i][1], shapes[_i][2]);
    size_t c = t->shape[0].dim[t->shape[0].rank - 1], all = 1;
    for (unsigned i = 0; i < t->shape[0].rank; i++)
        all *= t->shape[0].dim[i];
    double *want = calloc(c, sizeof *want);
    for (size_t i = 0; i < all; i++)
        want[i % c] += (double)x[i] / (double)(all / c);
    test_op_agrees(t, want, 1e-6);
    free(want);
    test_op_free(t);
}
END_TEST

START_TEST(unit_rows_agree_with_loop)
{
    static const size_t shapes[][2] = { { 1, 1 }, { 9, 256 }, { 33, 7 }, { 4, 512 } };
    size_t rows = shapes[_i][0], c = shapes[_i][1];
    test_op *t = test_op_new(SL_OP_UNIT, NULL, 750 + (uint64_t)_i);
    float *x = test_op_input(t, 0, rows, c, 0);
    double *want = malloc(rows * c * sizeof *want);
    bool has_extremes = rows > 4 && !test_backend_is_half(); // which has no such numbers
    for (size_t i = 0; i < c && has_extremes; i++) {
        x[i] = 0;                       // stays zero
        x[c + i] *= 1e-15f;             // shorter than what is divided by
        x[2 * c + i] *= 1e15f;          // its squares fit
        x[3 * c + i] = i == 0 ? -3 : 0; // an axis
    }
    for (size_t r = 0; r < rows; r++) {
        double squares = 0;
        for (size_t i = 0; i < c; i++)
            squares += pow((double)x[r * c + i], 2);
        for (size_t i = 0; i < c; i++)
            want[r * c + i] = (double)x[r * c + i] / fmax(sqrt(squares), 1e-12);
    }
    test_op_agrees(t, want, 5e-7);
    free(want);
    test_op_free(t);
}
END_TEST

int main(void)
{
    const TTest *tests[] = { positions_agree_with_loop, positions_of_the_same_size_are_exact,
                             rows_are_copied, means_agree_with_loop, unit_rows_agree_with_loop };
    const int loops[] = { SL_ARRAY_LEN(position_cases), 1, 4, 5, 4 };
    return test_main("tokens", tests, loops, SL_ARRAY_LEN(tests));
}
