// SPDX-License-Identifier: MIT
// detect/coco_read.c: annotation files, and what is asked of them.
#include "detect/coco.h"
#include "detect/radix.h"

#define MAX_BYTES ((size_t)256 << 20)

sl_status sl_coco_read(sl_ctx *ctx, const char *path, sl_coco **out)
{
    sl_blob text;
    *out = NULL;
    sl_status st = sl_file_read(ctx, path, MAX_BYTES, &text);
    if (st == SL_OK)
        st = sl_coco_parse(ctx, text.data, text.size, path, out);
    sl_blob_free(&text);
    return st;
}

void sl_coco_free(sl_coco *coco)
{
    if (!coco)
        return;
    sl_arena_free(&coco->arena);
    free(coco->images);
    free(coco->categories);
    free(coco->annotations);
    free(coco->by_name);
    free(coco);
}

sl_status sl_coco_sort_annotations(sl_ctx *ctx, sl_coco *coco)
{
    const size_t n = coco->annotation_count;
    uint64_t *items = sl_alloc(ctx, 2 * n, sizeof(*items));
    sl_coco_annotation *sorted = items ? sl_alloc(ctx, n, sizeof(*sorted)) : NULL;
    if (!sorted) {
        free(items);
        return SL_ERR_NOMEM;
    }
    for (size_t i = 0; i < n; i++)
        items[i] = sl_radix_item(coco->annotations[i].category, i);
    sl_radix_sort(items, items + n, n, 32);
    for (size_t i = 0; i < n; i++)
        items[i] = sl_radix_item(coco->annotations[(uint32_t)items[i]].image, items[i]);
    sl_radix_sort(items, items + n, n, 32);
    for (size_t i = 0; i < n; i++)
        sorted[i] = coco->annotations[(uint32_t)items[i]];
    free(items);
    free(coco->annotations);
    coco->annotations = sorted;
    return SL_OK;
}

size_t sl_coco_image_count(const sl_coco *coco)
{
    return coco->image_count;
}

const sl_coco_image *sl_coco_image_at(const sl_coco *coco, size_t i)
{
    return i < coco->image_count ? &coco->images[i] : NULL;
}

size_t sl_coco_category_count(const sl_coco *coco)
{
    return coco->category_count;
}

const sl_coco_category *sl_coco_category_at(const sl_coco *coco, size_t i)
{
    return i < coco->category_count ? &coco->categories[i] : NULL;
}

size_t sl_coco_annotation_count(const sl_coco *coco)
{
    return coco->annotation_count;
}

const sl_coco_annotation *sl_coco_annotation_at(const sl_coco *coco, size_t i)
{
    return i < coco->annotation_count ? &coco->annotations[i] : NULL;
}

bool sl_coco_find_image(const sl_coco *coco, int64_t id, size_t *i)
{
    size_t low = 0, high = coco->image_count;
    while (low < high) {
        *i = low + (high - low) / 2;
        if (coco->images[*i].id == id)
            return true;
        if (coco->images[*i].id < id)
            low = *i + 1;
        else
            high = *i;
    }
    return false;
}

bool sl_coco_find_category(const sl_coco *coco, int64_t id, size_t *i)
{
    size_t low = 0, high = coco->category_count;
    while (low < high) {
        *i = low + (high - low) / 2;
        if (coco->categories[*i].id == id)
            return true;
        if (coco->categories[*i].id < id)
            low = *i + 1;
        else
            high = *i;
    }
    return false;
}

bool sl_coco_find_name(const sl_coco *coco, const char *name, size_t *i)
{
    size_t low = 0, high = coco->category_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        *i = coco->by_name[middle];
        const int order = strcmp(coco->categories[*i].name, name);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

bool sl_coco_is_labelled(const sl_coco *coco, size_t image, size_t category)
{
    const sl_coco_image *of = &coco->images[image];
    if (!of->labelled)
        return true;
    size_t low = 0, high = of->labelled_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (of->labelled[middle] == category)
            return true;
        if (of->labelled[middle] < category)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}
