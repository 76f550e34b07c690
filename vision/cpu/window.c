// SPDX-License-Identifier: MIT
// cpu/window.c: windows of a rolled map as packed rows, and back; the masks of shifted windows.
#include "cpu/op.h"

#include <assert.h>

// Columns of a window in the rolled map are one run of pixels, or two where it wraps around.
static void window_row(const sl_window_map *map, size_t index, size_t r, size_t *offset,
                       size_t *first_run)
{
    size_t columns = map->width / map->window;
    size_t i = index / columns, j = index % columns;
    size_t y = (i * map->window + r + map->shift) % map->height;
    size_t x = (j * map->window + map->shift) % map->width;
    size_t run = map->width - x;
    *offset = y * map->width + x;
    *first_run = run < map->window ? run : map->window;
}

void sl_window_load(const sl_window_map *map, const float *x, size_t index, float *rows)
{
    size_t c = map->channels, offset, run;
    for (size_t r = 0; r < map->window; r++) {
        window_row(map, index, r, &offset, &run);
        memcpy(rows, x + offset * c, run * c * sizeof(float));
        if (run < map->window)
            memcpy(rows + run * c, x + (offset + run - map->width) * c,
                   (map->window - run) * c * sizeof(float));
        rows += map->window * c;
    }
}

void sl_window_store(const sl_window_map *map, float *x, size_t index, const float *rows)
{
    size_t c = map->channels, offset, run;
    for (size_t r = 0; r < map->window; r++) {
        window_row(map, index, r, &offset, &run);
        memcpy(x + offset * c, rows, run * c * sizeof(float));
        if (run < map->window)
            memcpy(x + (offset + run - map->width) * c, rows + run * c,
                   (map->window - run) * c * sizeof(float));
        rows += map->window * c;
    }
}

void sl_shift_masks(size_t window, size_t shift, float *masks)
{
    // In the last row of windows the map's edge runs before token row w - shift: what follows it
    // was rolled in from the other side, and must not be mixed with what precedes it.
    const float apart = -100.0f;
    size_t n = window * window, edge = window - shift;
    for (size_t p = 0; p < n; p++)
        for (size_t q = 0; q < n; q++) {
            bool rows_differ = (p / window < edge) != (q / window < edge);
            bool columns_differ = (p % window < edge) != (q % window < edge);
            masks[p * n + q] = rows_differ ? apart : 0.0f;
            masks[(n + p) * n + q] = columns_differ ? apart : 0.0f;
            masks[(2 * n + p) * n + q] = rows_differ || columns_differ ? apart : 0.0f;
        }
}

const float *sl_shift_mask(const float *masks, size_t window, size_t rows, size_t columns,
                           size_t index)
{
    size_t table = window * window * window * window;
    bool last_row = index / columns == rows - 1, last_column = index % columns == columns - 1;
    if (!masks || (!last_row && !last_column))
        return NULL;
    return masks + table * (last_row && last_column ? 2 : last_column ? 1 : 0);
}

// ---- the two ops: a task is one window

typedef struct window_copy {
    sl_window_map map;
    float *x, *rows;
    const int32_t *list;
    bool scatter;
} window_copy;

static void copy_window(void *arg, size_t task, unsigned worker)
{
    const window_copy *w = arg;
    float *rows = w->rows + task * w->map.window * w->map.window * w->map.channels;
    (void)worker;
    if (w->scatter)
        sl_window_store(&w->map, w->x, sl_list_at(w->list, task), rows);
    else
        sl_window_load(&w->map, w->x, sl_list_at(w->list, task), rows);
}

static void run_copy(const sl_cpu_call *call, float *rows, const int32_t *list, bool scatter)
{
    const uint64_t *dim = call->graph->values[call->node->in[0]].shape.dim;
    window_copy w = { .map = { (size_t)dim[0], (size_t)dim[1], (size_t)dim[2],
                               call->node->attr.window, call->node->attr.shift },
                      .x = call->in[0],
                      .rows = rows,
                      .list = list,
                      .scatter = scatter };
    size_t windows = w.map.height / w.map.window * (w.map.width / w.map.window);
    sl_pool_run(call->pool, copy_window, &w, sl_list_count(list, windows));
}

static void run_gather(const sl_cpu_call *call)
{
    run_copy(call, call->out[0], call->in[1], false);
}

static void run_scatter(const sl_cpu_call *call)
{
    assert(call->out[0] == call->in[0]); // the planner's part: windows outside the list stay
    run_copy(call, call->in[1], call->in[2], true);
}

const sl_cpu_op sl_cpu_window_gather = { .run = run_gather };
const sl_cpu_op sl_cpu_window_scatter = { .run = run_scatter };
