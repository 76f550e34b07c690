// SPDX-License-Identifier: MIT
// tensor/zip.h: members of a zip archive that nobody vouches for. For the files of tensor/ alone.
#ifndef SL_TENSOR_ZIP_H
#define SL_TENSOR_ZIP_H

#include "base/base.h"

typedef struct sl_zip sl_zip;

// Checks every member before any is read: stored or deflated, not encrypted, names relative,
// without
// ".." and unique, sizes within limits, alone and together. `data` must outlive the archive.
sl_status sl_zip_open(sl_ctx *ctx, const void *data, size_t size, const char *path, sl_zip **out);
void sl_zip_free(sl_zip *zip);

size_t sl_zip_count(const sl_zip *zip);
const char *sl_zip_name(const sl_zip *zip, size_t i); // sorted
size_t sl_zip_size(const sl_zip *zip, size_t i);      // bytes when unpacked
bool sl_zip_find(const sl_zip *zip, const char *name, size_t *i);
sl_status sl_zip_read(sl_ctx *ctx, const sl_zip *zip, size_t i, sl_blob *out); // checks the CRC

#endif
