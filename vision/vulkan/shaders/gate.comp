// SPDX-License-Identifier: MIT
// The picture plus the gated change, clamped to 0..1; the change is shuffled back to full size.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint pixels, width, factor, has_sure; // of the picture
    float nothing, all;                   // how sure for no change, and for all of it
};

layout(std430, binding = 0) readonly buffer Image { float image[]; };
layout(std430, binding = 1) readonly buffer Change { NUMBER change[]; };
layout(std430, binding = 2) readonly buffer Sure { float sure[]; };
layout(std430, binding = 3) buffer Result { float result[]; };

void main()
{
    uint at = flat_index();
    if (at >= pixels)
        return;
    uint px = at % width, py = at / width, area = factor * factor;
    uint from = (py / factor * (width / factor) + px / factor) * 4 * area
        + py % factor * factor + px % factor;
    float gate = max(1.0 / (1.0 + exp(-float(change[from + 3 * area]))), 0.1);
    if (has_sure != 0) {
        float share = (sure[at] - nothing) / (all - nothing);
        gate *= share > 0.0 ? min(share, 1.0) : 0.0; // a NaN changes nothing
    }
    for (uint c = 0; c < 3; c++) {
        float v = image[3 * at + c] + float(change[from + c * area]) * gate;
        result[3 * at + c] = v > 0.0 ? (v < 1.0 ? v : 1.0) : 0.0; // a NaN is black
    }
}
