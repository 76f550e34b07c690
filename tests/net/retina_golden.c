// SPDX-License-Identifier: MIT
// tests/net/retina_golden.c: RetinaNet on SOFT against tensors from the independent PyTorch
// implementation (tools/golden), at every SIMD level and several thread counts: small models with
// weights from files, maps of the head and boxes; and the head of Tiny with 80 classes, with
// weights that names and shapes give.
#include "backend.h"
#include "generated.h"

#include <check.h>
#include <math.h>

#define BOX_TOLERANCE 0.01 // pixels
#define SCORE_TOLERANCE 1e-4

typedef struct golden {
    const char *name;
    sl_ctx *ctx;
    sl_model *model;
    sl_tensor_set *set;
    size_t stride; // of the elements kept of a map
    sl_retina_options build;
    float *picture;
} golden;

static double meta_number(const golden *t, const char *key)
{
    const char *text = sl_tensor_set_meta(t->set, key);
    ck_assert_msg(text, "%s: no metadata %s", t->name, key);
    return atof(text);
}

static void open_case(golden *t, const char *name, const char *simd, unsigned threads)
{
    const sl_ctx_options options = { .simd = simd, .threads = threads };
    *t = (golden) { .name = name, .stride = 1 };
    ck_assert_int_eq(sl_ctx_new(&options, &t->ctx), SL_OK);
    t->model = test_golden_model(t->ctx, name, "soft-retinanet", &t->set);
    const sl_tensor *input = sl_tensor_set_find(t->set, "input");
    if (input) {
        t->build.height = (uint32_t)input->shape.dim[0];
        t->build.width = (uint32_t)input->shape.dim[1];
        t->build.threshold = (float)meta_number(t, "threshold");
        t->build.limit = (uint32_t)meta_number(t, "limit");
    } else {
        t->build.height = (uint32_t)meta_number(t, "height");
        t->build.width = (uint32_t)meta_number(t, "width");
        t->stride = (size_t)meta_number(t, "stride");
    }
    t->picture = input ? test_stored_picture(input, &t->model->soft)
                       : test_generated_picture(t->build.height, t->build.width);
}

static void close_case(golden *t)
{
    free(t->picture);
    sl_tensor_set_free(t->set);
    sl_model_free(t->model);
    sl_ctx_free(t->ctx);
}

static void compare_map(const golden *t, const char *name, const float *out, size_t count)
{
    const sl_tensor *want = sl_tensor_set_find(t->set, name);
    char range_name[32];
    size_t kept = 0;
    snprintf(range_name, sizeof range_name, "%s.range", name);
    const sl_tensor *range = sl_tensor_set_find(t->set, range_name);
    ck_assert_msg(want && range && sl_shape_elements(&want->shape, &kept), "%s: no %s", t->name,
                  name);
    ck_assert_msg(kept == (count + t->stride - 1) / t->stride, "%s: %s has %zu elements", t->name,
                  name, count);
    double worst = 0;
    for (size_t i = 0; i < kept; i++) {
        double error = fabs((double)out[i * t->stride] - test_wanted_at(t->set, want, i));
        worst = error > worst || isnan(error) ? error : worst;
    }
    double high = (double)test_number_at(range, 1), low = (double)test_number_at(range, 0);
    double allowed = test_backend_tolerance();
    ck_assert_msg(worst <= allowed * (high - low), "%s: %s off by %.3g of its range", t->name, name,
                  worst / (high - low));
}

static bool is_alike(const float *a, const float *b)
{
    for (size_t j = 0; j < SL_CANDIDATE_SCORE; j++)
        if (!(fabs((double)a[j] - (double)b[j]) <= BOX_TOLERANCE))
            return false;
    return fabs((double)a[SL_CANDIDATE_SCORE] - (double)b[SL_CANDIDATE_SCORE]) <= SCORE_TOLERANCE &&
           (int)a[SL_CANDIDATE_CLASS] == (int)b[SL_CANDIDATE_CLASS];
}

// Rounding may exchange neighbours of nearly one score; each must be there once.
static void compare_rows(const golden *t, const char *name, float *out, size_t count)
{
    const sl_tensor *want = sl_tensor_set_find(t->set, name);
    ck_assert_msg(want && want->shape.dim[0] == count, "%s: %zu %s", t->name, count, name);
    for (size_t i = 0; i + 1 < count; i++)
        ck_assert(out[i * 6 + SL_CANDIDATE_SCORE] >= out[(i + 1) * 6 + SL_CANDIDATE_SCORE]);
    for (size_t i = 0; i < count; i++) {
        float row[SL_CANDIDATE_COLUMNS];
        size_t at = 0;
        for (size_t j = 0; j < SL_CANDIDATE_COLUMNS; j++)
            row[j] = test_number_at(want, i * SL_CANDIDATE_COLUMNS + j);
        while (at < count && !is_alike(out + at * SL_CANDIDATE_COLUMNS, row))
            at++;
        ck_assert_msg(at < count, "%s: %s: no box %zu, %g %g %g %g, score %g", t->name, name, i,
                      (double)row[0], (double)row[1], (double)row[2], (double)row[3],
                      (double)row[4]);
        out[at * SL_CANDIDATE_COLUMNS + SL_CANDIDATE_CLASS] = -1; // taken
    }
}

typedef struct compiled {
    sl_graph *g;
    test_plan test;
} compiled;

static void run_graph(const golden *t, bool raw, compiled *c)
{
    sl_retina_options build = t->build;
    build.raw = raw;
    ck_assert_int_eq(sl_graph_new(t->ctx, &c->g), SL_OK);
    ck_assert_msg(sl_retina_build(c->g, t->model, &build) == SL_OK, "%s", sl_ctx_message(t->ctx));
    c->test = test_backend_compile(t->ctx, c->g);
    sl_plan *plan = c->test.plan;
    ck_assert_int_eq(sl_plan_write(plan, sl_graph_find_output(c->g, "image"), t->picture), SL_OK);
    if (!raw) {
        const sl_tensor *extent = sl_tensor_set_find(t->set, "extent");
        const float sides[] = { test_number_at(extent, 0), test_number_at(extent, 1) };
        ck_assert_int_eq(sl_plan_write(plan, sl_graph_find_output(c->g, "extent"), sides), SL_OK);
    }
    ck_assert_int_eq(sl_plan_run(plan), SL_OK);
    ck_assert_int_eq(sl_plan_run(plan), SL_OK); // a plan serves picture after picture
}

static void *read_output(const compiled *c, const char *what, unsigned level, char name[32],
                         size_t *count)
{
    snprintf(name, 32, "%s_P%u", what, level + 3);
    sl_value v = sl_graph_find_output(c->g, name);
    ck_assert_msg(v != SL_NO_VALUE, "no output %s", name);
    void *out = malloc(c->g->values[v].bytes);
    *count = c->g->values[v].bytes / 4;
    ck_assert_int_eq(sl_plan_read(c->test.plan, v, out), SL_OK);
    return out;
}

static void check_maps(const golden *t)
{
    static const char *const halves[] = { "cls", "reg" };
    compiled c;
    run_graph(t, true, &c);
    for (unsigned i = 0; i < 2 * SL_RETINA_LEVELS; i++) {
        char name[32];
        size_t count;
        float *out = read_output(&c, halves[i % 2], i / 2, name, &count);
        compare_map(t, name, out, count);
        free(out);
    }
    test_backend_free(&c.test);
    sl_graph_free(c.g);
}

static void check_boxes(const golden *t)
{
    compiled c;
    run_graph(t, false, &c);
    for (unsigned i = 0; i < SL_RETINA_LEVELS; i++) {
        char name[32];
        size_t count;
        int32_t *counts = read_output(&c, "counts", i, name, &count);
        float *rows = read_output(&c, "rows", i, name, &count);
        ck_assert_uint_eq(count, t->build.limit * SL_CANDIDATE_COLUMNS);
        ck_assert_int_eq(counts[1], 0);
        if (test_backend_coarseness() == 0) // f16 decides otherwise here and there
            compare_rows(t, name, rows, (size_t)counts[0]);
        free(counts);
        free(rows);
    }
    test_backend_free(&c.test);
    sl_graph_free(c.g);
}

static void run_case(const char *name, const char *simd, unsigned threads)
{
    golden t;
    open_case(&t, name, simd, threads);
    check_maps(&t);
    if (t.stride == 1)
        check_boxes(&t);
    close_case(&t);
}

static const char *const small[] = { "retina-plain.96x160", "retina-plain.64x64",
                                     "retina-norm.160x96", "retina-norm.32x224",
                                     "retina-towerless.64x96" };

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
    run_case("retina-tiny.256x352", NULL, 2);
}
END_TEST

int main(void)
{
    if (!test_backend_is_there())
        return 77;
    TCase *tc = tcase_create("golden");
    tcase_set_timeout(tc, 800);
    tcase_add_loop_test(tc, small_models_agree, 0, (int)SL_ARRAY_LEN(small));
    tcase_add_loop_test(tc, tiny_agrees, 0, test_backend_takes_large());
    Suite *s = suite_create("net retina golden");
    suite_add_tcase(s, tc);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
