// SPDX-License-Identifier: MIT
// Attention of one head inside one window: a thread is a query, keys and values pass through shared
// memory in slices, and the softmax is kept running (Milakov and Gimelshein, 2018), so that no
// score is ever stored.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(constant_id = 0) const uint TOKENS = 64; // of a window: also the size of the workgroup
layout(constant_id = 1) const uint DEPTH = 8;   // of a head, in fours, rounded up
layout(constant_id = 2) const uint KEYS = 64;   // of a slice
layout(constant_id = 3) const uint HAS_LIST = 0;
layout(local_size_x_id = 0) in;

layout(push_constant) uniform Push {
    uint windows, first, chunk;
    uint heads, head_dim;
    uint ldq, ldkv, k_at, v_at, ldo; // k_at, v_at: where K and V begin in a row of kv
    uint window, shift, rows, columns;
};

layout(std430, binding = 0) readonly buffer Q { NUMBER q[]; };
layout(std430, binding = 1) readonly buffer KV { NUMBER kv[]; };
layout(std430, binding = 2) readonly buffer Table { float table[]; }; // [(2w-1)^2, heads]
layout(std430, binding = 3) readonly buffer List { int list[]; };
layout(std430, binding = 4) buffer Out { NUMBER result[]; };

shared vec4 k_slice[KEYS][DEPTH];
shared vec4 v_slice[KEYS][DEPTH];

// In the last row and column of windows of a rolled map, what was rolled in from the other side
// must not be mixed with the rest.
float mask_of(uint index, uint query, uint key)
{
    if (shift == 0)
        return 0.0;
    uint edge = window - shift;
    bool last_row = index / columns == rows - 1, last_column = index % columns == columns - 1;
    bool apart = last_row && ((query / window < edge) != (key / window < edge));
    apart = apart || (last_column && ((query % window < edge) != (key % window < edge)));
    return apart ? -100.0 : 0.0;
}

float bias_of(uint head, uint query, uint key)
{
    uint dy = query / window + window - 1 - key / window;
    uint dx = query % window + window - 1 - key % window;
    return table[(dy * (2 * window - 1) + dx) * heads + head];
}

vec4 load_four(uint at, uint depth, bool from_q)
{
    vec4 v = vec4(0.0);
    for (uint i = 0; i < 4; i++)
        if (depth * 4 + i < head_dim)
            v[i] = float(from_q ? q[at + depth * 4 + i] : kv[at + depth * 4 + i]);
    return v;
}

void main()
{
    uint at = gl_WorkGroupID.x, head = gl_WorkGroupID.y, query = gl_LocalInvocationIndex;
    uint count = HAS_LIST != 0 ? uint(clamp(list[0] - int(first), 0, int(chunk))) : windows;
    if (at >= count) // the same for all threads of the group
        return;
    uint index = HAS_LIST != 0 ? uint(list[4 + first + at]) : first + at;
    uint row0 = at * TOKENS;
    float scale = inversesqrt(float(head_dim));
    vec4 own[DEPTH], sums[DEPTH];
    for (uint i = 0; i < DEPTH; i++) {
        own[i] = scale * load_four((row0 + query) * ldq + head * head_dim, i, true);
        sums[i] = vec4(0.0);
    }
    float most = -3.0e38, total = 0.0;
    for (uint first_key = 0; first_key < TOKENS; first_key += KEYS) {
        uint keys = min(KEYS, TOKENS - first_key);
        barrier();
        for (uint i = query; i < keys * DEPTH; i += TOKENS) {
            uint row = (row0 + first_key + i / DEPTH) * ldkv + head * head_dim;
            k_slice[i / DEPTH][i % DEPTH] = load_four(row + k_at, i % DEPTH, false);
            v_slice[i / DEPTH][i % DEPTH] = load_four(row + v_at, i % DEPTH, false);
        }
        barrier();
        for (uint key = 0; key < keys; key++) {
            float score = 0.0;
            for (uint i = 0; i < DEPTH; i++)
                score += dot(own[i], k_slice[key][i]);
            score += bias_of(head, query, first_key + key);
            score += mask_of(index, query, first_key + key);
            float now = max(most, score), fade = exp(most - now), weight = exp(score - now);
            total = total * fade + weight;
            for (uint i = 0; i < DEPTH; i++)
                sums[i] = sums[i] * fade + weight * v_slice[key][i];
            most = now;
        }
    }
    for (uint i = 0; i < head_dim; i++)
        result[(row0 + query) * ldo + head * head_dim + i] = NUMBER(sums[i / 4][i % 4] / total);
}
