// SPDX-License-Identifier: MIT
// classify/hash.c: which network a gallery belongs to.
#include "classify/gallery.h"
#include "tensor/json.h"

#include <jansson.h>
#include <nettle/sha2.h>

static void add_text(struct sha256_ctx *hash, const char *text)
{
    sha256_update(hash, strlen(text) + 1, (const uint8_t *)text); // the 0 ends it
}

// How pictures are shown to the network, where that is more than one view. What else of the config
// decides what is seen is noted beside the hash, which stays that of the galleries there are.
static sl_status add_views(sl_ctx *ctx, struct sha256_ctx *hash, const sl_tensor_set *model)
{
    static const char *const keys[] = { "mirror", "resize", "image" };
    json_t *config;
    sl_status st = sl_json_meta(ctx, model, "config", SL_CONFIG_VALUES, &config);
    const bool is_mirrored = json_is_true(json_object_get(config, "mirror"));
    for (size_t i = 0; is_mirrored && i < SL_ARRAY_LEN(keys); i++) {
        char number[32];
        json_int_t value = json_integer_value(json_object_get(config, keys[i])); // 0: the usual one
        snprintf(number, sizeof(number), "%lld", (long long)value);
        add_text(hash, keys[i]);
        add_text(hash, number);
    }
    json_decref(config);
    return st;
}

sl_status sl_weights_hash(sl_ctx *ctx, const sl_tensor_set *model, char out[SL_HASH_TEXT])
{
    struct sha256_ctx hash;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&hash);
    for (size_t i = 0; i < sl_tensor_set_count(model); i++) {
        const sl_tensor *t = sl_tensor_set_at(model, i);
        char shape[SL_MAX_RANK * 24 + 3];
        if (strncmp(t->name, "reject.", 7) == 0)
            continue;
        sl_shape_text(&t->shape, shape, sizeof(shape));
        add_text(&hash, t->name);
        add_text(&hash, sl_dtype_name(t->dtype));
        add_text(&hash, shape);
        sha256_update(&hash, t->bytes, t->data);
    }
    sl_status st = add_views(ctx, &hash, model);
    sha256_digest(&hash, sizeof(digest), digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return st;
}

static const char *model_name(const sl_tensor_set *model)
{
    const char *path = sl_tensor_set_path(model), *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// For a gallery's file: UTF-8, and nothing that cannot be printed.
static char *copy_name(sl_ctx *ctx, const sl_tensor_set *model)
{
    char *name = sl_utf8_copy(ctx, model_name(model));
    if (!name || sl_tensor_name_valid(name, strlen(name)))
        return name;
    free(name);
    return sl_strdup(ctx, "a model");
}

// Galleries that were made before it was noted belong as their weights do.
static bool sees_alike(const char *sight, const char *other)
{
    return !sight || !other || strcmp(sight, other) == 0;
}

static sl_status check_sight(sl_ctx *ctx, const sl_gallery *gallery, const sl_tensor_set *model)
{
    char *sight = NULL;
    sl_status st = sl_soft_config_sight(ctx, model, &sight);
    if (st == SL_OK && !sees_alike(gallery->sight, sight))
        st = sl_fail(ctx, SL_ERR_ARGUMENT,
                     "%s: was made with the model %s; %s has its weights, but another \"config\", "
                     "by which it sees other numbers; name that model, or enroll the pictures anew",
                     gallery->path, gallery->model_name, model_name(model));
    free(sight);
    return st;
}

sl_status sl_gallery_belongs_to(sl_ctx *ctx, const sl_gallery *gallery, const sl_tensor_set *model)
{
    char hash[SL_HASH_TEXT];
    if (gallery->model == model) // was made or opened with it
        return SL_OK;
    sl_status st = sl_weights_hash(ctx, model, hash);
    if (st != SL_OK)
        return st;
    if (strcmp(hash, gallery->hash) != 0)
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "%s: was made with the model %s (%.12s), not with %s (%.12s); name that "
                       "model, or enroll the pictures anew",
                       gallery->path, gallery->model_name, gallery->hash, model_name(model), hash);
    return check_sight(ctx, gallery, model);
}

sl_status sl_gallery_belong_together(sl_ctx *ctx, const sl_gallery *into, const sl_gallery *from)
{
    if (strcmp(into->hash, from->hash) != 0)
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "%s: was made with the model %s (%.12s), and %s with %s (%.12s); galleries "
                       "of one model alone can be merged",
                       from->path, from->model_name, from->hash, into->path, into->model_name,
                       into->hash);
    if (!sees_alike(into->sight, from->sight))
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "%s: was made with the model %s, and %s with %s, of the same weights, but "
                       "another \"config\"; galleries of one model alone can be merged",
                       from->path, from->model_name, into->path, into->model_name);
    return SL_OK;
}

sl_status sl_gallery_belongs(sl_ctx *ctx, const sl_gallery *gallery, const sl_model *model)
{
    return sl_gallery_belongs_to(ctx, gallery, model->set);
}

sl_status sl_gallery_new_for(sl_ctx *ctx, const sl_tensor_set *model, sl_gallery **out)
{
    sl_gallery *gallery = NULL;
    *out = NULL;
    sl_status st = sl_gallery_make(ctx, "the new gallery", &gallery);
    if (st != SL_OK)
        return st;
    st = sl_weights_hash(ctx, model, gallery->hash);
    gallery->model = model;
    if (st == SL_OK && !(gallery->model_name = copy_name(ctx, model)))
        st = SL_ERR_NOMEM;
    if (st == SL_OK)
        st = sl_soft_config_sight(ctx, model, &gallery->sight);
    if (st == SL_OK)
        *out = gallery;
    else
        sl_gallery_free(gallery);
    return st;
}

sl_status sl_gallery_new(sl_ctx *ctx, const sl_model *model, sl_gallery **out)
{
    return sl_gallery_new_for(ctx, model->set, out);
}
