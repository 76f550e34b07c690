// SPDX-License-Identifier: MIT
// Rows out of the middle of a value. Bound in: tokens.c
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint count, from; // numbers, and the first of them in x
};

layout(std430, binding = 0) readonly buffer X { NUMBER x[]; };
layout(std430, binding = 1) buffer Y { NUMBER y[]; };

void main()
{
    uint at = flat_index();
    if (at < count)
        y[at] = x[from + at];
}
