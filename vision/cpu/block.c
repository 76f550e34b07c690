// SPDX-License-Identifier: MIT
// cpu/block.c: one LMD-ViT block as one op. Nothing in a block reads outside its window, so a task
// takes a chunk of windows from load to store while its rows stay in the core's L2 cache.
#include "cpu/op.h"

#include <assert.h>

// Heads are taken in slices of about this many channels, hidden channels in slices of this many:
// what lies between two matrix products then fits the cache beside the chunk's rows.
#define HEAD_SLICE 128
#define HIDDEN_SLICE 256
#define CHUNK_BYTES ((size_t)1 << 20)
#define MAX_CHUNK 16 // windows

typedef struct linear {
    sl_packed weight;
    const float *bias;
} linear;

typedef struct head_slice {
    size_t first, count; // heads
    linear qkv;          // rows of Q, K and V of these heads, one below the other
} head_slice;

typedef struct hidden_slice {
    size_t width; // channels
    linear ff1, ff2;
    const float *taps, *dw_bias; // [9,width], [width]
} hidden_slice;

typedef struct block_state {
    size_t channels, hidden, tokens, head_dim;
    size_t head_slices, hidden_slices;
    head_slice *heads;
    hidden_slice *ff;
    linear proj;
    const float *norm1_w, *norm1_b, *norm2_w, *norm2_b;
    const float *modulator; // [N,C] or NULL
    const float *bias;      // [h,N,N]
    const float *masks;     // [3][N,N], NULL in an unshifted block
} block_state;

// ---- prepare

static size_t slice_count(size_t whole, size_t slice)
{
    return (whole + slice - 1) / slice;
}

static size_t heads_per_slice(size_t heads, size_t head_dim)
{
    size_t count = head_dim < HEAD_SLICE ? HEAD_SLICE / head_dim : 1;
    return count < heads ? count : heads;
}

// Rows `first` and on of each of Q, K and V, gathered into [3*rows, c]; or of their biases (c = 1).
static void gather_qkv(const float *q, const float *kv, size_t channels, size_t first, size_t rows,
                       size_t c, float *out)
{
    memcpy(out, q + first * c, rows * c * sizeof(float));
    memcpy(out + rows * c, kv + first * c, rows * c * sizeof(float));
    memcpy(out + 2 * rows * c, kv + (channels + first) * c, rows * c * sizeof(float));
}

static sl_status prepare_heads(sl_ctx *ctx, sl_cpu_weights *weights, const sl_node *node,
                               const sl_kernels *kernels, block_state *s)
{
    size_t c = s->channels, heads = node->attr.heads, slice = heads_per_slice(heads, s->head_dim);
    sl_arena arena = { 0 };
    const float *q = sl_cpu_tensor_f32(ctx, &arena, node->weight[SL_BLOCK_Q_W]);
    const float *kv = sl_cpu_tensor_f32(ctx, &arena, node->weight[SL_BLOCK_KV_W]);
    const float *q_b = sl_cpu_tensor_f32(ctx, &arena, node->weight[SL_BLOCK_Q_B]);
    const float *kv_b = sl_cpu_tensor_f32(ctx, &arena, node->weight[SL_BLOCK_KV_B]);
    float *matrix = sl_arena_alloc(ctx, &arena, 3 * slice * s->head_dim, c * sizeof(float));
    s->head_slices = slice_count(heads, slice);
    s->heads = sl_cpu_weights_alloc(ctx, weights, s->head_slices, sizeof(head_slice));
    sl_status st = q && kv && q_b && kv_b && matrix && s->heads ? SL_OK : SL_ERR_NOMEM;
    for (size_t i = 0; st == SL_OK && i < s->head_slices; i++) {
        head_slice *h = &s->heads[i];
        h->first = i * slice;
        h->count = heads - h->first < slice ? heads - h->first : slice;
        size_t first = h->first * s->head_dim, rows = h->count * s->head_dim;
        float *bias = sl_cpu_weights_alloc(ctx, weights, 3 * rows, sizeof(float));
        if (!bias) {
            st = SL_ERR_NOMEM;
            break;
        }
        gather_qkv(q_b, kv_b, c, first, rows, 1, bias);
        h->qkv.bias = bias;
        gather_qkv(q, kv, c, first, rows, c, matrix);
        st = sl_cpu_weights_pack(ctx, weights, kernels, matrix, 3 * rows, c, &h->qkv.weight);
    }
    sl_arena_free(&arena);
    return st;
}

static sl_status prepare_hidden_slice(sl_ctx *ctx, sl_cpu_weights *weights, const sl_node *node,
                                      const sl_kernels *kernels, const block_state *s, size_t first,
                                      const float *ff1, const float *ff1_b, const float *ff2,
                                      float *matrix, hidden_slice *h)
{
    size_t c = s->channels, m = s->hidden;
    float *bias = sl_cpu_weights_alloc(ctx, weights, h->width, sizeof(float));
    if (!bias)
        return SL_ERR_NOMEM;
    memcpy(bias, ff1_b + first, h->width * sizeof(float));
    h->ff1.bias = bias;
    h->taps = sl_cpu_taps(ctx, weights, node->weight[SL_BLOCK_DW_W], first, h->width);
    if (!h->taps)
        return SL_ERR_NOMEM;
    for (size_t r = 0; r < c; r++)
        memcpy(matrix + r * h->width, ff2 + r * m + first, h->width * sizeof(float));
    sl_status st = sl_cpu_weights_pack(ctx, weights, kernels, matrix, c, h->width, &h->ff2.weight);
    if (st != SL_OK)
        return st;
    return sl_cpu_weights_pack(ctx, weights, kernels, ff1 + first * c, h->width, c, &h->ff1.weight);
}

static sl_status prepare_hidden(sl_ctx *ctx, sl_cpu_weights *weights, const sl_node *node,
                                const sl_kernels *kernels, block_state *s)
{
    size_t m = s->hidden, widest = m < HIDDEN_SLICE ? m : HIDDEN_SLICE;
    sl_arena arena = { 0 };
    const float *ff1 = sl_cpu_tensor_f32(ctx, &arena, node->weight[SL_BLOCK_FF1_W]);
    const float *ff1_b = sl_cpu_tensor_f32(ctx, &arena, node->weight[SL_BLOCK_FF1_B]);
    const float *ff2 = sl_cpu_tensor_f32(ctx, &arena, node->weight[SL_BLOCK_FF2_W]);
    float *matrix = sl_arena_alloc(ctx, &arena, s->channels, widest * sizeof(float));
    float *dw_b = sl_cpu_weights_f32(ctx, weights, node->weight[SL_BLOCK_DW_B]);
    float *ff2_b = sl_cpu_weights_f32(ctx, weights, node->weight[SL_BLOCK_FF2_B]);
    s->hidden_slices = slice_count(m, widest);
    s->ff = sl_cpu_weights_alloc(ctx, weights, s->hidden_slices, sizeof(hidden_slice));
    sl_status st = ff1 && ff1_b && ff2 && matrix && dw_b && ff2_b && s->ff ? SL_OK : SL_ERR_NOMEM;
    for (size_t i = 0; st == SL_OK && i < s->hidden_slices; i++) {
        hidden_slice *h = &s->ff[i];
        size_t first = i * widest;
        h->width = m - first < widest ? m - first : widest;
        h->dw_bias = dw_b + first;
        h->ff2.bias = i == 0 ? ff2_b : NULL; // the slices add up: once is enough
        st =
            prepare_hidden_slice(ctx, weights, node, kernels, s, first, ff1, ff1_b, ff2, matrix, h);
    }
    sl_arena_free(&arena);
    return st;
}

static sl_status prepare_rest(sl_ctx *ctx, sl_cpu_weights *weights, const sl_node *node,
                              const sl_kernels *kernels, block_state *s)
{
    size_t w = node->attr.window, n = s->tokens;
    s->norm1_w = sl_cpu_weights_f32(ctx, weights, node->weight[SL_BLOCK_NORM1_W]);
    s->norm1_b = sl_cpu_weights_f32(ctx, weights, node->weight[SL_BLOCK_NORM1_B]);
    s->norm2_w = sl_cpu_weights_f32(ctx, weights, node->weight[SL_BLOCK_NORM2_W]);
    s->norm2_b = sl_cpu_weights_f32(ctx, weights, node->weight[SL_BLOCK_NORM2_B]);
    s->proj.bias = sl_cpu_weights_f32(ctx, weights, node->weight[SL_BLOCK_PROJ_B]);
    s->bias =
        sl_cpu_position_bias(ctx, weights, node->weight[SL_BLOCK_BIAS_TABLE], w, node->attr.heads);
    if (!s->norm1_w || !s->norm1_b || !s->norm2_w || !s->norm2_b || !s->proj.bias || !s->bias)
        return SL_ERR_NOMEM;
    if (node->weight[SL_BLOCK_MODULATOR]) {
        s->modulator = sl_cpu_weights_f32(ctx, weights, node->weight[SL_BLOCK_MODULATOR]);
        if (!s->modulator)
            return SL_ERR_NOMEM;
    }
    if (node->attr.shift > 0) {
        float *masks = sl_cpu_weights_alloc(ctx, weights, 3 * n * n, sizeof(float));
        if (!masks)
            return SL_ERR_NOMEM;
        sl_shift_masks(w, node->attr.shift, masks);
        s->masks = masks;
    }
    return sl_cpu_weights_pack_tensor(ctx, weights, kernels, node->weight[SL_BLOCK_PROJ_W],
                                      &s->proj.weight);
}

static sl_status block_prepare(sl_ctx *ctx, sl_cpu_weights *weights, const sl_graph *g,
                               const sl_node *node, const sl_kernels *kernels, void **state)
{
    block_state *s = sl_cpu_weights_alloc(ctx, weights, 1, sizeof(*s));
    if (!s)
        return SL_ERR_NOMEM;
    s->channels = (size_t)g->values[node->in[0]].shape.dim[2];
    s->hidden = (size_t)node->weight[SL_BLOCK_FF1_W]->shape.dim[0];
    s->tokens = (size_t)node->attr.window * node->attr.window;
    s->head_dim = s->channels / node->attr.heads;
    sl_status st = prepare_heads(ctx, weights, node, kernels, s);
    if (st == SL_OK)
        st = prepare_hidden(ctx, weights, node, kernels, s);
    if (st == SL_OK)
        st = prepare_rest(ctx, weights, node, kernels, s);
    *state = s;
    return st;
}

// ---- run

// A worker's buffers, in floats from the start of its part of the scratch memory.
typedef struct block_layout {
    size_t chunk;                                                // windows, at most
    size_t qkv_ld, hidden_ld;                                    // widths of the widest slices
    size_t normed, attended, slice, convolved, attention, total; // the rows themselves come first
} block_layout;

static block_layout layout_of(const sl_graph *g, const sl_node *node, const sl_kernels *kernels)
{
    size_t c = (size_t)g->values[node->in[0]].shape.dim[2], heads = node->attr.heads;
    size_t m = (size_t)node->weight[SL_BLOCK_FF1_W]->shape.dim[0];
    size_t tokens = (size_t)node->attr.window * node->attr.window, d = c / heads;
    block_layout l = { .qkv_ld = 3 * d * heads_per_slice(heads, d),
                       .hidden_ld = m < HIDDEN_SLICE ? m : HIDDEN_SLICE };
    size_t slice = l.qkv_ld > l.hidden_ld ? l.qkv_ld : l.hidden_ld;
    size_t window_bytes = tokens * (3 * c + slice + l.hidden_ld) * sizeof(float);
    l.chunk = CHUNK_BYTES / window_bytes;
    l.chunk = l.chunk < 1 ? 1 : l.chunk > MAX_CHUNK ? MAX_CHUNK : l.chunk;
    size_t rows = (l.chunk * tokens + 15) / 16 * 16; // each buffer starts on a cache line
    l.normed = rows * c;
    l.attended = l.normed + rows * c;
    l.slice = l.attended + rows * c;
    l.convolved = l.slice + rows * slice;
    l.attention = l.convolved + rows * l.hidden_ld;
    l.total = l.attention + (kernels->attention_scratch(tokens, d) + 15) / 16 * 16;
    return l;
}

static size_t block_scratch(const sl_graph *g, const sl_node *node, const sl_kernels *kernels,
                            unsigned workers)
{
    return layout_of(g, node, kernels).total * workers * sizeof(float);
}

typedef struct block_run {
    const sl_cpu_call *call;
    const block_state *s;
    const int32_t *list;
    sl_window_map map;
    block_layout layout;
    size_t count, chunk; // windows: all, and of a task
} block_run;

static void multiply(const block_run *r, const linear *w, const float *a, size_t lda, size_t rows,
                     sl_act act, float *residual, float *c, size_t ldc)
{
    sl_gemm g = { .a = a,
                  .lda = lda,
                  .rows = rows,
                  .b = &w->weight,
                  .bias = w->bias,
                  .act = act,
                  .residual = residual,
                  .ldr = ldc,
                  .c = c,
                  .ldc = ldc };
    r->call->kernels->gemm(&g);
}

static void normalise(const block_run *r, const float *x, size_t rows, const float *weight,
                      const float *bias, const float *add, float *y)
{
    size_t c = r->s->channels;
    sl_norm n = { .x = x,
                  .ldx = c,
                  .rows = rows,
                  .channels = c,
                  .weight = weight,
                  .bias = bias,
                  .add = add,
                  .add_rows = r->s->tokens,
                  .eps = r->call->node->attr.eps,
                  .y = y,
                  .ldy = c };
    r->call->kernels->layer_norm(&n);
}

// From normed rows to attended rows, one slice of heads after the other.
static void attend(const block_run *r, float *memory, size_t first, size_t windows)
{
    const block_state *s = r->s;
    const block_layout *l = &r->layout;
    size_t c = s->channels, n = s->tokens;
    size_t rows = r->map.height / r->map.window, columns = r->map.width / r->map.window;
    for (size_t i = 0; i < s->head_slices; i++) {
        const head_slice *h = &s->heads[i];
        size_t width = h->count * s->head_dim, ld = 3 * width;
        float *qkv = memory + l->slice;
        multiply(r, &h->qkv, memory + l->normed, c, windows * n, SL_ACT_NONE, NULL, qkv, ld);
        for (size_t k = 0; k < windows; k++) {
            const float *q = qkv + k * n * ld;
            sl_attention a = { .q = q,
                               .k = q + width,
                               .v = q + 2 * width,
                               .ldq = ld,
                               .ldkv = ld,
                               .ldo = c,
                               .tokens = n,
                               .heads = h->count,
                               .head_dim = s->head_dim,
                               .bias = s->bias + h->first * n * n,
                               .mask = sl_shift_mask(s->masks, r->map.window, rows, columns,
                                                     sl_list_at(r->list, first + k)),
                               .out = memory + l->attended + k * n * c + h->first * s->head_dim,
                               .scratch = memory + l->attention };
            r->call->kernels->attention(&a);
        }
    }
}

// Adds the feed-forward part to the rows at the start of `memory`, slice by slice.
static void feed_forward(const block_run *r, float *memory, size_t windows)
{
    const block_state *s = r->s;
    const block_layout *l = &r->layout;
    size_t c = s->channels, n = s->tokens, rows = windows * n;
    float *hidden = memory + l->slice, *convolved = memory + l->convolved;
    for (size_t i = 0; i < s->hidden_slices; i++) {
        const hidden_slice *h = &s->ff[i];
        multiply(r, &h->ff1, memory + l->normed, c, rows, SL_ACT_GELU, NULL, hidden, h->width);
        for (size_t k = 0; k < windows; k++) {
            sl_dwconv d = { .x = hidden + k * n * h->width,
                            .ldx = h->width,
                            .window = r->map.window,
                            .channels = h->width,
                            .weight = h->taps,
                            .bias = h->dw_bias,
                            .act = SL_ACT_GELU,
                            .y = convolved + k * n * h->width,
                            .ldy = h->width };
            r->call->kernels->dwconv(&d);
        }
        multiply(r, &h->ff2, convolved, h->width, rows, SL_ACT_NONE, memory, memory, c);
    }
}

static void block_chunk(void *arg, size_t task, unsigned worker)
{
    const block_run *r = arg;
    const block_state *s = r->s;
    float *memory = (float *)r->call->scratch + worker * r->layout.total;
    float *x = r->call->out[0], *normed = memory + r->layout.normed;
    size_t c = s->channels, n = s->tokens, first = task * r->chunk;
    size_t windows = r->count - first < r->chunk ? r->count - first : r->chunk;
    for (size_t k = 0; k < windows; k++)
        sl_window_load(&r->map, x, sl_list_at(r->list, first + k), memory + k * n * c);
    normalise(r, memory, windows * n, s->norm1_w, s->norm1_b, s->modulator, normed);
    attend(r, memory, first, windows);
    multiply(r, &s->proj, memory + r->layout.attended, c, windows * n, SL_ACT_NONE, memory, memory,
             c);
    normalise(r, memory, windows * n, s->norm2_w, s->norm2_b, NULL, normed);
    feed_forward(r, memory, windows);
    for (size_t k = 0; k < windows; k++)
        sl_window_store(&r->map, x, sl_list_at(r->list, first + k), memory + k * n * c);
}

static void block_op(const sl_cpu_call *call)
{
    const sl_attr *attr = &call->node->attr;
    const uint64_t *dim = call->graph->values[call->node->in[0]].shape.dim;
    block_run r = { .call = call,
                    .s = call->state,
                    .list = call->in[1],
                    .map = { (size_t)dim[0], (size_t)dim[1], (size_t)dim[2], attr->window,
                             attr->shift },
                    .layout = layout_of(call->graph, call->node, call->kernels) };
    size_t windows = r.map.height / attr->window * (r.map.width / attr->window);
    assert(call->out[0] == call->in[0]); // the planner's part: windows outside the list stay
    r.count = sl_list_count(r.list, windows);
    if (r.count == 0)
        return;
    // Every worker gets about the same: as many tasks as full chunks make, rounded up to a multiple
    // of the workers, and no fewer than they are.
    size_t workers = sl_pool_size(call->pool);
    size_t tasks = slice_count(slice_count(r.count, r.layout.chunk), workers) * workers;
    r.chunk = slice_count(r.count, tasks);
    sl_pool_run(call->pool, block_chunk, &r, slice_count(r.count, r.chunk));
}

const sl_cpu_op sl_cpu_window_block = {
    .scratch = block_scratch, .prepare = block_prepare, .run = block_op, .takes_bf16 = true
};
