// SPDX-License-Identifier: MIT
// pipeline/shrink.h: a picture looked at in small, and what was changed there put back into it.
//
// A network knows blur of some tens of pixels. In a large photograph the same motion covers
// hundreds: there is nothing fine in it that a smaller picture would lose, and in the smaller one
// the network sees what it was trained on.
#ifndef SL_PIPELINE_SHRINK_H
#define SL_PIPELINE_SHRINK_H

#include "image/image.h"
#include "pipeline/between.h"

#define SL_SHRINK_MOST 16u

// *out: the picture's colours without alpha, 16 bits: means of factor x factor pixels, of fewer at
// the right and lower edge. 1 <= factor <= SL_SHRINK_MOST. SL_ERR_NOMEM.
sl_status sl_shrink_picture(sl_ctx *ctx, const sl_image *image, uint32_t factor, sl_image **out);

// *out: the picture plus what `after` is more than `before`, both of sl_shrink_picture's size,
// bilinearly enlarged. Bit for bit the picture where they are the same. SL_ERR_NOMEM.
sl_status sl_shrink_undo(sl_ctx *ctx, const sl_image *image, uint32_t factor,
                         const sl_image *before, const sl_image *after, sl_image **out);

// *out: [height, width] of the picture, malloc'ed: a map of the small one's size, bilinearly
// enlarged. SL_ERR_NOMEM.
sl_status sl_shrink_undo_map(sl_ctx *ctx, const sl_image *image, uint32_t factor,
                             const sl_image *small, const float *map, float **out);

// ---- the same row by row, for who makes more of it

// What is small, [height, width], in the columns of a large picture: bilinearly, factor times
// larger a side; as it is where that is 1. One that is all zeros may be freed.
typedef struct sl_enlarger {
    uint32_t factor, width, height; // of what is small
    uint32_t large_width;
    sl_between *column; // of the large picture
} sl_enlarger;

sl_status sl_enlarger_new(sl_ctx *ctx, uint32_t factor, uint32_t width, uint32_t height,
                          uint32_t large_width, sl_enlarger *out); // SL_ERR_NOMEM
void sl_enlarger_free(sl_enlarger *enlarger);
// Row y of the large picture, of a map; line: [width].
void sl_enlarge_map_row(const sl_enlarger *enlarger, const float *map, uint32_t y, float *line,
                        float *out);
// Of what `after` is more than `before`, small pictures of one size and kind, as shares of white,
// colours without alpha; lines: twice [width, colours].
void sl_enlarge_change_row(const sl_enlarger *enlarger, const sl_image *before,
                           const sl_image *after, uint32_t y, float *lines, float *out);
// Row y of out: that of the picture plus a change [width, colours]; where it is 0, bit for bit.
void sl_move_row(const sl_image *image, uint32_t y, const float *change, sl_image *out);

#endif
