// SPDX-License-Identifier: MIT
// One buffer into another, 16 bytes an invocation: what memory can do at most. Bound in: peak.c
#version 450

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint count; // of 16 bytes each
};

layout(std430, binding = 0) readonly buffer X { uvec4 x[]; };
layout(std430, binding = 1) writeonly buffer Y { uvec4 y[]; };

void main()
{
    uint at = gl_GlobalInvocationID.x;
    if (at < count)
        y[at] = x[at];
}
