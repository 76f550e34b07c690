// SPDX-License-Identifier: MIT
// tests/detect/published.h: Soft-NMS as its published code does it: in place, box by box, f32 with
// the literal 1 as a double. What detect/ is held to and timed against.
#ifndef TESTS_DETECT_PUBLISHED_H
#define TESTS_DETECT_PUBLISHED_H

#include "detect/detect.h"

#include <math.h>

static inline float published_weight(float o, const sl_nms_options *options)
{
    if (options->kind == SL_NMS_GAUSSIAN)
        return (float)exp((double)(-(o * o) / options->sigma));
    if (!(o > options->iou))
        return 1;
    return options->kind == SL_NMS_LINEAR ? (float)(1.0 - (double)o) : 0;
}

// False: b is to be dropped. `one` is 1, or 0 for sides without it.
static inline bool published_meet(const sl_scored *m, sl_scored *b, double one,
                                  const sl_nms_options *options)
{
    const sl_box *t = &m->box, *x = &b->box;
    float area = (float)(((double)(x->x2 - x->x1) + one) * ((double)(x->y2 - x->y1) + one));
    float right = t->x2 <= x->x2 ? t->x2 : x->x2, left = t->x1 >= x->x1 ? t->x1 : x->x1;
    float w = (float)((double)(right - left) + one);
    if (!(w > 0))
        return true;
    float bottom = t->y2 <= x->y2 ? t->y2 : x->y2, top = t->y1 >= x->y1 ? t->y1 : x->y1;
    float h = (float)((double)(bottom - top) + one);
    if (!(h > 0) || !(w * h > 0)) // the product, as sides without 1 may be too small for f32
        return true;
    float all = (float)(((double)(t->x2 - t->x1) + one) * ((double)(t->y2 - t->y1) + one) +
                        (double)area - (double)(w * h));
    b->score = published_weight(w * h / all, options) * b->score;
    return !(b->score < options->least);
}

// Returns the number of boxes that are left. options: no zeros but for plus_one.
static inline size_t published_soft_nms(sl_scored *boxes, size_t n, const sl_nms_options *options)
{
    const double one = options->plus_one ? 1.0 : 0.0;
    for (size_t i = 0; i < n; i++) {
        size_t best = i;
        for (size_t j = i + 1; j < n; j++)
            if (boxes[best].score < boxes[j].score)
                best = j;
        sl_scored m = boxes[best];
        boxes[best] = boxes[i];
        boxes[i] = m;
        for (size_t j = i + 1; j < n;) {
            if (published_meet(&m, &boxes[j], one, options))
                j++;
            else
                boxes[j] = boxes[--n];
        }
    }
    return n;
}

#endif
