// SPDX-License-Identifier: MIT
// Windows of a rolled map as packed rows, and back.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

#ifdef HALF
#define BITS NUMBER
#else // as words, so that no device touches their bits
#define BITS uint
#endif

layout(local_size_x = 256) in;

layout(constant_id = 0) const uint SCATTER = 0;
layout(constant_id = 1) const uint HAS_LIST = 0;

layout(push_constant) uniform Push {
    uint windows, channels, window, shift, height, width;
};

layout(std430, binding = 0) readonly buffer From { BITS from[]; };
layout(std430, binding = 1) readonly buffer List { int list[]; };
layout(std430, binding = 2) buffer To { BITS to[]; };

void main()
{
    uint count = HAS_LIST != 0 ? uint(clamp(list[0], 0, int(windows))) : windows;
    uint tokens = window * window, at = flat_index();
    if (at >= count * tokens * channels)
        return;
    uint channel = at % channels, row = at / channels;
    uint index = HAS_LIST != 0 ? uint(list[4 + row / tokens]) : row / tokens;
    uint pixel = window_pixel(index, row % tokens, window, shift, height, width);
    if (SCATTER != 0)
        to[pixel * channels + channel] = from[at];
    else
        to[at] = from[pixel * channels + channel];
}
