// SPDX-License-Identifier: MIT
// tests/image/shapes.c: what is drawn on pictures of every kind: where it should be, and nowhere
// else.
#include "image/shapes.h"
#include "made.h"

static const sl_colour red = { 255, 16, 0 };

// A picture of noise; alpha is full unless `clear`.
static sl_image *noise(uint32_t width, uint32_t height, unsigned channels, unsigned depth,
                       bool clear)
{
    sl_image *image;
    uint32_t state = 7 + width + channels * 100 + depth;
    ck_ok(sl_image_new(ctx, width, height, channels, depth, &image));
    const bool has_alpha = channels % 2 == 0;
    for (size_t i = 0; i < (size_t)width * height * channels; i++) {
        const bool full = has_alpha && !clear && i % channels == channels - 1;
        if (depth == 8)
            image->pixels[i] = full ? 255 : (uint8_t)(made_random(&state) >> 8);
        else
            ((uint16_t *)(void *)image->pixels)[i] =
                full ? 65535 : (uint16_t)(made_random(&state) >> 8);
    }
    return image;
}

static unsigned sample(const sl_image *image, int64_t x, int64_t y, unsigned c)
{
    const size_t i = (size_t)x * image->channels + c;
    const void *row = sl_image_row_const(image, (uint32_t)y);
    return image->depth == 8 ? ((const uint8_t *)row)[i] : ((const uint16_t *)row)[i];
}

static bool is_inside(sl_rect r, int64_t x, int64_t y)
{
    return x >= r.left && x < r.right && y >= r.top && y < r.bottom;
}

static bool is_same(const sl_image *a, const sl_image *b, int64_t x, int64_t y)
{
    for (unsigned c = 0; c < a->channels; c++)
        if (sample(a, x, y, c) != sample(b, x, y, c))
            return false;
    return true;
}

static bool is_colour(const sl_image *image, int64_t x, int64_t y, sl_colour colour)
{
    const unsigned scale = image->depth == 8 ? 1 : 257;
    return sample(image, x, y, 0) == colour.r * scale &&
           sample(image, x, y, 1) == colour.g * scale &&
           sample(image, x, y, 2) == colour.b * scale &&
           (image->channels == 3 || sample(image, x, y, 3) == 255 * scale);
}

static const sl_rect rects[] = {
    { 5, 6, 30, 25 },   { 0, 0, 40, 32 },       { -10, -10, 8, 9 }, { 35, 28, 90, 90 },
    { -50, 3, 90, 20 }, { 7, 7, 8, 8 },         { 20, 30, 20, 40 }, { 50, 50, 60, 60 },
    { 9, 4, 10, 31 },   { -99, -99, 199, 199 }, { 3, 20, 39, 21 },  { -1000000, 4, 1000000, 9 },
};

START_TEST(plates_fill_their_rectangle)
{
    for (size_t i = 0; i < SL_ARRAY_LEN(rects); i++)
        for (unsigned channels = 3; channels <= 4; channels++) {
            sl_image *image = noise(40, 32, channels, _i, channels == 4), *before;
            ck_ok(sl_image_clone(ctx, image, &before));
            sl_draw_plate(image, rects[i], 0, red, 255);
            for (int64_t y = 0; y < 32; y++)
                for (int64_t x = 0; x < 40; x++)
                    ck_assert_msg(is_inside(rects[i], x, y) ? is_colour(image, x, y, red)
                                                            : is_same(image, before, x, y),
                                  "rectangle %zu, pixel %d, %d", i, (int)x, (int)y);
            sl_image_free(image);
            sl_image_free(before);
        }
}
END_TEST

START_TEST(corners_are_round_and_smooth)
{
    sl_image *image;
    ck_ok(sl_image_new(ctx, 60, 40, 3, 8, &image));
    sl_draw_plate(image, (sl_rect) { 5, 5, 55, 35 }, 12, red, 255);
    ck_assert_uint_eq(sample(image, 5, 5, 0), 0);
    ck_assert_uint_eq(sample(image, 54, 34, 0), 0);
    ck_assert(is_colour(image, 30, 5, red) && is_colour(image, 5, 20, red));
    size_t between = 0;
    for (int64_t y = 0; y < 40; y++)
        for (int64_t x = 0; x < 60; x++) {
            between += sample(image, x, y, 0) > 0 && sample(image, x, y, 0) < 255;
            ck_assert_uint_eq(sample(image, x, y, 0), sample(image, 59 - x, 39 - y, 0));
        }
    ck_assert_uint_gt(between, 20);
    sl_image_free(image);
}
END_TEST

START_TEST(frames_leave_their_inside)
{
    for (size_t i = 0; i < SL_ARRAY_LEN(rects); i++)
        for (uint32_t thick = 1; thick <= 5; thick += 2) {
            const sl_rect r = rects[i],
                          in = { r.left + thick, r.top + thick, r.right - thick, r.bottom - thick };
            sl_image *image = noise(40, 32, 3, _i, false), *before;
            ck_ok(sl_image_clone(ctx, image, &before));
            sl_draw_frame(image, r, thick, 0, red, 255);
            for (int64_t y = 0; y < 32; y++)
                for (int64_t x = 0; x < 40; x++)
                    ck_assert_msg(
                        is_inside(r, x, y) && !is_inside(in, x, y) ? is_colour(image, x, y, red)
                                                                   : is_same(image, before, x, y),
                        "rectangle %zu, thickness %u, pixel %d, %d", i, thick, (int)x, (int)y);
            sl_image_free(image);
            sl_image_free(before);
        }
}
END_TEST

START_TEST(half_is_half)
{
    sl_image *image;
    ck_ok(sl_image_new(ctx, 4, 1, 4, _i, &image)); // black, and clear but for the second pixel
    const unsigned full = _i == 8 ? 255 : 65535;
    sl_draw_plate(image, (sl_rect) { 1, 0, 2, 1 }, 0, (sl_colour) { 0, 0, 0 }, 255);
    sl_draw_plate(image, (sl_rect) { 0, 0, 2, 1 }, 0, red, 128);
    ck_assert_uint_eq(sample(image, 0, 0, 0), full); // the colour is all there is
    ck_assert_uint_eq(sample(image, 0, 0, 3), (full * 128 + 127) / 255);
    ck_assert_uint_eq(sample(image, 1, 0, 0), (full * 128 + 127) / 255);
    ck_assert_uint_eq(sample(image, 1, 0, 3), full);
    ck_assert_uint_eq(sample(image, 2, 0, 3), 0);
    sl_image_free(image);
}
END_TEST

// Wherever it lies: what is outside of the picture is left out.
START_TEST(masks_are_cut_at_the_borders)
{
    uint8_t coverage[4 * 3];
    const sl_mask mask = { 4, 3, coverage };
    memset(coverage, 255, sizeof(coverage));
    for (int64_t top = -4; top <= 6; top++)
        for (int64_t left = -5; left <= 7; left++) {
            sl_image *image;
            ck_ok(sl_image_new(ctx, 6, 5, 3, _i, &image));
            sl_draw_mask(image, left, top, &mask, red);
            for (int64_t y = 0; y < 5; y++)
                for (int64_t x = 0; x < 6; x++)
                    ck_assert_int_eq(sample(image, x, y, 0) > 0,
                                     is_inside((sl_rect) { left, top, left + 4, top + 3 }, x, y));
            sl_image_free(image);
        }
}
END_TEST

// ---- hide

// What is left of a picture is so little that another one with the same means of 8 pixels looks the
// same: the least that "not to be restored" means.
START_TEST(what_is_hidden_is_gone)
{
    for (unsigned channels = 1; channels <= 4; channels++) {
        sl_image *a = noise(160, 96, channels, _i, true), *b;
        ck_ok(sl_image_clone(ctx, a, &b));
        const sl_rect r = { 16, 8, 112, 80 }; // cells of 16 x 16
        const size_t pixel = a->row_bytes / a->width;
        for (uint32_t y = 8; y < 80; y += 2) // neighbours change places within their cells
            for (uint32_t x = 16; x < 112; x += 2) {
                uint8_t *p = (uint8_t *)sl_image_row(b, y) + x * pixel, kept[8];
                memcpy(kept, p, pixel);
                memcpy(p, p + pixel, pixel);
                memcpy(p + pixel, kept, pixel);
            }
        ck_assert_int_ne(memcmp(a->pixels, b->pixels, a->row_bytes * a->height), 0);
        sl_image *before;
        ck_ok(sl_image_clone(ctx, a, &before));
        sl_image_hide(a, r);
        sl_image_hide(b, r);
        for (int64_t y = 0; y < 96; y++)
            for (int64_t x = 0; x < 160; x++)
                ck_assert(is_same(a, is_inside(r, x, y) ? b : before, x, y));
        // Smooth: no step between neighbours is more than a cell's share of the whole range.
        for (int64_t y = 8; y < 79; y++)
            for (int64_t x = 16; x < 111; x++)
                ck_assert_int_le(abs((int)sample(a, x, y, 0) - (int)sample(a, x + 1, y, 0)),
                                 (_i == 8 ? 255 : 65535) / 16 + 1);
        sl_image_free(a);
        sl_image_free(b);
        sl_image_free(before);
    }
}
END_TEST

// A small part is not cut into six by six: what changes within 8 pixels is gone there, too.
START_TEST(small_parts_keep_no_detail)
{
    sl_image *a = noise(32, 32, 3, _i, false), *b;
    const size_t half = 4 * a->row_bytes / a->width;
    ck_ok(sl_image_clone(ctx, a, &b));
    for (uint32_t y = 8; y < 24; y++)
        for (size_t x = 2; x < 6; x += 2) { // halves of cells change places
            uint8_t *p = (uint8_t *)sl_image_row(b, y) + x * half, kept[4 * 6];
            memcpy(kept, p, half);
            memcpy(p, p + half, half);
            memcpy(p + half, kept, half);
        }
    sl_image_hide(a, (sl_rect) { 8, 8, 24, 24 });
    sl_image_hide(b, (sl_rect) { 8, 8, 24, 24 });
    ck_assert_mem_eq(a->pixels, b->pixels, a->row_bytes * a->height);
    sl_image_free(a);
    sl_image_free(b);
}
END_TEST

// Of what is clear nobody sees a colour.
START_TEST(clear_pixels_give_no_colour)
{
    sl_image *image;
    ck_ok(sl_image_new(ctx, 8, 8, 4, _i, &image));
    sl_draw_plate(image, (sl_rect) { 0, 0, 8, 4 }, 0, red, 255); // below all is black and clear
    sl_image_hide(image, (sl_rect) { 0, 0, 8, 8 });
    const unsigned full = _i == 8 ? 255 : 65535;
    ck_assert_uint_eq(sample(image, 3, 3, 0), full);
    ck_assert_uint_eq(sample(image, 3, 3, 3), (full + 1) / 2);
    sl_image_free(image);
}
END_TEST

START_TEST(all_sizes_are_hidden)
{
    for (size_t i = 0; i < SL_ARRAY_LEN(rects); i++) {
        sl_image *image = noise(40, 32, 3, _i, false), *before;
        ck_ok(sl_image_clone(ctx, image, &before));
        sl_image_hide(image, rects[i]);
        for (int64_t y = 0; y < 32; y++)
            for (int64_t x = 0; x < 40; x++)
                ck_assert(is_inside(rects[i], x, y) || is_same(image, before, x, y));
        sl_image_free(image);
        sl_image_free(before);
    }
    sl_image *dot = noise(1, 1, 3, _i, false);
    sl_image_hide(dot, (sl_rect) { -5, -5, 9, 9 });
    sl_image_free(dot);
}
END_TEST

// ---- grey to RGB

START_TEST(grey_becomes_rgb)
{
    for (unsigned channels = 1; channels <= 2; channels++) {
        sl_image *image = noise(20, 10, channels, _i, true), *before;
        image->density_x = 300;
        ck_ok(sl_image_clone(ctx, image, &before));
        ck_ok(sl_image_to_rgb(ctx, image));
        ck_assert_uint_eq(image->channels, channels + 2);
        ck_assert_uint_eq(image->depth, _i);
        ck_assert_uint_eq(image->density_x, 300);
        for (int64_t y = 0; y < 10; y++)
            for (int64_t x = 0; x < 20; x++) {
                for (unsigned c = 0; c < 3; c++)
                    ck_assert_uint_eq(sample(image, x, y, c), sample(before, x, y, 0));
                if (channels == 2)
                    ck_assert_uint_eq(sample(image, x, y, 3), sample(before, x, y, 1));
            }
        const uint8_t *pixels = image->pixels;
        ck_ok(sl_image_to_rgb(ctx, image)); // as it is already
        ck_assert_ptr_eq(image->pixels, pixels);
        sl_image_free(image);
        sl_image_free(before);
    }
}
END_TEST

START_TEST(profiles_are_applied_or_kept)
{
    sl_image *image;
    ck_ok(sl_image_new(ctx, 256, 1, 1, _i, &image));
    for (unsigned i = 0; i < 256; i++) {
        if (_i == 8)
            image->pixels[i] = (uint8_t)i;
        else
            ((uint16_t *)(void *)image->pixels)[i] = (uint16_t)(i * 257);
    }
    image->icc = made_grey_profile(1.0); // linear: mid-grey is light
    ck_ok(sl_image_to_rgb(ctx, image));
    ck_assert_uint_eq(image->icc.size, 0);
    const unsigned scale = _i == 8 ? 1 : 257;
    ck_assert_uint_eq(sample(image, 0, 0, 0), 0);
    ck_assert_int_le(abs((int)(sample(image, 128, 0, 1) / scale) - 188), 1);
    ck_assert_uint_ge(sample(image, 255, 0, 2), 255 * scale - 1);
    sl_image_free(image);
    ck_ok(sl_image_new(ctx, 2, 1, 1, _i, &image));
    image->icc = made_srgb_profile();
    const size_t size = image->icc.size;
    ck_ok(sl_image_to_rgb(ctx, image));
    ck_assert_uint_eq(image->icc.size, size);
    sl_image_free(image);
    ck_ok(sl_image_new(ctx, 2, 1, 1, _i, &image));
    ck_ok(sl_blob_copy(ctx, "no profile", 10, &image->icc));
    ck_ok(sl_image_to_rgb(ctx, image));
    ck_assert_uint_eq(image->icc.size, 0);
    sl_image_free(image);
}
END_TEST

// ---- parts

START_TEST(a_part_is_cut_out)
{
    sl_image *image = noise(30, 20, 3, _i, false), *part;
    image->icc = made_srgb_profile();
    image->density_x = image->density_y = 72;
    image->had_more = true;
    ck_ok(sl_image_cut(ctx, image, 4, 5, 26, 15, &part));
    for (int64_t y = 0; y < 15; y++)
        ck_assert_mem_eq(sl_image_row_const(part, (uint32_t)y),
                         (const uint8_t *)sl_image_row_const(image, (uint32_t)y + 5) +
                             (size_t)4 * 3 * (size_t)_i / 8,
                         part->row_bytes);
    ck_assert_uint_eq(part->icc.size, image->icc.size);
    ck_assert_uint_eq(part->density_y, 72);
    ck_assert(!part->had_more);
    sl_image_free(part);
    ck_fails(sl_image_cut(ctx, image, 4, 5, 27, 15, &part), SL_ERR_ARGUMENT, "27x15");
    ck_fails(sl_image_cut(ctx, image, 4, 5, 0xFFFFFFFF, 1, &part), SL_ERR_ARGUMENT, "part");
    ck_fails(sl_image_cut(ctx, image, 31, 0, 0, 1, &part), SL_ERR_ARGUMENT, "part");
    sl_image_free(image);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("shapes");
    for (int depth = 8; depth <= 16; depth += 8) {
        tcase_add_loop_test(tests, plates_fill_their_rectangle, depth, depth + 1);
        tcase_add_loop_test(tests, frames_leave_their_inside, depth, depth + 1);
        tcase_add_loop_test(tests, half_is_half, depth, depth + 1);
        tcase_add_loop_test(tests, masks_are_cut_at_the_borders, depth, depth + 1);
        tcase_add_loop_test(tests, what_is_hidden_is_gone, depth, depth + 1);
        tcase_add_loop_test(tests, small_parts_keep_no_detail, depth, depth + 1);
        tcase_add_loop_test(tests, clear_pixels_give_no_colour, depth, depth + 1);
        tcase_add_loop_test(tests, all_sizes_are_hidden, depth, depth + 1);
        tcase_add_loop_test(tests, grey_becomes_rgb, depth, depth + 1);
        tcase_add_loop_test(tests, profiles_are_applied_or_kept, depth, depth + 1);
        tcase_add_loop_test(tests, a_part_is_cut_out, depth, depth + 1);
    }
    tcase_add_test(tests, corners_are_round_and_smooth);
    return run_case("image/shapes", tests);
}
