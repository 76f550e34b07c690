// SPDX-License-Identifier: MIT
// image/tiff.h: how EXIF lies in memory: numbers of either byte order, directories of entries. It
// is untrusted: every offset is checked.
#ifndef SL_IMAGE_TIFF_H
#define SL_IMAGE_TIFF_H

#include "base/base.h"

#define SL_TIFF_ENTRY 12 // bytes: tag, type, how many values, the value or where it lies
#define SL_TIFF_SHORT 3
#define SL_TIFF_LONG 4
#define SL_TIFF_EXIF 0x8769     // tag of the pointer to EXIF's own directory
#define SL_TIFF_LAST_OF_EXIF 13 // the types behind it are BigTIFF's

// Bytes of one value of a type; 0: there is no such type.
static inline unsigned sl_tiff_value_bytes(uint64_t type)
{
    static const uint8_t bytes[] = { 0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8 };
    return type < sizeof(bytes) ? bytes[type] : 0;
}

static inline unsigned sl_tiff_16(const uint8_t *p, bool big)
{
    return big ? (unsigned)(p[0] << 8 | p[1]) : (unsigned)(p[1] << 8 | p[0]);
}

static inline uint32_t sl_tiff_32(const uint8_t *p, bool big)
{
    uint32_t first = sl_tiff_16(p, big), second = sl_tiff_16(p + 2, big);
    return big ? first << 16 | second : second << 16 | first;
}

// Where the first directory is said to lie; false: this is no TIFF structure.
static inline bool sl_tiff_open(const uint8_t *tiff, size_t size, bool *big, size_t *first)
{
    if (size < 8)
        return false;
    *big = tiff[0] == 'M' && tiff[1] == 'M';
    if ((!*big && !(tiff[0] == 'I' && tiff[1] == 'I')) || sl_tiff_16(tiff + 2, *big) != 42)
        return false;
    *first = sl_tiff_32(tiff + 4, *big);
    return true;
}

// How many entries of the directory at `at` are there: those behind the end do not count.
static inline size_t sl_tiff_entries(const uint8_t *tiff, size_t size, size_t at, bool big)
{
    if (size < 2 || at > size - 2)
        return 0;
    size_t count = sl_tiff_16(tiff + at, big), room = (size - 2 - at) / SL_TIFF_ENTRY;
    return count < room ? count : room;
}

#endif
