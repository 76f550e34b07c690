// SPDX-License-Identifier: MIT
// image/tiff_survey.c: looks through the directories of a TIFF before libtiff does, which copies
// every value that it meets, whatever it is for, and tells raw files of cameras from damage.
#include "image/tiff.h"
#include "image/tiff_reader.h"

#define MOST_ENTRIES 4096 // of a directory, as libtiff has it
#define MOST_DIRECTORIES 256
#define TAG_SUBFILE 0x00FE
#define TAG_WIDTH 0x0100
#define TAG_HEIGHT 0x0101
#define TAG_MAKE 0x010F
#define TAG_PARTS 0x014A   // SubIFDs: where cameras put what they saw
#define SUBFILE_NO_PAGE 5u // a smaller copy, a mask
#define SUBFILE_REDUCED 1u

typedef struct structure {
    const uint8_t *data;
    size_t size;
    bool big;      // endian
    bool is_large; // BigTIFF: counts and offsets of eight bytes
} structure;

typedef struct directory {
    bool has_width, has_height, has_make, has_parts, has_exif;
    uint64_t subfile, value_bytes, next; // value_bytes: of those that stand elsewhere
} directory;

// 0 where it is not there.
static uint64_t number(const structure *s, uint64_t at, unsigned bytes)
{
    if (at > s->size || bytes > s->size - at)
        return 0;
    const uint8_t *p = s->data + at;
    if (bytes == 2)
        return sl_tiff_16(p, s->big);
    if (bytes == 4)
        return sl_tiff_32(p, s->big);
    const uint64_t first = sl_tiff_32(p, s->big), second = sl_tiff_32(p + 4, s->big);
    return s->big ? first << 32 | second : second << 32 | first;
}

static void note_entry(const structure *s, uint64_t at, directory *d)
{
    const unsigned word = s->is_large ? 8 : 4, tag = (unsigned)number(s, at, 2);
    const uint64_t type = number(s, at + 2, 2), count = number(s, at + 4, word);
    const unsigned bytes = sl_tiff_value_bytes(type);
    d->has_width |= tag == TAG_WIDTH;
    d->has_height |= tag == TAG_HEIGHT;
    d->has_make |= tag == TAG_MAKE;
    d->has_parts |= tag == TAG_PARTS;
    d->has_exif |= tag == SL_TIFF_EXIF;
    if (tag == TAG_SUBFILE)
        d->subfile = number(s, at + 4 + word, type == SL_TIFF_SHORT ? 2 : 4);
    if (bytes == 0 || count <= word / bytes)
        return;
    // What reaches beyond the file, libtiff does not copy.
    d->value_bytes += count <= s->size / bytes ? count * bytes : 0;
}

// False: none that libtiff would read.
static bool read_directory(const structure *s, uint64_t at, directory *d)
{
    const unsigned entry = s->is_large ? 20 : 12, head = s->is_large ? 8 : 2;
    const uint64_t count = at > 0 ? number(s, at, head) : 0; // libtiff follows any other place
    *d = (directory) { 0 };
    if (count == 0 || count > MOST_ENTRIES)
        return false;
    for (uint64_t i = 0; i < count; i++)
        note_entry(s, at + head + i * entry, d);
    d->next = number(s, at + head + count * entry, s->is_large ? 8 : 4);
    return true;
}

// Whether a picture follows that is no smaller copy or mask of another.
static bool has_pages(const structure *s, uint64_t at)
{
    directory d;
    for (int i = 0; i < MOST_DIRECTORIES && read_directory(s, at, &d); i++) {
        if (!(d.subfile & SUBFILE_NO_PAGE))
            return true;
        at = d.next;
    }
    return false;
}

static bool is_raw(const sl_coded *coded, const directory *d)
{
    const uint8_t *p = coded->data;
    // Phase One's begin so; Sony's first directory has no size, others' is a preview.
    const bool is_phase_one =
        coded->size >= 16 && ((memcmp(p + 8, "IIII", 4) == 0 && memcmp(p + 13, "waR", 3) == 0) ||
                              (memcmp(p + 8, "MMMM", 4) == 0 && memcmp(p + 12, "Raw", 3) == 0));
    const bool has_no_size = !d->has_width || !d->has_height;
    return is_phase_one || (has_no_size && (d->has_make || d->has_parts)) ||
           ((d->subfile & SUBFILE_REDUCED) && d->has_parts);
}

sl_status sl_tiff_refuse_raw(sl_ctx *ctx, const sl_coded *coded)
{
    return sl_fail(ctx, SL_ERR_UNSUPPORTED,
                   "%s: a camera's raw file; develop it first, as JPEG, PNG or TIFF", coded->name);
}

sl_status sl_tiff_survey(sl_ctx *ctx, const sl_coded *coded, sl_tiff_facts *out)
{
    const uint8_t *p = coded->data;
    const structure s = { p, coded->size, p[0] == 'M', p[2] == '+' || p[3] == '+' };
    directory d;
    *out = (sl_tiff_facts) { false, false };
    if (!read_directory(&s, s.is_large ? number(&s, 8, 8) : number(&s, 4, 4), &d))
        return SL_OK; // libtiff has the words for it
    if (is_raw(coded, &d))
        return sl_tiff_refuse_raw(ctx, coded);
    if (d.value_bytes > coded->size)
        return sl_fail(ctx, SL_ERR_FORMAT,
                       "%s: damaged TIFF: what it says of the picture is longer than the file",
                       coded->name);
    out->has_pages = has_pages(&s, d.next);
    out->loses_exif = s.is_large && (d.has_make || d.has_exif);
    if ((d.subfile & SUBFILE_REDUCED) && out->has_pages)
        return sl_fail(ctx, SL_ERR_UNSUPPORTED,
                       "%s: a TIFF whose first picture is a smaller copy of another; save the "
                       "large one alone",
                       coded->name);
    return SL_OK;
}
