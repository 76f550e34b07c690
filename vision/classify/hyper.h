// SPDX-License-Identifier: MIT
// classify/hyper.h: cosines of one embedding with many directions. For the files of classify/
// alone.
#ifndef SL_CLASSIFY_HYPER_H
#define SL_CLASSIFY_HYPER_H

#include "classify/classify.h"
#include "cpu/kernels.h"

// Trained directions, then enrolled prototypes; rows of unit norm, aligned as floats are.
typedef struct sl_directions {
    size_t dimension;
    const float *trained, *enrolled;
    size_t trained_count, enrolled_count;
} sl_directions;

typedef struct sl_hyper sl_hyper;

// Room for one query at a time. The rows must outlive *out.
sl_status sl_hyper_new(sl_ctx *ctx, const sl_directions *directions, sl_hyper **out);
void sl_hyper_free(sl_hyper *hyper);

// Cosines of a unit vector [d] with every row, trained first; valid until the next call. On the
// pool. The same query gives the same numbers whatever the number of threads.
const float *sl_hyper_cosines(sl_hyper *hyper, const float *query);

// Indices of the `top` largest of n values, best first; equal ones in their order. index: [top].
// top <= n.
void sl_hyper_top(const float *values, size_t n, size_t top, size_t *index);

// p[i] = exp(scale * (x[index[i]] - max)) / sum over all of exp(scale * (x[j] - max)).
void sl_hyper_softmax(const float *x, size_t n, float scale, const size_t *index, size_t top,
                      float *p);

#endif
