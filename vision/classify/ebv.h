// SPDX-License-Identifier: MIT
// classify/ebv.h: between what is asked of a table of basis vectors and how it is found. For the
// files of classify/ alone.
#ifndef SL_CLASSIFY_EBV_H
#define SL_CLASSIFY_EBV_H

#include "classify/classify.h"

#define SL_EBV_TOLERANCE 1e-4 // of max |cos| above alpha, as in the official code

// |cos| of every two rows of a set.
typedef struct sl_ebv_cosines {
    double max, mean;
} sl_ebv_cosines;

// rows [n,d], unit norm -> as far towards max |cos| <= alpha as `steps` go; the best set is left in
// `rows`, and what it reaches in *reached. *taken: steps. SL_ERR_NOMEM, SL_ERR_CANCELLED.
sl_status sl_ebv_descend(sl_ctx *ctx, float *rows, size_t n, size_t d, double alpha, unsigned steps,
                         sl_ebv_cosines *reached, unsigned *taken);

sl_status sl_ebv_measure(sl_ctx *ctx, const float *rows, size_t n, size_t d, sl_ebv_cosines *out);

#endif
