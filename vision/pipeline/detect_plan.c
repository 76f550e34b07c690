// SPDX-License-Identifier: MIT
// pipeline/detect_plan.c: the detector's network, compiled for the shapes that pictures have.
#include "pipeline/detect.h"

static void drop(sl_detect_plan *p)
{
    sl_network_free(&p->network);
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
    const sl_retina_options options = {
        .height = height, .width = width, .threshold = p->threshold, .limit = SL_DETECT_LIMIT
    };
    sl_status st = sl_network_new_retina(d->ctx, d->model, d->device, &options, &p->network);
    if (st != SL_OK)
        return st;
    p->extent = sl_graph_find_output(p->network.graph, "extent");
    for (unsigned level = 0; level < SL_RETINA_LEVELS; level++) {
        p->rows[level] = level_output(p->network.graph, "rows", level);
        p->counts[level] = level_output(p->network.graph, "counts", level);
    }
    return SL_OK;
}

// When all pictures are measured, no score says which candidates count.
static float threshold_of(const sl_detect *d)
{
    bool is_lower = d->total == 0 && d->options.score < SL_DETECT_THRESHOLD;
    return is_lower ? d->options.score : SL_DETECT_THRESHOLD;
}

sl_status sl_detect_plan_for(sl_detect *d, uint32_t width, uint32_t height, sl_detect_plan **out)
{
    sl_detect_plan *oldest = &d->plans[0];
    const float threshold = threshold_of(d);
    for (size_t i = 0; i < SL_DETECT_PLANS; i++) {
        sl_detect_plan *p = &d->plans[i];
        if (p->network.width == width && p->network.height == height && p->threshold == threshold) {
            p->used = ++d->turn;
            *out = p;
            return SL_OK;
        }
        if (p->used < oldest->used)
            oldest = p;
    }
    drop(oldest);
    oldest->threshold = threshold;
    sl_status st = make(d, width, height, oldest);
    oldest->used = st == SL_OK ? ++d->turn : 0;
    *out = oldest;
    return st;
}
