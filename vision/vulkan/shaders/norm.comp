// SPDX-License-Identifier: MIT
// LayerNorm over the last dimension, 16 threads a row; from rows or from windows of a map.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 256) in;

layout(constant_id = 0) const uint FROM_MAP = 0;
layout(constant_id = 1) const uint HAS_LIST = 0;
layout(constant_id = 2) const uint HAS_ADD = 0; // [tokens, channels], behind the norm
layout(constant_id = 3) const uint BY_FOUR = 0; // channels are a multiple of four

layout(push_constant) uniform Push {
    uint rows, channels, tokens; // tokens: rows of a window, or of the added table
    uint first, chunk;
    uint window, shift, height, width;
    float eps;
};

layout(std430, binding = 0) readonly buffer X { NUMBER x[]; };
layout(std430, binding = 0) readonly buffer X4 { NUMBERS x4[]; };
layout(std430, binding = 1) readonly buffer Weight { float weight[]; };
layout(std430, binding = 1) readonly buffer Weight4 { vec4 weight4[]; };
layout(std430, binding = 2) readonly buffer Bias { float bias[]; };
layout(std430, binding = 2) readonly buffer Bias4 { vec4 bias4[]; };
layout(std430, binding = 3) readonly buffer Add { float add[]; };
layout(std430, binding = 3) readonly buffer Add4 { vec4 add4[]; };
layout(std430, binding = 4) readonly buffer List { int list[]; };
layout(std430, binding = 5) buffer Y { NUMBER y[]; };
layout(std430, binding = 5) buffer Y4 { NUMBERS y4[]; };

shared float part[16][16];

vec4 load(uint at)
{
    return BY_FOUR != 0 ? vec4(x4[at]) : vec4(float(x[at]), 0.0, 0.0, 0.0);
}

float sum_of_row(float value)
{
    uint lane = gl_LocalInvocationIndex % 16, row = gl_LocalInvocationIndex / 16;
    barrier();
    part[row][lane] = value;
    barrier();
    float sum = 0.0;
    for (uint i = 0; i < 16; i++)
        sum += part[row][i];
    return sum;
}

void main()
{
    uint row_count = rows;
    if (HAS_LIST != 0)
        row_count = uint(clamp(list[0] - int(first), 0, int(chunk))) * tokens;
    uint lane = gl_LocalInvocationIndex % 16;
    uint row = group_index() * 16 + gl_LocalInvocationIndex / 16;
    bool real = row < row_count;
    uint from = real ? row : 0;
    if (real && FROM_MAP != 0) {
        uint at = first + row / tokens;
        uint index = HAS_LIST != 0 ? uint(list[4 + at]) : at;
        from = window_pixel(index, row % tokens, window, shift, height, width);
    }
    uint wide = BY_FOUR != 0 ? channels / 4 : channels;
    vec4 there = vec4(1.0, vec3(BY_FOUR != 0 ? 1.0 : 0.0)); // of what `load` gives
    float sum = 0.0;
    if (real)
        for (uint i = lane; i < wide; i += 16)
            sum += dot(load(from * wide + i), there);
    float mean = sum_of_row(sum) / float(channels);
    sum = 0.0;
    if (real)
        for (uint i = lane; i < wide; i += 16) {
            vec4 d = load(from * wide + i) - mean;
            sum += dot(d, d * there);
        }
    float scale = inversesqrt(sum_of_row(sum) / float(channels) + eps);
    if (real)
        for (uint i = lane; i < wide; i += 16) {
            vec4 v = (load(from * wide + i) - mean) * scale;
            if (BY_FOUR != 0) {
                v = v * weight4[i] + bias4[i];
                if (HAS_ADD != 0)
                    v += add4[row % tokens * wide + i];
                y4[row * wide + i] = NUMBERS(v);
            } else {
                v.x = v.x * weight[i] + bias[i];
                if (HAS_ADD != 0)
                    v.x += add[row % tokens * wide + i];
                y[row * wide + i] = NUMBER(v.x);
            }
        }
}
