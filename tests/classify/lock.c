// SPDX-License-Identifier: MIT
// tests/classify/lock.c: where a gallery lies, and several writers of one.
#include "classify/gallery.h"

#include "grown.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

static bool is_overtaken;   // by another program, between the opening of a lock and its taking
static int their_lock = -1; // that one's lock, until it is closed
static bool is_first; // another program saves its gallery once we have seen that there is none

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);

int __wrap_flock(int fd, int operation)
{
    if (is_overtaken) { // the lock that we opened was let go of and removed, and there is a new one
        is_overtaken = false;
        ck_assert_int_eq(unlink(in_dir(".a.gallery.lock")), 0);
        their_lock = open(in_dir(".a.gallery.lock"), O_RDWR | O_CREAT, 0600);
        ck_assert_int_eq(__real_flock(their_lock, LOCK_EX), 0);
    }
    return __real_flock(fd, operation);
}

char *__real_realpath(const char *path, char *resolved);
char *__wrap_realpath(const char *path, char *resolved);

char *__wrap_realpath(const char *path, char *resolved)
{
    char *found = __real_realpath(path, resolved);
    if (!found && is_first) {
        is_first = false;
        ck_ok(sl_file_write(ctx, path, false, "", 0));
        errno = ENOENT;
    }
    return found;
}

static void enroll_under_lock(const char *label, size_t c, int pictures)
{
    for (int k = 0; k < pictures; k++) {
        sl_gallery_hold *hold = NULL;
        sl_gallery *g = NULL;
        ck_ok(sl_gallery_lock(ctx, in_dir("a.gallery"), &hold));
        ck_ok(sl_gallery_open_for(ctx, in_dir("a.gallery"), set, &g));
        add(g, label, c, (uint64_t)k);
        ck_ok(sl_gallery_save(ctx, g, in_dir("a.gallery")));
        sl_gallery_unlock(hold);
        sl_gallery_free(g);
    }
}

START_TEST(both_writers_survive)
{
    enum { WRITERS = 3, PICTURES = 12 };
    static const char *const labels[WRITERS] = { "raccoon", "newt", "owl" };
    sl_gallery *g = new_gallery();
    ck_ok(sl_gallery_save(ctx, g, in_dir("a.gallery")));
    sl_gallery_free(g);
    end_ctx();
    pid_t writers[WRITERS];
    for (size_t w = 0; w < WRITERS; w++) {
        writers[w] = fork();
        if (writers[w] == 0) {
            new_ctx();
            enroll_under_lock(labels[w], 10 + w, PICTURES);
            end_ctx();
            _exit(0);
        }
    }
    for (size_t w = 0; w < WRITERS; w++) {
        int status = -1;
        ck_assert_int_eq(waitpid(writers[w], &status, 0), writers[w]);
        ck_assert_int_eq(status, 0);
    }
    new_ctx();
    ck_ok(sl_gallery_open_for(ctx, in_dir("a.gallery"), set, &g));
    for (size_t w = 0; w < WRITERS; w++) {
        size_t i = 0;
        ck_assert(sl_gallery_find(g, labels[w], &i));
        ck_assert_uint_eq(sl_gallery_pictures(g, i), PICTURES);
    }
    ck_ok(sl_gallery_check(ctx, g));
    sl_gallery_free(g);
    ck_assert(!sl_file_exists(in_dir(".a.gallery.lock")));
}
END_TEST

// A gallery that is kept elsewhere and linked to is written where it is kept.
START_TEST(links_stay_links)
{
    struct stat info;
    sl_gallery *g = new_gallery();
    add(g, "newt", 10, 1);
    g = reopen(g, "kept.gallery");
    add(g, "newt", 10, 2);
    ck_assert_int_eq(symlink("kept.gallery", in_dir("link.gallery")), 0);
    g = reopen(g, "link.gallery");
    ck_assert_int_eq(lstat(in_dir("link.gallery"), &info), 0);
    ck_assert(S_ISLNK(info.st_mode));
    sl_gallery_free(g);
    ck_ok(sl_gallery_open_for(ctx, in_dir("kept.gallery"), set, &g));
    ck_assert_uint_eq(sl_gallery_pictures(g, 0), 2);
    ck_assert_int_eq(symlink("nowhere", in_dir("lost.gallery")), 0);
    ck_fails(sl_gallery_save(ctx, g, in_dir("lost.gallery")), SL_ERR_IO, "leads nowhere");
    sl_gallery_free(g);
}
END_TEST

START_TEST(two_first_writers)
{
    sl_gallery_hold *hold = NULL;
    is_first = true;
    ck_ok(sl_gallery_lock(ctx, in_dir("a.gallery"), &hold));
    ck_assert(!is_first && sl_file_exists(in_dir(".a.gallery.lock")));
    sl_gallery_unlock(hold);
}
END_TEST

// So that a lock's own name would be too long.
START_TEST(long_names_have_locks)
{
    char name[256] = { 0 };
    memset(name, 'x', 255);
    for (size_t cut = 0; cut <= 5; cut += 5) {
        sl_gallery_hold *hold = NULL;
        sl_gallery *g = new_gallery();
        add(g, "newt", 10, 1);
        ck_ok(sl_gallery_lock(ctx, in_dir(name + cut), &hold));
        g = reopen(g, name + cut);
        sl_gallery_unlock(hold);
        sl_gallery_free(g);
    }
}
END_TEST

static bool stop_waiting(void *user, size_t done, size_t total)
{
    ck_assert(done == 0 && total == 0);
    return ++*(int *)user < 3;
}

START_TEST(waiting_can_be_ended)
{
    sl_gallery_hold *mine = NULL, *theirs = NULL;
    int asked = 0;
    ck_ok(sl_gallery_lock(ctx, in_dir("a.gallery"), &mine));
    ctx->options.progress = stop_waiting;
    ctx->options.progress_user = &asked;
    ck_fails(sl_gallery_lock(ctx, in_dir("a.gallery"), &theirs), SL_ERR_CANCELLED, "cancelled");
    ck_assert_int_eq(asked, 3);
    ck_assert_ptr_null(theirs);
    sl_gallery_unlock(mine);
    ck_ok(sl_gallery_lock(ctx, in_dir("a.gallery"), &theirs));
    sl_gallery_unlock(theirs);
    sl_gallery_unlock(NULL);
    ck_fails(sl_gallery_lock(ctx, in_dir("nowhere/a.gallery"), &mine), SL_ERR_IO, "lock");
    ck_fails(sl_gallery_lock(ctx, in_dir(""), &mine), SL_ERR_ARGUMENT, "no file");
}
END_TEST

START_TEST(a_lock_that_is_gone_is_none)
{
    sl_gallery_hold *mine = NULL;
    int asked = 0;
    is_overtaken = true;
    ctx->options.progress = stop_waiting;
    ctx->options.progress_user = &asked;
    ck_fails(sl_gallery_lock(ctx, in_dir("a.gallery"), &mine), SL_ERR_CANCELLED, "cancelled");
    ck_assert_ptr_null(mine);
    ck_assert(sl_file_exists(in_dir(".a.gallery.lock"))); // theirs
    close(their_lock);
    asked = 0;
    is_overtaken = false;
    ck_ok(sl_gallery_lock(ctx, in_dir("a.gallery"), &mine));
    sl_gallery_unlock(mine);
    ck_assert(!sl_file_exists(in_dir(".a.gallery.lock")));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("lock");
    tcase_add_test(tests, both_writers_survive);
    tcase_add_test(tests, links_stay_links);
    tcase_add_test(tests, two_first_writers);
    tcase_add_test(tests, long_names_have_locks);
    tcase_add_test(tests, waiting_can_be_ended);
    tcase_add_test(tests, a_lock_that_is_gone_is_none);
    return run_case_with("classify-lock", tests, begin, end);
}
