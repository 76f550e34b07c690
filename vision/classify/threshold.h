// SPDX-License-Identifier: MIT
// classify/threshold.h: a matcher's parts, and where "unknown" begins. For the files of classify/
// alone.
#ifndef SL_CLASSIFY_THRESHOLD_H
#define SL_CLASSIFY_THRESHOLD_H

#include "classify/gallery.h"
#include "classify/hyper.h"
#include "classify/reject.h"

struct sl_matcher {
    sl_ctx *ctx;
    const sl_known *known;
    const sl_gallery *gallery; // NULL: none
    sl_directions directions;
    float *gathered;                             // prototypes that do not lie in one piece
    sl_hyper *hyper;                             // NULL: no directions
    sl_reject *reject;                           // NULL: the confidence is the largest cosine
    float trained_threshold, enrolled_threshold; // NAN: none
    size_t left_out_count;                       // pictures under enrolled_threshold
};

// Confidence in f64: Mahalanobis where there are statistics, else the largest of the cosines; NAN
// without either. cosines: of the features' embedding, or NULL.
double sl_matcher_confidence(sl_matcher *matcher, const sl_features *features, const float *cosines,
                             const sl_left_out *left_out);

// Sets both thresholds for a share of known pictures that may be called unknown. Trained classes:
// the quantile of the model's held-back pictures. Enrolled: that of the enrolled pictures, each
// scored with its class's other pictures alone; where no class has two, the trained classes'.
sl_status sl_matcher_set_thresholds(sl_matcher *matcher, double unknown_rate);

#endif
