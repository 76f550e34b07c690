// SPDX-License-Identifier: MIT
// image/text.h: letters. A line of text in any script becomes a mask of how much of each pixel its
// ink covers; whoever draws gives it a colour.
#ifndef SL_IMAGE_TEXT_H
#define SL_IMAGE_TEXT_H

#include "image/image.h"

#define SL_MOST_TEXT_PIXELS 2000u // of the font's size

// Coverage 0..255, [height, width]; freed with free(coverage). {0}: nothing.
typedef struct sl_mask {
    uint32_t width, height;
    uint8_t *coverage;
} sl_mask;

// A font at one size, and those that stand in for what it lacks.
typedef struct sl_text sl_text;

// font: a file that FreeType reads; NULL: the one in the library. pixels: of its em square, at
// least 1. SL_ERR_IO, SL_ERR_FORMAT, SL_ERR_NOMEM.
sl_status sl_text_new(sl_ctx *ctx, const char *font, unsigned pixels, sl_text **out);
void sl_text_free(sl_text *text); // takes NULL

// The height of every mask whose letters do not tower: the font's ascent and descent.
uint32_t sl_text_height(const sl_text *text);

// One line: `label`, any bytes, then `suffix`, plain ASCII, which stays at the right of it whatever
// the label's direction. Where both are wider than `most` pixels the label ends early, by "...".
// Never wider than `most`. Invalid UTF-8 and control characters become U+FFFD. SL_ERR_NOMEM.
sl_status sl_text_mask(sl_text *text, const char *label, const char *suffix, uint32_t most,
                       sl_mask *out);

#endif
