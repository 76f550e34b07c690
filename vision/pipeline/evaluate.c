// SPDX-License-Identifier: MIT
// pipeline/evaluate.c: how good a detector is: COCO's average precision over annotated pictures.
#include "pipeline/detect.h"
#include "tensor/json.h"

#include <errno.h>
#include <unistd.h>

#define REPORT_FLAGS (JSON_INDENT(2) | JSON_REAL_PRECISION(6))
#define WAYS 2 // of joining boxes: the detector's own, and hard

typedef struct results {
    sl_coco_result *list;
    size_t count, capacity;
} results;

typedef struct evaluation {
    sl_detect *detect;
    sl_coco *coco;
    const char *folder;
    bool *wanted;       // by category of the file
    uint32_t *category; // by label of the model; UINT32_MAX: the file has none
    results of[WAYS];
    sl_scored *kept; // candidates of a picture, for the second way
    size_t kept_room;
    double seconds; // network and joining, without files
} evaluation;

static sl_nms way(const evaluation *e, int i)
{
    return i == 0 ? e->detect->options.nms : SL_NMS_HARD;
}

// ---- what both know

static sl_status match_categories(evaluation *e)
{
    sl_detect *d = e->detect;
    size_t common = 0, categories = sl_coco_category_count(e->coco);
    e->wanted = sl_alloc(d->ctx, categories ? categories : 1, sizeof(*e->wanted));
    e->category = sl_alloc(d->ctx, d->label_count, sizeof(*e->category));
    if (!e->wanted || !e->category)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < d->label_count; i++) {
        size_t found;
        bool is_there = d->is_wanted[i] && sl_coco_find_name(e->coco, d->labels[i], &found);
        e->category[i] = is_there ? (uint32_t)found : UINT32_MAX;
        if (is_there) {
            common += !e->wanted[found];
            e->wanted[found] = true;
        }
    }
    if (common == 0)
        return sl_fail(d->ctx, SL_ERR_ARGUMENT,
                       "the annotations have none of the model's classes (%s, ...); are they of "
                       "other things?",
                       d->labels[0]);
    return SL_OK;
}

// ---- pictures

static sl_status keep_results(evaluation *e, size_t image, results *r)
{
    const sl_detect *d = e->detect;
    size_t needed;
    if (!sl_add(r->count, d->count, &needed))
        return sl_fail(d->ctx, SL_ERR_NOMEM, "out of memory for the results");
    if (needed > r->capacity) {
        size_t capacity = needed > SIZE_MAX / 2 ? needed : 2 * needed;
        sl_coco_result *grown = sl_alloc(d->ctx, capacity, sizeof(*grown));
        if (!grown)
            return SL_ERR_NOMEM;
        if (r->count)
            memcpy(grown, r->list, r->count * sizeof(*grown));
        free(r->list);
        r->list = grown;
        r->capacity = capacity;
    }
    for (size_t i = 0; i < d->count; i++) {
        const sl_scored *s = &d->boxes[i];
        uint32_t category = e->category[s->label];
        if (category != UINT32_MAX)
            r->list[r->count++] = (sl_coco_result) {
                .image = (uint32_t)image,
                .category = category,
                .box = { (double)s->box.x1, (double)s->box.y1,
                         (double)s->box.x2 - (double)s->box.x1,
                         (double)s->box.y2 - (double)s->box.y1 },
                .score = (double)s->score,
            };
    }
    return SL_OK;
}

// Joins the candidates in both ways.
static sl_status join_ways(evaluation *e, size_t image)
{
    sl_detect *d = e->detect;
    size_t count = d->count;
    if (count > e->kept_room) {
        free(e->kept);
        e->kept_room = 0;
        e->kept = sl_alloc(d->ctx, count, sizeof(*e->kept));
        if (!e->kept)
            return SL_ERR_NOMEM;
        e->kept_room = count;
    }
    if (count)
        memcpy(e->kept, d->boxes, count * sizeof(*e->kept));
    sl_status st = SL_OK;
    for (int i = 0; i < WAYS && st == SL_OK; i++) {
        if (count)
            memcpy(d->boxes, e->kept, count * sizeof(*e->kept));
        d->count = count;
        st = sl_detect_join(d, way(e, i), d->options.most);
        if (st == SL_OK)
            st = keep_results(e, image, &e->of[i]);
    }
    return st;
}

static char *path_of(const evaluation *e, size_t i)
{
    return sl_format(e->detect->ctx, "%s/%s", e->folder, sl_coco_image_at(e->coco, i)->file_name);
}

// One picture that is missing would end the run after all others were computed.
static sl_status check_pictures(const evaluation *e)
{
    sl_ctx *ctx = e->detect->ctx;
    size_t count = sl_coco_image_count(e->coco), missing = 0;
    char *first = NULL;
    int error = 0;
    for (size_t i = 0; i < count; i++) {
        char *path = path_of(e, i);
        if (!path) {
            free(first);
            return SL_ERR_NOMEM;
        }
        if (access(path, R_OK) != 0 && missing++ == 0) {
            error = errno;
            first = path;
        } else {
            free(path);
        }
    }
    if (!first)
        return SL_OK;
    sl_status st = sl_fail(ctx, SL_ERR_IO,
                           "%s: cannot be read: %s; so it is with %zu of the %zu annotated "
                           "pictures; name the folder that holds them",
                           first, strerror(error), missing, count);
    free(first);
    return st;
}

static sl_status look_at(evaluation *e, size_t i)
{
    sl_ctx *ctx = e->detect->ctx;
    const sl_coco_image *entry = sl_coco_image_at(e->coco, i);
    sl_image *image = NULL;
    char *path = path_of(e, i);
    sl_status st = path ? sl_image_load(ctx, path, NULL, &image) : SL_ERR_NOMEM;
    if (st == SL_OK && (image->width != entry->width || image->height != entry->height))
        st = sl_fail(ctx, SL_ERR_FORMAT,
                     "%s: is %u x %u pixels upright; the annotations say %u x %u", path,
                     image->width, image->height, entry->width, entry->height);
    double start = sl_seconds();
    if (st == SL_OK)
        st = sl_detect_look(e->detect, image);
    if (st == SL_OK)
        st = join_ways(e, i);
    e->seconds += sl_seconds() - start;
    sl_image_free(image);
    free(path);
    return st;
}

// ---- the report

// Takes `value`, NULL where memory ran out: false then.
static bool set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static bool put(json_t *object, const char *key, double value)
{
    return !(value >= 0) || set(object, key, json_real(value)); // nothing that counts is no number
}

static json_t *class_json(const sl_coco_class *of)
{
    json_t *object = json_object();
    if (put(object, "AP", of->ap) && put(object, "AP50", of->ap50) &&
        set(object, "boxes", json_integer((json_int_t)of->truths)))
        return object;
    json_decref(object);
    return NULL;
}

// `wanted`: by category; NULL: all. NULL: out of memory.
static json_t *scores_of(const sl_coco *coco, const bool *wanted, const sl_coco_scores *s)
{
    const struct {
        const char *key;
        double value;
    } numbers[] = { { "AP", s->ap },
                    { "AP50", s->ap50 },
                    { "AP75", s->ap75 },
                    { "AP_small", s->ap_small },
                    { "AP_medium", s->ap_medium },
                    { "AP_large", s->ap_large },
                    { "AR1", s->ar1 },
                    { "AR10", s->ar10 },
                    { "AR100", s->ar100 } };
    json_t *object = json_object(), *classes = json_object();
    bool ok = true;
    for (size_t i = 0; i < SL_ARRAY_LEN(numbers) && ok; i++)
        ok = put(object, numbers[i].key, numbers[i].value);
    for (size_t i = 0; i < s->class_count && ok; i++)
        if (!wanted || wanted[i])
            ok = set(classes, sl_coco_category_at(coco, i)->name, class_json(&s->classes[i]));
    ok = set(object, "classes", classes) && ok;
    if (ok)
        return object;
    json_decref(object);
    return NULL;
}

static sl_status report(const evaluation *e, char **out)
{
    static const char *const names[] = { "gaussian", "linear", "hard", "none" };
    sl_detect *d = e->detect;
    sl_status st = SL_OK;
    json_t *object = json_pack("{s:o, s:I, s:f, s:s}", "model",
                               sl_json_path(d->ctx, sl_tensor_set_path(d->model->set)), "pictures",
                               (json_int_t)sl_coco_image_count(e->coco), "seconds", e->seconds,
                               "device", d->last ? d->last->network.plan->device : "");
    bool ok = object;
    for (int i = 0; i < WAYS && st == SL_OK && ok; i++) {
        sl_coco_scores scores;
        if (i > 0 && way(e, i) == way(e, 0))
            break;
        st = sl_coco_evaluate_some(d->ctx, e->coco, e->wanted, e->of[i].list, e->of[i].count,
                                   &scores);
        if (st == SL_OK)
            ok = set(object, names[way(e, i)], scores_of(e->coco, e->wanted, &scores));
        sl_coco_scores_clear(&scores);
    }
    if (ok && st == SL_OK)
        return sl_json_text(d->ctx, object, REPORT_FLAGS, out);
    json_decref(object);
    return st == SL_OK ? sl_json_text(d->ctx, NULL, REPORT_FLAGS, out) : st;
}

sl_status sl_detect_evaluate(sl_detect *d, const char *annotations, const char *images, char **out)
{
    evaluation e = { .detect = d, .folder = images };
    *out = NULL;
    sl_status st = sl_coco_read(d->ctx, annotations, &e.coco);
    if (st == SL_OK)
        st = match_categories(&e);
    if (st == SL_OK)
        st = check_pictures(&e);
    size_t count = st == SL_OK ? sl_coco_image_count(e.coco) : 0;
    d->total = count;
    for (d->done = 0; d->done < count && st == SL_OK;) {
        st = look_at(&e, d->done);
        if (st == SL_OK)
            st = sl_progress(d->ctx, ++d->done, count);
    }
    d->total = 0;
    if (st == SL_OK)
        st = report(&e, out);
    for (int i = 0; i < WAYS; i++)
        free(e.of[i].list);
    free(e.kept);
    free(e.wanted);
    free(e.category);
    sl_coco_free(e.coco);
    return st;
}

sl_status sl_detections_evaluate(sl_ctx *ctx, const char *annotations, const char *path, char **out)
{
    sl_coco *coco = NULL;
    sl_coco_result *found = NULL;
    sl_coco_scores scores = { 0 };
    size_t count;
    *out = NULL;
    sl_status st = sl_coco_read(ctx, annotations, &coco);
    if (st == SL_OK)
        st = sl_coco_results_read(ctx, path, coco, &found, &count);
    if (st == SL_OK)
        st = sl_coco_evaluate(ctx, coco, found, count, &scores);
    if (st == SL_OK)
        st = sl_json_text(ctx,
                          json_pack("{s:o, s:I, s:I, s:o}", "results", sl_json_path(ctx, path),
                                    "pictures", (json_int_t)sl_coco_image_count(coco), "detections",
                                    (json_int_t)count, "scores", scores_of(coco, NULL, &scores)),
                          REPORT_FLAGS, out);
    sl_coco_scores_clear(&scores);
    free(found);
    sl_coco_free(coco);
    return st;
}
