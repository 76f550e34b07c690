// SPDX-License-Identifier: MIT
// pipeline/detect_plan.c: the detector's network, compiled for the shapes that pictures have.
#include "pipeline/detect.h"

static void drop(sl_detect_plan *p)
{
    sl_plan_free(p->plan);
    sl_graph_free(p->graph);
    *p = (sl_detect_plan) { 0 };
}

void sl_detect_drop_plans(sl_detect *d)
{
    for (size_t i = 0; i < SL_DETECT_PLANS; i++)
        drop(&d->plans[i]);
    d->last = NULL;
}

static sl_value level_output(const sl_graph *g, const char *kind, unsigned level)
{
    char name[32];
    snprintf(name, sizeof(name), "%s_P%u", kind, level + 3);
    return sl_graph_find_output(g, name);
}

static sl_status make(sl_detect *d, uint32_t width, uint32_t height, sl_detect_plan *p)
{
    float threshold = SL_DETECT_THRESHOLD;
    if (d->options.score < threshold)
        threshold = d->options.score;
    const sl_retina_options options = {
        .height = height, .width = width, .threshold = threshold, .limit = SL_DETECT_LIMIT
    };
    double start = sl_trace_start(d->ctx);
    sl_status st = sl_graph_new(d->ctx, &p->graph);
    if (st == SL_OK)
        st = sl_retina_build(p->graph, d->model, &options);
    if (st == SL_OK)
        st = sl_device_compile(d->device, p->graph, &p->plan);
    if (st == SL_OK) {
        p->width = width;
        p->height = height;
        p->image = sl_graph_find_output(p->graph, "image");
        p->extent = sl_graph_find_output(p->graph, "extent");
        for (unsigned level = 0; level < SL_RETINA_LEVELS; level++) {
            p->rows[level] = level_output(p->graph, "rows", level);
            p->counts[level] = level_output(p->graph, "counts", level);
        }
    } else {
        drop(p);
    }
    sl_trace_end(d->ctx, "compile", start);
    return st;
}

sl_status sl_detect_plan_for(sl_detect *d, uint32_t width, uint32_t height, sl_detect_plan **out)
{
    sl_detect_plan *oldest = &d->plans[0];
    for (size_t i = 0; i < SL_DETECT_PLANS; i++) {
        sl_detect_plan *p = &d->plans[i];
        if (p->width == width && p->height == height) {
            p->used = ++d->turn;
            *out = p;
            return SL_OK;
        }
        if (p->used < oldest->used)
            oldest = p;
    }
    drop(oldest);
    sl_status st = make(d, width, height, oldest);
    oldest->used = st == SL_OK ? ++d->turn : 0;
    *out = oldest;
    return st;
}
