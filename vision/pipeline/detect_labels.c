// SPDX-License-Identifier: MIT
// pipeline/detect_labels.c: what a detector's file says besides its weights: labels, and the score
// from which on an object is shown.
#include "pipeline/detect.h"

#include <jansson.h>

#define DEFAULT_SCORE 0.3f

// A file without labels has numbers. Those it has were checked when it was opened.
static sl_status copy_labels(sl_detect *d, const json_t *list)
{
    for (size_t i = 0; i < d->label_count; i++) {
        char number[32];
        const char *label = json_string_value(json_array_get(list, i));
        snprintf(number, sizeof(number), "class %zu", i);
        d->labels[i] = sl_arena_strdup(d->ctx, &d->arena, label ? label : number);
        if (!d->labels[i])
            return SL_ERR_NOMEM;
    }
    return SL_OK;
}

sl_status sl_detect_read_labels(sl_detect *d)
{
    const char *text = sl_tensor_set_meta(d->model->set, "labels");
    d->label_count = d->model->retina.classes;
    d->labels = sl_arena_alloc(d->ctx, &d->arena, d->label_count, sizeof(*d->labels));
    if (!d->labels)
        return SL_ERR_NOMEM;
    json_t *list = text ? json_loads(text, 0, NULL) : NULL;
    sl_status st = copy_labels(d, list);
    json_decref(list);
    return st;
}

float sl_detect_read_score(const sl_detect *d)
{
    const char *text = sl_tensor_set_meta(d->model->set, "score");
    char *end = NULL;
    float score = text ? strtof(text, &end) : DEFAULT_SCORE;
    return score > 0 && score < 1 && (!text || *end == '\0') ? score : DEFAULT_SCORE;
}
