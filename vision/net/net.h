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
    bool has_fade;      // ours: the change is made as far as every predictor is sure of blur:
    float fade[2];      // nothing up to the first probability, all of it from the second on
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
    bool dense;             // every window computed; no predictors, but those of a fade
    bool composed;          // blocks op by op instead of SL_OP_WINDOW_BLOCK
    bool given_lists; // window lists are inputs "list/LAYER.PARITY" (i32); predictors still run
} sl_lmd_build;

// Appends the network. Input "image" [H,W,3], 0..1; output "output" [H,W,3], and unless dense for
// each block i < 2 of a layer "scores/LAYER.i" f32 [rows,columns,2] and "keep/LAYER.i" u8
// [rows,columns], in the block's own frame; later blocks share the maps of their parity.
sl_status sl_lmd_vit_build(sl_graph *g, const sl_tensor_set *set, const sl_lmd_config *config,
                           const sl_lmd_build *options);

// ---- SOFT (soft.c): "Softmax-free Linear Transformers", and its classification heads

#define SL_SOFT_STAGES 4      // the last one has softmax attention
#define SL_SOFT_FREE_STAGES 3 // softmax-free

typedef enum sl_soft_head {
    SL_SOFT_HEAD_NONE,   // a backbone
    SL_SOFT_HEAD_LINEAR, // logits = W e + b
    SL_SOFT_HEAD_EBV,    // logits = s * cosines with fixed directions, equiangular basis vectors
    SL_SOFT_HEAD_HYPERSPHERICAL, // same, directions learnt
} sl_soft_head;

typedef struct sl_soft_config {
    uint32_t dims[SL_SOFT_STAGES], heads[SL_SOFT_STAGES], depths[SL_SOFT_STAGES];
    uint32_t ratios[SL_SOFT_FREE_STAGES];  // r: side of a landmark, in tokens
    uint32_t kernels[SL_SOFT_FREE_STAGES]; // side of the convolution of V
    uint32_t stem;                         // channels inside the first patch embedding
    uint32_t landmarks;                    // 0: "ratio"; else their number, a square
    uint32_t iterations;                   // of Newton's
    bool has_inverse;                      // false: neither the file nor its shapes say which
    sl_inverse inverse;
    bool class_token;
    bool mirror;      // ours: who classifies takes the mean of a picture and its mirror image
    uint32_t classes; // 0: no head
    sl_soft_head head;
    uint32_t embedding;    // d of the heads with directions; else 0
    float scale;           // s of these heads
    float temperature;     // logits are divided by it before a softmax; the graph does not
    uint32_t image;        // side of the square crop
    uint32_t resize;       // short side before the crop
    float mean[3], std[3]; // of pixels in 0..1
} sl_soft_config;

// From metadata where there is any, else from names and shapes; the two must agree (SL_ERR_FORMAT).
sl_status sl_soft_config_read(sl_ctx *ctx, const sl_tensor_set *set, sl_soft_config *out);
char *sl_soft_config_json(sl_ctx *ctx, const sl_soft_config *config); // as in metadata; malloc'ed
// *out: what of a SOFT's configuration decides which numbers the same weights give for a picture,
// as JSON text that two files share if they agree, malloc'ed; NULL: the set is no SOFT's.
sl_status sl_soft_config_sight(sl_ctx *ctx, const sl_tensor_set *set, char **out);

// Names, shapes and types of every tensor: none missing, none unknown, all values finite. Tensors
// "reject.*" may be there, of any shape.
sl_status sl_soft_check(sl_ctx *ctx, const sl_tensor_set *set, const sl_soft_config *config);

// Whether a picture of that size has landmarks in every stage, and for SOFT-Norm
// SL_NORM_LEAST_LANDMARKS in each: SL_ERR_ARGUMENT says what is the least.
sl_status sl_soft_check_size(sl_ctx *ctx, const sl_soft_config *config, uint32_t height,
                             uint32_t width);

// What is made of the tensors at load (soft_weights.c): normalisations folded into the convolutions
// before them, directions of unit length times the scale.
typedef struct sl_soft_weights {
    sl_arena arena;
    sl_tensor embed[3 + SL_SOFT_FREE_STAGES][2]; // weight and bias: three of the stem, then stages
    sl_tensor head_bias;                         // of head.weight
    sl_tensor logits[2];                         // of the heads with directions
} sl_soft_weights;

// root: what the tensors' names begin with, "" for a SOFT.
sl_status sl_soft_weights_make(sl_ctx *ctx, const sl_tensor_set *set, const char *root,
                               const sl_soft_config *config, sl_soft_weights *out);
void sl_soft_weights_free(sl_soft_weights *weights);

// Outputs of the graph besides "logits" and "embedding", which are there always if the model has
// them.
typedef enum sl_soft_output {
    SL_SOFT_STAGE1 = 1,
    SL_SOFT_STAGE2 = 2,
    SL_SOFT_STAGE3 = 4,
    SL_SOFT_STAGE4 = 8,
    SL_SOFT_POOL3 = 16,
    SL_SOFT_POOL4 = 32,
    SL_SOFT_ALL = 63,
} sl_soft_output;

typedef struct sl_soft_options {
    uint32_t height, width; // of the picture, any that sl_soft_check_size lets pass
    unsigned outputs;       // bits of sl_soft_output
} sl_soft_options;

// Appends the network of a model whose architecture is "soft". Input "image" [H,W,3], normalised.
// Outputs, f32: "logits" [classes]; "embedding" [C4] (linear head: the class token behind the last
// norm) or [d] (other heads: of unit length); "stage1".."stage4" [h,w,C], the last before the norm
// and without the class token; "pool3", "pool4": the means of the last two over their pixels.
// SL_ERR_ARGUMENT: the size is too small, or nothing says which inverse.
sl_status sl_soft_build(sl_graph *g, const sl_model *model, const sl_soft_options *options);

// ---- RetinaNet on SOFT (retina.c, fpn.c): "Focal Loss for Dense Object Detection", with the
// conventions and tensor names of mmdetection 2.x

#define SL_RETINA_LEVELS 5 // P3 to P7: 1/8 to 1/128 of the picture's sides
#define SL_RETINA_MAX_RATIOS 8
#define SL_RETINA_MULTIPLE 32 // of both sides of a canvas

typedef struct sl_retina_config { // its backbone is a sl_soft_config
    uint32_t classes;             // K
    uint32_t channels;            // of the pyramid
    uint32_t tower;               // convolutions before the last one, of either half of the head
    float anchor_scale;
    uint32_t scales, ratio_count;       // anchors: A = scales * ratio_count
    float ratios[SL_RETINA_MAX_RATIOS]; // height / width
    uint32_t strides[SL_RETINA_LEVELS]; // pixels between anchors, and their base size
    uint32_t image[2];                  // a picture's long and short side are at most these
} sl_retina_config;

typedef struct sl_retina_weights { // made at load
    sl_arena arena;
    sl_tensor anchors[SL_RETINA_LEVELS]; // [A,2]: width, height; index ratio * scales + scale
} sl_retina_weights;

typedef struct sl_retina_options {
    uint32_t height, width; // of the canvas, multiples of SL_RETINA_MULTIPLE
    bool raw;               // the head's maps instead of boxes
    float threshold;        // of scores, strictly above
    uint32_t limit;         // boxes of a level; 0: 1000
} sl_retina_options;

// Appends the network of a model whose architecture is "soft-retinanet". Input "image" [H,W,3],
// normalised. raw: outputs "cls_P3".."cls_P7" [h,w,A*K] (logits) and "reg_P3".."reg_P7" [h,w,A*4].
// Else a second input, "extent" [2]: width and height of the picture on the canvas, in pixels, to
// which boxes are clipped; outputs "rows_P3".. and "counts_P3".. as of SL_OP_CANDIDATES.
// SL_ERR_ARGUMENT: a size that does not do, or nothing says which inverse.
sl_status sl_retina_build(sl_graph *g, const sl_model *model, const sl_retina_options *options);

// ---- labels (labels.c)

// *out: names of the classes, [classes], in the arena: those of the metadata, else "class 0" and so
// on. SL_ERR_FORMAT: no list of as many names, or one that cannot be printed. SL_ERR_NOMEM.
sl_status sl_labels_of(sl_ctx *ctx, const sl_tensor_set *set, sl_arena *arena, size_t classes,
                       const char ***out);

// ---- models (model.c)

struct sl_model {
    sl_tensor_set *set;
    const char *architecture; // "lmd-vit", "soft" or "soft-retinanet": which of these hold
    sl_lmd_config lmd;        // "lmd-vit"
    sl_soft_config soft;      // "soft"; the backbone of "soft-retinanet"
    sl_soft_weights soft_weights;
    sl_retina_config retina; // "soft-retinanet"
    sl_retina_weights retina_weights;
};

#endif
