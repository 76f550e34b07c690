// SPDX-License-Identifier: MIT
// What shaders/gemm_matrix.comp uses of cooperative matrices, without any: of its matrices of sums an
// invocation keeps every so-manyth number, and a matrix to multiply with is where it lies.

struct Sums {
    float own[16]; // of 8 x 8, in a subgroup of four invocations at least
};

float half_of(uvec4 eight, uint i)
{
    return float(unpackFloat2x16(eight[i / 2])[i % 2]);
}

Sums no_sums()
{
    Sums s;
    for (uint i = 0; i < 16; i++)
        s.own[i] = 0.0;
    return s;
}

// left, right: (where it begins in a_tile or b_tile, stride), in eights
Sums multiply_add(uvec2 left, uvec2 right, Sums s)
{
    for (uint i = 0; i < MM * MN / gl_SubgroupSize; i++) {
        uint at = i * gl_SubgroupSize + gl_SubgroupInvocationID, row = at / MN, column = at % MN;
        for (uint k_at = 0; k_at < MK; k_at++)
            s.own[i] += half_of(a_tile[left.x + row * left.y + k_at / 8], k_at % 8)
                * half_of(b_tile[right.x + k_at * right.y + column / 8], column % 8);
    }
    return s;
}

void lay_down(Sums s, uint at)
{
    for (uint i = 0; i < MM * MN / gl_SubgroupSize; i++)
        laid[at + i * gl_SubgroupSize + gl_SubgroupInvocationID] = s.own[i];
}

#define SUMS Sums
#define LEFT uvec2
#define RIGHT uvec2
#define LOAD(m, from, at, stride) m = uvec2(at, stride)
#define STORE(m, to, at, stride) lay_down(m, at)
#define MULTIPLY_ADD multiply_add
#define NO_SUMS no_sums()
