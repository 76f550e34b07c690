// SPDX-License-Identifier: MIT
// vulkan/program.h: a graph as a list of dispatches, before anything of the driver is made. Ops
// append to it (ops.c, gemm.c, ...); record.c turns it into command buffers.
#ifndef SL_VULKAN_PROGRAM_H
#define SL_VULKAN_PROGRAM_H

#include "vulkan/vk.h"

// Bytes of one of the memories that a dispatch may bind.
typedef enum sl_vk_space {
    SL_VK_NOWHERE, // an optional binding that is missing
    SL_VK_ARENA,
    SL_VK_NEW_WEIGHTS, // of this program's own block, uploaded when it is compiled
    SL_VK_OLD_WEIGHTS, // of a block that the device has already
    SL_VK_SLOTS,       // what SL_VK_ARGUMENTS reads
    SL_VK_SIZES,       // what it writes: dispatch sizes
} sl_vk_space;

typedef struct sl_vk_range {
    sl_vk_space space;
    uint32_t block; // SL_VK_OLD_WEIGHTS
    uint64_t offset, bytes;
} sl_vk_range;

#define SL_VK_NO_SLOT UINT32_MAX

typedef struct sl_vk_dispatch {
    sl_vk_pipeline_key key;
    sl_vk_range buffer[SL_VK_MAX_BUFFERS]; // NOWHERE: not used with these constants
    uint32_t writes;                       // bit i: binding i is written (and may be read)
    uint32_t push_bytes;
    uint8_t push[SL_VK_MAX_PUSH];
    uint32_t groups[3];
    uint32_t slot; // instead of groups: sizes from there; SL_VK_NO_SLOT
    uint32_t node;
    bool begins_piece; // what is before it is submitted by itself
} sl_vk_dispatch;

// One set of sizes that follows a window list: ceil(windows * per_window / tile) groups, of which
// at most `most` lie along x.
typedef struct sl_vk_slot {
    uint32_t first, chunk, per_window, tile, y, most, pad0, pad1;
} sl_vk_slot;

typedef struct sl_vk_want sl_vk_want;

typedef struct sl_vk_program {
    sl_ctx *ctx;
    sl_vk_device *device;
    const sl_graph *graph;
    bool half;           // activations and matrices in f16
    size_t *value_bytes; // by value, as this program keeps it
    sl_memory_plan memory;
    uint32_t node; // being emitted
    sl_vk_dispatch *dispatches;
    size_t count, capacity;
    uint32_t pieces; // that dispatches are submitted in
    sl_vk_slot *slots;
    sl_value *slot_list; // by slot: whose count it follows
    size_t slot_count, slot_capacity;
    sl_blob weights; // new ones
    size_t weights_capacity;
    bool is_draft; // only to see what it wants to know: weights are not made
    sl_vk_want *wants;
    size_t want_count, want_capacity;
} sl_vk_program;

// One op: the scratch memory that a node wants, and its dispatches.
typedef struct sl_vk_op {
    size_t (*scratch)(sl_vk_program *p, const sl_node *node); // or NULL
    sl_status (*emit)(sl_vk_program *p, const sl_node *node, sl_vk_range scratch);
} sl_vk_op;

const sl_vk_op *sl_vk_op_get(sl_op op); // emit is NULL where there is no kernel

extern const sl_vk_op sl_vk_pixel_unshuffle, sl_vk_gate; // pixel.c
extern const sl_vk_op sl_vk_conv2d, sl_vk_upconv_concat; // conv.c
extern const sl_vk_op sl_vk_predict, sl_vk_select;       // predict.c
extern const sl_vk_op sl_vk_window_block;                // block.c
extern const sl_vk_op sl_vk_window_gather, sl_vk_window_scatter, sl_vk_layer_norm, sl_vk_linear,
    sl_vk_window_attention, sl_vk_window_dwconv; // composed.c
extern const sl_vk_op sl_vk_add_position, sl_vk_class_tokens, sl_vk_rows, sl_vk_mean,
    sl_vk_unit;                                            // tokens.c
extern const sl_vk_op sl_vk_global_attention;              // softmax.c
extern const sl_vk_op sl_vk_soft_attention;                // soft.c
extern const sl_vk_op sl_vk_add_nearest, sl_vk_candidates; // candidates.c

// ---- program.c

sl_status sl_vk_program_new(sl_ctx *ctx, sl_vk_device *d, const sl_graph *g, sl_dtype precision,
                            sl_vk_program *out);
// The same without weights, for what it wants to know, with the memory of the ways that take most.
sl_status sl_vk_program_draft(sl_ctx *ctx, sl_vk_device *d, const sl_graph *g, sl_dtype precision,
                              sl_vk_program *out);
void sl_vk_program_free(sl_vk_program *p);
// The arena's bytes of a draft, which meets every limit that the program does: what is given here
// can be compiled, and does not depend on what was measured.
sl_status sl_vk_program_memory(sl_ctx *ctx, sl_vk_device *d, const sl_graph *g, sl_dtype precision,
                               size_t *out);

sl_vk_range sl_vk_value(const sl_vk_program *p, sl_value value); // NOWHERE for SL_NO_VALUE
sl_vk_range sl_vk_part(sl_vk_range whole, uint64_t offset, uint64_t bytes);
// The kernel that this program's activations want, and the bytes of one of their numbers.
sl_vk_kernel sl_vk_variant(const sl_vk_program *p, sl_vk_kernel kernel);
uint64_t sl_vk_number(const sl_vk_program *p);
// Whether the value is f32 in the graph and f16 here.
bool sl_vk_is_half(const sl_vk_program *p, sl_value value);
uint64_t sl_vk_align(uint64_t bytes); // up to where the next binding may begin

// Appends; the caller has filled key, buffers, writes, push and groups. Checks the device's limits.
sl_status sl_vk_emit(sl_vk_program *p, const sl_vk_dispatch *dispatch);

// Which windows a dispatch takes: `chunk` of them from `first` on, of a list or of all.
typedef struct sl_vk_windows {
    sl_value list; // SL_NO_VALUE: every window
    uint32_t first, chunk;
} sl_vk_windows;

// Sets groups, or a slot that the list's count will fill: ceil(windows * per_window / tile) of them
// along x and, where the device takes fewer there, along z. So a kernel asks for its group_index()
// (shaders/common.glsl), and has nothing to do where that is past the end.
sl_status sl_vk_groups(sl_vk_program *p, const sl_vk_windows *w, uint64_t per_window, uint32_t tile,
                       uint32_t y, sl_vk_dispatch *dispatch);

// ---- weights.c: a weight in the form that a kernel wants, once per device

typedef enum sl_vk_form {
    SL_VK_PLAIN,    // f32, as it is
    SL_VK_MATRIX,   // [N,K] -> [K to 16, N to 64], zeros behind
    SL_VK_QKV,      // to_q and to_kv as one matrix
    SL_VK_QKV_BIAS, // their biases, one behind the other
    SL_VK_CONV,     // [Cout,Cin,k,k] -> the matrix of (ky,kx,cin)
    SL_VK_UP,       // [Cin,Cout,2,2] -> the matrix of (dy,dx,cout)
    SL_VK_UP_BIAS,  // four times
    SL_VK_TAPS,     // [C,1,3,3] -> [9,C]
    SL_VK_FOLDED,   // the predictor: see predict.c
    SL_VK_MEAN_WEIGHT,
    SL_VK_MEAN_BASE,
    SL_VK_LAST,          // out_conv.4, weight and bias
    SL_VK_BLOCK_VECTORS, // all of a block but its matrices: see fused.c
    SL_VK_LANDMARKS,     // of softmax-free attention: see soft.c
} sl_vk_form;

// Writes the numbers of a form; `numbers` of them, zeroed before.
typedef sl_status (*sl_vk_fill)(sl_ctx *ctx, const sl_node *node, size_t first_weight, float *out,
                                size_t numbers);

// The range of weight `first` of the node in this form; filled by `fill` when it is new.
sl_status sl_vk_weight(sl_vk_program *p, const sl_node *node, size_t first, sl_vk_form form,
                       size_t numbers, sl_vk_fill fill, sl_vk_range *out);
sl_status sl_vk_plain(sl_vk_program *p, const sl_node *node, size_t weight, sl_vk_range *out);

sl_status sl_vk_weights_upload(sl_vk_program *p); // after the last emit: the new become old ones
void sl_vk_weights_forget(sl_vk_device *d);       // those of a program that was given up
// Those that came since `count` entries and `blocks` were there, whose plans are gone.
void sl_vk_weights_count(const sl_vk_device *d, size_t *count, uint32_t *blocks);
void sl_vk_weights_drop(sl_vk_device *d, size_t count, uint32_t blocks);
const sl_vk_buffer *sl_vk_weights_block(const sl_vk_device *d, uint32_t block);
size_t sl_vk_weights_bytes(const sl_vk_device *d);
void sl_vk_weights_free(sl_vk_device *d);

// ---- gemm.c

typedef enum sl_vk_gemm_from { SL_VK_FROM_ROWS, SL_VK_FROM_PATCHES } sl_vk_gemm_from;
typedef enum sl_vk_gemm_to { SL_VK_TO_ROWS, SL_VK_TO_WINDOWS, SL_VK_TO_UPCONV } sl_vk_gemm_to;
typedef enum sl_vk_gemm_residual {
    SL_VK_NO_RESIDUAL,
    SL_VK_RESIDUAL_ROWS,
    SL_VK_RESIDUAL_WINDOWS,
} sl_vk_gemm_residual;

// c = act(a b + bias) + residual; see shaders/gemm.comp.
typedef struct sl_vk_gemm {
    sl_vk_gemm_from from;
    sl_vk_gemm_to to;
    sl_vk_gemm_residual add;
    sl_vk_range a, b, bias, residual, c; // b: a matrix form; bias: NOWHERE if none
    uint64_t rows;                       // without `windows`
    uint32_t n, k, lda, ldc, ldr;
    sl_act act;
    float slope;
    const sl_vk_windows *windows; // rows are tokens of these, or NULL
    uint32_t window, shift, height, width;
    uint32_t side, stride, pad, in_height, in_width, out_width, channels; // patches
} sl_vk_gemm;

size_t sl_vk_matrix_numbers(size_t n, size_t k); // of SL_VK_MATRIX
void sl_vk_matrix_put(float *matrix, size_t n, size_t k, size_t row, size_t column, float value);
sl_status sl_vk_emit_gemm(sl_vk_program *p, const sl_vk_gemm *g);
// A [N,K] weight of the node as a matrix.
sl_status sl_vk_matrix(sl_vk_program *p, const sl_node *node, size_t weight, sl_vk_range *out);

// ---- choices.c: ways of computing the same, chosen by measured speed

// What a draft wants to know, and what a trial needs to find out.
struct sl_vk_want {
    sl_vk_choice question;
    uint32_t ways;  // bit i: answer i is possible
    uint32_t usual; // that of them which is taken unmeasured
    sl_vk_gemm gemm;
    const sl_node *node;
    uint32_t windows;
};

// A device that may be timed: not one in software, one with timestamps, and none that takes the
// usual ways.
bool sl_vk_may_measure(const sl_vk_device *d);
// What was found to be fastest among the ways; the usual one where nothing is known, which a draft
// then notes.
uint32_t sl_vk_choose(sl_vk_program *p, const sl_vk_want *want);
uint32_t sl_vk_size_class(uint64_t size); // sizes that are measured as one

// ---- trial.c

// Times what the graph's program wants to know, and keeps the answers. After a fraction of a second
// no question is begun, but one that was begun is finished: else a slow device never answered any.
// Not on devices in software. What fails is left as it is.
void sl_vk_measure(sl_ctx *ctx, sl_vk_device *d, const sl_graph *g, sl_dtype precision);
// Whether two ways have computed the same but for rounding; never with a number that is not finite.
bool sl_vk_results_agree(sl_dtype precision, const float *first, const float *other, size_t count);
// Fills the memory of a way that is tried with what is no number.
sl_status sl_vk_spoil(sl_ctx *ctx, sl_vk_device *d, const sl_vk_buffer *arena,
                      const sl_vk_buffer *readback);

// ---- block.c, fused.c: a block of LMD-ViT

sl_status sl_vk_qkv(sl_vk_program *p, const sl_node *node, sl_vk_range *out); // as one matrix
// Whether the block can be one kernel that takes `slice` hidden channels at a time; and that
// kernel.
bool sl_vk_fused_fits(const sl_vk_program *p, const sl_node *node, uint32_t slice);
sl_status sl_vk_emit_fused(sl_vk_program *p, const sl_node *node, uint32_t slice);

// ---- pixel.c

// A picture, which is f32, into an activation.
sl_status sl_vk_emit_unshuffle(sl_vk_program *p, sl_value from, uint32_t factor, sl_vk_range to);

// ---- composed.c: the pieces that blocks are made of

typedef struct sl_vk_norm {
    sl_vk_range x, y, weight, bias, add; // add: [tokens, channels] or NOWHERE
    uint64_t rows;                       // without `windows`
    uint32_t channels, tokens;
    const sl_vk_windows *windows;
    bool from_map;
    uint32_t window, shift, height, width; // from_map
    float eps;
} sl_vk_norm;

typedef struct sl_vk_attention {
    sl_vk_range q, kv, table, out;
    uint32_t ldq, ldkv, k_at, v_at, ldo;
    uint32_t heads, head_dim, window, shift, rows, columns;
    const sl_vk_windows *windows;
} sl_vk_attention;

typedef struct sl_vk_dwconv {
    sl_vk_range x, y, taps, bias;
    uint32_t window, channels;
    sl_act act;
    float slope;
    const sl_vk_windows *windows;
} sl_vk_dwconv;

sl_status sl_vk_emit_norm(sl_vk_program *p, const sl_vk_norm *n);
sl_status sl_vk_emit_attention(sl_vk_program *p, const sl_vk_attention *a);
sl_status sl_vk_emit_dwconv(sl_vk_program *p, const sl_vk_dwconv *d);
sl_status sl_vk_taps(sl_vk_program *p, const sl_node *node, size_t weight, sl_vk_range *out);

// ---- record.c

typedef struct sl_vk_recording {
    VkCommandBuffer *commands; // a piece each, to be submitted in this order
    uint32_t count;
    VkDescriptorPool pool;
    VkDescriptorSet *sets; // by dispatch
    bool is_complete;      // can be submitted
} sl_vk_recording;

// What a plan copies in before, and out after, the dispatches of a run.
typedef struct sl_vk_copy {
    VkDeviceSize host, arena, bytes;
} sl_vk_copy;

typedef struct sl_vk_recorder {
    sl_vk_device *device;
    const sl_vk_program *program;
    const sl_vk_buffer *arena, *slots, *sizes, *upload, *readback; // those absent: bytes 0
    const sl_vk_copy *in, *out;
    size_t in_count, out_count;
    VkDeviceSize sizes_at;    // where a profile finds the sizes in `readback`
    VkDeviceSize number_from; // of the run, 4 bytes in `upload`, which are copied behind all else
    VkDeviceSize number_to;   // to here in `readback`
    VkQueryPool queries;      // a timestamp before all and one behind each node; or VK_NULL_HANDLE
} sl_vk_recorder;

sl_status sl_vk_record_new(sl_ctx *ctx, const sl_vk_recorder *r, sl_vk_recording *out); // and sets
sl_status sl_vk_record(sl_ctx *ctx, const sl_vk_recorder *r, sl_vk_recording *recording); // again
void sl_vk_record_free(sl_vk_device *d, sl_vk_recording *recording);

#endif
