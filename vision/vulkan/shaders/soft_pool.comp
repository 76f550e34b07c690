// SPDX-License-Identifier: MIT
// Queries pooled to a fixed grid of cells: the mean over the rows and columns that a cell touches.
// Bound in: soft.c
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint cell_rows, cell_columns, height, width, channels;
};

layout(std430, binding = 0) readonly buffer Q { NUMBER q[]; };     // [height * width, channels]
layout(std430, binding = 1) buffer Pooled { float pooled[]; }; // [cells, channels]

void main()
{
    uint at = flat_index(), channel = at % channels, cell = at / channels;
    if (cell >= cell_rows * cell_columns)
        return;
    uint row = cell / cell_columns, column = cell % cell_columns;
    uint y0 = row * height / cell_rows, y1 = ((row + 1) * height + cell_rows - 1) / cell_rows;
    uint x0 = column * width / cell_columns;
    uint x1 = ((column + 1) * width + cell_columns - 1) / cell_columns;
    float sum = 0.0;
    for (uint y = y0; y < y1; y++)
        for (uint x = x0; x < x1; x++)
            sum += float(q[(y * width + x) * channels + channel]);
    pooled[at] = sum / float((y1 - y0) * (x1 - x0));
}
