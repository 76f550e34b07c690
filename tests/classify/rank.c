// SPDX-License-Identifier: MIT
// tests/classify/rank.c: probabilities follow from logits, or from cosines and their scale, over
// the model's temperature.
#include "classify/threshold.h"

#include "opened.h"

// What softmax makes of x, which is lost; its best entry.
static double softmax(double *x, size_t n)
{
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, x[i]);
    for (size_t i = 0; i < n; i++)
        sum += x[i] = exp(x[i] - most);
    return 1 / sum;
}

static double best_probability(const sl_gallery *gallery, const sl_features *f, size_t *count)
{
    sl_matcher *matcher = NULL;
    sl_classification got;
    ck_ok(sl_matcher_new(ctx, known, gallery, -1, &matcher));
    ck_ok(sl_matcher_rank(matcher, f, 100, &got));
    const double p = (double)got.matches[0].probability;
    *count = got.count;
    sl_classification_clear(&got);
    sl_matcher_free(matcher);
    return p;
}

static const float temperatures[] = { 0.5f, 1, 1.7f, 4, 1e-40f };

START_TEST(logits_over_the_temperature)
{
    made_picture p;
    uint64_t seed = 1;
    size_t count = 0;
    double x[MADE_CLASSES];
    made_draw(2, &seed, &p);
    for (size_t i = 0; i < MADE_CLASSES; i++) {
        p.logits[i] = made_normal(&seed);
        x[i] = (double)p.logits[i] / (double)temperatures[_i];
    }
    p.f.logits = p.logits;
    known->shape.temperature = temperatures[_i];
    ck_assert_double_eq_tol(best_probability(NULL, &p.f, &count), softmax(x, MADE_CLASSES), 1e-6);
    ck_assert_uint_eq(count, MADE_CLASSES);
}
END_TEST

START_TEST(cosines_times_the_scale_over_the_temperature)
{
    sl_gallery *g = NULL;
    made_picture p, new;
    uint64_t seed = 1;
    size_t count = 0;
    double x[MADE_CLASSES + 1] = { 0 };
    model.has_statistics = false;
    reopen_model();
    known->shape.temperature = temperatures[_i];
    ck_ok(sl_gallery_new_for(ctx, set, &g));
    made_draw(MADE_CLASSES, &seed, &new);
    ck_ok(sl_gallery_add(ctx, g, "new", &new.f));
    made_draw(2, &seed, &p);
    for (size_t c = 0; c <= MADE_CLASSES; c++) {
        const float *to = c < MADE_CLASSES ? known->directions + c * MADE_D : new.embedding;
        for (size_t j = 0; j < MADE_D; j++)
            x[c] += (double)p.embedding[j] * (double)to[j];
        x[c] *= (double)known->shape.scale / (double)temperatures[_i];
    }
    ck_assert_double_eq_tol(best_probability(g, &p.f, &count), softmax(x, MADE_CLASSES + 1), 1e-5);
    ck_assert_uint_eq(count, MADE_CLASSES + 1);
    sl_gallery_free(g);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("rank");
    tcase_add_loop_test(tests, logits_over_the_temperature, 0, SL_ARRAY_LEN(temperatures));
    tcase_add_loop_test(tests, cosines_times_the_scale_over_the_temperature, 0,
                        SL_ARRAY_LEN(temperatures));
    return run_case_with("classify-rank", tests, begin, end);
}
