// SPDX-License-Identifier: MIT
// tests/pipeline/soft_model.c: see soft_model.h.
#include "soft_model.h"

#include "maker.h"

#include <math.h>

#define STEM 8
#define C TEST_SOFT_CHANNELS
#define KERNEL 3

typedef test_maker maker;

// As test_add, under PREFIX and KEY.
static float *add(maker *m, const char *prefix, const char *key, const uint64_t dim[5],
                  float centre, float spread)
{
    char name[128];
    snprintf(name, sizeof(name), "%s%s", prefix, key);
    return test_add(m, name, dim, centre, spread);
}

static void add_pair(maker *m, const char *prefix, const char *key, const uint64_t dim[5],
                     float spread)
{
    char name[128];
    snprintf(name, sizeof(name), "%s%s", prefix, key);
    add(m, name, ".weight", dim, 0.0f, spread);
    add(m, name, ".bias", DIM(dim[0]), 0.0f, 0.1f);
}

static void add_norm(maker *m, const char *prefix, const char *key, uint64_t channels)
{
    char name[128];
    snprintf(name, sizeof(name), "%s%s", prefix, key);
    add(m, name, ".weight", DIM(channels), 1.0f, 0.2f);
    add(m, name, ".bias", DIM(channels), 0.0f, 0.2f);
}

static void add_embed(maker *m, int stage, int layer, uint64_t out, uint64_t in)
{
    char conv[64], norm[64];
    snprintf(conv, sizeof(conv), "patch_embed%d.proj.%d", stage, layer);
    snprintf(norm, sizeof(norm), "patch_embed%d.proj.%d", stage, layer + 1);
    add_pair(m, conv, "", DIM(out, in, 3, 3), 1.0f / sqrtf((float)in));
    add_norm(m, norm, "", out);
    add(m, norm, ".running_mean", DIM(out), 0.0f, 0.2f);
    add(m, norm, ".running_var", DIM(out), 1.0f, 0.3f);
}

static void add_free_block(maker *m, int stage, uint64_t ratio)
{
    char p[64];
    snprintf(p, sizeof(p), "block%d.0.att.", stage);
    add_pair(m, p, "mha.W_q", DIM(C, C), 0.4f);
    add_pair(m, p, "mha.W_v", DIM(C, C), 0.3f);
    add_pair(m, p, "mha.ff", DIM(C, C), 0.3f);
    add(m, p, "mha.attn.Qlandmark_op.weight", DIM(32, 32, ratio, ratio), 0.0f, 0.4f / (float)ratio);
    add_norm(m, p, "mha.attn.Qnorm_act.0", 32);
    add(m, p, "mha.attn.conv.weight", DIM(C / 32, 1, KERNEL, KERNEL), 0.0f, 0.3f);
    add_norm(m, p, "norm1", C);
    add_pair(m, p, "ff1", DIM(4 * C, C), 0.3f);
    add_pair(m, p, "ff2", DIM(C, 4 * C), 0.15f);
    add_norm(m, p, "norm2", C);
}

static void add_backbone(maker *m, const sl_soft_config *config)
{
    static const uint64_t sides[] = { 16, 8, 4, 2 };
    add_embed(m, 1, 0, STEM, 3);
    add_embed(m, 1, 3, STEM, STEM);
    add_embed(m, 1, 6, C, STEM);
    for (int stage = 1; stage <= SL_SOFT_STAGES; stage++) {
        char name[32];
        uint64_t side = sides[stage - 1], rows = side * side + (stage == SL_SOFT_STAGES);
        snprintf(name, sizeof(name), "pos_embed%d", stage);
        add(m, name, "", DIM(1, rows, C), 0.0f, 0.3f);
        if (stage > 1)
            add_embed(m, stage, 0, C, C);
        if (stage < SL_SOFT_STAGES)
            add_free_block(m, stage, config->ratios[stage - 1]);
    }
    add(m, "cls_token", "", DIM(1, 1, C), 0.0f, 0.5f);
    add_norm(m, "block4.0.", "norm1", C);
    add_pair(m, "block4.0.", "attn.q", DIM(C, C), 0.3f);
    add_pair(m, "block4.0.", "attn.kv", DIM(2 * C, C), 0.3f);
    add_pair(m, "block4.0.", "attn.proj", DIM(C, C), 0.3f);
    add_norm(m, "block4.0.", "norm2", C);
    add_pair(m, "block4.0.", "mlp.fc1", DIM(4 * C, C), 0.3f);
    add_pair(m, "block4.0.", "mlp.fc2", DIM(C, 4 * C), 0.15f);
    add_norm(m, "", "norm", C);
}

static void add_head(maker *m, const sl_soft_config *config)
{
    const uint64_t d = TEST_SOFT_EMBEDDING;
    if (config->head == SL_SOFT_HEAD_LINEAR)
        add_pair(m, "", "head", DIM(config->classes, C), 0.3f);
    if (config->head <= SL_SOFT_HEAD_LINEAR)
        return;
    add(m, "", "head.weight", DIM(d, C), 0.0f, 0.3f);
    float *directions = add(m, "", "directions", DIM(config->classes, d), 0.0f, 1.0f);
    for (uint64_t k = 0; k < config->classes; k++) {
        float sum = 0;
        for (uint64_t i = 0; i < d; i++)
            sum += directions[k * d + i] * directions[k * d + i];
        for (uint64_t i = 0; i < d; i++)
            directions[k * d + i] /= sqrtf(sum);
    }
}

// Covariances of one; the quantiles alone decide.
static void add_reject(maker *m, const test_soft *spec)
{
    for (int layer = 3; layer <= 4; layer++) {
        char name[32];
        snprintf(name, sizeof(name), "reject.pool%d", layer);
        add(m, name, ".means", DIM(spec->classes, C), 0.0f, 0.5f);
        float *covariance = add(m, name, ".covariance", DIM(C, C), 0.0f, 0.0f);
        for (size_t i = 0; i < C; i++)
            covariance[i * C + i] = 1.0f;
    }
    float *quantiles = add(m, "reject.quantiles", "", DIM(1001), 0.0f, 0.0f);
    for (int i = 0; i < 1001; i++)
        quantiles[i] = (spec->all_unknown ? 1e6f : -1e6f) + (float)i;
}

static sl_soft_config config_of(const test_soft *spec)
{
    sl_soft_config config = { .ratios = { 4, 2, 1 },
                              .stem = STEM,
                              .iterations = 20,
                              .has_inverse = true,
                              .inverse = spec->is_soft ? SL_INVERSE_SOFT : SL_INVERSE_NORM,
                              .class_token = true,
                              .mirror = spec->mirror,
                              .classes = spec->head == SL_SOFT_HEAD_NONE ? 0 : spec->classes,
                              .head = spec->head,
                              .temperature = 1,
                              .image = TEST_SOFT_CROP,
                              .resize = TEST_SOFT_RESIZE,
                              .mean = { 0.5f, 0.4f, 0.3f },
                              .std = { 0.2f, 0.25f, 0.3f } };
    for (int i = 0; i < SL_SOFT_STAGES; i++) {
        config.dims[i] = C;
        config.heads[i] = config.depths[i] = 1;
    }
    for (int i = 0; i < SL_SOFT_FREE_STAGES; i++)
        config.kernels[i] = KERNEL;
    if (spec->head > SL_SOFT_HEAD_LINEAR) {
        config.embedding = TEST_SOFT_EMBEDDING;
        config.scale = 12;
    }
    return config;
}

sl_status test_soft_open(sl_ctx *ctx, const char *path, const test_soft *spec, sl_model **out)
{
    *out = NULL;
    maker *m = sl_alloc(ctx, 1, sizeof(*m));
    if (!m)
        return SL_ERR_NOMEM;
    m->ctx = ctx;
    m->state = spec->seed * 2654435761u + 1;
    sl_soft_config config = config_of(spec);
    add_backbone(m, &config);
    add_head(m, &config);
    if (spec->has_reject)
        add_reject(m, spec);
    char labels[1024] = "[\"thing 0\"", *text = sl_soft_config_json(ctx, &config);
    for (uint32_t k = 1; k < spec->classes; k++)
        snprintf(labels + strlen(labels), sizeof(labels) - strlen(labels), ",\"thing %u\"", k);
    strcat(labels, "]");
    sl_meta meta[] = {
        { "architecture", "soft" },
        { "config", text },
        { "labels", labels },
        { "reject", "{\"layers\":[\"pool3\",\"pool4\"],\"shrinkage\":[0.1,0.1],"
                    "\"weights\":[1,1],\"bias\":0,\"count\":1000,\"score\":\"mahalanobis\"}" },
    };
    size_t metas = spec->head == SL_SOFT_HEAD_NONE ? 2 : spec->has_reject ? 4 : 3;
    sl_status st = SL_ERR_NOMEM;
    if (text)
        st = sl_safetensors_write(ctx, path, true, m->tensors, m->count, meta, metas);
    if (st == SL_OK)
        st = sl_model_open(ctx, path, out);
    free(text);
    sl_arena_free(&m->arena);
    free(m);
    return st;
}
