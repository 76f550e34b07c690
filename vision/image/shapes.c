// SPDX-License-Identifier: MIT
// image/shapes.c: rectangles and masks of colour, laid over the pixels of a picture.
#include "image/shapes.h"

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

sl_rect sl_rect_cut(sl_rect a, sl_rect b)
{
    return (sl_rect) { most(a.left, b.left), most(a.top, b.top), least(a.right, b.right),
                       least(a.bottom, b.bottom) };
}

bool sl_rect_is_empty(sl_rect r)
{
    return r.left >= r.right || r.top >= r.bottom;
}

sl_rect sl_rect_of_image(const sl_image *image)
{
    return (sl_rect) { 0, 0, image->width, image->height };
}

// ---- a pixel

// Over a pixel that is not opaque: straight alpha, as the picture has it. full: 255 or 65535.
static void blend_alpha(double *pixel, const double *colour, double opacity, double full)
{
    const double below = pixel[3] / full * (1 - opacity), alpha = opacity + below;
    if (alpha <= 0)
        return;
    for (int c = 0; c < 3; c++)
        pixel[c] = (colour[c] * opacity + pixel[c] * below) / alpha;
    pixel[3] = alpha * full;
}

static void blend_clear(void *at, bool deep, sl_colour colour, unsigned opacity)
{
    const double scale = deep ? 257 : 1, full = deep ? 65535 : 255;
    const double rgb[3] = { colour.r * scale, colour.g * scale, colour.b * scale };
    double pixel[4];
    for (int c = 0; c < 4; c++)
        pixel[c] = deep ? ((uint16_t *)at)[c] : ((uint8_t *)at)[c];
    blend_alpha(pixel, rgb, opacity / 255.0, full);
    for (int c = 0; c < 4; c++) {
        if (deep)
            ((uint16_t *)at)[c] = (uint16_t)(pixel[c] + 0.5);
        else
            ((uint8_t *)at)[c] = (uint8_t)(pixel[c] + 0.5);
    }
}

static inline void blend_8(uint8_t *at, unsigned channels, sl_colour colour, unsigned opacity)
{
    if (channels == 4 && at[3] != 255) {
        blend_clear(at, false, colour, opacity);
        return;
    }
    const unsigned rest = 255 - opacity;
    at[0] = (uint8_t)((at[0] * rest + colour.r * opacity + 127) / 255);
    at[1] = (uint8_t)((at[1] * rest + colour.g * opacity + 127) / 255);
    at[2] = (uint8_t)((at[2] * rest + colour.b * opacity + 127) / 255);
}

static inline void blend_16(uint16_t *at, unsigned channels, sl_colour colour, unsigned opacity)
{
    if (channels == 4 && at[3] != 65535) {
        blend_clear(at, true, colour, opacity);
        return;
    }
    const unsigned rest = 255 - opacity;
    at[0] = (uint16_t)((at[0] * rest + colour.r * 257u * opacity + 127) / 255);
    at[1] = (uint16_t)((at[1] * rest + colour.g * 257u * opacity + 127) / 255);
    at[2] = (uint16_t)((at[2] * rest + colour.b * 257u * opacity + 127) / 255);
}

static void blend_run(sl_image *image, int64_t y, int64_t from, int64_t to, sl_colour colour,
                      unsigned opacity)
{
    const unsigned channels = image->channels;
    from = most(from, 0);
    to = least(to, image->width);
    if (y < 0 || y >= image->height || from >= to || opacity == 0)
        return;
    void *row = sl_image_row(image, (uint32_t)y);
    if (image->depth == 16)
        for (int64_t x = from; x < to; x++)
            blend_16((uint16_t *)row + x * channels, channels, colour, opacity);
    else if (channels == 3) // by far the most common: worth a loop of its own
        for (int64_t x = from; x < to; x++)
            blend_8((uint8_t *)row + x * 3, 3, colour, opacity);
    else
        for (int64_t x = from; x < to; x++)
            blend_8((uint8_t *)row + x * channels, channels, colour, opacity);
}

// ---- rounded rectangles

// How much of the pixel a rectangle covers, 0 .. 255: all of it but at the corners, where the
// distance to the arc's centre says.
static unsigned coverage(const sl_rect *r, int64_t radius, int64_t x, int64_t y)
{
    if (x < r->left || x >= r->right || y < r->top || y >= r->bottom)
        return 0;
    const double px = (double)x + 0.5, py = (double)y + 0.5;
    double dx = 0, dy = 0;
    if (x < r->left + radius)
        dx = (double)(r->left + radius) - px;
    else if (x >= r->right - radius)
        dx = px - (double)(r->right - radius);
    if (y < r->top + radius)
        dy = (double)(r->top + radius) - py;
    else if (y >= r->bottom - radius)
        dy = py - (double)(r->bottom - radius);
    if (dx <= 0 || dy <= 0)
        return 255;
    const double in = (double)radius + 0.5 - __builtin_sqrt(dx * dx + dy * dy);
    return in >= 1 ? 255 : in <= 0 ? 0 : (unsigned)(in * 255 + 0.5);
}

static int64_t fitting(const sl_rect *r, int64_t radius)
{
    return most(least(radius, least(r->right - r->left, r->bottom - r->top) / 2), 0);
}

// A ring: what `outer` covers and `inner` does not. Between the corners a row is all alike.
typedef struct ring {
    sl_rect outer, inner; // inner may be empty
    int64_t outer_radius, inner_radius;
    sl_colour colour;
    unsigned opacity;
} ring;

static unsigned ring_opacity(const ring *r, int64_t x, int64_t y)
{
    unsigned out = coverage(&r->outer, r->outer_radius, x, y);
    unsigned in = sl_rect_is_empty(r->inner) ? 0 : coverage(&r->inner, r->inner_radius, x, y);
    return r->opacity * (out * (255 - in) / 255) / 255;
}

// Pixels of equal opacity, as most are, go together.
static void ring_pixels(sl_image *image, const ring *r, int64_t y, int64_t from, int64_t to)
{
    from = most(from, 0);
    to = least(to, image->width);
    while (from < to) {
        const unsigned opacity = ring_opacity(r, from, y);
        int64_t end = from + 1;
        while (end < to && ring_opacity(r, end, y) == opacity)
            end++;
        blend_run(image, y, from, end, r->colour, opacity);
        from = end;
    }
}

static void draw_ring(sl_image *image, const ring *r)
{
    const sl_rect *o = &r->outer;
    const bool solid = sl_rect_is_empty(r->inner);
    const int64_t wide = o->right - o->left;
    // As far from a side, a row is straight.
    const int64_t edge = solid ? 0 : r->inner.left - o->left + r->inner_radius;
    const int64_t corner = least(most(r->outer_radius, edge), (wide + 1) / 2);
    const int64_t end = least(o->bottom, image->height);
    for (int64_t y = most(o->top, 0); y < end; y++) {
        const int64_t left = o->left + corner, right = most(o->right - corner, left);
        ring_pixels(image, r, y, o->left, least(left, o->right));
        if (left < right)
            blend_run(image, y, left, right, r->colour, ring_opacity(r, left, y));
        ring_pixels(image, r, y, right, o->right);
    }
}

void sl_draw_plate(sl_image *image, sl_rect rect, uint32_t radius, sl_colour colour,
                   unsigned opacity)
{
    if (sl_rect_is_empty(rect))
        return;
    ring r = {
        .outer = rect, .outer_radius = fitting(&rect, radius), .colour = colour, .opacity = opacity
    };
    draw_ring(image, &r);
}

void sl_draw_frame(sl_image *image, sl_rect rect, uint32_t thickness, uint32_t radius,
                   sl_colour colour, unsigned opacity)
{
    if (sl_rect_is_empty(rect))
        return;
    ring r = { .outer = rect,
               .inner = { rect.left + thickness, rect.top + thickness, rect.right - thickness,
                          rect.bottom - thickness },
               .outer_radius = fitting(&rect, radius),
               .colour = colour,
               .opacity = opacity };
    r.inner_radius = fitting(&r.inner, (int64_t)radius - thickness);
    draw_ring(image, &r);
}

void sl_draw_mask(sl_image *image, int64_t x, int64_t y, const sl_mask *mask, sl_colour colour)
{
    const unsigned channels = image->channels;
    const int64_t first = most(0, -x), end = least(mask->width, image->width - x);
    for (int64_t j = most(0, -y); j < least(mask->height, image->height - y); j++) {
        const uint8_t *from = mask->coverage + (size_t)j * mask->width;
        void *row = sl_image_row(image, (uint32_t)(y + j));
        for (int64_t i = first; i < end; i++) {
            if (from[i] == 0)
                continue;
            if (image->depth == 8)
                blend_8((uint8_t *)row + (x + i) * channels, channels, colour, from[i]);
            else
                blend_16((uint16_t *)row + (x + i) * channels, channels, colour, from[i]);
        }
    }
}
