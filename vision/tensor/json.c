// SPDX-License-Identifier: MIT
// tensor/json.c: JSON from text and as text, and text before it becomes JSON. Written not by
// json_dumps, which overlooks some failures of its own to find memory and leaves out text.
#include "tensor/json.h"

#include <errno.h>

sl_status sl_json_parse(const char *text, size_t size, json_t **out, json_error_t *error)
{
    errno = 0;
    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES, error);
    if (*out)
        return SL_OK;
    // jansson calls most failed allocations errors of syntax; errno tells them apart.
    const bool is_nomem = errno == ENOMEM || json_error_code(error) == json_error_out_of_memory;
    return is_nomem ? SL_ERR_NOMEM : SL_ERR_FORMAT;
}

typedef struct sink {
    sl_ctx *ctx;
    sl_blob *text;
    size_t *room;
    sl_status status;
} sink;

static int add_text(const char *text, size_t size, void *arg)
{
    sink *to = arg;
    if (to->status == SL_OK)
        to->status = sl_blob_append(to->ctx, to->text, to->room, text, size);
    return to->status == SL_OK ? 0 : -1;
}

sl_status sl_json_append(sl_ctx *ctx, const json_t *value, size_t flags, const char *what,
                         sl_blob *text, size_t *room)
{
    sink to = { ctx, text, room, SL_OK };
    if (json_dump_callback(value, add_text, &to, flags) != 0 && to.status == SL_OK)
        to.status = sl_fail(ctx, SL_ERR_NOMEM, "out of memory for %s", what);
    return to.status;
}

sl_status sl_json_text(sl_ctx *ctx, json_t *value, size_t flags, char **out)
{
    static const char what[] = "a report";
    sl_blob text = { NULL, 0 };
    size_t room = 0;
    *out = NULL;
    if (!value)
        return sl_fail(ctx, SL_ERR_NOMEM, "out of memory for %s", what);
    sl_status st = sl_json_append(ctx, value, flags, what, &text, &room);
    if (st == SL_OK)
        st = sl_blob_append(ctx, &text, &room, "", 1); // the 0 at its end
    if (st == SL_OK) {
        *out = (char *)text.data;
        text = (sl_blob) { NULL, 0 };
    }
    sl_blob_free(&text);
    json_decref(value);
    return st;
}

void sl_json_set(json_t **object, const char *key, json_t *value)
{
    if (json_object_set_new(*object, key, value) == 0)
        return;
    json_decref(*object);
    *object = NULL;
}

sl_status sl_json_meta(sl_ctx *ctx, const sl_tensor_set *set, const char *key, size_t most,
                       json_t **out)
{
    const char *text = sl_tensor_set_meta(set, key);
    json_error_t error;
    *out = NULL;
    if (text && sl_json_fits(text, most) &&
        sl_json_parse(text, strlen(text), out, &error) == SL_ERR_NOMEM)
        return sl_fail(ctx, SL_ERR_NOMEM, "%s: out of memory for its metadata \"%s\"",
                       sl_tensor_set_path(set), key);
    return SL_OK;
}

json_t *sl_json_path(sl_ctx *ctx, const char *path)
{
    char *text = sl_utf8_copy(ctx, path);
    json_t *value = text ? json_string(text) : NULL;
    free(text);
    return value;
}

void sl_json_measure(const char *text, size_t size, size_t *deepest, size_t *values)
{
    size_t depth = 0;
    bool in_string = false;
    *deepest = *values = 0;
    for (size_t i = 0; i < size; i++) {
        const char c = text[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            ++*values;
            *deepest = ++depth > *deepest ? depth : *deepest;
        } else if (c == '}' || c == ']') {
            depth -= depth > 0;
        } else if (c == ',') {
            ++*values;
        }
    }
}

bool sl_json_fits(const char *text, size_t most)
{
    size_t deepest, values;
    sl_json_measure(text, strlen(text), &deepest, &values);
    return values <= most;
}
