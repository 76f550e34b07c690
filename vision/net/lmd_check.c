// SPDX-License-Identifier: MIT
// net/lmd_check.c: every tensor that an LMD-ViT of a configuration must have, and no other.
#include "net/parts.h"

static sl_status check_block(sl_checker *k, const sl_lmd_config *config, uint32_t layer,
                             uint32_t block)
{
    char layer_name[64], prefix[128], name[192];
    uint64_t c = sl_lmd_layer_dim(config, layer), m = c * config->mlp_ratio;
    uint64_t w = config->window, h = config->heads[layer];
    sl_lmd_layer_name(config, layer, layer_name, sizeof layer_name);
    snprintf(prefix, sizeof prefix, "%s.blocks.%u", layer_name, block);
    const sl_pair pairs[] = {
        { "norm1", vector(c), c },
        { "attn.qkv.to_q", matrix(c, c), c },
        { "attn.qkv.to_kv", matrix(2 * c, c), 2 * c },
        { "attn.proj", matrix(c, c), c },
        { "norm2", vector(c), c },
        { "mlp.linear1.0", matrix(m, c), m },
        { "mlp.dwconv.0", kernel(m, 1, 3), m },
        { "mlp.linear2.0", matrix(c, m), c },
    };
    const sl_pair predictor[] = {
        { "score_predictor.in_conv.0", matrix(c, c), c },
        { "score_predictor.in_conv.2", vector(c), c },
        { "score_predictor.in_conv.3", matrix(c, c), c },
        { "score_predictor.out_conv.0", matrix(c / 2, c), c / 2 },
        { "score_predictor.out_conv.2", matrix(c / 4, c / 2), c / 4 },
        { "score_predictor.out_conv.4", matrix(2, c / 4), 2 },
    };
    sl_status st = sl_expect_pairs(k, prefix, pairs, SL_ARRAY_LEN(pairs));
    if (st == SL_OK && block < 2)
        st = sl_expect_pairs(k, prefix, predictor, SL_ARRAY_LEN(predictor));
    bool in_decoder = layer > config->scales;
    if (st == SL_OK && (config->modulator == SL_MODULATOR_ALL ||
                        (config->modulator == SL_MODULATOR_DECODER && in_decoder))) {
        const sl_pair modulator = { "modulator", matrix(w * w, c), 0 };
        st = sl_expect_pairs(k, prefix, &modulator, 1);
    }
    if (st != SL_OK)
        return st;
    snprintf(name, sizeof name, "%s.attn.relative_position_bias_table", prefix);
    return sl_expect(k, name, matrix((2 * w - 1) * (2 * w - 1), h));
}

static sl_status check_ends(sl_checker *k, const sl_lmd_config *config)
{
    uint64_t e = config->embed_dim, f2 = (uint64_t)config->unshuffle * config->unshuffle;
    char name[128];
    sl_status st = sl_expect_pair(k, "input_proj.proj.0", kernel(e, 3 * f2, 3), e);
    if (st == SL_OK)
        st = sl_expect_pair(k, "output_proj.proj.0", kernel(4 * f2, 2 * e, 3), 4 * f2);
    for (uint32_t s = 0; st == SL_OK && s < config->scales; s++) {
        uint64_t c = e << s;
        snprintf(name, sizeof name, "dowsample_%u.conv.0", s);
        st = sl_expect_pair(k, name, kernel(2 * c, c, 4), 2 * c);
        if (st != SL_OK)
            break;
        uint64_t wide = e << (config->scales - s);
        snprintf(name, sizeof name, "upsample_%u.deconv.0", s);
        st = sl_expect_pair(k, name, kernel(s == 0 ? wide : 2 * wide, wide / 2, 2), wide / 2);
    }
    return st;
}

// The official files carry index buffers that follow from the window's side.
static bool is_derivable(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && strcmp(dot, ".relative_position_index") == 0;
}

// Called when more tensors are in the file than were asked for: names the first stranger.
static sl_status find_stranger(const sl_checker *k, const sl_lmd_config *config)
{
    for (size_t i = 0; i < sl_tensor_set_count(k->set); i++) {
        const char *name = sl_tensor_set_at(k->set, i)->name;
        bool known = is_derivable(name) || strncmp(name, "input_proj.proj.0.", 18) == 0 ||
                     strncmp(name, "output_proj.proj.0.", 19) == 0;
        for (uint32_t layer = 0; !known && layer < config->layers; layer++) {
            char prefix[64];
            sl_lmd_layer_name(config, layer, prefix, sizeof prefix);
            size_t length = strlen(prefix);
            known = strncmp(name, prefix, length) == 0 && name[length] == '.';
        }
        if (!known && strncmp(name, "dowsample_", 10) != 0 && strncmp(name, "upsample_", 9) != 0)
            return sl_fail(k->ctx, SL_ERR_FORMAT, "%s: tensor %s does not belong to an LMD-ViT",
                           sl_tensor_set_path(k->set), name);
    }
    return sl_fail(k->ctx, SL_ERR_FORMAT,
                   "%s: more tensors than its configuration has; the file is damaged or was edited",
                   sl_tensor_set_path(k->set));
}

sl_status sl_lmd_check(sl_ctx *ctx, const sl_tensor_set *set, const sl_lmd_config *config)
{
    sl_checker k = { .ctx = ctx, .set = set, .root = "" };
    sl_status st = check_ends(&k, config);
    for (uint32_t layer = 0; st == SL_OK && layer < config->layers; layer++)
        for (uint32_t block = 0; st == SL_OK && block < config->depths[layer]; block++)
            st = check_block(&k, config, layer, block);
    size_t derivable = 0;
    for (size_t i = 0; i < sl_tensor_set_count(set); i++)
        derivable += is_derivable(sl_tensor_set_at(set, i)->name);
    if (st == SL_OK && k.seen + derivable != sl_tensor_set_count(set))
        st = find_stranger(&k, config);
    return st;
}
