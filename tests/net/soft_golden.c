// SPDX-License-Identifier: MIT
// tests/net/soft_golden.c: SOFT and SOFT-Norm against tensors from the independent PyTorch
// implementation (tools/golden), at every SIMD level and several thread counts: small models with
// weights from files, and Tiny with weights that names and shapes give (tools/golden/generated.py).
#include "backend.h"
#include "generated.h"

#include <check.h>
#include <math.h>

// ---- one case

typedef struct golden {
    const char *name;
    sl_ctx *ctx;
    sl_model *model;
    sl_tensor_set *set;
    size_t height, width, stride; // stride: of the elements kept of a stage
    float *picture;               // [height, width, 3]
} golden;

static void open_case(golden *t, const char *name, const char *simd, unsigned threads)
{
    const sl_ctx_options options = { .simd = simd, .threads = threads };
    *t = (golden) { .name = name, .stride = 1 };
    ck_assert_int_eq(sl_ctx_new(&options, &t->ctx), SL_OK);
    t->model = test_golden_model(t->ctx, name, "soft", &t->set);
    const sl_tensor *input = sl_tensor_set_find(t->set, "input");
    if (input) {
        t->height = (size_t)input->shape.dim[0];
        t->width = (size_t)input->shape.dim[1];
    } else {
        t->height = (size_t)atoi(sl_tensor_set_meta(t->set, "height"));
        t->width = (size_t)atoi(sl_tensor_set_meta(t->set, "width"));
        t->stride = (size_t)atoi(sl_tensor_set_meta(t->set, "stride"));
    }
    t->picture = input ? test_stored_picture(input, &t->model->soft)
                       : test_generated_picture(t->height, t->width);
}

static void close_case(golden *t)
{
    free(t->picture);
    sl_tensor_set_free(t->set);
    sl_model_free(t->model);
    sl_ctx_free(t->ctx);
}

static void compare(const golden *t, const char *name, const float *out, size_t count)
{
    const sl_tensor *want = sl_tensor_set_find(t->set, name);
    size_t stride = strncmp(name, "stage", 5) == 0 ? t->stride : 1, kept = 0;
    ck_assert_msg(want && sl_shape_elements(&want->shape, &kept), "%s: no %s", t->name, name);
    ck_assert_msg(kept == (count + stride - 1) / stride, "%s: %s has %zu elements", t->name, name,
                  count);
    double worst = 0, low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < kept; i++) {
        double expected = test_wanted_at(t->set, want, i),
               error = fabs((double)out[i * stride] - expected);
        worst = error > worst || isnan(error) ? error : worst;
        low = fmin(low, expected);
        high = fmax(high, expected);
    }
    double allowed = test_backend_tolerance();
    ck_assert_msg(worst <= allowed * (high - low), "%s: %s off by %.3g of its range", t->name, name,
                  worst / (high - low));
}

static void run_case(const char *name, const char *simd, unsigned threads)
{
    golden t;
    sl_graph *g;
    open_case(&t, name, simd, threads);
    const sl_soft_options build = { .height = (uint32_t)t.height,
                                    .width = (uint32_t)t.width,
                                    .outputs = SL_SOFT_ALL };
    ck_assert_int_eq(sl_graph_new(t.ctx, &g), SL_OK);
    ck_assert_msg(sl_soft_build(g, t.model, &build) == SL_OK, "%s", sl_ctx_message(t.ctx));
    test_plan compiled = test_backend_compile(t.ctx, g);
    size_t compared = 0;
    ck_assert_int_eq(sl_plan_write(compiled.plan, sl_graph_find_output(g, "image"), t.picture),
                     SL_OK);
    ck_assert_int_eq(sl_plan_run(compiled.plan), SL_OK);
    ck_assert_int_eq(sl_plan_run(compiled.plan), SL_OK); // a plan serves picture after picture
    for (sl_value v = 1; v < g->value_count; v++) {
        const char *output = g->values[v].output;
        if (!output || strcmp(output, "image") == 0)
            continue;
        float *out = malloc(g->values[v].bytes);
        ck_assert_int_eq(sl_plan_read(compiled.plan, v, out), SL_OK);
        compare(&t, output, out, g->values[v].bytes / sizeof *out);
        free(out);
        compared++;
    }
    ck_assert_uint_eq(compared, t.model->soft.head == SL_SOFT_HEAD_NONE ? 6 : 8);
    test_backend_free(&compiled);
    sl_graph_free(g);
    close_case(&t);
}

static const char *const small[] = {
    "soft-plain.64x64", "soft-plain.96x80", "soft-plain.75x61", "soft-norm.64x64",
    "soft-norm.96x80",  "soft-norm.75x61",  "soft-fixed.64x64", "soft-fixed.75x61",
    "soft-bare.80x96",  "soft-bare.75x61",
};
static const char *const tiny[] = { "soft-tiny.224x224", "soft-tiny.256x192",
                                    "soft-norm-tiny.224x224", "soft-norm-tiny.256x192" };

static const char *const flat[] = { "soft-plain.64x64", "soft-norm.64x64", "soft-fixed.64x64" };

START_TEST(small_models_agree)
{
    for (int level = 0; level < test_backend_levels(); level++)
        run_case(small[_i], test_backend_level(level), 2);
    if (!test_backend_is_cpu())
        return;
    run_case(small[_i], NULL, 1);
    run_case(small[_i], NULL, 5);
}
END_TEST

START_TEST(tiny_agrees)
{
    for (int level = 0; level < test_backend_levels(); level++)
        run_case(tiny[_i], test_backend_level(level), 2);
}
END_TEST

// Where all tokens are alike, so are all landmarks, and their kernel matrix is singular.
START_TEST(flat_pictures_stay_finite)
{
    golden t;
    sl_graph *g;
    open_case(&t, flat[_i], NULL, 2);
    const sl_soft_options build = { .height = 96, .width = 96, .outputs = SL_SOFT_ALL };
    ck_assert_int_eq(sl_graph_new(t.ctx, &g), SL_OK);
    ck_assert_msg(sl_soft_build(g, t.model, &build) == SL_OK, "%s", sl_ctx_message(t.ctx));
    test_plan compiled = test_backend_compile(t.ctx, g);
    static float picture[96 * 96 * 3]; // zeros: the mean colour
    for (int bright = 0; bright < 2; bright++) {
        for (size_t i = 0; i < SL_ARRAY_LEN(picture); i++)
            picture[i] = bright ? 2.5f : 0;
        ck_assert_int_eq(sl_plan_write(compiled.plan, sl_graph_find_output(g, "image"), picture),
                         SL_OK);
        ck_assert_int_eq(sl_plan_run(compiled.plan), SL_OK);
        for (sl_value v = 1; v < g->value_count; v++) {
            float *out = g->values[v].output ? malloc(g->values[v].bytes) : NULL;
            if (!out)
                continue;
            ck_assert_int_eq(sl_plan_read(compiled.plan, v, out), SL_OK);
            for (size_t i = 0; i < g->values[v].bytes / sizeof *out; i++)
                ck_assert_msg(isfinite(out[i]), "%s: %s[%zu] is %g", t.name, g->values[v].output, i,
                              (double)out[i]);
            free(out);
        }
    }
    test_backend_free(&compiled);
    sl_graph_free(g);
    close_case(&t);
}
END_TEST

int main(void)
{
    if (!test_backend_is_there())
        return 77;
    TCase *tc = tcase_create("golden");
    tcase_set_timeout(tc, 300);
    tcase_add_loop_test(tc, small_models_agree, 0, (int)SL_ARRAY_LEN(small));
    // Elsewhere the op's suite has as many landmarks.
    int large = test_backend_takes_large() ? (int)SL_ARRAY_LEN(tiny) : 0;
    tcase_add_loop_test(tc, tiny_agrees, 0, large);
    tcase_add_loop_test(tc, flat_pictures_stay_finite, 0, (int)SL_ARRAY_LEN(flat));
    Suite *s = suite_create("net soft golden");
    suite_add_tcase(s, tc);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
