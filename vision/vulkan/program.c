// SPDX-License-Identifier: MIT
// vulkan/program.c: from nodes to dispatches.
#include "vulkan/program.h"

#define BINDING_ALIGN 256 // the coarsest that the standard allows

uint64_t sl_vk_align(uint64_t bytes)
{
    return (bytes + BINDING_ALIGN - 1) / BINDING_ALIGN * BINDING_ALIGN;
}

// ---- precision

sl_vk_kernel sl_vk_variant(const sl_vk_program *p, sl_vk_kernel kernel)
{
    return p->half ? kernel + SL_VK_HALF : kernel;
}

uint64_t sl_vk_number(const sl_vk_program *p)
{
    return p->half ? sizeof(uint16_t) : sizeof(float);
}

bool sl_vk_is_half(const sl_vk_program *p, sl_value value)
{
    return p->value_bytes[value] != p->graph->values[value].bytes;
}

// Pictures stay what they are, as input and as output, and so do scores and boxes: a picture may
// have 16 bits a sample, and a decision wants all of them. Everything between is an activation.
static bool is_picture(const sl_graph *g, sl_value value)
{
    sl_op producer = g->nodes[g->values[value].producer].op;
    if (producer == SL_OP_GATE || producer == SL_OP_PREDICT || producer == SL_OP_CERTAINTY ||
        producer == SL_OP_CANDIDATES)
        return true;
    if (producer != SL_OP_INPUT)
        return false;
    for (size_t n = 0; n < g->node_count; n++)
        for (unsigned i = 0; i < SL_MAX_INPUTS; i++) {
            sl_op reader = g->nodes[n].op;
            bool as_picture = reader == SL_OP_PIXEL_UNSHUFFLE || reader == SL_OP_CONV2D ||
                              (reader == SL_OP_GATE && i != 1) || reader == SL_OP_SELECT ||
                              reader == SL_OP_CERTAINTY || (reader == SL_OP_CANDIDATES && i == 2);
            if (g->nodes[n].in[i] == value && !as_picture)
                return false;
        }
    return true;
}

static sl_status find_precisions(sl_vk_program *p, sl_dtype precision)
{
    const sl_graph *g = p->graph;
    if (precision != SL_F32 && (precision != SL_F16 || !p->device->info.f16))
        return sl_fail(p->ctx, SL_ERR_UNSUPPORTED, "%s does not compute in %s; use f32",
                       p->device->info.name, sl_dtype_name(precision));
    p->half = precision == SL_F16;
    p->value_bytes = sl_alloc(p->ctx, g->value_count, sizeof(*p->value_bytes));
    if (!p->value_bytes)
        return SL_ERR_NOMEM;
    for (sl_value v = 1; v < g->value_count; v++) {
        bool half = p->half && g->values[v].dtype == SL_F32 && !is_picture(g, v);
        p->value_bytes[v] = half ? g->values[v].bytes / 2 : g->values[v].bytes;
    }
    return SL_OK;
}

// ---- memory

static sl_status check_nodes(const sl_vk_program *p)
{
    const sl_graph *g = p->graph;
    const sl_vk_info *info = &p->device->info;
    if (g->status != SL_OK)
        return sl_fail(p->ctx, SL_ERR_ARGUMENT, "a graph whose building failed cannot be compiled");
    for (size_t n = 0; n < g->node_count; n++)
        if (!sl_vk_op_get(g->nodes[n].op)->emit)
            return sl_fail(p->ctx, SL_ERR_UNSUPPORTED,
                           "the Vulkan backend has no kernel for %s (%s)",
                           sl_op_get(g->nodes[n].op)->name, g->nodes[n].label);
    for (size_t v = 1; v < g->value_count; v++)
        if (p->value_bytes[v] > info->limits.buffer_range)
            return sl_fail(p->ctx, SL_ERR_LIMIT,
                           "an activation of %zu bytes; %s reaches %llu: use smaller tiles",
                           p->value_bytes[v], info->name,
                           (unsigned long long)info->limits.buffer_range);
    return SL_OK;
}

static sl_status plan_memory(sl_vk_program *p)
{
    const sl_graph *g = p->graph;
    const sl_vk_info *info = &p->device->info;
    size_t *scratch = sl_alloc(p->ctx, g->node_count, sizeof(*scratch));
    if (!scratch)
        return SL_ERR_NOMEM;
    for (size_t n = 0; n < g->node_count; n++) {
        const sl_vk_op *op = sl_vk_op_get(g->nodes[n].op);
        if (op->scratch)
            scratch[n] = op->scratch(p, &g->nodes[n]);
    }
    sl_status st = sl_memory_plan_new(p->ctx, g, p->value_bytes, scratch, &p->memory);
    free(scratch);
    if (st == SL_OK && p->memory.total > info->limits.allocation)
        st = sl_fail(p->ctx, SL_ERR_LIMIT,
                     "activations of %zu bytes; %s allocates %llu at once: use smaller tiles",
                     p->memory.total, info->name, (unsigned long long)info->limits.allocation);
    return st;
}

// All that comes before the first dispatch.
static sl_status prepare(sl_vk_program *p, sl_dtype precision)
{
    sl_status st = find_precisions(p, precision);
    if (st == SL_OK)
        st = check_nodes(p);
    return st == SL_OK ? plan_memory(p) : st;
}

// ---- ranges

sl_vk_range sl_vk_value(const sl_vk_program *p, sl_value value)
{
    if (value == SL_NO_VALUE)
        return (sl_vk_range) { .space = SL_VK_NOWHERE };
    return (sl_vk_range) { .space = SL_VK_ARENA,
                           .offset = p->memory.value_offset[value],
                           .bytes = p->value_bytes[value] };
}

sl_vk_range sl_vk_part(sl_vk_range whole, uint64_t offset, uint64_t bytes)
{
    whole.offset += offset;
    whole.bytes = bytes;
    return whole;
}

// ---- dispatches

static sl_status check_dispatch(sl_vk_program *p, const sl_vk_dispatch *d)
{
    const sl_vk_limits *limits = &p->device->info.limits;
    const char *label = p->graph->nodes[p->node].label;
    for (unsigned i = 0; i < 3; i++)
        if (d->slot == SL_VK_NO_SLOT && d->groups[i] > limits->group_count[i])
            return sl_fail(p->ctx, SL_ERR_LIMIT,
                           "%s takes %u workgroups; %s allows %u: use smaller tiles", label,
                           d->groups[i], p->device->info.name, limits->group_count[i]);
    for (unsigned i = 0; i < SL_VK_MAX_BUFFERS; i++)
        if (d->buffer[i].space != SL_VK_NOWHERE && d->buffer[i].bytes > limits->buffer_range)
            return sl_fail(p->ctx, SL_ERR_LIMIT,
                           "%s binds %llu bytes; %s reaches %llu: use smaller tiles", label,
                           (unsigned long long)d->buffer[i].bytes, p->device->info.name,
                           (unsigned long long)limits->buffer_range);
    return SL_OK;
}

sl_status sl_vk_grow(sl_ctx *ctx, void **array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return SL_OK;
    size_t wider = *capacity ? 2 * *capacity : 64;
    void *copy = sl_alloc(ctx, wider, size);
    if (!copy)
        return SL_ERR_NOMEM;
    if (count)
        memcpy(copy, *array, count * size);
    free(*array);
    *array = copy;
    *capacity = wider;
    return SL_OK;
}

sl_status sl_vk_emit(sl_vk_program *p, const sl_vk_dispatch *dispatch)
{
    sl_status st = check_dispatch(p, dispatch);
    if (st == SL_OK)
        st = sl_vk_grow(p->ctx, (void **)&p->dispatches, p->count, &p->capacity,
                        sizeof(*p->dispatches));
    if (st != SL_OK)
        return st;
    p->dispatches[p->count] = *dispatch;
    p->dispatches[p->count++].node = p->node;
    return SL_OK;
}

static sl_status add_slot(sl_vk_program *p, sl_value list, const sl_vk_slot *slot)
{
    size_t capacity = p->slot_capacity;
    sl_status st =
        sl_vk_grow(p->ctx, (void **)&p->slots, p->slot_count, &capacity, sizeof(*p->slots));
    capacity = p->slot_capacity;
    if (st == SL_OK)
        st = sl_vk_grow(p->ctx, (void **)&p->slot_list, p->slot_count, &capacity,
                        sizeof(*p->slot_list));
    if (st != SL_OK)
        return st;
    p->slot_capacity = capacity;
    p->slots[p->slot_count] = *slot;
    p->slot_list[p->slot_count++] = list;
    return SL_OK;
}

sl_status sl_vk_groups(sl_vk_program *p, const sl_vk_windows *w, uint64_t per_window, uint32_t tile,
                       uint32_t y, sl_vk_dispatch *dispatch)
{
    const uint32_t *limit = p->device->info.limits.group_count;
    uint64_t most = (w->chunk * per_window + tile - 1) / tile;
    uint64_t layers = most > limit[0] ? (most + limit[0] - 1) / limit[0] : 1;
    if (layers > limit[2] || y > limit[1] || per_window > UINT32_MAX)
        return sl_fail(p->ctx, SL_ERR_LIMIT,
                       "%s takes %llu x %u workgroups; %s allows %llu x %u: use smaller tiles",
                       p->graph->nodes[p->node].label, (unsigned long long)most, y,
                       p->device->info.name, (unsigned long long)limit[0] * limit[2], limit[1]);
    dispatch->groups[0] = (uint32_t)((most + layers - 1) / layers);
    dispatch->groups[1] = y;
    dispatch->groups[2] = (uint32_t)layers;
    dispatch->slot = SL_VK_NO_SLOT;
    if (w->list == SL_NO_VALUE)
        return SL_OK;
    const sl_vk_slot slot = { .first = w->first,
                              .chunk = w->chunk,
                              .per_window = (uint32_t)per_window,
                              .tile = tile,
                              .y = y,
                              .most = limit[0] };
    dispatch->slot = (uint32_t)p->slot_count;
    return add_slot(p, w->list, &slot);
}

// ---- the sizes behind a list: one dispatch, right behind whoever makes the list

typedef struct arguments_push {
    uint32_t first_slot, slots;
} arguments_push;

static sl_status emit_arguments(sl_vk_program *p, sl_value list)
{
    sl_vk_dispatch d = {
        .key = { .kernel = SL_VK_ARGUMENTS },
        .buffer = { sl_vk_value(p, list), { .space = SL_VK_SLOTS }, { .space = SL_VK_SIZES } },
        .writes = 1u << 2,
        .push_bytes = sizeof(arguments_push),
        .groups = { 1, 1, 1 },
        .slot = SL_VK_NO_SLOT
    };
    memcpy(d.push, &list, sizeof(list)); // for now; see place_slots
    return sl_vk_emit(p, &d);
}

// Slots of one list become neighbours; then the sizes' ranges and the arguments are known.
static sl_status place_slots(sl_vk_program *p)
{
    size_t count = p->slot_count;
    uint32_t *place = sl_alloc(p->ctx, count, sizeof(*place));
    uint32_t *first = sl_alloc(p->ctx, p->graph->value_count + 1, sizeof(*first));
    sl_vk_slot *sorted = sl_alloc(p->ctx, count, sizeof(*sorted));
    if (!place || !first || !sorted) {
        free(place);
        free(first);
        free(sorted);
        return SL_ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++)
        first[p->slot_list[i] + 1]++;
    for (size_t v = 0; v < p->graph->value_count; v++)
        first[v + 1] += first[v];
    for (size_t i = 0; i < count; i++) { // afterwards first[v] is where v's slots end
        place[i] = first[p->slot_list[i]]++;
        sorted[place[i]] = p->slots[i];
    }
    for (size_t i = 0; i < p->count; i++) {
        sl_vk_dispatch *d = &p->dispatches[i];
        if (d->slot != SL_VK_NO_SLOT)
            d->slot = place[d->slot];
        if (d->key.kernel != SL_VK_ARGUMENTS)
            continue;
        sl_value list;
        memcpy(&list, d->push, sizeof(list));
        arguments_push push = { .first_slot = list ? first[list - 1] : 0 };
        push.slots = first[list] - push.first_slot;
        memcpy(d->push, &push, sizeof(push));
        d->groups[0] = (push.slots + 63) / 64;
        d->buffer[1].bytes = count * sizeof(sl_vk_slot);
        d->buffer[2].bytes = count * 4 * sizeof(uint32_t);
    }
    if (count)
        memcpy(p->slots, sorted, count * sizeof(*sorted));
    free(place);
    free(first);
    free(sorted);
    return SL_OK;
}

// ---- the whole

static sl_status emit_node(sl_vk_program *p, size_t n)
{
    const sl_node *node = &p->graph->nodes[n];
    const sl_vk_op *op = sl_vk_op_get(node->op);
    const sl_value_info *made = &p->graph->values[node->out[0]];
    p->node = (uint32_t)n;
    sl_vk_range scratch = { .space = SL_VK_ARENA, .offset = p->memory.scratch_offset[n] };
    if (op->scratch)
        scratch.bytes = op->scratch(p, node);
    sl_status st = op->emit(p, node, scratch);
    if (st == SL_OK && made->dtype == SL_I32) // a window list, selected or given
        st = emit_arguments(p, node->out[0]);
    return st;
}

// Arguments without a slot are dropped.
static void drop_empty(sl_vk_program *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->count; i++)
        if (p->dispatches[i].slot != SL_VK_NO_SLOT || p->dispatches[i].groups[0] > 0)
            p->dispatches[kept++] = p->dispatches[i];
    p->count = kept;
}

static sl_status emit_all(sl_vk_program *p, sl_dtype precision)
{
    sl_status st = prepare(p, precision);
    for (size_t n = 0; st == SL_OK && n < p->graph->node_count; n++)
        st = emit_node(p, n);
    return st;
}

// Systems end a submission that keeps a card busy for seconds (Linux on AMD's after ten or two, by
// its age; Windows after two), and the device is lost. So a program goes to it in pieces of bounded
// work, where a node's work is taken for evenly spread over its dispatches.
static void cut_pieces(sl_vk_program *p)
{
    double done = 0, each = 0; // of the piece, of a dispatch
    size_t end = 0;            // of the node's dispatches
    p->pieces = 1;
    for (size_t i = 0; i < p->count; i++) {
        sl_vk_dispatch *d = &p->dispatches[i];
        if (i == end) {
            while (end < p->count && p->dispatches[end].node == d->node)
                end++;
            each = sl_node_macs(p->graph, &p->graph->nodes[d->node]) / (double)(end - i);
        }
        d->begins_piece = i > 0 && done + each > p->device->piece_macs;
        p->pieces += d->begins_piece;
        done = d->begins_piece ? each : done + each;
    }
}

sl_status sl_vk_program_new(sl_ctx *ctx, sl_vk_device *d, const sl_graph *g, sl_dtype precision,
                            sl_vk_program *out)
{
    *out = (sl_vk_program) { .ctx = ctx, .device = d, .graph = g };
    sl_status st = emit_all(out, precision);
    if (st == SL_OK)
        st = place_slots(out);
    if (st == SL_OK) {
        drop_empty(out);
        cut_pieces(out);
    }
    if (st != SL_OK)
        sl_vk_program_free(out);
    return st;
}

sl_status sl_vk_program_draft(sl_ctx *ctx, sl_vk_device *d, const sl_graph *g, sl_dtype precision,
                              sl_vk_program *out)
{
    *out = (sl_vk_program) { .ctx = ctx, .device = d, .graph = g, .is_draft = true };
    sl_status st = emit_all(out, precision);
    if (st != SL_OK)
        sl_vk_program_free(out);
    return st;
}

sl_status sl_vk_program_memory(sl_ctx *ctx, sl_vk_device *d, const sl_graph *g, sl_dtype precision,
                               size_t *out)
{
    sl_vk_program draft;
    *out = 0;
    sl_status st = sl_vk_program_draft(ctx, d, g, precision, &draft);
    if (st != SL_OK)
        return st;
    *out = draft.memory.total;
    sl_vk_program_free(&draft);
    return SL_OK;
}

void sl_vk_program_free(sl_vk_program *p)
{
    sl_memory_plan_free(&p->memory);
    sl_blob_free(&p->weights);
    free(p->value_bytes);
    free(p->dispatches);
    free(p->slots);
    free(p->slot_list);
    free(p->wants);
    *p = (sl_vk_program) { 0 };
}
