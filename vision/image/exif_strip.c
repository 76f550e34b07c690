// SPDX-License-Identifier: MIT
// image/exif_strip.c: EXIF without anything that could hold a picture, and that of a TIFF. The
// directories are written anew, so that nothing lies hidden between them: of the first one, Exif,
// GPS and Interop, what is small and no known place for pictures. Every offset is checked.
#include "image/codec.h"
#include "image/tiff.h"

#define MOST_DATA 1024 // bytes of a value; a thumbnail takes more
#define MOST_TEXT 4096
#define MOST_ENTRIES 256 // of a directory; cameras write some dozens
#define TYPE_TEXT 2
#define TAG_GPS 0x8825
#define TAG_INTEROP 0xA005

typedef struct rewriter {
    sl_ctx *ctx;
    const uint8_t *in;
    size_t size;
    bool big;        // endian
    bool is_resized; // what measures the whole picture goes, too
    bool is_file;    // a TIFF: its first directory holds more than EXIF
    sl_blob out;
    size_t room;
} rewriter;

static void put16(const rewriter *w, uint8_t *p, unsigned v)
{
    p[w->big ? 0 : 1] = (uint8_t)(v >> 8);
    p[w->big ? 1 : 0] = (uint8_t)v;
}

static void put32(const rewriter *w, uint8_t *p, uint32_t v)
{
    put16(w, p + (w->big ? 0 : 2), v >> 16);
    put16(w, p + (w->big ? 2 : 0), v & 0xFFFF);
}

static bool is_any(unsigned tag, const uint16_t *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == tag)
            return true;
    return false;
}

static bool is_unwanted(const rewriter *w, unsigned tag, unsigned depth)
{
    // Description, make, model, orientation, software, date, artist, computer, rating, copyright,
    // what Windows calls title to subject, Exif, GPS.
    static const uint16_t of_file[] = { 0x010E, 0x010F, 0x0110, 0x0112, 0x0131, 0x0132,
                                        0x013B, 0x013C, 0x4746, 0x4749, 0x8298, 0x9C9B,
                                        0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F, 0x8769, 0x8825 };
    // Strips, tiles, further directories, JPEG thumbnails, XMP, IPTC, Photoshop's resources,
    // maker's notes, DNG's private data: pictures are known to be in each.
    static const uint16_t pictures[] = { 0x0111, 0x0117, 0x0144, 0x0145, 0x014A, 0x0201,
                                         0x0202, 0x02BC, 0x83BB, 0x8649, 0x927C, 0xC634 };
    // Width and height, where the subject is.
    static const uint16_t measures[] = { 0x0100, 0x0101, 0x9214, 0xA002, 0xA003, 0xA214 };
    if (w->is_file && depth == 0)
        return !is_any(tag, of_file, SL_ARRAY_LEN(of_file));
    return is_any(tag, pictures, SL_ARRAY_LEN(pictures)) ||
           (w->is_resized && is_any(tag, measures, SL_ARRAY_LEN(measures)));
}

// Bytes of the entry's value, 0 where it is to be left out.
static size_t value_bytes(const rewriter *w, const uint8_t *entry, unsigned depth)
{
    const unsigned type = sl_tiff_16(entry + 2, w->big);
    const unsigned size = type <= SL_TIFF_LAST_OF_EXIF ? sl_tiff_value_bytes(type) : 0;
    const uint32_t count = sl_tiff_32(entry + 4, w->big);
    const size_t most = type == TYPE_TEXT ? MOST_TEXT : MOST_DATA;
    if (is_unwanted(w, sl_tiff_16(entry, w->big), depth) || size == 0 || count == 0 ||
        count > most / size)
        return 0;
    const size_t bytes = (size_t)count * size;
    const uint32_t at = sl_tiff_32(entry + 8, w->big);
    return bytes <= 4 || (at <= w->size && bytes <= w->size - at) ? bytes : 0;
}

static sl_status append(rewriter *w, const void *data, size_t size)
{
    static const uint8_t zero = 0;
    if (w->out.size / 2 > w->size) // entries that share their bytes could make much of little
        return SL_ERR_LIMIT;
    sl_status st = sl_blob_append(w->ctx, &w->out, &w->room, data, size);
    if (st == SL_OK && w->out.size % 2 != 0) // values begin at even places
        st = sl_blob_append(w->ctx, &w->out, &w->room, &zero, 1);
    return st;
}

// The directory at `at` of the input; *count: its entries that are there. False: it is none.
static bool open_directory(const rewriter *w, uint32_t at, size_t *count)
{
    if (w->size < 2 || at < 8 || at > w->size - 2)
        return false;
    *count = sl_tiff_entries(w->in, w->size, at, w->big);
    *count = *count < MOST_ENTRIES ? *count : MOST_ENTRIES;
    return true;
}

static bool is_directory(unsigned tag, unsigned depth)
{
    return depth == 0 ? tag == SL_TIFF_EXIF || tag == TAG_GPS : depth == 1 && tag == TAG_INTEROP;
}

static sl_status copy_directory(rewriter *w, uint32_t from, unsigned depth, bool *is_there);

// Writes the value of an entry of the input and the entry itself to `slot`. *kept: whether it was.
static sl_status copy_entry(rewriter *w, const uint8_t *entry, size_t slot, unsigned depth,
                            bool *kept)
{
    const unsigned tag = sl_tiff_16(entry, w->big);
    const size_t bytes = value_bytes(w, entry, depth), end = w->out.size;
    sl_status st = SL_OK;
    uint8_t made[SL_TIFF_ENTRY];
    *kept = bytes > 0 && end <= UINT32_MAX;
    memcpy(made, entry, SL_TIFF_ENTRY);
    if (is_directory(tag, depth)) {
        put16(w, made + 2, SL_TIFF_LONG);
        put32(w, made + 4, 1);
        put32(w, made + 8, (uint32_t)end);
        if (*kept && bytes == 4)
            st = copy_directory(w, sl_tiff_32(entry + 8, w->big), depth + 1, kept);
        else
            *kept = false;
    } else if (tag == SL_TIFF_EXIF || tag == TAG_GPS || tag == TAG_INTEROP) {
        *kept = false; // a pointer where none belongs
    } else if (bytes > 4) {
        put32(w, made + 8, (uint32_t)end);
        st = append(w, w->in + sl_tiff_32(entry + 8, w->big), bytes);
    } else if (*kept) {
        memset(made + 8 + bytes, 0, 4 - bytes);
    }
    if (st == SL_OK && *kept)
        memcpy(w->out.data + slot, made, SL_TIFF_ENTRY);
    return st;
}

// How many entries may come along; directories among them can turn out to be none.
static size_t count_wanted(const rewriter *w, uint32_t directory, size_t count, unsigned depth)
{
    size_t wanted = 0;
    for (size_t i = 0; i < count; i++)
        wanted += value_bytes(w, w->in + directory + 2 + i * SL_TIFF_ENTRY, depth) > 0;
    return wanted;
}

// Appends the directory, first its room, then values and directories that its entries point to.
// Room of an entry that is left out after all stays as zeros behind the directory's end.
static sl_status copy_directory(rewriter *w, uint32_t from, unsigned depth, bool *is_there)
{
    static const uint8_t zeros[SL_TIFF_ENTRY] = { 0 };
    size_t count = 0, kept = 0;
    *is_there = open_directory(w, from, &count);
    if (!*is_there)
        return SL_OK;
    const size_t slots = count_wanted(w, from, count, depth), start = w->out.size;
    sl_status st = append(w, zeros, 2);
    for (size_t i = 0; i < slots && st == SL_OK; i++)
        st = append(w, zeros, SL_TIFF_ENTRY);
    if (st == SL_OK)
        st = append(w, zeros, 4); // no next directory: the thumbnail's is not copied
    for (size_t i = 0; i < count && kept < slots && st == SL_OK; i++) {
        bool is_kept = false;
        st = copy_entry(w, w->in + from + 2 + i * SL_TIFF_ENTRY, start + 2 + kept * SL_TIFF_ENTRY,
                        depth, &is_kept);
        kept += is_kept;
    }
    if (st == SL_OK)
        put16(w, w->out.data + start, (unsigned)kept);
    return st;
}

static sl_status rewrite(rewriter *w, sl_blob *out)
{
    bool is_there = false;
    size_t first = 0;
    *out = (sl_blob) { NULL, 0 };
    if (!sl_tiff_open(w->in, w->size, &w->big, &first))
        return SL_OK;
    uint8_t header[8];
    memcpy(header, w->in, 4);
    put32(w, header + 4, 8);
    sl_status st = append(w, header, sizeof(header));
    if (st == SL_OK)
        st = copy_directory(w, (uint32_t)first, 0, &is_there);
    if (st == SL_OK && is_there) {
        *out = w->out;
        w->out = (sl_blob) { NULL, 0 };
    }
    sl_blob_free(&w->out);
    return st == SL_ERR_LIMIT ? SL_OK : st; // nothing sane is that way: it goes as a whole
}

sl_status sl_exif_strip(sl_ctx *ctx, const sl_blob *exif, bool is_resized, sl_blob *out)
{
    rewriter w = { .ctx = ctx, .in = exif->data, .size = exif->size, .is_resized = is_resized };
    return rewrite(&w, out);
}

sl_status sl_exif_of_tiff(sl_ctx *ctx, const sl_blob *file, sl_blob *out)
{
    rewriter w = { .ctx = ctx, .in = file->data, .size = file->size, .is_file = true };
    sl_status st = rewrite(&w, out);
    if (out->size > 0 && sl_tiff_entries(out->data, out->size, 8, w.big) == 0)
        sl_blob_free(out);
    return st;
}
