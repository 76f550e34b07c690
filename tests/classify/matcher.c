// SPDX-License-Identifier: MIT
// tests/classify/matcher.c: ranking, confidence and thresholds, held to plain loops in f64.
#include "classify/threshold.h"

#include "opened.h"

static sl_gallery *enroll(size_t classes, size_t pictures)
{
    sl_gallery *g = NULL;
    ck_ok(sl_gallery_new_for(ctx, set, &g));
    for (size_t c = 0; c < classes; c++)
        for (size_t k = 0; k < pictures; k++) {
            char label[16];
            made_picture p;
            uint64_t seed = 100 * c + k;
            made_draw(MADE_CLASSES + c, &seed, &p);
            snprintf(label, sizeof(label), "new %zu", c);
            ck_ok(sl_gallery_add(ctx, g, label, &p.f));
        }
    return g;
}

// ---- the reference

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

// x = a^-1 b by elimination with pivots. a [n,n] and b are lost.
static void solve(double *a, double *b, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        size_t p = k;
        for (size_t i = k + 1; i < n; i++)
            p = fabs(a[i * n + k]) > fabs(a[p * n + k]) ? i : p;
        for (size_t j = 0; j < n; j++) {
            double t = a[k * n + j];
            a[k * n + j] = a[p * n + j];
            a[p * n + j] = t;
        }
        double t = b[k];
        b[k] = b[p];
        b[p] = t;
        for (size_t i = 0; i < n; i++) {
            if (i == k)
                continue;
            double f = a[i * n + k] / a[k * n + k];
            for (size_t j = 0; j < n; j++)
                a[i * n + j] -= f * a[k * n + j];
            b[i] -= f * b[k];
        }
    }
    for (size_t k = 0; k < n; k++)
        b[k] /= a[k * n + k];
}

// Class c's mean in a layer, without picture `out` (SIZE_MAX: with all).
static void mean_of(const sl_gallery *g, size_t c, sl_layer which, size_t out, double *mean)
{
    size_t n = 0, size = 0;
    memset(mean, 0, 64 * sizeof(*mean));
    for (size_t k = 0; k < g->classes[c].count; k++) {
        sl_features f = sl_gallery_picture(g, c, k);
        const float *v = sl_layer_features(&f, which, &size);
        for (size_t j = 0; j < size && k != out; j++)
            mean[j] += (double)v[j];
        n += k != out;
    }
    for (size_t j = 0; j < size; j++)
        mean[j] /= (double)n;
}

static void reference_covariance(const sl_gallery *g, sl_layer which, double *s)
{
    const sl_layer_statistics *l = &known->layers[which];
    const size_t n = l->size;
    double count = MADE_TRAINING, trace = 0, mean[64];
    for (size_t i = 0; i < n * n; i++)
        s[i] = (double)l->covariance[i] * count;
    for (size_t c = 0; g && c < g->count; c++) {
        if (g->classes[c].count < 2)
            continue;
        mean_of(g, c, which, SIZE_MAX, mean);
        for (size_t k = 0; k < g->classes[c].count; k++, count++) {
            sl_features f = sl_gallery_picture(g, c, k);
            size_t size;
            const float *v = sl_layer_features(&f, which, &size);
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < n; j++)
                    s[i * n + j] += ((double)v[i] - mean[i]) * ((double)v[j] - mean[j]);
        }
    }
    for (size_t i = 0; i < n * n; i++)
        s[i] /= count;
    for (size_t i = 0; i < n; i++)
        trace += s[i * n + i];
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            s[i * n + j] =
                (1 - l->shrinkage) * s[i * n + j] + (i == j ? l->shrinkage * trace / (double)n : 0);
}

static double reference_distance(const double *covariance, const float *v, const double *mean,
                                 size_t n)
{
    double a[64 * 64], x[64], sum = 0;
    memcpy(a, covariance, n * n * sizeof(*a));
    for (size_t i = 0; i < n; i++)
        x[i] = (double)v[i] - mean[i];
    solve(a, x, n);
    for (size_t i = 0; i < n; i++)
        sum += ((double)v[i] - mean[i]) * x[i];
    return sum;
}

static double reference_confidence(const sl_gallery *g, const sl_features *f, size_t out_class,
                                   size_t out)
{
    double confidence = known->bias;
    for (sl_layer which = 0; which < SL_LAYERS; which++) {
        const sl_layer_statistics *l = &known->layers[which];
        size_t n = 0;
        const float *v = sl_layer_features(f, which, &n);
        double covariance[64 * 64], mean[64], least = INFINITY;
        if (l->size == 0)
            continue;
        reference_covariance(g, which, covariance);
        for (size_t c = 0; c < MADE_CLASSES; c++) {
            for (size_t i = 0; i < n; i++)
                mean[i] = (double)l->means[c * n + i];
            least = fmin(least, reference_distance(covariance, v, mean, n));
        }
        for (size_t c = 0; g && c < g->count; c++) {
            mean_of(g, c, which, c == out_class ? out : SIZE_MAX, mean);
            least = fmin(least, reference_distance(covariance, v, mean, n));
        }
        confidence -= l->weight * least;
    }
    return confidence;
}

// ---- tests

// Cosine, angle, order and probability of every class.
static void check_ranking(const sl_classification *got, const sl_gallery *g, const sl_features *f)
{
    const size_t enrolled = g ? g->count : 0, n = MADE_CLASSES + enrolled;
    double cosines[64], sum = 0, total = 0;
    ck_assert_uint_eq(got->count, n);
    for (size_t c = 0; c < n; c++) {
        const float *w = c < MADE_CLASSES ? known->directions + c * MADE_D
                                          : sl_gallery_prototype(g, c - MADE_CLASSES);
        cosines[c] = dot(f->embedding, w, MADE_D);
        sum += exp(16 * cosines[c]);
    }
    for (size_t i = 0; i < n; i++) {
        const sl_match *m = &got->matches[i];
        size_t c = 0;
        while (c < n &&
               strcmp(m->label, c < MADE_CLASSES ? known->labels[c]
                                                 : sl_gallery_label(g, c - MADE_CLASSES)) != 0)
            c++;
        ck_assert_uint_lt(c, n);
        ck_assert(m->is_enrolled == (c >= MADE_CLASSES));
        ck_assert_double_eq_tol((double)m->cosine, cosines[c], 1e-6);
        ck_assert_double_eq_tol(cos((double)m->angle_degrees * 3.141592653589793 / 180), cosines[c],
                                1e-6);
        ck_assert_double_eq_tol((double)m->probability, exp(16 * cosines[c]) / sum, 1e-5);
        ck_assert(i == 0 || m->probability <= got->matches[i - 1].probability);
        total += (double)m->probability;
    }
    ck_assert_double_eq_tol(total, 1, 1e-5);
}

// _i: without a gallery, with one of five pictures a class, with one of one
START_TEST(agrees_with_loops)
{
    sl_gallery *g = _i ? enroll(4, _i == 1 ? 5 : 1) : NULL;
    sl_matcher *matcher = NULL;
    uint64_t seed = 77;
    ck_ok(sl_matcher_new(ctx, known, g, 0, &matcher));
    for (size_t k = 0; k < 40; k++) {
        made_picture p;
        sl_classification got;
        made_draw(k % 13, &seed, &p);
        ck_ok(sl_matcher_rank(matcher, &p.f, SIZE_MAX, &got));
        check_ranking(&got, g, &p.f);
        double want = reference_confidence(g, &p.f, SIZE_MAX, SIZE_MAX);
        ck_assert_double_eq_tol((double)got.confidence, want, 1e-5 * fabs(want));
        ck_assert(got.is_unknown == (got.confidence < got.threshold));
        ck_assert_uint_eq(got.dimension, MADE_D);
        ck_assert_mem_eq(got.embedding, p.embedding, sizeof(p.embedding));
        sl_classification_clear(&got);
    }
    sl_matcher_free(matcher);
    sl_gallery_free(g);
}
END_TEST

START_TEST(logits_rank_where_there_is_no_gallery)
{
    sl_matcher *matcher = NULL;
    made_picture p;
    uint64_t seed = 1;
    sl_classification got;
    made_draw(0, &seed, &p);
    for (size_t i = 0; i < MADE_CLASSES; i++)
        p.logits[i] = (float)(i == 3 ? 1000 : i); // far beyond what exp can take
    p.f.logits = p.logits;
    ck_ok(sl_matcher_new(ctx, known, NULL, -1, &matcher));
    ck_ok(sl_matcher_rank(matcher, &p.f, 2, &got));
    ck_assert_uint_eq(got.count, 2);
    ck_assert_str_eq(got.matches[0].label, "dog");
    ck_assert_str_eq(got.matches[1].label, "fox");
    ck_assert_float_eq(got.matches[0].probability, 1);
    ck_assert(!got.is_unknown && isnan(got.threshold) && isfinite(got.confidence));
    sl_classification_clear(&got);
    sl_matcher_free(matcher);
}
END_TEST

START_TEST(trained_threshold_is_a_quantile)
{
    static const float rates[][2] = {
        { 0, 50 }, { 0.05f, 50 }, { 0.1f, 100 }, { 0.9995f, 999.5f }
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(rates); i++) {
        sl_matcher *matcher = NULL;
        ck_ok(sl_matcher_new(ctx, known, NULL, rates[i][0], &matcher));
        ck_assert_float_eq_tol(matcher->trained_threshold, -1000 + rates[i][1], 1e-3f);
        sl_matcher_free(matcher);
    }
    sl_matcher *matcher = NULL;
    ck_fails(sl_matcher_new(ctx, known, NULL, 1, &matcher), SL_ERR_ARGUMENT, "rate");
    ck_fails(sl_matcher_new(ctx, known, NULL, NAN, &matcher), SL_ERR_ARGUMENT, "rate");
}
END_TEST

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

START_TEST(enrolled_threshold_leaves_one_out)
{
    sl_gallery *g = enroll(4, 5);
    sl_matcher *matcher = NULL;
    double scores[20];
    for (size_t c = 0; c < 4; c++)
        for (size_t k = 0; k < 5; k++) {
            sl_features f = sl_gallery_picture(g, c, k);
            scores[c * 5 + k] = reference_confidence(g, &f, c, k);
        }
    qsort(scores, 20, sizeof(*scores), ascending);
    double want = 0.05 * scores[0] + 0.95 * scores[1]; // at 0.05 * 19 = 0.95
    ck_ok(sl_matcher_new(ctx, known, g, 0.05f, &matcher));
    ck_assert_double_eq_tol((double)matcher->enrolled_threshold, want, 1e-4 * fabs(want));
    ck_assert_uint_eq(matcher->left_out_count, 20);
    // Most enrolled pictures are known, those of other classes are not.
    uint64_t seed = 5;
    size_t refused_known = 0, refused_unknown = 0;
    for (size_t k = 0; k < 200; k++) {
        made_picture p;
        sl_classification got;
        made_draw(MADE_CLASSES + k % 8, &seed, &p);
        ck_ok(sl_matcher_rank(matcher, &p.f, 1, &got));
        if (got.matches[0].is_enrolled)
            *(k % 8 < 4 ? &refused_known : &refused_unknown) += got.is_unknown;
        else
            refused_unknown += k % 8 >= 4; // judged by the made-up quantiles
        sl_classification_clear(&got);
    }
    ck_assert_uint_lt(refused_known, 25);
    ck_assert_uint_gt(refused_unknown, 90);
    sl_matcher_free(matcher);
    sl_gallery_free(g);
    g = enroll(4, 1); // nothing can be left out: the model's threshold holds
    ck_ok(sl_matcher_new(ctx, known, g, 0.05f, &matcher));
    ck_assert_float_eq(matcher->enrolled_threshold, matcher->trained_threshold);
    ck_assert_uint_eq(matcher->left_out_count, 0);
    sl_matcher_free(matcher);
    sl_gallery_free(g);
}
END_TEST

START_TEST(cosine_where_nothing_was_measured)
{
    model.has_statistics = false;
    reopen_model();
    sl_gallery *g = enroll(3, 4);
    sl_matcher *matcher = NULL;
    made_picture p;
    uint64_t seed = 9;
    sl_classification got;
    double least = 1;
    ck_ok(sl_matcher_new(ctx, known, g, 0.05f, &matcher));
    made_draw(MADE_CLASSES, &seed, &p);
    ck_ok(sl_matcher_rank(matcher, &p.f, 1, &got));
    ck_assert_str_eq(got.matches[0].label, "new 0");
    ck_assert_float_eq(got.confidence, got.matches[0].cosine);
    ck_assert(isfinite(got.threshold) && isnan(matcher->trained_threshold));
    sl_classification_clear(&got);
    for (size_t c = 0; c < 3; c++) // each against the mean of the other three
        for (size_t k = 0; k < 4; k++) {
            float other[MADE_D] = { 0 };
            sl_features f = sl_gallery_picture(g, c, k);
            for (size_t j = 0; j < 4; j++)
                for (size_t i = 0; i < MADE_D && j != k; i++)
                    other[i] += sl_gallery_picture(g, c, j).embedding[i];
            made_unit(other, MADE_D);
            least = fmin(least, dot(f.embedding, other, MADE_D));
        }
    ck_ok(sl_matcher_set_thresholds(matcher, 1e-9));
    ck_assert_double_eq_tol((double)matcher->enrolled_threshold, least, 1e-6);
    sl_matcher_free(matcher);
    sl_gallery_free(g);
    ck_ok(sl_matcher_new(ctx, known, NULL, 0, &matcher));
    ck_ok(sl_matcher_rank(matcher, &p.f, 1, &got));
    ck_assert(isnan(got.threshold) && !got.is_unknown);
    sl_classification_clear(&got);
    sl_matcher_free(matcher);
}
END_TEST

// Rounding makes some cosines larger than 1, of which there is no angle.
START_TEST(the_same_picture_is_at_no_angle)
{
    sl_gallery *g = enroll(60, 1);
    sl_matcher *matcher = NULL;
    ck_ok(sl_matcher_new(ctx, known, g, -1, &matcher));
    for (size_t c = 0; c < 60; c++) {
        sl_classification got;
        sl_features f = sl_gallery_picture(g, c, 0);
        ck_ok(sl_matcher_rank(matcher, &f, 1, &got));
        ck_assert_str_eq(got.matches[0].label, sl_gallery_label(g, c));
        ck_assert(got.matches[0].cosine > 0.999f && got.matches[0].cosine <= 1);
        ck_assert(got.matches[0].angle_degrees >= 0 && got.matches[0].angle_degrees < 0.1f);
        sl_classification_clear(&got);
    }
    sl_matcher_free(matcher);
    sl_gallery_free(g);
}
END_TEST

START_TEST(unknown_begins_below_the_threshold)
{
    sl_matcher *matcher = NULL;
    made_picture p;
    uint64_t seed = 4;
    sl_classification got;
    ck_ok(sl_matcher_new(ctx, known, NULL, 0, &matcher));
    made_draw(1, &seed, &p);
    ck_ok(sl_matcher_rank(matcher, &p.f, 1, &got));
    const float confidence = got.confidence;
    for (int above = 0; above < 2; above++) {
        sl_classification_clear(&got);
        matcher->trained_threshold = above ? nextafterf(confidence, INFINITY) : confidence;
        ck_ok(sl_matcher_rank(matcher, &p.f, 1, &got));
        ck_assert(got.is_unknown == above && got.threshold >= got.confidence);
    }
    sl_classification_clear(&got);
    sl_matcher_free(matcher);
}
END_TEST

START_TEST(a_head_without_directions)
{
    sl_gallery *g = enroll(2, 2);
    sl_matcher *matcher = NULL;
    model.has_directions = false;
    reopen_model();
    ck_fails(sl_matcher_new(ctx, known, g, 0, &matcher), SL_ERR_UNSUPPORTED, "no directions");
    made_picture p;
    uint64_t seed = 2;
    sl_classification got;
    made_draw(1, &seed, &p);
    for (size_t i = 0; i < MADE_CLASSES; i++)
        p.logits[i] = i == 1;
    p.f.logits = p.logits;
    ck_ok(sl_matcher_new(ctx, known, NULL, 0, &matcher));
    ck_ok(sl_matcher_rank(matcher, &p.f, 3, &got));
    ck_assert_str_eq(got.matches[0].label, "bee");
    ck_assert(isnan(got.matches[0].cosine) && isnan(got.matches[0].angle_degrees));
    ck_assert(isfinite(got.confidence));
    sl_classification_clear(&got);
    sl_matcher_free(matcher);
    sl_gallery_free(g);
}
END_TEST

// More classes than the exact search takes: the nearest by cosine stand in for all.
START_TEST(a_shortlist)
{
    sl_gallery *g = NULL;
    sl_matcher *matcher = NULL;
    ck_ok(sl_gallery_new_for(ctx, set, &g));
    for (size_t c = 0; c < SL_REJECT_CLASSES + 50; c++)
        for (size_t k = 0; k < 2; k++) {
            char label[16];
            made_picture p;
            uint64_t seed = 2 * c + k;
            made_draw(MADE_CLASSES + c, &seed, &p);
            snprintf(label, sizeof(label), "%zu", c);
            ck_ok(sl_gallery_add(ctx, g, label, &p.f));
        }
    ck_ok(sl_matcher_new(ctx, known, g, 0, &matcher));
    ck_assert(sl_reject_wants_shortlist(matcher->reject));
    uint64_t seed = 3;
    for (size_t k = 0; k < 5; k++) {
        made_picture p;
        sl_classification got;
        made_draw(MADE_CLASSES + 100 * k, &seed, &p);
        ck_ok(sl_matcher_rank(matcher, &p.f, 5, &got));
        double want = reference_confidence(g, &p.f, SIZE_MAX, SIZE_MAX);
        ck_assert_double_eq_tol((double)got.confidence, want, 1e-4 * fabs(want));
        sl_classification_clear(&got);
    }
    ck_assert_uint_gt(matcher->left_out_count, 400); // of all, no more than are worth the time
    ck_assert_uint_le(matcher->left_out_count, 512);
    sl_matcher_free(matcher);
    sl_gallery_free(g);
}
END_TEST

START_TEST(features_that_are_none)
{
    sl_matcher *matcher = NULL;
    made_picture p;
    uint64_t seed = 2;
    sl_classification got;
    ck_ok(sl_matcher_new(ctx, known, NULL, 0, &matcher));
    made_draw(1, &seed, &p);
    sl_features f = p.f;
    f.dimension = 3;
    ck_fails(sl_matcher_rank(matcher, &f, 3, &got), SL_ERR_ARGUMENT, "do not fit");
    f = p.f;
    f.pool4_size--;
    ck_fails(sl_matcher_rank(matcher, &f, 3, &got), SL_ERR_ARGUMENT, "do not fit");
    p.pool3[2] = NAN;
    ck_fails(sl_matcher_rank(matcher, &p.f, 3, &got), SL_ERR_FORMAT, "not finite");
    ck_assert(!got.matches && !got.embedding);
    sl_classification_clear(&got);
    sl_classification_free(NULL);
    sl_matcher_free(matcher);
}
END_TEST

START_TEST(reports)
{
    sl_gallery *g = enroll(3, 4);
    char *text = NULL;
    ck_ok(sl_gallery_describe(ctx, g, &text));
    ck_assert_ptr_nonnull(strstr(text, "\"label\": \"new 1\""));
    ck_assert_ptr_nonnull(strstr(text, "\"pictures\": 12"));
    ck_assert_ptr_nonnull(strstr(text, "\"model\": \"model.safetensors\""));
    ck_assert_ptr_nonnull(strstr(text, "\"nearest\": \"new "));
    free(text);
    ck_ok(sl_gallery_threshold_for(ctx, g, set, 0, &text));
    ck_assert_ptr_nonnull(strstr(text, "\"score\": \"mahalanobis\""));
    ck_assert_ptr_nonnull(strstr(text, "\"trained_threshold\": -950"));
    free(text);
    ck_ok(sl_gallery_threshold_for(ctx, g, NULL, 0.1f, &text));
    ck_assert_ptr_nonnull(strstr(text, "\"score\": \"cosine\""));
    ck_assert_ptr_nonnull(strstr(text, "\"trained_threshold\": null"));
    free(text);
    ck_fails(sl_gallery_threshold_for(ctx, g, NULL, -1, &text), SL_ERR_ARGUMENT, "rate");
    ck_fails(sl_gallery_threshold_for(ctx, g, NULL, 1, &text), SL_ERR_ARGUMENT, "rate");
    // A name of any bytes.
    ck_ok(sl_gallery_save(ctx, g, in_dir("g\xFF")));
    sl_gallery_free(g);
    ck_ok(sl_gallery_open(ctx, in_dir("g\xFF"), NULL, &g));
    ck_ok(sl_gallery_describe(ctx, g, &text));
    ck_assert_ptr_nonnull(strstr(text, "/g\xEF\xBF\xBD\""));
    free(text);
    sl_gallery_free(g);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("matcher");
    tcase_add_loop_test(tests, agrees_with_loops, 0, 3);
    tcase_add_test(tests, logits_rank_where_there_is_no_gallery);
    tcase_add_test(tests, trained_threshold_is_a_quantile);
    tcase_add_test(tests, enrolled_threshold_leaves_one_out);
    tcase_add_test(tests, cosine_where_nothing_was_measured);
    tcase_add_test(tests, the_same_picture_is_at_no_angle);
    tcase_add_test(tests, unknown_begins_below_the_threshold);
    tcase_add_test(tests, a_head_without_directions);
    tcase_add_test(tests, a_shortlist);
    tcase_add_test(tests, features_that_are_none);
    tcase_add_test(tests, reports);
    return run_case_with("classify-matcher", tests, begin, end);
}
