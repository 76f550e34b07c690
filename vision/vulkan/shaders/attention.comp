// SPDX-License-Identifier: MIT
// Attention of one head inside one window: a thread is a query, keys and values pass through shared
// memory in slices, and the softmax is kept running (Milakov and Gimelshein, 2018) over a few keys
// at a time, so that scores stay in registers.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(constant_id = 0) const uint TOKENS = 64; // of a window: also the size of the workgroup
layout(constant_id = 1) const uint DEPTH = 8;   // of a head, in fours, rounded up
layout(constant_id = 2) const uint KEYS = 64;   // of a slice
layout(constant_id = 3) const uint HAS_LIST = 0;
layout(constant_id = 4) const uint SIDE = 8;    // of a window
layout(constant_id = 5) const uint BY_FOUR = 0; // head_dim and strides are multiples of four
layout(local_size_x_id = 0) in;
layout(constant_id = 6) const uint FEW = 8;     // keys
const uint SPAN = 2 * SIDE - 1;

layout(push_constant) uniform Push {
    uint windows, first, chunk;
    uint heads, head_dim;
    uint ldq, ldkv, k_at, v_at, ldo; // k_at, v_at: where K and V begin in a row of kv
    uint shift, rows, columns;
};

layout(std430, binding = 0) readonly buffer Q { NUMBER q[]; };
layout(std430, binding = 0) readonly buffer Q4 { NUMBERS q4[]; };
layout(std430, binding = 1) readonly buffer KV { NUMBER kv[]; };
layout(std430, binding = 1) readonly buffer KV4 { NUMBERS kv4[]; };
layout(std430, binding = 2) readonly buffer Table { float table[]; }; // [(2w-1)^2, heads]
layout(std430, binding = 3) readonly buffer List { int list[]; };
layout(std430, binding = 4) buffer Out { NUMBER result[]; };
layout(std430, binding = 4) buffer Out4 { NUMBERS result4[]; };

shared vec4 k_slice[KEYS][DEPTH];
shared vec4 v_slice[KEYS][DEPTH];
shared float bias[SPAN * SPAN]; // of this head

vec4 load_four(uint at, uint depth, bool from_q)
{
    if (BY_FOUR != 0)
        return vec4(from_q ? q4[at / 4 + depth] : kv4[at / 4 + depth]);
    vec4 v = vec4(0.0);
    for (uint i = 0; i < 4; i++)
        if (depth * 4 + i < head_dim)
            v[i] = float(from_q ? q[at + depth * 4 + i] : kv[at + depth * 4 + i]);
    return v;
}

// In the last row and column of windows of a rolled map, what was rolled in from the other side
// must not be mixed with the rest: where a line of the window begins that comes from there.
uvec2 edges(uint index)
{
    bool last_row = index / columns == rows - 1, last_column = index % columns == columns - 1;
    return uvec2(shift > 0 && last_column ? SIDE - shift : SIDE,
                 shift > 0 && last_row ? SIDE - shift : SIDE);
}

void main()
{
    uint at = group_index(), head = gl_WorkGroupID.y, query = gl_LocalInvocationIndex;
    uint count = HAS_LIST != 0 ? uint(clamp(list[0] - int(first), 0, int(chunk))) : windows;
    if (at >= count) // the same for all threads of the group
        return;
    uvec2 edge = edges(HAS_LIST != 0 ? uint(list[4 + first + at]) : first + at);
    uvec2 own_place = uvec2(query % SIDE, query / SIDE);
    bvec2 own_side = lessThan(own_place, edge);
    uint row0 = at * TOKENS;
    float scale = inversesqrt(float(head_dim));
    vec4 own[DEPTH], sums[DEPTH];
    for (uint i = query; i < SPAN * SPAN; i += TOKENS)
        bias[i] = table[i * heads + head];
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
        for (uint key0 = 0; key0 < keys; key0 += FEW) {
            float score[FEW], now = most;
            for (uint j = 0; j < FEW; j++) {
                score[j] = -3.0e38;
                if (key0 + j >= keys)
                    continue;
                uint key = first_key + key0 + j;
                uvec2 place = uvec2(key % SIDE, key / SIDE), apart = own_place + SIDE - 1 - place;
                float sum = bias[apart.y * SPAN + apart.x];
                if (any(notEqual(own_side, lessThan(place, edge))))
                    sum -= 100.0;
                for (uint i = 0; i < DEPTH; i++)
                    sum += dot(own[i], k_slice[key0 + j][i]);
                score[j] = sum;
                now = max(now, sum);
            }
            float fade = exp(most - now);
            most = now;
            total *= fade;
            for (uint i = 0; i < DEPTH; i++)
                sums[i] *= fade;
            for (uint j = 0; j < FEW; j++) {
                if (key0 + j >= keys)
                    continue;
                float weight = exp(score[j] - now);
                total += weight;
                for (uint i = 0; i < DEPTH; i++)
                    sums[i] += weight * v_slice[key0 + j][i];
            }
        }
    }
    uint to = (row0 + query) * ldo + head * head_dim;
    if (BY_FOUR != 0) {
        for (uint i = 0; i < DEPTH; i++)
            result4[to / 4 + i] = NUMBERS(sums[i] / total);
    } else {
        for (uint i = 0; i < head_dim; i++)
            result[to + i] = NUMBER(sums[i / 4][i % 4] / total);
    }
}
