// SPDX-License-Identifier: MIT
// tests/net/soft_config.c: SOFT's model files: what is read from them, what is refused, what is
// written back, and which pictures a model takes.
#include "edit.h"

#include <jansson.h>
#include <math.h>

START_TEST(config_is_read)
{
    sl_model *model = open_model(GOLDEN("soft-fixed"), "soft");
    const sl_soft_config *c = &model->soft;
    ck_assert_uint_eq(c->dims[0], 64);
    ck_assert_uint_eq(c->heads[0], 2);
    ck_assert_uint_eq(c->depths[3], 1);
    ck_assert_uint_eq(c->ratios[0], 2);
    ck_assert_uint_eq(c->kernels[0], 9);
    ck_assert_uint_eq(c->stem, 8);
    ck_assert_uint_eq(c->landmarks, 9);
    ck_assert_uint_eq(c->iterations, 18);
    ck_assert(c->has_inverse && c->inverse == SL_INVERSE_NORM && c->class_token);
    ck_assert_int_eq(c->head, SL_SOFT_HEAD_EBV);
    ck_assert_uint_eq(c->classes, 5);
    ck_assert_uint_eq(c->embedding, 8);
    ck_assert_float_eq(c->scale, 10.0f);
    ck_assert_float_eq(c->temperature, 1.0f);
    ck_assert_uint_eq(c->image, 64);
    ck_assert_uint_eq(c->resize, 72);
    ck_assert_float_eq(c->mean[1], 0.456f);
    ck_assert_float_eq(c->std[2], 0.225f);
    sl_model_free(model);
    model = open_model(GOLDEN("soft-bare"), "soft");
    ck_assert_int_eq(model->soft.head, SL_SOFT_HEAD_NONE);
    ck_assert(model->soft.classes == 0 && !model->soft.class_token);
    sl_model_free(model);
}
END_TEST

static void forget_metadata(edit *e)
{
    e->meta_count = 0;
}

// Everything but the inverse, what a head means, and the numbers that no shape depends on.
START_TEST(config_follows_from_shapes)
{
    edit e;
    sl_model *stated = open_model(GOLDEN("soft-plain"), "soft"), *seen;
    edit_open(&e, GOLDEN("soft-plain"));
    forget_metadata(&e);
    ck_assert_msg(edit_reopen(&e, &seen) == SL_OK, "%s", sl_ctx_message(ctx));
    ck_assert(!seen->soft.has_inverse);
    ck_assert_mem_eq(seen->soft.dims, stated->soft.dims, sizeof stated->soft.dims);
    ck_assert_mem_eq(seen->soft.heads, stated->soft.heads, sizeof stated->soft.heads);
    ck_assert_mem_eq(seen->soft.depths, stated->soft.depths, sizeof stated->soft.depths);
    ck_assert_mem_eq(seen->soft.ratios, stated->soft.ratios, sizeof stated->soft.ratios);
    ck_assert_mem_eq(seen->soft.kernels, stated->soft.kernels, sizeof stated->soft.kernels);
    ck_assert_uint_eq(seen->soft.stem, stated->soft.stem);
    ck_assert_uint_eq(seen->soft.classes, stated->soft.classes);
    ck_assert_uint_eq(seen->soft.resize, 248); // as the official evaluation does: 224 is 0.9 of it
    sl_tensor_set_free(e.set);
    sl_model_free(seen);
    edit_open(&e, GOLDEN("soft-norm")); // what its directions are only metadata can say
    forget_metadata(&e);
    expect_refusal(&e, SL_ERR_FORMAT, "directions of classes");
    sl_model_free(stated);
}
END_TEST

static sl_status build(const sl_model *model, uint32_t height, uint32_t width)
{
    sl_graph *g;
    const sl_soft_options options = { .height = height, .width = width, .outputs = SL_SOFT_ALL };
    ck_assert_int_eq(sl_graph_new(ctx, &g), SL_OK);
    sl_status st = sl_soft_build(g, model, &options);
    sl_graph_free(g);
    return st;
}

// The inverse is asked for, and kept once it was told.
START_TEST(inverse_is_never_guessed)
{
    edit e;
    sl_model *model, *told;
    char other[80], *text;
    snprintf(other, sizeof other, "%s.told", path);
    edit_open(&e, GOLDEN("soft-plain"));
    forget_metadata(&e);
    ck_assert_int_eq(edit_reopen(&e, &model), SL_OK);
    says(build(model, 64, 64), SL_ERR_ARGUMENT, "\"soft\" or \"norm\"");
    ck_assert_int_eq(sl_model_describe(ctx, model, 0, 0, true, &text), SL_OK);
    ck_assert_ptr_null(strstr(text, "\"inverse\""));
    free(text);
    sl_convert_options how = { 0 };
    says(sl_model_convert(ctx, model, other, &how), SL_ERR_ARGUMENT, "\"soft\" or \"norm\"");
    how.inverse = "both";
    says(sl_model_convert(ctx, model, other, &how), SL_ERR_ARGUMENT, "\"both\"");
    how.inverse = "norm";
    ck_assert_int_eq(sl_model_convert(ctx, model, other, &how), SL_OK);
    told = open_model(other, "soft");
    unlink(other);
    ck_assert(told->soft.has_inverse && told->soft.inverse == SL_INVERSE_NORM);
    ck_assert_int_eq(build(told, 64, 64), SL_OK);
    how.inverse = "soft";
    says(sl_model_convert(ctx, told, other, &how), SL_ERR_ARGUMENT, "is norm, not soft");
    sl_model_free(told);
    sl_model_free(model);
    sl_tensor_set_free(e.set);
    ck_assert_int_eq(sl_model_open(ctx, GOLDEN("decoder"), &model), SL_OK);
    says(sl_model_convert(ctx, model, other, &how), SL_ERR_ARGUMENT, "no inverse");
    sl_model_free(model);
}
END_TEST

#define PLAIN                                                                                      \
    "\"dims\": [32,64,32,32], \"heads\": [1,2,1,1], \"depths\": [1,1,1,1], \"classes\": 10, "      \
    "\"ratios\": [3,2,1], \"kernels\": [7,5,3], \"stem\": 8"

// A file is written only if it can be opened again.
START_TEST(an_inverse_that_does_not_fit_is_not_told)
{
    const sl_convert_options how = { .inverse = "norm", .overwrite = true };
    edit e;
    sl_model *model, *again;
    edit_open(&e, GOLDEN("soft-plain"));
    edit_set_meta(&e, "config", "{" PLAIN ", \"landmarks\": 1}");
    ck_assert_msg(edit_reopen(&e, &model) == SL_OK, "%s", sl_ctx_message(ctx));
    says(sl_model_convert(ctx, model, path, &how), SL_ERR_FORMAT, "single landmark");
    ck_assert_msg(sl_model_open(ctx, path, &again) == SL_OK, "%s", sl_ctx_message(ctx));
    sl_model_free(again);
    sl_model_free(model);
    sl_tensor_set_free(e.set);
}
END_TEST

START_TEST(conversion_round_trips)
{
    static const char *const files[] = { GOLDEN("soft-plain"), GOLDEN("soft-norm"),
                                         GOLDEN("soft-fixed"), GOLDEN("soft-bare") };
    for (size_t i = 0; i < SL_ARRAY_LEN(files); i++) {
        sl_model *model = open_model(files[i], "soft"), *again;
        const sl_convert_options how = { .overwrite = true };
        ck_assert_int_eq(sl_model_convert(ctx, model, path, &how), SL_OK);
        again = open_model(path, "soft");
        same_text(sl_soft_config_json(ctx, &again->soft), sl_soft_config_json(ctx, &model->soft));
        ck_assert_uint_eq(sl_tensor_set_count(again->set), sl_tensor_set_count(model->set));
        sl_model_free(model);
        sl_model_free(again);
    }
}
END_TEST

START_TEST(the_mirror_image_is_asked_for)
{
    const sl_convert_options how = { .overwrite = true };
    edit e;
    sl_model *model, *again;
    edit_open(&e, GOLDEN("soft-plain"));
    edit_set_meta(&e, "config", "{" PLAIN ", \"inverse\": \"soft\", \"mirror\": true}");
    ck_assert_msg(edit_reopen(&e, &model) == SL_OK, "%s", sl_ctx_message(ctx));
    ck_assert(model->soft.mirror);
    sl_tensor_set_free(e.set);
    char other[80];
    snprintf(other, sizeof other, "%s.mirror", path);
    ck_assert_int_eq(sl_model_convert(ctx, model, other, &how), SL_OK);
    again = open_model(other, "soft");
    unlink(other);
    ck_assert(again->soft.mirror);
    sl_model_free(again);
    sl_model_free(model);
    model = open_model(GOLDEN("soft-plain"), "soft");
    ck_assert(!model->soft.mirror);
    sl_model_free(model);
}
END_TEST

START_TEST(bad_metadata_is_refused)
{
    static const char *const bad[][2] = {
        { "[1]", "no JSON object" },
        { "{}", "wants dims" },
        { "{\"dims\": [32,64,32]}", "\"dims\"" },
        { "{\"colour\": 1}", "\"colour\"" },
        { "{\"inverse\": \"exact\"}", "\"inverse\"" },
        { "{\"landmarks\": 48}", "\"landmarks\"" },
        { "{\"landmarks\": \"many\"}", "\"landmarks\"" },
        { "{\"iterations\": 0}", "\"iterations\"" },
        { "{\"scale\": -1}", "\"scale\"" },
        { "{\"std\": [1, 0, 1]}", "\"std\"" },
        { "{\"std\": [1, 1e-50, 1]}", "\"std\"" },
        { "{\"temperature\": 1e-50}", "\"temperature\"" },
        { "{\"mean\": [1, 0]}", "\"mean\"" },
        { "{\"class_token\": 1}", "\"class_token\"" },
        { "{\"mirror\": \"left\"}", "\"mirror\"" },
        { "{\"head\": \"cosine\"}", "\"head\"" },
        { "{" PLAIN ", \"image\": 300}", "crop of 300" },
        { "{\"image\": 4097}", "\"image\"" },
        { "{\"resize\": 4097}", "\"resize\"" },
        { "{" PLAIN ", \"head\": \"ebv\", \"scale\": 3}", "disagree about head" },
        { "{" PLAIN ", \"embedding\": 10}", "disagree about embedding" },
        { "{\"dims\": [32,64,32,64], \"heads\": [1,2,1,1], \"depths\": [1,1,1,1]}",
          "disagree about dims" },
        { "{\"dims\": [32,64,32,32], \"heads\": [1,2,1,1], \"depths\": [1,1,2,1]}",
          "disagree about depths" },
        { "{\"dims\": [32,64,32,32], \"heads\": [1,1,1,1], \"depths\": [1,1,1,1]}",
          "disagree about heads" },
        { "{\"dims\": [32,64,32,32], \"heads\": [1,2,1,3], \"depths\": [1,1,1,1], \"classes\": "
          "10, \"ratios\": [3,2,1], \"kernels\": [7,5,3], \"stem\": 8}",
          "32 channels for 3 heads" },
        { "{" PLAIN ", \"class_token\": false}", "no class token" },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        edit e;
        edit_open(&e, GOLDEN("soft-plain"));
        edit_set_meta(&e, "config", bad[i][0]);
        expect_refusal(&e, SL_ERR_FORMAT, bad[i][1]);
    }
}
END_TEST

START_TEST(bad_tensors_are_refused)
{
    static float odd[32];
    edit e;
    edit_open(&e, GOLDEN("soft-plain"));
    *edit_find(&e, "norm.bias") = e.tensors[--e.count];
    expect_refusal(&e, SL_ERR_FORMAT, "norm.bias is missing");

    edit_open(&e, GOLDEN("soft-plain"));
    edit_find(&e, "pos_embed2")->shape = (sl_shape) { 3, { 1, 32, 128 } };
    expect_refusal(&e, SL_ERR_FORMAT, "no square grid");

    edit_open(&e, GOLDEN("soft-plain"));
    sl_tensor *last = edit_find(&e, "pos_embed4");
    last->shape = (sl_shape) { 3, { 1, 4, 32 } };
    last->bytes = 4 * 32 * sizeof(uint16_t);
    expect_refusal(&e, SL_ERR_FORMAT, "with a row for the class token");

    edit_open(&e, GOLDEN("soft-plain"));
    odd[0] = NAN;
    *edit_find(&e, "norm.bias") = (sl_tensor) { "norm.bias", SL_F32, { 1, { 32 } }, odd, 128 };
    expect_refusal(&e, SL_ERR_FORMAT, "NaN or infinity");

    edit_open(&e, GOLDEN("soft-plain"));
    odd[0] = -1;
    const char *variance = "patch_embed4.proj.1.running_var";
    *edit_find(&e, variance) = (sl_tensor) { variance, SL_F32, { 1, { 32 } }, odd, 128 };
    expect_refusal(&e, SL_ERR_FORMAT, "running_var holds -1");

    edit_open(&e, GOLDEN("soft-plain"));
    e.tensors[e.count++] = (sl_tensor) { "neck.weight", SL_F32, { 1, { 4 } }, odd, 16 };
    expect_refusal(&e, SL_ERR_FORMAT, "neck.weight does not belong to a SOFT");

    edit_open(&e, GOLDEN("soft-plain"));
    e.tensors[e.count++] = (sl_tensor) { "block1.0.att.extra", SL_F32, { 1, { 4 } }, odd, 16 };
    expect_refusal(&e, SL_ERR_FORMAT, "more tensors");

    edit_open(&e, GOLDEN("soft-plain"));
    odd[0] = INFINITY;
    e.tensors[e.count++] = (sl_tensor) { "reject.pool3.means", SL_F32, { 1, { 4 } }, odd, 16 };
    expect_refusal(&e, SL_ERR_FORMAT, "reject.pool3.means holds NaN or infinity");
}
END_TEST

// Counters of official files, and the statistics of our own.
START_TEST(what_the_network_does_not_need_may_be_there)
{
    static const float means[8] = { 1, 2, 3 };
    static const int64_t batches = 1000;
    edit e;
    sl_model *model;
    char *text;
    edit_open(&e, GOLDEN("soft-plain"));
    e.tensors[e.count++] = (sl_tensor) { "reject.pool3.means", SL_F32, { 2, { 2, 4 } }, means, 32 };
    e.tensors[e.count++] =
        (sl_tensor) { "patch_embed2.proj.1.num_batches_tracked", SL_I64, { 0 }, &batches, 8 };
    ck_assert_msg(edit_reopen(&e, &model) == SL_OK, "%s", sl_ctx_message(ctx));
    sl_tensor_set_free(e.set);
    ck_assert_int_eq(sl_model_describe(ctx, model, 64, 64, false, &text), SL_OK);
    json_t *with = json_loads(text, 0, NULL);
    free(text);
    sl_model_free(model);
    model = open_model(GOLDEN("soft-plain"), "soft");
    ck_assert_int_eq(sl_model_describe(ctx, model, 64, 64, false, &text), SL_OK);
    json_t *without = json_loads(text, 0, NULL);
    ck_assert_int_eq(json_integer_value(json_object_get(with, "parameters")),
                     json_integer_value(json_object_get(without, "parameters")));
    const json_t *gmac = json_object_get(without, "gmac");
    double sum = 0;
    static const char *const families[] = { "conv", "linear", "soft_attention", "attention" };
    for (size_t i = 0; i < SL_ARRAY_LEN(families); i++)
        sum += json_real_value(json_object_get(gmac, families[i]));
    ck_assert_double_eq_tol(sum, json_real_value(json_object_get(gmac, "total")), 1e-9);
    ck_assert_double_gt(json_real_value(json_object_get(gmac, "inverses_apart")), 0);
    json_decref(with);
    json_decref(without);
    free(text);
    sl_model_free(model);
}
END_TEST

// What will be inverted keeps its digits where matrices become halves.
START_TEST(statistics_are_never_halved)
{
    static float covariance[32 * 32];
    const sl_convert_options how = { .half = true, .overwrite = true };
    const char *name = "reject.pool3.covariance";
    edit e;
    sl_model *model, *again;
    covariance[5] = 0.1f;
    edit_open(&e, GOLDEN("soft-plain"));
    e.tensors[e.count++] =
        (sl_tensor) { name, SL_F32, { 2, { 32, 32 } }, covariance, sizeof covariance };
    ck_assert_msg(edit_reopen(&e, &model) == SL_OK, "%s", sl_ctx_message(ctx));
    ck_assert_int_eq(sl_model_convert(ctx, model, path, &how), SL_OK);
    again = open_model(path, "soft");
    const sl_tensor *kept = sl_tensor_set_find(again->set, name);
    ck_assert_uint_eq(kept->bytes, sizeof covariance);
    ck_assert_mem_eq(kept->data, covariance, sizeof covariance);
    sl_model_free(again);
    sl_model_free(model);
    sl_tensor_set_free(e.set);
}
END_TEST

START_TEST(small_pictures_are_refused)
{
    sl_model *plain = open_model(GOLDEN("soft-plain"), "soft"),
             *norm = open_model(GOLDEN("soft-norm"), "soft");
    // Ratios 3, 2, 1: two rows of stage 2 are the strictest, out of three eighths of a picture.
    ck_assert_int_eq(build(plain, 9, 9), SL_OK);
    says(build(plain, 8, 9), SL_ERR_ARGUMENT, "sides of at least 9 pixels");
    says(build(plain, 9, 8), SL_ERR_ARGUMENT, "9 pixels");
    says(build(plain, 0, 64), SL_ERR_ARGUMENT, "sides of 1 to");
    says(build(plain, 64, 70000), SL_ERR_LIMIT, "sides of 1 to");
    // Ratios 4, 2, 1: with one or two landmarks nothing is defined.
    says(build(norm, 12, 64), SL_ERR_ARGUMENT, "at least 13 pixels");
    says(build(norm, 13, 13), SL_ERR_ARGUMENT, "fewer than 3 landmarks");
    says(build(norm, 13, 44), SL_ERR_ARGUMENT, "at least 29 pixels");
    ck_assert_int_eq(build(norm, 13, 45), SL_OK);
    ck_assert_int_eq(build(norm, 29, 29), SL_OK);
    sl_model_free(plain);
    sl_model_free(norm);
    sl_model *fixed = open_model(GOLDEN("soft-fixed"), "soft");
    ck_assert_int_eq(build(fixed, 1, 1), SL_OK); // pooling makes landmarks of anything
    sl_model_free(fixed);
}
END_TEST

// Nothing else is called its embedding.
START_TEST(no_class_token_no_embedding)
{
    static const float ones[32] = { 1, 1, 1, 1 };
    const sl_soft_options options = { 64, 64, SL_SOFT_POOL4 };
    edit e;
    sl_model *model;
    sl_graph *g;
    edit_open(&e, GOLDEN("soft-bare"));
    e.tensors[e.count++] = (sl_tensor) { "norm.weight", SL_F32, { 1, { 32 } }, ones, 128 };
    e.tensors[e.count++] = (sl_tensor) { "norm.bias", SL_F32, { 1, { 32 } }, ones, 128 };
    ck_assert_msg(edit_reopen(&e, &model) == SL_OK, "%s", sl_ctx_message(ctx));
    ck_assert_int_eq(sl_graph_new(ctx, &g), SL_OK);
    ck_assert_int_eq(sl_soft_build(g, model, &options), SL_OK);
    ck_assert(sl_graph_find_output(g, "pool4") && !sl_graph_find_output(g, "embedding"));
    sl_graph_free(g);
    sl_model_free(model);
    sl_tensor_set_free(e.set);
}
END_TEST

START_TEST(outputs_are_those_asked_for)
{
    sl_model *model = open_model(GOLDEN("soft-norm"), "soft");
    sl_graph *g;
    const sl_soft_options options = { 64, 96, SL_SOFT_STAGE2 | SL_SOFT_POOL4 };
    ck_assert_int_eq(sl_graph_new(ctx, &g), SL_OK);
    ck_assert_int_eq(sl_soft_build(g, model, &options), SL_OK);
    const sl_shape stage2 = { 3, { 8, 12, 32 } };
    sl_value v = sl_graph_find_output(g, "stage2");
    ck_assert(v != SL_NO_VALUE && sl_shape_equal(&g->values[v].shape, &stage2));
    ck_assert(sl_graph_find_output(g, "pool4") && sl_graph_find_output(g, "logits") &&
              sl_graph_find_output(g, "embedding"));
    ck_assert(!sl_graph_find_output(g, "stage1") && !sl_graph_find_output(g, "stage4") &&
              !sl_graph_find_output(g, "pool3"));
    sl_graph_free(g);
    sl_model_free(model);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("soft config");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, config_is_read);
    tcase_add_test(tc, config_follows_from_shapes);
    tcase_add_test(tc, inverse_is_never_guessed);
    tcase_add_test(tc, an_inverse_that_does_not_fit_is_not_told);
    tcase_add_test(tc, conversion_round_trips);
    tcase_add_test(tc, the_mirror_image_is_asked_for);
    tcase_add_test(tc, bad_metadata_is_refused);
    tcase_add_test(tc, bad_tensors_are_refused);
    tcase_add_test(tc, what_the_network_does_not_need_may_be_there);
    tcase_add_test(tc, statistics_are_never_halved);
    tcase_add_test(tc, small_pictures_are_refused);
    tcase_add_test(tc, no_class_token_no_embedding);
    tcase_add_test(tc, outputs_are_those_asked_for);
    Suite *s = suite_create("net soft config");
    suite_add_tcase(s, tc);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
