// SPDX-License-Identifier: MIT
// How sure the predictors are that a pixel is blurred: the chances of the four windows around it,
// linearly between their middles, and no more than what the predictors before said.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint pixels, width, window, shift, rows, columns, has_least; // rows, columns: of windows
};

layout(std430, binding = 0) readonly buffer Scores { vec2 scores[]; };
layout(std430, binding = 1) readonly buffer Least { float least[]; };
layout(std430, binding = 2) buffer Result { float result[]; };

float chance(uint row, uint column)
{
    vec2 z = scores[row * columns + column];
    return 1.0 / (1.0 + exp(z.y - z.x));
}

// Where a pixel lies between the middles of `count` windows.
float place(uint pixel, uint count)
{
    float at = (float(pixel) + 0.5 - float(shift)) / float(window) - 0.5;
    return clamp(at, 0.0, float(count - 1));
}

void main()
{
    uint at = flat_index();
    if (at >= pixels)
        return;
    float y = place(at / width, rows), x = place(at % width, columns);
    uint top = uint(y), left = uint(x);
    uint bottom = min(top + 1, rows - 1), right = min(left + 1, columns - 1);
    float upper = mix(chance(top, left), chance(top, right), x - float(left));
    float lower = mix(chance(bottom, left), chance(bottom, right), x - float(left));
    float v = mix(upper, lower, y - float(top));
    result[at] = has_least != 0 && least[at] < v ? least[at] : v;
}
