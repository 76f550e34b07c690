// SPDX-License-Identifier: MIT
// tests/app/batch_files_unit.c: files that a batch puts in place, and those that change under its
// hands.
#include "../base/run.h"
#include "../base/sync.h"
#include "batch_seen.h"
#include "batch_walk.h"

#include <errno.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

// ---- files

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
}

static bool holds(const char *path, const char *text)
{
    char got[64] = "";
    FILE *file = fopen(path, "r");
    size_t size = file ? fread(got, 1, sizeof(got) - 1, file) : 0;
    if (file)
        fclose(file);
    return file && size == strlen(text) && strcmp(got, text) == 0;
}

START_TEST(leftovers_of_a_picture_are_its_own)
{
    static const char *const gone[] = { ".a.png.abc234.part", ".a.png.batch.part" };
    static const char *const stay[] = { "a.png",           ".aa.png.abc234.part", ".a.png.part",
                                        ".a.png.x.y.part", ".b.png.abc234.part",  "a.png.x.part",
                                        ".a.png.abc234" };
    for (size_t i = 0; i < APP_LEN(gone); i++)
        put(in_dir(gone[i]), "half");
    for (size_t i = 0; i < APP_LEN(stay); i++)
        put(in_dir(stay[i]), "whole");
    batch_remove_parts(in_dir("a.png"));
    for (size_t i = 0; i < APP_LEN(gone); i++)
        ck_assert_msg(access(in_dir(gone[i]), F_OK) != 0, "%s", gone[i]);
    for (size_t i = 0; i < APP_LEN(stay); i++)
        ck_assert_msg(access(in_dir(stay[i]), F_OK) == 0, "%s", stay[i]);
    batch_remove_parts(in_dir("no/folder/a.png"));
}
END_TEST

START_TEST(files_are_linked_or_copied)
{
    struct stat a, b;
    put(in_dir("a"), "one");
    ck_assert_int_eq(symlink("a", in_dir("link")), 0);
    put(in_dir("old"), "two");
    ck_assert_int_eq(batch_link_or_copy(in_dir("link"), in_dir("x/y/new"), false), 0);
    ck_assert_int_eq(batch_link_or_copy(in_dir("a"), in_dir("old"), false), EEXIST);
    ck_assert(holds(in_dir("old"), "two"));
    ck_assert_int_eq(batch_link_or_copy(in_dir("a"), in_dir("old"), true), 0);
    for (int replace = 0; replace < 2; replace++) // it is that file already
        ck_assert_int_eq(batch_link_or_copy(in_dir("a"), in_dir("old"), replace), 0);
    ck_assert_int_eq(stat(in_dir("a"), &a), 0);
    ck_assert_int_eq(lstat(in_dir("x/y/new"), &b), 0);
    ck_assert(a.st_ino == b.st_ino && S_ISREG(b.st_mode));
    ck_assert_int_eq(a.st_nlink, 3); // nothing is left beside them
    ck_assert_int_eq(batch_link_or_copy(in_dir("none"), in_dir("z"), false), ENOENT);
    ck_assert_int_ne(batch_link_or_copy(in_dir("a"), in_dir("a/b"), true), 0);
    // To another file system it is copied.
    char far[64];
    snprintf(far, sizeof(far), "/dev/shm/batch-unit-%ld", (long)getpid());
    if (stat("/dev/shm", &b) == 0 && b.st_dev != a.st_dev && access("/dev/shm", W_OK) == 0) {
        ck_assert_int_eq(batch_link_or_copy(in_dir("a"), far, false), 0);
        ck_assert(holds(far, "one"));
        put(far, "two");
        ck_assert_int_eq(batch_link_or_copy(in_dir("a"), far, false), EEXIST);
        ck_assert(holds(far, "two"));
        ck_assert_int_eq(batch_link_or_copy(in_dir("a"), far, true), 0);
        ck_assert(holds(far, "one"));
        unlink(far);
    }
}
END_TEST

START_TEST(files_appear_whole_or_not_at_all)
{
    char *temporary = NULL;
    FILE *file = batch_file_new(in_dir("t"), &temporary);
    ck_assert_ptr_nonnull(file);
    fputs("table", file);
    ck_assert_int_ne(access(in_dir("t"), F_OK), 0);
    ck_assert_int_eq(batch_file_finish(file, in_dir("t"), temporary, false), 0);
    ck_assert(holds(in_dir("t"), "table"));
    file = batch_file_new(in_dir("t"), &temporary);
    ck_assert_int_eq(batch_file_finish(file, in_dir("t"), temporary, false), EEXIST);
    ck_assert(holds(in_dir("t"), "table"));
    ck_assert_ptr_null(batch_file_new(in_dir("none/t"), &temporary));
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_ptr_null(temporary);
    file = batch_file_new("/dev/full/t", &temporary);
    ck_assert_ptr_null(file);
}
END_TEST

// A table takes the place of the one before it only when it is on the disk.
START_TEST(files_are_synced_before_they_appear)
{
    char *temporary = NULL;
    syncs = 0; // the tests before may have run in this process
    put(in_dir("t"), "old");
    for (int lost = 1; lost >= 0; lost--) {
        sync_error = lost ? EIO : 0;
        FILE *file = batch_file_new(in_dir("t"), &temporary);
        ck_assert_ptr_nonnull(file);
        fputs("new", file);
        ck_assert_int_eq(batch_file_finish(file, in_dir("t"), temporary, true), lost ? EIO : 0);
        ck_assert(holds(in_dir("t"), lost ? "old" : "new"));
    }
    ck_assert_int_eq(syncs, 2);
    unlink(in_dir("t"));
    ck_assert_int_eq(rmdir(dir), 0); // nothing is left beside it
}
END_TEST

START_TEST(two_writers_of_one_file_stay_apart)
{
    static const char *const texts[] = { "first", "second" };
    FILE *file[2];
    char *temporary[2];
    for (int i = 0; i < 2; i++) {
        file[i] = batch_file_new(in_dir("t"), &temporary[i]);
        ck_assert_ptr_nonnull(file[i]);
        fputs(texts[i], file[i]);
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(batch_file_finish(file[i], in_dir("t"), temporary[i], true), 0);
        ck_assert(holds(in_dir("t"), texts[i]));
    }
    // What is left of one that was killed goes, also of a name that was cut.
    char name[256] = "";
    for (int i = 0; i < 80; i++)
        strcat(name, "\xe2\x82\xac");
    file[0] = batch_file_new(in_dir(name), &temporary[0]);
    ck_assert_ptr_nonnull(file[0]);
    batch_remove_parts(in_dir(name));
    ck_assert_int_ne(access(temporary[0], F_OK), 0);
    ck_assert_int_eq(batch_file_finish(file[0], in_dir(name), temporary[0], true), ENOENT);
}
END_TEST

// ---- pictures that change under our hands

static void open_picture(batch_picture *picture, batch_item *item)
{
    *picture = (batch_picture) { .path = in_dir("p.png"), .name = "p.png" };
    app_session session = { .ctx = ctx };
    batch b = { .session = &session };
    *item = (batch_item) { .picture = picture, .fd = -1 };
    batch_open_item(&b, item);
}

START_TEST(room_is_made_for_the_decoder)
{
    app_session session = { .ctx = ctx };
    batch b = { .session = &session };
    const batch_item item = { .size = 1000 };
    batch_extent e = { .width = 100, .height = 50, .pixel_bytes = 8, .decoding_bytes = 21 };
    ck_assert_uint_eq(batch_item_cost(&b, &item, &e), 100 * 50 * 21 + 1000);
    e.decoding_bytes = 0;
    ck_assert_uint_eq(batch_item_cost(&b, &item, &e), 100 * 50 * 8 + 1000);
    b.writes_pictures = true;
    uint64_t written = batch_item_cost(&b, &item, &e);
    e.decoding_bytes = 21;
    ck_assert_uint_eq(batch_item_cost(&b, &item, &e), written);
}
END_TEST

START_TEST(changes_are_noticed)
{
    app_session session = { .ctx = ctx };
    batch b = { .session = &session };
    sl_image *image = NULL;
    batch_picture picture;
    batch_item item;
    batch_extent extent;
    ck_ok(sl_image_new(ctx, 20, 10, 3, 8, &image));
    ck_ok(sl_image_save(ctx, image, in_dir("p.png"), NULL));
    sl_image_free(image);

    open_picture(&picture, &item);
    ck_assert(batch_peek(item.fd, &extent));
    batch_decode_item(&b, ctx, &extent, &item);
    ck_assert_int_eq(item.fault, BATCH_FINE);
    ck_assert_uint_eq(sl_image_width(item.image), 20);
    ck_assert_uint_eq(strlen(item.hash), BATCH_HASH_BYTES - 1);
    sl_image_free(item.image);

    // Longer than it was when it was opened: whatever it holds, it is read again another time.
    open_picture(&picture, &item);
    FILE *file = fopen(in_dir("p.png"), "a");
    fputs("more", file);
    fclose(file);
    batch_decode_item(&b, ctx, &extent, &item);
    ck_assert_int_eq(item.fault, BATCH_AGAIN);
    ck_assert_ptr_nonnull(strstr(item.message, "changed while"));
    sl_image_free(item.image);

    // No larger than room was made for.
    open_picture(&picture, &item);
    extent.width = 10;
    batch_decode_item(&b, ctx, &extent, &item);
    ck_assert_int_eq(item.fault, BATCH_BAD);
    ck_assert_ptr_null(item.image);

    // A folder or a pipe in its place holds nobody up.
    unlink(in_dir("p.png"));
    open_picture(&picture, &item);
    ck_assert_int_eq(item.fault, BATCH_AGAIN);
    ck_assert_int_eq(mkfifo(in_dir("p.png"), 0600), 0);
    open_picture(&picture, &item);
    ck_assert_int_eq(item.fault, BATCH_AGAIN);
    close(item.fd);
}
END_TEST

// A file that appears where a picture goes, after the batch was planned.
START_TEST(what_appears_meanwhile_stays)
{
    app_session session = { .ctx = ctx };
    batch_shard shard = { 1, 1 };
    batch b = { .session = &session, .folder = dir, .journals = (char *)in_dir("j") };
    batch_picture picture = { .path = "p.png", .name = "p.png", .target = "p.png" };
    batch_history history;
    seen s = { 0 };
    ck_assert_int_eq(batch_journal_open(b.journals, &shard, &b.journal), APP_DONE);
    for (int is_ours = 0; is_ours < 2; is_ours++) {
        batch_item item = { .picture = &picture, .fd = -1, .found = json_object() };
        item.output = (char *)in_dir("p.png");
        ck_ok(sl_image_new(ctx, 4, 3, 3, 8, &item.image));
        put(item.output, "theirs");
        picture.is_ours = is_ours;
        batch_write_item(&b, ctx, &item);
        ck_assert_int_eq(item.fault, is_ours ? BATCH_FINE : BATCH_AGAIN);
        ck_assert_int_eq(holds(item.output, "theirs"), !is_ours);
        ck_assert_int_eq(batch_history_read(b.journals, see, &s, &history), APP_DONE);
        ck_assert_int_eq(s.state, is_ours ? BATCH_GOOD : BATCH_START);
        ck_assert_str_eq(s.output, is_ours ? "p.png" : ""); // nothing there is claimed
        batch_history_free(&history);
        sl_image_free(item.image);
        json_decref(item.found);
    }
    batch_journal_close(b.journal);
}
END_TEST

// ---- what a batch made among the pictures that are named

START_TEST(what_was_made_here_is_told_by_the_journal)
{
    static const batch_record records[] = {
        { .state = BATCH_START, .name = "a.jpg", .output = "made.png" },
        { .state = BATCH_GOOD, .name = "a.jpg", .output = "made.png" },
        { .state = BATCH_START, .name = "b.png", .output = "begun.png" },
        { .state = BATCH_START, .name = "c.png", .output = "sub/taken.png" },
        { .state = BATCH_START, .name = "c.png", .data = "c.json" },
        { .state = BATCH_BROKEN, .name = "d.png", .output = "broken.png" },
        { .state = BATCH_GOOD, .name = "labelled.png" },
    };
    static const char *const names[] = { "made.png",   "begun.png",    "sub/taken.png",
                                         "broken.png", "labelled.png", "theirs.png" };
    const batch_shard shard = { 1, 1 };
    batch_journal *journal = NULL;
    batch_list list = { 0 };
    batch_walk walk = { .list = &list };
    struct stat st = { .st_size = 1 };
    char journals[128];
    snprintf(journals, sizeof(journals), "%s", in_dir(BATCH_FOLDER));
    ck_assert_int_eq(batch_journal_open(journals, &shard, &journal), APP_DONE);
    for (size_t i = 0; i < APP_LEN(records); i++)
        ck_assert(batch_journal_add(journal, &records[i]));
    batch_journal_close(journal);
    ck_assert_int_eq(mkdir(in_dir("sub"), 0777), 0);
    batch_walk_leave_out(&walk, dir, false);
    for (size_t i = 0; i < APP_LEN(names); i++) {
        const char *path = in_dir(names[i]);
        ck_assert(batch_list_add(&list, path, names[i], &st) && batch_walk_suspect(&walk, path));
    }
    ck_assert_int_eq(batch_walk_leave_out_own(&walk, journals), APP_DONE);
    ck_assert_uint_eq(list.own, 2);
    ck_assert_uint_eq(list.count, 4);
    for (size_t i = 0; i < list.count; i++)
        ck_assert_str_eq(list.picture[i].name, names[i + 2]);
    batch_walk_forget(&walk);
    batch_list_free(&list);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("batch_files");
    tcase_add_test(tcase, leftovers_of_a_picture_are_its_own);
    tcase_add_test(tcase, files_are_linked_or_copied);
    tcase_add_test(tcase, files_appear_whole_or_not_at_all);
    tcase_add_test(tcase, files_are_synced_before_they_appear);
    tcase_add_test(tcase, two_writers_of_one_file_stay_apart);
    tcase_add_test(tcase, room_is_made_for_the_decoder);
    tcase_add_test(tcase, changes_are_noticed);
    tcase_add_test(tcase, what_appears_meanwhile_stays);
    tcase_add_test(tcase, what_was_made_here_is_told_by_the_journal);
    return run_case("app/batch_files_unit", tcase);
}
