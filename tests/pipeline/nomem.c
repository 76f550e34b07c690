// SPDX-License-Identifier: MIT
// tests/pipeline/nomem.c: memory runs out at every single allocation in turn.
#include "../base/nomem.h"

#include "scene.h"
#include "soft_model.h"

#include <jansson.h>

static sl_model *model;
static sl_image *image;

static void make_inputs(void)
{
    model = model_of(1, 1, 1, TEST_KEEPS_BRIGHT, 70);
    image = scene(40, 16, 3, 8, SCENE_BRIGHT, 71);
}

static void drop_inputs(void)
{
    sl_image_free(image);
    sl_model_free(model);
}

static sl_status run_with_heat(sl_deblur *d, const sl_image *picture)
{
    sl_image *out = NULL, *heat = NULL;
    sl_status st = sl_deblur_run(d, picture, &out, &heat, NULL);
    allow_all();
    ck_assert((st == SL_OK) == (out != NULL) && (out != NULL) == (heat != NULL));
    sl_image_free(out);
    sl_image_free(heat);
    return st;
}

// Two tiles of a smaller picture, and heat.
static sl_status deblur_once(void *arg)
{
    sl_deblur_options options = { .tile = 32, .shrink = 2 };
    sl_deblur *d = NULL;
    sl_status st = sl_deblur_new(ctx, model, &options, &d);
    if (st == SL_OK)
        st = run_with_heat(d, arg);
    allow_all();
    sl_deblur_free(d);
    return st;
}

// Two sizes, joined, and heat.
static sl_status join_once(void *arg)
{
    return run_with_heat(arg, image);
}

START_TEST(looks_survive)
{
    sl_deblur *d;
    make_inputs();
    sl_image_free(image);
    image = scene(768, 128, 3, 8, SCENE_BRIGHT_SPOT, 73);
    ck_ok(sl_deblur_new(ctx, model, &(sl_deblur_options) { .tile = 256 }, &d));
    ck_assert_int_gt(exhaust(join_once, d), 20);
    sl_deblur_free(d);
    drop_inputs();
}
END_TEST

START_TEST(deblur_survives)
{
    make_inputs();
    sl_image *large = scene(80, 32, 3, 8, SCENE_BRIGHT, 72);
    ck_assert_int_gt(exhaust(deblur_once, large), 50);
    sl_image_free(large);
    drop_inputs();
}
END_TEST

// A run that failed leaves an object that works, whether its network stood already or not.
START_TEST(deblur_recovers)
{
    make_inputs();
    sl_deblur *d;
    sl_image *want, *out;
    ck_ok(sl_deblur_new(ctx, model, NULL, &d));
    ck_ok(sl_deblur_run(d, image, &want, NULL, NULL));
    for (long n = 0; n < 200; n++) {
        sl_image *heat = NULL;
        allowed = n;
        sl_status st = sl_deblur_run(d, image, &out, n % 2 ? &heat : NULL, NULL);
        allow_all();
        sl_image_free(heat);
        sl_image_free(out);
        ck_assert(st == SL_OK || st == SL_ERR_NOMEM);
        ck_ok(sl_deblur_run(d, image, &out, NULL, NULL));
        ck_assert_msg(differing(want, out) == 0, "after allocation %ld failed", n);
        sl_image_free(out);
    }
    sl_image_free(want);
    sl_deblur_free(d);
    drop_inputs();
}
END_TEST

// A trace costs no work that goes on without it: only to begin and to write it may fail.
static sl_status trace_once(void *arg)
{
    sl_image *out = NULL;
    sl_deblur *d = NULL;
    (void)arg;
    sl_status st = sl_trace_begin(ctx, in_dir("trace.json"), true);
    if (st == SL_OK)
        st = sl_deblur_new(ctx, model, NULL, &d);
    if (st == SL_OK)
        st = sl_deblur_run(d, image, &out, NULL, NULL);
    if (st == SL_OK)
        st = sl_trace_write(ctx);
    allow_all();
    if (ctx->trace)
        ck_ok(sl_trace_write(ctx));
    sl_image_free(out);
    sl_deblur_free(d);
    return st;
}

START_TEST(traces_survive)
{
    make_inputs();
    long lived_with = 0;
    for (long n = 0;; n++) {
        failures = 0;
        allowed = n;
        sl_status st = trace_once(NULL);
        if (failures == 0)
            break;
        ck_assert(st == SL_OK || st == SL_ERR_NOMEM);
        lived_with += st == SL_OK;
    }
    ck_assert_int_gt(lived_with, 0);
    drop_inputs();
}
END_TEST

static sl_status run_once(void *arg)
{
    sl_run_options options = { .overwrite = true };
    (void)arg;
    return sl_model_run(ctx, model, in_dir("in.npy"), in_dir("out"), &options);
}

START_TEST(run_survives)
{
    static const float pixels[16 * 16 * 3];
    sl_tensor t = { "x", SL_F32, { 3, { 16, 16, 3 } }, pixels, sizeof(pixels) };
    make_inputs();
    ck_ok(sl_npy_write(ctx, in_dir("in.npy"), true, &t));
    ck_assert_int_gt(exhaust(run_once, NULL), 50);
    ck_assert(sl_file_exists(in_dir("out/output.npy")));
    drop_inputs();
}
END_TEST

// Two pictures of one class enrolled, and one of them found again.
static sl_image *another;

static sl_status classify_once(void *arg)
{
    const sl_model *soft = arg;
    sl_gallery *gallery = NULL;
    sl_classify *teacher = NULL, *classify = NULL;
    sl_classification *found = NULL;
    sl_status st = sl_gallery_new(ctx, soft, &gallery);
    if (st == SL_OK)
        st = sl_classify_new(ctx, soft, NULL, NULL, &teacher);
    for (int i = 0; i < 2 && st == SL_OK; i++)
        st = sl_classify_enroll(teacher, gallery, "a", i ? another : image);
    if (st == SL_OK)
        st = sl_classify_new(ctx, soft, gallery, NULL, &classify);
    if (st == SL_OK)
        st = sl_classify_run(classify, image, 3, &found);
    allow_all();
    ck_assert((st == SL_OK) == (found != NULL));
    sl_classification_free(found);
    sl_classify_free(classify);
    sl_classify_free(teacher);
    sl_gallery_free(gallery);
    return st;
}

START_TEST(classify_survives)
{
    test_soft spec = { .head = SL_SOFT_HEAD_HYPERSPHERICAL, .classes = 3, .has_reject = true };
    sl_model *soft;
    ck_ok(test_soft_open(ctx, in_dir("soft.safetensors"), &spec, &soft));
    image = scene(70, 90, 4, 16, SCENE_BRIGHT, 72);
    another = scene(70, 90, 4, 16, SCENE_BRIGHT, 73);
    ck_assert_int_gt(exhaust(classify_once, soft), 50);
    sl_image_free(another);
    sl_image_free(image);
    sl_model_free(soft);
}
END_TEST

// From the file on: what is made of the tensors at load is freed by halves, too.
static sl_status soft_once(void *arg)
{
    sl_run_options options = { .device = "cpu", .overwrite = true };
    sl_model *soft = NULL;
    (void)arg;
    sl_status st = sl_model_open(ctx, GOLDEN_DIR "/soft-norm.safetensors", &soft);
    if (st == SL_OK)
        st = sl_model_run(ctx, soft, in_dir("in.npy"), in_dir("out"), &options);
    sl_model_free(soft);
    return st;
}

START_TEST(soft_survives)
{
    static const float pixels[32 * 32 * 3];
    sl_tensor t = { "x", SL_F32, { 3, { 32, 32, 3 } }, pixels, sizeof(pixels) };
    ck_ok(sl_npy_write(ctx, in_dir("in.npy"), true, &t));
    ck_assert_int_gt(exhaust(soft_once, NULL), 100);
    ck_assert(sl_file_exists(in_dir("out/logits.npy")));
}
END_TEST

// ---- the detector: whole, mirror image and tiles

static const sl_detect_options looking = { .score = 0.5f, .flip = true, .tile = 50 };

static sl_status detect_once(void *arg)
{
    sl_detect *d = NULL;
    sl_detections *found = NULL;
    char *text = NULL;
    sl_status st = sl_detect_new(ctx, arg, &looking, &d);
    if (st == SL_OK)
        st = sl_detect_run(d, image, &found);
    allow_all();
    ck_assert((st == SL_OK) == (found != NULL));
    if (d && st != SL_OK) { // it goes on, also where there is nothing to look at
        ck_ok(sl_detect_evaluate(d, in_dir("none.json"), dir, &text));
        free(text);
    }
    sl_detections_free(found);
    sl_detect_free(d);
    return st;
}

// A report that is given is whole.
static char *report; // of a run that had all the memory it wanted

static void check_report(sl_status st, char *text)
{
    allow_all();
    ck_assert((st == SL_OK) == (text != NULL));
    if (!text)
        return;
    json_t *object = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(object);
    json_object_del(object, "seconds");
    char *rest = json_dumps(object, JSON_COMPACT);
    if (!report)
        report = rest;
    else
        ck_assert_str_eq(rest, report);
    if (report != rest)
        free(rest);
    json_decref(object);
    free(text);
}

static sl_status evaluate_once(void *arg)
{
    char *text = NULL;
    sl_status st = sl_detect_evaluate(arg, in_dir("a.json"), dir, &text);
    check_report(st, text);
    return st;
}

// The same of a trace, whose spans are where they are each time.
static sl_status write_trace_once(void *arg)
{
    const char *path = in_dir("trace.json");
    const long later = allowed; // failures are for the writing alone
    sl_blob text = { 0 };
    (void)arg;
    allow_all();
    ck_ok(sl_trace_begin(ctx, path, true));
    sl_trace_reserve(ctx, 2);
    const double start = ctx->trace->started;
    const unsigned track = sl_trace_track(ctx, "device", "its own");
    sl_trace_add(ctx, &(sl_span) { .name = "decode", .start = start + 1, .seconds = 0.5 });
    sl_trace_add(ctx, &(sl_span) { .name = "a block",
                                   .family = "block",
                                   .start = start + 2,
                                   .seconds = 0.25,
                                   .macs = 3e9,
                                   .track = track });
    allowed = later;
    sl_status st = sl_trace_write(ctx);
    allow_all();
    ck_assert((st == SL_OK) == sl_file_exists(path));
    if (st == SL_OK)
        ck_ok(sl_file_read(ctx, path, 1 << 16, &text));
    unlink(path);
    check_report(st, text.data ? sl_format(ctx, "%.*s", (int)text.size, text.data) : NULL);
    sl_blob_free(&text);
    return st;
}

static sl_status evaluate_results_once(void *arg)
{
    char *text = NULL;
    (void)arg;
    sl_status st = sl_detections_evaluate(ctx, in_dir("a.json"), in_dir("r.json"), &text);
    check_report(st, text);
    return st;
}

// jansson's memory ends with ours; nothing that it keeps was given by another.
static long exhaust_json(once_fn once, void *arg)
{
    json_set_alloc_funcs(__wrap_malloc, free);
    report = NULL;
    ck_ok(once(arg));
    const long n = exhaust(once, arg);
    free(report);
    json_set_alloc_funcs(__real_malloc, free);
    return n;
}

START_TEST(what_a_trace_tells_survives)
{
    ck_assert_int_gt(exhaust_json(write_trace_once, NULL), 50);
}
END_TEST

START_TEST(detector_survives)
{
    static const char truth[] =
        "{\"images\": [{\"id\": 1, \"file_name\": \"a.png\", \"width\": 60, \"height\": 50}],"
        "\"categories\": [{\"id\": 1, \"name\": \"thing 0\"}, {\"id\": 2, \"name\": \"thing 3\"}],"
        "\"annotations\": [{\"id\": 1, \"image_id\": 1, \"category_id\": 1, \"bbox\": [0, 0, 40, "
        "40]}]}";
    static const char none[] = "{\"images\": [], \"annotations\": [],"
                               "\"categories\": [{\"id\": 1, \"name\": \"thing 0\"}]}";
    static const char found[] =
        "[{\"image_id\": 1, \"category_id\": 1, \"bbox\": [0, 0, 40, 39], \"score\": 0.5}]";
    sl_model *retina;
    sl_detect *d;
    ck_ok(sl_model_open(ctx, GOLDEN_DIR "/retina-plain.safetensors", &retina));
    image = scene(60, 50, 3, 8, SCENE_MIXED, 74);
    ck_ok(sl_file_write(ctx, in_dir("a.json"), true, truth, strlen(truth)));
    ck_ok(sl_file_write(ctx, in_dir("none.json"), true, none, strlen(none)));
    ck_ok(sl_file_write(ctx, in_dir("r.json"), true, found, strlen(found)));
    ck_ok(sl_image_save(ctx, image, in_dir("a.png"), NULL));
    ck_assert_int_gt(exhaust(detect_once, retina), 50);
    ck_ok(sl_detect_new(ctx, retina, &looking, &d));
    ck_assert_int_gt(exhaust_json(evaluate_once, d), 100);
    ck_assert_int_gt(exhaust_json(evaluate_results_once, NULL), 50);
    sl_detect_free(d);
    sl_image_free(image);
    sl_model_free(retina);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("nomem");
    tcase_add_test(tests, deblur_survives);
    tcase_add_test(tests, looks_survive);
    tcase_add_test(tests, deblur_recovers);
    tcase_add_test(tests, traces_survive);
    tcase_add_test(tests, run_survives);
    tcase_add_test(tests, classify_survives);
    tcase_add_test(tests, soft_survives);
    tcase_add_test(tests, detector_survives);
    tcase_add_test(tests, what_a_trace_tells_survives);
    return run_case("pipeline/nomem", tests);
}
