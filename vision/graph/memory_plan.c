// SPDX-License-Identifier: MIT
// graph/memory_plan.c: packs all activations into one arena by their lives. Largest first, each at
// the lowest offset that is free for its whole life (best known simple heuristic: Pisarchyk and
// Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020, greedy by size).
#include "graph/graph.h"

typedef struct item {
    size_t bytes;
    size_t first, last; // nodes, inclusive
    size_t offset;
    size_t id; // value, or value_count + node for scratch
} item;

typedef struct planner {
    sl_ctx *ctx;
    const sl_graph *g;
    const size_t *bytes; // by value, or NULL
    sl_value *owner;     // by value: whose memory it lives in
    size_t *last;        // by value: last node that needs its contents
} planner;

#define PLACE_ALIGN 256 // bytes: cache lines, and the coarsest binding of a Vulkan device

static size_t align_up(size_t bytes)
{
    return (bytes + PLACE_ALIGN - 1) / PLACE_ALIGN * PLACE_ALIGN;
}

// Fills owner and last, and refuses an in-place op whose input has a later reader.
static sl_status find_lives(planner *p)
{
    const sl_graph *g = p->g;
    for (size_t v = 1; v < g->value_count; v++) {
        p->owner[v] = (sl_value)v;
        p->last[v] = g->values[v].producer;
    }
    for (size_t n = 0; n < g->node_count; n++)
        for (unsigned k = 0; k < SL_MAX_INPUTS; k++)
            if (g->nodes[n].in[k] != SL_NO_VALUE)
                p->last[g->nodes[n].in[k]] = n;
    for (size_t v = 1; v < g->value_count; v++)
        if (g->values[v].output)
            p->last[v] = g->node_count;

    for (size_t n = 0; n < g->node_count; n++) {
        const sl_node *node = &g->nodes[n];
        if (!sl_op_get(node->op)->in_place)
            continue;
        sl_value from = node->in[0];
        if (p->last[from] > n)
            return sl_fail(p->ctx, SL_ERR_ARGUMENT, "%s %s: its input is read again by node %zu",
                           sl_op_get(node->op)->name, node->label, p->last[from]);
        p->owner[node->out[0]] = p->owner[from];
    }
    return SL_OK;
}

static size_t bytes_of(const planner *p, size_t value)
{
    return p->bytes ? p->bytes[value] : p->g->values[value].bytes;
}

static int larger_first(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

// The lowest offset at which `it` meets no placed item that lives at the same time. placed: sorted
// by offset.
static size_t lowest_offset(const item *it, const item *const *placed, size_t count)
{
    size_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        const item *other = placed[i];
        if (other->last < it->first || other->first > it->last)
            continue;
        if (offset + it->bytes <= other->offset)
            return offset;
        size_t end = other->offset + other->bytes;
        if (end > offset)
            offset = end;
    }
    return offset;
}

static size_t collect(const planner *p, const size_t *scratch, item *items)
{
    const sl_graph *g = p->g;
    size_t count = 0;
    for (size_t v = 1; v < g->value_count; v++) {
        if (p->owner[v] != v)
            continue;
        item it = { .bytes = align_up(bytes_of(p, v)),
                    .first = g->values[v].producer,
                    .last = p->last[v],
                    .id = v };
        if (g->nodes[it.first].op == SL_OP_INPUT)
            it.first = 0; // written before the run
        for (size_t u = v + 1; u < g->value_count; u++)
            if (p->owner[u] == v && p->last[u] > it.last)
                it.last = p->last[u];
        if (it.bytes > 0)
            items[count++] = it;
    }
    for (size_t n = 0; n < g->node_count; n++)
        if (scratch && scratch[n] > 0)
            items[count++] = (item) {
                .bytes = align_up(scratch[n]), .first = n, .last = n, .id = g->value_count + n
            };
    return count;
}

static size_t place(item *items, size_t count, const item **placed)
{
    size_t total = 0;
    qsort(items, count, sizeof *items, larger_first);
    for (size_t i = 0; i < count; i++) {
        items[i].offset = lowest_offset(&items[i], placed, i);
        size_t at = i;
        for (; at > 0 && placed[at - 1]->offset > items[i].offset; at--)
            placed[at] = placed[at - 1];
        placed[at] = &items[i];
        if (items[i].offset + items[i].bytes > total)
            total = items[i].offset + items[i].bytes;
    }
    return total;
}

static sl_status check_total(sl_ctx *ctx, const sl_graph *g, const size_t *scratch)
{
    size_t sum = 0;
    for (size_t v = 1; v < g->value_count; v++)
        if (!sl_add(sum, g->values[v].bytes, &sum) || !sl_add(sum, PLACE_ALIGN, &sum))
            return sl_fail(ctx, SL_ERR_LIMIT, "the activations of this size exceed memory");
    for (size_t n = 0; scratch && n < g->node_count; n++)
        if (!sl_add(sum, scratch[n], &sum) || !sl_add(sum, PLACE_ALIGN, &sum))
            return sl_fail(ctx, SL_ERR_LIMIT, "the activations of this size exceed memory");
    return SL_OK;
}

sl_status sl_memory_plan_new(sl_ctx *ctx, const sl_graph *g, const size_t *bytes,
                             const size_t *scratch, sl_memory_plan *out)
{
    *out = (sl_memory_plan) { 0 };
    size_t slots = g->value_count + g->node_count;
    planner p = { .ctx = ctx, .g = g, .bytes = bytes };
    p.owner = sl_alloc(ctx, g->value_count, sizeof *p.owner);
    p.last = sl_alloc(ctx, g->value_count, sizeof *p.last);
    item *items = sl_alloc(ctx, slots, sizeof *items);
    const item **placed = sl_alloc(ctx, slots, sizeof *placed);
    out->value_offset = sl_alloc(ctx, g->value_count, sizeof *out->value_offset);
    out->scratch_offset = sl_alloc(ctx, g->node_count, sizeof *out->scratch_offset);
    sl_status st = SL_ERR_NOMEM;
    if (!p.owner || !p.last || !items || !placed || !out->value_offset || !out->scratch_offset)
        goto done;
    st = check_total(ctx, g, scratch);
    if (st == SL_OK)
        st = find_lives(&p);
    if (st != SL_OK)
        goto done;

    size_t count = collect(&p, scratch, items);
    out->total = place(items, count, placed);
    for (size_t i = 0; i < count; i++) {
        if (items[i].id >= g->value_count)
            out->scratch_offset[items[i].id - g->value_count] = items[i].offset;
        else
            out->value_offset[items[i].id] = items[i].offset;
    }
    for (size_t v = 1; v < g->value_count; v++)
        out->value_offset[v] = out->value_offset[p.owner[v]];
done:
    if (st != SL_OK)
        sl_memory_plan_free(out);
    free(p.owner);
    free(p.last);
    free(items);
    free(placed);
    return st;
}

void sl_memory_plan_free(sl_memory_plan *plan)
{
    free(plan->value_offset);
    free(plan->scratch_offset);
    *plan = (sl_memory_plan) { 0 };
}
