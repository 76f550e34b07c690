// SPDX-License-Identifier: MIT
// tests/pipeline/model.c: an LMD-ViT of random weights whose channel 0 is the picture's brightness.
//
// The convolutions hand channel 0 through all levels and no block adds to it, so that predictors
// can be made which keep the bright windows, whatever the other weights are.
#include "model.h"

#include "maker.h"

#define EMBED 8

typedef struct maker {
    test_maker base;
    sl_lmd_config config;
} maker;

// As test_add, under PREFIX.KEY.
static float *add(maker *m, const char *prefix, const char *key, const uint64_t dim[5],
                  float centre, float spread)
{
    char name[128];
    snprintf(name, sizeof(name), "%s.%s", prefix, key);
    return test_add(&m->base, name, dim, centre, spread);
}

// A weight [n,k] and its bias [n] under PREFIX.KEY.
static float *add_linear(maker *m, const char *prefix, const char *key, uint64_t n, uint64_t k)
{
    char name[96];
    snprintf(name, sizeof(name), "%s.%s", prefix, key);
    add(m, name, "bias", DIM(n), 0.0f, 0.1f);
    return add(m, name, "weight", DIM(n, k), 0.0f, 1.2f / (float)(k < 16 ? 4 : 8));
}

static void zero_first_row(maker *m, float *weight, uint64_t k)
{
    memset(weight, 0, k * sizeof(float));
    ((float *)(uintptr_t)m->base.tensors[m->base.count - 2].data)[0] =
        0.0f; // its bias came before it
}

static void fill(float *data, size_t count, float value)
{
    for (size_t i = 0; i < count; i++)
        data[i] = value;
}

static float *last_bias(maker *m)
{
    return (float *)(uintptr_t)m->base.tensors[m->base.count - 2].data;
}

// Bright tokens drive the first half of the channels up, dark ones the second; the rest hands the
// sign on as a pair of opposites.
static void add_predictor(maker *m, const char *block, uint64_t c, test_keeps keeps)
{
    char p[96];
    snprintf(p, sizeof(p), "%s.score_predictor", block);
    bool bright = keeps == TEST_KEEPS_BRIGHT;
    float *in0 = add_linear(m, p, "in_conv.0", c, c), *in0_bias = last_bias(m);
    for (uint64_t i = 0; bright && i < c; i++) {
        float sign = i < c / 2 ? 1.0f : -1.0f;
        fill(in0 + i * c, c, 0.0f);
        in0[i * c] = 20.0f * sign;
        in0_bias[i] = -10.0f * sign;
    }
    add(m, p, "in_conv.2.weight", DIM(c), 1.0f, bright ? 0.0f : 0.2f);
    add(m, p, "in_conv.2.bias", DIM(c), 0.0f, bright ? 0.0f : 0.2f);
    float *in3 = add_linear(m, p, "in_conv.3", c, c);
    float *out0 = add_linear(m, p, "out_conv.0", c / 2, c);
    float *out2 = add_linear(m, p, "out_conv.2", c / 4, c / 2);
    float *out4 = add_linear(m, p, "out_conv.4", 2, c / 4);
    if (!bright)
        return;
    fill(in3, c * c, 0.0f);
    in3[0] = 1.0f;
    fill(out0, c / 2 * c, 0.0f);
    out0[0] = 4.0f;
    out0[c] = -4.0f;
    fill(out2, c / 4 * (c / 2), 0.0f);
    out2[0] = 1.0f;
    out2[c / 2 + 1] = 1.0f;
    fill(out4, 2 * (c / 4), 0.0f);
    out4[0] = 1.0f;
    out4[c / 4 + 1] = 1.0f;
}

static void add_block(maker *m, uint32_t layer, uint32_t block, test_keeps keeps)
{
    const sl_lmd_config *config = &m->config;
    uint64_t c = sl_lmd_layer_dim(config, layer), tokens = config->window * config->window;
    uint64_t span = 2 * config->window - 1, hidden = config->mlp_ratio * c;
    char name[32], p[64];
    sl_lmd_layer_name(config, layer, name, sizeof(name));
    snprintf(p, sizeof(p), "%s.blocks.%u", name, block);
    if (layer > config->scales)
        add(m, p, "modulator.weight", DIM(tokens, c), 0.0f, 0.5f);
    add(m, p, "norm1.weight", DIM(c), 1.0f, 0.3f);
    add(m, p, "norm1.bias", DIM(c), 0.0f, 0.3f);
    add(m, p, "norm2.weight", DIM(c), 1.0f, 0.3f);
    add(m, p, "norm2.bias", DIM(c), 0.0f, 0.3f);
    add(m, p, "attn.relative_position_bias_table", DIM(span * span, config->heads[layer]), 0.0f,
        1.0f);
    add_linear(m, p, "attn.qkv.to_q", c, c);
    add_linear(m, p, "attn.qkv.to_kv", 2 * c, c);
    zero_first_row(m, add_linear(m, p, "attn.proj", c, c), c);
    add_linear(m, p, "mlp.linear1.0", hidden, c);
    add(m, p, "mlp.dwconv.0.weight", DIM(hidden, 1, 3, 3), 0.0f, 0.5f);
    add(m, p, "mlp.dwconv.0.bias", DIM(hidden), 0.0f, 0.2f);
    zero_first_row(m, add_linear(m, p, "mlp.linear2.0", c, hidden), hidden);
    if (block < 2)
        add_predictor(m, p, c, keeps);
}

// Weights [cout,cin,k,k]; output channel 0 is made of input channels below `from`, taps
// first..last.
static void add_conv(maker *m, const char *p, uint64_t cout, uint64_t cin, uint64_t k,
                     uint64_t from, uint64_t first, uint64_t last)
{
    add(m, p, "bias", DIM(cout), 0.0f, 0.1f);
    float *w = add(m, p, "weight", DIM(cout, cin, k, k), 0.0f, 1.0f / (float)(k * k));
    uint64_t taps = last - first + 1;
    zero_first_row(m, w, cin * k * k);
    for (uint64_t c = 0; c < from; c++)
        for (uint64_t y = first; y <= last; y++)
            for (uint64_t x = first; x <= last; x++)
                w[(c * k + y) * k + x] = 1.0f / (float)(from * taps * taps);
}

static void add_upconv(maker *m, uint32_t k)
{
    char p[64];
    uint32_t s = m->config.scales;
    uint64_t cin = (uint64_t)EMBED << (k ? s - k + 1 : s), cout = (uint64_t)EMBED << (s - 1 - k);
    snprintf(p, sizeof(p), "upsample_%u.deconv.0", k);
    add(m, p, "bias", DIM(cout), 0.0f, 0.1f);
    float *w = add(m, p, "weight", DIM(cin, cout, 2, 2), 0.0f, 0.3f);
    last_bias(m)[0] = 0.0f;
    for (uint64_t i = 0; i < cin; i++)
        fill(w + i * cout * 4, 4, i == 0 ? 1.0f : 0.0f);
}

static void add_all(maker *m, test_keeps keeps)
{
    const sl_lmd_config *config = &m->config;
    uint64_t pixels = config->unshuffle * config->unshuffle;
    char p[64];
    add_conv(m, "input_proj.proj.0", EMBED, 3 * pixels, 3, 3 * pixels, 1, 1);
    for (uint32_t k = 0; k < config->scales; k++) {
        uint64_t c = (uint64_t)EMBED << k;
        snprintf(p, sizeof(p), "dowsample_%u.conv.0", k);
        add_conv(m, p, 2 * c, c, 4, 1, 1, 2);
        add_upconv(m, k);
    }
    for (uint32_t layer = 0; layer < config->layers; layer++)
        for (uint32_t block = 0; block < config->depths[layer]; block++)
            add_block(m, layer, block, keeps);
    // Random throughout: every channel of the result depends on all features.
    add(m, "output_proj.proj.0", "bias", DIM(4 * pixels), 0.0f, 0.3f);
    add(m, "output_proj.proj.0", "weight", DIM(4 * pixels, 2 * EMBED, 3, 3), 0.0f, 0.05f);
}

sl_status test_model_open(sl_ctx *ctx, const char *path, const test_model *spec, sl_model **out)
{
    *out = NULL;
    maker *m = sl_alloc(ctx, 1, sizeof(*m));
    if (!m)
        return SL_ERR_NOMEM;
    m->base.ctx = ctx;
    m->base.state = spec->seed * 2654435761u + 1;
    m->config = (sl_lmd_config) { .embed_dim = EMBED,
                                  .layers = 2 * spec->scales + 1,
                                  .scales = spec->scales,
                                  .window = 8,
                                  .mlp_ratio = 4,
                                  .img_size = 512,
                                  .unshuffle = spec->unshuffle,
                                  .threshold = 0.5f };
    for (uint32_t i = 0; i < m->config.layers; i++) {
        m->config.depths[i] = spec->depth;
        m->config.heads[i] = sl_lmd_layer_dim(&m->config, i) / 8;
    }
    add_all(m, spec->keeps);
    char *config = sl_lmd_config_json(ctx, &m->config);
    sl_meta meta[] = { { "architecture", "lmd-vit" }, { "config", config } };
    sl_status st = SL_ERR_NOMEM;
    if (config)
        st = sl_safetensors_write(ctx, path, true, m->base.tensors, m->base.count, meta, 2);
    if (st == SL_OK)
        st = sl_model_open(ctx, path, out);
    free(config);
    sl_arena_free(&m->base.arena);
    free(m);
    return st;
}
