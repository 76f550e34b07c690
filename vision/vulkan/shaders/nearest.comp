// SPDX-License-Identifier: MIT
// A map onto a finer one, in place: x[r,c,:] += coarse[floor(r * h / H), floor(c * w / W),:]. Bound
// in: candidates.c
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint count, height, width, channels, coarse_height, coarse_width; // count: numbers of x
};

layout(std430, binding = 0) readonly buffer Coarse { NUMBER coarse[]; };
layout(std430, binding = 1) buffer X { NUMBER x[]; };

void main()
{
    uint at = flat_index();
    if (at >= count)
        return;
    uint pixel = at / channels;
    uint row = pixel / width * coarse_height / height, column = pixel % width * coarse_width / width;
    float more = float(coarse[(row * coarse_width + column) * channels + at % channels]);
    x[at] = NUMBER(float(x[at]) + more);
}
