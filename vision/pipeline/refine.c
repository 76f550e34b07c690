// SPDX-License-Identifier: MIT
// pipeline/refine.c: objects named anew by a classifier, which knows classes that no detector was
// trained on.
#include "image/image.h"
#include "pipeline/pipeline.h"

#include <math.h>

#define MARGIN 0.1 // of a box's longer side, on every side: what is around tells something, too

// A square around the box, as far as the picture has it: a classifier looks at squares, and of a
// longer rectangle would see the middle alone.
static sl_rectangle square_around(const sl_detection *o, const sl_image *image)
{
    double width = (double)o->x2 - (double)o->x1, height = (double)o->y2 - (double)o->y1;
    double side = (width > height ? width : height) * (1 + 2 * MARGIN);
    double x = ((double)o->x1 + (double)o->x2 - side) / 2;
    double y = ((double)o->y1 + (double)o->y2 - side) / 2;
    double right = fmin(x + side, image->width), bottom = fmin(y + side, image->height);
    sl_rectangle r = { .x = (uint32_t)fmin(fmax(x, 0), image->width - 1),
                       .y = (uint32_t)fmin(fmax(y, 0), image->height - 1) };
    r.width = right > r.x + 1 ? (uint32_t)ceil(right) - r.x : 1;
    r.height = bottom > r.y + 1 ? (uint32_t)ceil(bottom) - r.y : 1;
    return r;
}

static sl_status name(sl_ctx *ctx, sl_classify *classify, const sl_image *image, sl_detection *o)
{
    if (!isfinite(o->x1) || !isfinite(o->y1) || !(o->x2 >= o->x1 && o->x2 < INFINITY) ||
        !(o->y2 >= o->y1 && o->y2 < INFINITY))
        return sl_fail(ctx, SL_ERR_ARGUMENT, "an object from %g, %g to %g, %g is no box",
                       (double)o->x1, (double)o->y1, (double)o->x2, (double)o->y2);
    const sl_rectangle from = square_around(o, image);
    sl_classification *seen = NULL;
    sl_image *part = NULL;
    sl_status st = sl_image_cut(ctx, image, from.x, from.y, from.width, from.height, &part);
    if (st == SL_OK)
        st = sl_classify_run(classify, part, 1, &seen);
    if (st == SL_OK && seen->count > 0) {
        o->label = seen->is_unknown ? "unknown" : seen->matches[0].label;
        o->refined = seen->matches[0].probability;
    }
    sl_classification_free(seen);
    sl_image_free(part);
    return st;
}

sl_status sl_detections_refine(sl_classify *classify, const sl_image *image, sl_detections *found)
{
    sl_ctx *ctx = sl_classify_ctx(classify);
    double start = sl_seconds();
    sl_status st = SL_OK;
    if (found->width != image->width || found->height != image->height)
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "objects of a picture of %u x %u, and another one of %u x %u", found->width,
                       found->height, image->width, image->height);
    for (size_t i = 0; i < found->count && st == SL_OK; i++)
        st = name(ctx, classify, image, &found->items[i]);
    found->seconds += sl_seconds() - start;
    return st;
}
