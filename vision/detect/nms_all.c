// SPDX-License-Identifier: MIT
// detect/nms_all.c: boxes of many classes: sorted apart, each class by itself, and the best of all.
#include "detect/nms.h"

// Puts the boxes in the order of their keys, equal ones as they were. items: [2 * n], of which the
// first n are filled.
static void arrange(sl_scored *boxes, sl_scored *spare, uint64_t *items, size_t n)
{
    sl_radix_sort(items, items + n, n, 32);
    for (size_t i = 0; i < n; i++)
        spare[i] = boxes[(uint32_t)items[i]];
    memcpy(boxes, spare, n * sizeof(*boxes));
}

static void sort_by_score(sl_scored *boxes, sl_scored *spare, uint64_t *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        items[i] = sl_radix_item(~sl_radix_key(boxes[i].score), i);
    arrange(boxes, spare, items, n);
}

typedef struct room {
    sl_scored *spare, *work; // [n] each
    uint64_t *items;         // [2 * n]
} room;

static void free_room(room *r)
{
    free(r->spare);
    free(r->work);
    free(r->items);
}

static sl_status make_room(sl_ctx *ctx, size_t n, room *r)
{
    r->spare = sl_alloc(ctx, n, sizeof(*r->spare));
    r->work = r->spare ? sl_alloc(ctx, n, sizeof(*r->work)) : NULL;
    r->items = r->work ? sl_alloc(ctx, 2 * n, sizeof(*r->items)) : NULL;
    return r->items ? SL_OK : SL_ERR_NOMEM;
}

sl_status sl_nms_sort(sl_ctx *ctx, sl_scored *boxes, size_t n)
{
    room r = { 0 };
    sl_status st = make_room(ctx, n, &r);
    if (st == SL_OK)
        sort_by_score(boxes, r.spare, r.items, n);
    free_room(&r);
    return st;
}

// Soft-NMS on each run of one label; what is left moves together.
static sl_status each_label(sl_ctx *ctx, sl_scored *boxes, size_t *n, const sl_nms_options *options)
{
    size_t left = 0;
    for (size_t start = 0, end; start < *n; start = end) {
        for (end = start + 1; end < *n && boxes[end].label == boxes[start].label;)
            end++;
        size_t count = end - start;
        sl_status st = sl_soft_nms(ctx, boxes + start, &count, options);
        if (st != SL_OK)
            return st;
        memmove(boxes + left, boxes + start, count * sizeof(*boxes));
        left += count;
    }
    *n = left;
    return SL_OK;
}

sl_status sl_nms_all(sl_ctx *ctx, sl_scored *boxes, size_t *count, const sl_nms_options *options,
                     size_t max)
{
    const size_t n = *count;
    size_t left = n;
    room r = { 0 };
    sl_status st = sl_nms_check(ctx, boxes, n, options);
    if (st == SL_OK && n > 0)
        st = make_room(ctx, n, &r);
    if (st != SL_OK || n == 0)
        goto done;
    memcpy(r.work, boxes, n * sizeof(*boxes)); // a failure leaves the caller's as they were
    for (size_t i = 0; i < n; i++)
        r.items[i] = sl_radix_item(boxes[i].label, i);
    arrange(r.work, r.spare, r.items, n);
    st = each_label(ctx, r.work, &left, options);
    if (st != SL_OK)
        goto done;
    sort_by_score(r.work, r.spare, r.items, left);
    *count = max > 0 && left > max ? max : left;
    memcpy(boxes, r.work, *count * sizeof(*boxes));
done:
    free_room(&r);
    return st;
}
