// SPDX-License-Identifier: MIT
// cpu/simd/pack.c: matrices into the panels that the matrix product reads: [k][width] for each
// panel, columns behind the last are zero.
#include "cpu/simd/panels.h"
#include "cpu/simd/shuffle.h"
#include "cpu/simd/simd.h"

size_t SL_LEVEL(sl_pack_floats)(size_t n, size_t k)
{
    return vectors_of(n) * VL * k;
}

size_t SL_LEVEL(sl_panels)(size_t n)
{
    size_t all = vectors_of(n), count = 0;
    for (size_t done = 0; done < all; count++)
        done += panel_vectors(all - done, all);
    return count;
}

void SL_LEVEL(sl_pack)(const float *weight, size_t ld, size_t n, size_t k, float *panels)
{
    size_t all = vectors_of(n), vectors;
    for (size_t done = 0; done < all; done += vectors) {
        vectors = panel_vectors(all - done, all);
        size_t left = n - done * VL, width = vectors * VL;
        transpose(weight + done * VL * ld, ld, left < width ? left : width, width, k, panels);
        panels += width * k;
    }
}

// One row of a panel from a row of the matrix, of which `left` columns remain.
SL_INLINE void pack_row(const float *from, size_t vectors, size_t left, vf scale, float *to)
{
    for (size_t v = 0; v < vectors; v++, from += VL, to += VL, left -= left < VL ? left : VL) {
        vf x = left >= VL ? vf_load(from) : vf_load_part(from, left);
        vf_store(to, x * scale);
    }
}

void SL_LEVEL(sl_pack_rows)(const float *b, size_t ld, size_t n, size_t k, float scale,
                            float diagonal, float *panels)
{
    size_t all = vectors_of(n), vectors;
    for (size_t done = 0; done < all; done += vectors) {
        vectors = panel_vectors(all - done, all);
        size_t first = done * VL, width = vectors * VL;
        for (size_t i = 0; i < k; i++)
            pack_row(b + i * ld + first, vectors, n - first, vf_set(scale), panels + i * width);
        for (size_t j = 0; j < width && first + j < n && first + j < k && diagonal != 0; j++)
            panels[(first + j) * width + j] += diagonal;
        panels += width * k;
    }
}
