// SPDX-License-Identifier: MIT
// image/exif.c: the one EXIF tag that we need. The structure is untrusted: every offset is checked.
#include "image/image.h"

#define TAG_ORIENTATION 0x0112
#define TYPE_SHORT 3
#define TYPE_LONG 4
#define ENTRY_BYTES 12

static unsigned get16(const uint8_t *p, bool big)
{
    return big ? (unsigned)(p[0] << 8 | p[1]) : (unsigned)(p[1] << 8 | p[0]);
}

static uint32_t get32(const uint8_t *p, bool big)
{
    uint32_t first = get16(p, big), second = get16(p + 2, big);
    return big ? first << 16 | second : second << 16 | first;
}

// Walks the first directory and calls `visit` with the value field of each well-formed orientation
// entry (as some writers store it twice). Stops when `visit` returns false.
typedef bool (*visit_fn)(size_t value_at, unsigned type, bool big, const uint8_t *tiff, void *arg);

static void each_orientation(const uint8_t *tiff, size_t size, visit_fn visit, void *arg)
{
    if (size < 8)
        return;
    bool big = tiff[0] == 'M' && tiff[1] == 'M';
    if (!big && !(tiff[0] == 'I' && tiff[1] == 'I'))
        return;
    if (get16(tiff + 2, big) != 42)
        return;
    size_t at = get32(tiff + 4, big);
    if (at > size - 2)
        return;
    size_t count = get16(tiff + at, big), room = (size - 2 - at) / ENTRY_BYTES;
    at += 2;
    for (size_t i = 0; i < count && i < room; i++, at += ENTRY_BYTES) {
        const uint8_t *entry = tiff + at;
        unsigned type = get16(entry + 2, big);
        if (get16(entry, big) != TAG_ORIENTATION || get32(entry + 4, big) != 1)
            continue;
        if ((type == TYPE_SHORT || type == TYPE_LONG) && !visit(at + 8, type, big, tiff, arg))
            return;
    }
}

static bool read_value(size_t value_at, unsigned type, bool big, const uint8_t *tiff, void *arg)
{
    const uint8_t *p = tiff + value_at;
    *(uint32_t *)arg = type == TYPE_SHORT ? get16(p, big) : get32(p, big);
    return false; // the first one counts
}

unsigned sl_exif_orientation(const uint8_t *tiff, size_t size)
{
    uint32_t value = 1;
    each_orientation(tiff, size, read_value, &value);
    return value >= 1 && value <= 8 ? value : 1;
}

typedef struct change {
    uint8_t *tiff, value;
} change;

static bool write_value(size_t value_at, unsigned type, bool big, const uint8_t *tiff, void *arg)
{
    (void)tiff;
    const change *c = arg;
    uint8_t *p = c->tiff + value_at;
    size_t bytes = type == TYPE_SHORT ? 2 : 4;
    memset(p, 0, bytes);
    p[big ? bytes - 1 : 0] = c->value;
    return true;
}

void sl_exif_set_orientation(uint8_t *tiff, size_t size, unsigned orientation)
{
    change c = { tiff, (uint8_t)orientation };
    each_orientation(tiff, size, write_value, &c);
}
