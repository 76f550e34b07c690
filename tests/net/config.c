// SPDX-License-Identifier: MIT
// tests/net/config.c: model files: what is read from them, what is refused, what is written back.
#include "edit.h"

#include <jansson.h>
#include <math.h>

START_TEST(config_is_read)
{
    sl_model *model;
    ck_assert_int_eq(sl_model_open(ctx, GOLDEN("unshuffle"), &model), SL_OK);
    const sl_lmd_config *c = &model->lmd;
    ck_assert_uint_eq(c->embed_dim, 6);
    ck_assert_uint_eq(c->scales, 2);
    ck_assert_uint_eq(c->depths[4], 3);
    ck_assert_uint_eq(c->heads[1], 3);
    ck_assert_uint_eq(c->unshuffle, 2);
    ck_assert_uint_eq(c->window, 4);
    ck_assert_uint_eq(c->mlp_ratio, 2);
    ck_assert_float_eq_tol(c->threshold, 0.4f, 1e-7f);
    ck_assert_int_eq(c->modulator, SL_MODULATOR_ALL);
    ck_assert_uint_eq(sl_lmd_multiple(c), 32);
    ck_assert_uint_eq(sl_lmd_layer_dim(c, 4), 12);
    sl_model_free(model);
}
END_TEST

START_TEST(fade_is_read)
{
    sl_model *model;
    ck_assert_int_eq(sl_model_open(ctx, GOLDEN("fade"), &model), SL_OK);
    ck_assert(model->lmd.has_fade);
    ck_assert_float_eq_tol(model->lmd.fade[0], 0.31f, 1e-7f);
    ck_assert_float_eq_tol(model->lmd.fade[1], 0.37f, 1e-7f);
    sl_model_free(model);
    ck_assert_int_eq(sl_model_open(ctx, GOLDEN("decoder"), &model), SL_OK);
    ck_assert(!model->lmd.has_fade);
    sl_model_free(model);
}
END_TEST

START_TEST(config_follows_from_shapes)
{
    static const char *const names[] = { GOLDEN("decoder"), GOLDEN("unshuffle"), GOLDEN("deep") };
    for (size_t i = 0; i < SL_ARRAY_LEN(names); i++) {
        sl_model *stated, *seen;
        edit e;
        ck_assert_int_eq(sl_model_open(ctx, names[i], &stated), SL_OK);
        edit_open(&e, names[i]);
        e.meta_count = 0;
        ck_assert_msg(edit_reopen(&e, &seen) == SL_OK, "%s", sl_ctx_message(ctx));
        sl_lmd_config expected = stated->lmd; // two numbers are not in the tensors
        expected.img_size = 512;
        expected.threshold = 0.5f;
        same_text(sl_lmd_config_json(ctx, &seen->lmd), sl_lmd_config_json(ctx, &expected));
        sl_tensor_set_free(e.set);
        sl_model_free(stated);
        sl_model_free(seen);
    }
}
END_TEST

START_TEST(shift_follows_img_size)
{
    sl_model *model;
    ck_assert_int_eq(sl_model_open(ctx, GOLDEN("deep"), &model), SL_OK);
    // img_size 32: sides of 32, 16 and 8 at levels 0 to 2; a side of one window does not shift.
    ck_assert_uint_eq(sl_lmd_shift(&model->lmd, 0, 1), 4);
    ck_assert_uint_eq(sl_lmd_shift(&model->lmd, 0, 2), 0);
    ck_assert_uint_eq(sl_lmd_shift(&model->lmd, 1, 1), 4);
    ck_assert_uint_eq(sl_lmd_shift(&model->lmd, 2, 1), 0);
    ck_assert_uint_eq(sl_lmd_shift(&model->lmd, 3, 1), 0);
    ck_assert_uint_eq(sl_lmd_shift(&model->lmd, 5, 1), 4);
    sl_model_free(model);
}
END_TEST

START_TEST(missing_tensor_is_named)
{
    edit e;
    edit_open(&e, GOLDEN("decoder"));
    *edit_find(&e, "conv.blocks.0.norm2.bias") = e.tensors[--e.count];
    expect_refusal(&e, SL_ERR_FORMAT, "conv.blocks.0.norm2.bias is missing");
}
END_TEST

START_TEST(extra_tensor_is_named)
{
    edit e;
    edit_open(&e, GOLDEN("decoder"));
    e.tensors[e.count] = *edit_find(&e, "conv.blocks.0.norm2.bias");
    e.tensors[e.count++].name = "stowaway";
    expect_refusal(&e, SL_ERR_FORMAT, "stowaway does not belong");
}
END_TEST

START_TEST(misshaped_tensor_is_named)
{
    edit e;
    edit_open(&e, GOLDEN("decoder"));
    sl_tensor *t = edit_find(&e, "output_proj.proj.0.weight");
    uint64_t first = t->shape.dim[0];
    t->shape.dim[0] = t->shape.dim[1];
    t->shape.dim[1] = first;
    expect_refusal(&e, SL_ERR_FORMAT, "output_proj.proj.0.weight has shape [16, 4, 3, 3]");
}
END_TEST

START_TEST(integer_tensor_is_refused)
{
    edit e;
    edit_open(&e, GOLDEN("decoder"));
    edit_find(&e, "conv.blocks.0.norm2.bias")->dtype = SL_I16; // as wide as f16
    expect_refusal(&e, SL_ERR_FORMAT, "not floating point");
}
END_TEST

START_TEST(values_that_are_not_finite_are_refused)
{
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    edit e;
    float values[32] = { 0 };
    values[31] = bad[_i];
    edit_open(&e, GOLDEN("decoder"));
    sl_tensor *t = edit_find(&e, "conv.blocks.0.norm2.bias");
    ck_assert_uint_eq(t->shape.dim[0], 32);
    *t = (sl_tensor) {
        .name = t->name, .dtype = SL_F32, .shape = t->shape, .data = values, .bytes = sizeof values
    };
    expect_refusal(&e, SL_ERR_FORMAT, "NaN or infinity");
}
END_TEST

START_TEST(bad_metadata_is_refused)
{
    static char many[8 + 3 * 2000]; // {"a":[{},{},...
    strcpy(many, "{\"a\":[");
    for (size_t i = 0; i < 1500; i++)
        strcat(many, "{},");
    const struct {
        const char *key, *value, *says;
        sl_status status;
    } bad[] = {
        { "architecture", "hourglass", "architecture \"hourglass\"", SL_ERR_UNSUPPORTED },
        { "config", "[1]", "no JSON object", SL_ERR_FORMAT },
        { "config", "{", "no JSON object", SL_ERR_FORMAT },
        { "config", many, "more than 1024 values", SL_ERR_LIMIT },
        { "config", "{\"embed_dim\": 8}", "as many depths", SL_ERR_FORMAT },
        { "config", "{\"embed_dim\": 8, \"colour\": 1}", "\"colour\"", SL_ERR_FORMAT },
        { "config", "{\"embed_dim\": -8}", "\"embed_dim\"", SL_ERR_FORMAT },
        { "config", "{\"threshold\": 1.5}", "\"threshold\"", SL_ERR_FORMAT },
        { "config", "{\"threshold\": 1e-50}", "\"threshold\"", SL_ERR_FORMAT },
        { "config", "{\"threshold\": 0.99999999999}", "\"threshold\"", SL_ERR_FORMAT },
        { "config", "{\"fade\": 0.5}", "\"fade\"", SL_ERR_FORMAT },
        { "config", "{\"fade\": [0.5]}", "\"fade\"", SL_ERR_FORMAT },
        { "config", "{\"fade\": [\"0\", \"1\"]}", "\"fade\"", SL_ERR_FORMAT },
        { "config", "{\"fade\": [0.5, 0.5]}", "\"fade\"", SL_ERR_FORMAT },
        { "config", "{\"fade\": [-0.1, 0.5]}", "\"fade\"", SL_ERR_FORMAT },
        { "config", "{\"fade\": [0.1, 1.5]}", "\"fade\"", SL_ERR_FORMAT },
        { "config", "{\"embed_dim\": 16, \"depths\": [2,1,1,1,3], \"heads\": [1,2,4,2,1]}",
          "disagree about embed_dim", SL_ERR_FORMAT },
        { "config", "{\"embed_dim\": 8, \"depths\": [2,1,2,1,3], \"heads\": [1,2,4,2,1]}",
          "disagree about depths", SL_ERR_FORMAT },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        edit e;
        edit_open(&e, GOLDEN("decoder"));
        edit_set_meta(&e, bad[i].key, bad[i].value);
        expect_refusal(&e, bad[i].status, bad[i].says);
    }
}
END_TEST

START_TEST(description_is_json)
{
    sl_model *model;
    char *text;
    ck_assert_int_eq(sl_model_open(ctx, GOLDEN("decoder"), &model), SL_OK);
    ck_assert_int_eq(sl_model_describe(ctx, model, 33, 40, true, &text), SL_OK);
    json_t *root = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(root);
    ck_assert_int_eq(json_integer_value(json_object_get(root, "padded_width")), 64);
    const json_t *gmac = json_object_get(root, "gmac");
    double sum = json_real_value(json_object_get(gmac, "block")) +
                 json_real_value(json_object_get(gmac, "predict")) +
                 json_real_value(json_object_get(gmac, "conv"));
    ck_assert_double_eq_tol(sum, json_real_value(json_object_get(gmac, "total")), 1e-9);
    ck_assert_uint_gt(json_array_size(json_object_get(root, "graph")), 10);
    json_decref(root);
    free(text);
    ck_assert_int_eq(sl_model_describe(ctx, model, 40, 1u << 21, true, &text), SL_ERR_ARGUMENT);
    ck_assert_int_eq(sl_model_describe(ctx, model, 0, 0, false, &text), SL_OK);
    ck_assert_ptr_nonnull(strstr(text, "\"width\": 512"));
    free(text);
    sl_model_free(model);
}
END_TEST

START_TEST(conversion_round_trips)
{
    static const char *const names[] = { "unshuffle", "fade" };
    char from[512], origin[64];
    sl_model *model, *again;
    const sl_convert_options options = { .half = _i % 2, .overwrite = true };
    snprintf(from, sizeof from, GOLDEN("%s"), names[_i / 2]);
    snprintf(origin, sizeof origin, "%s.safetensors", names[_i / 2]);
    ck_assert_int_eq(sl_model_open(ctx, from, &model), SL_OK);
    ck_assert_int_eq(sl_model_convert(ctx, model, path, NULL), SL_ERR_EXISTS);
    ck_assert_msg(sl_model_convert(ctx, model, path, &options) == SL_OK, "%s", sl_ctx_message(ctx));
    ck_assert_msg(sl_model_open(ctx, path, &again) == SL_OK, "%s", sl_ctx_message(ctx));
    ck_assert_mem_eq(&again->lmd, &model->lmd, sizeof model->lmd);
    ck_assert_str_eq(sl_tensor_set_meta(again->set, "converted_from"), origin);
    for (size_t i = 0; i < sl_tensor_set_count(model->set); i++) {
        const sl_tensor *a = sl_tensor_set_at(model->set, i);
        const sl_tensor *b = sl_tensor_set_find(again->set, a->name);
        ck_assert_uint_eq(a->bytes, b->bytes); // golden models are f16 already
        ck_assert_mem_eq(a->data, b->data, a->bytes);
    }
    sl_model_free(model);
    sl_model_free(again);
}
END_TEST

// Neighbours among floats stay apart, and a threshold decides about the same windows.
START_TEST(conversion_keeps_every_bit_of_the_config)
{
    static const char config[] =
        "{\"embed_dim\": 6, \"depths\": [2, 2, 1, 1, 2], \"heads\": [1, 3, 2, 4, 1], "
        "\"window\": 4, \"mlp_ratio\": 2, \"unshuffle\": 2, \"threshold\": 0.123456791, "
        "\"fade\": [0.3, 0.30000003]}";
    const sl_convert_options options = { .overwrite = true };
    sl_model *model, *again;
    edit e;
    edit_open(&e, GOLDEN("fade"));
    edit_set_meta(&e, "config", config);
    ck_assert_msg(edit_reopen(&e, &model) == SL_OK, "%s", sl_ctx_message(ctx));
    ck_assert_int_eq(sl_model_convert(ctx, model, path, &options), SL_OK);
    ck_assert_msg(sl_model_open(ctx, path, &again) == SL_OK, "%s", sl_ctx_message(ctx));
    ck_assert_mem_eq(again->lmd.fade, model->lmd.fade, sizeof model->lmd.fade);
    ck_assert_mem_eq(&again->lmd.threshold, &model->lmd.threshold, sizeof model->lmd.threshold);
    sl_model_free(model);
    sl_model_free(again);
    sl_tensor_set_free(e.set);
}
END_TEST

START_TEST(half_refuses_what_it_cannot_hold)
{
    sl_model *model;
    static float values[32 * 32];
    edit e;
    const sl_convert_options options = { .half = true, .overwrite = true };
    edit_open(&e, GOLDEN("decoder"));
    sl_tensor *t = edit_find(&e, "conv.blocks.0.attn.proj.weight");
    ck_assert_uint_eq(t->bytes, sizeof values / 2);
    values[5] = 1e6f;
    *t = (sl_tensor) {
        .name = t->name, .dtype = SL_F32, .shape = t->shape, .data = values, .bytes = sizeof values
    };
    ck_assert_int_eq(edit_reopen(&e, &model), SL_OK);
    ck_assert_int_eq(sl_model_convert(ctx, model, "/tmp/never-written", &options), SL_ERR_FORMAT);
    ck_assert_msg(strstr(sl_ctx_message(ctx), "1e+06"), "%s", sl_ctx_message(ctx));
    ck_assert_int_ne(access("/tmp/never-written", F_OK), 0);
    sl_model_free(model);
    sl_tensor_set_free(e.set);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("config");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, config_is_read);
    tcase_add_test(tc, fade_is_read);
    tcase_add_test(tc, config_follows_from_shapes);
    tcase_add_test(tc, shift_follows_img_size);
    tcase_add_test(tc, missing_tensor_is_named);
    tcase_add_test(tc, extra_tensor_is_named);
    tcase_add_test(tc, misshaped_tensor_is_named);
    tcase_add_test(tc, integer_tensor_is_refused);
    tcase_add_loop_test(tc, values_that_are_not_finite_are_refused, 0, 3);
    tcase_add_test(tc, bad_metadata_is_refused);
    tcase_add_test(tc, description_is_json);
    tcase_add_loop_test(tc, conversion_round_trips, 0, 4);
    tcase_add_test(tc, conversion_keeps_every_bit_of_the_config);
    tcase_add_test(tc, half_refuses_what_it_cannot_hold);
    Suite *s = suite_create("net config");
    suite_add_tcase(s, tc);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
