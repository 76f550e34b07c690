// SPDX-License-Identifier: MIT
// tests/pipeline/trace.c: the file of a trace holds what was done, nested, on one clock, on the
// processor and on a Vulkan device; without a trace there is no file, and a bad path fails at once.
#include "scene.h"

#include "pipeline/pipeline.h"

#include <jansson.h>

#define SKIPPED 77
#define SLACK_US 500.0 // between the clocks of host and device

static json_t *load(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(root != NULL, "%s", error.text);
    return root;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    ck_assert_msg(text != NULL, "%s is no text", key);
    return text;
}

static double number_of(const json_t *object, const char *key)
{
    ck_assert_msg(json_is_number(json_object_get(object, key)), "%s is no number", key);
    return json_number_value(json_object_get(object, key));
}

static bool is_span(const json_t *event)
{
    return strcmp(text_of(event, "ph"), "X") == 0;
}

// Spans of that name on a track (-1: any but the host's); NULL: of any name.
static size_t spans(const json_t *root, int track, const char *name)
{
    size_t i, count = 0;
    json_t *event;
    json_array_foreach(json_object_get(root, "traceEvents"), i, event)
    {
        int tid = (int)number_of(event, "tid");
        count += is_span(event) && (track < 0 ? tid > 0 : tid == track) &&
                 (!name || strcmp(text_of(event, "name"), name) == 0);
    }
    return count;
}

// On every track spans begin in order, and one that begins inside another ends inside it.
static void check_nesting(const json_t *root)
{
    double ends[16];
    size_t i, depth = 0;
    int track = -1;
    double before = 0;
    json_t *event;
    json_array_foreach(json_object_get(root, "traceEvents"), i, event)
    {
        if (!is_span(event))
            continue;
        double start = number_of(event, "ts"), seconds = number_of(event, "dur");
        if ((int)number_of(event, "tid") != track) {
            track = (int)number_of(event, "tid");
            depth = 0;
            before = 0;
        }
        ck_assert_msg(start >= before && seconds >= 0, "span %zu begins before the last", i);
        before = start;
        while (depth > 0 && ends[depth - 1] <= start + 0.01)
            depth--;
        ck_assert_msg(depth == 0 || start + seconds <= ends[depth - 1] + 0.01,
                      "span %zu (%s) ends outside of its parent", i, text_of(event, "name"));
        ck_assert_uint_lt(depth, SL_ARRAY_LEN(ends));
        ends[depth++] = start + seconds;
    }
}

// Every op lies within a run of the host.
static void check_ops(const json_t *root)
{
    size_t i, k, inside = 0, ops = 0;
    json_t *op, *run;
    json_array_foreach(json_object_get(root, "traceEvents"), i, op)
    {
        if (!is_span(op) || number_of(op, "tid") < 1)
            continue;
        double start = number_of(op, "ts"), end = start + number_of(op, "dur");
        const json_t *args = json_object_get(op, "args");
        ops++;
        ck_assert_str_eq(text_of(args, "label"), text_of(op, "name"));
        ck_assert_str_eq(text_of(args, "family"), text_of(op, "cat"));
        if (strcmp(text_of(args, "family"), "conv") == 0)
            ck_assert(number_of(args, "gmac") > 0 && number_of(args, "gflops") > 0);
        json_array_foreach(json_object_get(root, "traceEvents"), k, run)
        {
            if (is_span(run) && strcmp(text_of(run, "name"), "run") == 0 &&
                start >= number_of(run, "ts") - SLACK_US &&
                end <= number_of(run, "ts") + number_of(run, "dur") + SLACK_US) {
                inside++;
                break;
            }
        }
    }
    ck_assert_uint_gt(ops, 0);
    ck_assert_uint_eq(inside, ops);
}

static const char *device_name = "cpu";

// Whether the device that is asked for is there: TRACE_DEVICE, or SOFTLENS_TEST_DEVICE instead of
// "vulkan".
static bool find_device(void)
{
    sl_ctx *own = NULL;
    sl_device *device = NULL;
    const char *asked = getenv("TRACE_DEVICE"), *named = getenv("SOFTLENS_TEST_DEVICE");
    if (!asked)
        return true;
    device_name = strcmp(asked, "vulkan") == 0 && named ? named : asked;
    bool has =
        sl_ctx_new(NULL, &own) == SL_OK && sl_device_open(own, device_name, &device) == SL_OK;
    if (!has)
        printf("skipped: %s\n", sl_ctx_message(own));
    sl_device_close(device);
    sl_ctx_free(own);
    return has;
}

START_TEST(a_deblur_is_told)
{
    sl_model *model = model_of(1, 1, 1, TEST_KEEPS_RANDOM, 70);
    sl_image *image = scene(80, 48, 3, 8, SCENE_MIXED, 71), *in, *out;
    ck_ok(sl_image_save(ctx, image, in_dir("in.png"), NULL));
    sl_deblur_options options = { .device = device_name, .tile = 48 };
    sl_deblur_report report;
    sl_deblur *d;
    ck_ok(sl_trace_begin(ctx, in_dir("trace.json"), false));
    ck_assert(!sl_file_exists(in_dir("trace.json")));
    ck_ok(sl_image_load(ctx, in_dir("in.png"), NULL, &in));
    ck_ok(sl_deblur_new(ctx, model, &options, &d));
    ck_ok(sl_deblur_run(d, in, &out, NULL, &report));
    ck_ok(sl_image_save(ctx, out, in_dir("out.png"), NULL));
    sl_deblur_free(d); // and with it the graph whose labels the spans have
    ck_ok(sl_trace_write(ctx));
    json_t *root = load(in_dir("trace.json"));
    check_nesting(root);
    check_ops(root);
    ck_assert_uint_gt(report.tiles, 1);
    ck_assert_uint_eq(spans(root, 0, "decode"), 1);
    ck_assert_uint_eq(spans(root, 0, "encode"), 1);
    ck_assert_uint_eq(spans(root, 0, "deblur"), 1);
    static const char *const of_tiles[] = { "cut", "write", "run", "composite" };
    for (size_t i = 0; i < SL_ARRAY_LEN(of_tiles); i++)
        ck_assert_uint_eq(spans(root, 0, of_tiles[i]), report.tiles);
    ck_assert_uint_ge(spans(root, 0, "read"), 1);
    ck_assert_uint_eq(spans(root, -1, NULL) % report.tiles, 0); // every tile has the same ops
    const json_t *clocks = json_object_get(json_object_get(root, "metadata"), "clocks");
    ck_assert_str_eq(text_of(clocks, "softlens"), "host");
    const char *clock = text_of(clocks, report.device);
    bool is_cpu = strcmp(device_name, "cpu") == 0;
    ck_assert_msg(is_cpu == (strcmp(clock, "host") == 0), "%s", clock);
    json_decref(root);
    sl_image_free(image);
    sl_image_free(in);
    sl_image_free(out);
    sl_model_free(model);
}
END_TEST

START_TEST(a_bench_and_a_run_are_told)
{
    sl_model *model = model_of(1, 1, 1, TEST_KEEPS_RANDOM, 72);
    static float pixels[32 * 32 * 3];
    sl_tensor t = { "x", SL_F32, { 3, { 32, 32, 3 } }, pixels, sizeof(pixels) };
    sl_bench_options options = { .device = device_name, .width = 32, .height = 32, .repeats = 3 };
    char *text;
    ck_ok(sl_npy_write(ctx, in_dir("in.npy"), false, &t));
    ck_ok(sl_trace_begin(ctx, in_dir("trace.json"), false));
    ck_ok(sl_model_bench(ctx, model, &options, &text));
    free(text);
    ck_ok(sl_model_run(ctx, model, in_dir("in.npy"), in_dir("out"),
                       &(sl_run_options) { .device = device_name }));
    ck_ok(sl_trace_write(ctx));
    json_t *root = load(in_dir("trace.json"));
    check_nesting(root);
    check_ops(root);
    ck_assert_uint_eq(spans(root, 0, "run"), 1 + 3 + 1);
    ck_assert_uint_eq(spans(root, 0, "compile"), 2);
    ck_assert_uint_eq(spans(root, 0, "decode"), 1);
    ck_assert_uint_eq(spans(root, 0, "encode"), 1);
    ck_assert_uint_eq(spans(root, 1, NULL) % (1 + 3 + 1), 0);
    json_decref(root);
    sl_model_free(model);
}
END_TEST

START_TEST(bad_paths_fail_at_once)
{
    ck_fails(sl_trace_write(ctx), SL_ERR_ARGUMENT, "no trace");
    ck_fails(sl_trace_begin(ctx, in_dir("none/trace.json"), false), SL_ERR_IO, "none/trace.json");
    ck_ok(sl_file_write(ctx, in_dir("there"), false, "x", 1));
    ck_fails(sl_trace_begin(ctx, in_dir("there"), false), SL_ERR_EXISTS, "already exists");
    ck_assert_ptr_null(ctx->trace);
    ck_ok(sl_trace_begin(ctx, in_dir("there"), true));
    ck_fails(sl_trace_begin(ctx, in_dir("other"), false), SL_ERR_ARGUMENT, "another trace");
    sl_blob file;
    ck_ok(sl_file_read(ctx, in_dir("there"), 100, &file));
    ck_assert_uint_eq(file.size, 1); // replaced when it is written, not before
    sl_blob_free(&file);
    ck_ok(sl_trace_write(ctx));
    json_decref(load(in_dir("there")));
}
END_TEST

START_TEST(a_context_that_ends_writes_nothing)
{
    sl_ctx *own;
    ck_ok(sl_ctx_new(&(sl_ctx_options) { .threads = 1 }, &own));
    ck_ok(sl_trace_begin(own, in_dir("trace.json"), false));
    sl_trace_end(own, "work", sl_trace_start(own));
    sl_ctx_free(own);
    ck_assert(!sl_file_exists(in_dir("trace.json")));
}
END_TEST

// Spans beyond the room that was reserved are counted, not kept.
START_TEST(what_has_no_room_is_dropped)
{
    ck_ok(sl_trace_begin(ctx, in_dir("trace.json"), false));
    sl_trace_reserve(ctx, 10);
    size_t room = ctx->trace->capacity;
    for (size_t i = 0; i < room + 7; i++)
        sl_trace_add(ctx, &(sl_span) { .name = "op", .family = "conv" });
    ck_assert_uint_eq(ctx->trace->count, room);
    sl_trace_reserve(ctx, SIZE_MAX / 4); // at most SL_MAX_SPANS
    ck_assert_uint_eq(ctx->trace->capacity, SL_MAX_SPANS);
    ck_ok(sl_trace_write(ctx));
    json_t *root = load(in_dir("trace.json"));
    ck_assert_double_eq(number_of(json_object_get(root, "metadata"), "dropped_spans"), 7);
    json_decref(root);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("trace");
    tcase_add_test(tests, a_deblur_is_told);
    tcase_add_test(tests, a_bench_and_a_run_are_told);
    tcase_add_test(tests, bad_paths_fail_at_once);
    tcase_add_test(tests, a_context_that_ends_writes_nothing);
    tcase_add_test(tests, what_has_no_room_is_dropped);
    return find_device() ? run_case("pipeline/trace", tests) : SKIPPED;
}
