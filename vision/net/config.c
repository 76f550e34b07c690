// SPDX-License-Identifier: MIT
// net/config.c: numbers in configurations, from files that nobody vouches for.
#include "net/parts.h"
#include "tensor/json.h"

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

bool sl_read_real(const json_t *value, double above, double most, float *out)
{
    double x = json_number_value(value);
    *out = (float)x;
    return json_is_number(value) && (double)*out > above && x <= most; // 1e-50 is 0 as a float
}

bool sl_is_other(float a, float b)
{
    return a < b || a > b;
}

sl_status sl_config_load(sl_ctx *ctx, const sl_tensor_set *set, json_t **out)
{
    const char *text = sl_tensor_set_meta(set, "config");
    json_error_t error;
    *out = NULL;
    if (!text)
        return SL_OK;
    if (!sl_json_fits(text, SL_CONFIG_VALUES)) // each takes far more memory than its text
        return sl_fail(ctx, SL_ERR_LIMIT, "%s: metadata \"config\" holds more than %d values",
                       sl_tensor_set_path(set), SL_CONFIG_VALUES);
    sl_status st = sl_json_parse(text, strlen(text), out, &error);
    if (st == SL_ERR_NOMEM)
        return sl_fail(ctx, st, "%s: out of memory for its config", sl_tensor_set_path(set));
    if (json_is_object(*out))
        return SL_OK;
    st = sl_fail(ctx, SL_ERR_FORMAT, "%s: metadata \"config\" is no JSON object: %s",
                 sl_tensor_set_path(set), *out ? "another type" : error.text);
    json_decref(*out);
    *out = NULL;
    return st;
}

char *sl_config_text(sl_ctx *ctx, json_t *root)
{
    char *text;
    sl_json_text(ctx, root, JSON_REAL_PRECISION(9), &text);
    return text;
}

// The array, or NULL where it lacks something.
static json_t *whole_array(json_t *array, size_t count)
{
    if (json_array_size(array) == count)
        return array;
    json_decref(array);
    return NULL;
}

json_t *sl_counts_json(const uint32_t *counts, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_integer(counts[i]));
    return whole_array(array, count);
}

json_t *sl_reals_json(const float *reals, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_real((double)reals[i]));
    return whole_array(array, count);
}
