// SPDX-License-Identifier: MIT
// net/soft_config.c: the hyper-parameters of a SOFT, from metadata and from the tensors' shapes.
#include "net/parts.h"
#include "tensor/json.h"

#include <math.h>

#define MAX_DEPTH 64
#define MAX_CHANNELS 8192
#define MAX_CLASSES (1u << 20)
#define MAX_IMAGE 4096
#define LAST_HEAD_DIM 32 // of the last stage, where nothing says otherwise

static void defaults(sl_soft_config *c)
{
    *c = (sl_soft_config) { .ratios = { 8, 4, 2 },
                            .kernels = { 9, 5, 3 },
                            .stem = 32,
                            .iterations = 20,
                            .class_token = true,
                            .head = SL_SOFT_HEAD_LINEAR,
                            .temperature = 1,
                            .image = 224,
                            .resize = 248,
                            .mean = { 0.485f, 0.456f, 0.406f },
                            .std = { 0.229f, 0.224f, 0.225f } };
}

// ---- what names and shapes say

typedef struct file { // what is looked into
    sl_ctx *ctx;
    const sl_tensor_set *set;
    const char *root; // of the tensors' names
} file;

static const sl_tensor *find(const file *f, uint32_t stage, uint32_t block, const char *key)
{
    char name[128];
    snprintf(name, sizeof(name), "block%u.%u.%s", stage + 1, block, key);
    return sl_find(f->set, f->root, name);
}

// Side `i` of a tensor of that rank; 0: there is none, or it is absurdly large.
static uint32_t side_of(const sl_tensor *t, unsigned rank, unsigned i)
{
    if (!t || t->shape.rank != rank || t->shape.dim[i] > MAX_CLASSES)
        return 0;
    return (uint32_t)t->shape.dim[i];
}

static sl_status malformed(const file *f, const char *what)
{
    return sl_fail(f->ctx, SL_ERR_FORMAT, "%s: %s%s is missing or has an impossible shape",
                   sl_tensor_set_path(f->set), f->root, what);
}

static bool infer_stage(const file *f, sl_soft_config *c, uint32_t stage)
{
    char name[64];
    snprintf(name, sizeof(name), "patch_embed%u.proj.%u.weight", stage + 1, stage == 0 ? 6u : 0u);
    c->dims[stage] = side_of(sl_find(f->set, f->root, name), 4, 0);
    bool is_free = stage < SL_SOFT_FREE_STAGES;
    const char *first = is_free ? "att.norm1.weight" : "norm1.weight";
    while (c->depths[stage] <= MAX_DEPTH && find(f, stage, c->depths[stage], first))
        c->depths[stage]++;
    if (c->dims[stage] < 1 || c->dims[stage] > MAX_CHANNELS || c->depths[stage] < 1 ||
        c->depths[stage] > MAX_DEPTH)
        return false;
    if (!is_free) {
        c->heads[stage] = c->dims[stage] / LAST_HEAD_DIM;
        return true;
    }
    const sl_tensor *conv = find(f, stage, 0, "att.mha.attn.conv.weight");
    c->heads[stage] = side_of(conv, 4, 0);
    c->kernels[stage] = side_of(conv, 4, 2);
    c->ratios[stage] = side_of(find(f, stage, 0, "att.mha.attn.Qlandmark_op.weight"), 4, 2);
    return c->heads[stage] >= 1 && c->kernels[stage] % 2 == 1 && c->kernels[stage] < 64 &&
           c->ratios[stage] >= 1 && c->ratios[stage] <= 64;
}

static sl_status infer(const file *f, sl_soft_config *c)
{
    c->stem = side_of(sl_find(f->set, f->root, "patch_embed1.proj.0.weight"), 4, 0);
    if (c->stem < 1 || c->stem > MAX_CHANNELS)
        return malformed(f, "patch_embed1.proj.0.weight");
    for (uint32_t stage = 0; stage < SL_SOFT_STAGES; stage++) {
        char what[64];
        snprintf(what, sizeof(what), "stage %u: its patch embedding or a block", stage + 1);
        if (!infer_stage(f, c, stage))
            return malformed(f, what);
    }
    c->class_token = sl_find(f->set, f->root, "cls_token") != NULL;
    const sl_tensor *head = sl_find(f->set, f->root, "head.weight");
    const sl_tensor *directions = sl_find(f->set, f->root, "directions");
    c->head = head ? SL_SOFT_HEAD_LINEAR : SL_SOFT_HEAD_NONE;
    c->classes = side_of(directions ? directions : head, 2, 0);
    c->embedding = directions ? side_of(head, 2, 0) : 0;
    if ((head && c->classes < 1) || (directions && c->embedding < 1))
        return malformed(f, directions ? "directions or head.weight" : "head.weight");
    return SL_OK;
}

// ---- what metadata says

static bool read_word(const json_t *value, const char *const *words, size_t count, size_t *out)
{
    const char *text = json_string_value(value);
    for (*out = 0; text && *out < count; ++*out)
        if (strcmp(text, words[*out]) == 0)
            return true;
    return false;
}

static bool read_reals(const json_t *value, double above, float out[3])
{
    bool fits = json_array_size(value) == 3;
    for (size_t i = 0; fits && i < 3; i++)
        fits = sl_read_real(json_array_get(value, i), above, 1e6, &out[i]);
    return fits;
}

static const char *const inverse_names[] = { "soft", "norm" }; // by sl_inverse
static const char *const head_names[] = { "none", "linear", "ebv",
                                          "hyperspherical" }; // by sl_soft_head

static bool read_inverse(const json_t *value, sl_soft_config *c)
{
    size_t i;
    c->has_inverse = read_word(value, inverse_names, SL_ARRAY_LEN(inverse_names), &i);
    c->inverse = c->has_inverse ? (sl_inverse)i : SL_INVERSE_SOFT;
    return c->has_inverse;
}

static bool read_head(const json_t *value, sl_soft_config *c)
{
    size_t i;
    if (!read_word(value, head_names, SL_ARRAY_LEN(head_names), &i))
        return false;
    c->head = (sl_soft_head)i;
    return true;
}

static bool read_landmarks(const json_t *value, sl_soft_config *c)
{
    if (json_is_string(value)) {
        c->landmarks = 0;
        return strcmp(json_string_value(value), "ratio") == 0;
    }
    return sl_read_count(value, 1, 16384, &c->landmarks) && sl_square_root(c->landmarks) > 0;
}

static bool read_flag(const json_t *value, bool *out)
{
    *out = json_is_true(value);
    return json_is_boolean(value);
}

static bool read_shape_key(const char *key, const json_t *value, sl_soft_config *c)
{
    if (strcmp(key, "dims") == 0)
        return sl_read_counts(value, 1, MAX_CHANNELS, SL_SOFT_STAGES, c->dims);
    if (strcmp(key, "heads") == 0)
        return sl_read_counts(value, 1, MAX_CHANNELS, SL_SOFT_STAGES, c->heads);
    if (strcmp(key, "depths") == 0)
        return sl_read_counts(value, 1, MAX_DEPTH, SL_SOFT_STAGES, c->depths);
    if (strcmp(key, "ratios") == 0)
        return sl_read_counts(value, 1, 64, SL_SOFT_FREE_STAGES, c->ratios);
    if (strcmp(key, "kernels") == 0)
        return sl_read_counts(value, 1, 63, SL_SOFT_FREE_STAGES, c->kernels);
    if (strcmp(key, "stem") == 0)
        return sl_read_count(value, 1, MAX_CHANNELS, &c->stem);
    if (strcmp(key, "landmarks") == 0)
        return read_landmarks(value, c);
    if (strcmp(key, "inverse") == 0)
        return read_inverse(value, c);
    if (strcmp(key, "iterations") == 0)
        return sl_read_count(value, 1, 1000, &c->iterations);
    return false;
}

static bool read_key(const char *key, const json_t *value, sl_soft_config *c)
{
    if (strcmp(key, "class_token") == 0)
        return read_flag(value, &c->class_token);
    if (strcmp(key, "classes") == 0)
        return sl_read_count(value, 0, MAX_CLASSES, &c->classes);
    if (strcmp(key, "head") == 0)
        return read_head(value, c);
    if (strcmp(key, "embedding") == 0)
        return sl_read_count(value, 1, MAX_CHANNELS, &c->embedding);
    if (strcmp(key, "scale") == 0)
        return sl_read_real(value, 0, 1e6, &c->scale);
    if (strcmp(key, "temperature") == 0)
        return sl_read_real(value, 0, 1e6, &c->temperature);
    if (strcmp(key, "image") == 0)
        return sl_read_count(value, 1, MAX_IMAGE, &c->image);
    if (strcmp(key, "resize") == 0)
        return sl_read_count(value, 1, MAX_IMAGE, &c->resize);
    if (strcmp(key, "mirror") == 0)
        return read_flag(value, &c->mirror);
    if (strcmp(key, "mean") == 0)
        return read_reals(value, -1e6, c->mean);
    if (strcmp(key, "std") == 0)
        return read_reals(value, 0, c->std);
    return read_shape_key(key, value, c);
}

static sl_status parse(const file *f, const json_t *stated, sl_soft_config *c)
{
    const char *path = sl_tensor_set_path(f->set), *key;
    json_t *value;
    json_object_foreach((json_t *)stated, key, value)
    {
        if (!read_key(key, value, c))
            return sl_fail(f->ctx, SL_ERR_FORMAT,
                           "%s: metadata \"config\": key \"%s%.64s\" is unknown or out of range",
                           path, f->root, key);
    }
    if (c->dims[0] == 0 || c->heads[0] == 0 || c->depths[0] == 0)
        return sl_fail(f->ctx, SL_ERR_FORMAT,
                       "%s: metadata \"config\" wants %sdims, heads and depths", path, f->root);
    if (c->resize < c->image && !*f->root)
        return sl_fail(f->ctx, SL_ERR_FORMAT,
                       "%s: metadata \"config\": a crop of %u pixels out of a picture of %u", path,
                       c->image, c->resize);
    return SL_OK;
}

// ---- both together

static bool differ(const uint32_t *a, const uint32_t *b, size_t count)
{
    return memcmp(a, b, count * sizeof(*a)) != 0;
}

// The first thing on which they disagree; NULL: none. Heads of the last stage show in no shape.
static const char *find_difference(const sl_soft_config *stated, const sl_soft_config *seen)
{
    if (differ(stated->dims, seen->dims, SL_SOFT_STAGES))
        return "dims";
    if (differ(stated->heads, seen->heads, SL_SOFT_FREE_STAGES))
        return "heads";
    if (differ(stated->depths, seen->depths, SL_SOFT_STAGES))
        return "depths";
    if (differ(stated->ratios, seen->ratios, SL_SOFT_FREE_STAGES))
        return "ratios";
    if (differ(stated->kernels, seen->kernels, SL_SOFT_FREE_STAGES))
        return "kernels";
    if (stated->stem != seen->stem)
        return "stem";
    if (stated->class_token && !seen->class_token)
        return "class_token";
    return NULL;
}

static bool has_directions(const sl_soft_config *c)
{
    return c->head == SL_SOFT_HEAD_EBV || c->head == SL_SOFT_HEAD_HYPERSPHERICAL;
}

// A file without the tensors of a head is a backbone, unless it promises more.
static const char *reconcile_head(sl_soft_config *stated, const sl_soft_config *seen)
{
    if (seen->head == SL_SOFT_HEAD_NONE) {
        if (has_directions(stated))
            return "head";
        stated->head = SL_SOFT_HEAD_NONE;
        stated->classes = 0;
        return NULL;
    }
    if (has_directions(stated) != (seen->embedding > 0) || stated->head == SL_SOFT_HEAD_NONE)
        return "head";
    if (stated->classes != seen->classes)
        return "classes";
    return stated->embedding != seen->embedding ? "embedding" : NULL;
}

sl_status sl_soft_check_landmarks(sl_ctx *ctx, const char *path, const sl_soft_config *c)
{
    if (c->landmarks > 0 && c->landmarks < SL_NORM_LEAST_LANDMARKS && c->has_inverse &&
        c->inverse == SL_INVERSE_NORM)
        return sl_fail(ctx, SL_ERR_FORMAT,
                       "%s: a SOFT-Norm with a single landmark, for which it is not defined", path);
    return SL_OK;
}

static sl_status check_heads(sl_ctx *ctx, const char *path, const sl_soft_config *c,
                             bool is_backbone)
{
    for (uint32_t s = 0; s < SL_SOFT_STAGES; s++)
        if (c->heads[s] < 1 || c->dims[s] % c->heads[s] || c->dims[s] / c->heads[s] > 128)
            return sl_fail(ctx, SL_ERR_FORMAT,
                           "%s: stage %u: %u channels for %u heads; heads are equal, of at most "
                           "128 channels",
                           path, s + 1, c->dims[s], c->heads[s]);
    if (c->head != SL_SOFT_HEAD_NONE && !c->class_token && !is_backbone)
        return sl_fail(ctx, SL_ERR_FORMAT,
                       "%s: a head, and no class token for it to read; leave out the head, or take "
                       "a file with both",
                       path);
    if (has_directions(c) && !(c->scale > 0))
        return sl_fail(ctx, SL_ERR_FORMAT, "%s: metadata \"config\" wants the scale of its head",
                       path);
    return sl_soft_check_landmarks(ctx, path, c);
}

// What a backbone's head is, nobody asks; but there must be no other tensors.
static sl_status ignore_head(const file *f, const sl_soft_config *seen, sl_soft_config *out)
{
    out->head = seen->head;
    out->classes = seen->classes;
    out->embedding = 0;
    if (seen->embedding == 0)
        return SL_OK;
    return sl_fail(f->ctx, SL_ERR_FORMAT, "%s: %sdirections does not belong to a backbone",
                   sl_tensor_set_path(f->set), f->root);
}

sl_status sl_soft_config_from(sl_ctx *ctx, const sl_tensor_set *set, const char *root,
                              const json_t *stated, sl_soft_config *out)
{
    const file f = { ctx, set, root };
    bool is_backbone = *root;
    sl_soft_config seen;
    defaults(&seen);
    sl_status st = infer(&f, &seen);
    if (st != SL_OK)
        return st;
    *out = seen;
    if (stated)
        defaults(out);
    out->class_token = seen.class_token && !is_backbone;
    if (stated)
        st = parse(&f, stated, out);
    else if (seen.embedding > 0 && !is_backbone)
        st = sl_fail(ctx, SL_ERR_FORMAT,
                     "%s: it has directions of classes, but no metadata that says what they are",
                     sl_tensor_set_path(set));
    if (st == SL_OK && is_backbone)
        st = ignore_head(&f, &seen, out);
    const char *what = st == SL_OK ? find_difference(out, &seen) : NULL;
    if (st == SL_OK && !what && stated && !is_backbone)
        what = reconcile_head(out, &seen);
    if (what)
        st = sl_fail(ctx, SL_ERR_FORMAT,
                     "%s: metadata and tensors disagree about %s%s; the file is damaged or was "
                     "edited",
                     sl_tensor_set_path(set), root, what);
    return st == SL_OK ? check_heads(ctx, sl_tensor_set_path(set), out, is_backbone) : st;
}

sl_status sl_soft_config_read(sl_ctx *ctx, const sl_tensor_set *set, sl_soft_config *out)
{
    json_t *stated;
    sl_status st = sl_config_load(ctx, set, &stated);
    if (st == SL_OK)
        st = sl_soft_config_from(ctx, set, "", stated, out);
    json_decref(stated);
    return st;
}

// ---- as JSON

static void set_reals(json_t **root, const char *key, const float *x, const float *usual)
{
    if (sl_is_other(x[0], usual[0]) || sl_is_other(x[1], usual[1]) || sl_is_other(x[2], usual[2]))
        sl_json_set(root, key, sl_reals_json(x, 3));
}

static void set_count(json_t **root, const char *key, uint32_t x, uint32_t usual)
{
    if (x != usual)
        sl_json_set(root, key, json_integer(x));
}

static void set_head(json_t **root, const sl_soft_config *c, const sl_soft_config *d)
{
    sl_json_set(root, "classes", json_integer(c->classes));
    if (has_directions(c)) {
        sl_json_set(root, "head", json_string(head_names[c->head]));
        sl_json_set(root, "embedding", json_integer(c->embedding));
        sl_json_set(root, "scale", json_real((double)c->scale));
    }
    if (sl_is_other(c->temperature, d->temperature))
        sl_json_set(root, "temperature", json_real((double)c->temperature));
}

json_t *sl_soft_config_object(const sl_soft_config *c)
{
    sl_soft_config d;
    defaults(&d);
    json_t *root = json_object();
    sl_json_set(&root, "dims", sl_counts_json(c->dims, SL_SOFT_STAGES));
    sl_json_set(&root, "heads", sl_counts_json(c->heads, SL_SOFT_STAGES));
    sl_json_set(&root, "depths", sl_counts_json(c->depths, SL_SOFT_STAGES));
    if (c->has_inverse)
        sl_json_set(&root, "inverse", json_string(inverse_names[c->inverse]));
    set_head(&root, c, &d);
    if (differ(c->ratios, d.ratios, SL_SOFT_FREE_STAGES))
        sl_json_set(&root, "ratios", sl_counts_json(c->ratios, SL_SOFT_FREE_STAGES));
    if (differ(c->kernels, d.kernels, SL_SOFT_FREE_STAGES))
        sl_json_set(&root, "kernels", sl_counts_json(c->kernels, SL_SOFT_FREE_STAGES));
    set_count(&root, "stem", c->stem, d.stem);
    set_count(&root, "landmarks", c->landmarks, d.landmarks);
    set_count(&root, "iterations", c->iterations, d.iterations);
    if (!c->class_token)
        sl_json_set(&root, "class_token", json_false());
    set_count(&root, "image", c->image, d.image);
    set_count(&root, "resize", c->resize, d.resize);
    if (c->mirror)
        sl_json_set(&root, "mirror", json_true());
    set_reals(&root, "mean", c->mean, d.mean);
    set_reals(&root, "std", c->std, d.std);
    return root;
}

char *sl_soft_config_json(sl_ctx *ctx, const sl_soft_config *c)
{
    return sl_config_text(ctx, sl_soft_config_object(c));
}

// Classes, scale and temperature decide about answers alone; what a head is, its tensors say.
sl_status sl_soft_config_sight(sl_ctx *ctx, const sl_tensor_set *set, char **out)
{
    static const char *const others[] = { "classes", "head", "embedding", "scale", "temperature" };
    sl_soft_config config;
    *out = NULL;
    if (!sl_architecture_soft.is_like(set))
        return SL_OK;
    sl_status st = sl_soft_config_read(ctx, set, &config);
    if (st != SL_OK)
        return st;
    json_t *root = sl_soft_config_object(&config);
    for (size_t i = 0; i < SL_ARRAY_LEN(others); i++)
        json_object_del(root, others[i]);
    *out = sl_config_text(ctx, root);
    return *out ? SL_OK : SL_ERR_NOMEM;
}
