// SPDX-License-Identifier: MIT
// tests/fuzz/coco.c: any bytes as COCO's annotations and, behind a zero byte, as results. What is
// accepted has to be in order, and measurable: by these results and by the truths themselves.
#include "detect/detect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_order(const sl_coco *coco)
{
    const size_t images = sl_coco_image_count(coco), categories = sl_coco_category_count(coco);
    size_t k = 0;
    for (size_t i = 0; i < images; i++) {
        const sl_coco_image *image = sl_coco_image_at(coco, i);
        check(sl_coco_find_image(coco, image->id, &k) && k == i);
        check(image->width > 0 && image->height > 0 && !strstr(image->file_name, "/../"));
    }
    for (size_t c = 0; c < categories; c++) {
        const sl_coco_category *category = sl_coco_category_at(coco, c);
        check(sl_coco_find_category(coco, category->id, &k) && k == c);
        check(sl_coco_find_name(coco, category->name, &k) && k == c);
    }
    for (size_t i = 0; i < sl_coco_annotation_count(coco); i++) {
        const sl_coco_annotation *a = sl_coco_annotation_at(coco, i);
        check(a->image < images && a->category < categories);
        check(a->box[2] >= 0 && a->box[3] >= 0 && a->area >= 0);
        check(sl_coco_is_labelled(coco, a->image, a->category));
        check(i == 0 || sl_coco_annotation_at(coco, i - 1)->image <= a->image);
    }
}

static void measure(sl_ctx *ctx, const sl_coco *coco, const sl_coco_result *results, size_t count)
{
    sl_coco_scores scores;
    check(sl_coco_evaluate(ctx, coco, results, count, &scores) == SL_OK);
    const double all[] = { scores.ap,        scores.ap50,     scores.ap75,      scores.ap_small,
                           scores.ap_medium, scores.ap_large, scores.ar1,       scores.ar10,
                           scores.ar100,     scores.ar_small, scores.ar_medium, scores.ar_large };
    for (size_t i = 0; i < SL_ARRAY_LEN(all); i++)
        check(all[i] == -1 || (all[i] >= 0 && all[i] <= 1));
    for (size_t c = 0; c < scores.class_count; c++)
        check(scores.classes[c].found <= scores.classes[c].truths);
    sl_coco_scores_clear(&scores);
}

static void measure_truths(sl_ctx *ctx, const sl_coco *coco)
{
    const size_t n = sl_coco_annotation_count(coco);
    sl_coco_result *results = sl_alloc(ctx, n, sizeof(*results));
    check(results != NULL);
    for (size_t i = 0; i < n; i++) {
        const sl_coco_annotation *a = sl_coco_annotation_at(coco, i);
        results[i].image = a->image;
        results[i].category = a->category;
        results[i].score = (double)(i % 3);
        memcpy(results[i].box, a->box, sizeof(a->box));
    }
    measure(ctx, coco, results, n);
    free(results);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sl_ctx *ctx;
    if (!ctx && sl_ctx_new(&(sl_ctx_options) { .threads = 1 }, &ctx) != SL_OK)
        abort();
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    const size_t first = zero ? (size_t)(zero - data) : size;
    sl_coco *coco = NULL;
    sl_coco_result *results = NULL;
    size_t count = 0;
    sl_status st = sl_coco_parse(ctx, data, first, "fuzz", &coco);
    check((st == SL_OK) == (coco != NULL) && (st == SL_OK || *sl_ctx_message(ctx)));
    if (!coco)
        return 0;
    check_order(coco);
    measure_truths(ctx, coco);
    if (zero && sl_coco_results_parse(ctx, zero + 1, size - first - 1, "fuzz", coco, &results,
                                      &count) == SL_OK)
        measure(ctx, coco, results, count);
    free(results);
    sl_coco_free(coco);
    return 0;
}
