// SPDX-License-Identifier: MIT
// cpu/upconv.c: transposed convolution 2x2 with stride 2, and the skip connection behind its
// channels. Each of the four output pixels of an input pixel is a matrix product of its own, which
// writes straight to its place: the concatenation costs no pass over the map.
#include "cpu/op.h"

typedef struct upconv_state {
    sl_packed weight[4]; // [Cout, Cin] for output pixel (dy, dx) = (i / 2, i % 2)
    const float *bias;
} upconv_state;

static sl_status prepare(sl_ctx *ctx, sl_cpu_weights *weights, const sl_graph *g,
                         const sl_node *node, const sl_kernels *kernels, void **state)
{
    const sl_tensor *w = node->weight[0];
    size_t cin = w->shape.dim[0], cout = w->shape.dim[1];
    (void)g;
    upconv_state *s = sl_cpu_weights_alloc(ctx, weights, 1, sizeof *s);
    float *plain = sl_alloc(ctx, cin * cout * 4, sizeof *plain); // the tensor's size, which exists
    float *turned = sl_alloc(ctx, cin * cout, sizeof *turned);
    sl_status st = SL_ERR_NOMEM;
    if (!s || !plain || !turned)
        goto done;
    sl_tensor_to_f32(w, plain);
    s->bias = sl_cpu_weights_f32(ctx, weights, node->weight[1]);
    st = s->bias ? SL_OK : SL_ERR_NOMEM;
    for (size_t tap = 0; st == SL_OK && tap < 4; tap++) {
        for (size_t o = 0; o < cout; o++)
            for (size_t c = 0; c < cin; c++)
                turned[o * cin + c] = plain[(c * cout + o) * 4 + tap];
        st = sl_cpu_weights_pack(ctx, weights, kernels, turned, cout, cin, &s->weight[tap]);
    }
    *state = s;
done:
    free(plain);
    free(turned);
    return st;
}

static void copy_skip(float *to, const float *skip, size_t pixels, size_t channels, size_t stride)
{
    for (size_t i = 0; i < pixels; i++)
        memcpy(to + i * stride, skip + i * channels, channels * sizeof *to);
}

// One row of the input, two of the output.
static void task(void *arg, size_t y, unsigned worker)
{
    const sl_cpu_call *call = arg;
    const upconv_state *s = call->state;
    const uint64_t *in = call->graph->values[call->node->in[0]].shape.dim;
    size_t width = in[1], cin = in[2], cout = s->weight[0].n;
    size_t skip_channels = call->graph->values[call->node->in[1]].shape.dim[2];
    size_t stride = cout + skip_channels; // floats between output pixels
    (void)worker;
    for (size_t dy = 0; dy < 2; dy++) {
        size_t row = 2 * y + dy;
        float *out = (float *)call->out[0] + row * 2 * width * stride;
        for (size_t dx = 0; dx < 2; dx++) {
            sl_gemm g = { .a = (const float *)call->in[0] + y * width * cin,
                          .lda = cin,
                          .rows = width,
                          .b = &s->weight[2 * dy + dx],
                          .bias = s->bias,
                          .act = call->node->attr.act,
                          .slope = call->node->attr.slope,
                          .c = out + dx * stride,
                          .ldc = 2 * stride };
            call->kernels->gemm(&g);
        }
        copy_skip(out + cout, (const float *)call->in[1] + row * 2 * width * skip_channels,
                  2 * width, skip_channels, stride);
    }
}

static void run(const sl_cpu_call *call)
{
    sl_cpu_call own = *call;
    sl_pool_run(call->pool, task, &own, call->graph->values[call->node->in[0]].shape.dim[0]);
}

const sl_cpu_op sl_cpu_upconv_concat = { .prepare = prepare, .run = run, .takes_bf16 = true };
