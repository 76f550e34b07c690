// SPDX-License-Identifier: MIT
// K1^T V of softmax-free attention over one chunk of tokens: a thread is a landmark, queries and
// values pass through shared memory in slices, and no number of K1 is ever stored. The sums of all
// chunks meet in soft_gather.comp. Bound in: soft.c
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(constant_id = 0) const uint LANES = 64;  // landmarks of a workgroup: also its size
layout(constant_id = 1) const uint DEPTH = 8;   // of a head, in fours, rounded up
layout(constant_id = 2) const uint TOKENS = 32; // of a slice
layout(local_size_x_id = 0) in;

layout(push_constant) uniform Push {
    uint tokens, chunk, landmarks, heads, head_dim; // chunk: tokens of a workgroup
};

layout(std430, binding = 0) readonly buffer Q { NUMBER q[]; };        // [tokens, channels]
layout(std430, binding = 1) readonly buffer V { NUMBER v[]; };        // the same
layout(std430, binding = 2) readonly buffer Marks { vec4 marks[]; };  // [heads, landmarks, DEPTH]
layout(std430, binding = 3) buffer Parts { vec4 parts[]; }; // [chunks, heads, landmarks, DEPTH]

shared vec4 q_slice[TOKENS][DEPTH];
shared vec4 v_slice[TOKENS][DEPTH];

void load(uint i, uint at)
{
    float scale = inversesqrt(sqrt(float(head_dim)));
    vec4 a = vec4(0.0), b = vec4(0.0);
    for (uint c = 0; c < 4; c++)
        if (i % DEPTH * 4 + c < head_dim) {
            a[c] = scale * float(q[at + i % DEPTH * 4 + c]);
            b[c] = float(v[at + i % DEPTH * 4 + c]);
        }
    q_slice[i / DEPTH][i % DEPTH] = a;
    v_slice[i / DEPTH][i % DEPTH] = b;
}

void main()
{
    uint lane = gl_LocalInvocationIndex, head = gl_WorkGroupID.z;
    uint landmark = gl_WorkGroupID.y * LANES + lane;
    uint from = (head * landmarks + min(landmark, landmarks - 1)) * DEPTH;
    vec4 own[DEPTH], sums[DEPTH];
    for (uint i = 0; i < DEPTH; i++) {
        own[i] = marks[from + i];
        sums[i] = vec4(0.0);
    }
    uint first = gl_WorkGroupID.x * chunk, end = min(first + chunk, tokens);
    for (; first < end; first += TOKENS) {
        uint count = min(TOKENS, end - first);
        barrier();
        for (uint i = lane; i < count * DEPTH; i += LANES)
            load(i, ((first + i / DEPTH) * heads + head) * head_dim);
        barrier();
        for (uint token = 0; token < count; token++) {
            float apart = 0.0;
            for (uint i = 0; i < DEPTH; i++) {
                vec4 d = own[i] - q_slice[token][i];
                apart += dot(d, d);
            }
            float k = exp(-0.5 * apart);
            for (uint i = 0; i < DEPTH; i++)
                sums[i] += k * v_slice[token][i];
        }
    }
    if (landmark < landmarks)
        for (uint i = 0; i < DEPTH; i++)
            parts[((gl_WorkGroupID.x * heads + head) * landmarks + landmark) * DEPTH + i] = sums[i];
}
