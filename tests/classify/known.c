// SPDX-License-Identifier: MIT
// tests/classify/known.c: models whose labels, directions or statistics are damaged or missing.
#include "classify/threshold.h"

#include "opened.h"

START_TEST(a_covariance_that_is_singular)
{
    sl_matcher *matcher = NULL;
    for (size_t i = 0; i < MADE_C3; i++) // one feature twice
        model.s3[i * MADE_C3 + 1] = model.s3[i * MADE_C3];
    for (size_t i = 0; i < MADE_C3; i++)
        model.s3[1 * MADE_C3 + i] = model.s3[i];
    model.shrinkage[0] = 0;
    reopen_model();
    ck_fails(sl_matcher_new(ctx, known, NULL, 0, &matcher), SL_ERR_FORMAT,
             "covariance of pool3 is not positive definite");
    ck_assert_ptr_null(matcher);
    model.shrinkage[0] = 0.01;
    reopen_model();
    ck_ok(sl_matcher_new(ctx, known, NULL, 0, &matcher));
    sl_matcher_free(matcher);
    memset(model.s4, 0, sizeof(model.s4));
    reopen_model();
    ck_fails(sl_matcher_new(ctx, known, NULL, 0, &matcher), SL_ERR_FORMAT, "pool4");
}
END_TEST

static void refused(sl_status status, const char *what)
{
    sl_known_shape shape = made_shape(&model);
    sl_known *got = (sl_known *)&shape;
    sl_tensor_set *bad = made_open(&model, in_dir("bad.safetensors"));
    ck_fails(sl_known_new(ctx, bad, &shape, &got), status, what);
    ck_assert_ptr_nonnull(strstr(sl_ctx_message(ctx), "bad.safetensors"));
    ck_assert_ptr_null(got);
    sl_tensor_set_free(bad);
    made_defaults(&model);
}

START_TEST(models_that_are_damaged)
{
    model.labels = "[\"ant\"]";
    refused(SL_ERR_FORMAT, "labels");
    model.labels = "[\"ant\", \"bee\", \"cat\", \"dog\", \"eel\", \"\\u001b\"]";
    refused(SL_ERR_FORMAT, "labels");
    model.labels = "no list";
    refused(SL_ERR_FORMAT, "labels");
    model.directions[5] = NAN;
    refused(SL_ERR_FORMAT, "directions");
    memset(model.directions, 0, MADE_D * sizeof(float));
    refused(SL_ERR_FORMAT, "no length");
    model.means4[2] = INFINITY;
    refused(SL_ERR_FORMAT, "reject.pool4.means");
    model.s3[0] = NAN;
    refused(SL_ERR_FORMAT, "reject.pool3.covariance");
    model.quantiles[500] = 1e6f;
    refused(SL_ERR_FORMAT, "ascending");
    model.shrinkage[1] = 2;
    refused(SL_ERR_FORMAT, "shrinkage");
    model.score = "guess";
    refused(SL_ERR_FORMAT, "score");
}
END_TEST

START_TEST(labels_that_are_missing)
{
    sl_matcher *matcher = NULL;
    made_picture p;
    sl_classification got;
    uint64_t seed = 4;
    model.labels = NULL;
    reopen_model();
    made_draw(2, &seed, &p);
    ck_ok(sl_matcher_new(ctx, known, NULL, 0, &matcher));
    ck_ok(sl_matcher_rank(matcher, &p.f, 1, &got));
    ck_assert_str_eq(got.matches[0].label, "class 2");
    sl_classification_clear(&got);
    sl_matcher_free(matcher);
}
END_TEST

// What the file says of classes that the network has no more is of no use, and no reason to refuse.
START_TEST(a_head_that_was_taken_out)
{
    sl_known_shape shape = made_shape(&model);
    sl_known *bare = NULL;
    sl_matcher *matcher = NULL;
    sl_gallery *gallery = NULL;
    made_picture p;
    uint64_t seed = 4;
    shape.classes = 0;
    shape.has_directions = false;
    ck_ok(sl_known_new(ctx, set, &shape, &bare));
    ck_ok(sl_gallery_new_for(ctx, set, &gallery));
    made_draw(2, &seed, &p);
    ck_ok(sl_gallery_add(ctx, gallery, "newt", &p.f));
    ck_ok(sl_matcher_new(ctx, bare, gallery, 0, &matcher));
    ck_assert_ptr_null(matcher->reject);
    ck_assert(isnan(matcher->trained_threshold));
    sl_matcher_free(matcher);
    sl_gallery_free(gallery);
    sl_known_free(bare);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("known");
    tcase_add_test(tests, a_covariance_that_is_singular);
    tcase_add_test(tests, models_that_are_damaged);
    tcase_add_test(tests, labels_that_are_missing);
    tcase_add_test(tests, a_head_that_was_taken_out);
    return run_case_with("classify-known", tests, begin, end);
}
