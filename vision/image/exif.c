// SPDX-License-Identifier: MIT
// image/exif.c: the EXIF tags that change when a picture is turned.
#include "image/codec.h"
#include "image/tiff.h"

#define TAG_WIDTH 0x0100
#define TAG_HEIGHT 0x0101
#define TAG_ORIENTATION 0x0112
#define TAG_SUBJECT_AREA 0x9214
#define TAG_SUBJECT_LOCATION 0xA214
#define TAG_EXIF_WIDTH 0xA002
#define TAG_EXIF_HEIGHT 0xA003

static bool is_one_number(const uint8_t *entry, bool big)
{
    unsigned type = sl_tiff_16(entry + 2, big);
    return (type == SL_TIFF_SHORT || type == SL_TIFF_LONG) && sl_tiff_32(entry + 4, big) == 1;
}

// Calls `visit` with the value field of each well-formed orientation entry of the first directory
// (as some writers store it twice). Stops when `visit` returns false.
typedef bool (*visit_fn)(size_t value_at, unsigned type, bool big, const uint8_t *tiff, void *arg);

static void each_orientation(const uint8_t *tiff, size_t size, visit_fn visit, void *arg)
{
    bool big = false;
    size_t at = 0;
    if (!sl_tiff_open(tiff, size, &big, &at))
        return;
    size_t count = sl_tiff_entries(tiff, size, at, big);
    at += 2;
    for (size_t i = 0; i < count; i++, at += SL_TIFF_ENTRY)
        if (sl_tiff_16(tiff + at, big) == TAG_ORIENTATION && is_one_number(tiff + at, big) &&
            !visit(at + 8, sl_tiff_16(tiff + at + 2, big), big, tiff, arg))
            return;
}

static bool read_value(size_t value_at, unsigned type, bool big, const uint8_t *tiff, void *arg)
{
    const uint8_t *p = tiff + value_at;
    *(uint32_t *)arg = type == SL_TIFF_SHORT ? sl_tiff_16(p, big) : sl_tiff_32(p, big);
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
    size_t bytes = type == SL_TIFF_SHORT ? 2 : 4;
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
    size_t count = sl_tiff_entries(tiff, size, directory, big);
    for (size_t i = 0; i < count; i++) {
        uint8_t *entry = tiff + directory + 2 + i * SL_TIFF_ENTRY;
        if (sl_tiff_16(entry, big) == tag && is_one_number(entry, big))
            return entry;
    }
    return NULL;
}

static void swap_numbers(uint8_t *a, uint8_t *b)
{
    uint8_t kept[SL_TIFF_ENTRY - 2]; // type, count, value
    if (!a || !b)
        return;
    memcpy(kept, a + 2, sizeof(kept));
    memcpy(a + 2, b + 2, sizeof(kept));
    memcpy(b + 2, kept, sizeof(kept));
}

// Takes the tag out of a directory that lies in `tiff` whole.
static void drop(uint8_t *tiff, size_t size, size_t directory, bool big, unsigned tag)
{
    const size_t count = sl_tiff_entries(tiff, size, directory, big);
    if (count == 0 || count != sl_tiff_16(tiff + directory, big))
        return;
    const size_t end = directory + 2 + count * SL_TIFF_ENTRY; // where the next one's place is told
    const size_t rest = size - end < 4 ? size - end : 4;
    for (size_t at = directory + 2; at < end; at += SL_TIFF_ENTRY) {
        if (sl_tiff_16(tiff + at, big) != tag)
            continue;
        memmove(tiff + at, tiff + at + SL_TIFF_ENTRY, end + rest - at - SL_TIFF_ENTRY);
        tiff[directory + big] = (uint8_t)(count - 1);
        tiff[directory + !big] = (uint8_t)((count - 1) >> 8);
        return;
    }
}

void sl_exif_turn(uint8_t *tiff, size_t size, bool is_transposed)
{
    bool big = false;
    size_t first = 0;
    if (!sl_tiff_open(tiff, size, &big, &first) || first > size - 2)
        return;
    size_t count = sl_tiff_16(tiff + first, big), end = first + 2 + count * SL_TIFF_ENTRY;
    if (end <= size && size - end >= 4)
        memset(tiff + end, 0, 4); // no next directory, which is the thumbnail's
    if (is_transposed)
        swap_numbers(find(tiff, size, first, big, TAG_WIDTH),
                     find(tiff, size, first, big, TAG_HEIGHT));
    const uint8_t *exif = find(tiff, size, first, big, SL_TIFF_EXIF);
    if (!exif || sl_tiff_16(exif + 2, big) != SL_TIFF_LONG)
        return;
    size_t second = sl_tiff_32(exif + 8, big);
    if (is_transposed)
        swap_numbers(find(tiff, size, second, big, TAG_EXIF_WIDTH),
                     find(tiff, size, second, big, TAG_EXIF_HEIGHT));
    drop(tiff, size, second, big, TAG_SUBJECT_AREA);
    drop(tiff, size, second, big, TAG_SUBJECT_LOCATION);
}

sl_status sl_exif_upright(sl_ctx *ctx, const sl_image *image, sl_blob *out)
{
    sl_status st = sl_blob_copy(ctx, image->exif.data, image->exif.size, out);
    if (st == SL_OK && image->turned > 1)
        sl_exif_turn(out->data, out->size, image->turned >= 5);
    return st;
}
