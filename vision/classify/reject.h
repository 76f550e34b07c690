// SPDX-License-Identifier: MIT
// classify/reject.h: how sure an answer is. For the files of classify/ alone.
#ifndef SL_CLASSIFY_REJECT_H
#define SL_CLASSIFY_REJECT_H

#include "classify/known.h"

// Of this many enrolled classes every one is a candidate for the nearest mean; of more, those whose
// prototypes have the largest cosines.
#define SL_REJECT_CLASSES 1024
#define SL_REJECT_SHORTLIST 32

// Mahalanobis distances to the class means, trained and enrolled, under one covariance for each
// layer: the model's, merged with the scatter of the enrolled pictures.
typedef struct sl_reject sl_reject;

// NULL in *out where the model has no such statistics. Merging is exact: both are sums over
// pictures of (v - m)(v - m)^T, m the mean of the picture's class. Classes of one picture have no
// scatter and are left out of the count too. The shrinkage stays the model's: Ledoit and Wolf's
// estimate wants the single training pictures, and next to those enrolled ones weigh little.
sl_status sl_reject_new(sl_ctx *ctx, const sl_known *known, const sl_gallery *gallery,
                        sl_reject **out);
void sl_reject_free(sl_reject *reject);

// A picture that is left out of its class: sl_reject_score then takes the mean of the others.
typedef struct sl_left_out {
    size_t class_index; // of the gallery; SIZE_MAX: none is
    size_t count;       // pictures of the class, this one included; at least 2
} sl_left_out;

bool sl_reject_wants_shortlist(const sl_reject *reject);

// The fused confidence. shortlist: classes of the gallery, where it is wanted.
double sl_reject_score(sl_reject *reject, const sl_features *features, const size_t *shortlist,
                       size_t shortlist_count, const sl_left_out *left_out);

#endif
