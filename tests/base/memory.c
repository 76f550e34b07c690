// SPDX-License-Identifier: MIT
// tests/base/memory.c: checked arithmetic, blocks, blobs and arenas.
#include "run.h"

START_TEST(arithmetic_sees_overflow)
{
    size_t out;
    ck_assert(sl_mul(SIZE_MAX, 1, &out) && out == SIZE_MAX);
    ck_assert(sl_mul(0, SIZE_MAX, &out) && out == 0);
    ck_assert(!sl_mul(SIZE_MAX / 2 + 1, 2, &out));
    ck_assert(!sl_mul(SIZE_MAX, SIZE_MAX, &out));
    ck_assert(sl_add(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
    ck_assert(!sl_add(SIZE_MAX, 1, &out));
}
END_TEST

START_TEST(blocks_are_aligned_and_zero)
{
    static const size_t counts[] = { 0, 1, 7, 64, 65, 100000 };
    for (size_t i = 0; i < SL_ARRAY_LEN(counts); i++) {
        uint8_t *data = sl_alloc(ctx, counts[i], 3);
        ck_assert_ptr_nonnull(data);
        ck_assert_uint_eq((uintptr_t)data % SL_ALIGN, 0);
        size_t wrong = 0;
        for (size_t k = 0; k < counts[i] * 3; k++)
            wrong += data[k] != 0;
        ck_assert_uint_eq(wrong, 0);
        free(data);
    }
    ck_assert_ptr_null(sl_alloc(ctx, SIZE_MAX / 2, 4));
    ck_assert_ptr_nonnull(strstr(sl_ctx_message(ctx), "out of memory"));
    ck_assert_ptr_null(sl_alloc(ctx, SIZE_MAX - 3, 1));
    ck_assert_ptr_null(sl_alloc(ctx, SIZE_MAX / 4 + 2, 4)); // 4 bytes, if it were let wrap
    ck_assert_ptr_null(sl_alloc(ctx, (size_t)1 << 33, (size_t)1 << 33));
}
END_TEST

START_TEST(strings_are_copied)
{
    char *text = sl_strdup(ctx, "lens");
    char *more = sl_format(ctx, "%s-%d", text, 42);
    ck_assert_str_eq(more, "lens-42");
    free(text);
    free(more);
}
END_TEST

START_TEST(blobs_copy_and_grow)
{
    sl_blob blob;
    ck_ok(sl_blob_copy(ctx, NULL, 0, &blob));
    ck_assert_ptr_null(blob.data);
    ck_ok(sl_blob_copy(ctx, "abc", 3, &blob));
    ck_assert_mem_eq(blob.data, "abc", 3);
    sl_blob_free(&blob);
    ck_assert(!blob.data && !blob.size);
    sl_blob_free(NULL);
    size_t capacity = 0;
    for (unsigned i = 0; i < 10000; i++)
        ck_ok(sl_blob_append(ctx, &blob, &capacity, &(uint8_t) { (uint8_t)(i * 7) }, 1));
    ck_ok(sl_blob_append(ctx, &blob, &capacity, NULL, 0));
    ck_assert_uint_eq(blob.size, 10000);
    ck_assert_uint_ge(capacity, blob.size);
    size_t wrong = 0;
    for (unsigned i = 0; i < 10000; i++)
        wrong += blob.data[i] != (uint8_t)(i * 7);
    ck_assert_uint_eq(wrong, 0);
    ck_fails(sl_blob_append(ctx, &blob, &capacity, "x", SIZE_MAX), SL_ERR_NOMEM, "out of memory");
    ck_assert_uint_eq(blob.size, 10000);
    sl_blob_free(&blob);
}
END_TEST

START_TEST(arenas_keep_things_apart)
{
    enum { COUNT = 2000 };
    sl_arena arena = { 0 };
    uint8_t *things[COUNT];
    size_t wrong = 0;
    for (size_t i = 0; i < COUNT; i++) {
        things[i] = sl_arena_alloc(ctx, &arena, i % 97, i % 13);
        ck_assert_ptr_nonnull(things[i]);
        ck_assert_uint_eq((uintptr_t)things[i] % _Alignof(max_align_t), 0);
        for (size_t k = 0; k < (i % 97) * (i % 13); k++) {
            wrong += things[i][k] != 0;
            things[i][k] = (uint8_t)i;
        }
    }
    ck_assert_ptr_nonnull(sl_arena_alloc(ctx, &arena, 1, 1000000));
    ck_assert_str_eq(sl_arena_strdup(ctx, &arena, "name"), "name");
    for (size_t i = 0; i < COUNT; i++)
        for (size_t k = 0; k < (i % 97) * (i % 13); k++)
            wrong += things[i][k] != (uint8_t)i;
    ck_assert_uint_eq(wrong, 0);
    ck_assert_ptr_null(sl_arena_alloc(ctx, &arena, SIZE_MAX, 2));
    ck_assert_ptr_null(sl_arena_alloc(ctx, &arena, SIZE_MAX - 20, 1));
    ck_assert_ptr_null(sl_arena_alloc(ctx, &arena, SIZE_MAX / 4 + 2, 4));
    sl_arena_free(&arena);
    ck_assert_ptr_null(arena.blocks);
    sl_arena_free(NULL);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("memory");
    tcase_add_test(tests, arithmetic_sees_overflow);
    tcase_add_test(tests, blocks_are_aligned_and_zero);
    tcase_add_test(tests, strings_are_copied);
    tcase_add_test(tests, blobs_copy_and_grow);
    tcase_add_test(tests, arenas_keep_things_apart);
    return run_case("base/memory", tests);
}
