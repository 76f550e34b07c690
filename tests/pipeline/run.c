// SPDX-License-Identifier: MIT
// tests/pipeline/run.c: raw tensors through a model, and the files that come of it.
#include "scene.h"

#include "pipeline/network.h"

#define ROWS 45u
#define COLUMNS 70u

static void write_input(const char *path, sl_dtype dtype, sl_shape shape, const void *data)
{
    size_t count;
    ck_assert(sl_shape_elements(&shape, &count));
    sl_tensor t = { "x", dtype, shape, data, count * sl_dtype_size(dtype) };
    ck_ok(sl_npy_write(ctx, path, true, &t));
}

static float *random_input(const char *path, uint32_t seed)
{
    float *data = sl_alloc(ctx, ROWS * COLUMNS * 3, sizeof(float));
    for (size_t i = 0; i < ROWS * COLUMNS * 3; i++) {
        float level = i / 3 % COLUMNS < COLUMNS / 2 ? 0.1f : 0.8f;
        data[i] = level + (float)(scene_noise(&seed) % 1000) / 8000.0f;
    }
    write_input(path, SL_F32, (sl_shape) { 3, { ROWS, COLUMNS, 3 } }, data);
    return data;
}

// The network on a canvas of zeros with the picture in its middle, by plain means.
static void run_plainly(const sl_model *model, const float *input, bool dense, sl_network *n,
                        sl_device *device, float *canvas)
{
    sl_lmd_build build = { .height = n->height, .width = n->width, .dense = dense };
    ck_ok(sl_network_new(ctx, model, device, &build, n));
    uint32_t top = (n->height - ROWS) / 2, left = (n->width - COLUMNS) / 2;
    memset(canvas, 0, n->height * n->width * 3 * sizeof(float));
    for (size_t y = 0; y < ROWS; y++)
        for (size_t i = 0; i < COLUMNS * 3; i++)
            canvas[((top + y) * n->width + left) * 3 + i] = input[y * COLUMNS * 3 + i];
    ck_ok(sl_plan_write(n->plan, n->image, canvas));
    ck_ok(sl_plan_run(n->plan));
    ck_ok(sl_plan_read(n->plan, n->output, canvas));
    for (size_t y = 0; y < ROWS; y++)
        memmove(canvas + y * COLUMNS * 3, canvas + ((top + y) * n->width + left) * 3,
                COLUMNS * 3 * sizeof(float));
}

static void check_keep(const sl_network *n, uint32_t layer, uint32_t block)
{
    char name[32], path[128];
    sl_blob storage;
    sl_tensor t;
    uint8_t want[1024];
    const sl_block_map *map = &n->maps[layer][block % 2];
    sl_lmd_layer_name(&n->config, layer, name, sizeof(name));
    snprintf(path, sizeof(path), "%s/out/deep/keep/%s.%u.npy", dir, name, block);
    ck_ok(sl_npy_read(ctx, path, &storage, &t));
    ck_assert_int_eq(t.dtype, SL_U8);
    ck_assert_uint_eq(t.shape.rank, 2);
    ck_assert_uint_eq(t.shape.dim[0], map->rows);
    ck_assert_uint_eq(t.shape.dim[1], map->columns);
    ck_ok(sl_network_keep(n, map, want));
    ck_assert_mem_eq(t.data, want, t.bytes);
    sl_blob_free(&storage);
}

// _i: 0 pruned, 1 dense, 2 pruned and composed
START_TEST(files_hold_what_a_plain_run_gives)
{
    sl_model *model = model_of(2, 3, 1, TEST_KEEPS_BRIGHT, 50);
    sl_run_options options = { .dense = _i == 1, .composed = _i == 2 };
    float *input = random_input(in_dir("in.npy"), 51);
    ck_ok(sl_model_run(ctx, model, in_dir("in.npy"), in_dir("out/deep"), &options));

    sl_network n = { .height = 64, .width = 96 };
    sl_device *device;
    float *canvas = sl_alloc(ctx, 64 * 96 * 3, sizeof(float));
    ck_ok(sl_device_open(ctx, NULL, &device));
    run_plainly(model, input, options.dense, &n, device, canvas);
    sl_blob storage;
    sl_tensor t;
    ck_ok(sl_npy_read(ctx, in_dir("out/deep/output.npy"), &storage, &t));
    ck_assert_int_eq(t.dtype, SL_F32);
    ck_assert(sl_shape_equal(&t.shape, &(sl_shape) { 3, { ROWS, COLUMNS, 3 } }));
    const float *got = t.data;
    float worst = 0;
    for (size_t i = 0; i < ROWS * COLUMNS * 3; i++)
        worst = fmaxf(worst, fabsf(got[i] - canvas[i]));
    ck_assert_msg(worst <= (_i == 2 ? 1e-4f : 0.0f), "off by %g", (double)worst);
    for (uint32_t layer = 0; layer < 5; layer++)
        for (uint32_t block = 0; block < 3; block++)
            check_keep(&n, layer, block);
    ck_fails(sl_model_run(ctx, model, in_dir("in.npy"), in_dir("out/deep"), &options),
             SL_ERR_EXISTS, "already exists");
    options.overwrite = true;
    ck_ok(sl_model_run(ctx, model, in_dir("in.npy"), in_dir("out/deep"), &options));
    sl_blob_free(&storage);
    free(input);
    free(canvas);
    sl_network_free(&n);
    sl_device_close(device);
    sl_model_free(model);
}
END_TEST

// The windows that a run kept, of all blocks that decide.
static size_t kept_windows(const sl_lmd_config *config)
{
    size_t kept = 0;
    for (uint32_t layer = 0; layer < config->layers; layer++)
        for (uint32_t block = 0; block < config->depths[layer]; block++) {
            char name[32], path[128];
            sl_blob storage;
            sl_tensor t;
            sl_lmd_layer_name(config, layer, name, sizeof(name));
            snprintf(path, sizeof(path), "%s/out/keep/%s.%u.npy", dir, name, block);
            ck_ok(sl_npy_read(ctx, path, &storage, &t));
            for (size_t i = 0; i < t.bytes; i++)
                kept += ((const uint8_t *)t.data)[i] != 0;
            sl_blob_free(&storage);
        }
    return kept;
}

// In strict order, and where none is given the model's own, which is 0.5.
START_TEST(a_lower_threshold_keeps_more)
{
    static const float thresholds[] = { 0.05f, 0.5f, 0.95f, 0 };
    sl_model *model = model_of(2, 2, 1, TEST_KEEPS_RANDOM, 54);
    size_t kept[SL_ARRAY_LEN(thresholds)];
    free(random_input(in_dir("in.npy"), 55));
    for (size_t i = 0; i < SL_ARRAY_LEN(thresholds); i++) {
        sl_run_options options = { .overwrite = true, .keep_threshold = thresholds[i] };
        ck_ok(sl_model_run(ctx, model, in_dir("in.npy"), in_dir("out"), &options));
        kept[i] = kept_windows(&model->lmd);
    }
    ck_assert_uint_gt(kept[0], kept[1]);
    ck_assert_uint_gt(kept[1], kept[2]);
    ck_assert_uint_eq(kept[3], kept[1]);
    sl_model_free(model);
}
END_TEST

static void refuse(const sl_model *model, sl_status status, const char *part)
{
    ck_fails(sl_model_run(ctx, model, in_dir("in.npy"), in_dir("out"), NULL), status, part);
    ck_assert(!sl_file_exists(in_dir("out")));
}

START_TEST(other_tensors_are_refused)
{
    sl_model *model = model_of(1, 1, 1, TEST_KEEPS_RANDOM, 52);
    float data[4 * 4 * 4] = { 0 };
    refuse(model, SL_ERR_IO, "in.npy");
    write_input(in_dir("in.npy"), SL_U8, (sl_shape) { 3, { 4, 4, 3 } }, data);
    refuse(model, SL_ERR_FORMAT, "float32");
    write_input(in_dir("in.npy"), SL_F32, (sl_shape) { 3, { 4, 4, 4 } }, data);
    refuse(model, SL_ERR_FORMAT, "[H, W, 3]");
    write_input(in_dir("in.npy"), SL_F32, (sl_shape) { 2, { 4, 3 } }, data);
    refuse(model, SL_ERR_FORMAT, "[H, W, 3]");
    write_input(in_dir("in.npy"), SL_F32, (sl_shape) { 3, { 0, 4, 3 } }, data);
    refuse(model, SL_ERR_FORMAT, "no pixels");
    data[4 * 3 + 2 * 3 + 1] = NAN;
    write_input(in_dir("in.npy"), SL_F32, (sl_shape) { 3, { 4, 4, 3 } }, data);
    refuse(model, SL_ERR_FORMAT, "row 1, column 2, channel 1");
    sl_model_free(model);
}
END_TEST

START_TEST(other_options_are_refused)
{
    sl_model *model = model_of(1, 1, 1, TEST_KEEPS_RANDOM, 52);
    free(random_input(in_dir("in.npy"), 53));
    sl_run_options device = { .device = "abacus" }, threshold = { .keep_threshold = 1.5f };
    const char *in = in_dir("in.npy"), *out = in_dir("out");
    ck_fails(sl_model_run(ctx, model, in, out, &device), SL_ERR_ARGUMENT, "abacus");
    ck_fails(sl_model_run(ctx, model, in, out, &threshold), SL_ERR_ARGUMENT, "threshold");
    ck_assert(!sl_file_exists(out));
    sl_model_free(model);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("run");
    tcase_add_loop_test(tests, files_hold_what_a_plain_run_gives, 0, 3);
    tcase_add_test(tests, a_lower_threshold_keeps_more);
    tcase_add_test(tests, other_tensors_are_refused);
    tcase_add_test(tests, other_options_are_refused);
    return run_case("pipeline/run", tests);
}
