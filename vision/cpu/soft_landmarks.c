// SPDX-License-Identifier: MIT
// cpu/soft_landmarks.c: a few landmarks of each head, from patches of the queries' map.
#include "cpu/soft.h"

#define ROWS 32 // landmarks of a task

size_t sl_soft_landmark_floats(const sl_soft_job *job)
{
    return ROWS * job->r * job->r * job->d;
}

// ---- a fixed number of landmarks: the map is averaged to as many cells as their patches have

// Cell i of `cells` covers [first, end) of `side` rows.
static void cell(size_t i, size_t cells, size_t side, size_t *first, size_t *end)
{
    *first = i * side / cells;
    *end = ((i + 1) * side + cells - 1) / cells;
}

static void pool_row(void *arg, size_t y, unsigned worker)
{
    const sl_soft_job *job = arg;
    size_t c = job->channels, columns = job->grid_columns * job->r, top, bottom, left, right;
    float *out = job->pooled + y * columns * c;
    (void)worker;
    cell(y, job->grid_rows * job->r, job->height, &top, &bottom);
    for (size_t x = 0; x < columns; x++, out += c) {
        cell(x, columns, job->width, &left, &right);
        memset(out, 0, c * sizeof(float));
        for (size_t i = top; i < bottom; i++)
            for (size_t j = left; j < right; j++) {
                const float *from = job->q + (i * job->width + j) * c;
                for (size_t k = 0; k < c; k++)
                    out[k] += from[k];
            }
        float share = 1 / (float)((bottom - top) * (right - left));
        for (size_t k = 0; k < c; k++)
            out[k] *= share;
    }
}

// ---- landmarks

typedef struct patch_map {
    const sl_soft_job *job;
    const float *x;
    size_t width, blocks;
} patch_map;

static void landmark_task(void *arg, size_t task, unsigned worker)
{
    const patch_map *map = arg;
    const sl_soft_job *job = map->job;
    size_t head = task / map->blocks, first = task % map->blocks * ROWS, c = job->channels;
    size_t rows = job->m - first < ROWS ? job->m - first : ROWS, d = job->d, r = job->r;
    float *patches = job->workers + worker * job->worker_floats, *to = patches;
    float *out = job->landmarks + head * job->landmark_floats + first * d;
    for (size_t i = first; i < first + rows; i++) {
        size_t top = i / job->grid_columns * r, left = i % job->grid_columns * r;
        for (size_t y = top; y < top + r; y++)
            for (size_t x = left; x < left + r; x++, to += d)
                memcpy(to, map->x + (y * map->width + x) * c + head * d, d * sizeof(float));
    }
    const sl_soft_state *s = job->state;
    sl_gemm product = {
        .a = patches, .lda = s->landmark.k, .rows = rows, .b = &s->landmark, .c = out, .ldc = d
    };
    job->kernels->gemm(&product);
    sl_norm norm = { .x = out,
                     .ldx = d,
                     .rows = rows,
                     .channels = d,
                     .weight = s->norm_weight,
                     .bias = s->norm_bias,
                     .eps = job->call->node->attr.eps,
                     .y = out,
                     .ldy = d };
    job->kernels->layer_norm(&norm);
    job->kernels->activate(out, rows * d, SL_ACT_GELU, 0);
    job->kernels->squares(out, d, rows, d, 0.5f, job->halves + head * job->half_floats + first);
}

void sl_soft_landmarks(const sl_soft_job *job)
{
    patch_map map = { .job = job, .x = job->q, .width = job->width };
    if (job->call->node->attr.landmarks > 0) {
        sl_pool_run(job->call->pool, pool_row, (void *)job, job->grid_rows * job->r);
        map.x = job->pooled;
        map.width = job->grid_columns * job->r;
    }
    map.blocks = (job->m + ROWS - 1) / ROWS;
    sl_pool_run(job->call->pool, landmark_task, &map, job->heads * map.blocks);
}
