// SPDX-License-Identifier: MIT
// tensor/json.c: JSON as text. Not by json_dumps, which overlooks some failures of its own to find
// memory and leaves out text.
#include "tensor/json.h"

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
