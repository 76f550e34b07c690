// SPDX-License-Identifier: MIT
// tests/net/retina_config.c: detectors' model files: what is read from them, what is refused, what
// is written back, and which pictures a model takes.
#include "edit.h"

#include <jansson.h>
#include <math.h>

START_TEST(config_is_read)
{
    sl_model *model = open_model(GOLDEN("retina-norm"), "soft-retinanet");
    const sl_retina_config *c = &model->retina;
    ck_assert_uint_eq(c->classes, 1);
    ck_assert_uint_eq(c->channels, 16);
    ck_assert_uint_eq(c->tower, 4);
    ck_assert_float_eq(c->anchor_scale, 2.5f);
    ck_assert_uint_eq(c->scales, 2);
    ck_assert_uint_eq(c->ratio_count, 4);
    ck_assert_float_eq(c->ratios[1], 0.75f);
    ck_assert_uint_eq(c->strides[4], 128);
    ck_assert(c->image[0] == 320 && c->image[1] == 320);
    ck_assert(model->soft.class_token && model->soft.inverse == SL_INVERSE_NORM);
    ck_assert_uint_eq(model->soft.landmarks, 16);
    sl_model_free(model);
    model = open_model(GOLDEN("retina-plain"), "soft-retinanet");
    c = &model->retina;
    ck_assert(!model->soft.class_token && model->soft.head == SL_SOFT_HEAD_NONE);
    ck_assert(c->scales == 3 && c->ratio_count == 3 && c->image[0] == 160 && c->image[1] == 96);
    sl_model_free(model);
}
END_TEST

// Base 8, scale 4: areas of 32^2 and on, ratio after ratio.
START_TEST(anchors_are_made)
{
    sl_model *model = open_model(GOLDEN("retina-plain"), "soft-retinanet");
    for (unsigned level = 0; level < SL_RETINA_LEVELS; level++) {
        const sl_tensor *t = &model->retina_weights.anchors[level];
        const float *sides = t->data;
        ck_assert(t->shape.rank == 2 && t->shape.dim[0] == 9 && t->shape.dim[1] == 2);
        for (unsigned i = 0; i < 9; i++) {
            double side = (32 << level) * pow(2, i % 3 / 3.0), ratio = pow(2, (int)(i / 3) - 1);
            ck_assert_float_eq_tol(sides[2 * i], (float)(side / sqrt(ratio)), 1e-4f);
            ck_assert_float_eq_tol(sides[2 * i + 1], (float)(side * sqrt(ratio)), 1e-4f);
        }
    }
    sl_model_free(model);
}
END_TEST

static sl_status build(const sl_model *model, uint32_t height, uint32_t width)
{
    sl_graph *g;
    const sl_retina_options options = { .height = height, .width = width, .threshold = 0.05f };
    ck_assert_int_eq(sl_graph_new(ctx, &g), SL_OK);
    sl_status st = sl_retina_build(g, model, &options);
    sl_graph_free(g);
    return st;
}

// All but the inverse, where the head is the usual one.
START_TEST(config_follows_from_shapes)
{
    edit e;
    sl_model *stated = open_model(GOLDEN("retina-plain"), "soft-retinanet"), *seen, *told;
    char other[80];
    snprintf(other, sizeof other, "%s.told", path);
    edit_open(&e, GOLDEN("retina-plain"));
    e.meta_count = 0;
    ck_assert_msg(edit_reopen(&e, &seen) == SL_OK, "%s", sl_ctx_message(ctx));
    ck_assert_str_eq(seen->architecture, "soft-retinanet");
    ck_assert_uint_eq(seen->retina.classes, stated->retina.classes);
    ck_assert_uint_eq(seen->retina.channels, stated->retina.channels);
    ck_assert_uint_eq(seen->retina.tower, stated->retina.tower);
    ck_assert_mem_eq(seen->soft.dims, stated->soft.dims, sizeof stated->soft.dims);
    ck_assert(!seen->soft.has_inverse && seen->retina.image[0] == 1333);
    says(build(seen, 64, 64), SL_ERR_ARGUMENT, "\"soft\" or \"norm\"");
    sl_convert_options how = { 0 };
    says(sl_model_convert(ctx, seen, other, &how), SL_ERR_ARGUMENT, "\"soft\" or \"norm\"");
    how.inverse = "norm";
    ck_assert_int_eq(sl_model_convert(ctx, seen, other, &how), SL_OK);
    told = open_model(other, "soft-retinanet");
    unlink(other);
    ck_assert(told->soft.has_inverse && told->soft.inverse == SL_INVERSE_NORM);
    ck_assert_int_eq(build(told, 64, 64), SL_OK);
    sl_tensor_set_free(e.set);
    sl_model_free(told);
    sl_model_free(seen);
    sl_model_free(stated);
    edit_open(&e, GOLDEN("retina-norm")); // 8 anchors, which is not the usual number
    e.meta_count = 0;
    expect_refusal(&e, SL_ERR_FORMAT, "the usual head and this one disagree about the number");
}
END_TEST

START_TEST(conversion_round_trips)
{
    static const char *const files[] = { GOLDEN("retina-plain"), GOLDEN("retina-norm"),
                                         GOLDEN("retina-towerless") };
    for (size_t i = 0; i < SL_ARRAY_LEN(files); i++) {
        sl_model *model = open_model(files[i], "soft-retinanet"), *again;
        const sl_convert_options how = { .overwrite = true };
        ck_assert_int_eq(sl_model_convert(ctx, model, path, &how), SL_OK);
        again = open_model(path, "soft-retinanet");
        same_text(sl_soft_config_json(ctx, &again->soft), sl_soft_config_json(ctx, &model->soft));
        ck_assert_mem_eq(&again->retina, &model->retina, sizeof model->retina);
        ck_assert_uint_eq(sl_tensor_set_count(again->set), sl_tensor_set_count(model->set));
        ck_assert_str_eq(sl_tensor_set_meta(again->set, "labels"),
                         sl_tensor_set_meta(model->set, "labels"));
        sl_model_free(model);
        sl_model_free(again);
    }
}
END_TEST

#define BACKBONE                                                                                   \
    "\"backbone\": {\"dims\": [32,32,64,32], \"heads\": [1,1,2,1], \"depths\": [1,1,1,1], "        \
    "\"ratios\": [3,2,1], \"kernels\": [5,3,3], \"stem\": 8, \"inverse\": \"soft\"}"
#define REST "\"channels\": 24, \"tower\": 1"

START_TEST(bad_metadata_is_refused)
{
    static const char *const bad[][2] = {
        { "[1]", "no JSON object" },
        { "{}", "wants backbone and classes" },
        { "{\"classes\": 5}", "wants backbone and classes" },
        { "{\"classes\": 0}", "\"classes\"" },
        { "{\"classes\": 65537}", "\"classes\"" },
        { "{\"backbone\": []}", "\"backbone\"" },
        { "{\"tower\": 17}", "\"tower\"" },
        { "{\"channels\": 0}", "\"channels\"" },
        { "{\"anchor_scale\": 0}", "\"anchor_scale\"" },
        { "{\"scales\": 9}", "\"scales\"" },
        { "{\"ratios\": []}", "\"ratios\"" },
        { "{\"ratios\": [1,-1]}", "\"ratios\"" },
        { "{\"ratios\": [1,1,1,1,1,1,1,1,1]}", "\"ratios\"" },
        { "{\"strides\": [8,16,32,64]}", "\"strides\"" },
        { "{\"strides\": [8,16,32,64,0]}", "\"strides\"" },
        { "{\"image\": [100,200]}", "\"image\"" },
        { "{\"image\": 100}", "\"image\"" },
        { "{\"image\": [4097,100]}", "\"image\"" },
        { "{\"colour\": 1}", "\"colour\"" },
        { "{" BACKBONE ", " REST ", \"classes\": 4}", "disagree about classes" },
        { "{" BACKBONE ", " REST ", \"classes\": 5, \"scales\": 2}", "the number of anchors" },
        { "{" BACKBONE ", \"channels\": 25, \"tower\": 1, \"classes\": 5}", "about channels" },
        { "{" BACKBONE ", \"channels\": 24, \"tower\": 2, \"classes\": 5}", "about tower" },
        { "{\"backbone\": {\"dims\": [32,32,64,32]}, " REST ", \"classes\": 5}",
          "backbone.dims, heads and depths" },
        { "{\"backbone\": {\"colour\": 3}, " REST ", \"classes\": 5}", "\"backbone.colour\"" },
        { "{\"backbone\": {\"dims\": [32,32,32,32], \"heads\": [1,1,1,1], \"depths\": "
          "[1,1,1,1]}, " REST ", \"classes\": 5}",
          "disagree about backbone.dims" },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        edit e;
        edit_open(&e, GOLDEN("retina-plain"));
        edit_set_meta(&e, "config", bad[i][0]);
        expect_refusal(&e, SL_ERR_FORMAT, bad[i][1]);
    }
}
END_TEST

START_TEST(bad_labels_are_refused)
{
    static const char *const bad[][2] = {
        { "[\"a\",\"b\",\"c\",\"d\"]", "4 labels for 5 classes" },
        { "[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\"]", "6 labels for 5 classes" },
        { "{\"a\": 1}", "no list" },
        { "nonsense", "no list" },
        { "[\"a\",\"b\",\"c\",\"d\",\"a\"]", "two of its labels are \"a\"" },
        { "[\"a\",\"b\",\"c\",\"d\",\"\"]", "no name that can be printed" },
        { "[\"a\",\"b\",\"c\",\"d\",\"\\u0007\"]", "no name that can be printed" },
        { "[\"a\",\"b\",\"c\",\"d\",5]", "no name that can be printed" },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        edit e;
        edit_open(&e, GOLDEN("retina-plain"));
        edit_set_meta(&e, "labels", bad[i][0]);
        expect_refusal(&e, SL_ERR_FORMAT, bad[i][1]);
    }
}
END_TEST

static void remove_tensor(edit *e, const char *name)
{
    *edit_find(e, name) = e->tensors[--e->count];
}

START_TEST(bad_tensors_are_refused)
{
    static const char *const missing[][2] = {
        { "neck.lateral_convs.1.conv.bias", "neck.lateral_convs.1.conv.bias is missing" },
        { "neck.fpn_convs.4.conv.weight", "neck.fpn_convs.4.conv.weight is missing" },
        { "bbox_head.reg_convs.0.conv.weight", "bbox_head.reg_convs.0.conv.weight is missing" },
        { "bbox_head.cls_convs.0.conv.weight", "disagree about tower" },
        { "bbox_head.retina_cls.bias", "bbox_head.retina_cls.bias is missing" },
        { "bbox_head.retina_reg.weight", "bbox_head.retina_reg is missing" },
        { "backbone.block4.0.attn.q.weight", "backbone.block4.0.attn.q.weight is missing" },
        { "backbone.patch_embed2.proj.0.weight", "backbone.stage 2" },
        { "backbone.pos_embed3", "backbone.pos_embed3 is missing" },
    };
    static float odd[64];
    edit e;
    for (size_t i = 0; i < SL_ARRAY_LEN(missing); i++) {
        edit_open(&e, GOLDEN("retina-plain"));
        remove_tensor(&e, missing[i][0]);
        expect_refusal(&e, SL_ERR_FORMAT, missing[i][1]);
    }
    odd[3] = NAN;
    static const char *const damaged[] = { "bbox_head.retina_cls.bias",
                                           "neck.fpn_convs.3.conv.bias",
                                           "backbone.patch_embed1.proj.0.bias" };
    for (size_t i = 0; i < SL_ARRAY_LEN(damaged); i++) {
        edit_open(&e, GOLDEN("retina-plain"));
        sl_tensor *t = edit_find(&e, damaged[i]);
        *t = (sl_tensor) { t->name, SL_F32, t->shape, odd, (size_t)t->shape.dim[0] * 4 };
        expect_refusal(&e, SL_ERR_FORMAT, "holds NaN or infinity");
    }
    edit_open(&e, GOLDEN("retina-plain"));
    edit_find(&e, "bbox_head.retina_cls.weight")->shape.dim[2] = 9;
    edit_find(&e, "bbox_head.retina_cls.weight")->shape.dim[3] = 1;
    expect_refusal(&e, SL_ERR_FORMAT, "[45, 24, 9, 1]");
    static const char *const strangers[][2] = {
        { "mask_head.weight", "mask_head.weight does not belong to a RetinaNet" },
        { "backbone.reject.means", "backbone.reject.means does not belong" },
        { "bbox_head.extra", "more tensors" },
        { "backbone.directions", "backbone.directions or head.weight" },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(strangers); i++) {
        edit_open(&e, GOLDEN("retina-plain"));
        odd[3] = 0;
        e.tensors[e.count++] = (sl_tensor) { strangers[i][0], SL_F32, { 1, { 4 } }, odd, 16 };
        expect_refusal(&e, SL_ERR_FORMAT, strangers[i][1]);
    }
}
END_TEST

// A classifier's tail and a class token that nobody asks for do no harm.
START_TEST(what_the_network_does_not_need_may_be_there)
{
    static const float numbers[10 * 32];
    static const int64_t batches = 1000;
    edit e;
    sl_model *model;
    edit_open(&e, GOLDEN("retina-plain"));
    const sl_tensor more[] = {
        { "backbone.norm.weight", SL_F32, { 1, { 32 } }, numbers, 128 },
        { "backbone.norm.bias", SL_F32, { 1, { 32 } }, numbers, 128 },
        { "backbone.head.weight", SL_F32, { 2, { 10, 32 } }, numbers, 1280 },
        { "backbone.head.bias", SL_F32, { 1, { 10 } }, numbers, 40 },
        { "backbone.cls_token", SL_F32, { 3, { 1, 1, 32 } }, numbers, 128 },
        { "backbone.patch_embed2.proj.1.num_batches_tracked", SL_I64, { 0 }, &batches, 8 },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(more); i++)
        e.tensors[e.count++] = more[i];
    ck_assert_msg(edit_reopen(&e, &model) == SL_OK, "%s", sl_ctx_message(ctx));
    ck_assert(!model->soft.class_token);
    ck_assert_int_eq(build(model, 64, 64), SL_OK);
    sl_tensor_set_free(e.set);
    sl_model_free(model);
}
END_TEST

START_TEST(description_has_the_costs)
{
    sl_model *model = open_model(GOLDEN("retina-plain"), "soft-retinanet");
    char *text;
    ck_assert_int_eq(sl_model_describe(ctx, model, 0, 0, true, &text), SL_OK);
    json_t *root = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(root);
    ck_assert_str_eq(json_string_value(json_object_get(root, "architecture")), "soft-retinanet");
    ck_assert_int_eq(json_integer_value(json_object_get(root, "width")), 160);
    ck_assert_int_eq(json_integer_value(json_object_get(root, "height")), 96);
    ck_assert_int_eq(json_integer_value(json_object_get(root, "multiple")), 32);
    ck_assert_ptr_nonnull(strstr(text, "candidates"));
    // P3 and P4: 12 x 20 and 6 x 10 pixels; the head's last convolutions alone.
    double conv = json_real_value(json_object_get(json_object_get(root, "gmac"), "conv"));
    ck_assert_double_gt(conv, 300e-9 * 24 * 9 * (45 + 36));
    json_decref(root);
    free(text);
    sl_model_free(model);
}
END_TEST

START_TEST(odd_canvases_are_refused)
{
    sl_model *model = open_model(GOLDEN("retina-plain"), "soft-retinanet");
    ck_assert_int_eq(build(model, 32, 32), SL_OK);
    says(build(model, 33, 64), SL_ERR_ARGUMENT, "multiples of 32");
    says(build(model, 64, 48), SL_ERR_ARGUMENT, "multiples of 32");
    says(build(model, 0, 64), SL_ERR_ARGUMENT, "sides of 1 to");
    sl_model_free(model);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("retina config");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, config_is_read);
    tcase_add_test(tc, anchors_are_made);
    tcase_add_test(tc, config_follows_from_shapes);
    tcase_add_test(tc, conversion_round_trips);
    tcase_add_test(tc, bad_metadata_is_refused);
    tcase_add_test(tc, bad_labels_are_refused);
    tcase_add_test(tc, bad_tensors_are_refused);
    tcase_add_test(tc, what_the_network_does_not_need_may_be_there);
    tcase_add_test(tc, description_has_the_costs);
    tcase_add_test(tc, odd_canvases_are_refused);
    Suite *s = suite_create("net retina config");
    suite_add_tcase(s, tc);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
