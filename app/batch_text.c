// SPDX-License-Identifier: MIT
// app/batch_text.c: strings by the hundred thousand: kept, written down, hashed.
#include "batch.h"

#include "jobs.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)1 << 18)

struct batch_text_block {
    batch_text_block *next;
    size_t used, size;
    char bytes[];
};

char *batch_texts_add(batch_texts *texts, const char *text)
{
    size_t bytes = strlen(text) + 1;
    batch_text_block *block = texts->block;
    if (!block || block->size - block->used < bytes) {
        size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        block = malloc(sizeof(*block) + size);
        if (!block)
            return NULL;
        *block = (batch_text_block) { .next = texts->block, .size = size };
        texts->block = block;
    }
    char *out = memcpy(block->bytes + block->used, text, bytes);
    block->used += bytes;
    return out;
}

void batch_texts_free(batch_texts *texts)
{
    while (texts->block) {
        batch_text_block *next = texts->block->next;
        free(texts->block);
        texts->block = next;
    }
}

void batch_escape(FILE *to, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f || c == '\\')
            fprintf(to, "\\%02x", c);
        else
            fputc(c, to);
    }
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool batch_unescape(char *text)
{
    char *end = text;
    for (; *text; text++) {
        if (*text != '\\') {
            *end++ = *text;
            continue;
        }
        int high = hex_digit(text[1]), low = high < 0 ? -1 : hex_digit(text[2]);
        if (low < 0 || high + low == 0)
            return false;
        *end++ = (char)(high * 16 + low);
        text += 2;
    }
    *end = '\0';
    return true;
}

// FNV-1a with the finish of MurmurHash3, so that the low bits are as good as the high ones.
uint64_t batch_hash_text(const char *text)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 33;
}

char *batch_join(const char *a, const char *b)
{
    char *out = NULL;
    if (asprintf(&out, "%s%s%s", a, !*a || app_ends_in_slash(a) ? "" : "/", b) < 0)
        return NULL;
    return out;
}
