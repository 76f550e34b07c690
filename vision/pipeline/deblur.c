// SPDX-License-Identifier: MIT
// pipeline/deblur.c: a photograph through LMD-ViT, tile by tile, in one or several sizes.
#include "pipeline/composite.h"
#include "pipeline/looks.h"
#include "pipeline/shape.h"

#define PROGRESS 1000 // of a picture that is looked at several times

struct sl_deblur {
    sl_ctx *ctx;
    const sl_model *model;
    sl_device *device;
    float threshold;
    bool dense;
    uint64_t budget_bytes;
    uint32_t tile;
    unsigned views;       // of each tile
    uint32_t shrink;      // pictures are looked at that many times smaller; 0: as they ask
    uint32_t largest;     // side of a tile that the device has room for; 0: not known
    sl_network network;   // of the last canvas; serves until another is needed
    sl_coverage coverage; // of that canvas
    bool has_heat;        // the network gives scores, the coverage reads them
};

static sl_lmd_build build_options(const sl_deblur *d, bool heat, uint32_t width, uint32_t height)
{
    return (sl_lmd_build) {
        .height = height,
        .width = width,
        .threshold = d->threshold,
        .dense = d->dense && !heat,
        // A heat map without pruning: the predictors run, and every window is on the list.
        .given_lists = d->dense && heat,
    };
}

static void drop_network(sl_deblur *d)
{
    sl_coverage_free(&d->coverage);
    sl_network_free(&d->network);
}

static sl_status make_network(sl_deblur *d, bool heat, uint32_t width, uint32_t height)
{
    if (d->network.plan && d->network.width == width && d->network.height == height &&
        d->has_heat == heat)
        return SL_OK;
    drop_network(d); // first: two arenas at once would break the budget
    sl_lmd_build build = build_options(d, heat, width, height);
    sl_status st = sl_network_new(d->ctx, d->model, d->device, &build, &d->network);
    if (st == SL_OK)
        st = sl_coverage_new(&d->network, heat, &d->coverage);
    if (st == SL_OK && build.given_lists)
        st = sl_network_give_lists(&d->network, 1.0);
    if (st != SL_OK)
        drop_network(d);
    d->has_heat = heat;
    return st;
}

// Pictures decide the canvas; the smallest one packs the weights and finds what cannot work.
static sl_status make_first_network(sl_deblur *d)
{
    uint32_t side = sl_lmd_multiple(&d->model->lmd);
    sl_status st = make_network(d, false, side, side);
    if (!sl_device_may_fall_back(d->device, st))
        return st;
    st = sl_device_fall_back(d->device, st);
    return st == SL_OK ? make_network(d, false, side, side) : st;
}

static sl_status check_options(sl_ctx *ctx, const sl_model *model, const sl_deblur_options *options)
{
    if (strcmp(model->architecture, "lmd-vit") != 0)
        return sl_fail(ctx, SL_ERR_UNSUPPORTED, "%s: a model of architecture %s cannot deblur",
                       sl_tensor_set_path(model->set), model->architecture);
    if (options->views > 4 || options->views == 3)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "%u views of a picture; give 1, 2 or 4",
                       options->views);
    if (options->shrink > SL_SHRINK_MOST)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "a picture shrunk %u times; at most %u",
                       options->shrink, SL_SHRINK_MOST);
    return sl_threshold_check(ctx, options->keep_threshold);
}

sl_status sl_deblur_new(sl_ctx *ctx, const sl_model *model, const sl_deblur_options *options,
                        sl_deblur **out)
{
    static const sl_deblur_options defaults = { 0 };
    sl_deblur *d = NULL;
    *out = NULL;
    if (!options)
        options = &defaults;
    sl_status st = check_options(ctx, model, options);
    if (st != SL_OK)
        return st;
    d = sl_alloc(ctx, 1, sizeof(*d));
    if (!d)
        return SL_ERR_NOMEM;
    d->ctx = ctx;
    d->model = model;
    d->threshold = options->keep_threshold;
    d->dense = options->dense;
    d->budget_bytes = options->memory_bytes ? options->memory_bytes : SL_DEFAULT_BUDGET;
    d->tile = options->tile;
    d->views = options->views ? options->views : 1;
    d->shrink = options->shrink;
    st = sl_device_open(ctx, options->device, &d->device);
    if (st == SL_OK)
        st = sl_device_set_precision(d->device, options->precision);
    if (st != SL_OK)
        goto done;
    st = make_first_network(d);
    if (st != SL_OK)
        goto done;
    *out = d;
    d = NULL;
done:
    sl_deblur_free(d);
    return st;
}

void sl_deblur_free(sl_deblur *d)
{
    if (!d)
        return;
    drop_network(d);
    sl_device_close(d->device);
    free(d);
}

static sl_status choose_shape(sl_deblur *d, const sl_image *image, bool heat, sl_tile_axis *x,
                              sl_tile_axis *y)
{
    sl_shape_request request = { .model = d->model,
                                 .device = d->device,
                                 .build = build_options(d, heat, 0, 0),
                                 .budget_bytes = d->budget_bytes,
                                 .tile = d->tile,
                                 .largest = d->largest,
                                 .width = image->width,
                                 .height = image->height };
    return sl_shape_choose(d->ctx, &request, x, y);
}

static sl_status begin_step(sl_deblur *d, sl_composite *c, size_t step)
{
    const sl_network *n = &d->network;
    double start = sl_trace_start(d->ctx);
    sl_composite_begin(c, step);
    sl_trace_end(d->ctx, "cut", start);
    sl_status st = sl_plan_write(n->plan, n->image, c->input);
    return st == SL_OK ? sl_plan_submit(n->plan) : st;
}

static sl_status end_step(sl_deblur *d, sl_composite *c, size_t step, sl_window_count *count)
{
    const sl_network *n = &d->network;
    sl_status st = sl_plan_wait(n->plan);
    if (st == SL_OK)
        st = sl_coverage_read(&d->coverage, n, count);
    if (st == SL_OK && !d->coverage.is_empty)
        st = sl_plan_read(n->plan, n->output, c->result);
    double start = sl_trace_start(d->ctx);
    if (st == SL_OK)
        sl_composite_end(c, step, &d->coverage);
    sl_trace_end(d->ctx, "composite", start);
    return st;
}

// A picture and the looks that were taken at it; the last one may be under way.
typedef struct picture {
    const sl_image *image;
    bool heat;
    uint32_t factor[SL_LOOKS_MOST]; // of the looks that may be taken, coarsest first
    size_t most;                    // of them
    sl_looks looks;
    sl_image *small[SL_LOOKS_MOST]; // what was looked at, where it is not the picture
    sl_window_count count;          // of all looks
    sl_deblur_report report;
} picture;

// A look of half the factor has four times the pixels.
static sl_status tell_progress(sl_ctx *ctx, const picture *p, size_t done, size_t total)
{
    if (p->most == 1)
        return sl_progress(ctx, done, total);
    size_t all = 0, before = 0, size = 1;
    for (size_t i = 0; i < p->most; i++, size *= 4) {
        before += i + 1 < p->looks.count ? size : 0;
        all += size;
    }
    size = (size_t)1 << 2 * (p->looks.count - 1);
    return sl_progress(ctx, (before * total + size * done) * PROGRESS / (all * total), PROGRESS);
}

// While the device computes a step, the next one is cut and the last one put in its place.
static sl_status run_steps(sl_deblur *d, const picture *p, sl_composite *c, sl_window_count *count)
{
    size_t total = sl_composite_steps(c), begun = 0, ended = 0;
    sl_plan *plan = d->network.plan;
    unsigned depth = total > 1 ? sl_plan_overlap(plan) : 1;
    sl_status st = depth > 1 ? sl_composite_overlap(c) : SL_OK;
    if (st == SL_OK)
        st = tell_progress(d->ctx, p, 0, total);
    while (ended < total && st == SL_OK) {
        if (begun < total && begun < ended + depth) {
            st = begin_step(d, c, begun);
            begun += st == SL_OK;
            continue;
        }
        st = end_step(d, c, ended, count);
        ended++;
        if (st == SL_OK)
            st = tell_progress(d->ctx, p, ended, total);
    }
    for (; depth > 1 && ended < begun; ended++)
        sl_plan_wait(plan); // for what nobody reads any more
    return st;
}

// After a failure: smaller tiles where the device is full, in the end the CPU.
static sl_status give_way(sl_deblur *d, sl_status failure, const sl_composite *c)
{
    const sl_lmd_config *config = &d->model->lmd;
    uint32_t multiple = sl_lmd_multiple(config), least = 2 * multiple;
    uint32_t tile = c->x.tile > c->y.tile ? c->x.tile : c->y.tile;
    drop_network(d);
    if ((failure != SL_ERR_NOMEM && failure != SL_ERR_LIMIT) || tile <= least) {
        d->largest = 0;
        return sl_device_fall_back(d->device, failure);
    }
    d->largest = tile / 2 / multiple * multiple;
    d->largest = d->largest < least ? least : d->largest;
    const char *message = sl_ctx_message(d->ctx);
    sl_log(d->ctx, SL_LOG_WARNING, "%.*s, with tiles of %u x %u pixels; going on with %u",
           (int)strcspn(message, ";"), message, c->x.tile, c->y.tile, d->largest);
    return SL_OK;
}

static sl_status compute(sl_deblur *d, const picture *p, sl_composite *c, sl_window_count *count)
{
    const sl_look *look = &p->looks.look[p->looks.count - 1];
    for (;;) {
        sl_tile_axis x, y;
        sl_status st = choose_shape(d, look->before, p->heat, &x, &y);
        if (st == SL_OK)
            st = sl_composite_new(d->ctx, look->before, &x, &y, d->views, p->heat, look->after, c);
        if (st != SL_OK)
            return st;
        *count = (sl_window_count) { 0 };
        st = make_network(d, p->heat, x.tile, y.tile);
        if (st == SL_OK)
            st = run_steps(d, p, c, count);
        if (!sl_device_may_fall_back(d->device, st))
            return st;
        st = give_way(d, st, c);
        if (st != SL_OK)
            return st;
        sl_composite_free(c); // the picture begins anew
    }
}

// ---- looks

static void free_look(picture *p, size_t i)
{
    sl_image_free(p->small[i]);
    sl_image_free(p->looks.look[i].after);
    free(p->looks.look[i].heat);
    p->small[i] = NULL;
    p->looks.look[i] = (sl_look) { 0 };
}

static void free_looks(picture *p)
{
    for (size_t i = 0; i < SL_LOOKS_MOST; i++)
        free_look(p, i);
    sl_looks_free(&p->looks);
}

// The next one.
static sl_status take_look(sl_deblur *d, picture *p)
{
    size_t i = p->looks.count++;
    sl_image **small = &p->small[i];
    sl_look *look = &p->looks.look[i];
    sl_composite c = { 0 };
    sl_window_count count;
    sl_status st = SL_OK;
    look->factor = p->factor[i];
    if (look->factor > 1)
        st = sl_shrink_picture(d->ctx, p->image, look->factor, small);
    look->before = *small ? *small : p->image;
    if (st == SL_OK)
        st = sl_image_new_like(d->ctx, look->before, &look->after);
    if (st == SL_OK)
        st = compute(d, p, &c, &count);
    if (st == SL_OK) {
        look->heat = c.heat;
        c.heat = NULL;
        p->count.computed += count.computed;
        p->count.all += count.all;
        double share = count.all > 0 ? count.computed / count.all : 0;
        if (share > p->report.blurred_share)
            p->report.blurred_share = share;
        p->report.shrink[i] = look->factor;
        p->report.tiles += c.x.count * c.y.count;
        p->report.tile_width = c.x.tile;
        p->report.tile_height = c.y.tile;
    }
    sl_composite_free(&c);
    return st;
}

static void begin_anew(sl_deblur *d, picture *p)
{
    free_looks(p);
    p->looks.ctx = d->ctx;
    p->count = (sl_window_count) { 0 };
    p->report = (sl_deblur_report) { 0 };
}

// As many looks as are needed, joined in the last one.
static sl_status look_and_join(sl_deblur *d, picture *p)
{
    bool enough = false;
    sl_status st = SL_OK;
    p->factor[0] = d->shrink;
    p->most = d->shrink ? 1 : sl_looks_choose(p->image->width, p->image->height, p->factor);
    while (st == SL_OK && !enough && p->looks.count < p->most) {
        bool had_fallen = sl_device_fell_back(d->device);
        st = take_look(d, p);
        if (st != SL_OK || p->looks.count < 2)
            continue;
        if (sl_device_fell_back(d->device) != had_fallen) {
            begin_anew(d, p); // not half of it by a device that failed
            continue;
        }
        st = sl_looks_measure(&p->looks);
        enough = st == SL_OK && sl_looks_are_enough(&p->looks);
    }
    if (st == SL_OK && p->looks.count < p->most)
        st = sl_progress(d->ctx, PROGRESS, PROGRESS);
    if (st == SL_OK && p->looks.count > 1)
        st = sl_looks_join(&p->looks);
    for (size_t i = 0; i + 1 < p->looks.count; i++)
        free_look(p, i); // room for what comes out
    return st;
}

static void fill_report(const sl_deblur *d, picture *p, double start)
{
    sl_deblur_report *report = &p->report;
    report->width = p->image->width;
    report->height = p->image->height;
    report->views = d->views;
    report->kept_share = p->count.all > 0 ? p->count.computed / p->count.all : 0;
    report->seconds = sl_seconds() - start;
    report->fell_back = sl_device_fell_back(d->device);
    report->precision = sl_device_precision(d->device);
    memcpy(report->device, d->network.plan->device, sizeof(report->device));
}

static sl_status draw_heat(const sl_deblur *d, const sl_image *image, const sl_look *look,
                           sl_image **out)
{
    if (look->factor == 1)
        return sl_image_heat(d->ctx, image, look->heat, out);
    float *large;
    sl_status st =
        sl_shrink_undo_map(d->ctx, image, look->factor, look->before, look->heat, &large);
    if (st == SL_OK)
        st = sl_image_heat(d->ctx, image, large, out);
    free(large);
    return st;
}

// What comes out of the finest look, in the picture's size.
static sl_status put_back(const sl_deblur *d, const sl_image *image, sl_look *look, sl_image **out)
{
    if (look->factor > 1)
        return sl_shrink_undo(d->ctx, image, look->factor, look->before, look->after, out);
    *out = look->after;
    look->after = NULL;
    return SL_OK;
}

sl_status sl_deblur_run(sl_deblur *d, const sl_image *image, sl_image **out, sl_image **heat,
                        sl_deblur_report *report)
{
    double start = sl_seconds(), traced = sl_trace_start(d->ctx);
    picture p = { .image = image, .heat = heat != NULL, .looks = { .ctx = d->ctx } };
    sl_image *drawn = NULL;
    *out = NULL;
    if (heat)
        *heat = NULL;
    sl_status st = look_and_join(d, &p);
    sl_look *finest = &p.looks.look[p.looks.count - 1];
    if (st == SL_OK && heat)
        st = draw_heat(d, image, finest, &drawn);
    if (st == SL_OK)
        st = put_back(d, image, finest, out);
    if (st != SL_OK)
        goto done;
    fill_report(d, &p, start);
    if (report)
        *report = p.report;
    if (heat)
        *heat = drawn;
    drawn = NULL;
done:
    free_looks(&p);
    sl_image_free(drawn);
    sl_trace_end(d->ctx, "deblur", traced);
    return st;
}
