// SPDX-License-Identifier: MIT
// Depthwise 3x3 convolution inside each window, reflected at its border without repeating the edge.
// A thread makes one row of a window: three columns of it are in registers, and move along.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 256) in;

layout(constant_id = 0) const uint ACT = ACT_NONE;
layout(constant_id = 1) const uint HAS_LIST = 0;
layout(constant_id = 2) const uint BY_FOUR = 0; // channels are a multiple of four: a thread takes four

layout(push_constant) uniform Push {
    uint windows, first, chunk, window, channels;
    float slope;
};

layout(std430, binding = 0) readonly buffer X { NUMBER x[]; };
layout(std430, binding = 0) readonly buffer X4 { NUMBERS x4[]; };
layout(std430, binding = 1) readonly buffer Taps { float taps[]; }; // [9, channels]
layout(std430, binding = 1) readonly buffer Taps4 { vec4 taps4[]; };
layout(std430, binding = 2) readonly buffer Bias { float bias[]; };
layout(std430, binding = 2) readonly buffer Bias4 { vec4 bias4[]; };
layout(std430, binding = 3) readonly buffer List { int list[]; };
layout(std430, binding = 4) buffer Y { NUMBER y[]; };
layout(std430, binding = 4) buffer Y4 { NUMBERS y4[]; };

uint reflected(int at)
{
    int last = int(window) - 1;
    return uint(at < 0 ? -at : at > last ? 2 * last - at : at);
}

vec4 load(uint at)
{
    return BY_FOUR != 0 ? vec4(x4[at]) : vec4(float(x[at]), 0.0, 0.0, 0.0);
}

vec4 load_vector(bool of_taps, uint at)
{
    if (BY_FOUR != 0)
        return of_taps ? taps4[at] : bias4[at];
    return vec4(of_taps ? taps[at] : bias[at], 0.0, 0.0, 0.0);
}

void main()
{
    uint count = HAS_LIST != 0 ? uint(clamp(list[0] - int(first), 0, int(chunk))) : windows;
    uint wide = BY_FOUR != 0 ? channels / 4 : channels, at = flat_index();
    if (at >= count * window * wide)
        return;
    uint channel = at % wide, line = at / wide, row = line % window;
    uint first_token = line / window * window * window;
    uint base[3]; // of the lines above, at and below
    for (int i = 0; i < 3; i++)
        base[i] = (first_token + reflected(int(row) + i - 1) * window) * wide + channel;
    vec4 tap[9], left[3], middle[3], right[3], start = load_vector(false, channel);
    for (uint i = 0; i < 9; i++)
        tap[i] = load_vector(true, i * wide + channel);
    for (uint i = 0; i < 3; i++) {
        middle[i] = load(base[i]);
        right[i] = load(base[i] + reflected(1) * wide);
        left[i] = right[i]; // reflected
    }
    for (uint column = 0; column < window; column++) {
        vec4 sum = start;
        for (uint i = 0; i < 3; i++)
            sum += tap[3 * i] * left[i] + tap[3 * i + 1] * middle[i] + tap[3 * i + 2] * right[i];
        uint to = base[1] + column * wide;
        if (BY_FOUR != 0)
            y4[to] = NUMBERS(activate(ACT, slope, sum.x), activate(ACT, slope, sum.y),
                             activate(ACT, slope, sum.z), activate(ACT, slope, sum.w));
        else
            y[to] = NUMBER(activate(ACT, slope, sum.x));
        uint next = reflected(int(column) + 2);
        for (uint i = 0; i < 3; i++) {
            left[i] = middle[i];
            middle[i] = right[i];
            if (column + 1 < window)
                right[i] = load(base[i] + next * wide);
        }
    }
}
