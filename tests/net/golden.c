// SPDX-License-Identifier: MIT
// tests/net/golden.c: whole models against tensors from the independent PyTorch implementation
// (tools/golden), fused and composed, at every SIMD level and several thread counts.
#include "backend.h"
#include "net/net.h"

#include <check.h>
#include <math.h>

static const struct {
    const char *name;
    bool is_close; // scores so near the threshold that bf16 decides otherwise
} cases[] = {
    { "decoder.mixed-200x150", true }, { "unshuffle.dense-50x31", false },
    { "deep.mixed-70x130", false },    { "fade.mixed-75x130", true }, // up to here COMPOSED
    { "decoder.dense-64x96", false },  { "decoder.none-33x40", false },
    { "decoder.all-33x40", false },    { "decoder.mixed-7x300", true },
    { "decoder.mixed-1x1", false },    { "unshuffle.mixed-129x128", true },
    { "unshuffle.mixed-1x1", false },  { "deep.dense-64x64", false },
    { "fade.dense-40x33", false },     { "fade.mixed-1x1", false },
};
#define COMPOSED 4 // one of each model: what is run op by op where large sizes take too long

typedef struct golden {
    sl_ctx *ctx;
    sl_model *model;
    sl_tensor_set *set;
    size_t height, width, canvas_height, canvas_width, top, left;
    bool dense;
    float threshold;
    float *canvas; // [canvas_height, canvas_width, 3]
} golden;

static size_t round_up(size_t side, size_t multiple)
{
    return (side + multiple - 1) / multiple * multiple;
}

static void open_case(golden *t, const char *name, const char *simd, unsigned threads)
{
    char path[512];
    int model_length = (int)(strchr(name, '.') - name);
    const sl_ctx_options options = { .simd = simd, .threads = threads };
    ck_assert_int_eq(sl_ctx_new(&options, &t->ctx), SL_OK);
    snprintf(path, sizeof path, GOLDEN_DIR "/%.*s.safetensors", model_length, name);
    ck_assert_msg(sl_model_open(t->ctx, path, &t->model) == SL_OK, "%s", sl_ctx_message(t->ctx));
    snprintf(path, sizeof path, GOLDEN_DIR "/%s.safetensors", name);
    ck_assert_msg(sl_tensor_set_open(t->ctx, path, &t->set) == SL_OK, "%s", sl_ctx_message(t->ctx));
    t->dense = strcmp(sl_tensor_set_meta(t->set, "dense"), "1") == 0;
    t->threshold = strtof(sl_tensor_set_meta(t->set, "threshold"), NULL);

    const sl_tensor *input = sl_tensor_set_find(t->set, "input");
    size_t multiple = sl_lmd_multiple(&t->model->lmd);
    t->height = input->shape.dim[0];
    t->width = input->shape.dim[1];
    t->canvas_height = round_up(t->height, multiple);
    t->canvas_width = round_up(t->width, multiple);
    t->top = (t->canvas_height - t->height) / 2;
    t->left = (t->canvas_width - t->width) / 2;
    t->canvas = sl_alloc(t->ctx, t->canvas_height * t->canvas_width * 3, sizeof *t->canvas);
    const uint8_t *pixels = input->data;
    for (size_t y = 0; y < t->height; y++)
        for (size_t i = 0; i < t->width * 3; i++)
            t->canvas[((y + t->top) * t->canvas_width + t->left) * 3 + i] =
                (float)pixels[y * t->width * 3 + i] / 255.0f;
}

static void close_case(golden *t)
{
    free(t->canvas);
    sl_tensor_set_free(t->set);
    sl_model_free(t->model);
    sl_ctx_free(t->ctx);
}

static void compare_output(const golden *t, const char *name, const float *out)
{
    const sl_tensor *want = sl_tensor_set_find(t->set, "output");
    const uint8_t *stored = want->data;
    double worst = 0;
    for (size_t y = 0; y < t->height; y++) {
        for (size_t i = 0; i < t->width * 3; i++) {
            int16_t q;
            memcpy(&q, stored + 2 * (y * t->width * 3 + i), sizeof q);
            double expected = ((double)q + 32768) / 65535;
            double got = (double)out[((y + t->top) * t->canvas_width + t->left) * 3 + i];
            double error = fabs(got - expected);
            worst = error > worst || isnan(error) ? error : worst;
        }
    }
    ck_assert_msg(worst <= test_backend_tolerance(), "%s: output off by %g", name, worst);
}

static void compare_keeps(const golden *t, const char *name, const sl_graph *g, sl_plan *plan)
{
    size_t compared = 0;
    for (size_t v = 1; v < g->value_count; v++) {
        const char *output = g->values[v].output;
        if (!output || strncmp(output, "keep/", 5) != 0)
            continue;
        const sl_tensor *want = sl_tensor_set_find(t->set, output);
        ck_assert_msg(want && want->bytes == g->values[v].bytes, "%s: %s", name, output);
        uint8_t *keep = malloc(want->bytes);
        ck_assert_int_eq(sl_plan_read(plan, (sl_value)v, keep), SL_OK);
        ck_assert_msg(memcmp(keep, want->data, want->bytes) == 0, "%s: %s differs", name, output);
        free(keep);
        compared++;
    }
    ck_assert_uint_ge(compared, t->dense ? 0 : t->model->lmd.layers);
}

static void run_case(const char *name, const char *simd, unsigned threads, bool composed)
{
    golden t = { 0 };
    sl_graph *g;
    open_case(&t, name, simd, threads);
    const sl_lmd_build build = { .height = (uint32_t)t.canvas_height,
                                 .width = (uint32_t)t.canvas_width,
                                 .threshold = t.threshold,
                                 .dense = t.dense,
                                 .composed = composed };
    ck_assert_int_eq(sl_graph_new(t.ctx, &g), SL_OK);
    ck_assert_msg(sl_lmd_vit_build(g, t.model->set, &t.model->lmd, &build) == SL_OK, "%s",
                  sl_ctx_message(t.ctx));
    test_plan compiled = test_backend_compile(t.ctx, g);
    sl_plan *plan = compiled.plan;

    float *out = sl_alloc(t.ctx, t.canvas_height * t.canvas_width * 3, sizeof *out);
    for (int again = 0; again < 2; again++) { // a plan serves picture after picture
        ck_assert_int_eq(sl_plan_write(plan, sl_graph_find_output(g, "image"), t.canvas), SL_OK);
        ck_assert_int_eq(sl_plan_run(plan), SL_OK);
        ck_assert_int_eq(sl_plan_read(plan, sl_graph_find_output(g, "output"), out), SL_OK);
        compare_output(&t, name, out);
        compare_keeps(&t, name, g, plan);
    }
    free(out);
    test_backend_free(&compiled);
    sl_graph_free(g);
    close_case(&t);
}

START_TEST(fused_agrees)
{
    for (int level = 0; level < test_backend_levels(); level++)
        run_case(cases[_i].name, test_backend_level(level), 2, false);
}
END_TEST

START_TEST(composed_agrees)
{
    for (int level = 0; level < test_backend_levels(); level++)
        run_case(cases[_i].name, test_backend_level(level), 2, true);
}
END_TEST

START_TEST(thread_counts_agree)
{
    run_case(cases[_i].name, NULL, 1, false);
    run_case(cases[_i].name, NULL, 5, false);
}
END_TEST

int main(void)
{
    if (!test_backend_is_there())
        return 77;
    TCase *tc = tcase_create("golden");
    int n = (int)SL_ARRAY_LEN(cases);
    tcase_set_timeout(tc, 120);
    // In f16 the composed form's ops are held to plain loops one by one, which is enough of it.
    int composed = test_backend_coarseness() > 0 ? 0 : test_backend_takes_large() ? n : COMPOSED;
    for (int i = 0; i < n; i++) {
        if (cases[i].is_close && test_backend_coarseness() > 1)
            continue;
        tcase_add_loop_test(tc, fused_agrees, i, i + 1);
        if (i < composed)
            tcase_add_loop_test(tc, composed_agrees, i, i + 1);
        if (test_backend_is_cpu())
            tcase_add_loop_test(tc, thread_counts_agree, i, i + 1);
    }
    Suite *s = suite_create("net golden");
    suite_add_tcase(s, tc);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
