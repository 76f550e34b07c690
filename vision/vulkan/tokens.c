// SPDX-License-Identifier: MIT
// vulkan/tokens.c: what stands around the attention of a transformer: position embeddings, rows
// taken out, means and lengths.
#include "vulkan/program.h"

static uint32_t last_dim(const sl_graph *g, sl_value value)
{
    const sl_shape *shape = &g->values[value].shape;
    return (uint32_t)shape->dim[shape->rank - 1];
}

// Values are f32 in the graph, and may be longer than a kernel counts.
static sl_status count_numbers(sl_vk_program *p, sl_value value, uint32_t *out)
{
    size_t numbers = p->graph->values[value].bytes / sizeof(float);
    if (numbers > UINT32_MAX)
        return sl_fail(p->ctx, SL_ERR_LIMIT, "%s: %zu numbers; use smaller tiles",
                       p->graph->nodes[p->node].label, numbers);
    *out = (uint32_t)numbers;
    return SL_OK;
}

// An invocation for each of `count` numbers, in groups of `tile`.
static sl_status emit_flat(sl_vk_program *p, sl_vk_dispatch *d, uint64_t count, uint32_t tile)
{
    const sl_vk_windows all = { .chunk = 1 };
    sl_status st = sl_vk_groups(p, &all, count, tile, 1, d);
    return st == SL_OK ? sl_vk_emit(p, d) : st;
}

// ---- position embeddings

typedef struct position_push {
    uint32_t count, height, width, channels, grid, grid_row;
} position_push;

static sl_status emit_position(sl_vk_program *p, const sl_node *node, bool has_class)
{
    const uint64_t *dim = p->graph->values[node->in[0]].shape.dim;
    bool has_class_row;
    position_push push = { .height = (uint32_t)dim[0],
                           .width = (uint32_t)dim[1],
                           .channels = (uint32_t)dim[2],
                           .grid = (uint32_t)sl_position_grid(node->weight[0], &has_class_row) };
    push.grid_row = has_class_row;
    sl_vk_dispatch d = {
        .key = { .kernel = sl_vk_variant(p, SL_VK_POSITION),
                 .spec_count = 1,
                 .spec = { has_class } },
        .buffer = { [0] = sl_vk_value(p, node->in[0]), [3] = sl_vk_value(p, node->out[0]) },
        .writes = 1u << 3,
        .push_bytes = sizeof(push)
    };
    sl_status st = count_numbers(p, node->out[0], &push.count);
    if (st == SL_OK && (dim[0] > dim[1] ? dim[0] : dim[1]) * 2 * push.grid > UINT32_MAX)
        st =
            sl_fail(p->ctx, SL_ERR_LIMIT, "%s: a map of %llu x %llu is too long: use smaller tiles",
                    node->label, (unsigned long long)dim[0], (unsigned long long)dim[1]);
    if (st == SL_OK)
        st = sl_vk_plain(p, node, 0, &d.buffer[1]);
    if (st == SL_OK && has_class)
        st = sl_vk_plain(p, node, 1, &d.buffer[2]);
    memcpy(d.push, &push, sizeof(push));
    return st == SL_OK ? emit_flat(p, &d, push.count, 256) : st;
}

static sl_status add_position_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    (void)scratch; // in place: the planner gave the output the map's memory
    return emit_position(p, node, false);
}

static sl_status class_tokens_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    (void)scratch;
    return emit_position(p, node, true);
}

// ---- rows

typedef struct rows_push {
    uint32_t count, from;
} rows_push;

static sl_status rows_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    rows_push push;
    uint32_t all;
    sl_vk_dispatch d = { .key = { .kernel = sl_vk_variant(p, SL_VK_ROWS) },
                         .buffer = { sl_vk_value(p, node->in[0]), sl_vk_value(p, node->out[0]) },
                         .writes = 1u << 1,
                         .push_bytes = sizeof(push) };
    (void)scratch;
    sl_status st = count_numbers(p, node->in[0], &all);
    if (st == SL_OK)
        st = count_numbers(p, node->out[0], &push.count);
    push.from = node->attr.first * last_dim(p->graph, node->in[0]); // below `all`
    memcpy(d.push, &push, sizeof(push));
    return st == SL_OK ? emit_flat(p, &d, push.count, 256) : st;
}

// ---- means

#define STRIP 128 // rows of a first sum

typedef enum mean_step { STRIPS, TOTAL } mean_step;

typedef struct mean_push {
    uint32_t rows, columns, strip, strips;
} mean_push;

static uint64_t strips_of(const sl_vk_program *p, const sl_node *node)
{
    const sl_graph *g = p->graph;
    uint64_t rows = g->values[node->in[0]].bytes / sizeof(float) / last_dim(g, node->in[0]);
    return (rows + STRIP - 1) / STRIP;
}

static size_t mean_scratch(sl_vk_program *p, const sl_node *node)
{
    return strips_of(p, node) * last_dim(p->graph, node->in[0]) * sizeof(float);
}

static sl_status mean_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    uint32_t all = 0;
    sl_status st = count_numbers(p, node->in[0], &all);
    mean_push push = { .columns = last_dim(p->graph, node->in[0]),
                       .strip = STRIP,
                       .strips = (uint32_t)strips_of(p, node) };
    push.rows = all / push.columns;
    for (mean_step step = STRIPS; step <= TOTAL && st == SL_OK; step++) {
        sl_vk_dispatch d = {
            .key = { .kernel = sl_vk_variant(p, SL_VK_MEAN), .spec_count = 1, .spec = { step } },
            .buffer = { sl_vk_value(p, node->in[0]), scratch, sl_vk_value(p, node->out[0]) },
            .writes = 1u << 1 | 1u << 2,
            .push_bytes = sizeof(push),
            .groups = { (push.columns + 63) / 64, step == STRIPS ? push.strips : 1, 1 },
            .slot = SL_VK_NO_SLOT
        };
        memcpy(d.push, &push, sizeof(push));
        st = sl_vk_emit(p, &d);
    }
    return st;
}

// ---- lengths

typedef struct unit_push {
    uint32_t rows, channels;
    float least;
} unit_push;

static sl_status unit_emit(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    uint32_t all = 0;
    unit_push push = { .channels = last_dim(p->graph, node->in[0]), .least = 1e-12f };
    sl_vk_dispatch d = { .key = { .kernel = sl_vk_variant(p, SL_VK_UNIT) },
                         .buffer = { sl_vk_value(p, node->in[0]), sl_vk_value(p, node->out[0]) },
                         .writes = 1u << 1,
                         .push_bytes = sizeof(push) };
    (void)scratch;
    sl_status st = count_numbers(p, node->in[0], &all);
    push.rows = all / push.channels;
    memcpy(d.push, &push, sizeof(push));
    return st == SL_OK ? emit_flat(p, &d, push.rows, 1) : st;
}

const sl_vk_op sl_vk_add_position = { .emit = add_position_emit };
const sl_vk_op sl_vk_class_tokens = { .emit = class_tokens_emit };
const sl_vk_op sl_vk_rows = { .emit = rows_emit };
const sl_vk_op sl_vk_mean = { .scratch = mean_scratch, .emit = mean_emit };
const sl_vk_op sl_vk_unit = { .emit = unit_emit };
