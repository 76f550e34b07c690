// SPDX-License-Identifier: MIT
// classify/gallery.c: classes made of photographs. What a class is follows from its pictures in
// their order alone, so that pictures added later give what all at once would have given.
#include "classify/gallery.h"

#include <math.h>

#define UNIT_TOLERANCE 1e-3
#define SHORTEST_MEAN 1e-6 // of unit vectors: below it their sum is rounding

sl_status sl_gallery_make(sl_ctx *ctx, const char *path, sl_gallery **out)
{
    *out = NULL;
    sl_gallery *gallery = sl_alloc(ctx, 1, sizeof(*gallery));
    if (!gallery)
        return SL_ERR_NOMEM;
    gallery->path = sl_strdup(ctx, path);
    gallery->index = json_object();
    if (!gallery->path || !gallery->index) {
        sl_gallery_free(gallery);
        return sl_fail(ctx, SL_ERR_NOMEM, "out of memory for a gallery");
    }
    *out = gallery;
    return SL_OK;
}

static void free_class(sl_gallery_class *c)
{
    for (size_t k = 0; c->added && k < c->count - c->file_count; k++)
        free(c->added[k]);
    free(c->added);
    free(c->label);
    free(c->prototype);
    free(c->prints);
    free(c->sum);
}

void sl_gallery_free(sl_gallery *gallery)
{
    if (!gallery)
        return;
    for (size_t i = 0; i < gallery->count; i++)
        free_class(&gallery->classes[i]);
    free(gallery->classes);
    json_decref(gallery->index);
    for (size_t t = 0; t < SL_GALLERY_TENSORS; t++)
        free(gallery->copies[t]);
    sl_tensor_set_free(gallery->set);
    free(gallery->model_name);
    free(gallery->sight);
    free(gallery->path);
    free(gallery);
}

// ---- labels

bool sl_label_valid(const char *text, size_t size)
{
    return size >= 1 && size <= SL_LABEL_BYTES && text[0] != ' ' && text[size - 1] != ' ' &&
           sl_tensor_name_valid(text, size);
}

static sl_status check_label(sl_ctx *ctx, const char *label)
{
    if (sl_label_valid(label, strlen(label)))
        return SL_OK;
    return sl_fail(ctx, SL_ERR_ARGUMENT,
                   "a label %s; give 1 to %d bytes of UTF-8 without control characters, and no "
                   "space at either end",
                   !*label                          ? "is empty"
                   : strlen(label) > SL_LABEL_BYTES ? "is too long"
                                                    : "cannot be printed",
                   SL_LABEL_BYTES);
}

bool sl_gallery_find(const sl_gallery *gallery, const char *label, size_t *i)
{
    const json_t *number = json_object_get(gallery->index, label);
    if (number && i)
        *i = (size_t)json_integer_value(number);
    return number != NULL;
}

static sl_status find_class(sl_ctx *ctx, const sl_gallery *gallery, const char *label, size_t *i)
{
    if (sl_gallery_find(gallery, label, i))
        return SL_OK;
    return sl_fail(ctx, SL_ERR_ARGUMENT, "%s: has no class \"%.255s\"", gallery->path, label);
}

static sl_status index_class(sl_ctx *ctx, json_t *index, const char *label, size_t i)
{
    if (json_object_set_new(index, label, json_integer((json_int_t)i)) == 0)
        return SL_OK;
    return sl_fail(ctx, SL_ERR_NOMEM, "out of memory for the label \"%s\"", label);
}

sl_status sl_gallery_append(sl_ctx *ctx, sl_gallery *gallery, const char *label)
{
    sl_status st = check_label(ctx, label);
    if (st != SL_OK)
        return st;
    if (gallery->count == gallery->room) {
        size_t room = gallery->room + gallery->room / 2 + 16;
        sl_gallery_class *grown = sl_alloc(ctx, room, sizeof(*grown));
        if (!grown)
            return SL_ERR_NOMEM;
        if (gallery->count > 0)
            memcpy(grown, gallery->classes, gallery->count * sizeof(*grown));
        free(gallery->classes);
        gallery->classes = grown;
        gallery->room = room;
    }
    char *copy = sl_strdup(ctx, label);
    if (!copy)
        return SL_ERR_NOMEM;
    st = index_class(ctx, gallery->index, copy, gallery->count);
    if (st != SL_OK) {
        free(copy);
        return st;
    }
    gallery->classes[gallery->count++] = (sl_gallery_class) { .label = copy };
    return SL_OK;
}

sl_status sl_gallery_rename(sl_ctx *ctx, sl_gallery *gallery, const char *label, const char *to)
{
    size_t i = 0;
    sl_status st = check_label(ctx, to);
    if (st == SL_OK)
        st = find_class(ctx, gallery, label, &i);
    if (st != SL_OK || strcmp(label, to) == 0)
        return st;
    if (sl_gallery_find(gallery, to, NULL))
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "%s: has a class \"%s\" already; name another, or remove it first",
                       gallery->path, to);
    char *copy = sl_strdup(ctx, to);
    if (!copy)
        return SL_ERR_NOMEM;
    st = index_class(ctx, gallery->index, copy, i);
    if (st != SL_OK) {
        free(copy);
        return st;
    }
    json_object_del(gallery->index, gallery->classes[i].label);
    free(gallery->classes[i].label);
    gallery->classes[i].label = copy;
    return SL_OK;
}

sl_status sl_gallery_remove(sl_ctx *ctx, sl_gallery *gallery, const char *label)
{
    size_t gone = 0;
    sl_status st = find_class(ctx, gallery, label, &gone);
    if (st != SL_OK)
        return st;
    json_t *index = json_object();
    if (!index)
        return sl_fail(ctx, SL_ERR_NOMEM, "out of memory for the labels");
    for (size_t i = 0; i < gallery->count && st == SL_OK; i++)
        if (i != gone)
            st = index_class(ctx, index, gallery->classes[i].label, i - (i > gone));
    if (st != SL_OK) {
        json_decref(index);
        return st;
    }
    json_decref(gallery->index);
    gallery->index = index;
    free_class(&gallery->classes[gone]);
    gallery->count--;
    memmove(&gallery->classes[gone], &gallery->classes[gone + 1],
            (gallery->count - gone) * sizeof(*gallery->classes));
    return SL_OK;
}

// ---- pictures

size_t sl_gallery_count(const sl_gallery *gallery)
{
    return gallery->count;
}

const char *sl_gallery_label(const sl_gallery *gallery, size_t i)
{
    return i < gallery->count ? gallery->classes[i].label : NULL;
}

size_t sl_gallery_pictures(const sl_gallery *gallery, size_t i)
{
    return i < gallery->count ? gallery->classes[i].count : 0;
}

const float *sl_gallery_prototype(const sl_gallery *gallery, size_t i)
{
    const sl_gallery_class *c = &gallery->classes[i];
    return c->file_prototype ? c->file_prototype : c->prototype;
}

sl_features sl_gallery_picture(const sl_gallery *gallery, size_t i, size_t k)
{
    const sl_gallery_class *c = &gallery->classes[i];
    sl_features f = { .dimension = gallery->dimension,
                      .pool3_size = gallery->pool3_size,
                      .pool4_size = gallery->pool4_size };
    if (k < c->file_count) {
        size_t row = c->file_row + k;
        f.embedding = gallery->rows[SL_GALLERY_EMBEDDING] + row * f.dimension;
        f.pool3 = gallery->rows[SL_GALLERY_POOL3] + row * f.pool3_size;
        f.pool4 = gallery->rows[SL_GALLERY_POOL4] + row * f.pool4_size;
    } else {
        f.embedding = c->added[k - c->file_count];
        f.pool3 = f.embedding + f.dimension;
        f.pool4 = f.pool3 + f.pool3_size;
    }
    return f;
}

bool sl_prototype_of(const double *sum, size_t dimension, size_t count, float *out)
{
    double square = 0;
    for (size_t i = 0; i < dimension; i++)
        square += sum[i] * sum[i];
    double norm = sqrt(square);
    if (!(norm > SHORTEST_MEAN * (double)count))
        return false;
    for (size_t i = 0; i < dimension; i++)
        out[i] = (float)(sum[i] / norm);
    return true;
}

static bool all_finite(const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

static sl_status check_features(sl_ctx *ctx, const sl_gallery *gallery, const sl_features *f)
{
    double square = 0;
    bool is_first = gallery->dimension == 0;
    if (f->dimension == 0)
        return sl_fail(ctx, SL_ERR_UNSUPPORTED, "%s: the network gives no embedding to enroll",
                       gallery->path);
    if (!is_first && (f->dimension != gallery->dimension || f->pool3_size != gallery->pool3_size ||
                      f->pool4_size != gallery->pool4_size))
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "%s: holds pictures of %zu, %zu and %zu numbers; this one has %zu, %zu and "
                       "%zu",
                       gallery->path, gallery->dimension, gallery->pool3_size, gallery->pool4_size,
                       f->dimension, f->pool3_size, f->pool4_size);
    if (!all_finite(f->embedding, f->dimension) || !all_finite(f->pool3, f->pool3_size) ||
        !all_finite(f->pool4, f->pool4_size))
        return sl_fail(ctx, SL_ERR_FORMAT,
                       "the network gave numbers that are not finite for this picture");
    for (size_t i = 0; i < f->dimension; i++)
        square += (double)f->embedding[i] * (double)f->embedding[i];
    if (fabs(sqrt(square) - 1) > UNIT_TOLERANCE)
        return sl_fail(ctx, SL_ERR_FORMAT, "the picture's embedding has the norm %g instead of 1",
                       sqrt(square));
    return SL_OK;
}

// Room for one picture more, for the class's sum and its own prototype.
static sl_status prepare_class(sl_ctx *ctx, const sl_gallery *gallery, size_t i)
{
    sl_gallery_class *c = &gallery->classes[i];
    size_t d = gallery->dimension, used = c->count - c->file_count;
    if (used == c->added_room) {
        size_t room = used + used / 2 + 4;
        float **grown = sl_alloc(ctx, room, sizeof(*grown));
        if (!grown)
            return SL_ERR_NOMEM;
        if (used > 0)
            memcpy(grown, c->added, used * sizeof(*grown));
        free(c->added);
        c->added = grown;
        c->added_room = room;
    }
    if (!c->prototype && !(c->prototype = sl_alloc(ctx, d, sizeof(*c->prototype))))
        return SL_ERR_NOMEM;
    if (c->sum)
        return SL_OK;
    c->sum = sl_alloc(ctx, d, sizeof(*c->sum));
    if (!c->sum)
        return SL_ERR_NOMEM;
    for (size_t k = 0; k < c->count; k++) {
        sl_features f = sl_gallery_picture(gallery, i, k);
        for (size_t j = 0; j < d; j++)
            c->sum[j] += (double)f.embedding[j];
    }
    return SL_OK;
}

static sl_status add_picture(sl_ctx *ctx, sl_gallery *gallery, size_t i, const sl_features *f)
{
    sl_gallery_class *c = &gallery->classes[i];
    const size_t d = f->dimension;
    sl_status st = prepare_class(ctx, gallery, i);
    if (st != SL_OK)
        return st;
    float *copy = sl_alloc(ctx, d + f->pool3_size + f->pool4_size, sizeof(*copy));
    float *prototype = sl_alloc(ctx, d, sizeof(*prototype));
    if (!copy || !prototype) {
        st = SL_ERR_NOMEM;
        goto done;
    }
    memcpy(copy, f->embedding, d * sizeof(*copy));
    if (f->pool3_size > 0)
        memcpy(copy + d, f->pool3, f->pool3_size * sizeof(*copy));
    if (f->pool4_size > 0)
        memcpy(copy + d + f->pool3_size, f->pool4, f->pool4_size * sizeof(*copy));
    for (size_t j = 0; j < d; j++)
        c->sum[j] += (double)copy[j];
    if (!sl_prototype_of(c->sum, d, c->count + 1, prototype)) {
        free(c->sum); // made anew from the pictures when the next one comes
        c->sum = NULL;
        st = sl_fail(ctx, SL_ERR_ARGUMENT,
                     "%s: with this picture those of \"%s\" cancel each other out; leave it out",
                     gallery->path, c->label);
        goto done;
    }
    c->added[c->count - c->file_count] = copy;
    c->count++;
    c->file_prototype = NULL;
    memcpy(c->prototype, prototype, d * sizeof(*prototype));
    copy = NULL;
done:
    free(copy);
    free(prototype);
    return st;
}

sl_status sl_gallery_add(sl_ctx *ctx, sl_gallery *gallery, const char *label,
                         const sl_features *features)
{
    const size_t before = gallery->count;
    const bool is_first = gallery->dimension == 0;
    size_t i = 0;
    sl_status st = check_features(ctx, gallery, features);
    bool is_known = st == SL_OK && sl_gallery_find(gallery, label, &i), is_there = false;
    if (is_known)
        st = sl_gallery_has_picture(ctx, gallery, i, features, &is_there);
    if (is_there)
        st = sl_fail(ctx, SL_ERR_EXISTS, "%s: \"%s\" has this picture already", gallery->path,
                     label);
    if (st == SL_OK && !is_known) {
        st = sl_gallery_append(ctx, gallery, label);
        i = before;
    }
    if (st != SL_OK)
        return st;
    gallery->dimension = features->dimension;
    gallery->pool3_size = features->pool3_size;
    gallery->pool4_size = features->pool4_size;
    st = add_picture(ctx, gallery, i, features);
    if (st == SL_OK)
        sl_gallery_note_picture(&gallery->classes[i], features);
    if (st != SL_OK && gallery->count > before) { // no class without a picture
        json_object_del(gallery->index, gallery->classes[before].label);
        free_class(&gallery->classes[before]);
        gallery->count--;
    }
    if (st != SL_OK && is_first)
        gallery->dimension = gallery->pool3_size = gallery->pool4_size = 0;
    return st;
}

sl_status sl_gallery_merge(sl_ctx *ctx, sl_gallery *into, const sl_gallery *from)
{
    if (into == from)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "%s: cannot be merged into itself", into->path);
    sl_status st = sl_gallery_belong_together(ctx, into, from);
    if (st != SL_OK)
        return st;
    for (size_t i = 0; i < from->count; i++)
        for (size_t k = 0; k < from->classes[i].count; k++) {
            sl_features f = sl_gallery_picture(from, i, k);
            st = sl_gallery_add(ctx, into, from->classes[i].label, &f);
            if ((st == SL_OK || st == SL_ERR_EXISTS) && (k + 1) % 1024 == 0)
                st = sl_progress(ctx, k + 1, from->classes[i].count);
            if (st != SL_OK && st != SL_ERR_EXISTS)
                return st;
        }
    return SL_OK;
}
