// SPDX-License-Identifier: MIT
// tests/base/nomem.c: memory runs out at every single allocation in turn.
#include "nomem.h"

static sl_status context_once(void *arg)
{
    sl_ctx *other;
    (void)arg;
    sl_status st = sl_ctx_new(&(sl_ctx_options) { .threads = 3 }, &other);
    allow_all();
    ck_assert((st == SL_OK) == (other != NULL));
    sl_ctx_free(other);
    return st;
}

static sl_status files_once(void *arg)
{
    sl_blob blob;
    (void)arg;
    sl_status st = sl_file_read(ctx, "/proc/self/maps", 1 << 24, &blob); // grows: it has no size
    allow_all();
    ck_assert((st == SL_OK) == (blob.data != NULL));
    sl_blob_free(&blob);
    return st;
}

static sl_status memory_once(void *arg)
{
    sl_arena arena = { NULL };
    sl_blob copy = { NULL, 0 }, grown = { NULL, 0 };
    size_t capacity = 0;
    (void)arg;
    sl_status st = sl_blob_copy(ctx, "abc", 3, &copy);
    for (int i = 0; i < 300 && st == SL_OK; i++)
        st = sl_blob_append(ctx, &grown, &capacity, "abc", 3);
    for (int i = 0; i < 3000 && st == SL_OK; i++)
        st = sl_arena_strdup(ctx, &arena, "a name of some length") ? SL_OK : SL_ERR_NOMEM;
    void *block = st == SL_OK ? sl_alloc(ctx, 3, 3) : NULL;
    if (!block)
        st = SL_ERR_NOMEM;
    free(block);
    sl_blob_free(&copy);
    sl_blob_free(&grown);
    sl_arena_free(&arena);
    return st;
}

START_TEST(each_failure_is_told)
{
    static const once_fn calls[] = { context_once, files_once, memory_once };
    ck_assert_int_ge(exhaust(calls[_i], NULL), 1);
}
END_TEST

// A region is hundreds of times a picture: it must not allocate.
static void nothing(void *arg, size_t task, unsigned worker)
{
    (void)arg, (void)task, (void)worker;
}

START_TEST(a_region_allocates_nothing)
{
    failures = 0;
    allowed = 0;
    sl_pool_run(ctx->pool, nothing, NULL, 100);
    allow_all();
    ck_assert_int_eq(failures, 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("nomem");
    tcase_add_loop_test(tests, each_failure_is_told, 0, 3);
    tcase_add_test(tests, a_region_allocates_nothing);
    return run_case("base/nomem", tests);
}
