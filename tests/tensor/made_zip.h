// SPDX-License-Identifier: MIT
// tests/tensor/made_zip.h: zip archives made by hand, so that every field can be wrong on purpose.
#ifndef TESTS_TENSOR_MADE_ZIP_H
#define TESTS_TENSOR_MADE_ZIP_H

#include "base/base.h"

typedef struct made_member {
    const char *name;
    const void *data;
    size_t size;
    uint32_t claimed_size; // 0: the true one
    uint16_t method;       // 0: stored; the data are taken as they are, whatever it says
    uint16_t flags;        // 1: encrypted
    bool bad_crc;
} made_member;

static inline uint32_t made_crc(const uint8_t *data, size_t size)
{
    static uint32_t table[256];
    for (uint32_t i = 0; table[255] == 0 && i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
    }
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++)
        crc = crc >> 8 ^ table[(crc ^ data[i]) & 255];
    return ~crc;
}

static inline void made_put(sl_blob *blob, size_t *room, uint32_t value, size_t bytes)
{
    if (sl_blob_append(NULL, blob, room, &value, bytes) != SL_OK)
        abort();
}

// What local and central headers have in common, from the version to the name's length.
static inline void made_fields(sl_blob *blob, size_t *room, const made_member *m)
{
    uint32_t crc = made_crc(m->data, m->size) ^ m->bad_crc;
    made_put(blob, room, 20, 2);
    made_put(blob, room, m->flags, 2);
    made_put(blob, room, m->method, 2);
    made_put(blob, room, 0x00210000, 4); // the first of January 1980
    made_put(blob, room, crc, 4);
    made_put(blob, room, (uint32_t)m->size, 4);
    made_put(blob, room, m->claimed_size ? m->claimed_size : (uint32_t)m->size, 4);
    made_put(blob, room, (uint32_t)strlen(m->name), 2);
    made_put(blob, room, 0, 2); // no extra field
}

static inline sl_blob made_zip(const made_member *members, size_t count)
{
    sl_blob file = { NULL, 0 }, directory = { NULL, 0 };
    size_t room = 0, directory_room = 0;
    for (size_t i = 0; i < count; i++) {
        const made_member *m = &members[i];
        size_t begin = file.size;
        made_put(&file, &room, 0x04034b50, 4);
        made_fields(&file, &room, m);
        if (sl_blob_append(NULL, &file, &room, m->name, strlen(m->name)) != SL_OK ||
            sl_blob_append(NULL, &file, &room, m->data, m->size) != SL_OK)
            abort();
        made_put(&directory, &directory_room, 0x02014b50, 4);
        made_put(&directory, &directory_room, 20, 2);
        made_fields(&directory, &directory_room, m);
        for (int zero = 0; zero < 5; zero++) // comment, disk and attributes
            made_put(&directory, &directory_room, 0, 2);
        made_put(&directory, &directory_room, (uint32_t)begin, 4);
        if (sl_blob_append(NULL, &directory, &directory_room, m->name, strlen(m->name)) != SL_OK)
            abort();
    }
    size_t begin = file.size;
    if (sl_blob_append(NULL, &file, &room, directory.data, directory.size) != SL_OK)
        abort();
    made_put(&file, &room, 0x06054b50, 4);
    made_put(&file, &room, 0, 4);
    made_put(&file, &room, (uint32_t)count, 2);
    made_put(&file, &room, (uint32_t)count, 2);
    made_put(&file, &room, (uint32_t)directory.size, 4);
    made_put(&file, &room, (uint32_t)begin, 4);
    made_put(&file, &room, 0, 2);
    sl_blob_free(&directory);
    return file;
}

#endif
