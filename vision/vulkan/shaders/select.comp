// SPDX-License-Identifier: MIT
// Scores to the list of kept windows, in raster order. One workgroup takes 1024 windows at a time,
// four to a thread; a prefix sum says where each goes.
#version 450

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint windows;
    float threshold; // keep where softmax(z0, z1)[0] is above it
};

layout(std430, binding = 0) readonly buffer Scores { float scores[]; };
layout(std430, binding = 1) buffer List { int list[]; };
layout(std430, binding = 2) buffer Keep { uint keep[]; }; // bytes, four to a word

shared uint sums[256];

void main()
{
    uint t = gl_LocalInvocationIndex, before = 0;
    for (uint base = 0; base < windows; base += 1024) {
        uint first = base + 4 * t, bits = 0, bytes = 0, count = 0;
        for (uint i = 0; i < 4; i++) {
            uint w = first + i;
            if (w < windows && 1.0 / (1.0 + exp(scores[2 * w + 1] - scores[2 * w])) > threshold) {
                bits |= 1u << i;
                bytes |= 1u << (8 * i);
                count++;
            }
        }
        if (first < windows)
            keep[first / 4] = bytes;
        barrier();
        sums[t] = count;
        barrier();
        for (uint reach = 1; reach < 256; reach *= 2) {
            uint other = t >= reach ? sums[t - reach] : 0;
            barrier();
            sums[t] += other;
            barrier();
        }
        uint at = before + sums[t] - count;
        for (uint i = 0; i < 4; i++)
            if ((bits >> i & 1u) != 0)
                list[4 + at++] = int(first + i);
        before += sums[255];
    }
    if (t == 0) {
        list[0] = int(before);
        list[1] = list[2] = list[3] = 0;
    }
    // What a reader of the whole list sees does not depend on earlier runs.
    for (uint i = before + t; i < windows; i += 256)
        list[4 + i] = -1;
}
