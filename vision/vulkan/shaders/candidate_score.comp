// SPDX-License-Identifier: MIT
// Logits to scores: the bits of the sigmoid where it is above the threshold, else 0; the first of
// three histograms of these, by their highest ten bits; and how many logits are not finite. Bound
// in: candidates.c
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 256) in;

const uint BLOCK = 4096, BINS = 1024;

layout(push_constant) uniform Push {
    uint count;
    float threshold;
};

layout(std430, binding = 0) readonly buffer Logits { NUMBER logits[]; };
layout(std430, binding = 1) writeonly buffer Keys { uint keys[]; };
layout(std430, binding = 2) buffer Histograms { uint histograms[]; }; // [3][BINS]
layout(std430, binding = 3) buffer Counts { int counts[]; };          // [4]

shared uint bins[BINS];
shared int odd;

void main()
{
    uint t = gl_LocalInvocationIndex, first = gl_WorkGroupID.x * BLOCK;
    for (uint b = t; b < BINS; b += 256)
        bins[b] = 0;
    if (t == 0)
        odd = 0;
    barrier();
    uint end = min(first + BLOCK, count);
    for (uint i = first + t; i < end; i += 256) {
        float x = float(logits[i]);
        uint bits = floatBitsToUint(x) & 0x7fffffffu, key = 0;
        float score = min(1.0 / (1.0 + exp(-x)), 1.0);
        if (bits >= 0x7f800000u)
            atomicAdd(odd, 1);
        if (bits <= 0x7f800000u && score > threshold) { // no NaN
            key = floatBitsToUint(score);
            atomicAdd(bins[key >> 20], 1u);
        }
        keys[i] = key;
    }
    barrier();
    for (uint b = t; b < BINS; b += 256)
        if (bins[b] != 0)
            atomicAdd(histograms[b], bins[b]);
    if (t == 0 && odd != 0)
        atomicAdd(counts[1], odd);
}
