// SPDX-License-Identifier: MIT
// detect/nms.h: how Soft-NMS lays out its boxes, between the files nms*.c.
//
// Boxes lie in blocks of 64 neighbours. A block knows the rectangle around its boxes, so that a
// selected box looks into few of them, and a bound on the best box in it, which may be out of date:
// boxes only lose, so the best bound is asked again until it holds. Each box also carries the place
// that it would have in the array of the published loop: on equal scores the first place wins.
#ifndef SL_DETECT_NMS_H
#define SL_DETECT_NMS_H

#include "cpu/cpu.h"
#include "detect/detect.h"
#include "detect/radix.h"

#define SL_NMS_BLOCK 64 // slots; a whole number of vectors at every level
#define SL_NMS_NONE_AT UINT32_MAX

// Slots. One whose box was selected or dropped is dead: its score is -infinity, and nothing
// overlaps it. Those from sl_nms_set.filled on are dead as well.
typedef struct sl_nms_slots {
    float *x1, *y1, *x2, *y2, *area, *score;
    uint32_t *place, *id; // id: index in the caller's array
} sl_nms_slots;

typedef struct sl_nms_blocks {
    float *x1, *y1, *x2, *y2; // around the boxes; boxes that left may still be counted in
    float *best;              // no box is ahead of (best, place)
    uint32_t *place;
    uint32_t *live; // boxes
    size_t count;
} sl_nms_blocks;

typedef struct sl_nms_rule {
    sl_nms kind;
    float iou, sigma, least;
    float reciprocal; // of sigma, where dividing is multiplying (a power of two); else 0
    float extra;      // to each side: 0 or 1
} sl_nms_rule;

// The selected box.
typedef struct sl_nms_chosen {
    sl_box box;
    double area;
} sl_nms_chosen;

typedef struct sl_nms_set {
    sl_nms_rule rule;
    const struct sl_nms_kernels *kernels;
    const sl_scored *boxes; // the caller's, [n]
    size_t n;
    sl_nms_slots slots;
    sl_nms_blocks blocks;
    uint32_t *at;        // [n] slot of the box at a place; SL_NMS_NONE_AT: it was dropped just now
    uint32_t *reached;   // [blocks] those that the selected box may overlap
    uint32_t *gone;      // [n] places of the boxes dropped in this round
    uint64_t *items;     // [2 * n] for sorting
    unsigned place_bits; // enough for n
    size_t end;          // places in use
    size_t gone_count;
    size_t live, filled; // boxes not selected nor dropped: now, and when the blocks were filled
    void *memory;
} sl_nms_set;

// The inner loops of one SIMD level (nms_kernel.c).
typedef struct sl_nms_kernels {
    // Index of the highest score, of the smallest place where several have it. Reads whole vectors:
    // up to 16 entries beyond n, which must be -infinity.
    size_t (*first)(const float *score, const uint32_t *place, size_t n);
    // Blocks whose rectangle the chosen box overlaps; returns their number.
    size_t (*reach)(const sl_nms_blocks *blocks, const sl_nms_chosen *chosen, float extra,
                    uint32_t *out);
    // Lowers the scores in the blocks reached, as far as slots are filled. Lists those that fell
    // below rule->least, in any order, and returns their number.
    size_t (*lower)(const sl_nms_slots *slots, size_t filled, const uint32_t *reached, size_t count,
                    const sl_nms_chosen *chosen, const sl_nms_rule *rule, uint32_t *fallen);
} sl_nms_kernels;

// ---- nms.c, nms_all.c

// What sl_soft_nms checks before it begins.
sl_status sl_nms_check(sl_ctx *ctx, const sl_scored *boxes, size_t n,
                       const sl_nms_options *options);
// By score, best first; equal ones as they were.
sl_status sl_nms_sort(sl_ctx *ctx, sl_scored *boxes, size_t n);

// ---- nms_blocks.c

// Allocates for set->boxes and fills the blocks. set->kernels, rule, boxes and n are given.
sl_status sl_nms_set_new(sl_ctx *ctx, sl_nms_set *set);
void sl_nms_set_clear(sl_nms_set *set);
// Leaves a dead slot behind.
void sl_nms_remove(sl_nms_set *set, size_t slot);
// Closes the gaps, once most boxes are gone.
void sl_nms_compact(sl_nms_set *set);
// In f64; the published loop rounds it to f32, but for the chosen box.
double sl_nms_area(const sl_box *box, float extra);

// ---- nms_places.c

// The published loop's exchange: the box at place i goes to `place`, which is left.
void sl_nms_exchange(sl_nms_set *set, size_t i, size_t place);
// Its drops: set->gone_count boxes left set->gone; the last ones fill their places.
void sl_nms_fill_places(sl_nms_set *set);

#endif
