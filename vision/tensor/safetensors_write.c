// SPDX-License-Identifier: MIT
// tensor/safetensors_write.c: writes safetensors; what is written here, the reader accepts.
#include "tensor/json.h"
#include "tensor/set.h"

#define HEADER_ALIGN 8

static sl_status check_tensor(sl_ctx *ctx, const char *path, const sl_tensor *tensor)
{
    if (!tensor->name || !sl_tensor_name_valid(tensor->name, strlen(tensor->name)) ||
        strcmp(tensor->name, "__metadata__") == 0)
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "%s: cannot write a tensor named \"%s\"; use 1 to %d bytes of UTF-8", path,
                       tensor->name ? tensor->name : "", SL_TENSOR_NAME_BYTES);
    size_t elements = 0, bytes = 0;
    for (unsigned i = 0; i < tensor->shape.rank && i < SL_MAX_RANK; i++)
        if (tensor->shape.dim[i] > INT64_MAX) // next to a dimension of 0; JSON's integers end there
            return sl_fail(ctx, SL_ERR_ARGUMENT, "%s: tensor %s has a dimension beyond 2^63", path,
                           tensor->name);
    if (!sl_shape_elements(&tensor->shape, &elements) ||
        !sl_mul(elements, sl_dtype_size(tensor->dtype), &bytes) || bytes != tensor->bytes)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "%s: tensor %s has %zu bytes where its shape has %zu",
                       path, tensor->name, tensor->bytes, bytes);
    return SL_OK;
}

static json_t *describe(const sl_tensor *tensor, size_t begin)
{
    json_t *shape = json_array();
    for (unsigned i = 0; shape && i < tensor->shape.rank; i++)
        if (json_array_append_new(shape, json_integer((json_int_t)tensor->shape.dim[i])) != 0) {
            json_decref(shape);
            shape = NULL;
        }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", sl_dtype_name(tensor->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)(begin + tensor->bytes));
}

static sl_status add_metadata(sl_ctx *ctx, const char *path, json_t *header, const sl_meta *meta,
                              size_t count)
{
    json_t *object = json_object();
    if (json_object_set_new(header, "__metadata__", object) != 0) // takes object even on failure
        return sl_fail(ctx, SL_ERR_NOMEM, "%s: out of memory for the header", path);
    for (size_t i = 0; i < count; i++) {
        if (!sl_utf8_valid(meta[i].key, strlen(meta[i].key)) ||
            !sl_utf8_valid(meta[i].value, strlen(meta[i].value)))
            return sl_fail(ctx, SL_ERR_ARGUMENT, "%s: metadata %zu is not UTF-8; convert it", path,
                           i);
        if (json_object_get(object, meta[i].key))
            return sl_fail(ctx, SL_ERR_ARGUMENT, "%s: metadata \"%s\" is given twice", path,
                           meta[i].key);
        if (json_object_set_new(object, meta[i].key, json_string(meta[i].value)) != 0)
            return sl_fail(ctx, SL_ERR_NOMEM, "%s: out of memory for the header", path);
    }
    return SL_OK;
}

static sl_status add_tensors(sl_ctx *ctx, const char *path, json_t *header,
                             const sl_tensor *tensors, size_t count)
{
    size_t begin = 0;
    for (size_t i = 0; i < count; i++) {
        sl_status st = check_tensor(ctx, path, &tensors[i]);
        if (st != SL_OK)
            return st;
        if (json_object_get(header, tensors[i].name))
            return sl_fail(ctx, SL_ERR_ARGUMENT, "%s: two tensors are named %s", path,
                           tensors[i].name);
        size_t end;
        if (!sl_add(begin, tensors[i].bytes, &end) || end > INT64_MAX)
            return sl_fail(ctx, SL_ERR_LIMIT, "%s: more data than a file can hold", path);
        if (json_object_set_new(header, tensors[i].name, describe(&tensors[i], begin)) != 0)
            return sl_fail(ctx, SL_ERR_NOMEM, "%s: out of memory for the header", path);
        begin = end;
    }
    return SL_OK;
}

// What our own reader would refuse must not replace a file that it takes.
static sl_status check_extent(sl_ctx *ctx, const char *path, const sl_blob *header)
{
    size_t deepest, values;
    sl_json_measure((const char *)header->data, header->size, &deepest, &values);
    if (header->size <= SL_MAX_HEADER_BYTES && values <= SL_MAX_HEADER_VALUES)
        return SL_OK;
    return sl_fail(ctx, SL_ERR_LIMIT,
                   "%s: names and metadata make a header of %zu bytes and %zu values, where %d and "
                   "%d are allowed; write less into one file",
                   path, header->size, values, SL_MAX_HEADER_BYTES, SL_MAX_HEADER_VALUES);
}

// The header as text, padded with spaces.
static sl_status format_header(sl_ctx *ctx, const char *path, const json_t *header, sl_blob *out)
{
    size_t room = 0;
    sl_status st = sl_json_append(ctx, header, JSON_COMPACT, "the header", out, &room);
    while (st == SL_OK && out->size % HEADER_ALIGN != 0)
        st = sl_blob_append(ctx, out, &room, " ", 1);
    if (st == SL_ERR_NOMEM)
        return sl_fail(ctx, st, "%s: out of memory for the header", path);
    return st == SL_OK ? check_extent(ctx, path, out) : st;
}

static sl_status write_file(sl_ctx *ctx, const char *path, bool overwrite, const sl_blob *header,
                            const sl_tensor *tensors, size_t count)
{
    uint64_t length = header->size;
    sl_output *output = NULL;
    sl_status st = sl_output_open(ctx, path, overwrite, &output);
    if (st != SL_OK)
        return st;
    // A write that fails makes those after it and the commit fail too.
    sl_output_write(output, &length, sizeof(length));
    sl_output_write(output, header->data, header->size);
    for (size_t i = 0; i < count; i++)
        if (tensors[i].bytes > 0)
            sl_output_write(output, tensors[i].data, tensors[i].bytes);
    sl_output_sync(output);
    return sl_output_commit(output);
}

sl_status sl_safetensors_write(sl_ctx *ctx, const char *path, bool overwrite,
                               const sl_tensor *tensors, size_t tensor_count, const sl_meta *meta,
                               size_t meta_count)
{
    sl_blob text = { NULL, 0 };
    sl_status st = SL_OK;
    json_t *header = json_object();
    if (!header) {
        st = sl_fail(ctx, SL_ERR_NOMEM, "%s: out of memory for the header", path);
        goto done;
    }
    if (meta_count > 0)
        st = add_metadata(ctx, path, header, meta, meta_count);
    if (st == SL_OK)
        st = add_tensors(ctx, path, header, tensors, tensor_count);
    if (st != SL_OK)
        goto done;
    st = format_header(ctx, path, header, &text);
    if (st == SL_OK)
        st = write_file(ctx, path, overwrite, &text, tensors, tensor_count);
done:
    sl_blob_free(&text);
    json_decref(header);
    return st;
}
