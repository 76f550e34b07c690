// SPDX-License-Identifier: MIT
// detect/coco_evaluate.c: COCO's metrics, number for number as pycocotools counts them: per
// category all detections in the order of their scores, precision over recall, and the means.
#include "detect/coco.h"
#include "detect/radix.h"

#include <float.h>
#include <math.h>

#define LIMITS 3 // the best 1, 10, 100 detections of an image and category
#define RECALLS 101
static const uint32_t limits[LIMITS] = { 1, 10, SL_COCO_MOST };

// What one category comes to; -1: nothing there to find.
typedef struct ranks {
    double precision[SL_COCO_AREAS][SL_COCO_THRESHOLDS]; // mean over the recalls, limit 100
    double recall[SL_COCO_AREAS][SL_COCO_THRESHOLDS][LIMITS];
} ranks;

typedef struct evaluation {
    sl_ctx *ctx;
    const sl_coco *coco;
    const sl_coco_result **results;    // [n] by category, image, score
    const sl_coco_annotation **truths; // by category, image
    sl_coco_hit *hits;                 // [n] of one category
    const sl_coco_hit **by_score;      // [n]
    double *precision, *recall;        // [n] a curve
    sl_coco_scratch scratch;
} evaluation;

static int by_place(const void *a, const void *b)
{
    const sl_coco_result *x = *(const sl_coco_result *const *)a;
    const sl_coco_result *y = *(const sl_coco_result *const *)b;
    if (x->category != y->category)
        return x->category < y->category ? -1 : 1;
    if (x->image != y->image)
        return x->image < y->image ? -1 : 1;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return (x > y) - (x < y); // as they came
}

static int by_score(const void *a, const void *b)
{
    const sl_coco_hit *x = *(const sl_coco_hit *const *)a, *y = *(const sl_coco_hit *const *)b;
    if (x->result->score != y->result->score)
        return x->result->score > y->result->score ? -1 : 1;
    return (x > y) - (x < y); // by image, then rank
}

static sl_status check_results(sl_ctx *ctx, const sl_coco *coco, const sl_coco_result *results,
                               size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const sl_coco_result *r = &results[i];
        if (r->image >= coco->image_count || r->category >= coco->category_count)
            return sl_fail(ctx, SL_ERR_ARGUMENT,
                           "detection %zu is of image %u and category %u; there are %zu and %zu", i,
                           r->image, r->category, coco->image_count, coco->category_count);
        const double numbers[] = { r->box[0], r->box[1], r->box[2], r->box[3], r->score };
        for (size_t k = 0; k < SL_ARRAY_LEN(numbers); k++)
            if (!(fabs(numbers[k]) <= SL_COCO_MAX_NUMBER))
                return sl_fail(ctx, SL_ERR_ARGUMENT, "detection %zu has a number of %g", i,
                               numbers[k]);
    }
    return SL_OK;
}

static sl_status sort_truths(evaluation *e)
{
    const size_t n = e->coco->annotation_count;
    uint64_t *items = sl_alloc(e->ctx, 2 * n, sizeof(*items));
    if (!items)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        items[i] = sl_radix_item(e->coco->annotations[i].category, i);
    sl_radix_sort(items, items + n, n, 32);
    for (size_t i = 0; i < n; i++)
        e->truths[i] = &e->coco->annotations[(uint32_t)items[i]];
    free(items);
    return SL_OK;
}

static sl_status begin(evaluation *e, const sl_coco_result *results, size_t count)
{
    e->results = sl_alloc(e->ctx, count, sizeof(*e->results));
    e->truths = e->results ? sl_alloc(e->ctx, e->coco->annotation_count, sizeof(*e->truths)) : NULL;
    e->hits = e->truths ? sl_alloc(e->ctx, count, sizeof(*e->hits)) : NULL;
    e->by_score = e->hits ? sl_alloc(e->ctx, count, sizeof(*e->by_score)) : NULL;
    e->precision = e->by_score ? sl_alloc(e->ctx, count, sizeof(*e->precision)) : NULL;
    e->recall = e->precision ? sl_alloc(e->ctx, count, sizeof(*e->recall)) : NULL;
    if (!e->recall)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        e->results[i] = &results[i];
    qsort(e->results, count, sizeof(*e->results), by_place);
    return sort_truths(e);
}

static void end(evaluation *e)
{
    free(e->results);
    free(e->truths);
    free(e->hits);
    free(e->by_score);
    free(e->precision);
    free(e->recall);
    sl_coco_scratch_free(&e->scratch);
}

// A run of one category: its detections and its truths, both by image.
typedef struct run {
    const sl_coco_result *const *results;
    const sl_coco_annotation *const *truths;
    size_t result_count, truth_count;
} run;

// Goes through the images that have either. Returns the number of hits, which fill e->hits.
static sl_status match_images(evaluation *e, const run *all, size_t *hit_count)
{
    size_t r = 0, g = 0, h = 0;
    sl_status st = SL_OK;
    while ((r < all->result_count || g < all->truth_count) && st == SL_OK) {
        uint32_t image = r < all->result_count ? all->results[r]->image : UINT32_MAX;
        if (g < all->truth_count && all->truths[g]->image < image)
            image = all->truths[g]->image;
        const size_t first_hit = h, first_truth = g;
        for (uint32_t rank = 0; r < all->result_count && all->results[r]->image == image; r++)
            if (rank < SL_COCO_MOST &&
                sl_coco_is_labelled(e->coco, image, all->results[r]->category))
                e->hits[h++] = (sl_coco_hit) { .result = all->results[r], .rank = rank++ };
        while (g < all->truth_count && all->truths[g]->image == image)
            g++;
        st = sl_coco_match(e->ctx, &e->scratch, all->truths + first_truth, g - first_truth,
                           e->hits + first_hit, h - first_hit);
    }
    for (size_t i = 0; i < h; i++)
        e->by_score[i] = &e->hits[i];
    qsort(e->by_score, h, sizeof(*e->by_score), by_score);
    *hit_count = h;
    return st;
}

// Mean of the precision at 101 recalls: at each the best that is reached there or further on.
static double mean_precision(evaluation *e, size_t n)
{
    double sum = 0;
    for (size_t i = n; i-- > 1;)
        if (e->precision[i] > e->precision[i - 1])
            e->precision[i - 1] = e->precision[i];
    for (size_t r = 0, i = 0; r < RECALLS; r++) {
        const double wanted = r + 1 < RECALLS ? (double)r * 0.01 : 1;
        while (i < n && e->recall[i] < wanted)
            i++;
        sum += i < n ? e->precision[i] : 0;
    }
    return sum / RECALLS;
}

// Returns the recall that is reached; *n becomes the length of the curve.
static double draw_curve(evaluation *e, size_t hit_count, size_t area, size_t t, uint32_t limit,
                         size_t truths, size_t *n)
{
    double right = 0, wrong = 0;
    *n = 0;
    for (size_t i = 0; i < hit_count; i++) {
        const sl_coco_hit *hit = e->by_score[i];
        if (hit->rank >= limit || hit->ignored[area] >> t & 1)
            continue;
        if (hit->met[area] >> t & 1)
            right++;
        else
            wrong++;
        e->recall[*n] = right / (double)truths;
        e->precision[(*n)++] = right / (wrong + right + DBL_EPSILON);
    }
    return right / (double)truths;
}

static void rank_area(evaluation *e, size_t hit_count, size_t area, size_t truths, ranks *out)
{
    for (size_t t = 0; t < SL_COCO_THRESHOLDS; t++) {
        size_t n = 0;
        out->precision[area][t] = -1;
        for (size_t m = 0; m < LIMITS; m++)
            out->recall[area][t][m] =
                truths > 0 ? draw_curve(e, hit_count, area, t, limits[m], truths, &n) : -1;
        if (truths > 0)
            out->precision[area][t] = mean_precision(e, n);
    }
}

static double mean_of(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

static sl_status rank_category(evaluation *e, const run *all, ranks *out, sl_coco_class *class)
{
    size_t hits = 0;
    sl_status st = match_images(e, all, &hits);
    if (st != SL_OK)
        return st;
    for (size_t area = 0; area < SL_COCO_AREAS; area++) {
        size_t truths = 0;
        for (size_t g = 0; g < all->truth_count; g++)
            truths += !sl_coco_is_ignored(all->truths[g], area);
        rank_area(e, hits, area, truths, out);
        if (area == 0)
            class->truths = truths;
    }
    for (size_t i = 0; i < hits; i++)
        class->found += e->hits[i].met[0] & ~e->hits[i].ignored[0] & 1;
    class->ap = class->truths > 0 ? mean_of(out->precision[0], SL_COCO_THRESHOLDS) : -1;
    class->ap50 = out->precision[0][0];
    return SL_OK;
}

// ---- the means over categories

typedef struct mean {
    double sum;
    size_t n;
} mean;

static void add(mean *m, double x)
{
    if (x >= 0) { // -1: the category has nothing there
        m->sum += x;
        m->n++;
    }
}

static double value_of(const mean *m)
{
    return m->n > 0 ? m->sum / (double)m->n : -1;
}

// By area; at 0.50 and at 0.75; by limit.
typedef struct totals {
    mean precision[SL_COCO_AREAS], recall[SL_COCO_AREAS], at50, at75, by_limit[LIMITS];
} totals;

static void add_ranks(totals *sum, const ranks *of)
{
    for (size_t t = 0; t < SL_COCO_THRESHOLDS; t++) {
        for (size_t area = 0; area < SL_COCO_AREAS; area++) {
            add(&sum->precision[area], of->precision[area][t]);
            add(&sum->recall[area], of->recall[area][t][LIMITS - 1]);
        }
        for (size_t m = 0; m < LIMITS; m++)
            add(&sum->by_limit[m], of->recall[0][t][m]);
    }
    add(&sum->at50, of->precision[0][0]);
    add(&sum->at75, of->precision[0][5]);
}

static void conclude(const totals *sum, sl_coco_scores *out)
{
    out->ap = value_of(&sum->precision[0]);
    out->ap50 = value_of(&sum->at50);
    out->ap75 = value_of(&sum->at75);
    out->ap_small = value_of(&sum->precision[1]);
    out->ap_medium = value_of(&sum->precision[2]);
    out->ap_large = value_of(&sum->precision[3]);
    out->ar1 = value_of(&sum->by_limit[0]);
    out->ar10 = value_of(&sum->by_limit[1]);
    out->ar100 = value_of(&sum->by_limit[2]);
    out->ar_small = value_of(&sum->recall[1]);
    out->ar_medium = value_of(&sum->recall[2]);
    out->ar_large = value_of(&sum->recall[3]);
}

static sl_status rank_all(evaluation *e, const bool *wanted, size_t count, sl_coco_scores *out)
{
    totals sum = { 0 };
    size_t r = 0, g = 0;
    for (size_t c = 0; c < e->coco->category_count; c++) {
        ranks of;
        run all = { e->results + r, e->truths + g, 0, 0 };
        for (; r < count && e->results[r]->category == c; r++)
            all.result_count++;
        for (; g < e->coco->annotation_count && e->truths[g]->category == c; g++)
            all.truth_count++;
        out->classes[c] = (sl_coco_class) { .ap = -1, .ap50 = -1 };
        if (wanted && !wanted[c])
            continue;
        sl_status st = rank_category(e, &all, &of, &out->classes[c]);
        if (st != SL_OK)
            return st;
        add_ranks(&sum, &of);
    }
    conclude(&sum, out);
    return SL_OK;
}

sl_status sl_coco_evaluate_some(sl_ctx *ctx, const sl_coco *coco, const bool *wanted,
                                const sl_coco_result *results, size_t count, sl_coco_scores *out)
{
    evaluation e = { .ctx = ctx, .coco = coco };
    *out = (sl_coco_scores) { 0 };
    sl_status st = check_results(ctx, coco, results, count);
    if (st == SL_OK)
        st = begin(&e, results, count);
    if (st != SL_OK)
        goto done;
    out->class_count = coco->category_count;
    out->classes = sl_alloc(ctx, coco->category_count, sizeof(*out->classes));
    st = out->classes ? rank_all(&e, wanted, count, out) : SL_ERR_NOMEM;
done:
    if (st != SL_OK)
        sl_coco_scores_clear(out);
    end(&e);
    return st;
}

sl_status sl_coco_evaluate(sl_ctx *ctx, const sl_coco *coco, const sl_coco_result *results,
                           size_t count, sl_coco_scores *out)
{
    return sl_coco_evaluate_some(ctx, coco, NULL, results, count, out);
}

void sl_coco_scores_clear(sl_coco_scores *scores)
{
    free(scores->classes);
    *scores = (sl_coco_scores) { 0 };
}
