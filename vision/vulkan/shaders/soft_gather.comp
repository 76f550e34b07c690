// SPDX-License-Identifier: MIT
// inv(K2) (K1^T V) of softmax-free attention, for one four of channels: a thread is a landmark. The
// chunks' parts of K1^T V are summed on the way, in their order. Bound in: soft.c
#version 450

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint landmarks, side, matrix, depth, heads, chunks; // matrix: numbers of a head's inverse
};

layout(std430, binding = 0) readonly buffer Inverse { float inverse[]; }; // transposed, rows of side
layout(std430, binding = 1) readonly buffer Parts { vec4 parts[]; }; // [chunks, heads, landmarks, depth]
layout(std430, binding = 2) buffer Out { vec4 result[]; };           // [heads, landmarks, depth]

shared vec4 slice[64];

vec4 sum_of_chunks(uint at)
{
    vec4 sum = vec4(0.0);
    for (uint chunk = 0; chunk < chunks; chunk++)
        sum += parts[at + chunk * heads * landmarks * depth];
    return sum;
}

void main()
{
    uint lane = gl_LocalInvocationIndex, four = gl_WorkGroupID.y, head = gl_WorkGroupID.z;
    uint landmark = gl_WorkGroupID.x * 64 + lane, own = min(landmark, landmarks - 1);
    vec4 sum = vec4(0.0);
    for (uint first = 0; first < landmarks; first += 64) {
        barrier();
        if (first + lane < landmarks)
            slice[lane] = sum_of_chunks((head * landmarks + first + lane) * depth + four);
        barrier();
        uint count = min(64, landmarks - first);
        for (uint j = 0; j < count; j++)
            sum += inverse[head * matrix + (first + j) * side + own] * slice[j];
    }
    if (landmark < landmarks)
        result[(head * landmarks + landmark) * depth + four] = sum;
}
