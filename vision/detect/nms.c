// SPDX-License-Identifier: MIT
// detect/nms.c: Soft-NMS of one class, bit for bit that of the published loop, without looking at
// every pair: the next box comes from the bounds of blocks, and only blocks that it overlaps are
// visited.
#include "detect/nms.h"

#include <math.h>

extern const sl_nms_kernels sl_nms_kernels_portable;
#if defined(__x86_64__)
extern const sl_nms_kernels sl_nms_kernels_avx2;
#endif

static sl_status choose_kernels(sl_ctx *ctx, const sl_nms_kernels **out)
{
    sl_simd level;
    sl_status st = sl_cpu_simd(ctx, &level);
    *out = &sl_nms_kernels_portable;
#if defined(__x86_64__)
    if (st == SL_OK && level >= SL_SIMD_AVX2)
        *out = &sl_nms_kernels_avx2;
#endif
    return st;
}

// A power of two has an exact reciprocal, and multiplying is then dividing.
static float exact_reciprocal(float sigma)
{
    int exponent;
    return frexpf(sigma, &exponent) == 0.5f && fabsf(1 / sigma) < INFINITY ? 1 / sigma : 0;
}

static sl_status read_rule(sl_ctx *ctx, const sl_nms_options *options, sl_nms_rule *out)
{
    static const sl_nms_options defaults;
    const sl_nms_options *o = options ? options : &defaults;
    const float usual = o->kind == SL_NMS_HARD ? 0.5f : 0.3f;
    if ((unsigned)o->kind > SL_NMS_NONE)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "there is no kind %d of NMS", (int)o->kind);
    if (!(o->iou >= 0 && o->iou < 1))
        return sl_fail(ctx, SL_ERR_ARGUMENT, "NMS's IoU of %g; it lies between 0 and 1, without 1",
                       (double)o->iou);
    if (!(o->sigma >= 0 && o->sigma < INFINITY))
        return sl_fail(ctx, SL_ERR_ARGUMENT, "Soft-NMS's sigma of %g; give a number above 0",
                       (double)o->sigma);
    if (!(o->least >= 0 && o->least < INFINITY))
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "NMS's least score of %g; give a number that is not negative",
                       (double)o->least);
    *out = (sl_nms_rule) { .kind = o->kind,
                           .iou = o->iou > 0 ? o->iou : usual,
                           .sigma = o->sigma > 0 ? o->sigma : 0.5f,
                           .least = o->least > 0 ? o->least : 0.001f,
                           .extra = o->plus_one ? 1 : 0 };
    out->reciprocal = exact_reciprocal(out->sigma);
    return SL_OK;
}

static bool is_fit(float coordinate)
{
    return fabsf(coordinate) <= SL_NMS_MAX_COORDINATE; // false for NaN
}

static sl_status check_boxes(sl_ctx *ctx, const sl_scored *boxes, size_t n)
{
    if (n > SL_NMS_MAX_BOXES)
        return sl_fail(ctx, SL_ERR_LIMIT, "%zu boxes for NMS; at most %zu are taken", n,
                       SL_NMS_MAX_BOXES);
    for (size_t i = 0; i < n; i++) {
        const sl_box *b = &boxes[i].box;
        if (!is_fit(b->x1) || !is_fit(b->y1) || !is_fit(b->x2) || !is_fit(b->y2) ||
            !isfinite(boxes[i].score))
            return sl_fail(ctx, SL_ERR_FORMAT,
                           "box %zu is %g, %g, %g, %g with score %g; NMS takes finite numbers, and "
                           "coordinates up to %g",
                           i, (double)b->x1, (double)b->y1, (double)b->x2, (double)b->y2,
                           (double)boxes[i].score, (double)SL_NMS_MAX_COORDINATE);
    }
    return SL_OK;
}

// The slot of the best box. Bounds that do not hold any more are brought up to date on the way.
static size_t best_slot(sl_nms_set *set)
{
    sl_nms_blocks *b = &set->blocks;
    const sl_nms_slots *s = &set->slots;
    for (;;) {
        const size_t i = set->kernels->first(b->best, b->place, b->count);
        const size_t from = i * SL_NMS_BLOCK;
        const size_t slot =
            from + set->kernels->first(s->score + from, s->place + from, SL_NMS_BLOCK);
        if (s->score[slot] == b->best[i] && s->place[slot] == b->place[i])
            return slot;
        b->best[i] = s->score[slot];
        b->place[i] = s->place[slot];
    }
}

// Lowers what overlaps the chosen box, and drops what falls.
static void lower_others(sl_nms_set *set, const sl_nms_chosen *chosen)
{
    uint32_t *fallen = (uint32_t *)set->items; // not in use meanwhile
    const size_t reached = set->kernels->reach(&set->blocks, chosen, set->rule.extra, set->reached);
    set->gone_count = set->kernels->lower(&set->slots, set->filled, set->reached, reached, chosen,
                                          &set->rule, fallen);
    for (size_t k = 0; k < set->gone_count; k++) {
        set->gone[k] = set->slots.place[fallen[k]];
        set->at[set->gone[k]] = SL_NMS_NONE_AT;
        sl_nms_remove(set, fallen[k]);
    }
    sl_nms_fill_places(set);
}

// Until the end, out[].label is the box's index.
static size_t select_boxes(sl_nms_set *set, sl_scored *out)
{
    const sl_nms_slots *s = &set->slots;
    size_t n = 0;
    for (; n < set->end; n++) {
        const size_t slot = best_slot(set);
        sl_nms_chosen chosen = { { s->x1[slot], s->y1[slot], s->x2[slot], s->y2[slot] }, 0 };
        chosen.area = sl_nms_area(&chosen.box, set->rule.extra);
        out[n] = (sl_scored) { chosen.box, s->score[slot], s->id[slot] };
        sl_nms_exchange(set, n, s->place[slot]);
        sl_nms_remove(set, slot);
        lower_others(set, &chosen);
        if (set->live < set->filled / 2 && set->filled > 2 * SL_NMS_BLOCK)
            sl_nms_compact(set);
    }
    for (size_t i = 0; i < n; i++)
        out[i].label = set->boxes[out[i].label].label;
    return n;
}

static sl_status soften(sl_ctx *ctx, sl_scored *boxes, size_t *count, const sl_nms_rule *rule)
{
    sl_nms_set set = { .rule = *rule, .boxes = boxes, .n = *count };
    sl_status st = choose_kernels(ctx, &set.kernels);
    if (st != SL_OK)
        return st;
    sl_scored *out = sl_alloc(ctx, set.n, sizeof(*out));
    if (!out)
        return SL_ERR_NOMEM;
    st = sl_nms_set_new(ctx, &set);
    if (st == SL_OK) {
        *count = select_boxes(&set, out);
        memcpy(boxes, out, *count * sizeof(*out));
    }
    sl_nms_set_clear(&set);
    free(out);
    return st;
}

sl_status sl_nms_check(sl_ctx *ctx, const sl_scored *boxes, size_t n, const sl_nms_options *options)
{
    sl_nms_rule rule;
    sl_status st = read_rule(ctx, options, &rule);
    return st == SL_OK ? check_boxes(ctx, boxes, n) : st;
}

sl_status sl_soft_nms(sl_ctx *ctx, sl_scored *boxes, size_t *count, const sl_nms_options *options)
{
    sl_nms_rule rule;
    sl_status st = read_rule(ctx, options, &rule);
    if (st == SL_OK)
        st = check_boxes(ctx, boxes, *count);
    if (st != SL_OK || *count == 0)
        return st;
    if (rule.kind == SL_NMS_NONE)
        return sl_nms_sort(ctx, boxes, *count);
    return soften(ctx, boxes, count, &rule);
}
