// SPDX-License-Identifier: MIT
// tests/image/foreign.c: kinds that are read and not written: WebP, and HEIC and AVIF by libheif.
// The pictures of tests/data/image hold one scene, 48 x 32: red 5x, green 7y, blue 200 - 2x - y.
#include "made.h"

#include <math.h>

#define WIDTH 48
#define HEIGHT 32

static sl_status load(const char *name, sl_image **out)
{
    char path[512];
    snprintf(path, sizeof(path), IMAGE_DIR "/%s", name);
    return sl_image_load(ctx, path, NULL, out);
}

// turned: a quarter turn to the right. off: by how much of 255 samples may differ.
static void check_scene(const sl_image *image, bool turned, double off)
{
    double white = sl_image_depth(image) == 16 ? 65535 : 255;
    ck_assert_uint_eq(sl_image_width(image), turned ? HEIGHT : WIDTH);
    ck_assert_uint_eq(sl_image_height(image), turned ? WIDTH : HEIGHT);
    for (uint32_t y = 0; y < HEIGHT; y++)
        for (uint32_t x = 0; x < WIDTH; x++) {
            const double want[4] = { x * 5.0, y * 7.0, 200.0 - 2.0 * x - y, x * 5.0 };
            for (unsigned k = 0; k < sl_image_channels(image); k++) {
                double got =
                    turned ? made_sample(image, HEIGHT - 1 - y, x, k) : made_sample(image, x, y, k);
                ck_assert_msg(fabs(got / white * 255 - want[k]) <= off, "%u, %u, %u: %g, not %g", x,
                              y, k, got / white * 255, want[k]);
            }
        }
}

static void check_unwritten(const sl_image *image, sl_image_format written_as)
{
    ck_assert_int_eq(sl_image_kind(image), SL_IMAGE_SAME);
    ck_assert_int_eq(image->format, written_as);
}

START_TEST(webp_without_loss_is_exact)
{
    sl_image *image;
    ck_ok(load("lossless.webp", &image));
    check_scene(image, false, 0);
    check_unwritten(image, SL_IMAGE_PNG);
    sl_image_free(image);
    ck_ok(load("alpha.webp", &image));
    ck_assert_uint_eq(sl_image_channels(image), 4);
    check_scene(image, false, 0);
    check_unwritten(image, SL_IMAGE_PNG);
    sl_image_free(image);
}
END_TEST

// What it says besides goes along into the file that is written.
START_TEST(webp_keeps_metadata)
{
    sl_image *image;
    sl_blob file;
    ck_ok(load("turned.webp", &image));
    check_scene(image, true, 12);
    check_unwritten(image, SL_IMAGE_JPEG);
    ck_assert_uint_gt(image->icc.size, 100);
    ck_assert_uint_eq(sl_exif_orientation(image->exif.data, image->exif.size), 1);
    const sl_save_options options = { .format = SL_IMAGE_SAME };
    ck_ok(sl_image_save(ctx, image, in_dir("out.jpg"), &options));
    sl_image_free(image);
    ck_ok(sl_file_read(ctx, in_dir("out.jpg"), SIZE_MAX, &file));
    ck_assert_ptr_nonnull(memmem(file.data, file.size, "ICC_PROFILE", 11));
    ck_assert_ptr_nonnull(memmem(file.data, file.size, "adobe:ns:meta/", 14));
    ck_assert_ptr_nonnull(memmem(file.data, file.size, "softlens", 8));
    sl_blob_free(&file);
}
END_TEST

// Some programs write the header of a JPEG's segment along.
START_TEST(exif_with_a_header_is_exif)
{
    sl_image *image;
    sl_blob file, longer;
    size_t room = 0;
    ck_ok(sl_file_read(ctx, IMAGE_DIR "/turned.webp", SIZE_MAX, &file));
    uint8_t *exif = memmem(file.data, file.size, "EXIF", 4);
    ck_assert_ptr_nonnull(exif);
    const size_t head = (size_t)(exif + 8 - file.data);
    exif[4] += 6;
    ck_assert_uint_lt(file.data[4], 250);
    file.data[4] += 6;
    ck_ok(sl_blob_copy(ctx, file.data, head, &longer));
    ck_ok(sl_blob_append(ctx, &longer, &room, "Exif\0", 6));
    ck_ok(sl_blob_append(ctx, &longer, &room, file.data + head, file.size - head));
    ck_ok(sl_image_load_memory(ctx, longer.data, longer.size, "headed", NULL, &image));
    check_scene(image, true, 12);
    sl_image_free(image);
    sl_blob_free(&file);
    sl_blob_free(&longer);
}
END_TEST

// Its pixels are whole, but they may lie on their side now: that is told.
START_TEST(webp_without_its_metadata_is_told)
{
    sl_image *image;
    sl_blob file;
    ck_ok(sl_file_read(ctx, IMAGE_DIR "/turned.webp", SIZE_MAX, &file));
    uint8_t *last = memmem(file.data, file.size, "XMP ", 4);
    ck_assert_ptr_nonnull(last);
    last[4]++; // its size: beyond the end
    last[5]++;
    warnings = 0;
    ck_ok(sl_image_load_memory(ctx, file.data, file.size, "odd", NULL, &image));
    check_scene(image, false, 12);
    ck_assert_int_eq(warnings, 1);
    ck_assert_msg(strstr(warning, "odd: a damaged WebP"), "%s", warning);
    sl_image_free(image);
    sl_blob_free(&file);
}
END_TEST

// A film that is not kept is not told of, and a profile of grey not kept for colours.
START_TEST(what_would_be_wrong_is_dropped)
{
    sl_image *image;
    sl_blob file;
    ck_ok(load("motion.webp", &image));
    check_scene(image, false, 0);
    ck_assert(image->had_more);
    ck_assert_uint_eq(image->icc.size, 0);
    const sl_save_options options = { .format = SL_IMAGE_JPEG };
    ck_ok(sl_image_save(ctx, image, in_dir("out.jpg"), &options));
    ck_assert_msg(strstr(warning, "film"), "%s", warning);
    sl_image_free(image);
    ck_ok(sl_file_read(ctx, in_dir("out.jpg"), SIZE_MAX, &file));
    ck_assert_ptr_null(memmem(file.data, file.size, "MotionPhoto", 11));
    sl_blob_free(&file);
}
END_TEST

START_TEST(animations_are_refused)
{
    sl_image *image;
    ck_fails(load("animated.webp", &image), SL_ERR_UNSUPPORTED, "an animation");
    ck_assert_ptr_null(image);
    made_png_spec s = { 1, 1, .type = PNG_COLOR_TYPE_RGB, .depth = 8,
                        .rows = (const uint8_t *)"abc" };
    for (s.frames = 1; s.frames <= 2; s.frames++) {
        sl_blob file = made_png(&s);
        sl_status st = sl_image_decode(ctx, file.data, file.size, "png", NULL, &image);
        if (s.frames == 1)
            ck_ok(st);
        else
            ck_fails(st, SL_ERR_UNSUPPORTED, "png: an animation");
        sl_image_free(image);
        sl_blob_free(&file);
    }
}
END_TEST

START_TEST(damaged_webp_is_refused)
{
    made_damage(ctx, IMAGE_DIR "/lossless.webp");
    made_damage(ctx, IMAGE_DIR "/alpha.webp");
}
END_TEST

START_TEST(heif_is_read_where_libheif_is)
{
    sl_image *image;
#if HAS_HEIF
    ck_ok(load("exif.heic", &image));
    check_scene(image, false, 12);
    check_unwritten(image, SL_IMAGE_JPEG);
    ck_assert_uint_eq(sl_exif_orientation(image->exif.data, image->exif.size), 1);
    ck_assert_ptr_nonnull(memmem(image->exif.data, image->exif.size, "softlens", 8));
    ck_assert_uint_gt(image->icc.size, 100);
    ck_assert_uint_eq(image->turned, 6); // as EXIF says; the file itself does not turn
    sl_image_free(image);
    ck_ok(load("alpha.heic", &image));
    ck_assert_uint_eq(sl_image_channels(image), 4);
    check_scene(image, false, 12);
    check_unwritten(image, SL_IMAGE_PNG);
    sl_image_free(image);
    ck_ok(load("multiplied.heic", &image)); // 100 times 255 / 128
    for (unsigned k = 0; k < 4; k++)
        ck_assert_int_le(abs((int)made_sample(image, 30, 30, k) - (k < 3 ? 199 : 128)), 4);
    sl_image_free(image);
    ck_ok(load("deep.heic", &image)); // 10 bits, of which the first fill the 6 that are new
    ck_assert_uint_eq(sl_image_depth(image), 16);
    for (uint32_t x = 0; x < WIDTH; x++)
        ck_assert_uint_eq(made_sample(image, x, 9, 0) & 63, made_sample(image, x, 9, 0) >> 10);
    check_scene(image, false, 12);
    check_unwritten(image, SL_IMAGE_JPEG);
    sl_image_free(image);
    ck_ok(load("flat.avif", &image));
    ck_assert_uint_eq(sl_image_depth(image), 8);
    check_scene(image, false, 12);
    check_unwritten(image, SL_IMAGE_JPEG);
    ck_assert_uint_eq(image->icc.size, 0);
    sl_image_free(image);
    ck_ok(load("wide.avif", &image)); // says P3 by its number
    check_scene(image, false, 12);
    ck_assert_ptr_nonnull(memmem(image->icc.data, image->icc.size,
                                 "P\0"
                                 "3\0 \0D\0"
                                 "6\0"
                                 "5",
                                 11));
    sl_image_free(image);
#else
    ck_fails(load("exif.heic", &image), SL_ERR_UNSUPPORTED, "built without the header of libheif");
#endif
}
END_TEST

#if HAS_HEIF
START_TEST(a_gain_map_beside_the_picture_is_missed)
{
    static const char more[] = "\0\0\0\x18"
                               "free<HDRGainMap:Vers";
    sl_image *image;
    sl_blob file;
    size_t room;
    ck_ok(sl_file_read(ctx, IMAGE_DIR "/exif.heic", SIZE_MAX, &file));
    room = file.size;
    ck_ok(sl_image_load_memory(ctx, file.data, file.size, "plain", NULL, &image));
    ck_assert(!image->had_more);
    sl_image_free(image);
    ck_ok(sl_blob_append(ctx, &file, &room, more, sizeof(more) - 1));
    ck_ok(sl_image_load_memory(ctx, file.data, file.size, "mapped", NULL, &image));
    ck_assert(image->had_more);
    sl_image_free(image);
    sl_blob_free(&file);
}
END_TEST
#endif

START_TEST(heif_that_is_too_large_or_cut_is_refused)
{
    sl_image *image;
    sl_blob file;
    const sl_load_options few = { .max_pixels = WIDTH * HEIGHT - 1 };
    ck_ok(sl_file_read(ctx, IMAGE_DIR "/exif.heic", SIZE_MAX, &file));
    ck_fails(sl_image_load_memory(ctx, file.data, file.size, "large", &few, &image),
             HAS_HEIF ? SL_ERR_LIMIT : SL_ERR_UNSUPPORTED, "large: ");
    for (size_t size = 12; size < file.size; size += size < 64 ? 7 : 131) {
        sl_status st = sl_image_load_memory(ctx, file.data, size, "cut", NULL, &image);
        ck_assert(st == SL_ERR_FORMAT || st == SL_ERR_UNSUPPORTED);
        ck_assert_ptr_null(image);
    }
    sl_blob_free(&file);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("foreign");
    tcase_add_test(tests, webp_without_loss_is_exact);
    tcase_add_test(tests, webp_keeps_metadata);
    tcase_add_test(tests, exif_with_a_header_is_exif);
    tcase_add_test(tests, webp_without_its_metadata_is_told);
    tcase_add_test(tests, what_would_be_wrong_is_dropped);
    tcase_add_test(tests, animations_are_refused);
    tcase_add_test(tests, damaged_webp_is_refused);
    tcase_add_test(tests, heif_is_read_where_libheif_is);
#if HAS_HEIF
    tcase_add_test(tests, a_gain_map_beside_the_picture_is_missed);
#endif
    tcase_add_test(tests, heif_that_is_too_large_or_cut_is_refused);
    return run_case("image-foreign", tests);
}
