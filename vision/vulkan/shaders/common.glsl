// SPDX-License-Identifier: MIT
// What kernels share. Activations and matrices are kept as NUMBER: f32, or f16 in the kernels built
// with HALF; all arithmetic is f32.

#ifdef HALF
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define NUMBER float16_t
#define NUMBERS f16vec4
#else
#define NUMBER float
#define NUMBERS vec4
#endif

// Groups that a device does not take along x lie along z (sl_vk_groups). The last ones may have
// nothing to do.
uint group_index()
{
    return gl_WorkGroupID.z * gl_NumWorkGroups.x + gl_WorkGroupID.x;
}

uint flat_index() // in groups of 256
{
    return group_index() * 256 + gl_LocalInvocationIndex;
}

// The values of sl_act.

const uint ACT_NONE = 0, ACT_RELU = 1, ACT_LEAKY_RELU = 2, ACT_GELU = 3, ACT_GELU_TANH = 4;

// Abramowitz and Stegun 7.1.26: off by 1.5e-7 at most.
float erf_of(float x)
{
    float a = abs(x), t = 1.0 / (1.0 + 0.3275911 * a);
    float p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - p * exp(-a * a));
}

// 0.5 x (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3), as max(x, 0) - |x| / (1 + e^2|u|): no
// exponential overflows, and beyond 8 the quotient is 0.
float gelu_tanh(float x)
{
    float t = min(abs(x), 8.0);
    return max(x, 0.0) - t / (1.0 + exp(t * (1.59576912 + 0.0713548163 * t * t)));
}

float activate(uint act, float slope, float x)
{
    if (act == ACT_GELU)
        return 0.5 * x * (1.0 + erf_of(x * 0.70710678118654752));
    if (act == ACT_GELU_TANH)
        return gelu_tanh(x);
    if (act == ACT_RELU)
        return max(x, 0.0);
    if (act == ACT_LEAKY_RELU)
        return x < 0.0 ? x * slope : x;
    return x;
}

// The pixel of a map [height, width] where `token` of window `index` lies, in a frame rolled by
// -shift.
uint window_pixel(uint index, uint token, uint window, uint shift, uint height, uint width)
{
    uint columns = width / window;
    uint y = index / columns * window + token / window + shift;
    uint x = index % columns * window + token % window + shift;
    return (y >= height ? y - height : y) * width + (x >= width ? x - width : x);
}
