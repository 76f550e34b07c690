// SPDX-License-Identifier: MIT
// tools/bench/batch.c: what bounds a batch, each alone, for tools/bench/batch.sh.
//   batch-bench make DIR COUNT SAMPLE.jpg   so many JPEGs of 1024 x 1024 from a photograph
//   batch-bench deblur|classify DIR         of the network, pictures held decoded
//   batch-bench decode DIR                  of reading and decoding, on one thread
// The last two print pictures/s, and seconds of all processors together for a picture.
#include "softlens.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define SIDE 1024u
#define MAX_PICTURES 1000

static sl_ctx *ctx;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double processor_seconds(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

typedef struct span {
    double seconds, processor;
} span;

static span begin(void)
{
    return (span) { now(), processor_seconds() };
}

static span end(span start)
{
    return (span) { now() - start.seconds, processor_seconds() - start.processor };
}

static int fail(void)
{
    fprintf(stderr, "batch-bench: %s\n", sl_ctx_message(ctx));
    return 1;
}

// Enlarged linearly, each copy from another corner, so that no two are alike.
static void enlarge(const sl_image *from, unsigned shift, sl_image *to)
{
    uint32_t width = sl_image_width(from) - 16, height = sl_image_height(from) - 16;
    unsigned channels = sl_image_channels(from);
    for (uint32_t y = 0; y < SIDE; y++) {
        float fy = (float)y * (float)(height - 1) / SIDE + (float)(shift % 15);
        const uint8_t *a = sl_image_row_const(from, (uint32_t)fy);
        const uint8_t *b = sl_image_row_const(from, (uint32_t)fy + 1);
        uint8_t *row = sl_image_row(to, y);
        for (uint32_t x = 0; x < SIDE; x++) {
            float fx = (float)x * (float)(width - 1) / SIDE + (float)(shift / 15 % 15);
            float u = fx - (float)(uint32_t)fx, v = fy - (float)(uint32_t)fy;
            for (unsigned c = 0; c < 3; c++) {
                size_t at = (uint32_t)fx * channels + c % channels;
                float top = (float)a[at] * (1 - u) + (float)a[at + channels] * u;
                float bottom = (float)b[at] * (1 - u) + (float)b[at + channels] * u;
                row[3 * x + c] = (uint8_t)(top * (1 - v) + bottom * v + 0.5f);
            }
        }
    }
}

static int make(const char *folder, unsigned count, const char *sample)
{
    sl_image *from = NULL, *to = NULL;
    sl_save_options options = { .quality = 92, .overwrite = true };
    sl_status status = sl_image_load(ctx, sample, NULL, &from);
    if (status == SL_OK)
        status = sl_image_new(ctx, SIDE, SIDE, 3, 8, &to);
    for (unsigned i = 0; i < count && status == SL_OK; i++) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%03u.jpg", folder, i);
        enlarge(from, i, to);
        status = sl_image_save(ctx, to, path, &options);
    }
    sl_image_free(from);
    sl_image_free(to);
    return status == SL_OK ? 0 : fail();
}

typedef struct pictures {
    char path[MAX_PICTURES][512];
    sl_image *image[MAX_PICTURES];
    size_t count;
} pictures;

static bool list(const char *folder, pictures *p)
{
    DIR *open_folder = opendir(folder);
    struct dirent *entry;
    while (open_folder && (entry = readdir(open_folder)) && p->count < MAX_PICTURES)
        if (strstr(entry->d_name, ".jpg"))
            snprintf(p->path[p->count++], sizeof(p->path[0]), "%s/%s", folder, entry->d_name);
    if (open_folder)
        closedir(open_folder);
    return p->count > 0;
}

static sl_status load(pictures *p)
{
    sl_status status = SL_OK;
    for (size_t i = 0; i < p->count && status == SL_OK; i++) {
        sl_image_free(p->image[i]);
        status = sl_image_load(ctx, p->path[i], NULL, &p->image[i]);
    }
    return status;
}

static sl_status open_model(const char *architecture, sl_model **out)
{
    char *path = NULL;
    sl_status status = sl_model_find(ctx, architecture, &path);
    if (status == SL_OK)
        status = sl_model_open(ctx, path, out);
    free(path);
    return status;
}

static sl_status time_deblur(const pictures *p, span *took)
{
    sl_model *model = NULL;
    sl_deblur *deblur = NULL;
    sl_status status = open_model("lmd-vit", &model);
    if (status == SL_OK)
        status = sl_deblur_new(ctx, model, NULL, &deblur);
    span start = begin();
    for (size_t i = 0; i < p->count && status == SL_OK; i++) {
        sl_image *out = NULL;
        status = sl_deblur_run(deblur, p->image[i], &out, NULL, NULL);
        sl_image_free(out);
    }
    *took = end(start);
    sl_deblur_free(deblur);
    sl_model_free(model);
    return status;
}

static sl_status time_classify(const pictures *p, span *took)
{
    sl_model *model = NULL;
    sl_classify *classify = NULL;
    sl_status status = open_model("soft", &model);
    if (status == SL_OK)
        status = sl_classify_new(ctx, model, NULL, NULL, &classify);
    span start = begin();
    for (size_t i = 0; i < p->count && status == SL_OK; i++) {
        sl_classification *found = NULL;
        status = sl_classify_run(classify, p->image[i], 5, &found);
        sl_classification_free(found);
    }
    *took = end(start);
    sl_classify_free(classify);
    sl_model_free(model);
    return status;
}

static int measure(const char *what, const char *folder)
{
    static pictures p;
    span took = { 0 };
    if (!list(folder, &p)) {
        fprintf(stderr, "batch-bench: %s: holds no .jpg\n", folder);
        return 1;
    }
    sl_status status = load(&p); // also brings the files into memory
    if (strcmp(what, "decode") == 0) {
        span start = begin();
        status = status == SL_OK ? load(&p) : status;
        took = end(start);
    } else if (status == SL_OK) {
        status = strcmp(what, "deblur") == 0 ? time_deblur(&p, &took) : time_classify(&p, &took);
    }
    for (size_t i = 0; i < p.count; i++)
        sl_image_free(p.image[i]);
    if (status != SL_OK)
        return fail();
    printf("%.3f %.5f\n", (double)p.count / took.seconds, took.processor / (double)p.count);
    return 0;
}

int main(int argc, char **argv)
{
    if (sl_ctx_new(NULL, &ctx) != SL_OK)
        return 1;
    int result = 2;
    if (argc == 5 && strcmp(argv[1], "make") == 0)
        result = make(argv[2], (unsigned)strtoul(argv[3], NULL, 10), argv[4]);
    else if (argc == 3)
        result = measure(argv[1], argv[2]);
    else
        fprintf(stderr, "batch-bench: see the top of batch.c\n");
    sl_ctx_free(ctx);
    return result;
}
