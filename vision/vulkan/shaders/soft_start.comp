// SPDX-License-Identifier: MIT
// The factor that Newton's iteration starts with: for many landmarks. SOFT: of each head, from its
// row sums. SOFT-Norm: one for all heads, halved as long as a column of |1 - alpha K2 K2| sums to
// more than 1.01 in any of them; Z is linear in alpha, so that K2 K2 serves for all halvings. Every
// workgroup makes the same decision from the same numbers. Bound in: soft_inverse.c
#version 450

layout(local_size_x = 256) in;

const uint FIRST = 0, RESIDUALS = 1, HALVE = 2; // FIRST, HALVE: a workgroup a head
const uint HALVINGS = 10;
layout(constant_id = 0) const uint STEP = FIRST;
layout(constant_id = 1) const uint NORM = 0;

layout(push_constant) uniform Push {
    uint landmarks, side, matrix, heads, blocks; // blocks of 256 columns
};

layout(std430, binding = 0) readonly buffer Sums { float sums[]; };     // [heads, side], of rows
layout(std430, binding = 1) readonly buffer Square { float square[]; }; // [heads, matrix]: K2 K2
layout(std430, binding = 2) buffer Residuals { float residuals[]; }; // [heads, blocks, HALVINGS]
layout(std430, binding = 3) buffer Alpha { float alpha[]; };         // [heads]

shared float part[256];

// All numbers that threads come with are 0 or more.
float most_of_all(float value)
{
    uint t = gl_LocalInvocationIndex;
    barrier();
    part[t] = value;
    for (uint half_size = 128; half_size > 0; half_size /= 2) {
        barrier();
        if (t < half_size)
            part[t] = max(part[t], part[t + half_size]);
    }
    barrier();
    return part[0];
}

float first_alpha(uint head)
{
    uint first = NORM != 0 ? 0 : head * side, end = NORM != 0 ? heads * side : first + side;
    float most = 0.0;
    for (uint i = first + gl_LocalInvocationIndex; i < end; i += 256)
        most = max(most, sums[i]);
    most = most_of_all(most);
    return (NORM != 0 ? 2.0 : 1.8) / (most * most);
}

float halved_alpha(float from)
{
    for (uint halving = 0; halving < HALVINGS; halving++, from *= 0.5) {
        float most = 0.0;
        for (uint i = gl_LocalInvocationIndex; i < heads * blocks; i += 256)
            most = max(most, residuals[i * HALVINGS + halving]);
        if (!(most_of_all(most) > 1.01))
            break;
    }
    return from;
}

void find_residuals(uint block, uint head)
{
    uint j = block * 256 + gl_LocalInvocationIndex, at = head * matrix + j;
    float sums_of[HALVINGS];
    for (uint halving = 0; halving < HALVINGS; halving++)
        sums_of[halving] = 0.0;
    for (uint i = 0; j < landmarks && i < landmarks; i++) {
        float v = alpha[head] * square[at + i * side], own = i == j ? 1.0 : 0.0;
        for (uint halving = 0; halving < HALVINGS; halving++, v *= 0.5)
            sums_of[halving] += abs(own - v);
    }
    for (uint halving = 0; halving < HALVINGS; halving++) {
        float most = most_of_all(sums_of[halving]);
        if (gl_LocalInvocationIndex == 0)
            residuals[(head * blocks + block) * HALVINGS + halving] = most;
    }
}

void main()
{
    if (STEP == RESIDUALS) {
        find_residuals(gl_WorkGroupID.x, gl_WorkGroupID.y);
        return;
    }
    uint head = gl_WorkGroupID.x;
    float found = STEP == FIRST ? first_alpha(head) : halved_alpha(alpha[head]);
    if (gl_LocalInvocationIndex == 0)
        alpha[head] = found;
}
