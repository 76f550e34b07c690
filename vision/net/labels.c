// SPDX-License-Identifier: MIT
// net/labels.c: the names of a model's classes: out of its metadata, or of a text file, one a line.
#include "net/parts.h"
#include "tensor/json.h"

#define LARGEST ((size_t)16 << 20) // bytes

typedef struct reader {
    sl_ctx *ctx;
    const char *path;
    json_t *list, *seen;
} reader;

static sl_status add(const reader *r, const char *name, size_t size, size_t line)
{
    if (size > 0 && name[size - 1] == '\r')
        size--;
    if (size == 0)
        return sl_fail(r->ctx, SL_ERR_FORMAT, "%s: line %zu is empty; give every class a name",
                       r->path, line);
    if (!sl_tensor_name_valid(name, size))
        return sl_fail(r->ctx, SL_ERR_FORMAT, "%s: line %zu is no name that can be printed",
                       r->path, line);
    char own[SL_TENSOR_NAME_BYTES + 1];
    memcpy(own, name, size);
    own[size] = '\0';
    if (json_object_get(r->seen, own))
        return sl_fail(r->ctx, SL_ERR_FORMAT, "%s: line %zu repeats the name \"%s\"", r->path, line,
                       own);
    if (json_object_set_new(r->seen, own, json_true()) != 0 ||
        json_array_append_new(r->list, json_string(own)) != 0)
        return sl_fail(r->ctx, SL_ERR_NOMEM, "%s: out of memory for its names", r->path);
    return SL_OK;
}

static sl_status add_lines(const reader *r, const char *text, size_t size)
{
    sl_status st = SL_OK;
    sl_utf8_skip_mark(&text, &size);
    for (size_t line = 1; size > 0 && st == SL_OK; line++) {
        const char *end = memchr(text, '\n', size);
        size_t length = end ? (size_t)(end - text) : size;
        st = add(r, text, length, line);
        size -= length + (end ? 1 : 0);
        text += length + (end ? 1 : 0);
    }
    return st;
}

sl_status sl_labels_read(sl_ctx *ctx, const char *path, uint32_t classes, char **json)
{
    reader r = { ctx, path, json_array(), json_object() };
    sl_blob text = { 0 };
    *json = NULL;
    sl_status st = sl_file_read(ctx, path, LARGEST, &text);
    if (st == SL_OK && (!r.list || !r.seen))
        st = sl_fail(ctx, SL_ERR_NOMEM, "%s: out of memory for its names", path);
    if (st == SL_OK)
        st = add_lines(&r, (const char *)text.data, text.size);
    if (st == SL_OK && json_array_size(r.list) != classes)
        st = sl_fail(ctx, SL_ERR_ARGUMENT, "%s: has %zu names, and the model has %u classes", path,
                     json_array_size(r.list), classes);
    if (st == SL_OK)
        st = sl_json_text(ctx, json_incref(r.list), JSON_COMPACT, json);
    json_decref(r.list);
    json_decref(r.seen);
    sl_blob_free(&text);
    return st;
}

// ---- of a model's file

static sl_status malformed(sl_ctx *ctx, const sl_tensor_set *set, const char *what)
{
    return sl_fail(ctx, SL_ERR_FORMAT, "%s: %s; make the model's file anew",
                   sl_tensor_set_path(set), what);
}

sl_status sl_labels_of(sl_ctx *ctx, const sl_tensor_set *set, sl_arena *arena, size_t classes,
                       const char ***out)
{
    const char *text = sl_tensor_set_meta(set, "labels");
    json_t *list;
    const char **labels = sl_arena_alloc(ctx, arena, classes, sizeof(*labels));
    sl_status st = sl_json_meta(ctx, set, "labels", classes + 8, &list);
    if (!labels)
        st = SL_ERR_NOMEM;
    if (st == SL_OK && text && (!json_is_array(list) || json_array_size(list) != classes))
        st = malformed(ctx, set, "its labels are no list of as many names as it has classes");
    for (size_t i = 0; i < classes && st == SL_OK; i++) {
        char number[32];
        snprintf(number, sizeof(number), "class %zu", i);
        const json_t *entry = json_array_get(list, i);
        const char *label = text ? json_string_value(entry) : number;
        if (!label || (text && !sl_tensor_name_valid(label, json_string_length(entry)))) {
            st = malformed(ctx, set, "one of its labels is no name that can be printed");
            break;
        }
        labels[i] = sl_arena_strdup(ctx, arena, label);
        if (!labels[i])
            st = SL_ERR_NOMEM;
    }
    json_decref(list);
    *out = labels;
    return st;
}
