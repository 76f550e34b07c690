// SPDX-License-Identifier: MIT
// tests/detect/nomem.c: Soft-NMS, COCO's files and metrics while each allocation in turn fails.
#include "../base/nomem.h"
#include "detect/detect.h"
#include "sets.h"

#include <jansson.h>

#define N 300

static const char truth[] =
    "{\"images\":[{\"id\":7,\"file_name\":\"7.jpg\",\"width\":100,\"height\":50,\"labelled\":[10,"
    "20]}],\"categories\":[{\"id\":20,\"name\":\"newt\"},{\"id\":10,\"name\":\"owl\"}],"
    "\"annotations\":[{\"id\":1,\"image_id\":7,\"category_id\":10,\"bbox\":[1,1,20,20]},"
    "{\"id\":2,\"image_id\":7,\"category_id\":10,\"bbox\":[2,1,20,20]}]}";
static const char found[] =
    "[{\"image_id\":7,\"category_id\":10,\"bbox\":[1,1,20,20],\"score\":0.5}]";

static void begin(void)
{
    set_up();
    json_set_alloc_funcs(__wrap_malloc, free);
}

static void end(void)
{
    json_set_alloc_funcs(__real_malloc, free);
    tear_down();
}

static void fill(sl_scored *boxes)
{
    uint64_t state = 3;
    set_fill(&(set_plan) { SET_CLUSTERED, 0, false, 300 }, boxes, N, &state);
    for (size_t i = 0; i < N; i++)
        boxes[i].label = (uint32_t)(i % 3);
}

static sl_status soften_once(void *arg)
{
    static sl_scored boxes[N], before[N];
    size_t count = N;
    (void)arg;
    fill(before);
    memcpy(boxes, before, sizeof(boxes));
    sl_status st = sl_nms_all(ctx, boxes, &count, NULL, 10);
    allow_all();
    if (st == SL_OK)
        ck_assert_uint_eq(count, 10);
    else
        ck_assert(count == N && memcmp(boxes, before, sizeof(boxes)) == 0);
    return st;
}

static sl_status sort_once(void *arg)
{
    sl_scored boxes[N];
    size_t count = N;
    (void)arg;
    fill(boxes);
    return sl_soft_nms(ctx, boxes, &count, &(sl_nms_options) { .kind = SL_NMS_NONE });
}

START_TEST(boxes_survive)
{
    ck_assert_int_ge(exhaust(soften_once, NULL), 9);
    ck_assert_int_ge(exhaust(sort_once, NULL), 3);
}
END_TEST

static sl_status read_once(void *arg)
{
    sl_coco *coco = NULL;
    sl_coco_result *results = NULL;
    size_t count = 0;
    (void)arg;
    sl_status st = sl_coco_parse(ctx, truth, strlen(truth), "truth", &coco);
    if (st == SL_OK)
        st = sl_coco_results_parse(ctx, found, strlen(found), "found", coco, &results, &count);
    allow_all();
    ck_assert((st == SL_OK) == (results != NULL));
    ck_assert(!results || (count == 1 && sl_coco_annotation_count(coco) == 2 &&
                           sl_coco_is_labelled(coco, 0, 1)));
    free(results);
    sl_coco_free(coco);
    return st;
}

START_TEST(files_survive)
{
    ck_assert_int_ge(exhaust(read_once, NULL), 60);
}
END_TEST

static sl_status evaluate_once(void *arg)
{
    const sl_coco *coco = arg;
    const sl_coco_result result = { 0, 0, { 1, 1, 20, 20 }, 0.5 };
    sl_coco_scores scores;
    sl_status st = sl_coco_evaluate(ctx, coco, &result, 1, &scores);
    allow_all();
    ck_assert((st == SL_OK) == (scores.classes != NULL));
    ck_assert(st != SL_OK || scores.classes[0].found == 1);
    sl_coco_scores_clear(&scores);
    return st;
}

START_TEST(metrics_survive)
{
    sl_coco *coco = NULL;
    ck_ok(sl_coco_parse(ctx, truth, strlen(truth), "truth", &coco));
    ck_assert_int_ge(exhaust(evaluate_once, coco), 11);
    sl_coco_free(coco);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("nomem");
    tcase_add_test(tests, boxes_survive);
    tcase_add_test(tests, files_survive);
    tcase_add_test(tests, metrics_survive);
    return run_case_with("detect-nomem", tests, begin, end);
}
