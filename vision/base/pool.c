// SPDX-License-Identifier: MIT
// base/pool.c: the one thread pool.
//
// A network is hundreds of short regions, so a region must not wait for a thread that is still
// waking up: workers enter an open region if they come in time, and the caller, once no task is
// left, closes it and waits only for those inside. Idle workers spin briefly, then sleep.
#include "base/base.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#define SPIN_SECONDS 60e-6

// Bits of sl_pool.state; the low bits count the workers inside.
#define REGION_OPEN 0x80000000u
#define CALLER_SLEEPS 0x40000000u
#define INSIDE_MASK 0x0000ffffu

typedef struct worker {
    sl_pool *pool;
    unsigned index;
    pthread_t thread;
} worker;

struct sl_pool {
    unsigned size;   // workers, the caller included
    bool spins;      // false when there are more workers than processors
    worker *workers; // [size - 1]

    // The region. Written by the caller while the region is closed and nobody is inside.
    sl_task_fn fn;
    void *arg;
    size_t count;

    pthread_mutex_t mutex;
    pthread_cond_t wake, finished;
    atomic_bool stop;
    _Alignas(SL_ALIGN) atomic_size_t next; // on lines of their own: all workers write here
    _Alignas(SL_ALIGN) atomic_uint state;
    _Alignas(SL_ALIGN) atomic_uint generation; // counts regions
    atomic_uint sleepers;
};

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void run_tasks(sl_pool *pool, unsigned index)
{
    size_t count = pool->count;
    size_t task;
    while ((task = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed)) < count)
        pool->fn(pool->arg, task, index);
}

// False when the region was closed before this worker came.
static bool enter_region(sl_pool *pool)
{
    unsigned state = atomic_load(&pool->state);
    while (state & REGION_OPEN)
        if (atomic_compare_exchange_weak(&pool->state, &state, state + 1))
            return true;
    return false;
}

static void leave_region(sl_pool *pool)
{
    unsigned before = atomic_fetch_sub(&pool->state, 1);
    if ((before & CALLER_SLEEPS) && (before & INSIDE_MASK) == 1) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_signal(&pool->finished);
        pthread_mutex_unlock(&pool->mutex);
    }
}

static bool has_news(sl_pool *pool, unsigned seen)
{
    return atomic_load(&pool->generation) != seen || atomic_load(&pool->stop);
}

static void wait_for_news(sl_pool *pool, unsigned seen)
{
    if (pool->spins) {
        double end = sl_seconds() + SPIN_SECONDS;
        do {
            for (int i = 0; i < 64; i++) {
                if (has_news(pool, seen))
                    return;
                relax();
            }
        } while (sl_seconds() < end);
    }
    pthread_mutex_lock(&pool->mutex);
    // Counted before the last look: the caller raises the generation before it reads the count, so
    // one of the two always sees the other.
    atomic_fetch_add(&pool->sleepers, 1);
    while (!has_news(pool, seen))
        pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *work(void *arg)
{
    worker *self = arg;
    sl_pool *pool = self->pool;
    unsigned seen = 0;
    for (;;) {
        wait_for_news(pool, seen);
        if (atomic_load(&pool->stop))
            return NULL;
        seen = atomic_load(&pool->generation);
        if (enter_region(pool)) {
            run_tasks(pool, self->index);
            leave_region(pool);
        }
    }
}

static void wake_sleepers(sl_pool *pool, size_t wanted)
{
    unsigned sleepers = atomic_load(&pool->sleepers);
    if (sleepers == 0)
        return;
    pthread_mutex_lock(&pool->mutex);
    if (wanted >= sleepers)
        pthread_cond_broadcast(&pool->wake);
    else
        for (size_t i = 0; i < wanted; i++)
            pthread_cond_signal(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

static void close_region(sl_pool *pool)
{
    unsigned state = atomic_fetch_and(&pool->state, ~REGION_OPEN);
    if (pool->spins && (state & INSIDE_MASK)) {
        double end = sl_seconds() + SPIN_SECONDS;
        do {
            for (int i = 0; i < 64; i++) {
                if ((atomic_load(&pool->state) & INSIDE_MASK) == 0)
                    return;
                relax();
            }
        } while (sl_seconds() < end);
    }
    if ((atomic_fetch_or(&pool->state, CALLER_SLEEPS) & INSIDE_MASK) == 0)
        return;
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->state) & INSIDE_MASK)
        pthread_cond_wait(&pool->finished, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

void sl_pool_run(sl_pool *pool, sl_task_fn fn, void *arg, size_t count)
{
    if (pool->size == 1 || count <= 1) {
        for (size_t task = 0; task < count; task++)
            fn(arg, task, 0);
        return;
    }
    pool->fn = fn;
    pool->arg = arg;
    pool->count = count;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store(&pool->state, REGION_OPEN); // publishes the four above
    atomic_fetch_add(&pool->generation, 1);
    wake_sleepers(pool, count - 1);
    run_tasks(pool, 0);
    close_region(pool);
}

unsigned sl_pool_size(const sl_pool *pool)
{
    return pool->size;
}

// Starts what can be started: a pool with fewer threads works, only slower.
static void start_workers(sl_ctx *ctx, sl_pool *pool, unsigned threads)
{
    // Signals are for the threads of the program, never for ours.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 1; i < threads; i++) {
        worker *self = &pool->workers[i - 1];
        self->pool = pool;
        self->index = i;
        int error = pthread_create(&self->thread, NULL, work, self);
        if (error) {
            sl_log(ctx, SL_LOG_WARNING, "only %u of %u threads could be started: %s", pool->size,
                   threads, strerror(error));
            break;
        }
        pool->size++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

sl_status sl_pool_new(sl_ctx *ctx, unsigned threads, sl_pool **out)
{
    *out = NULL;
    if (threads < 1 || threads > INSIDE_MASK)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "a pool of %u threads; ask for 1 to 256", threads);
    sl_pool *pool = sl_alloc(ctx, 1, sizeof(*pool)); // aligned: its members ask for it
    if (!pool)
        return SL_ERR_NOMEM;
    pool->workers = sl_alloc(ctx, threads, sizeof(*pool->workers));
    if (!pool->workers) {
        free(pool);
        return SL_ERR_NOMEM;
    }
    pool->size = 1;
    pool->spins = threads > 1 && threads <= sl_processors();
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->finished, NULL);
    atomic_init(&pool->stop, false);
    atomic_init(&pool->next, 0);
    atomic_init(&pool->state, 0);
    atomic_init(&pool->generation, 0);
    atomic_init(&pool->sleepers, 0);
    start_workers(ctx, pool, threads);
    *out = pool;
    return SL_OK;
}

void sl_pool_free(sl_pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->stop, true);
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 1; i < pool->size; i++)
        pthread_join(pool->workers[i - 1].thread, NULL);
    pthread_cond_destroy(&pool->finished);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->workers);
    free(pool);
}
