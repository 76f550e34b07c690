// SPDX-License-Identifier: MIT
// Attention of one head over all rows: a thread is a query, keys and values pass through shared
// memory in slices, and the softmax is kept running over GROUP keys at a time (Milakov and
// Gimelshein, 2018), so that no score is ever stored. Bound in: softmax.c
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(constant_id = 0) const uint QUERIES = 64; // of a workgroup: also its size
layout(constant_id = 1) const uint DEPTH = 8;    // of a head, in fours, rounded up
layout(constant_id = 2) const uint KEYS = 32;    // of a slice, a multiple of GROUP
layout(local_size_x_id = 0) in;

const uint GROUP = 4;

layout(push_constant) uniform Push {
    uint rows, channels, head_dim;
};

layout(std430, binding = 0) readonly buffer Q { NUMBER q[]; };   // [rows, channels]
layout(std430, binding = 1) readonly buffer KV { NUMBER kv[]; }; // [rows, 2 * channels]
layout(std430, binding = 2) buffer Out { NUMBER result[]; };     // [rows, channels]

shared vec4 k_slice[KEYS][DEPTH];
shared vec4 v_slice[KEYS][DEPTH];

vec4 load_q(uint at, uint depth)
{
    vec4 v = vec4(0.0);
    for (uint i = 0; i < 4; i++)
        if (depth * 4 + i < head_dim)
            v[i] = float(q[at + depth * 4 + i]);
    return v;
}

vec4 load_kv(uint at, uint depth)
{
    vec4 v = vec4(0.0);
    for (uint i = 0; i < 4; i++)
        if (depth * 4 + i < head_dim)
            v[i] = float(kv[at + depth * 4 + i]);
    return v;
}

void main()
{
    uint lane = gl_LocalInvocationIndex, head_at = gl_WorkGroupID.y * head_dim;
    uint query = group_index() * QUERIES + lane, from = min(query, rows - 1);
    float scale = inversesqrt(float(head_dim));
    vec4 own[DEPTH], sums[DEPTH];
    for (uint i = 0; i < DEPTH; i++) {
        own[i] = scale * load_q(from * channels + head_at, i);
        sums[i] = vec4(0.0);
    }
    float most = -3.0e38, total = 0.0;
    for (uint first_key = 0; first_key < rows; first_key += KEYS) {
        barrier();
        for (uint i = lane; i < KEYS * DEPTH; i += QUERIES) {
            uint row = min(first_key + i / DEPTH, rows - 1) * 2 * channels + head_at;
            k_slice[i / DEPTH][i % DEPTH] = load_kv(row, i % DEPTH);
            v_slice[i / DEPTH][i % DEPTH] = load_kv(row + channels, i % DEPTH);
        }
        barrier();
        uint keys = min(KEYS, rows - first_key);
        for (uint key = 0; key < keys; key += GROUP) {
            float weights[GROUP], now = most;
            for (uint j = 0; j < GROUP; j++) {
                float score = 0.0;
                for (uint i = 0; i < DEPTH; i++)
                    score += dot(own[i], k_slice[key + j][i]);
                weights[j] = key + j < keys ? score : -3.0e38;
                now = max(now, weights[j]);
            }
            float fade = exp(most - now);
            total *= fade;
            for (uint j = 0; j < GROUP; j++) {
                weights[j] = key + j < keys ? exp(weights[j] - now) : 0.0;
                total += weights[j];
            }
            for (uint i = 0; i < DEPTH; i++) {
                vec4 sum = sums[i] * fade;
                for (uint j = 0; j < GROUP; j++)
                    sum += weights[j] * v_slice[key + j][i];
                sums[i] = sum;
            }
            most = now;
        }
    }
    if (query < rows)
        for (uint i = 0; i < head_dim; i++)
            result[query * channels + head_at + i] = NUMBER(sums[i / 4][i % 4] / total);
}
