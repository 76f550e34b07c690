// SPDX-License-Identifier: MIT
// What the two kernels of matrix products share: c = act(a b + bias) + residual. Where rows of a
// come from, where those of c go, which windows take part.

const uint ROWS = 0, PATCHES = 1;          // where a row of a comes from
const uint WINDOWS = 1, UPCONV = 2;        // where a row of c goes, besides ROWS
const uint NONE = 0, SAME = 1, IN_MAP = 2; // the residual: none, rows, windows of a map

layout(constant_id = 0) const uint A_FROM = ROWS;
layout(constant_id = 1) const uint C_TO = ROWS;
layout(constant_id = 2) const uint RESIDUAL = NONE;
layout(constant_id = 3) const uint ACT = ACT_NONE;
layout(constant_id = 4) const uint HAS_BIAS = 0;
layout(constant_id = 5) const uint HAS_LIST = 0;
layout(constant_id = 6) const uint TM = 64;
layout(constant_id = 7) const uint TN = 64;
layout(constant_id = 8) const uint BY_FOUR = 0; // k, strides and channels of a: multiples of four
layout(constant_id = 9) const uint C_BY_MANY = 0; // n, strides of c and residual: of what is stored at once

layout(push_constant) uniform Push {
    uint rows, n, k, n_padded; // b is [k rounded up to 16, n_padded], zeros behind
    uint lda, ldc, ldr;
    uint first, chunk;                   // windows of the list
    uint window, shift, height, width;   // of the map that windows lie in
    uint side, stride, pad, in_height, in_width, out_width, channels; // patches; UPCONV: in_width
    float slope;
};

layout(std430, binding = 0) readonly buffer A { NUMBER a[]; };
layout(std430, binding = 1) readonly buffer A4 { NUMBERS a4[]; };
layout(std430, binding = 2) readonly buffer B { NUMBERS b4[]; };
layout(std430, binding = 3) readonly buffer Bias { float bias[]; };
layout(std430, binding = 4) readonly buffer Residual { NUMBER residual[]; };
layout(std430, binding = 5) buffer C { NUMBER c[]; };
layout(std430, binding = 6) readonly buffer List { int list[]; };

float patch_at(uint row, uint k_at)
{
    uint tap = k_at / channels;
    int y = int(row / out_width * stride + tap / side) - int(pad);
    int x = int(row % out_width * stride + tap % side) - int(pad);
    if (k_at >= k || y < 0 || x < 0 || y >= int(in_height) || x >= int(in_width))
        return 0.0;
    return float(a[(uint(y) * in_width + uint(x)) * channels + k_at % channels]);
}

vec4 patch_of_four(uint row, uint k_at)
{
    uint tap = k_at / channels;
    int y = int(row / out_width * stride + tap / side) - int(pad);
    int x = int(row % out_width * stride + tap % side) - int(pad);
    if (k_at >= k || y < 0 || x < 0 || y >= int(in_height) || x >= int(in_width))
        return vec4(0.0);
    return vec4(a4[((uint(y) * in_width + uint(x)) * channels + k_at % channels) / 4]);
}

vec4 load_a(uint row, uint k_at, uint row_count)
{
    if (row >= row_count)
        return vec4(0.0);
    if (A_FROM == PATCHES) {
        if (BY_FOUR != 0)
            return patch_of_four(row, k_at);
        return vec4(patch_at(row, k_at), patch_at(row, k_at + 1), patch_at(row, k_at + 2),
                    patch_at(row, k_at + 3));
    }
    if (BY_FOUR != 0)
        return k_at < k ? vec4(a4[(row * lda + k_at) / 4]) : vec4(0.0);
    vec4 v = vec4(0.0);
    for (uint i = 0; i < 4; i++)
        if (k_at + i < k)
            v[i] = float(a[row * lda + k_at + i]);
    return v;
}

uint window_of(uint row, uint tokens)
{
    uint at = first + row / tokens;
    return HAS_LIST != 0 ? uint(list[4 + at]) : at;
}

// Where a number of the residual and of the result lies.
uvec2 places_of(uint row, uint column)
{
    uint tokens = window * window, pixel = row;
    if (C_TO == WINDOWS || RESIDUAL == IN_MAP)
        pixel = window_pixel(window_of(row, tokens), row % tokens, window, shift, height, width);
    uvec2 at = uvec2((RESIDUAL == IN_MAP ? pixel : row) * ldr,
                     (C_TO == WINDOWS ? pixel : row) * ldc) + column;
    if (C_TO == UPCONV) {
        uint channels_out = n / 4, tap = column / channels_out;
        uint y = row / in_width * 2 + tap / 2, x = row % in_width * 2 + tap % 2;
        at.y = (y * in_width * 2 + x) * ldc + column % channels_out;
    }
    return at;
}

float finished(float sum, uint column)
{
    return activate(ACT, slope, HAS_BIAS != 0 ? sum + bias[column] : sum);
}

void store(uint row, uint column, float sum)
{
    uvec2 at = places_of(row, column);
    float v = finished(sum, column);
    c[at.y] = NUMBER(RESIDUAL != NONE ? v + float(residual[at.x]) : v);
}

// How many rows there are: those of the windows on the list, or all.
uint rows_there()
{
    if (HAS_LIST == 0)
        return rows;
    return uint(clamp(list[0] - int(first), 0, int(chunk))) * window * window;
}
