// SPDX-License-Identifier: MIT
// tensor/pth_tensor.c: one tensor of a PyTorch checkpoint: a strided view of a storage.
#include "tensor/pth.h"

#define MAX_GATHERED_BYTES ((size_t)1 << 30)
#define MAX_EXPANDED ((size_t)1 << 20) // elements of a view that is larger than its storage

typedef struct view {
    sl_dtype dtype;
    const sl_blob *storage;
    size_t offset, numel; // in elements; of the storage
    size_t stride[SL_MAX_RANK];
} view;

static bool is_call_of(const sl_pickle *value, const char *module, const char *name)
{
    return value->kind == SL_PICKLE_OBJECT &&
           sl_pickle_is_global(value->object.callee, module, name) &&
           value->object.argument->kind == SL_PICKLE_TUPLE;
}

static bool starts_with(sl_pickle_text text, const char *start)
{
    return text.size >= strlen(start) && memcmp(text.data, start, strlen(start)) == 0;
}

sl_pth_kind sl_pth_classify(const sl_pickle *value, const sl_pickle **parts)
{
    // A parameter wraps a tensor. Bounded: a hostile one may wrap itself.
    for (int depth = 0; depth < 4; depth++) {
        if (!is_call_of(value, "torch._utils", "_rebuild_parameter") &&
            !is_call_of(value, "torch._utils", "_rebuild_parameter_with_state"))
            break;
        if (value->object.argument->count == 0)
            return SL_PTH_FOREIGN_TENSOR;
        value = value->object.argument->items[0];
    }
    if (is_call_of(value, "torch._utils", "_rebuild_tensor_v2") ||
        is_call_of(value, "torch._utils", "_rebuild_tensor")) {
        *parts = value->object.argument;
        return SL_PTH_TENSOR;
    }
    if (value->kind == SL_PICKLE_OBJECT && value->object.callee->kind == SL_PICKLE_GLOBAL &&
        starts_with(value->object.callee->global.module, "torch") &&
        starts_with(value->object.callee->global.name, "_rebuild"))
        return SL_PTH_FOREIGN_TENSOR;
    return SL_PTH_OTHER;
}

static sl_status damaged(sl_pth *pth, const sl_tensor *tensor, const char *what)
{
    return sl_fail(pth->ctx, SL_ERR_FORMAT, "%s: tensor %s: %s; save or download the file again",
                   pth->path, tensor->name, what);
}

static bool storage_dtype(const sl_pickle *type, sl_dtype *out)
{
    static const struct {
        const char *name;
        sl_dtype dtype;
    } types[] = {
        { "FloatStorage", SL_F32 },  { "HalfStorage", SL_F16 },  { "BFloat16Storage", SL_BF16 },
        { "DoubleStorage", SL_F64 }, { "ByteStorage", SL_U8 },   { "BoolStorage", SL_U8 },
        { "CharStorage", SL_I8 },    { "ShortStorage", SL_I16 }, { "IntStorage", SL_I32 },
        { "LongStorage", SL_I64 },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(types); i++)
        if (sl_pickle_is_global(type, "torch", types[i].name) ||
            sl_pickle_is_global(type, "torch.cuda", types[i].name)) {
            *out = types[i].dtype;
            return true;
        }
    return false;
}

static bool is_key(sl_pickle_text text)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
            c != '_')
            return false;
    }
    return text.size > 0 && text.size <= 32;
}

static sl_status load_storage(sl_pth *pth, const sl_tensor *tensor, sl_pickle_text key,
                              size_t bytes, const sl_blob **out)
{
    char rest[64];
    size_t i;
    snprintf(rest, sizeof(rest), "data/%.*s", (int)key.size, key.data);
    if (!sl_pth_member(pth, rest, &i))
        return damaged(pth, tensor, "its data is missing from the archive");
    if (sl_zip_size(pth->zip, i) != bytes)
        return damaged(pth, tensor, "its data has another size than it should");
    if (!pth->is_loaded[i]) {
        sl_status st = sl_zip_read(pth->ctx, pth->zip, i, &pth->set->blobs[i]);
        if (st != SL_OK)
            return st;
        pth->is_loaded[i] = true;
    }
    *out = &pth->set->blobs[i];
    return SL_OK;
}

// ('storage', torch.FloatStorage, '0', 'cpu', 1728)
static sl_status read_storage(sl_pth *pth, const sl_tensor *tensor, const sl_pickle *reference,
                              view *v)
{
    const sl_pickle *tuple =
        reference->kind == SL_PICKLE_PERSISTENT ? reference->object.argument : NULL;
    if (!tuple || tuple->kind != SL_PICKLE_TUPLE || tuple->count < 5 ||
        !sl_pickle_is_text(tuple->items[0], "storage") ||
        tuple->items[1]->kind != SL_PICKLE_GLOBAL || tuple->items[2]->kind != SL_PICKLE_TEXT ||
        !is_key(tuple->items[2]->text) || tuple->items[4]->kind != SL_PICKLE_INT)
        return damaged(pth, tensor, "its storage is not described as PyTorch does");
    if (!storage_dtype(tuple->items[1], &v->dtype))
        return sl_fail(pth->ctx, SL_ERR_UNSUPPORTED,
                       "%s: tensor %s has a type that is not read (quantized, complex or newer "
                       "than this program); save it as float32",
                       pth->path, tensor->name);
    int64_t numel = tuple->items[4]->integer;
    size_t bytes;
    if (numel < 0 || !sl_mul((size_t)numel, sl_dtype_size(v->dtype), &bytes))
        return damaged(pth, tensor, "its storage has an impossible size");
    v->numel = (size_t)numel;
    return load_storage(pth, tensor, tuple->items[2]->text, bytes, &v->storage);
}

static sl_status read_sizes(sl_pth *pth, const sl_pickle *sizes, const sl_pickle *strides, view *v,
                            sl_tensor *tensor)
{
    if (sizes->kind != SL_PICKLE_TUPLE || strides->kind != SL_PICKLE_TUPLE ||
        sizes->count != strides->count)
        return damaged(pth, tensor, "its sizes and strides do not go together");
    if (sizes->count > SL_MAX_RANK)
        return sl_fail(pth->ctx, SL_ERR_LIMIT,
                       "%s: tensor %s has %zu dimensions; save it with at most %d", pth->path,
                       tensor->name, sizes->count, SL_MAX_RANK);
    tensor->shape.rank = (unsigned)sizes->count;
    for (size_t i = 0; i < sizes->count; i++) {
        const sl_pickle *size = sizes->items[i], *stride = strides->items[i];
        if (size->kind != SL_PICKLE_INT || stride->kind != SL_PICKLE_INT || size->integer < 0 ||
            stride->integer < 0)
            return damaged(pth, tensor, "a size or stride is no number from 0 up");
        tensor->shape.dim[i] = (uint64_t)size->integer;
        // The stride of a single element is never used, and may be anything.
        v->stride[i] = size->integer > 1 ? (size_t)stride->integer : 0;
    }
    return SL_OK;
}

// The last element that the view reaches must lie in the storage.
static bool is_within(const view *v, const sl_shape *shape)
{
    size_t last = v->offset;
    for (unsigned i = 0; i < shape->rank; i++) {
        size_t reach;
        if (!sl_mul((size_t)shape->dim[i] - 1, v->stride[i], &reach) || !sl_add(last, reach, &last))
            return false;
    }
    return last < v->numel;
}

static bool is_contiguous(const view *v, const sl_shape *shape)
{
    size_t expected = 1;
    for (unsigned i = shape->rank; i-- > 0;) {
        if (shape->dim[i] > 1 && v->stride[i] != expected)
            return false;
        expected *= (size_t)shape->dim[i]; // at most the checked product of all
    }
    return true;
}

static void gather(const view *v, const sl_shape *shape, uint8_t *dst, size_t elements)
{
    size_t size = sl_dtype_size(v->dtype), at = v->offset, index[SL_MAX_RANK] = { 0 };
    for (size_t n = 0; n < elements; n++) {
        memcpy(dst + n * size, v->storage->data + at * size, size);
        for (unsigned i = shape->rank; i-- > 0;) {
            at += v->stride[i];
            if (++index[i] < shape->dim[i])
                break;
            at -= v->stride[i] * index[i];
            index[i] = 0;
        }
    }
}

static sl_status place(sl_pth *pth, const view *v, size_t elements, sl_tensor *tensor)
{
    if (elements == 0) {
        tensor->data = "";
        return SL_OK;
    }
    if (!is_within(v, &tensor->shape))
        return damaged(pth, tensor, "it reaches beyond its storage");
    if (is_contiguous(v, &tensor->shape)) {
        tensor->data = v->storage->data + v->offset * sl_dtype_size(v->dtype);
        return SL_OK;
    }
    // A few bytes may be expanded to any size.
    if ((elements > v->numel && elements > MAX_EXPANDED) || tensor->bytes > MAX_GATHERED_BYTES ||
        (pth->gathered += tensor->bytes) > MAX_GATHERED_BYTES)
        return sl_fail(pth->ctx, SL_ERR_LIMIT,
                       "%s: tensor %s is an expanded view of %zu elements on %zu, beyond what is "
                       "copied; save it with .contiguous()",
                       pth->path, tensor->name, elements, v->numel);
    uint8_t *copy = sl_arena_alloc(pth->ctx, &pth->set->arena, elements, sl_dtype_size(v->dtype));
    if (!copy)
        return SL_ERR_NOMEM;
    gather(v, &tensor->shape, copy, elements);
    tensor->data = copy;
    return SL_OK;
}

// (storage, offset, sizes, strides, ...)
sl_status sl_pth_read_tensor(sl_pth *pth, const sl_pickle *parts, sl_tensor *tensor)
{
    view v = { 0 };
    if (parts->count < 4 || parts->items[1]->kind != SL_PICKLE_INT || parts->items[1]->integer < 0)
        return damaged(pth, tensor, "it is not described as PyTorch does");
    v.offset = (size_t)parts->items[1]->integer;
    sl_status st = read_storage(pth, tensor, parts->items[0], &v);
    if (st == SL_OK)
        st = read_sizes(pth, parts->items[2], parts->items[3], &v, tensor);
    if (st != SL_OK)
        return st;
    size_t elements;
    if (!sl_shape_elements(&tensor->shape, &elements) ||
        !sl_mul(elements, sl_dtype_size(v.dtype), &tensor->bytes))
        return damaged(pth, tensor, "its shape is beyond any memory");
    tensor->dtype = v.dtype;
    return place(pth, &v, elements, tensor);
}
