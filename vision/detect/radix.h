// SPDX-License-Identifier: MIT
// detect/radix.h: a stable sort of values by 32-bit keys.
#ifndef SL_DETECT_RADIX_H
#define SL_DETECT_RADIX_H

#include "base/base.h"

// Sorts values by their keys, ascending, equal ones as they were. spare_*: as long as the arrays.
void sl_radix_sort(uint32_t *keys, uint32_t *values, uint32_t *spare_keys, uint32_t *spare_values,
                   size_t n);

// Keys in the order of floats; both zeros are one.
static inline uint32_t sl_radix_key(float x)
{
    uint32_t bits;
    x += 0.0f;
    memcpy(&bits, &x, sizeof(bits));
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

#endif
