// SPDX-License-Identifier: MIT
// A predictor's last layer: two numbers per token, averaged over each window of the rolled map.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint channels, window, shift, height, width;
};

layout(std430, binding = 0) readonly buffer X { NUMBER x[]; };           // [height * width, channels]
layout(std430, binding = 1) readonly buffer Weight { float weight[]; }; // [2, channels], [2]
layout(std430, binding = 2) buffer Scores { float scores[]; };

shared vec2 part[64];

void main()
{
    uint t = gl_LocalInvocationIndex, tokens = window * window, index = group_index();
    if (index >= height / window * (width / window)) // the same for all threads of the group
        return;
    vec2 sum = vec2(0.0);
    for (uint token = t; token < tokens; token += 64) {
        uint from = window_pixel(index, token, window, shift, height, width) * channels;
        for (uint i = 0; i < channels; i++)
            sum += float(x[from + i]) * vec2(weight[i], weight[channels + i]);
    }
    part[t] = sum;
    for (uint half_size = 32; half_size > 0; half_size /= 2) {
        barrier();
        if (t < half_size)
            part[t] += part[t + half_size];
    }
    if (t == 0) {
        vec2 score = part[0] / float(tokens) + vec2(weight[2 * channels], weight[2 * channels + 1]);
        scores[2 * index] = score.x;
        scores[2 * index + 1] = score.y;
    }
}
