// SPDX-License-Identifier: MIT
// tests/base/file.c: reading, mapping and making directories.
#include "run.h"

#include <fcntl.h>
#include <sys/stat.h>

START_TEST(reads_what_was_written)
{
    static const size_t sizes[] = { 0, 1, 65535, 65536, 65537, 300000 };
    for (size_t i = 0; i < SL_ARRAY_LEN(sizes); i++) {
        sl_blob blob;
        uint8_t *data = sl_alloc(ctx, sizes[i], 1);
        for (size_t k = 0; k < sizes[i]; k++)
            data[k] = (uint8_t)(k * 31);
        ck_ok(sl_file_write(ctx, in_dir("f"), true, data, sizes[i]));
        ck_ok(sl_file_read(ctx, in_dir("f"), sizes[i], &blob));
        ck_assert_uint_eq(blob.size, sizes[i]);
        ck_assert((blob.data == NULL) == (sizes[i] == 0));
        if (sizes[i])
            ck_assert_mem_eq(blob.data, data, sizes[i]);
        sl_blob_free(&blob);
        if (sizes[i])
            ck_fails(sl_file_read(ctx, in_dir("f"), sizes[i] - 1, &blob), SL_ERR_LIMIT, "larger");
        ck_assert_ptr_null(blob.data);
        free(data);
    }
}
END_TEST

START_TEST(reads_files_without_a_size)
{
    sl_blob blob;
    ck_ok(sl_file_read(ctx, "/proc/self/status", 1 << 20, &blob)); // says 0 bytes
    ck_assert_uint_gt(blob.size, 100);
    sl_blob_free(&blob);
    ck_fails(sl_file_read(ctx, "/dev/zero", 1 << 20, &blob), SL_ERR_LIMIT, "larger");
    ck_assert_ptr_null(blob.data);
}
END_TEST

// From where an open file stands; the file is left open.
START_TEST(reads_open_files)
{
    sl_blob blob;
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq((int)write(ends[1], "xhello", 6), 6);
    ck_assert_int_eq(close(ends[1]), 0);
    char first;
    ck_assert_int_eq((int)read(ends[0], &first, 1), 1);
    ck_ok(sl_file_read_fd(ctx, ends[0], "pipe", 5, &blob));
    ck_assert_uint_eq(blob.size, 5);
    ck_assert_mem_eq(blob.data, "hello", 5);
    sl_blob_free(&blob);
    ck_ok(sl_file_read_fd(ctx, ends[0], "pipe", 5, &blob)); // at its end
    ck_assert_uint_eq(blob.size, 0);
    ck_assert_int_eq(close(ends[0]), 0);
    ck_fails(sl_file_read_fd(ctx, ends[0], "closed", 5, &blob), SL_ERR_IO, "closed: cannot");
    int folder = open(dir, O_RDONLY);
    ck_fails(sl_file_read_fd(ctx, folder, "folder", 5, &blob), SL_ERR_IO, "is a directory");
    close(folder);
}
END_TEST

static bool stop_second_time(void *user, size_t done, size_t total)
{
    unsigned *calls = user;
    ck_assert_uint_eq(done + total, 0);
    return ++*calls < 2;
}

// That has a part of what is to come, or nothing.
START_TEST(waiting_for_a_pipe_is_cancelled)
{
    unsigned calls = 0;
    sl_ctx_options options = { .threads = 1,
                               .progress = stop_second_time,
                               .progress_user = &calls };
    sl_ctx *own;
    sl_blob blob;
    int ends[2];
    ck_ok(sl_ctx_new(&options, &own));
    ck_assert_int_eq(pipe(ends), 0);
    for (int i = 0; i < 2; i++) {
        calls = 0;
        if (i)
            ck_assert_int_eq((int)write(ends[1], "part", 4), 4);
        ck_assert_int_eq(sl_file_read_fd(own, ends[0], "pipe", 5, &blob), SL_ERR_CANCELLED);
        ck_assert_str_eq(sl_ctx_message(own), "pipe: cancelled while it was read");
        ck_assert_uint_eq(calls, 2);
        ck_assert_ptr_null(blob.data);
    }
    close(ends[0]);
    close(ends[1]);

    calls = 0;
    ck_assert_int_eq(mkfifo(in_dir("silent"), 0600), 0); // that nobody writes to
    ck_assert_int_eq(sl_file_read(own, in_dir("silent"), 5, &blob), SL_ERR_CANCELLED);
    ck_assert_uint_eq(calls, 2);
    sl_ctx_free(own);
}
END_TEST

START_TEST(unreadable_things_are_named)
{
    sl_blob blob;
    sl_mapping mapping;
    ck_fails(sl_file_read(ctx, in_dir("none"), 10, &blob), SL_ERR_IO, "none: cannot open: No such");
    ck_fails(sl_file_read(ctx, dir, 10, &blob), SL_ERR_IO, "is a directory");
    ck_fails(sl_file_map(ctx, in_dir("none"), &mapping), SL_ERR_IO, "No such");
    ck_fails(sl_file_map(ctx, dir, &mapping), SL_ERR_IO, "is a directory");
    ck_fails(sl_file_map(ctx, "/dev/null", &mapping), SL_ERR_IO, "not a regular file");
    ck_assert_int_eq(mkfifo(in_dir("pipe"), 0600), 0); // that nobody writes to
    ck_fails(sl_file_map(ctx, in_dir("pipe"), &mapping), SL_ERR_IO, "not a regular file");
    ck_ok(sl_file_write(ctx, in_dir("empty"), false, "", 0));
    ck_fails(sl_file_map(ctx, in_dir("empty"), &mapping), SL_ERR_FORMAT, "empty file");
}
END_TEST

START_TEST(maps_a_file)
{
    sl_mapping mapping;
    ck_ok(sl_file_write(ctx, in_dir("f"), false, "weights", 7));
    ck_ok(sl_file_map(ctx, in_dir("f"), &mapping));
    ck_assert_uint_eq(mapping.size, 7);
    ck_assert_mem_eq(mapping.data, "weights", 7);
    sl_file_unmap(&mapping);
    ck_assert(!mapping.data && !mapping.size);
    sl_file_unmap(&mapping);
    sl_file_unmap(NULL);
}
END_TEST

START_TEST(makes_directories_with_parents)
{
    struct stat info;
    ck_ok(sl_make_dir(ctx, in_dir("a/b//c/")));
    ck_assert(stat(in_dir("a/b/c"), &info) == 0 && S_ISDIR(info.st_mode));
    ck_ok(sl_make_dir(ctx, in_dir("a/b/c")));
    ck_ok(sl_make_dir(ctx, "/"));
    ck_ok(sl_file_write(ctx, in_dir("f"), false, "", 0));
    ck_fails(sl_make_dir(ctx, in_dir("f")), SL_ERR_IO, "f: cannot make directory: Not a directory");
    ck_fails(sl_make_dir(ctx, in_dir("f/g")), SL_ERR_IO, "cannot make directory");
    ck_fails(sl_make_dir(ctx, ""), SL_ERR_ARGUMENT, "empty");
}
END_TEST

START_TEST(exists_tells_files)
{
    ck_assert(sl_file_exists(dir));
    ck_assert(!sl_file_exists(in_dir("none")));
    ck_assert_int_eq(symlink("nowhere", in_dir("dangling")), 0);
    ck_assert(sl_file_exists(in_dir("dangling")));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("file");
    tcase_add_test(tests, reads_what_was_written);
    tcase_add_test(tests, reads_files_without_a_size);
    tcase_add_test(tests, reads_open_files);
    tcase_add_test(tests, waiting_for_a_pipe_is_cancelled);
    tcase_add_test(tests, unreadable_things_are_named);
    tcase_add_test(tests, maps_a_file);
    tcase_add_test(tests, makes_directories_with_parents);
    tcase_add_test(tests, exists_tells_files);
    return run_case("base/file", tests);
}
