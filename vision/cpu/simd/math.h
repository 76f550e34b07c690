// SPDX-License-Identifier: MIT
// cpu/simd/math.h: exponential, GELU and the other activations on vectors, in f32. Coefficients are
// our own minimax fits (iteratively reweighted least squares in f64, then rounded).
#ifndef SL_CPU_SIMD_MATH_H
#define SL_CPU_SIMD_MATH_H

#include "cpu/simd/vec.h"

// Adding 1.5 * 2^23 leaves the nearest integer in the low bits: |x| has to be below 2^22.
#define SL_ROUND_MAGIC 12582912.0f

// 2^n for the integer that x holds after the magic was added, n in [-126, 127].
SL_INLINE vf vf_power_of_two(vf x)
{
    return (vf)(((vi)x << 23) + vi_set(0x3f800000));
}

// e^x. Relative error of the fit 3.1e-9, of the result below 1.5e-7. Arguments below -86.6 give 0
// (the result would leave the normal numbers soon), above 88.73 infinity; NaN stays NaN.
SL_INLINE vf vf_exp(vf x)
{
    vf y = vf_min(vf_set(89.0f), vf_max(vf_set(-86.6f), x)); // NaN passes: see vf_min, vf_max
    vf magic = vf_set(SL_ROUND_MAGIC);
    vf shifted = y * vf_set(1.44269504f) + magic;
    vf n = shifted - magic;
    vf r = y - n * vf_set(0.693359375f); // ln 2 in two parts; the first times n is exact
    r = r - n * vf_set(-2.12194440e-4f);
    vf p = r * vf_set(1.3814618e-3f) + vf_set(8.3687132e-3f);
    p = p * r + vf_set(4.1668389e-2f);
    p = p * r + vf_set(1.66665207e-1f);
    p = p * r + vf_set(4.99999935e-1f);
    p = p * r * r + r + vf_set(1.0f);
    // Half of 2^n first: n reaches 128, whose power has no place among the floats.
    vf half = vf_power_of_two(shifted - vf_set(1.0f));
    vf e = p * half * vf_set(2.0f);
    return vf_select(x < vf_set(-86.6f), vf_set(0.0f), e);
}

// GELU, x * P(X < x) for a standard normal X, as max(x, 0) - |x| * Q with Q = P(X > |x|) =
// 2^h(|x|). h is a polynomial of degree 8, h(0) = -1; the fit's error in |x| * Q is 9.0e-9 on all
// reals, of 2^f 9.2e-8 of its value. Together with rounding below 1e-7 (absolute).
SL_INLINE vf vf_gelu(vf x)
{
    vf t = vf_min(vf_set(8.0f), vf_abs(x)); // beyond, |x| * Q is below 1e-14
    vf h = t * vf_set(-1.9020622e-6f) + vf_set(2.8056895e-5f);
    h = h * t + vf_set(-1.3147298e-4f);
    h = h * t + vf_set(-2.7207638e-4f);
    h = h * t + vf_set(7.2454222e-3f);
    h = h * t + vf_set(-5.2627612e-2f);
    h = h * t + vf_set(-4.5916214e-1f);
    h = h * t + vf_set(-1.15111105f);
    h = h * t + vf_set(-1.0f);
    vf magic = vf_set(SL_ROUND_MAGIC);
    vf shifted = h + magic;
    vf f = h - (shifted - magic);
    vf p = f * vf_set(1.32647387e-3f) + vf_set(9.6715167e-3f);
    p = p * f + vf_set(5.5507338e-2f);
    p = p * f + vf_set(2.40222420e-1f);
    p = p * f + vf_set(6.93146978e-1f);
    p = p * f + vf_set(1.0f);
    vf q = p * vf_power_of_two(shifted);
    return vf_max(vf_set(0.0f), x) - t * q;
}

// GELU as networks approximate it, 0.5 x (1 + tanh(u)) with u = sqrt(2/pi) (x + 0.044715 x^3), as
// max(x, 0) - |x| / (1 + e^2|u|). Off by less than 1e-7 (absolute), beside the last rounding.
SL_INLINE vf vf_gelu_tanh(vf x)
{
    vf t = vf_min(vf_set(20.0f), vf_abs(x)); // beyond, the quotient is 0; NaN passes
    vf e = vf_exp(t * (t * t * vf_set(0.0713548163f) + vf_set(1.59576912f)));
    return vf_max(vf_set(0.0f), x) - t / (vf_set(1.0f) + e);
}

SL_INLINE vf vf_activate(vf x, sl_act act, float slope)
{
    switch (act) {
    case SL_ACT_RELU:
        return vf_max(vf_set(0.0f), x); // NaN stays NaN
    case SL_ACT_LEAKY_RELU:
        return vf_select(x < vf_set(0.0f), x * vf_set(slope), x);
    case SL_ACT_GELU:
        return vf_gelu(x);
    case SL_ACT_GELU_TANH:
        return vf_gelu_tanh(x);
    case SL_ACT_NONE:
        break;
    }
    return x;
}

#endif
