// SPDX-License-Identifier: MIT
// K1 times what soft_gather.comp made, added to the convolved values: a thread is a token, landmarks
// pass through shared memory in slices, and no number of K1 is ever stored. Bound in:
// soft.c
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(constant_id = 0) const uint LANES = 64; // tokens of a workgroup: also its size
layout(constant_id = 1) const uint DEPTH = 8;  // of a head, in fours, rounded up
layout(constant_id = 2) const uint MARKS = 32; // landmarks of a slice
layout(local_size_x_id = 0) in;

layout(push_constant) uniform Push {
    uint tokens, landmarks, heads, head_dim;
};

layout(std430, binding = 0) readonly buffer Q { NUMBER q[]; };         // [tokens, channels]
layout(std430, binding = 1) readonly buffer Marks { vec4 marks[]; };   // [heads, landmarks, DEPTH]
layout(std430, binding = 2) readonly buffer Values { vec4 values[]; }; // the same
layout(std430, binding = 3) buffer Out { NUMBER result[]; };           // [tokens, channels]

shared vec4 mark_slice[MARKS][DEPTH];
shared vec4 value_slice[MARKS][DEPTH];

void main()
{
    uint lane = gl_LocalInvocationIndex, head = gl_WorkGroupID.y;
    uint token = group_index() * LANES + lane;
    uint at = (min(token, tokens - 1) * heads + head) * head_dim;
    float scale = inversesqrt(sqrt(float(head_dim)));
    vec4 own[DEPTH], sums[DEPTH];
    for (uint i = 0; i < DEPTH; i++) {
        own[i] = sums[i] = vec4(0.0);
        for (uint c = 0; c < 4; c++)
            if (4 * i + c < head_dim)
                own[i][c] = scale * float(q[at + 4 * i + c]);
    }
    for (uint first = 0; first < landmarks; first += MARKS) {
        uint count = min(MARKS, landmarks - first), from = (head * landmarks + first) * DEPTH;
        barrier();
        for (uint i = lane; i < count * DEPTH; i += LANES) {
            mark_slice[i / DEPTH][i % DEPTH] = marks[from + i];
            value_slice[i / DEPTH][i % DEPTH] = values[from + i];
        }
        barrier();
        for (uint j = 0; j < count; j++) {
            float apart = 0.0;
            for (uint i = 0; i < DEPTH; i++) {
                vec4 d = own[i] - mark_slice[j][i];
                apart += dot(d, d);
            }
            float k = exp(-0.5 * apart);
            for (uint i = 0; i < DEPTH; i++)
                sums[i] += k * value_slice[j][i];
        }
    }
    if (token < tokens)
        for (uint i = 0; i < head_dim; i++) {
            float v = float(result[at + i]) + sums[i / 4][i % 4];
#ifdef HALF
            v = clamp(v, -65504.0, 65504.0); // on a flat picture tokens sum to more than f16 holds
#endif
            result[at + i] = NUMBER(v);
        }
}
