// SPDX-License-Identifier: MIT
// tests/vulkan/failures.c: a graph from its compilation to its result, while each call of the
// driver and each allocation fails in turn: the failure is told, and nothing is left behind.
#include "../base/nomem.h"

#include "run.h"

#include <pthread.h>

#define ROWS 24
#define IN 16
#define OUT 32

static float weight_data[OUT * IN], bias_data[OUT];
static float given[ROWS * IN], got[ROWS * OUT];
static const sl_tensor weight = { .name = "weight",
                                  .dtype = SL_F32,
                                  .shape = { 2, { OUT, IN } },
                                  .data = (void *)weight_data,
                                  .bytes = sizeof(weight_data) };
static const sl_tensor bias = { .name = "bias",
                                .dtype = SL_F32,
                                .shape = { 1, { OUT } },
                                .data = (void *)bias_data,
                                .bytes = sizeof(bias_data) };

static sl_graph *build(void)
{
    sl_graph *g;
    sl_shape shape = { 2, { ROWS, IN } };
    const sl_tensor *weights[] = { &weight, &bias };
    sl_attr attr = { .act = SL_ACT_RELU };
    ck_ok(sl_graph_new(ctx, &g));
    sl_value in[SL_MAX_INPUTS] = { sl_graph_input(g, "in", &shape) };
    sl_graph_output(g, sl_graph_add(g, SL_OP_LINEAR, "linear", &attr, in, weights, 2), "out");
    ck_ok(g->status);
    return g;
}

static void fill(void)
{
    for (int i = 0; i < OUT * IN; i++)
        weight_data[i] = (float)(i % 7 - 3);
    for (int i = 0; i < ROWS * IN; i++)
        given[i] = (float)(i % 11 - 5);
    for (int i = 0; i < OUT; i++)
        bias_data[i] = (float)(i % 5);
}

static void check_result(void)
{
    for (int r = 0; r < ROWS; r++)
        for (int n = 0; n < OUT; n++) {
            float want = bias_data[n];
            for (int k = 0; k < IN; k++)
                want += given[r * IN + k] * weight_data[n * IN + k];
            ck_assert_float_eq(got[r * OUT + n], want > 0 ? want : 0); // small whole numbers
        }
}

static sl_status use_plan(sl_plan *plan, const sl_graph *g)
{
    sl_status st = sl_plan_write(plan, sl_graph_find_output(g, "in"), given);
    if (st == SL_OK)
        st = sl_plan_run(plan);
    return st == SL_OK ? sl_plan_read(plan, sl_graph_find_output(g, "out"), got) : st;
}

static sl_status use_once(const sl_graph *g)
{
    sl_vk_device *d;
    sl_plan *plan = NULL;
    sl_status st = sl_vk_open(ctx, "vulkan", &d);
    if (st == SL_OK)
        st = sl_vk_compile(ctx, d, g, SL_F32, &plan);
    if (st == SL_OK)
        st = use_plan(plan, g);
    sl_plan_free(plan);
    sl_vk_close(d);
    return st;
}

// Told, or lived with: the pipeline cache's file is not worth a failure.
static void check_status(sl_status st, sl_status want, long n)
{
    ck_assert_uint_eq(sl_vk_live_objects(), 0);
    ck_assert_msg(st == SL_OK || st == want, "call %ld: status %d, %s", n, st, sl_ctx_message(ctx));
    if (st == SL_OK)
        check_result();
    memset(got, 0, sizeof(got));
}

static long fail_each(VkResult failure, sl_status want)
{
    sl_graph *g = build();
    long told = 0;
    spy.failure = failure;
    for (long n = 0;; n++) {
        atomic_store(&spy.countdown, n);
        sl_status st = use_once(g);
        check_status(st, want, n);
        told += st == want;
        if (atomic_load(&spy.countdown) >= 0) {
            ck_ok(st);
            break;
        }
    }
    sl_graph_free(g);
    return told;
}

START_TEST(calls_fail)
{
    fill();
    ck_assert_int_gt(fail_each(VK_ERROR_OUT_OF_DEVICE_MEMORY, SL_ERR_NOMEM), 30);
    ck_assert_int_gt(fail_each(VK_ERROR_DEVICE_LOST, SL_ERR_DEVICE), 30);
}
END_TEST

START_TEST(memory_runs_out)
{
    fill();
    sl_graph *g = build();
    for (long n = 0;; n++) {
        failures = 0;
        allowed = n;
        sl_status st = use_once(g);
        allow_all();
        check_status(st, SL_ERR_NOMEM, n);
        if (failures == 0) {
            ck_ok(st);
            ck_assert_int_gt(n, 10);
            break;
        }
    }
    sl_graph_free(g);
}
END_TEST

START_TEST(runs_submit_once_and_allocate_nothing)
{
    const long many = 1000000;
    sl_vk_device *d;
    sl_plan *plan;
    fill();
    sl_graph *g = build();
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    ck_ok(sl_vk_compile(ctx, d, g, SL_F32, &plan));
    for (int run = 0; run < 3; run++) { // already the first one
        allowed = many;
        atomic_store(&spy.countdown, many);
        sl_status st = use_plan(plan, g);
        long allocations = many - allowed, calls = many - atomic_load(&spy.countdown);
        allow_all();
        ck_ok(st);
        ck_assert_int_eq(allocations, 0);
        ck_assert_int_eq(calls, 2); // of those that spy.c counts: a submission, and its end
    }
    spy.fails = "vkQueueSubmit";
    atomic_store(&spy.countdown, many);
    ck_ok(use_plan(plan, g));
    ck_assert_int_eq(atomic_load(&spy.countdown), many - 1);
    spy_reset();
    check_result();
    sl_plan_free(plan);
    sl_vk_close(d);
    sl_graph_free(g);
}
END_TEST

// The inputs of a run are `given` times `factor`.
static void write_times(sl_plan *plan, const sl_graph *g, float factor)
{
    float inputs[ROWS * IN];
    for (int i = 0; i < ROWS * IN; i++)
        inputs[i] = factor * given[i];
    ck_ok(sl_plan_write(plan, sl_graph_find_output(g, "in"), inputs));
}

static void read_times(sl_plan *plan, const sl_graph *g, float factor)
{
    ck_ok(sl_plan_read(plan, sl_graph_find_output(g, "out"), got));
    for (int r = 0; r < ROWS; r++)
        for (int n = 0; n < OUT; n++) {
            float want = bias_data[n];
            for (int k = 0; k < IN; k++)
                want += factor * given[r * IN + k] * weight_data[n * IN + k];
            ck_assert_float_eq(got[r * OUT + n], want > 0 ? want : 0);
        }
}

// Allocates nothing, and is so many calls of those that spy.c counts.
static void check_cheap(sl_status (*half)(sl_plan *plan), sl_plan *plan, long calls_wanted)
{
    const long many = 1000000;
    allowed = many;
    atomic_store(&spy.countdown, many);
    sl_status st = half(plan);
    long allocations = many - allowed, calls = many - atomic_load(&spy.countdown);
    allow_all();
    spy_reset();
    ck_ok(st);
    ck_assert_int_eq(allocations, 0);
    ck_assert_int_eq(calls, calls_wanted);
}

START_TEST(runs_overlap)
{
    sl_vk_device *d;
    sl_plan *plan;
    fill();
    sl_graph *g = build();
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    ck_ok(sl_vk_compile(ctx, d, g, SL_F32, &plan));
    ck_ok(sl_plan_wait(plan)); // for nothing
    ck_assert_uint_eq(sl_plan_overlap(plan), 2);
    ck_assert_uint_eq(sl_plan_overlap(plan), 2);
    check_cheap(sl_plan_wait, plan, 0);
    write_times(plan, g, 1);
    check_cheap(sl_plan_submit, plan, 1);
    for (int i = 2; i < 6; i++) {
        write_times(plan, g, (float)i);
        check_cheap(sl_plan_submit, plan, 1);
        check_cheap(sl_plan_wait, plan, 1);
        read_times(plan, g, (float)(i - 1));
    }
    check_cheap(sl_plan_submit, plan, 1); // what was written last
    check_cheap(sl_plan_wait, plan, 1);
    read_times(plan, g, 5);
    check_cheap(sl_plan_wait, plan, 1);
    read_times(plan, g, 5);
    ck_ok(sl_plan_run(plan)); // in one piece again
    read_times(plan, g, 5);
    ck_ok(sl_plan_submit(plan));
    sl_plan_profile(plan, true); // of one run at a time
    write_times(plan, g, 7);
    ck_ok(sl_plan_submit(plan));
    ck_ok(sl_plan_wait(plan));
    read_times(plan, g, 7);
    sl_plan_profile(plan, false);
    ck_assert_uint_eq(sl_plan_overlap(plan), 2);
    ck_ok(sl_plan_submit(plan)); // and nobody waits
    sl_plan_free(plan);
    sl_vk_close(d);
    sl_graph_free(g);
}
END_TEST

// Without memory for a second run they come one by one; whatever fails is told.
START_TEST(overlapped_calls_fail)
{
    sl_vk_device *d;
    sl_plan *plan;
    fill();
    sl_graph *g = build();
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    for (long n = 0;; n++) {
        ck_ok(sl_vk_compile(ctx, d, g, SL_F32, &plan));
        write_times(plan, g, 1);
        spy.failure = VK_ERROR_OUT_OF_DEVICE_MEMORY;
        atomic_store(&spy.countdown, n);
        unsigned depth = sl_plan_overlap(plan);
        sl_status first = sl_plan_submit(plan), second = SL_OK;
        if (first == SL_OK && depth == 2)
            second = sl_plan_submit(plan);
        for (unsigned i = 0; i < depth && first == SL_OK && second == SL_OK; i++)
            second = sl_plan_wait(plan);
        bool is_over = atomic_exchange(&spy.countdown, -1) >= 0;
        if (first == SL_OK && second == SL_OK)
            read_times(plan, g, 1);
        else
            ck_assert(first == SL_ERR_NOMEM || second == SL_ERR_NOMEM);
        sl_plan_free(plan);
        if (is_over) {
            ck_assert_uint_eq(depth, 2);
            ck_assert_int_gt(n, 8);
            break;
        }
    }
    sl_vk_close(d);
    sl_graph_free(g);
}
END_TEST

// A device is lost, and every call says that all is well: what memory holds is not taken for a
// result, neither that of an earlier run nor that of an earlier plan's run of the same number.
START_TEST(runs_that_are_dropped_are_told)
{
    sl_vk_device *d;
    sl_plan *before, *plan;
    fill();
    sl_graph *g = build();
    for (int run = 0; run < 3; run++) {
        ck_ok(sl_vk_open(ctx, "vulkan", &d));
        ck_ok(sl_vk_compile(ctx, d, g, SL_F32, &before)); // by which the memory stays
        ck_ok(sl_vk_compile(ctx, d, g, SL_F32, &plan));
        ck_ok(use_plan(plan, g));
        sl_plan_free(plan);
        ck_ok(sl_vk_compile(ctx, d, g, SL_F32, &plan));
        for (int i = 0; i < run; i++)
            ck_ok(use_plan(plan, g));
        atomic_store(&spy.drops, 0);
        ck_fails(use_plan(plan, g), SL_ERR_DEVICE, "was lost while computing");
        ck_assert(sl_vk_was_lost(d));
        sl_plan_free(before);
        sl_plan_free(plan);
        sl_vk_close(d);
        spy_reset();
    }
    sl_graph_free(g);
}
END_TEST

START_TEST(overlapped_runs_that_are_dropped_are_told)
{
    sl_vk_device *d;
    sl_plan *plan;
    fill();
    sl_graph *g = build();
    for (long done = 1; done < 5; done++) {
        ck_ok(sl_vk_open(ctx, "vulkan", &d));
        ck_ok(sl_vk_compile(ctx, d, g, SL_F32, &plan));
        ck_assert_uint_eq(sl_plan_overlap(plan), 2);
        atomic_store(&spy.drops, done);
        write_times(plan, g, 0);
        ck_ok(sl_plan_submit(plan));
        for (long i = 1; i <= done; i++) {
            write_times(plan, g, (float)i);
            ck_ok(sl_plan_submit(plan));
            ck_ok(sl_plan_wait(plan));
            read_times(plan, g, (float)(i - 1));
        }
        ck_fails(sl_plan_wait(plan), SL_ERR_DEVICE, "was lost while computing");
        ck_assert(sl_vk_was_lost(d));
        sl_plan_free(plan);
        sl_vk_close(d);
        spy_reset();
    }
    sl_graph_free(g);
}
END_TEST

// One device in each of two threads' contexts.
typedef struct side {
    sl_ctx *ctx;
    sl_status status;
} side;

static void *use_side(void *arg)
{
    side *s = arg;
    sl_vk_device *d;
    sl_vk_buffer buffer = { 0 };
    static const uint8_t bytes[1000];
    for (int i = 0; i < 3 && s->status == SL_OK; i++) {
        s->status = sl_vk_open(s->ctx, "vulkan", &d);
        if (s->status == SL_OK)
            s->status = sl_vk_buffer_new(s->ctx, d, sizeof(bytes), SL_VK_DEVICE, &buffer);
        if (s->status == SL_OK)
            s->status = sl_vk_upload(s->ctx, d, &buffer, 0, bytes, sizeof(bytes));
        if (d)
            sl_vk_buffer_free(d, &buffer);
        sl_vk_close(d);
    }
    return NULL;
}

START_TEST(contexts_side_by_side)
{
    side sides[2] = { 0 };
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        ck_ok(sl_ctx_new(NULL, &sides[i].ctx));
        ck_assert_int_eq(pthread_create(&threads[i], NULL, use_side, &sides[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_msg(sides[i].status == SL_OK, "%s", sl_ctx_message(sides[i].ctx));
        sl_ctx_free(sides[i].ctx);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("failures");
    tcase_add_test(tests, calls_fail);
    tcase_add_test(tests, memory_runs_out);
    tcase_add_test(tests, runs_submit_once_and_allocate_nothing);
    tcase_add_test(tests, runs_overlap);
    tcase_add_test(tests, overlapped_calls_fail);
    tcase_add_test(tests, runs_that_are_dropped_are_told);
    tcase_add_test(tests, overlapped_runs_that_are_dropped_are_told);
    tcase_add_test(tests, contexts_side_by_side);
    return run_vulkan("vulkan-failures", tests);
}
