// SPDX-License-Identifier: MIT
// detect/nms_kernel.c: the inner loops of Soft-NMS, compiled once for each SIMD level. Every step
// rounds as the published loop does, so that scores come out bit for bit; exp is the one exception:
// it is computed to 2^-42 and asked of the C library where that could round to another f32.
#include "cpu/simd/vec.h"
#include "detect/nms.h"

#include <math.h>

#define HALF (VL / 2)

typedef double vd __attribute__((vector_size(VL * 4))); // f64 lanes: half of those of f32
typedef int64_t vl __attribute__((vector_size(VL * 4)));

extern const sl_nms_kernels SL_LEVEL(sl_nms_kernels);

SL_INLINE vd vd_low(vf x)
{
#if defined(SL_SIMD_IS_AVX2)
    return _mm256_cvtps_pd(_mm256_castps256_ps128(x));
#elif defined(__SSE2__)
    return _mm_cvtps_pd(x);
#else
    vd y;
    for (int i = 0; i < HALF; i++)
        y[i] = (double)x[i];
    return y;
#endif
}

SL_INLINE vd vd_high(vf x)
{
#if defined(SL_SIMD_IS_AVX2)
    return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
#elif defined(__SSE2__)
    return _mm_cvtps_pd(_mm_movehl_ps(x, x));
#else
    vd y;
    for (int i = 0; i < HALF; i++)
        y[i] = (double)x[HALF + i];
    return y;
#endif
}

// Rounds both halves to f32.
SL_INLINE vf vf_join(vd low, vd high)
{
#if defined(SL_SIMD_IS_AVX2)
    return _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low));
#elif defined(__SSE2__)
    return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
#else
    vf y;
    for (int i = 0; i < HALF; i++) {
        y[i] = (float)low[i];
        y[HALF + i] = (float)high[i];
    }
    return y;
#endif
}

// a * b + c, rounded once or twice: for exp_near alone, which allows for both.
SL_INLINE vd vd_near(vd a, vd b, double c)
{
#if defined(SL_SIMD_IS_AVX2)
    return _mm256_fmadd_pd(a, b, _mm256_set1_pd(c));
#else
    return a * b + c;
#endif
}

SL_INLINE unsigned lanes_of(vi mask)
{
#if defined(SL_SIMD_IS_AVX2)
    return (unsigned)_mm256_movemask_ps((__m256)mask);
#elif defined(__SSE2__)
    return (unsigned)_mm_movemask_ps((__m128)mask);
#else
    unsigned bits = 0;
    for (int i = 0; i < VL; i++)
        bits |= (unsigned)(mask[i] != 0) << i;
    return bits;
#endif
}

// exp(x) for -200 <= x <= 0 with a relative error below 2^-44: 2^k times a polynomial of degree 9
// that was fitted to exp at Chebyshev's points of +-ln(2)/2.
SL_INLINE vd exp_near(vd x)
{
    const double log2e = 0x1.71547652b82fep+0, magic = 0x1.8p+52; // its last bits are k
    const double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
    vd z = x * log2e + magic, k = z - magic;
    vd r = (x - k * ln2_high) - k * ln2_low;
    vd p = vd_near(r, 0x1.72e108672912ep-19 - (vd) { 0 }, 0x1.a17df0dd9ef9bp-16);
    p = vd_near(p, r, 0x1.a01994c79d90bp-13);
    p = vd_near(p, r, 0x1.6c162bb7d58f8p-10);
    p = vd_near(p, r, 0x1.11111123bf529p-7);
    p = vd_near(p, r, 0x1.55555588b8423p-5);
    p = vd_near(p, r, 0x1.5555555550d86p-3);
    p = vd_near(p, r, 0x1.ffffffffe74f1p-2);
    p = vd_near(p, r, 0x1.0000000000006p+0);
    p = vd_near(p, r, 0x1.000000000003dp+0);
    return (vd)((vl)p + ((vl)z << 52));
}

// exp in f64, rounded to f32. Lanes outside of `wanted` may hold anything.
SL_INLINE vf exp_exact(vf x, unsigned wanted)
{
    const vf bounded = vf_max(x, vf_set(-200)); // both ends round to 0 from there on
    const vd low = exp_near(vd_low(bounded)), high = exp_near(vd_high(bounded));
    const double margin = 0x1p-42;
    vf y = vf_join(low - low * margin, high - high * margin);
    const vf above = vf_join(low + low * margin, high + high * margin);
    for (unsigned open = lanes_of(y != above) & wanted; open; open &= open - 1) {
        const int i = __builtin_ctz(open);
        y[i] = (float)exp((double)x[i]);
    }
    return y;
}

// The factor that an overlap takes off a score.
SL_INLINE vf weight_of(vf overlap, unsigned wanted, const sl_nms_rule *rule, sl_nms kind)
{
    const vi is_above = overlap > vf_set(rule->iou);
    if (kind == SL_NMS_LINEAR)
        return vf_select(is_above, 1 - overlap, vf_set(1));
    if (kind == SL_NMS_HARD)
        return vf_select(is_above, vf_set(0), vf_set(1));
    const vf square = -(overlap * overlap);
    return exp_exact(rule->reciprocal > 0 ? square * rule->reciprocal : square / rule->sigma,
                     wanted);
}

SL_INLINE size_t lower_by(const sl_nms_slots *slots, size_t from, size_t count,
                          const sl_nms_chosen *chosen, const sl_nms_rule *rule, uint32_t *fallen,
                          sl_nms kind)
{
    const vf x1 = vf_set(chosen->box.x1), y1 = vf_set(chosen->box.y1);
    const vf x2 = vf_set(chosen->box.x2), y2 = vf_set(chosen->box.y2);
    const vf extra = vf_set(rule->extra), least = vf_set(rule->least);
    const vf zero = vf_set(0);
    size_t fallen_count = 0;
    for (size_t i = from; i < from + count; i += VL) {
        vf w = vf_min(x2, vf_load(slots->x2 + i)) - vf_max(x1, vf_load(slots->x1 + i)) + extra;
        vf h = vf_min(y2, vf_load(slots->y2 + i)) - vf_max(y1, vf_load(slots->y1 + i)) + extra;
        const vf common = w * h;
        const vi meets = (w > zero) & (h > zero) & (common > zero);
        const unsigned wanted = lanes_of(meets);
        if (!wanted)
            continue;
        const vf area = vf_load(slots->area + i);
        const vf all = vf_join(vd_low(area) + chosen->area - vd_low(common),
                               vd_high(area) + chosen->area - vd_high(common));
        const vf score = vf_load(slots->score + i);
        const vf next =
            vf_select(meets, score * weight_of(common / all, wanted, rule, kind), score);
        vf_store(slots->score + i, next);
        for (unsigned drop = lanes_of(next < least) & wanted; drop; drop &= drop - 1)
            fallen[fallen_count++] = (uint32_t)(i + (unsigned)__builtin_ctz(drop));
    }
    return fallen_count;
}

static size_t lower(const sl_nms_slots *slots, size_t from, size_t count,
                    const sl_nms_chosen *chosen, const sl_nms_rule *rule, uint32_t *fallen)
{
    if (rule->kind == SL_NMS_LINEAR)
        return lower_by(slots, from, count, chosen, rule, fallen, SL_NMS_LINEAR);
    if (rule->kind == SL_NMS_HARD)
        return lower_by(slots, from, count, chosen, rule, fallen, SL_NMS_HARD);
    return lower_by(slots, from, count, chosen, rule, fallen, SL_NMS_GAUSSIAN);
}

static size_t first(const float *score, const uint32_t *place, size_t n)
{
    vf best = vf_load(score);
    for (size_t i = VL; i < n; i += VL)
        best = vf_max(best, vf_load(score + i));
    const vf highest = vf_set(vf_largest(best));
    size_t found = 0;
    uint32_t lowest = UINT32_MAX;
    for (size_t i = 0; i < n; i += VL)
        for (unsigned same = lanes_of(vf_load(score + i) == highest); same; same &= same - 1) {
            const size_t j = i + (unsigned)__builtin_ctz(same);
            if (place[j] <= lowest) {
                lowest = place[j];
                found = j;
            }
        }
    return found;
}

// Rounded sums and differences never change order, so a rectangle around a box overlaps whatever
// the box does.
static size_t reach(const sl_nms_blocks *blocks, const sl_nms_chosen *chosen, float extra,
                    uint32_t *out)
{
    const vf x1 = vf_set(chosen->box.x1), y1 = vf_set(chosen->box.y1);
    const vf x2 = vf_set(chosen->box.x2), y2 = vf_set(chosen->box.y2);
    const vf zero = vf_set(0), more = vf_set(extra);
    size_t count = 0;
    for (size_t i = 0; i < blocks->count; i += VL) {
        vf w = vf_min(x2, vf_load(blocks->x2 + i)) - vf_max(x1, vf_load(blocks->x1 + i)) + more;
        vf h = vf_min(y2, vf_load(blocks->y2 + i)) - vf_max(y1, vf_load(blocks->y1 + i)) + more;
        for (unsigned met = lanes_of((w > zero) & (h > zero)); met; met &= met - 1)
            out[count++] = (uint32_t)(i + (unsigned)__builtin_ctz(met));
    }
    return count;
}

const sl_nms_kernels SL_LEVEL(sl_nms_kernels) = { first, reach, lower };
