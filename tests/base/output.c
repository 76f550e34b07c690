// SPDX-License-Identifier: MIT
// tests/base/output.c: a file appears whole or not at all, and nothing is overwritten unasked.
#include "run.h"
#include "sync.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>

// Errors that renameat2 and link are made to fail with; 0: they work.
static int rename_error, link_error;
static int same_numbers; // random ones that are all zeros, until that many were asked for

int __real_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __real_link(const char *from, const char *to);
int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __wrap_link(const char *from, const char *to);
ssize_t __real_getrandom(void *to, size_t size, unsigned flags);
ssize_t __wrap_getrandom(void *to, size_t size, unsigned flags);

int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    errno = rename_error;
    return rename_error ? -1 : __real_renameat2(from_dir, from, to_dir, to, flags);
}

int __wrap_link(const char *from, const char *to)
{
    errno = link_error;
    return link_error ? -1 : __real_link(from, to);
}

ssize_t __wrap_getrandom(void *to, size_t size, unsigned flags)
{
    if (same_numbers == 0)
        return __real_getrandom(to, size, flags);
    same_numbers--;
    memset(to, 0, size);
    return (ssize_t)size;
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

static void check_content(const char *name, const char *text)
{
    sl_blob blob;
    ck_ok(sl_file_read(ctx, in_dir(name), 1000, &blob));
    ck_assert_uint_eq(blob.size, strlen(text));
    ck_assert_mem_eq(blob.data, text, blob.size);
    sl_blob_free(&blob);
}

START_TEST(appears_at_commit)
{
    sl_output *output;
    ck_ok(sl_output_open(ctx, in_dir("f"), false, &output));
    ck_ok(sl_output_write(output, "ab", 2));
    ck_ok(sl_output_write(output, "cd", 2));
    ck_assert(!sl_file_exists(in_dir("f")));
    ck_assert_int_eq(files_in_dir(), 1);
    ck_ok(sl_output_commit(output));
    check_content("f", "abcd");
    ck_assert_int_eq(files_in_dir(), 1);
}
END_TEST

START_TEST(discard_leaves_nothing)
{
    sl_output *output;
    ck_ok(sl_output_open(ctx, in_dir("f"), false, &output));
    ck_ok(sl_output_write(output, "ab", 2));
    sl_output_discard(output);
    sl_output_discard(NULL);
    ck_assert_int_eq(files_in_dir(), 0);
}
END_TEST

START_TEST(nothing_is_overwritten_unasked)
{
    sl_output *output;
    ck_ok(sl_file_write(ctx, in_dir("f"), false, "old", 3));
    ck_fails(sl_output_open(ctx, in_dir("f"), false, &output), SL_ERR_EXISTS, "f: already exists");
    ck_assert_ptr_null(output);
    ck_ok(sl_file_write(ctx, in_dir("f"), true, "new", 3));
    check_content("f", "new");
    // The target appears between open and commit.
    ck_ok(sl_output_open(ctx, in_dir("g"), false, &output));
    ck_ok(sl_output_write(output, "mine", 4));
    ck_ok(sl_file_write(ctx, in_dir("g"), false, "theirs", 6));
    ck_fails(sl_output_commit(output), SL_ERR_EXISTS, "g: already exists");
    check_content("g", "theirs");
    ck_assert_int_eq(symlink("nowhere", in_dir("link")), 0);
    ck_fails(sl_file_write(ctx, in_dir("link"), false, "x", 1), SL_ERR_EXISTS, "link");
    ck_assert_int_eq(files_in_dir(), 3);
}
END_TEST

// File systems that cannot rename so, or know no links either.
START_TEST(poorer_file_systems_do)
{
    static const int errors[][2] = { { EINVAL, 0 }, { ENOSYS, EPERM }, { ENOTSUP, ENOTSUP } };
    sl_output *output;
    rename_error = errors[_i][0];
    link_error = errors[_i][1];
    ck_ok(sl_file_write(ctx, in_dir("f"), false, "mine", 4));
    check_content("f", "mine");
    ck_ok(sl_output_open(ctx, in_dir("g"), false, &output));
    ck_ok(sl_output_write(output, "mine", 4));
    ck_ok(sl_file_write(ctx, in_dir("g"), false, "theirs", 6));
    ck_fails(sl_output_commit(output), SL_ERR_EXISTS, "g: already exists");
    check_content("g", "theirs");
    ck_assert_int_eq(files_in_dir(), 2);
}
END_TEST

START_TEST(a_failed_rename_is_told_and_leaves_nothing)
{
    rename_error = EIO;
    ck_fails(sl_file_write(ctx, in_dir("f"), false, "x", 1), SL_ERR_IO, "f: cannot rename");
    rename_error = EINVAL;
    link_error = EDQUOT;
    ck_fails(sl_file_write(ctx, in_dir("f"), false, "x", 1), SL_ERR_IO, "f: cannot rename");
    ck_assert_int_eq(files_in_dir(), 0);
}
END_TEST

START_TEST(odd_targets_are_refused)
{
    sl_output *output;
    ck_fails(sl_output_open(ctx, dir, true, &output), SL_ERR_IO, "is a directory");
    ck_fails(sl_output_open(ctx, in_dir("new/"), true, &output), SL_ERR_IO, "names a directory");
    ck_fails(sl_output_open(ctx, in_dir("no/f"), true, &output), SL_ERR_IO, "No such file");
    ck_fails(sl_output_open(ctx, "", true, &output), SL_ERR_ARGUMENT, "empty");
    ck_assert_int_eq(symlink("/dev/null", in_dir("null")), 0);
    ck_fails(sl_output_open(ctx, in_dir("null"), true, &output), SL_ERR_IO, "not a regular file");

    // What /dev/stdout is while it is redirected to a file.
    char lead[40];
    int fd = open(in_dir("f"), O_WRONLY | O_CREAT, 0666);
    ck_assert_int_ge(fd, 0);
    snprintf(lead, sizeof(lead), "/proc/self/fd/%d", fd);
    ck_assert_int_eq(symlink(lead, in_dir("open")), 0);
    ck_fails(sl_output_open(ctx, in_dir("open"), true, &output), SL_ERR_IO, "an open file");
    ck_assert_int_eq(symlink("open", in_dir("to it")), 0);
    ck_fails(sl_output_open(ctx, in_dir("to it"), true, &output), SL_ERR_IO, "an open file");
    char to[512];
    snprintf(to, sizeof(to), "%s", in_dir("to it"));
    ck_assert_int_eq(symlink(to, in_dir("whole")), 0); // its target as a whole path
    ck_fails(sl_output_open(ctx, in_dir("whole"), true, &output), SL_ERR_IO, "an open file");
    close(fd);
    ck_assert_int_eq(symlink("round", in_dir("round")), 0); // a link that leads nowhere
    ck_ok(sl_output_open(ctx, in_dir("round"), true, &output));
    sl_output_discard(output);
    ck_assert_int_eq(files_in_dir(), 6);
}
END_TEST

START_TEST(a_link_is_replaced_and_its_target_kept)
{
    ck_ok(sl_file_write(ctx, in_dir("target"), false, "old", 3));
    ck_assert_int_eq(symlink("target", in_dir("link")), 0);
    ck_ok(sl_file_write(ctx, in_dir("link"), true, "new", 3));
    check_content("target", "old");
    check_content("link", "new");
}
END_TEST

START_TEST(permissions_follow_the_umask)
{
    struct stat info;
    umask(027);
    ck_ok(sl_file_write(ctx, in_dir("f"), false, "x", 1));
    ck_assert_int_eq(stat(in_dir("f"), &info), 0);
    ck_assert_int_eq(info.st_mode & 0777, 0640);
    ck_assert_int_eq(chmod(in_dir("f"), 0600), 0);
    ck_ok(sl_file_write(ctx, in_dir("f"), true, "y", 1)); // unless there is something to follow
    ck_assert_int_eq(stat(in_dir("f"), &info), 0);
    ck_assert_int_eq(info.st_mode & 0777, 0600);
}
END_TEST

START_TEST(long_names_work)
{
    char name[256];
    memset(name, 'n', 255);
    name[255] = '\0';
    ck_ok(sl_file_write(ctx, in_dir(name), false, "x", 1));
    memset(name, 0, sizeof(name));
    for (int i = 0; i < 85; i++)
        memcpy(name + i * 3, "\xe2\x82\xac", 3); // a euro sign: 200 is no boundary
    ck_ok(sl_file_write(ctx, in_dir(name), false, "x", 1));
}
END_TEST

// The only file in `dir`, which is one on its way: its name is text wherever the target's was cut.
static void check_temporary_name(void)
{
    int count = 0;
    DIR *d = opendir(dir);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *entry; (entry = readdir(d));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        uint32_t c = 0;
        const char *at = entry->d_name;
        for (size_t length; (length = sl_utf8_next(at, &c)) > 0; at += length)
            ck_assert_uint_ne(c, SL_REPLACEMENT);
        ck_assert_uint_gt(strlen(entry->d_name), 190);
        count++;
    }
    closedir(d);
    ck_assert_int_eq(count, 1);
}

START_TEST(long_names_are_cut_between_characters)
{
    static const char *const letters[] = { "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\xa6\x9d" };
    for (size_t i = 0; i < SL_ARRAY_LEN(letters); i++)
        for (size_t before = 0; before < 4; before++) {
            sl_output *output;
            char name[256] = "";
            memset(name, 'n', before);
            while (strlen(name) + strlen(letters[i]) < sizeof(name))
                strcat(name, letters[i]);
            ck_ok(sl_output_open(ctx, in_dir(name), false, &output));
            check_temporary_name();
            sl_output_discard(output);
        }
}
END_TEST

// What somebody put where the temporary file would be is neither written to nor followed.
START_TEST(a_name_on_the_way_is_nobody_elses)
{
    sl_output *first, *second;
    same_numbers = 2; // the second file would have the name of the first
    ck_ok(sl_output_open(ctx, in_dir("f"), true, &first));
    ck_ok(sl_output_open(ctx, in_dir("f"), true, &second));
    ck_assert_int_eq(files_in_dir(), 2);
    ck_ok(sl_output_write(first, "first", 5));
    ck_ok(sl_output_write(second, "second", 6));
    ck_ok(sl_output_commit(first));
    check_content("f", "first");
    ck_ok(sl_output_commit(second));
    check_content("f", "second");

    ck_ok(sl_file_write(ctx, in_dir("theirs"), false, "theirs", 6));
    ck_assert_int_eq(symlink("theirs", in_dir(".f.aaaaaa.part")), 0);
    same_numbers = 1;
    ck_ok(sl_file_write(ctx, in_dir("f"), true, "third", 5));
    check_content("f", "third");
    check_content("theirs", "theirs");
    same_numbers = 1000; // as if all were taken
    ck_fails(sl_output_open(ctx, in_dir("f"), true, &first), SL_ERR_IO, "cannot create a file");
    same_numbers = 0;
    ck_assert_int_eq(files_in_dir(), 3);
}
END_TEST

START_TEST(a_failed_write_is_told_and_leaves_nothing)
{
    sl_output *output;
    struct rlimit usual, limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &usual), 0);
    limit = usual;
    limit.rlim_cur = 5000;
    uint8_t data[4000] = { 0 };
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_ok(sl_file_write(ctx, in_dir("old"), false, "old", 3));
    ck_ok(sl_output_open(ctx, in_dir("old"), true, &output));
    ck_ok(sl_output_write(output, data, sizeof(data)));
    ck_fails(sl_output_write(output, data, sizeof(data)), SL_ERR_IO, "old: cannot write: File too");
    ck_assert_int_eq(sl_output_write(output, data, 1), SL_ERR_IO); // it stays failed
    ck_fails(sl_output_commit(output), SL_ERR_IO, "cannot write");
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &usual), 0); // Check writes files, too
    check_content("old", "old");
    ck_assert_int_eq(files_in_dir(), 1);
}
END_TEST

// What is dear is on the disk before it has its name, where the file system can do that.
START_TEST(synced_before_it_appears)
{
    static const int errors[] = { 0, EINVAL, EIO };
    sl_output *output;
    for (size_t i = 0; i < SL_ARRAY_LEN(errors); i++) {
        sync_error = errors[i];
        ck_ok(sl_output_open(ctx, in_dir("f"), true, &output));
        ck_ok(sl_output_write(output, "abc", 3));
        sl_status st = sl_output_sync(output);
        ck_assert(syncs == (int)i + 1 && (st == SL_OK) == (sync_error != EIO));
        if (st != SL_OK)
            ck_fails(sl_output_commit(output), SL_ERR_IO, "f: cannot write");
        else
            ck_ok(sl_output_commit(output));
        check_content("f", "abc");
        ck_assert_int_eq(files_in_dir(), 1);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("output");
    tcase_add_test(tests, appears_at_commit);
    tcase_add_test(tests, discard_leaves_nothing);
    tcase_add_test(tests, nothing_is_overwritten_unasked);
    tcase_add_loop_test(tests, poorer_file_systems_do, 0, 3);
    tcase_add_test(tests, a_failed_rename_is_told_and_leaves_nothing);
    tcase_add_test(tests, synced_before_it_appears);
    tcase_add_test(tests, odd_targets_are_refused);
    tcase_add_test(tests, a_link_is_replaced_and_its_target_kept);
    tcase_add_test(tests, permissions_follow_the_umask);
    tcase_add_test(tests, long_names_work);
    tcase_add_test(tests, long_names_are_cut_between_characters);
    tcase_add_test(tests, a_name_on_the_way_is_nobody_elses);
    tcase_add_test(tests, a_failed_write_is_told_and_leaves_nothing);
    return run_case("base/output", tests);
}
