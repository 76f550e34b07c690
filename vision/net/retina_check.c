// SPDX-License-Identifier: MIT
// net/retina_check.c: every tensor that a detector of a configuration must have, and no other; its
// labels; and its anchors.
#include "net/parts.h"
#include "tensor/json.h"

#include <math.h>

#define MOST_STRAY_LABELS ((size_t)1 << 16) // beyond the classes: more are not even counted

static sl_status expect_head(sl_checker *k, const sl_retina_config *c)
{
    static const char *const halves[] = { "cls", "reg" };
    uint64_t n = c->channels, anchors = (uint64_t)c->scales * c->ratio_count;
    sl_status st = SL_OK;
    for (size_t half = 0; half < SL_ARRAY_LEN(halves) && st == SL_OK; half++) {
        char name[64];
        uint64_t out = anchors * (half == 0 ? c->classes : 4);
        for (uint32_t i = 0; i < c->tower && st == SL_OK; i++) {
            snprintf(name, sizeof(name), "bbox_head.%s_convs.%u.conv", halves[half], i);
            st = sl_expect_pair(k, name, kernel(n, n, 3), n);
        }
        snprintf(name, sizeof(name), "bbox_head.retina_%s", halves[half]);
        if (st == SL_OK)
            st = sl_expect_pair(k, name, kernel(out, n, 3), out);
    }
    return st;
}

// Called when more tensors are in the file than were asked for: names the first stranger.
static sl_status find_stranger(const sl_checker *k)
{
    static const char *const known[] = { SL_BACKBONE "patch_embed",
                                         SL_BACKBONE "pos_embed",
                                         SL_BACKBONE "block",
                                         SL_BACKBONE "cls_token",
                                         SL_BACKBONE "norm.",
                                         SL_BACKBONE "head.",
                                         "neck.",
                                         "bbox_head." };
    for (size_t i = 0; i < sl_tensor_set_count(k->set); i++) {
        const char *name = sl_tensor_set_at(k->set, i)->name;
        bool is_known = sl_is_counter(name);
        for (size_t j = 0; j < SL_ARRAY_LEN(known) && !is_known; j++)
            is_known = strncmp(name, known[j], strlen(known[j])) == 0;
        if (!is_known)
            return sl_fail(k->ctx, SL_ERR_FORMAT,
                           "%s: tensor %s does not belong to a RetinaNet on SOFT",
                           sl_tensor_set_path(k->set), name);
    }
    return sl_fail(k->ctx, SL_ERR_FORMAT,
                   "%s: more tensors than its configuration has; the file is damaged or was edited",
                   sl_tensor_set_path(k->set));
}

static sl_status check_tensors(sl_ctx *ctx, const sl_model *model)
{
    sl_checker k = { .ctx = ctx, .set = model->set, .root = SL_BACKBONE };
    sl_status st = sl_soft_expect(&k, &model->soft);
    k.root = "";
    if (st == SL_OK)
        st = sl_fpn_expect(&k, model->soft.dims + 1, model->retina.channels);
    if (st == SL_OK)
        st = expect_head(&k, &model->retina);
    for (size_t i = 0; i < sl_tensor_set_count(model->set); i++)
        k.seen += sl_is_counter(sl_tensor_set_at(model->set, i)->name);
    if (st == SL_OK && k.seen != sl_tensor_set_count(model->set))
        st = find_stranger(&k);
    return st;
}

// ---- labels

static sl_status check_label(sl_ctx *ctx, const sl_model *model, json_t *seen, const json_t *label)
{
    const char *path = sl_tensor_set_path(model->set), *text = json_string_value(label);
    if (!text || !sl_tensor_name_valid(text, json_string_length(label)))
        return sl_fail(ctx, SL_ERR_FORMAT, "%s: one of its labels is no name that can be printed",
                       path);
    if (json_object_get(seen, text))
        return sl_fail(ctx, SL_ERR_FORMAT, "%s: two of its labels are \"%s\"", path, text);
    return json_object_set_new(seen, text, json_true()) == 0
               ? SL_OK
               : sl_fail(ctx, SL_ERR_NOMEM, "out of memory for the labels");
}

// As many names as there are classes, none twice; or no labels at all.
static sl_status check_labels(sl_ctx *ctx, const sl_model *model)
{
    if (!sl_tensor_set_meta(model->set, "labels"))
        return SL_OK;
    json_t *labels, *seen = json_object();
    sl_status st =
        sl_json_meta(ctx, model->set, "labels", model->retina.classes + MOST_STRAY_LABELS, &labels);
    if (st == SL_OK && !json_is_array(labels))
        st = sl_fail(ctx, SL_ERR_FORMAT, "%s: its labels are no list of names",
                     sl_tensor_set_path(model->set));
    else if (st == SL_OK && json_array_size(labels) != model->retina.classes)
        st =
            sl_fail(ctx, SL_ERR_FORMAT, "%s: %zu labels for %u classes",
                    sl_tensor_set_path(model->set), json_array_size(labels), model->retina.classes);
    for (size_t i = 0; i < json_array_size(labels) && st == SL_OK; i++)
        st = check_label(ctx, model, seen, json_array_get(labels, i));
    json_decref(labels);
    json_decref(seen);
    return st;
}

sl_status sl_retina_check(sl_ctx *ctx, const sl_model *model)
{
    sl_status st = check_tensors(ctx, model);
    return st == SL_OK ? check_labels(ctx, model) : st;
}

// ---- anchors

static sl_status make_level(sl_ctx *ctx, const sl_retina_config *c, uint32_t stride,
                            sl_retina_weights *out, sl_tensor *made)
{
    size_t count = (size_t)c->scales * c->ratio_count;
    float *sides = sl_arena_alloc(ctx, &out->arena, 2 * count, sizeof(*sides));
    if (!sides)
        return SL_ERR_NOMEM;
    *made =
        (sl_tensor) { "anchors", SL_F32, { 2, { count, 2 } }, sides, 2 * count * sizeof(*sides) };
    for (uint32_t r = 0; r < c->ratio_count; r++)
        for (uint32_t i = 0; i < c->scales; i++) {
            double side = stride * (double)c->anchor_scale * exp2((double)i / c->scales);
            *sides++ = (float)(side / sqrt((double)c->ratios[r]));
            *sides++ = (float)(side * sqrt((double)c->ratios[r]));
        }
    return SL_OK;
}

sl_status sl_retina_weights_make(sl_ctx *ctx, const sl_retina_config *config,
                                 sl_retina_weights *out)
{
    sl_status st = SL_OK;
    for (size_t i = 0; i < SL_RETINA_LEVELS && st == SL_OK; i++)
        st = make_level(ctx, config, config->strides[i], out, &out->anchors[i]);
    return st;
}
