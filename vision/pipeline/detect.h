// SPDX-License-Identifier: MIT
// pipeline/detect.h: what the files of detection share.
#ifndef SL_PIPELINE_DETECT_H
#define SL_PIPELINE_DETECT_H

#include "detect/detect.h"
#include "pipeline/network.h"

#define SL_DETECT_PLANS 4         // shapes of pictures that are kept ready
#define SL_DETECT_THRESHOLD 0.05f // of the scores of candidates, before boxes are joined
#define SL_DETECT_LIMIT 1000u     // of candidates a level
#define SL_DETECT_MOST 100u       // objects of a picture

// The network for one padded shape.
typedef struct sl_detect_plan {
    sl_network network; // of width 0: none
    float threshold;    // of its candidates
    uint64_t used;      // when, by sl_detect.turn
    sl_value extent, rows[SL_RETINA_LEVELS], counts[SL_RETINA_LEVELS];
} sl_detect_plan;

struct sl_detect {
    sl_ctx *ctx;
    const sl_model *model;
    sl_device *device;
    sl_detect_options options; // no zeros that mean a default any more
    sl_arena arena;            // of the labels
    const char **labels;       // [classes]
    size_t label_count;
    bool *is_wanted;  // [classes]
    bool is_averaged; // shrunk by areas
    sl_detect_plan plans[SL_DETECT_PLANS];
    uint64_t turn;
    uint8_t *rgb;         // a region, resized
    float *pixels;        // the same, normalised and padded
    size_t room;          // pixels that both hold
    float *rows;          // [limit, 6]: candidates of a level
    float levels[3][256]; // of a channel's 8 bits, normalised
    sl_scored *boxes;     // candidates of the picture
    size_t count, capacity;
    const sl_detect_plan *last; // that computed
    size_t done, total;         // what progress tells in place of a picture's tiles; 0: tiles
};

// detect_look.c: fills boxes with the candidates of a picture, in its pixels, of wanted classes.
sl_status sl_detect_look(sl_detect *detect, const sl_image *image);

// detect_plan.c: a plan for padded pictures of that size; it stays the detector's.
sl_status sl_detect_plan_for(sl_detect *detect, uint32_t width, uint32_t height,
                             sl_detect_plan **out);
void sl_detect_drop_plans(sl_detect *detect);

// Joins the boxes by `nms`; what is left stays in boxes, best first, at most `most`.
sl_status sl_detect_join(sl_detect *detect, sl_nms nms, size_t most);

#endif
