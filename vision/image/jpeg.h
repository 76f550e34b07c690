// SPDX-License-Identifier: MIT
// image/jpeg.h: what the files that read and write JPEGs share.
#ifndef SL_IMAGE_JPEG_H
#define SL_IMAGE_JPEG_H

#include "image/codec.h"

#include <jpeglib.h>

// Sets `errors` up: `exit` for errors, and nothing is printed.
struct jpeg_error_mgr *sl_jpeg_errors(struct jpeg_error_mgr *errors, void (*exit)(j_common_ptr));

// Where libjpeg's bytes go: a blob that grows. Out of memory is an error of libjpeg's.
typedef struct sl_jpeg_target {
    struct jpeg_destination_mgr manager;
    sl_ctx *ctx;
    sl_blob *out;
    size_t capacity;
    uint8_t buffer[65536];
} sl_jpeg_target;

void sl_jpeg_target_set(sl_jpeg_target *target, sl_ctx *ctx, struct jpeg_compress_struct *jpeg,
                        sl_blob *out);

// A JPEG's own coefficients, new ones only where its pixels changed (jpeg_kept.c). `image`: as
// stored, not turned upright. Every MCU in which a pixel differs from what its `coded` holds is
// coded anew, with that file's quantisation and sampling. Needs two bytes of memory a coefficient
// and little more. SL_ERR_UNSUPPORTED: `coded` is no JPEG of that size. SL_ERR_NOMEM.
typedef struct sl_jpeg_kept sl_jpeg_kept;

sl_status sl_jpeg_kept_open(sl_ctx *ctx, const sl_image *image, const char *name,
                            sl_jpeg_kept **out);
void sl_jpeg_kept_free(sl_jpeg_kept *kept); // takes NULL

// For jpeg_copy_critical_parameters and jpeg_write_coefficients, while `kept` lives.
struct jpeg_decompress_struct *sl_jpeg_kept_source(sl_jpeg_kept *kept);
jvirt_barray_ptr *sl_jpeg_kept_blocks(sl_jpeg_kept *kept);

#endif
