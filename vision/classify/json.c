// SPDX-License-Identifier: MIT
// classify/json.c: JSON as text, with every failure to find memory noticed; and text from files,
// before it is parsed.
#include "classify/gallery.h"

typedef struct sink {
    sl_ctx *ctx;
    sl_blob text;
    size_t room;
    sl_status status;
} sink;

static int add_text(const char *text, size_t size, void *arg)
{
    sink *to = arg;
    if (to->status == SL_OK)
        to->status = sl_blob_append(to->ctx, &to->text, &to->room, text, size);
    return to->status == SL_OK ? 0 : -1;
}

bool sl_json_fits(const char *text, size_t most)
{
    size_t values = 0;
    bool in_string = false;
    for (; *text && values <= most; text++) {
        if (in_string && *text == '\\' && text[1])
            text++;
        else if (*text == '"')
            in_string = !in_string;
        else if (!in_string)
            values += *text == '{' || *text == '[' || *text == ',';
    }
    return values <= most;
}

// Not by json_dumps, which overlooks some failures of its own and leaves out text.
sl_status sl_json_text(sl_ctx *ctx, json_t *value, size_t flags, char **out)
{
    sink to = { .ctx = ctx };
    *out = NULL;
    if (!value)
        return sl_fail(ctx, SL_ERR_NOMEM, "out of memory for a report");
    if (json_dump_callback(value, add_text, &to, flags) != 0 && to.status == SL_OK)
        to.status = sl_fail(ctx, SL_ERR_NOMEM, "out of memory for a report");
    add_text("", 1, &to); // the 0 at its end
    if (to.status == SL_OK) {
        *out = (char *)to.text.data;
        to.text = (sl_blob) { NULL, 0 };
    }
    sl_blob_free(&to.text);
    json_decref(value);
    return to.status;
}
