// SPDX-License-Identifier: MIT
// tests/net/generated.c: see generated.h.
#include "generated.h"

#include <check.h>
#include <jansson.h>
#include <math.h>
#include <unistd.h>

static uint64_t hash_of(const char *name) // FNV-1a
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 0x100000001b3u;
    return h;
}

static float unit_at(uint64_t seed, size_t i)
{
    uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z = z ^ (z >> 31);
    return (float)((int)(z >> 52) - 2048) / 2048.0f;
}

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

static bool begins_with(const char *name, const char *start)
{
    return strncmp(name, start, strlen(start)) == 0;
}

typedef struct line { // a value is c + a t
    float c, a;
} line;

static line line_of(const char *name, unsigned rank, size_t fan)
{
    static const char backbone[] = "backbone.";
    int k = 0;
    if (begins_with(name, backbone))
        name += strlen(backbone);
    while (3 * ((size_t)1 << (2 * k)) < 2 * fan)
        k++;
    if (ends_in(name, ".running_var"))
        return (line) { 1, 0.5f };
    if (ends_in(name, ".running_mean"))
        return (line) { 0, 0.5f };
    if (ends_in(name, "Qnorm_act.0.weight"))
        return (line) { 0.375f, 0.125f };
    if (ends_in(name, ".weight") && rank == 1)
        return (line) { 1, 0.25f };
    if (ends_in(name, ".bias"))
        return (line) { 0, 0.125f };
    if (begins_with(name, "pos_embed") || begins_with(name, "cls_token"))
        return (line) { 0, 0.5f };
    if (begins_with(name, "bbox_head."))
        return (line) { 0, ldexpf(1, 2 - k) };
    return (line) { 0, ldexpf(1, -(k + ends_in(name, "W_q.weight"))) };
}

static void generate(sl_tensor *t, const char *name, const json_t *shape)
{
    size_t count = 1;
    *t = (sl_tensor) { .name = name, .dtype = SL_F32 };
    for (size_t i = 0; i < json_array_size(shape); i++) {
        t->shape.dim[t->shape.rank] = (uint64_t)json_integer_value(json_array_get(shape, i));
        count *= (size_t)t->shape.dim[t->shape.rank++];
    }
    float *data = malloc(count * sizeof *data);
    ck_assert_ptr_nonnull(data);
    line l = line_of(name, t->shape.rank, count / (size_t)t->shape.dim[0]);
    uint64_t seed = hash_of(name);
    for (size_t i = 0; i < count; i++)
        data[i] = l.c + l.a * unit_at(seed, i);
    t->data = data;
    t->bytes = count * sizeof *data;
}

// The full-size model that a set of answers belongs to, as a file: metadata `config`, `tensors`.
static void write_generated(sl_ctx *ctx, const sl_tensor_set *set, const char *architecture,
                            const char *path)
{
    json_t *shapes = json_loads(sl_tensor_set_meta(set, "tensors"), 0, NULL), *shape;
    ck_assert_ptr_nonnull(shapes);
    sl_tensor *tensors = calloc(json_object_size(shapes), sizeof *tensors);
    const char *name;
    size_t count = 0;
    json_object_foreach(shapes, name, shape) generate(&tensors[count++], name, shape);
    const sl_meta meta[] = { { "architecture", architecture },
                             { "config", sl_tensor_set_meta(set, "config") } };
    ck_assert_int_eq(sl_safetensors_write(ctx, path, true, tensors, count, meta, 2), SL_OK);
    for (size_t i = 0; i < count; i++)
        free((void *)tensors[i].data);
    free(tensors);
    json_decref(shapes);
}

float *test_generated_picture(size_t height, size_t width)
{
    uint64_t fine = hash_of("image"), coarse = hash_of("image.coarse");
    size_t across = (width + 15) / 16;
    float *x = malloc(height * width * 3 * sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < height * width * 3; i++) {
        size_t cell = (i / 3 / width / 16) * across + i / 3 % width / 16;
        x[i] = 1.5f * unit_at(coarse, cell * 3 + i % 3) + 0.5f * unit_at(fine, i);
    }
    return x;
}

float *test_stored_picture(const sl_tensor *input, const sl_soft_config *config)
{
    const uint8_t *pixels = input->data;
    size_t count = input->bytes;
    float *x = malloc(count * sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(((double)pixels[i] / 255 - (double)config->mean[i % 3]) /
                       (double)config->std[i % 3]);
    return x;
}

float test_number_at(const sl_tensor *t, size_t i)
{
    float x;
    memcpy(&x, (const uint8_t *)t->data + i * sizeof x, sizeof x);
    return x;
}

double test_wanted_at(const sl_tensor_set *set, const sl_tensor *want, size_t i)
{
    char name[32];
    int16_t q;
    if (want->dtype == SL_F32)
        return (double)test_number_at(want, i);
    snprintf(name, sizeof name, "%s.range", want->name);
    const sl_tensor *range = sl_tensor_set_find(set, name);
    double low = (double)test_number_at(range, 0), high = (double)test_number_at(range, 1);
    memcpy(&q, (const uint8_t *)want->data + i * sizeof q, sizeof q);
    return low + ((double)q + 32768) / 65535 * (high - low);
}

sl_model *test_golden_model(sl_ctx *ctx, const char *name, const char *architecture,
                            sl_tensor_set **set)
{
    char path[512];
    sl_model *model;
    snprintf(path, sizeof path, GOLDEN_DIR "/%s.safetensors", name);
    ck_assert_msg(sl_tensor_set_open(ctx, path, set) == SL_OK, "%s", sl_ctx_message(ctx));
    bool is_stored = sl_tensor_set_find(*set, "input");
    if (is_stored) {
        snprintf(path, sizeof path, GOLDEN_DIR "/%.*s.safetensors", (int)(strchr(name, '.') - name),
                 name);
    } else {
        snprintf(path, sizeof path, "/tmp/softlens-golden-%d.safetensors", (int)getpid());
        write_generated(ctx, *set, architecture, path);
    }
    ck_assert_msg(sl_model_open(ctx, path, &model) == SL_OK, "%s", sl_ctx_message(ctx));
    if (!is_stored)
        unlink(path); // mapped, so there until it is closed
    return model;
}
