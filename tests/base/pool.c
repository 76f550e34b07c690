// SPDX-License-Identifier: MIT
// tests/base/pool.c: every task once, workers apart, whatever the number of threads.
#include "run.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

static int threads_allowed = 1000; // before pthread_create fails

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *arg)
{
    return threads_allowed-- > 0 ? __real_pthread_create(thread, attributes, start, arg) : EAGAIN;
}

#define MAX_TASKS 5000

typedef struct record {
    atomic_uint runs[MAX_TASKS];
    atomic_uint busy[256]; // tasks that a worker is in
    atomic_uint errors;
    unsigned size;
} record;

static void note(void *arg, size_t task, unsigned worker)
{
    record *r = arg;
    if (task >= MAX_TASKS || worker >= r->size || atomic_fetch_add(&r->busy[worker], 1) != 0)
        atomic_fetch_add(&r->errors, 1);
    atomic_fetch_add(&r->runs[task], 1);
    for (volatile unsigned i = 0; i < (task % 7) * 20; i++)
        ;
    atomic_fetch_sub(&r->busy[worker], 1);
}

START_TEST(every_task_runs_once)
{
    static const unsigned threads[] = { 1, 2, 3, 8, 64 };
    static const size_t counts[] = { 0, 1, 2, 3, 7, 64, 1000, MAX_TASKS };
    record *r = sl_alloc(ctx, 1, sizeof(*r));
    sl_pool *pool;
    ck_ok(sl_pool_new(ctx, threads[_i], &pool));
    r->size = sl_pool_size(pool);
    ck_assert_uint_eq(r->size, threads[_i]);
    unsigned regions = 0;
    size_t runs[MAX_TASKS] = { 0 };
    for (int round = 0; round < 60; round++) {
        for (size_t c = 0; c < SL_ARRAY_LEN(counts); c++, regions++) {
            sl_pool_run(pool, note, r, counts[c]);
            for (size_t t = 0; t < counts[c]; t++)
                runs[t]++;
        }
        if (round % 20 == 0)
            usleep(1000); // the workers fall asleep in between
    }
    for (size_t t = 0; t < MAX_TASKS; t++)
        ck_assert_msg(r->runs[t] == runs[t], "%u threads, task %zu: %u runs, not %zu", threads[_i],
                      t, r->runs[t], runs[t]);
    ck_assert_uint_eq(r->errors, 0);
    sl_pool_free(pool);
    free(r);
}
END_TEST

static void sum_squares(void *arg, size_t task, unsigned worker)
{
    ((uint64_t *)arg)[worker * 8] += (uint64_t)task * task;
}

// What a worker wrote must be visible to the caller, region after region.
START_TEST(results_are_visible_afterwards)
{
    for (unsigned region = 0; region < 20000; region++) {
        uint64_t sums[8 * 2] = { 0 };
        sl_pool_run(ctx->pool, sum_squares, sums, 10 + region % 5);
        uint64_t n = 9 + region % 5, want = n * (n + 1) * (2 * n + 1) / 6;
        ck_assert_msg(sums[0] + sums[8] == want, "region %u: %llu", region,
                      (unsigned long long)(sums[0] + sums[8]));
    }
}
END_TEST

static void meet(void *arg, size_t task, unsigned worker)
{
    (void)task, (void)worker;
    atomic_fetch_add((atomic_uint *)arg, 1);
    double end = sl_seconds() + 20;
    while (atomic_load((atomic_uint *)arg) < 4 && sl_seconds() < end)
        usleep(100);
}

// Four tasks that wait for one another end only if four threads really run.
START_TEST(threads_run_side_by_side)
{
    atomic_uint arrived = 0;
    sl_pool *pool;
    ck_ok(sl_pool_new(ctx, 4, &pool));
    usleep(20000);
    double start = sl_seconds();
    sl_pool_run(pool, meet, &arrived, 4);
    ck_assert(sl_seconds() - start < 19);
    sl_pool_free(pool);
}
END_TEST

START_TEST(too_few_threads_still_work)
{
    for (unsigned allowed = 0; allowed < 3; allowed++) {
        uint64_t sums[8 * 4] = { 0 };
        sl_pool *pool;
        threads_allowed = (int)allowed;
        ck_ok(sl_pool_new(ctx, 4, &pool));
        ck_assert_uint_eq(sl_pool_size(pool), allowed + 1);
        ck_assert_ptr_nonnull(strstr(warning, "of 4 threads"));
        sl_pool_run(pool, sum_squares, sums, 10);
        ck_assert_uint_eq(sums[0] + sums[8] + sums[16] + sums[24], 285);
        sl_pool_free(pool);
    }
}
END_TEST

START_TEST(sizes_are_checked)
{
    sl_pool *pool;
    ck_fails(sl_pool_new(ctx, 0, &pool), SL_ERR_ARGUMENT, "0 threads");
    ck_assert_ptr_null(pool);
    sl_pool_free(NULL);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("pool");
    tcase_add_loop_test(tests, every_task_runs_once, 0, 5);
    tcase_add_test(tests, results_are_visible_afterwards);
    tcase_add_test(tests, threads_run_side_by_side);
    tcase_add_test(tests, too_few_threads_still_work);
    tcase_add_test(tests, sizes_are_checked);
    return run_case("base/pool", tests);
}
