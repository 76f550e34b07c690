// SPDX-License-Identifier: MIT
// vulkan/composed.c: the pieces of a block, and the ops that are one of them alone.
#include "vulkan/program.h"

static bool has_list(const sl_vk_windows *w)
{
    return w && w->list != SL_NO_VALUE;
}

static sl_vk_range list_range(const sl_vk_program *p, const sl_vk_windows *w)
{
    return has_list(w) ? sl_vk_value(p, w->list) : (sl_vk_range) { .space = SL_VK_NOWHERE };
}

// ---- LayerNorm

typedef struct norm_push {
    uint32_t rows, channels, tokens, first, chunk, window, shift, height, width;
    float eps;
} norm_push;

sl_status sl_vk_emit_norm(sl_vk_program *p, const sl_vk_norm *n)
{
    const sl_vk_windows *w = n->windows;
    const sl_vk_windows all = { .chunk = 1 };
    uint64_t rows = w ? (uint64_t)w->chunk * n->tokens : n->rows;
    norm_push push = { .rows = (uint32_t)rows,
                       .channels = n->channels,
                       .tokens = n->tokens ? n->tokens : 1,
                       .first = w ? w->first : 0,
                       .chunk = w ? w->chunk : 0,
                       .window = n->window ? n->window : 1,
                       .shift = n->shift,
                       .height = n->height,
                       .width = n->width,
                       .eps = n->eps };
    sl_vk_dispatch d = {
        .key = { .kernel = sl_vk_variant(p, SL_VK_NORM),
                 .spec_count = 4,
                 .spec = { n->from_map, has_list(w), n->add.space != SL_VK_NOWHERE,
                           n->channels % 4 == 0 } },
        .buffer = { n->x, n->weight, n->bias, n->add, list_range(p, w), n->y },
        .writes = 1u << 5,
        .push_bytes = sizeof(push),
    };
    memcpy(d.push, &push, sizeof(push));
    sl_status st =
        w ? sl_vk_groups(p, w, n->tokens, 16, 1, &d) : sl_vk_groups(p, &all, rows, 16, 1, &d);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}

// ---- attention

typedef struct attention_push {
    uint32_t windows, first, chunk, heads, head_dim, ldq, ldkv, k_at, v_at, ldo, shift, rows,
        columns;
} attention_push;

// As many keys as fit beside their values in half of the memory that the standard promises.
static uint32_t keys_of_slice(uint32_t tokens, uint32_t depth)
{
    uint32_t keys = 8192 / (2 * 16 * depth);
    return keys < 1 ? 1 : keys > tokens ? tokens : keys;
}

// Scores that a thread keeps: compiled for a processor, more of them would only be long code.
static uint32_t few_keys(const sl_vk_program *p)
{
    return p->device->info.type == SL_VK_SOFTWARE ? 2 : 8;
}

sl_status sl_vk_emit_attention(sl_vk_program *p, const sl_vk_attention *a)
{
    const sl_vk_windows *w = a->windows;
    uint32_t tokens = a->window * a->window, depth = (a->head_dim + 3) / 4;
    const sl_vk_limits *limits = &p->device->info.limits;
    if (tokens > limits->invocations || tokens > limits->group_size[0] || depth > 64)
        return sl_fail(p->ctx, SL_ERR_UNSUPPORTED,
                       "%s: windows of %u tokens, heads of %u channels; %s takes up to %u tokens, "
                       "the kernel up to 256 channels",
                       p->graph->nodes[p->node].label, tokens, a->head_dim, p->device->info.name,
                       limits->invocations);
    uint32_t strides = a->head_dim | a->ldq | a->ldkv | a->k_at | a->v_at | a->ldo;
    attention_push push = { .windows = w->chunk,
                            .first = w->first,
                            .chunk = w->chunk,
                            .heads = a->heads,
                            .head_dim = a->head_dim,
                            .ldq = a->ldq,
                            .ldkv = a->ldkv,
                            .k_at = a->k_at,
                            .v_at = a->v_at,
                            .ldo = a->ldo,
                            .shift = a->shift,
                            .rows = a->rows,
                            .columns = a->columns };
    sl_vk_dispatch d = {
        .key = { .kernel = sl_vk_variant(p, SL_VK_ATTENTION),
                 .spec_count = 7,
                 .spec = { tokens, depth, keys_of_slice(tokens, depth), has_list(w), a->window,
                           strides % 4 == 0, few_keys(p) } },
        .buffer = { a->q, a->kv, a->table, list_range(p, w), a->out },
        .writes = 1u << 4,
        .push_bytes = sizeof(push),
    };
    memcpy(d.push, &push, sizeof(push));
    sl_status st = sl_vk_groups(p, w, 1, 1, a->heads, &d);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}

// ---- depthwise convolution

typedef struct dwconv_push {
    uint32_t windows, first, chunk, window, channels;
    float slope;
} dwconv_push;

sl_status sl_vk_emit_dwconv(sl_vk_program *p, const sl_vk_dwconv *c)
{
    const sl_vk_windows *w = c->windows;
    bool by_four = c->channels % 4 == 0;
    uint64_t threads = (uint64_t)c->window * (by_four ? c->channels / 4 : c->channels);
    dwconv_push push = { w->chunk, w->first, w->chunk, c->window, c->channels, c->slope };
    sl_vk_dispatch d = { .key = { .kernel = sl_vk_variant(p, SL_VK_DWCONV),
                                  .spec_count = 3,
                                  .spec = { c->act, has_list(w), by_four } },
                         .buffer = { c->x, c->taps, c->bias, list_range(p, w), c->y },
                         .writes = 1u << 4,
                         .push_bytes = sizeof(push) };
    memcpy(d.push, &push, sizeof(push));
    sl_status st = sl_vk_groups(p, w, threads, 256, 1, &d);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}

static sl_status fill_taps(sl_ctx *ctx, const sl_node *node, size_t first, float *out,
                           size_t numbers)
{
    size_t channels = numbers / 9;
    float *plain = sl_alloc(ctx, numbers, sizeof(*plain));
    if (!plain)
        return SL_ERR_NOMEM;
    sl_tensor_to_f32(node->weight[first], plain);
    for (size_t c = 0; c < channels; c++)
        for (size_t tap = 0; tap < 9; tap++)
            out[tap * channels + c] = plain[c * 9 + tap];
    free(plain);
    return SL_OK;
}

sl_status sl_vk_taps(sl_vk_program *p, const sl_node *node, size_t weight, sl_vk_range *out)
{
    size_t numbers = 9 * (size_t)node->weight[weight]->shape.dim[0];
    return sl_vk_weight(p, node, weight, SL_VK_TAPS, numbers, fill_taps, out);
}

// ---- the ops

// Windows of the packed rows of a value [R*N, C].
static sl_vk_windows windows_of(const sl_vk_program *p, sl_value rows, uint32_t tokens,
                                sl_value list)
{
    return (sl_vk_windows) { .list = list,
                             .chunk = (uint32_t)(p->graph->values[rows].shape.dim[0] / tokens) };
}

typedef struct window_push {
    uint32_t windows, channels, window, shift, height, width;
} window_push;

static sl_status emit_window(sl_vk_program *p, const sl_node *node, sl_vk_range from,
                             sl_vk_range to, sl_value list, bool scatter)
{
    const uint64_t *dim = p->graph->values[node->in[0]].shape.dim;
    window_push push = { .channels = (uint32_t)dim[2],
                         .window = node->attr.window,
                         .shift = node->attr.shift,
                         .height = (uint32_t)dim[0],
                         .width = (uint32_t)dim[1] };
    uint64_t tokens = (uint64_t)push.window * push.window;
    push.windows = (uint32_t)(dim[0] * dim[1] / tokens);
    const sl_vk_windows w = { .list = list, .chunk = push.windows };
    sl_vk_dispatch d = { .key = { .kernel = sl_vk_variant(p, SL_VK_WINDOW),
                                  .spec_count = 2,
                                  .spec = { scatter, has_list(&w) } },
                         .buffer = { from, list_range(p, &w), to },
                         .writes = 1u << 2,
                         .push_bytes = sizeof(push) };
    memcpy(d.push, &push, sizeof(push));
    sl_status st = sl_vk_groups(p, &w, tokens * push.channels, 256, 1, &d);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}

static sl_status emit_gather(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    (void)scratch;
    return emit_window(p, node, sl_vk_value(p, node->in[0]), sl_vk_value(p, node->out[0]),
                       node->in[1], false);
}

static sl_status emit_scatter(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    (void)scratch; // in place: the planner gave the output the map's memory
    return emit_window(p, node, sl_vk_value(p, node->in[1]), sl_vk_value(p, node->out[0]),
                       node->in[2], true);
}

static uint32_t last_dim(const sl_graph *g, sl_value value)
{
    const sl_shape *shape = &g->values[value].shape;
    return (uint32_t)shape->dim[shape->rank - 1];
}

// Rows of any shape [.., C]; with a list they are R windows of as many tokens as divide them.
static sl_vk_windows list_windows(const sl_graph *g, sl_value list)
{
    uint64_t windows = list ? g->values[list].shape.dim[0] - 4 : 0;
    return (sl_vk_windows) { .list = list, .chunk = (uint32_t)windows };
}

static uint64_t row_count(const sl_graph *g, sl_value value)
{
    return g->values[value].bytes / sizeof(float) / last_dim(g, value);
}

// The side of a window of `tokens`.
static uint32_t side_of(uint64_t tokens)
{
    uint32_t side = 1;
    while ((uint64_t)side * side < tokens)
        side++;
    return side;
}

static sl_status emit_layer_norm(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    const sl_graph *g = p->graph;
    sl_vk_windows w = list_windows(g, node->in[1]);
    sl_vk_norm n = { .x = sl_vk_value(p, node->in[0]),
                     .y = sl_vk_value(p, node->out[0]),
                     .rows = row_count(g, node->in[0]),
                     .channels = last_dim(g, node->in[0]),
                     .windows = w.list ? &w : NULL,
                     .eps = node->attr.eps };
    (void)scratch;
    n.tokens = w.list ? (uint32_t)(n.rows / w.chunk) : 1;
    sl_status st = sl_vk_plain(p, node, 0, &n.weight);
    if (st == SL_OK)
        st = sl_vk_plain(p, node, 1, &n.bias);
    if (st == SL_OK && node->weight[2]) {
        st = sl_vk_plain(p, node, 2, &n.add);
        n.tokens = (uint32_t)node->weight[2]->shape.dim[0];
    }
    return st == SL_OK ? sl_vk_emit_norm(p, &n) : st;
}

static sl_status emit_linear(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    const sl_graph *g = p->graph;
    sl_vk_windows w = list_windows(g, node->in[2]);
    sl_vk_gemm m = { .a = sl_vk_value(p, node->in[0]),
                     .c = sl_vk_value(p, node->out[0]),
                     .residual = sl_vk_value(p, node->in[1]),
                     .add = node->in[1] ? SL_VK_RESIDUAL_ROWS : SL_VK_NO_RESIDUAL,
                     .rows = row_count(g, node->in[0]),
                     .n = last_dim(g, node->out[0]),
                     .k = last_dim(g, node->in[0]),
                     .act = node->attr.act,
                     .slope = node->attr.slope,
                     .windows = w.list ? &w : NULL };
    (void)scratch;
    m.lda = m.k;
    m.ldc = m.ldr = m.n;
    if (w.list)
        m.window = side_of(m.rows / w.chunk);
    sl_status st = sl_vk_matrix(p, node, 0, &m.b);
    if (st == SL_OK)
        st = sl_vk_plain(p, node, 1, &m.bias);
    return st == SL_OK ? sl_vk_emit_gemm(p, &m) : st;
}

static sl_status emit_window_attention(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    const sl_attr *attr = &node->attr;
    uint32_t c = last_dim(p->graph, node->in[0]), tokens = attr->window * attr->window;
    sl_vk_windows w = windows_of(p, node->in[0], tokens, node->in[2]);
    sl_vk_attention a = { .q = sl_vk_value(p, node->in[0]),
                          .kv = sl_vk_value(p, node->in[1]),
                          .out = sl_vk_value(p, node->out[0]),
                          .ldq = c,
                          .ldkv = 2 * c,
                          .v_at = c,
                          .ldo = c,
                          .heads = attr->heads,
                          .head_dim = c / attr->heads,
                          .window = attr->window,
                          .shift = attr->shift,
                          .rows = attr->rows,
                          .columns = attr->columns,
                          .windows = &w };
    (void)scratch;
    sl_status st = sl_vk_plain(p, node, 0, &a.table);
    return st == SL_OK ? sl_vk_emit_attention(p, &a) : st;
}

static sl_status emit_window_dwconv(sl_vk_program *p, const sl_node *node, sl_vk_range scratch)
{
    uint32_t tokens = node->attr.window * node->attr.window;
    sl_vk_windows w = windows_of(p, node->in[0], tokens, node->in[1]);
    sl_vk_dwconv d = { .x = sl_vk_value(p, node->in[0]),
                       .y = sl_vk_value(p, node->out[0]),
                       .window = node->attr.window,
                       .channels = last_dim(p->graph, node->in[0]),
                       .act = node->attr.act,
                       .slope = node->attr.slope,
                       .windows = &w };
    (void)scratch;
    sl_status st = sl_vk_taps(p, node, 0, &d.taps);
    if (st == SL_OK)
        st = sl_vk_plain(p, node, 1, &d.bias);
    return st == SL_OK ? sl_vk_emit_dwconv(p, &d) : st;
}

const sl_vk_op sl_vk_window_gather = { .emit = emit_gather };
const sl_vk_op sl_vk_window_scatter = { .emit = emit_scatter };
const sl_vk_op sl_vk_layer_norm = { .emit = emit_layer_norm };
const sl_vk_op sl_vk_linear = { .emit = emit_linear };
const sl_vk_op sl_vk_window_attention = { .emit = emit_window_attention };
const sl_vk_op sl_vk_window_dwconv = { .emit = emit_window_dwconv };
