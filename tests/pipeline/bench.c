// SPDX-License-Identifier: MIT
// tests/pipeline/bench.c: the figures of a benchmark hang together.
#include "scene.h"

#include <jansson.h>

static json_t *bench(const sl_model *model, const sl_bench_options *options)
{
    char *text;
    json_error_t error;
    ck_ok(sl_model_bench(ctx, model, options, &text));
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(root != NULL, "%s in: %s", error.text, text);
    free(text);
    return root;
}

static double number(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);
    ck_assert_msg(json_is_number(value), "%s is no number", key);
    return json_number_value(value);
}

START_TEST(figures_hang_together)
{
    sl_model *model = model_of(1, 2, 1, TEST_KEEPS_RANDOM, 60);
    sl_bench_options options = { .width = 100, .height = 60, .repeats = 4, .dense = true };
    json_t *root = bench(model, &options), *families = json_object_get(root, "families"), *f;
    ck_assert_double_eq(number(root, "width"), 100);
    ck_assert_double_eq(number(root, "padded_width"), 112);
    ck_assert_double_eq(number(root, "padded_height"), 64);
    ck_assert_double_eq(number(root, "repeats"), 4);
    ck_assert_double_eq(number(root, "threads"), 2);
    ck_assert_double_eq(number(root, "kept_share"), 1);
    ck_assert(number(root, "median_seconds") >= number(root, "min_seconds"));
    ck_assert(number(root, "min_seconds") > 0 && number(root, "first_run_seconds") > 0);
    ck_assert(number(json_object_get(root, "peak"), "gflops") > 0.1);
    double gmac = 0, share = 0;
    size_t i;
    json_array_foreach(families, i, f)
    {
        gmac += number(f, "gmac");
        share += number(f, "share");
        ck_assert_ptr_nonnull(json_string_value(json_object_get(f, "family")));
    }
    ck_assert_uint_ge(json_array_size(families), 3);
    ck_assert(fabs(gmac - number(root, "gmac")) < 1e-4 * gmac);
    ck_assert_msg(share > 0.3 && share < 1.001, "the families take %g of the time", share);
    json_decref(root);
    sl_model_free(model);
}
END_TEST

// A quarter of the windows takes a quarter of the blocks' work, and no less of the predictors'.
START_TEST(a_share_of_windows_is_a_share_of_work)
{
    sl_model *model = model_of(1, 2, 1, TEST_KEEPS_RANDOM, 61);
    sl_bench_options options = { .width = 128, .height = 128, .repeats = 1, .keep_share = 1.0f };
    json_t *all = bench(model, &options);
    options.keep_share = 0.25f;
    json_t *quarter = bench(model, &options), *f;
    ck_assert_double_eq(number(all, "kept_share"), 1);
    ck_assert_double_eq(number(quarter, "kept_share"), 0.25);
    size_t i;
    unsigned seen = 0;
    json_array_foreach(json_object_get(all, "families"), i, f)
    {
        json_t *g;
        size_t k;
        const char *name = json_string_value(json_object_get(f, "family"));
        double part = strcmp(name, "block") == 0 ? 0.25 : 1.0;
        json_array_foreach(json_object_get(quarter, "families"), k, g)
        {
            if (strcmp(name, json_string_value(json_object_get(g, "family"))) != 0)
                continue;
            ck_assert_msg(fabs(number(g, "gmac") - part * number(f, "gmac")) <=
                              1e-3 * number(f, "gmac"),
                          "%s: %g of %g GMAC", name, number(g, "gmac"), number(f, "gmac"));
            seen++;
        }
    }
    ck_assert_uint_ge(seen, 3);
    json_decref(all);
    json_decref(quarter);
    sl_model_free(model);
}
END_TEST

START_TEST(a_file_may_have_any_name)
{
    static const char as_text[] = "m\xEF\xBF\xBD.safetensors";
    const test_model spec = { 1, 1, 1, TEST_KEEPS_RANDOM, 63 };
    sl_bench_options options = { .width = 16, .height = 16, .repeats = 1 };
    sl_model *model, *copy;
    sl_gallery *gallery;
    char *text;
    ck_ok(test_model_open(ctx, in_dir("m\xFF.safetensors"), &spec, &model));
    json_t *root = bench(model, &options);
    ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(root, "model")), as_text));
    json_decref(root);
    ck_ok(sl_model_describe(ctx, model, 0, 0, false, &text));
    root = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(root, "file")), as_text));
    json_decref(root);
    free(text);
    ck_ok(sl_model_convert(ctx, model, in_dir("copy"), NULL));
    ck_ok(sl_model_open(ctx, in_dir("copy"), &copy));
    ck_assert_str_eq(sl_tensor_set_meta(copy->set, "converted_from"), as_text);
    ck_ok(sl_gallery_new(ctx, model, &gallery));
    ck_ok(sl_gallery_save(ctx, gallery, in_dir("gallery")));
    sl_gallery_free(gallery);
    sl_model_free(copy);
    sl_model_free(model);
}
END_TEST

START_TEST(bad_options_are_refused)
{
    sl_model *model = model_of(1, 1, 1, TEST_KEEPS_RANDOM, 62);
    char *text;
    sl_bench_options share = { .keep_share = 1.1f }, nan = { .keep_share = NAN };
    sl_bench_options device = { .device = "abacus" }, huge = { .width = UINT32_MAX };
    sl_bench_options repeats = { .repeats = UINT32_MAX };
    ck_fails(sl_model_bench(ctx, model, &share, &text), SL_ERR_ARGUMENT, "share");
    ck_fails(sl_model_bench(ctx, model, &nan, &text), SL_ERR_ARGUMENT, "share");
    ck_fails(sl_model_bench(ctx, model, &device, &text), SL_ERR_ARGUMENT, "abacus");
    ck_fails(sl_model_bench(ctx, model, &huge, &text), SL_ERR_LIMIT, "4294967295");
    ck_fails(sl_model_bench(ctx, model, &repeats, &text), SL_ERR_ARGUMENT, "repeats");
    ck_assert_ptr_null(text);
    sl_model_free(model);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("bench");
    tcase_add_test(tests, figures_hang_together);
    tcase_add_test(tests, a_share_of_windows_is_a_share_of_work);
    tcase_add_test(tests, a_file_may_have_any_name);
    tcase_add_test(tests, bad_options_are_refused);
    return run_case("pipeline/bench", tests);
}
