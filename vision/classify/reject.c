// SPDX-License-Identifier: MIT
// classify/reject.c: Mahalanobis confidence under one tied covariance. Source: "A Simple Unified
// Framework for Detecting Out-of-Distribution Samples", NeurIPS 2018, arXiv 1807.03888.
#include "classify/reject.h"

#include "classify/factor.h"
#include "classify/gallery.h"

#include <assert.h>
#include <math.h>

// With S' = L L^T the distance is the plain one between L^-1 v and L^-1 m: "white" vectors.
typedef struct layer {
    size_t size; // D; 0: not used
    double weight;
    double *factor;   // L [D,D]
    double *trained;  // white means [classes, D]
    double *enrolled; // white means [gallery's classes, D]; NULL with a shortlist
    double *picture;  // [SL_WHITEN_ROWS, D]
    double *scratch;  // [D, SL_WHITEN_ROWS]
} layer;

struct sl_reject {
    sl_ctx *ctx;
    const sl_known *known;
    const sl_gallery *gallery;
    layer layers[SL_LAYERS];
};

// Mean of a class of the gallery, [D] in f64.
static void class_mean(const sl_gallery *gallery, size_t i, sl_layer which, double *mean)
{
    const size_t count = gallery->classes[i].count;
    size_t size = 0;
    for (size_t k = 0; k < count; k++) {
        sl_features f = sl_gallery_picture(gallery, i, k);
        const float *v = sl_layer_features(&f, which, &size);
        for (size_t j = 0; j < size; j++)
            mean[j] = (k ? mean[j] : 0) + (double)v[j];
    }
    for (size_t j = 0; j < size; j++)
        mean[j] /= (double)count;
}

#define CHUNK 64         // pictures whose scatter is added in one go
#define ROWS_PER_TASK 16 // of the covariance

typedef struct scatter {
    const sl_gallery *gallery;
    sl_layer which;
    size_t size;    // D
    double *mean;   // [D] of the class at hand
    double *apart;  // v - m [CHUNK, D]
    size_t waiting; // rows of it
    double *s;      // [D,D], the lower triangle
} scatter;

static void add_rows(void *arg, size_t task, unsigned worker)
{
    const scatter *c = arg;
    (void)worker;
    size_t first = task * ROWS_PER_TASK, last = first + ROWS_PER_TASK;
    for (size_t r = first; r < last && r < c->size; r++)
        for (size_t k = 0; k < c->waiting; k++) {
            const double *apart = c->apart + k * c->size;
            for (size_t j = 0; j <= r; j++)
                c->s[r * c->size + j] += apart[r] * apart[j];
        }
}

static void add_waiting(sl_ctx *ctx, scatter *c)
{
    sl_pool_run(ctx->pool, add_rows, c, (c->size + ROWS_PER_TASK - 1) / ROWS_PER_TASK);
    c->waiting = 0;
}

// Adds (v - m)(v - m)^T of every picture of classes of several. Returns how many those are.
static size_t add_scatter(sl_ctx *ctx, scatter *c)
{
    size_t count = 0, size = 0;
    for (size_t i = 0; i < c->gallery->count; i++) {
        const size_t pictures = c->gallery->classes[i].count;
        if (pictures < 2)
            continue;
        class_mean(c->gallery, i, c->which, c->mean);
        for (size_t k = 0; k < pictures; k++) {
            sl_features f = sl_gallery_picture(c->gallery, i, k);
            const float *v = sl_layer_features(&f, c->which, &size);
            double *apart = c->apart + c->waiting * size;
            for (size_t j = 0; j < size; j++)
                apart[j] = (double)v[j] - c->mean[j];
            if (++c->waiting == CHUNK)
                add_waiting(ctx, c);
        }
        count += pictures;
    }
    add_waiting(ctx, c);
    return count;
}

// The merged covariance, shrunk: (1-g) S + g (tr S / D) I.
static sl_status merge(sl_ctx *ctx, const sl_reject *reject, sl_layer which, double *s)
{
    const sl_layer_statistics *from = &reject->known->layers[which];
    const size_t d = from->size;
    double count = reject->known->count, trace = 0;
    for (size_t i = 0; i < d * d; i++)
        s[i] = (double)from->covariance[i] * count;
    if (reject->gallery) {
        scatter c = { .gallery = reject->gallery, .which = which, .size = d, .s = s };
        c.mean = sl_alloc(ctx, (CHUNK + 1) * d, sizeof(*c.mean));
        if (!c.mean)
            return SL_ERR_NOMEM;
        c.apart = c.mean + d;
        count += (double)add_scatter(ctx, &c);
        free(c.mean);
    }
    for (size_t i = 0; i < d * d; i++)
        s[i] /= count;
    for (size_t i = 0; i < d; i++)
        trace += s[i * d + i];
    for (size_t i = 0; i < d * d; i++)
        s[i] *= 1 - from->shrinkage;
    for (size_t i = 0; i < d; i++)
        s[i * d + i] += from->shrinkage * trace / (double)d;
    return SL_OK;
}

static sl_status factorise(sl_ctx *ctx, const sl_reject *reject, sl_layer which, layer *l)
{
    double *scratch = sl_alloc(ctx, SL_FACTOR_ROWS * l->size, sizeof(*scratch));
    sl_status st = scratch ? merge(ctx, reject, which, l->factor) : SL_ERR_NOMEM;
    if (st == SL_OK && !sl_cholesky(l->factor, l->size, scratch))
        st = sl_fail(ctx, SL_ERR_FORMAT,
                     "%s: the covariance of %s is not positive definite with a shrinkage of %g; "
                     "measure the statistics with more pictures or a larger shrinkage",
                     sl_tensor_set_path(reject->known->set), sl_layer_names[which],
                     reject->known->layers[which].shrinkage);
    free(scratch);
    return st;
}

static sl_status white_means(sl_ctx *ctx, sl_reject *reject, sl_layer which, layer *l)
{
    const sl_layer_statistics *from = &reject->known->layers[which];
    const size_t d = l->size, classes = reject->known->shape.classes;
    l->trained = sl_alloc(ctx, classes * d, sizeof(*l->trained));
    if (!l->trained)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < classes * d; i++)
        l->trained[i] = (double)from->means[i];
    sl_status st = sl_whiten(ctx, l->factor, d, l->trained, classes);
    const size_t enrolled = reject->gallery ? reject->gallery->count : 0;
    if (st != SL_OK || enrolled == 0 || sl_reject_wants_shortlist(reject))
        return st;
    l->enrolled = sl_alloc(ctx, enrolled * d, sizeof(*l->enrolled));
    if (!l->enrolled)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < enrolled; i++)
        class_mean(reject->gallery, i, which, l->enrolled + i * d);
    return sl_whiten(ctx, l->factor, d, l->enrolled, enrolled);
}

static sl_status prepare_layer(sl_ctx *ctx, sl_reject *reject, sl_layer which)
{
    const sl_layer_statistics *from = &reject->known->layers[which];
    layer *l = &reject->layers[which];
    size_t d = from->size;
    if (d == 0)
        return SL_OK;
    l->size = d;
    l->weight = from->weight;
    l->factor = sl_alloc(ctx, d * d, sizeof(*l->factor));
    l->picture = sl_alloc(ctx, SL_WHITEN_ROWS * d, sizeof(*l->picture));
    l->scratch = sl_alloc(ctx, SL_WHITEN_ROWS * d, sizeof(*l->scratch));
    if (!l->factor || !l->picture || !l->scratch)
        return SL_ERR_NOMEM;
    sl_status st = factorise(ctx, reject, which, l);
    return st == SL_OK ? white_means(ctx, reject, which, l) : st;
}

sl_status sl_reject_new(sl_ctx *ctx, const sl_known *known, const sl_gallery *gallery,
                        sl_reject **out)
{
    *out = NULL;
    if (!known->is_measured || known->score != SL_SCORE_MAHALANOBIS)
        return SL_OK;
    sl_reject *reject = sl_alloc(ctx, 1, sizeof(*reject));
    if (!reject)
        return SL_ERR_NOMEM;
    reject->ctx = ctx;
    reject->known = known;
    reject->gallery = gallery;
    sl_status st = SL_OK;
    for (sl_layer which = 0; which < SL_LAYERS && st == SL_OK; which++)
        st = prepare_layer(ctx, reject, which);
    if (st == SL_OK)
        *out = reject;
    else
        sl_reject_free(reject);
    return st;
}

void sl_reject_free(sl_reject *reject)
{
    if (!reject)
        return;
    for (size_t i = 0; i < SL_LAYERS; i++) {
        free(reject->layers[i].factor);
        free(reject->layers[i].trained);
        free(reject->layers[i].enrolled);
        free(reject->layers[i].picture);
        free(reject->layers[i].scratch);
    }
    free(reject);
}

bool sl_reject_wants_shortlist(const sl_reject *reject)
{
    return reject->gallery && reject->gallery->count > SL_REJECT_CLASSES;
}

// ---- one picture

static double distance(const double *a, const double *b, size_t size)
{
    double lanes[4] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + 4 <= size; i += 4)
        for (size_t k = 0; k < 4; k++)
            lanes[k] += (a[i + k] - b[i + k]) * (a[i + k] - b[i + k]);
    for (; i < size; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum + (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

// To the mean of the class's other pictures: (K m - x) / (K - 1), and so for white vectors.
static double distance_without(const double *x, const double *mean, size_t size, size_t count)
{
    double k = (double)count, sum = 0;
    for (size_t i = 0; i < size; i++) {
        double apart = x[i] - (k * mean[i] - x[i]) / (k - 1);
        sum += apart * apart;
    }
    return sum;
}

typedef struct nearest {
    const sl_left_out *left_out;
    const double *x; // the picture, white
    double least;    // distance so far
} nearest;

static void compare(nearest *n, size_t size, const double *mean, size_t class_index)
{
    double apart = class_index == n->left_out->class_index
                       ? distance_without(n->x, mean, size, n->left_out->count)
                       : distance(n->x, mean, size);
    n->least = apart < n->least ? apart : n->least;
}

// Enrolled classes of the shortlist, whose means are made white as they come.
static void compare_shortlist(sl_reject *reject, sl_layer which, const size_t *shortlist,
                              size_t count, nearest *n)
{
    layer *l = &reject->layers[which];
    double *rows = l->picture + l->size; // behind the picture
    const size_t room = SL_WHITEN_ROWS - 1;
    for (size_t first = 0; first < count; first += room) {
        size_t some = count - first < room ? count - first : room;
        for (size_t r = 0; r < some; r++)
            class_mean(reject->gallery, shortlist[first + r], which, rows + r * l->size);
        sl_whiten_rows(l->factor, l->size, rows, some, l->scratch);
        for (size_t r = 0; r < some; r++)
            compare(n, l->size, rows + r * l->size, shortlist[first + r]);
    }
}

static double layer_distance(sl_reject *reject, sl_layer which, const sl_features *features,
                             const size_t *shortlist, size_t count, const sl_left_out *left_out)
{
    layer *l = &reject->layers[which];
    size_t size = 0;
    const float *v = sl_layer_features(features, which, &size);
    assert(size == l->size);
    for (size_t i = 0; i < size; i++)
        l->picture[i] = (double)v[i];
    sl_whiten_rows(l->factor, size, l->picture, 1, l->scratch);
    nearest n = { left_out, l->picture, INFINITY };
    for (size_t c = 0; c < reject->known->shape.classes; c++)
        compare(&n, size, l->trained + c * size, SIZE_MAX - 1);
    for (size_t c = 0; l->enrolled && c < reject->gallery->count; c++)
        compare(&n, size, l->enrolled + c * size, c);
    compare_shortlist(reject, which, shortlist, count, &n);
    return n.least;
}

double sl_reject_score(sl_reject *reject, const sl_features *features, const size_t *shortlist,
                       size_t shortlist_count, const sl_left_out *left_out)
{
    const sl_left_out none = { SIZE_MAX, 0 };
    double confidence = reject->known->bias;
    for (sl_layer which = 0; which < SL_LAYERS; which++)
        if (reject->layers[which].size > 0)
            confidence -= reject->layers[which].weight *
                          layer_distance(reject, which, features, shortlist, shortlist_count,
                                         left_out ? left_out : &none);
    return confidence;
}
