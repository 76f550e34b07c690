// SPDX-License-Identifier: MIT
// classify/known.h: what a model's file says about its trained classes. For the files of classify/
// alone.
#ifndef SL_CLASSIFY_KNOWN_H
#define SL_CLASSIFY_KNOWN_H

#include "classify/classify.h"

#define SL_QUANTILES 1001 // 0, 0.1 %, ... 100 %

// The layers whose features have statistics, in this order.
typedef enum sl_layer { SL_LAYER_POOL3, SL_LAYER_POOL4, SL_LAYER_EMBEDDING, SL_LAYERS } sl_layer;
extern const char *const sl_layer_names[SL_LAYERS];

typedef enum sl_score {
    SL_SCORE_COSINE,      // confidence: the largest cosine with a direction or prototype
    SL_SCORE_MAHALANOBIS, // bias + sum over layers of weight * max over classes of -distance^2
} sl_score;

typedef struct sl_layer_statistics {
    size_t size;       // D; 0: the layer has none
    float *means;      // [classes, D]
    float *covariance; // [D, D], not shrunk
    double shrinkage, weight;
} sl_layer_statistics;

struct sl_known {
    const sl_tensor_set *set;
    sl_known_shape shape;
    sl_arena arena;
    const char **labels; // [classes]
    float *directions;   // [classes, d], unit norm; NULL: none
    bool is_measured;    // there is metadata "reject"
    sl_score score;      // then
    sl_layer_statistics layers[SL_LAYERS];
    double bias, count;     // count: training pictures under the covariances
    const float *quantiles; // [SL_QUANTILES] of the confidence of known pictures; NULL: none
};

// The features of a layer; of the embedding those are unit vectors, whatever the head.
const float *sl_layer_features(const sl_features *features, sl_layer layer, size_t *size);

// Of ascending numbers, between two of them where `share` falls there.
double sl_quantile(const float *ascending, size_t count, double share);

#endif
