// SPDX-License-Identifier: MIT
// classify/matcher.c: one picture against every class, trained and enrolled.
#include "classify/threshold.h"

#include <float.h>
#include <math.h>

static const double degrees = 180 / 3.14159265358979323846;

// ---- preparation

static sl_status check_sizes(sl_ctx *ctx, const sl_known *known, const sl_gallery *gallery)
{
    const sl_known_shape *s = &known->shape;
    // A size of 0 is one that the model's file does not tell, or that no picture has yet told.
    if (gallery->dimension == 0 || ((s->dimension == 0 || gallery->dimension == s->dimension) &&
                                    (s->pool3_size == 0 || gallery->pool3_size == s->pool3_size) &&
                                    (s->pool4_size == 0 || gallery->pool4_size == s->pool4_size)))
        return SL_OK;
    return sl_fail(ctx, SL_ERR_ARGUMENT,
                   "%s: holds pictures of %zu, %zu and %zu numbers, and %s gives %zu, %zu and %zu",
                   gallery->path, gallery->dimension, gallery->pool3_size, gallery->pool4_size,
                   sl_tensor_set_path(known->set), s->dimension, s->pool3_size, s->pool4_size);
}

// Prototypes as one matrix: where they lie in the file, unless classes were changed since.
static sl_status lay_out_prototypes(sl_ctx *ctx, sl_matcher *matcher)
{
    const sl_gallery *gallery = matcher->gallery;
    const size_t n = gallery->count, d = gallery->dimension;
    bool is_in_place = gallery->rows[SL_GALLERY_PROTOTYPES] != NULL; // else it was never a file
    for (size_t i = 0; i < n && is_in_place; i++)
        is_in_place =
            gallery->classes[i].file_prototype == gallery->rows[SL_GALLERY_PROTOTYPES] + i * d;
    matcher->directions.dimension = d ? d : matcher->known->shape.dimension;
    matcher->directions.enrolled_count = n;
    matcher->directions.enrolled = gallery->rows[SL_GALLERY_PROTOTYPES];
    if (is_in_place)
        return SL_OK;
    size_t count = 0;
    matcher->gathered = sl_mul(n, d, &count) ? sl_alloc(ctx, count, sizeof(float)) : NULL;
    if (!matcher->gathered)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        memcpy(matcher->gathered + i * d, sl_gallery_prototype(gallery, i), d * sizeof(float));
    matcher->directions.enrolled = matcher->gathered;
    return SL_OK;
}

static sl_status lay_out(sl_ctx *ctx, sl_matcher *matcher)
{
    const sl_known *known = matcher->known;
    if (matcher->gallery) {
        if (!sl_known_takes_gallery(known))
            return sl_fail(ctx, SL_ERR_UNSUPPORTED,
                           "%s: its trained classes have no directions to rank beside a gallery's; "
                           "use a model with the head ebv or hyperspherical, or rank the gallery's "
                           "classes alone",
                           sl_tensor_set_path(known->set));
        sl_status st = check_sizes(ctx, known, matcher->gallery);
        if (st == SL_OK)
            st = lay_out_prototypes(ctx, matcher);
        if (st != SL_OK)
            return st;
    }
    if (known->directions) {
        matcher->directions.dimension = known->shape.dimension;
        matcher->directions.trained = known->directions;
        matcher->directions.trained_count = known->shape.classes;
    }
    if (matcher->directions.trained_count + matcher->directions.enrolled_count == 0)
        return SL_OK;
    return sl_hyper_new(ctx, &matcher->directions, &matcher->hyper);
}

sl_status sl_matcher_new(sl_ctx *ctx, const sl_known *known, const sl_gallery *gallery,
                         float unknown_rate, sl_matcher **out)
{
    *out = NULL;
    if (!(unknown_rate < 1))
        return sl_fail(ctx, SL_ERR_ARGUMENT, "an unknown rate of %g; give one below 1",
                       (double)unknown_rate);
    sl_matcher *matcher = sl_alloc(ctx, 1, sizeof(*matcher));
    if (!matcher)
        return SL_ERR_NOMEM;
    matcher->ctx = ctx;
    matcher->known = known;
    matcher->gallery = gallery;
    sl_status st = lay_out(ctx, matcher);
    if (st == SL_OK)
        st = sl_reject_new(ctx, known, gallery, &matcher->reject);
    if (st == SL_OK) {
        float rate = unknown_rate == 0 ? SL_UNKNOWN_RATE : unknown_rate;
        st = sl_matcher_set_thresholds(matcher, (double)rate);
    }
    if (st == SL_OK)
        *out = matcher;
    else
        sl_matcher_free(matcher);
    return st;
}

void sl_matcher_free(sl_matcher *matcher)
{
    if (!matcher)
        return;
    sl_hyper_free(matcher->hyper);
    sl_reject_free(matcher->reject);
    free(matcher->gathered);
    free(matcher);
}

// ---- one picture

static sl_status check_features(sl_ctx *ctx, const sl_matcher *matcher, const sl_features *f)
{
    const sl_known_shape *s = &matcher->known->shape;
    const float *parts[] = { f->embedding, f->pool3, f->pool4, f->logits };
    const size_t sizes[] = { f->dimension, f->pool3_size, f->pool4_size,
                             f->logits ? s->classes : 0 };
    bool fits = !matcher->hyper || f->dimension == matcher->directions.dimension;
    for (sl_layer which = 0; matcher->reject && which < SL_LAYERS; which++) {
        size_t size, want = matcher->known->layers[which].size;
        (void)sl_layer_features(f, which, &size);
        fits = fits && (want == 0 || want == size);
    }
    if (!fits)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "features of %zu, %zu and %zu numbers do not fit %s",
                       f->dimension, f->pool3_size, f->pool4_size,
                       sl_tensor_set_path(matcher->known->set));
    for (size_t p = 0; p < SL_ARRAY_LEN(parts); p++)
        for (size_t i = 0; i < sizes[p]; i++)
            if (!isfinite(parts[p][i]))
                return sl_fail(ctx, SL_ERR_FORMAT,
                               "the network gave numbers that are not finite for this picture");
    return SL_OK;
}

static sl_match make_match(const sl_matcher *matcher, const float *cosines, size_t i)
{
    const size_t trained = matcher->known->shape.classes;
    sl_match match = { .cosine = NAN, .angle_degrees = NAN, .is_enrolled = i >= trained };
    match.label = match.is_enrolled ? matcher->gallery->classes[i - trained].label
                                    : matcher->known->labels[i];
    if (cosines) {
        match.cosine = fminf(fmaxf(cosines[i], -1), 1);
        match.angle_degrees = (float)(acos((double)match.cosine) * degrees);
    }
    return match;
}

// Ranks by the network's own logits where there is no gallery, else by cosines.
static sl_status rank(sl_matcher *matcher, const sl_features *f, const float *cosines, size_t top,
                      sl_classification *out)
{
    const sl_known_shape *s = &matcher->known->shape;
    const bool by_logits = !matcher->gallery && f->logits;
    const float *x = by_logits ? f->logits : cosines;
    // Finite: infinity times the best one's distance from itself would be no number.
    const float scale = fminf((by_logits ? 1 : s->scale) / s->temperature, FLT_MAX);
    size_t n = by_logits ? s->classes
                         : matcher->directions.trained_count + matcher->directions.enrolled_count;
    n = x ? n : 0;
    top = top < n ? top : n;
    size_t *index = sl_alloc(matcher->ctx, top, sizeof(*index));
    float *p = sl_alloc(matcher->ctx, top, sizeof(*p));
    out->matches = sl_alloc(matcher->ctx, top, sizeof(*out->matches));
    sl_status st = index && p && out->matches ? SL_OK : SL_ERR_NOMEM;
    if (st == SL_OK && n > 0) {
        sl_hyper_top(x, n, top, index);
        sl_hyper_softmax(x, n, scale, index, top, p);
        for (size_t i = 0; i < top; i++) {
            out->matches[i] = make_match(matcher, cosines, index[i]);
            out->matches[i].probability = p[i];
        }
        out->count = top;
    }
    free(index);
    free(p);
    return st;
}

// Whose threshold holds depends on the best class, also where no class was asked for.
static void judge(const sl_matcher *matcher, const float *cosines, double confidence,
                  sl_classification *out)
{
    bool is_enrolled = false;
    const size_t trained = matcher->directions.trained_count;
    const size_t all = trained + matcher->directions.enrolled_count;
    if (cosines && matcher->gallery && all > 0) {
        size_t best = 0;
        sl_hyper_top(cosines, all, 1, &best);
        is_enrolled = best >= trained;
    }
    out->confidence = (float)confidence;
    out->threshold = is_enrolled ? matcher->enrolled_threshold : matcher->trained_threshold;
    out->is_unknown = out->confidence < out->threshold; // false where either is NAN
}

sl_status sl_matcher_rank(sl_matcher *matcher, const sl_features *features, size_t top,
                          sl_classification *out)
{
    *out = (sl_classification) { .confidence = NAN, .threshold = NAN };
    sl_status st = check_features(matcher->ctx, matcher, features);
    if (st != SL_OK)
        return st;
    const float *cosines =
        matcher->hyper ? sl_hyper_cosines(matcher->hyper, features->embedding) : NULL;
    st = rank(matcher, features, cosines, top, out);
    if (st == SL_OK && features->dimension > 0) {
        out->embedding = sl_alloc(matcher->ctx, features->dimension, sizeof(*out->embedding));
        if (!out->embedding)
            st = SL_ERR_NOMEM;
    }
    if (st != SL_OK) {
        sl_classification_clear(out);
        return st;
    }
    out->dimension = features->dimension;
    for (size_t i = 0; i < out->dimension; i++)
        out->embedding[i] = features->embedding[i];
    judge(matcher, cosines, sl_matcher_confidence(matcher, features, cosines, NULL), out);
    return SL_OK;
}

void sl_classification_clear(sl_classification *classification)
{
    free(classification->matches);
    free(classification->embedding);
    *classification = (sl_classification) { .confidence = NAN, .threshold = NAN };
}

void sl_classification_free(sl_classification *classification)
{
    if (!classification)
        return;
    sl_classification_clear(classification);
    free(classification);
}
