// SPDX-License-Identifier: MIT
// classify/json.c: JSON as a string; and text from files, before it is parsed.
#include "classify/gallery.h"
#include "tensor/json.h"

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
