// SPDX-License-Identifier: MIT
// tests/vulkan/pieces.c: a program that goes to the device in several submissions computes what it
// does in one, also while another run is under way; and whichever of them fails, it is told.
#include "run.h"

#include "vulkan/program.h"

#define ROWS 300 // more than two strips of a mean
#define WIDE 16

static float numbers[WIDE * WIDE + WIDE], given[ROWS * WIDE], want[WIDE], got[WIDE];
static const sl_tensor weight = {
    "w", SL_F32, { 2, { WIDE, WIDE } }, numbers, WIDE *WIDE * sizeof(float)
};
static const sl_tensor bias = {
    "b", SL_F32, { 1, { WIDE } }, numbers + WIDE *WIDE, WIDE * sizeof(float)
};

// Two layers and a mean: four dispatches, each of which reads what the one before has written.
static sl_graph *build(void)
{
    sl_graph *g;
    const sl_tensor *weights[] = { &weight, &bias };
    for (int i = 0; i < WIDE * WIDE + WIDE; i++)
        numbers[i] = (float)(i * 7 % 13) / 16 - 0.375f;
    for (int i = 0; i < ROWS * WIDE; i++)
        given[i] = (float)(i % 11 - 5);
    ck_ok(sl_graph_new(ctx, &g));
    sl_value x = sl_graph_input(g, "in", &(sl_shape) { 2, { ROWS, WIDE } });
    for (int i = 0; i < 2; i++)
        x = sl_graph_add(g, SL_OP_LINEAR, "linear", &(sl_attr) { .act = SL_ACT_RELU },
                         (sl_value[SL_MAX_INPUTS]) { x }, weights, 2);
    x = sl_graph_add(g, SL_OP_MEAN, "mean", &(sl_attr) { 0 }, (sl_value[SL_MAX_INPUTS]) { x }, NULL,
                     0);
    sl_graph_output(g, x, "out");
    ck_ok(g->status);
    return g;
}

static sl_status compile(const sl_graph *g, double piece_macs, sl_vk_device **d, sl_plan **plan)
{
    *plan = NULL;
    sl_status st = sl_vk_open(ctx, "vulkan", d);
    if (st != SL_OK)
        return st;
    if (piece_macs >= 0)
        (*d)->piece_macs = piece_macs;
    return sl_vk_compile(ctx, *d, g, SL_F32, plan);
}

static sl_status use_plan(const sl_graph *g, sl_plan *plan, float *out)
{
    sl_status st = sl_plan_write(plan, sl_graph_find_output(g, "in"), given);
    if (st == SL_OK)
        st = sl_plan_run(plan);
    return st == SL_OK ? sl_plan_read(plan, sl_graph_find_output(g, "out"), out) : st;
}

// How often a run submits. The result is in `out`.
static long count_submissions(const sl_graph *g, double piece_macs, float *out)
{
    const long many = 1000000;
    sl_vk_device *d;
    sl_plan *plan;
    ck_ok(compile(g, piece_macs, &d, &plan));
    spy.fails = "vkQueueSubmit";
    atomic_store(&spy.countdown, many);
    ck_ok(use_plan(g, plan, out));
    long calls = many - atomic_load(&spy.countdown);
    spy_reset();
    sl_plan_free(plan);
    sl_vk_close(d);
    return calls;
}

START_TEST(pieces_compute_the_same)
{
    const double layer = (double)ROWS * WIDE * WIDE;
    sl_graph *g = build();
    ck_assert_int_eq(count_submissions(g, -1, want), 1); // as little as this
    ck_assert_float_gt(want[0] + want[1] + want[2], 0);
    ck_assert_int_eq(count_submissions(g, 0, got), 3); // of a mean nothing is multiplied
    ck_assert_mem_eq(want, got, sizeof(want));
    memset(got, 0, sizeof(got));
    ck_assert_int_eq(count_submissions(g, layer, got), 2);
    ck_assert_mem_eq(want, got, sizeof(want));
    sl_graph_free(g);
}
END_TEST

static void is_discrete(VkPhysicalDeviceProperties2 *p)
{
    p->properties.deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

static void is_integrated(VkPhysicalDeviceProperties2 *p)
{
    p->properties.deviceType = VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
}

START_TEST(cards_are_not_kept_for_seconds)
{
    sl_vk_device *d;
    spy.change = is_discrete;
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    double most = d->piece_macs;
    ck_assert(most > 1e9 && most < 1e12);
    sl_vk_close(d);
    spy.change = is_integrated;
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    ck_assert(d->piece_macs > 1e9 && d->piece_macs < most);
    sl_vk_close(d);
}
END_TEST

START_TEST(pieces_of_two_runs_overlap)
{
    sl_vk_device *d;
    sl_plan *plan;
    sl_graph *g = build();
    sl_value in = sl_graph_find_output(g, "in"), out = sl_graph_find_output(g, "out");
    count_submissions(g, -1, want);
    ck_ok(compile(g, 0, &d, &plan));
    ck_assert_uint_eq(sl_plan_overlap(plan), 2);
    for (int i = 0; i < 6; i++) {
        ck_ok(sl_plan_write(plan, in, given));
        ck_ok(sl_plan_submit(plan));
        if (i)
            ck_ok(sl_plan_wait(plan));
    }
    ck_ok(sl_plan_wait(plan));
    ck_ok(sl_plan_read(plan, out, got));
    ck_assert_mem_eq(want, got, sizeof(want));
    sl_plan_profile(plan, true); // timestamps in several of them
    if (plan->profile) {
        memset(got, 0, sizeof(got));
        ck_ok(use_plan(g, plan, got));
        ck_assert_mem_eq(want, got, sizeof(want));
        ck_assert(plan->profile[g->node_count - 1].seconds > 0);
    }
    spy.fails = "vkCreateQueryPool";
    spy.failure = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    atomic_store(&spy.countdown, 0);
    sl_plan_profile(plan, true); // which there is none of then
    ck_assert_ptr_null(plan->profile);
    ck_ok(use_plan(g, plan, got));
    sl_plan_free(plan);
    sl_vk_close(d);
    sl_graph_free(g);
}
END_TEST

// Every call of one function in turn. Returns how many failures were told.
static long fail_each(const sl_graph *g, const char *function)
{
    long told = 0;
    for (long n = 0;; n++) {
        sl_vk_device *d;
        sl_plan *plan;
        ck_ok(sl_vk_open(ctx, "vulkan", &d));
        d->piece_macs = 0;
        spy.failure = VK_ERROR_DEVICE_LOST;
        spy.fails = function;
        atomic_store(&spy.countdown, n);
        sl_status st = sl_vk_compile(ctx, d, g, SL_F32, &plan);
        if (st == SL_OK)
            st = use_plan(g, plan, got);
        bool is_over = atomic_exchange(&spy.countdown, -1) >= 0;
        sl_plan_free(plan);
        sl_vk_close(d);
        ck_assert_uint_eq(sl_vk_live_objects(), 0);
        ck_assert(st == SL_ERR_DEVICE || (is_over && st == SL_OK));
        told += st != SL_OK;
        if (is_over)
            return told;
    }
}

START_TEST(each_may_fail)
{
    sl_graph *g = build();
    ck_assert_int_ge(fail_each(g, "vkQueueSubmit"), 3);
    ck_assert_int_ge(fail_each(g, "vkBeginCommandBuffer"), 3);
    ck_assert_int_ge(fail_each(g, "vkEndCommandBuffer"), 3);
    ck_assert_int_ge(fail_each(g, "vkAllocateCommandBuffers"), 1);
    sl_graph_free(g);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("pieces");
    tcase_add_test(tests, pieces_compute_the_same);
    tcase_add_test(tests, cards_are_not_kept_for_seconds);
    tcase_add_test(tests, pieces_of_two_runs_overlap);
    tcase_add_test(tests, each_may_fail);
    return run_vulkan("vulkan-pieces", tests);
}
