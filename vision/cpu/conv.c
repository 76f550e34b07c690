// SPDX-License-Identifier: MIT
// cpu/conv.c: convolution as an implicit matrix product. Patches that lie wholly inside a wide map
// are multiplied where they are: neighbours along a row overlap, at the stride's distance. Those at
// the border, and all of narrow maps, are gathered into rows that stay in the cache: many at a
// time, as each product reads all weights. Of a map too small to give all workers such a chunk, all
// patches are gathered first; the product is then cut by columns as well.
#include "cpu/op.h"

#define CHUNK_BYTES (96u << 10)
#define CHUNK_MIN 32 // pixels: below that, reading the weights costs more than the product
#define CHUNK_MAX 512
#define GATHER_MAX ((size_t)4 << 20) // bytes of all patches of a small map
#define GATHER_ROWS 8
#define DIRECT_MIN 32 // inner pixels in a row: below that, one row is too little for the weights

typedef struct conv_state {
    sl_packed weight; // [Cout, k*k*Cin], rows as patches lie in a channels-last map
    const float *bias;
} conv_state;

typedef struct conv_job {
    const sl_cpu_call *call;
    size_t height, width, channels; // input
    size_t out_width, pixels;       // output
    size_t k, stride, pad, chunk;
    size_t inner_left, inner_right; // columns of the output whose patches lie inside
    size_t inner_top, inner_bottom;
    sl_gemm_grid grid; // of a product of all pixels at once
} conv_job;

static sl_status prepare(sl_ctx *ctx, sl_cpu_weights *weights, const sl_graph *g,
                         const sl_node *node, const sl_kernels *kernels, void **state)
{
    const sl_tensor *w = node->weight[0];
    size_t n = w->shape.dim[0], cin = w->shape.dim[1], kk = w->shape.dim[2] * w->shape.dim[3];
    (void)g;
    conv_state *s = sl_cpu_weights_alloc(ctx, weights, 1, sizeof *s);
    sl_arena arena = { 0 };
    const float *plain = sl_cpu_tensor_f32(ctx, &arena, w);
    float *turned = sl_arena_alloc(ctx, &arena, n * cin * kk, sizeof *turned);
    sl_status st = SL_ERR_NOMEM;
    if (!s || !plain || !turned)
        goto done;
    for (size_t o = 0; o < n; o++)
        for (size_t c = 0; c < cin; c++)
            for (size_t tap = 0; tap < kk; tap++)
                turned[(o * kk + tap) * cin + c] = plain[(o * cin + c) * kk + tap];
    st = sl_cpu_weights_pack(ctx, weights, kernels, turned, n, kk * cin, &s->weight);
    s->bias = sl_cpu_weights_f32(ctx, weights, node->weight[1]);
    if (!s->bias)
        st = SL_ERR_NOMEM;
    *state = s;
done:
    sl_arena_free(&arena);
    return st;
}

// First output whose patch begins inside, and first whose patch ends outside, along one side.
static void find_inner(const conv_job *job, size_t in, size_t out, size_t *first, size_t *end)
{
    *first = (job->pad + job->stride - 1) / job->stride;
    *end = in + job->pad < job->k ? 0 : (in + job->pad - job->k) / job->stride + 1;
    *first = *first < out ? *first : out;
    *end = *end < *first ? *first : *end;
    *end = *end < out ? *end : out;
}

static conv_job describe(const sl_graph *g, const sl_node *node)
{
    const uint64_t *in = g->values[node->in[0]].shape.dim;
    const uint64_t *out = g->values[node->out[0]].shape.dim;
    conv_job job = { .height = in[0],
                     .width = in[1],
                     .channels = in[2],
                     .out_width = out[1],
                     .pixels = out[0] * out[1],
                     .k = node->weight[0]->shape.dim[2],
                     .stride = node->attr.stride,
                     .pad = node->attr.pad };
    job.chunk = CHUNK_BYTES / sizeof(float) / (job.k * job.k * job.channels);
    if (job.chunk < CHUNK_MIN)
        job.chunk = CHUNK_MIN;
    if (job.chunk > CHUNK_MAX)
        job.chunk = CHUNK_MAX;
    if (job.chunk > job.pixels)
        job.chunk = job.pixels;
    find_inner(&job, job.width, job.out_width, &job.inner_left, &job.inner_right);
    find_inner(&job, job.height, out[0], &job.inner_top, &job.inner_bottom);
    return job;
}

static bool is_direct(const conv_job *job)
{
    return job->inner_right - job->inner_left >= DIRECT_MIN;
}

static bool is_plain(const conv_job *job) // 1x1: the map itself is the matrix
{
    return job->k == 1 && job->stride == 1 && job->pad == 0;
}

// Whether all patches are gathered before any is multiplied.
static bool is_small(const conv_job *job, unsigned workers)
{
    size_t bytes = job->k * job->k * job->channels * sizeof(float);
    return workers > 1 && !is_plain(job) && !is_direct(job) && job->pixels <= GATHER_MAX / bytes &&
           (job->pixels + job->chunk - 1) / job->chunk < workers * SL_PARTS_PER_WORKER;
}

static size_t patch_floats(const conv_job *job, size_t pixels) // in whole cache lines
{
    size_t floats = pixels * job->k * job->k * job->channels, line = SL_ALIGN / sizeof(float);
    return (floats + line - 1) / line * line;
}

static size_t scratch(const sl_graph *g, const sl_node *node, const sl_kernels *kernels,
                      unsigned workers)
{
    conv_job job = describe(g, node);
    (void)kernels;
    if (is_small(&job, workers))
        return patch_floats(&job, job.pixels) * sizeof(float);
    return is_plain(&job) ? 0 : patch_floats(&job, job.chunk) * sizeof(float) * workers;
}

// Short runs are the rule at the first layer, where a call of memcpy costs more than the copy.
static inline void copy_floats(float *to, const float *from, size_t count)
{
    if (count > 32) {
        memcpy(to, from, count * sizeof *to);
        return;
    }
    for (size_t i = 0; i < count; i++)
        to[i] = from[i];
}

static inline void clear_floats(float *to, size_t count)
{
    memset(to, 0, count * sizeof *to);
}

// One row of one patch: k pixels beginning at column `left`, which may lie outside.
static void gather_row(const conv_job *job, const float *x, ptrdiff_t y, ptrdiff_t left, float *to)
{
    size_t c = job->channels;
    ptrdiff_t k = (ptrdiff_t)job->k, width = (ptrdiff_t)job->width;
    if (y < 0 || y >= (ptrdiff_t)job->height || left >= width || left + k <= 0) {
        clear_floats(to, job->k * c);
        return;
    }
    ptrdiff_t before = left < 0 ? -left : 0;
    ptrdiff_t inside = (left + k > width ? width - left : k) - before;
    if (before)
        clear_floats(to, (size_t)before * c);
    copy_floats(to + (size_t)before * c, x + (size_t)(y * width + left + before) * c,
                (size_t)inside * c);
    if (before + inside < k)
        clear_floats(to + (size_t)(before + inside) * c, (size_t)(k - before - inside) * c);
}

// Patches of `count` outputs, each `step` behind the one before.
static void gather(const conv_job *job, size_t first, size_t step, size_t count, float *patches)
{
    const float *x = job->call->in[0];
    size_t row_floats = job->k * job->channels;
    for (size_t i = 0; i < count; i++) {
        size_t oy = (first + i * step) / job->out_width, ox = (first + i * step) % job->out_width;
        ptrdiff_t top = (ptrdiff_t)(oy * job->stride) - (ptrdiff_t)job->pad;
        ptrdiff_t left = (ptrdiff_t)(ox * job->stride) - (ptrdiff_t)job->pad;
        for (size_t ky = 0; ky < job->k; ky++, patches += row_floats)
            gather_row(job, x, top + (ptrdiff_t)ky, left, patches);
    }
}

static sl_gemm product(const conv_job *job, const float *a, size_t first, size_t count)
{
    const sl_cpu_call *call = job->call;
    const conv_state *s = call->state;
    return (sl_gemm) { .a = a,
                       .lda = s->weight.k,
                       .rows = count,
                       .b = &s->weight,
                       .bias = s->bias,
                       .act = call->node->attr.act,
                       .slope = call->node->attr.slope,
                       .c = (float *)call->out[0] + first * s->weight.n,
                       .ldc = s->weight.n };
}

static void run_gathered(const conv_job *job, size_t first, size_t step, size_t count,
                         unsigned worker)
{
    float *patches = (float *)job->call->scratch + worker * patch_floats(job, job->chunk);
    while (count > 0) {
        size_t rows = count < job->chunk ? count : job->chunk;
        gather(job, first, step, rows, patches);
        sl_gemm g = product(job, patches, first, rows);
        g.ldc = step * g.ldc;
        job->call->kernels->gemm(&g);
        first += rows * step;
        count -= rows;
    }
}

static void chunk_task(void *arg, size_t index, unsigned worker)
{
    const conv_job *job = arg;
    size_t first = index * job->chunk;
    size_t count = job->pixels - first < job->chunk ? job->pixels - first : job->chunk;
    run_gathered(job, first, 1, count, worker);
}

static void gather_task(void *arg, size_t index, unsigned worker)
{
    const conv_job *job = arg;
    size_t first = index * GATHER_ROWS, left = job->pixels - first;
    (void)worker;
    gather(job, first, 1, left < GATHER_ROWS ? left : GATHER_ROWS,
           (float *)job->call->scratch + first * job->k * job->k * job->channels);
}

static void product_task(void *arg, size_t index, unsigned worker)
{
    const conv_job *job = arg;
    const sl_cpu_call *call = job->call;
    sl_gemm g = product(job, is_plain(job) ? call->in[0] : call->scratch, 0, job->pixels);
    (void)worker;
    sl_cpu_grid_part(&job->grid, index, &g);
    call->kernels->gemm(&g);
}

static void run_whole(conv_job *job, unsigned workers)
{
    const conv_state *s = job->call->state;
    sl_pool *pool = job->call->pool;
    job->grid = sl_cpu_grid(job->call->kernels, &s->weight, job->pixels, workers);
    if (!is_plain(job))
        sl_pool_run(pool, gather_task, job, (job->pixels + GATHER_ROWS - 1) / GATHER_ROWS);
    sl_pool_run(pool, product_task, job, sl_cpu_grid_parts(&job->grid));
}

// One column of what lies at the left or right of the inner rows, from the top on, `chunk` outputs.
static void column_task(const conv_job *job, size_t index, unsigned worker)
{
    size_t rows = job->inner_bottom - job->inner_top, parts = (rows + job->chunk - 1) / job->chunk;
    size_t column = index / parts, done = index % parts * job->chunk;
    if (column >= job->inner_left)
        column += job->inner_right - job->inner_left;
    run_gathered(job, (job->inner_top + done) * job->out_width + column, job->out_width,
                 rows - done < job->chunk ? rows - done : job->chunk, worker);
}

static size_t column_tasks(const conv_job *job)
{
    size_t rows = job->inner_bottom - job->inner_top;
    return (job->out_width - (job->inner_right - job->inner_left)) *
           ((rows + job->chunk - 1) / job->chunk);
}

// One row of the output, and behind them its outer columns.
static void row_task(void *arg, size_t y, unsigned worker)
{
    const conv_job *job = arg;
    size_t first = y * job->out_width, rows = job->pixels / job->out_width;
    if (y >= rows) {
        column_task(job, y - rows, worker);
        return;
    }
    if (y < job->inner_top || y >= job->inner_bottom) {
        run_gathered(job, first, 1, job->out_width, worker);
        return;
    }
    size_t top = y * job->stride - job->pad, left = job->inner_left * job->stride - job->pad;
    const float *a = (const float *)job->call->in[0] + (top * job->width + left) * job->channels;
    sl_gemm g = product(job, a, first + job->inner_left, job->inner_right - job->inner_left);
    g.lda = job->stride * job->channels;
    g.segments = job->k;
    g.segment_stride = job->width * job->channels;
    job->call->kernels->gemm(&g);
}

static void run(const sl_cpu_call *call)
{
    conv_job job = describe(call->graph, call->node);
    unsigned workers = sl_pool_size(call->pool);
    job.call = call;
    if (is_plain(&job) || is_small(&job, workers))
        run_whole(&job, workers);
    else if (is_direct(&job))
        sl_pool_run(call->pool, row_task, &job, job.pixels / job.out_width + column_tasks(&job));
    else
        sl_pool_run(call->pool, chunk_task, &job, (job.pixels + job.chunk - 1) / job.chunk);
}

const sl_cpu_op sl_cpu_conv2d = {
    .scratch = scratch, .prepare = prepare, .run = run, .takes_bf16 = true
};
