// SPDX-License-Identifier: MIT
// detect/radix.c: a stable sort, 11 bits at a time, lowest first.
#include "detect/radix.h"

#define DIGIT_BITS 11u
#define DIGITS ((size_t)1 << DIGIT_BITS)
#define FEW 48 // up to here, exchanging neighbours is faster than counting

static void sort_few(uint64_t *items, size_t n, uint64_t mask)
{
    for (size_t i = 1; i < n; i++) {
        const uint64_t item = items[i];
        size_t j = i;
        for (; j > 0 && (items[j - 1] & mask) > (item & mask); j--)
            items[j] = items[j - 1];
        items[j] = item;
    }
}

// False: all have the same digit, and nothing was moved.
static bool sort_digit(const uint64_t *from, uint64_t *to, size_t n, unsigned shift, uint32_t mask)
{
    uint32_t start[DIGITS] = { 0 }, sum = 0;
    for (size_t i = 0; i < n; i++)
        start[(from[i] >> shift) & mask]++;
    if (start[(from[0] >> shift) & mask] == n)
        return false;
    for (size_t d = 0; d <= mask; d++) {
        const uint32_t here = start[d];
        start[d] = sum;
        sum += here;
    }
    for (size_t i = 0; i < n; i++)
        to[start[(from[i] >> shift) & mask]++] = from[i];
    return true;
}

void sl_radix_sort(uint64_t *items, uint64_t *spare, size_t n, unsigned bits)
{
    uint64_t *from = items, *to = spare;
    if (n <= FEW) {
        sort_few(items, n, ((1ull << bits) - 1) << 32);
        return;
    }
    for (unsigned done = 0; done < bits; done += DIGIT_BITS) {
        const unsigned width = bits - done < DIGIT_BITS ? bits - done : DIGIT_BITS;
        if (sort_digit(from, to, n, 32 + done, (1u << width) - 1)) {
            uint64_t *swap = from;
            from = to;
            to = swap;
        }
    }
    if (from != items)
        memcpy(items, from, n * sizeof(*items));
}
