// SPDX-License-Identifier: MIT
// cpu/soft.c: softmax-free attention in two passes over the tokens: K1^T V is summed up chunk by
// chunk, the small inverse is multiplied by it, and K1 times that joins the convolution of V.
#include "cpu/soft.h"

#include <math.h>

// Pixels of the values' map that are convolved together.
#define TILE_ROWS 8
#define TILE_COLUMNS 64
#define PIXEL_FLOATS 16 // what sl_shared_conv wants of a pixel: whole vectors of the widest kind

// ---- weights

static sl_status prepare(sl_ctx *ctx, sl_cpu_weights *weights, const sl_graph *g,
                         const sl_node *node, const sl_kernels *kernels, void **state)
{
    const sl_tensor *w = node->weight[SL_SOFT_LANDMARK_W];
    size_t d = w->shape.dim[0], taps = w->shape.dim[2] * w->shape.dim[3];
    (void)g;
    sl_soft_state *s = sl_cpu_weights_alloc(ctx, weights, 1, sizeof(*s));
    float *plain = sl_alloc(ctx, d * d * taps, sizeof(*plain)); // the tensor's size, which exists
    float *turned = sl_alloc(ctx, d * d * taps, sizeof(*turned));
    sl_status st = SL_ERR_NOMEM;
    if (!s || !plain || !turned)
        goto done;
    sl_tensor_to_f32(w, plain);
    float scale = (float)pow((double)d, -0.25);
    for (size_t o = 0; o < d; o++)
        for (size_t c = 0; c < d; c++)
            for (size_t tap = 0; tap < taps; tap++)
                turned[(o * taps + tap) * d + c] = scale * plain[(o * d + c) * taps + tap];
    st = sl_cpu_weights_pack(ctx, weights, kernels, turned, d, taps * d, &s->landmark);
    s->norm_weight = sl_cpu_weights_f32(ctx, weights, node->weight[SL_SOFT_NORM_W]);
    s->norm_bias = sl_cpu_weights_f32(ctx, weights, node->weight[SL_SOFT_NORM_B]);
    s->taps = sl_cpu_weights_f32(ctx, weights, node->weight[SL_SOFT_CONV_W]);
    s->k = node->weight[SL_SOFT_CONV_W]->shape.dim[2];
    if (!s->norm_weight || !s->norm_bias || !s->taps)
        st = SL_ERR_NOMEM;
    *state = s;
done:
    free(plain);
    free(turned);
    return st;
}

// ---- layout

static size_t padded_pixel(size_t d)
{
    return (d + PIXEL_FLOATS - 1) / PIXEL_FLOATS * PIXEL_FLOATS;
}

// The padded tile of values that a convolution of side k reads.
static size_t tile_floats(const sl_soft_job *job, size_t k)
{
    return (TILE_ROWS + k - 1) * (TILE_COLUMNS + k - 1) * padded_pixel(job->d);
}

// A worker's kernel matrix [m, tokens] or [tokens, m], its packed tokens and values, half lengths.
static size_t pass_floats(const sl_soft_job *job)
{
    size_t packed = sl_soft_lines(job->kernels->pack_floats(SL_SOFT_TOKENS, job->d)) +
                    sl_soft_lines(job->kernels->pack_floats(job->d, SL_SOFT_TOKENS));
    return SL_SOFT_TOKENS * job->ld + packed + SL_SOFT_TOKENS;
}

static size_t most_of(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void measure(sl_soft_job *job, const sl_graph *g, const sl_node *node, unsigned workers)
{
    const uint64_t *dim = g->values[node->in[0]].shape.dim;
    uint64_t grid[2];
    sl_landmark_grid(&node->attr, dim[0], dim[1], grid);
    job->height = dim[0];
    job->width = dim[1];
    job->channels = dim[2];
    job->tokens = job->height * job->width;
    job->heads = node->attr.heads;
    job->d = job->channels / job->heads;
    job->r = node->attr.factor;
    job->grid_rows = grid[0];
    job->grid_columns = grid[1];
    job->m = job->grid_rows * job->grid_columns;
    job->ld = sl_soft_lines(job->m);
    job->chunks = (job->tokens + SL_SOFT_TOKENS - 1) / SL_SOFT_TOKENS;
    job->groups = job->chunks < SL_SOFT_GROUPS ? job->chunks : SL_SOFT_GROUPS;
    job->scale = (float)pow((double)job->d, -0.25);
    job->landmark_floats = job->sum_floats = sl_soft_lines(job->m * job->d);
    job->half_floats = sl_soft_lines(job->m);
    job->packed_floats = sl_soft_lines(job->kernels->pack_floats(job->m, job->d));
    job->product_floats = sl_soft_lines(job->kernels->pack_floats(job->d, job->m));
    job->slots = workers < job->heads ? workers : job->heads;
    job->inverse_floats = sl_soft_inverse_floats(job);
    size_t k = node->weight[SL_SOFT_CONV_W]->shape.dim[2];
    job->worker_floats = sl_soft_lines(
        most_of(pass_floats(job), most_of(sl_soft_landmark_floats(job), tile_floats(job, k))));
}

// Takes `floats` from the scratch memory; with none, counts only.
static float *take(float **next, size_t *total, size_t floats)
{
    float *taken = *next;
    *total += floats;
    if (*next)
        *next += floats;
    return taken;
}

// Where everything lies in `memory`; returns the floats of all of it.
static size_t lay_out(sl_soft_job *job, bool is_pooled, unsigned workers, float *memory)
{
    size_t total = 0, heads = job->heads;
    size_t pooled = job->m * job->r * job->r * job->channels;
    job->pooled = take(&memory, &total, is_pooled ? sl_soft_lines(pooled) : 0);
    job->landmarks = take(&memory, &total, heads * job->landmark_floats);
    job->halves = take(&memory, &total, heads * job->half_floats);
    job->packed = take(&memory, &total, heads * job->packed_floats);
    job->sums = take(&memory, &total, heads * job->groups * job->sum_floats);
    job->products = take(&memory, &total, heads * job->product_floats);
    job->row_sums = take(&memory, &total, sl_soft_lines(heads));
    job->residuals = take(&memory, &total, sl_soft_lines(heads * SL_SOFT_STARTS));
    job->inverses = take(&memory, &total, job->slots * job->inverse_floats);
    job->workers = take(&memory, &total, workers * job->worker_floats);
    return total;
}

static size_t scratch(const sl_graph *g, const sl_node *node, const sl_kernels *kernels,
                      unsigned workers)
{
    sl_soft_job job = { .kernels = kernels };
    measure(&job, g, node, workers);
    return lay_out(&job, node->attr.landmarks > 0, workers, NULL) * sizeof(float);
}

// ---- the passes

// A chunk of tokens of one head, and a worker's memory for it.
typedef struct chunk {
    size_t head, first, rows;
    const float *q, *landmarks, *halves;
    float *kernel, *tokens, *values, *lengths;
} chunk;

static chunk open_chunk(const sl_soft_job *job, size_t head, size_t index, unsigned worker)
{
    size_t first = index * SL_SOFT_TOKENS, left = job->tokens - first;
    chunk c = { .head = head,
                .first = first,
                .rows = left < SL_SOFT_TOKENS ? left : SL_SOFT_TOKENS,
                .q = job->q + first * job->channels + head * job->d,
                .landmarks = job->landmarks + head * job->landmark_floats,
                .halves = job->halves + head * job->half_floats };
    c.kernel = job->workers + worker * job->worker_floats;
    c.tokens = c.kernel + SL_SOFT_TOKENS * job->ld;
    c.values = c.tokens + sl_soft_lines(job->kernels->pack_floats(SL_SOFT_TOKENS, job->d));
    c.lengths = c.values + sl_soft_lines(job->kernels->pack_floats(job->d, SL_SOFT_TOKENS));
    float half = 0.5f * job->scale * job->scale;
    job->kernels->squares(c.q, job->channels, c.rows, job->d, half, c.lengths);
    return c;
}

// sums [m,d] += K1^T V for one chunk; the first overwrites.
static void add_chunk(const sl_soft_job *job, const chunk *c, bool is_first, float *sums)
{
    const sl_kernels *kernels = job->kernels;
    const float *v = job->v + c->first * job->channels + c->head * job->d;
    sl_packed tokens = { c->rows, job->d, c->tokens }, values = { job->d, c->rows, c->values };
    kernels->pack(c->q, job->channels, c->rows, job->d, c->tokens);
    sl_gemm products = { .a = c->landmarks,
                         .lda = job->d,
                         .rows = job->m,
                         .b = &tokens,
                         .c = c->kernel,
                         .ldc = SL_SOFT_TOKENS };
    kernels->gemm(&products);
    sl_gaussian gaussian = { c->kernel,  SL_SOFT_TOKENS, job->m,    c->rows,
                             job->scale, c->halves,      c->lengths };
    kernels->gaussian(&gaussian);
    kernels->pack_rows(v, job->channels, job->d, c->rows, 1, 0, c->values);
    sl_gemm sum = { .a = c->kernel,
                    .lda = SL_SOFT_TOKENS,
                    .rows = job->m,
                    .b = &values,
                    .residual = is_first ? NULL : sums,
                    .ldr = job->d,
                    .c = sums,
                    .ldc = job->d };
    kernels->gemm(&sum);
}

static void first_pass(const sl_soft_job *job, size_t head, size_t group, unsigned worker)
{
    float *sums = job->sums + (head * job->groups + group) * job->sum_floats;
    size_t first = job->chunks * group / job->groups;
    size_t end = job->chunks * (group + 1) / job->groups;
    for (size_t i = first; i < end; i++) {
        chunk c = open_chunk(job, head, i, worker);
        add_chunk(job, &c, i == first, sums);
    }
}

// out += K1 (inverse(K2) K1^T V) for a chunk.
static void second_pass(void *arg, size_t task, unsigned worker)
{
    const sl_soft_job *job = arg;
    const sl_kernels *kernels = job->kernels;
    chunk c = open_chunk(job, task % job->heads, task / job->heads, worker);
    sl_packed landmarks = { job->m, job->d, job->packed + c.head * job->packed_floats };
    sl_packed weights = { job->d, job->m, job->products + c.head * job->product_floats };
    float *out = job->out + c.first * job->channels + c.head * job->d;
    sl_gemm products = { .a = c.q,
                         .lda = job->channels,
                         .rows = c.rows,
                         .b = &landmarks,
                         .c = c.kernel,
                         .ldc = job->ld };
    kernels->gemm(&products);
    sl_gaussian gaussian = { c.kernel, job->ld, c.rows, job->m, job->scale, c.lengths, c.halves };
    kernels->gaussian(&gaussian);
    sl_gemm sum = { .a = c.kernel,
                    .lda = job->ld,
                    .rows = c.rows,
                    .b = &weights,
                    .residual = out,
                    .ldr = job->channels,
                    .c = out,
                    .ldc = job->channels };
    kernels->gemm(&sum);
}

// ---- the convolution of the values

// Values of a tile and of what its convolution reaches, zeros outside the map. top, left: of the
// tile's corner, which lies `reach` further down and right in `to`.
static void gather_tile(const sl_soft_job *job, size_t head, ptrdiff_t top, ptrdiff_t left,
                        size_t rows, size_t columns, float *to)
{
    size_t pixel = padded_pixel(job->d);
    for (ptrdiff_t y = top; y < top + (ptrdiff_t)rows; y++)
        for (ptrdiff_t x = left; x < left + (ptrdiff_t)columns; x++, to += pixel) {
            bool is_inside =
                y >= 0 && y < (ptrdiff_t)job->height && x >= 0 && x < (ptrdiff_t)job->width;
            size_t at = is_inside ? (size_t)y * job->width + (size_t)x : 0;
            const float *v = job->v + at * job->channels + head * job->d;
            for (size_t c = 0; c < job->d; c++)
                to[c] = is_inside ? v[c] : 0.0f;
            for (size_t c = job->d; c < pixel; c++)
                to[c] = 0.0f;
        }
}

static void convolve_tile(const sl_soft_job *job, size_t head, size_t tile, unsigned worker)
{
    size_t across = (job->width + TILE_COLUMNS - 1) / TILE_COLUMNS, k = job->state->k;
    size_t top = tile / across * TILE_ROWS, left = tile % across * TILE_COLUMNS;
    size_t rows = job->height - top < TILE_ROWS ? job->height - top : TILE_ROWS;
    size_t columns = job->width - left < TILE_COLUMNS ? job->width - left : TILE_COLUMNS;
    float *values = job->workers + worker * job->worker_floats;
    ptrdiff_t reach = (ptrdiff_t)(k / 2);
    gather_tile(job, head, (ptrdiff_t)top - reach, (ptrdiff_t)left - reach, rows + k - 1,
                columns + k - 1, values);
    sl_shared_conv conv = { .x = values,
                            .x_pixel = padded_pixel(job->d),
                            .x_row = (columns + k - 1) * padded_pixel(job->d),
                            .rows = rows,
                            .columns = columns,
                            .channels = job->d,
                            .k = k,
                            .taps = job->state->taps + head * k * k,
                            .y = job->out + (top * job->width + left) * job->channels +
                                 head * job->d,
                            .y_pixel = job->channels,
                            .y_row = job->width * job->channels };
    job->kernels->shared_conv(&conv);
}

static size_t tiles_of(const sl_soft_job *job)
{
    return (job->height + TILE_ROWS - 1) / TILE_ROWS *
           ((job->width + TILE_COLUMNS - 1) / TILE_COLUMNS);
}

// What does not wait for the inverse: first the convolutions, then the first pass.
static void early_task(void *arg, size_t task, unsigned worker)
{
    const sl_soft_job *job = arg;
    size_t tiles = tiles_of(job), convolutions = job->heads * tiles;
    if (task < convolutions)
        convolve_tile(job, task / tiles, task % tiles, worker);
    else
        first_pass(job, (task - convolutions) / job->groups, (task - convolutions) % job->groups,
                   worker);
}

static void run(const sl_cpu_call *call)
{
    unsigned workers = sl_pool_size(call->pool);
    sl_soft_job job = { .call = call,
                        .kernels = call->kernels,
                        .state = call->state,
                        .q = call->in[0],
                        .v = call->in[1],
                        .out = call->out[0] };
    measure(&job, call->graph, call->node, workers);
    lay_out(&job, call->node->attr.landmarks > 0, workers, call->scratch);
    sl_soft_landmarks(&job);
    sl_pool_run(call->pool, early_task, &job, job.heads * (tiles_of(&job) + job.groups));
    sl_soft_invert(&job);
    sl_pool_run(call->pool, second_pass, &job, job.heads * job.chunks);
}

const sl_cpu_op sl_cpu_soft_attention = { .scratch = scratch, .prepare = prepare, .run = run };
