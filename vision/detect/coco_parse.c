// SPDX-License-Identifier: MIT
// detect/coco_parse.c: COCO's annotations out of JSON.
#include "detect/coco.h"

#define MAX_FILE_NAME 4096

typedef struct reader {
    sl_ctx *ctx;
    const char *path;
    sl_coco *coco;
} reader;

static int compare_ids(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int by_image_id(const void *a, const void *b)
{
    return compare_ids(((const sl_coco_image *)a)->id, ((const sl_coco_image *)b)->id);
}

static int by_category_id(const void *a, const void *b)
{
    return compare_ids(((const sl_coco_category *)a)->id, ((const sl_coco_category *)b)->id);
}

static int by_id(const void *a, const void *b)
{
    return compare_ids(*(const int64_t *)a, *(const int64_t *)b);
}

static int by_index(const void *a, const void *b)
{
    const uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    return (i > j) - (i < j);
}

static sl_status repeated(const reader *r, const char *list, int64_t id)
{
    return sl_fail(r->ctx, SL_ERR_FORMAT, "%s: two %s have the id %lld", r->path, list,
                   (long long)id);
}

// ---- categories

static sl_status read_category(const reader *r, const sl_coco_entry *entry, sl_coco_category *out)
{
    const json_t *name = json_object_get(entry->object, "name");
    sl_status st = sl_coco_id(entry, "id", &out->id);
    if (st != SL_OK)
        return st;
    if (!json_is_string(name) ||
        !sl_tensor_name_valid(json_string_value(name), json_string_length(name)))
        return sl_coco_bad(entry, "has no \"name\" of 1 to %d printable bytes",
                           SL_TENSOR_NAME_BYTES);
    out->name = sl_arena_strdup(r->ctx, &r->coco->arena, json_string_value(name));
    return out->name ? SL_OK : SL_ERR_NOMEM;
}

static int by_name(const void *a, const void *b, void *arg)
{
    const sl_coco *coco = arg;
    return strcmp(coco->categories[*(const uint32_t *)a].name,
                  coco->categories[*(const uint32_t *)b].name);
}

static sl_status sort_names(const reader *r)
{
    sl_coco *coco = r->coco;
    const size_t n = coco->category_count;
    coco->by_name = sl_alloc(r->ctx, n, sizeof(*coco->by_name));
    if (!coco->by_name)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        coco->by_name[i] = (uint32_t)i;
    qsort_r(coco->by_name, n, sizeof(*coco->by_name), by_name, coco);
    for (size_t i = 1; i < n; i++)
        if (by_name(&coco->by_name[i - 1], &coco->by_name[i], coco) == 0)
            return sl_fail(r->ctx, SL_ERR_FORMAT, "%s: two categories are called \"%s\"", r->path,
                           coco->categories[coco->by_name[i]].name);
    return SL_OK;
}

static sl_status read_categories(const reader *r, const json_t *list)
{
    sl_coco *coco = r->coco;
    const size_t n = json_array_size(list);
    coco->categories = sl_alloc(r->ctx, n, sizeof(*coco->categories));
    if (!coco->categories)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        sl_coco_entry entry;
        sl_status st = sl_coco_entry_at(r->ctx, r->path, list, "categories", i, &entry);
        if (st == SL_OK)
            st = read_category(r, &entry, &coco->categories[i]);
        if (st != SL_OK)
            return st;
    }
    coco->category_count = n;
    qsort(coco->categories, n, sizeof(*coco->categories), by_category_id);
    for (size_t i = 1; i < n; i++)
        if (coco->categories[i - 1].id == coco->categories[i].id)
            return repeated(r, "categories", coco->categories[i].id);
    return sort_names(r);
}

// ---- images

// Relative, without "..", printable: whoever joins it to a folder stays in there.
static bool is_fit_for_a_path(const char *name, size_t size)
{
    if (size == 0 || size > MAX_FILE_NAME || name[0] == '/' || !sl_utf8_valid(name, size))
        return false;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return false;
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
            return false;
    }
    return true;
}

static sl_status read_labelled(const reader *r, const sl_coco_entry *entry, sl_coco_image *out)
{
    const json_t *list = json_object_get(entry->object, "labelled");
    if (!list)
        return SL_OK;
    if (!json_is_array(list))
        return sl_coco_bad(entry, "has a \"labelled\" that is no list of category ids");
    const size_t n = json_array_size(list);
    uint32_t *indices = sl_arena_alloc(r->ctx, &r->coco->arena, n + 1, sizeof(*indices));
    if (!indices)
        return SL_ERR_NOMEM;
    for (size_t k = 0; k < n; k++) {
        const json_t *id = json_array_get(list, k);
        size_t index = 0;
        if (!json_is_integer(id) || !sl_coco_find_category(r->coco, json_integer_value(id), &index))
            return sl_coco_bad(entry, "has a \"labelled\" whose entry %zu is no category's id", k);
        indices[k] = (uint32_t)index;
    }
    qsort(indices, n, sizeof(*indices), by_index);
    for (size_t k = 1; k < n; k++)
        if (indices[k - 1] == indices[k])
            return sl_coco_bad(entry, "has a \"labelled\" with category %lld twice",
                               (long long)r->coco->categories[indices[k]].id);
    out->labelled = indices;
    out->labelled_count = n;
    return SL_OK;
}

static sl_status read_image(const reader *r, const sl_coco_entry *entry, sl_coco_image *out)
{
    const json_t *name = json_object_get(entry->object, "file_name");
    sl_status st = sl_coco_id(entry, "id", &out->id);
    if (st == SL_OK)
        st = sl_coco_side(entry, "width", &out->width);
    if (st == SL_OK)
        st = sl_coco_side(entry, "height", &out->height);
    if (st != SL_OK)
        return st;
    if (!json_is_string(name) ||
        !is_fit_for_a_path(json_string_value(name), json_string_length(name)))
        return sl_coco_bad(entry, "has no \"file_name\" that is printable, relative and without "
                                  "\"..\"");
    out->file_name = sl_arena_strdup(r->ctx, &r->coco->arena, json_string_value(name));
    return out->file_name ? read_labelled(r, entry, out) : SL_ERR_NOMEM;
}

static sl_status read_images(const reader *r, const json_t *list)
{
    sl_coco *coco = r->coco;
    const size_t n = json_array_size(list);
    coco->images = sl_alloc(r->ctx, n, sizeof(*coco->images));
    if (!coco->images)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        sl_coco_entry entry;
        sl_status st = sl_coco_entry_at(r->ctx, r->path, list, "images", i, &entry);
        if (st == SL_OK)
            st = read_image(r, &entry, &coco->images[i]);
        if (st != SL_OK)
            return st;
    }
    coco->image_count = n;
    qsort(coco->images, n, sizeof(*coco->images), by_image_id);
    for (size_t i = 1; i < n; i++)
        if (coco->images[i - 1].id == coco->images[i].id)
            return repeated(r, "images", coco->images[i].id);
    return SL_OK;
}

// ---- annotations

static sl_status read_crowd(const sl_coco_entry *entry, bool *out)
{
    const json_t *value = json_object_get(entry->object, "iscrowd");
    *out = json_is_true(value) || json_integer_value(value) == 1;
    if (value && !json_is_boolean(value) &&
        !(json_is_integer(value) && (*out || json_integer_value(value) == 0)))
        return sl_coco_bad(entry, "has an \"iscrowd\" that is neither 0 nor 1");
    return SL_OK;
}

static sl_status read_area(const sl_coco_entry *entry, sl_coco_annotation *out)
{
    const json_t *value = json_object_get(entry->object, "area");
    out->area = out->box[2] * out->box[3];
    if (!value)
        return SL_OK;
    sl_status st = sl_coco_number(entry, value, "area", &out->area);
    if (st == SL_OK && out->area < 0)
        st = sl_coco_bad(entry, "has a negative \"area\"");
    return st;
}

static sl_status read_annotation(const reader *r, const sl_coco_entry *entry,
                                 sl_coco_annotation *out)
{
    sl_status st = sl_coco_id(entry, "id", &out->id);
    if (st == SL_OK)
        st = sl_coco_owners(entry, r->coco, &out->image, &out->category);
    if (st == SL_OK)
        st = sl_coco_box(entry, out->box);
    if (st == SL_OK)
        st = read_area(entry, out);
    if (st == SL_OK)
        st = read_crowd(entry, &out->is_crowd);
    if (st != SL_OK)
        return st;
    const sl_coco_image *image = &r->coco->images[out->image];
    if (out->box[0] > image->width || out->box[1] > image->height ||
        out->box[0] + out->box[2] < 0 || out->box[1] + out->box[3] < 0)
        return sl_coco_bad(entry, "has a \"bbox\" outside of its picture of %u by %u pixels",
                           image->width, image->height);
    if (!sl_coco_is_labelled(r->coco, out->image, out->category))
        return sl_coco_bad(entry,
                           "is of category %lld, which image %lld does not have among those "
                           "\"labelled\"",
                           (long long)r->coco->categories[out->category].id, (long long)image->id);
    return SL_OK;
}

static sl_status check_annotation_ids(const reader *r)
{
    const size_t n = r->coco->annotation_count;
    int64_t *ids = sl_alloc(r->ctx, n, sizeof(*ids));
    sl_status st = ids ? SL_OK : SL_ERR_NOMEM;
    for (size_t i = 0; i < n && st == SL_OK; i++)
        ids[i] = r->coco->annotations[i].id;
    if (st == SL_OK)
        qsort(ids, n, sizeof(*ids), by_id);
    for (size_t i = 1; i < n && st == SL_OK; i++)
        if (ids[i - 1] == ids[i])
            st = repeated(r, "annotations", ids[i]);
    free(ids);
    return st;
}

static sl_status read_annotations(const reader *r, const json_t *list)
{
    sl_coco *coco = r->coco;
    const size_t n = json_array_size(list);
    coco->annotations = sl_alloc(r->ctx, n, sizeof(*coco->annotations));
    if (!coco->annotations)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        sl_coco_entry entry;
        sl_status st = sl_coco_entry_at(r->ctx, r->path, list, "annotations", i, &entry);
        if (st == SL_OK)
            st = read_annotation(r, &entry, &coco->annotations[i]);
        if (st != SL_OK)
            return st;
    }
    coco->annotation_count = n;
    sl_status st = check_annotation_ids(r);
    return st == SL_OK ? sl_coco_sort_annotations(r->ctx, coco) : st;
}

static sl_status read_root(const reader *r, const json_t *root)
{
    const json_t *images = NULL, *categories = NULL, *annotations = NULL;
    sl_status st = sl_coco_list(r->ctx, r->path, root, "categories", &categories);
    if (st == SL_OK)
        st = sl_coco_list(r->ctx, r->path, root, "images", &images);
    if (st == SL_OK)
        st = sl_coco_list(r->ctx, r->path, root, "annotations", &annotations);
    if (st == SL_OK)
        st = read_categories(r, categories);
    if (st == SL_OK)
        st = read_images(r, images);
    if (st == SL_OK)
        st = read_annotations(r, annotations);
    return st;
}

sl_status sl_coco_parse(sl_ctx *ctx, const void *data, size_t size, const char *name, sl_coco **out)
{
    json_t *root = NULL;
    sl_coco *coco = NULL;
    *out = NULL;
    sl_status st = sl_coco_json(ctx, data, size, name, &root);
    if (st != SL_OK)
        return st;
    coco = sl_alloc(ctx, 1, sizeof(*coco));
    st = coco ? read_root(&(reader) { ctx, name, coco }, root) : SL_ERR_NOMEM;
    if (st == SL_OK) {
        *out = coco;
        coco = NULL;
    }
    sl_coco_free(coco);
    json_decref(root);
    return st;
}
