// SPDX-License-Identifier: MIT
// detect/coco_json.c: single fields of COCO's files, checked, with the place in every message.
#include "detect/coco.h"
#include "tensor/json.h"

#include <math.h>
#include <stdarg.h>

#define MAX_DEPTH 16
#define MAX_VALUES ((size_t)1 << 24) // bounds the memory that JSON takes to some 2 GB
#define MAX_ENTRIES ((size_t)1 << 24)

// Bounds what the JSON parser will build, before it builds it.
static sl_status check_extent(sl_ctx *ctx, const char *path, const char *text, size_t size)
{
    size_t deepest, values;
    sl_json_measure(text, size, &deepest, &values);
    if (deepest > MAX_DEPTH)
        return sl_fail(ctx, SL_ERR_FORMAT, "%s: nested more than %d deep; not of COCO's form", path,
                       MAX_DEPTH);
    if (values > MAX_VALUES)
        return sl_fail(ctx, SL_ERR_LIMIT,
                       "%s: %zu values, more than the %zu allowed; leave out \"segmentation\"",
                       path, values, MAX_VALUES);
    return SL_OK;
}

sl_status sl_coco_json(sl_ctx *ctx, const void *data, size_t size, const char *path, json_t **out)
{
    json_error_t error;
    const char *text = data;
    *out = NULL;
    sl_utf8_skip_mark(&text, &size);
    sl_status st = check_extent(ctx, path, text, size);
    if (st != SL_OK)
        return st;
    st = sl_json_parse(text, size, out, &error);
    if (st == SL_ERR_NOMEM)
        return sl_fail(ctx, st, "%s: out of memory for its JSON", path);
    if (st != SL_OK) // error.text quotes bytes that no terminal should get
        return sl_fail(ctx, SL_ERR_FORMAT, "%s: not valid JSON near byte %d (line %d)", path,
                       error.position, error.line);
    return SL_OK;
}

sl_status sl_coco_list(sl_ctx *ctx, const char *path, const json_t *root, const char *list,
                       const json_t **out)
{
    *out = json_object_get(root, list);
    if (!json_is_array(*out))
        return sl_fail(ctx, SL_ERR_FORMAT,
                       "%s: has no list \"%s\"; COCO's annotations are an object with \"images\", "
                       "\"categories\" and \"annotations\"",
                       path, list);
    if (json_array_size(*out) > MAX_ENTRIES)
        return sl_fail(ctx, SL_ERR_LIMIT, "%s: \"%s\" has %zu entries, more than the %zu allowed",
                       path, list, json_array_size(*out), MAX_ENTRIES);
    return SL_OK;
}

sl_status sl_coco_entry_at(sl_ctx *ctx, const char *path, const json_t *entries, const char *list,
                           size_t i, sl_coco_entry *out)
{
    *out = (sl_coco_entry) { ctx, path, list, i, json_array_get(entries, i) };
    return json_is_object(out->object) ? SL_OK : sl_coco_bad(out, "is no object");
}

sl_status sl_coco_bad(const sl_coco_entry *entry, const char *what, ...)
{
    char text[512];
    va_list args;
    va_start(args, what);
    vsnprintf(text, sizeof(text), what, args);
    va_end(args);
    return sl_fail(entry->ctx, SL_ERR_FORMAT, "%s: %s[%zu] %s", entry->path, entry->list, entry->i,
                   text);
}

sl_status sl_coco_id(const sl_coco_entry *entry, const char *key, int64_t *out)
{
    const json_t *value = json_object_get(entry->object, key);
    if (!json_is_integer(value))
        return sl_coco_bad(entry, "has no \"%s\" that is an integer", key);
    *out = json_integer_value(value);
    return SL_OK;
}

sl_status sl_coco_side(const sl_coco_entry *entry, const char *key, uint32_t *out)
{
    int64_t side = 0;
    sl_status st = sl_coco_id(entry, key, &side);
    if (st == SL_OK && (side < 1 || side > INT32_MAX))
        st = sl_coco_bad(entry, "has a \"%s\" of %lld pixels", key, (long long)side);
    *out = (uint32_t)side;
    return st;
}

sl_status sl_coco_number(const sl_coco_entry *entry, const json_t *value, const char *key,
                         double *out)
{
    *out = json_number_value(value);
    if (!json_is_number(value))
        return sl_coco_bad(entry, "has no number where \"%s\" wants one", key);
    if (!(fabs(*out) <= SL_COCO_MAX_NUMBER))
        return sl_coco_bad(entry, "has %g in \"%s\"; at most %g is taken", *out, key,
                           SL_COCO_MAX_NUMBER);
    return SL_OK;
}

sl_status sl_coco_box(const sl_coco_entry *entry, double out[4])
{
    const json_t *box = json_object_get(entry->object, "bbox");
    if (!json_is_array(box) || json_array_size(box) != 4)
        return sl_coco_bad(entry, "has no \"bbox\" of four numbers");
    for (size_t k = 0; k < 4; k++) {
        sl_status st = sl_coco_number(entry, json_array_get(box, k), "bbox", &out[k]);
        if (st != SL_OK)
            return st;
    }
    if (out[2] < 0 || out[3] < 0)
        return sl_coco_bad(entry, "has a \"bbox\" of %g by %g pixels; it is x, y, width, height",
                           out[2], out[3]);
    return SL_OK;
}

sl_status sl_coco_owners(const sl_coco_entry *entry, const sl_coco *coco, uint32_t *image,
                         uint32_t *category)
{
    int64_t image_id = 0, category_id = 0;
    size_t i = 0, c = 0;
    sl_status st = sl_coco_id(entry, "image_id", &image_id);
    if (st == SL_OK)
        st = sl_coco_id(entry, "category_id", &category_id);
    if (st == SL_OK && !sl_coco_find_image(coco, image_id, &i))
        st = sl_coco_bad(entry, "belongs to image %lld, which is not there", (long long)image_id);
    if (st == SL_OK && !sl_coco_find_category(coco, category_id, &c))
        st = sl_coco_bad(entry, "is of category %lld, which is not there", (long long)category_id);
    *image = (uint32_t)i;
    *category = (uint32_t)c;
    return st;
}
