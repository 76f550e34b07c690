// SPDX-License-Identifier: MIT
// pipeline/network.h: a model compiled for one size of canvas, with its window maps at hand.
#ifndef SL_PIPELINE_NETWORK_H
#define SL_PIPELINE_NETWORK_H

#include "pipeline/pipeline.h"

// What the blocks of one parity in one layer share: their windows. All sides are in windows.
typedef struct sl_block_map {
    uint32_t blocks; // of this parity: 0 when the layer is too shallow to have any
    uint32_t rows, columns;
    uint32_t side;   // of a window, in pixels of the canvas
    uint32_t shift;  // of the windows, in pixels
    sl_value keep;   // SL_NO_VALUE: every window, or the given list
    sl_value scores; // SL_NO_VALUE: no predictor
    sl_value list;   // SL_NO_VALUE: not given by the caller
    size_t given;    // windows in the given list
} sl_block_map;

typedef struct sl_network {
    sl_lmd_config config;
    uint32_t height, width; // of the canvas
    sl_graph *graph;
    sl_plan *plan;
    sl_value image, output;
    sl_block_map maps[SL_LMD_MAX_LAYERS][2]; // by layer and parity
} sl_network;

// A network that is all zeros may be freed.
sl_status sl_network_new(sl_ctx *ctx, const sl_model *model, sl_device *device,
                         const sl_lmd_build *build, sl_network *out);
void sl_network_free(sl_network *network);

// A SOFT, and a detector: `output` and the maps of windows stay empty, outputs are in the graph by
// their names.
sl_status sl_network_new_soft(sl_ctx *ctx, const sl_model *model, sl_device *device,
                              const sl_soft_options *options, sl_network *out);
sl_status sl_network_new_retina(sl_ctx *ctx, const sl_model *model, sl_device *device,
                                const sl_retina_options *options, sl_network *out);
// The side of a detector's canvas that holds `length` pixels. SL_ERR_LIMIT where there is none.
sl_status sl_retina_side(sl_ctx *ctx, uint64_t length, uint32_t *out);

// The activation bytes of a network of that size. SL_ERR_LIMIT where it cannot be built at all.
sl_status sl_network_memory(sl_ctx *ctx, const sl_model *model, const sl_device *device,
                            const sl_lmd_build *build, size_t *out);

// Fills the lists of a network built with given_lists: the share (0..1] of every map's windows, at
// least one, spread evenly.
sl_status sl_network_give_lists(sl_network *network, double share);

// Windows over all blocks, and those that the last run computed.
typedef struct sl_window_count {
    double computed, all;
} sl_window_count;
// keep: room for the largest map, one byte a window.
sl_status sl_network_count(const sl_network *network, uint8_t *keep, sl_window_count *count);
size_t sl_network_max_windows(const sl_network *network);

// Reads which windows of a map the last run computed: 1 or 0 for each, in the blocks' own frame.
sl_status sl_network_keep(const sl_network *network, const sl_block_map *map, uint8_t *keep);

// The canvas side that holds `length` pixels. SL_ERR_LIMIT where there is none.
sl_status sl_canvas_side(sl_ctx *ctx, const sl_lmd_config *config, uint32_t length, uint32_t *out);

// run_input.c: a picture from a .npy file, float32 [H,W,3], finite, not too large.
sl_status sl_input_read(sl_ctx *ctx, const char *path, sl_blob *storage, sl_tensor *out);
// SL_ERR_EXISTS where the file is there and may not be overwritten. Takes `path`, malloc'ed; NULL:
// SL_ERR_NOMEM.
sl_status sl_target_check(sl_ctx *ctx, char *path, bool overwrite);

// run_maps.c: sl_model_run of a SOFT or a detector, whose arguments were not looked at yet.
sl_status sl_maps_run(sl_ctx *ctx, const sl_model *model, const char *input, const char *output_dir,
                      const sl_run_options *options);

// SL_ERR_ARGUMENT unless 0 or inside (0, 1).
sl_status sl_threshold_check(sl_ctx *ctx, float threshold);

#endif
