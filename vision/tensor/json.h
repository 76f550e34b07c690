// SPDX-License-Identifier: MIT
// tensor/json.h: JSON from text and as text, with every failure to find memory noticed; and how
// much a text would become.
#ifndef SL_TENSOR_JSON_H
#define SL_TENSOR_JSON_H

#include "tensor/tensor.h"

#include <jansson.h>

// Parses a text; a name that comes twice in an object is an error. SL_ERR_NOMEM; SL_ERR_FORMAT: not
// JSON, and *error tells where. *out is NULL then, and no message is left.
sl_status sl_json_parse(const char *text, size_t size, json_t **out, json_error_t *error);

// Appends the value's text to *text, whose room is *room (sl_blob_append). flags: jansson's.
// SL_ERR_NOMEM: out of memory for `what`; *text holds a part, which the caller frees.
sl_status sl_json_append(sl_ctx *ctx, const json_t *value, size_t flags, const char *what,
                         sl_blob *text, size_t *room);

// The text of a value, malloc'ed. Takes the value. NULL, which some call did not have the memory
// to make, is SL_ERR_NOMEM.
sl_status sl_json_text(sl_ctx *ctx, json_t *value, size_t flags, char **out);

// Adds a value, which it takes, to *object. Where memory runs out *object is freed, and NULL from
// then on: sl_json_text tells in the end.
void sl_json_set(json_t **object, const char *key, json_t *value);

// A value that a file's metadata hold as text: NULL where they have none of that name, it is not
// JSON, or has more values than `most`. SL_ERR_NOMEM, with a message.
sl_status sl_json_meta(sl_ctx *ctx, const sl_tensor_set *set, const char *key, size_t most,
                       json_t **out);

// A string of a path, or of any bytes: what is not UTF-8 becomes U+FFFD. NULL: SL_ERR_NOMEM.
json_t *sl_json_path(sl_ctx *ctx, const char *path);

// How deep a text nests, and about how many values the parser would make of it, before it makes
// them: brackets and commas outside of strings, of text that need not be JSON.
void sl_json_measure(const char *text, size_t size, size_t *deepest, size_t *values);

// Whether that are at most so many values.
bool sl_json_fits(const char *text, size_t most);
// Values that the metadata "config" of a model may have; the largest of ours has some sixty.
#define SL_CONFIG_VALUES 1024

#endif
