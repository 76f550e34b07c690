// SPDX-License-Identifier: MIT
// tensor/json.h: JSON as text, with every failure to find memory noticed.
#ifndef SL_TENSOR_JSON_H
#define SL_TENSOR_JSON_H

#include "base/base.h"

#include <jansson.h>

// Appends the value's text to *text, whose room is *room (sl_blob_append). flags: jansson's.
// SL_ERR_NOMEM: out of memory for `what`; *text holds a part, which the caller frees.
sl_status sl_json_append(sl_ctx *ctx, const json_t *value, size_t flags, const char *what,
                         sl_blob *text, size_t *room);

#endif
