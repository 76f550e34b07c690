// SPDX-License-Identifier: MIT
// image/tiff_reader.h: what the parts of reading a TIFF share: tiff.c (the file, what it says),
// tiff_pixels.c, tiff_survey.c, tiff_library.c.
#ifndef SL_IMAGE_TIFF_READER_H
#define SL_IMAGE_TIFF_READER_H

#include "image/codec.h"

#include <tiffio.h>

// libtiff brings along libraries for every compression, one of them under the GPL: it is looked for
// when the first such picture comes, and everything else does without. Not those before 4.5, which
// tell errors to the whole process and not to who opened the file.
#define SL_TIFF_FUNCTIONS(X)                                                                       \
    X(ClientOpenExt)                                                                               \
    X(Close)                                                                                       \
    X(ComputeStrip)                                                                                \
    X(GetField)                                                                                    \
    X(GetFieldDefaulted)                                                                           \
    X(GetStrileByteCount)                                                                          \
    X(IsCODECConfigured)                                                                           \
    X(IsTiled)                                                                                     \
    X(NumberOfStrips)                                                                              \
    X(NumberOfTiles)                                                                               \
    X(OpenOptionsAlloc)                                                                            \
    X(OpenOptionsFree)                                                                             \
    X(OpenOptionsSetErrorHandlerExtR)                                                              \
    X(OpenOptionsSetMaxSingleMemAlloc)                                                             \
    X(OpenOptionsSetWarningHandlerExtR)                                                            \
    X(RGBAImageBegin)                                                                              \
    X(RGBAImageEnd)                                                                                \
    X(RGBAImageGet)                                                                                \
    X(ReadEncodedStrip)                                                                            \
    X(ReadScanline)                                                                                \
    X(ReadTile)                                                                                    \
    X(ScanlineSize)                                                                                \
    X(SetField)                                                                                    \
    X(TileRowSize)                                                                                 \
    X(TileSize)

#define SL_TIFF_POINTER(name) __typeof__(&TIFF##name) name;
typedef struct sl_tiff_library {
    SL_TIFF_FUNCTIONS(SL_TIFF_POINTER)
} sl_tiff_library;

// NULL: it is not there; *why.
const sl_tiff_library *sl_tiff_find_library(const char **why);

typedef struct sl_tiff_reader {
    sl_ctx *ctx;
    const sl_coded *coded;
    const sl_tiff_library *lib;
    TIFF *tiff;
    toff_t at;           // of what libtiff reads as from a file
    char error[160];     // the first one that libtiff told
    bool is_reading;     // pixels
    bool is_damaged;     // these, as fax machines and interrupted scans leave them
    bool is_broken;      // these, which is an error unless it is asked for what there is
    uint32_t wide, high; // how much of the tile that is being read is in the picture
    uint32_t width, height;
    uint16_t bits, samples, colours, plane_kind, compression, orientation;
    unsigned colour_samples;       // that are kept: 1 or 3; of inks 4
    int alpha;                     // the sample that is alpha, or -1
    bool is_multiplied, is_mapped; // colours times alpha; colours that libtiff makes RGB of
    sl_image *image;
    sl_cmyk *cmyk;
    uint8_t *inks; // a row of them
} sl_tiff_reader;

// What a TIFF says before libtiff sees it (tiff_survey.c). SL_ERR_UNSUPPORTED: a camera's raw file,
// a smaller copy in front of the picture; SL_ERR_FORMAT: values that take more room than the file
// has.
typedef struct sl_tiff_facts {
    bool has_pages;  // further pictures
    bool loses_exif; // which is not read out of a BigTIFF
} sl_tiff_facts;

sl_status sl_tiff_survey(sl_ctx *ctx, const sl_coded *coded, sl_tiff_facts *out);
sl_status sl_tiff_refuse_raw(sl_ctx *ctx, const sl_coded *coded);

// Of bytes, in one allocation.
tmsize_t sl_tiff_most_bytes(const sl_tiff_reader *r);
sl_status sl_tiff_damaged(const sl_tiff_reader *r);
// what: "of ..."
sl_status sl_tiff_unsupported(const sl_tiff_reader *r, const char *what);

// Before anything of the picture's size is read. SL_ERR_FORMAT, SL_ERR_UNSUPPORTED.
sl_status sl_tiff_check_work(const sl_tiff_reader *r);
// Fills the image by its own samples, or by libtiff's conversion to 8 bits of RGB where
// `is_mapped`. SL_ERR_FORMAT, SL_ERR_UNSUPPORTED, SL_ERR_NOMEM.
sl_status sl_tiff_read_pixels(sl_tiff_reader *r);

#endif
