// SPDX-License-Identifier: MIT
// tensor/npy.c: NumPy's array files: magic, version, a Python dict as text, then the data.
#include "tensor/tensor.h"

#define MAX_FILE_BYTES ((size_t)3 << 30) // 200 million pixels of f32, and some
#define MAX_HEADER_BYTES 65536
#define MAGIC "\x93NUMPY"
#define MAGIC_BYTES 6

static const struct {
    const char *descr;
    sl_dtype dtype;
} descrs[] = {
    { "<f4", SL_F32 }, { "<f2", SL_F16 }, { "<f8", SL_F64 }, { "|u1", SL_U8 },  { "|b1", SL_U8 },
    { "|i1", SL_I8 },  { "<i2", SL_I16 }, { "<i4", SL_I32 }, { "<i8", SL_I64 },
};

typedef struct parser {
    sl_ctx *ctx;
    const char *path;
    const char *text; // the header's dict
    size_t size, at;
    bool has_descr, has_order, has_shape;
} parser;

static sl_status malformed(parser *p, const char *what)
{
    return sl_fail(p->ctx, SL_ERR_FORMAT,
                   "%s: damaged npy header: %s at character %zu; save it again with numpy.save",
                   p->path, what, p->at);
}

static void skip_spaces(parser *p)
{
    while (p->at < p->size && p->text[p->at] == ' ')
        p->at++;
}

// Takes `c`, with spaces before it, if it comes next.
static bool accept(parser *p, char c)
{
    skip_spaces(p);
    if (p->at == p->size || p->text[p->at] != c)
        return false;
    p->at++;
    return true;
}

static bool accept_word(parser *p, const char *word)
{
    skip_spaces(p);
    size_t length = strlen(word);
    if (p->size - p->at < length || memcmp(p->text + p->at, word, length) != 0)
        return false;
    p->at += length;
    return true;
}

// A short string in either kind of quotes, without escapes.
static sl_status read_string(parser *p, char *out, size_t size)
{
    char quote = accept(p, '\'') ? '\'' : accept(p, '"') ? '"' : '\0';
    size_t length = 0;
    if (!quote)
        return malformed(p, "a string is missing");
    for (; p->at < p->size && p->text[p->at] != quote; p->at++) {
        char c = p->text[p->at];
        if (c < ' ' || c > '~' || c == '\\' || length + 1 == size)
            return malformed(p, "a string that does not belong there");
        out[length++] = c;
    }
    out[length] = '\0';
    return accept(p, quote) ? SL_OK : malformed(p, "a string without an end");
}

static sl_status read_descr(parser *p, sl_dtype *out)
{
    char descr[16];
    if (accept(p, '['))
        return sl_fail(p->ctx, SL_ERR_UNSUPPORTED,
                       "%s: an array of records; save one field of it as float32", p->path);
    sl_status st = read_string(p, descr, sizeof(descr));
    if (st != SL_OK)
        return st;
    for (size_t i = 0; i < SL_ARRAY_LEN(descrs); i++)
        if (strcmp(descr, descrs[i].descr) == 0) {
            *out = descrs[i].dtype;
            return SL_OK;
        }
    return sl_fail(p->ctx, SL_ERR_UNSUPPORTED,
                   "%s: elements of type \"%s\"; save it as little-endian float32 (\"<f4\")",
                   p->path, descr);
}

static sl_status read_order(parser *p)
{
    if (accept_word(p, "False"))
        return SL_OK;
    if (!accept_word(p, "True"))
        return malformed(p, "fortran_order is neither True nor False");
    return sl_fail(p->ctx, SL_ERR_UNSUPPORTED,
                   "%s: in Fortran order; save numpy.ascontiguousarray(x) instead", p->path);
}

static sl_status read_dim(parser *p, uint64_t *out)
{
    size_t begin = p->at;
    *out = 0;
    for (; p->at < p->size && p->text[p->at] >= '0' && p->text[p->at] <= '9'; p->at++)
        if (__builtin_mul_overflow(*out, 10u, out) ||
            __builtin_add_overflow(*out, (unsigned)(p->text[p->at] - '0'), out))
            return malformed(p, "a dimension beyond 64 bits");
    return p->at > begin ? SL_OK : malformed(p, "a dimension that is no number");
}

// A tuple: (), (3,), (3, 4), (3, 4,)
static sl_status read_shape(parser *p, sl_shape *out)
{
    bool comma = true;
    out->rank = 0;
    if (!accept(p, '('))
        return malformed(p, "the shape is no tuple");
    while (!accept(p, ')')) {
        if (!comma)
            return malformed(p, "a comma is missing in the shape");
        if (out->rank == SL_MAX_RANK)
            return sl_fail(p->ctx, SL_ERR_LIMIT, "%s: more than %d dimensions; reshape it", p->path,
                           SL_MAX_RANK);
        sl_status st = read_dim(p, &out->dim[out->rank]);
        if (st != SL_OK)
            return st;
        out->rank++;
        comma = accept(p, ',');
    }
    if (out->rank == 1 && !comma)
        return malformed(p, "the shape is no tuple"); // (3) is a number
    return SL_OK;
}

static sl_status read_field(parser *p, sl_tensor *out)
{
    char key[16];
    bool *seen;
    sl_status st = read_string(p, key, sizeof(key));
    if (st != SL_OK)
        return st;
    if (strcmp(key, "descr") == 0)
        seen = &p->has_descr;
    else if (strcmp(key, "fortran_order") == 0)
        seen = &p->has_order;
    else if (strcmp(key, "shape") == 0)
        seen = &p->has_shape;
    else
        return malformed(p, "a key that does not belong there");
    if (*seen)
        return malformed(p, "a key that came before");
    *seen = true;
    if (!accept(p, ':'))
        return malformed(p, "a colon is missing");
    skip_spaces(p);
    return seen == &p->has_descr   ? read_descr(p, &out->dtype)
           : seen == &p->has_order ? read_order(p)
                                   : read_shape(p, &out->shape);
}

static sl_status read_dict(parser *p, sl_tensor *out)
{
    bool comma = true;
    if (!accept(p, '{'))
        return malformed(p, "no dict");
    while (!accept(p, '}')) {
        if (!comma)
            return malformed(p, "a comma is missing");
        sl_status st = read_field(p, out);
        if (st != SL_OK)
            return st;
        comma = accept(p, ',');
    }
    accept(p, '\n'); // ends the padding
    if (p->at != p->size)
        return malformed(p, "something after the dict");
    if (!p->has_descr || !p->has_order || !p->has_shape)
        return malformed(p, "descr, fortran_order or shape is missing");
    return SL_OK;
}

// Finds the dict and what follows it.
static sl_status open_header(parser *p, const uint8_t *data, size_t size, size_t *body)
{
    if (size < MAGIC_BYTES + 4 || memcmp(data, MAGIC, MAGIC_BYTES) != 0)
        return sl_fail(p->ctx, SL_ERR_FORMAT, "%s: not an npy file; save it with numpy.save",
                       p->path);
    unsigned version = data[MAGIC_BYTES];
    if (version < 1 || version > 3)
        return sl_fail(p->ctx, SL_ERR_UNSUPPORTED,
                       "%s: npy version %u; save it as version 1, 2 or 3", p->path, version);
    size_t begin = MAGIC_BYTES + (version == 1 ? 4 : 6);
    uint32_t length = 0;
    if (size >= begin)
        memcpy(&length, data + MAGIC_BYTES + 2, version == 1 ? 2 : 4);
    if (size < begin || length > size - begin)
        return sl_fail(p->ctx, SL_ERR_FORMAT, "%s: ends within its header; save it again", p->path);
    if (length > MAX_HEADER_BYTES)
        return sl_fail(p->ctx, SL_ERR_LIMIT, "%s: a header of %u bytes, more than the %d allowed",
                       p->path, length, MAX_HEADER_BYTES);
    p->text = (const char *)data + begin;
    p->size = length;
    *body = begin + length;
    return SL_OK;
}

sl_status sl_npy_parse(sl_ctx *ctx, const void *data, size_t size, const char *name, sl_tensor *out)
{
    parser p = { .ctx = ctx, .path = name };
    size_t body = 0, elements = 0, bytes = 0;
    *out = (sl_tensor) { .name = "" };
    sl_tensor tensor = *out;
    sl_status st = open_header(&p, data, size, &body);
    if (st == SL_OK)
        st = read_dict(&p, &tensor);
    if (st != SL_OK)
        return st;
    if (!sl_shape_elements(&tensor.shape, &elements) ||
        !sl_mul(elements, sl_dtype_size(tensor.dtype), &bytes) || bytes != size - body) {
        char shape[96];
        sl_shape_text(&tensor.shape, shape, sizeof(shape));
        return sl_fail(ctx, SL_ERR_FORMAT,
                       "%s: %zu bytes of data do not make %s elements of %zu bytes each; the file "
                       "is cut off or damaged, save it again",
                       name, size - body, shape, sl_dtype_size(tensor.dtype));
    }
    tensor.data = (const uint8_t *)data + body;
    tensor.bytes = bytes;
    *out = tensor;
    return SL_OK;
}

sl_status sl_npy_read(sl_ctx *ctx, const char *path, sl_blob *storage, sl_tensor *out)
{
    *out = (sl_tensor) { .name = "" };
    sl_status st = sl_file_read(ctx, path, MAX_FILE_BYTES, storage);
    if (st != SL_OK)
        return st;
    st = sl_npy_parse(ctx, storage->data, storage->size, path, out);
    if (st != SL_OK)
        sl_blob_free(storage);
    return st;
}

static const char *find_descr(sl_dtype dtype)
{
    for (size_t i = 0; i < SL_ARRAY_LEN(descrs); i++)
        if (descrs[i].dtype == dtype)
            return descrs[i].descr;
    return NULL;
}

// The text of version 1, padded so that the data begin at a multiple of 64.
static size_t format_header(const sl_tensor *tensor, const char *descr, char header[512])
{
    memcpy(header, MAGIC "\1\0", MAGIC_BYTES + 2);
    size_t begin = MAGIC_BYTES + 4;
    size_t used =
        begin + (size_t)sprintf(header + begin,
                                "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (unsigned i = 0; i < tensor->shape.rank; i++)
        used += (size_t)sprintf(header + used, "%s%llu", i ? ", " : "",
                                (unsigned long long)tensor->shape.dim[i]);
    used += (size_t)sprintf(header + used, "%s), }", tensor->shape.rank == 1 ? "," : "");
    size_t total = (used + 1 + 63) / 64 * 64;
    memset(header + used, ' ', total - used);
    header[total - 1] = '\n';
    uint16_t length = (uint16_t)(total - begin);
    memcpy(header + MAGIC_BYTES + 2, &length, sizeof(length));
    return total;
}

sl_status sl_npy_write(sl_ctx *ctx, const char *path, bool overwrite, const sl_tensor *tensor)
{
    char header[512]; // 8 dimensions take at most 176
    const char *descr = find_descr(tensor->dtype);
    size_t elements = 0, bytes = 0;
    if (!descr)
        return sl_fail(ctx, SL_ERR_UNSUPPORTED, "%s: npy has no type for %s; convert it to F32",
                       path, sl_dtype_name(tensor->dtype));
    if (!sl_shape_elements(&tensor->shape, &elements) ||
        !sl_mul(elements, sl_dtype_size(tensor->dtype), &bytes) || bytes != tensor->bytes)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "%s: %zu bytes where the shape has %zu", path,
                       tensor->bytes, bytes);
    sl_output *output = NULL;
    sl_status st = sl_output_open(ctx, path, overwrite, &output);
    if (st != SL_OK)
        return st;
    // A write that fails makes those after it and the commit fail too.
    sl_output_write(output, header, format_header(tensor, descr, header));
    if (bytes > 0)
        sl_output_write(output, tensor->data, bytes);
    return sl_output_commit(output);
}
