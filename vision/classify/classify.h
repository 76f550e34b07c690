// SPDX-License-Identifier: MIT
// classify/: what a picture is, once a network has looked at it: trained classes and those enrolled
// in a gallery ranked together, confidence and "unknown", and tables of Equiangular Basis Vectors.
// Knows no network, only the numbers that one gives. May include base/, image/, tensor/, graph/,
// net/, and of cpu/ the kernels.
#ifndef SL_CLASSIFY_CLASSIFY_H
#define SL_CLASSIFY_CLASSIFY_H

#include "net/net.h"
#include "tensor/tensor.h"

#define SL_UNKNOWN_RATE 0.05f // where none is given

// What a network says about one picture. Sizes are the network's, the same for every picture.
typedef struct sl_features {
    size_t dimension, pool3_size, pool4_size; // d, C3, C4; 0: the network gives none
    const float *embedding;                   // [d], unit norm
    const float *pool3;                       // [C3] spatial mean of the last stage but one
    const float *pool4;                       // [C4] and of the last
    const float *logits;                      // [classes], before the temperature; NULL: none
} sl_features;

// ---- known.c: the classes that a network was trained on

typedef struct sl_known_shape {
    size_t classes;                           // 0: a backbone without a head
    size_t dimension, pool3_size, pool4_size; // as of sl_features
    bool has_directions;                      // heads "ebv" and "hyperspherical": tensor directions
    float scale;                              // s of such a head; 0: 1 / 0.07
    float temperature;                        // of the softmax; 0: 1
} sl_known_shape;

// Labels, directions and statistics for rejection, out of a model's file.
typedef struct sl_known sl_known;

// Reads metadata "labels" and "reject" and tensors "directions" and "reject.*" of a network with
// classes; what there is, is checked: shapes against `shape`, labels, finite numbers, ascending
// quantiles. Without "labels" classes are called "class 0", "class 1", ... shape: NULL takes the
// sizes from the file's tensors. The set must outlive *out. SL_ERR_FORMAT, SL_ERR_NOMEM.
sl_status sl_known_new(sl_ctx *ctx, const sl_tensor_set *model, const sl_known_shape *shape,
                       sl_known **out);
void sl_known_free(sl_known *known);
// Whether its classes can be ranked beside a gallery's.
bool sl_known_takes_gallery(const sl_known *known);
// As if the network had been trained on no class. Before a matcher is made.
void sl_known_forget_classes(sl_known *known);

// ---- matcher.c: one picture against every class

// Trained and enrolled classes laid out for answers: directions, factors of the covariances, class
// means, thresholds. With a gallery all classes are ranked together by cosine; a trained head
// without directions then wants statistics of its embedding in the model's file, whose class means
// stand in (SL_ERR_UNSUPPORTED otherwise).
typedef struct sl_matcher sl_matcher;

// gallery: NULL, or one that neither changes nor goes away before *out. unknown_rate: as of
// sl_classify_options. The context and `known` must outlive *out. SL_ERR_FORMAT: a covariance that
// is not positive definite, shrunk as it is. SL_ERR_ARGUMENT: a gallery of other sizes.
sl_status sl_matcher_new(sl_ctx *ctx, const sl_known *known, const sl_gallery *gallery,
                         float unknown_rate, sl_matcher **out);
void sl_matcher_free(sl_matcher *matcher);

// Fills in all of *out but seconds and device: malloc'ed parts, freed by sl_classification_free or
// sl_classification_clear. At most `top` matches. SL_ERR_FORMAT: features that are not finite.
sl_status sl_matcher_rank(sl_matcher *matcher, const sl_features *features, size_t top,
                          sl_classification *out);
void sl_classification_clear(sl_classification *classification);

// ---- gallery.c

// Adds one picture to a class, which is made if it is new. Sizes must be those of the pictures that
// are there already (SL_ERR_ARGUMENT); numbers must be finite and the embedding of unit norm.
sl_status sl_gallery_add(sl_ctx *ctx, sl_gallery *gallery, const char *label,
                         const sl_features *features);

// Whether the gallery was made with this model. SL_ERR_ARGUMENT names both. Hashes the weights,
// unless the gallery was made or opened with this very model.
sl_status sl_gallery_belongs(sl_ctx *ctx, const sl_gallery *gallery, const sl_model *model);

// The same on a model's tensors, with `name` for messages (tests, fuzz targets).
sl_status sl_gallery_new_for(sl_ctx *ctx, const sl_tensor_set *model, sl_gallery **out);
sl_status sl_gallery_parse(sl_ctx *ctx, const void *data, size_t size, const char *name,
                           sl_gallery **out); // the bytes must outlive *out

#endif
