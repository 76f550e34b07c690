// SPDX-License-Identifier: MIT
// app/batch_peek.c: how large a picture will be, so that room is made before it is decoded. The
// decoder is then held to it: a file that says one thing and holds another is refused there.
#include "batch.h"
#include "jobs.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_MARKERS 10000 // of a JPEG, before its frame
#define MAX_ENTRIES 4096  // of a TIFF's directory, in ascending order of their tags

static unsigned big16(const unsigned char *at)
{
    return at[0] * 256u + at[1];
}

static bool peek_png(const unsigned char head[32], batch_extent *out)
{
    // With transparency, which stands further behind, there is a channel more.
    static const unsigned channels[7] = { 2, 0, 4, 4, 2, 0, 4 };
    if (memcmp(head + 12, "IHDR", 4) != 0 || head[25] > 6 || !channels[head[25]])
        return false;
    out->width = (uint64_t)big16(head + 16) << 16 | big16(head + 18);
    out->height = (uint64_t)big16(head + 20) << 16 | big16(head + 22);
    out->pixel_bytes = channels[head[25]] * (head[24] == 16 ? 2 : 1);
    return true;
}

static bool is_frame(unsigned marker)
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

static bool peek_jpeg(int fd, batch_extent *out)
{
    off_t at = 2;
    for (int i = 0; i < MAX_MARKERS; i++) {
        unsigned char m[10] = { 0 };
        ssize_t got = pread(fd, m, sizeof(m), at);
        if (got < 4)
            return false;
        if (m[0] != 0xff || m[1] == 0xff || m[1] == 0) { // padding, and what the decoder passes by
            at++;
            continue;
        }
        if (is_frame(m[1]) && got >= 10) {
            out->height = big16(m + 5);
            out->width = big16(m + 7);
            // CMYK comes out as RGB, on the way there as four.
            out->pixel_bytes = m[9] == 1 ? 1 : m[9] == 4 ? 7 : 3;
            // Of a progressive one all are in memory while it is decoded for comparison, too.
            out->coded_bytes = m[9] * 2u * (m[1] == 0xc2 || m[1] == 0xca ? 2 : 1);
            return true;
        }
        bool is_alone = m[1] == 0x01 || (m[1] & 0xf8) == 0xd0;
        at += 2 + (is_alone ? 0 : big16(m + 2));
    }
    return false;
}

static unsigned little16(const unsigned char *at)
{
    return at[0] + at[1] * 256u;
}

// Of the three forms: lossy, without loss, and one that says more.
static bool peek_webp(const unsigned char head[32], batch_extent *out)
{
    const unsigned char *data = head + 20;
    switch (head[15]) {
    case ' ':
        out->width = little16(data + 6) & 0x3fff;
        out->height = little16(data + 8) & 0x3fff;
        break;
    case 'L':
        out->width = (little16(data + 1) & 0x3fff) + 1;
        out->height = (little16(data + 2) >> 6 | (data[4] & 15u) << 10) + 1;
        break;
    case 'X':
        out->width = little16(data + 4) + data[6] * 65536u + 1;
        out->height = little16(data + 7) + data[9] * 65536u + 1;
        break;
    }
    out->pixel_bytes = 4;
    return true;
}

// The largest of the sizes that it tells, which is that of the whole where it is made of tiles.
static bool peek_heif(int fd, batch_extent *out)
{
    static const unsigned char box[12] = { 0, 0, 0, 20, 'i', 's', 'p', 'e' };
    size_t size = 0;
    unsigned char *meta = app_heif_meta(fd, &size);
    for (const unsigned char *at = meta, *end = meta ? meta + size : NULL;
         at && (at = memmem(at, (size_t)(end - at), box, sizeof(box))) && end - at >= 20;
         at += sizeof(box)) {
        uint64_t width = (uint64_t)big16(at + 12) << 16 | big16(at + 14);
        uint64_t height = (uint64_t)big16(at + 16) << 16 | big16(at + 18);
        if (width * height > out->width * out->height) {
            out->width = width;
            out->height = height;
        }
    }
    free(meta);
    out->pixel_bytes = 8;
    out->decoding_bytes = 21; // measured, of 10 bits a channel; the depth is not known here
    return true;
}

typedef struct tiff_head {
    int fd;
    bool big_endian, is_large; // more than 4 GiB: counts and offsets of eight bytes
} tiff_head;

static uint64_t tiff_number(const tiff_head *h, const unsigned char *at, unsigned bytes)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < bytes; i++)
        n = n << 8 | at[h->big_endian ? i : bytes - 1 - i];
    return n;
}

// The first value of a directory's entry, all of which are equal or single where they matter here.
static uint64_t tiff_value(const tiff_head *h, const unsigned char *entry)
{
    static const unsigned char sizes[17] = { 0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8 };
    const unsigned word = h->is_large ? 8 : 4;
    const unsigned char *value = entry + 4 + word;
    unsigned char far[8];
    const uint64_t type = tiff_number(h, entry + 2, 2), count = tiff_number(h, entry + 4, word);
    const unsigned bytes = type < sizeof(sizes) ? sizes[type] : 0;
    if (bytes && count > word / bytes) {
        const uint64_t at = tiff_number(h, value, word);
        if (at > INT64_MAX || pread(h->fd, far, bytes, (off_t)at) != (ssize_t)bytes)
            return 0;
        value = far;
    }
    return tiff_number(h, value, bytes);
}

// Of the first directory, as libtiff takes it: width, height, bits a sample, kind of colours,
// samples.
static void read_directory(const tiff_head *h, uint64_t at, uint64_t found[5])
{
    static const unsigned tags[5] = { 0x100, 0x101, 0x102, 0x106, 0x115 };
    const unsigned entry_bytes = h->is_large ? 20 : 12, count_bytes = h->is_large ? 8 : 2;
    unsigned char entry[20] = { 0 };
    if (at > INT64_MAX / 2 || pread(h->fd, entry, count_bytes, (off_t)at) != (ssize_t)count_bytes)
        return;
    uint64_t count = tiff_number(h, entry, count_bytes);
    at += count_bytes;
    for (uint64_t i = 0; i < count && i < MAX_ENTRIES; i++, at += entry_bytes) {
        if (pread(h->fd, entry, entry_bytes, (off_t)at) != (ssize_t)entry_bytes)
            return;
        for (unsigned k = 0; k < 5; k++)
            if (tiff_number(h, entry, 2) == tags[k])
                found[k] = tiff_value(h, entry);
    }
}

static bool peek_tiff(int fd, const unsigned char head[32], batch_extent *out)
{
    const tiff_head h = { fd, head[0] == 'M', head[2] == '+' || head[3] == '+' };
    uint64_t found[5] = { 0, 0, 1, 0, 1 };
    read_directory(&h, h.is_large ? tiff_number(&h, head + 8, 8) : tiff_number(&h, head + 4, 4),
                   found);
    out->width = found[0];
    out->height = found[1];
    // Palettes and the like become RGB.
    const unsigned samples = found[3] > 2 ? 3 : found[4] < 4 ? (unsigned)found[4] : 4;
    out->pixel_bytes = samples * (found[2] > 8 ? 2 : 1);
    // On the way there may be a tile as large as the picture, or what libtiff makes of a palette.
    out->decoding_bytes = 2 * out->pixel_bytes + 4;
    // libtiff copies what stands beside the pixels: layers, profiles.
    out->file_copies = 3;
    return true;
}

bool batch_peek(int fd, batch_extent *out)
{
    unsigned char head[32] = { 0 };
    ssize_t got = pread(fd, head, sizeof(head), 0);
    bool known = false;
    *out = (batch_extent) { 0 };
    if (got == sizeof(head) && memcmp(head, "\x89PNG\r\n\x1a\n", 8) == 0)
        known = peek_png(head, out);
    else if (got >= 4 && memcmp(head, "\xff\xd8\xff", 3) == 0)
        known = peek_jpeg(fd, out);
    else if (got == sizeof(head) && memcmp(head, "RIFF", 4) == 0 &&
             memcmp(head + 8, "WEBPVP8", 7) == 0)
        known = peek_webp(head, out);
    else if (got == sizeof(head) && memcmp(head + 4, "ftyp", 4) == 0)
        known = peek_heif(fd, out);
    else if (got == sizeof(head) && app_is_tiff(head))
        known = peek_tiff(fd, head, out);
    return known && out->width && out->height;
}
