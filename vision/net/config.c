// SPDX-License-Identifier: MIT
// net/config.c: numbers in configurations, from files that nobody vouches for.
#include "net/parts.h"

bool sl_read_count(const json_t *value, uint32_t least, uint32_t most, uint32_t *out)
{
    if (!json_is_integer(value))
        return false;
    json_int_t n = json_integer_value(value);
    if (n < least || n > most)
        return false;
    *out = (uint32_t)n;
    return true;
}

bool sl_read_counts(const json_t *value, uint32_t least, uint32_t most, size_t wanted,
                    uint32_t *out)
{
    if (json_array_size(value) != wanted)
        return false;
    for (size_t i = 0; i < wanted; i++)
        if (!sl_read_count(json_array_get(value, i), least, most, &out[i]))
            return false;
    return true;
}

json_t *sl_counts_json(const uint32_t *counts, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_integer(counts[i]));
    return array;
}
