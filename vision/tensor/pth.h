// SPDX-License-Identifier: MIT
// tensor/pth.h: between the two halves of the checkpoint reader. For the files of tensor/ alone.
#ifndef SL_TENSOR_PTH_H
#define SL_TENSOR_PTH_H

#include "tensor/pickle.h"
#include "tensor/set.h"
#include "tensor/zip.h"

typedef struct sl_pth {
    sl_ctx *ctx;
    const char *path;
    sl_zip *zip;
    const char *root; // the folder of data.pkl, which every member lies in
    int root_length;
    sl_blob pickle;
    sl_arena arena;     // the tree
    sl_tensor_set *set; // its blobs are storages, by member
    bool *is_loaded;    // by member
    size_t gathered;    // bytes of tensors that were not contiguous
} sl_pth;

// root/rest; `rest` has fewer than 64 bytes. False: no such member.
bool sl_pth_member(const sl_pth *pth, const char *rest, size_t *i);

// What a value of a state dict is: a tensor (its parts in *parts), a tensor of a kind that is not
// read, or something else.
typedef enum sl_pth_kind { SL_PTH_OTHER, SL_PTH_TENSOR, SL_PTH_FOREIGN_TENSOR } sl_pth_kind;
sl_pth_kind sl_pth_classify(const sl_pickle *value, const sl_pickle **parts);

// Fills in all but the name, which is set already. Contiguous tensors point into their storage.
sl_status sl_pth_read_tensor(sl_pth *pth, const sl_pickle *parts, sl_tensor *tensor);

#endif
