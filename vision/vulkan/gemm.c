// SPDX-License-Identifier: MIT
// vulkan/gemm.c: matrix products as dispatches.
#include "vulkan/program.h"

#define K_STEP 16 // as in shaders/gemm.comp
#define N_STEP 64

typedef struct gemm_push {
    uint32_t rows, n, k, n_padded, lda, ldc, ldr, first, chunk, window, shift, height, width, side,
        stride, pad, in_height, in_width, out_width, channels;
    float slope;
} gemm_push;

static size_t up_to(size_t n, size_t step)
{
    return (n + step - 1) / step * step;
}

size_t sl_vk_matrix_numbers(size_t n, size_t k)
{
    return up_to(n, N_STEP) * up_to(k, K_STEP);
}

void sl_vk_matrix_put(float *matrix, size_t n, size_t k, size_t row, size_t column, float value)
{
    (void)k;
    matrix[column * up_to(n, N_STEP) + row] = value;
}

static sl_status fill_matrix(sl_ctx *ctx, const sl_node *node, size_t first, float *out,
                             size_t numbers)
{
    const sl_tensor *t = node->weight[first];
    size_t n = (size_t)t->shape.dim[0], k = (size_t)t->shape.dim[1];
    float *plain = sl_alloc(ctx, n * k, sizeof(*plain)); // the tensor's size, which exists
    (void)numbers;
    if (!plain)
        return SL_ERR_NOMEM;
    sl_tensor_to_f32(t, plain);
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < k; c++)
            sl_vk_matrix_put(out, n, k, r, c, plain[r * k + c]);
    free(plain);
    return SL_OK;
}

sl_status sl_vk_matrix(sl_vk_program *p, const sl_node *node, size_t weight, sl_vk_range *out)
{
    const sl_tensor *t = node->weight[weight];
    size_t numbers = sl_vk_matrix_numbers((size_t)t->shape.dim[0], (size_t)t->shape.dim[1]);
    return sl_vk_weight(p, node, weight, SL_VK_MATRIX, numbers, fill_matrix, out);
}

// What a workgroup makes. Large tiles use registers best, but a small matrix has to keep all of the
// device busy: which serves is measured (choices.c).
static const struct {
    uint32_t rows, columns;
} tiles[] = { { 64, 16 },  { 64, 32 },  { 128, 32 }, { 64, 64 },
              { 128, 64 }, { 64, 128 }, { 128, 128 } };

static uint32_t possible_tiles(const sl_vk_device *d, const sl_vk_gemm *g, uint64_t rows)
{
    uint32_t mask = 0, least = g->n <= 16 ? 16 : g->n <= 32 ? 32 : 64;
    for (uint32_t i = 0; i < SL_ARRAY_LEN(tiles); i++) {
        uint32_t tm = tiles[i].rows,
                 tn = tiles[i].columns; // the last ones may not leave the matrix
        bool fits = tn == least || (tn > least && tn < 2 * g->n);
        fits = fits && up_to(g->n, N_STEP) % tn == 0;
        fits = fits && K_STEP * (tm + 1 + tn) * sizeof(float) <= d->info.limits.shared_bytes;
        if (fits && (tm == 64 || rows >= 2048))
            mask |= 1u << i;
    }
    return mask;
}

static uint32_t usual_tile(uint32_t mask, const sl_vk_gemm *g, uint64_t rows)
{
    uint32_t tm = rows >= 16384 && g->n >= 32 ? 128 : 64, best = 0;
    uint32_t tn = tm == 128 && g->n >= 256 ? 128 : 64;
    for (uint32_t i = 0; i < SL_ARRAY_LEN(tiles); i++)
        if ((mask >> i & 1) && tiles[i].rows <= tm && tiles[i].columns <= tn)
            best = i; // they grow
    return best;
}

static void choose_tile(sl_vk_program *p, const sl_vk_gemm *g, uint64_t rows, uint32_t *tm,
                        uint32_t *tn)
{
    sl_vk_want want = { .question = { .question = SL_VK_WHICH_TILE,
                                      .about = { p->half, g->from, g->n, g->k,
                                                 sl_vk_size_class(rows), g->side } },
                        .ways = possible_tiles(p->device, g, rows),
                        .gemm = *g };
    want.gemm.rows = rows;
    uint32_t tile = sl_vk_choose(p, &want, usual_tile(want.ways, g, rows));
    *tm = tiles[tile].rows;
    *tn = tiles[tile].columns;
}

static bool by_four(const sl_vk_gemm *g)
{
    uint32_t from = g->from == SL_VK_FROM_PATCHES ? g->channels : g->lda;
    return g->k % 4 == 0 && from % 4 == 0;
}

static sl_vk_pipeline_key key_of(const sl_vk_program *p, const sl_vk_gemm *g, bool has_list,
                                 uint32_t tm, uint32_t tn)
{
    return (sl_vk_pipeline_key) { .kernel = sl_vk_variant(p, SL_VK_GEMM),
                                  .spec_count = 9,
                                  .spec = { g->from, g->to, g->add, g->act,
                                            g->bias.space != SL_VK_NOWHERE, has_list, tm, tn,
                                            by_four(g) } };
}

static gemm_push push_of(const sl_vk_gemm *g)
{
    return (gemm_push) { .rows = (uint32_t)g->rows,
                         .n = g->n,
                         .k = g->k,
                         .n_padded = (uint32_t)up_to(g->n, N_STEP),
                         .lda = g->lda,
                         .ldc = g->ldc,
                         .ldr = g->ldr,
                         .first = g->windows ? g->windows->first : 0,
                         .chunk = g->windows ? g->windows->chunk : 0,
                         .window = g->window ? g->window : 1,
                         .shift = g->shift,
                         .height = g->height,
                         .width = g->width,
                         .side = g->side,
                         .stride = g->stride,
                         .pad = g->pad,
                         .in_height = g->in_height,
                         .in_width = g->in_width,
                         .out_width = g->out_width,
                         .channels = g->channels,
                         .slope = g->slope };
}

sl_status sl_vk_emit_gemm(sl_vk_program *p, const sl_vk_gemm *g)
{
    bool has_list = g->windows && g->windows->list != SL_NO_VALUE;
    sl_vk_windows all = { .chunk = 1 };
    uint64_t tokens = (uint64_t)g->window * g->window;
    uint64_t rows = g->windows ? g->windows->chunk * tokens : g->rows;
    uint32_t tm, tn;
    if (rows > UINT32_MAX)
        return sl_fail(p->ctx, SL_ERR_LIMIT, "a matrix of %llu rows: use smaller tiles",
                       (unsigned long long)rows);
    choose_tile(p, g, rows, &tm, &tn);
    sl_vk_dispatch d = { .key = key_of(p, g, has_list, tm, tn),
                         .buffer = { g->a, g->a, g->b, g->bias, g->residual, g->c,
                                     has_list ? sl_vk_value(p, g->windows->list)
                                              : (sl_vk_range) { 0 } },
                         .writes = 1u << 5,
                         .push_bytes = sizeof(gemm_push) };
    gemm_push push = push_of(g);
    push.rows = (uint32_t)rows;
    memcpy(d.push, &push, sizeof(push));
    uint32_t columns = (g->n + tn - 1) / tn;
    sl_status st = g->windows ? sl_vk_groups(p, g->windows, tokens, tm, columns, &d)
                              : sl_vk_groups(p, &all, rows, tm, columns, &d);
    return st == SL_OK ? sl_vk_emit(p, &d) : st;
}
