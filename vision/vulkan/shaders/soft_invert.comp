// SPDX-License-Identifier: MIT
// The inverse of a head's kernel matrix of landmarks by Newton's iteration, all of it in the shared
// memory of one workgroup: for few landmarks. SOFT-Norm starts all heads alike, so two more steps
// come first, which find what heads have to know of each other. Bound in: soft_inverse.c
#version 450

layout(constant_id = 0) const uint LANES = 192; // of the workgroup, at least (SIDE / 4)^2
layout(constant_id = 1) const uint SIDE = 52;   // landmarks, rounded up to fours
layout(constant_id = 2) const uint DEPTH = 8;   // of a head, in fours, rounded up
layout(constant_id = 3) const uint NORM = 0;    // SOFT-Norm
layout(constant_id = 4) const uint STEP = 2;
layout(local_size_x_id = 0) in;

const uint SUMS = 0, RESIDUALS = 1, INVERT = 2; // SOFT: INVERT alone
const uint FOURS = SIDE / 4;
const uint HALVINGS = 10;

layout(push_constant) uniform Push {
    uint landmarks, heads, matrix, iterations; // matrix: numbers of a head's inverse
};

layout(std430, binding = 0) readonly buffer Marks { vec4 marks[]; }; // [heads, landmarks, DEPTH]
layout(std430, binding = 1) buffer Sums { float sums[]; };           // [heads]: the largest of rows
layout(std430, binding = 2) buffer Residuals { float residuals[]; }; // [heads, HALVINGS]
layout(std430, binding = 3) buffer Out { float inverse[]; }; // [heads, matrix], transposed

// The kernel matrix with its ridge, the inverse so far, and a product; zeros behind the landmarks.
const uint P = 0, Z = 1, T = 2;
shared vec4 kept[3][SIDE][FOURS];
shared float line[SIDE];

float kernel(uint i, uint j)
{
    if (i >= landmarks || j >= landmarks)
        return 0.0;
    uint a = (gl_WorkGroupID.x * landmarks + i) * DEPTH, b = a + j * DEPTH - i * DEPTH;
    float apart = 0.0;
    for (uint k = 0; k < DEPTH; k++) {
        vec4 d = marks[a + k] - marks[b + k];
        apart += dot(d, d);
    }
    return exp(-0.5 * apart);
}

void fill_kernel()
{
    for (uint at = gl_LocalInvocationIndex; at < SIDE * FOURS; at += LANES) {
        uint i = at / FOURS, j = at % FOURS * 4;
        kept[P][i][j / 4] = vec4(kernel(i, j), kernel(i, j + 1), kernel(i, j + 2), kernel(i, j + 3));
    }
    barrier();
}

// A tile of 4 x 4 of left times right; for the threads that have one.
void multiply(uint left, uint right, uint row, uint four, out vec4 tile[4])
{
    for (uint i = 0; i < 4; i++)
        tile[i] = vec4(0.0);
    for (uint k = 0; k < FOURS; k++) {
        vec4 b0 = kept[right][4 * k][four], b1 = kept[right][4 * k + 1][four];
        vec4 b2 = kept[right][4 * k + 2][four], b3 = kept[right][4 * k + 3][four];
        for (uint i = 0; i < 4; i++) {
            vec4 a = kept[left][row + i][k];
            tile[i] += a.x * b0 + a.y * b1 + a.z * b2 + a.w * b3;
        }
    }
}

// The largest of the landmarks' numbers in `line`.
float most_of_line()
{
    barrier();
    float most = line[0];
    for (uint i = 1; i < landmarks; i++)
        most = max(most, line[i]);
    barrier();
    return most;
}

// Sums of the kernel's rows, left in `line`.
float largest_row_sum()
{
    for (uint i = gl_LocalInvocationIndex; i < SIDE; i += LANES) {
        float sum = 0.0;
        for (uint k = 0; k < FOURS; k++)
            sum += dot(kept[P][i][k], vec4(1.0));
        line[i] = sum;
    }
    return most_of_line();
}

// Of all heads of the picture.
float first_alpha()
{
    float most = sums[0];
    for (uint head = 1; head < heads; head++)
        most = max(most, sums[head]);
    return 2.0 / (most * most);
}

// Halved as long as a column of |1 - alpha K2 K2| sums to more than 1.01 in any head.
float halved_alpha()
{
    float alpha = first_alpha();
    for (uint i = 0; i < HALVINGS; i++) {
        float most = residuals[i];
        for (uint head = 1; head < heads; head++)
            most = max(most, residuals[head * HALVINGS + i]);
        if (!(most > 1.01))
            break;
        alpha *= 0.5;
    }
    return alpha;
}

// What each halving would leave of this head: Z is linear in alpha, so K2 K2 serves for all.
void find_residuals(uint row, uint four, bool has_tile)
{
    vec4 tile[4];
    if (has_tile) {
        multiply(P, P, row, four, tile);
        for (uint i = 0; i < 4; i++)
            kept[T][row + i][four] = tile[i];
    }
    float alpha = first_alpha();
    for (uint halving = 0; halving < HALVINGS; halving++, alpha *= 0.5) {
        barrier();
        for (uint j = gl_LocalInvocationIndex; j < landmarks; j += LANES) {
            float sum = 0.0;
            for (uint i = 0; i < landmarks; i++)
                sum += abs((i == j ? 1.0 : 0.0) - alpha * kept[T][i][j / 4][j % 4]);
            line[j] = sum;
        }
        float most = most_of_line();
        if (gl_LocalInvocationIndex == 0)
            residuals[gl_WorkGroupID.x * HALVINGS + halving] = most;
    }
}

// Z = alpha P; then Z = 2 Z - Z P Z as often as asked for.
void iterate(float alpha, uint row, uint four, bool has_tile)
{
    vec4 tile[4];
    if (has_tile)
        for (uint i = 0; i < 4; i++)
            kept[Z][row + i][four] = alpha * kept[P][row + i][four];
    for (uint iteration = 0; iteration < iterations; iteration++) {
        barrier();
        if (has_tile) {
            multiply(P, Z, row, four, tile);
            for (uint i = 0; i < 4; i++)
                kept[T][row + i][four] = tile[i];
        }
        barrier();
        if (has_tile)
            multiply(Z, T, row, four, tile);
        barrier();
        if (has_tile)
            for (uint i = 0; i < 4; i++)
                kept[Z][row + i][four] = 2.0 * kept[Z][row + i][four] - tile[i];
    }
    barrier();
}

void main()
{
    uint head = gl_WorkGroupID.x, t = gl_LocalInvocationIndex;
    uint row = t / FOURS * 4, four = t % FOURS;
    bool has_tile = t < FOURS * FOURS;
    fill_kernel();
    float most = largest_row_sum(); // before the ridge
    if (STEP == SUMS) {
        if (t == 0)
            sums[head] = most;
        return;
    }
    if (STEP == RESIDUALS) {
        find_residuals(row, four, has_tile);
        return;
    }
    if (NORM == 0) {
        for (uint i = t; i < landmarks; i += LANES)
            kept[P][i][i / 4][i % 4] += 0.01;
        barrier();
    }
    iterate(NORM != 0 ? halved_alpha() : 1.8 / (most * most), row, four, has_tile);
    for (uint at = t; at < landmarks * SIDE; at += LANES) {
        uint j = at / SIDE, i = at % SIDE; // j: a column of the inverse
        float v = i < landmarks ? kept[Z][i][j / 4][j % 4] : 0.0;
        if (NORM != 0 && i < landmarks)
            v *= inversesqrt(line[i]) * inversesqrt(line[j]);
        inverse[head * matrix + at] = v;
    }
}
