// SPDX-License-Identifier: MIT
// tests/image/tiff.c: TIFF of every kind that is read.
#include "made_tiff.h"

static sl_status load(const char *name, sl_image **out)
{
    return sl_image_load(ctx, in_dir(name), NULL, out);
}

static void round_trip(const made_tiff_spec *s)
{
    sl_image *image;
    made_tiff(in_dir("a.tif"), s);
    ck_ok(load("a.tif", &image));
    made_tiff_check(s, image);
    ck_assert_int_eq(sl_image_kind(image), SL_IMAGE_SAME);
    ck_assert_int_eq(image->format, SL_IMAGE_PNG);
    sl_image_free(image);
}

START_TEST(every_layout_of_grey_and_colour)
{
    static const uint16_t colours[] = { PHOTOMETRIC_MINISBLACK, PHOTOMETRIC_MINISWHITE,
                                        PHOTOMETRIC_RGB };
    static const uint16_t extras[] = { 0, EXTRASAMPLE_ASSOCALPHA, EXTRASAMPLE_UNASSALPHA };
    static const uint16_t packed[] = { COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE,
                                       COMPRESSION_PACKBITS };
    for (unsigned i = 0; i < 3 * 3 * 2 * 2 * 2; i++) {
        const unsigned extra = i / 3 % 3;
        made_tiff_spec s = {
            .width = 47, .height = 31, .bits = i / 9 % 2 ? 16 : 8, .colours = colours[i % 3]
        };
        s.samples = (uint16_t)((s.colours == PHOTOMETRIC_RGB ? 3 : 1) + (extra > 0));
        s.extra = extras[extra];
        s.is_planar = i / 18 % 2;
        s.is_tiled = i / 36 % 2;
        s.compression = packed[i % 4];
        s.mode = i % 5 == 0 ? "wb" : i % 5 == 1 ? "w8" : "wl";
        round_trip(&s);
    }
    round_trip(
        &(made_tiff_spec) { .width = 1, .height = 1, .bits = 8, .colours = 2, .samples = 3 });
    round_trip(&(made_tiff_spec) {
        .width = 1, .height = 1, .bits = 16, .colours = 1, .samples = 1, .is_tiled = true });
}
END_TEST

START_TEST(inks_become_light)
{
    for (unsigned i = 0; i < 4; i++)
        round_trip(&(made_tiff_spec) { .width = 47,
                                       .height = 31,
                                       .bits = i % 2 ? 16 : 8,
                                       .colours = PHOTOMETRIC_SEPARATED,
                                       .samples = 4,
                                       .is_tiled = i / 2,
                                       .mode = i ? "wb" : "wl" });
}
END_TEST

START_TEST(few_bits_and_palettes)
{
    for (unsigned i = 0; i < 12; i++)
        round_trip(&(made_tiff_spec) { .width = 47,
                                       .height = 31,
                                       .bits = (uint16_t)(1u << i % 3),
                                       .colours = i / 3 % 2,
                                       .samples = 1,
                                       .is_tiled = i / 6 });
    round_trip(&(made_tiff_spec) { .width = 47,
                                   .height = 31,
                                   .bits = 1,
                                   .colours = 0,
                                   .samples = 1,
                                   .compression = COMPRESSION_CCITTFAX4 });
    sl_image *image;
    made_tiff(
        in_dir("p.tif"),
        &(made_tiff_spec) {
            .width = 47, .height = 31, .bits = 8, .samples = 1, .colours = PHOTOMETRIC_PALETTE });
    ck_ok(load("p.tif", &image));
    ck_assert_uint_eq(sl_image_channels(image), 3);
    for (uint32_t x = 0; x < 47; x++) {
        ck_assert_uint_eq(made_sample(image, x, 30, 0), made_tiff_scene(x, 30, 0));
        ck_assert_uint_eq(made_sample(image, x, 30, 1), 255 - made_tiff_scene(x, 30, 0));
        ck_assert_uint_eq(made_sample(image, x, 30, 2), made_tiff_scene(x, 30, 0) ^ 1);
    }
    sl_image_free(image);
}
END_TEST

START_TEST(all_orientations_are_turned_upright)
{
    made_tiff_spec s = { .width = 23, .height = 17, .bits = 8, .colours = 2, .samples = 3 };
    for (s.orientation = 1; s.orientation <= 8; s.orientation++) {
        sl_image *image;
        made_tiff(in_dir("o.tif"), &s);
        ck_ok(load("o.tif", &image));
        const bool is_turned = s.orientation >= 5;
        const uint32_t w = is_turned ? s.height : s.width, h = is_turned ? s.width : s.height;
        ck_assert_uint_eq(sl_image_width(image), w);
        ck_assert_uint_eq(sl_image_height(image), h);
        ck_assert_uint_eq(image->turned, s.orientation);
        // Where the first row and the first column of the file are: TIFF 6.0, page 36.
        static const int first[9][2] = { { 0, 0 }, { 0, 0 }, { 1, 0 }, { 1, 1 }, { 0, 1 },
                                         { 0, 0 }, { 1, 0 }, { 1, 1 }, { 0, 1 } };
        for (uint32_t y = 0; y < h; y++)
            for (uint32_t x = 0; x < w; x++) {
                uint32_t fx = first[s.orientation][0] ? w - 1 - x : x;
                uint32_t fy = first[s.orientation][1] ? h - 1 - y : y;
                ck_assert_uint_eq(made_sample(image, x, y, 0),
                                  made_tiff_scene(is_turned ? fy : fx, 0, 0));
                ck_assert_uint_eq(made_sample(image, x, y, 1),
                                  made_tiff_scene(0, is_turned ? fx : fy, 1));
            }
        sl_image_free(image);
    }
}
END_TEST

// 48 x 32 pixels; LZW with all that can stand beside pixels, and JPEG.
START_TEST(what_stands_beside_pixels_goes_along)
{
    sl_image *image;
    sl_blob file;
    ck_ok(sl_image_load(ctx, IMAGE_DIR "/flat.tif", NULL, &image));
    ck_assert_uint_eq(image->density_x, 300);
    ck_assert_int_eq(image->density_unit, SL_DENSITY_PER_INCH);
    ck_assert_ptr_nonnull(memmem(image->exif.data, image->exif.size, "softlens", 8));
    ck_assert_ptr_nonnull(memmem(image->exif.data, image->exif.size, "by hand.", 8));
    ck_assert_uint_le(image->exif.size, 160); // nothing of how the pixels lie in the file
    const sl_save_options options = { .format = SL_IMAGE_SAME };
    ck_ok(sl_image_save(ctx, image, in_dir("out.png"), &options));
    sl_image_free(image);
    ck_ok(sl_file_read(ctx, in_dir("out.png"), SIZE_MAX, &file));
    ck_assert_ptr_nonnull(memmem(file.data, file.size, "Maker", 5));
    ck_assert_ptr_nonnull(memmem(file.data, file.size, "adobe:ns:meta/", 14));
    sl_blob_free(&file);
    ck_ok(sl_image_load(ctx, IMAGE_DIR "/lossy.tif", NULL, &image));
    for (uint32_t y = 0; y < 32; y++)
        for (uint32_t x = 0; x < 48; x++)
            for (unsigned k = 0; k < 3; k++)
                ck_assert_int_le(
                    abs((int)made_sample(image, x, y, k) - (int)made_tiff_scene(x, y, k)), 12);
    sl_image_free(image);
}
END_TEST

START_TEST(a_profile_stays_with_its_colours)
{
    sl_image *image;
    sl_blob icc = made_srgb_profile();
    made_tiff_spec s = { .width = 9,
                         .height = 5,
                         .bits = 8,
                         .colours = 2,
                         .samples = 3,
                         .icc = icc.data,
                         .icc_size = (uint32_t)icc.size };
    made_tiff(in_dir("c.tif"), &s);
    ck_ok(load("c.tif", &image));
    ck_assert_uint_eq(image->icc.size, icc.size);
    ck_assert_mem_eq(image->icc.data, icc.data, icc.size);
    sl_image_free(image);
    s.colours = PHOTOMETRIC_MINISBLACK; // whose profile this is not
    s.samples = 1;
    made_tiff(in_dir("c.tif"), &s);
    ck_ok(load("c.tif", &image));
    ck_assert_uint_eq(image->icc.size, 0);
    sl_image_free(image);
    sl_blob_free(&icc);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("tiff");
    tcase_add_test(tests, every_layout_of_grey_and_colour);
    tcase_add_test(tests, inks_become_light);
    tcase_add_test(tests, few_bits_and_palettes);
    tcase_add_test(tests, all_orientations_are_turned_upright);
    tcase_add_test(tests, what_stands_beside_pixels_goes_along);
    tcase_add_test(tests, a_profile_stays_with_its_colours);
    return run_case("image-tiff", tests);
}
