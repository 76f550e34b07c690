// SPDX-License-Identifier: MIT
// tensor/set.h: what the readers fill in. For the files of tensor/ alone.
#ifndef SL_TENSOR_SET_H
#define SL_TENSOR_SET_H

#include "tensor/tensor.h"

#define SL_MAX_HEADER_BYTES 100000000 // of safetensors, the format's own limit
#define SL_MAX_HEADER_VALUES 2000000  // over 150 000 tensors; bounds the memory that JSON takes

struct sl_tensor_set {
    char *path;
    bool is_pth;
    sl_mapping mapping; // of sl_tensor_set_open
    sl_arena arena;     // names, metadata, gathered tensors
    sl_blob *blobs;     // storages of a checkpoint
    size_t blob_count;
    sl_tensor *tensors;
    size_t count;
    sl_meta *meta;
    size_t meta_count;
};

sl_status sl_tensor_set_new(sl_ctx *ctx, const char *path, sl_tensor_set **out);

// Sorts by name. SL_ERR_FORMAT when two tensors have one name.
sl_status sl_tensor_set_sort(sl_ctx *ctx, sl_tensor_set *set);

#endif
