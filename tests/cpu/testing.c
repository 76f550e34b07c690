// SPDX-License-Identifier: MIT
// tests/cpu/testing.c: see testing.h.
#include "testing.h"

#include "backend.h"

#include <math.h>

// ---- random numbers

static uint64_t next(test_rng *rng) // splitmix64
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

test_rng test_seed(uint64_t seed)
{
    return (test_rng) { seed };
}

float test_uniform(test_rng *rng, float low, float high)
{
    return low + (high - low) * ((float)(next(rng) >> 40) / 16777216.0f);
}

size_t test_range(test_rng *rng, size_t low, size_t high)
{
    return low + next(rng) % (high - low + 1);
}

float *test_floats(test_rng *rng, size_t count, float low, float high)
{
    float *x = malloc((count ? count : 1) * sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < count; i++)
        x[i] = test_uniform(rng, low, high);
    return x;
}

// ---- one op

test_op *test_op_new(sl_op op, const sl_attr *attr, uint64_t seed)
{
    test_op *t = calloc(1, sizeof *t);
    ck_assert_ptr_nonnull(t);
    t->seed = seed;
    t->rng = test_seed(seed);
    t->op = op;
    if (attr)
        t->attr = *attr;
    return t;
}

void test_op_free(test_op *t)
{
    for (unsigned i = 0; i < SL_MAX_INPUTS; i++)
        free(t->in[i]);
    for (unsigned i = 0; i < SL_MAX_WEIGHTS; i++)
        free((void *)t->weight[i].data);
    free(t);
}

static sl_shape shape_of(const uint64_t dim[4])
{
    sl_shape shape = { 0 };
    while (shape.rank < 4 && dim[shape.rank]) {
        shape.dim[shape.rank] = dim[shape.rank];
        shape.rank++;
    }
    return shape;
}

static size_t count_of(const sl_shape *shape)
{
    size_t count = 0;
    ck_assert(sl_shape_elements(shape, &count));
    return count;
}

float *test_op_input(test_op *t, unsigned i, uint64_t d0, uint64_t d1, uint64_t d2)
{
    t->shape[i] = shape_of((uint64_t[4]) { d0, d1, d2, 0 });
    t->dtype[i] = SL_F32;
    return t->in[i] = test_floats(&t->rng, count_of(&t->shape[i]), -1, 1);
}

int32_t *test_op_list(test_op *t, unsigned i, size_t windows, size_t kept)
{
    int32_t *list = calloc(windows + 4, sizeof *list);
    ck_assert_ptr_nonnull(list);
    for (size_t w = 0; w < windows; w++) // keeps each with the chance that makes it come out even
        if (test_range(&t->rng, 1, windows - w) <= kept - (size_t)list[0])
            list[4 + list[0]++] = (int32_t)w;
    t->shape[i] = (sl_shape) { .rank = 1, .dim = { windows + 4 } };
    t->dtype[i] = SL_I32;
    return t->in[i] = list;
}

float *test_op_weight(test_op *t, unsigned i, float scale, uint64_t d0, uint64_t d1, uint64_t d2,
                      uint64_t d3)
{
    sl_shape shape = shape_of((uint64_t[4]) { d0, d1, d2, d3 });
    float *data = test_floats(&t->rng, count_of(&shape), -scale, scale);
    t->weight[i] = (sl_tensor) { .name = "weight",
                                 .dtype = SL_F32,
                                 .shape = shape,
                                 .data = data,
                                 .bytes = count_of(&shape) * sizeof *data };
    if (t->weight_count <= i)
        t->weight_count = i + 1;
    return data;
}

// The graph of the one op. In-place ops get a copy of their input, as a graph's inputs stay.
static sl_graph *build(const test_op *t, sl_ctx *ctx, sl_value in[SL_MAX_INPUTS], sl_value *out)
{
    sl_graph *g = NULL;
    const sl_tensor *weights[SL_MAX_WEIGHTS] = { 0 };
    sl_value given[SL_MAX_INPUTS] = { 0 };
    ck_assert_int_eq(sl_graph_new(ctx, &g), SL_OK);
    for (unsigned i = 0; i < SL_MAX_INPUTS; i++)
        if (t->in[i])
            given[i] = in[i] = sl_graph_input_typed(g, "in", t->dtype[i], &t->shape[i]);
    if (sl_op_get(t->op)->in_place)
        given[0] = sl_graph_add(g, SL_OP_PIXEL_UNSHUFFLE, "copy", &(sl_attr) { .factor = 1 },
                                (sl_value[SL_MAX_INPUTS]) { in[0] }, NULL, 0);
    for (size_t i = 0; i < t->weight_count; i++)
        weights[i] = t->weight[i].data ? &t->weight[i] : NULL;
    *out = sl_graph_add(g, t->op, "op", &t->attr, given, weights, t->weight_count);
    if (g->status != SL_OK)
        ck_abort_msg("seed %llu: %s", (unsigned long long)t->seed, sl_ctx_message(ctx));
    sl_graph_output(g, *out, "out");
    if (sl_op_get(t->op)->outputs > 1)
        sl_graph_output(g, sl_graph_second_output(g, *out), "second");
    return g;
}

static sl_ctx *context(const char *level, unsigned threads)
{
    sl_ctx *ctx = NULL;
    sl_ctx_options options = { .threads = threads, .simd = level };
    ck_assert_int_eq(sl_ctx_new(&options, &ctx), SL_OK);
    return ctx;
}

size_t test_op_elements(const test_op *t, unsigned output)
{
    sl_ctx *ctx = context(NULL, 1);
    sl_value in[SL_MAX_INPUTS] = { 0 }, out;
    sl_graph *g = build(t, ctx, in, &out);
    size_t count = count_of(&g->values[output ? sl_graph_second_output(g, out) : out].shape);
    sl_graph_free(g);
    sl_ctx_free(ctx);
    return count;
}

static void must(const test_op *t, sl_ctx *ctx, sl_status st)
{
    if (st != SL_OK)
        ck_abort_msg("seed %llu: %s", (unsigned long long)t->seed, sl_ctx_message(ctx));
}

void test_op_run(const test_op *t, const char *level, unsigned threads, void *out[SL_MAX_OUTPUTS])
{
    sl_ctx *ctx = context(level, threads);
    sl_value in[SL_MAX_INPUTS] = { 0 }, first;
    sl_graph *g = build(t, ctx, in, &first);
    test_plan compiled = test_backend_compile(ctx, g);
    sl_plan *plan = compiled.plan;
    for (unsigned i = 0; i < SL_MAX_INPUTS; i++)
        if (in[i])
            must(t, ctx, sl_plan_write(plan, in[i], t->in[i]));
    must(t, ctx, sl_plan_run(plan));
    must(t, ctx, sl_plan_run(plan)); // a run leaves nothing behind that the next one sees
    if (out[0])
        must(t, ctx, sl_plan_read(plan, first, out[0]));
    if (out[1])
        must(t, ctx, sl_plan_read(plan, sl_graph_second_output(g, first), out[1]));
    test_backend_free(&compiled);
    sl_graph_free(g);
    sl_ctx_free(ctx);
}

static void compare(const test_op *t, const char *level, const float *got, const double *want,
                    size_t count, double tolerance)
{
    // In f16 input, output and what lies between are rounded by up to 5e-4 of themselves each.
    double relative = 2e-3 * test_backend_coarseness();
    for (size_t i = 0; i < count; i++)
        if (!isnan(want[i]) &&
            !(fabs((double)got[i] - want[i]) <= tolerance + relative * fabs(want[i])))
            ck_abort_msg("%s, seed %llu, %s: element %zu of %zu is %.9g, should be %.9g",
                         sl_op_get(t->op)->name, (unsigned long long)t->seed,
                         level ? level : "the device", i, count, (double)got[i], want[i]);
}

void test_op_agrees(const test_op *t, const double *want, double tolerance)
{
    tolerance *= fmax(500 * test_backend_coarseness(), 1); // 1e-5 in f32 is 5e-3 in f16
    static const unsigned threads[] = { 1, 2, 5 };
    size_t thread_counts = test_backend_is_cpu() ? SL_ARRAY_LEN(threads) : 1;
    size_t count = test_op_elements(t, 0);
    float *one = malloc(count * sizeof *one), *more = malloc(count * sizeof *more);
    ck_assert(one && more);
    for (int level = 0; level < test_backend_levels(); level++) {
        const char *name = test_backend_level(level);
        for (size_t k = 0; k < thread_counts; k++) {
            test_op_run(t, name, threads[k], (void *[SL_MAX_OUTPUTS]) { k ? more : one });
            if (k == 0)
                compare(t, name, one, want, count, tolerance);
            for (size_t i = 0; k && i < count; i++)
                if (!isnan(want[i]) && memcmp(&one[i], &more[i], sizeof one[i]) != 0)
                    ck_abort_msg("%s, seed %llu, %s: element %zu is %.9g with one thread, %.9g "
                                 "with %u",
                                 sl_op_get(t->op)->name, (unsigned long long)t->seed,
                                 name ? name : "the device", i, (double)one[i], (double)more[i],
                                 threads[k]);
        }
    }
    free(one);
    free(more);
}

// ---- kernels

#define GUARD 64 // floats on either side
#define GUARD_BITS 0x7fc0beefu

float *test_guarded(size_t count)
{
    const uint32_t bits = GUARD_BITS; // a NaN, so that what is left unwritten shows
    float *memory = malloc((count + 2 * GUARD) * sizeof *memory);
    ck_assert_ptr_nonnull(memory);
    for (size_t i = 0; i < count + 2 * GUARD; i++)
        memcpy(&memory[i], &bits, sizeof bits);
    return memory + GUARD;
}

void test_guard_check(const float *guarded, size_t count, uint64_t seed)
{
    for (size_t i = 0; i < 2 * GUARD; i++) {
        const float *at = i < GUARD ? guarded - GUARD + i : guarded + count + i - GUARD;
        uint32_t bits;
        memcpy(&bits, at, sizeof bits);
        if (bits != GUARD_BITS)
            ck_abort_msg("seed %llu: a float outside the output of %zu was written, at %td",
                         (unsigned long long)seed, count, at - guarded);
    }
}

void test_guarded_free(float *guarded)
{
    free(guarded - GUARD);
}

int test_main(const char *name, const TTest *const *tests, const int *loops, size_t count)
{
    if (!test_backend_is_there())
        return 77;
    Suite *suite = suite_create(name);
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, 120); // sanitizers, on a busy machine
    for (size_t i = 0; i < count; i++)
        tcase_add_loop_test(tc, tests[i], 0, loops[i]);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
