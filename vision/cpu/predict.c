// SPDX-License-Identifier: MIT
// cpu/predict.c: the score predictor. Between the LayerNorm and the GELU behind out_conv.0 all is
// linear, and the mean over all tokens of a linear map is the map of the mean. So, with t the
// normed features, W3 and V the weights of in_conv.3 and out_conv.0, and a, b the two halves of the
// channels between them:
//     out_conv.0 = t F + mean(t) G + constant,    F = (V_a W3_a)^T,  G = (V_b W3_b)^T
// A first pass over the map stores t F, half as wide as the map, and sums t; a second one does the
// rest window by window. Folding is done in double; sums are kept in an order of their own, so that
// scores do not depend on the number of threads: near the threshold a flip changes a whole window.
#include "cpu/op.h"

#define ROWS 256    // of a task, in both passes: about as much as the L2 cache likes at C = 512
#define SUM_ROWS 16 // rows added up in f32 before they join a sum in double
#define COLUMNS 64  // whose sums are kept at hand while rows are read one after the other
#define FOLD_ROWS 8 // of a task that folds: as many use a row of W3 while it is in the cache

typedef struct predict_state {
    size_t channels, half, quarter; // C, C/2, C/4
    sl_packed in0, folded, out2;    // folded: F as [C/2, C]
    const float *in0_b, *norm_w, *norm_b, *out2_b;
    const double *mean_weight;   // G as [C/2, C]
    const double *constant;      // [C/2]
    const double *out4, *out4_b; // [2, C/4], [2]
} predict_state;

// ---- prepare

// A weight as doubles that live while the state is made.
static double *doubles(sl_ctx *ctx, sl_arena *arena, const sl_tensor *tensor)
{
    size_t count = tensor->bytes / sl_dtype_size(tensor->dtype);
    const float *source = sl_cpu_tensor_f32(ctx, arena, tensor);
    double *copy = source ? sl_arena_alloc(ctx, arena, count, sizeof(double)) : NULL;
    for (size_t i = 0; copy && i < count; i++)
        copy[i] = (double)source[i];
    return copy;
}

typedef struct folding {
    const double *v, *w3; // [C/2, C], [C, C]
    double *mean_weight;  // G as [C/2, C]
    float *matrix;        // F as [C/2, C]
    size_t channels, half;
} folding;

// out[i][j] = sum over k in [first, last) of v[i][k] * w3[k][j];  v, out [rows,C], w3 [C,C]
static void fold(const double *v, const double *w3, size_t c, size_t rows, size_t first,
                 size_t last, double *restrict out)
{
    size_t k = first;
    memset(out, 0, rows * c * sizeof(*out));
    for (; k + 4 <= last; k += 4) // four at a time: they load and store a sum once
        for (size_t i = 0; i < rows; i++) {
            const double *f = v + i * c + k, *w = w3 + k * c;
            for (size_t j = 0; j < c; j++) {
                double sum = out[i * c + j] + f[0] * w[j];
                sum += f[1] * w[c + j];
                sum += f[2] * w[2 * c + j];
                out[i * c + j] = sum + f[3] * w[3 * c + j];
            }
        }
    for (; k < last; k++)
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < c; j++)
                out[i * c + j] += v[i * c + k] * w3[k * c + j];
}

static void fold_task(void *arg, size_t task, unsigned worker)
{
    const folding *f = arg;
    size_t c = f->channels, half = f->half, first = task * FOLD_ROWS;
    size_t rows = half - first < FOLD_ROWS ? half - first : FOLD_ROWS;
    const double *v = f->v + first * c;
    double *out = f->mean_weight + first * c;
    (void)worker;
    fold(v, f->w3, c, rows, 0, half, out); // F for now
    for (size_t i = 0; i < rows * c; i++)
        f->matrix[first * c + i] = (float)out[i];
    fold(v, f->w3, c, rows, half, c, out);
}

// F, G and the constant: V_a b3_a + V_b b3_b + b_out0, which is V b3 + b_out0.
static sl_status prepare_folded(sl_ctx *ctx, sl_cpu_weights *weights, const sl_node *node,
                                const sl_kernels *kernels, predict_state *s)
{
    size_t c = s->channels, half = s->half;
    sl_arena arena = { 0 };
    double *v = doubles(ctx, &arena, node->weight[SL_PREDICT_OUT0_W]);
    double *w3 = doubles(ctx, &arena, node->weight[SL_PREDICT_IN3_W]);
    double *b3 = doubles(ctx, &arena, node->weight[SL_PREDICT_IN3_B]);
    double *out0_b = doubles(ctx, &arena, node->weight[SL_PREDICT_OUT0_B]);
    float *matrix = sl_arena_alloc(ctx, &arena, half, c * sizeof(float));
    double *mean_weight = sl_cpu_weights_alloc(ctx, weights, half, c * sizeof(double));
    double *constant = sl_cpu_weights_alloc(ctx, weights, half, sizeof(double));
    sl_status st = SL_ERR_NOMEM;
    if (v && w3 && b3 && out0_b && matrix && mean_weight && constant) {
        folding f = { v, w3, mean_weight, matrix, c, half };
        sl_pool_run(ctx->pool, fold_task, &f, (half + FOLD_ROWS - 1) / FOLD_ROWS);
        for (size_t i = 0; i < half; i++) {
            constant[i] = out0_b[i];
            for (size_t k = 0; k < c; k++)
                constant[i] += v[i * c + k] * b3[k];
        }
        s->mean_weight = mean_weight;
        s->constant = constant;
        st = sl_cpu_weights_pack(ctx, weights, kernels, matrix, half, c, &s->folded);
    }
    sl_arena_free(&arena);
    return st;
}

static sl_status prepare_last(sl_ctx *ctx, sl_cpu_weights *weights, const sl_node *node,
                              predict_state *s)
{
    sl_arena arena = { 0 };
    double *w = doubles(ctx, &arena, node->weight[SL_PREDICT_OUT4_W]);
    double *b = doubles(ctx, &arena, node->weight[SL_PREDICT_OUT4_B]);
    double *kept = sl_cpu_weights_alloc(ctx, weights, 2 * s->quarter + 2, sizeof(double));
    bool done = w && b && kept;
    if (done) {
        memcpy(kept, w, 2 * s->quarter * sizeof(double));
        memcpy(kept + 2 * s->quarter, b, 2 * sizeof(double));
        s->out4 = kept;
        s->out4_b = kept + 2 * s->quarter;
    }
    sl_arena_free(&arena);
    return done ? SL_OK : SL_ERR_NOMEM;
}

static sl_status predict_prepare(sl_ctx *ctx, sl_cpu_weights *weights, const sl_graph *g,
                                 const sl_node *node, const sl_kernels *kernels, void **state)
{
    predict_state *s = sl_cpu_weights_alloc(ctx, weights, 1, sizeof(*s));
    if (!s)
        return SL_ERR_NOMEM;
    s->channels = (size_t)g->values[node->in[0]].shape.dim[2];
    s->half = s->channels / 2;
    s->quarter = s->channels / 4;
    s->in0_b = sl_cpu_weights_f32(ctx, weights, node->weight[SL_PREDICT_IN0_B]);
    s->norm_w = sl_cpu_weights_f32(ctx, weights, node->weight[SL_PREDICT_NORM_W]);
    s->norm_b = sl_cpu_weights_f32(ctx, weights, node->weight[SL_PREDICT_NORM_B]);
    s->out2_b = sl_cpu_weights_f32(ctx, weights, node->weight[SL_PREDICT_OUT2_B]);
    if (!s->in0_b || !s->norm_w || !s->norm_b || !s->out2_b)
        return SL_ERR_NOMEM;
    sl_status st =
        sl_cpu_weights_pack_tensor(ctx, weights, kernels, node->weight[SL_PREDICT_IN0_W], &s->in0);
    if (st == SL_OK)
        st = sl_cpu_weights_pack_tensor(ctx, weights, kernels, node->weight[SL_PREDICT_OUT2_W],
                                        &s->out2);
    if (st == SL_OK)
        st = prepare_folded(ctx, weights, node, kernels, s);
    if (st == SL_OK)
        st = prepare_last(ctx, weights, node, s);
    *state = s;
    return st;
}

// ---- run

// Scratch memory: sums of t by task (double), t F, what the mean adds to it, a buffer per worker.
typedef struct predict_layout {
    size_t tokens, tasks;                         // of the map, of the first pass
    size_t task_windows;                          // of the second pass
    size_t folded, shift, buffers, buffer, total; // bytes; `buffer` for one worker
} predict_layout;

static size_t lines(size_t bytes)
{
    return (bytes + SL_ALIGN - 1) / SL_ALIGN * SL_ALIGN;
}

static predict_layout layout_of(const sl_graph *g, const sl_node *node, unsigned workers)
{
    const uint64_t *dim = g->values[node->in[0]].shape.dim;
    size_t c = (size_t)dim[2], window = (size_t)node->attr.window * node->attr.window;
    predict_layout l = { .tokens = (size_t)(dim[0] * dim[1]),
                         .task_windows = window < ROWS ? ROWS / window : 1 };
    size_t rows = window * l.task_windows > ROWS ? window * l.task_windows : ROWS;
    l.tasks = (l.tokens + ROWS - 1) / ROWS;
    l.folded = lines(l.tasks * c * sizeof(double));
    l.shift = l.folded + lines(l.tokens * (c / 2) * sizeof(float));
    l.buffers = l.shift + lines(c / 2 * sizeof(float));
    l.buffer = lines(rows * c * sizeof(float));
    l.total = l.buffers + l.buffer * workers;
    return l;
}

static size_t predict_scratch(const sl_graph *g, const sl_node *node, const sl_kernels *kernels,
                              unsigned workers)
{
    (void)kernels;
    return layout_of(g, node, workers).total;
}

typedef struct predict_run {
    const sl_cpu_call *call;
    const predict_state *s;
    predict_layout layout;
    double *sums;   // [tasks, C]
    float *folded;  // t F [H*W, C/2]
    float *shift;   // mean(t) G + constant [C/2]
    size_t windows; // of the map
    sl_window_map map;
} predict_run;

static float *worker_buffer(const predict_run *r, unsigned worker)
{
    char *base = r->call->scratch;
    return (float *)(void *)(base + r->layout.buffers + worker * r->layout.buffer);
}

// sums[j] = sum over rows of t[row][j]
static void sum_rows(const float *t, size_t rows, size_t c, double *sums)
{
    memset(sums, 0, c * sizeof(*sums));
    for (size_t first = 0; first < rows; first += SUM_ROWS) {
        size_t count = rows - first < SUM_ROWS ? rows - first : SUM_ROWS;
        for (size_t from = 0; from < c; from += COLUMNS) {
            size_t columns = c - from < COLUMNS ? c - from : COLUMNS;
            const float *x = t + first * c + from;
            float sum[COLUMNS];
            memcpy(sum, x, columns * sizeof(*sum));
            for (size_t i = 1; i < count; i++)
                for (size_t j = 0; j < columns; j++)
                    sum[j] += x[i * c + j];
            for (size_t j = 0; j < columns; j++)
                sums[from + j] += (double)sum[j];
        }
    }
}

static void first_pass(void *arg, size_t task, unsigned worker)
{
    const predict_run *r = arg;
    const predict_state *s = r->s;
    const sl_kernels *kernels = r->call->kernels;
    size_t c = s->channels, first = task * ROWS;
    size_t rows = r->layout.tokens - first < ROWS ? r->layout.tokens - first : ROWS;
    float *t = worker_buffer(r, worker);
    sl_gemm in0 = { .a = (const float *)r->call->in[0] + first * c,
                    .lda = c,
                    .rows = rows,
                    .b = &s->in0,
                    .bias = s->in0_b,
                    .act = SL_ACT_GELU,
                    .c = t,
                    .ldc = c };
    kernels->gemm(&in0);
    sl_norm norm = { .x = t,
                     .ldx = c,
                     .rows = rows,
                     .channels = c,
                     .weight = s->norm_w,
                     .bias = s->norm_b,
                     .eps = r->call->node->attr.eps,
                     .y = t,
                     .ldy = c };
    kernels->layer_norm(&norm);
    sum_rows(t, rows, c, r->sums + task * c);
    sl_gemm folded = { .a = t,
                       .lda = c,
                       .rows = rows,
                       .b = &s->folded,
                       .c = r->folded + first * s->half,
                       .ldc = s->half };
    kernels->gemm(&folded);
}

// What the mean of all tokens adds to every one.
static void mean_shift(const predict_run *r)
{
    const predict_state *s = r->s;
    size_t c = s->channels;
    for (size_t task = 1; task < r->layout.tasks; task++) // the first row of sums takes them all
        for (size_t j = 0; j < c; j++)
            r->sums[j] += r->sums[task * c + j];
    for (size_t i = 0; i < s->half; i++) {
        double sum = 0;
        for (size_t j = 0; j < c; j++)
            sum += s->mean_weight[i * c + j] * r->sums[j];
        r->shift[i] = (float)(sum / (double)r->layout.tokens + s->constant[i]);
    }
}

// Scores of one window from its features [N, C/4].
static void score_window(const predict_state *s, const float *features, size_t tokens, float *score)
{
    double z[2] = { 0, 0 };
    for (size_t from = 0; from < s->quarter; from += COLUMNS) {
        size_t columns = s->quarter - from < COLUMNS ? s->quarter - from : COLUMNS;
        const double *out4 = s->out4 + from;
        double sum[COLUMNS] = { 0 };
        for (size_t i = 0; i < tokens; i++)
            for (size_t j = 0; j < columns; j++)
                sum[j] += (double)features[i * s->quarter + from + j];
        for (size_t j = 0; j < columns; j++) {
            z[0] += out4[j] * sum[j];
            z[1] += out4[s->quarter + j] * sum[j];
        }
    }
    score[0] = (float)(z[0] / (double)tokens + s->out4_b[0]);
    score[1] = (float)(z[1] / (double)tokens + s->out4_b[1]);
}

static void second_pass(void *arg, size_t task, unsigned worker)
{
    const predict_run *r = arg;
    const predict_state *s = r->s;
    const sl_kernels *kernels = r->call->kernels;
    size_t half = s->half, n = r->map.window * r->map.window, first = task * r->layout.task_windows;
    size_t left = r->windows - first;
    size_t windows = left < r->layout.task_windows ? left : r->layout.task_windows;
    float *x = worker_buffer(r, worker), *features = x + windows * n * half;
    for (size_t k = 0; k < windows; k++)
        sl_window_load(&r->map, r->folded, first + k, x + k * n * half);
    for (size_t i = 0; i < windows * n; i++)
        for (size_t j = 0; j < half; j++)
            x[i * half + j] += r->shift[j];
    kernels->activate(x, windows * n * half, SL_ACT_GELU, 0.0f);
    sl_gemm out2 = { .a = x,
                     .lda = half,
                     .rows = windows * n,
                     .b = &s->out2,
                     .bias = s->out2_b,
                     .act = SL_ACT_GELU,
                     .c = features,
                     .ldc = s->quarter };
    kernels->gemm(&out2);
    float *scores = r->call->out[0];
    for (size_t k = 0; k < windows; k++)
        score_window(s, features + k * n * s->quarter, n, scores + 2 * (first + k));
}

static void predict_op(const sl_cpu_call *call)
{
    const sl_attr *attr = &call->node->attr;
    const uint64_t *dim = call->graph->values[call->node->in[0]].shape.dim;
    const predict_state *s = call->state;
    predict_run r = { .call = call,
                      .s = s,
                      .layout = layout_of(call->graph, call->node, sl_pool_size(call->pool)),
                      .map = { (size_t)dim[0], (size_t)dim[1], s->half, attr->window,
                               attr->shift } };
    char *base = call->scratch;
    r.sums = (double *)(void *)base;
    r.folded = (float *)(void *)(base + r.layout.folded);
    r.shift = (float *)(void *)(base + r.layout.shift);
    r.windows = r.map.height / attr->window * (r.map.width / attr->window);
    sl_pool_run(call->pool, first_pass, &r, r.layout.tasks);
    mean_shift(&r);
    size_t tasks = (r.windows + r.layout.task_windows - 1) / r.layout.task_windows;
    sl_pool_run(call->pool, second_pass, &r, tasks);
}

const sl_cpu_op sl_cpu_predict = {
    .scratch = predict_scratch, .prepare = predict_prepare, .run = predict_op, .takes_bf16 = true
};
