// SPDX-License-Identifier: MIT
// tests/app/unit.c: the program's parser, names, bar, UTF-8 and what
// journals keep of detections, without a process around them.
#include "../base/run.h"
#include "batch_detect.h"
#include "jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_WORDS 64

static app_values values;
static char error[APP_ERROR_BYTES];
static char *words[MAX_WORDS];
static int first;

// Splits a line at spaces into argv and parses it.
static bool parse(const app_command *command, const char *line)
{
    static char copy[4096];
    int count = 0;
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        words[count++] = word;
    words[count] = NULL;
    error[0] = '\0';
    return app_parse(command, count, words, &values, &first, error);
}

START_TEST(values_arrive)
{
    ck_assert(parse(&app_deblur, "deblur --quality 7 a.png --memory=2G -o out --format jpg b.png "
                                 "--keep-threshold 0.25 --threads 256 --overwrite -q --tile 512"));
    ck_assert_uint_eq(values.quality, 7);
    ck_assert_uint_eq(values.memory, 2ull << 30);
    ck_assert_str_eq(values.output, "out");
    ck_assert_str_eq(values.format, "jpg");
    ck_assert(fabsf(values.keep_threshold - 0.25f) == 0);
    ck_assert_uint_eq(values.threads, 256);
    ck_assert_uint_eq(values.tile, 512);
    ck_assert(values.overwrite && values.quiet && !values.json && !values.help);
    ck_assert_str_eq(words[first], "a.png");
    ck_assert_str_eq(words[first + 1], "b.png");
    ck_assert(parse(&app_info, "info --size 640x480 m"));
    ck_assert_uint_eq(values.size[0], 640);
    ck_assert_uint_eq(values.size[1], 480);
    ck_assert(parse(&app_classify, "classify - photos/ -k 3 -g my.gallery --unknown-rate 0.25 -r "
                                   "--embedding e.npy --jsonl --device cpu"));
    ck_assert_uint_eq(values.top, 3);
    ck_assert_str_eq(values.gallery, "my.gallery");
    ck_assert_str_eq(values.embedding, "e.npy");
    ck_assert(fabsf(values.unknown_rate - 0.25f) == 0);
    ck_assert(values.jsonl && values.recursive && !values.json && !values.csv);
    ck_assert_str_eq(words[first], "-");
    ck_assert(parse(&app_bench, "bench --keep-share 1 --simd avx2"));
    ck_assert(fabsf(values.keep_share - 1) == 0);
}
END_TEST

START_TEST(units_of_bytes)
{
    static const struct {
        const char *line;
        uint64_t bytes;
    } cases[] = { { "deblur a --memory 1048576", 1048576 },
                  { "deblur a --memory 2048K", 2048ull << 10 },
                  { "deblur a --memory 512M", 512ull << 20 },
                  { "deblur a --memory 3G", 3ull << 30 },
                  { "deblur a --memory 1T", 1ull << 40 } };
    for (size_t i = 0; i < APP_LEN(cases); i++) {
        ck_assert_msg(parse(&app_deblur, cases[i].line), "%s: %s", cases[i].line, error);
        ck_assert_uint_eq(values.memory, cases[i].bytes);
    }
}
END_TEST

START_TEST(double_hyphen_ends_options)
{
    ck_assert(parse(&app_deblur, "deblur --json -- -q --json"));
    ck_assert(values.json && !values.quiet);
    ck_assert_str_eq(words[first], "-q");
    ck_assert_str_eq(words[first + 1], "--json");
}
END_TEST

// A parse that ended halfway must not leak into the next.
START_TEST(parses_are_independent)
{
    ck_assert(!parse(&app_deblur, "deblur -qx a"));
    ck_assert(!parse(&app_deblur, "deblur a --threads"));
    ck_assert(parse(&app_info, "info m --json"));
    ck_assert(values.json && !values.quiet);
    ck_assert_str_eq(words[first], "m");
}
END_TEST

START_TEST(tables_are_sound)
{
    for (size_t c = 0; app_commands[c]; c++) {
        const app_option *rows = app_commands[c]->options;
        ck_assert(app_commands[c]->run && strlen(app_commands[c]->examples) > 0);
        for (size_t i = 0; rows[i].name; i++) {
            ck_assert_int_lt((int)i, 64); // as many as app_parse takes
            ck_assert_uint_lt(rows[i].at, sizeof(app_values));
            ck_assert_msg((rows[i].kind == APP_FLAG) == (rows[i].value == NULL), "%s",
                          rows[i].name);
            ck_assert_msg((rows[i].kind == APP_CHOICE) == (rows[i].choices != NULL), "%s",
                          rows[i].name);
            ck_assert(rows[i].help[strlen(rows[i].help) - 1] != '.');
            for (size_t j = 0; j < i; j++) {
                ck_assert_str_ne(rows[i].name, rows[j].name);
                ck_assert(!rows[i].letter || rows[i].letter != rows[j].letter);
            }
        }
    }
}
END_TEST

START_TEST(near_names_are_found)
{
    ck_assert_str_eq(app_nearest_command("debulr"), "deblur");
    ck_assert_str_eq(app_nearest_command("inf"), "info");
    ck_assert_ptr_null(app_nearest_command("x"));
    ck_assert_ptr_null(app_nearest_command(""));
    ck_assert_str_eq(app_nearest_option(app_deblur.options, "keep-treshold"), "keep-threshold");
    ck_assert_ptr_null(app_nearest_option(app_deblur.options, "a-name-of-more-than-32-characters-"
                                                              "that-is-far-from-everything"));
}
END_TEST

START_TEST(names_are_derived)
{
    static const struct {
        const char *directory, *input;
        sl_image_format format;
        const char *want;
    } cases[] = {
        { NULL, "photo.jpg", SL_IMAGE_JPEG, "photo.deblurred.jpg" },
        { NULL, "a/b.c/photo.JPEG", SL_IMAGE_JPEG, "a/b.c/photo.deblurred.JPEG" },
        { NULL, "photo.jpg", SL_IMAGE_PNG, "photo.deblurred.png" },
        { NULL, "a.b/photo", SL_IMAGE_PNG, "a.b/photo.deblurred.png" },
        { NULL, "photo.webp", SL_IMAGE_JPEG, "photo.deblurred.jpg" },
        { NULL, "IMG_1.HEIC", SL_IMAGE_JPEG, "IMG_1.deblurred.jpg" },
        { NULL, "photo.avif", SL_IMAGE_PNG, "photo.deblurred.png" },
        { NULL, "scan.TIF", SL_IMAGE_PNG, "scan.deblurred.png" },
        { NULL, "photo.gif", SL_IMAGE_JPEG, "photo.gif.deblurred.jpg" },
        { NULL, ".png", SL_IMAGE_PNG, ".png.deblurred.png" },
        { "out", "a/photo.png", SL_IMAGE_PNG, "out/photo.deblurred.png" },
        { "out/", "/photo.png", SL_IMAGE_PNG, "out/photo.deblurred.png" },
        { "/", "photo.png", SL_IMAGE_PNG, "/photo.deblurred.png" },
    };
    for (size_t i = 0; i < APP_LEN(cases); i++) {
        char *path =
            app_derive_path(cases[i].directory, cases[i].input, "deblurred", cases[i].format);
        ck_assert_str_eq(path, cases[i].want);
        free(path);
    }
}
END_TEST

static sl_image_format format_of(const void *bytes, size_t size)
{
    ck_ok(sl_file_write(ctx, in_dir("picture"), true, bytes, size));
    return app_format_of_file(in_dir("picture"));
}

START_TEST(what_has_alpha_or_no_loss_is_png)
{
    static const struct {
        const char *name;
        sl_image_format want;
    } files[] = { { "alpha.heic", SL_IMAGE_PNG },    { "exif.heic", SL_IMAGE_JPEG },
                  { "deep.heic", SL_IMAGE_JPEG },    { "flat.avif", SL_IMAGE_JPEG },
                  { "lossless.webp", SL_IMAGE_PNG }, { "alpha.webp", SL_IMAGE_PNG },
                  { "turned.webp", SL_IMAGE_JPEG },  { "flat.tif", SL_IMAGE_PNG },
                  { "lossy.tif", SL_IMAGE_PNG } };
    for (size_t i = 0; i < APP_LEN(files); i++) {
        char path[512];
        snprintf(path, sizeof(path), IMAGE_DIR "/%s", files[i].name);
        ck_assert_msg(app_format_of_file(path) == files[i].want, "%s", files[i].name);
    }
    // Behind a profile of an odd length.
    char webp[] = "RIFF\x30\0\0\0WEBPVP8X\x0a\0\0\0\x20\0\0\0\x2f\0\0\x1f\0\0"
                  "ICCP\3\0\0\0abc\0VP8L\0\0\0\0";
    const size_t size = sizeof(webp) - 1;
    ck_assert_int_eq(format_of(webp, size), SL_IMAGE_PNG);
    ck_assert_int_eq(format_of(webp, size - 8), SL_IMAGE_JPEG);
    webp[size - 5] = ' ';
    ck_assert_int_eq(format_of(webp, size), SL_IMAGE_JPEG);
    webp[20] |= 0x10;
    ck_assert_int_eq(format_of(webp, size), SL_IMAGE_PNG);
    // By the other name of alpha, and by one of depth.
    char avif[] = "\0\0\0\x10"
                  "ftypavif\0\0\0\0\0\0\0\x50meta\0\0\0\0\0\0\0\x44"
                  "auxC\0\0\0\0urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0\0\0\0\0\0\0\0";
    ck_assert_int_eq(format_of(avif, sizeof(avif)), SL_IMAGE_PNG);
    memcpy(strchr(avif + 48, 0) - 5, "depth", 5);
    ck_assert_int_eq(format_of(avif, sizeof(avif)), SL_IMAGE_JPEG);
}
END_TEST

START_TEST(utf8_is_repaired)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        { "", "" },
        { "plain", "plain" },
        { "\xc3\xbc\xe2\x82\xac\xf0\x9f\x93\xb7", "\xc3\xbc\xe2\x82\xac\xf0\x9f\x93\xb7" },
        { "a\xff"
          "b",
          "a\xef\xbf\xbd"
          "b" },
        { "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },                                 // overlong
        { "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },                 // a surrogate
        { "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, // too large
        { "\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd" },                                 // cut short
    };
    for (size_t i = 0; i < APP_LEN(cases); i++) {
        char *text = app_utf8(cases[i].text);
        ck_assert_msg(strcmp(text, cases[i].want) == 0, "case %zu", i);
        free(text);
    }
}
END_TEST

START_TEST(columns_are_those_of_a_terminal)
{
    ck_assert_int_eq(app_columns(""), 0);
    ck_assert_int_eq(app_columns("wall clock"), 10);
    ck_assert_int_eq(app_columns("\xc3\xa9t\xc3\xa9"), 3);            // e acute, t, e acute
    ck_assert_int_eq(app_columns("e\xcc\x81"), 1);                    // e, combining acute
    ck_assert_int_eq(app_columns("\xe7\x8c\xab a"), 4);               // a Chinese cat
    ck_assert_int_eq(app_columns("\xf0\x9f\x90\x88"), 2);             // and its picture
    ck_assert_int_eq(app_columns("\xff\xe7"), 2);                     // damaged
    ck_assert_uint_eq(app_fitting("\xe7\x8c\xab\xe7\x8c\xab", 4), 6); // two Chinese cats
    ck_assert_uint_eq(app_fitting("\xe7\x8c\xab\xe7\x8c\xab", 3), 3);
    ck_assert_uint_eq(app_fitting("e\xcc\x81t", 1), 3);
    ck_assert_uint_eq(app_fitting("abc", -2), 0);
}
END_TEST

START_TEST(lines_are_harmless)
{
    char text[] = "a\n   b\tc\x1b[31m\x7f\xc3\xbc";
    app_one_line(text);
    ck_assert_str_eq(text, "a b?c?[31m?\xc3\xbc");
}
END_TEST

START_TEST(directories_are_made)
{
    ck_assert_int_eq(app_make_dirs(in_dir("a//b/c/")), 0);
    ck_assert_int_eq(app_make_dirs(in_dir("a//b/c/")), 0);
    ck_assert(app_is_directory(in_dir("a/b/c")));
    ck_ok(sl_file_write(ctx, in_dir("a/file"), false, "", 0));
    ck_assert_int_eq(app_make_dirs(in_dir("a/file/b")), EEXIST);
    ck_assert_int_eq(symlink("nowhere", in_dir("a/link")), 0);
    ck_assert_int_eq(app_make_dirs(in_dir("a/link/b")), EEXIST);
    ck_assert_int_eq(chmod(in_dir("a/b/c"), 0555), 0);
    if (geteuid() != 0)
        ck_assert_int_eq(app_make_dirs(in_dir("a/b/c/d")), EACCES);
    ck_assert_int_eq(chmod(in_dir("a/b/c"), 0755), 0);
}
END_TEST

// Runs a bar with stderr in a file, and reads what was drawn.
static void draw_bar(bool is_enabled, double elapsed, const char *label, char *out, size_t size)
{
    int file = open(in_dir("stderr"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    int saved = dup(STDERR_FILENO);
    ck_assert(file >= 0 && saved >= 0);
    fflush(stderr);
    dup2(file, STDERR_FILENO);
    app_progress progress = { .is_enabled = is_enabled };
    app_progress_begin(&progress, label);
    progress.started -= elapsed;
    bool goes_on = app_progress_step(&progress, 3, 12);
    app_progress_end(&progress);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    ck_assert(goes_on);
    ssize_t got = pread(file, out, size - 1, 0);
    ck_assert_int_ge((int)got, 0);
    out[got] = '\0';
    close(file);
}

START_TEST(bar_is_drawn_when_it_helps)
{
    char drawn[1024];
    draw_bar(true, 0.5, "photo.png", drawn, sizeof(drawn)); // too early
    ck_assert_str_eq(drawn, "");
    draw_bar(false, 60, "photo.png", drawn, sizeof(drawn)); // no terminal, or --quiet
    ck_assert_str_eq(drawn, "");
    draw_bar(true, 20, "ph\x1boto.png", drawn, sizeof(drawn));
    ck_assert_ptr_nonnull(strstr(drawn, "[######......"));
    ck_assert_ptr_nonnull(strstr(drawn, "3 of 12, 1:00 left"));
    ck_assert_ptr_nonnull(strstr(drawn, "ph?oto.png"));
    ck_assert_str_eq(drawn + strlen(drawn) - 4, "\r\033[K"); // and wiped
    char label[400];
    memset(label, 'x', sizeof(label) - 1);
    label[sizeof(label) - 1] = '\0';
    draw_bar(true, 20, label, drawn, sizeof(drawn));
    ck_assert_uint_lt(strlen(drawn), 80 + 10); // one row of the terminal
}
END_TEST

// A name that no device has is wrong usage; a device that fails is not the user's mistake.
START_TEST(failures_have_their_status)
{
    static const struct {
        sl_status status;
        app_exit want;
    } cases[] = { { SL_ERR_ARGUMENT, APP_USAGE },
                  { SL_ERR_DEVICE, APP_FAILED },
                  { SL_ERR_NOMEM, APP_FAILED },
                  { SL_ERR_CANCELLED, APP_INTERRUPTED } };
    app_session session = { .ctx = ctx };
    for (size_t i = 0; i < APP_LEN(cases); i++)
        ck_assert_int_eq(app_fail(&session, cases[i].status), cases[i].want);
}
END_TEST

// Through the text of a journal to the same floats.
START_TEST(detections_come_back)
{
    static const char *const labels[] = { "a", "b" };
    sl_detection items[] = {
        { 0.1f, 1.0f / 3, 1023.9999f, 4095.0007f, 0.98765433f, 1, "b", "b", NAN },
        { -1e-30f, 16777215, 16777216, 3.4e38f, 1e-7f, 0, "new \"one\"", "a", 0.33333334f },
    };
    sl_detections found = { .count = 2, .items = items, .width = 65535, .height = 1 }, back;
    json_t *json = batch_found_json(&found);
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_t *read = json_loads(text, 0, NULL);
    ck_assert(batch_found_read(read, labels, 2, &back));
    ck_assert(back.count == 2 && back.width == 65535 && back.height == 1 && isnan(back.seconds));
    for (size_t i = 0; i < 2; i++) {
        const sl_detection *a = &items[i], *b = &back.items[i];
        ck_assert(memcmp(a, b, offsetof(sl_detection, label)) == 0);
        ck_assert_str_eq(a->label, b->label);
        ck_assert_str_eq(a->class_label, b->class_label);
        ck_assert(memcmp(&a->refined, &b->refined, 4) == 0 || isnan(b->refined));
        ck_assert_str_eq(batch_step_detect.label(read, i), a->label);
    }
    ck_assert_ptr_null(batch_step_detect.label(read, 2));
    free(back.items);
    json_decref(read);
    free(text);
    json_decref(json);
}
END_TEST

START_TEST(damaged_detections_are_refused)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        "{\"width\":1,\"height\":1}",
        "{\"width\":-1,\"height\":1,\"objects\":[]}",
        "{\"width\":1,\"height\":4294967296,\"objects\":[]}",
        "{\"width\":1,\"height\":\"1\",\"objects\":[]}",
        "{\"width\":1,\"height\":1,\"objects\":{}}",
        "{\"width\":1,\"height\":1,\"objects\":[7]}",
        "{\"width\":1,\"height\":1,\"objects\":[{\"box\":[0,0,1],\"category\":0,\"label\":\"a\"}]}",
        "{\"width\":1,\"height\":1,\"objects\":[{\"box\":[0,0,1,1],\"category\":1,\"label\":\"a\"}]"
        "}",
        "{\"width\":1,\"height\":1,\"objects\":[{\"box\":[0,0,1,1],\"category\":-1,\"label\":\"a\"}"
        "]}",
        "{\"width\":1,\"height\":1,\"objects\":[{\"box\":[0,0,1,1],\"category\":0}]}",
    };
    static const char *const labels[] = { "a" };
    for (size_t i = 0; i < APP_LEN(texts); i++) {
        sl_detections back;
        json_t *json = json_loads(texts[i], 0, NULL);
        ck_assert_ptr_nonnull(json);
        ck_assert_msg(!batch_found_read(json, labels, 1, &back), "%s", texts[i]);
        json_decref(json);
    }
}
END_TEST

// What becomes of a process that nohup started when it gets two signals.
static int status_after(int one, int other)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGHUP, SIG_IGN);
        signal(SIGINT, SIG_DFL); // whatever our own parent ignores
        signal(SIGTERM, SIG_DFL);
        app_catch_signals();
        raise(one);
        raise(other);
        _exit(app_interrupted());
    }
    waitpid(child, &status, 0);
    return status;
}

START_TEST(second_signal_ends_and_ignored_ones_stay_so)
{
    int status = status_after(SIGTERM, SIGHUP);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    status = status_after(SIGHUP, SIGHUP);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = status_after(SIGTERM, SIGTERM);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    status = status_after(SIGTERM, SIGINT);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("unit");
    tcase_add_test(tests, values_arrive);
    tcase_add_test(tests, units_of_bytes);
    tcase_add_test(tests, double_hyphen_ends_options);
    tcase_add_test(tests, parses_are_independent);
    tcase_add_test(tests, tables_are_sound);
    tcase_add_test(tests, near_names_are_found);
    tcase_add_test(tests, names_are_derived);
    tcase_add_test(tests, what_has_alpha_or_no_loss_is_png);
    tcase_add_test(tests, utf8_is_repaired);
    tcase_add_test(tests, columns_are_those_of_a_terminal);
    tcase_add_test(tests, lines_are_harmless);
    tcase_add_test(tests, directories_are_made);
    tcase_add_test(tests, failures_have_their_status);
    tcase_add_test(tests, bar_is_drawn_when_it_helps);
    tcase_add_test(tests, detections_come_back);
    tcase_add_test(tests, damaged_detections_are_refused);
    tcase_add_test(tests, second_signal_ends_and_ignored_ones_stay_so);
    return run_case("app/unit", tests);
}
