// SPDX-License-Identifier: MIT
// tests/pipeline/detect_nomem.c: detections drawn, cropped and written while each allocation in
// turn fails.
#include "../base/nomem.h"

#include "../image/made.h"
#include "pipeline/detections.h"

#include <jansson.h>
#include <sys/stat.h>

static const char *const labels[] = { "person", "cat" };
static sl_detection items[] = {
    { 2, 3, 20, 15, 0.5f, 0, "person", "person", NAN },
    { 5, 5, 29, 19, 0.25f, 1, "قطة, a label that is too long to be shown", "cat", 0.5f },
};
static const sl_detections found = {
    .count = 2, .items = items, .width = 30, .height = 20, .device = "cpu"
};

static sl_image *picture(void)
{
    sl_image *image;
    uint32_t size;
    const uint8_t *exif = made_exif(1, false, &size);
    ck_ok(sl_image_new(ctx, 30, 20, 1, 8, &image));
    memset(image->pixels, 0x60, image->row_bytes * image->height);
    ck_ok(sl_blob_copy(ctx, exif, size, &image->exif));
    image->icc = made_grey_profile(2.2);
    return image;
}

// Whole or not at all.
static sl_status draw_once(void *arg)
{
    long later = allowed; // failures are for the drawing alone
    allow_all();
    sl_image *image = picture(), *before;
    ck_ok(sl_image_clone(ctx, image, &before));
    allowed = later;
    sl_status st = sl_detections_draw(ctx, image, &found, arg);
    allow_all();
    if (st != SL_OK) {
        ck_assert_uint_eq(image->channels, 1);
        ck_assert_uint_eq(image->icc.size, before->icc.size);
        ck_assert_uint_eq(image->exif.size, before->exif.size);
        ck_assert_mem_eq(image->pixels, before->pixels, image->row_bytes * image->height);
    }
    sl_image_free(image);
    sl_image_free(before);
    return st;
}

START_TEST(drawing_survives)
{
    sl_overlay_options options = { .style = (sl_overlay_style)_i };
    ck_assert_int_ge(exhaust(draw_once, &options), _i == SL_OVERLAY_BLUR ? 1 : 8);
}
END_TEST

static sl_status crop_once(void *arg)
{
    sl_image *part = NULL;
    sl_status st = sl_image_crop(ctx, arg, &items[0], &part);
    allow_all();
    ck_assert((st == SL_OK) == (part != NULL));
    sl_image_free(part);
    return st;
}

START_TEST(cropping_survives)
{
    sl_image *image = picture();
    ck_assert_int_ge(exhaust(crop_once, image), 4);
    sl_image_free(image);
}
END_TEST

static sl_status write_once(void *arg)
{
    const sl_detect_format format = *(sl_detect_format *)arg;
    const char *path = in_dir(format == SL_DETECT_YOLO ? "yolo" : "file");
    const char *whole = in_dir(format == SL_DETECT_YOLO ? "yolo/data.yaml" : "file");
    sl_detect_file *file = NULL;
    unlink(whole);
    sl_status st = sl_detect_file_new(ctx, path, format, labels, 2, true, &file);
    if (st == SL_OK)
        st = sl_detect_file_add(file, "p.png", &found);
    if (st == SL_OK)
        st = sl_detect_file_finish(file);
    allow_all();
    ck_assert((st == SL_OK) == sl_file_exists(whole));
    sl_detect_file_free(file);
    return st;
}

START_TEST(writing_survives)
{
    sl_detect_format format = (sl_detect_format)_i;
    json_set_alloc_funcs(__wrap_malloc, free);
    ck_assert_int_ge(exhaust(write_once, &format), 9);
    json_set_alloc_funcs(__real_malloc, free);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("detect_nomem");
    tcase_add_loop_test(tests, drawing_survives, 0, 3);
    tcase_add_test(tests, cropping_survives);
    tcase_add_loop_test(tests, writing_survives, 0, SL_DETECT_CSV + 1);
    return run_case("pipeline/detect_nomem", tests);
}
