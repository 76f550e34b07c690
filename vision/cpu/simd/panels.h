// SPDX-License-Identifier: MIT
// cpu/simd/panels.h: how packed matrices are cut into panels: what packs them and what multiplies
// by them must agree.
#ifndef SL_CPU_SIMD_PANELS_H
#define SL_CPU_SIMD_PANELS_H

#include "cpu/simd/vec.h"

#define MAX_VECTORS 3 // of a panel's width

// Width in vectors of the panel that starts where `left` vectors remain, out of `all`: threes where
// they come out even, else twos with a three for an odd rest. Single vectors are slow (a load for
// each product) and left for matrices that have no more.
SL_INLINE size_t panel_vectors(size_t left, size_t all)
{
    if (all % 3 == 0 || left == 3)
        return 3;
    return left < 2 ? left : 2;
}

SL_INLINE size_t vectors_of(size_t n)
{
    return n / VL + (n % VL != 0);
}

#endif
