// SPDX-License-Identifier: MIT
// tests/image/save.c: pictures in files: formats by name, nothing overwritten, nothing
// half-written.
#include "../base/comma.h"
#include "made.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static sl_image *some_image(void)
{
    sl_image *image;
    ck_ok(sl_image_new(ctx, 40, 30, 3, 8, &image));
    uint8_t *rows = made_gradient(40, 30, 3);
    memcpy(image->pixels, rows, 40 * 30 * 3);
    free(rows);
    return image;
}

static int files_in_dir(void)
{
    int count = 0;
    DIR *d = opendir(dir);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *entry; (entry = readdir(d));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(d);
    return count;
}

// To memory and from there as through a file.
START_TEST(memory_holds_what_a_file_would)
{
    sl_image *image = some_image(), *again;
    for (int i = 0; i < 2; i++) {
        void *data;
        size_t size;
        sl_blob file;
        image->format = i ? SL_IMAGE_JPEG : SL_IMAGE_PNG;
        ck_ok(sl_image_save_memory(ctx, image, "memory", NULL, &data, &size));
        ck_ok(sl_image_save(ctx, image, in_dir("noending"),
                            &(sl_save_options) { .overwrite = true }));
        ck_ok(sl_file_read(ctx, in_dir("noending"), SIZE_MAX, &file));
        ck_assert_uint_eq(size, file.size);
        ck_assert_mem_eq(data, file.data, size);
        ck_ok(sl_image_load_memory(ctx, data, size, "memory", NULL, &again));
        ck_assert_int_eq(sl_image_kind(again), image->format);
        sl_image_free(again);
        sl_blob_free(&file);
        free(data);
    }
    ck_fails(sl_image_load_memory(ctx, NULL, 0, "memory", NULL, &again), SL_ERR_FORMAT,
             "memory: empty");
    ck_assert_ptr_null(again);
    void *data;
    size_t size;
    ck_fails(sl_image_save_memory(ctx, image, "memory", &(sl_save_options) { .quality = 101 },
                                  &data, &size),
             SL_ERR_ARGUMENT, "memory: JPEG quality");
    ck_assert_ptr_null(data);
    sl_image_free(image);
}
END_TEST

START_TEST(format_follows_name_then_picture)
{
    static const struct {
        const char *name;
        sl_image_format asked, loaded, want;
    } rows[] = {
        { "a.png", SL_IMAGE_SAME, SL_IMAGE_JPEG, SL_IMAGE_PNG },
        { "a.jpg", SL_IMAGE_SAME, SL_IMAGE_PNG, SL_IMAGE_JPEG },
        { "a.JPEG", SL_IMAGE_SAME, SL_IMAGE_PNG, SL_IMAGE_JPEG },
        { "a.Png", SL_IMAGE_SAME, SL_IMAGE_JPEG, SL_IMAGE_PNG },
        { "noending", SL_IMAGE_SAME, SL_IMAGE_JPEG, SL_IMAGE_JPEG },
        { "noending", SL_IMAGE_SAME, SL_IMAGE_PNG, SL_IMAGE_PNG },
        { "a.out", SL_IMAGE_JPEG, SL_IMAGE_PNG, SL_IMAGE_JPEG },
        { "a.jpg", SL_IMAGE_JPEG, SL_IMAGE_PNG, SL_IMAGE_JPEG },
        { ".png", SL_IMAGE_SAME, SL_IMAGE_JPEG, SL_IMAGE_PNG },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
        sl_image *image = some_image(), *again;
        image->format = rows[i].loaded;
        sl_save_options options = { .format = rows[i].asked, .overwrite = true };
        ck_ok(sl_image_save(ctx, image, in_dir(rows[i].name), &options));
        ck_ok(sl_image_load(ctx, in_dir(rows[i].name), NULL, &again));
        ck_assert_int_eq(sl_image_kind(again), rows[i].want);
        if (rows[i].want == SL_IMAGE_PNG)
            ck_assert_mem_eq(again->pixels, image->pixels, image->row_bytes * 30);
        sl_image_free(image);
        sl_image_free(again);
    }
}
END_TEST

START_TEST(contradictions_are_refused)
{
    sl_image *image = some_image();
    sl_save_options png = { .format = SL_IMAGE_PNG }, jpeg = { .format = SL_IMAGE_JPEG };
    ck_fails(sl_image_save(ctx, image, in_dir("a.jpg"), &png), SL_ERR_ARGUMENT, "says JPEG");
    ck_fails(sl_image_save(ctx, image, in_dir("a.PNG"), &jpeg), SL_ERR_ARGUMENT, "says PNG");
    ck_fails(sl_image_save(ctx, image, in_dir("a.webp"), NULL), SL_ERR_UNSUPPORTED, ".webp");
    ck_fails(sl_image_save(ctx, image, in_dir("a.TIFF"), &png), SL_ERR_UNSUPPORTED, ".TIFF");
    ck_assert_int_eq(files_in_dir(), 0);
    sl_image_free(image);
}
END_TEST

// Where there is no Turkish locale to be had, this is the same once more.
START_TEST(endings_are_told_in_turkish_too)
{
    sl_image *image = some_image();
    test_set_locale(dir, "tr_TR");
    ck_fails(sl_image_save(ctx, image, in_dir("a.GIF"), NULL), SL_ERR_UNSUPPORTED, ".GIF");
    setlocale(LC_ALL, "C");
    sl_image_free(image);
}
END_TEST

START_TEST(nothing_is_overwritten_unasked)
{
    sl_image *image = some_image();
    sl_save_options options = { .overwrite = true };
    ck_ok(sl_image_save(ctx, image, in_dir("a.png"), NULL));
    ck_fails(sl_image_save(ctx, image, in_dir("a.png"), NULL), SL_ERR_EXISTS, "already exists");
    ck_ok(sl_image_save(ctx, image, in_dir("a.png"), &options));
    ck_assert_int_eq(files_in_dir(), 1);
    sl_image_free(image);
}
END_TEST

START_TEST(failed_writes_leave_nothing)
{
    sl_image *image = some_image();
    struct rlimit usual, limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &usual), 0);
    limit = usual;
    limit.rlim_cur = 100;
    sl_save_options bad = { .quality = 1000 }, over = { .overwrite = true };
    ck_fails(sl_image_save(ctx, image, in_dir("a.jpg"), &bad), SL_ERR_ARGUMENT, "1000");
    ck_fails(sl_image_save(ctx, image, in_dir("no/a.jpg"), NULL), SL_ERR_IO, "No such file");
    ck_fails(sl_image_save(ctx, image, dir, NULL), SL_ERR_IO, "is a directory");
    ck_assert_int_eq(symlink("/dev/full", in_dir("full.png")), 0);
    ck_fails(sl_image_save(ctx, image, in_dir("full.png"), &over), SL_ERR_IO, "not a regular file");
    ck_assert_int_eq(unlink(in_dir("full.png")), 0);
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    sl_status png = sl_image_save(ctx, image, in_dir("a.png"), NULL);
    sl_status jpeg = sl_image_save(ctx, image, in_dir("a.jpg"), NULL);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &usual), 0); // Check writes files, too
    ck_fails(png, SL_ERR_IO, "a.jpg: cannot write");
    ck_fails(jpeg, SL_ERR_IO, "File too large");
    ck_assert_int_eq(files_in_dir(), 0);
    sl_image_free(image);
}
END_TEST

START_TEST(unreadable_things_are_named)
{
    sl_image *image;
    ck_fails(sl_image_load(ctx, in_dir("none.png"), NULL, &image), SL_ERR_IO, "none.png");
    ck_assert_ptr_null(image);
    ck_fails(sl_image_load(ctx, dir, NULL, &image), SL_ERR_IO, "is a directory");
    ck_ok(sl_file_write(ctx, in_dir("text.png"), false, "not a picture", 13));
    ck_fails(sl_image_load(ctx, in_dir("text.png"), NULL, &image), SL_ERR_FORMAT,
             "text.png: not PNG, JPEG, WebP, TIFF, HEIC or AVIF (looks like text)");
    ck_ok(sl_file_write(ctx, in_dir("empty.jpg"), false, "", 0));
    ck_fails(sl_image_load(ctx, in_dir("empty.jpg"), NULL, &image), SL_ERR_FORMAT, "empty file");
}
END_TEST

START_TEST(open_files_are_read)
{
    sl_image *image, *again;
    ck_ok(sl_image_new(ctx, 7, 5, 3, 8, &image));
    ck_ok(sl_image_save(ctx, image, in_dir("a.png"), NULL));
    FILE *file = fopen(in_dir("a.png"), "rb");
    ck_ok(sl_image_load_fd(ctx, fileno(file), "standard input", NULL, &again));
    ck_assert_uint_eq(again->width, 7);
    sl_image_free(again);
    ck_fails(sl_image_load_fd(ctx, fileno(file), "standard input", NULL, &again), SL_ERR_FORMAT,
             "standard input: empty file"); // it was read to its end
    ck_assert_ptr_null(again);
    fclose(file);
    sl_image_free(image);
}
END_TEST

START_TEST(new_pictures_are_checked_and_black)
{
    sl_image *image;
    ck_fails(sl_image_new(ctx, 0, 1, 3, 8, &image), SL_ERR_ARGUMENT, "0x1");
    ck_fails(sl_image_new(ctx, 1, 0, 3, 8, &image), SL_ERR_ARGUMENT, "1x0");
    ck_fails(sl_image_new(ctx, 1, 1, 0, 8, &image), SL_ERR_ARGUMENT, "0 channels");
    ck_fails(sl_image_new(ctx, 1, 1, 5, 8, &image), SL_ERR_ARGUMENT, "5 channels");
    ck_fails(sl_image_new(ctx, 1, 1, 3, 12, &image), SL_ERR_ARGUMENT, "12 bits");
    ck_fails(sl_image_new(ctx, UINT32_MAX, UINT32_MAX, 4, 16, &image), SL_ERR_LIMIT, "address");
    ck_assert_ptr_null(image);
    ck_ok(sl_image_new(ctx, 3, 2, 4, 16, &image));
    ck_assert_uint_eq(sl_image_width(image), 3);
    ck_assert_uint_eq(sl_image_height(image), 2);
    ck_assert_uint_eq(sl_image_channels(image), 4);
    ck_assert_uint_eq(sl_image_depth(image), 16);
    ck_assert_int_eq(sl_image_kind(image), SL_IMAGE_PNG);
    ck_assert_ptr_eq(sl_image_row(image, 1), image->pixels + 24);
    ck_assert_ptr_eq(sl_image_row_const(image, 1), image->pixels + 24);
    for (size_t i = 0; i < 48; i++)
        ck_assert_uint_eq(image->pixels[i], 0);
    sl_image_free(image);
    sl_image_free(NULL);
}
END_TEST

START_TEST(copies_have_everything)
{
    sl_image *image = some_image(), *like, *clone;
    uint32_t size;
    const uint8_t *exif = made_exif(1, true, &size);
    image->icc = made_srgb_profile();
    ck_ok(sl_blob_copy(ctx, exif, size, &image->exif));
    image->density_x = 3, image->density_y = 4, image->density_unit = SL_DENSITY_PER_CM;
    image->chroma_h = 2, image->chroma_v = 1, image->format = SL_IMAGE_JPEG;
    image->png_colour.has_gamma = true;
    ck_ok(sl_image_new_like(ctx, image, &like));
    ck_ok(sl_image_clone(ctx, image, &clone));
    ck_assert_mem_eq(clone->pixels, image->pixels, image->row_bytes * 30);
    for (int i = 0; i < 2; i++) {
        sl_image *copy = i ? clone : like;
        ck_assert_uint_eq(copy->icc.size, image->icc.size);
        ck_assert_mem_eq(copy->icc.data, image->icc.data, image->icc.size);
        ck_assert_ptr_ne(copy->icc.data, image->icc.data);
        ck_assert_mem_eq(copy->exif.data, exif, size);
        ck_assert(copy->density_x == 3 && copy->density_y == 4);
        ck_assert(copy->density_unit == SL_DENSITY_PER_CM && copy->format == SL_IMAGE_JPEG);
        ck_assert(copy->chroma_h == 2 && copy->chroma_v == 1 && copy->png_colour.has_gamma);
        ck_assert(copy->width == 40 && copy->height == 30 && copy->depth == 8);
    }
    uint8_t sum = 0;
    for (size_t i = 0; i < like->row_bytes * 30; i++)
        sum |= like->pixels[i];
    ck_assert_uint_eq(sum, 0);
    sl_image_free(image);
    sl_image_free(like);
    sl_image_free(clone);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("save");
    tcase_add_test(tests, memory_holds_what_a_file_would);
    tcase_add_test(tests, format_follows_name_then_picture);
    tcase_add_test(tests, contradictions_are_refused);
    tcase_add_test(tests, endings_are_told_in_turkish_too);
    tcase_add_test(tests, nothing_is_overwritten_unasked);
    tcase_add_test(tests, failed_writes_leave_nothing);
    tcase_add_test(tests, unreadable_things_are_named);
    tcase_add_test(tests, open_files_are_read);
    tcase_add_test(tests, new_pictures_are_checked_and_black);
    tcase_add_test(tests, copies_have_everything);
    return run_case("image/save", tests);
}
