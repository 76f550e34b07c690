// SPDX-License-Identifier: MIT
// detect/coco_match.c: which detections meet which truths of an image, as pycocotools decides it.
#include "detect/coco.h"

// Both ends belong to a range. Nothing larger than 10^5 squared counts at all.
static const double ranges[SL_COCO_AREAS][2] = {
    { 0, 1e10 }, { 0, 32 * 32 }, { 32 * 32, 96 * 96 }, { 96 * 96, 1e10 }
};

static bool is_outside(double area, size_t range)
{
    return area < ranges[range][0] || area > ranges[range][1];
}

bool sl_coco_is_ignored(const sl_coco_annotation *truth, size_t area)
{
    return truth->is_crowd || is_outside(truth->area, area);
}

// Intersection over union; over a crowd, over the detection's own area.
static double overlap(const double found[4], const double truth[4], bool is_crowd)
{
    const double right_a = found[0] + found[2], right_b = truth[0] + truth[2];
    const double low_a = found[1] + found[3], low_b = truth[1] + truth[3];
    const double w =
        (right_a < right_b ? right_a : right_b) - (found[0] > truth[0] ? found[0] : truth[0]);
    const double h = (low_a < low_b ? low_a : low_b) - (found[1] > truth[1] ? found[1] : truth[1]);
    if (w <= 0 || h <= 0)
        return 0;
    const double common = w * h, area = found[2] * found[3];
    return common / (is_crowd ? area : area + truth[2] * truth[3] - common);
}

static double threshold(size_t t)
{
    const double step = (0.95 - 0.5) / (SL_COCO_THRESHOLDS - 1);
    const double least = t + 1 < SL_COCO_THRESHOLDS ? (double)t * step + 0.5 : 0.95;
    return least < 1 - 1e-10 ? least : 1 - 1e-10;
}

// The truth that a detection takes: of those still free the one that overlaps most, the later on a
// tie, and one that counts before any that is ignored. truth_count: none reaches `least`.
static size_t best_truth(const sl_coco_annotation *const *truths, size_t truth_count,
                         const double *overlaps, const sl_coco_scratch *scratch, size_t counted,
                         size_t t, double least)
{
    size_t best = truth_count;
    for (size_t k = 0; k < truth_count; k++) {
        const size_t g = scratch->order[k];
        if (k == counted && best < truth_count)
            break;
        if ((scratch->taken[g] >> t & 1) && !truths[g]->is_crowd)
            continue;
        if (overlaps[g] < least)
            continue;
        least = overlaps[g];
        best = g;
    }
    return best;
}

// Truths that count in the range first; returns their number.
static size_t sort_truths(const sl_coco_annotation *const *truths, size_t truth_count, size_t area,
                          uint32_t *order)
{
    size_t counted = 0, k = 0;
    for (size_t g = 0; g < truth_count; g++)
        if (!sl_coco_is_ignored(truths[g], area))
            order[k++] = (uint32_t)g;
    counted = k;
    for (size_t g = 0; g < truth_count; g++)
        if (sl_coco_is_ignored(truths[g], area))
            order[k++] = (uint32_t)g;
    return counted;
}

static void match_in(const sl_coco_annotation *const *truths, size_t truth_count, sl_coco_hit *hits,
                     size_t hit_count, const sl_coco_scratch *scratch, size_t area)
{
    const size_t counted = sort_truths(truths, truth_count, area, scratch->order);
    memset(scratch->taken, 0, truth_count * sizeof(*scratch->taken));
    for (size_t d = 0; d < hit_count; d++) {
        const double *box = hits[d].result->box;
        const bool outside = is_outside(box[2] * box[3], area);
        hits[d].met[area] = hits[d].ignored[area] = 0;
        for (size_t t = 0; t < SL_COCO_THRESHOLDS; t++) {
            const uint16_t bit = (uint16_t)(1u << t);
            const size_t g = best_truth(truths, truth_count, scratch->overlaps + d * truth_count,
                                        scratch, counted, t, threshold(t));
            if (g < truth_count) {
                hits[d].met[area] |= bit;
                scratch->taken[g] |= bit;
            }
            if (g < truth_count ? sl_coco_is_ignored(truths[g], area) : outside)
                hits[d].ignored[area] |= bit;
        }
    }
}

static sl_status make_room(sl_ctx *ctx, sl_coco_scratch *scratch, size_t truths)
{
    if (truths <= scratch->truths)
        return SL_OK;
    sl_coco_scratch_free(scratch);
    scratch->overlaps = sl_alloc(ctx, truths, SL_COCO_MOST * sizeof(*scratch->overlaps));
    scratch->order = scratch->overlaps ? sl_alloc(ctx, truths, sizeof(*scratch->order)) : NULL;
    scratch->taken = scratch->order ? sl_alloc(ctx, truths, sizeof(*scratch->taken)) : NULL;
    if (!scratch->taken)
        return SL_ERR_NOMEM;
    scratch->truths = truths;
    return SL_OK;
}

void sl_coco_scratch_free(sl_coco_scratch *scratch)
{
    free(scratch->overlaps);
    free(scratch->order);
    free(scratch->taken);
    *scratch = (sl_coco_scratch) { 0 };
}

sl_status sl_coco_match(sl_ctx *ctx, sl_coco_scratch *scratch,
                        const sl_coco_annotation *const *truths, size_t truth_count,
                        sl_coco_hit *hits, size_t hit_count)
{
    sl_status st = make_room(ctx, scratch, truth_count > 0 ? truth_count : 1);
    if (st != SL_OK)
        return st;
    for (size_t d = 0; d < hit_count; d++)
        for (size_t g = 0; g < truth_count; g++)
            scratch->overlaps[d * truth_count + g] =
                overlap(hits[d].result->box, truths[g]->box, truths[g]->is_crowd);
    for (size_t area = 0; area < SL_COCO_AREAS; area++)
        match_in(truths, truth_count, hits, hit_count, scratch, area);
    return SL_OK;
}
