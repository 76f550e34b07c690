// SPDX-License-Identifier: MIT
// net/lmd_check.c: every tensor that an LMD-ViT of a configuration must have, and no other.
#include "net/net.h"

typedef struct checker {
    sl_ctx *ctx;
    const sl_tensor_set *set;
    size_t seen;
    float *buffer; // a tensor as f32, to look for values that are not finite
    size_t capacity;
} checker;

static sl_status check_finite(checker *k, const sl_tensor *t)
{
    size_t count;
    if (!sl_shape_elements(&t->shape, &count))
        return sl_fail(k->ctx, SL_ERR_LIMIT, "tensor %s is too large", t->name);
    if (count > k->capacity) {
        free(k->buffer);
        k->buffer = sl_alloc(k->ctx, count, sizeof *k->buffer);
        k->capacity = k->buffer ? count : 0;
        if (!k->buffer)
            return SL_ERR_NOMEM;
    }
    sl_tensor_to_f32(t, k->buffer);
    // x - x is 0 for a finite x and NaN for any other: the sum tells without a branch a value.
    float sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += k->buffer[i] - k->buffer[i];
    if (sum == 0)
        return SL_OK;
    return sl_fail(k->ctx, SL_ERR_FORMAT,
                   "%s: tensor %s holds NaN or infinity; the file is damaged or the training "
                   "diverged",
                   sl_tensor_set_path(k->set), t->name);
}

static sl_status expect(checker *k, const char *name, sl_shape want)
{
    const char *path = sl_tensor_set_path(k->set);
    const sl_tensor *t = sl_tensor_set_find(k->set, name);
    if (!t)
        return sl_fail(k->ctx, SL_ERR_FORMAT, "%s: tensor %s is missing", path, name);
    if (!sl_shape_equal(&t->shape, &want)) {
        char is[128], should[128];
        sl_shape_text(&t->shape, is, sizeof is);
        sl_shape_text(&want, should, sizeof should);
        return sl_fail(k->ctx, SL_ERR_FORMAT, "%s: tensor %s has shape %s where %s is expected",
                       path, name, is, should);
    }
    if (t->dtype != SL_F32 && t->dtype != SL_F16 && t->dtype != SL_BF16 && t->dtype != SL_F64)
        return sl_fail(k->ctx, SL_ERR_FORMAT, "%s: tensor %s is of type %s, not floating point",
                       path, name, sl_dtype_name(t->dtype));
    k->seen++;
    return check_finite(k, t);
}

static sl_shape vector(uint64_t n)
{
    return (sl_shape) { .rank = 1, .dim = { n } };
}

static sl_shape matrix(uint64_t rows, uint64_t columns)
{
    return (sl_shape) { .rank = 2, .dim = { rows, columns } };
}

static sl_shape kernel(uint64_t a, uint64_t b, uint64_t side)
{
    return (sl_shape) { .rank = 4, .dim = { a, b, side, side } };
}

// PREFIX.weight of `shape`, and PREFIX.bias [biases] unless that is 0.
static sl_status expect_pair(checker *k, const char *prefix, sl_shape shape, uint64_t biases)
{
    char name[256];
    snprintf(name, sizeof name, "%s.weight", prefix);
    sl_status st = expect(k, name, shape);
    if (st != SL_OK || biases == 0)
        return st;
    snprintf(name, sizeof name, "%s.bias", prefix);
    return expect(k, name, vector(biases));
}

typedef struct pair {
    const char *key;
    sl_shape shape;
    uint64_t biases;
} pair;

static sl_status expect_pairs(checker *k, const char *prefix, const pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[192];
        snprintf(name, sizeof name, "%s.%s", prefix, pairs[i].key);
        sl_status st = expect_pair(k, name, pairs[i].shape, pairs[i].biases);
        if (st != SL_OK)
            return st;
    }
    return SL_OK;
}

static sl_status check_block(checker *k, const sl_lmd_config *config, uint32_t layer,
                             uint32_t block)
{
    char layer_name[64], prefix[128], name[192];
    uint64_t c = sl_lmd_layer_dim(config, layer), m = c * config->mlp_ratio;
    uint64_t w = config->window, h = config->heads[layer];
    sl_lmd_layer_name(config, layer, layer_name, sizeof layer_name);
    snprintf(prefix, sizeof prefix, "%s.blocks.%u", layer_name, block);
    const pair pairs[] = {
        { "norm1", vector(c), c },
        { "attn.qkv.to_q", matrix(c, c), c },
        { "attn.qkv.to_kv", matrix(2 * c, c), 2 * c },
        { "attn.proj", matrix(c, c), c },
        { "norm2", vector(c), c },
        { "mlp.linear1.0", matrix(m, c), m },
        { "mlp.dwconv.0", kernel(m, 1, 3), m },
        { "mlp.linear2.0", matrix(c, m), c },
    };
    const pair predictor[] = {
        { "score_predictor.in_conv.0", matrix(c, c), c },
        { "score_predictor.in_conv.2", vector(c), c },
        { "score_predictor.in_conv.3", matrix(c, c), c },
        { "score_predictor.out_conv.0", matrix(c / 2, c), c / 2 },
        { "score_predictor.out_conv.2", matrix(c / 4, c / 2), c / 4 },
        { "score_predictor.out_conv.4", matrix(2, c / 4), 2 },
    };
    sl_status st = expect_pairs(k, prefix, pairs, SL_ARRAY_LEN(pairs));
    if (st == SL_OK && block < 2)
        st = expect_pairs(k, prefix, predictor, SL_ARRAY_LEN(predictor));
    bool in_decoder = layer > config->scales;
    if (st == SL_OK && (config->modulator == SL_MODULATOR_ALL ||
                        (config->modulator == SL_MODULATOR_DECODER && in_decoder))) {
        const pair modulator = { "modulator", matrix(w * w, c), 0 };
        st = expect_pairs(k, prefix, &modulator, 1);
    }
    if (st != SL_OK)
        return st;
    snprintf(name, sizeof name, "%s.attn.relative_position_bias_table", prefix);
    return expect(k, name, matrix((2 * w - 1) * (2 * w - 1), h));
}

static sl_status check_ends(checker *k, const sl_lmd_config *config)
{
    uint64_t e = config->embed_dim, f2 = (uint64_t)config->unshuffle * config->unshuffle;
    char name[128];
    sl_status st = expect_pair(k, "input_proj.proj.0", kernel(e, 3 * f2, 3), e);
    if (st == SL_OK)
        st = expect_pair(k, "output_proj.proj.0", kernel(4 * f2, 2 * e, 3), 4 * f2);
    for (uint32_t s = 0; st == SL_OK && s < config->scales; s++) {
        uint64_t c = e << s;
        snprintf(name, sizeof name, "dowsample_%u.conv.0", s);
        st = expect_pair(k, name, kernel(2 * c, c, 4), 2 * c);
        if (st != SL_OK)
            break;
        uint64_t wide = e << (config->scales - s);
        snprintf(name, sizeof name, "upsample_%u.deconv.0", s);
        st = expect_pair(k, name, kernel(s == 0 ? wide : 2 * wide, wide / 2, 2), wide / 2);
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
static sl_status find_stranger(const checker *k, const sl_lmd_config *config)
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
    checker k = { .ctx = ctx, .set = set };
    sl_status st = check_ends(&k, config);
    for (uint32_t layer = 0; st == SL_OK && layer < config->layers; layer++)
        for (uint32_t block = 0; st == SL_OK && block < config->depths[layer]; block++)
            st = check_block(&k, config, layer, block);
    size_t derivable = 0;
    for (size_t i = 0; i < sl_tensor_set_count(set); i++)
        derivable += is_derivable(sl_tensor_set_at(set, i)->name);
    if (st == SL_OK && k.seen + derivable != sl_tensor_set_count(set))
        st = find_stranger(&k, config);
    free(k.buffer);
    return st;
}
