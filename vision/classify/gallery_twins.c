// SPDX-License-Identifier: MIT
// classify/gallery_twins.c: whether a class has the very picture already. Twice in it, it would
// count twice, and when each picture is left out in turn to find a threshold, its twin would speak
// for it.
#include "classify/gallery.h"

#include <stdlib.h>
#include <string.h>

// FNV-1a, by words (Fowler, Noll, Vo): tells which pictures are worth comparing, and no more.
static uint64_t hash(uint64_t h, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t word;
        memcpy(&word, x + i, sizeof(word));
        h = (h ^ word) * 1099511628211u;
    }
    return h;
}

static uint64_t print_of(const sl_features *f)
{
    uint64_t h = hash(14695981039346656037u, f->embedding, f->dimension);
    h = hash(h, f->pool3, f->pool3_size);
    return hash(h, f->pool4, f->pool4_size);
}

static bool is_same(const float *a, const float *b, size_t count)
{
    return count == 0 || memcmp(a, b, count * sizeof(*a)) == 0;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = ((const sl_gallery_print *)a)->hash, y = ((const sl_gallery_print *)b)->hash;
    return (x > y) - (x < y);
}

// Where the first print of that hash stands, or would.
static size_t place_of(const sl_gallery_class *c, uint64_t print)
{
    size_t low = 0, high = c->print_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c->prints[middle].hash < print)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// The prints of all pictures, in order, and room for one more.
static sl_status make_prints(sl_ctx *ctx, const sl_gallery *gallery, size_t i)
{
    sl_gallery_class *c = &gallery->classes[i];
    if (c->print_count == c->count && c->print_count < c->print_room)
        return SL_OK;
    size_t room = c->count + c->count / 2 + 16;
    sl_gallery_print *prints = sl_alloc(ctx, room, sizeof(*prints));
    if (!prints)
        return SL_ERR_NOMEM;
    for (size_t k = 0; k < c->count; k++) {
        sl_features f = sl_gallery_picture(gallery, i, k);
        prints[k] = (sl_gallery_print) { print_of(&f), k };
    }
    if (c->count)
        qsort(prints, c->count, sizeof(*prints), by_value);
    free(c->prints);
    c->prints = prints;
    c->print_count = c->count;
    c->print_room = room;
    return SL_OK;
}

sl_status sl_gallery_has_picture(sl_ctx *ctx, const sl_gallery *gallery, size_t i,
                                 const sl_features *f, bool *out)
{
    const sl_gallery_class *c = &gallery->classes[i];
    *out = false;
    sl_status st = make_prints(ctx, gallery, i);
    if (st != SL_OK)
        return st;
    uint64_t print = print_of(f);
    for (size_t at = place_of(c, print);
         at < c->print_count && c->prints[at].hash == print && !*out; at++) {
        sl_features own = sl_gallery_picture(gallery, i, c->prints[at].picture);
        *out = is_same(own.embedding, f->embedding, f->dimension) &&
               is_same(own.pool3, f->pool3, f->pool3_size) &&
               is_same(own.pool4, f->pool4, f->pool4_size);
    }
    return SL_OK;
}

void sl_gallery_note_picture(sl_gallery_class *c, const sl_features *f)
{
    if (c->print_count + 1 != c->count || c->print_count == c->print_room)
        return; // they are made anew when the next one comes
    uint64_t print = print_of(f);
    size_t at = place_of(c, print);
    memmove(c->prints + at + 1, c->prints + at, (c->print_count - at) * sizeof(*c->prints));
    c->prints[at] = (sl_gallery_print) { print, c->print_count };
    c->print_count++;
}
