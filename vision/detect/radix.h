// SPDX-License-Identifier: MIT
// detect/radix.h: a stable sort of indices by keys.
#ifndef SL_DETECT_RADIX_H
#define SL_DETECT_RADIX_H

#include "base/base.h"

// A key in the upper half, an index below.
static inline uint64_t sl_radix_item(uint32_t key, size_t index)
{
    return (uint64_t)key << 32 | (uint32_t)index;
}

// Sorts by the lowest `bits` of the keys (1 to 32), ascending, equal ones as they were. spare: [n].
void sl_radix_sort(uint64_t *items, uint64_t *spare, size_t n, unsigned bits);

// Keys in the order of floats; both zeros are one.
static inline uint32_t sl_radix_key(float x)
{
    uint32_t bits;
    x += 0.0f;
    memcpy(&bits, &x, sizeof(bits));
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

#endif
