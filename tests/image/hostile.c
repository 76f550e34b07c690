// SPDX-License-Identifier: MIT
// tests/image/hostile.c: damaged, cut, lying and foreign files. Run under ASan, a read too far ends
// the test; each copy therefore has a block of its own size.
#include "made.h"

#define W 24
#define H 17

static sl_blob some_png(void)
{
    uint32_t exif_size;
    uint8_t *rows = made_gradient(W, H, 3);
    sl_blob icc = made_srgb_profile();
    made_png_spec s = { .width = W,
                        .height = H,
                        .type = PNG_COLOR_TYPE_RGB,
                        .depth = 8,
                        .interlace = 1,
                        .rows = rows,
                        .exif = made_exif(6, true, &exif_size),
                        .icc = icc.data,
                        .icc_size = (uint32_t)icc.size,
                        .density = { 3, 4 } };
    s.exif_size = exif_size;
    sl_blob file = made_png(&s);
    free(rows);
    sl_blob_free(&icc);
    return file;
}

static sl_blob some_jpeg(bool progressive)
{
    uint32_t exif_size;
    uint8_t *rows = made_gradient(W, H, 3);
    made_jpeg_spec s = { .width = W,
                         .height = H,
                         .in = JCS_RGB,
                         .file = JCS_YCbCr,
                         .h = 2,
                         .v = 2,
                         .progressive = progressive,
                         .rows = rows,
                         .exif = made_exif(6, true, &exif_size) };
    s.exif_size = exif_size;
    sl_blob file = made_jpeg(&s);
    free(rows);
    return file;
}

static sl_status try_decode(const uint8_t *data, size_t size, const sl_load_options *options,
                            sl_image **out)
{
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    sl_status st = sl_image_decode(ctx, copy, size, "hostile", options, out);
    ck_assert((st == SL_OK) == (*out != NULL));
    free(copy);
    return st;
}

static void check_refused(const uint8_t *data, size_t size, const char *what, size_t at)
{
    sl_image *image;
    sl_status st = try_decode(data, size, NULL, &image);
    if (st != SL_ERR_FORMAT && st != SL_ERR_UNSUPPORTED && st != SL_ERR_LIMIT)
        ck_abort_msg("%s at %zu: status %d", what, at, st);
    ck_assert_msg(strstr(sl_ctx_message(ctx), "hostile: ") != NULL, "%s at %zu: %s", what, at,
                  sl_ctx_message(ctx));
}

START_TEST(cut_files_are_refused)
{
    sl_blob file = _i == 0 ? some_png() : some_jpeg(_i == 2);
    for (size_t cut = 0; cut < file.size; cut++)
        check_refused(file.data, cut, "cut", cut);
    sl_image_free(decode_ok(&file, NULL)); // whole, it is fine
    sl_blob_free(&file);
}
END_TEST

START_TEST(a_cut_jpeg_may_be_let_pass)
{
    sl_load_options options = { .allow_truncated = true };
    sl_blob file = some_jpeg(_i);
    size_t passed = 0;
    for (size_t cut = 0; cut < file.size; cut++) {
        sl_image *image;
        int before = warnings;
        sl_status st = try_decode(file.data, cut, &options, &image);
        if (st != SL_OK) {
            ck_assert_msg(passed == 0, "refused at %zu, after shorter ones had passed", cut);
            continue;
        }
        passed++;
        ck_assert_int_eq(warnings, before + 1);
        ck_assert_ptr_nonnull(strstr(warning, "ends early"));
        ck_assert_uint_eq(image->width, H); // turned: its EXIF comes first
        ck_assert_uint_eq(image->height, W);
        sl_image_free(image);
    }
    ck_assert_uint_gt(passed, 100);
    sl_blob_free(&file);
}
END_TEST

// Every chunk of a PNG has a checksum: one wrong byte anywhere is found.
START_TEST(a_wrong_byte_in_a_png_is_found)
{
    sl_blob file = some_png();
    uint32_t seed = 3;
    for (size_t at = 0; at < file.size; at++) {
        uint8_t flip = (uint8_t)(1u << made_random(&seed) % 8);
        file.data[at] ^= flip;
        check_refused(file.data, file.size, "flipped", at);
        file.data[at] ^= flip;
    }
    sl_blob_free(&file);
}
END_TEST

// A JPEG has none: whatever comes, it must only be harmless.
START_TEST(wrong_bytes_in_a_jpeg_are_harmless)
{
    sl_blob file = some_jpeg(_i & 1);
    sl_load_options options = { .allow_truncated = (_i & 2) != 0, .max_pixels = 100000 };
    uint32_t seed = 4;
    for (int round = 0; round < 6; round++)
        for (size_t at = 0; at < file.size; at++) {
            sl_image *image;
            uint8_t old = file.data[at], other = file.data[(at * 7) % file.size];
            file.data[at] = (uint8_t)made_random(&seed);
            file.data[(at * 7) % file.size] ^= (uint8_t)(1u << made_random(&seed) % 8);
            try_decode(file.data, file.size, &options, &image);
            sl_image_free(image);
            file.data[(at * 7) % file.size] = other;
            file.data[at] = old;
        }
    sl_blob_free(&file);
}
END_TEST

typedef struct sink {
    sl_blob blob;
    size_t capacity;
} sink;

static void take(png_structp png, png_bytep data, size_t size)
{
    sink *s = png_get_io_ptr(png);
    ck_assert_int_eq(sl_blob_append(NULL, &s->blob, &s->capacity, data, size), SL_OK);
}

// A header with a right checksum, and next to nothing after it.
static sl_blob header_only(uint32_t width, uint32_t height, uint8_t depth, uint8_t type)
{
    sink s = { { NULL, 0 }, 0 };
    uint8_t header[13] = { [8] = depth, [9] = type };
    png_save_uint_32(header, width);
    png_save_uint_32(header + 4, height);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_set_write_fn(png, &s, take, NULL);
    png_write_sig(png);
    png_write_chunk(png, (png_const_bytep) "IHDR", header, sizeof(header));
    png_write_chunk(png, (png_const_bytep) "IDAT", (png_const_bytep) "x", 1);
    png_write_chunk(png, (png_const_bytep) "IEND", NULL, 0);
    png_destroy_write_struct(&png, NULL);
    return s.blob;
}

START_TEST(lying_headers_are_refused)
{
    static const struct {
        uint32_t width, height;
        uint8_t depth, type;
        sl_status status;
    } rows[] = {
        { 0, 5, 8, 2, SL_ERR_FORMAT },
        { 5, 0, 8, 2, SL_ERR_FORMAT },
        { 0, 0, 8, 2, SL_ERR_FORMAT },
        { 100000, 100000, 8, 2, SL_ERR_LIMIT },
        { 0xFFFFFFFF, 0xFFFFFFFF, 16, 6, SL_ERR_LIMIT },
        { 0x80000000, 1, 8, 2, SL_ERR_LIMIT },
        { 0x0C000000, 1, 8, 0, SL_ERR_LIMIT },
        { 200000000, 1, 16, 6, SL_ERR_FORMAT }, // within the limit, but there is no picture
        { 14142, 14142, 16, 6, SL_ERR_FORMAT },
        { 5, 5, 3, 2, SL_ERR_FORMAT },
        { 5, 5, 16, 3, SL_ERR_FORMAT },
        { 5, 5, 8, 7, SL_ERR_FORMAT },
        { 5, 5, 8, 3, SL_ERR_FORMAT }, // no palette
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
        sl_blob file = header_only(rows[i].width, rows[i].height, rows[i].depth, rows[i].type);
        sl_image *image;
        sl_status st = try_decode(file.data, file.size, NULL, &image);
        ck_assert_msg(st == rows[i].status, "%ux%u: status %d, %s", rows[i].width, rows[i].height,
                      st, sl_ctx_message(ctx));
        sl_blob_free(&file);
    }
}
END_TEST

START_TEST(the_limit_is_exact)
{
    for (int jpeg = 0; jpeg < 2; jpeg++) {
        sl_blob file = jpeg ? some_jpeg(false) : some_png();
        sl_image *image;
        sl_load_options options = { .max_pixels = W * H };
        sl_image_free(decode_ok(&file, &options));
        options.max_pixels--;
        ck_fails(try_decode(file.data, file.size, &options, &image), SL_ERR_LIMIT,
                 "24x17 pixels; the limit is 407");
        sl_blob_free(&file);
    }
}
END_TEST

static size_t find_marker(const sl_blob *file, uint8_t marker)
{
    for (size_t i = 0; i + 1 < file->size; i++)
        if (file->data[i] == 0xFF && file->data[i + 1] == marker)
            return i;
    ck_abort_msg("no marker %02x", marker);
}

START_TEST(odd_jpeg_headers_are_told)
{
    static const struct {
        size_t at;
        uint8_t bytes[4];
        size_t count;
        sl_status status;
        const char *part;
    } rows[] = {
        { 4, { 12 }, 1, SL_ERR_UNSUPPORTED, "8 bits a sample" },
        { 5, { 0xFF, 0xDC, 0xFF, 0xDC }, 4, SL_ERR_LIMIT, "65500x65500" },
        { 5, { 0xFF, 0xFF, 0xFF, 0xFF }, 4, SL_ERR_LIMIT, "sides above 65500" },
        { 5, { 0, 0 }, 2, SL_ERR_FORMAT, "damaged JPEG" },
        { 7, { 0, 0 }, 2, SL_ERR_FORMAT, "damaged JPEG" },
        { 1, { 0xC3 }, 1, SL_ERR_UNSUPPORTED, "rare kind" },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
        sl_blob file = some_jpeg(false);
        sl_image *image;
        memcpy(file.data + find_marker(&file, 0xC0) + rows[i].at, rows[i].bytes, rows[i].count);
        ck_fails(try_decode(file.data, file.size, NULL, &image), rows[i].status, rows[i].part);
        sl_blob_free(&file);
    }
}
END_TEST

// A few bytes a scan, a pass over the whole picture each.
START_TEST(endless_scans_are_stopped)
{
    sl_blob file = some_jpeg(true), longer = { NULL, 0 };
    size_t capacity = 0, last = 0;
    for (size_t i = 0; i + 1 < file.size; i++)
        if (file.data[i] == 0xFF && file.data[i + 1] == 0xDA)
            last = i;
    ck_ok(sl_blob_append(ctx, &longer, &capacity, file.data, last));
    for (int i = 0; i < 120; i++)
        ck_ok(sl_blob_append(ctx, &longer, &capacity, file.data + last, file.size - 2 - last));
    ck_ok(sl_blob_append(ctx, &longer, &capacity, file.data + file.size - 2, 2));
    sl_image *image;
    sl_load_options options = { .allow_truncated = true };
    ck_fails(try_decode(longer.data, longer.size, &options, &image), SL_ERR_LIMIT, "100 scans");
    sl_blob_free(&file);
    sl_blob_free(&longer);
}
END_TEST

// libjpeg takes the square of their number to keep them.
START_TEST(endless_segments_are_stopped)
{
    static const uint8_t comment[] = { 0xFF, 0xFE, 0, 2 };
    const size_t counts[] = { 4000, 200000 };
    sl_blob plain = some_jpeg(false);
    for (size_t i = 0; i < SL_ARRAY_LEN(counts); i++) {
        sl_blob file = { malloc(plain.size + sizeof(comment) * counts[i]), 2 };
        sl_image *image;
        ck_assert_ptr_nonnull(file.data);
        memcpy(file.data, plain.data, 2);
        for (size_t k = 0; k < counts[i]; k++, file.size += sizeof(comment))
            memcpy(file.data + file.size, comment, sizeof(comment));
        memcpy(file.data + file.size, plain.data + 2, plain.size - 2);
        file.size += plain.size - 2;
        if (i == 0)
            ck_ok(sl_image_decode(ctx, file.data, file.size, "many", NULL, &image));
        else
            ck_fails(sl_image_decode(ctx, file.data, file.size, "many", NULL, &image), SL_ERR_LIMIT,
                     "more than 4096 segments");
        sl_image_free(image);
        sl_blob_free(&file);
    }
    sl_blob_free(&plain);
}
END_TEST

START_TEST(bytes_after_the_end_are_ignored)
{
    for (int jpeg = 0; jpeg < 2; jpeg++) {
        sl_blob file = jpeg ? some_jpeg(false) : some_png();
        size_t capacity = 0;
        sl_blob more = { NULL, 0 };
        ck_ok(sl_blob_append(ctx, &more, &capacity, file.data, file.size));
        ck_ok(sl_blob_append(ctx, &more, &capacity, "\xFF\xD9 and a video", 14));
        sl_image_free(decode_ok(&more, NULL));
        sl_blob_free(&more);
        // Padding before the end of a JPEG, as some cameras leave it.
        if (jpeg) {
            capacity = 0;
            ck_ok(sl_blob_append(ctx, &more, &capacity, file.data, file.size - 2));
            ck_ok(sl_blob_append(ctx, &more, &capacity, "\0\0\0\0\0\0\0\0\xFF\xD9", 10));
            sl_image_free(decode_ok(&more, NULL));
            sl_blob_free(&more);
        }
        sl_blob_free(&file);
    }
    ck_assert_int_eq(warnings, 0);
}
END_TEST

// Where more of the picture follows, a piece of it is missing: only asked for it is let pass.
START_TEST(bytes_between_scans_are_damage)
{
    const sl_load_options options = { .allow_truncated = true };
    sl_blob file = some_jpeg(true), more = { NULL, 0 };
    size_t capacity = 0, last = 0;
    sl_image *image;
    for (size_t i = 0; i + 1 < file.size; i++)
        if (file.data[i] == 0xFF && file.data[i + 1] == 0xDA)
            last = i;
    ck_ok(sl_blob_append(ctx, &more, &capacity, file.data, last));
    ck_ok(sl_blob_append(ctx, &more, &capacity, "\0\0\0\0\0\0\0\0", 8));
    ck_ok(sl_blob_append(ctx, &more, &capacity, file.data + last, file.size - last));
    ck_fails(try_decode(more.data, more.size, NULL, &image), SL_ERR_FORMAT, "damaged JPEG");
    ck_assert_int_eq(warnings, 0);
    sl_image_free(decode_ok(&more, &options));
    ck_assert_int_eq(warnings, 1);
    ck_assert_ptr_nonnull(strstr(warning, "damaged"));
    sl_blob_free(&more);
    sl_blob_free(&file);
}
END_TEST

// Some cameras pad their headers; every pixel is there.
START_TEST(bytes_in_the_header_are_harmless)
{
    sl_blob file = some_jpeg(_i != 0), more = { NULL, 0 };
    size_t capacity = 0, table = 0;
    for (size_t i = file.size - 1; i-- > 0;)
        if (file.data[i] == 0xFF && file.data[i + 1] == 0xDB)
            table = i;
    ck_ok(sl_blob_append(ctx, &more, &capacity, file.data, table));
    ck_ok(sl_blob_append(ctx, &more, &capacity, "\0\0", 2));
    ck_ok(sl_blob_append(ctx, &more, &capacity, file.data + table, file.size - table));
    sl_image *image = decode_ok(&more, NULL), *plain = decode_ok(&file, NULL);
    ck_assert_mem_eq(image->pixels, plain->pixels, plain->row_bytes * plain->height);
    ck_assert_int_eq(warnings, 0);
    sl_image_free(plain);
    sl_image_free(image);
    sl_blob_free(&more);
    sl_blob_free(&file);
}
END_TEST

START_TEST(damage_that_can_be_passed_says_so)
{
    sl_blob file = some_jpeg(false);
    sl_image *image;
    file.size = file.size / 2;
    memcpy(file.data + file.size - 2, "\xFF\xD9", 2); // as if it ended there
    ck_fails(try_decode(file.data, file.size, NULL, &image), SL_ERR_FORMAT,
             "can be had if truncated ones are allowed");
    sl_blob_free(&file);
}
END_TEST

// Profile and texts that grow a thousandfold when inflated.
// The first part of two: the colours are others than they were meant to be.
START_TEST(half_a_profile_is_told)
{
    static const made_segment half = { 0xE2, "ICC_PROFILE\0\1\2abc", 17 };
    made_jpeg_spec s = { 1,
                         1,
                         .in = JCS_GRAYSCALE,
                         .file = JCS_GRAYSCALE,
                         .segments = &half,
                         .segment_count = 1,
                         .rows = (const uint8_t *)"x" };
    sl_blob file = made_jpeg(&s);
    sl_image *image = decode_ok(&file, NULL);
    ck_assert_uint_eq(image->icc.size, 0);
    ck_assert_msg(strstr(warning, "made: left out: its colour profile"), "%s", warning);
    sl_image_free(image);
    sl_blob_free(&file);
}
END_TEST

START_TEST(metadata_bombs_do_not_go_off)
{
    const uint32_t size = 100u << 20;
    sink s = { { NULL, 0 }, 0 };
    uint8_t *bomb = calloc(size, 1), pixel[3] = { 1, 2, 3 };
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    sl_blob icc = made_srgb_profile();
    memcpy(bomb, icc.data, icc.size);
    png_save_uint_32(bomb, size); // the profile says so itself
    memset(bomb + icc.size, 'x', 1000);
    png_set_write_fn(png, &s, take, NULL);
    png_set_compression_level(png, 1);
    png_set_text_compression_level(png, 1);
    png_set_IHDR(png, info, 1, 1, 8, PNG_COLOR_TYPE_RGB, 0, 0, 0);
    png_set_iCCP(png, info, "bomb", 0, bomb, size);
    memset(bomb, 'x', size - 1);
    png_set_text(png, info,
                 &(png_text) { .compression = PNG_TEXT_COMPRESSION_zTXt,
                               .key = (png_charp) "bomb",
                               .text = (png_charp)bomb,
                               .text_length = size - 1 },
                 1);
    png_write_info(png, info);
    png_write_row(png, pixel);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    free(bomb);
    ck_assert_uint_lt(s.blob.size, 4u << 20);
    sl_image *image = decode_ok(&s.blob, NULL);
    ck_assert_uint_eq(image->icc.size, 0);
    ck_assert_msg(strstr(warning, "made: left out: its colour profile"), "%s", warning);
    ck_assert_mem_eq(image->pixels, pixel, 3);
    sl_image_free(image);
    sl_blob_free(&s.blob);
    sl_blob_free(&icc);
}
END_TEST

START_TEST(foreign_files_get_a_helpful_sentence)
{
    static const struct {
        const char *bytes;
        size_t size;
        sl_status status;
        const char *part;
    } rows[] = {
        { "", 0, SL_ERR_FORMAT, "hostile: empty file" },
        { "dear diary,\nit rained", 21, SL_ERR_FORMAT,
          "not PNG, JPEG, WebP, TIFF, HEIC or AVIF (looks like text)" },
        { "\1\2\3\4", 4, SL_ERR_FORMAT, "hostile: not PNG, JPEG, WebP, TIFF, HEIC or AVIF" },
        { "RIFF\0\0\0\0WEBPVP8 ", 16, SL_ERR_FORMAT, "damaged WebP" },
        { "GIF89a", 6, SL_ERR_UNSUPPORTED, "looks like GIF" },
        { "\0\0\0\x18"
          "ftypcrx ",
          12, SL_ERR_UNSUPPORTED, "looks like Canon raw" },
        { "II*\0\x10\0\0\0CR\2\0", 12, SL_ERR_UNSUPPORTED, "looks like Canon raw" },
        { "FUJIFILMCCD-RAW ", 16, SL_ERR_UNSUPPORTED, "looks like Fujifilm raw" },
        { "BM6\0", 4, SL_ERR_UNSUPPORTED, "looks like BMP" },
        { "\xFF\x0A\0", 3, SL_ERR_UNSUPPORTED, "looks like JPEG XL" },
        { "%PDF-1.7", 8, SL_ERR_UNSUPPORTED, "looks like PDF" },
        { "\x89PNG\n\x1a\n\0", 8, SL_ERR_FORMAT, "transfer in text mode" },
        { "\x89PNG\r\n\x1a\n", 8, SL_ERR_FORMAT, "damaged PNG" },
        { "\xFF\xD8\xFF", 3, SL_ERR_FORMAT, "damaged JPEG" },
        { "\xFF\xD8", 2, SL_ERR_FORMAT, "not PNG" },
        { "B", 1, SL_ERR_FORMAT, "not PNG" },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
        sl_image *image;
        ck_fails(try_decode((const uint8_t *)rows[i].bytes, rows[i].size, NULL, &image),
                 rows[i].status, rows[i].part);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("hostile");
    tcase_add_loop_test(tests, cut_files_are_refused, 0, 3);
    tcase_add_loop_test(tests, a_cut_jpeg_may_be_let_pass, 0, 2);
    tcase_add_test(tests, a_wrong_byte_in_a_png_is_found);
    tcase_add_loop_test(tests, wrong_bytes_in_a_jpeg_are_harmless, 0, 4);
    tcase_add_test(tests, lying_headers_are_refused);
    tcase_add_test(tests, the_limit_is_exact);
    tcase_add_test(tests, odd_jpeg_headers_are_told);
    tcase_add_test(tests, endless_scans_are_stopped);
    tcase_add_test(tests, endless_segments_are_stopped);
    tcase_add_test(tests, bytes_after_the_end_are_ignored);
    tcase_add_test(tests, bytes_between_scans_are_damage);
    tcase_add_loop_test(tests, bytes_in_the_header_are_harmless, 0, 2);
    tcase_add_test(tests, damage_that_can_be_passed_says_so);
    tcase_add_test(tests, half_a_profile_is_told);
    tcase_add_test(tests, metadata_bombs_do_not_go_off);
    tcase_add_test(tests, foreign_files_get_a_helpful_sentence);
    return run_case("image/hostile", tests);
}
