// SPDX-License-Identifier: MIT
// pipeline/place.c: where labels go. Best detections choose first; each takes the first place that
// is free, else the one that covers least of the labels there are. Of thousands, which no picture
// has room for, only the best are kept legible: the time grows with their number, not its square.
#include "pipeline/detections.h"

#define MOST_STEPS 8   // down along the box, a plate's height each
#define MOST_APART 512 // labels that others keep off

typedef struct search {
    sl_rect bounds;
    int64_t width, height;
    const sl_rect *plates;
    size_t count;
    sl_rect best;
    double covered; // by the best, in pixels of other plates; negative: there is none yet
} search;

static int64_t within(int64_t v, int64_t low, int64_t high)
{
    return v > high ? (high > low ? high : low) : v < low ? low : v;
}

static double covered(const search *s, sl_rect plate)
{
    double sum = 0;
    for (size_t i = 0; i < s->count; i++) {
        const sl_rect common = sl_rect_cut(plate, s->plates[i]);
        if (!sl_rect_is_empty(common))
            sum += (double)(common.right - common.left) * (double)(common.bottom - common.top);
        if (s->covered >= 0 && sum >= s->covered)
            break; // no better
    }
    return sum;
}

// A place is moved sideways into the picture; one above or below it is none. True: free.
static bool attempt(search *s, int64_t left, int64_t top)
{
    const sl_rect *b = &s->bounds;
    if (top < b->top || top + s->height > b->bottom)
        return false;
    left = within(left, b->left, b->right - s->width);
    const sl_rect plate = { left, top, left + s->width, top + s->height };
    const double cost = covered(s, plate);
    if (s->covered < 0 || cost < s->covered) {
        s->best = plate;
        s->covered = cost;
    }
    return s->covered == 0;
}

static bool try_corners(search *s, sl_rect box)
{
    const int64_t left = box.left, right = box.right - s->width;
    const int64_t above = box.top - s->height, inside = box.bottom - s->height;
    return attempt(s, left, above) || attempt(s, left, box.top) || attempt(s, left, box.bottom) ||
           attempt(s, right, above) || attempt(s, right, box.top) ||
           attempt(s, right, box.bottom) || attempt(s, left, inside) || attempt(s, right, inside) ||
           attempt(s, box.right, box.top) || attempt(s, left - s->width, box.top);
}

static bool try_middle(search *s, sl_rect box)
{
    const int64_t left = box.left + (box.right - box.left - s->width) / 2;
    return attempt(s, left, box.top) || attempt(s, left, box.top - s->height) ||
           attempt(s, box.left, box.top) || attempt(s, box.right - s->width, box.top);
}

static bool try_steps(search *s, sl_rect box, int64_t left)
{
    for (int64_t k = 1; k <= MOST_STEPS; k++) {
        const int64_t down = box.top + k * s->height;
        if (down + s->height <= box.bottom && attempt(s, left, down))
            return true;
    }
    return false;
}

sl_rect sl_place_label(sl_rect bounds, sl_rect box, int64_t width, int64_t height, bool at_top,
                       const sl_rect *plates, size_t count)
{
    search s = { .bounds = bounds,
                 .width = width,
                 .height = height,
                 .plates = plates,
                 .count = count < MOST_APART ? count : MOST_APART,
                 .covered = -1 };
    const int64_t middle = box.left + (box.right - box.left - width) / 2;
    bool is_free = at_top ? try_middle(&s, box) : try_corners(&s, box);
    is_free = is_free || try_steps(&s, box, at_top ? middle : box.left);
    if (!is_free && s.covered < 0) // a picture hardly higher than the plate
        attempt(&s, box.left, within(box.top, bounds.top, bounds.bottom - height));
    if (s.covered < 0)
        s.best = (sl_rect) { bounds.left, bounds.top, bounds.left + width, bounds.top + height };
    return s.best;
}
