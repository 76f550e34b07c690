// SPDX-License-Identifier: MIT
// tests/pipeline/overlay.c: detections on pictures: lines where the boxes are, labels in the
// picture and off each other, nothing elsewhere; what is hidden and cropped.
#include "../image/made.h"
#include "pipeline/detections.h"

#include <time.h>

#define W 400
#define H 300

static sl_image *grey_picture(uint32_t width, uint32_t height, unsigned channels, unsigned depth)
{
    sl_image *image;
    ck_ok(sl_image_new(ctx, width, height, channels, depth, &image));
    memset(image->pixels, 0x60, image->row_bytes * height);
    if (channels % 2 == 0) // opaque
        for (size_t i = channels - 1; i < (size_t)width * height * channels; i += channels) {
            if (depth == 8)
                image->pixels[i] = 255;
            else
                ((uint16_t *)(void *)image->pixels)[i] = 65535;
        }
    return image;
}

static sl_detection at(float x1, float y1, float x2, float y2, uint32_t category, const char *label)
{
    return (sl_detection) { x1, y1, x2, y2, 0.875f, category, label, label, NAN };
}

static sl_status draw(sl_image *image, sl_detection *items, size_t count, sl_overlay_style style)
{
    const sl_detections found = {
        .count = count, .items = items, .width = image->width, .height = image->height
    };
    return sl_detections_draw(ctx, image, &found, &(sl_overlay_options) { .style = style });
}

static unsigned sample(const sl_image *image, int64_t x, int64_t y, unsigned c)
{
    const size_t i = (size_t)x * image->channels + c;
    const void *row = sl_image_row_const(image, (uint32_t)y);
    return image->depth == 8 ? ((const uint8_t *)row)[i] : ((const uint16_t *)row)[i] / 257u;
}

static bool is_colour(const sl_image *image, int64_t x, int64_t y, sl_colour c)
{
    return sample(image, x, y, 0) == c.r && sample(image, x, y, 1) == c.g &&
           sample(image, x, y, 2) == c.b;
}

static bool is_untouched(const sl_image *image, int64_t x, int64_t y)
{
    return is_colour(image, x, y, (sl_colour) { 0x60, 0x60, 0x60 });
}

// How many pixels have this colour.
static size_t area(const sl_image *image, sl_colour c)
{
    size_t count = 0;
    for (int64_t y = 0; y < image->height; y++)
        for (int64_t x = 0; x < image->width; x++)
            count += is_colour(image, x, y, c);
    return count;
}

START_TEST(lines_are_where_the_box_is)
{
    for (unsigned channels = 1; channels <= 4; channels++) {
        sl_image *image = grey_picture(W, H, channels, _i);
        sl_detection d = at(100, 100, 300, 250, 2, "cat");
        const sl_colour c = sl_palette_colour(2);
        ck_ok(draw(image, &d, 1, SL_OVERLAY_BOXES));
        ck_assert_uint_eq(image->channels, channels < 3 ? channels + 2 : channels);
        ck_assert_uint_eq(image->depth, _i);
        for (int64_t x = 104; x < 296; x++)
            ck_assert(is_colour(image, x, 250, c));
        for (int64_t y = 104; y < 246; y++)
            ck_assert(is_colour(image, 100, y, c) && is_colour(image, 299, y, c));
        // The inside, and all that is further from the box than a label is high.
        for (int64_t y = 0; y < H; y++)
            for (int64_t x = 0; x < W; x++) {
                bool is_far = x < 96 || x > 304 || y < 75 || y > 255;
                bool is_inside = x > 105 && x < 295 && y > 105 && y < 245;
                ck_assert(!(is_far || is_inside) || is_untouched(image, x, y));
            }
        // A plate stands above the box, with ink on it.
        ck_assert_uint_gt(area(image, c), 2 * (200 + 150) + 200);
        size_t dark = 0;
        for (int64_t y = 80; y < 98; y++)
            for (int64_t x = 102; x < 200; x++)
                dark += sample(image, x, y, 1) < 40;
        ck_assert_uint_gt(dark, 20);
        sl_image_free(image);
    }
}
END_TEST

START_TEST(labels_alone)
{
    sl_image *image = grey_picture(W, H, 3, 8);
    sl_detection d = at(100, 100, 300, 250, 0, "cat");
    const sl_colour c = sl_palette_colour(0);
    ck_ok(draw(image, &d, 1, SL_OVERLAY_LABELS));
    ck_assert(is_colour(image, 200, 102, c)); // in the middle of its top
    for (int64_t y = 0; y < H; y++)
        for (int64_t x = 0; x < W; x++)
            ck_assert((x > 140 && x < 260 && y > 95 && y < 125) || is_untouched(image, x, y));
    sl_image_free(image);
}
END_TEST

START_TEST(nothing_found_changes_nothing)
{
    for (int style = 0; style <= SL_OVERLAY_BLUR; style++) {
        sl_image *image = grey_picture(30, 20, 1, 16), *before;
        sl_detection out = at(40, 2, 50, 9, 0, "beyond");
        ck_ok(sl_image_clone(ctx, image, &before));
        ck_ok(draw(image, NULL, 0, style));
        ck_ok(draw(image, &out, 1, style));
        ck_assert_uint_eq(image->channels, 1);
        ck_assert_mem_eq(image->pixels, before->pixels, image->row_bytes * image->height);
        sl_image_free(image);
        sl_image_free(before);
    }
}
END_TEST

// Of any size, in any place, on any picture: no more than not to break is asked.
START_TEST(boxes_of_all_kinds)
{
    static const uint32_t sides[][2] = { { 1, 1 }, { 1, 300 }, { 300, 1 }, { 7, 5 }, { 33, 40 } };
    const float far = 3e38f;
    sl_detection items[] = {
        at(0, 0, 0, 0, 0, "dot"),       at(-far, -far, far, far, 1, "all"),
        at(-5, -5, 3, 3, 2, NULL),      at(2, 2, 2, 900, 3, ""),
        at(299, 0, 300, 1, 4, "x"),     at(1e9f, 1e9f, 2e9f, 2e9f, 5, "beyond"),
        at(0, 0, 1e-30f, 1, 6, "\xFF"), at(300, 300, 300, 300, 4000000000u, "corner"),
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(sides); i++)
        for (unsigned channels = 1; channels <= 4; channels++)
            for (int style = 0; style <= SL_OVERLAY_BLUR; style++) {
                sl_image *image = grey_picture(sides[i][0], sides[i][1], channels, _i);
                ck_ok(draw(image, items, SL_ARRAY_LEN(items), style));
                sl_image_free(image);
            }
}
END_TEST

START_TEST(what_is_no_box_is_refused)
{
    sl_image *image = grey_picture(30, 20, 3, 8), *before, *part;
    ck_ok(sl_image_clone(ctx, image, &before));
    for (int k = 0; k < 8; k++) {
        sl_detection items[] = { at(1, 2, 9, 9, 0, "a"), at(3, 3, 6, 6, 0, "b") };
        float *fields[] = { &items[1].x1, &items[1].y1, &items[1].x2, &items[1].y2,
                            &items[1].score };
        if (k < 5)
            *fields[k] = k % 2 ? NAN : -INFINITY;
        else if (k < 7)
            *fields[k - 5] = 7; // beyond its second corner
        else
            items[1].score = NAN;
        for (int style = 0; style <= SL_OVERLAY_BLUR; style++)
            ck_fails(draw(image, items, 2, style), SL_ERR_ARGUMENT, "finite");
        ck_fails(sl_image_crop(ctx, image, &items[1], &part), SL_ERR_ARGUMENT, "finite");
    }
    const sl_detections other = { .width = 30, .height = 21 };
    ck_fails(sl_detections_draw(ctx, image, &other, NULL), SL_ERR_ARGUMENT, "30x21");
    ck_fails(draw(image, NULL, 0, 9), SL_ERR_ARGUMENT, "style");
    const sl_detections none = { .width = 30, .height = 20 };
    sl_overlay_options options = { .font = in_dir("none.ttf") };
    ck_fails(sl_detections_draw(ctx, image, &none, &options), SL_ERR_IO, "none.ttf");
    ck_assert_mem_eq(image->pixels, before->pixels, image->row_bytes * image->height);
    sl_image_free(image);
    sl_image_free(before);
}
END_TEST

// ---- labels

static bool overlap(sl_rect a, sl_rect b)
{
    return !sl_rect_is_empty(sl_rect_cut(a, b));
}

START_TEST(labels_keep_off_each_other)
{
    const sl_rect bounds = { 0, 0, 1000, 800 };
    sl_rect places[40];
    uint32_t state = 11 + (uint32_t)_i;
    for (size_t i = 0; i < 40; i++) { // there is room for many times as many
        const int64_t x = made_random(&state) % 800, y = made_random(&state) % 600;
        const sl_rect box = { x, y, x + 40 + made_random(&state) % 160,
                              y + 60 + made_random(&state) % 140 };
        places[i] = sl_place_label(bounds, box, 60, 20, _i & 1, places, i);
        ck_assert(places[i].left >= 0 && places[i].top >= 0 && places[i].right <= 1000 &&
                  places[i].bottom <= 800);
        // At its box, or within a plate's size of it.
        const sl_rect near = { box.left - 60, box.top - 20, box.right + 60, box.bottom + 20 };
        ck_assert(overlap(places[i], near));
        for (size_t k = 0; k < i; k++)
            ck_assert_msg(!overlap(places[i], places[k]), "labels %zu and %zu", k, i);
    }
}
END_TEST

START_TEST(the_same_box_many_times)
{
    const sl_rect bounds = { 0, 0, 1000, 800 }, box = { 300, 300, 500, 500 };
    sl_rect places[14];
    for (size_t i = 0; i < 14; i++) {
        places[i] = sl_place_label(bounds, box, 60, 20, false, places, i);
        for (size_t k = 0; k < i; k++)
            ck_assert_msg(!overlap(places[i], places[k]), "labels %zu and %zu", k, i);
    }
    ck_assert_int_eq(places[0].bottom, 300); // above
    ck_assert_int_eq(places[1].top, 300);    // inside, at the top
    ck_assert_int_eq(places[2].top, 500);    // below
}
END_TEST

static double seconds_to_place(size_t count)
{
    enum { MOST = 12000 };
    static sl_rect places[MOST];
    const sl_rect bounds = { 0, 0, 500, 500 };
    const clock_t start = clock();
    uint32_t state = 5;
    ck_assert_uint_le(count, MOST);
    for (size_t i = 0; i < count; i++) {
        const int64_t x = made_random(&state) % 450, y = made_random(&state) % 450;
        places[i] =
            sl_place_label(bounds, (sl_rect) { x, y, x + 50, y + 50 }, 60, 20, false, places, i);
    }
    return (double)(clock() - start) / CLOCKS_PER_SEC;
}

// Four times as many take four times as long, and not sixteen.
START_TEST(thousands_of_labels)
{
    const double some = seconds_to_place(3000), all = seconds_to_place(12000);
    ck_assert_msg(all < 8 * some + 0.05, "%g s, then %g s", some, all);
}
END_TEST

START_TEST(labels_stay_in_the_picture)
{
    static const sl_rect boxes[] = {
        { 0, 0, 100, 80 }, { 0, 0, 3, 3 },     { 97, 77, 100, 80 },
        { 50, 0, 51, 80 }, { 0, 79, 100, 80 },
    };
    static const int64_t sizes[][2] = { { 60, 20 }, { 100, 80 }, { 100, 10 }, { 3, 80 } };
    const sl_rect bounds = { 0, 0, 100, 80 };
    for (size_t i = 0; i < SL_ARRAY_LEN(boxes); i++)
        for (size_t k = 0; k < SL_ARRAY_LEN(sizes); k++)
            for (int at_top = 0; at_top < 2; at_top++) {
                sl_rect p =
                    sl_place_label(bounds, boxes[i], sizes[k][0], sizes[k][1], at_top, NULL, 0);
                ck_assert(p.left >= 0 && p.top >= 0 && p.right <= 100 && p.bottom <= 80);
                ck_assert_int_eq(p.right - p.left, sizes[k][0]);
                ck_assert_int_eq(p.bottom - p.top, sizes[k][1]);
            }
}
END_TEST

// ---- colours

START_TEST(colours_differ_and_are_legible)
{
    for (size_t i = 0; i < 21; i++) {
        const sl_colour a = sl_palette_colour(i), ink = sl_palette_ink(a);
        for (size_t k = 0; k < i; k++) {
            const sl_colour b = sl_palette_colour(k);
            ck_assert_int_ge(abs(a.r - b.r) + abs(a.g - b.g) + abs(a.b - b.b), 40);
        }
        ck_assert_int_ge(abs(a.g - ink.g) + abs(a.r - ink.r) + abs(a.b - ink.b), 250);
        const sl_colour again = sl_palette_colour(i + 21);
        ck_assert(again.r == a.r && again.g == a.g && again.b == a.b);
    }
    ck_assert_uint_eq(sl_palette_index("newt"), sl_palette_index("newt"));
    ck_assert_uint_ne(sl_palette_index("newt"), sl_palette_index("owl"));
}
END_TEST

START_TEST(refined_labels_have_colours_of_their_own)
{
    sl_image *image = grey_picture(W, H, 3, 8);
    sl_detection d = at(100, 100, 300, 250, 2, "newt");
    d.refined = 0.5f;
    ck_ok(draw(image, &d, 1, SL_OVERLAY_BOXES));
    ck_assert(is_colour(image, 100, 200, sl_palette_colour(sl_palette_index("newt"))));
    sl_image_free(image);
}
END_TEST

// ---- hide and crop

static const char secret[] = "a small picture of it all";

// EXIF whose second directory holds a thumbnail.
static sl_blob exif_with_thumbnail(void)
{
    uint32_t size;
    const uint8_t *plain = made_exif(1, false, &size);
    sl_blob exif;
    size_t room = 0;
    ck_ok(sl_blob_copy(ctx, plain, size, &exif));
    exif.data[34] = (uint8_t)size; // where the second directory begins
    room = exif.size;
    const uint8_t next[] = { 2,    0, // entries
                             0x01, 0x02, 4, 0, 1, 0, 0, 0, (uint8_t)(size + 30), 0, 0, 0,
                             0x02, 0x02, 4, 0, 1, 0, 0, 0, sizeof(secret),       0, 0, 0,
                             0,    0,    0, 0 };
    ck_ok(sl_blob_append(ctx, &exif, &room, next, sizeof(next)));
    ck_ok(sl_blob_append(ctx, &exif, &room, secret, sizeof(secret)));
    return exif;
}

static bool tells(const sl_image *image)
{
    return image->exif.size > 0 &&
           memmem(image->exif.data, image->exif.size, secret, sizeof(secret) - 1);
}

START_TEST(what_was_found_is_hidden)
{
    sl_image *image = grey_picture(200, 100, 3, _i), *before;
    uint32_t state = 3;
    for (size_t i = 0; i < image->row_bytes * image->height; i++)
        image->pixels[i] = (uint8_t)(made_random(&state) >> 8);
    image->exif = exif_with_thumbnail();
    ck_assert(tells(image));
    ck_ok(sl_image_clone(ctx, image, &before));
    sl_detection d = at(50, 20, 110, 80, 0, "person");
    ck_ok(draw(image, &d, 1, SL_OVERLAY_BLUR));
    ck_assert(!tells(image) && image->exif.size > 0);
    for (int64_t y = 0; y < 100; y++)
        for (int64_t x = 0; x < 200; x++) {
            const bool is_near = x > 50 - 10 && x < 110 + 10 && y > 20 - 10 && y < 80 + 10;
            const size_t pixel = image->row_bytes / image->width;
            const bool is_same =
                memcmp((const uint8_t *)sl_image_row_const(image, (uint32_t)y) + (size_t)x * pixel,
                       (const uint8_t *)sl_image_row_const(before, (uint32_t)y) + (size_t)x * pixel,
                       pixel) == 0;
            ck_assert(is_near || is_same);
            // A tenth beside the box is covered, too; noise there has become smooth.
            if (x >= 44 && x < 115 && y >= 14 && y < 86)
                ck_assert_int_le(abs((int)sample(image, x, y, 1) - (int)sample(image, x + 1, y, 1)),
                                 12);
        }
    sl_image_free(image);
    sl_image_free(before);
}
END_TEST

START_TEST(crops_are_what_the_box_touches)
{
    sl_image *image = grey_picture(40, 30, 3, 8), *part;
    image->exif = exif_with_thumbnail();
    image->icc = made_srgb_profile();
    static const struct {
        float x1, y1, x2, y2;
        uint32_t width, height;
    } cases[] = {
        { 10, 5, 20, 25, 10, 20 },
        { 10.9f, 5.1f, 19.1f, 24.9f, 10, 20 },
        { -9, -9, 5, 5, 5, 5 },
        { 30, 20, 99, 99, 10, 10 },
        { 7, 7, 7, 7, 1, 1 },
        { 0, 0, 0, 0, 1, 1 },
        { -1e30f, -1, 1e30f, 2, 40, 2 },
        { 39.5f, 29.5f, 39.6f, 29.6f, 1, 1 },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        sl_detection d = at(cases[i].x1, cases[i].y1, cases[i].x2, cases[i].y2, 0, "x");
        ck_ok(sl_image_crop(ctx, image, &d, &part));
        ck_assert_msg(part->width == cases[i].width && part->height == cases[i].height,
                      "case %zu: %ux%u", i, part->width, part->height);
        ck_assert(!tells(part) && part->exif.size > 0);
        ck_assert_uint_eq(part->icc.size, image->icc.size);
        sl_image_free(part);
    }
    sl_detection out[] = { at(40, 0, 50, 9, 0, "x"), at(-9, 0, -1, 9, 0, "x"),
                           at(0, 30, 9, 31, 0, "x"), at(3, -4, 9, 0, 0, "x") };
    for (size_t i = 0; i < SL_ARRAY_LEN(out); i++)
        ck_fails(sl_image_crop(ctx, image, &out[i], &part), SL_ERR_ARGUMENT, "outside");
    ck_assert_ptr_null(part);
    sl_image_free(image);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("overlay");
    for (int depth = 8; depth <= 16; depth += 8) {
        tcase_add_loop_test(tests, lines_are_where_the_box_is, depth, depth + 1);
        tcase_add_loop_test(tests, boxes_of_all_kinds, depth, depth + 1);
        tcase_add_loop_test(tests, what_was_found_is_hidden, depth, depth + 1);
    }
    tcase_add_test(tests, labels_alone);
    tcase_add_test(tests, nothing_found_changes_nothing);
    tcase_add_test(tests, what_is_no_box_is_refused);
    tcase_add_loop_test(tests, labels_keep_off_each_other, 0, 8);
    tcase_add_test(tests, the_same_box_many_times);
    tcase_add_test(tests, thousands_of_labels);
    tcase_add_test(tests, labels_stay_in_the_picture);
    tcase_add_test(tests, colours_differ_and_are_legible);
    tcase_add_test(tests, refined_labels_have_colours_of_their_own);
    tcase_add_test(tests, crops_are_what_the_box_touches);
    return run_case("pipeline/overlay", tests);
}
