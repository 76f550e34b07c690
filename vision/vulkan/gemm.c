// SPDX-License-Identifier: MIT
// vulkan/gemm.c: matrix products as dispatches.
#include "vulkan/program.h"

#define K_STEP 16 // as in shaders/gemm.comp
#define N_STEP 64
#define MATRIX_K_STEP 32 // these as in shaders/gemm_matrix.comp
#define MATRIX_THREADS 256
#define MATRIX_PADDING 8 // numbers behind each row of a slice

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
// device busy: which serves is measured (choices.c). Their order is kept on disk.
static const struct {
    uint32_t rows, columns;
    bool by_matrix;
} tiles[] = {
    { 64, 16, false },  { 64, 32, false },  { 128, 32, false },  { 64, 64, false },
    { 128, 64, false }, { 64, 128, false }, { 128, 128, false }, { 64, 64, true },
    { 128, 64, true },  { 64, 128, true },  { 128, 128, true },  { 256, 128, true },
};

// How the subgroups of a workgroup share a tile: each makes rows x columns matrices of sums.
typedef struct share {
    uint32_t subgroups, rows, columns;
} share;

static share share_of(const sl_vk_info *info, uint32_t tm, uint32_t tn)
{
    share s = { MATRIX_THREADS / info->limits.subgroup, tm / info->matrix.m, tn / info->matrix.n };
    for (uint32_t parts = 1; parts < s.subgroups && s.rows * s.columns > 1; parts *= 2) {
        if (s.rows > s.columns) // all of them are powers of two
            s.rows /= 2;
        else
            s.columns /= 2;
    }
    return s;
}

static size_t shared_bytes(const sl_vk_info *info, uint32_t i)
{
    uint32_t tm = tiles[i].rows, tn = tiles[i].columns;
    if (!tiles[i].by_matrix)
        return K_STEP * (tm + 1 + tn) * sizeof(float);
    size_t slices = tm * (MATRIX_K_STEP + MATRIX_PADDING) + MATRIX_K_STEP * (tn + MATRIX_PADDING);
    size_t laid = share_of(info, tm, tn).subgroups * info->matrix.m * info->matrix.n;
    return slices * sizeof(uint16_t) + laid * sizeof(float);
}

// Matrix units want f16, and few enough sums for the registers of a thread.
static bool units_serve(const sl_vk_program *p, uint32_t tm, uint32_t tn)
{
    const sl_vk_info *info = &p->device->info;
    if (!p->half || info->matrix.m == 0)
        return false;
    share s = share_of(info, tm, tn);
    return s.rows * s.columns * info->matrix.m * info->matrix.n <= 128 * info->limits.subgroup;
}

// The largest of those in the mask, as far as so many rows keep a device busy with tiles of that
// size; one on matrix units if there is any.
static uint32_t usual_tile(uint32_t mask, const sl_vk_gemm *g, uint64_t rows)
{
    uint32_t tm = rows >= 16384 && g->n >= 32 ? 128 : 64, best = 0;
    uint32_t tn = tm == 128 && g->n >= 256 ? 128 : 64;
    for (uint32_t i = 0; i < SL_ARRAY_LEN(tiles); i++)
        if ((mask >> i & 1) && tiles[i].rows <= tm && tiles[i].columns <= tn)
            best = i; // they grow, and those on matrix units come last
    return best;
}

// Where matrix units serve, of the other tiles only the usual one is left, to compare with.
static uint32_t possible_tiles(const sl_vk_program *p, const sl_vk_gemm *g, uint64_t rows)
{
    const sl_vk_info *info = &p->device->info;
    uint32_t mask = 0, by_matrix = 0, least = g->n <= 16 ? 16 : g->n <= 32 ? 32 : 64;
    for (uint32_t i = 0; i < SL_ARRAY_LEN(tiles); i++) {
        uint32_t tm = tiles[i].rows,
                 tn = tiles[i].columns; // the last ones may not leave the matrix
        bool fits = tn == least || (tn > least && tn < 2 * g->n);
        fits = fits && up_to(g->n, N_STEP) % tn == 0;
        fits = fits && (!tiles[i].by_matrix || units_serve(p, tm, tn));
        fits = fits && shared_bytes(info, i) <= info->limits.shared_bytes;
        if (fits && (tm == 64 || rows >= 2048)) {
            mask |= 1u << i;
            by_matrix |= tiles[i].by_matrix ? 1u << i : 0;
        }
    }
    return by_matrix ? by_matrix | 1u << usual_tile(mask & ~by_matrix, g, rows) : mask;
}

static uint32_t choose_tile(sl_vk_program *p, const sl_vk_gemm *g, uint64_t rows)
{
    sl_vk_want want = { .question = { .question = SL_VK_WHICH_TILE,
                                      .about = { p->half, g->from, g->n, g->k,
                                                 sl_vk_size_class(rows), g->side } },
                        .ways = possible_tiles(p, g, rows),
                        .gemm = *g };
    want.gemm.rows = rows;
    want.usual = usual_tile(want.ways, g, rows);
    return sl_vk_choose(p, &want);
}

// Whether rows of a, or the channels of its patches, can be read so many numbers at a time.
static bool a_is_by(const sl_vk_gemm *g, uint32_t many)
{
    uint32_t from = g->from == SL_VK_FROM_PATCHES ? g->channels : g->lda;
    return g->k % many == 0 && from % many == 0;
}

// And c written, beside what is added to it.
static bool c_is_by(const sl_vk_gemm *g, uint32_t many)
{
    uint32_t columns = g->to == SL_VK_TO_UPCONV ? g->n / 4 : g->n;
    bool has_residual = g->add != SL_VK_NO_RESIDUAL;
    return columns % many == 0 && g->ldc % many == 0 && (!has_residual || g->ldr % many == 0);
}

static sl_vk_pipeline_key key_of(const sl_vk_program *p, const sl_vk_gemm *g, bool has_list,
                                 uint32_t tile)
{
    const sl_vk_info *info = &p->device->info;
    uint32_t tm = tiles[tile].rows, tn = tiles[tile].columns;
    bool by_matrix = tiles[tile].by_matrix;
    sl_vk_pipeline_key key = { .kernel = sl_vk_variant(p, SL_VK_GEMM),
                               .spec_count = 10,
                               .spec = { g->from, g->to, g->add, g->act,
                                         g->bias.space != SL_VK_NOWHERE, has_list, tm, tn,
                                         a_is_by(g, 4), c_is_by(g, by_matrix ? 8 : 4) } };
    if (by_matrix) {
        share s = share_of(info, tm, tn);
        const uint32_t more[] = { info->matrix.m, info->matrix.n, info->matrix.k, s.rows,
                                  s.columns,      s.subgroups,    a_is_by(g, 8) };
        key.kernel = sl_vk_variant(p, SL_VK_GEMM_MATRIX);
        memcpy(key.spec + key.spec_count, more, sizeof(more));
        key.spec_count += SL_ARRAY_LEN(more);
    }
    return key;
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
    if (rows > UINT32_MAX)
        return sl_fail(p->ctx, SL_ERR_LIMIT, "a matrix of %llu rows: use smaller tiles",
                       (unsigned long long)rows);
    uint32_t tile = choose_tile(p, g, rows), tm = tiles[tile].rows, tn = tiles[tile].columns;
    sl_vk_dispatch d = { .key = key_of(p, g, has_list, tile),
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
