// SPDX-License-Identifier: MIT
// pipeline/shrink.h: a picture looked at in small, and what was changed there put back into it.
//
// A network knows blur of some tens of pixels. In a large photograph the same motion covers
// hundreds: there is nothing fine in it that a smaller picture would lose, and in the smaller one
// the network sees what it was trained on.
#ifndef SL_PIPELINE_SHRINK_H
#define SL_PIPELINE_SHRINK_H

#include "image/image.h"

#define SL_SHRINK_MOST 16u

// *out: the picture's colours without alpha, 16 bits: means of factor x factor pixels, of fewer at
// the right and lower edge. 1 <= factor <= SL_SHRINK_MOST. SL_ERR_NOMEM.
sl_status sl_shrink_picture(sl_ctx *ctx, const sl_image *image, uint32_t factor, sl_image **out);

// line: what `after` is more than `before` in row y, as shares of white, colours without alpha;
// both of one size and kind.
void sl_change_row(const sl_image *before, const sl_image *after, uint32_t y, float *line);

// *out: the picture plus what `after` is more than `before`, both of sl_shrink_picture's size,
// bilinearly enlarged. Bit for bit the picture where they are the same. SL_ERR_NOMEM.
sl_status sl_shrink_undo(sl_ctx *ctx, const sl_image *image, uint32_t factor,
                         const sl_image *before, const sl_image *after, sl_image **out);

// *out: [height, width] of the picture, malloc'ed: a map of the small one's size, bilinearly
// enlarged. SL_ERR_NOMEM.
sl_status sl_shrink_undo_map(sl_ctx *ctx, const sl_image *image, uint32_t factor,
                             const sl_image *small, const float *map, float **out);

#endif
