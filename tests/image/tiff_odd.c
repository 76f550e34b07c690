// SPDX-License-Identifier: MIT
// tests/image/tiff_odd.c: TIFF of kinds that are not read, or hold more than a picture, or damage.
#include "made_tiff.h"

static sl_status load(const char *name, sl_image **out)
{
    return sl_image_load(ctx, in_dir(name), NULL, out);
}

static bool is_told_of_pages(const made_tiff_spec *s)
{
    sl_image *image;
    *warning = '\0';
    made_tiff(in_dir("pages.tif"), s);
    ck_ok(load("pages.tif", &image));
    made_tiff_check(s, image);
    sl_image_free(image);
    return strstr(warning, "several pictures");
}

START_TEST(pages_and_further_channels_are_told_of)
{
    sl_image *image;
    made_tiff_spec s = { .width = 9, .height = 5, .bits = 8, .colours = 2, .samples = 3 };
    ck_assert(!is_told_of_pages(&s));
    s.pages = 1;
    ck_assert(is_told_of_pages(&s));
    s.mode = "w8";
    ck_assert(is_told_of_pages(&s));
    s.second = FILETYPE_REDUCEDIMAGE; // a smaller copy is no page, but what follows it
    ck_assert(!is_told_of_pages(&s));
    s.pages = 2;
    ck_assert(is_told_of_pages(&s));
    s.subfile = FILETYPE_REDUCEDIMAGE; // alone it is a picture as any other
    s.pages = 0;
    ck_assert(!is_told_of_pages(&s));
    s.samples = 4; // of no stated kind
    made_tiff(in_dir("spot.tif"), &s);
    ck_ok(load("spot.tif", &image));
    ck_assert_uint_eq(sl_image_channels(image), 3);
    made_tiff_check(&s, image);
    ck_assert_msg(strstr(warning, "besides its colours"), "%s", warning);
    sl_image_free(image);
}
END_TEST

START_TEST(other_kinds_are_refused)
{
    const made_tiff_spec rgb = { .width = 9, .height = 5, .bits = 8, .colours = 2, .samples = 3 };
    struct {
        const char *what;
        made_tiff_spec s;
    } kinds[] = {
        { "floating-point", { .sample_kind = SAMPLEFORMAT_INT } },
        { "rare compression", { .compression = COMPRESSION_LZMA } },
        { "smaller copy", { .subfile = FILETYPE_REDUCEDIMAGE, .pages = 1 } },
        { "a camera's raw file", { .dng = "\1\4\0\0" } },
        { "a camera's raw file", { .colours = PHOTOMETRIC_CFA, .samples = 1 } },
        { "odd number of bits", { .bits = 4 } },
        { "kind of colours", { .colours = PHOTOMETRIC_ICCLAB } },
        { "with alpha", { .colours = PHOTOMETRIC_PALETTE, .samples = 2, .extra = 2 } },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(kinds); i++) {
        sl_image *image;
        made_tiff_spec s = kinds[i].s;
        s.width = rgb.width;
        s.height = rgb.height;
        s.bits = s.bits ? s.bits : rgb.bits;
        s.colours = s.colours ? s.colours : rgb.colours;
        s.samples = s.samples ? s.samples : rgb.samples;
        made_tiff(in_dir("k.tif"), &s);
        ck_fails(load("k.tif", &image), SL_ERR_UNSUPPORTED, kinds[i].what);
        ck_assert_ptr_null(image);
    }
}
END_TEST

// A TIFF of one directory: entries of four numbers each (tag, type, count, value), `size` bytes.
static sl_status load_made(const uint32_t *entries, unsigned count, size_t size)
{
    sl_image *image;
    uint8_t *file = calloc(size, 1);
    memcpy(file, "II*\0\x8\0\0\0", 8);
    file[8] = (uint8_t)count;
    for (unsigned i = 0; i < count; i++, entries += 4) {
        const uint16_t head[2] = { (uint16_t)entries[0], (uint16_t)entries[1] };
        memcpy(file + 10 + i * 12, head, 4);
        memcpy(file + 14 + i * 12, entries + 2, 8);
    }
    sl_status st = sl_image_load_memory(ctx, file, size, "made", NULL, &image);
    ck_assert_ptr_null(image);
    free(file);
    return st;
}

static void patch(const char *name, const char *what, size_t size, size_t from, const char *to,
                  size_t to_size)
{
    sl_blob file;
    ck_ok(sl_file_read(ctx, in_dir(name), SIZE_MAX, &file));
    uint8_t *at = memmem(file.data, file.size, what, size);
    ck_assert_ptr_nonnull(at);
    memcpy(at + from, to, to_size);
    ck_ok(sl_file_write(ctx, in_dir(name), true, file.data, file.size));
    sl_blob_free(&file);
}

START_TEST(raw_files_are_told_by_their_directories)
{
    // Sony's first directory has no size; Nikon's is a preview, and further ones are its parts.
    static const uint32_t sony[][4] = { { 0xFE, 4, 1, 1 }, { 0x10F, 2, 4, 0x796E6F53 } };
    static const uint32_t nikon[][4] = { { 0xFE, 4, 1, 1 },   { 0x100, 4, 1, 8 },
                                         { 0x101, 4, 1, 8 },  { 0x102, 3, 1, 8 },
                                         { 0x106, 3, 1, 1 },  { 0x111, 4, 1, 128 },
                                         { 0x117, 4, 1, 64 }, { 0x14A, 4, 1, 512 } };
    const char *want = "made: a camera's raw file; develop it first";
    ck_fails(load_made(sony[0], 2, 600), SL_ERR_UNSUPPORTED, want);
    ck_fails(load_made(nikon[0], 8, 600), SL_ERR_UNSUPPORTED, want);
    ck_fails(load_made(nikon[0], 0, 600), SL_ERR_FORMAT, "made: damaged TIFF");
    // A grey whose pixels look like half of what Phase One begins with.
    const made_tiff_spec grey = { .width = 9, .height = 5, .bits = 8, .colours = 2, .samples = 3 };
    made_tiff(in_dir("grey.tif"), &grey);
    patch("grey.tif", "II*\0", 4, 8, "IIII", 4);
    sl_image *image;
    ck_ok(load("grey.tif", &image));
    ck_assert_uint_eq(made_sample(image, 0, 0, 0), 'I');
    sl_image_free(image);
    static const char phase_one[64] = "II*\0\x14\0\0\0IIII\0waR\0\0\0\0\1\0\0\1\4\0\1\0\0\0\x8";
    ck_fails(sl_image_load_memory(ctx, phase_one, sizeof(phase_one), "made", NULL, &image),
             SL_ERR_UNSUPPORTED, want);
}
END_TEST

// Little that stands for much: values that share their bytes, tiles larger than the picture, strips
// that are all the same bytes.
START_TEST(little_is_not_made_much)
{
    sl_image *image;
    uint32_t entries[100][4];
    for (uint32_t i = 0; i < 100; i++)
        memcpy(entries[i], (const uint32_t[4]) { 0xC000 + i, 1, 60000, 2000 }, 16);
    ck_fails(load_made(entries[0], 100, 65536), SL_ERR_FORMAT, "longer than the file");
    uint8_t early[65536] = "II*\0\3"; // a directory of 0x300 entries within the header
    for (uint32_t i = 0; i < 0x300; i++)
        memcpy(early + 5 + i * 12,
               (const uint16_t[6]) { (uint16_t)(0xC000 + i), 1, 60000, 0, 2000, 0 }, 12);
    memcpy(early, "II*\0\3\0\0\0", 8);
    ck_fails(sl_image_load_memory(ctx, early, sizeof(early), "early", NULL, &image), SL_ERR_FORMAT,
             "longer than the file");
    made_tiff(in_dir("tiles.tif"), &(made_tiff_spec) { .width = 64,
                                                       .height = 16,
                                                       .bits = 8,
                                                       .colours = 1,
                                                       .samples = 1,
                                                       .is_tiled = true,
                                                       .compression = COMPRESSION_ADOBE_DEFLATE });
    patch("tiles.tif", "\x43\1\3\0\1\0\0\0", 8, 2, "\4\0\1\0\0\0\0\0\0\1", 10); // 16 Mi high
    ck_fails(load("tiles.tif", &image), SL_ERR_UNSUPPORTED, "tiles much larger than the picture");
    made_tiff(in_dir("strips.tif"), &(made_tiff_spec) { .width = 100,
                                                        .height = 5000,
                                                        .bits = 8,
                                                        .colours = 1,
                                                        .samples = 1,
                                                        .compression = COMPRESSION_ADOBE_DEFLATE });
    sl_blob file;
    ck_ok(sl_file_read(ctx, in_dir("strips.tif"), SIZE_MAX, &file));
    TIFF *tiff = TIFFOpen(in_dir("strips.tif"), "r");
    uint64_t *counts = NULL;
    ck_assert_int_eq(TIFFGetField(tiff, TIFFTAG_STRIPBYTECOUNTS, &counts), 1);
    const uint16_t some[4] = { (uint16_t)counts[0], (uint16_t)counts[1], (uint16_t)counts[2],
                               (uint16_t)counts[3] };
    TIFFClose(tiff);
    uint8_t *at = memmem(file.data, file.size, some, sizeof(some));
    ck_assert_ptr_nonnull(at);
    memset(at, 0xFF, 1000 * 2);
    ck_fails(sl_image_load_memory(ctx, file.data, file.size, "strips", NULL, &image), SL_ERR_FORMAT,
             "its pixels take more room than the file has");
    sl_blob_free(&file);
}
END_TEST

START_TEST(damaged_pixels_are_told_of)
{
    sl_image *image;
    sl_blob file;
    const sl_load_options lenient = { .allow_truncated = true };
    ck_ok(sl_file_read(ctx, IMAGE_DIR "/lossy.tif", SIZE_MAX, &file));
    uint8_t *scan = memmem(file.data, file.size, "\xFF\xDA", 2);
    ck_assert_ptr_nonnull(scan);
    memcpy(scan + 60, "\xFF\xD9", 2); // the end of the picture
    ck_fails(sl_image_load_memory(ctx, file.data, file.size, "jpeg", NULL, &image), SL_ERR_FORMAT,
             "jpeg: damaged TIFF: ");
    ck_ok(sl_image_load_memory(ctx, file.data, file.size, "jpeg", &lenient, &image));
    ck_assert_msg(strstr(warning, "parts of it are missing"), "%s", warning);
    sl_image_free(image);
    sl_blob_free(&file);
    made_tiff(in_dir("fax.tif"), &(made_tiff_spec) { .width = 200,
                                                     .height = 60,
                                                     .bits = 1,
                                                     .samples = 1,
                                                     .compression = COMPRESSION_CCITTFAX4 });
    ck_ok(sl_file_read(ctx, in_dir("fax.tif"), SIZE_MAX, &file));
    memset(file.data + 12, 0, 3);
    ck_ok(sl_image_load_memory(ctx, file.data, file.size, "fax", NULL, &image));
    ck_assert_msg(strstr(warning, "fax: ends early or is damaged"), "%s", warning);
    sl_image_free(image);
    sl_blob_free(&file);
}
END_TEST

START_TEST(damage_is_an_error_or_a_picture)
{
    made_damage(ctx, IMAGE_DIR "/flat.tif");
    made_damage(ctx, IMAGE_DIR "/lossy.tif");
    made_tiff(in_dir("d.tif"), &(made_tiff_spec) { .width = 48,
                                                   .height = 32,
                                                   .bits = 16,
                                                   .colours = 2,
                                                   .samples = 4,
                                                   .extra = 1,
                                                   .is_tiled = true,
                                                   .is_planar = true,
                                                   .mode = "w8",
                                                   .compression = COMPRESSION_LZW });
    made_damage(ctx, in_dir("d.tif"));
    made_tiff(in_dir("d.tif"), &(made_tiff_spec) { .width = 48,
                                                   .height = 32,
                                                   .bits = 8,
                                                   .samples = 1,
                                                   .colours = PHOTOMETRIC_PALETTE,
                                                   .compression = COMPRESSION_PACKBITS });
    made_damage(ctx, in_dir("d.tif"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("tiff_odd");
    tcase_add_test(tests, pages_and_further_channels_are_told_of);
    tcase_add_test(tests, other_kinds_are_refused);
    tcase_add_test(tests, raw_files_are_told_by_their_directories);
    tcase_add_test(tests, little_is_not_made_much);
    tcase_add_test(tests, damaged_pixels_are_told_of);
    tcase_add_test(tests, damage_is_an_error_or_a_picture);
    return run_case("image-tiff_odd", tests);
}
