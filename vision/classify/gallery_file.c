// SPDX-License-Identifier: MIT
// classify/gallery_file.c: galleries in files that nobody vouches for: read, and written whole.
#include "classify/gallery.h"
#include "tensor/json.h"

#include <math.h>
#include <stdatomic.h>

#define FORMAT "softlens-gallery"
#define VERSION "1"
#define UNIT_TOLERANCE 1e-3f
#define ROWS_PER_TASK 2048
#define VALUES_PER_CLASS 4 // in the JSON list: an object, its label, its count, a comma

const char *const sl_gallery_tensor_names[SL_GALLERY_TENSORS] = {
    [SL_GALLERY_PROTOTYPES] = "prototypes",
    [SL_GALLERY_EMBEDDING] = "samples.embedding",
    [SL_GALLERY_POOL3] = "samples.pool3",
    [SL_GALLERY_POOL4] = "samples.pool4",
};

static sl_status damaged(sl_ctx *ctx, const sl_gallery *gallery, const char *what)
{
    return sl_fail(ctx, SL_ERR_FORMAT, "%s: %s; the file is damaged, take a copy of it",
                   gallery->path, what);
}

// ---- numbers

typedef struct scan {
    const float *data;
    size_t rows, width;
    bool is_unit;
    atomic_size_t bad; // the first bad row, or SIZE_MAX
} scan;

static bool is_good_row(const float *x, size_t width, bool is_unit)
{
    enum { LANES = 8 };
    uint32_t infinite = 0, bits;
    float lanes[LANES] = { 0 }, square = 0;
    for (size_t i = 0; i < width; i++) {
        memcpy(&bits, &x[i], sizeof(bits));
        infinite |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    if (infinite || !is_unit)
        return !infinite;
    size_t i = 0;
    for (; i + LANES <= width; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lanes[k] += x[i + k] * x[i + k];
    for (; i < width; i++)
        square += x[i] * x[i];
    for (size_t k = 0; k < LANES; k++)
        square += lanes[k];
    return fabsf(sqrtf(square) - 1) <= UNIT_TOLERANCE;
}

static void scan_rows(void *arg, size_t task, unsigned worker)
{
    scan *s = arg;
    (void)worker;
    size_t first = task * ROWS_PER_TASK, last = first + ROWS_PER_TASK;
    last = last < s->rows ? last : s->rows;
    for (size_t r = first; r < last; r++) {
        if (is_good_row(s->data + r * s->width, s->width, s->is_unit))
            continue;
        size_t seen = atomic_load(&s->bad);
        while (r < seen && !atomic_compare_exchange_weak(&s->bad, &seen, r))
            ;
        return;
    }
}

static sl_status check_numbers(sl_ctx *ctx, const sl_gallery *gallery, int which, size_t rows,
                               size_t width)
{
    scan s = { .data = gallery->rows[which], .rows = rows, .width = width };
    s.is_unit = which == SL_GALLERY_PROTOTYPES || which == SL_GALLERY_EMBEDDING;
    atomic_init(&s.bad, SIZE_MAX);
    sl_pool_run(ctx->pool, scan_rows, &s, (rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK);
    size_t bad = atomic_load(&s.bad);
    if (bad == SIZE_MAX)
        return SL_OK;
    char what[128];
    snprintf(what, sizeof(what), "row %zu of tensor %s is not finite%s", bad,
             sl_gallery_tensor_names[which], s.is_unit ? ", or not of norm 1" : "");
    return damaged(ctx, gallery, what);
}

// ---- tensors

static sl_status take_tensor(sl_ctx *ctx, sl_gallery *gallery, int which, uint64_t shape[2])
{
    const char *name = sl_gallery_tensor_names[which];
    const sl_tensor *t = sl_tensor_set_find(gallery->set, name);
    if (!t || t->dtype != SL_F32 || t->shape.rank != 2)
        return sl_fail(ctx, SL_ERR_FORMAT,
                       "%s: has no tensor %s of F32 in two dimensions; not a gallery, or damaged",
                       gallery->path, name);
    shape[0] = t->shape.dim[0];
    shape[1] = t->shape.dim[1];
    gallery->rows[which] = t->data;
    if ((uintptr_t)t->data % _Alignof(float) == 0)
        return SL_OK;
    // Others may write headers of any length.
    gallery->copies[which] = sl_alloc(ctx, t->bytes, 1);
    if (!gallery->copies[which])
        return SL_ERR_NOMEM;
    memcpy(gallery->copies[which], t->data, t->bytes);
    gallery->rows[which] = gallery->copies[which];
    return SL_OK;
}

static sl_status take_tensors(sl_ctx *ctx, sl_gallery *gallery, size_t *classes, size_t *pictures)
{
    uint64_t shape[SL_GALLERY_TENSORS][2];
    for (int t = 0; t < SL_GALLERY_TENSORS; t++) {
        sl_status st = take_tensor(ctx, gallery, t, shape[t]);
        if (st != SL_OK)
            return st;
    }
    if (sl_tensor_set_count(gallery->set) != SL_GALLERY_TENSORS)
        return damaged(ctx, gallery, "it holds tensors that are not a gallery's");
    uint64_t n = shape[SL_GALLERY_PROTOTYPES][0], all = shape[SL_GALLERY_EMBEDDING][0];
    uint64_t d = shape[SL_GALLERY_PROTOTYPES][1];
    if (d != shape[SL_GALLERY_EMBEDDING][1] || all != shape[SL_GALLERY_POOL3][0] ||
        all != shape[SL_GALLERY_POOL4][0] || all < n || (n == 0 && all > 0) || (n > 0 && d == 0))
        return damaged(ctx, gallery, "the shapes of its tensors contradict each other");
    // Sizes of nothing are not checked against the bytes there are.
    for (int t = 0; t < SL_GALLERY_TENSORS; t++)
        if (shape[t][1] > SIZE_MAX / sizeof(double) / 8)
            return damaged(ctx, gallery, "a tensor is wider than memory");
    *classes = (size_t)n;
    *pictures = (size_t)all;
    gallery->dimension = (size_t)d;
    gallery->pool3_size = (size_t)shape[SL_GALLERY_POOL3][1];
    gallery->pool4_size = (size_t)shape[SL_GALLERY_POOL4][1];
    for (int t = 0; t < SL_GALLERY_TENSORS; t++) {
        sl_status st = check_numbers(ctx, gallery, t, (size_t)shape[t][0], (size_t)shape[t][1]);
        if (st != SL_OK)
            return st;
    }
    return SL_OK;
}

// ---- classes

static sl_status take_class(sl_ctx *ctx, sl_gallery *gallery, const json_t *entry, size_t pictures,
                            size_t *row)
{
    const json_t *count = json_object_get(entry, "count"), *label = json_object_get(entry, "label");
    const char *text = json_string_value(label);
    size_t i = gallery->count;
    if (!text || !json_is_integer(count) || !sl_label_valid(text, json_string_length(label)))
        return damaged(ctx, gallery, "its list of classes has an entry without label or count");
    json_int_t n = json_integer_value(count);
    if (n < 1 || (uint64_t)n > pictures - *row)
        return damaged(ctx, gallery, "its list of classes counts other pictures than there are");
    if (sl_gallery_find(gallery, text, NULL))
        return damaged(ctx, gallery, "two of its classes have one label");
    sl_status st = sl_gallery_append(ctx, gallery, text);
    if (st != SL_OK)
        return st;
    sl_gallery_class *c = &gallery->classes[i];
    c->count = c->file_count = (size_t)n;
    c->file_row = *row;
    c->file_prototype = gallery->rows[SL_GALLERY_PROTOTYPES] + i * gallery->dimension;
    *row += c->count;
    return SL_OK;
}

static sl_status take_classes(sl_ctx *ctx, sl_gallery *gallery, size_t classes, size_t pictures)
{
    const char *text = sl_tensor_set_meta(gallery->set, "classes");
    json_error_t error;
    if (!text || !sl_json_fits(text, VALUES_PER_CLASS * classes + 8))
        return damaged(ctx, gallery, "it has no list of classes, or a longer one than classes");
    json_t *list = NULL;
    sl_status st = sl_json_parse(text, strlen(text), &list, &error);
    if (st == SL_ERR_NOMEM)
        return sl_fail(ctx, st, "%s: out of memory for its labels", gallery->path);
    st = SL_OK;
    size_t row = 0;
    if (!json_is_array(list) || json_array_size(list) != classes)
        st = damaged(ctx, gallery, "its list of classes does not fit its prototypes");
    for (size_t i = 0; i < classes && st == SL_OK; i++)
        st = take_class(ctx, gallery, json_array_get(list, i), pictures, &row);
    if (st == SL_OK && row != pictures)
        st = damaged(ctx, gallery, "it holds pictures that belong to no class");
    json_decref(list);
    return st;
}

static bool is_hash(const char *text)
{
    return text && strspn(text, "0123456789abcdef") == SL_HASH_TEXT - 1 && !text[SL_HASH_TEXT - 1];
}

static sl_status take_metadata(sl_ctx *ctx, sl_gallery *gallery)
{
    const char *format = sl_tensor_set_meta(gallery->set, "format");
    const char *version = sl_tensor_set_meta(gallery->set, "version");
    const char *backbone = sl_tensor_set_meta(gallery->set, "backbone");
    const char *name = sl_tensor_set_meta(gallery->set, "model");
    const char *sight = sl_tensor_set_meta(gallery->set, "sight");
    if (!format || strcmp(format, FORMAT) != 0)
        return sl_fail(ctx, SL_ERR_FORMAT, "%s: not a gallery; name a file that enrolling has made",
                       gallery->path);
    if (!version || strcmp(version, VERSION) != 0)
        return sl_fail(ctx, SL_ERR_UNSUPPORTED,
                       "%s: a gallery of version \"%.16s\"; this program reads version " VERSION,
                       gallery->path,
                       version && sl_tensor_name_valid(version, strlen(version)) ? version : "?");
    if (!is_hash(backbone))
        return damaged(ctx, gallery, "it does not say which model it belongs to");
    memcpy(gallery->hash, backbone, SL_HASH_TEXT);
    if (!name || !sl_tensor_name_valid(name, strlen(name)))
        name = "a model";
    gallery->model_name = sl_strdup(ctx, name);
    gallery->sight = sight ? sl_strdup(ctx, sight) : NULL;
    return gallery->model_name && (gallery->sight || !sight) ? SL_OK : SL_ERR_NOMEM;
}

// Takes the set, whatever the result.
static sl_status read_set(sl_ctx *ctx, sl_tensor_set *set, sl_gallery **out)
{
    sl_gallery *gallery = NULL;
    size_t classes = 0, pictures = 0;
    sl_status st = sl_gallery_make(ctx, sl_tensor_set_path(set), &gallery);
    if (st != SL_OK) {
        sl_tensor_set_free(set);
        return st;
    }
    gallery->set = set;
    st = take_metadata(ctx, gallery);
    if (st == SL_OK)
        st = take_tensors(ctx, gallery, &classes, &pictures);
    if (st == SL_OK)
        st = take_classes(ctx, gallery, classes, pictures);
    if (st == SL_OK)
        *out = gallery;
    else
        sl_gallery_free(gallery);
    return st;
}

sl_status sl_gallery_parse(sl_ctx *ctx, const void *data, size_t size, const char *name,
                           sl_gallery **out)
{
    sl_tensor_set *set = NULL;
    *out = NULL;
    sl_status st = sl_safetensors_parse(ctx, data, size, name, &set);
    return st == SL_OK ? read_set(ctx, set, out) : st;
}

sl_status sl_gallery_open_for(sl_ctx *ctx, const char *path, const sl_tensor_set *model,
                              sl_gallery **out)
{
    sl_tensor_set *set = NULL;
    sl_gallery *gallery = NULL;
    *out = NULL;
    sl_status st = sl_tensor_set_open(ctx, path, &set);
    if (st == SL_OK)
        st = read_set(ctx, set, &gallery);
    if (st == SL_OK && model)
        st = sl_gallery_belongs_to(ctx, gallery, model);
    if (st == SL_OK) {
        gallery->model = model;
        *out = gallery;
    } else {
        sl_gallery_free(gallery);
    }
    return st;
}

sl_status sl_gallery_open(sl_ctx *ctx, const char *path, const sl_model *model, sl_gallery **out)
{
    return sl_gallery_open_for(ctx, path, model ? model->set : NULL, out);
}

// ---- writing

static sl_status classes_text(sl_ctx *ctx, const sl_gallery *gallery, char **out)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < gallery->count; i++) {
        const sl_gallery_class *c = &gallery->classes[i];
        json_t *entry = json_pack("{s:s, s:I}", "label", c->label, "count", (json_int_t)c->count);
        if (json_array_append_new(list, entry) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return sl_json_text(ctx, list, JSON_COMPACT, out);
}

static size_t picture_count(const sl_gallery *gallery)
{
    size_t count = 0;
    for (size_t i = 0; i < gallery->count; i++)
        count += gallery->classes[i].count;
    return count;
}

static void gather_rows(const sl_gallery *gallery, float *const data[SL_GALLERY_TENSORS])
{
    const size_t d = gallery->dimension, c3 = gallery->pool3_size, c4 = gallery->pool4_size;
    size_t row = 0;
    for (size_t i = 0; i < gallery->count; i++) {
        memcpy(data[SL_GALLERY_PROTOTYPES] + i * d, sl_gallery_prototype(gallery, i),
               d * sizeof(float));
        for (size_t k = 0; k < gallery->classes[i].count; k++, row++) {
            sl_features f = sl_gallery_picture(gallery, i, k);
            memcpy(data[SL_GALLERY_EMBEDDING] + row * d, f.embedding, d * sizeof(float));
            memcpy(data[SL_GALLERY_POOL3] + row * c3, f.pool3, c3 * sizeof(float));
            memcpy(data[SL_GALLERY_POOL4] + row * c4, f.pool4, c4 * sizeof(float));
        }
    }
}

sl_status sl_gallery_save(sl_ctx *ctx, const sl_gallery *gallery, const char *path)
{
    const size_t n = gallery->count, all = picture_count(gallery);
    const size_t widths[] = { gallery->dimension, gallery->dimension, gallery->pool3_size,
                              gallery->pool4_size };
    float *data[SL_GALLERY_TENSORS] = { NULL };
    sl_tensor tensors[SL_GALLERY_TENSORS];
    char *classes = NULL, *place = NULL;
    sl_status st = classes_text(ctx, gallery, &classes);
    if (st == SL_OK)
        st = sl_gallery_place(ctx, path, &place);
    for (int t = 0; t < SL_GALLERY_TENSORS && st == SL_OK; t++) {
        size_t rows = t == SL_GALLERY_PROTOTYPES ? n : all, count = 0;
        if (!sl_mul(rows, widths[t], &count)) {
            st = sl_fail(ctx, SL_ERR_NOMEM, "%s: more pictures than memory can hold", path);
            break;
        }
        data[t] = sl_alloc(ctx, count, sizeof(float));
        if (!data[t])
            st = SL_ERR_NOMEM;
        tensors[t] = (sl_tensor) { .name = sl_gallery_tensor_names[t],
                                   .shape = { 2, { rows, widths[t] } },
                                   .data = data[t],
                                   .bytes = count * sizeof(float) };
    }
    if (st == SL_OK) {
        const sl_meta meta[] = { { "format", FORMAT },          { "version", VERSION },
                                 { "backbone", gallery->hash }, { "model", gallery->model_name },
                                 { "classes", classes },        { "sight", gallery->sight } };
        const size_t metas = SL_ARRAY_LEN(meta) - (gallery->sight ? 0 : 1);
        gather_rows(gallery, data);
        st = sl_safetensors_write(ctx, place, true, tensors, SL_GALLERY_TENSORS, meta, metas);
    }
    for (int t = 0; t < SL_GALLERY_TENSORS; t++)
        free(data[t]);
    free(classes);
    free(place);
    return st;
}
