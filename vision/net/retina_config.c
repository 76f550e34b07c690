// SPDX-License-Identifier: MIT
// net/retina_config.c: the hyper-parameters of a detector, from metadata and from the tensors'
// shapes.
#include "net/parts.h"
#include "tensor/json.h"

#define MAX_CHANNELS 8192
#define MAX_CLASSES 65536
#define MAX_TOWER 16
#define MAX_SCALES 8
#define MAX_STRIDE 65535
#define MAX_IMAGE 4096 // as callers may ask for

static const sl_retina_config defaults = { .channels = 256,
                                           .tower = 4,
                                           .anchor_scale = 4,
                                           .scales = 3,
                                           .ratio_count = 3,
                                           .ratios = { 0.5f, 1, 2 },
                                           .strides = { 8, 16, 32, 64, 128 },
                                           .image = { 1333, 800 } };

// ---- what names and shapes say

static const sl_tensor *find_tower(const sl_tensor_set *set, uint32_t i)
{
    char name[64];
    snprintf(name, sizeof(name), "bbox_head.cls_convs.%u.conv.weight", i);
    return sl_tensor_set_find(set, name);
}

// Side `i` of a convolution's weight; 0: there is none, or it is absurdly large.
static uint32_t side_of(const sl_tensor *t, unsigned i)
{
    return t && t->shape.rank == 4 && t->shape.dim[i] <= INT32_MAX ? (uint32_t)t->shape.dim[i] : 0;
}

// Classes, channels and the tower; *anchors: how many anchors a place has.
static sl_status infer(sl_ctx *ctx, const sl_tensor_set *set, sl_retina_config *c,
                       uint32_t *anchors)
{
    const sl_tensor *cls = sl_tensor_set_find(set, "bbox_head.retina_cls.weight");
    const sl_tensor *reg = sl_tensor_set_find(set, "bbox_head.retina_reg.weight");
    *anchors = side_of(reg, 0) / 4;
    c->channels = side_of(cls, 1);
    c->classes = *anchors > 0 ? side_of(cls, 0) / *anchors : 0;
    for (c->tower = 0; c->tower <= MAX_TOWER && find_tower(set, c->tower);)
        c->tower++;
    if (c->classes >= 1 && c->classes <= MAX_CLASSES && c->channels >= 1 &&
        c->channels <= MAX_CHANNELS && c->tower <= MAX_TOWER && side_of(reg, 0) % 4 == 0 &&
        side_of(cls, 0) % *anchors == 0)
        return SL_OK;
    return sl_fail(ctx, SL_ERR_FORMAT,
                   "%s: the head's bbox_head.retina_cls or bbox_head.retina_reg is missing or has "
                   "an impossible shape",
                   sl_tensor_set_path(set));
}

// ---- what metadata says

static bool read_ratios(const json_t *value, sl_retina_config *c)
{
    size_t count = json_array_size(value);
    bool fits = count >= 1 && count <= SL_RETINA_MAX_RATIOS;
    for (size_t i = 0; fits && i < count; i++)
        fits =
            sl_read_real(json_array_get(value, i), 0, 100, &c->ratios[i]) && c->ratios[i] >= 0.01f;
    c->ratio_count = (uint32_t)count;
    return fits;
}

static bool read_image(const json_t *value, sl_retina_config *c)
{
    return sl_read_counts(value, 1, MAX_IMAGE, 2, c->image) && c->image[0] >= c->image[1];
}

static bool read_key(const char *key, const json_t *value, sl_retina_config *c)
{
    if (strcmp(key, "classes") == 0)
        return sl_read_count(value, 1, MAX_CLASSES, &c->classes);
    if (strcmp(key, "channels") == 0)
        return sl_read_count(value, 1, MAX_CHANNELS, &c->channels);
    if (strcmp(key, "tower") == 0)
        return sl_read_count(value, 0, MAX_TOWER, &c->tower);
    if (strcmp(key, "anchor_scale") == 0)
        return sl_read_real(value, 0, 1000, &c->anchor_scale) && c->anchor_scale >= 0.01f;
    if (strcmp(key, "scales") == 0)
        return sl_read_count(value, 1, MAX_SCALES, &c->scales);
    if (strcmp(key, "ratios") == 0)
        return read_ratios(value, c);
    if (strcmp(key, "strides") == 0)
        return sl_read_counts(value, 1, MAX_STRIDE, SL_RETINA_LEVELS, c->strides);
    if (strcmp(key, "image") == 0)
        return read_image(value, c);
    return strcmp(key, "backbone") == 0 && json_is_object(value);
}

static sl_status parse(sl_ctx *ctx, const char *path, const json_t *stated, sl_retina_config *c)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)stated, key, value)
    {
        if (!read_key(key, value, c))
            return sl_fail(ctx, SL_ERR_FORMAT,
                           "%s: metadata \"config\": key \"%.64s\" is unknown or out of range",
                           path, key);
    }
    if (!json_object_get(stated, "backbone") || c->classes == 0)
        return sl_fail(ctx, SL_ERR_FORMAT, "%s: metadata \"config\" wants backbone and classes",
                       path);
    return SL_OK;
}

// ---- both together

// The first thing on which they disagree; NULL: none.
static const char *find_difference(const sl_retina_config *stated, const sl_retina_config *seen,
                                   uint32_t anchors)
{
    if (stated->scales * stated->ratio_count != anchors)
        return "the number of anchors";
    if (stated->classes != seen->classes)
        return "classes";
    if (stated->channels != seen->channels)
        return "channels";
    return stated->tower != seen->tower ? "tower" : NULL;
}

static sl_status read_head(sl_ctx *ctx, const sl_tensor_set *set, const json_t *stated,
                           sl_retina_config *c)
{
    const char *path = sl_tensor_set_path(set);
    sl_retina_config seen = defaults;
    uint32_t anchors;
    sl_status st = infer(ctx, set, &seen, &anchors);
    *c = seen;
    if (st == SL_OK && stated) {
        *c = defaults;
        st = parse(ctx, path, stated, c);
    }
    const char *what = st == SL_OK ? find_difference(c, &seen, anchors) : NULL;
    if (what)
        st = sl_fail(ctx, SL_ERR_FORMAT,
                     "%s: %s disagree about %s; the file is damaged or was edited", path,
                     stated ? "metadata and tensors" : "the usual head and this one", what);
    return st;
}

sl_status sl_retina_config_read(sl_ctx *ctx, sl_model *model)
{
    json_t *stated;
    sl_status st = sl_config_load(ctx, model->set, &stated);
    if (st == SL_OK)
        st = read_head(ctx, model->set, stated, &model->retina);
    if (st == SL_OK)
        st = sl_soft_config_from(ctx, model->set, SL_BACKBONE, json_object_get(stated, "backbone"),
                                 &model->soft);
    json_decref(stated);
    return st;
}

// ---- as JSON

static bool has_usual_ratios(const sl_retina_config *c)
{
    bool same = c->ratio_count == defaults.ratio_count;
    for (size_t i = 0; same && i < c->ratio_count; i++)
        same = !sl_is_other(c->ratios[i], defaults.ratios[i]);
    return same;
}

static void set_anchors(json_t **root, const sl_retina_config *c)
{
    if (sl_is_other(c->anchor_scale, defaults.anchor_scale))
        sl_json_set(root, "anchor_scale", json_real((double)c->anchor_scale));
    if (c->scales != defaults.scales)
        sl_json_set(root, "scales", json_integer(c->scales));
    if (memcmp(c->strides, defaults.strides, sizeof(c->strides)) != 0)
        sl_json_set(root, "strides", sl_counts_json(c->strides, SL_RETINA_LEVELS));
    if (!has_usual_ratios(c))
        sl_json_set(root, "ratios", sl_reals_json(c->ratios, c->ratio_count));
}

json_t *sl_retina_config_object(const sl_model *model, const sl_soft_config *backbone)
{
    const sl_retina_config *c = &model->retina;
    json_t *root = json_object(), *inner = sl_soft_config_object(backbone);
    sl_json_set(&inner, "class_token", json_boolean(backbone->class_token));
    json_object_del(inner, "classes");
    sl_json_set(&root, "backbone", inner);
    sl_json_set(&root, "classes", json_integer(c->classes));
    sl_json_set(&root, "channels", json_integer(c->channels));
    sl_json_set(&root, "tower", json_integer(c->tower));
    sl_json_set(&root, "image", sl_counts_json(c->image, 2));
    set_anchors(&root, c);
    return root;
}
