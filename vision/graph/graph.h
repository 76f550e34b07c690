// SPDX-License-Identifier: MIT
// graph/: a model as a list of ops over values: the op table, the builder with its shape rules, the
// memory planner, and the interface that a backend's compiled plan offers. May include base/,
// tensor/.
#ifndef SL_GRAPH_GRAPH_H
#define SL_GRAPH_GRAPH_H

#include "base/base.h"
#include "tensor/tensor.h"

// Activations are channels-last. Letters: H, W rows and columns of a map; C channels; w window
// side; N = w*w tokens of a window; R = H/w * W/w windows; h heads.
//
// A window list is what pruning leaves: i32 [4 + R]: count, three zeros that round the head to
// 16 bytes, then the raster indices of the kept windows, ascending, in the frame of the block
// (rolled by -shift for shifted blocks). Ops that take a list (always their last input, may be
// SL_NO_VALUE: every window) compute its first `count` windows and nothing else.
typedef enum sl_op {
    SL_OP_INPUT,            // -> f32, any shape
    SL_OP_PIXEL_UNSHUFFLE,  // x [H,W,C] -> [H/f,W/f,C*f*f], channel c*f*f + dy*f + dx
    SL_OP_CONV2D,           // x [H,W,Cin] -> [H',W',Cout]; weights [Cout,Cin,k,k], [Cout]; act
    SL_OP_UPCONV_CONCAT,    // x [H,W,Cin], skip [2H,2W,Cs] -> [2H,2W,Cout+Cs]: transposed conv 2x2
                            //   s2 first, skip behind; weights [Cin,Cout,2,2], [Cout]
    SL_OP_GATE,             // image [H,W,3], y [H/f,W/f,4*f*f], sure [H,W] or none -> [H,W,3]:
                            //   shuffled y, image + y[0..2] * max(sigmoid(y[3]), 0.1), clamped to
                            //   0..1; where it is not sure, less of the change: `fade`
    SL_OP_PREDICT,          // x [H,W,C] -> scores [H/w,W/w,2], rolled frame of `shift`; 12 weights,
                            //   see sl_predict_weight
    SL_OP_SELECT,           // scores [H/w,W/w,2] -> list i32 [4+R], keep u8 [H/w,W/w]; threshold
    SL_OP_CERTAINTY,        // scores [h,w,2], least [H,W] or none -> [H,W], H = h * `window`, in
                            //   pixels: softmax(z0,z1)[0], linearly between the middles of the
                            //   windows, of which the first begins at pixel `shift`, and flat
                            //   beyond the outer ones; but no more than `least`
    SL_OP_WINDOW_BLOCK,     // x [H,W,C], list -> [H,W,C] in place; 18 weights, sl_block_weight
    SL_OP_WINDOW_GATHER,    // x [H,W,C], list -> [R*N,C], kept windows first, rolled by -shift
    SL_OP_WINDOW_SCATTER,   // x [H,W,C], t [R*N,C], list -> [H,W,C] in place on x, rolled back
    SL_OP_LAYER_NORM,       // x [..,C], list -> same; weights [C],[C], or a third [N,C] added after
    SL_OP_LINEAR,           // x [..,K], residual [..,M] or none, list -> [..,M]; [M,K],[M]; act
    SL_OP_WINDOW_ATTENTION, // q [R*N,C], kv [R*N,2C], list -> [R*N,C]; weight [(2w-1)^2,h]; the
                            //   shift mask needs `rows`, `columns` of windows
    SL_OP_WINDOW_DWCONV,    // x [R*N,C], list -> same; 3x3 inside each window, reflected without
                            //   repeating the edge; weights [C,1,3,3],[C]; act
    SL_OP_ADD_POSITION, // x [h,w,C] -> same, in place: plus a grid of position embeddings, resized
                        //   bilinearly to h x w; weight [1,P,C], see sl_position_grid
    SL_OP_CLASS_TOKENS, // x [h,w,C] -> [1+h*w,C]: cls + the embedding's first row, then x plus the
                        //   others as above; weights [1,1+g*g,C], cls [1,1,C]
    SL_OP_SOFT_ATTENTION, // q [h,w,C], not yet scaled, v [h,w,C] -> [h,w,C]; `heads`, `factor` r,
                          //   `landmarks`, `inverse`, `iterations`, eps; 4 weights, sl_soft_weight
    SL_OP_ATTENTION,      // q [..,C], kv [..,2C] (all K, then all V) -> [..,C]: over all rows,
                          //   softmax(q k^T * d^-1/2) v per head of d = C / `heads` channels
    SL_OP_ROWS, // x [..,C] -> [rows,columns,C], from row `first` on; columns 0: that row, [C]
    SL_OP_MEAN, // x [..,C] -> [C]: mean over all rows
    SL_OP_UNIT, // x [..,C] -> same: every row divided by its length, at least 1e-12
    SL_OP_ADD_NEAREST, // x [H,W,C], coarse [h,w,C] -> [H,W,C] in place on x: plus coarse at row
                       //   floor(y * h / H) and column floor(x * w / W)
    SL_OP_CANDIDATES,  // cls [h,w,A*K], reg [h,w,A*4], extent [2] (W, H in pixels) -> rows
                       //   [limit,6], counts i32 [4]; weight [A,2]; `stride`, `threshold`, `limit`;
                       //   see sl_candidate_column
    SL_OP_COUNT,
} sl_op;

typedef enum sl_act {
    SL_ACT_NONE,
    SL_ACT_RELU,
    SL_ACT_LEAKY_RELU,
    SL_ACT_GELU,
    SL_ACT_GELU_TANH, // 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
} sl_act;

// Order of the weights of SL_OP_WINDOW_BLOCK. MODULATOR [N,C] may be missing (NULL).
typedef enum sl_block_weight {
    SL_BLOCK_NORM1_W, // [C]
    SL_BLOCK_NORM1_B,
    SL_BLOCK_MODULATOR,  // [N,C] or NULL
    SL_BLOCK_BIAS_TABLE, // [(2w-1)^2, h]
    SL_BLOCK_Q_W,        // [C,C]
    SL_BLOCK_Q_B,
    SL_BLOCK_KV_W, // [2C,C]: all K rows, then all V rows
    SL_BLOCK_KV_B,
    SL_BLOCK_PROJ_W, // [C,C]
    SL_BLOCK_PROJ_B,
    SL_BLOCK_NORM2_W, // [C]
    SL_BLOCK_NORM2_B,
    SL_BLOCK_FF1_W, // [M,C], M = mlp_ratio * C; GELU behind
    SL_BLOCK_FF1_B,
    SL_BLOCK_DW_W, // [M,1,3,3]; GELU behind
    SL_BLOCK_DW_B,
    SL_BLOCK_FF2_W, // [C,M]
    SL_BLOCK_FF2_B,
    SL_BLOCK_WEIGHTS,
} sl_block_weight;

// Order of the weights of SL_OP_PREDICT: in_conv.{0,2,3}, out_conv.{0,2,4}.
typedef enum sl_predict_weight {
    SL_PREDICT_IN0_W, // [C,C], GELU behind
    SL_PREDICT_IN0_B,
    SL_PREDICT_NORM_W, // [C]
    SL_PREDICT_NORM_B,
    SL_PREDICT_IN3_W, // [C,C]; then the second half of the channels becomes its mean over all
                      // tokens
    SL_PREDICT_IN3_B,
    SL_PREDICT_OUT0_W, // [C/2,C], GELU behind
    SL_PREDICT_OUT0_B,
    SL_PREDICT_OUT2_W, // [C/4,C/2], GELU behind
    SL_PREDICT_OUT2_B,
    SL_PREDICT_OUT4_W, // [2,C/4], then the mean over each window
    SL_PREDICT_OUT4_B,
    SL_PREDICT_WEIGHTS,
} sl_predict_weight;

// Order of the weights of SL_OP_SOFT_ATTENTION, for heads of d = C / heads channels.
typedef enum sl_soft_weight {
    SL_SOFT_LANDMARK_W, // [d,d,r,r], stride r, no pad, no bias, the same for all heads
    SL_SOFT_NORM_W,     // [d]; GELU behind
    SL_SOFT_NORM_B,
    SL_SOFT_CONV_W, // [heads,1,k,k], k odd: of V, zeros around, the same for a head's channels
    SL_SOFT_WEIGHTS,
} sl_soft_weight;

// Columns of the rows of SL_OP_CANDIDATES. An anchor's centre is (column * stride, row * stride),
// its width and height are its row of the weight; channel a*K + k of cls is the logit of class k of
// anchor a, channel a*4 + j of reg its delta j (dx, dy, dw, dh; the last two are clamped to
// +-ln(1000/16)). Pairs of anchor and class whose sigmoid, rounded to f32, is strictly above the
// threshold are kept, at most `limit`: best first, equal scores in the order of (row, column, a,
// k); zeros behind them. counts: {kept, how many numbers were not finite, 0, 0}, where all of cls
// is looked at, and reg of what is kept. NaN is never kept; the box of deltas that are not finite
// says nothing.
typedef enum sl_candidate_column {
    SL_CANDIDATE_X1, // corners in pixels, clipped to 0..W and 0..H
    SL_CANDIDATE_Y1,
    SL_CANDIDATE_X2,
    SL_CANDIDATE_Y2,
    SL_CANDIDATE_SCORE,
    SL_CANDIDATE_CLASS,
    SL_CANDIDATE_COLUMNS,
} sl_candidate_column;
#define SL_CANDIDATE_LONGEST 4.135166556742356f // ln(1000/16), of dw and dh
#define SL_MAX_CANDIDATES 4096u

// How SL_OP_SOFT_ATTENTION inverts the kernel matrix of the landmarks, by a fixed number of Newton
// iterations: SOFT adds a ridge and starts each head by itself, SOFT-Norm starts all heads of a
// picture alike and scales the result by the square roots of the row sums.
typedef enum sl_inverse { SL_INVERSE_SOFT, SL_INVERSE_NORM } sl_inverse;
// With two, as with one, all row sums of the kernel matrix are equal: the start of SOFT-Norm then
// lies on the edge of convergence, and rounding decides what comes out.
#define SL_NORM_LEAST_LANDMARKS 3

// Attributes of every op in one plain struct; an op reads its own.
typedef struct sl_attr {
    uint32_t stride, pad;   // CONV2D; CANDIDATES: stride, pixels between anchors
    uint32_t factor;        // PIXEL_UNSHUFFLE, GATE: f; SOFT_ATTENTION: r
    uint32_t window, shift; // window ops: w, and 0 or w/2
    uint32_t heads;
    uint32_t rows, columns; // WINDOW_ATTENTION: the grid of windows; ROWS: the map taken out
    uint32_t first;         // ROWS
    uint32_t landmarks;     // SOFT_ATTENTION: a square number, or 0: as the factor gives, "ratio"
    uint32_t iterations;    // SOFT_ATTENTION
    uint32_t limit;         // CANDIDATES: rows, up to SL_MAX_CANDIDATES
    sl_inverse inverse;     // SOFT_ATTENTION
    sl_act act;
    float slope;     // LEAKY_RELU
    float eps;       // LAYER_NORM, WINDOW_BLOCK, PREDICT, SOFT_ATTENTION
    float fade[2];   // GATE: no change where `sure` is at most the first, all from the second on
    float threshold; // SELECT: keep where softmax(z0,z1)[0] > threshold; CANDIDATES: [0,1)
} sl_attr;

typedef uint32_t sl_value; // index of a value in its graph, from 1
#define SL_NO_VALUE 0u
#define SL_MAX_INPUTS 3
#define SL_MAX_OUTPUTS 2
#define SL_MAX_WEIGHTS 18

typedef struct sl_node {
    sl_op op;
    sl_attr attr;
    sl_value in[SL_MAX_INPUTS]; // SL_NO_VALUE where an optional input is missing
    sl_value out[SL_MAX_OUTPUTS];
    const sl_tensor *weight[SL_MAX_WEIGHTS]; // owned by the model; NULL where missing
    const char *label;                       // "encoderlayer_0.1", for profiles and dumps
} sl_node;

typedef struct sl_value_info {
    sl_dtype dtype;
    sl_shape shape;
    size_t bytes;
    uint32_t producer;  // node index
    const char *output; // the name under which a caller reads it, or NULL
} sl_value_info;

typedef struct sl_graph {
    sl_ctx *ctx;
    sl_status status; // first failure of the builder; later calls do nothing
    sl_node *nodes;
    size_t node_count, node_capacity;
    sl_value_info *values; // [0] is SL_NO_VALUE
    size_t value_count, value_capacity;
    sl_arena arena;
} sl_graph;

// ---- builder (graph.c). Failures stick in g->status; a builder may ignore what the calls return.

sl_status sl_graph_new(sl_ctx *ctx, sl_graph **out);
void sl_graph_free(sl_graph *g);
sl_value sl_graph_input(sl_graph *g, const char *name, const sl_shape *shape); // f32
sl_value sl_graph_input_typed(sl_graph *g, const char *name, sl_dtype dtype, const sl_shape *shape);
// Appends a node; the op's shape rule checks inputs and weights. inputs: SL_MAX_INPUTS entries;
// weights: `weight_count` entries, the rest missing. Returns the first output.
sl_value sl_graph_add(sl_graph *g, sl_op op, const char *label, const sl_attr *attr,
                      const sl_value inputs[SL_MAX_INPUTS], const sl_tensor *const *weights,
                      size_t weight_count);
sl_value sl_graph_second_output(const sl_graph *g, sl_value first); // SELECT's keep map
void sl_graph_output(sl_graph *g, sl_value value, const char *name);
sl_value sl_graph_find_output(const sl_graph *g,
                              const char *name); // also inputs; SL_NO_VALUE: none
// One line a node: index, op, label, shapes. malloc'ed.
char *sl_graph_dump(sl_ctx *ctx, const sl_graph *g);

// ---- op table (ops.c)

typedef struct sl_op_info {
    const char *name;   // "window_block"
    const char *family; // group in profiles: "block", "predict", "conv", ...
    uint8_t inputs_min, inputs_max, outputs;
    uint8_t weights_min, weights_max;
    bool in_place;   // output 0 takes the memory of input 0
    bool takes_list; // its last input slot (inputs_max - 1) is a window list
    sl_status (*shape)(sl_graph *g, sl_node *node, sl_shape out[SL_MAX_OUTPUTS],
                       sl_dtype dtype[SL_MAX_OUTPUTS]);
    double (*macs)(const sl_graph *g, const sl_node *node); // multiply-accumulates, all windows
} sl_op_info;

const sl_op_info *sl_op_get(sl_op op);
double sl_node_macs(const sl_graph *g, const sl_node *node);
double sl_node_inverse_macs(const sl_graph *g,
                            const sl_node *node); // of these, Newton's iterations

// ops_soft.c: rows and columns of the landmarks of a map of height x width. A fixed number pools
// the map to rows * r x columns * r first, as adaptive average pooling does: cell i of n covers
// rows floor(i * height / n) to ceil((i + 1) * height / n) - 1.
void sl_landmark_grid(const sl_attr *attr, uint64_t height, uint64_t width, uint64_t grid[2]);
// The side g of the square grid in a position embedding [1,P,C]; 0: it holds none. P is g*g, or
// g*g + 1 with a row for the class token in front. Resized to h rows, row i lies at
// max((i + 0.5) * g / h - 0.5, 0) between the grid's rows, of which the last goes on for ever.
uint64_t sl_position_grid(const sl_tensor *embedding, bool *has_class_row);
uint64_t sl_square_root(uint64_t n); // of a square number, up to 2^32; else 0

// ---- memory planner (memory_plan.c): every value's place in one arena

typedef struct sl_memory_plan {
    size_t *value_offset;   // by value
    size_t *scratch_offset; // by node: the room that the backend asked for
    size_t total;           // bytes
} sl_memory_plan;

// bytes: of every value, where a backend keeps them in another precision (NULL: as the graph has
// them). scratch: bytes per node that live during that node only. Lives: from the producing node to
// the last reader; outputs of the graph and its inputs to the end. In-place ops share their input's
// place; a value that is overwritten in place must have no later reader (SL_ERR_ARGUMENT).
sl_status sl_memory_plan_new(sl_ctx *ctx, const sl_graph *g, const size_t *bytes,
                             const size_t *scratch, sl_memory_plan *out);
void sl_memory_plan_free(sl_memory_plan *plan);

// ---- plans (plan.c): what a backend compiles a graph into, run on image after image

typedef struct sl_profile_entry {
    double seconds; // summed over the runs since profiling was switched on
    double macs;    // done in those runs, pruned windows not counted
    double bytes;   // moved at least (inputs read, outputs written, weights)
} sl_profile_entry;

// What a node moves at least when it computes `share` of its windows: that share of its inputs and
// outputs, and its weights. bytes: of every value, as of sl_memory_plan_new.
double sl_node_bytes(const sl_graph *g, const sl_node *node, const size_t *bytes, double share);

typedef struct sl_plan sl_plan;

typedef struct sl_plan_ops {
    void (*free)(sl_plan *plan);
    sl_status (*write)(sl_plan *plan, sl_value value,
                       const void *data); // whole value, host -> plan
    sl_status (*run)(sl_plan *plan);
    sl_status (*read)(sl_plan *plan, sl_value value, void *data); // whole value, plan -> host
    void (*profile)(sl_plan *plan, bool on);                      // zeroes the entries
    // Two runs under way, see sl_plan_overlap; NULL where runs come one by one.
    sl_status (*overlap)(sl_plan *plan);
    sl_status (*submit)(sl_plan *plan);
    sl_status (*wait)(sl_plan *plan);
} sl_plan_ops;

struct sl_plan { // a backend's plan begins with this
    const sl_plan_ops *ops;
    sl_ctx *ctx;
    const sl_graph *graph; // outlives the plan
    char device[64];
    const char *clock;         // how the times of ops come onto the host's; a word for traces
    unsigned track;            // of those ops, in a trace
    bool is_overlapped;        // by sl_plan_overlap
    bool is_traced;            // profiling was switched on for a trace
    size_t memory_bytes;       // activations and scratch
    size_t weight_bytes;       // packed weights
    sl_profile_entry *profile; // per node, or NULL when off
};

void sl_plan_free(sl_plan *plan);
// A window list is checked: the ops behind it believe it.
sl_status sl_plan_write(sl_plan *plan, sl_value value, const void *data);
sl_status sl_plan_run(sl_plan *plan);
sl_status sl_plan_read(sl_plan *plan, sl_value value, void *data);
// Runs in two halves, so that one may be prepared while another computes: sl_plan_overlap tells how
// many may be under way, 2, or 1 where that is not to be had. With 2, the inputs of the next run
// may be written and submitted before the wait for the one before; those not written are what they
// were. What is read is of the run that was waited for last. One by one, submit is run and wait
// nothing.
unsigned sl_plan_overlap(sl_plan *plan);
sl_status sl_plan_submit(sl_plan *plan);
sl_status sl_plan_wait(sl_plan *plan); // for the oldest; at once when none is under way
void sl_plan_profile(sl_plan *plan, bool on);
// For backends, in a profiled run: a node took `seconds` from `start` on. Nothing without a trace.
void sl_plan_trace(const sl_plan *plan, const sl_node *node, double start, double seconds,
                   double macs);

#endif
