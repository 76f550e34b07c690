// SPDX-License-Identifier: MIT
// tests/net/nomem.c: memory runs out at every single allocation in turn, JSON's included.
#include "../base/nomem.h"

#include "net/net.h"

#include <jansson.h>

static const char *const names[] = { "fade", "soft-norm", "retina-norm" };

static const char *model_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), GOLDEN_DIR "/%s.safetensors", name);
    return path;
}

static sl_status convert_once(void *arg)
{
    const sl_convert_options options = { .overwrite = true };
    sl_status st = sl_model_convert(ctx, arg, in_dir("m.safetensors"), &options);
    allow_all();
    return st;
}

// A file that lacks a key of its configuration would be opened as another network.
START_TEST(conversions_survive)
{
    sl_model *model;
    ck_ok(sl_model_open(ctx, model_path(names[_i]), &model));
    json_set_alloc_funcs(__wrap_malloc, free);
    ck_assert_int_gt(exhaust(convert_once, model), 100);
    json_set_alloc_funcs(__real_malloc, free);
    sl_model_free(model);
}
END_TEST

static sl_status describe_once(void *arg)
{
    char *text;
    sl_status st = sl_model_describe(ctx, arg, 0, 0, true, &text);
    allow_all();
    ck_assert((st == SL_OK) == (text != NULL));
    free(text);
    return st;
}

// Without those of jansson, which parses here and does not survive them itself.
START_TEST(descriptions_survive)
{
    sl_model *model;
    ck_ok(sl_model_open(ctx, model_path(names[_i]), &model));
    ck_assert_int_gt(exhaust(describe_once, model), 15);
    sl_model_free(model);
}
END_TEST

static sl_status open_once(void *arg)
{
    sl_model *model;
    sl_status st = sl_model_open(ctx, arg, &model);
    allow_all();
    ck_assert((st == SL_OK) == (model != NULL));
    sl_model_free(model);
    return st;
}

START_TEST(models_survive)
{
    ck_assert_int_gt(exhaust(open_once, (void *)model_path(names[_i])), 4);
}
END_TEST

static sl_status labels_once(void *arg)
{
    sl_arena arena = { 0 };
    const char **labels;
    sl_status st = sl_labels_of(ctx, arg, &arena, 5, &labels);
    allow_all();
    ck_assert(st != SL_OK || strcmp(labels[4], "thing 4") == 0);
    sl_arena_free(&arena);
    return st;
}

// Labels that memory ran out for are no fault of the file.
START_TEST(labels_survive)
{
    sl_model *model;
    ck_ok(sl_model_open(ctx, model_path("retina-plain"), &model));
    json_set_alloc_funcs(__wrap_malloc, free);
    ck_assert_int_gt(exhaust(labels_once, model->set), 5);
    json_set_alloc_funcs(__real_malloc, free);
    sl_model_free(model);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("nomem");
    tcase_add_loop_test(tests, conversions_survive, 0, SL_ARRAY_LEN(names));
    tcase_add_loop_test(tests, descriptions_survive, 0, SL_ARRAY_LEN(names));
    tcase_add_loop_test(tests, models_survive, 0, SL_ARRAY_LEN(names));
    tcase_add_test(tests, labels_survive);
    return run_case("net-nomem", tests);
}
