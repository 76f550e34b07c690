// SPDX-License-Identifier: MIT
// tests/pipeline/detect_file.c: files of detections: what is refused, and that nothing is there
// before it is whole. What is in them detect_readers.py reads.
#include "../base/comma.h"
#include "../base/run.h"
#include "pipeline/detect_file.h"

#include <dirent.h>
#include <sys/stat.h>

static const char *const labels[] = { "person", "cat" };

static sl_detection one[] = { { 1, 2, 3.5f, 4, 0.5f, 1, "cat", "cat", NAN } };
static const sl_detections found = { .count = 1, .items = one, .width = 10, .height = 8 };
static const sl_detections nothing = { .width = 10, .height = 8 };

static const char *const names[] = {
    [SL_DETECT_JSON] = "a.json", [SL_DETECT_JSONL] = "a.jsonl",    [SL_DETECT_COCO] = "coco.json",
    [SL_DETECT_YOLO] = "yolo",   [SL_DETECT_LABELME] = "lab.json", [SL_DETECT_CVAT] = "a.xml",
    [SL_DETECT_CSV] = "a.csv",
};

static sl_detect_file *begin(const char *path, int format, bool overwrite)
{
    sl_detect_file *file;
    ck_ok(sl_detect_file_new(ctx, path, (sl_detect_format)format, labels, 2, overwrite, &file));
    return file;
}

static size_t entries(const char *path)
{
    size_t count = 0;
    DIR *folder = opendir(path);
    ck_assert_ptr_nonnull(folder);
    for (struct dirent *e; (e = readdir(folder));)
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(folder);
    return count;
}

static char *content(const char *path)
{
    sl_blob blob;
    ck_ok(sl_file_read(ctx, path, 1 << 20, &blob));
    char *text = sl_format(ctx, "%.*s", (int)blob.size, (const char *)blob.data);
    sl_blob_free(&blob);
    return text;
}

START_TEST(nothing_is_there_before_the_end)
{
    const char *path = in_dir(names[_i]);
    sl_detect_file *file = begin(path, _i, false);
    ck_ok(sl_detect_file_add(file, "p.png", &found));
    ck_assert(!sl_file_exists(path));
    sl_detect_file_free(file); // unfinished
    ck_assert_uint_eq(entries(dir), 0);
    file = begin(path, _i, false);
    ck_ok(sl_detect_file_add(file, "p.png", &found));
    ck_ok(sl_detect_file_finish(file));
    ck_fails(sl_detect_file_add(file, "p.png", &found), SL_ERR_ARGUMENT, "finished");
    ck_fails(sl_detect_file_finish(file), SL_ERR_ARGUMENT, "finished");
    sl_detect_file_free(file);
    ck_assert(sl_file_exists(path));
    ck_assert_uint_eq(entries(dir), 1);
}
END_TEST

START_TEST(files_that_are_there)
{
    const char *path = in_dir(names[_i]);
    sl_detect_file *file = begin(path, _i, false);
    ck_ok(sl_detect_file_add(file, "p.png", &found));
    ck_ok(sl_detect_file_finish(file));
    sl_detect_file_free(file);
    ck_fails(sl_detect_file_new(ctx, path, (sl_detect_format)_i, labels, 2, false, &file),
             SL_ERR_EXISTS, "already exists");
    ck_assert_ptr_null(file);
    file = begin(path, _i, true);
    ck_ok(sl_detect_file_add(file, "p.png", &nothing));
    ck_ok(sl_detect_file_finish(file));
    sl_detect_file_free(file);
}
END_TEST

START_TEST(places_that_are_none)
{
    sl_detect_file *file = NULL;
    ck_ok(sl_file_write(ctx, in_dir("file"), false, "x", 1));
    sl_status st =
        sl_detect_file_new(ctx, in_dir("file/a"), (sl_detect_format)_i, labels, 2, false, &file);
    if (_i == SL_DETECT_YOLO) { // the folder is made in the end
        ck_assert_int_eq(st, SL_OK);
        ck_fails(sl_detect_file_finish(file), SL_ERR_IO, "file");
        sl_detect_file_free(file);
        ck_fails(sl_detect_file_new(ctx, in_dir("file"), SL_DETECT_YOLO, labels, 2, true, &file),
                 SL_ERR_IO, "no folder");
    } else {
        ck_assert_int_eq(st, SL_ERR_IO);
    }
    ck_fails(sl_detect_file_new(ctx, "", (sl_detect_format)_i, labels, 2, false, &file),
             SL_ERR_ARGUMENT, "empty");
    ck_assert_ptr_null(file);
}
END_TEST

// After an argument that is refused the file goes on.
START_TEST(what_is_refused)
{
    sl_detect_file *file = begin(in_dir(names[_i]), _i, false);
    sl_detection bad[] = { one[0] };
    sl_detections wrong = { .count = 1, .items = bad, .width = 10, .height = 8 };
    bad[0].y2 = NAN;
    ck_fails(sl_detect_file_add(file, "p.png", &wrong), SL_ERR_ARGUMENT, "finite");
    bad[0] = one[0];
    bad[0].category = 2;
    ck_fails(sl_detect_file_add(file, "p.png", &wrong), SL_ERR_ARGUMENT, "2 labels");
    bad[0] = one[0];
    wrong.height = 0;
    ck_fails(sl_detect_file_add(file, "p.png", &wrong), SL_ERR_ARGUMENT, "10x0");
    ck_ok(sl_detect_file_add(file, "p.png", &found));
    ck_ok(sl_detect_file_finish(file));
    sl_detect_file_free(file);
    sl_detect_file_free(NULL);
    ck_fails(
        sl_detect_file_new(ctx, in_dir("x"), (sl_detect_format)(100 + _i), labels, 2, false, &file),
        SL_ERR_ARGUMENT, "format");
}
END_TEST

START_TEST(one_picture_a_file)
{
    const int format = _i ? SL_DETECT_LABELME : SL_DETECT_JSON;
    sl_detect_file *file = begin(in_dir("a.json"), format, false);
    ck_ok(sl_detect_file_add(file, "p.png", &found));
    ck_fails(sl_detect_file_add(file, "q.png", &found), SL_ERR_ARGUMENT, "one picture");
    ck_ok(sl_detect_file_finish(file));
    sl_detect_file_free(file);
    file = begin(in_dir("b.json"), format, false);
    ck_fails(sl_detect_file_finish(file), SL_ERR_ARGUMENT, "no picture");
    sl_detect_file_free(file);
    ck_assert_uint_eq(entries(dir), 1);
}
END_TEST

START_TEST(yolo_keeps_pictures_apart)
{
    const char *path = in_dir("yolo");
    sl_detect_file *file = begin(path, SL_DETECT_YOLO, false);
    ck_ok(sl_detect_file_add(file, "a/p.png", &found));
    ck_ok(sl_detect_file_add(file, ".hidden", &found));
    ck_fails(sl_detect_file_add(file, "b/p.jpg", &found), SL_ERR_EXISTS, "b/p.jpg");
    for (int i = 0; i < 100; i++) {
        char name[32];
        snprintf(name, sizeof(name), "%d.x.png", i);
        ck_ok(sl_detect_file_add(file, name, &nothing));
    }
    ck_ok(sl_detect_file_finish(file));
    sl_detect_file_free(file);
    ck_assert_uint_eq(entries(in_dir("yolo/labels")), 102);
    ck_assert(sl_file_exists(in_dir("yolo/labels/.hidden.txt")));
    // Another folder's data.yaml is not there yet, but its labels are.
    ck_assert_int_eq(unlink(in_dir("yolo/data.yaml")), 0);
    file = begin(path, SL_DETECT_YOLO, false);
    ck_fails(sl_detect_file_add(file, "p.png", &found), SL_ERR_EXISTS, "p.txt");
    ck_ok(sl_detect_file_add(file, "q.png", &found));
    // What fails in the end takes back what it wrote.
    ck_assert_int_eq(mkdir(in_dir("yolo/data.yaml"), 0777), 0);
    ck_assert_int_ne(sl_detect_file_finish(file), SL_OK);
    sl_detect_file_free(file);
    ck_assert(!sl_file_exists(in_dir("yolo/labels/q.txt")));
    ck_assert_uint_eq(entries(in_dir("yolo/labels")), 102);
    // But not what was there before.
    ck_assert_int_eq(rmdir(in_dir("yolo/data.yaml")), 0);
    file = begin(in_dir("yolo"), SL_DETECT_YOLO, true);
    ck_ok(sl_detect_file_add(file, "p.png", &found));
    ck_ok(sl_detect_file_add(file, "q.png", &found));
    ck_assert_int_eq(mkdir(in_dir("yolo/data.yaml"), 0777), 0);
    ck_assert_int_ne(sl_detect_file_finish(file), SL_OK);
    sl_detect_file_free(file);
    ck_assert(sl_file_exists(in_dir("yolo/labels/p.txt")));
    ck_assert_uint_eq(entries(in_dir("yolo/labels")), 102);
    // A folder that is new goes, too, or the next run would find it.
    char name[301] = { 0 };
    memset(name, 'n', 300); // longer than file systems take
    file = begin(in_dir("new"), SL_DETECT_YOLO, false);
    ck_ok(sl_detect_file_add(file, "p.png", &found));
    ck_ok(sl_detect_file_add(file, name, &found));
    ck_fails(sl_detect_file_finish(file), SL_ERR_IO, "nnn");
    sl_detect_file_free(file);
    ck_assert(!sl_file_exists(in_dir("new")));
}
END_TEST

START_TEST(numbers_have_points_in_every_locale)
{
    sl_page page = { 0 };
    for (int comma = 0; comma < 2; comma++) {
        if (comma && !test_set_comma(dir))
            break;
        page.text.size = 0;
        ck_ok(sl_page_number(ctx, &page, "<", 1234.5625, ">"));
        ck_ok(sl_page_number(ctx, &page, " ", -1e-20, ""));
        ck_ok(sl_page_number(ctx, &page, " ", 3, ""));
        setlocale(LC_ALL, "C");
        ck_assert_uint_eq(page.text.size, strlen("<1234.562> -1e-20 3"));
        ck_assert_mem_eq(page.text.data, "<1234.562> -1e-20 3", page.text.size);
    }
    sl_page_free(&page);
}
END_TEST

START_TEST(labels_that_refining_made_up)
{
    sl_detection refined[] = { one[0], one[0], one[0] };
    refined[0].label = refined[2].label = "newt";
    refined[1].label = "person";
    refined[0].refined = refined[1].refined = refined[2].refined = 0.5f;
    const sl_detections three = { .count = 3, .items = refined, .width = 10, .height = 8 };
    sl_detect_file *file = begin(in_dir("yolo"), SL_DETECT_YOLO, false);
    ck_ok(sl_detect_file_add(file, "p.png", &three));
    // The detector's indices end where they did.
    refined[0].category = 2;
    ck_fails(sl_detect_file_add(file, "q.png", &three), SL_ERR_ARGUMENT, "2 labels");
    refined[0].category = 0;
    ck_ok(sl_detect_file_finish(file));
    sl_detect_file_free(file);
    char *text = content(in_dir("yolo/labels/p.txt"));
    ck_assert_str_eq(text, "2 0.225 0.375 0.25 0.25\n0 0.225 0.375 0.25 0.25\n"
                           "2 0.225 0.375 0.25 0.25\n");
    free(text);
}
END_TEST

static void seen(const char *file, const char *picture, const char *want)
{
    char *got = sl_seen_from(ctx, file, picture);
    ck_assert_str_eq(got, want);
    free(got);
}

START_TEST(paths_from_file_to_picture)
{
    char *root = realpath(dir, NULL);
    ck_assert_ptr_nonnull(root);
    ck_assert_int_eq(chdir(dir), 0);
    ck_assert_int_eq(mkdir("a", 0777) + mkdir("a/b", 0777) + mkdir("ab", 0777), 0);
    seen("x.json", "p.png", "p.png");
    seen("a/x.json", "a/p.png", "p.png");
    seen("a/b/x.json", "a/p.png", "../p.png");
    seen("a/x.json", "a/b/p.png", "b/p.png");
    seen("a/x.json", "ab/p.png", "../ab/p.png");
    seen("ab/x.json", "./a/b/../p.png", "../a/p.png");
    seen("/x.json", "/p.png", "p.png");
    char *absolute = sl_format(ctx, "%s/a/p.png", root), *below = sl_format(ctx, "%s", root + 1);
    seen("a/x.json", absolute, "p.png");
    char *want = sl_format(ctx, "%s/p.png", below);
    seen("/x.json", "p.png", want);
    seen("a/x.json", "/nowhere/p.png", "/nowhere/p.png");
    seen("nowhere/x.json", "a/p\xFF.png", "a/p\xEF\xBF\xBD.png");
    ck_assert_int_eq(chdir("/"), 0);
    free(absolute);
    free(below);
    free(want);
    free(root);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("detect_file");
    const int formats = (int)SL_ARRAY_LEN(names);
    tcase_add_loop_test(tests, nothing_is_there_before_the_end, 0, formats);
    tcase_add_loop_test(tests, files_that_are_there, 0, formats);
    tcase_add_loop_test(tests, places_that_are_none, 0, formats);
    tcase_add_loop_test(tests, what_is_refused, 0, formats);
    tcase_add_loop_test(tests, one_picture_a_file, 0, 2);
    tcase_add_test(tests, yolo_keeps_pictures_apart);
    tcase_add_test(tests, numbers_have_points_in_every_locale);
    tcase_add_test(tests, labels_that_refining_made_up);
    tcase_add_test(tests, paths_from_file_to_picture);
    return run_case("pipeline/detect_file", tests);
}
