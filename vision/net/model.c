// SPDX-License-Identifier: MIT
// net/model.c: a model file as the program knows it: its architecture found, opened and checked.
#include "net/parts.h"

static const sl_architecture *const architectures[] = { &sl_architecture_lmd, &sl_architecture_soft,
                                                        &sl_architecture_retina };

// What else softlens writes as safetensors, by the format that its metadata states.
static const struct {
    const char *format, *what;
} others[] = {
    { "softlens-gallery", "a gallery of enrolled classes, no model; look into it as a gallery" },
    { "softlens-ebv", "a table of Equiangular Basis Vectors, no model; train a network with it" },
};

static sl_status find_architecture(sl_ctx *ctx, const sl_tensor_set *set,
                                   const sl_architecture **out)
{
    const char *path = sl_tensor_set_path(set);
    const char *stated = sl_tensor_set_meta(set, "architecture");
    for (size_t i = 0; i < SL_ARRAY_LEN(architectures); i++) {
        *out = architectures[i];
        if (stated ? strcmp(stated, (*out)->name) == 0 : (*out)->is_like(set))
            return SL_OK;
    }
    if (stated)
        return sl_fail(
            ctx, SL_ERR_UNSUPPORTED,
            "%s: a model of architecture \"%.64s\"; this version runs \"%s\", \"%s\" and "
            "\"%s\"",
            path, stated, architectures[0]->name, architectures[1]->name, architectures[2]->name);
    const char *format = sl_tensor_set_meta(set, "format");
    for (size_t i = 0; i < SL_ARRAY_LEN(others) && format; i++)
        if (strcmp(format, others[i].format) == 0)
            return sl_fail(ctx, SL_ERR_FORMAT, "%s: %s", path, others[i].what);
    return sl_fail(ctx, SL_ERR_FORMAT,
                   "%s: no tensor input_proj.proj.0.weight, so this is no LMD-ViT, no "
                   "patch_embed1.proj.0.weight, so this is no SOFT, and no "
                   "bbox_head.retina_cls.weight, so this is no RetinaNet; give a file that holds "
                   "one",
                   path);
}

const sl_architecture *sl_model_kind(const sl_model *model)
{
    for (size_t i = 0; i < SL_ARRAY_LEN(architectures); i++)
        if (model->architecture == architectures[i]->name)
            return architectures[i];
    return NULL;
}

sl_status sl_model_open(sl_ctx *ctx, const char *path, sl_model **out)
{
    *out = NULL;
    const sl_architecture *kind = NULL;
    sl_model *model = sl_alloc(ctx, 1, sizeof *model);
    if (!model)
        return SL_ERR_NOMEM;
    sl_status st = sl_tensor_set_open(ctx, path, &model->set);
    if (st == SL_OK)
        st = find_architecture(ctx, model->set, &kind);
    if (st != SL_OK)
        goto done;
    model->architecture = kind->name;
    st = kind->open(ctx, model);
    if (st != SL_OK)
        goto done;
    *out = model;
    model = NULL;
done:
    sl_model_free(model);
    return st;
}

void sl_model_free(sl_model *model)
{
    if (!model)
        return;
    const sl_architecture *kind = sl_model_kind(model);
    if (kind && kind->close)
        kind->close(model);
    sl_tensor_set_free(model->set);
    free(model);
}
