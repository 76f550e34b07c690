// SPDX-License-Identifier: MIT
// tests/classify/made.h: models and pictures made of random numbers. No network runs here: what one
// would say about a picture is drawn around its class's centre.
#ifndef TESTS_CLASSIFY_MADE_H
#define TESTS_CLASSIFY_MADE_H

#include "../base/run.h"
#include "classify/classify.h"

#include <math.h>

#define MADE_CLASSES 6
#define MADE_D 16
#define MADE_C3 8
#define MADE_C4 12
#define MADE_TRAINING 2000 // pictures under the statistics

typedef struct made_picture {
    float embedding[MADE_D], pool3[MADE_C3], pool4[MADE_C4], logits[MADE_CLASSES];
    sl_features f;
} made_picture;

static inline double made_uniform(uint64_t *state) // splitmix64
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return ((double)((z ^ (z >> 31)) >> 11) + 0.5) / 9007199254740992.0;
}

static inline float made_normal(uint64_t *state)
{
    double r = sqrt(-2 * log(made_uniform(state)));
    return (float)(r * cos(6.283185307179586 * made_uniform(state)));
}

static inline void made_unit(float *x, size_t n)
{
    double square = 0;
    for (size_t i = 0; i < n; i++)
        square += (double)x[i] * (double)x[i];
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((double)x[i] / sqrt(square));
}

// One value of a class's centre; classes from MADE_CLASSES on were never trained.
static inline void made_centre(size_t c, sl_features *f, made_picture *p)
{
    uint64_t state = 1000 + c;
    for (size_t i = 0; i < MADE_D; i++)
        p->embedding[i] = made_normal(&state);
    made_unit(p->embedding, MADE_D);
    for (size_t i = 0; i < MADE_C3; i++)
        p->pool3[i] = 2 * made_normal(&state);
    for (size_t i = 0; i < MADE_C4; i++)
        p->pool4[i] = 2 * made_normal(&state);
    *f = (sl_features) { .dimension = MADE_D,
                         .pool3_size = MADE_C3,
                         .pool4_size = MADE_C4,
                         .embedding = p->embedding,
                         .pool3 = p->pool3,
                         .pool4 = p->pool4 };
}

// A picture of class c. p->f points into *p.
static inline void made_draw(size_t c, uint64_t *state, made_picture *p)
{
    made_centre(c, &p->f, p);
    for (size_t i = 0; i < MADE_D; i++)
        p->embedding[i] += 0.12f * made_normal(state);
    made_unit(p->embedding, MADE_D);
    for (size_t i = 0; i < MADE_C3; i++)
        p->pool3[i] += 0.5f * made_normal(state);
    for (size_t i = 0; i < MADE_C4;
         i++) // neighbours go together: a covariance that is not diagonal
        p->pool4[i] +=
            0.5f * made_normal(state) + (i ? 0.4f * (p->pool4[i - 1] > 0 ? 1.f : -1.f) : 0);
}

typedef struct made_model {
    float weight[4 * MADE_C4];
    float directions[MADE_CLASSES * MADE_D];
    float means3[MADE_CLASSES * MADE_C3], means4[MADE_CLASSES * MADE_C4];
    float s3[MADE_C3 * MADE_C3], s4[MADE_C4 * MADE_C4];
    float quantiles[1001];
    double shrinkage[2], weights[2], bias;
    const char *score, *labels;
    bool has_statistics, has_directions;
} made_model;

static inline void made_scatter(const float *v, const float *mean, size_t n, double *s)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            s[i * n + j] += ((double)v[i] - (double)mean[i]) * ((double)v[j] - (double)mean[j]);
}

// Statistics of MADE_TRAINING pictures. The quantiles are left at -1000 + i.
static inline void made_statistics(made_model *m)
{
    double s3[MADE_C3 * MADE_C3] = { 0 }, s4[MADE_C4 * MADE_C4] = { 0 };
    static made_picture pictures[MADE_TRAINING];
    uint64_t state = 7;
    memset(m->means3, 0, sizeof(m->means3));
    memset(m->means4, 0, sizeof(m->means4));
    for (size_t i = 0; i < MADE_TRAINING; i++)
        made_draw(i % MADE_CLASSES, &state, &pictures[i]);
    for (size_t c = 0; c < MADE_CLASSES; c++) {
        double sum3[MADE_C3] = { 0 }, sum4[MADE_C4] = { 0 };
        size_t count = 0;
        for (size_t i = c; i < MADE_TRAINING; i += MADE_CLASSES, count++) {
            for (size_t j = 0; j < MADE_C3; j++)
                sum3[j] += (double)pictures[i].pool3[j];
            for (size_t j = 0; j < MADE_C4; j++)
                sum4[j] += (double)pictures[i].pool4[j];
        }
        for (size_t j = 0; j < MADE_C3; j++)
            m->means3[c * MADE_C3 + j] = (float)(sum3[j] / (double)count);
        for (size_t j = 0; j < MADE_C4; j++)
            m->means4[c * MADE_C4 + j] = (float)(sum4[j] / (double)count);
    }
    for (size_t i = 0; i < MADE_TRAINING; i++) {
        made_scatter(pictures[i].pool3, m->means3 + i % MADE_CLASSES * MADE_C3, MADE_C3, s3);
        made_scatter(pictures[i].pool4, m->means4 + i % MADE_CLASSES * MADE_C4, MADE_C4, s4);
    }
    for (size_t i = 0; i < MADE_C3 * MADE_C3; i++)
        m->s3[i] = (float)(s3[i] / MADE_TRAINING);
    for (size_t i = 0; i < MADE_C4 * MADE_C4; i++)
        m->s4[i] = (float)(s4[i] / MADE_TRAINING);
    for (size_t i = 0; i < 1001; i++)
        m->quantiles[i] = -1000 + (float)i;
}

static inline void made_defaults(made_model *m)
{
    memset(m, 0, sizeof(*m));
    for (size_t i = 0; i < SL_ARRAY_LEN(m->weight); i++)
        m->weight[i] = 0.01f * (float)i;
    for (size_t c = 0; c < MADE_CLASSES; c++) {
        made_picture p;
        made_centre(c, &p.f, &p);
        memcpy(m->directions + c * MADE_D, p.embedding, sizeof(p.embedding));
    }
    made_statistics(m);
    m->shrinkage[0] = m->shrinkage[1] = 0.05;
    m->weights[0] = 0.5;
    m->weights[1] = 1.5;
    m->bias = 2;
    m->score = "mahalanobis";
    m->labels = "[\"ant\", \"bee\", \"cat\", \"dog\", \"eel\", \"fox\"]";
    m->has_statistics = m->has_directions = true;
}

#define MADE_TENSOR(text, values, ...)                                                             \
    (sl_tensor)                                                                                    \
    {                                                                                              \
        .name = text, .shape = { __VA_ARGS__ }, .data = values, .bytes = sizeof(values)            \
    }

static inline sl_status made_write(const made_model *m, const char *path)
{
    sl_tensor t[8];
    sl_meta meta[3];
    size_t n = 0, k = 0;
    char reject[512];
    t[n++] = MADE_TENSOR("head.weight", m->weight, 2, { 4, MADE_C4 });
    if (m->has_directions)
        t[n++] = MADE_TENSOR("directions", m->directions, 2, { MADE_CLASSES, MADE_D });
    if (m->has_statistics) {
        t[n++] = MADE_TENSOR("reject.pool3.means", m->means3, 2, { MADE_CLASSES, MADE_C3 });
        t[n++] = MADE_TENSOR("reject.pool4.means", m->means4, 2, { MADE_CLASSES, MADE_C4 });
        t[n++] = MADE_TENSOR("reject.pool3.covariance", m->s3, 2, { MADE_C3, MADE_C3 });
        t[n++] = MADE_TENSOR("reject.pool4.covariance", m->s4, 2, { MADE_C4, MADE_C4 });
        t[n++] = MADE_TENSOR("reject.quantiles", m->quantiles, 1, { 1001 });
        snprintf(reject, sizeof(reject),
                 "{\"layers\": [\"pool3\", \"pool4\"], \"shrinkage\": [%.17g, %.17g], "
                 "\"weights\": [%.17g, %.17g], \"bias\": %.17g, \"count\": %d, \"score\": \"%s\"}",
                 m->shrinkage[0], m->shrinkage[1], m->weights[0], m->weights[1], m->bias,
                 MADE_TRAINING, m->score);
        meta[k++] = (sl_meta) { "reject", reject };
    }
    if (m->labels)
        meta[k++] = (sl_meta) { "labels", m->labels };
    return sl_safetensors_write(ctx, path, true, t, n, meta, k);
}

static inline sl_known_shape made_shape(const made_model *m)
{
    return (sl_known_shape) { .classes = MADE_CLASSES,
                              .dimension = MADE_D,
                              .pool3_size = MADE_C3,
                              .pool4_size = MADE_C4,
                              .has_directions = m->has_directions,
                              .scale = 16,
                              .temperature = 1 };
}

static inline sl_tensor_set *made_open(const made_model *m, const char *path)
{
    sl_tensor_set *set = NULL;
    ck_ok(made_write(m, path));
    ck_ok(sl_tensor_set_open(ctx, path, &set));
    return set;
}

#endif
