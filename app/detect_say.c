// SPDX-License-Identifier: MIT
// app/detect_say.c: what softlens detect says about a picture: a JSON object, or lines for people.
#include "detect.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#define TOLD_FILES 3     // of those that a picture became
#define LABEL_COLUMNS 16 // that a label has in the table

// As the library writes them into NAME.json.
static json_t *object_of(const sl_detection *o)
{
    json_t *refined = isnan(o->refined) ? json_null() : json_real((double)o->refined);
    json_t *object =
        json_pack("{s:I, s:f, s:o, s:f, s:f, s:f, s:f}", "category", (json_int_t)o->category,
                  "score", (double)o->score, "refined", refined, "x1", (double)o->x1, "y1",
                  (double)o->y1, "x2", (double)o->x2, "y2", (double)o->y2);
    app_set_text(object, "label", o->label);
    app_set_text(object, "class", o->class_label);
    return object;
}

static json_t *written_of(const app_detect_out *out)
{
    json_t *written = json_array();
    for (size_t i = 0; i < out->written_count; i++) {
        char *utf8 = app_utf8(out->written[i].path);
        if (utf8)
            json_array_append_new(written, json_string(utf8));
        free(utf8);
    }
    return written;
}

void app_detect_print_json(const app_detect_out *out, const char *path, const sl_detections *found,
                           const char *error)
{
    json_t *picture = json_object();
    app_set_text(picture, "input", path);
    if (found) {
        json_object_set_new(picture, "written", written_of(out));
        json_t *objects = json_array();
        for (size_t i = 0; i < found->count; i++)
            json_array_append_new(objects, object_of(&found->items[i]));
        json_object_set_new(picture, "width", json_integer(found->width));
        json_object_set_new(picture, "height", json_integer(found->height));
        json_object_set_new(picture, "seconds", json_real(found->seconds));
        app_set_text(picture, "device", found->device);
        json_object_set_new(picture, "fell_back", json_boolean(found->fell_back));
        json_object_set_new(picture, "detections", objects);
    }
    app_set_text(picture, "error", error);
    app_put_json(picture, JSON_COMPACT | JSON_REAL_PRECISION(7));
}

// " -> a.detected.jpg, a.json", and of many files the first ones.
static void say_written(const app_detect_out *out, char *text, size_t size)
{
    size_t count = out->written_count, used = 0;
    *text = '\0';
    for (size_t i = 0; i < count && i < TOLD_FILES && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : " -> ",
                                 out->written[i].path);
    if (count > TOLD_FILES && used < size)
        snprintf(text + used, size - used, ", %zu more", count - TOLD_FILES);
}

void app_detect_print_table(const app_detect_out *out, const char *path, const sl_detections *found)
{
    const app_session *session = out->session;
    char written[2048];
    say_written(out, written, sizeof(written));
    app_say(session, "%s: %zu %s, %.2f s, %s%s", path, found->count,
            app_plural(found->count, "object", "objects"), found->seconds, found->device, written);
    for (size_t i = 0; i < found->count; i++) {
        const sl_detection *o = &found->items[i];
        int room = LABEL_COLUMNS - app_columns(o->label);
        app_say(session, "  %s%*s %5.1f %%   %5.0f x %-5.0f at %5.0f, %-5.0f", o->label,
                room > 0 ? room : 0, "", 100 * (double)o->score, (double)(o->x2 - o->x1),
                (double)(o->y2 - o->y1), (double)o->x1, (double)o->y1);
    }
}
