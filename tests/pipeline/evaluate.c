// SPDX-License-Identifier: MIT
// tests/pipeline/evaluate.c: a detector that is measured on what it says itself is perfect, by
// candidates from one score on, and progress counts one thing at a time.
#include "photo.h"
#include "pipeline/detect.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

static void write_annotations(const char *file, const sl_detections *found)
{
    FILE *f = fopen(file, "w");
    ck_assert_ptr_nonnull(f);
    fprintf(f,
            "{\"images\": [{\"id\": 4, \"file_name\": \"a.png\", \"width\": %u, \"height\": %u}],"
            "\"categories\": [",
            found->width, found->height);
    for (size_t i = 0; i < found->label_count; i++)
        fprintf(f, "%s{\"id\": %zu, \"name\": \"%s\"}", i ? ", " : "", 10 + i, found->labels[i]);
    fprintf(f, "], \"annotations\": [");
    for (size_t i = 0; i < found->count; i++) {
        const sl_detection *o = &found->items[i];
        double w = (double)(o->x2 - o->x1), h = (double)(o->y2 - o->y1);
        fprintf(f,
                "%s{\"id\": %zu, \"image_id\": 4, \"category_id\": %u, \"iscrowd\": 0,"
                "\"bbox\": [%.9g, %.9g, %.9g, %.9g], \"area\": %.9g}",
                i ? ", " : "", i + 1, 10 + o->category, (double)o->x1, (double)o->y1, w, h, w * h);
    }
    fprintf(f, "]}\n");
    ck_assert_int_eq(fclose(f), 0);
}

// Beside any other way boxes are joined the hard one, by the overlap that is usual there.
static void check_second_way(const sl_model *model, const char *annotations, const char *folder)
{
    const sl_detect_options options = {
        .score = 0.05f, .most = 8, .nms = SL_NMS_LINEAR, .iou = 0.95f
    };
    sl_detect *d;
    char *text;
    ok(sl_detect_new(ctx, model, &options, &d));
    ok(sl_detect_evaluate(d, annotations, folder, &text));
    json_t *report = json_loads(text, 0, NULL);
    const json_t *hard = json_object_get(report, "hard"),
                 *linear = json_object_get(report, "linear");
    ck_assert(fabs(json_number_value(json_object_get(hard, "AP")) - 1) < 1e-9);
    ck_assert(json_number_value(json_object_get(linear, "AP")) < 0.99);
    json_decref(report);
    free(text);
    sl_detect_free(d);
}

// The truth is the detector's own best objects: it finds all of them before any other.
START_TEST(its_own_words_are_perfect)
{
    sl_model *model = open_model(GOLDEN("retina-plain"), "soft-retinanet");
    const sl_detect_options options = { .score = 0.05f, .most = 8, .nms = SL_NMS_HARD };
    sl_image *image = photo(160, 96, false);
    sl_detections *found;
    char dir[] = "/tmp/softlens-detect-XXXXXX";
    char annotations[64], picture[64], *text;
    sl_detect *d;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(annotations, sizeof(annotations), "%s/a.json", dir);
    snprintf(picture, sizeof(picture), "%s/a.png", dir);
    const sl_save_options save = { .overwrite = true };
    ok(sl_image_save(ctx, image, picture, &save));
    ok(sl_detect_new(ctx, model, &options, &d));
    ok(sl_detect_run(d, image, &found));
    write_annotations(annotations, found);
    ok(sl_detect_evaluate(d, annotations, dir, &text));
    json_t *report = json_loads(text, 0, NULL);
    const json_t *hard = json_object_get(report, "hard");
    ck_assert_ptr_nonnull(hard);
    ck_assert_ptr_null(json_object_get(report, "gaussian"));
    ck_assert(fabs(json_number_value(json_object_get(hard, "AP")) - 1) < 1e-9);
    ck_assert(fabs(json_number_value(json_object_get(hard, "AR100")) - 1) < 1e-9);
    json_decref(report);
    free(text);
    check_second_way(model, annotations, dir);
    unlink(annotations);
    says(sl_detect_evaluate(d, annotations, dir, &text), SL_ERR_IO, "a.json");
    ck_assert_ptr_null(text);
    unlink(picture);
    rmdir(dir);
    sl_detections_free(found);
    sl_detect_free(d);
    sl_image_free(image);
    sl_model_free(model);
}
END_TEST

// A picture turned or scaled since it was annotated would be measured by boxes that lie elsewhere.
START_TEST(pictures_are_as_they_were_annotated)
{
    static const uint32_t sizes[][2] = { { 161, 96 }, { 160, 97 }, { 96, 160 } };
    const sl_save_options save = { .overwrite = true };
    char folder[] = "/tmp/softlens-annotated-XXXXXX", annotations[64], picture[64], *text;
    sl_model *model = open_model(GOLDEN("retina-plain"), "soft-retinanet");
    sl_detect *d;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(annotations, sizeof(annotations), "%s/a.json", folder);
    snprintf(picture, sizeof(picture), "%s/a.png", folder);
    ok(sl_detect_new(ctx, model, NULL, &d));
    const char *const *labels = sl_detect_labels(d, &(size_t) { 0 });
    const sl_detections none = { .width = 160, .height = 96, .label_count = 1, .labels = labels };
    write_annotations(annotations, &none);
    for (size_t i = 0; i < SL_ARRAY_LEN(sizes); i++) {
        sl_image *image = photo(sizes[i][0], sizes[i][1], false);
        ok(sl_image_save(ctx, image, picture, &save));
        says(sl_detect_evaluate(d, annotations, folder, &text), SL_ERR_FORMAT,
             "the annotations say 160 x 96");
        sl_image_free(image);
    }
    unlink(annotations);
    unlink(picture);
    rmdir(folder);
    sl_detect_free(d);
    sl_model_free(model);
}
END_TEST

// ---- what takes part

#define CATEGORIES 5

// A detector so unsure that some of its objects lie below the threshold of a measurement.
static sl_model *open_unsure(void)
{
    edit e;
    float bias[45]; // of nine anchors and five classes
    sl_model *model;
    edit_open(&e, GOLDEN("retina-plain"));
    sl_tensor *t = edit_find(&e, "bbox_head.retina_cls.bias");
    ck_assert_uint_eq(t->shape.dim[0], SL_ARRAY_LEN(bias));
    sl_tensor_to_f32(t, bias);
    for (size_t i = 0; i < SL_ARRAY_LEN(bias); i++)
        bias[i] -= 9;
    *t = (sl_tensor) { t->name, SL_F32, t->shape, bias, sizeof(bias) };
    ok(edit_reopen(&e, &model));
    sl_tensor_set_free(e.set);
    return model;
}

// The mean over classes of the share of objects that are as sure as that.
static double share_from(const sl_detections *found, float score)
{
    size_t all[CATEGORIES] = { 0 }, some[CATEGORIES] = { 0 }, classes = 0;
    double sum = 0;
    for (size_t i = 0; i < found->count; i++) {
        all[found->items[i].category]++;
        some[found->items[i].category] += found->items[i].score >= score;
    }
    for (size_t i = 0; i < CATEGORIES; i++) {
        classes += all[i] > 0;
        sum += all[i] > 0 ? (double)some[i] / (double)all[i] : 0;
    }
    return sum / (double)classes;
}

// Whatever is shown, what is measured are the candidates from one score on; objects below it are
// missed, also by who finds them before and after.
START_TEST(what_is_shown_is_not_what_is_measured)
{
    static const float scores[] = { 0.01f, 0.05f, 0.2f };
    const sl_save_options save = { .overwrite = true };
    char folder[] = "/tmp/softlens-measured-XXXXXX", annotations[64], picture[64], *text;
    sl_model *model = open_unsure();
    sl_image *image = photo(160, 96, false);
    double want = 0;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(annotations, sizeof(annotations), "%s/a.json", folder);
    snprintf(picture, sizeof(picture), "%s/a.png", folder);
    ok(sl_image_save(ctx, image, picture, &save));
    for (size_t i = 0; i < SL_ARRAY_LEN(scores); i++) {
        const sl_detect_options options = { .score = scores[i], .nms = SL_NMS_HARD };
        sl_detections *found, *again;
        sl_detect *d;
        ok(sl_detect_new(ctx, model, &options, &d));
        ok(sl_detect_run(d, image, &found));
        if (i == 0) {
            write_annotations(annotations, found);
            want = share_from(found, 0.05f);
            ck_assert_msg(found->count < 100 && want > 0.1 && want < 0.9, "%zu, %g", found->count,
                          want);
        }
        ok(sl_detect_evaluate(d, annotations, folder, &text));
        json_t *report = json_loads(text, 0, NULL);
        const json_t *recall = json_object_get(json_object_get(report, "hard"), "AR100");
        ck_assert_msg(fabs(json_number_value(recall) - want) < 1e-5, "%g: %g, not %g",
                      (double)scores[i], json_number_value(recall), want);
        ok(sl_detect_run(d, image, &again));
        ck_assert_uint_eq(again->count, found->count);
        json_decref(report);
        free(text);
        sl_detections_free(found);
        sl_detections_free(again);
        sl_detect_free(d);
    }
    unlink(annotations);
    unlink(picture);
    rmdir(folder);
    sl_image_free(image);
    sl_model_free(model);
}
END_TEST

// ---- progress

typedef struct watch {
    size_t calls, done, total, stop; // stop: at which call; 0: never
    bool is_one_thing;               // the same total throughout, and never back
} watch;

static bool see_progress(void *user, size_t done, size_t total)
{
    watch *w = user;
    w->is_one_thing = w->calls == 0 || (w->is_one_thing && total == w->total && done >= w->done);
    w->done = done;
    w->total = total;
    return ++w->calls != w->stop;
}

static watch watched;

static void watch_from_now(size_t stop)
{
    watched = (watch) { .stop = stop };
    ctx->options.progress = see_progress;
    ctx->options.progress_user = &watched;
}

// A picture's tiles, up to the last; in an evaluation pictures alone, which a tile can stop too.
// The model's file has a name that is not UTF-8.
START_TEST(progress_counts_one_thing)
{
    const sl_detect_options options = { .tile = 64 }; // 4 x 2 of them, as they overlap
    char folder[] = "/tmp/softlens-progress-XXXXXX", names[3][64], *text;
    static const char *const files[] = { "a.json", "a.png", "m\xFF.safetensors" };
    sl_image *image = photo(176, 96, false);
    sl_detections *found;
    sl_detect *d;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    for (int i = 0; i < 3; i++)
        snprintf(names[i], sizeof(names[0]), "%s/%s", folder, files[i]);
    ck_assert_int_eq(symlink(GOLDEN("retina-plain"), names[2]), 0);
    ok(sl_image_save(ctx, image, names[1], NULL));
    sl_model *model = open_model(names[2], "soft-retinanet");
    ok(sl_detect_new(ctx, model, &options, &d));
    watch_from_now(0);
    ok(sl_detect_run(d, image, &found));
    ck_assert(watched.is_one_thing && watched.total == 8 && watched.done == 8);
    write_annotations(names[0], found);
    sl_detections_free(found);
    watch_from_now(3);
    says(sl_detect_run(d, image, &found), SL_ERR_CANCELLED, "2 of 8");
    watch_from_now(0);
    ok(sl_detect_evaluate(d, names[0], folder, &text));
    ck_assert(watched.is_one_thing && watched.total == 1 && watched.done == 1);
    ck_assert_ptr_nonnull(strstr(text, "/m\xEF\xBF\xBD.safetensors\""));
    free(text);
    watch_from_now(3);
    says(sl_detect_evaluate(d, names[0], folder, &text), SL_ERR_CANCELLED, "0 of 1");
    watch_from_now(0);
    ok(sl_detect_run(d, image, &found));
    ck_assert_uint_eq(watched.total, 8);
    sl_detections_free(found);
    sl_detect_free(d);
    sl_image_free(image);
    sl_model_free(model);
    for (int i = 0; i < 3; i++)
        unlink(names[i]);
    rmdir(folder);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("evaluate");
    Suite *suite = suite_create("pipeline/evaluate");
    tcase_set_timeout(tests, 0);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, its_own_words_are_perfect);
    tcase_add_test(tests, pictures_are_as_they_were_annotated);
    tcase_add_test(tests, what_is_shown_is_not_what_is_measured);
    tcase_add_test(tests, progress_counts_one_thing);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
