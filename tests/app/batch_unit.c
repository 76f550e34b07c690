// SPDX-License-Identifier: MIT
// tests/app/batch_unit.c: the parts of a batch that files from outside and other machines meet:
// names written down, slices, heads of pictures, journals, files put in place.
#include "../base/run.h"
#include "batch.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char *escaped(const char *text)
{
    char *out = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&out, &size);
    batch_escape(file, text);
    fclose(file);
    return out;
}

START_TEST(any_name_goes_through_a_line)
{
    static const char *const names[] = { "",     "a.png", "line\nbreak\ttab", "\\",
                                         "\\0a", "\x7f",  "\xff\xfe\x01",     "\r",
                                         " " };
    for (size_t i = 0; i < APP_LEN(names); i++) {
        char *text = escaped(names[i]);
        ck_assert_ptr_null(strpbrk(text, "\t\n\r"));
        ck_assert(batch_unescape(text));
        ck_assert_str_eq(text, names[i]);
        free(text);
    }
    for (int c = 1; c < 256; c++) {
        char name[] = { (char)c, 'x', (char)c, '\0' };
        char *text = escaped(name);
        ck_assert(batch_unescape(text));
        ck_assert_str_eq(text, name);
        free(text);
    }
}
END_TEST

START_TEST(malformed_escapes_are_refused)
{
    static const char *const texts[] = { "\\", "\\0", "\\0g", "\\00", "a\\", "\\g0", "\\0A" };
    for (size_t i = 0; i < APP_LEN(texts); i++) {
        char copy[16];
        strcpy(copy, texts[i]);
        ck_assert_msg(!batch_unescape(copy), "%s", texts[i]);
    }
}
END_TEST

// Machines of a cluster agree on these; a change of the hash cuts trees anew while batches run.
START_TEST(slices_stay_as_they_are)
{
    ck_assert_uint_eq(batch_hash_text(""), UINT64_C(0xefd01f60ba992926));
    ck_assert_uint_eq(batch_hash_text("a/b.png"), UINT64_C(0x7e75fb472d42b2f1));
    unsigned share[16] = { 0 };
    for (unsigned i = 0; i < 16000; i++) {
        char name[32];
        snprintf(name, sizeof(name), "%u/%05u.jpg", i / 100, i);
        share[batch_hash_text(name) % 16]++;
    }
    for (unsigned i = 0; i < 16; i++)
        ck_assert_msg(share[i] > 850 && share[i] < 1150, "slice %u has %u", i, share[i]);
}
END_TEST

// ---- places in the output

static int without_case(const void *a, const void *b)
{
    return strcasecmp(((const batch_picture *)a)->target, ((const batch_picture *)b)->target);
}

START_TEST(however_many_names_are_alike_they_get_a_number_each)
{
    app_session session = { .ctx = ctx };
    batch_list list = { 0 };
    const struct stat st = { .st_size = 1 };
    for (unsigned i = 0; i < 4096; i++) {
        char name[] = "abcdefghijkl.png";
        for (unsigned c = 0; c < 12; c++)
            if (i >> c & 1)
                name[c] = (char)(name[c] - 'a' + 'A');
        ck_assert(batch_list_add(&list, name, name, &st));
    }
    ck_assert(batch_list_add(&list, "Abcdefghijkl~7.png", "Abcdefghijkl~7.png", &st));
    ck_assert_int_eq(batch_name_targets(&session, true, &list), APP_DONE);
    ck_assert_str_eq(list.picture[4096].target, "Abcdefghijkl~7.png"); // its own
    for (size_t i = 0; i < list.count; i++) {
        const char *mark = strchr(list.picture[i].target, '~');
        ck_assert(!mark || !strchr(mark + 1, '~'));
    }
    qsort(list.picture, list.count, sizeof(*list.picture), without_case);
    for (size_t i = 1; i < list.count; i++)
        ck_assert(without_case(&list.picture[i - 1], &list.picture[i]) != 0);
    batch_list_free(&list);
}
END_TEST

START_TEST(long_names_stay_within_what_is_allowed)
{
    app_session session = { .ctx = ctx, .values.format = "png" };
    batch_list list = { 0 };
    const struct stat st = { .st_size = 1 };
    for (char c = '0'; c < '6'; c++) { // 2 + 246 + 5 + 4 bytes; they differ where they are cut
        char name[300] = "d/";
        for (int i = 0; i < 82; i++)
            strcat(name, "\xe2\x82\xac");
        snprintf(name + strlen(name), 12, "xxxx%c.%s", c, c % 2 ? "JPG" : "jpg");
        ck_assert(batch_list_add(&list, name, name, &st));
    }
    ck_assert_int_eq(batch_name_targets(&session, false, &list), APP_DONE);
    ck_assert_int_eq(batch_name_data(false, &list), APP_DONE);
    for (size_t i = 0; i < list.count; i++) {
        const batch_picture *p = &list.picture[i];
        ck_assert_uint_le(strlen(p->target + 2), 255);
        ck_assert_uint_le(strlen(p->data + 2), 255);
        ck_assert_str_eq(strrchr(p->data, '.'), ".json");
        for (size_t k = 0; k < i; k++) {
            ck_assert_str_ne(p->target, list.picture[k].target);
            ck_assert_str_ne(p->data, list.picture[k].data);
        }
    }
    batch_list_free(&list);
}
END_TEST

START_TEST(times_that_have_no_number_are_the_last_that_have_one)
{
    static const struct {
        struct timespec time;
        int64_t ns;
    } cases[] = { { { 1, 5 }, 1000000005 },
                  { { -1, 5 }, -999999995 },
                  { { 9223372036, 854775807 }, INT64_MAX },
                  { { 9223372036, 854775808 }, INT64_MAX },
                  { { 13569465600, 0 }, INT64_MAX }, // 2400
                  { { -13569465600, 0 }, INT64_MIN + 1 } };
    for (size_t i = 0; i < APP_LEN(cases); i++)
        ck_assert_int_eq(batch_time_ns(&cases[i].time), cases[i].ns);
}
END_TEST

// ---- heads of pictures

static bool peek(const void *bytes, size_t size, batch_extent *out)
{
    int fd = memfd_create("picture", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    bool known = batch_peek(fd, out);
    close(fd);
    return known;
}

START_TEST(heads_tell_the_size)
{
    unsigned char png[33] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\2\0\0\3\4\x10\6";
    batch_extent e;
    ck_assert(peek(png, sizeof(png), &e));
    ck_assert_uint_eq(e.width, 0x10002);
    ck_assert_uint_eq(e.height, 0x304);
    ck_assert_uint_eq(e.pixel_bytes, 8);
    static const unsigned char jpeg[] =
        "\xff\xd8\xff\xe0\0\4ab\xff\xff\xdb\0\3x\xff\xc2\0\x11\x08\1\2"
        "\3\4\3";
    ck_assert(peek(jpeg, sizeof(jpeg) - 1, &e));
    ck_assert_uint_eq(e.height, 0x102);
    ck_assert_uint_eq(e.width, 0x304);
    ck_assert_uint_eq(e.pixel_bytes, 3);
    for (size_t i = 0; i < sizeof(jpeg) - 1; i++) // however it is cut short
        ck_assert(!peek(jpeg, i, &e));
    for (size_t i = 0; i < 32; i++)
        ck_assert(!peek(png, i, &e));
    png[25] = 5;
    ck_assert(!peek(png, sizeof(png), &e));
    png[25] = 255;
    ck_assert(!peek(png, sizeof(png), &e));
}
END_TEST

START_TEST(noise_is_no_picture)
{
    uint32_t state = 1;
    for (int round = 0; round < 2000; round++) {
        unsigned char bytes[256];
        batch_extent e;
        for (size_t i = 0; i < sizeof(bytes); i++) {
            state = state * 1664525u + 1013904223u;
            bytes[i] = (unsigned char)(state >> 24);
        }
        memcpy(bytes, round % 2 ? "\xff\xd8\xff" : "\x89PNG\r\n\x1a\n", round % 2 ? 3 : 8);
        if (peek(bytes, sizeof(bytes), &e))
            ck_assert(e.width && e.height && e.pixel_bytes);
    }
}
END_TEST

// ---- journals

typedef struct seen {
    size_t count, failed;
    char name[64], output[64];
    uint64_t where;
    batch_state state;
} seen;

static void see(void *user, const batch_record *record, uint64_t where)
{
    seen *s = user;
    s->count++;
    s->failed += record->state == BATCH_BROKEN;
    s->where = where;
    s->state = record->state;
    snprintf(s->output, sizeof(s->output), "%s", record->output);
    snprintf(s->name, sizeof(s->name), "%s", record->name);
}

static void write_records(size_t count)
{
    batch_shard shard = { 2, 3 };
    batch_journal *journal = NULL;
    ck_assert_int_eq(batch_journal_open(dir, &shard, &journal), APP_DONE);
    for (size_t i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "pic\n%zu.png", i);
        batch_record record = { .state = i % 2 ? BATCH_BROKEN : BATCH_GOOD,
                                .size = i,
                                .mtime_ns = -5,
                                .settings = UINT64_MAX - i,
                                .out_size = UINT64_MAX,
                                .seconds = 0.25,
                                .hash = "0123",
                                .name = name,
                                .output = "a\tb.jpg",
                                .data = "a\tb.json",
                                .detail = "{\"a\":\"\\u0001\tb\"}" };
        ck_assert(batch_journal_add(journal, &record));
    }
    batch_journal_close(journal);
}

START_TEST(records_come_back)
{
    batch_history history;
    batch_record again;
    char *line = NULL;
    seen s = { 0 };
    write_records(5);
    ck_assert_int_eq(batch_history_read(dir, see, &s, &history), APP_DONE);
    ck_assert_uint_eq(s.count, 5);
    ck_assert_uint_eq(s.failed, 2);
    ck_assert_uint_eq(history.damaged, 0);
    ck_assert_str_eq(s.name, "pic\n4.png");
    ck_assert(batch_read_record(&history, s.where, &again, &line));
    ck_assert_str_eq(again.name, "pic\n4.png");
    ck_assert_str_eq(again.detail, "{\"a\":\"\\u0001\tb\"}");
    ck_assert_str_eq(again.output, "a\tb.jpg");
    ck_assert_str_eq(again.data, "a\tb.json");
    ck_assert_uint_eq(again.settings, UINT64_MAX - 4);
    ck_assert_int_eq(again.mtime_ns, -5);
    ck_assert_uint_eq(again.out_size, UINT64_MAX);
    free(line);
    ck_assert(!batch_read_record(&history, s.where + 3, &again, &line));
    free(line);
    ck_assert(!batch_read_record(&history, UINT64_MAX, &again, &line));
    free(line);
    batch_history_free(&history);
}
END_TEST

// Whatever byte of a journal is another, no more than two lines are lost and none is made up.
START_TEST(damage_is_seen)
{
    char path[256];
    write_records(4);
    snprintf(path, sizeof(path), "%s/2-of-3.journal", dir);
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    int fd = open(path, O_RDWR);
    for (off_t at = 25; at < st.st_size; at++) { // behind the first line
        batch_history history;
        seen s = { 0 };
        char was, other;
        ck_assert_int_eq(pread(fd, &was, 1, at), 1);
        other = (char)(was ^ (1 << at % 8));
        ck_assert_int_eq(pwrite(fd, &other, 1, at), 1);
        ck_assert_int_eq(batch_history_read(dir, see, &s, &history), APP_DONE);
        ck_assert_msg(s.count == 3 || s.count == 2, "byte %ld: %zu records", (long)at, s.count);
        batch_history_free(&history);
        ck_assert_int_eq(pwrite(fd, &was, 1, at), 1);
    }
    // Cut short at any byte, it is mended and goes on.
    for (off_t size = st.st_size; size > 25; size -= 7) {
        batch_shard shard = { 2, 3 };
        batch_journal *journal = NULL;
        batch_history history;
        seen s = { 0 };
        ck_assert_int_eq(ftruncate(fd, size), 0);
        ck_assert_int_eq(batch_journal_open(dir, &shard, &journal), APP_DONE);
        ck_assert(batch_journal_add(journal, &(batch_record) { .state = BATCH_GOOD, .name = "x" }));
        batch_journal_close(journal);
        ck_assert_int_eq(batch_history_read(dir, see, &s, &history), APP_DONE);
        ck_assert_uint_eq(history.damaged, 0);
        ck_assert_str_eq(s.name, "x");
        batch_history_free(&history);
    }
    close(fd);
}
END_TEST

// Sixty thousand shards of a hundred thousand, in any order.
START_TEST(a_journal_of_many_shards_is_merged_at_once)
{
    app_session session = { .ctx = ctx };
    batch b = { .session = &session, .watch = -1 };
    batch_shard shard = { 1, 1 };
    batch_journal *journal = NULL;
    ck_assert_int_eq(batch_journal_open(in_dir(BATCH_FOLDER), &shard, &journal), APP_DONE);
    for (unsigned i = 0; i < 60000; i++) {
        char name[32];
        snprintf(name, sizeof(name), "%u/100000", i * 7919 % 100000 + 1);
        const batch_record record = { .state = BATCH_RUN,
                                      .settings = 7,
                                      .name = name,
                                      .detail = "{\"steps\":[{\"step\":\"classify\"}]}" };
        ck_assert(batch_journal_add(journal, &record));
    }
    batch_journal_close(journal);
    clock_t began = clock();
    ck_assert_int_eq(batch_merge(&b, dir), APP_FAILED); // it is not complete
    ck_assert((double)(clock() - began) / CLOCKS_PER_SEC < 15);
    batch_history_free(&b.history);
    batch_list_free(&b.list);
    batch_setup_free(&b);
}
END_TEST

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

int main(void)
{
    TCase *tcase = tcase_create("batch");
    tcase_add_test(tcase, any_name_goes_through_a_line);
    tcase_add_test(tcase, malformed_escapes_are_refused);
    tcase_add_test(tcase, slices_stay_as_they_are);
    tcase_add_test(tcase, however_many_names_are_alike_they_get_a_number_each);
    tcase_add_test(tcase, long_names_stay_within_what_is_allowed);
    tcase_add_test(tcase, times_that_have_no_number_are_the_last_that_have_one);
    tcase_add_test(tcase, heads_tell_the_size);
    tcase_add_test(tcase, noise_is_no_picture);
    tcase_add_test(tcase, records_come_back);
    tcase_add_test(tcase, damage_is_seen);
    tcase_add_test(tcase, a_journal_of_many_shards_is_merged_at_once);
    tcase_add_test(tcase, leftovers_of_a_picture_are_its_own);
    tcase_add_test(tcase, files_are_linked_or_copied);
    tcase_add_test(tcase, files_appear_whole_or_not_at_all);
    tcase_add_test(tcase, two_writers_of_one_file_stay_apart);
    tcase_add_test(tcase, changes_are_noticed);
    tcase_add_test(tcase, what_appears_meanwhile_stays);
    return run_case("app/batch_unit", tcase);
}
