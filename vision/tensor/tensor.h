// SPDX-License-Identifier: MIT
// tensor/: typed arrays in files: safetensors, PyTorch checkpoints, npy. May include base/ only.
// All files are untrusted: offsets, sizes, products and types are checked before use.
#ifndef SL_TENSOR_TENSOR_H
#define SL_TENSOR_TENSOR_H

#include "base/base.h"

#define SL_MAX_RANK 8
#define SL_TENSOR_NAME_BYTES 256

typedef enum sl_dtype {
    SL_F32,
    SL_F16,
    SL_BF16,
    SL_F64,
    SL_U8, // also BOOL
    SL_I8,
    SL_I16,
    SL_I32,
    SL_I64,
    SL_DTYPE_COUNT,
} sl_dtype;

typedef struct sl_shape {
    unsigned rank;             // 0: a scalar
    uint64_t dim[SL_MAX_RANK]; // outermost first
} sl_shape;

// A contiguous array that somebody else owns. Data may be unaligned (safetensors on a mapped file).
typedef struct sl_tensor {
    const char *name;
    sl_dtype dtype;
    sl_shape shape;
    const void *data;
    size_t bytes;
} sl_tensor;

size_t sl_dtype_size(sl_dtype dtype);                       // bytes
const char *sl_dtype_name(sl_dtype dtype);                  // as in safetensors: "F32"
bool sl_shape_elements(const sl_shape *shape, size_t *out); // false on overflow
bool sl_shape_equal(const sl_shape *a, const sl_shape *b);
void sl_shape_text(const sl_shape *shape, char *text, size_t size); // "[96, 24, 3, 3]"

// Any float or integer type to f32. dst: as many floats as the tensor has elements.
void sl_tensor_to_f32(const sl_tensor *tensor, float *dst);
// No element is NaN or, as f32, infinite.
bool sl_tensor_is_finite(const sl_tensor *tensor);
uint16_t sl_f32_to_f16(float x); // round to nearest even; overflow becomes infinity
float sl_f16_to_f32(uint16_t x);

// Named tensors and string metadata of one file, immutable once open.
typedef struct sl_tensor_set sl_tensor_set;

// Told by content: safetensors is mapped; a zip is read as a PyTorch checkpoint through an
// allow-list of pickle opcodes and globals: foreign objects are stepped over, nothing is executed.
// Of a checkpoint dict, "state_dict_ema", "state_dict", "model" or the dict itself is taken, in
// that order, and a prefix "module." or "_orig_mod." of all names is stripped, with the count
// "n_averaged" beside them; names under "meta", "CLASSES" become metadata "labels", a JSON list.
sl_status sl_tensor_set_open(sl_ctx *ctx, const char *path, sl_tensor_set **out);
// The two readers on bytes in memory, which must outlive the set (fuzz targets, tests).
sl_status sl_safetensors_parse(sl_ctx *ctx, const void *data, size_t size, const char *name,
                               sl_tensor_set **out);
sl_status sl_pth_parse(sl_ctx *ctx, const void *data, size_t size, const char *name,
                       sl_tensor_set **out);
void sl_tensor_set_free(sl_tensor_set *set);

const char *sl_tensor_set_path(const sl_tensor_set *set);
bool sl_tensor_set_is_pth(const sl_tensor_set *set);
size_t sl_tensor_set_count(const sl_tensor_set *set);
const sl_tensor *sl_tensor_set_at(const sl_tensor_set *set, size_t i);           // sorted by name
const sl_tensor *sl_tensor_set_find(const sl_tensor_set *set, const char *name); // NULL: none
size_t sl_tensor_set_meta_count(const sl_tensor_set *set);
const char *sl_tensor_set_meta(const sl_tensor_set *set, const char *key); // NULL: none
void sl_tensor_set_meta_at(const sl_tensor_set *set, size_t i, const char **key,
                           const char **value);

// ---- text from files (set.c)

bool sl_utf8_valid(const char *text, size_t size);

// 1 to SL_TENSOR_NAME_BYTES bytes of UTF-8 without control characters: fit for any message or file.
bool sl_tensor_name_valid(const char *text, size_t size);

// ---- writing

typedef struct sl_meta {
    const char *key, *value;
} sl_meta;

// Writes atomically. Tensors are laid out in the order given, data 8-byte aligned.
sl_status sl_safetensors_write(sl_ctx *ctx, const char *path, bool overwrite,
                               const sl_tensor *tensors, size_t tensor_count, const sl_meta *meta,
                               size_t meta_count);

// npy, versions 1 to 3, C order, little-endian. *storage holds the bytes of *out; free it.
sl_status sl_npy_read(sl_ctx *ctx, const char *path, sl_blob *storage, sl_tensor *out);
sl_status sl_npy_parse(sl_ctx *ctx, const void *data, size_t size, const char *name,
                       sl_tensor *out);
sl_status sl_npy_write(sl_ctx *ctx, const char *path, bool overwrite, const sl_tensor *tensor);

#endif
