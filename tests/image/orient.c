// SPDX-License-Identifier: MIT
// tests/image/orient.c: EXIF orientation, applied once, against a plain turn of the picture.
#include "made.h"

#define W 67 // more than one block, and no multiple of one
#define H 130

// Pixel (x, y) of the upright picture, in the stored one. After the EXIF standard's own words:
// the 0th row and the 0th column are at the visual ...
static void stored_at(unsigned orientation, uint32_t x, uint32_t y, uint32_t *sx, uint32_t *sy)
{
    switch (orientation) {
    case 1: // top, left
        *sx = x, *sy = y;
        break;
    case 2: // top, right
        *sx = W - 1 - x, *sy = y;
        break;
    case 3: // bottom, right
        *sx = W - 1 - x, *sy = H - 1 - y;
        break;
    case 4: // bottom, left
        *sx = x, *sy = H - 1 - y;
        break;
    case 5: // left, top
        *sx = y, *sy = x;
        break;
    case 6: // right, top
        *sx = y, *sy = H - 1 - x;
        break;
    case 7: // right, bottom
        *sx = W - 1 - y, *sy = H - 1 - x;
        break;
    default: // 8: left, bottom
        *sx = W - 1 - y, *sy = x;
    }
}

static void check_turned(const sl_image *plain, const sl_image *turned, unsigned orientation)
{
    size_t bytes = plain->channels * (plain->depth / 8u);
    bool sides = orientation >= 5;
    ck_assert_uint_eq(turned->width, sides ? H : W);
    ck_assert_uint_eq(turned->height, sides ? W : H);
    for (uint32_t y = 0; y < turned->height; y++)
        for (uint32_t x = 0; x < turned->width; x++) {
            uint32_t sx, sy;
            stored_at(orientation, x, y, &sx, &sy);
            const uint8_t *a = (const uint8_t *)sl_image_row_const(turned, y) + x * bytes;
            const uint8_t *b = (const uint8_t *)sl_image_row_const(plain, sy) + sx * bytes;
            if (memcmp(a, b, bytes) != 0)
                ck_abort_msg("orientation %u, %u channels, depth %u: pixel %u, %u", orientation,
                             plain->channels, plain->depth, x, y);
        }
    ck_assert_uint_eq(sl_exif_orientation(turned->exif.data, turned->exif.size), 1);
}

START_TEST(png_is_turned_upright)
{
    static const int kinds[][2] = {
        { PNG_COLOR_TYPE_GRAY, 8 },       { PNG_COLOR_TYPE_GRAY_ALPHA, 8 },
        { PNG_COLOR_TYPE_RGB, 8 },        { PNG_COLOR_TYPE_RGB_ALPHA, 8 },
        { PNG_COLOR_TYPE_GRAY, 16 },      { PNG_COLOR_TYPE_RGB, 16 },
        { PNG_COLOR_TYPE_RGB_ALPHA, 16 },
    };
    static uint8_t rows[W * H * 8];
    uint32_t seed = 7;
    for (size_t i = 0; i < sizeof(rows); i++)
        rows[i] = (uint8_t)made_random(&seed);
    for (size_t k = 0; k < SL_ARRAY_LEN(kinds); k++) {
        made_png_spec s = { .width = W,
                            .height = H,
                            .type = kinds[k][0],
                            .depth = kinds[k][1],
                            .rows = rows,
                            .density = { 100, 200 } };
        sl_blob file = made_png(&s);
        sl_image *plain = decode_ok(&file, NULL);
        sl_blob_free(&file);
        s.exif = made_exif((unsigned)_i, k & 1, &s.exif_size);
        s.exif_late = (k & 2) != 0;
        file = made_png(&s);
        sl_image *turned = decode_ok(&file, NULL);
        check_turned(plain, turned, (unsigned)_i);
        ck_assert_uint_eq(turned->density_x, _i >= 5 ? 200 : 100);
        sl_blob_free(&file);
        // Once is enough: saved and loaded again, the picture stays as it is.
        sl_save_options options = { .format = SL_IMAGE_PNG };
        ck_ok(sl_image_encode(ctx, turned, "again", &options, &file));
        sl_image *again = decode_ok(&file, NULL);
        check_turned(plain, again, (unsigned)_i);
        sl_blob_free(&file);
        sl_image_free(plain);
        sl_image_free(turned);
        sl_image_free(again);
    }
}
END_TEST

START_TEST(jpeg_is_turned_upright)
{
    for (unsigned channels = 1; channels <= 3; channels += 2) {
        uint8_t *rows = made_gradient(W, H, channels);
        made_jpeg_spec s = { .width = W,
                             .height = H,
                             .in = channels == 1 ? JCS_GRAYSCALE : JCS_RGB,
                             .file = channels == 1 ? JCS_GRAYSCALE : JCS_YCbCr,
                             .rows = rows };
        if (channels == 3)
            s.h = 2, s.v = 1;
        sl_blob file = made_jpeg(&s);
        sl_image *plain = decode_ok(&file, NULL);
        sl_blob_free(&file);
        s.exif = made_exif((unsigned)_i, channels & 2, &s.exif_size);
        file = made_jpeg(&s);
        sl_image *turned = decode_ok(&file, NULL);
        check_turned(plain, turned, (unsigned)_i);
        ck_assert_int_eq(turned->chroma_h, channels == 1 ? 0 : _i >= 5 ? 1 : 2);
        ck_assert_int_eq(turned->chroma_v, channels == 1 ? 0 : _i >= 5 ? 2 : 1);
        sl_blob_free(&file);
        sl_image_free(plain);
        sl_image_free(turned);
        free(rows);
    }
}
END_TEST

START_TEST(the_tag_is_read_and_reset_in_place)
{
    for (unsigned value = 0; value < 12; value++)
        for (int big = 0; big < 2; big++) {
            uint32_t size;
            uint8_t tiff[64], want[64];
            memcpy(tiff, made_exif(value, big, &size), 38);
            memcpy(want, made_exif(1, big, &size), 38);
            ck_assert_uint_eq(sl_exif_orientation(tiff, size),
                              value >= 1 && value <= 8 ? value : 1);
            sl_exif_set_orientation(tiff, size, 1);
            ck_assert_mem_eq(tiff, want, size);
        }
}
END_TEST

// Some writers store the tag as a LONG, or twice.
START_TEST(odd_tags_are_understood)
{
    uint8_t tiff[] = { 'M', 'M', 0, 42, 0, 0,    0,    8, 0, 2, 0x01, 0x12, 0, 4, 0, 0,    0,
                       1,   0,   0, 0,  6, 0x01, 0x12, 0, 3, 0, 0,    0,    1, 0, 8, 0xAB, 0xCD };
    ck_assert_uint_eq(sl_exif_orientation(tiff, sizeof(tiff)), 6);
    sl_exif_set_orientation(tiff, sizeof(tiff), 1);
    ck_assert_uint_eq(tiff[21], 1);
    ck_assert_uint_eq(tiff[31], 1);
    ck_assert_uint_eq(tiff[32], 0xAB);
    tiff[13] = 2; // text is no orientation
    tiff[21] = 6;
    ck_assert_uint_eq(sl_exif_orientation(tiff, sizeof(tiff)), 1);
}
END_TEST

// Two numbers in the first directory, two behind its pointer, a thumbnail's directory after them.
static void fill_tiff(uint8_t tiff[108], unsigned orientation, unsigned width, unsigned height)
{
    const uint16_t entries[][4] = { { 0x0100, 4, 1, (uint16_t)width },
                                    { 0x0101, 3, 1, (uint16_t)height },
                                    { 0x0112, 3, 1, (uint16_t)orientation },
                                    { 0x8769, 4, 1, 62 },
                                    { 0x9214, 3, 2, 7 },
                                    { 0xA002, 3, 1, (uint16_t)width },
                                    { 0xA003, 3, 1, (uint16_t)height } };
    memset(tiff, 0, 108);
    memcpy(tiff, "II*\0\10", 5);
    tiff[8] = 4, tiff[62] = 3, tiff[58] = 90;
    for (size_t i = 0; i < SL_ARRAY_LEN(entries); i++) {
        uint8_t *at = tiff + (i < 4 ? 10 + 12 * i : 64 + 12 * (i - 4));
        for (size_t k = 0; k < 4; k++) {
            at[k < 2 ? 2 * k : 4 * k - 4] = (uint8_t)entries[i][k];
            at[(k < 2 ? 2 * k : 4 * k - 4) + 1] = (uint8_t)(entries[i][k] >> 8);
        }
    }
}

// What EXIF says of a picture's sides is as true of the upright pixels; its thumbnail is not, nor
// where the subject is.
START_TEST(exif_turns_along)
{
    uint8_t tiff[108], want[108];
    uint8_t *rows = made_gradient(W, H, 3);
    fill_tiff(tiff, (unsigned)_i, W, H);
    tiff[65] = _i % 2 ? 0x92 : 0xA2; // the subject's area or its place
    sl_blob file = made_jpeg(&(made_jpeg_spec) { .width = W,
                                                 .height = H,
                                                 .in = JCS_RGB,
                                                 .file = JCS_YCbCr,
                                                 .rows = rows,
                                                 .exif = tiff,
                                                 .exif_size = sizeof(tiff) }),
            again;
    sl_image *image = decode_ok(&file, NULL);
    fill_tiff(want, 1, _i >= 5 ? H : W, _i >= 5 ? W : H);
    want[65] = tiff[65];
    if (_i >= 5) { // the types change places, too
        want[12] = 3, want[24] = 4;
    }
    if (_i > 1) {
        want[58] = 0, want[62] = 2;
        memmove(want + 64, want + 76, 28);
    }
    for (int format = 0; format < 3; format++) {
        const sl_save_options options = { .format = format ? SL_IMAGE_JPEG : SL_IMAGE_PNG,
                                          .quality = format == 1 ? 80 : 0 };
        ck_ok(sl_image_encode(ctx, image, "again", &options, &again));
        const uint8_t *exif = format < 2 ? want : tiff; // the third: as it lies in its file
        ck_assert_ptr_nonnull(memmem(again.data, again.size, exif, sizeof(tiff)));
        sl_blob_free(&again);
    }
    sl_image_free(image);
    sl_blob_free(&file);
    free(rows);
}
END_TEST

// Every cut and every directory offset: in a block of its own size, where ASan sees each byte over.
START_TEST(hostile_exif_is_harmless)
{
    static const uint32_t offsets[] = { 0,          1,          7,          8,         9,  24,
                                        25,         26,         27,         35,        36, 37,
                                        0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF };
    for (int big = 0; big < 2; big++)
        for (uint32_t cut = 0; cut <= 38; cut++)
            for (size_t o = 0; o < SL_ARRAY_LEN(offsets); o++) {
                uint32_t size;
                const uint8_t *tiff = made_exif(6, big, &size);
                uint8_t *copy = malloc(cut ? cut : 1);
                memcpy(copy, tiff, cut);
                for (unsigned b = 0; b < 4 && cut >= 8 && o > 0; b++)
                    copy[4 + b] = (uint8_t)(offsets[o] >> (big ? 24 - 8 * b : 8 * b));
                unsigned value = sl_exif_orientation(copy, cut);
                // The first offset stands for the block as made: whole, it is read.
                unsigned want = (o == 0 || offsets[o] == 8) && cut >= 34 ? 6 : 1;
                ck_assert_msg(value == want, "big %d, cut at %u, offset %u: %u", big, cut,
                              offsets[o], value);
                sl_exif_set_orientation(copy, cut, 1);
                ck_assert_uint_eq(sl_exif_orientation(copy, cut), 1);
                sl_exif_turn(copy, cut, true);
                free(copy);
            }
    ck_assert_uint_eq(sl_exif_orientation(NULL, 0), 1);
    sl_exif_set_orientation(NULL, 0, 1);
    sl_exif_turn(NULL, 0, true);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("orient");
    tcase_add_loop_test(tests, png_is_turned_upright, 1, 9);
    tcase_add_loop_test(tests, jpeg_is_turned_upright, 1, 9);
    tcase_add_test(tests, the_tag_is_read_and_reset_in_place);
    tcase_add_test(tests, odd_tags_are_understood);
    tcase_add_loop_test(tests, exif_turns_along, 1, 9);
    tcase_add_test(tests, hostile_exif_is_harmless);
    return run_case("image/orient", tests);
}
