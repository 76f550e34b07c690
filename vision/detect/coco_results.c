// SPDX-License-Identifier: MIT
// detect/coco_results.c: detections out of JSON, as COCO's result files have them.
#include "detect/coco.h"

#define MAX_BYTES ((size_t)256 << 20)

static sl_status read_result(const sl_coco_entry *entry, const sl_coco *coco, sl_coco_result *out)
{
    sl_status st = sl_coco_owners(entry, coco, &out->image, &out->category);
    if (st == SL_OK)
        st = sl_coco_box(entry, out->box);
    if (st == SL_OK)
        st = sl_coco_number(entry, json_object_get(entry->object, "score"), "score", &out->score);
    return st;
}

static sl_status read_results(sl_ctx *ctx, const char *name, const json_t *list,
                              const sl_coco *coco, sl_coco_result **out, size_t *count)
{
    const size_t n = json_array_size(list);
    sl_status st = SL_OK;
    sl_coco_result *results = sl_alloc(ctx, n, sizeof(*results));
    if (!results)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < n && st == SL_OK; i++) {
        sl_coco_entry entry;
        st = sl_coco_entry_at(ctx, name, list, "results", i, &entry);
        if (st == SL_OK)
            st = read_result(&entry, coco, &results[i]);
    }
    if (st == SL_OK) {
        *out = results;
        *count = n;
        results = NULL;
    }
    free(results);
    return st;
}

sl_status sl_coco_results_parse(sl_ctx *ctx, const void *data, size_t size, const char *name,
                                const sl_coco *coco, sl_coco_result **out, size_t *count)
{
    json_t *root = NULL;
    *out = NULL;
    *count = 0;
    sl_status st = sl_coco_json(ctx, data, size, name, &root);
    if (st != SL_OK)
        return st;
    if (json_is_array(root))
        st = read_results(ctx, name, root, coco, out, count);
    else // whatever has pictures of its own may count them otherwise
        st = sl_fail(ctx, SL_ERR_FORMAT,
                     "%s: is no list; COCO's results are a list of objects with \"image_id\", "
                     "\"category_id\", \"bbox\" and \"score\"",
                     name);
    json_decref(root);
    return st;
}

sl_status sl_coco_results_read(sl_ctx *ctx, const char *path, const sl_coco *coco,
                               sl_coco_result **out, size_t *count)
{
    sl_blob text;
    *out = NULL;
    *count = 0;
    sl_status st = sl_file_read(ctx, path, MAX_BYTES, &text);
    if (st == SL_OK)
        st = sl_coco_results_parse(ctx, text.data, text.size, path, coco, out, count);
    sl_blob_free(&text);
    return st;
}
