// SPDX-License-Identifier: MIT
// detect/radix.c: a stable sort of 32-bit keys, 11 bits at a time, lowest first.
#include "detect/radix.h"

#define DIGIT_BITS 11
#define DIGITS ((size_t)1 << DIGIT_BITS)
#define FEW 48 // up to here, exchanging neighbours is faster than counting

static void sort_few(uint32_t *keys, uint32_t *values, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        uint32_t key = keys[i], value = values[i];
        size_t j = i;
        for (; j > 0 && keys[j - 1] > key; j--) {
            keys[j] = keys[j - 1];
            values[j] = values[j - 1];
        }
        keys[j] = key;
        values[j] = value;
    }
}

// One digit; false: all keys have the same one, and nothing was moved.
static bool sort_digit(const uint32_t *keys, const uint32_t *values, uint32_t *to_keys,
                       uint32_t *to_values, size_t n, unsigned shift)
{
    uint32_t start[DIGITS] = { 0 };
    for (size_t i = 0; i < n; i++)
        start[(keys[i] >> shift) % DIGITS]++;
    if (start[(keys[0] >> shift) % DIGITS] == n)
        return false;
    uint32_t sum = 0;
    for (size_t d = 0; d < DIGITS; d++) {
        uint32_t here = start[d];
        start[d] = sum;
        sum += here;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t to = start[(keys[i] >> shift) % DIGITS]++;
        to_keys[to] = keys[i];
        to_values[to] = values[i];
    }
    return true;
}

void sl_radix_sort(uint32_t *keys, uint32_t *values, uint32_t *spare_keys, uint32_t *spare_values,
                   size_t n)
{
    uint32_t *from[2] = { keys, values }, *to[2] = { spare_keys, spare_values };
    if (n <= FEW) {
        sort_few(keys, values, n);
        return;
    }
    for (unsigned shift = 0; shift < 32; shift += DIGIT_BITS)
        if (sort_digit(from[0], from[1], to[0], to[1], n, shift)) {
            uint32_t *swap[2] = { from[0], from[1] };
            memcpy(from, to, sizeof(from));
            memcpy(to, swap, sizeof(to));
        }
    if (from[0] != keys) {
        memcpy(keys, from[0], n * sizeof(*keys));
        memcpy(values, from[1], n * sizeof(*values));
    }
}
