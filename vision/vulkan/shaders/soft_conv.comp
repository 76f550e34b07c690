// SPDX-License-Identifier: MIT
// Depthwise convolution of the values of softmax-free attention, one kernel for all channels of a
// head, zeros around the map. Bound in: soft.c
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint height, width, channels, head_dim, side;
};

layout(std430, binding = 0) readonly buffer V { NUMBER v[]; };        // [height * width, channels]
layout(std430, binding = 1) readonly buffer Taps { float taps[]; };   // [heads, side, side]
layout(std430, binding = 2) buffer Out { NUMBER result[]; };

void main()
{
    uint at = flat_index(), channel = at % channels, pixel = at / channels;
    if (pixel >= height * width)
        return;
    int y = int(pixel / width) - int(side / 2), x = int(pixel % width) - int(side / 2);
    uint tap = channel / head_dim * side * side;
    int first = max(-x, 0), end = min(int(side), int(width) - x);
    float sum = 0.0;
    for (int dy = max(-y, 0); dy < min(int(side), int(height) - y); dy++)
        for (int dx = first; dx < end; dx++)
            sum += float(v[(uint(y + dy) * width + uint(x + dx)) * channels + channel])
                * taps[tap + uint(dy) * side + uint(dx)];
    result[at] = NUMBER(sum);
}
