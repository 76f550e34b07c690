// SPDX-License-Identifier: MIT
// The products of Newton's iteration, a head's square matrices in each layer of workgroups: for
// many landmarks. A workgroup makes a tile, a thread 4 x 4 of it; slices of 16 along the sum pass
// through shared memory, the next one on its way meanwhile. Bound in: soft_inverse.c
#version 450

layout(constant_id = 0) const uint LANES = 256; // (TILE / 4)^2
layout(constant_id = 1) const uint TILE = 64;
layout(constant_id = 2) const uint NEWTON = 0; // c = f (2 a - a b) instead of f a b
layout(constant_id = 3) const uint FIRST = 0;  // f = the head's alpha instead of 1
layout(constant_id = 4) const uint LAST = 0;   // c goes out transposed
layout(constant_id = 5) const uint NORM = 0;   // and divided by the square roots of row sums
layout(local_size_x_id = 0) in;

const uint DEPTH = 16, LOADS = 4 * TILE / LANES; // of fours, by each thread

layout(push_constant) uniform Push {
    uint landmarks, side, matrix; // numbers of a row (in fours), and of a head's matrix
};

layout(std430, binding = 0) readonly buffer A { vec4 a[]; }; // [heads, matrix]
layout(std430, binding = 1) readonly buffer B { vec4 b[]; };
layout(std430, binding = 2) readonly buffer Alpha { float alpha[]; };
layout(std430, binding = 3) readonly buffer Sums { float sums[]; }; // [heads, side], of rows
layout(std430, binding = 4) buffer C { float c[]; };

shared vec4 a_slice[DEPTH][TILE / 4 + 1]; // of a's columns
shared vec4 b_slice[DEPTH][TILE / 4];

void load(uint row0, uint column0, uint k0, out vec4 a_next[LOADS], out vec4 b_next[LOADS])
{
    uint first = gl_WorkGroupID.z * matrix / 4, fours = side / 4;
    for (uint i = 0; i < LOADS; i++) {
        uint at = gl_LocalInvocationIndex + LANES * i;
        uint row = row0 + at / 4, k = k0 / 4 + at % 4; // of a
        a_next[i] = row < side && k < fours ? a[first + row * fours + k] : vec4(0.0);
        row = k0 + at / (TILE / 4); // of b
        uint four = column0 / 4 + at % (TILE / 4);
        b_next[i] = row < side && four < fours ? b[first + row * fours + four] : vec4(0.0);
    }
}

void keep(vec4 a_next[LOADS], vec4 b_next[LOADS])
{
    for (uint i = 0; i < LOADS; i++) {
        uint at = gl_LocalInvocationIndex + LANES * i, row = at / 4;
        for (uint k = 0; k < 4; k++)
            a_slice[at % 4 * 4 + k][row / 4][row % 4] = a_next[i][k];
        b_slice[at / (TILE / 4)][at % (TILE / 4)] = b_next[i];
    }
}

void store(uint row, uint column, vec4 sum)
{
    uint head = gl_WorkGroupID.z, at = head * matrix + row * side + column;
    if (row >= side || column >= side)
        return;
    vec4 v = NEWTON != 0 ? 2.0 * a[at / 4] - sum : sum;
    if (FIRST != 0)
        v *= alpha[head];
    for (uint j = 0; j < 4; j++) {
        if (LAST == 0) {
            c[at + j] = v[j];
        } else if (row < landmarks && column + j < landmarks) {
            float d = NORM != 0 ? inversesqrt(sums[head * side + row])
                                      * inversesqrt(sums[head * side + column + j])
                                : 1.0;
            c[head * matrix + (column + j) * side + row] = v[j] * d;
        }
    }
}

void main()
{
    uint row0 = gl_WorkGroupID.x * TILE, column0 = gl_WorkGroupID.y * TILE;
    uint t = gl_LocalInvocationIndex, tx = t % (TILE / 4), ty = t / (TILE / 4);
    vec4 a_next[LOADS], b_next[LOADS], sums_of[4];
    for (uint i = 0; i < 4; i++)
        sums_of[i] = vec4(0.0);
    load(row0, column0, 0, a_next, b_next);
    for (uint k0 = 0; k0 < side; k0 += DEPTH) {
        barrier();
        keep(a_next, b_next);
        barrier();
        if (k0 + DEPTH < side)
            load(row0, column0, k0 + DEPTH, a_next, b_next);
        for (uint k = 0; k < DEPTH; k++) {
            vec4 x = a_slice[k][ty], y = b_slice[k][tx];
            for (uint i = 0; i < 4; i++)
                sums_of[i] += x[i] * y;
        }
    }
    for (uint i = 0; i < 4; i++)
        store(row0 + 4 * ty + i, column0 + 4 * tx, sums_of[i]);
}
