// SPDX-License-Identifier: MIT
// Every row divided by its length, a workgroup a row. Bound in: tokens.c
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint rows, channels;
    float least; // a length
};

layout(std430, binding = 0) readonly buffer X { NUMBER x[]; };
layout(std430, binding = 1) buffer Y { NUMBER y[]; };

shared float part[64];

void main()
{
    uint lane = gl_LocalInvocationIndex, first = group_index() * channels;
    if (group_index() >= rows) // the same for all threads of the group
        return;
    float sum = 0.0;
    for (uint i = lane; i < channels; i += 64)
        sum += float(x[first + i]) * float(x[first + i]);
    part[lane] = sum;
    for (uint half_size = 32; half_size > 0; half_size /= 2) {
        barrier();
        if (lane < half_size)
            part[lane] += part[lane + half_size];
    }
    barrier();
    float size = max(sqrt(part[0]), least);
    for (uint i = lane; i < channels; i += 64)
        y[first + i] = NUMBER(float(x[first + i]) / size);
}
