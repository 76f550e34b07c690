// SPDX-License-Identifier: MIT
// [H,W,C] -> [H/f,W/f,C*f*f], channel c*f*f + dy*f + dx.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

#ifdef HALF
#define INPUT float
#define OUTPUT NUMBER
#else // as words, so that no device touches their bits
#define INPUT uint
#define OUTPUT uint
#endif

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint count, width, channels, factor; // count: numbers; width: of the input
};

layout(std430, binding = 0) readonly buffer X { INPUT x[]; };
layout(std430, binding = 1) buffer Y { OUTPUT y[]; };

void main()
{
    uint at = flat_index();
    if (at >= count)
        return;
    uint area = factor * factor, wide = channels * area, row = width / factor;
    uint channel = at % wide / area, tap = at % area;
    uint px = at / wide % row * factor + tap % factor, py = at / wide / row * factor + tap / factor;
    y[at] = OUTPUT(x[(py * width + px) * channels + channel]);
}
