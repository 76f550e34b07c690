// SPDX-License-Identifier: MIT
// detect/nms_kernel.c: the inner loops of Soft-NMS, compiled once for each SIMD level. Every step
// rounds as the published loop does, so that scores come out bit for bit; exp is the one exception:
// it is computed to 2^-42 and asked of the C library where that could round to another f32.
#include "cpu/simd/vec.h"
#include "detect/nms.h"

#include <math.h>

#define HALF (VL / 2)

typedef double vd __attribute__((vector_size(VL * 4))); // f64 lanes: half of those of f32
typedef uint64_t vl __attribute__((vector_size(VL * 4)));

extern const sl_nms_kernels SL_LEVEL(sl_nms_kernels);

SL_INLINE vd vd_set(double x)
{
    return x - (vd) { 0 };
}

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
SL_INLINE vd vd_near(vd a, vd b, vd c)
{
#if defined(SL_SIMD_IS_AVX2)
    return _mm256_fmadd_pd(a, b, c);
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
    const vd z = vd_near(x, vd_set(log2e), vd_set(magic)), k = z - magic;
    const vd r = vd_near(k, vd_set(-ln2_low), vd_near(k, vd_set(-ln2_high), x));
    const vd r2 = r * r, r4 = r2 * r2;
    const vd p01 = vd_near(r, vd_set(0x1.0000000000006p+0), vd_set(0x1.000000000003dp+0));
    const vd p23 = vd_near(r, vd_set(0x1.5555555550d86p-3), vd_set(0x1.ffffffffe74f1p-2));
    const vd p45 = vd_near(r, vd_set(0x1.11111123bf529p-7), vd_set(0x1.55555588b8423p-5));
    const vd p67 = vd_near(r, vd_set(0x1.a01994c79d90bp-13), vd_set(0x1.6c162bb7d58f8p-10));
    const vd p89 = vd_near(r, vd_set(0x1.72e108672912ep-19), vd_set(0x1.a17df0dd9ef9bp-16));
    const vd high = vd_near(r4, p89, vd_near(r2, p67, p45));
    const vd p = vd_near(r4, high, vd_near(r2, p23, p01));
    return (vd)((vl)p + ((vl)z << 52));
}

// exp in f64, rounded to f32.
SL_INLINE vf exp_exact(vf x)
{
    const vf bounded = vf_max(x, vf_set(-200)); // both ends round to 0 from there on
    const vd low = exp_near(vd_low(bounded)), high = exp_near(vd_high(bounded));
    const double margin = 0x1p-42;
    vf y = vf_join(low - low * margin, high - high * margin);
    const vf above = vf_join(low + low * margin, high + high * margin);
    for (unsigned open = lanes_of(y != above); open; open &= open - 1) {
        const int i = __builtin_ctz(open);
        y[i] = (float)exp((double)x[i]);
    }
    return y;
}

// The factor that an overlap takes off a score.
SL_INLINE vf weight_of(vf overlap, const sl_nms_rule *rule, sl_nms kind)
{
    const vi is_above = overlap > vf_set(rule->iou);
    if (kind == SL_NMS_LINEAR)
        return vf_select(is_above, 1 - overlap, vf_set(1));
    if (kind == SL_NMS_HARD)
        return vf_select(is_above, vf_set(0), vf_set(1));
    const vf square = -(overlap * overlap);
    return exp_exact(rule->reciprocal > 0 ? square * rule->reciprocal : square / rule->sigma);
}

// Lanes that overlap, packed together: few of a block do, and the rest of the work is dear.
#define ROOM (32 * VL)

typedef struct pending {
    float common[ROOM + VL], area[ROOM + VL], score[ROOM + VL];
    uint32_t slot[ROOM + VL];
    size_t count;
} pending;

#if defined(SL_SIMD_IS_AVX2)
// Byte k of row m: the k-th of the bits set in m.
#define BIT(m, i) ((uint64_t)((m) >> (i)&1) * (i) << 8 * __builtin_popcount((m) & ((1 << (i)) - 1)))
#define ROW(m)                                                                                     \
    (BIT(m, 0) | BIT(m, 1) | BIT(m, 2) | BIT(m, 3) | BIT(m, 4) | BIT(m, 5) | BIT(m, 6) | BIT(m, 7))
#define ROWS_4(m) ROW(m), ROW((m) + 1), ROW((m) + 2), ROW((m) + 3)
#define ROWS_16(m) ROWS_4(m), ROWS_4((m) + 4), ROWS_4((m) + 8), ROWS_4((m) + 12)
#define ROWS_64(m) ROWS_16(m), ROWS_16((m) + 16), ROWS_16((m) + 32), ROWS_16((m) + 48)
static const uint64_t set_bits[256] = { ROWS_64(0), ROWS_64(64), ROWS_64(128), ROWS_64(192) };

SL_INLINE void pack(pending *p, const sl_nms_slots *slots, size_t i, vf common, unsigned wanted)
{
    const vi lanes = { 0, 1, 2, 3, 4, 5, 6, 7 };
    const __m256i from = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)set_bits[wanted]));
    const vi slot = lanes + (int32_t)i;
    const size_t to = p->count;
    vf_store(p->common + to, _mm256_permutevar8x32_ps(common, from));
    vf_store(p->area + to, _mm256_permutevar8x32_ps(vf_load(slots->area + i), from));
    vf_store(p->score + to, _mm256_permutevar8x32_ps(vf_load(slots->score + i), from));
    vf_store((float *)p->slot + to, _mm256_permutevar8x32_ps((vf)slot, from));
    p->count += (unsigned)__builtin_popcount(wanted);
}
#else
SL_INLINE void pack(pending *p, const sl_nms_slots *slots, size_t i, vf common, unsigned wanted)
{
    for (; wanted; wanted &= wanted - 1) {
        const unsigned lane = (unsigned)__builtin_ctz(wanted);
        p->common[p->count] = common[lane];
        p->area[p->count] = slots->area[i + lane];
        p->score[p->count] = slots->score[i + lane];
        p->slot[p->count++] = (uint32_t)(i + lane);
    }
}
#endif

// What is left of the scores of boxes that share the area `common` with the chosen one.
SL_INLINE vf left_of(vf score, vf area, vf common, const sl_nms_chosen *chosen,
                     const sl_nms_rule *rule, sl_nms kind)
{
    const vf all = vf_join(vd_low(area) + chosen->area - vd_low(common),
                           vd_high(area) + chosen->area - vd_high(common));
    return score * weight_of(common / all, rule, kind);
}

// Lowers the scores of what is pending. Appends the slots that fell below the least.
SL_INLINE uint32_t *lower_pending(pending *p, const sl_nms_slots *slots,
                                  const sl_nms_chosen *chosen, const sl_nms_rule *rule,
                                  uint32_t *fallen, sl_nms kind)
{
    const vf least = vf_set(rule->least);
    for (size_t i = 0; i < VL; i++) { // whole vectors: the lanes behind the last
        p->common[p->count + i] = p->score[p->count + i] = 0;
        p->area[p->count + i] = 1;
    }
    for (size_t i = 0; i < p->count; i += VL) {
        const size_t n = p->count - i < VL ? p->count - i : VL;
        const vf next = left_of(vf_load(p->score + i), vf_load(p->area + i), vf_load(p->common + i),
                                chosen, rule, kind);
        vf_store(p->score + i, next);
        for (size_t k = i; k < i + n; k++)
            slots->score[p->slot[k]] = p->score[k];
        for (unsigned drop = lanes_of(next < least) & ((1u << n) - 1); drop; drop &= drop - 1)
            *fallen++ = p->slot[i + (unsigned)__builtin_ctz(drop)];
    }
    p->count = 0;
    return fallen;
}

// Where all lanes overlap there is nothing to pack.
SL_INLINE uint32_t *lower_here(const sl_nms_slots *slots, size_t i, vf common,
                               const sl_nms_chosen *chosen, const sl_nms_rule *rule,
                               uint32_t *fallen, sl_nms kind)
{
    const vf next =
        left_of(vf_load(slots->score + i), vf_load(slots->area + i), common, chosen, rule, kind);
    vf_store(slots->score + i, next);
    for (unsigned drop = lanes_of(next < vf_set(rule->least)); drop; drop &= drop - 1)
        *fallen++ = (uint32_t)(i + (unsigned)__builtin_ctz(drop));
    return fallen;
}

SL_INLINE size_t lower_by(const sl_nms_slots *slots, size_t filled, const uint32_t *reached,
                          size_t count, const sl_nms_chosen *chosen, const sl_nms_rule *rule,
                          uint32_t *fallen, sl_nms kind)
{
    const vf x1 = vf_set(chosen->box.x1), y1 = vf_set(chosen->box.y1);
    const vf x2 = vf_set(chosen->box.x2), y2 = vf_set(chosen->box.y2);
    const vf extra = vf_set(rule->extra), zero = vf_set(0);
    const uint32_t *const start = fallen;
    pending p;
    p.count = 0;
    for (size_t j = 0; j < count; j++) {
        const size_t from = (size_t)reached[j] * SL_NMS_BLOCK;
        const size_t end = filled < from + SL_NMS_BLOCK ? filled : from + SL_NMS_BLOCK;
        for (size_t i = from; i < end; i += VL) {
            vf w = vf_min(x2, vf_load(slots->x2 + i)) - vf_max(x1, vf_load(slots->x1 + i)) + extra;
            vf h = vf_min(y2, vf_load(slots->y2 + i)) - vf_max(y1, vf_load(slots->y1 + i)) + extra;
            const vf common = w * h;
            const unsigned wanted = lanes_of((w > zero) & (h > zero) & (common > zero));
            if (wanted == (1u << VL) - 1)
                fallen = lower_here(slots, i, common, chosen, rule, fallen, kind);
            else if (wanted)
                pack(&p, slots, i, common, wanted);
        }
        if (p.count > ROOM - SL_NMS_BLOCK)
            fallen = lower_pending(&p, slots, chosen, rule, fallen, kind);
    }
    fallen = lower_pending(&p, slots, chosen, rule, fallen, kind);
    return (size_t)(fallen - start);
}

static size_t lower(const sl_nms_slots *slots, size_t filled, const uint32_t *reached, size_t count,
                    const sl_nms_chosen *chosen, const sl_nms_rule *rule, uint32_t *fallen)
{
    if (rule->kind == SL_NMS_LINEAR)
        return lower_by(slots, filled, reached, count, chosen, rule, fallen, SL_NMS_LINEAR);
    if (rule->kind == SL_NMS_HARD)
        return lower_by(slots, filled, reached, count, chosen, rule, fallen, SL_NMS_HARD);
    return lower_by(slots, filled, reached, count, chosen, rule, fallen, SL_NMS_GAUSSIAN);
}

static size_t first(const float *score, const uint32_t *place, size_t n)
{
    vf best = vf_load(score);
    for (size_t i = VL; i < n; i += VL)
        best = vf_max(best, vf_load(score + i));
    const vf highest = vf_set(vf_largest(best));
    size_t found = 0;
    uint32_t lowest = UINT32_MAX;
    for (size_t from = 0; from < n; from += 64) { // a word of lanes: one branch instead of eight
        uint64_t same = 0;
        for (size_t i = from; i < from + 64 && i < n; i += VL)
            same |= (uint64_t)lanes_of(vf_load(score + i) == highest) << (i - from);
        for (; same; same &= same - 1) {
            const size_t j = from + (unsigned)__builtin_ctzll(same);
            if (place[j] <= lowest) {
                lowest = place[j];
                found = j;
            }
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
