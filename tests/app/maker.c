// SPDX-License-Identifier: MIT
// tests/app/maker.c: makes and checks files for the scripts that try the program.
//   maker picture OUT.png|jpg WxH      dark, with bright patches, which the test model keeps
//   maker header OUT.png WxH           a PNG that says to be that large and ends there
//   maker npy OUT.npy WxH              a picture as a tensor
//   maker model OUT.safetensors HOW    HOW: good, missing, extra, shape, nan, architecture
//   maker gallery FILE MODEL LABEL N   N pictures that no network saw are enrolled, under the lock
//   maker soft OUT.safetensors HOW     a classifier of 7 classes. HOW: good, other (weights),
//   unknown
//                                      (all that it ever says), linear, backbone (no classes)
//   maker is-npy FILE WxH              exit status 0 when it is float32 [H,W]
//   maker is-picture FILE WxH          exit status 0 when the file decodes to that size
//   maker is-smooth FILE FOUND.json    exit status 0 when nothing is to be seen in the first box of
//                                      what softlens detect wrote
//   maker is-json FILE LINES           exit status 0 when it holds that many JSON objects, one a
//                                      line
#include "../pipeline/model.h"
#include "classify/classify.h"
#include "../pipeline/soft_model.h"
#include "image/image.h"

#include <jansson.h>
#include <math.h>

#define MAX_TENSORS 1024

static sl_ctx *ctx;

static int fail(const char *what)
{
    fprintf(stderr, "maker: %s: %s\n", what, sl_ctx_message(ctx));
    return 1;
}

// ---- pictures

static uint8_t sample(uint32_t x, uint32_t y, unsigned channel)
{
    unsigned texture = (x * 7919u + y * 104729u + channel * 31u) % 23;
    return (uint8_t)(((x / 48 + y / 40) % 3 == 0 ? 215 : 20) + texture);
}

static int make_picture(const char *path, uint32_t width, uint32_t height)
{
    sl_image *image = NULL;
    sl_save_options options = { .quality = 90 };
    if (sl_image_new(ctx, width, height, 3, 8, &image) != SL_OK)
        return fail(path);
    for (uint32_t y = 0; y < height; y++) {
        uint8_t *row = sl_image_row(image, y);
        for (uint32_t i = 0; i < 3 * width; i++)
            row[i] = sample(i / 3, y, i % 3);
    }
    sl_status status = sl_image_save(ctx, image, path, &options);
    sl_image_free(image);
    return status == SL_OK ? 0 : fail(path);
}

static int make_npy(const char *path, uint32_t width, uint32_t height)
{
    float *data = sl_alloc(ctx, 3ul * width * height, sizeof(float));
    if (!data)
        return fail(path);
    for (size_t i = 0; i < 3ul * width * height; i++)
        data[i] =
            (float)sample((uint32_t)(i / 3 % width), (uint32_t)(i / 3 / width), (unsigned)(i % 3)) /
            255;
    sl_tensor tensor = { .dtype = SL_F32,
                         .shape = { 3, { height, width, 3 } },
                         .data = data,
                         .bytes = 3ul * width * height * sizeof(float) };
    sl_status status = sl_npy_write(ctx, path, false, &tensor);
    free(data);
    return status == SL_OK ? 0 : fail(path);
}

static void put32(uint8_t *at, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(x >> (24 - 8 * i));
}

// The checksum of PNG chunks, bit by bit.
static uint32_t crc(const uint8_t *data, size_t size)
{
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        c ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
    }
    return ~c;
}

static int make_header(const char *path, uint32_t width, uint32_t height)
{
    uint8_t png[33] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    put32(png + 16, width);
    put32(png + 20, height);
    png[24] = 8; // bits
    png[25] = 2; // RGB
    put32(png + 29, crc(png + 12, 17));
    return sl_file_write(ctx, path, false, png, sizeof(png)) == SL_OK ? 0 : fail(path);
}

static int is_picture(const char *path, uint32_t width, uint32_t height)
{
    sl_image *image = NULL;
    if (sl_image_load(ctx, path, NULL, &image) != SL_OK)
        return fail(path);
    bool same = sl_image_width(image) == width && sl_image_height(image) == height;
    if (!same)
        fprintf(stderr, "maker: %s is %u x %u\n", path, sl_image_width(image),
                sl_image_height(image));
    sl_image_free(image);
    return same ? 0 : 1;
}

// ---- models

// Spoils the list of tensors; *spare is room for one tensor's data.
static bool spoil(const char *how, sl_tensor *tensors, size_t *count, void **spare)
{
    sl_tensor *last = &tensors[*count - 1];
    if (strcmp(how, "missing") == 0) {
        --*count;
    } else if (strcmp(how, "extra") == 0) {
        tensors[*count] = *last;
        tensors[(*count)++].name = "stowaway.weight";
    } else if (strcmp(how, "shape") == 0) {
        last->shape = (sl_shape) { 2, { 1, last->bytes / sizeof(float) } };
    } else if (strcmp(how, "nan") == 0) {
        *spare = sl_alloc(ctx, last->bytes, 1);
        if (!*spare)
            return false;
        memset(*spare, 0xff, last->bytes);
        last->data = *spare;
    } else {
        return strcmp(how, "architecture") == 0;
    }
    return true;
}

static int make_model(const char *path, const char *how)
{
    test_model spec = { .scales = 1, .depth = 1, .unshuffle = 4, .keeps = TEST_KEEPS_BRIGHT };
    static sl_tensor tensors[MAX_TENSORS + 1];
    sl_model *model = NULL;
    void *spare = NULL;
    char good[4096];
    snprintf(good, sizeof(good), "%s.good", path);
    bool is_good = strcmp(how, "good") == 0;
    sl_status status = test_model_open(ctx, is_good ? path : good, &spec, &model);
    size_t count = status == SL_OK ? sl_tensor_set_count(model->set) : MAX_TENSORS + 1;
    if (status == SL_OK && !is_good && count <= MAX_TENSORS) {
        for (size_t i = 0; i < count; i++)
            tensors[i] = *sl_tensor_set_at(model->set, i);
        bool spoilt = spoil(how, tensors, &count, &spare);
        bool is_other = strcmp(how, "architecture") == 0;
        sl_meta meta[] = { { "architecture", is_other ? "hourglass" : "lmd-vit" },
                           { "config", sl_tensor_set_meta(model->set, "config") } };
        status = spoilt ? sl_safetensors_write(ctx, path, false, tensors, count, meta, 2)
                        : sl_fail(ctx, SL_ERR_ARGUMENT, "no way to spoil a model: %s", how);
        remove(good);
    }
    sl_model_free(model);
    free(spare);
    return status == SL_OK ? 0 : fail(path);
}

// ---- galleries

static sl_status add_pictures(sl_gallery *gallery, const char *label, long count)
{
    enum { D = 8, C3 = 3, C4 = 4 };
    sl_status status = SL_OK;
    size_t at, had = sl_gallery_find(gallery, label, &at) ? sl_gallery_pictures(gallery, at) : 0;
    unsigned state = (unsigned)label[0] + 7919u * (unsigned)had; // no picture twice
    for (long k = 0; k < count && status == SL_OK; k++) {
        float x[D + C3 + C4];
        double square = 0;
        for (size_t i = 0; i < D + C3 + C4; i++) { // a label's first letter says where it lies
            state = state * 1664525u + 1013904223u;
            x[i] = (i == (size_t)label[0] % D ? 1.f : 0.f) + (float)(state >> 16) / 655360.f;
        }
        for (size_t i = 0; i < D; i++)
            square += (double)x[i] * (double)x[i];
        for (size_t i = 0; i < D; i++)
            x[i] = (float)((double)x[i] / sqrt(square));
        status = sl_gallery_add(ctx, gallery, label,
                                &(sl_features) { .dimension = D,
                                                 .pool3_size = C3,
                                                 .pool4_size = C4,
                                                 .embedding = x,
                                                 .pool3 = x + D,
                                                 .pool4 = x + D + C3 });
    }
    return status;
}

// As softlens enroll would, with what no network has seen.
static int enroll(const char *path, const char *model_path, const char *label, long count)
{
    sl_gallery_hold *hold = NULL;
    sl_gallery *gallery = NULL;
    sl_model *model = NULL;
    sl_status status = sl_model_open(ctx, model_path, &model);
    if (status == SL_OK)
        status = sl_gallery_lock(ctx, path, &hold);
    if (status == SL_OK)
        status = sl_file_exists(path) ? sl_gallery_open(ctx, path, model, &gallery)
                                      : sl_gallery_new(ctx, model, &gallery);
    if (status == SL_OK)
        status = add_pictures(gallery, label, count);
    if (status == SL_OK)
        status = sl_gallery_save(ctx, gallery, path);
    sl_gallery_free(gallery);
    sl_gallery_unlock(hold);
    sl_model_free(model);
    return status == SL_OK ? 0 : fail(path);
}

static int make_soft(const char *path, const char *how)
{
    test_soft spec = { .head = SL_SOFT_HEAD_HYPERSPHERICAL, .classes = 7, .has_reject = true };
    sl_model *model = NULL;
    if (strcmp(how, "other") == 0)
        spec.seed = 1;
    else if (strcmp(how, "unknown") == 0)
        spec.all_unknown = true;
    else if (strcmp(how, "linear") == 0)
        spec = (test_soft) { .head = SL_SOFT_HEAD_LINEAR, .classes = 7 };
    else if (strcmp(how, "backbone") == 0)
        spec = (test_soft) { .head = SL_SOFT_HEAD_NONE };
    else if (strcmp(how, "good") != 0)
        return 2;
    sl_status status = test_soft_open(ctx, path, &spec, &model);
    sl_model_free(model);
    return status == SL_OK ? 0 : fail(path);
}

static int is_npy(const char *path, uint32_t width, uint32_t height)
{
    sl_blob storage = { 0 };
    sl_tensor t;
    if (sl_npy_read(ctx, path, &storage, &t) != SL_OK)
        return fail(path);
    bool same = t.dtype == SL_F32 && t.shape.rank == 2 && t.shape.dim[0] == height &&
                t.shape.dim[1] == width;
    sl_blob_free(&storage);
    return same ? 0 : 1;
}

// ---- JSON

static int is_json(const char *path, long lines)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t size = 0;
    long objects = 0;
    while (file && getline(&line, &size, file) > 0) {
        json_t *value = json_loads(line, 0, NULL);
        objects += json_is_object(value) ? 1 : -1000000;
        json_decref(value);
    }
    free(line);
    if (file)
        fclose(file);
    if (objects != lines)
        fprintf(stderr, "maker: %s: not %ld lines with an object each\n", path, lines);
    return objects == lines ? 0 : 1;
}

// ---- what was hidden

static uint32_t edge(const json_t *object, const char *key, uint32_t most)
{
    double x = json_number_value(json_object_get(object, key));
    return x < (double)most ? (uint32_t)x : most;
}

// The pictures made above have texture: neighbours differ by 11 on average, blurred ones by 2.
static int is_smooth(const char *path, const char *found)
{
    sl_image *image = NULL;
    json_t *root = json_load_file(found, 0, NULL);
    const json_t *first = json_array_get(json_object_get(root, "detections"), 0);
    uint64_t sum = 0, count = 0;
    if (sl_image_load(ctx, path, NULL, &image) != SL_OK || image->channels != 3) {
        json_decref(root);
        sl_image_free(image);
        return fail(path);
    }
    uint32_t right = edge(first, "x2", image->width), bottom = edge(first, "y2", image->height);
    for (uint32_t y = edge(first, "y1", bottom); y < bottom; y++) {
        const uint8_t *row = sl_image_row(image, y);
        for (uint32_t i = 3 * edge(first, "x1", right); i + 3 < 3 * right; i++, count++)
            sum += (uint64_t)abs(row[i + 3] - row[i]);
    }
    sl_image_free(image);
    json_decref(root);
    if (count < 1000 || sum > 4 * count)
        fprintf(stderr, "maker: %s: %g on average of %g neighbours\n", path,
                (double)sum / (double)count, (double)count);
    return count >= 1000 && sum <= 4 * count ? 0 : 1;
}

static int dispatch(int argc, char **argv)
{
    uint32_t width = 0, height = 0;
    const char *what = argc > 1 ? argv[1] : "", *path = argc > 2 ? argv[2] : "";
    if (argc == 4 && strcmp(what, "model") == 0)
        return make_model(path, argv[3]);
    if (argc == 6 && strcmp(what, "gallery") == 0)
        return enroll(path, argv[3], argv[4], strtol(argv[5], NULL, 10));
    if (argc == 4 && strcmp(what, "soft") == 0)
        return make_soft(path, argv[3]);
    if (argc == 4 && strcmp(what, "is-smooth") == 0)
        return is_smooth(path, argv[3]);
    if (argc == 4 && strcmp(what, "is-json") == 0)
        return is_json(path, strtol(argv[3], NULL, 10));
    if (argc == 4 && sscanf(argv[3], "%ux%u", &width, &height) == 2) {
        if (strcmp(what, "picture") == 0)
            return make_picture(path, width, height);
        if (strcmp(what, "header") == 0)
            return make_header(path, width, height);
        if (strcmp(what, "npy") == 0)
            return make_npy(path, width, height);
        if (strcmp(what, "is-npy") == 0)
            return is_npy(path, width, height);
        if (strcmp(what, "is-picture") == 0)
            return is_picture(path, width, height);
    }
    fprintf(stderr, "maker: see the top of maker.c\n");
    return 2;
}

int main(int argc, char **argv)
{
    if (sl_ctx_new(NULL, &ctx) != SL_OK)
        return 1;
    int result = dispatch(argc, argv);
    sl_ctx_free(ctx);
    return result;
}
