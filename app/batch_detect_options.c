// SPDX-License-Identifier: MIT
// app/batch_detect_options.c: what the command line says of the step detect of a batch: formats,
// contradictions, and which values decide the results.
#include "batch_detect.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

// ---- --format

static app_exit refuse_format(const batch *b, const char *name, size_t length, const char *why)
{
    return app_usage(b->session->command, "--format %.*s: %s", (int)(length < 40 ? length : 40),
                     name, why);
}

static app_exit read_format(batch *b, const char *name, size_t length, const char **picture)
{
    static const struct {
        const char *text, *kind;
    } pictures[] = { { "png", "png" }, { "jpg", "jpg" }, { "jpeg", "jpg" } };
    bool has_detect = batch_has_step(b, &batch_step_detect);
    for (size_t i = 0; i < APP_LEN(pictures); i++) {
        const char *kind = pictures[i].kind;
        if (strlen(pictures[i].text) != length || strncasecmp(pictures[i].text, name, length) != 0)
            continue;
        if (*picture && strcmp(*picture, kind) != 0)
            return refuse_format(b, name, length, "pictures are written as one kind, png or jpg");
        if (has_detect && !b->writes_pictures)
            return refuse_format(b, name, length, "no pictures are written; add --overlay");
        *picture = kind;
        return APP_DONE;
    }
    size_t format = app_detect_format(name, length);
    if (format < APP_DETECT_FORMATS && !has_detect)
        return refuse_format(b, name, length, "is of detect, which is none of the steps");
    if (format < APP_DETECT_FORMATS) {
        b->data_formats |= BATCH_FORMAT(format);
        return APP_DONE;
    }
    return refuse_format(b, name, length,
                         "is neither png nor jpg nor, of detect, one of json, jsonl, coco, yolo, "
                         "labelme, cvat, csv");
}

// Options that mean nothing without the step; NULL: none was given.
static const char *of_detect(const app_values *v)
{
    return v->overlay         ? "overlay"
           : v->overlay_style ? "overlay-style"
           : v->class_list    ? "classes"
           : v->score > 0     ? "score"
           : v->nms           ? "nms"
           : v->iou > 0       ? "iou"
           : v->sigma > 0     ? "sigma"
           : v->most          ? "max"
           : v->size[0]       ? "size"
           : v->refine        ? "refine"
                              : NULL;
}

app_exit batch_read_formats(batch *b)
{
    app_values *values = &b->session->values;
    const char *list = values->format, *picture = NULL;
    bool has_detect = batch_has_step(b, &batch_step_detect);
    app_exit result = APP_DONE;
    if (!has_detect && of_detect(values))
        return app_usage(b->session->command, "--%s is of detect, which is none of the steps",
                         of_detect(values));
    if (!has_detect && values->tta && !batch_has_step(b, &batch_step_deblur))
        return app_usage(b->session->command,
                         "--tta is of deblur and detect, which are none of the steps");
    b->writes_pictures = b->writes_pictures || values->overlay;
    while (list && result == APP_DONE) {
        size_t length = strcspn(list, ",");
        result = read_format(b, list, length, &picture);
        list = list[length] ? list + length + 1 : NULL;
    }
    if (has_detect && !b->data_formats)
        b->data_formats = BATCH_FORMAT(SL_DETECT_JSON);
    unsigned of_one = b->data_formats & BATCH_FORMATS_OF_ONE;
    if (result == APP_DONE && of_one == BATCH_FORMATS_OF_ONE)
        result = app_usage(b->session->command, "--format: json and labelme would both be "
                                                "NAME.json; ask for one of them");
    b->writes_data = of_one != 0;
    values->format = picture;
    return result;
}

// ---- contradictions

static const char *of_classify(const app_values *v)
{
    return v->top          ? "top"
           : v->no_unknown ? "no-unknown"
           : v->sort_into  ? "sort-into"
           : v->jsonl      ? "jsonl"
                           : NULL;
}

static const char *of_deblur(const app_values *v)
{
    return v->min_blur > 0         ? "min-blur"
           : v->keep_threshold > 0 ? "keep-threshold"
           : v->dense              ? "dense"
           : v->shrink             ? "shrink"
                                   : NULL;
}

static bool names_nothing(const char *list)
{
    return list && list[strspn(list, ", ")] == '\0';
}

app_exit batch_check_detect(const batch *b)
{
    const app_values *values = &b->session->values;
    const app_command *command = b->session->command;
    bool classifies = batch_has_step(b, &batch_step_classify);
    bool deblurs = batch_has_step(b, &batch_step_deblur);
    if (!classifies && of_classify(values))
        return app_usage(command, "--%s is of classify, which is none of the steps",
                         of_classify(values));
    if (!deblurs && of_deblur(values))
        return app_usage(command, "--%s is of deblur, which is none of the steps",
                         of_deblur(values));
    if (!deblurs && values->tta && strcmp(values->tta, "flips") == 0)
        return app_usage(command, "--tta flips is of deblur, which is none of the steps");
    if (values->overlay_style && !values->overlay)
        return app_usage(command, "--overlay-style is of --overlay; add it");
    if (values->unknown_rate > 0 && !classifies && !batch_detect_refines(b))
        return app_usage(command, "--unknown-rate is of --refine; add it, or a --gallery");
    if (!deblurs && values->tile > 0 && values->tile < 32)
        return app_usage(command, "--tile %llu: detect looks at tiles of 32 pixels at least",
                         (unsigned long long)values->tile);
    if (names_nothing(values->class_list))
        return app_usage(command, "--classes: names none");
    app_exit result = app_classify_check(b->session);
    return result == APP_DONE ? app_detect_check(b->session) : result;
}

// Where pictures are classified too, gallery and rate are for that.
bool batch_detect_refines(const batch *b)
{
    const app_values *values = &b->session->values;
    return values->refine || (values->gallery && !batch_has_step(b, &batch_step_classify));
}

// ---- what decides the results

sl_detect_options batch_detect_options(const batch *b, const char *device, sl_precision precision)
{
    sl_detect_options options = app_detect_options(b->session);
    options.device = device;
    options.precision = precision;
    if (batch_has_step(b, &batch_step_deblur)) // --tile is that of deblur
        options.tile = 0;
    return options;
}

static void set_file(json_t *object, const char *key, const char *path)
{
    char hash[BATCH_HASH_BYTES] = "";
    if (path)
        batch_hash_file(path, hash); // one that cannot be read was refused by now
    app_set_text(object, key, path ? hash : NULL);
}

void batch_detect_settings(const batch *b, json_t *object)
{
    const app_values *values = &b->session->values;
    const sl_detect_options o = batch_detect_options(b, NULL, SL_PRECISION_F32);
    bool has_gallery = values->gallery && !batch_has_step(b, &batch_step_classify);
    json_object_set_new(object, "long_side", json_integer(o.long_side));
    json_object_set_new(object, "short_side", json_integer(o.short_side));
    json_object_set_new(object, "score", json_real((double)o.score));
    json_object_set_new(object, "nms", json_integer((json_int_t)o.nms));
    json_object_set_new(object, "iou", json_real((double)o.iou));
    json_object_set_new(object, "sigma", json_real((double)o.sigma));
    json_object_set_new(object, "max", json_integer(o.most));
    json_object_set_new(object, "flip", json_boolean(o.flip));
    json_object_set_new(object, "tile", json_integer(o.tile));
    app_set_text(object, "classes", values->class_list);
    set_file(object, "refine", b->refine);
    set_file(object, "gallery", has_gallery ? values->gallery : NULL);
    if (b->refine && !batch_has_step(b, &batch_step_classify)) {
        json_object_set_new(object, "unknown_rate", json_real((double)values->unknown_rate));
        json_object_set_new(object, "only_gallery", json_boolean(values->only_gallery));
    }
    for (size_t f = 0; f < APP_DETECT_FORMATS; f++)
        if (b->data_formats & BATCH_FORMATS_OF_ONE & BATCH_FORMAT(f))
            app_set_text(object, "data", app_detect_kinds[f].name);
    if (!b->writes_pictures)
        return;
    if (values->overlay)
        app_set_text(object, "overlay", values->overlay_style ? values->overlay_style : "boxes");
    app_set_text(object, "format", values->format);
    json_object_set_new(object, "quality", json_integer((json_int_t)values->quality));
    json_object_set_new(object, "strip_metadata", json_boolean(values->strip_metadata));
}
