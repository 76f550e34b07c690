// SPDX-License-Identifier: MIT
// tests/tensor/nomem.c: memory runs out at every single allocation in turn, JSON's included.
#include "../base/nomem.h"

#include "tensor/tensor.h"

#include <jansson.h>

static sl_status pth_once(void *arg)
{
    const sl_blob *file = arg;
    sl_tensor_set *set;
    sl_status st = sl_pth_parse(ctx, file->data, file->size, "m", &set);
    allow_all();
    ck_assert((st == SL_OK) == (set != NULL));
    sl_tensor_set_free(set);
    return st;
}

START_TEST(checkpoints_survive)
{
    static const char *const names[] = { "strided", "training", "deflated" };
    sl_blob file;
    char path[512];
    snprintf(path, sizeof(path), "%s/pth/%s.pth", TEST_DATA, names[_i]);
    ck_ok(sl_file_read(ctx, path, 1 << 20, &file));
    ck_assert_int_ge(exhaust(pth_once, &file), 12);
    sl_blob_free(&file);
}
END_TEST

static sl_status safetensors_once(void *arg)
{
    const sl_blob *file = arg;
    sl_tensor_set *set;
    sl_status st = sl_safetensors_parse(ctx, file->data, file->size, "m", &set);
    allow_all();
    ck_assert((st == SL_OK) == (set != NULL));
    sl_tensor_set_free(set);
    return st;
}

static const float numbers[6] = { 1, 2, 3, 4, 5, 6 };
static const sl_tensor tensors[] = {
    { .name = "b", .shape = { 2, { 2, 3 } }, .data = numbers, .bytes = 24 },
    { .name = "a", .shape = { 0, { 0 } }, .data = numbers, .bytes = 4 },
};
static const sl_meta meta[] = { { "architecture", "x" }, { "config", "{\"a\": [1, 2]}" } };

static sl_status write_once(void *arg)
{
    const char *path = in_dir("x.safetensors");
    (void)arg;
    sl_status st = sl_safetensors_write(ctx, path, false, tensors, 2, meta, 2);
    allow_all();
    ck_assert((st == SL_OK) == sl_file_exists(path));
    return st;
}

START_TEST(safetensors_survive)
{
    sl_blob file;
    json_set_alloc_funcs(__wrap_malloc, free);
    ck_assert_int_ge(exhaust(write_once, NULL), 30);
    ck_ok(sl_file_read(ctx, in_dir("x.safetensors"), 1 << 20, &file));
    // jansson gets by without some allocations: what it lets through has to be whole.
    long n = 0;
    for (bool failed = true; failed; n++) {
        sl_tensor_set *set;
        failures = 0;
        allowed = n;
        sl_status st = sl_safetensors_parse(ctx, file.data, file.size, "m", &set);
        allow_all();
        failed = failures > 0;
        ck_assert_msg(st == SL_OK || (failed && st == SL_ERR_NOMEM), "%ld: status %d", n, st);
        ck_assert((st == SL_OK) == (set != NULL));
        ck_assert_msg(!set || (sl_tensor_set_find(set, "a") && sl_tensor_set_find(set, "b") &&
                               sl_tensor_set_meta(set, "config")),
                      "allocation %ld", n);
        sl_tensor_set_free(set);
    }
    ck_assert_int_ge(n, 30);
    json_set_alloc_funcs(__real_malloc, free);
    ck_assert_int_ge(exhaust(safetensors_once, &file), 4);
    sl_blob_free(&file);
}
END_TEST

static sl_status npy_once(void *arg)
{
    const char *path = in_dir("x.npy");
    (void)arg;
    sl_blob storage = { NULL, 0 };
    sl_tensor got;
    sl_status st = sl_npy_write(ctx, path, true, tensors);
    if (st == SL_OK)
        st = sl_npy_read(ctx, path, &storage, &got);
    allow_all();
    ck_assert((st == SL_OK) == (storage.data != NULL));
    sl_blob_free(&storage);
    return st;
}

START_TEST(npy_survives)
{
    ck_assert_int_ge(exhaust(npy_once, NULL), 2);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("nomem");
    tcase_add_loop_test(tests, checkpoints_survive, 0, 3);
    tcase_add_test(tests, safetensors_survive);
    tcase_add_test(tests, npy_survives);
    return run_case("tensor-nomem", tests);
}
