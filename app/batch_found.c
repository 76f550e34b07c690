// SPDX-License-Identifier: MIT
// app/batch_found.c: detections as the journals keep them. Numbers are written so that the same
// floats come back: files made from a journal are those that would have been made at once.
#include "batch_detect.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *object_json(const sl_detection *o)
{
    json_t *object =
        json_pack("{s:[f,f,f,f], s:f, s:I}", "box", (double)o->x1, (double)o->y1, (double)o->x2,
                  (double)o->y2, "score", (double)o->score, "category", (json_int_t)o->category);
    app_set_text(object, "label", o->label);
    if (object && !isnan(o->refined))
        json_object_set_new(object, "refined", json_real((double)o->refined));
    return object;
}

json_t *batch_found_json(const sl_detections *found)
{
    json_t *root = json_object(), *objects = json_array();
    bool ok = root && objects;
    for (size_t i = 0; i < found->count && ok; i++)
        ok = json_array_append_new(objects, object_json(&found->items[i])) == 0;
    json_object_set_new(root, "width", json_integer(found->width));
    json_object_set_new(root, "height", json_integer(found->height));
    app_set_text(root, "device", found->device);
    json_object_set_new(root, "fell_back", json_boolean(found->fell_back));
    if (json_object_set_new(root, "objects", objects) != 0 || !ok) {
        json_decref(root);
        return NULL;
    }
    return root;
}

static bool read_count(const json_t *root, const char *key, uint32_t *out)
{
    const json_t *value = json_object_get(root, key);
    json_int_t n = json_integer_value(value);
    *out = n >= 0 && n <= UINT32_MAX ? (uint32_t)n : 0;
    return json_is_integer(value) && n >= 0 && n <= UINT32_MAX;
}

static bool read_object(const json_t *json, const char *const *labels, size_t label_count,
                        sl_detection *o)
{
    const json_t *box = json_object_get(json, "box"), *refined = json_object_get(json, "refined");
    float corner[4];
    for (size_t i = 0; i < APP_LEN(corner); i++) {
        const json_t *number = json_array_get(box, i);
        if (!json_is_number(number))
            return false;
        corner[i] = (float)json_number_value(number);
    }
    const char *label = json_string_value(json_object_get(json, "label"));
    uint32_t category;
    if (!label || !read_count(json, "category", &category) || category >= label_count)
        return false;
    *o = (sl_detection) { .x1 = corner[0],
                          .y1 = corner[1],
                          .x2 = corner[2],
                          .y2 = corner[3],
                          .score = (float)json_number_value(json_object_get(json, "score")),
                          .category = category,
                          .label = label,
                          .class_label = labels[category],
                          .refined = refined ? (float)json_number_value(refined) : NAN };
    return true;
}

bool batch_found_read(const json_t *json, const char *const *labels, size_t label_count,
                      sl_detections *out)
{
    const json_t *objects = json_object_get(json, "objects");
    size_t count = json_array_size(objects);
    *out = (sl_detections) { .label_count = label_count, .labels = labels, .seconds = (double)NAN };
    bool ok = json_is_array(objects) && read_count(json, "width", &out->width) &&
              read_count(json, "height", &out->height);
    out->items = ok ? calloc(count + 1, sizeof(*out->items)) : NULL;
    for (; out->items && ok && out->count < count; out->count++)
        ok = read_object(json_array_get(objects, out->count), labels, label_count,
                         &out->items[out->count]);
    if (ok && out->items)
        return true;
    free(out->items);
    out->items = NULL;
    return false;
}

bool batch_found_labels(const batch *b, const char ***labels, size_t *count)
{
    const json_t *list =
        json_object_get(json_object_get(b->notes, batch_step_detect.name), "labels");
    *count = json_array_size(list);
    *labels = *count ? calloc(*count, sizeof(**labels)) : NULL;
    for (size_t i = 0; *labels && i < *count; i++) {
        const char *label = json_string_value(json_array_get(list, i));
        (*labels)[i] = label ? label : "";
    }
    return *labels != NULL;
}
