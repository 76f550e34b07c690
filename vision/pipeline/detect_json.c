// SPDX-License-Identifier: MIT
// pipeline/detect_json.c: detections as JSON: our own, a file or a line for each picture; COCO's,
// as of cocodataset.org's "Data format", with a score for each annotation; labelme's, as its
// version 5 writes it.
#include "pipeline/detect_file.h"
#include "tensor/json.h"

#define DIGITS JSON_REAL_PRECISION(7)
#define LABELME_VERSION "5.1.1" // whose files these are like

// Takes `value`, NULL where memory ran out.
static sl_status put(sl_detect_file *file, sl_page *page, const char *before, json_t *value,
                     size_t flags)
{
    sl_status st =
        value ? sl_page_put(file->ctx, page, before)
              : sl_fail(file->ctx, SL_ERR_NOMEM, "%s: out of memory for detections", file->path);
    if (st == SL_OK)
        st = sl_json_append(file->ctx, value, flags, "detections", &page->text, &page->room);
    json_decref(value);
    return st;
}

// Adds to a list that is NULL after a failure. Takes `value`.
static json_t *listed(json_t *list, json_t *value)
{
    if (list && json_array_append_new(list, value) == 0)
        return list;
    if (!list)
        json_decref(value);
    json_decref(list);
    return NULL;
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

// ---- ours

static json_t *object_json(const sl_detect_file *file, const sl_finding *f, size_t i)
{
    const sl_detection *d = &f->found->items[i];
    return json_pack("{s:s, s:s, s:I, s:f, s:o, s:f, s:f, s:f, s:f}", "label",
                     file->labels[f->categories[i]], "class", file->labels[d->category], "category",
                     (json_int_t)d->category, "score", (double)d->score, "refined",
                     number((double)d->refined), "x1", (double)d->x1, "y1", (double)d->y1, "x2",
                     (double)d->x2, "y2", (double)d->y2);
}

// How it was computed is not told of what comes out of a batch's journal.
static json_t *fell_back(const sl_detections *found)
{
    return isfinite(found->seconds) ? json_boolean(found->fell_back) : json_null();
}

static json_t *picture_json(const sl_detect_file *file, const sl_finding *f)
{
    json_t *list = json_array(), *all = NULL;
    char *device = sl_utf8_copy(file->ctx, f->found->device);
    for (size_t i = 0; list && i < f->found->count; i++)
        list = listed(list, object_json(file, f, i));
    if (list && device)
        all = json_pack("{s:s, s:I, s:I, s:o, s:s, s:o, s:o}", "picture", f->name, "width",
                        (json_int_t)f->found->width, "height", (json_int_t)f->found->height,
                        "seconds", number(f->found->seconds), "device", device, "fell_back",
                        fell_back(f->found), "detections", list);
    else
        json_decref(list);
    free(device);
    return all;
}

static sl_status add_json(sl_detect_file *file, const sl_finding *f)
{
    sl_status st = put(file, &file->page, "", picture_json(file, f), JSON_INDENT(2) | DIGITS);
    return st == SL_OK ? sl_page_put(file->ctx, &file->page, "\n") : st;
}

static sl_status add_line(sl_detect_file *file, const sl_finding *f)
{
    sl_status st = put(file, &file->page, "", picture_json(file, f), JSON_COMPACT | DIGITS);
    return st == SL_OK ? sl_page_put(file->ctx, &file->page, "\n") : st;
}

const sl_detect_writer sl_detect_json = { .add = add_json, .is_single = true };
const sl_detect_writer sl_detect_jsonl = { .add = add_line, .is_stream = true };

// ---- COCO: ids count from 1

static json_t *annotation_json(const sl_detect_file *file, const sl_finding *f, size_t i)
{
    const sl_detection *d = &f->found->items[i];
    const double width = (double)d->x2 - (double)d->x1, height = (double)d->y2 - (double)d->y1;
    return json_pack("{s:I, s:I, s:I, s:[f,f,f,f], s:f, s:i, s:[], s:f}", "id",
                     (json_int_t)(file->objects + i + 1), "image_id",
                     (json_int_t)(file->pictures + 1), "category_id",
                     (json_int_t)(f->categories[i] + 1), "bbox", (double)d->x1, (double)d->y1,
                     width, height, "area", width * height, "iscrowd", 0, "segmentation", "score",
                     (double)d->score);
}

static sl_status add_coco(sl_detect_file *file, const sl_finding *f)
{
    json_t *image = json_pack("{s:I, s:s, s:I, s:I}", "id", (json_int_t)(file->pictures + 1),
                              "file_name", f->name, "width", (json_int_t)f->found->width, "height",
                              (json_int_t)f->found->height);
    sl_status st =
        put(file, &file->page, file->pictures ? ",\n  " : "\n  ", image, JSON_COMPACT | DIGITS);
    for (size_t i = 0; i < f->found->count && st == SL_OK; i++)
        st = put(file, &file->more, file->objects + i ? ",\n  " : "\n  ",
                 annotation_json(file, f, i), JSON_COMPACT | DIGITS);
    return st;
}

static sl_status end_coco(sl_detect_file *file)
{
    sl_ctx *ctx = file->ctx;
    sl_page all = { 0 };
    sl_status st = sl_page_put(ctx, &all,
                               "{\n \"info\": {\"description\": \"detections by softlens\"},\n"
                               " \"licenses\": [],\n \"images\": [");
    if (st == SL_OK)
        st = sl_blob_append(ctx, &all.text, &all.room, file->page.text.data, file->page.text.size);
    if (st == SL_OK)
        st = sl_page_put(ctx, &all, "],\n \"annotations\": [");
    if (st == SL_OK)
        st = sl_blob_append(ctx, &all.text, &all.room, file->more.text.data, file->more.text.size);
    if (st == SL_OK)
        st = sl_page_put(ctx, &all, "],\n \"categories\": [");
    for (size_t i = 0; i < file->label_count && st == SL_OK; i++)
        st = put(file, &all, i ? ",\n  " : "\n  ",
                 json_pack("{s:I, s:s, s:s}", "id", (json_int_t)(i + 1), "name", file->labels[i],
                           "supercategory", ""),
                 JSON_COMPACT);
    if (st == SL_OK)
        st = sl_page_put(ctx, &all, "]\n}\n");
    sl_page_free(&file->page);
    file->page = all;
    return st;
}

const sl_detect_writer sl_detect_coco = { .add = add_coco, .end = end_coco };

// ---- labelme

static json_t *shape_json(const sl_detect_file *file, const sl_finding *f, size_t i)
{
    const sl_detection *d = &f->found->items[i];
    return json_pack("{s:s, s:[[f,f],[f,f]], s:n, s:s, s:{}, s:f}", "label",
                     file->labels[f->categories[i]], "points", (double)d->x1, (double)d->y1,
                     (double)d->x2, (double)d->y2, "group_id", "shape_type", "rectangle", "flags",
                     "score", (double)d->score);
}

static sl_status add_labelme(sl_detect_file *file, const sl_finding *f)
{
    char *path = sl_seen_from(file->ctx, file->path, f->path); // labelme looks for it there
    if (!path)
        return SL_ERR_NOMEM;
    json_t *shapes = json_array(), *all = NULL;
    for (size_t i = 0; shapes && i < f->found->count; i++)
        shapes = listed(shapes, shape_json(file, f, i));
    if (shapes)
        all = json_pack("{s:s, s:{}, s:o, s:s, s:n, s:I, s:I}", "version", LABELME_VERSION, "flags",
                        "shapes", shapes, "imagePath", path, "imageData", "imageHeight",
                        (json_int_t)f->found->height, "imageWidth", (json_int_t)f->found->width);
    free(path);
    sl_status st = put(file, &file->page, "", all, JSON_INDENT(2) | DIGITS);
    return st == SL_OK ? sl_page_put(file->ctx, &file->page, "\n") : st;
}

const sl_detect_writer sl_detect_labelme = { .add = add_labelme, .is_single = true };
