// SPDX-License-Identifier: MIT
// tests/image/nomem.c: memory runs out at every single allocation in turn.
#include "../base/nomem.h"
#include "made.h"

#define KEPT 4 // what saving keeps the coding of

static sl_blob make(int kind)
{
    static const char xmp[] = "http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>";
    static const made_segment segment = { 0xE1, xmp, sizeof(xmp) - 1 },
                              text = { 0, "XML:com.adobe.xmp\0\0\0\0\0<x/>", 26 };
    uint32_t exif_size;
    const uint8_t *exif = made_exif(6, kind & 1, &exif_size);
    uint8_t *rows = made_gradient(30, 20, 4);
    sl_blob icc = kind < 2 ? made_srgb_profile() : made_cmyk_profile(), file;
    if (kind < 2) {
        made_png_spec s = { .width = 30,
                            .height = 20,
                            .type = PNG_COLOR_TYPE_PALETTE,
                            .depth = 8,
                            .rows = rows,
                            .interlace = kind,
                            .transparent = true,
                            .text = &text,
                            .exif = exif,
                            .exif_size = exif_size,
                            .icc = icc.data,
                            .icc_size = (uint32_t)icc.size };
        file = made_png(&s);
    } else {
        made_jpeg_spec s = { .width = 30,
                             .height = 20,
                             .in = kind == KEPT ? JCS_RGB : JCS_CMYK,
                             .file = kind == KEPT ? JCS_YCbCr : JCS_YCCK,
                             .rows = rows,
                             .progressive = kind == 3,
                             .segments = &segment,
                             .segment_count = 1,
                             .exif = exif,
                             .exif_size = exif_size,
                             .icc = icc.data,
                             .icc_size = (uint32_t)icc.size };
        file = made_jpeg(&s);
    }
    free(rows);
    sl_blob_free(&icc);
    return file;
}

static sl_status decode_once(void *arg)
{
    sl_blob *file = arg;
    sl_image *image;
    sl_status st = sl_image_decode(ctx, file->data, file->size, "m", NULL, &image);
    allow_all();
    ck_assert((st == SL_OK) == (image != NULL));
    sl_image_free(image);
    return st;
}

START_TEST(decoding_survives)
{
    sl_blob file = make(_i);
    ck_assert_int_ge(exhaust(decode_once, &file), 4);
    sl_blob_free(&file);
}
END_TEST

static sl_status save_once(void *arg)
{
    const int kind = *(int *)arg;
    const char *path = in_dir(kind ? "a.jpg" : "a.png");
    long later = allowed; // failures are for the saving alone
    allow_all();
    sl_blob file = make(kind == KEPT ? KEPT : 1);
    sl_image *image = decode_ok(&file, NULL);
    image->pixels[99] ^= 0x55;
    allowed = later;
    sl_status st = sl_image_save(ctx, image, path, NULL);
    allow_all();
    ck_assert((st == SL_OK) == sl_file_exists(path));
    sl_image_free(image);
    sl_blob_free(&file);
    return st;
}

START_TEST(saving_survives)
{
    int kind = _i == 2 ? KEPT : _i;
    ck_assert_int_ge(exhaust(save_once, &kind), _i == 2 ? 12 : 4);
}
END_TEST

static sl_status draw_once(void *arg)
{
    sl_image *image = arg, *heat = NULL, *both = NULL, *clone = NULL;
    static const float values[600];
    sl_status st = sl_image_heat(ctx, image, values, &heat);
    if (st == SL_OK)
        st = sl_image_compare(ctx, image, image, &both);
    if (st == SL_OK)
        st = sl_image_clone(ctx, image, &clone);
    sl_image_free(heat);
    sl_image_free(both);
    sl_image_free(clone);
    return st;
}

START_TEST(drawing_survives)
{
    sl_blob file = make(1);
    sl_image *image = decode_ok(&file, NULL);
    ck_assert_int_ge(exhaust(draw_once, image), 9);
    sl_image_free(image);
    sl_blob_free(&file);
}
END_TEST

static sl_status centre_once(void *arg)
{
    uint8_t rgb[8 * 8 * 3];
    return sl_image_centre(ctx, arg, 9, 8, rgb);
}

START_TEST(resizing_survives)
{
    sl_blob file = make(1);
    sl_image *image = decode_ok(&file, NULL);
    ck_assert_int_ge(exhaust(centre_once, image), 13);
    sl_image_free(image);
    sl_blob_free(&file);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("nomem");
    tcase_add_loop_test(tests, decoding_survives, 0, 4);
    tcase_add_loop_test(tests, saving_survives, 0, 3);
    tcase_add_test(tests, drawing_survives);
    tcase_add_test(tests, resizing_survives);
    return run_case("image/nomem", tests);
}
