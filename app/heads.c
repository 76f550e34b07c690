// SPDX-License-Identifier: MIT
// app/heads.c: what files of kinds that are read and not written say of themselves up front.
#include "jobs.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_BOXES 64          // of a file, until what is looked for
#define META_BYTES (1u << 20) // read, at most, of what describes a HEIC or AVIF picture

static uint64_t big32(const unsigned char *at)
{
    return (uint64_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

// Where the box stands that describes the picture, which may be behind the coded picture.
static bool find_meta(int fd, off_t *where, uint64_t *size)
{
    off_t at = 0;
    for (int i = 0; i < MAX_BOXES; i++) {
        unsigned char box[16] = { 0 };
        ssize_t got = pread(fd, box, sizeof(box), at);
        uint64_t bytes = got >= 8 ? big32(box) : 0;
        bool is_meta = got >= 8 && memcmp(box + 4, "meta", 4) == 0;
        if (bytes == 1)
            bytes = got == sizeof(box) ? big32(box + 8) << 32 | big32(box + 12) : 0;
        else if (bytes == 0 && is_meta) // to the end of the file
            bytes = META_BYTES;
        if (bytes < 8 || bytes > (uint64_t)(INT64_MAX - at))
            return false;
        if (is_meta) {
            *where = at;
            *size = bytes;
            return true;
        }
        at += (off_t)bytes;
    }
    return false;
}

unsigned char *app_heif_meta(int fd, size_t *size)
{
    off_t at;
    uint64_t bytes;
    if (!find_meta(fd, &at, &bytes))
        return NULL;
    if (bytes > META_BYTES)
        bytes = META_BYTES;
    unsigned char *meta = malloc(bytes);
    ssize_t got = meta ? pread(fd, meta, bytes, at) : -1;
    if (got <= 0) {
        free(meta);
        return NULL;
    }
    *size = (size_t)got;
    return meta;
}

static bool heif_has_alpha(int fd)
{
    static const char hevc[] = "auxC\0\0\0\0urn:mpeg:hevc:2015:auxid:1";
    static const char any[] = "auxC\0\0\0\0urn:mpeg:mpegB:cicp:systems:auxiliary:alpha";
    size_t size = 0;
    unsigned char *meta = app_heif_meta(fd, &size);
    bool has =
        meta && (memmem(meta, size, hevc, sizeof(hevc)) || memmem(meta, size, any, sizeof(any)));
    free(meta);
    return has;
}

// Whether what follows the chunk that says more has alpha or no loss.
static bool webp_is_exact(int fd)
{
    off_t at = 12;
    for (int i = 0; i < MAX_BOXES; i++) {
        unsigned char chunk[8];
        if (pread(fd, chunk, sizeof(chunk), at) != sizeof(chunk) || memcmp(chunk, "VP8 ", 4) == 0)
            return false;
        if (memcmp(chunk, "VP8L", 4) == 0 || memcmp(chunk, "ALPH", 4) == 0)
            return true;
        off_t bytes = chunk[4] | chunk[5] << 8 | chunk[6] << 16 | (off_t)chunk[7] << 24;
        at += 8 + bytes + bytes % 2;
    }
    return false;
}

bool app_is_tiff(const unsigned char head[32])
{
    // The second pair is BigTIFF, for files of more than 4 GiB.
    static const char *const kinds[] = { "II*", "II+", "MM\0*", "MM\0+" };
    for (size_t i = 0; i < APP_LEN(kinds); i++)
        if (memcmp(head, kinds[i], 4) == 0)
            return true;
    return false;
}

sl_image_format app_format_of_foreign(int fd, const unsigned char head[32])
{
    static const char *const brands[] = { "heic", "heix", "heim", "heis", "mif1", "mif2", "avif" };
    if (memcmp(head, "RIFF", 4) == 0 && memcmp(head + 8, "WEBPVP8", 7) == 0) {
        bool is_exact =
            head[15] == 'L' || (head[15] == 'X' && ((head[20] & 0x10) || webp_is_exact(fd)));
        return is_exact ? SL_IMAGE_PNG : SL_IMAGE_JPEG;
    }
    for (size_t i = 0; i < APP_LEN(brands); i++)
        if (memcmp(head + 4, "ftyp", 4) == 0 && memcmp(head + 8, brands[i], 4) == 0)
            return heif_has_alpha(fd) ? SL_IMAGE_PNG : SL_IMAGE_JPEG;
    if (app_is_tiff(head))
        return SL_IMAGE_PNG;
    return SL_IMAGE_SAME;
}
