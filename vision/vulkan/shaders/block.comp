// SPDX-License-Identifier: MIT
// A whole LMD-ViT block of one window of 8 x 8 in one workgroup. The window's rows lie in shared
// memory once (x: normed, as the matrices read them) beside one slice of what is between (y: q, k or
// v of a head, then some hidden channels); what the block adds up stays in registers, and weights
// come from memory. Bound in: fused.c. The chain of eight kernels (block.c) computes the same.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"

layout(local_size_x = 256) in;

layout(constant_id = 0) const uint C4 = 8; // channels, channels of a head, of a slice: in fours
layout(constant_id = 1) const uint D4 = 8;
layout(constant_id = 2) const uint S4 = 8;
layout(constant_id = 3) const uint HAS_LIST = 0;

const uint N = 64, SIDE = 8;            // tokens
const uint BATCH = N / 2;                // keys at a time: their values lie behind them in y
const uint PARTS = 4, KEYS = BATCH / PARTS; // four threads share a query and divide the keys
// Rows of a product that a thread makes, four columns wide, so that 256 threads do for all.
const uint R_C = C4 <= 4 ? 1 : C4 <= 8 ? 2 : C4 <= 16 ? 4 : 8;
const uint R_D = D4 <= 4 ? 1 : D4 <= 8 ? 2 : 4;
const uint R_S = S4 <= 4 ? 1 : S4 <= 8 ? 2 : 4;
// Between rows: odd, so that rows begin in different banks.
const uint LD_X = C4 | 1, LD_Y = (D4 > S4 ? D4 : S4) | 1;

layout(push_constant) uniform Push {
    uint windows;
    uint shift, height, width;
    uint heads, hidden4;
    uint channels4, head4; // C4 and D4, unknown to the compiler: long loops stay loops
    uint ld_qkv, ld_proj, ld_ff1, ld_ff2; // rows of the matrices, in fours
    float eps;
};

layout(std430, binding = 0) buffer Map { NUMBERS map[]; };
layout(std430, binding = 1) readonly buffer List { int list[]; };
layout(std430, binding = 2) readonly buffer Vectors { vec4 vectors[]; };
layout(std430, binding = 3) readonly buffer Table { float table[]; }; // [15 * 15, heads]
layout(std430, binding = 4) readonly buffer Qkv { NUMBERS qkv[]; };
layout(std430, binding = 5) readonly buffer Proj { NUMBERS proj[]; };
layout(std430, binding = 6) readonly buffer Ff1 { NUMBERS ff1[]; };
layout(std430, binding = 7) readonly buffer Ff2 { NUMBERS ff2[]; };

// Where the vectors lie: as fused.c writes them.
const uint NORM1_W = 0, NORM1_B = C4, MODULATOR = 2 * C4, QKV_B = 66 * C4, PROJ_B = 69 * C4,
           NORM2_W = 70 * C4, NORM2_B = 71 * C4, FF2_B = 72 * C4, FF1_B = 73 * C4;
// Behind them: dw_b [hidden], taps [9, hidden].

shared NUMBERS x[N * LD_X];
shared NUMBERS y[N * LD_Y];
shared float part_of[256];

// sums[i] += row (row + step i) of `from` times four columns of `matrix`, which begin at `at`.
#define MULTIPLY(sums, rows, from, ld, row, step, fours, matrix, at, ld_matrix)                    \
    for (uint k = 0, w = at; k < fours; k++, w += 4 * ld_matrix) {                                 \
        vec4 w0 = vec4(matrix[w]), w1 = vec4(matrix[w + ld_matrix]);                               \
        vec4 w2 = vec4(matrix[w + 2 * ld_matrix]), w3 = vec4(matrix[w + 3 * ld_matrix]);           \
        for (uint i = 0; i < rows; i++) {                                                          \
            vec4 v = vec4(from[(row + step * i) * ld + k]);                                        \
            sums[i] += v.x * w0 + v.y * w1 + v.z * w2 + v.w * w3;                                  \
        }                                                                                          \
    }

vec4 gelu(vec4 v)
{
    return vec4(activate(ACT_GELU, 0.0, v.x), activate(ACT_GELU, 0.0, v.y),
                activate(ACT_GELU, 0.0, v.z), activate(ACT_GELU, 0.0, v.w));
}

float sum_of_row(float value)
{
    uint t = gl_LocalInvocationIndex, row = t / 4 * 4;
    barrier();
    part_of[t] = value;
    barrier();
    return part_of[row] + part_of[row + 1] + part_of[row + 2] + part_of[row + 3];
}

// LayerNorm of x in place, four threads a row.
void norm(uint weight, uint bias, bool modulate)
{
    uint row = gl_LocalInvocationIndex / 4, part = gl_LocalInvocationIndex % 4;
    float sum = 0.0;
    barrier();
    for (uint f = part; f < channels4; f += 4)
        sum += dot(vec4(x[row * LD_X + f]), vec4(1.0));
    float mean = sum_of_row(sum) / float(4 * C4);
    sum = 0.0;
    for (uint f = part; f < channels4; f += 4) {
        vec4 d = vec4(x[row * LD_X + f]) - mean;
        sum += dot(d, d);
    }
    float scale = inversesqrt(sum_of_row(sum) / float(4 * C4) + eps);
    for (uint f = part; f < channels4; f += 4) {
        vec4 v = (vec4(x[row * LD_X + f]) - mean) * scale * vectors[weight + f] + vectors[bias + f];
        if (modulate)
            v += vectors[MODULATOR + row * C4 + f];
        x[row * LD_X + f] = NUMBERS(v);
    }
    barrier();
}

// q of a head into y; or k and v of half of the tokens, one behind the other. first: the token;
// low, high: columns of the matrix, in fours, for either half of y.
void project(bool is_q, uint first_key, uint low, uint high)
{
    uint t = gl_LocalInvocationIndex, f = t % D4, of_half = BATCH / R_D, high_half = t / D4 / of_half;
    uint row = t / D4 % of_half, column = (high_half == 0 ? low : high) + f;
    uint from = (is_q ? BATCH * high_half : first_key) + row;
    bool busy = high_half < 2;
    vec4 sums[R_D];
    if (busy) {
        for (uint i = 0; i < R_D; i++)
            sums[i] = vectors[QKV_B + column];
        MULTIPLY(sums, R_D, x, LD_X, from, of_half, channels4, qkv, column, ld_qkv)
    }
    barrier();
    if (busy)
        for (uint i = 0; i < R_D; i++)
            y[(BATCH * high_half + row + of_half * i) * LD_Y + f] = NUMBERS(sums[i]);
    barrier();
}

// In the last row and column of windows of a rolled map, what was rolled in from the other side
// must not be mixed with the rest.
float mask_of(uint index, uint query, uint key)
{
    if (shift == 0)
        return 0.0;
    uint columns = width / SIDE, edge = SIDE - shift;
    bool last_row = index / columns == height / SIDE - 1, last_column = index % columns == columns - 1;
    bool apart = last_row && ((query / SIDE < edge) != (key / SIDE < edge));
    apart = apart || (last_column && ((query % SIDE < edge) != (key % SIDE < edge)));
    return apart ? -100.0 : 0.0;
}

float bias_of(uint head, uint query, uint key)
{
    uint dy = query / SIDE + SIDE - 1 - key / SIDE, dx = query % SIDE + SIDE - 1 - key % SIDE;
    return table[(dy * (2 * SIDE - 1) + dx) * heads + head];
}

// y: what a head makes of every query. Each of a query's four threads keeps a softmax running over
// its own keys (Milakov and Gimelshein, 2018); then they add up in turn.
void attend(uint index, uint head)
{
    uint t = gl_LocalInvocationIndex, query = t % N, part = t / N;
    vec4 own[D4], sums[D4];
    float most = -3.0e38, total = 0.0;
    project(true, 0, head * D4, head * D4);
    for (uint i = 0; i < D4; i++) {
        own[i] = inversesqrt(float(4 * D4)) * vec4(y[query * LD_Y + i]);
        sums[i] = vec4(0.0);
    }
    [[dont_unroll]] for (uint first_key = 0; first_key < N; first_key += BATCH) {
        project(false, first_key, C4 + head * D4, 2 * C4 + head * D4);
        [[dont_unroll]] for (uint j = part * KEYS; j < part * KEYS + KEYS; j++) {
            float score = bias_of(head, query, first_key + j) + mask_of(index, query, first_key + j);
            for (uint i = 0; i < D4; i++)
                score += dot(own[i], vec4(y[j * LD_Y + i]));
            float now = max(most, score), fade = exp(most - now), weight = exp(score - now);
            total = total * fade + weight;
            for (uint i = 0; i < D4; i++)
                sums[i] = sums[i] * fade + weight * vec4(y[(BATCH + j) * LD_Y + i]);
            most = now;
        }
    }
    part_of[t] = most;
    barrier();
    float scale = exp(most - max(max(part_of[query], part_of[N + query]),
                                 max(part_of[2 * N + query], part_of[3 * N + query])));
    barrier();
    part_of[t] = total * scale;
    barrier();
    scale /= part_of[query] + part_of[N + query] + part_of[2 * N + query] + part_of[3 * N + query];
    [[dont_unroll]] for (uint turn = 0; turn < PARTS; turn++) {
        if (part == turn)
            for (uint i = 0; i < D4; i++) {
                uint at = query * LD_Y + i;
                y[at] = NUMBERS(turn == 0 ? scale * sums[i] : scale * sums[i] + vec4(y[at]));
            }
        barrier();
    }
}

uint reflected(int at)
{
    return uint(at < 0 ? -at : at >= int(SIDE) ? 2 * int(SIDE) - 2 - at : at);
}

// Hidden channels from `first4` on into y: GELU, the convolution, GELU.
void hide(uint first4, uint fours)
{
    uint t = gl_LocalInvocationIndex, f = t % S4, row = t / S4;
    bool busy = row < N / R_S && f < fours;
    vec4 sums[R_S];
    if (busy) {
        for (uint i = 0; i < R_S; i++)
            sums[i] = vectors[FF1_B + first4 + f];
        MULTIPLY(sums, R_S, x, LD_X, row, N / R_S, channels4, ff1, first4 + f, ld_ff1)
    }
    barrier();
    if (busy)
        for (uint i = 0; i < R_S; i++)
            y[(row + N / R_S * i) * LD_Y + f] = NUMBERS(gelu(sums[i]));
    barrier();
    if (busy) {
        uint dw_b = FF1_B + hidden4 + first4 + f;
        for (uint i = 0; i < R_S; i++)
            sums[i] = vectors[dw_b];
        [[dont_unroll]] for (int dy = -1; dy <= 1; dy++)
            for (int dx = -1; dx <= 1; dx++) {
                vec4 tap = vectors[dw_b + uint(4 + 3 * dy + dx + 1) * hidden4];
                for (uint i = 0; i < R_S; i++) {
                    uint token = row + N / R_S * i;
                    uint sy = reflected(int(token / SIDE) + dy), sx = reflected(int(token % SIDE) + dx);
                    sums[i] += tap * vec4(y[(sy * SIDE + sx) * LD_Y + f]);
                }
            }
        for (uint i = 0; i < R_S; i++)
            sums[i] = gelu(sums[i]);
    }
    barrier();
    if (busy)
        for (uint i = 0; i < R_S; i++)
            y[(row + N / R_S * i) * LD_Y + f] = NUMBERS(sums[i]);
    barrier();
}

void main()
{
    uint at = group_index(), t = gl_LocalInvocationIndex;
    uint count = HAS_LIST != 0 ? uint(clamp(list[0], 0, int(windows))) : windows;
    if (at >= count) // the same for all threads of the group
        return;
    uint index = HAS_LIST != 0 ? uint(list[4 + at]) : at;
    for (uint i = t; i < N * C4; i += 256) {
        uint pixel = window_pixel(index, i / C4, SIDE, shift, height, width);
        x[i / C4 * LD_X + i % C4] = map[pixel * C4 + i % C4];
    }
    barrier();
    // This thread's share of what becomes of the window: R_C rows, four channels.
    uint f = t % C4, row = t / C4;
    bool busy = row < N / R_C;
    vec4 sums[R_C];
    if (busy)
        for (uint i = 0; i < R_C; i++)
            sums[i] = vec4(x[(row + N / R_C * i) * LD_X + f]) + vectors[PROJ_B + f];
    norm(NORM1_W, NORM1_B, true);
    for (uint head = 0; head < heads; head++) {
        attend(index, head);
        if (busy) {
            MULTIPLY(sums, R_C, y, LD_Y, row, N / R_C, head4, proj, head * D4 * 4 * ld_proj + f, ld_proj)
        }
    }
    if (busy) // the last reader of x was project, behind which barriers lie
        for (uint i = 0; i < R_C; i++) {
            x[(row + N / R_C * i) * LD_X + f] = NUMBERS(sums[i]);
            sums[i] += vectors[FF2_B + f];
        }
    norm(NORM2_W, NORM2_B, false);
    for (uint first4 = 0; first4 < hidden4; first4 += S4) {
        uint fours = min(S4, hidden4 - first4);
        hide(first4, fours);
        if (busy) {
            MULTIPLY(sums, R_C, y, LD_Y, row, N / R_C, fours, ff2, first4 * 4 * ld_ff2 + f, ld_ff2)
        }
    }
    if (busy)
        for (uint i = 0; i < R_C; i++) {
            uint token = row + N / R_C * i;
            uint pixel = window_pixel(index, token, SIDE, shift, height, width);
            map[pixel * C4 + f] = NUMBERS(sums[i]);
        }
}
