// SPDX-License-Identifier: MIT
// classify/threshold.c: how sure an answer has to be.
#include "classify/threshold.h"

#include <math.h>

#define MOST_LEFT_OUT 512 // pictures; of more, evenly spread ones

static float largest(const float *x, size_t n)
{
    float most = -INFINITY;
    for (size_t i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

double sl_matcher_confidence(sl_matcher *matcher, const sl_features *features, const float *cosines,
                             const sl_left_out *left_out)
{
    const sl_directions *d = &matcher->directions;
    size_t all = d->trained_count + d->enrolled_count;
    if (!matcher->reject)
        return cosines && all > 0 ? (double)largest(cosines, all) : (double)NAN;
    size_t shortlist[SL_REJECT_SHORTLIST], count = 0;
    if (cosines && sl_reject_wants_shortlist(matcher->reject)) {
        count = SL_REJECT_SHORTLIST; // fewer than there are classes then
        sl_hyper_top(cosines + d->trained_count, d->enrolled_count, count, shortlist);
    }
    return sl_reject_score(matcher->reject, features, shortlist, count, left_out);
}

typedef struct sums {
    size_t i;         // the class whose embeddings were added up, once for all of its pictures
    double *all;      // [d], then
    double *others;   // [d], without the picture that is left out
    float *prototype; // [d], of the others
} sums;

static void add_up(const sl_gallery *gallery, size_t i, sums *s)
{
    const size_t d = gallery->dimension;
    s->i = i;
    memset(s->all, 0, d * sizeof(*s->all));
    for (size_t k = 0; k < gallery->classes[i].count; k++) {
        sl_features f = sl_gallery_picture(gallery, i, k);
        for (size_t j = 0; j < d; j++)
            s->all[j] += (double)f.embedding[j];
    }
}

// The cosine with the prototype of a class's other pictures. False: they cancel each other out.
static bool cosine_without(const sl_gallery *gallery, size_t i, size_t out, sums *s, float *cosine)
{
    const size_t d = gallery->dimension, count = gallery->classes[i].count;
    double dot = 0;
    if (s->i != i)
        add_up(gallery, i, s);
    sl_features f = sl_gallery_picture(gallery, i, out);
    for (size_t j = 0; j < d; j++)
        s->others[j] = s->all[j] - (double)f.embedding[j];
    if (!sl_prototype_of(s->others, d, count - 1, s->prototype))
        return false;
    for (size_t j = 0; j < d; j++)
        dot += (double)f.embedding[j] * (double)s->prototype[j];
    *cosine = (float)dot;
    return true;
}

static double score_left_out(sl_matcher *matcher, size_t i, size_t k, sums *s)
{
    const sl_gallery *gallery = matcher->gallery;
    sl_features f = sl_gallery_picture(gallery, i, k);
    const sl_left_out left_out = { i, gallery->classes[i].count };
    float *cosines = NULL, own = 0;
    // The matcher's own buffer: the entry of the class is set to what it would be without.
    if (matcher->hyper) {
        cosines = (float *)(uintptr_t)sl_hyper_cosines(matcher->hyper, f.embedding);
        if (!matcher->reject && cosine_without(gallery, i, k, s, &own))
            cosines[matcher->directions.trained_count + i] = own;
    }
    return sl_matcher_confidence(matcher, &f, cosines, &left_out);
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static size_t pictures_in_company(const sl_gallery *gallery)
{
    size_t count = 0;
    for (size_t i = 0; i < gallery->count; i++)
        count += gallery->classes[i].count > 1 ? gallery->classes[i].count : 0;
    return count;
}

static sl_status leave_one_out(sl_matcher *matcher, double unknown_rate)
{
    const sl_gallery *gallery = matcher->gallery;
    const size_t all = pictures_in_company(gallery);
    const size_t step = (all + MOST_LEFT_OUT - 1) / MOST_LEFT_OUT;
    if (all == 0)
        return SL_OK;
    float *scores = sl_alloc(matcher->ctx, MOST_LEFT_OUT, sizeof(*scores));
    sums s = { .i = SIZE_MAX };
    s.all = sl_alloc(matcher->ctx, gallery->dimension, sizeof(*s.all));
    s.others = sl_alloc(matcher->ctx, gallery->dimension, sizeof(*s.others));
    s.prototype = sl_alloc(matcher->ctx, gallery->dimension, sizeof(*s.prototype));
    sl_status st = scores && s.all && s.others && s.prototype ? SL_OK : SL_ERR_NOMEM;
    size_t count = 0, seen = 0;
    for (size_t i = 0; i < gallery->count && st == SL_OK; i++)
        for (size_t k = 0; gallery->classes[i].count > 1 && k < gallery->classes[i].count; k++)
            if (seen++ % step == 0)
                scores[count++] = (float)score_left_out(matcher, i, k, &s);
    if (st == SL_OK) {
        qsort(scores, count, sizeof(*scores), ascending);
        matcher->enrolled_threshold = (float)sl_quantile(scores, count, unknown_rate);
        matcher->left_out_count = count;
    }
    free(scores);
    free(s.all);
    free(s.others);
    free(s.prototype);
    return st;
}

sl_status sl_matcher_set_thresholds(sl_matcher *matcher, double unknown_rate)
{
    const sl_known *known = matcher->known;
    matcher->trained_threshold = matcher->enrolled_threshold = NAN;
    if (unknown_rate < 0)
        return SL_OK;
    if (known->is_measured && known->quantiles)
        matcher->trained_threshold =
            (float)sl_quantile(known->quantiles, SL_QUANTILES, unknown_rate);
    matcher->enrolled_threshold = matcher->trained_threshold;
    sl_status st = matcher->gallery ? leave_one_out(matcher, unknown_rate) : SL_OK;
    if (st == SL_OK && matcher->directions.enrolled_count > 0 && isnan(matcher->enrolled_threshold))
        sl_log(matcher->ctx, SL_LOG_WARNING,
               "%s: no class has two pictures, so nothing tells where \"unknown\" begins and "
               "nothing is called so; enroll more",
               matcher->gallery->path);
    return st;
}
