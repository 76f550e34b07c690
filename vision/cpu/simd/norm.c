// SPDX-License-Identifier: MIT
// cpu/simd/norm.c: LayerNorm over rows of channels, and activations over plain runs of floats.
#include "cpu/simd/math.h"
#include "cpu/simd/simd.h"

#include <math.h>

typedef struct moments {
    float mean, scale;
} moments;

// Two passes: mean first, then the squares of what is left, so that nothing cancels.
static moments measure(const float *x, size_t channels, float eps)
{
    size_t whole = channels / VL * VL, rest = channels - whole;
    vf sum = { 0 };
    for (size_t c = 0; c < whole; c += VL)
        sum += vf_load(x + c);
    if (rest)
        sum += vf_load_part(x + whole, rest);
    float mean = vf_sum(sum) / (float)channels;

    vf square = { 0 };
    for (size_t c = 0; c < whole; c += VL) {
        vf d = vf_load(x + c) - vf_set(mean);
        square += d * d;
    }
    if (rest) {
        vf d = vf_first(vf_load_part(x + whole, rest) - vf_set(mean), rest);
        square += d * d;
    }
    return (moments) { mean, 1.0f / sqrtf(vf_sum(square) / (float)channels + eps) };
}

SL_INLINE vf normalize(vf x, moments m, vf weight, vf bias)
{
    return (x - vf_set(m.mean)) * vf_set(m.scale) * weight + bias;
}

void SL_LEVEL(sl_layer_norm_run)(const sl_norm *n)
{
    size_t whole = n->channels / VL * VL, rest = n->channels - whole;
    for (size_t r = 0; r < n->rows; r++) {
        const float *x = n->x + r * n->ldx;
        const float *add = n->add ? n->add + r % n->add_rows * n->channels : NULL;
        float *y = n->y + r * n->ldy;
        moments m = measure(x, n->channels, n->eps);
        for (size_t c = 0; c < whole; c += VL) {
            vf v = normalize(vf_load(x + c), m, vf_load(n->weight + c), vf_load(n->bias + c));
            vf_store(y + c, add ? v + vf_load(add + c) : v);
        }
        if (rest) {
            vf v =
                normalize(vf_load_part(x + whole, rest), m, vf_load_part(n->weight + whole, rest),
                          vf_load_part(n->bias + whole, rest));
            vf_store_part(y + whole, add ? v + vf_load_part(add + whole, rest) : v, rest);
        }
    }
}

void SL_LEVEL(sl_activate_run)(float *x, size_t count, sl_act act, float slope)
{
    size_t whole = count / VL * VL, rest = count - whole;
    if (act == SL_ACT_NONE)
        return;
    for (size_t i = 0; i < whole; i += VL)
        vf_store(x + i, vf_activate(vf_load(x + i), act, slope));
    if (rest)
        vf_store_part(x + whole, vf_activate(vf_load_part(x + whole, rest), act, slope), rest);
}
