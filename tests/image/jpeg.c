// SPDX-License-Identifier: MIT
// tests/image/jpeg.c: every kind of JPEG in, and what becomes of pictures that go out as JPEG.
#include "made.h"

#define W 61
#define H 43

static int far(int a, int b, int tolerance)
{
    return a - b > tolerance || b - a > tolerance;
}

static void check_near(const sl_image *image, const uint8_t *want, int tolerance, const char *what)
{
    for (uint32_t y = 0; y < image->height; y++) {
        const uint8_t *row = sl_image_row_const(image, y);
        for (size_t i = 0; i < image->row_bytes; i++)
            if (far(row[i], want[y * image->row_bytes + i], tolerance))
                ck_abort_msg("%s: row %u, sample %zu: %d, not %d", what, y, i, row[i],
                             want[y * image->row_bytes + i]);
    }
}

START_TEST(every_kind_comes_in)
{
    const made_jpeg_kind *kind = &made_jpeg_kinds[_i];
    const bool is_grey = kind->in == JCS_GRAYSCALE; // which has no chroma
    const int chroma_h = is_grey ? 0 : kind->h, chroma_v = is_grey ? 0 : kind->v;
    unsigned channels = is_grey ? 1 : 3;
    uint8_t *rows = made_gradient(W, H, channels);
    made_jpeg_spec s = { .width = W,
                         .height = H,
                         .in = kind->in,
                         .file = kind->file,
                         .h = kind->h,
                         .v = kind->v,
                         .progressive = kind->progressive,
                         .rows = rows };
    sl_blob file = made_jpeg(&s);
    sl_image *image = decode_ok(&file, NULL);
    ck_assert_uint_eq(sl_image_width(image), W);
    ck_assert_uint_eq(sl_image_height(image), H);
    ck_assert_uint_eq(sl_image_channels(image), channels);
    ck_assert_uint_eq(sl_image_depth(image), 8);
    ck_assert_int_eq(sl_image_kind(image), SL_IMAGE_JPEG);
    ck_assert_int_eq(image->chroma_h, chroma_h);
    ck_assert_int_eq(image->chroma_v, chroma_v);
    check_near(image, rows, 10, "decoded");
    // Out again: the sampling is kept, whatever the quality.
    sl_blob again;
    sl_save_options options = { .format = SL_IMAGE_JPEG, .quality = 95 };
    ck_ok(sl_image_encode(ctx, image, "again", &options, &again));
    sl_image *second = decode_ok(&again, NULL);
    ck_assert_int_eq(second->chroma_h, chroma_h);
    ck_assert_int_eq(second->chroma_v, chroma_v);
    check_near(second, rows, 14, "coded again");
    ck_assert_int_eq(warnings, 0);
    sl_image_free(image);
    sl_image_free(second);
    sl_blob_free(&file);
    sl_blob_free(&again);
    free(rows);
}
END_TEST

// Ink amounts in, as Adobe stores them (inverted) or not; the plain formula is the reference.
START_TEST(cmyk_becomes_rgb)
{
    bool ycck = _i & 1, no_adobe = (_i & 2) != 0, profile = (_i & 4) != 0;
    if (ycck && no_adobe)
        return; // without its marker, YCCK cannot be told from CMYK
    uint8_t *rows = made_gradient(W, H, 4);
    uint8_t *want = malloc((size_t)W * H * 3);
    sl_blob icc = made_cmyk_profile();
    made_jpeg_spec s = { .width = W,
                         .height = H,
                         .in = JCS_CMYK,
                         .file = ycck ? JCS_YCCK : JCS_CMYK,
                         .quality = 98,
                         .rows = rows,
                         .no_adobe = no_adobe };
    if (profile) {
        s.icc = icc.data;
        s.icc_size = (uint32_t)icc.size;
    }
    for (size_t i = 0; i < (size_t)W * H; i++)
        for (size_t c = 0; c < 3; c++) {
            int colour = rows[i * 4 + c], black = rows[i * 4 + 3];
            want[i * 3 + c] =
                (uint8_t)(no_adobe ? (255 - colour) * (255 - black) / 255 : colour * black / 255);
        }
    sl_blob file = made_jpeg(&s);
    sl_image *image = decode_ok(&file, NULL);
    ck_assert_uint_eq(image->channels, 3);
    ck_assert_uint_eq(image->icc.size, 0);
    if (!profile) {
        check_near(image, want, 12, "cmyk");
    } else { // by the test's profile: neutral, darker with more cyan, and black does nothing
        for (uint32_t i = 0; i < W * H; i++) {
            const uint8_t *p = image->pixels + i * 3;
            int paper = no_adobe ? 255 - rows[i * 4] : rows[i * 4];
            // sRGB of L* = paper / 2.55 is near `paper` itself in this range.
            if (far(p[0], p[1], 3) || far(p[1], p[2], 3) || far(p[0], paper, 24))
                ck_abort_msg("pixel %u: %d %d %d, paper %d", i, p[0], p[1], p[2], paper);
        }
    }
    sl_image_free(image);
    sl_blob_free(&file);
    sl_blob_free(&icc);
    free(rows);
    free(want);
}
END_TEST

START_TEST(metadata_go_along)
{
    static const int units[][4] = { // as read; then the PNG's per metre
                                    { 1, 300, 72, SL_DENSITY_PER_INCH },
                                    { 2, 118, 100, SL_DENSITY_PER_CM },
                                    { 0, 2, 1, SL_DENSITY_ASPECT },
                                    { 0, 1, 1, SL_DENSITY_NONE }
    };
    const int *u = units[_i];
    sl_blob icc = { sl_alloc(ctx, 150000, 1), _i == 2 ? 500 : 150000 }; // up to three segments
    uint32_t exif_size;
    uint8_t *rows = made_gradient(W, H, 3);
    for (size_t i = 0; i < icc.size; i++)
        icc.data[i] = (uint8_t)(i * 7 + i / 1000);
    made_jpeg_spec s = { .width = W,
                         .height = H,
                         .in = JCS_RGB,
                         .file = JCS_YCbCr,
                         .rows = rows,
                         .exif = made_exif(1, _i & 1, &exif_size),
                         .icc = icc.data,
                         .icc_size = (uint32_t)icc.size,
                         .density_unit = u[0],
                         .density = { u[1], u[2] } };
    s.exif_size = exif_size;
    sl_blob file = made_jpeg(&s);
    sl_image *image = decode_ok(&file, NULL);
    for (int round = 0; round < 2; round++) {
        ck_assert_uint_eq(image->icc.size, icc.size);
        ck_assert_mem_eq(image->icc.data, icc.data, icc.size);
        ck_assert_uint_eq(image->exif.size, s.exif_size);
        ck_assert_mem_eq(image->exif.data, s.exif, s.exif_size);
        ck_assert_int_eq(image->density_unit, (sl_density_unit)u[3]);
        if (u[3] != SL_DENSITY_NONE) {
            ck_assert_uint_eq(image->density_x, u[1]);
            ck_assert_uint_eq(image->density_y, u[2]);
        }
        sl_save_options options = { .format = SL_IMAGE_JPEG, .strip_metadata = round == 1 };
        sl_blob again;
        ck_ok(sl_image_encode(ctx, image, "again", &options, &again));
        sl_image_free(image);
        image = decode_ok(&again, NULL);
        sl_blob_free(&again);
    }
    ck_assert_uint_eq(image->exif.size, 0);
    ck_assert_uint_eq(image->icc.size, icc.size);
    sl_image_free(image);
    sl_blob_free(&file);
    sl_blob_free(&icc);
    free(rows);
}
END_TEST

START_TEST(density_crosses_formats)
{
    static const struct {
        sl_density_unit from;
        uint32_t x;
        sl_density_unit png, jpeg;
        uint32_t png_x, jpeg_x;
    } rows[] = {
        { SL_DENSITY_PER_INCH, 300, SL_DENSITY_PER_METRE, SL_DENSITY_PER_INCH, 11811, 300 },
        { SL_DENSITY_PER_METRE, 11811, SL_DENSITY_PER_METRE, SL_DENSITY_PER_INCH, 11811, 300 },
        { SL_DENSITY_PER_CM, 50, SL_DENSITY_PER_METRE, SL_DENSITY_PER_CM, 5000, 50 },
        { SL_DENSITY_ASPECT, 3, SL_DENSITY_ASPECT, SL_DENSITY_ASPECT, 3, 3 },
        { SL_DENSITY_PER_METRE, 4000000000u, SL_DENSITY_NONE, SL_DENSITY_NONE, 0, 0 },
    };
    for (int jpeg = 0; jpeg < 2; jpeg++) {
        sl_image *image;
        sl_blob file;
        ck_ok(sl_image_new(ctx, 8, 8, 3, 8, &image));
        image->density_unit = rows[_i].from;
        image->density_x = rows[_i].x;
        image->density_y = rows[_i].x * 2 > rows[_i].x ? rows[_i].x * 2 : rows[_i].x;
        sl_save_options options = { .format = jpeg ? SL_IMAGE_JPEG : SL_IMAGE_PNG };
        ck_ok(sl_image_encode(ctx, image, "d", &options, &file));
        sl_image *again = decode_ok(&file, NULL);
        ck_assert_int_eq(again->density_unit, jpeg ? rows[_i].jpeg : rows[_i].png);
        ck_assert_uint_eq(again->density_x, jpeg ? rows[_i].jpeg_x : rows[_i].png_x);
        sl_image_free(image);
        sl_image_free(again);
        sl_blob_free(&file);
    }
}
END_TEST

START_TEST(sampling_of_new_pictures_follows_quality)
{
    static const int rows[][2] = { { 0, 1 }, { 92, 1 }, { 90, 1 }, { 89, 2 }, { 1, 2 } };
    for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
        sl_image *image;
        sl_blob file;
        ck_ok(sl_image_new(ctx, 20, 20, 3, 8, &image));
        sl_save_options options = { .format = SL_IMAGE_JPEG, .quality = rows[i][0] };
        ck_ok(sl_image_encode(ctx, image, "q", &options, &file));
        sl_image *again = decode_ok(&file, NULL);
        ck_assert_int_eq(again->chroma_h, rows[i][1]);
        ck_assert_int_eq(again->chroma_v, rows[i][1]);
        sl_image_free(image);
        sl_image_free(again);
        sl_blob_free(&file);
    }
}
END_TEST

// 16 bits are rounded, alpha is laid over white with a warning: constant pictures come back exact.
START_TEST(deep_and_transparent_pictures_are_flattened)
{
    unsigned channels = (unsigned)_i % 4 + 1, depth = _i < 4 ? 8 : 16;
    unsigned full = depth == 8 ? 255 : 65535, value = full * 2 / 5, alpha = full * 3 / 4;
    sl_image *image;
    sl_blob file;
    ck_ok(sl_image_new(ctx, 16, 16, channels, depth, &image));
    for (uint32_t y = 0; y < 16; y++)
        for (unsigned i = 0; i < 16 * channels; i++) {
            unsigned v = channels % 2 == 0 && i % channels == channels - 1 ? alpha : value;
            if (depth == 8)
                ((uint8_t *)sl_image_row(image, y))[i] = (uint8_t)v;
            else
                ((uint16_t *)sl_image_row(image, y))[i] = (uint16_t)v;
        }
    sl_save_options options = { .format = SL_IMAGE_JPEG, .quality = 100 };
    ck_ok(sl_image_encode(ctx, image, "flat", &options, &file));
    ck_assert_int_eq(warnings, channels % 2 == 0);
    if (channels % 2 == 0)
        ck_assert_ptr_nonnull(strstr(warning, "flat: JPEG has no transparency"));
    sl_image *again = decode_ok(&file, NULL);
    int want = channels % 2 == 0 ? 140 : 102; // 102 * 191/255 + 255 * 64/255: 140.4
    ck_assert_uint_eq(again->channels, channels >= 3 ? 3 : 1);
    ck_assert_msg(!far(again->pixels[0], want, 1), "%d, not %d", again->pixels[0], want);
    sl_image_free(image);
    sl_image_free(again);
    sl_blob_free(&file);
}
END_TEST

// Nothing of what is clear shows, and all of what is laid under it. _i: depth and channels.
START_TEST(what_is_clear_is_white)
{
    const unsigned channels = _i % 2 ? 4 : 2, depth = _i < 2 ? 8 : 16;
    sl_image *image;
    sl_blob file;
    ck_ok(sl_image_new(ctx, 16, 16, channels, depth, &image));
    sl_save_options options = { .format = SL_IMAGE_JPEG, .quality = 100 };
    ck_ok(sl_image_encode(ctx, image, "clear", &options, &file));
    sl_image_free(image);
    image = decode_ok(&file, NULL);
    for (size_t i = 0; i < (size_t)16 * image->row_bytes; i++)
        ck_assert_uint_eq(image->pixels[i], 255);
    sl_image_free(image);
    sl_blob_free(&file);
}
END_TEST

START_TEST(every_16_bit_value_is_rounded)
{
    sl_image *image;
    sl_blob file;
    uint8_t rows[256];
    ck_ok(sl_image_new(ctx, 256, 8, 1, 16, &image));
    for (unsigned x = 0; x < 256; x++) {
        rows[x] = (uint8_t)(x / 8 * 8);
        for (uint32_t y = 0; y < 8; y++) // up to half a step off the exact value
            ((uint16_t *)sl_image_row(image, y))[x] =
                (uint16_t)(rows[x] * 257u + (rows[x] ? (x % 2 ? 128u : -128u) : 128u));
    }
    sl_save_options options = { .format = SL_IMAGE_JPEG, .quality = 100 };
    ck_ok(sl_image_encode(ctx, image, "deep", &options, &file));
    sl_image *again = decode_ok(&file, NULL);
    for (unsigned x = 0; x < 256; x++) // each 8x8 block is flat, so that coding loses nothing
        ck_assert_msg(!far(again->pixels[x], rows[x], 0), "%u: %d, not %d", x, again->pixels[x],
                      rows[x]);
    sl_image_free(image);
    sl_image_free(again);
    sl_blob_free(&file);
}
END_TEST

START_TEST(unknown_colours_are_refused)
{
    uint8_t *rows = made_gradient(W, H, 2);
    made_jpeg_spec s = {
        .width = W, .height = H, .in = JCS_UNKNOWN, .file = JCS_UNKNOWN, .rows = rows
    };
    sl_blob file = made_jpeg(&s);
    sl_image *image;
    ck_fails(sl_image_decode(ctx, file.data, file.size, "two", NULL, &image), SL_ERR_UNSUPPORTED,
             "two: a JPEG of 2 unknown colour components");
    sl_blob_free(&file);
    free(rows);
}
END_TEST

START_TEST(too_much_exif_is_left_out)
{
    sl_image *image;
    sl_blob file;
    ck_ok(sl_image_new(ctx, 8, 8, 3, 8, &image));
    image->exif = (sl_blob) { sl_alloc(ctx, 65528, 1), 65527 };
    sl_save_options options = { .format = SL_IMAGE_JPEG };
    ck_ok(sl_image_encode(ctx, image, "small", &options, &file));
    ck_assert_int_eq(warnings, 0);
    sl_blob_free(&file);
    image->exif.size++;
    ck_ok(sl_image_encode(ctx, image, "large", &options, &file));
    ck_assert_int_eq(warnings, 1);
    ck_assert_ptr_nonnull(strstr(warning, "large: left out: EXIF"));
    sl_image_free(decode_ok(&file, NULL));
    sl_image_free(image);
    sl_blob_free(&file);
}
END_TEST

START_TEST(limits_of_the_format_are_told)
{
    sl_image *image;
    sl_blob file;
    sl_save_options options = { .format = SL_IMAGE_JPEG };
    ck_ok(sl_image_new(ctx, 65501, 1, 1, 8, &image));
    ck_fails(sl_image_encode(ctx, image, "wide", &options, &file), SL_ERR_LIMIT, "wide: 65501x1");
    image->icc = (sl_blob) { sl_alloc(ctx, 1, 17000000), 17000000 };
    image->width = 8, image->channels = 3; // the same memory, seen as colour
    image->row_bytes = 24;
    ck_ok(sl_image_encode(ctx, image, "icc", &options, &file));
    ck_assert_ptr_nonnull(strstr(warning, "icc: left out: an ICC profile of 17000000 bytes"));
    sl_blob_free(&file);
    image->chroma_h = image->chroma_v = 5;
    ck_fails(sl_image_encode(ctx, image, "five", &options, &file), SL_ERR_UNSUPPORTED,
             "five: cannot be a JPEG");
    ck_assert_ptr_null(file.data);
    options.quality = 101;
    ck_fails(sl_image_encode(ctx, image, "q", &options, &file), SL_ERR_ARGUMENT, "quality 101");
    options.quality = -1;
    ck_fails(sl_image_encode(ctx, image, "q", &options, &file), SL_ERR_ARGUMENT, "quality -1");
    ck_fails(sl_image_encode(ctx, image, "q", NULL, &file), SL_ERR_ARGUMENT, "no format");
    sl_image_free(image);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("jpeg");
    tcase_add_loop_test(tests, every_kind_comes_in, 0, MADE_JPEG_KINDS);
    tcase_add_loop_test(tests, cmyk_becomes_rgb, 0, 8);
    tcase_add_loop_test(tests, metadata_go_along, 0, 4);
    tcase_add_loop_test(tests, density_crosses_formats, 0, 5);
    tcase_add_test(tests, sampling_of_new_pictures_follows_quality);
    tcase_add_loop_test(tests, deep_and_transparent_pictures_are_flattened, 0, 8);
    tcase_add_loop_test(tests, what_is_clear_is_white, 0, 4);
    tcase_add_test(tests, every_16_bit_value_is_rounded);
    tcase_add_test(tests, unknown_colours_are_refused);
    tcase_add_test(tests, too_much_exif_is_left_out);
    tcase_add_test(tests, limits_of_the_format_are_told);
    return run_case("image/jpeg", tests);
}
