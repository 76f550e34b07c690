// SPDX-License-Identifier: MIT
// tensor/pickle.h: pickles as inert trees. For the files of tensor/ and its fuzz targets alone.
#ifndef SL_TENSOR_PICKLE_H
#define SL_TENSOR_PICKLE_H

#include "base/base.h"

typedef enum sl_pickle_kind {
    SL_PICKLE_NONE,
    SL_PICKLE_BOOL,
    SL_PICKLE_INT,
    SL_PICKLE_FLOAT,
    SL_PICKLE_TEXT,
    SL_PICKLE_BYTES,
    SL_PICKLE_LONG, // an integer beyond 64 bits; its value is dropped
    SL_PICKLE_LIST,
    SL_PICKLE_TUPLE,
    SL_PICKLE_SET,
    SL_PICKLE_DICT,
    SL_PICKLE_GLOBAL,     // the name of a class or function: never looked up
    SL_PICKLE_OBJECT,     // `callee` applied to `argument`: never called
    SL_PICKLE_PERSISTENT, // a reference out of the pickle; `argument` says what to
} sl_pickle_kind;

typedef struct sl_pickle sl_pickle;

typedef struct sl_pickle_text { // in the pickle's own bytes, without a 0 at the end
    const char *data;
    size_t size;
} sl_pickle_text;

// May be shared and may contain itself: whoever walks it bounds the walk.
struct sl_pickle {
    sl_pickle_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double real;
        sl_pickle_text text; // TEXT, BYTES
        struct {
            sl_pickle_text module, name;
        } global;
        struct {
            const sl_pickle *callee, *argument;
        } object;
    };
    // LIST, TUPLE, SET: elements. DICT, and OBJECT for what was assigned to its keys: key, value,
    // key, value.
    const sl_pickle **items;
    size_t count, capacity;
};

// Protocols 2 to 5. The tree lives in `arena` and points into `data`. Nothing is executed; opcodes
// outside an allow-list are SL_ERR_UNSUPPORTED, sizes beyond stated limits SL_ERR_LIMIT.
sl_status sl_pickle_parse(sl_ctx *ctx, const void *data, size_t size, const char *path,
                          sl_arena *arena, const sl_pickle **out);
// SL_ERR_LIMIT for a size that sl_pickle_parse refuses: ask before unpacking a pickle.
sl_status sl_pickle_check_size(sl_ctx *ctx, size_t size, const char *path);

bool sl_pickle_is_text(const sl_pickle *value, const char *text);
bool sl_pickle_is_global(const sl_pickle *value, const char *module, const char *name);
// A dict, or a collections.OrderedDict.
bool sl_pickle_is_dict(const sl_pickle *value);
// The last value under a key that is text, as Python has it. NULL: none.
const sl_pickle *sl_pickle_get(const sl_pickle *dict, const char *key);

#endif
