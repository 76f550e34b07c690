// SPDX-License-Identifier: MIT
// net/lmd_config.c: the hyper-parameters of an LMD-ViT, from metadata and from the tensors' shapes.
#include "net/parts.h"
#include "tensor/json.h"

#define MAX_DEPTH 64

static void defaults(sl_lmd_config *c)
{
    *c = (sl_lmd_config) { .window = 8,
                           .mlp_ratio = 4,
                           .img_size = 512,
                           .unshuffle = 1,
                           .threshold = 0.5f,
                           .modulator = SL_MODULATOR_DECODER };
}

void sl_lmd_layer_name(const sl_lmd_config *c, uint32_t layer, char *name, size_t size)
{
    if (layer < c->scales)
        snprintf(name, size, "encoderlayer_%u", layer);
    else if (layer == c->scales)
        snprintf(name, size, "conv");
    else
        snprintf(name, size, "decoderlayer_%u", layer - c->scales - 1);
}

uint32_t sl_lmd_layer_level(const sl_lmd_config *c, uint32_t layer)
{
    return layer <= c->scales ? layer : 2 * c->scales - layer;
}

uint32_t sl_lmd_layer_dim(const sl_lmd_config *c, uint32_t layer)
{
    // Concatenation makes a decoder twice as wide as the encoder of its level.
    uint32_t level = sl_lmd_layer_level(c, layer);
    return layer <= c->scales ? c->embed_dim << level : c->embed_dim << (level + 1);
}

uint32_t sl_lmd_multiple(const sl_lmd_config *c)
{
    return (c->unshuffle * c->window) << c->scales;
}

uint32_t sl_lmd_shift(const sl_lmd_config *c, uint32_t layer, uint32_t block)
{
    uint32_t side = (c->img_size / c->unshuffle) >> sl_lmd_layer_level(c, layer);
    return block % 2 == 1 && side > c->window ? c->window / 2 : 0;
}

// ---- what names and shapes say

static const sl_tensor *find_in_block(const sl_tensor_set *set, const sl_lmd_config *c,
                                      uint32_t layer, uint32_t block, const char *key)
{
    char name[64], path[160];
    sl_lmd_layer_name(c, layer, name, sizeof name);
    snprintf(path, sizeof path, "%s.blocks.%u.%s", name, block, key);
    return sl_tensor_set_find(set, path);
}

static uint32_t root_of(uint64_t n) // 0: no square, or absurdly large
{
    for (uint32_t r = 1; r <= 128; r++)
        if ((uint64_t)r * r == n)
            return r;
    return 0;
}

static bool is_rank(const sl_tensor *t, unsigned rank)
{
    return t && t->shape.rank == rank;
}

// Depth and heads of one layer; false when its tensors are not there.
static bool infer_layer(const sl_tensor_set *set, sl_lmd_config *c, uint32_t layer)
{
    uint32_t depth = 0;
    while (depth <= MAX_DEPTH && find_in_block(set, c, layer, depth, "norm1.weight"))
        depth++;
    const sl_tensor *table = find_in_block(set, c, layer, 0, "attn.relative_position_bias_table");
    if (depth < 1 || depth > MAX_DEPTH || !is_rank(table, 2) || table->shape.dim[1] < 1 ||
        table->shape.dim[1] > 4096)
        return false;
    c->depths[layer] = depth;
    c->heads[layer] = (uint32_t)table->shape.dim[1];
    return true;
}

static sl_status infer(sl_ctx *ctx, const sl_tensor_set *set, sl_lmd_config *c)
{
    const char *path = sl_tensor_set_path(set);
    const sl_tensor *stem = sl_tensor_set_find(set, "input_proj.proj.0.weight");
    if (!is_rank(stem, 4))
        return sl_fail(ctx, SL_ERR_FORMAT,
                       "%s: no tensor input_proj.proj.0.weight, so this is no LMD-ViT; give a "
                       "file that holds one",
                       path);
    uint32_t f = stem->shape.dim[1] % 3 == 0 ? root_of(stem->shape.dim[1] / 3) : 0;
    if (f < 1 || f > 16 || stem->shape.dim[0] < 4 || stem->shape.dim[0] > 1024)
        return sl_fail(ctx, SL_ERR_FORMAT, "%s: input_proj.proj.0.weight has an impossible shape",
                       path);
    c->embed_dim = (uint32_t)stem->shape.dim[0];
    c->unshuffle = f;

    char name[64];
    for (c->scales = 0; c->scales <= SL_LMD_MAX_SCALES; c->scales++) {
        snprintf(name, sizeof name, "encoderlayer_%u.blocks.0.norm1.weight", c->scales);
        if (!sl_tensor_set_find(set, name))
            break;
    }
    if (c->scales < 1 || c->scales > SL_LMD_MAX_SCALES)
        return sl_fail(ctx, SL_ERR_FORMAT, "%s: %u encoder layers; 1 to %u are understood", path,
                       c->scales, SL_LMD_MAX_SCALES);
    c->layers = 2 * c->scales + 1;
    for (uint32_t layer = 0; layer < c->layers; layer++) {
        if (infer_layer(set, c, layer))
            continue;
        sl_lmd_layer_name(c, layer, name, sizeof name);
        return sl_fail(ctx, SL_ERR_FORMAT, "%s: the blocks of %s are missing or malformed", path,
                       name);
    }

    const sl_tensor *table = find_in_block(set, c, 0, 0, "attn.relative_position_bias_table");
    const sl_tensor *ff1 = find_in_block(set, c, 0, 0, "mlp.linear1.0.weight");
    uint32_t side = root_of(table->shape.dim[0]);
    uint64_t hidden = is_rank(ff1, 2) ? ff1->shape.dim[0] : 0;
    if (side < 3 || side % 2 == 0 || side > 31 || hidden < 1 || hidden % c->embed_dim ||
        hidden / c->embed_dim > 16)
        return sl_fail(ctx, SL_ERR_FORMAT, "%s: encoderlayer_0.blocks.0 has impossible shapes",
                       path);
    c->window = (side + 1) / 2;
    c->mlp_ratio = (uint32_t)(hidden / c->embed_dim);
    bool in_encoder = find_in_block(set, c, 0, 0, "modulator.weight") != NULL;
    bool in_decoder = find_in_block(set, c, c->layers - 1, 0, "modulator.weight") != NULL;
    c->modulator = in_encoder   ? SL_MODULATOR_ALL
                   : in_decoder ? SL_MODULATOR_DECODER
                                : SL_MODULATOR_NONE;
    return SL_OK;
}

// ---- what metadata says

static bool read_counts(const json_t *value, uint32_t most, uint32_t *out, uint32_t *count)
{
    size_t n = json_array_size(value);
    *count = (uint32_t)n;
    return n >= 3 && n <= SL_LMD_MAX_LAYERS && n % 2 == 1 && sl_read_counts(value, 1, most, n, out);
}

static bool read_modulator(const json_t *value, sl_modulator *out)
{
    static const char *const names[] = { "decoder", "all", "none" };
    const char *text = json_string_value(value);
    for (size_t i = 0; text && i < SL_ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (sl_modulator)i;
            return true;
        }
    }
    return false;
}

static bool read_fade(const json_t *value, float fade[2])
{
    for (size_t i = 0; i < 2; i++)
        fade[i] = (float)json_number_value(json_array_get(value, i));
    return json_array_size(value) == 2 && json_is_number(json_array_get(value, 0)) &&
           json_is_number(json_array_get(value, 1)) && fade[0] >= 0 && fade[0] < fade[1] &&
           fade[1] <= 1;
}

static bool read_key(const char *key, const json_t *value, sl_lmd_config *c, uint32_t *heads)
{
    if (strcmp(key, "embed_dim") == 0)
        return sl_read_count(value, 4, 1024, &c->embed_dim);
    if (strcmp(key, "depths") == 0)
        return read_counts(value, MAX_DEPTH, c->depths, &c->layers);
    if (strcmp(key, "heads") == 0)
        return read_counts(value, 4096, c->heads, heads);
    if (strcmp(key, "window") == 0)
        return sl_read_count(value, 2, 16, &c->window);
    if (strcmp(key, "mlp_ratio") == 0)
        return sl_read_count(value, 1, 16, &c->mlp_ratio);
    if (strcmp(key, "img_size") == 0)
        return sl_read_count(value, 1, 1u << 20, &c->img_size);
    if (strcmp(key, "unshuffle") == 0)
        return sl_read_count(value, 1, 16, &c->unshuffle);
    if (strcmp(key, "modulator") == 0)
        return read_modulator(value, &c->modulator);
    if (strcmp(key, "threshold") == 0)
        return sl_read_real(value, 0, 1, &c->threshold) && c->threshold < 1;
    if (strcmp(key, "fade") == 0)
        return c->has_fade = read_fade(value, c->fade);
    return false;
}

static sl_status parse(sl_ctx *ctx, const char *path, json_t *root, sl_lmd_config *c)
{
    const char *key;
    json_t *value;
    uint32_t heads = 0;
    json_object_foreach(root, key, value)
    {
        if (!read_key(key, value, c, &heads))
            return sl_fail(ctx, SL_ERR_FORMAT,
                           "%s: metadata \"config\": key \"%s\" is unknown or out of range", path,
                           key);
    }
    c->scales = c->layers / 2;
    if (c->embed_dim == 0 || c->layers == 0 || c->layers != heads)
        return sl_fail(ctx, SL_ERR_FORMAT,
                       "%s: metadata \"config\" wants embed_dim, and as many depths as heads",
                       path);
    return SL_OK;
}

static sl_status compare(sl_ctx *ctx, const char *path, const sl_lmd_config *stated,
                         const sl_lmd_config *seen)
{
    const char *what = NULL;
    if (stated->embed_dim != seen->embed_dim)
        what = "embed_dim";
    else if (stated->layers != seen->layers ||
             memcmp(stated->depths, seen->depths, sizeof stated->depths) != 0)
        what = "depths";
    else if (memcmp(stated->heads, seen->heads, sizeof stated->heads) != 0)
        what = "heads";
    else if (stated->window != seen->window)
        what = "window";
    else if (stated->mlp_ratio != seen->mlp_ratio)
        what = "mlp_ratio";
    else if (stated->unshuffle != seen->unshuffle)
        what = "unshuffle";
    else if (stated->modulator != seen->modulator)
        what = "modulator";
    if (!what)
        return SL_OK;
    return sl_fail(ctx, SL_ERR_FORMAT,
                   "%s: metadata and tensors disagree about %s; the file is damaged or was edited",
                   path, what);
}

sl_status sl_lmd_config_read(sl_ctx *ctx, const sl_tensor_set *set, sl_lmd_config *out)
{
    const char *path = sl_tensor_set_path(set);
    json_t *stated = NULL;
    sl_lmd_config seen;
    defaults(&seen);
    sl_status st = infer(ctx, set, &seen);
    if (st == SL_OK)
        st = sl_config_load(ctx, set, &stated);
    if (stated) {
        defaults(out);
        st = parse(ctx, path, stated, out);
        if (st == SL_OK)
            st = compare(ctx, path, out, &seen);
        json_decref(stated);
    } else {
        *out = seen;
    }
    for (uint32_t layer = 0; st == SL_OK && layer < out->layers; layer++)
        if (sl_lmd_layer_dim(out, layer) % out->heads[layer])
            st = sl_fail(ctx, SL_ERR_FORMAT, "%s: layer %u: %u channels for %u heads", path, layer,
                         sl_lmd_layer_dim(out, layer), out->heads[layer]);
    return st;
}

char *sl_lmd_config_json(sl_ctx *ctx, const sl_lmd_config *c)
{
    sl_lmd_config d;
    defaults(&d);
    json_t *root = json_object();
    sl_json_set(&root, "embed_dim", json_integer(c->embed_dim));
    sl_json_set(&root, "depths", sl_counts_json(c->depths, c->layers));
    sl_json_set(&root, "heads", sl_counts_json(c->heads, c->layers));
    if (c->window != d.window)
        sl_json_set(&root, "window", json_integer(c->window));
    if (c->mlp_ratio != d.mlp_ratio)
        sl_json_set(&root, "mlp_ratio", json_integer(c->mlp_ratio));
    if (c->img_size != d.img_size)
        sl_json_set(&root, "img_size", json_integer(c->img_size));
    if (c->unshuffle != d.unshuffle)
        sl_json_set(&root, "unshuffle", json_integer(c->unshuffle));
    if (c->threshold > d.threshold || c->threshold < d.threshold)
        sl_json_set(&root, "threshold", json_real((double)c->threshold));
    if (c->has_fade)
        sl_json_set(&root, "fade", sl_reals_json(c->fade, 2));
    if (c->modulator != d.modulator)
        sl_json_set(&root, "modulator",
                    json_string(c->modulator == SL_MODULATOR_ALL ? "all" : "none"));
    return sl_config_text(ctx, root);
}
