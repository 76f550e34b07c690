// SPDX-License-Identifier: MIT
// Position embeddings, resized bilinearly from their square grid, added to the tokens of a map; or
// also a class token in front of them. Bound in: tokens.c
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 256) in;

layout(constant_id = 0) const uint HAS_CLASS = 0; // y has a row more than x, the class token's

layout(push_constant) uniform Push {
    uint count, height, width, channels; // count: numbers of y
    uint grid, grid_row;                 // the grid's side, and its first row in the table
};

layout(std430, binding = 0) readonly buffer X { NUMBER x[]; };          // [height * width, channels]
layout(std430, binding = 1) readonly buffer Table { float table[]; };   // [.., channels]
layout(std430, binding = 2) readonly buffer Class { float class_token[]; }; // [channels]
layout(std430, binding = 3) buffer Y { NUMBER y[]; };

float at_grid(uint row, uint column, uint channel)
{
    return table[(grid_row + row * grid + column) * channels + channel];
}

// Where position `at` of `count` lies between the grid's rows: behind which, and by what part of the
// way to the next. (at + 0.5) * grid / count - 0.5, not below 0, without rounding.
uint source_of(uint at, uint count, out float part)
{
    uint ahead = (2 * at + 1) * grid, behind = min(count, ahead);
    part = float((ahead - behind) % (2 * count)) / float(2 * count);
    return (ahead - behind) / (2 * count);
}

float position_of(uint token, uint channel)
{
    float fy, fx;
    uint y0 = min(source_of(token / width, height, fy), grid - 1);
    uint x0 = min(source_of(token % width, width, fx), grid - 1);
    uint y1 = min(y0 + 1, grid - 1), x1 = min(x0 + 1, grid - 1);
    float upper = (1.0 - fx) * at_grid(y0, x0, channel) + fx * at_grid(y0, x1, channel);
    float lower = (1.0 - fx) * at_grid(y1, x0, channel) + fx * at_grid(y1, x1, channel);
    return (1.0 - fy) * upper + fy * lower;
}

void main()
{
    uint at = flat_index();
    if (at >= count)
        return;
    uint channel = at % channels, row = at / channels;
    if (HAS_CLASS != 0 && row == 0) {
        y[at] = NUMBER(class_token[channel] + table[channel]);
        return;
    }
    uint from = at - HAS_CLASS * channels;
    y[at] = NUMBER(float(x[from]) + position_of(row - HAS_CLASS, channel));
}
