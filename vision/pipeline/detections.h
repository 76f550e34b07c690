// SPDX-License-Identifier: MIT
// pipeline/detections.h: what the overlay and the files of detections share.
#ifndef SL_PIPELINE_DETECTIONS_H
#define SL_PIPELINE_DETECTIONS_H

#include "image/shapes.h"

#include <math.h>

// SL_ERR_ARGUMENT: a box with a coordinate or score that is not finite, or the wrong way round.
sl_status sl_detection_check(sl_ctx *ctx, const sl_detection *d);
sl_status sl_detections_check(sl_ctx *ctx, const sl_detections *found);

// What to call it: never NULL.
static inline const char *sl_detection_label(const sl_detection *d)
{
    return d->label ? d->label : d->class_label ? d->class_label : "";
}

static inline bool sl_detection_is_refined(const sl_detection *d)
{
    return !isnan(d->refined);
}

// palette.c: the colour of a class by its index, or by its name; black or white to write on it.
sl_colour sl_palette_colour(size_t index);
size_t sl_palette_index(const char *label);
sl_colour sl_palette_ink(sl_colour plate);

// place.c: where labels go. A plate of width x height for a box, inside the picture's `bounds`, off
// the plates that are there where it can be: above the box, inside of it at the top, below it, ...
// The box is its frame's outer edge. at_top: in the middle of its top instead.
sl_rect sl_place_label(sl_rect bounds, sl_rect box, int64_t width, int64_t height, bool at_top,
                       const sl_rect *plates, size_t count);

#endif
