// SPDX-License-Identifier: MIT
// The mean of all rows, in an order of its own that no device changes: sums of strips of rows, then
// their sum. Bound in: tokens.c
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 64) in;

const uint STRIPS = 0, TOTAL = 1;
layout(constant_id = 0) const uint STEP = STRIPS;

layout(push_constant) uniform Push {
    uint rows, columns, strip, strips; // rows of x, its columns, rows of a strip, their number
};

layout(std430, binding = 0) readonly buffer X { NUMBER x[]; }; // [rows, columns]
layout(std430, binding = 1) buffer Sums { float sums[]; };     // [strips, columns]
layout(std430, binding = 2) buffer Y { NUMBER y[]; };          // [columns]

void main()
{
    uint at = gl_GlobalInvocationID.x;
    if (at >= columns)
        return;
    float sum = 0.0;
    if (STEP == STRIPS) {
        uint first = gl_WorkGroupID.y * strip, end = min(first + strip, rows);
        for (uint r = first; r < end; r++)
            sum += float(x[r * columns + at]);
        sums[gl_WorkGroupID.y * columns + at] = sum;
        return;
    }
    float lost = 0.0; // summed as Kahan did
    for (uint s = 0; s < strips; s++) {
        precise float term = sums[s * columns + at] - lost;
        precise float next = sum + term;
        precise float gained = next - sum;
        lost = gained - term;
        sum = next;
    }
    y[at] = NUMBER(sum / float(rows));
}
