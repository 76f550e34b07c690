// SPDX-License-Identifier: MIT
// tests/cpu/plan.c: compiled plans: no allocation in a run, shared weights, profiles.
#include "testing.h"

#include <math.h>
#include <stdatomic.h>

// ---- counting allocations of the whole process

static atomic_size_t allocations;

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN
#endif

#if defined(HAS_ASAN)
int __sanitizer_install_malloc_and_free_hooks(void (*allocated)(const volatile void *, size_t),
                                              void (*freed)(const volatile void *));

static void count_allocation(const volatile void *data, size_t size)
{
    (void)data, (void)size;
    allocations++;
}

static void ignore_free(const volatile void *data)
{
    (void)data;
}

static void count_from_here(void)
{
    static bool installed;
    if (!installed)
        ck_assert_int_ne(__sanitizer_install_malloc_and_free_hooks(count_allocation, ignore_free),
                         0);
    installed = true;
}
#else
// Stands in front of the C library's for this program.
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *data, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *data, size_t size)
{
    allocations++;
    return __libc_realloc(data, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    allocations++;
    return __libc_memalign(alignment, size);
}

static void count_from_here(void)
{
}
#endif

// ---- a small network with every op of this suite in it

typedef struct network {
    sl_ctx *ctx;
    sl_graph *graph;
    sl_value image, list, linear, output;
    sl_tensor weight[12];
    float *data;
} network;

static sl_value add(network *n, sl_op op, const sl_attr *attr, sl_value a, sl_value b, sl_value c,
                    const sl_tensor *weight, size_t count)
{
    const sl_tensor *weights[3] = { NULL };
    for (size_t i = 0; i < count; i++)
        weights[i] = weight + i;
    return sl_graph_add(n->graph, op, "node", attr, (sl_value[SL_MAX_INPUTS]) { a, b, c }, weights,
                        count);
}

static void make_weights(network *n)
{
    static const sl_shape shapes[] = {
        { 4, { 24, 12, 3, 3 } }, { 1, { 24 } }, { 4, { 48, 24, 4, 4 } }, { 1, { 48 } },
        { 1, { 48 } },           { 1, { 48 } }, { 2, { 48, 48 } },       { 1, { 48 } },
        { 4, { 48, 24, 2, 2 } }, { 1, { 24 } }, { 4, { 16, 48, 3, 3 } }, { 1, { 16 } },
    };
    test_rng rng = test_seed(7);
    n->data = test_floats(&rng, 48 * 24 * 16, -0.1f, 0.1f); // the largest; all share it
    for (size_t i = 0; i < SL_ARRAY_LEN(shapes); i++) {
        size_t count = 0;
        ck_assert(sl_shape_elements(&shapes[i], &count) && count <= 48 * 24 * 16);
        n->weight[i] = (sl_tensor) { "w", SL_F32, shapes[i], n->data, count * sizeof *n->data };
    }
}

static void network_build(network *n, uint64_t h, uint64_t w)
{
    const sl_tensor *t = n->weight;
    ck_assert_int_eq(sl_graph_new(n->ctx, &n->graph), SL_OK);
    n->image = sl_graph_input(n->graph, "image", &(sl_shape) { 3, { h, w, 3 } });
    sl_value scores = sl_graph_input(n->graph, "scores", &(sl_shape) { 3, { h / 4, w / 4, 2 } });
    n->list = add(n, SL_OP_SELECT, &(sl_attr) { .threshold = 0.5f }, scores, 0, 0, NULL, 0);
    sl_value x = add(n, SL_OP_PIXEL_UNSHUFFLE, &(sl_attr) { .factor = 2 }, n->image, 0, 0, NULL, 0);
    sl_value top =
        add(n, SL_OP_CONV2D, &(sl_attr) { .stride = 1, .pad = 1, .act = SL_ACT_LEAKY_RELU }, x, 0,
            0, t, 2);
    x = add(n, SL_OP_CONV2D, &(sl_attr) { .stride = 2, .pad = 1 }, top, 0, 0, t + 2, 2);
    sl_value norm = add(n, SL_OP_LAYER_NORM, &(sl_attr) { .eps = 1e-5f }, x, 0, 0, t + 4, 2);
    n->linear = add(n, SL_OP_LINEAR, &(sl_attr) { .act = SL_ACT_GELU }, norm, x, n->list, t + 6, 2);
    x = add(n, SL_OP_UPCONV_CONCAT, NULL, norm, top, 0, t + 8, 2);
    x = add(n, SL_OP_CONV2D, &(sl_attr) { .stride = 1, .pad = 1 }, x, 0, 0, t + 10, 2);
    n->output = add(n, SL_OP_GATE, &(sl_attr) { .factor = 2 }, n->image, x, 0, NULL, 0);
    sl_graph_output(n->graph, n->output, "output");
    ck_assert_msg(n->graph->status == SL_OK, "%s", sl_ctx_message(n->ctx));
}

static void network_new(network *n, uint64_t h, uint64_t w)
{
    *n = (network) { 0 };
    ck_assert_int_eq(sl_ctx_new(&(sl_ctx_options) { .threads = 2 }, &n->ctx), SL_OK);
    make_weights(n);
    network_build(n, h, w); // the graph points at n->weight: n stays where it is
}

static void network_free(network *n)
{
    sl_graph_free(n->graph);
    sl_ctx_free(n->ctx);
    free(n->data);
}

static sl_plan *compile(network *n, sl_cpu_weights *weights)
{
    sl_plan *plan = NULL;
    sl_status st = sl_cpu_compile(n->ctx, n->graph, SL_F32, weights, &plan);
    ck_assert_msg(st == SL_OK, "%s", sl_ctx_message(n->ctx));
    return plan;
}

static sl_cpu_weights *new_weights(network *n)
{
    sl_cpu_weights *weights = NULL;
    ck_assert_int_eq(sl_cpu_weights_new(n->ctx, &weights), SL_OK);
    return weights;
}

static void meet(void *arg, size_t task, unsigned worker)
{
    atomic_uint *waiting = arg;
    (void)task, (void)worker;
    atomic_fetch_sub(waiting, 1);
    while (atomic_load(waiting) > 0)
        ;
}

// A thread that is still starting allocates; afterwards all have started.
static void wait_for_threads(sl_pool *pool)
{
    atomic_uint waiting = sl_pool_size(pool);
    sl_pool_run(pool, meet, &waiting, sl_pool_size(pool));
}

// ---- tests

START_TEST(runs_allocate_nothing)
{
    network n;
    network_new(&n, 64, 96);
    wait_for_threads(n.ctx->pool);
    sl_cpu_weights *weights = new_weights(&n);
    count_from_here();
    sl_plan *plan = compile(&n, weights);
    ck_assert_uint_gt(allocations, 0); // the counter counts
    for (int on = 0; on < 3; on++) {
        sl_plan_profile(plan, on > 0);
        if (on == 2)
            ck_assert_int_eq(sl_trace_new(n.ctx, &n.ctx->trace), SL_OK);
        sl_trace_reserve(n.ctx, 1000); // what a run reserves before it begins
        size_t before = allocations, failures = 0;
        for (int i = 0; i < 3; i++)
            failures += sl_plan_run(plan) != SL_OK;
        size_t made = allocations - before; // Check's macros allocate too, so none until here
        ck_assert_uint_eq(made, 0);
        ck_assert_uint_eq(failures, 0);
    }
    sl_plan_free(plan);
    sl_cpu_weights_free(weights);
    network_free(&n);
}
END_TEST

START_TEST(plans_of_two_sizes_share_weights)
{
    network n;
    network_new(&n, 64, 96);
    sl_cpu_weights *weights = new_weights(&n);
    sl_plan *small = compile(&n, weights);
    sl_graph *first = n.graph;
    network_build(&n, 128, 160);
    sl_plan *large = compile(&n, weights);
    ck_assert_uint_gt(small->weight_bytes, 0);
    ck_assert_uint_eq(small->weight_bytes, large->weight_bytes);
    ck_assert_uint_gt(large->memory_bytes, small->memory_bytes);
    size_t bytes = 0;
    ck_assert_int_eq(sl_cpu_memory(n.ctx, n.graph, &bytes), SL_OK);
    ck_assert_uint_eq(bytes, large->memory_bytes);
    sl_plan_free(small);
    sl_plan_free(large);
    sl_cpu_weights_free(weights);
    sl_graph_free(first);
    network_free(&n);
}
END_TEST

// A number of the plan's input, which nobody writes: what the memory of its activations holds.
static float found_in(const network *n, sl_plan *plan, float *image)
{
    ck_assert_int_eq(sl_plan_read(plan, n->image, image), SL_OK);
    return image[0];
}

// The memory of a plan that is gone serves the next one, unless that wants more.
START_TEST(memory_goes_from_plan_to_plan)
{
    network n;
    network_new(&n, 64, 96);
    sl_cpu_weights *weights = new_weights(&n);
    float *image = malloc(128 * 160 * 3 * sizeof(*image));
    ck_assert_ptr_nonnull(image);
    for (size_t i = 0; i < 64 * 96 * 3; i++)
        image[i] = 7;
    sl_plan *plan = compile(&n, weights);
    ck_assert_int_eq(sl_plan_write(plan, n.image, image), SL_OK);
    sl_plan *second = compile(&n, weights); // both live: it has memory of its own
    ck_assert(found_in(&n, second, image) == 0);
    sl_plan_free(plan);
    sl_plan_free(second);
    plan = compile(&n, weights);
    ck_assert(found_in(&n, plan, image) == 7);
    sl_plan_free(plan);
    sl_graph_free(n.graph);
    network_build(&n, 128, 160);
    plan = compile(&n, weights);
    ck_assert(found_in(&n, plan, image) == 0);
    sl_plan_free(plan);
    sl_cpu_weights_free(weights);
    free(image);
    network_free(&n);
}
END_TEST

START_TEST(profiles_count_kept_windows)
{
    network n;
    network_new(&n, 64, 64); // 256 windows of one row each behind the list
    sl_cpu_weights *weights = new_weights(&n);
    sl_plan *plan = compile(&n, weights);
    float scores[512];
    for (size_t i = 0; i < 256; i++) {
        scores[2 * i] = i < 64 ? 1 : 0; // a quarter is kept
        scores[2 * i + 1] = i < 64 ? 0 : 1;
    }
    sl_value in = sl_graph_find_output(n.graph, "scores");
    ck_assert_int_eq(sl_plan_write(plan, in, scores), SL_OK);
    ck_assert_ptr_null(plan->profile);
    sl_plan_profile(plan, true);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(sl_plan_run(plan), SL_OK);
    uint32_t linear = n.graph->values[n.linear].producer;
    ck_assert_double_eq_tol(plan->profile[linear].macs, 2 * 64.0 * 48 * 48, 0.5);
    ck_assert_double_gt(plan->profile[linear].seconds, 0);
    ck_assert_double_gt(plan->profile[linear].bytes, 2 * 48 * 48 * 4.0);
    sl_plan_profile(plan, true); // zeroes
    ck_assert_double_eq(plan->profile[linear].macs, 0);
    sl_plan_profile(plan, false);
    ck_assert_ptr_null(plan->profile);
    sl_plan_free(plan);
    sl_cpu_weights_free(weights);
    network_free(&n);
}
END_TEST

START_TEST(broken_graphs_are_refused)
{
    network n;
    network_new(&n, 64, 64);
    sl_cpu_weights *weights = new_weights(&n);
    sl_plan *plan = NULL;
    add(&n, SL_OP_CONV2D, &(sl_attr) { .stride = 1 }, n.image, 0, 0, n.weight, 2); // 12 channels
    ck_assert_int_ne(n.graph->status, SL_OK);
    ck_assert_int_eq(sl_cpu_compile(n.ctx, n.graph, SL_F32, weights, &plan), SL_ERR_ARGUMENT);
    ck_assert_ptr_null(plan);
    sl_cpu_weights_free(weights);
    network_free(&n);
}
END_TEST

START_TEST(levels_are_capped_by_name)
{
    static const char *const names[] = { "portable", "avx2", "avx512" };
    sl_simd best = sl_cpu_simd_best(), got;
    for (size_t i = 0; i < SL_ARRAY_LEN(names); i++) {
        sl_ctx *ctx = NULL;
        ck_assert_int_eq(sl_ctx_new(&(sl_ctx_options) { .threads = 1, .simd = names[i] }, &ctx),
                         SL_OK);
        ck_assert_int_eq(sl_cpu_simd(ctx, &got), SL_OK);
        ck_assert_int_eq(got, i < best ? (sl_simd)i : best);
        ck_assert_str_eq(sl_simd_name((sl_simd)i), names[i]);
        sl_ctx_free(ctx);
    }
}
END_TEST

START_TEST(peaks_are_plausible)
{
    double gflops = 0, gbytes = 0;
    sl_ctx *ctx = NULL;
    ck_assert_int_eq(sl_ctx_new(&(sl_ctx_options) { .threads = 2 }, &ctx), SL_OK);
    ck_assert_int_eq(sl_cpu_peak(ctx, SL_F32, &gflops, &gbytes), SL_OK);
    ck_assert_double_gt(gflops, 0.01);
    ck_assert_double_lt(gflops, 1e5);
    ck_assert_double_gt(gbytes, 0.01);
    ck_assert_double_lt(gbytes, 1e4);
    sl_ctx_free(ctx);
}
END_TEST

int main(void)
{
    const TTest *tests[] = { runs_allocate_nothing,
                             plans_of_two_sizes_share_weights,
                             memory_goes_from_plan_to_plan,
                             profiles_count_kept_windows,
                             broken_graphs_are_refused,
                             levels_are_capped_by_name,
                             peaks_are_plausible };
    const int loops[] = { 1, 1, 1, 1, 1, 1, 1 };
    return test_main("cpu-plan", tests, loops, SL_ARRAY_LEN(tests));
}
