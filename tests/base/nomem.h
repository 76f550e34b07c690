// SPDX-License-Identifier: MIT
// tests/base/nomem.h: memory that runs out at a chosen allocation. The linker sends the library's
// calls of malloc and its kin through here; those of shared libraries are not reached.
#ifndef TESTS_BASE_NOMEM_H
#define TESTS_BASE_NOMEM_H

#include "run.h"

#include <errno.h>

static long allowed = -1; // allocations before the one that fails; negative: all succeed
static long failures;

static bool fails_now(void)
{
    if (allowed < 0 || allowed-- > 0)
        return false;
    allowed = -1;
    failures++;
    errno = ENOMEM;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *data, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *data, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *data, size_t size)
{
    return fails_now() ? NULL : __real_realloc(data, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    return fails_now() ? NULL : __real_aligned_alloc(align, size);
}

// Check itself allocates: assertions belong after allow_all.
static inline void allow_all(void)
{
    allowed = -1;
}

// Calls `once` with the first, second, ... allocation failing, until none is left to fail. It must
// answer SL_ERR_NOMEM to every failure, or warn that it goes on without, and SL_OK in the end.
// Returns the number of allocations.
typedef sl_status (*once_fn)(void *arg);

static inline long exhaust(once_fn once, void *arg)
{
    for (long n = 0;; n++) {
        int told = warnings;
        failures = 0;
        allowed = n;
        sl_status st = once(arg);
        allow_all();
        if (failures == 0) {
            ck_ok(st);
            return n;
        }
        bool is_told = st == SL_ERR_NOMEM || (st == SL_OK && warnings > told);
        ck_assert_msg(is_told, "allocation %ld: status %d, %s", n, st, sl_ctx_message(ctx));
    }
}

#endif
