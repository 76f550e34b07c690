// SPDX-License-Identifier: MIT
// pipeline/detect_file.c: files of detections: what all formats have in common.
#include "pipeline/detect_file.h"

#include <stdarg.h>

static const sl_detect_writer *const writers[] = {
    [SL_DETECT_JSON] = &sl_detect_json,       [SL_DETECT_JSONL] = &sl_detect_jsonl,
    [SL_DETECT_COCO] = &sl_detect_coco,       [SL_DETECT_YOLO] = &sl_detect_yolo,
    [SL_DETECT_LABELME] = &sl_detect_labelme, [SL_DETECT_CVAT] = &sl_detect_cvat,
    [SL_DETECT_CSV] = &sl_detect_csv,
};

// ---- pages

sl_status sl_page_put(sl_ctx *ctx, sl_page *page, const char *text)
{
    return sl_blob_append(ctx, &page->text, &page->room, text, strlen(text));
}

sl_status sl_page_print(sl_ctx *ctx, sl_page *page, const char *format, ...)
{
    char text[512]; // numbers and fixed words; names go by sl_page_put
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return sl_page_put(ctx, page, text);
}

sl_status sl_page_number(sl_ctx *ctx, sl_page *page, const char *before, double value,
                         const char *after)
{
    char text[48];
    snprintf(text, sizeof(text), "%.7g", value);
    sl_number_point(text);
    sl_status st = sl_page_put(ctx, page, before);
    if (st == SL_OK)
        st = sl_page_put(ctx, page, text);
    return st == SL_OK ? sl_page_put(ctx, page, after) : st;
}

void sl_page_free(sl_page *page)
{
    sl_blob_free(&page->text);
    page->room = 0;
}

// ---- labels

// Takes `label`, malloc'ed or NULL when memory ran out.
static sl_status append_label(sl_detect_file *file, char *label)
{
    if (label && file->label_count == file->label_room) {
        size_t room = file->label_room ? 2 * file->label_room : 64, bytes = 0;
        char **labels = sl_mul(room, sizeof(*labels), &bytes) ? realloc(file->labels, bytes) : NULL;
        if (!labels) {
            free(label);
            return sl_fail(file->ctx, SL_ERR_NOMEM, "out of memory for labels");
        }
        file->labels = labels;
        file->label_room = room;
    }
    if (!label)
        return SL_ERR_NOMEM;
    file->labels[file->label_count++] = label;
    return SL_OK;
}

// The label's index among the file's; a new one is appended.
static sl_status find_label(sl_detect_file *file, const char *text, size_t *index)
{
    char *label = sl_utf8_copy(file->ctx, text);
    for (*index = 0; label && *index < file->label_count; ++*index)
        if (strcmp(file->labels[*index], label) == 0) {
            free(label);
            return SL_OK;
        }
    return append_label(file, label);
}

static sl_status find_categories(sl_detect_file *file, sl_finding *finding)
{
    const sl_detections *found = finding->found;
    sl_status st = SL_OK;
    finding->categories = sl_alloc(file->ctx, found->count, sizeof(*finding->categories));
    if (!finding->categories)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < found->count && st == SL_OK; i++) {
        const sl_detection *d = &found->items[i];
        finding->categories[i] = d->category;
        if (sl_detection_is_refined(d))
            st = find_label(file, sl_detection_label(d), &finding->categories[i]);
    }
    return st;
}

// ---- a file

static sl_status begin(sl_detect_file *file, const char *path, const char *const *labels,
                       size_t count)
{
    sl_status st = SL_OK;
    file->path = sl_strdup(file->ctx, path);
    if (!file->path)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < count && st == SL_OK; i++)
        st = append_label(file, sl_utf8_copy(file->ctx, labels[i] ? labels[i] : ""));
    if (st != SL_OK)
        return st;
    file->own_labels = file->label_count;
    if (file->format == SL_DETECT_YOLO)
        st = sl_yolo_open(file);
    else
        st = sl_output_open(file->ctx, path, file->overwrite, &file->output);
    if (st == SL_OK && writers[file->format]->begin)
        st = writers[file->format]->begin(file);
    return st;
}

sl_status sl_detect_file_new(sl_ctx *ctx, const char *path, sl_detect_format format,
                             const char *const *labels, size_t label_count, bool overwrite,
                             sl_detect_file **out)
{
    *out = NULL;
    if ((unsigned)format >= SL_ARRAY_LEN(writers))
        return sl_fail(ctx, SL_ERR_ARGUMENT, "%s: %d is no format of detections", path,
                       (int)format);
    sl_detect_file *file = sl_alloc(ctx, 1, sizeof(*file));
    if (!file)
        return SL_ERR_NOMEM;
    file->ctx = ctx;
    file->format = format;
    file->overwrite = overwrite;
    sl_status st = begin(file, path, labels, label_count);
    if (st != SL_OK)
        sl_detect_file_free(file);
    else
        *out = file;
    return st;
}

static sl_status check(sl_detect_file *file, const sl_finding *finding)
{
    const sl_detections *found = finding->found;
    const sl_detect_writer *writer = writers[file->format];
    if (file->is_over)
        return sl_fail(file->ctx, SL_ERR_ARGUMENT, "%s: is finished, or failed; begin another file",
                       file->path);
    if (writer->is_single && file->pictures > 0)
        return sl_fail(file->ctx, SL_ERR_ARGUMENT,
                       "%s: this format holds one picture a file; begin one for each", file->path);
    if (found->width == 0 || found->height == 0)
        return sl_fail(file->ctx, SL_ERR_ARGUMENT, "%s: a picture of %ux%u", finding->path,
                       found->width, found->height);
    sl_status st = sl_detections_check(file->ctx, found);
    for (size_t i = 0; i < found->count && st == SL_OK; i++)
        if (found->items[i].category >= file->own_labels)
            st = sl_fail(file->ctx, SL_ERR_ARGUMENT,
                         "%s: a detection of category %u; the detector has %zu labels",
                         finding->path, found->items[i].category, file->own_labels);
    if (st == SL_OK && writer->check)
        st = writer->check(file, finding);
    return st;
}

static sl_status flush(sl_detect_file *file)
{
    sl_status st = sl_output_write(file->output, file->page.text.data, file->page.text.size);
    file->page.text.size = 0;
    return st;
}

sl_status sl_detect_file_add(sl_detect_file *file, const char *picture, const sl_detections *found)
{
    const sl_detect_writer *writer = writers[file->format];
    sl_finding finding = { .path = picture, .found = found };
    sl_status st = check(file, &finding);
    if (st == SL_ERR_ARGUMENT || st == SL_ERR_EXISTS)
        return st;
    if (st == SL_OK)
        finding.name = sl_utf8_copy(file->ctx, picture);
    if (st == SL_OK)
        st = finding.name ? find_categories(file, &finding) : SL_ERR_NOMEM;
    if (st == SL_OK)
        st = writer->add(file, &finding);
    if (st == SL_OK && writer->is_stream)
        st = flush(file);
    file->pictures++;
    file->objects += found->count;
    file->is_over = st != SL_OK;
    free(finding.name);
    free(finding.categories);
    return st;
}

sl_status sl_detect_file_finish(sl_detect_file *file)
{
    const sl_detect_writer *writer = writers[file->format];
    if (file->is_over)
        return sl_fail(file->ctx, SL_ERR_ARGUMENT, "%s: is finished, or failed; begin another file",
                       file->path);
    if (writer->is_single && file->pictures == 0)
        return sl_fail(file->ctx, SL_ERR_ARGUMENT, "%s: no picture was added", file->path);
    file->is_over = true;
    sl_status st = writer->end ? writer->end(file) : SL_OK;
    if (st == SL_OK && file->output)
        st = flush(file);
    if (st == SL_OK && file->output) {
        st = sl_output_commit(file->output);
        file->output = NULL;
    }
    return st;
}

void sl_detect_file_free(sl_detect_file *file)
{
    if (!file)
        return;
    sl_output_discard(file->output);
    sl_yolo_free(file);
    sl_page_free(&file->page);
    sl_page_free(&file->more);
    for (size_t i = 0; i < file->label_count; i++)
        free(file->labels[i]);
    free(file->labels);
    free(file->path);
    free(file);
}
