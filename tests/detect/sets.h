// SPDX-License-Identifier: MIT
// tests/detect/sets.h: boxes at random, from kind to kind and from a seed.
#ifndef TESTS_DETECT_SETS_H
#define TESTS_DETECT_SETS_H

#include "detect/detect.h"

#include <math.h>

typedef enum set_kind {
    SET_SPREAD,    // all over the picture
    SET_CLUSTERED, // around few objects
    SET_HEAP,      // around one
    SET_NESTED,    // of one centre, of many sizes
    SET_WHOLE,     // corners on whole pixels: many boxes and overlaps alike
    SET_KINDS,
} set_kind;

typedef struct set_plan {
    set_kind kind;
    unsigned scores; // 0: any; else so many different ones
    bool odd;        // empty, enormous, tiny, inverted and repeated boxes among them
    float side;      // of the picture
} set_plan;

static inline uint32_t set_bits(uint64_t *state) // splitmix64
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

static inline float set_uniform(uint64_t *state) // [0, 1)
{
    return (float)(set_bits(state) >> 8) / 16777216.0f;
}

static inline sl_box set_box(float cx, float cy, float w, float h)
{
    return (sl_box) { cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2 };
}

static inline sl_box set_around(float cx, float cy, float size, float shake, uint64_t *state)
{
    float w = size * (1 + shake * (set_uniform(state) - 0.5f));
    float h = size * (1 + shake * (set_uniform(state) - 0.5f));
    float dx = shake * size * (set_uniform(state) - 0.5f);
    float dy = shake * size * (set_uniform(state) - 0.5f);
    return set_box(cx + dx, cy + dy, w, h);
}

static inline sl_box set_plain(const set_plan *plan, uint64_t *state)
{
    const float side = plan->side;
    uint64_t object;
    switch (plan->kind) {
    case SET_CLUSTERED: // one of as many objects as fit side by side
        object = 77 + set_bits(state) % (1 + (unsigned)(side * side / 30000));
        return set_around(side * set_uniform(&object), side * set_uniform(&object),
                          20 + 100 * set_uniform(&object), 0.5f, state);
    case SET_HEAP:
        return set_around(side / 2, side / 2, 100, 0.8f, state);
    case SET_NESTED:
        return set_box(side / 2, side / 2, side * set_uniform(state), side * set_uniform(state));
    case SET_WHOLE:
        return set_box(rintf(side * set_uniform(state)), rintf(side * set_uniform(state)),
                       2 * rintf(1 + 8 * set_uniform(state)),
                       2 * rintf(1 + 8 * set_uniform(state)));
    default:
        return set_box(side * set_uniform(state), side * set_uniform(state),
                       10 + 90 * set_uniform(state), 10 + 90 * set_uniform(state));
    }
}

static inline sl_box set_odd(const set_plan *plan, sl_box before, uint64_t *state)
{
    const float huge = SL_NMS_MAX_COORDINATE, x = plan->side * set_uniform(state);
    switch (set_bits(state) % 9) {
    case 0:
        return (sl_box) { x, x, x, x + 20 };
    case 1:
        return (sl_box) { -huge, -huge, huge, huge };
    case 2:
        return (sl_box) { x + 9, x, x, x + 20 }; // inverted
    case 3:
        return (sl_box) { x, x, x + 0.4f, x + 0.3f };
    case 4:
        return (sl_box) { 0, 0, 1e-25f, 1e-25f };
    case 5:
        return (sl_box) { -huge, x, huge, x + 3 };
    case 6:
        return (sl_box) { x + 0.5f, x, x, x + 20 }; // has a width with the added 1 alone
    case 7:
        return (sl_box) { x, -2e9f, x + 1, 3e9f };
    default:
        return before;
    }
}

static inline float set_score(const set_plan *plan, uint64_t *state)
{
    if (plan->scores > 0)
        return (float)(1 + set_bits(state) % plan->scores) / (float)plan->scores;
    float score = set_uniform(state);
    if (plan->odd && set_bits(state) % 16 == 0)
        score = set_bits(state) % 2 ? 0.001f * score : -score; // below the least from the start
    return plan->odd && set_bits(state) % 64 == 0 ? -0.0f * score : score;
}

static inline void set_fill(const set_plan *plan, sl_scored *boxes, size_t n, uint64_t *state)
{
    for (size_t i = 0; i < n; i++) {
        boxes[i] = (sl_scored) { set_plain(plan, state), set_score(plan, state), (uint32_t)i };
        if (plan->odd && set_bits(state) % 8 == 0)
            boxes[i].box = set_odd(plan, boxes[i > 0 ? i - 1 : 0].box, state);
    }
}

#endif
