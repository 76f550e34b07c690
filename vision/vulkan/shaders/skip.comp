// SPDX-License-Identifier: MIT
// A map into the last channels of a wider one.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

#ifdef HALF
#define BITS NUMBER
#else // as words, so that no device touches their bits
#define BITS uint
#endif

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint count, channels, stride, at_channel; // count: numbers of x; stride: channels of y
};

layout(std430, binding = 0) readonly buffer X { BITS x[]; };
layout(std430, binding = 1) buffer Y { BITS y[]; };

void main()
{
    uint at = flat_index();
    if (at < count)
        y[at / channels * stride + at_channel + at % channels] = x[at];
}
