// SPDX-License-Identifier: MIT
// Chosen scores to rows: each finds its rank among the others, no two of which are alike, and
// decodes its box. Rows behind them are zero. Bound in: candidates.c
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 64) in;

const float LONGEST = 4.135166556742356; // ln(1000/16)

layout(push_constant) uniform Push {
    uint limit, width, anchor_count, classes; // width: of the map
    float stride;
};

layout(std430, binding = 0) readonly buffer Chosen { uvec2 chosen[]; };  // place, score
layout(std430, binding = 1) readonly buffer Deltas { NUMBER deltas[]; }; // [pixels, anchors, 4]
layout(std430, binding = 2) readonly buffer Anchors { vec2 anchors[]; }; // width, height
layout(std430, binding = 3) readonly buffer Extent { vec2 extent; };
layout(std430, binding = 4) writeonly buffer Rows { float rows[]; }; // [limit, 6]
layout(std430, binding = 5) buffer Counts { int counts[]; };         // [4]

bool is_odd(float x)
{
    return (floatBitsToUint(x) & 0x7f800000u) == 0x7f800000u;
}

void main()
{
    uint i = gl_GlobalInvocationID.x, kept = uint(counts[0]);
    if (i >= limit)
        return;
    if (i >= kept) {
        for (uint j = 0; j < 6; j++)
            rows[i * 6 + j] = 0.0;
        return;
    }
    uvec2 own = chosen[i];
    uint rank = 0;
    for (uint k = 0; k < kept; k++) {
        uvec2 other = chosen[k];
        rank += uint(other.y > own.y || (other.y == own.y && other.x < own.x));
    }
    uint anchor = own.x / classes, pixel = anchor / anchor_count;
    vec2 side = anchors[anchor % anchor_count];
    vec2 at = vec2(pixel % width, pixel / width) * stride, shift, grow;
    int odd = 0;
    for (uint j = 0; j < 2; j++) {
        shift[j] = float(deltas[anchor * 4 + j]);
        grow[j] = float(deltas[anchor * 4 + 2 + j]);
        odd += int(is_odd(shift[j])) + int(is_odd(grow[j]));
    }
    if (odd != 0)
        atomicAdd(counts[1], odd);
    vec2 centre = at + shift * side;
    vec2 reach = 0.5 * side * exp(clamp(grow, -LONGEST, LONGEST));
    vec2 low = clamp(centre - reach, vec2(0.0), extent), high = clamp(centre + reach, vec2(0.0), extent);
    rows[rank * 6] = low.x;
    rows[rank * 6 + 1] = low.y;
    rows[rank * 6 + 2] = high.x;
    rows[rank * 6 + 3] = high.y;
    rows[rank * 6 + 4] = uintBitsToFloat(own.y);
    rows[rank * 6 + 5] = float(own.x % classes);
}
