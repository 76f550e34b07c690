// SPDX-License-Identifier: MIT
// tests/pipeline/retina.c: raw tensors through a detector, its benchmark, and what it is refused
// for.
#include "../base/run.h"
#include "tensor/tensor.h"

#include <jansson.h>

#define GOLDEN(name) GOLDEN_DIR "/" name ".safetensors"
#define ROWS 90u
#define COLUMNS 147u

static sl_model *open_model(void)
{
    sl_model *model;
    ck_ok(sl_model_open(ctx, GOLDEN("retina-plain"), &model));
    return model;
}

// The golden picture of 96 x 160, normalised, or its upper left part; what lies outside is zero.
static void write_picture(const char *path, size_t rows, size_t columns, size_t canvas_rows,
                          size_t canvas_columns)
{
    static const double mean[] = { 0.485, 0.456, 0.406 }, spread[] = { 0.229, 0.224, 0.225 };
    float *x = calloc(canvas_rows * canvas_columns * 3, sizeof(*x));
    sl_tensor_set *set;
    ck_ok(sl_tensor_set_open(ctx, GOLDEN("retina-plain.96x160"), &set));
    const uint8_t *pixels = sl_tensor_set_find(set, "input")->data;
    for (size_t y = 0; y < rows; y++)
        for (size_t i = 0; i < columns * 3; i++)
            x[y * canvas_columns * 3 + i] =
                (float)((pixels[y * 480 + i] / 255.0 - mean[i % 3]) / spread[i % 3]);
    sl_tensor t = { "x",
                    SL_F32,
                    { 3, { canvas_rows, canvas_columns, 3 } },
                    x,
                    canvas_rows * canvas_columns * 3 * sizeof(*x) };
    ck_ok(sl_npy_write(ctx, path, true, &t));
    sl_tensor_set_free(set);
    free(x);
}

static void read_map(const char *name, sl_blob *storage, sl_tensor *t, uint64_t rows,
                     uint64_t columns, uint64_t channels)
{
    const sl_shape wanted = { 3, { rows, columns, channels } };
    ck_ok(sl_npy_read(ctx, in_dir(name), storage, t));
    ck_assert_msg(t->dtype == SL_F32 && sl_shape_equal(&t->shape, &wanted), "%s", name);
}

START_TEST(maps_are_written)
{
    static const uint64_t sides[][2] = { { 12, 20 }, { 6, 10 }, { 3, 5 }, { 2, 3 }, { 1, 2 } };
    sl_model *model = open_model();
    const sl_run_options cpu = { .device = "cpu" };
    write_picture(in_dir("x.npy"), 96, 160, 96, 160);
    ck_ok(sl_model_run(ctx, model, in_dir("x.npy"), in_dir("out"), &cpu));
    for (unsigned i = 0; i < SL_ARRAY_LEN(sides); i++)
        for (unsigned half = 0; half < 2; half++) {
            char name[32];
            sl_blob storage;
            sl_tensor t;
            snprintf(name, sizeof(name), "out/%s_P%u.npy", half ? "reg" : "cls", i + 3);
            read_map(name, &storage, &t, sides[i][0], sides[i][1], half ? 36 : 45);
            sl_blob_free(&storage);
        }
    ck_fails(sl_model_run(ctx, model, in_dir("x.npy"), in_dir("out"), &cpu), SL_ERR_EXISTS,
             "cls_P3.npy");
    sl_model_free(model);
}
END_TEST

// As if there were zeros to the right and below.
START_TEST(odd_sizes_are_padded)
{
    sl_model *model = open_model();
    sl_blob storage, padded_storage;
    sl_tensor map, padded;
    const sl_run_options cpu = { .device = "cpu" };
    write_picture(in_dir("odd.npy"), ROWS, COLUMNS, ROWS, COLUMNS);
    write_picture(in_dir("padded.npy"), ROWS, COLUMNS, 96, 160);
    ck_ok(sl_model_run(ctx, model, in_dir("odd.npy"), in_dir("odd"), &cpu));
    ck_ok(sl_model_run(ctx, model, in_dir("padded.npy"), in_dir("padded"), &cpu));
    read_map("odd/cls_P3.npy", &storage, &map, 12, 20, 45);
    read_map("padded/cls_P3.npy", &padded_storage, &padded, 12, 20, 45);
    ck_assert_mem_eq(map.data, padded.data, map.bytes);
    sl_blob_free(&storage);
    sl_blob_free(&padded_storage);
    sl_model_free(model);
}
END_TEST

START_TEST(wrong_use_is_refused)
{
    sl_model *model = open_model();
    static const sl_run_options bad[] = { { .dense = true },
                                          { .composed = true },
                                          { .keep_threshold = 0.4f } };
    const sl_bench_options windows = { .keep_share = 0.5f };
    sl_deblur *deblur;
    char *text;
    write_picture(in_dir("x.npy"), 32, 32, 32, 32);
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        ck_fails(sl_model_run(ctx, model, in_dir("x.npy"), in_dir("out"), &bad[i]), SL_ERR_ARGUMENT,
                 "no windows");
    ck_assert(!sl_file_exists(in_dir("out")));
    ck_fails(sl_deblur_new(ctx, model, NULL, &deblur), SL_ERR_UNSUPPORTED, "cannot deblur");
    ck_fails(sl_model_bench(ctx, model, &windows, &text), SL_ERR_ARGUMENT, "no windows");
    sl_model_free(model);
}
END_TEST

START_TEST(benchmark_takes_the_usual_size)
{
    sl_model *model = open_model();
    const sl_bench_options options = { .device = "cpu", .repeats = 2, .height = 90 };
    char *text;
    ck_ok(sl_model_bench(ctx, model, &options, &text));
    json_t *root = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(root);
    ck_assert_int_eq(json_integer_value(json_object_get(root, "width")), 160);
    ck_assert_int_eq(json_integer_value(json_object_get(root, "height")), 90);
    ck_assert_int_eq(json_integer_value(json_object_get(root, "padded_height")), 96);
    ck_assert_ptr_null(json_object_get(root, "kept_share"));
    ck_assert_ptr_nonnull(strstr(text, "\"candidates\""));
    json_decref(root);
    free(text);
    sl_model_free(model);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("retina");
    tcase_add_test(tests, maps_are_written);
    tcase_add_test(tests, odd_sizes_are_padded);
    tcase_add_test(tests, wrong_use_is_refused);
    tcase_add_test(tests, benchmark_takes_the_usual_size);
    return run_case("pipeline/retina", tests);
}
