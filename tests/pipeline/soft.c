// SPDX-License-Identifier: MIT
// tests/pipeline/soft.c: raw tensors through a SOFT, its benchmark, and what it is refused for.
#include "../base/run.h"
#include "tensor/tensor.h"

#include <jansson.h>

#define GOLDEN(name) GOLDEN_DIR "/" name ".safetensors"
#define ROWS 75u
#define COLUMNS 61u

static sl_model *open_model(const char *file)
{
    sl_model *model;
    ck_ok(sl_model_open(ctx, file, &model));
    return model;
}

// The golden picture of 75 x 61, normalised, as a file.
static void write_picture(const char *path)
{
    static const double mean[] = { 0.485, 0.456, 0.406 }, spread[] = { 0.229, 0.224, 0.225 };
    static float x[ROWS * COLUMNS * 3];
    sl_tensor_set *set;
    ck_ok(sl_tensor_set_open(ctx, GOLDEN("soft-plain.75x61"), &set));
    const uint8_t *pixels = sl_tensor_set_find(set, "input")->data;
    for (size_t i = 0; i < ROWS * COLUMNS * 3; i++)
        x[i] = (float)((pixels[i] / 255.0 - mean[i % 3]) / spread[i % 3]);
    sl_tensor t = { "x", SL_F32, { 3, { ROWS, COLUMNS, 3 } }, x, sizeof(x) };
    ck_ok(sl_npy_write(ctx, path, true, &t));
    sl_tensor_set_free(set);
}

// What was written, of that shape; its first value.
static float first_of(const char *name, sl_shape wanted)
{
    sl_blob storage;
    sl_tensor t;
    float first;
    ck_ok(sl_npy_read(ctx, in_dir(name), &storage, &t));
    ck_assert_msg(t.dtype == SL_F32 && sl_shape_equal(&t.shape, &wanted), "%s", name);
    memcpy(&first, t.data, sizeof(first));
    sl_blob_free(&storage);
    return first;
}

START_TEST(outputs_are_written)
{
    sl_model *model = open_model(GOLDEN("soft-plain"));
    sl_tensor_set *set;
    const sl_run_options cpu = { .device = "cpu" };
    write_picture(in_dir("x.npy"));
    ck_ok(sl_model_run(ctx, model, in_dir("x.npy"), in_dir("out"), &cpu));
    first_of("out/stage1.npy", (sl_shape) { 3, { 19, 16, 32 } });
    first_of("out/stage2.npy", (sl_shape) { 3, { 10, 8, 64 } });
    first_of("out/stage3.npy", (sl_shape) { 3, { 5, 4, 32 } });
    first_of("out/stage4.npy", (sl_shape) { 3, { 3, 2, 32 } });
    first_of("out/pool3.npy", (sl_shape) { 1, { 32 } });
    first_of("out/pool4.npy", (sl_shape) { 1, { 32 } });
    first_of("out/embedding.npy", (sl_shape) { 1, { 32 } });
    float logit = first_of("out/logits.npy", (sl_shape) { 1, { 10 } }), wanted;
    ck_ok(sl_tensor_set_open(ctx, GOLDEN("soft-plain.75x61"), &set));
    memcpy(&wanted, sl_tensor_set_find(set, "logits")->data, sizeof(wanted));
    ck_assert_float_eq_tol(logit, wanted, 1e-4f);
    sl_tensor_set_free(set);
    ck_fails(sl_model_run(ctx, model, in_dir("x.npy"), in_dir("out"), &cpu), SL_ERR_EXISTS,
             "stage1.npy");
    sl_model_free(model);
    model = open_model(GOLDEN("soft-bare")); // a backbone has no more to give than its stages
    ck_ok(sl_model_run(ctx, model, in_dir("x.npy"), in_dir("bare"), &cpu));
    ck_assert(sl_file_exists(in_dir("bare/stage4.npy")));
    ck_assert(!sl_file_exists(in_dir("bare/logits.npy")));
    sl_model_free(model);
}
END_TEST

START_TEST(wrong_use_is_refused)
{
    sl_model *model = open_model(GOLDEN("soft-norm"));
    static const sl_run_options bad[] = { { .dense = true },
                                          { .composed = true },
                                          { .keep_threshold = 0.4f } };
    float x[12 * 64 * 3] = { 0 };
    sl_tensor small = { "x", SL_F32, { 3, { 12, 64, 3 } }, x, sizeof(x) };
    sl_tensor grey = { "x", SL_F32, { 2, { 12, 64 } }, x, sizeof(x) / 3 };
    sl_deblur *deblur;
    char *text;
    write_picture(in_dir("x.npy"));
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        ck_fails(sl_model_run(ctx, model, in_dir("x.npy"), in_dir("out"), &bad[i]), SL_ERR_ARGUMENT,
                 "no windows");
    ck_ok(sl_npy_write(ctx, in_dir("small.npy"), true, &small));
    ck_fails(sl_model_run(ctx, model, in_dir("small.npy"), in_dir("out"), NULL), SL_ERR_ARGUMENT,
             "at least 13 pixels");
    ck_ok(sl_npy_write(ctx, in_dir("grey.npy"), true, &grey));
    ck_fails(sl_model_run(ctx, model, in_dir("grey.npy"), in_dir("out"), NULL), SL_ERR_FORMAT,
             "[H, W, 3]");
    ck_assert(!sl_file_exists(in_dir("out")));
    ck_fails(sl_deblur_new(ctx, model, NULL, &deblur), SL_ERR_UNSUPPORTED, "cannot deblur");
    const sl_bench_options windows = { .keep_share = 0.5f };
    ck_fails(sl_model_bench(ctx, model, &windows, &text), SL_ERR_ARGUMENT, "no windows");
    sl_model_free(model);
}
END_TEST

START_TEST(benchmark_takes_the_usual_side)
{
    sl_model *model = open_model(GOLDEN("soft-norm"));
    const sl_bench_options options = { .device = "cpu", .repeats = 2 };
    char *text;
    ck_ok(sl_model_bench(ctx, model, &options, &text));
    json_t *root = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(root);
    ck_assert_int_eq(json_integer_value(json_object_get(root, "width")), 64);
    ck_assert_int_eq(json_integer_value(json_object_get(root, "padded_height")), 64);
    ck_assert_ptr_null(json_object_get(root, "kept_share"));
    ck_assert_ptr_nonnull(strstr(text, "\"soft_attention\""));
    json_decref(root);
    free(text);
    sl_model_free(model);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("soft");
    tcase_add_test(tests, outputs_are_written);
    tcase_add_test(tests, wrong_use_is_refused);
    tcase_add_test(tests, benchmark_takes_the_usual_side);
    return run_case("pipeline/soft", tests);
}
