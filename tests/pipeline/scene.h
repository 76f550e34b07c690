// SPDX-License-Identifier: MIT
// tests/pipeline/scene.h: seeded pictures for the suites of pipeline/.
#ifndef TESTS_PIPELINE_SCENE_H
#define TESTS_PIPELINE_SCENE_H

#include "../base/run.h"
#include "image/image.h"
#include "model.h"

#include <math.h>

// Brightness of a scene by place; texture is laid over it.
typedef enum scene_kind { SCENE_DARK, SCENE_BRIGHT, SCENE_BRIGHT_SPOT, SCENE_MIXED } scene_kind;

static inline float scene_level(scene_kind kind, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
    bool in_spot = x >= w / 4 && x < w / 2 && y >= h / 4 && y < h * 3 / 5;
    switch (kind) {
    case SCENE_DARK:
        return 0.1f;
    case SCENE_BRIGHT:
        return 0.9f;
    case SCENE_BRIGHT_SPOT:
        return in_spot ? 0.9f : 0.1f;
    case SCENE_MIXED:
        break;
    }
    return (x / 23 + y / 31) % 3 == 0 ? 0.9f : 0.1f;
}

static inline uint32_t scene_noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

// Every sample of its own value, alpha included.
static inline sl_image *scene(uint32_t width, uint32_t height, unsigned channels, unsigned depth,
                              scene_kind kind, uint32_t seed)
{
    sl_image *image;
    ck_ok(sl_image_new(ctx, width, height, channels, depth, &image));
    for (uint32_t y = 0; y < height; y++) {
        uint8_t *bytes = sl_image_row(image, y);
        uint16_t *words = sl_image_row(image, y);
        for (uint32_t x = 0; x < width; x++)
            for (unsigned k = 0; k < channels; k++) {
                float level = scene_level(kind, x, y, width, height);
                float texture = (float)(scene_noise(&seed) % 1000) / 1000.0f - 0.5f;
                float value = level + 0.18f * texture;
                if (depth == 16)
                    words[x * channels + k] = (uint16_t)(value * 65535.0f);
                else
                    bytes[x * channels + k] = (uint8_t)(value * 255.0f);
            }
    }
    return image;
}

static inline unsigned sample(const sl_image *image, uint32_t x, uint32_t y, unsigned channel)
{
    size_t at = (size_t)x * image->channels + channel;
    const void *row = sl_image_row_const(image, y);
    return image->depth == 16 ? ((const uint16_t *)row)[at] : ((const uint8_t *)row)[at];
}

// A copy of the picture, turned over.
static inline sl_image *turned(const sl_image *image, bool is_mirrored, bool is_upside_down)
{
    size_t bytes = (size_t)image->channels * image->depth / 8, w = image->width;
    sl_image *out;
    ck_ok(sl_image_new(ctx, image->width, image->height, image->channels, image->depth, &out));
    for (uint32_t y = 0; y < image->height; y++)
        for (size_t x = 0; x < w; x++)
            memcpy(sl_image_row(out, is_upside_down ? image->height - 1 - y : y) +
                       (is_mirrored ? w - 1 - x : x) * bytes,
                   image->pixels + y * image->row_bytes + x * bytes, bytes);
    return out;
}

// Pixels that differ in any channel.
static inline size_t differing(const sl_image *a, const sl_image *b)
{
    size_t count = 0;
    for (uint32_t y = 0; y < a->height; y++)
        for (uint32_t x = 0; x < a->width; x++)
            for (unsigned k = 0; k < a->channels; k++)
                if (sample(a, x, y, k) != sample(b, x, y, k)) {
                    count++;
                    break;
                }
    return count;
}

static inline sl_model *model_of(uint32_t scales, uint32_t depth, uint32_t unshuffle,
                                 test_keeps keeps, unsigned seed)
{
    sl_model *model;
    test_model spec = { scales, depth, unshuffle, keeps, seed };
    ck_ok(test_model_open(ctx, in_dir("model.safetensors"), &spec, &model));
    return model;
}

// What a context was told of its progress.
typedef struct watched {
    size_t done, total;
    unsigned returns; // how often it went back
    bool is_beyond;   // there was more than all
} watched;

static inline bool watch(void *user, size_t done, size_t total)
{
    watched *w = user;
    w->returns += done < w->done;
    w->is_beyond |= done > total;
    w->done = done;
    w->total = total;
    return true;
}

static inline void watch_progress(watched *w)
{
    ctx->options.progress = watch;
    ctx->options.progress_user = w;
}

#endif
