// SPDX-License-Identifier: MIT
// Depthwise 3x3 convolution inside each window, reflected at its border without repeating the edge.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 256) in;

layout(constant_id = 0) const uint ACT = ACT_NONE;
layout(constant_id = 1) const uint HAS_LIST = 0;

layout(push_constant) uniform Push {
    uint windows, first, chunk, window, channels;
    float slope;
};

layout(std430, binding = 0) readonly buffer X { NUMBER x[]; };
layout(std430, binding = 1) readonly buffer Taps { float taps[]; }; // [9, channels]
layout(std430, binding = 2) readonly buffer Bias { float bias[]; };
layout(std430, binding = 3) readonly buffer List { int list[]; };
layout(std430, binding = 4) buffer Y { NUMBER y[]; };

int reflected(int at)
{
    int last = int(window) - 1;
    return at < 0 ? -at : at > last ? 2 * last - at : at;
}

void main()
{
    uint count = HAS_LIST != 0 ? uint(clamp(list[0] - int(first), 0, int(chunk))) : windows;
    uint tokens = window * window, at = gl_GlobalInvocationID.x;
    if (at >= count * tokens * channels)
        return;
    uint channel = at % channels, row = at / channels;
    uint row0 = row / tokens * tokens, token = row % tokens;
    float sum = bias[channel];
    for (int dy = -1; dy <= 1; dy++)
        for (int dx = -1; dx <= 1; dx++) {
            int sy = reflected(int(token / window) + dy), sx = reflected(int(token % window) + dx);
            uint from = row0 + uint(sy) * window + uint(sx);
            sum += float(x[from * channels + channel])
                * taps[uint((dy + 1) * 3 + dx + 1) * channels + channel];
        }
    y[at] = NUMBER(activate(ACT, slope, sum));
}
