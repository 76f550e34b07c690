// SPDX-License-Identifier: MIT
// net/soft_check.c: every tensor that a SOFT of a configuration must have, and no other; and how
// small its pictures may be.
#include "net/parts.h"

#define MAX_SIDE (1u << 16)

static sl_shape positions(uint64_t rows, uint64_t channels)
{
    return (sl_shape) { .rank = 3, .dim = { 1, rows, channels } };
}

// A convolution and the normalisation behind it, numbers i and i + 1 of a patch embedding.
static sl_status check_embed(sl_checker *k, uint32_t stage, uint32_t i, uint64_t out, uint64_t in)
{
    static const char *const statistics[] = { "running_mean", "running_var" };
    char name[96];
    snprintf(name, sizeof(name), "patch_embed%u.proj.%u", stage + 1, i);
    sl_status st = sl_expect_pair(k, name, kernel(out, in, 3), out);
    snprintf(name, sizeof(name), "patch_embed%u.proj.%u", stage + 1, i + 1);
    if (st == SL_OK)
        st = sl_expect_pair(k, name, vector(out), out);
    for (size_t s = 0; s < SL_ARRAY_LEN(statistics) && st == SL_OK; s++) {
        snprintf(name, sizeof(name), "patch_embed%u.proj.%u.%s", stage + 1, i + 1, statistics[s]);
        st = sl_expect(k, name, vector(out));
    }
    return st;
}

// Any square grid; that of the last stage has a row for the class token, or may have one.
static sl_status check_positions(sl_checker *k, const sl_soft_config *c, uint32_t stage)
{
    char name[32];
    bool has_class_row;
    snprintf(name, sizeof(name), "pos_embed%u", stage + 1);
    const sl_tensor *t = sl_find(k->set, k->root, name);
    uint64_t side = sl_position_grid(t, &has_class_row);
    bool is_last = stage == SL_SOFT_STAGES - 1;
    if (t &&
        (side == 0 || (has_class_row && !is_last) || (!has_class_row && is_last && c->class_token)))
        return sl_fail(k->ctx, SL_ERR_FORMAT,
                       "%s: tensor %s has %s rows, which are no square grid%s",
                       sl_tensor_set_path(k->set), t->name, t->shape.rank == 3 ? "so many" : "no",
                       is_last ? " with a row for the class token" : "");
    return sl_expect(k, name, positions(side * side + has_class_row, c->dims[stage]));
}

static sl_status check_free_block(sl_checker *k, const sl_soft_config *c, uint32_t stage,
                                  uint32_t block)
{
    char prefix[64];
    uint64_t n = c->dims[stage], h = c->heads[stage], d = n / h, r = c->ratios[stage];
    snprintf(prefix, sizeof(prefix), "block%u.%u.att", stage + 1, block);
    const sl_pair pairs[] = {
        { "mha.W_q", matrix(n, n), n },
        { "mha.W_v", matrix(n, n), n },
        { "mha.ff", matrix(n, n), n },
        { "mha.attn.Qlandmark_op", kernel(d, d, r), 0 },
        { "mha.attn.Qnorm_act.0", vector(d), d },
        { "mha.attn.conv", kernel(h, 1, c->kernels[stage]), 0 },
        { "norm1", vector(n), n },
        { "ff1", matrix(4 * n, n), 4 * n },
        { "ff2", matrix(n, 4 * n), n },
        { "norm2", vector(n), n },
    };
    return sl_expect_pairs(k, prefix, pairs, SL_ARRAY_LEN(pairs));
}

static sl_status check_last_block(sl_checker *k, const sl_soft_config *c, uint32_t block)
{
    char prefix[64];
    uint64_t n = c->dims[SL_SOFT_STAGES - 1];
    snprintf(prefix, sizeof(prefix), "block%u.%u", SL_SOFT_STAGES, block);
    const sl_pair pairs[] = {
        { "norm1", vector(n), n },
        { "attn.q", matrix(n, n), n },
        { "attn.kv", matrix(2 * n, n), 2 * n },
        { "attn.proj", matrix(n, n), n },
        { "norm2", vector(n), n },
        { "mlp.fc1", matrix(4 * n, n), 4 * n },
        { "mlp.fc2", matrix(n, 4 * n), n },
    };
    return sl_expect_pairs(k, prefix, pairs, SL_ARRAY_LEN(pairs));
}

static sl_status check_stage(sl_checker *k, const sl_soft_config *c, uint32_t stage)
{
    sl_status st = SL_OK;
    if (stage == 0) {
        st = check_embed(k, 0, 0, c->stem, 3);
        if (st == SL_OK)
            st = check_embed(k, 0, 3, c->stem, c->stem);
        if (st == SL_OK)
            st = check_embed(k, 0, 6, c->dims[0], c->stem);
    } else {
        st = check_embed(k, stage, 0, c->dims[stage], c->dims[stage - 1]);
    }
    if (st == SL_OK)
        st = check_positions(k, c, stage);
    for (uint32_t i = 0; i < c->depths[stage] && st == SL_OK; i++)
        st = stage < SL_SOFT_FREE_STAGES ? check_free_block(k, c, stage, i)
                                         : check_last_block(k, c, i);
    return st;
}

static bool has(const sl_checker *k, const char *name)
{
    return sl_find(k->set, k->root, name) != NULL;
}

// The class token, the last norm and the head, as far as the model has them.
static sl_status check_tail(sl_checker *k, const sl_soft_config *c)
{
    uint64_t n = c->dims[SL_SOFT_STAGES - 1];
    uint64_t out = c->embedding > 0 ? c->embedding : c->classes;
    sl_status st = SL_OK;
    if (c->class_token || has(k, "cls_token"))
        st = sl_expect(k, "cls_token", positions(1, n));
    if (st == SL_OK && (c->head != SL_SOFT_HEAD_NONE || has(k, "norm.weight")))
        st = sl_expect_pair(k, "norm", vector(n), n);
    if (st != SL_OK || c->head == SL_SOFT_HEAD_NONE)
        return st;
    bool has_bias = c->head == SL_SOFT_HEAD_LINEAR || has(k, "head.bias");
    st = sl_expect_pair(k, "head", matrix(out, n), has_bias ? out : 0);
    if (st == SL_OK && c->embedding > 0)
        st = sl_expect(k, "directions", matrix(c->classes, c->embedding));
    return st;
}

bool sl_is_counter(const char *name) // of batches seen in training
{
    const char *dot = strrchr(name, '.');
    return dot && strcmp(dot, ".num_batches_tracked") == 0;
}

static bool is_statistic(const char *name)
{
    return strncmp(name, "reject.", strlen("reject.")) == 0;
}

// What is of no use to the network but may be there: counted, and statistics looked at.
static sl_status check_others(sl_checker *k)
{
    sl_status st = SL_OK;
    for (size_t i = 0; i < sl_tensor_set_count(k->set) && st == SL_OK; i++) {
        const sl_tensor *t = sl_tensor_set_at(k->set, i);
        if (!sl_is_counter(t->name) && !is_statistic(t->name))
            continue;
        k->seen++;
        if (is_statistic(t->name))
            st = sl_check_finite(k, t);
    }
    return st;
}

// Called when more tensors are in the file than were asked for: names the first stranger.
static sl_status find_stranger(const sl_checker *k)
{
    static const char *const known[] = { "patch_embed", "pos_embed", "block",     "cls_token",
                                         "norm.",       "head.",     "directions" };
    for (size_t i = 0; i < sl_tensor_set_count(k->set); i++) {
        const char *name = sl_tensor_set_at(k->set, i)->name;
        bool is_known = sl_is_counter(name) || is_statistic(name);
        for (size_t j = 0; j < SL_ARRAY_LEN(known) && !is_known; j++)
            is_known = strncmp(name, known[j], strlen(known[j])) == 0;
        if (!is_known)
            return sl_fail(k->ctx, SL_ERR_FORMAT, "%s: tensor %s does not belong to a SOFT",
                           sl_tensor_set_path(k->set), name);
    }
    return sl_fail(k->ctx, SL_ERR_FORMAT,
                   "%s: more tensors than its configuration has; the file is damaged or was edited",
                   sl_tensor_set_path(k->set));
}

sl_status sl_soft_expect(sl_checker *k, const sl_soft_config *config)
{
    sl_status st = SL_OK;
    for (uint32_t stage = 0; stage < SL_SOFT_STAGES && st == SL_OK; stage++)
        st = check_stage(k, config, stage);
    return st == SL_OK ? check_tail(k, config) : st;
}

sl_status sl_soft_check(sl_ctx *ctx, const sl_tensor_set *set, const sl_soft_config *config)
{
    sl_checker k = { .ctx = ctx, .set = set, .root = "" };
    sl_status st = sl_soft_expect(&k, config);
    if (st == SL_OK)
        st = check_others(&k);
    if (st == SL_OK && k.seen != sl_tensor_set_count(set))
        st = find_stranger(&k);
    return st;
}

// ---- sizes of pictures

// The fewest landmarks along a side of that length, over the stages. A convolution of stride 2
// rounds up, the landmarks' rounds down.
static uint32_t least_landmarks(const sl_soft_config *c, uint32_t length)
{
    uint32_t least = UINT32_MAX, side = length / 2 + length % 2;
    for (uint32_t s = 0; s < SL_SOFT_FREE_STAGES; s++) {
        side = side / 2 + side % 2;
        least = side / c->ratios[s] < least ? side / c->ratios[s] : least;
    }
    return least;
}

// The least side with so many landmarks along it.
static uint32_t least_side(const sl_soft_config *c, uint32_t landmarks)
{
    uint32_t side = 1;
    while (side < MAX_SIDE && least_landmarks(c, side) < landmarks)
        side++;
    return side;
}

static bool has_too_few(const sl_soft_config *c, uint32_t height, uint32_t width)
{
    uint32_t rows = height / 2 + height % 2, columns = width / 2 + width % 2;
    for (uint32_t s = 0; s < SL_SOFT_FREE_STAGES; s++) {
        rows = rows / 2 + rows % 2;
        columns = columns / 2 + columns % 2;
        uint32_t down = rows / c->ratios[s], across = columns / c->ratios[s];
        if (down < SL_NORM_LEAST_LANDMARKS && across < SL_NORM_LEAST_LANDMARKS &&
            down * across < SL_NORM_LEAST_LANDMARKS)
            return true;
    }
    return false;
}

sl_status sl_soft_check_size(sl_ctx *ctx, const sl_soft_config *config, uint32_t height,
                             uint32_t width)
{
    const bool is_empty = height < 1 || width < 1;
    if (is_empty || height > MAX_SIDE || width > MAX_SIDE)
        return sl_fail(ctx, is_empty ? SL_ERR_ARGUMENT : SL_ERR_LIMIT,
                       "a picture of %u x %u; sides of 1 to %u pixels", width, height, MAX_SIDE);
    if (config->landmarks > 0)
        return SL_OK;
    if (least_landmarks(config, height) < 1 || least_landmarks(config, width) < 1)
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "a picture of %u x %u; this model wants sides of at least %u pixels", width,
                       height, least_side(config, 1));
    if (config->has_inverse && config->inverse == SL_INVERSE_NORM &&
        has_too_few(config, height, width))
        return sl_fail(
            ctx, SL_ERR_ARGUMENT,
            "a picture of %u x %u leaves fewer than %u landmarks, for which SOFT-Norm is "
            "not defined; sides of at least %u pixels have them",
            width, height, SL_NORM_LEAST_LANDMARKS, least_side(config, 2));
    return SL_OK;
}
