// SPDX-License-Identifier: MIT
// net/: models as graph builders, and the files that hold them. No backend code, no I/O beyond
// opening the model. May include base/, tensor/, graph/.
#ifndef SL_NET_NET_H
#define SL_NET_NET_H

#include "graph/graph.h"
#include "tensor/tensor.h"

// ---- LMD-ViT (lmd_vit.c): "Adaptive Window Pruning for Efficient Local Motion Deblurring"

#define SL_LMD_MAX_LAYERS 13 // 2 * scales + 1: at most 6 scales
#define SL_LMD_MAX_SCALES 6

typedef enum sl_modulator {
    SL_MODULATOR_DECODER,
    SL_MODULATOR_ALL,
    SL_MODULATOR_NONE
} sl_modulator;

typedef struct sl_lmd_config {
    uint32_t embed_dim;                 // e
    uint32_t layers;                    // 2 * scales + 1
    uint32_t scales;                    // S
    uint32_t depths[SL_LMD_MAX_LAYERS]; // blocks: encoder layers, bottleneck, decoder layers
    uint32_t heads[SL_LMD_MAX_LAYERS];
    uint32_t window; // w
    uint32_t mlp_ratio;
    uint32_t img_size;  // decides which layers shift, see sl_lmd_shift
    uint32_t unshuffle; // f: pixel-unshuffle stem; 1: none
    float threshold;    // keep where softmax(z0,z1)[0] is above it
    sl_modulator modulator;
} sl_lmd_config;

// From metadata where there is any, else from names and shapes; the two must agree (SL_ERR_FORMAT).
sl_status sl_lmd_config_read(sl_ctx *ctx, const sl_tensor_set *set, sl_lmd_config *out);
char *sl_lmd_config_json(sl_ctx *ctx, const sl_lmd_config *config); // as in metadata; malloc'ed

// Names, shapes and types of every tensor: none missing, none unknown, all values finite.
sl_status sl_lmd_check(sl_ctx *ctx, const sl_tensor_set *set, const sl_lmd_config *config);

uint32_t sl_lmd_multiple(const sl_lmd_config *config); // sides of a canvas: f * w * 2^S
// Layer names of the state dict: "encoderlayer_0" ... "conv" ... "decoderlayer_0" ...
void sl_lmd_layer_name(const sl_lmd_config *config, uint32_t layer, char *name, size_t size);
uint32_t sl_lmd_layer_level(const sl_lmd_config *config, uint32_t layer); // 0: full resolution / f
uint32_t sl_lmd_layer_dim(const sl_lmd_config *config, uint32_t layer);   // C
uint32_t sl_lmd_shift(const sl_lmd_config *config, uint32_t layer, uint32_t block); // 0 or w/2

typedef struct sl_lmd_build {
    uint32_t height, width; // multiples of sl_lmd_multiple
    float threshold;        // 0: the config's
    bool dense;             // no predictors, every window computed
    bool composed;          // blocks op by op instead of SL_OP_WINDOW_BLOCK
    bool given_lists; // window lists are inputs "list/LAYER.PARITY" (i32); predictors still run
} sl_lmd_build;

// Appends the network. Input "image" [H,W,3], 0..1; output "output" [H,W,3], and unless dense for
// each block i < 2 of a layer "scores/LAYER.i" f32 [rows,columns,2] and "keep/LAYER.i" u8
// [rows,columns], in the block's own frame; later blocks share the maps of their parity.
sl_status sl_lmd_vit_build(sl_graph *g, const sl_tensor_set *set, const sl_lmd_config *config,
                           const sl_lmd_build *options);

// ---- models (model.c)

struct sl_model {
    sl_tensor_set *set;
    const char *architecture; // "lmd-vit"
    sl_lmd_config lmd;
};

#endif
