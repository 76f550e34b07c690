// SPDX-License-Identifier: MIT
// image/exif.c: the EXIF tags that change when a picture is turned. The structure is untrusted:
// every offset is checked.
#include "image/image.h"

#define TAG_WIDTH 0x0100
#define TAG_HEIGHT 0x0101
#define TAG_ORIENTATION 0x0112
#define TAG_EXIF 0x8769
#define TAG_EXIF_WIDTH 0xA002
#define TAG_EXIF_HEIGHT 0xA003
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

// Where the first directory lies; false: this is no TIFF structure.
static bool open_tiff(const uint8_t *tiff, size_t size, bool *big, size_t *first)
{
    if (size < 8)
        return false;
    *big = tiff[0] == 'M' && tiff[1] == 'M';
    if ((!*big && !(tiff[0] == 'I' && tiff[1] == 'I')) || get16(tiff + 2, *big) != 42)
        return false;
    *first = get32(tiff + 4, *big);
    return true;
}

// How many entries of the directory at `at` are there: those behind the end do not count.
static size_t entries_at(const uint8_t *tiff, size_t size, size_t at, bool big)
{
    if (at > size - 2)
        return 0;
    size_t count = get16(tiff + at, big), room = (size - 2 - at) / ENTRY_BYTES;
    return count < room ? count : room;
}

static bool is_one_number(const uint8_t *entry, bool big)
{
    unsigned type = get16(entry + 2, big);
    return (type == TYPE_SHORT || type == TYPE_LONG) && get32(entry + 4, big) == 1;
}

// Calls `visit` with the value field of each well-formed orientation entry of the first directory
// (as some writers store it twice). Stops when `visit` returns false.
typedef bool (*visit_fn)(size_t value_at, unsigned type, bool big, const uint8_t *tiff, void *arg);

static void each_orientation(const uint8_t *tiff, size_t size, visit_fn visit, void *arg)
{
    bool big = false;
    size_t at = 0;
    if (!open_tiff(tiff, size, &big, &at))
        return;
    size_t count = entries_at(tiff, size, at, big);
    at += 2;
    for (size_t i = 0; i < count; i++, at += ENTRY_BYTES)
        if (get16(tiff + at, big) == TAG_ORIENTATION && is_one_number(tiff + at, big) &&
            !visit(at + 8, get16(tiff + at + 2, big), big, tiff, arg))
            return;
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

// The directory's first entry of this tag that is one number; NULL: none.
static uint8_t *find(uint8_t *tiff, size_t size, size_t directory, bool big, unsigned tag)
{
    size_t count = entries_at(tiff, size, directory, big);
    for (size_t i = 0; i < count; i++) {
        uint8_t *entry = tiff + directory + 2 + i * ENTRY_BYTES;
        if (get16(entry, big) == tag && is_one_number(entry, big))
            return entry;
    }
    return NULL;
}

static void swap_numbers(uint8_t *a, uint8_t *b)
{
    uint8_t kept[ENTRY_BYTES - 2]; // type, count, value
    if (!a || !b)
        return;
    memcpy(kept, a + 2, sizeof(kept));
    memcpy(a + 2, b + 2, sizeof(kept));
    memcpy(b + 2, kept, sizeof(kept));
}

void sl_exif_turn(uint8_t *tiff, size_t size, bool is_transposed)
{
    bool big = false;
    size_t first = 0;
    if (!open_tiff(tiff, size, &big, &first) || first > size - 2)
        return;
    size_t count = get16(tiff + first, big), end = first + 2 + count * ENTRY_BYTES;
    if (end <= size && size - end >= 4)
        memset(tiff + end, 0, 4); // no next directory, which is the thumbnail's
    if (!is_transposed)
        return;
    swap_numbers(find(tiff, size, first, big, TAG_WIDTH), find(tiff, size, first, big, TAG_HEIGHT));
    const uint8_t *exif = find(tiff, size, first, big, TAG_EXIF);
    if (!exif || get16(exif + 2, big) != TYPE_LONG)
        return;
    size_t second = get32(exif + 8, big);
    swap_numbers(find(tiff, size, second, big, TAG_EXIF_WIDTH),
                 find(tiff, size, second, big, TAG_EXIF_HEIGHT));
}
