// SPDX-License-Identifier: MIT
// tests/image/nomem.c: memory runs out at every single allocation in turn. The linker sends the
// library's calls of malloc and its kin through here (libjpeg's and lcms' own are not reached).
#include "made.h"

static long allowed = -1; // allocations before the one that fails; negative: all succeed
static long failures;

static bool fails_now(void)
{
    if (allowed < 0 || allowed-- > 0)
        return false;
    allowed = -1;
    failures++;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *data, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *data, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *data, size_t size)
{
    return fails_now() ? NULL : __real_realloc(data, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    return fails_now() ? NULL : __real_aligned_alloc(align, size);
}

static sl_blob make(int kind)
{
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
                            .exif = exif,
                            .exif_size = exif_size,
                            .icc = icc.data,
                            .icc_size = (uint32_t)icc.size };
        file = made_png(&s);
    } else {
        made_jpeg_spec s = { .width = 30,
                             .height = 20,
                             .in = JCS_CMYK,
                             .file = JCS_YCCK,
                             .rows = rows,
                             .progressive = kind == 3,
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

START_TEST(decoding_survives)
{
    sl_blob file = make(_i);
    long n = 0;
    for (;; n++) {
        sl_image *image;
        failures = 0;
        allowed = n;
        sl_status st = sl_image_decode(ctx, file.data, file.size, "m", NULL, &image);
        allowed = -1;
        if (failures == 0) {
            ck_ok(st);
            sl_image_free(image);
            break;
        }
        ck_assert_msg(st == SL_ERR_NOMEM && !image, "allocation %ld: status %d, %s", n, st,
                      sl_ctx_message(ctx));
        ck_assert_ptr_nonnull(strstr(sl_ctx_message(ctx), "out of memory"));
    }
    ck_assert_int_ge(n, 4);
    sl_blob_free(&file);
}
END_TEST

START_TEST(saving_survives)
{
    sl_blob file = make(1);
    sl_image *image = decode_ok(&file, NULL);
    sl_save_options options = { .overwrite = true };
    long n = 0;
    for (;; n++) {
        failures = 0;
        allowed = n;
        sl_status st = sl_image_save(ctx, image, in_dir(_i ? "a.jpg" : "a.png"), &options);
        allowed = -1;
        if (failures == 0) {
            ck_ok(st);
            break;
        }
        ck_assert_msg(st == SL_ERR_NOMEM, "allocation %ld: status %d, %s", n, st,
                      sl_ctx_message(ctx));
        ck_assert(!sl_file_exists(in_dir("a.png")) && !sl_file_exists(in_dir("a.jpg")));
    }
    ck_assert_int_ge(n, 4);
    sl_image_free(image);
    sl_blob_free(&file);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("nomem");
    tcase_add_loop_test(tests, decoding_survives, 0, 4);
    tcase_add_loop_test(tests, saving_survives, 0, 2);
    return run_case("image/nomem", tests);
}
