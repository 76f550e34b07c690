// SPDX-License-Identifier: MIT
// classify/known.c: labels, directions and statistics of the trained classes, out of a model's
// file.
#include "classify/gallery.h"
#include "classify/known.h"
#include "tensor/json.h"

#include <math.h>

#define SHORTEST_DIRECTION 1e-6
#define MOST_VALUES 64 // of the metadata "reject"
#define MOST_CLASSES ((size_t)1 << 24)

const char *const sl_layer_names[SL_LAYERS] = {
    [SL_LAYER_POOL3] = "pool3",
    [SL_LAYER_POOL4] = "pool4",
    [SL_LAYER_EMBEDDING] = "embedding",
};

const float *sl_layer_features(const sl_features *features, sl_layer layer, size_t *size)
{
    const float *of[] = { features->pool3, features->pool4, features->embedding };
    const size_t sizes[] = { features->pool3_size, features->pool4_size, features->dimension };
    *size = sizes[layer];
    return of[layer];
}

double sl_quantile(const float *ascending, size_t count, double share)
{
    double at = share * (double)(count - 1);
    size_t below = (size_t)at;
    if (below + 1 >= count)
        return (double)ascending[count - 1];
    double part = at - (double)below;
    return (1 - part) * (double)ascending[below] + part * (double)ascending[below + 1];
}

static sl_status malformed(sl_ctx *ctx, const sl_known *known, const char *what)
{
    return sl_fail(ctx, SL_ERR_FORMAT, "%s: %s; make the model's file anew",
                   sl_tensor_set_path(known->set), what);
}

// ---- tensors

// Finite floats of that shape, in the arena. *out: NULL when there is no such tensor.
static sl_status read_matrix(sl_ctx *ctx, sl_known *known, const char *name, size_t rows,
                             size_t columns, float **out)
{
    const sl_tensor *t = sl_tensor_set_find(known->set, name);
    const bool is_vector = t && t->shape.rank == 1 && rows == 1;
    size_t count = 0;
    char what[SL_TENSOR_NAME_BYTES + 64];
    *out = NULL;
    if (!t)
        return SL_OK;
    if (!sl_mul(rows, columns, &count) ||
        !(is_vector
              ? t->shape.dim[0] == columns
              : t->shape.rank == 2 && t->shape.dim[0] == rows && t->shape.dim[1] == columns)) {
        char shape[96];
        sl_shape_text(&t->shape, shape, sizeof(shape));
        snprintf(what, sizeof(what), "tensor %s is %.80s and should be [%zu, %zu]", name, shape,
                 rows, columns);
        return malformed(ctx, known, what);
    }
    *out = sl_arena_alloc(ctx, &known->arena, count, sizeof(**out));
    if (!*out)
        return SL_ERR_NOMEM;
    sl_tensor_to_f32(t, *out);
    for (size_t i = 0; i < count; i++)
        if (!isfinite((*out)[i])) {
            snprintf(what, sizeof(what), "tensor %s holds numbers that are not finite", name);
            return malformed(ctx, known, what);
        }
    return SL_OK;
}

static sl_status normalise_rows(sl_ctx *ctx, sl_known *known, float *rows)
{
    for (size_t i = 0; i < known->shape.classes; i++) {
        float *row = rows + i * known->shape.dimension;
        double square = 0;
        for (size_t j = 0; j < known->shape.dimension; j++)
            square += (double)row[j] * (double)row[j];
        if (!(sqrt(square) > SHORTEST_DIRECTION))
            return malformed(ctx, known, "a class's direction has no length");
        for (size_t j = 0; j < known->shape.dimension; j++)
            row[j] = (float)((double)row[j] / sqrt(square));
    }
    return SL_OK;
}

// Directions of the head; else the means of the embedding, where they were measured.
static sl_status read_directions(sl_ctx *ctx, sl_known *known)
{
    const size_t classes = known->shape.classes, d = known->shape.dimension;
    const char *name = known->shape.has_directions ? "directions" : "reject.embedding.means";
    if (d == 0)
        return SL_OK;
    sl_status st = read_matrix(ctx, known, name, classes, d, &known->directions);
    if (st == SL_OK && known->shape.has_directions && !known->directions)
        return malformed(ctx, known, "it has no tensor directions");
    if (st == SL_OK && known->directions)
        st = normalise_rows(ctx, known, known->directions);
    return st;
}

// ---- statistics

static bool read_number(const json_t *value, double min, double max, double *out)
{
    *out = json_number_value(value);
    return json_is_number(value) && *out >= min && *out <= max;
}

static sl_status read_layer(sl_ctx *ctx, sl_known *known, sl_layer layer)
{
    const size_t sizes[] = { known->shape.pool3_size, known->shape.pool4_size,
                             known->shape.dimension };
    sl_layer_statistics *s = &known->layers[layer];
    char name[64];
    s->size = sizes[layer];
    snprintf(name, sizeof(name), "reject.%s.means", sl_layer_names[layer]);
    sl_status st = read_matrix(ctx, known, name, known->shape.classes, s->size, &s->means);
    snprintf(name, sizeof(name), "reject.%s.covariance", sl_layer_names[layer]);
    if (st == SL_OK)
        st = read_matrix(ctx, known, name, s->size, s->size, &s->covariance);
    if (st == SL_OK && (s->size == 0 || !s->means || !s->covariance)) {
        snprintf(name, sizeof(name), "it lacks reject.%s.means or .covariance",
                 sl_layer_names[layer]);
        st = malformed(ctx, known, name);
    }
    return st;
}

static sl_status read_layers(sl_ctx *ctx, sl_known *known, const json_t *reject)
{
    const json_t *names = json_object_get(reject, "layers");
    const json_t *shrinkage = json_object_get(reject, "shrinkage");
    const json_t *weights = json_object_get(reject, "weights");
    size_t next = 0;
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        while (name && next < SL_LAYERS && strcmp(name, sl_layer_names[next]) != 0)
            next++;
        if (!name || next == SL_LAYERS)
            return malformed(ctx, known, "its statistics are of layers unknown or out of order");
        sl_layer_statistics *s = &known->layers[next];
        if (!read_number(json_array_get(shrinkage, i), 0, 1, &s->shrinkage) ||
            !read_number(json_array_get(weights, i), -1e9, 1e9, &s->weight))
            return malformed(ctx, known, "its statistics lack a shrinkage (0 to 1) or a weight");
        sl_status st = read_layer(ctx, known, (sl_layer)next++);
        if (st != SL_OK)
            return st;
    }
    return next > 0 ? SL_OK : malformed(ctx, known, "its statistics are of no layer");
}

static sl_status read_quantiles(sl_ctx *ctx, sl_known *known)
{
    float *quantiles = NULL;
    sl_status st = read_matrix(ctx, known, "reject.quantiles", 1, SL_QUANTILES, &quantiles);
    for (size_t i = 1; quantiles && st == SL_OK && i < SL_QUANTILES; i++)
        if (quantiles[i] < quantiles[i - 1])
            st = malformed(ctx, known, "tensor reject.quantiles is not ascending");
    known->quantiles = quantiles;
    return st;
}

static sl_status read_statistics(sl_ctx *ctx, sl_known *known)
{
    if (!sl_tensor_set_meta(known->set, "reject"))
        return SL_OK;
    json_t *reject;
    sl_status st = sl_json_meta(ctx, known->set, "reject", MOST_VALUES, &reject);
    if (st != SL_OK)
        return st;
    const char *score = json_string_value(json_object_get(reject, "score"));
    known->is_measured = true;
    if (!score || (strcmp(score, "cosine") != 0 && strcmp(score, "mahalanobis") != 0))
        st = malformed(ctx, known, "its metadata \"reject\" has no score that is known");
    else if (strcmp(score, "mahalanobis") == 0) {
        known->score = SL_SCORE_MAHALANOBIS;
        if (!read_number(json_object_get(reject, "bias"), -1e12, 1e12, &known->bias) ||
            !read_number(json_object_get(reject, "count"), 1, 1e15, &known->count))
            st = malformed(ctx, known, "its statistics lack a bias or a count of pictures");
        else
            st = read_layers(ctx, known, reject);
    }
    if (st == SL_OK)
        st = read_quantiles(ctx, known);
    json_decref(reject);
    return st;
}

// ---- the whole

// What the tensors say, for those who have no network at hand.
static sl_known_shape shape_of_tensors(const sl_tensor_set *set)
{
    sl_known_shape shape = { 0 };
    const char *names[] = { "reject.pool3.means", "reject.pool4.means", "reject.embedding.means",
                            "directions" };
    size_t *sizes[] = { &shape.pool3_size, &shape.pool4_size, &shape.dimension, &shape.dimension };
    for (size_t i = 0; i < SL_ARRAY_LEN(names); i++) {
        const sl_tensor *t = sl_tensor_set_find(set, names[i]);
        if (!t || t->shape.rank != 2 || t->shape.dim[0] > MOST_CLASSES ||
            t->shape.dim[1] > MOST_CLASSES)
            continue;
        shape.classes = (size_t)t->shape.dim[0];
        *sizes[i] = (size_t)t->shape.dim[1];
        shape.has_directions = i == 3;
    }
    return shape;
}

sl_status sl_known_new(sl_ctx *ctx, const sl_tensor_set *model, const sl_known_shape *shape,
                       sl_known **out)
{
    *out = NULL;
    sl_known *known = sl_alloc(ctx, 1, sizeof(*known));
    if (!known)
        return SL_ERR_NOMEM;
    known->set = model;
    known->shape = shape ? *shape : shape_of_tensors(model);
    if (known->shape.scale <= 0)
        known->shape.scale = 1 / 0.07f;
    if (known->shape.temperature <= 0)
        known->shape.temperature = 1;
    sl_status st = known->shape.classes <= MOST_CLASSES
                       ? SL_OK
                       : malformed(ctx, known, "it has more classes than a model can have");
    // A file whose head was taken out may still say what its classes were.
    const bool has_classes = known->shape.classes > 0;
    if (st == SL_OK && has_classes)
        st = sl_labels_of(ctx, known->set, &known->arena, known->shape.classes, &known->labels);
    if (st == SL_OK && has_classes)
        st = read_directions(ctx, known);
    if (st == SL_OK && has_classes)
        st = read_statistics(ctx, known);
    if (st == SL_OK)
        *out = known;
    else
        sl_known_free(known);
    return st;
}

bool sl_known_takes_gallery(const sl_known *known)
{
    return known->shape.classes == 0 || known->directions;
}

void sl_known_forget_classes(sl_known *known)
{
    known->shape.classes = 0;
    known->directions = NULL;
    known->is_measured = false;
}

void sl_known_free(sl_known *known)
{
    if (!known)
        return;
    sl_arena_free(&known->arena);
    free(known);
}
