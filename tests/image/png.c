// SPDX-License-Identifier: MIT
// tests/image/png.c: every kind of PNG in, and out again.
#include "made.h"

static const struct {
    int type, depth;
} kinds[] = {
    { PNG_COLOR_TYPE_GRAY, 1 },        { PNG_COLOR_TYPE_GRAY, 2 },
    { PNG_COLOR_TYPE_GRAY, 4 },        { PNG_COLOR_TYPE_GRAY, 8 },
    { PNG_COLOR_TYPE_GRAY, 16 },       { PNG_COLOR_TYPE_GRAY_ALPHA, 8 },
    { PNG_COLOR_TYPE_GRAY_ALPHA, 16 }, { PNG_COLOR_TYPE_RGB, 8 },
    { PNG_COLOR_TYPE_RGB, 16 },        { PNG_COLOR_TYPE_RGB_ALPHA, 8 },
    { PNG_COLOR_TYPE_RGB_ALPHA, 16 },  { PNG_COLOR_TYPE_PALETTE, 1 },
    { PNG_COLOR_TYPE_PALETTE, 2 },     { PNG_COLOR_TYPE_PALETTE, 4 },
    { PNG_COLOR_TYPE_PALETTE, 8 },
};

static const uint32_t sizes[][2] = { { 1, 1 }, { 1, 7 }, { 9, 1 }, { 5, 3 }, { 33, 17 } };

// Sample i of a packed row, read plainly.
static unsigned stored(const uint8_t *row, size_t i, int depth)
{
    if (depth == 16)
        return (unsigned)row[2 * i] << 8 | row[2 * i + 1];
    size_t bit = i * (unsigned)depth;
    return row[bit / 8] >> (8 - depth - (int)(bit % 8)) & ((1u << depth) - 1);
}

static unsigned got(const sl_image *image, uint32_t x, uint32_t y, unsigned c)
{
    const uint8_t *row = sl_image_row_const(image, y);
    size_t i = (size_t)x * image->channels + c;
    return image->depth == 8 ? row[i] : ((const uint16_t *)(const void *)row)[i];
}

// What pixel x of the row should become; returns the number of channels.
static unsigned expected(const made_png_spec *s, const uint8_t *row, uint32_t x, unsigned *want)
{
    static const unsigned channels[7] = { 1, 0, 3, 1, 2, 0, 4 };
    unsigned n = channels[s->type], full = s->depth == 16 ? 65535 : 255;
    if (s->type == PNG_COLOR_TYPE_PALETTE) {
        unsigned i = stored(row, x, s->depth);
        png_color p = made_palette(i);
        want[0] = p.red, want[1] = p.green, want[2] = p.blue, want[3] = made_alpha(i);
        return s->transparent ? 4 : 3;
    }
    bool ones = true;
    for (unsigned c = 0; c < n; c++) {
        unsigned v = stored(row, (size_t)x * n + c, s->depth);
        ones = ones && v == 1;
        want[c] = s->depth < 8 ? v * 255 / ((1u << s->depth) - 1) : v;
    }
    if (s->transparent && (n == 1 || n == 3))
        want[n++] = ones ? 0 : full;
    return n;
}

static void check_pixels(const made_png_spec *s, const sl_image *image)
{
    ck_assert_uint_eq(image->width, s->width);
    ck_assert_uint_eq(image->height, s->height);
    ck_assert_uint_eq(image->depth, s->depth == 16 ? 16 : 8);
    size_t row_bytes = made_png_row_bytes(s);
    for (uint32_t y = 0; y < s->height; y++)
        for (uint32_t x = 0; x < s->width; x++) {
            unsigned want[4], n = expected(s, s->rows + y * row_bytes, x, want);
            ck_assert_uint_eq(image->channels, n);
            for (unsigned c = 0; c < n; c++)
                if (got(image, x, y, c) != want[c])
                    ck_abort_msg("type %d, depth %d, interlace %d, tRNS %d, %ux%u: at %u, %u, "
                                 "channel %u: %u, not %u",
                                 s->type, s->depth, s->interlace, s->transparent, s->width,
                                 s->height, x, y, c, got(image, x, y, c), want[c]);
        }
}

static void round_trip(const made_png_spec *s)
{
    sl_blob file = made_png(s), again;
    sl_image *image = decode_ok(&file, NULL);
    check_pixels(s, image);
    sl_save_options options = { .format = SL_IMAGE_PNG };
    ck_ok(sl_image_encode(ctx, image, "again", &options, &again));
    sl_image *second = decode_ok(&again, NULL);
    check_pixels(s, second);
    ck_assert_int_eq(sl_image_kind(second), SL_IMAGE_PNG);
    ck_assert_int_eq(warnings, 0);
    sl_image_free(image);
    sl_image_free(second);
    sl_blob_free(&file);
    sl_blob_free(&again);
}

START_TEST(every_kind_comes_in_and_goes_out)
{
    uint32_t seed = 1;
    uint8_t rows[33 * 17 * 8];
    bool has_alpha = (kinds[_i].type & PNG_COLOR_MASK_ALPHA) != 0;
    for (size_t i = 0; i < sizeof(rows); i++) // many ones: some pixels are the transparent colour
        rows[i] = (uint8_t)(made_random(&seed) % 3 ? made_random(&seed) : i % 2);
    for (size_t z = 0; z < SL_ARRAY_LEN(sizes); z++)
        for (int interlace = 0; interlace < 2; interlace++)
            for (int transparent = 0; transparent < (has_alpha ? 1 : 2); transparent++)
                round_trip(&(made_png_spec) {
                    .width = sizes[z][0],
                    .height = sizes[z][1],
                    .type = kinds[_i].type,
                    .depth = kinds[_i].depth,
                    .interlace = interlace,
                    .transparent = transparent,
                    .rows = rows,
                });
}
END_TEST

START_TEST(metadata_go_along)
{
    uint32_t exif_size;
    sl_blob icc = made_srgb_profile(), again;
    made_png_spec s = { .width = 2,
                        .height = 2,
                        .type = PNG_COLOR_TYPE_RGB,
                        .depth = 8,
                        .rows = (const uint8_t *)"abcdefghijkl",
                        .exif = made_exif(1, _i & 1, &exif_size),
                        .exif_late = (_i & 2) != 0,
                        .icc = icc.data,
                        .icc_size = (uint32_t)icc.size,
                        .density = { 11811, 5906 } };
    s.exif_size = exif_size;
    sl_blob file = made_png(&s);
    sl_image *image = decode_ok(&file, NULL);
    for (int round = 0; round < 2; round++) {
        ck_assert_uint_eq(image->icc.size, icc.size);
        ck_assert_mem_eq(image->icc.data, icc.data, icc.size);
        ck_assert_uint_eq(image->exif.size, s.exif_size);
        ck_assert_mem_eq(image->exif.data, s.exif, s.exif_size);
        ck_assert_int_eq(image->density_unit, SL_DENSITY_PER_METRE);
        ck_assert_uint_eq(image->density_x, 11811);
        ck_assert_uint_eq(image->density_y, 5906);
        sl_save_options options = { .format = SL_IMAGE_PNG };
        ck_ok(sl_image_encode(ctx, image, "again", &options, &again));
        const uint8_t *chunk = memmem(again.data, again.size, "eXIf", 4);
        ck_assert_ptr_nonnull(chunk);
        size_t behind = again.size - (size_t)(chunk + 4 - again.data);
        ck_assert_ptr_null(memmem(chunk + 4, behind, "eXIf", 4)); // once
        sl_image_free(image);
        image = decode_ok(&again, NULL);
        sl_blob_free(&again);
    }
    sl_save_options strip = { .format = SL_IMAGE_PNG, .strip_metadata = true };
    ck_ok(sl_image_encode(ctx, image, "again", &strip, &again));
    sl_image_free(image);
    image = decode_ok(&again, NULL);
    ck_assert_uint_eq(image->exif.size, 0);
    ck_assert_uint_eq(image->icc.size, icc.size);
    sl_image_free(image);
    sl_blob_free(&again);
    sl_blob_free(&file);
    sl_blob_free(&icc);
}
END_TEST

START_TEST(gamma_goes_along)
{
    made_png_spec s = { .width = 1,
                        .height = 1,
                        .type = PNG_COLOR_TYPE_RGB,
                        .depth = 8,
                        .rows = (const uint8_t *)"abc",
                        .gamma = true };
    sl_blob file = made_png(&s), again;
    sl_image *image = decode_ok(&file, NULL);
    sl_save_options options = { .format = SL_IMAGE_PNG };
    ck_ok(sl_image_encode(ctx, image, "again", &options, &again));
    sl_image *second = decode_ok(&again, NULL);
    ck_assert(second->png_colour.has_gamma && second->png_colour.has_chroma);
    ck_assert(!second->png_colour.has_srgb);
    ck_assert_int_eq(second->png_colour.gamma, 55556);
    ck_assert_int_eq(second->png_colour.chroma[2], 64000);
    ck_assert_int_eq(second->png_colour.chroma[7], 6000);
    sl_image_free(image);
    sl_image_free(second);
    sl_blob_free(&file);
    sl_blob_free(&again);
}
END_TEST

START_TEST(srgb_goes_along)
{
    made_png_spec s = { .width = 1,
                        .height = 1,
                        .type = PNG_COLOR_TYPE_RGB,
                        .depth = 8,
                        .rows = (const uint8_t *)"abc",
                        .srgb = true };
    sl_blob file = made_png(&s), again;
    sl_image *image = decode_ok(&file, NULL);
    sl_save_options options = { .format = SL_IMAGE_PNG };
    ck_ok(sl_image_encode(ctx, image, "again", &options, &again));
    sl_image *second = decode_ok(&again, NULL);
    ck_assert(second->png_colour.has_srgb);
    ck_assert_int_eq(second->png_colour.srgb_intent, PNG_sRGB_INTENT_SATURATION);
    sl_image_free(image);
    sl_image_free(second);
    sl_blob_free(&file);
    sl_blob_free(&again);
}
END_TEST

// Wide colours told by their numbers go along as a profile.
START_TEST(colours_by_number_go_along)
{
    static const uint8_t p3[4] = { 12, 13, 0, 1 }, narrow[4] = { 12, 13, 0, 0 };
    uint8_t *rows = made_gradient(64, 64, 1);
    for (int i = 0; i < 3; i++) {
        made_png_spec s = {
            .width = 9, .height = 5, .type = i == 2 ? 0 : 2, .depth = 8, .rows = rows
        };
        s.numbers = i == 1 ? narrow : p3; // not of grey, not of a part of the range
        sl_blob file = made_png(&s), coded;
        sl_image *image, *again;
        ck_ok(sl_image_decode(ctx, file.data, file.size, "p3", NULL, &image));
        ck_assert_int_eq(image->icc.size > 0, i == 0);
        const sl_save_options options = { .format = SL_IMAGE_PNG };
        ck_ok(sl_image_encode(ctx, image, "p3", &options, &coded));
        ck_ok(sl_image_decode(ctx, coded.data, coded.size, "again", NULL, &again));
        ck_assert_uint_eq(again->icc.size, image->icc.size);
        sl_image_free(image);
        sl_image_free(again);
        sl_blob_free(&coded);
        sl_blob_free(&file);
    }
    free(rows);
}
END_TEST

// A profile for other channels cannot stand in a PNG: left out with a word, the picture is saved.
START_TEST(an_unfit_profile_is_left_out)
{
    sl_image *image;
    sl_blob file;
    ck_ok(sl_image_new(ctx, 3, 3, 1, 8, &image));
    image->icc = made_srgb_profile();
    sl_save_options options = { .format = SL_IMAGE_PNG };
    ck_ok(sl_image_encode(ctx, image, "grey", &options, &file));
    ck_assert_int_ge(warnings, 1);
    ck_assert_ptr_nonnull(strstr(warning, "grey: left out"));
    sl_image *again = decode_ok(&file, NULL);
    ck_assert_uint_eq(again->icc.size, 0);
    sl_image_free(again);
    sl_image_free(image);
    sl_blob_free(&file);
}
END_TEST

// What must be understood and is not: the picture would be another one.
START_TEST(unknown_chunks_that_count_are_refused)
{
    static const uint8_t chunks[2][12] = { "\0\0\0\0"
                                           "abCD\x43\x68\xC9\x7B",
                                           "\0\0\0\0"
                                           "ABCD\xDB\x17\x20\xA5" };
    const size_t header = 33;
    sl_image *image;
    sl_blob file = made_png(&(made_png_spec) { 1, 1, .type = PNG_COLOR_TYPE_GRAY, .depth = 8,
                                               .rows = (const uint8_t *)"x" });
    for (size_t i = 0; i < 2; i++) {
        sl_blob more;
        size_t room = 0;
        ck_ok(sl_blob_copy(ctx, file.data, header, &more));
        ck_ok(sl_blob_append(ctx, &more, &room, chunks[i], sizeof(chunks[i])));
        ck_ok(sl_blob_append(ctx, &more, &room, file.data + header, file.size - header));
        sl_status st = sl_image_decode(ctx, more.data, more.size, "odd", NULL, &image);
        if (i == 0)
            ck_ok(st);
        else
            ck_fails(st, SL_ERR_FORMAT, "odd: damaged PNG");
        sl_image_free(image);
        sl_blob_free(&more);
    }
    sl_blob_free(&file);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("png");
    tcase_add_loop_test(tests, every_kind_comes_in_and_goes_out, 0, SL_ARRAY_LEN(kinds));
    tcase_add_loop_test(tests, metadata_go_along, 0, 4);
    tcase_add_test(tests, gamma_goes_along);
    tcase_add_test(tests, srgb_goes_along);
    tcase_add_test(tests, colours_by_number_go_along);
    tcase_add_test(tests, unknown_chunks_that_count_are_refused);
    tcase_add_test(tests, an_unfit_profile_is_left_out);
    return run_case("image/png", tests);
}
