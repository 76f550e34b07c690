// SPDX-License-Identifier: MIT
// The mean of all rows of a predictor's features, and what it adds to every row. Three steps, each
// in an order of its own that no device changes: sums of strips of rows, their sum, a product.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 64) in;

const uint STRIPS = 0, TOTAL = 1, SHIFT = 2;
layout(constant_id = 0) const uint STEP = STRIPS;

layout(push_constant) uniform Push {
    uint rows, columns, strip, strips; // rows of x, its columns, rows of a strip, their number
    uint outputs;                      // SHIFT
};

layout(std430, binding = 0) readonly buffer X { NUMBER x[]; };     // the step's input
layout(std430, binding = 1) readonly buffer G { float g[]; };     // SHIFT: [columns, outputs]
layout(std430, binding = 2) readonly buffer Base { float base[]; }; // SHIFT: [outputs]
layout(std430, binding = 3) buffer Y { float y[]; };

void main()
{
    uint at = gl_GlobalInvocationID.x;
    if (STEP == STRIPS) { // x [rows, columns] -> [strips, columns]
        uint first = gl_WorkGroupID.y * strip, end = min(first + strip, rows);
        if (at >= columns)
            return;
        float sum = 0.0;
        for (uint r = first; r < end; r++)
            sum += float(x[r * columns + at]);
        y[gl_WorkGroupID.y * columns + at] = sum;
    } else if (STEP == TOTAL) { // [strips, columns] -> mean [columns]
        if (at >= columns)
            return;
        float sum = 0.0, lost = 0.0; // summed as Kahan did
        for (uint s = 0; s < strips; s++) {
            precise float term = float(x[s * columns + at]) - lost;
            precise float next = sum + term;
            precise float gained = next - sum;
            lost = gained - term;
            sum = next;
        }
        y[at] = sum / float(rows);
    } else { // mean [columns] -> [outputs]
        if (at >= outputs)
            return;
        float sum = base[at];
        for (uint i = 0; i < columns; i++)
            sum += float(x[i]) * g[i * outputs + at];
        y[at] = sum;
    }
}
