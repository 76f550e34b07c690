// SPDX-License-Identifier: MIT
// pipeline/overlay.c: detections drawn on the picture that they were found in.
#include "pipeline/detections.h"

#define LINE_SHARE 0.0035 // of the mean of the picture's sides
#define TEXT_SHARE 0.026
#define LEAST_TEXT 12   // pixels
#define LABEL_SHARE 0.4 // of the picture's width, that a label may take whatever its box
#define HIDE_MARGIN 0.1 // of a box's side, hidden along with it
#define HALO_OPACITY 96 // of black round lines and plates: colours show on any background

typedef struct plate {
    sl_rect box; // the part of it inside the picture
    sl_colour colour;
    sl_mask text;
} plate;

typedef struct overlay {
    sl_ctx *ctx;
    sl_image *image;
    sl_rect bounds;
    bool at_top; // labels without frames
    uint32_t line, halo, radius, pad_x, pad_y, text_pixels;
    sl_text *text;
    plate *plates; // [count]: of what can be seen, best first
    sl_rect *places;
    size_t count;
} overlay;

// ---- boxes

sl_status sl_detection_check(sl_ctx *ctx, const sl_detection *d)
{
    if (!isfinite(d->x1) || !isfinite(d->y1) || !isfinite(d->x2) || !isfinite(d->y2) ||
        !isfinite(d->score) || d->x1 > d->x2 || d->y1 > d->y2)
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "a detection with the box %g, %g, %g, %g and the score %g; they have to be "
                       "finite, and the first corner above and left of the second",
                       (double)d->x1, (double)d->y1, (double)d->x2, (double)d->y2,
                       (double)d->score);
    return SL_OK;
}

sl_status sl_detections_check(sl_ctx *ctx, const sl_detections *found)
{
    sl_status st = SL_OK;
    for (size_t i = 0; i < found->count && st == SL_OK; i++)
        st = sl_detection_check(ctx, &found->items[i]);
    return st;
}

static int64_t whole(double v)
{
    const double far = 1 << 30;
    return (int64_t)floor(v < -far ? -far : v > far ? far : v);
}

// The box in whole pixels, grown by `margin` of its sides.
static sl_rect rect_of(const sl_detection *d, double margin)
{
    const double x = ((double)d->x2 - (double)d->x1) * margin;
    const double y = ((double)d->y2 - (double)d->y1) * margin;
    return (sl_rect) { whole((double)d->x1 - x), whole((double)d->y1 - y),
                       whole(ceil((double)d->x2 + x)), whole(ceil((double)d->y2 + y)) };
}

// Whether any of it is in the picture; a box without area counts where it stands.
static bool is_visible(const sl_detection *d, sl_rect bounds)
{
    return (double)d->x1 < (double)bounds.right && (double)d->y1 < (double)bounds.bottom &&
           d->x2 >= 0 && d->y2 >= 0 && (d->x2 > 0 || d->x1 >= 0) && (d->y2 > 0 || d->y1 >= 0);
}

// The whole pixels of it, at least one, that are in the picture.
static sl_rect visible_part(const sl_detection *d, sl_rect bounds)
{
    sl_rect r = sl_rect_cut(rect_of(d, 0), bounds);
    r.left = r.left < bounds.right - 1 ? r.left : bounds.right - 1;
    r.top = r.top < bounds.bottom - 1 ? r.top : bounds.bottom - 1;
    r.right = r.right > r.left ? r.right : r.left + 1;
    r.bottom = r.bottom > r.top ? r.bottom : r.top + 1;
    return r;
}

// ---- blur

static sl_status hide(sl_ctx *ctx, sl_image *image, const sl_detections *found)
{
    sl_status st = sl_image_forget_pictures(ctx, image, false);
    for (size_t i = 0; i < found->count && st == SL_OK; i++) {
        sl_rect r = rect_of(&found->items[i], HIDE_MARGIN);
        const int64_t more = 2; // what is seen of an edge is wider than the edge
        sl_image_hide(image,
                      (sl_rect) { r.left - more, r.top - more, r.right + more, r.bottom + more });
    }
    return st;
}

// ---- labels

static void set_sizes(overlay *o)
{
    const double mean = ((double)o->image->width + o->image->height) / 2;
    const uint32_t half = o->image->height / 2;
    uint32_t text = (uint32_t)(mean * TEXT_SHARE + 0.5);
    text = text < LEAST_TEXT ? LEAST_TEXT : text;
    text = text > half ? half : text;
    o->text_pixels = text < 1 ? 1 : text > SL_MOST_TEXT_PIXELS ? SL_MOST_TEXT_PIXELS : text;
    o->line = (uint32_t)(mean * LINE_SHARE + 0.5);
    o->line = o->line > 2 ? o->line : mean > 200 ? 2 : 1;
    o->halo = (o->line + 2) / 4 > 1 ? (o->line + 2) / 4 : 1;
    o->radius = o->text_pixels / 5;
    o->pad_x = o->text_pixels * 3 / 8;
    o->pad_y = o->text_pixels / 10;
}

// How wide the text of a label may be.
static uint32_t text_room(const overlay *o, sl_rect box)
{
    const uint32_t pads = 2 * o->pad_x, width = o->image->width;
    const double share = width * LABEL_SHARE, own = (double)(box.right - box.left);
    const double room = share > own ? share : own;
    const uint32_t least = 8 * o->text_pixels, most = width > pads ? width - pads : 1;
    const uint32_t wanted = room > pads ? (uint32_t)room - pads : 1;
    return wanted < least ? (least < most ? least : most) : wanted < most ? wanted : most;
}

static sl_status make_plate(overlay *o, const sl_detection *d)
{
    char score[32];
    plate *p = &o->plates[o->count];
    const char *label = sl_detection_label(d);
    p->box = visible_part(d, o->bounds);
    p->colour =
        sl_palette_colour(sl_detection_is_refined(d) ? sl_palette_index(label) : d->category);
    snprintf(score, sizeof(score), "%s%.2f", *label ? " " : "", (double)d->score);
    sl_status st = sl_text_mask(o->text, label, score, text_room(o, p->box), &p->text);
    if (st != SL_OK)
        return st;
    o->places[o->count] =
        sl_place_label(o->bounds, p->box, (int64_t)p->text.width + 2 * o->pad_x,
                       (int64_t)p->text.height + 2 * o->pad_y, o->at_top, o->places, o->count);
    o->count++;
    return SL_OK;
}

static void draw_frame(const overlay *o, const plate *p)
{
    const int64_t h = o->halo, half = o->line / 2;
    const sl_rect *b = &p->box, *all = &o->bounds;
    // Along the edge, but inside the picture; of an object of no size, a dot.
    sl_rect r = { b->left - half, b->top - half, b->right + half, b->bottom + half };
    r = sl_rect_cut(r, *all);
    const sl_rect out = { r.left - h, r.top - h, r.right + h, r.bottom + h };
    const sl_rect in = { r.left + o->line, r.top + o->line, r.right - o->line, r.bottom - o->line };
    const sl_colour black = { 0, 0, 0 };
    sl_draw_frame(o->image, out, o->halo, o->line + o->halo, black, HALO_OPACITY);
    sl_draw_frame(o->image, r, o->line, o->line, p->colour, 255);
    sl_draw_frame(o->image, in, o->halo, 0, black, HALO_OPACITY);
}

static void draw_plate(const overlay *o, const plate *p, sl_rect place)
{
    const int64_t h = o->halo;
    const sl_rect out = { place.left - h, place.top - h, place.right + h, place.bottom + h };
    const sl_colour black = { 0, 0, 0 };
    sl_draw_frame(o->image, out, o->halo, o->radius + o->halo, black, HALO_OPACITY);
    sl_draw_plate(o->image, place, o->radius, p->colour, 255);
    sl_draw_mask(o->image, place.left + o->pad_x, place.top + o->pad_y, &p->text,
                 sl_palette_ink(p->colour));
}

// What can fail is done before the first pixel changes.
static sl_status label(overlay *o, const sl_detections *found, const char *font)
{
    set_sizes(o);
    o->plates = sl_alloc(o->ctx, found->count, sizeof(*o->plates));
    o->places = sl_alloc(o->ctx, found->count, sizeof(*o->places));
    sl_status st = o->plates && o->places ? SL_OK : SL_ERR_NOMEM;
    if (st == SL_OK)
        st = sl_text_new(o->ctx, font, o->text_pixels, &o->text);
    for (size_t i = 0; i < found->count && st == SL_OK; i++)
        if (is_visible(&found->items[i], o->bounds))
            st = make_plate(o, &found->items[i]);
    if (st == SL_OK && o->count > 0)
        st = sl_image_to_rgb(o->ctx, o->image);
    if (st != SL_OK)
        return st;
    for (size_t i = o->count; i-- > 0 && !o->at_top;) // the best lie on top
        draw_frame(o, &o->plates[i]);
    for (size_t i = o->count; i-- > 0;)
        draw_plate(o, &o->plates[i], o->places[i]);
    return SL_OK;
}

sl_status sl_detections_draw(sl_ctx *ctx, sl_image *image, const sl_detections *found,
                             const sl_overlay_options *options)
{
    const sl_overlay_options all = options ? *options : (sl_overlay_options) { 0 };
    overlay o = { .ctx = ctx, .image = image, .bounds = sl_rect_of_image(image) };
    sl_status st = sl_detections_check(ctx, found);
    if (st != SL_OK)
        return st;
    if (found->width != image->width || found->height != image->height)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "detections of a picture of %ux%u; this one is %ux%u",
                       found->width, found->height, image->width, image->height);
    if (all.style != SL_OVERLAY_BOXES && all.style != SL_OVERLAY_LABELS &&
        all.style != SL_OVERLAY_BLUR)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "%d is no style of an overlay", (int)all.style);
    sl_blob_free(&image->coded); // a picture of its own now, coded as quickly as any
    if (all.style == SL_OVERLAY_BLUR)
        return hide(ctx, image, found);
    double start = sl_trace_start(ctx);
    o.at_top = all.style == SL_OVERLAY_LABELS;
    st = label(&o, found, all.font);
    for (size_t i = 0; i < found->count && o.plates; i++)
        free(o.plates[i].text.coverage);
    free(o.plates);
    free(o.places);
    sl_text_free(o.text);
    sl_trace_end(ctx, "overlay", start);
    return st;
}

sl_status sl_image_crop(sl_ctx *ctx, const sl_image *image, const sl_detection *found,
                        sl_image **out)
{
    const sl_rect bounds = sl_rect_of_image(image);
    *out = NULL;
    sl_status st = sl_detection_check(ctx, found);
    if (st != SL_OK)
        return st;
    if (!is_visible(found, bounds))
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "a box from %g, %g to %g, %g, outside of the picture of %ux%u",
                       (double)found->x1, (double)found->y1, (double)found->x2, (double)found->y2,
                       image->width, image->height);
    const sl_rect r = visible_part(found, bounds);
    return sl_image_cut(ctx, image, (uint32_t)r.left, (uint32_t)r.top, (uint32_t)(r.right - r.left),
                        (uint32_t)(r.bottom - r.top), out);
}
