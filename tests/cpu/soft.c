// SPDX-License-Identifier: MIT
// tests/cpu/soft.c: softmax-free attention, against the formulas as plain loops in double.
#include "backend.h"
#include "testing.h"

#include <math.h>

typedef struct soft_case {
    size_t h, w, heads, d, r, k, landmarks; // landmarks 0: "ratio"
    sl_inverse inverse;
    float spread; // of queries and of the landmarks' norm: how far apart landmarks lie
    uint32_t iterations;
    bool is_flat; // all queries alike, as on a plain picture
} soft_case;

static double *zeros(size_t count)
{
    double *x = calloc(count, sizeof *x);
    ck_assert_ptr_nonnull(x);
    return x;
}

static double square(double x)
{
    return x * x;
}

// One head as the formulas have it; q is scaled.
typedef struct head {
    const soft_case *c;
    size_t n, m, rows, columns; // rows, columns of landmarks
    double *q, *v;              // [n,d]
    double *landmarks;          // [m,d]
    double *kernel, *z;         // [m,m]
} head;

// q averaged over what cell (y, x) of an adaptive pooling covers, or a token of the map itself.
static double at_cell(const head *e, size_t y, size_t x, size_t channel)
{
    const soft_case *c = e->c;
    size_t rows = e->rows * c->r, columns = e->columns * c->r, count = 0;
    if (!c->landmarks)
        return e->q[(y * c->w + x) * c->d + channel];
    double sum = 0;
    for (size_t i = y * c->h / rows; i < ((y + 1) * c->h + rows - 1) / rows; i++)
        for (size_t j = x * c->w / columns; j < ((x + 1) * c->w + columns - 1) / columns; j++) {
            sum += e->q[(i * c->w + j) * c->d + channel];
            count++;
        }
    return sum / (double)count;
}

static void make_landmarks(head *e, const float *conv, const float *weight, const float *bias)
{
    size_t d = e->c->d, r = e->c->r;
    for (size_t i = 0; i < e->m; i++) {
        double *l = e->landmarks + i * d, mean = 0, variance = 0;
        for (size_t o = 0; o < d; o++)
            for (size_t k = 0; k < d * r * r; k++)
                l[o] += (double)conv[o * d * r * r + k] * at_cell(e, i / e->columns * r + k / r % r,
                                                                  i % e->columns * r + k % r,
                                                                  k / (r * r));
        for (size_t o = 0; o < d; o++)
            mean += l[o] / (double)d;
        for (size_t o = 0; o < d; o++)
            variance += square(l[o] - mean) / (double)d;
        for (size_t o = 0; o < d; o++) {
            double x = (l[o] - mean) / sqrt(variance + 1e-5) * (double)weight[o] + (double)bias[o];
            l[o] = 0.5 * x * erfc(-x / sqrt(2));
        }
    }
}

static double gaussian(const double *a, const double *b, size_t d)
{
    double sum = 0;
    for (size_t i = 0; i < d; i++)
        sum += square(a[i] - b[i]);
    return exp(-sum / 2);
}

static double row_sum(const head *e, size_t i)
{
    double sum = 0;
    for (size_t j = 0; j < e->m; j++)
        sum += e->kernel[i * e->m + j];
    return sum;
}

static double *product(const double *a, const double *b, size_t n, size_t k, size_t m)
{
    double *c = zeros(n * m);
    for (size_t i = 0; i < n; i++)
        for (size_t l = 0; l < k; l++)
            for (size_t j = 0; j < m; j++)
                c[i * m + j] += a[i * k + l] * b[l * m + j];
    return c;
}

static double largest_row_sum(const head *e)
{
    double most = 0;
    for (size_t i = 0; i < e->m; i++)
        most = fmax(most, row_sum(e, i));
    return most;
}

static double largest_residual(const head *e, double alpha)
{
    double *s = product(e->kernel, e->kernel, e->m, e->m, e->m), most = 0;
    for (size_t j = 0; j < e->m; j++) {
        double sum = 0;
        for (size_t i = 0; i < e->m; i++)
            sum += fabs((i == j) - alpha * s[i * e->m + j]);
        most = fmax(most, sum);
    }
    free(s);
    return most;
}

static void newton(head *e, double alpha)
{
    size_t m = e->m;
    for (size_t i = 0; i < m * m; i++)
        e->z[i] = alpha * e->kernel[i];
    for (uint32_t t = 0; t < e->c->iterations; t++) {
        double *pz = product(e->kernel, e->z, m, m, m), *zpz = product(e->z, pz, m, m, m);
        for (size_t i = 0; i < m * m; i++)
            e->z[i] = 2 * e->z[i] - zpz[i];
        free(pz);
        free(zpz);
    }
}

// The inverses of all heads, which SOFT-Norm starts alike.
static void invert(head *heads, const soft_case *c)
{
    double alpha = 0;
    for (size_t h = 0; h < c->heads; h++)
        alpha = fmax(alpha, largest_row_sum(&heads[h]));
    alpha = 2 / square(alpha);
    for (int t = 0; t < 10 && c->inverse == SL_INVERSE_NORM; t++) {
        double most = 0;
        for (size_t h = 0; h < c->heads; h++)
            most = fmax(most, largest_residual(&heads[h], alpha));
        if (most <= 1.01)
            break;
        alpha /= 2;
    }
    for (size_t h = 0; h < c->heads; h++) {
        head *e = &heads[h];
        if (c->inverse == SL_INVERSE_NORM) {
            newton(e, alpha);
            for (size_t i = 0; i < e->m * e->m; i++)
                e->z[i] /= sqrt(row_sum(e, i / e->m) * row_sum(e, i % e->m));
            continue;
        }
        double start = 1.8 / square(largest_row_sum(e));
        for (size_t i = 0; i < e->m; i++)
            e->kernel[i * e->m + i] += 0.01;
        newton(e, start);
    }
}

static double convolved(const head *e, const float *taps, size_t token, size_t channel)
{
    const soft_case *c = e->c;
    double sum = 0;
    for (size_t i = 0; i < c->k * c->k; i++) {
        size_t y = token / c->w + i / c->k, x = token % c->w + i % c->k, reach = c->k / 2;
        if (y >= reach && y < c->h + reach && x >= reach && x < c->w + reach)
            sum += (double)taps[i] * e->v[((y - reach) * c->w + x - reach) * c->d + channel];
    }
    return sum;
}

static void attend(const head *e, const float *taps, size_t channels, double *out)
{
    size_t n = e->n, m = e->m, d = e->c->d;
    double *k1 = zeros(n * m), *sums = zeros(m * d);
    for (size_t i = 0; i < n * m; i++)
        k1[i] = gaussian(e->q + i / m * d, e->landmarks + i % m * d, d);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++)
            for (size_t k = 0; k < d; k++)
                sums[j * d + k] += k1[i * m + j] * e->v[i * d + k];
    double *middle = product(e->z, sums, m, m, d), *all = product(k1, middle, n, m, d);
    for (size_t i = 0; i < n * d; i++)
        out[i / d * channels + i % d] = all[i] + convolved(e, taps, i / d, i % d);
    free(k1);
    free(sums);
    free(middle);
    free(all);
}

static void open_head(head *e, const soft_case *c, size_t index, const test_op *t)
{
    size_t channels = c->heads * c->d, g = (size_t)lround(sqrt((double)c->landmarks));
    *e = (head) { .c = c, .n = c->h * c->w };
    e->rows = c->landmarks ? g : c->h / c->r;
    e->columns = c->landmarks ? g : c->w / c->r;
    e->m = e->rows * e->columns;
    e->q = zeros(e->n * c->d);
    e->v = zeros(e->n * c->d);
    e->landmarks = zeros(e->m * c->d);
    e->kernel = zeros(e->m * e->m);
    e->z = zeros(e->m * e->m);
    for (size_t i = 0; i < e->n * c->d; i++) {
        size_t at = i / c->d * channels + index * c->d + i % c->d;
        e->q[i] = (double)((const float *)t->in[0])[at] / pow((double)c->d, 0.25);
        e->v[i] = (double)((const float *)t->in[1])[at];
    }
    make_landmarks(e, t->weight[SL_SOFT_LANDMARK_W].data, t->weight[SL_SOFT_NORM_W].data,
                   t->weight[SL_SOFT_NORM_B].data);
    for (size_t i = 0; i < e->m * e->m; i++)
        e->kernel[i] =
            gaussian(e->landmarks + i / e->m * c->d, e->landmarks + i % e->m * c->d, c->d);
}

static double *reference(const soft_case *c, const test_op *t)
{
    size_t channels = c->heads * c->d;
    double *want = zeros(c->h * c->w * channels);
    head *heads = calloc(c->heads, sizeof *heads);
    ck_assert_ptr_nonnull(heads);
    for (size_t h = 0; h < c->heads; h++)
        open_head(&heads[h], c, h, t);
    invert(heads, c);
    for (size_t h = 0; h < c->heads; h++) {
        const float *taps = t->weight[SL_SOFT_CONV_W].data;
        attend(&heads[h], taps + h * c->k * c->k, channels, want + h * c->d);
        free(heads[h].q);
        free(heads[h].v);
        free(heads[h].landmarks);
        free(heads[h].kernel);
        free(heads[h].z);
    }
    free(heads);
    return want;
}

static test_op *make(const soft_case *c, uint64_t seed)
{
    sl_attr attr = { .heads = (uint32_t)c->heads,
                     .factor = (uint32_t)c->r,
                     .landmarks = (uint32_t)c->landmarks,
                     .inverse = c->inverse,
                     .iterations = c->iterations ? c->iterations : 20,
                     .eps = 1e-5f };
    test_op *t = test_op_new(SL_OP_SOFT_ATTENTION, &attr, seed);
    size_t channels = c->heads * c->d;
    float *q = test_op_input(t, 0, c->h, c->w, channels);
    test_op_input(t, 1, c->h, c->w, channels);
    for (size_t i = c->h * c->w * channels; i-- > 0;) // the first ones last: others come of them
        q[i] = (c->is_flat ? q[i % c->d] : q[i]) * c->spread;
    test_op_weight(t, SL_SOFT_LANDMARK_W, 1, c->d, c->d, c->r, c->r);
    float *weight = test_op_weight(t, SL_SOFT_NORM_W, 1, c->d, 0, 0, 0);
    test_op_weight(t, SL_SOFT_NORM_B, 1, c->d, 0, 0, 0);
    test_op_weight(t, SL_SOFT_CONV_W, 1, c->heads, 1, c->k, c->k);
    for (size_t i = 0; i < c->d; i++)
        weight[i] *= c->spread;
    return t;
}

// f32 against f64: the inverse magnifies rounding by at most a hundred where landmarks coincide.
static void agrees(soft_case c, uint64_t seed, double tolerance)
{
    c.iterations = c.iterations ? c.iterations : 20;
    test_op *t = make(&c, seed);
    double *want = reference(&c, t), range = 1;
    for (size_t i = 0; i < c.h * c.w * c.heads * c.d; i++)
        range = fmax(range, fabs(want[i]));
    test_op_agrees(t, want, tolerance * range);
    free(want);
    test_op_free(t);
}

static const soft_case cases[] = {
    // SOFT: one landmark, few, and as many as the published models have; odd maps and heads.
    { 8, 8, 2, 32, 8, 9, 0, SL_INVERSE_SOFT, 1, 0, false },
    { 11, 15, 1, 32, 4, 5, 0, SL_INVERSE_SOFT, 1, 0, false },
    { 7, 9, 3, 32, 2, 3, 0, SL_INVERSE_SOFT, 1, 0, false },
    { 14, 14, 2, 32, 2, 3, 0, SL_INVERSE_SOFT, 2, 0, false },
    { 28, 28, 1, 32, 4, 5, 0, SL_INVERSE_SOFT, 1, 0, false },
    { 3, 43, 2, 16, 1, 1, 0, SL_INVERSE_SOFT, 1, 0, false },
    { 9, 6, 2, 7, 3, 7, 0, SL_INVERSE_SOFT, 1, 0, false },
    { 6, 5, 1, 40, 2, 3, 0, SL_INVERSE_SOFT, 1, 3, false },
    { 4, 4, 1, 128, 2, 3, 0, SL_INVERSE_SOFT, 1, 0, false },
    { 3, 3, 4, 1, 1, 1, 0, SL_INVERSE_SOFT, 1, 0, false },
    { 13, 1, 2, 32, 1, 5, 0, SL_INVERSE_SOFT, 1, 0, false },
    // SOFT-Norm.
    { 8, 24, 2, 32, 8, 9, 0, SL_INVERSE_NORM, 1, 0, false },
    { 11, 15, 1, 32, 4, 5, 0, SL_INVERSE_NORM, 1, 0, false },
    { 7, 9, 3, 32, 2, 3, 0, SL_INVERSE_NORM, 1, 0, false },
    { 14, 14, 5, 32, 2, 3, 0, SL_INVERSE_NORM, 1, 0, false },
    { 28, 28, 1, 32, 4, 5, 0, SL_INVERSE_NORM, 1, 0, false },
    { 9, 6, 2, 20, 3, 7, 0, SL_INVERSE_NORM, 1, 7, false },
    // More landmarks than one workgroup of a device inverts.
    { 8, 9, 2, 32, 1, 3, 0, SL_INVERSE_NORM, 1, 0, false },
    { 5, 14, 3, 20, 1, 3, 0, SL_INVERSE_NORM, 2, 1, false },
    // As many of few heads as all workers invert together.
    { 12, 14, 1, 32, 1, 3, 0, SL_INVERSE_SOFT, 1, 0, false },
    { 12, 11, 2, 20, 1, 3, 0, SL_INVERSE_NORM, 2, 1, false },
    { 12, 12, 2, 32, 1, 3, 0, SL_INVERSE_NORM, 1, 0, false },
    // A fixed number of landmarks: maps larger, smaller and as large as their grid.
    { 16, 24, 2, 32, 2, 3, 9, SL_INVERSE_SOFT, 1, 0, false },
    { 6, 6, 2, 32, 2, 3, 9, SL_INVERSE_NORM, 1, 0, false },
    { 5, 3, 1, 32, 4, 3, 16, SL_INVERSE_SOFT, 1, 0, false },
    { 17, 10, 3, 32, 4, 5, 25, SL_INVERSE_NORM, 1, 0, false },
    { 9, 9, 1, 32, 8, 3, 1, SL_INVERSE_SOFT, 1, 0, false },
    // All landmarks alike.
    { 12, 12, 2, 32, 2, 3, 0, SL_INVERSE_SOFT, 1, 0, true },
    { 12, 12, 2, 32, 2, 3, 0, SL_INVERSE_NORM, 1, 0, true },
    // Landmarks so far apart that they see nothing of each other.
    { 10, 10, 2, 32, 2, 3, 0, SL_INVERSE_SOFT, 30, 0, false },
};

START_TEST(soft_attention_agrees_with_loop)
{
    agrees(cases[_i], 900 + (uint64_t)_i, 1e-4);
}
END_TEST

START_TEST(random_shapes_agree_with_loop)
{
    test_rng rng = test_seed(950 + (uint64_t)_i);
    static const size_t dims[] = { 32, 32, 32, 8, 24, 5 }, sides[] = { 1, 3, 5, 7, 9 };
    soft_case c = { .heads = test_range(&rng, 1, 4),
                    .d = dims[test_range(&rng, 0, SL_ARRAY_LEN(dims) - 1)],
                    .r = test_range(&rng, 1, 4),
                    .k = sides[test_range(&rng, 0, SL_ARRAY_LEN(sides) - 1)],
                    .inverse = (sl_inverse)(_i % 2),
                    .spread = test_uniform(&rng, 0.5f, 2) };
    c.h = test_range(&rng, 2 * c.r, 4 * c.r + 3);
    c.w = test_range(&rng, 2 * c.r, 4 * c.r + 3);
    size_t g = test_range(&rng, 2, 4);
    c.landmarks = test_range(&rng, 0, 2) ? 0 : g * g;
    agrees(c, 1000 + (uint64_t)_i, 1e-4);
}
END_TEST

// Where exact arithmetic has no answer of its own: equal, nearly equal and far landmarks of
// SOFT-Norm, zeros, and queries whose kernels are all 0.
START_TEST(nothing_makes_it_infinite)
{
    static const float spreads[] = { 0, 1e-4f, 30, 300, 1e4f };
    for (int level = 0; level < test_backend_levels(); level++)
        for (size_t i = 0; i < SL_ARRAY_LEN(spreads); i++)
            for (int k = 0; k < 4; k++) {
                const soft_case c = { 12,         14, 2,     32, 2, 3, 0, (sl_inverse)(k % 2),
                                      spreads[i], 0,  k >= 2 };
                test_op *t = make(&c, 1100 + (uint64_t)k);
                size_t count = test_op_elements(t, 0);
                float *out = malloc(count * sizeof *out);
                test_op_run(t, test_backend_level(level), 2, (void *[SL_MAX_OUTPUTS]) { out });
                for (size_t j = 0; j < count; j++)
                    ck_assert_msg(isfinite(out[j]), "spread %g, kind %d: element %zu is %g",
                                  (double)spreads[i], k, j, (double)out[j]);
                free(out);
                test_op_free(t);
            }
}
END_TEST

int main(void)
{
    const TTest *tests[] = { soft_attention_agrees_with_loop, random_shapes_agree_with_loop,
                             nothing_makes_it_infinite };
    const int loops[] = { SL_ARRAY_LEN(cases), test_backend_is_cpu() ? 24 : 6, 1 };
    return test_main("soft", tests, loops, SL_ARRAY_LEN(tests));
}
