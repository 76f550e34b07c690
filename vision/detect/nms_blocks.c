// SPDX-License-Identifier: MIT
// detect/nms_blocks.c: sorts boxes into blocks of neighbours and keeps the blocks full.
#include "detect/nms.h"

#include <assert.h>
#include <math.h>

#define LANES 16 // entries that a vector may read beyond the last block

double sl_nms_area(const sl_box *box, float extra)
{
    return ((double)(box->x2 - box->x1) + (double)extra) *
           ((double)(box->y2 - box->y1) + (double)extra);
}

// Nothing overlaps a slot that begins at infinity, and no score is below that.
static void bury(sl_nms_slots *s, size_t i)
{
    s->x1[i] = INFINITY;
    s->score[i] = -INFINITY;
}

static bool is_live(const sl_nms_slots *s, size_t i)
{
    return s->score[i] > -INFINITY;
}

static void move(sl_nms_set *set, size_t from, size_t to)
{
    sl_nms_slots *s = &set->slots;
    s->x1[to] = s->x1[from];
    s->y1[to] = s->y1[from];
    s->x2[to] = s->x2[from];
    s->y2[to] = s->y2[from];
    s->area[to] = s->area[from];
    s->score[to] = s->score[from];
    s->place[to] = s->place[from];
    s->id[to] = s->id[from];
    set->at[s->place[to]] = (uint32_t)to;
}

static void bury_block(sl_nms_blocks *b, size_t i)
{
    b->x1[i] = b->y1[i] = INFINITY;
    b->x2[i] = b->y2[i] = b->best[i] = -INFINITY;
    b->place[i] = UINT32_MAX;
}

// Rectangle and bound from the first `live` slots.
static void describe_block(sl_nms_set *set, size_t i, size_t live)
{
    const sl_nms_slots *s = &set->slots;
    sl_nms_blocks *b = &set->blocks;
    bury_block(b, i);
    for (size_t k = i * SL_NMS_BLOCK; k < i * SL_NMS_BLOCK + live; k++) {
        b->x1[i] = s->x1[k] < b->x1[i] ? s->x1[k] : b->x1[i];
        b->y1[i] = s->y1[k] < b->y1[i] ? s->y1[k] : b->y1[i];
        b->x2[i] = s->x2[k] > b->x2[i] ? s->x2[k] : b->x2[i];
        b->y2[i] = s->y2[k] > b->y2[i] ? s->y2[k] : b->y2[i];
        if (s->score[k] > b->best[i] || (s->score[k] == b->best[i] && s->place[k] < b->place[i])) {
            b->best[i] = s->score[k];
            b->place[i] = s->place[k];
        }
    }
    b->live[i] = (uint32_t)live;
}

// The blocks of the first `n` slots, which are full; what follows is dead up to `old` blocks.
static void describe_blocks(sl_nms_set *set, size_t n, size_t old)
{
    const size_t count = (n + SL_NMS_BLOCK - 1) / SL_NMS_BLOCK;
    for (size_t k = n; k < count * SL_NMS_BLOCK; k++)
        bury(&set->slots, k);
    for (size_t i = 0; i < count; i++)
        describe_block(set, i, i + 1 < count ? SL_NMS_BLOCK : n - i * SL_NMS_BLOCK);
    for (size_t i = count; i < old; i++)
        bury_block(&set->blocks, i);
    set->blocks.count = count;
    set->live = set->filled = n;
}

void sl_nms_remove(sl_nms_set *set, size_t slot)
{
    const size_t i = slot / SL_NMS_BLOCK;
    bury(&set->slots, slot);
    if (--set->blocks.live[i] == 0)
        bury_block(&set->blocks, i);
    set->live--;
}

void sl_nms_compact(sl_nms_set *set)
{
    size_t n = 0;
    for (size_t k = 0; k < set->filled; k++)
        if (is_live(&set->slots, k)) {
            if (n != k)
                move(set, k, n);
            n++;
        }
    describe_blocks(set, n, set->blocks.count);
}

// Keys are short, as neighbours need not be sorted to the last bit: the class above the distance
// from the leftmost box, then the strip above that from the uppermost.
#define X_BITS 19
#define Y_BITS 18
#define CLASS_BITS 3
#define CLASSES (1u << CLASS_BITS)

static uint32_t near_key(float distance, unsigned bits)
{
    return (sl_radix_key(distance) & 0x7fffffffu) >> (31 - bits);
}

// Boxes that differ fourfold in size do not share a block if they can help it: one large box would
// make its block overlap everything. Classes begin at sides of 4, 16, ... 16384 pixels.
static uint32_t size_class(const sl_box *box)
{
    const float w = box->x2 - box->x1, h = box->y2 - box->y1, side = w > h ? w : h;
    const uint32_t half = side > 1 ? near_key(side, 7) - near_key(1, 7) : 0; // of the exponent
    return half < CLASSES ? half : CLASSES - 1;
}

// The corner that keys count from: of the boxes' middles, twice.
typedef struct least {
    float x, y;
} least;

static least least_of(const sl_scored *boxes, size_t n)
{
    least of = { INFINITY, INFINITY };
    for (size_t j = 0; j < n; j++) {
        const float x = boxes[j].box.x1 + boxes[j].box.x2, y = boxes[j].box.y1 + boxes[j].box.y2;
        of.x = x < of.x ? x : of.x;
        of.y = y < of.y ? y : of.y;
    }
    return of;
}

static uint32_t x_key(const sl_box *box, const least *from)
{
    return size_class(box) << X_BITS | near_key(box->x1 + box->x2 - from->x, X_BITS);
}

// Numbers the strips, from left to right within each class, that hold as many blocks below each
// other as there are strips: at most 2^11 in all, as 2^18 blocks are the most. Returns their
// number.
static uint32_t cut_strips(const uint64_t *items, size_t n, uint32_t *strip)
{
    const unsigned above = 32 + X_BITS;
    uint32_t count = 0;
    for (size_t start = 0, end; start < n; start = end) {
        for (end = start + 1; end < n && items[end] >> above == items[start] >> above;)
            end++;
        const double blocks = (double)(end - start) / SL_NMS_BLOCK;
        const size_t width = (size_t)ceil((double)(end - start) / ceil(sqrt(blocks)));
        for (size_t j = start; j < end; j++)
            strip[(uint32_t)items[j]] = count + (uint32_t)((j - start) / width);
        count += (uint32_t)((end - start + width - 1) / width);
    }
    return count;
}

static unsigned bits_for(size_t n) // to tell n values apart; at least 1
{
    return n > 2 ? 64 - (unsigned)__builtin_clzll((unsigned long long)n - 1) : 1;
}

// Order of the boxes in the slots: by class, strip, and down one strip and up the next.
static const uint64_t *sort_boxes(sl_nms_set *set)
{
    const size_t n = set->n;
    const sl_scored *boxes = set->boxes;
    uint64_t *items = set->items, *spare = items + n;
    uint32_t *strip = set->gone; // not in use yet
    const least from = least_of(boxes, n);
    for (size_t j = 0; j < n; j++)
        items[j] = sl_radix_item(x_key(&boxes[j].box, &from), j);
    if (n <= SL_NMS_BLOCK)
        return items;
    sl_radix_sort(items, spare, n, X_BITS + CLASS_BITS);
    const uint32_t strips = cut_strips(items, n, strip);
    assert(strips <= 1u << (32 - Y_BITS));
    for (size_t j = 0; j < n; j++) {
        const sl_box *box = &boxes[j].box;
        const uint32_t y = near_key(box->y1 + box->y2 - from.y, Y_BITS);
        const uint32_t down = strip[j] % 2 ? y ^ ((1u << Y_BITS) - 1) : y;
        items[j] = sl_radix_item(strip[j] << Y_BITS | down, j);
    }
    sl_radix_sort(items, spare, n, Y_BITS + bits_for(strips));
    return items;
}

static void fill(sl_nms_set *set)
{
    const uint64_t *order = sort_boxes(set);
    sl_nms_slots *s = &set->slots;
    for (size_t k = 0; k < set->n; k++) {
        const uint32_t id = (uint32_t)order[k];
        const sl_scored *from = &set->boxes[id];
        s->x1[k] = from->box.x1;
        s->y1[k] = from->box.y1;
        s->x2[k] = from->box.x2;
        s->y2[k] = from->box.y2;
        s->area[k] = (float)sl_nms_area(&from->box, set->rule.extra);
        s->score[k] = from->score;
        s->place[k] = s->id[k] = id;
        set->at[id] = (uint32_t)k;
    }
    set->end = set->n;
    set->gone_count = 0;
    describe_blocks(set, set->n, set->blocks.count + LANES);
}

sl_status sl_nms_set_new(sl_ctx *ctx, sl_nms_set *set)
{
    const size_t n = set->n, blocks = (n + SL_NMS_BLOCK - 1) / SL_NMS_BLOCK;
    const size_t slots = blocks * SL_NMS_BLOCK, padded = (blocks / LANES + 2) * LANES;
    float *at = sl_alloc(ctx, 12 * slots + 8 * padded + 2 * n, sizeof(*at));
    if (!at)
        return SL_ERR_NOMEM;
    set->memory = at;
    set->items = (uint64_t *)at;
    at += 4 * slots;
    float **floats[] = { &set->slots.x1, &set->slots.y1,   &set->slots.x2,
                         &set->slots.y2, &set->slots.area, &set->slots.score };
    for (size_t i = 0; i < SL_ARRAY_LEN(floats); i++, at += slots)
        *floats[i] = at;
    float **around[] = { &set->blocks.x1, &set->blocks.y1, &set->blocks.x2, &set->blocks.y2,
                         &set->blocks.best };
    for (size_t i = 0; i < SL_ARRAY_LEN(around); i++, at += padded)
        *around[i] = at;
    uint32_t *word = (uint32_t *)at;
    set->slots.place = word;
    set->slots.id = word + slots;
    word += 2 * slots;
    set->blocks.place = word;
    set->blocks.live = word + padded;
    set->reached = word + 2 * padded;
    word += 3 * padded;
    set->at = word;
    set->gone = word + n;
    set->place_bits = bits_for(n);
    set->blocks.count = blocks;
    fill(set);
    return SL_OK;
}

void sl_nms_set_clear(sl_nms_set *set)
{
    free(set->memory);
    set->memory = NULL;
}
