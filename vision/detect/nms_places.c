// SPDX-License-Identifier: MIT
// detect/nms_places.c: where each box would lie in the array of the published loop, which works in
// place. Only equal scores ask for it.
#include "detect/nms.h"

#define FEW 32

// A box that comes further to the front may be ahead of its block's bound; one that goes back makes
// the bound out of date, which it may be.
static void put(sl_nms_set *set, uint32_t slot, size_t place)
{
    const size_t b = slot / SL_NMS_BLOCK;
    set->at[place] = slot;
    set->slots.place[slot] = (uint32_t)place;
    if (set->slots.score[slot] == set->blocks.best[b] && place < set->blocks.place[b])
        set->blocks.place[b] = (uint32_t)place;
}

void sl_nms_exchange(sl_nms_set *set, size_t i, size_t place)
{
    if (i != place)
        put(set, set->at[i], place);
}

static void sort_places(sl_nms_set *set)
{
    uint32_t *gone = set->gone;
    if (set->gone_count > FEW) {
        for (size_t i = 0; i < set->gone_count; i++)
            set->items[i] = sl_radix_item(gone[i], 0);
        sl_radix_sort(set->items, set->items + set->n, set->gone_count, set->place_bits);
        for (size_t i = 0; i < set->gone_count; i++)
            gone[i] = (uint32_t)(set->items[i] >> 32);
        return;
    }
    for (size_t i = 1; i < set->gone_count; i++) {
        uint32_t place = gone[i];
        size_t j = i;
        for (; j > 0 && gone[j - 1] > place; j--)
            gone[j] = gone[j - 1];
        gone[j] = place;
    }
}

// The loop goes through the places in order; where a box falls, the last one moves in and is looked
// at next, so a last one that falls as well makes room for the one before it.
void sl_nms_fill_places(sl_nms_set *set)
{
    sort_places(set);
    for (size_t k = 0; k < set->gone_count && set->gone[k] < set->end; k++) {
        const size_t hole = set->gone[k];
        do
            set->end--;
        while (set->end > hole && set->at[set->end] == SL_NMS_NONE_AT);
        if (set->end > hole)
            put(set, set->at[set->end], hole);
    }
    set->gone_count = 0;
}
