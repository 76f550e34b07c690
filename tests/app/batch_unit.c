// SPDX-License-Identifier: MIT
// tests/app/batch_unit.c: the parts of a batch that files from outside and other machines meet:
// names written down, slices, heads of pictures, journals.
#include "../base/run.h"
#include "batch.h"
#include "batch_seen.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void send_errors_to(int fd)
{
    fflush(stderr);
    ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
}

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
    ck_assert_uint_eq(e.coded_bytes, 0);
    static const unsigned char jpeg[] = // with what decoders pass by: padding, markers alone
        "\xff\xd8\xff\xe0\0\4ab\0\x11\xff\0\xff\1\xff\xd3\xff\xff\xdb\0\3x\xff\xc2\0\x11\x08\1\2"
        "\3\4\3";
    ck_assert(peek(jpeg, sizeof(jpeg) - 1, &e));
    ck_assert_uint_eq(e.height, 0x102);
    ck_assert_uint_eq(e.width, 0x304);
    ck_assert_uint_eq(e.pixel_bytes, 3);
    ck_assert_uint_eq(e.coded_bytes, 12);         // progressive
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

// All tell of 48 x 32 pixels or a little more, and noise behind what a kind begins with of anything
// but no pixels.
START_TEST(heads_of_kinds_that_are_not_written)
{
    static const char *const names[] = { "lossless.webp", "alpha.webp", "turned.webp", "exif.heic",
                                         "flat.avif",     "flat.tif",   "lossy.tif",   "deep.tif" };
    for (size_t i = 0; i < APP_LEN(names); i++) {
        char path[512];
        sl_blob file;
        batch_extent e;
        snprintf(path, sizeof(path), IMAGE_DIR "/%s", names[i]);
        ck_ok(sl_file_read(ctx, path, SIZE_MAX, &file));
        ck_assert(peek(file.data, file.size, &e));
        bool is_padded = strstr(names[i], ".heic"); // to the 64 that a coder wants, then cut
        ck_assert_msg(
            (e.width == 48 && e.height == 32) || (is_padded && e.width == 64 && e.height == 64),
            "%s: %llu x %llu", names[i], (unsigned long long)e.width, (unsigned long long)e.height);
        ck_assert(e.pixel_bytes >= (strstr(names[i], "deep") ? 6 : 3) && !e.coded_bytes);
        for (size_t size = 0; size < 32; size++)
            ck_assert(!peek(file.data, size, &e));
        for (size_t at = 12; at < file.size; at++) {
            file.data[at] ^= 0xA5;
            if (peek(file.data, file.size, &e))
                ck_assert(e.width && e.height && e.pixel_bytes);
        }
        sl_blob_free(&file);
    }
    batch_extent e;
    ck_assert(!peek("\0\0\0\x18"
                    "ftypheic"
                    "01234567890123456789",
                    32, &e)); // tells no size
}
END_TEST

// The description behind the coded picture, which is long, by each of the three ways to say so.
START_TEST(heads_at_the_end_are_found)
{
    static const size_t mdat_bytes = 3u << 20;
    sl_blob file;
    batch_extent e;
    ck_ok(sl_file_read(ctx, IMAGE_DIR "/alpha.heic", SIZE_MAX, &file));
    size_t total = 28 + mdat_bytes + 0x2fd;
    unsigned char *moved = calloc(1, total), *mdat = moved + 28, *meta = mdat + mdat_bytes;
    ck_assert_ptr_nonnull(moved);
    memcpy(moved, file.data, 28);
    memcpy(meta, (const char *)file.data + 28, 0x2fd);
    memcpy(mdat, "\0\x30\0\0mdat", 8);
    ck_assert(peek(moved, total, &e));
    ck_assert(e.width == 64 && e.height == 64);
    memset(meta, 0, 4); // to the end
    ck_assert(peek(moved, total, &e));
    memcpy(mdat, "\0\0\0\1mdat\0\0\0\0\0\x30\0\0", 16);
    ck_assert(peek(moved, total, &e));
    ck_assert(e.width == 64 && e.height == 64);
    mdat[8] = 0x80; // beyond any file
    ck_assert(!peek(moved, total, &e));
    memset(mdat, 0, 4); // nothing is behind it
    ck_assert(!peek(moved, total, &e));
    free(moved);
    sl_blob_free(&file);
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

START_TEST(a_shard_has_one_writer)
{
    const batch_shard one = { 1, 2 }, two = { 2, 2 };
    batch_journal *first = NULL, *second = NULL, *other = NULL;
    ck_assert_int_eq(batch_journal_open(dir, &one, &first), APP_DONE);
    ck_assert_int_eq(batch_journal_open(dir, &one, &second), APP_FAILED);
    ck_assert_ptr_null(second);
    ck_assert_int_eq(batch_journal_open(dir, &two, &other), APP_DONE);
    batch_journal_close(first);
    ck_assert_int_eq(batch_journal_open(dir, &one, &second), APP_DONE);
    batch_journal_close(second);
    batch_journal_close(other);
}
END_TEST

// Merge has no --shard to part the two by.
START_TEST(merge_has_one_writer)
{
    const batch_shard none = { 0, 1 };
    batch_journal *first = NULL, *second = NULL;
    ck_assert_int_eq(batch_journal_open(dir, &none, &first), APP_DONE);
    int before = dup(STDERR_FILENO), fd = open(in_dir("told"), O_RDWR | O_CREAT, 0600);
    send_errors_to(fd);
    ck_assert_int_eq(batch_journal_open(dir, &none, &second), APP_FAILED);
    send_errors_to(before);
    char text[512] = "";
    ck_assert_int_gt(pread(fd, text, sizeof(text) - 1, 0), 0);
    ck_assert_ptr_nonnull(strstr(text, "wait for it"));
    ck_assert_ptr_null(strstr(text, "--shard"));
    close(before);
    close(fd);
    batch_journal_close(first);
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

// ---- what is told

static size_t lines_of(const char *path)
{
    size_t lines = 0;
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    for (int c; (c = fgetc(file)) != EOF;)
        lines += c == '\n';
    fclose(file);
    return lines;
}

// How many of 40 such warnings are told. The format is given a number, and a letter or two.
static size_t told(const char *format)
{
    app_session session = { .ctx = ctx };
    batch b = { .session = &session, .print = PTHREAD_MUTEX_INITIALIZER };
    int before = dup(STDERR_FILENO), fd = open(in_dir("told"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    send_errors_to(fd);
    for (int i = 0; i < 40; i++) {
        char text[256], word[3] = { (char)('a' + i % 20), i < 20 ? '\0' : 'x', '\0' };
        snprintf(text, sizeof(text), format, 95 + i, word);
        batch_log(&b, SL_LOG_WARNING, text);
    }
    size_t lines = lines_of(in_dir("told"));
    batch_tell_warnings(&b);
    ck_assert_uint_eq(lines_of(in_dir("told")), lines + 1);
    send_errors_to(before);
    close(before);
    close(fd);
    return lines;
}

START_TEST(of_many_warnings_the_first_are_told)
{
    ck_assert_uint_eq(told("out/%d.jpg: left out: the film"), BATCH_TOLD_WARNINGS);
    ck_assert_uint_eq(told("out/%d%s.jpg: left out: the film"), BATCH_TOLD_WARNINGS);
    ck_assert_uint_eq(told("a.jpg: left out: EXIF of %d bytes"), BATCH_TOLD_WARNINGS);
    ck_assert_uint_eq(told("in/Trip: day 1/%d%s.jpg: ends early: or not"), BATCH_TOLD_WARNINGS);
    ck_assert_uint_eq(told("%d.jpg: has %s"), BATCH_MAX_WARNINGS + BATCH_TOLD_WARNINGS);
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
    tcase_add_test(tcase, heads_of_kinds_that_are_not_written);
    tcase_add_test(tcase, heads_at_the_end_are_found);
    tcase_add_test(tcase, noise_is_no_picture);
    tcase_add_test(tcase, records_come_back);
    tcase_add_test(tcase, damage_is_seen);
    tcase_add_test(tcase, a_shard_has_one_writer);
    tcase_add_test(tcase, merge_has_one_writer);
    tcase_add_test(tcase, a_journal_of_many_shards_is_merged_at_once);
    tcase_add_test(tcase, of_many_warnings_the_first_are_told);
    return run_case("app/batch_unit", tcase);
}
