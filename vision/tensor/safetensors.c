// SPDX-License-Identifier: MIT
// tensor/safetensors.c: reads safetensors: a u64 length, a JSON header, one buffer of data.
#include "tensor/json.h"
#include "tensor/set.h"

#define MAX_HEADER_DEPTH 3 // { name: { "shape": [

typedef struct reader {
    sl_ctx *ctx;
    const char *path;
    const uint8_t *buffer; // data after the header
    size_t buffer_size;
    sl_tensor_set *set;
} reader;

static sl_status header_size(sl_ctx *ctx, const char *path, const uint8_t *data, size_t size,
                             size_t *out)
{
    uint64_t length;
    if (size < sizeof(length))
        return sl_fail(ctx, SL_ERR_FORMAT,
                       "%s: %zu bytes are too few for safetensors; download the file again", path,
                       size);
    memcpy(&length, data, sizeof(length));
    if (length > SL_MAX_HEADER_BYTES)
        return sl_fail(ctx, SL_ERR_FORMAT,
                       "%s: not safetensors, or damaged: a header of %llu bytes where at most %d "
                       "are allowed",
                       path, (unsigned long long)length, SL_MAX_HEADER_BYTES);
    if (length > size - sizeof(length))
        return sl_fail(ctx, SL_ERR_FORMAT,
                       "%s: ends within its header (%zu bytes of %llu); download the file again",
                       path, size - sizeof(length), (unsigned long long)length);
    *out = (size_t)length;
    return SL_OK;
}

// Bounds what the JSON parser will build, before it builds it.
static sl_status check_extent(sl_ctx *ctx, const char *path, const char *text, size_t size)
{
    size_t deepest, values;
    sl_json_measure(text, size, &deepest, &values);
    if (deepest > MAX_HEADER_DEPTH)
        return sl_fail(ctx, SL_ERR_FORMAT, "%s: header nested more than %d deep; not safetensors",
                       path, MAX_HEADER_DEPTH);
    if (values > SL_MAX_HEADER_VALUES)
        return sl_fail(ctx, SL_ERR_LIMIT, "%s: %zu values in the header, more than the %d allowed",
                       path, values, SL_MAX_HEADER_VALUES);
    return SL_OK;
}

static sl_status parse_header(sl_ctx *ctx, const char *path, const char *text, size_t size,
                              json_t **out)
{
    size_t end = size;
    while (end > 0 && text[end - 1] == ' ') // padding
        end--;
    if (end < 2 || text[0] != '{' || text[end - 1] != '}')
        return sl_fail(ctx, SL_ERR_FORMAT,
                       "%s: header is not one JSON object padded with spaces; not safetensors, or "
                       "damaged",
                       path);
    sl_status st = check_extent(ctx, path, text, end);
    if (st != SL_OK)
        return st;
    json_error_t error;
    st = sl_json_parse(text, end, out, &error);
    if (st == SL_ERR_NOMEM)
        return sl_fail(ctx, st, "%s: out of memory for the header", path);
    if (st != SL_OK)
        return sl_fail(ctx, SL_ERR_FORMAT,
                       "%s: header is not valid JSON near byte %d; download the file again", path,
                       8 + error.position); // error.text quotes bytes that no terminal should get
    return SL_OK;
}

static sl_status read_metadata(reader *r, json_t *object)
{
    sl_tensor_set *set = r->set;
    if (!json_is_object(object))
        return sl_fail(r->ctx, SL_ERR_FORMAT, "%s: __metadata__ is not an object; save it again",
                       r->path);
    set->meta = sl_alloc(r->ctx, json_object_size(object), sizeof(*set->meta));
    if (!set->meta)
        return SL_ERR_NOMEM;
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (!json_is_string(value))
            return sl_fail(r->ctx, SL_ERR_FORMAT,
                           "%s: __metadata__ holds something other than strings; save it again",
                           r->path);
        sl_meta *meta = &set->meta[set->meta_count];
        meta->key = sl_arena_strdup(r->ctx, &set->arena, key);
        meta->value = sl_arena_strdup(r->ctx, &set->arena, json_string_value(value));
        if (!meta->key || !meta->value)
            return SL_ERR_NOMEM;
        set->meta_count++;
    }
    return SL_OK;
}

static bool parse_dtype(const char *name, sl_dtype *out)
{
    if (strcmp(name, "BOOL") == 0) {
        *out = SL_U8;
        return true;
    }
    for (int i = 0; i < SL_DTYPE_COUNT; i++)
        if (strcmp(name, sl_dtype_name((sl_dtype)i)) == 0) {
            *out = (sl_dtype)i;
            return true;
        }
    return false;
}

static sl_status read_dtype(reader *r, const char *name, json_t *value, sl_dtype *out)
{
    const char *text = json_string_value(value); // NULL: not a string
    if (!text)
        return sl_fail(r->ctx, SL_ERR_FORMAT,
                       "%s: tensor %s has no \"dtype\" string; save it again", r->path, name);
    if (!parse_dtype(text, out))
        return sl_fail(r->ctx, SL_ERR_UNSUPPORTED,
                       "%s: tensor %s has the type \"%.20s\"; save it as F32, F16 or BF16", r->path,
                       name, sl_tensor_name_valid(text, strlen(text)) ? text : "?");
    return SL_OK;
}

static sl_status read_shape(reader *r, const char *name, json_t *value, sl_shape *out)
{
    if (!json_is_array(value))
        return sl_fail(r->ctx, SL_ERR_FORMAT, "%s: tensor %s has no \"shape\" list; save it again",
                       r->path, name);
    size_t rank = json_array_size(value);
    if (rank > SL_MAX_RANK)
        return sl_fail(r->ctx, SL_ERR_LIMIT,
                       "%s: tensor %s has %zu dimensions; save it with at most %d", r->path, name,
                       rank, SL_MAX_RANK);
    out->rank = (unsigned)rank;
    for (size_t i = 0; i < rank; i++) {
        json_t *dim = json_array_get(value, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return sl_fail(r->ctx, SL_ERR_FORMAT,
                           "%s: dimension %zu of tensor %s is not a size; save it again", r->path,
                           i, name);
        out->dim[i] = (uint64_t)json_integer_value(dim);
    }
    return SL_OK;
}

static sl_status read_range(reader *r, json_t *value, sl_tensor *tensor)
{
    json_t *first = json_array_get(value, 0), *last = json_array_get(value, 1); // NULL: no array
    if (json_array_size(value) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return sl_fail(r->ctx, SL_ERR_FORMAT,
                       "%s: tensor %s has no two \"data_offsets\"; save it again", r->path,
                       tensor->name);
    json_int_t begin = json_integer_value(first), end = json_integer_value(last);
    if (begin < 0 || begin > end || (uint64_t)end > r->buffer_size)
        return sl_fail(r->ctx, SL_ERR_FORMAT,
                       "%s: tensor %s is said to lie in bytes %lld to %lld of %zu; the file is cut "
                       "off or damaged, download it again",
                       r->path, tensor->name, (long long)begin, (long long)end, r->buffer_size);
    tensor->data = r->buffer + begin;
    tensor->bytes = (size_t)(end - begin);
    size_t elements = 0, bytes = 0;
    if (sl_shape_elements(&tensor->shape, &elements) &&
        sl_mul(elements, sl_dtype_size(tensor->dtype), &bytes) && bytes == tensor->bytes)
        return SL_OK;
    char shape[96];
    sl_shape_text(&tensor->shape, shape, sizeof(shape));
    return sl_fail(r->ctx, SL_ERR_FORMAT,
                   "%s: tensor %s, %s %s, does not fit its %zu bytes; save it again", r->path,
                   tensor->name, sl_dtype_name(tensor->dtype), shape, tensor->bytes);
}

static sl_status read_tensor(reader *r, const char *name, json_t *object, sl_tensor *tensor)
{
    if (!sl_tensor_name_valid(name, strlen(name)))
        return sl_fail(r->ctx, SL_ERR_FORMAT,
                       "%s: the name of tensor number %zu is empty, longer than %d bytes or holds "
                       "control characters; rename it",
                       r->path, r->set->count + 1, SL_TENSOR_NAME_BYTES);
    if (!json_is_object(object) || json_object_size(object) != 3)
        return sl_fail(r->ctx, SL_ERR_FORMAT,
                       "%s: tensor %s should have dtype, shape and data_offsets and nothing else; "
                       "save it again",
                       r->path, name);
    sl_status st = read_dtype(r, name, json_object_get(object, "dtype"), &tensor->dtype);
    if (st == SL_OK)
        st = read_shape(r, name, json_object_get(object, "shape"), &tensor->shape);
    if (st != SL_OK)
        return st;
    tensor->name = sl_arena_strdup(r->ctx, &r->set->arena, name);
    if (!tensor->name)
        return SL_ERR_NOMEM;
    return read_range(r, json_object_get(object, "data_offsets"), tensor);
}

static int by_data(const void *a, const void *b)
{
    const sl_tensor *x = a, *y = b;
    uintptr_t p = (uintptr_t)x->data, q = (uintptr_t)y->data;
    if (p != q)
        return p < q ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes); // empty ones first
}

// The format demands that tensors fill the buffer, one after the other.
static sl_status check_cover(reader *r)
{
    const sl_tensor *tensors = r->set->tensors;
    const uint8_t *end = r->buffer;
    if (r->set->count > 0)
        qsort(r->set->tensors, r->set->count, sizeof(*tensors), by_data);
    for (size_t i = 0; i < r->set->count; i++) {
        const uint8_t *begin = tensors[i].data;
        if (begin != end)
            return sl_fail(r->ctx, SL_ERR_FORMAT,
                           "%s: tensor %s begins at byte %zu of the data, %s; save the file again",
                           r->path, tensors[i].name, (size_t)(begin - r->buffer),
                           begin < end ? "within another tensor" : "after a hole");
        end = begin + tensors[i].bytes;
    }
    size_t used = (size_t)(end - r->buffer);
    if (used != r->buffer_size)
        return sl_fail(r->ctx, SL_ERR_FORMAT,
                       "%s: %zu bytes of data belong to no tensor; download or save the file again",
                       r->path, r->buffer_size - used);
    return SL_OK;
}

static sl_status read_all(reader *r, json_t *header)
{
    sl_tensor_set *set = r->set;
    set->tensors = sl_alloc(r->ctx, json_object_size(header), sizeof(*set->tensors));
    if (!set->tensors)
        return SL_ERR_NOMEM;
    const char *name;
    json_t *value;
    json_object_foreach(header, name, value)
    {
        sl_status st;
        if (strcmp(name, "__metadata__") == 0) {
            st = read_metadata(r, value);
        } else {
            st = read_tensor(r, name, value, &set->tensors[set->count]);
            if (st == SL_OK)
                set->count++;
        }
        if (st != SL_OK)
            return st;
    }
    sl_status st = check_cover(r);
    return st == SL_OK ? sl_tensor_set_sort(r->ctx, set) : st;
}

sl_status sl_safetensors_parse(sl_ctx *ctx, const void *data, size_t size, const char *name,
                               sl_tensor_set **out)
{
    json_t *header = NULL;
    size_t length = 0;
    *out = NULL;
    reader r = { .ctx = ctx, .path = name };
    sl_status st = header_size(ctx, name, data, size, &length);
    if (st != SL_OK)
        goto done;
    r.buffer = (const uint8_t *)data + 8 + length;
    r.buffer_size = size - 8 - length;
    st = parse_header(ctx, name, (const char *)data + 8, length, &header);
    if (st != SL_OK)
        goto done;
    st = sl_tensor_set_new(ctx, name, &r.set);
    if (st != SL_OK)
        goto done;
    st = read_all(&r, header);
    if (st != SL_OK)
        goto done;
    *out = r.set;
    r.set = NULL;
done:
    sl_tensor_set_free(r.set);
    json_decref(header);
    return st;
}
