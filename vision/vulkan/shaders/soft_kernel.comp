// SPDX-License-Identifier: MIT
// A row of the landmarks' kernel matrix, and its sum, by one workgroup: for many landmarks. Rows
// and columns behind the landmarks are zeros. Bound in: soft_inverse.c
#version 450

layout(local_size_x = 64) in;

layout(constant_id = 0) const uint DEPTH = 8; // of a head, in fours, rounded up

layout(push_constant) uniform Push {
    uint landmarks, side, matrix; // numbers of a row, and of a head's matrix
    float ridge;                  // added to the diagonal behind the sum
};

layout(std430, binding = 0) readonly buffer Marks { vec4 marks[]; }; // [heads, landmarks, DEPTH]
layout(std430, binding = 1) buffer Kernel { float kernel[]; };       // [heads, matrix]
layout(std430, binding = 2) buffer Sums { float sums[]; };           // [heads, side]

shared float part[64];

void main()
{
    uint t = gl_LocalInvocationIndex, i = gl_WorkGroupID.x, head = gl_WorkGroupID.y;
    uint first = head * landmarks * DEPTH;
    float sum = 0.0;
    for (uint j = t; j < side; j += 64) {
        float v = 0.0;
        if (i < landmarks && j < landmarks) {
            float apart = 0.0;
            for (uint k = 0; k < DEPTH; k++) {
                vec4 d = marks[first + i * DEPTH + k] - marks[first + j * DEPTH + k];
                apart += dot(d, d);
            }
            v = exp(-0.5 * apart);
        }
        sum += v;
        kernel[head * matrix + i * side + j] = i == j && i < landmarks ? v + ridge : v;
    }
    part[t] = sum;
    for (uint half_size = 32; half_size > 0; half_size /= 2) {
        barrier();
        if (t < half_size)
            part[t] += part[t + half_size];
    }
    if (t == 0)
        sums[head * side + i] = part[0];
}
