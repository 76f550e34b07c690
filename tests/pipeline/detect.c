// SPDX-License-Identifier: MIT
// tests/pipeline/detect.c: objects in pictures, by a small detector of generated weights: boxes lie
// in the picture's own pixels whatever the way there, options do what they say, outputs that are no
// numbers are named.
#include "../base/comma.h"
#include "photo.h"
#include "pipeline/detect.h"

#include <math.h>
#include <stdio.h>

#define CLASSES 5

static sl_detect *made[16]; // by detect(), whose labels are used until close_model()
static size_t made_count;

static void close_model(sl_model *model)
{
    while (made_count > 0)
        sl_detect_free(made[--made_count]);
    sl_model_free(model);
}

static sl_detections *detect(const sl_model *model, const sl_detect_options *options,
                             const sl_image *image)
{
    sl_detections *found;
    ck_assert_uint_lt(made_count, SL_ARRAY_LEN(made));
    ok(sl_detect_new(ctx, model, options, &made[made_count]));
    ok(sl_detect_run(made[made_count++], image, &found));
    return found;
}

static bool is_same(const sl_detection *a, const sl_detection *b, float pixels, float score)
{
    return a->category == b->category && fabsf(a->x1 - b->x1) <= pixels &&
           fabsf(a->y1 - b->y1) <= pixels && fabsf(a->x2 - b->x2) <= pixels &&
           fabsf(a->y2 - b->y2) <= pixels && fabsf(a->score - b->score) <= score;
}

static void check_same(const sl_detections *a, const sl_detections *b, float pixels, float score)
{
    ck_assert_uint_eq(a->count, b->count);
    for (size_t i = 0; i < a->count; i++)
        ck_assert_msg(is_same(&a->items[i], &b->items[i], pixels, score), "object %zu", i);
}

START_TEST(boxes_lie_in_the_picture)
{
    static const uint32_t sizes[][2] = { { 160, 96 }, { 320, 192 }, { 97, 301 },  { 1, 1 },
                                         { 700, 2 },  { 37, 500 },  { 1000, 640 } };
    sl_model *model = open_model(GOLDEN("retina-plain"), "soft-retinanet");
    const sl_detect_options options = { .score = 0.05f, .most = 50 };
    sl_detect *d;
    ok(sl_detect_new(ctx, model, &options, &d));
    for (size_t k = 0; k < SL_ARRAY_LEN(sizes); k++) {
        sl_image *image = photo(sizes[k][0], sizes[k][1], false);
        sl_detections *found;
        ok(sl_detect_run(d, image, &found));
        ck_assert(found->width == sizes[k][0] && found->height == sizes[k][1]);
        ck_assert_uint_gt(found->count, 0);
        ck_assert_uint_le(found->count, 50);
        for (size_t i = 0; i < found->count; i++) {
            const sl_detection *o = &found->items[i];
            ck_assert(o->x1 >= 0 && o->x1 < o->x2 && o->x2 <= (float)found->width * 1.0001f);
            ck_assert(o->y1 >= 0 && o->y1 < o->y2 && o->y2 <= (float)found->height * 1.0001f);
            ck_assert(o->score >= 0.05f && o->score <= 1 && o->category < CLASSES);
            ck_assert(i == 0 || o->score <= found->items[i - 1].score);
            ck_assert(o->label == o->class_label && o->label == found->labels[o->category]);
            ck_assert(isnan(o->refined));
        }
        ck_assert(strncmp(found->device, "cpu", 3) == 0 && found->seconds > 0);
        sl_detections_free(found);
        sl_image_free(image);
    }
    sl_detect_free(d);
    close_model(model);
}
END_TEST

// Sides that are asked for, what the picture becomes by them, and what that is padded to.
static const struct {
    uint32_t long_side, short_side, fit[2], pad[2];
} scales[] = { { 0, 0, { 153, 96 }, { 160, 96 } }, // the model's
               { 320, 192, { 305, 192 }, { 320, 192 } },
               { 100, 96, { 100, 63 }, { 128, 64 } },
               { 120, 0, { 120, 75 }, { 128, 96 } } };

// Resized, normalised and padded in plain words, through the graph, and what it says joined.
START_TEST(the_whole_is_the_sum_of_its_parts)
{
    enum { W = 97, H = 61 };
    const uint32_t *fit = scales[_i].fit, *pad = scales[_i].pad;
    sl_model *model = open_model(GOLDEN("retina-plain"), "soft-retinanet");
    const sl_detect_options options = { .score = 0.1f,
                                        .long_side = scales[_i].long_side,
                                        .short_side = scales[_i].short_side };
    const sl_retina_options build = {
        .height = pad[1], .width = pad[0], .threshold = 0.05f, .limit = 1000
    };
    sl_image *image = photo(W, H, false);
    static uint8_t rgb[320 * 192 * 3];
    static float pixels[320 * 192 * 3], rows[1000 * 6];
    static sl_scored boxes[5 * 1000];
    const sl_rectangle all = { 0, 0, W, H };
    const float extent[2] = { (float)fit[0], (float)fit[1] };
    size_t count = 0;
    sl_graph *graph;
    sl_cpu_weights *weights;
    sl_plan *plan;
    ok(sl_image_fit(ctx, image, &all, fit[0], fit[1], false, rgb));
    memset(pixels, 0, sizeof(pixels));
    for (size_t y = 0; y < fit[1]; y++)
        for (size_t i = 0; i < (size_t)fit[0] * 3; i++)
            pixels[y * pad[0] * 3 + i] =
                ((float)rgb[y * fit[0] * 3 + i] / 255 - model->soft.mean[i % 3]) /
                model->soft.std[i % 3];
    ok(sl_graph_new(ctx, &graph));
    ok(sl_retina_build(graph, model, &build));
    ok(sl_cpu_weights_new(ctx, &weights));
    ok(sl_cpu_compile(ctx, graph, SL_F32, weights, &plan));
    ok(sl_plan_write(plan, sl_graph_find_output(graph, "image"), pixels));
    ok(sl_plan_write(plan, sl_graph_find_output(graph, "extent"), extent));
    ok(sl_plan_run(plan));
    for (int level = 3; level < 8; level++) {
        char name[16];
        int32_t counts[4];
        snprintf(name, sizeof(name), "counts_P%d", level);
        ok(sl_plan_read(plan, sl_graph_find_output(graph, name), counts));
        snprintf(name, sizeof(name), "rows_P%d", level);
        ok(sl_plan_read(plan, sl_graph_find_output(graph, name), rows));
        for (int i = 0; i < counts[0]; i++) {
            const float *r = rows + 6 * (size_t)i;
            const float sx = (float)fit[0] / W, sy = (float)fit[1] / H;
            const sl_box b = { r[0] / sx, r[1] / sy, r[2] / sx, r[3] / sy };
            if (b.x1 < b.x2 && b.y1 < b.y2) // else beside the picture
                boxes[count++] = (sl_scored) { b, r[4], (uint32_t)r[5] };
        }
    }
    const sl_nms_options nms = { .kind = SL_NMS_GAUSSIAN };
    ok(sl_nms_all(ctx, boxes, &count, &nms, 100));
    sl_detections *found = detect(model, &options, image);
    ck_assert_uint_gt(found->count, 5);
    for (size_t i = 0; i < found->count; i++) {
        const sl_detection want = { boxes[i].box.x1,
                                    boxes[i].box.y1,
                                    boxes[i].box.x2,
                                    boxes[i].box.y2,
                                    boxes[i].score,
                                    boxes[i].label,
                                    NULL,
                                    NULL,
                                    0 };
        ck_assert_msg(is_same(&found->items[i], &want, 0.01f, 2e-3f), "object %zu", i);
    }
    ck_assert(found->count == count || boxes[found->count].score < 0.1f + 1e-5f);
    sl_detections_free(found);
    sl_plan_free(plan);
    sl_cpu_weights_free(weights);
    sl_graph_free(graph);
    sl_image_free(image);
    close_model(model);
}
END_TEST

// More shapes than plans are kept, back and forth: none remembers another's picture.
START_TEST(plans_are_used_again)
{
    static const uint32_t widths[] = { 160, 130, 90, 60, 30, 20, 160, 20, 60 };
    sl_model *model = open_model(GOLDEN("retina-plain"), "soft-retinanet");
    const sl_detect_options options = { .score = 0.05f };
    sl_detect *d;
    ok(sl_detect_new(ctx, model, &options, &d));
    for (size_t k = 0; k < SL_ARRAY_LEN(widths); k++) {
        sl_image *image = photo(widths[k], 96, false);
        sl_detections *again, *fresh = detect(model, &options, image);
        ok(sl_detect_run(d, image, &again));
        check_same(again, fresh, 0, 0);
        sl_detections_free(again);
        sl_detections_free(fresh);
        sl_image_free(image);
    }
    sl_detect_free(d);
    close_model(model);
}
END_TEST

// A picture and its mirror image give each other's boxes, mirrored.
START_TEST(mirror_images_agree)
{
    sl_model *model = open_model(GOLDEN("retina-plain"), "soft-retinanet");
    const sl_detect_options options = { .flip = true, .score = 0.1f, .nms = SL_NMS_HARD };
    sl_image *image = photo(160, 96, false), *mirror = photo(160, 96, true);
    sl_detections *a = detect(model, &options, image), *b = detect(model, &options, mirror);
    ck_assert_uint_gt(a->count, 5);
    ck_assert_uint_eq(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        sl_detection turned = b->items[i];
        turned.x1 = 160 - b->items[i].x2;
        turned.x2 = 160 - b->items[i].x1;
        ck_assert_msg(is_same(&a->items[i], &turned, 1e-3f, 1e-5f), "object %zu", i);
    }
    sl_detections_free(a);
    sl_detections_free(b);
    sl_image_free(image);
    sl_image_free(mirror);
    close_model(model);
}
END_TEST

static bool is_near_a_cut(float at, uint32_t tile, uint32_t length)
{
    uint32_t step = tile - tile / 5, count = (length - tile + step - 1) / step + 1;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t from = (uint32_t)((uint64_t)(length - tile) * i / (count - 1));
        if ((i > 0 && fabsf(at - (float)from) < 1e-4f) ||
            (i + 1 < count && fabsf(at - (float)(from + tile)) < 1e-4f))
            return true;
    }
    return false;
}

// Tiles find more and smaller objects; none ends where a tile was cut, but some where the picture
// does.
START_TEST(tiles_find_more)
{
    sl_model *model = open_model(GOLDEN("retina-plain"), "soft-retinanet");
    sl_detect_options options = { .score = 0.05f, .most = 10000, .nms = SL_NMS_NONE };
    sl_image *image = photo(420, 260, false);
    sl_detections *whole = detect(model, &options, image);
    options.tile = 130;
    sl_detections *both = detect(model, &options, image);
    ck_assert_uint_gt(both->count, whole->count);
    size_t at_edge[4] = { 0 };
    for (size_t i = 0; i < both->count; i++) {
        const sl_detection *o = &both->items[i];
        bool is_of_the_whole = false;
        for (size_t k = 0; k < whole->count && !is_of_the_whole; k++)
            is_of_the_whole = is_same(o, &whole->items[k], 0, 0);
        ck_assert(is_of_the_whole ||
                  !(is_near_a_cut(o->x1, 130, 420) || is_near_a_cut(o->x2, 130, 420) ||
                    is_near_a_cut(o->y1, 130, 260) || is_near_a_cut(o->y2, 130, 260)));
        at_edge[0] += !is_of_the_whole && o->x1 <= 0;
        at_edge[1] += !is_of_the_whole && o->y1 <= 0;
        at_edge[2] += !is_of_the_whole && o->x2 >= 420;
        at_edge[3] += !is_of_the_whole && o->y2 >= 260;
    }
    for (size_t i = 0; i < 4; i++)
        ck_assert_msg(at_edge[i] > 0, "none at edge %zu", i);
    options.tile = 1000; // the whole is the only tile
    sl_detections *once = detect(model, &options, image);
    check_same(once, whole, 0, 0);
    sl_detections_free(once);
    sl_detections_free(both);
    sl_detections_free(whole);
    sl_image_free(image);
    close_model(model);
}
END_TEST

// Candidates joined as asked for, and the least score counts.
START_TEST(boxes_are_joined_as_asked)
{
    static const sl_nms_options ways[] = { { .kind = SL_NMS_GAUSSIAN },
                                           { .kind = SL_NMS_GAUSSIAN, .sigma = 0.1f },
                                           { .kind = SL_NMS_LINEAR, .iou = 0.6f },
                                           { .kind = SL_NMS_HARD },
                                           { .kind = SL_NMS_HARD, .iou = 0.2f } };
    sl_model *model = open_model(GOLDEN("retina-plain"), "soft-retinanet");
    sl_detect_options options = { .score = 0.05f, .most = 100000, .nms = SL_NMS_NONE };
    sl_image *image = photo(160, 96, false);
    sl_detections *all = detect(model, &options, image);
    sl_scored *boxes = sl_alloc(ctx, all->count, sizeof(*boxes));
    float sums[SL_ARRAY_LEN(ways)];
    ck_assert_ptr_nonnull(boxes);
    for (size_t k = 0; k < SL_ARRAY_LEN(ways); k++) {
        size_t count = all->count;
        for (size_t i = 0; i < count; i++) {
            const sl_detection *o = &all->items[i];
            boxes[i] = (sl_scored) { { o->x1, o->y1, o->x2, o->y2 }, o->score, o->category };
        }
        ok(sl_nms_all(ctx, boxes, &count, &ways[k], 100));
        options = (sl_detect_options) { .score = boxes[20].score,
                                        .nms = ways[k].kind,
                                        .iou = ways[k].iou,
                                        .sigma = ways[k].sigma };
        sl_detections *found = detect(model, &options, image);
        ck_assert_uint_ge(found->count, 21); // a score that is the least is enough
        ck_assert(found->count == count || boxes[found->count].score < boxes[20].score);
        sums[k] = 0;
        for (size_t i = 0; i < found->count; i++) {
            const sl_detection *o = &found->items[i];
            ck_assert_msg(o->score == boxes[i].score && o->x1 == boxes[i].box.x1, "%zu: %zu", k, i);
            sums[k] += i < 21 ? o->score : 0;
        }
        for (size_t other = 0; other < k; other++) // else nothing is shown
            ck_assert(sums[other] < sums[k] || sums[other] > sums[k]);
        sl_detections_free(found);
    }
    free(boxes);
    sl_detections_free(all);
    sl_image_free(image);
    close_model(model);
}
END_TEST

START_TEST(classes_are_chosen)
{
    static const char *const two[] = { "thing 3", "thing 1" }, *const none[] = { "zebra" };
    sl_model *model = open_model(GOLDEN("retina-plain"), "soft-retinanet");
    sl_detect_options options = { .score = 0.05f, .classes = two, .class_count = 2 };
    sl_image *image = photo(160, 96, false);
    sl_detections *found = detect(model, &options, image);
    sl_detect *d;
    size_t seen[CLASSES] = { 0 };
    for (size_t i = 0; i < found->count; i++)
        seen[found->items[i].category]++;
    ck_assert(seen[1] + seen[3] == found->count && seen[1] > 0 && seen[3] > 0);
    ck_assert_uint_eq(found->label_count, CLASSES);
    options.classes = none;
    options.class_count = 1;
    says(sl_detect_new(ctx, model, &options, &d), SL_ERR_ARGUMENT, "\"zebra\"; it finds thing 0,");
    ck_assert_ptr_null(d);
    sl_detections_free(found);
    sl_image_free(image);
    close_model(model);
}
END_TEST

// The model's own score, with a point in every locale.
START_TEST(the_score_is_the_models)
{
    static const struct {
        const char *text;
        float score;
    } cases[] = { { "0.25", 0.25f }, { "0,25", 0.3f }, { "1.5", 0.3f }, { "", 0.3f } };
    char folder[] = "/tmp/softlens-locale-XXXXXX", command[64];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    for (size_t i = 0; i < 2 * SL_ARRAY_LEN(cases); i++) {
        edit e;
        sl_model *model;
        sl_detect *d;
        edit_open(&e, GOLDEN("retina-plain"));
        e.meta[e.meta_count++] = (sl_meta) { "score", cases[i / 2].text };
        ok(edit_reopen(&e, &model));
        if (i % 2)
            test_set_comma(folder);
        ok(sl_detect_new(ctx, model, NULL, &d));
        setlocale(LC_ALL, "C");
        ck_assert_float_eq(d->options.score, cases[i / 2].score);
        sl_detect_free(d);
        sl_model_free(model);
        sl_tensor_set_free(e.set);
    }
    snprintf(command, sizeof(command), "rm -r '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(options_are_checked)
{
    static const sl_detect_options bad[] = { { .score = 1 },
                                             { .score = -0.1f },
                                             { .score = NAN },
                                             { .iou = 1 },
                                             { .iou = NAN },
                                             { .sigma = -1 },
                                             { .sigma = NAN },
                                             { .nms = (sl_nms)9 },
                                             { .long_side = 5000 },
                                             { .short_side = 5000 },
                                             { .tile = 5 },
                                             { .device = "abacus" },
                                             { .precision = SL_PRECISION_F16, .device = "cpu" } };
    sl_model *model = open_model(GOLDEN("retina-plain"), "soft-retinanet"), *other;
    sl_detect *d;
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        sl_status st = sl_detect_new(ctx, model, &bad[i], &d);
        ck_assert_msg(st == SL_ERR_ARGUMENT && !d, "%zu: %d", i, (int)st);
    }
    ok(sl_model_open(ctx, GOLDEN("soft-norm"), &other));
    says(sl_detect_new(ctx, other, NULL, &d), SL_ERR_UNSUPPORTED, "cannot find objects");
    sl_model_free(other);
    close_model(model);
}
END_TEST

START_TEST(what_is_no_number_is_named)
{
    edit e;
    sl_model *model;
    sl_detect *d;
    sl_detections *found;
    float huge[24];
    sl_image *image = photo(160, 96, false);
    edit_open(&e, GOLDEN("retina-plain"));
    sl_tensor *bias = edit_find(&e, "neck.fpn_convs.1.conv.bias");
    ck_assert_uint_eq(bias->shape.dim[0], SL_ARRAY_LEN(huge));
    for (size_t i = 0; i < SL_ARRAY_LEN(huge); i++)
        huge[i] = 3e38f;
    *bias = (sl_tensor) { bias->name, SL_F32, bias->shape, huge, sizeof(huge) };
    ok(edit_reopen(&e, &model));
    ok(sl_detect_new(ctx, model, NULL, &d));
    says(sl_detect_run(d, image, &found), SL_ERR_FORMAT, "cls_P4");
    ck_assert_ptr_null(found);
    sl_detect_free(d);
    sl_model_free(model);
    sl_tensor_set_free(e.set);
    sl_image_free(image);
}
END_TEST

static sl_model *open_classifier(void)
{
    edit e;
    sl_model *model;
    edit_open(&e, GOLDEN("soft-norm"));
    ok(edit_reopen(&e, &model));
    sl_tensor_set_free(e.set);
    return model;
}

START_TEST(objects_are_named_anew)
{
    sl_model *model = open_model(GOLDEN("retina-plain"), "soft-retinanet"),
             *classifier = open_classifier();
    const sl_detect_options options = { .score = 0.2f, .most = 5 };
    sl_image *image = photo(160, 96, false), *other = photo(161, 96, false);
    sl_detections *found = detect(model, &options, image);
    sl_classify *classify;
    ok(sl_classify_new(ctx, classifier, NULL, NULL, &classify));
    ok(sl_detections_refine(classify, image, found));
    ck_assert_uint_gt(found->count, 0);
    for (size_t i = 0; i < found->count; i++) {
        const sl_detection *o = &found->items[i];
        ck_assert_str_eq(o->class_label, found->labels[o->category]);
        ck_assert(o->label != o->class_label && o->refined > 0 && o->refined <= 1);
    }
    // Whatever the shape of picture and box, what is seen is a square around it, a tenth more on
    // each side, as far as there is picture.
    static const float boxes[][4] = { { 20, 30, 60, 40 },
                                      { 70, 10, 80, 50 },
                                      { 0, 0, 30, 20 },
                                      { 130, 70, 160, 96 },
                                      { 0, 40, 160, 50 } };
    static const sl_rectangle seen[] = { { 16, 11, 48, 48 },
                                         { 51, 6, 48, 48 },
                                         { 0, 0, 33, 28 },
                                         { 127, 65, 33, 31 },
                                         { 0, 0, 160, 96 } };
    for (size_t i = 0; i < SL_ARRAY_LEN(boxes); i++) {
        sl_detection *o = &found->items[0];
        const sl_rectangle *r = &seen[i];
        sl_classification *want;
        sl_image *part;
        o->x1 = boxes[i][0], o->y1 = boxes[i][1], o->x2 = boxes[i][2], o->y2 = boxes[i][3];
        ok(sl_detections_refine(classify, image, found));
        ok(sl_image_cut(ctx, image, r->x, r->y, r->width, r->height, &part));
        ok(sl_classify_run(classify, part, 1, &want));
        ck_assert_msg(o->refined == want->matches[0].probability, "box %zu", i);
        ck_assert_str_eq(o->label, want->matches[0].label);
        sl_classification_free(want);
        sl_image_free(part);
    }
    says(sl_detections_refine(classify, other, found), SL_ERR_ARGUMENT, "another one of 161");
    found->items[0].x1 = NAN;
    says(sl_detections_refine(classify, image, found), SL_ERR_ARGUMENT, "is no box");
    sl_detections_free(found);
    sl_classify_free(classify);
    sl_image_free(image);
    sl_image_free(other);
    sl_model_free(classifier);
    close_model(model);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("detect");
    Suite *suite = suite_create("pipeline/detect");
    tcase_set_timeout(tests, 0);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, boxes_lie_in_the_picture);
    tcase_add_loop_test(tests, the_whole_is_the_sum_of_its_parts, 0, SL_ARRAY_LEN(scales));
    tcase_add_test(tests, plans_are_used_again);
    tcase_add_test(tests, mirror_images_agree);
    tcase_add_test(tests, tiles_find_more);
    tcase_add_test(tests, boxes_are_joined_as_asked);
    tcase_add_test(tests, classes_are_chosen);
    tcase_add_test(tests, the_score_is_the_models);
    tcase_add_test(tests, options_are_checked);
    tcase_add_test(tests, what_is_no_number_is_named);
    tcase_add_test(tests, objects_are_named_anew);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
