// SPDX-License-Identifier: MIT
// tests/fuzz/image.c: any bytes as a picture; what decodes must also be encodable, in both formats.
#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static sl_ctx *ctx;

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t checksum(const uint8_t *data, size_t size)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

// Sets the chunks' checksums right after most mutations: otherwise no change would get past them.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, max_size);
    if (size < 8 || data[0] != 0x89 || seed % 16 == 0)
        return size;
    for (size_t at = 8; size - at >= 12;) {
        size_t length = get32(data + at);
        if (length > size - at - 12)
            break;
        uint32_t crc = checksum(data + at + 4, length + 4);
        for (int i = 0; i < 4; i++)
            data[at + 8 + length + i] = (uint8_t)(crc >> (24 - 8 * i));
        at += length + 12;
    }
    return size;
}

static void encode(const sl_image *image, sl_image_format format, int quality)
{
    sl_blob blob;
    sl_save_options options = { .format = format, .quality = quality };
    sl_status st = sl_image_encode(ctx, image, "fuzz", &options, &blob);
    if (st == SL_OK && format == SL_IMAGE_PNG) { // and what is written must be readable, unchanged
        sl_image *again = NULL;
        sl_load_options limit = { .max_pixels = 1u << 20 };
        st = sl_image_decode(ctx, blob.data, blob.size, "again", &limit, &again);
        if (st != SL_OK || again->row_bytes != image->row_bytes ||
            memcmp(again->pixels, image->pixels, image->row_bytes * image->height) != 0)
            abort();
        sl_image_free(again);
    }
    if (st != SL_OK)
        abort();
    sl_blob_free(&blob);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!ctx && sl_ctx_new(&(sl_ctx_options) { .threads = 1 }, &ctx) != SL_OK)
        abort();
    // What libheif decodes is not ours: it is neither built for this nor would it be mended here.
    if (size >= 8 && memcmp(data + 4, "ftyp", 4) == 0)
        return 0;
    for (int lenient = 0; lenient < 2; lenient++) {
        sl_image *image = NULL;
        // Few pixels: what is looked for is in the headers, and rows are all alike.
        sl_load_options options = { .max_pixels = 1u << 16, .allow_truncated = lenient };
        sl_status st = sl_image_decode(ctx, data, size, "fuzz", &options, &image);
        if ((st == SL_OK) != (image != NULL) || (st != SL_OK && !*sl_ctx_message(ctx)))
            abort();
        if (image && !lenient) {
            encode(image, SL_IMAGE_PNG, 0);
            if (image->width < 65000 && image->height < 65000) {
                encode(image, SL_IMAGE_JPEG, 50);
                // Of a JPEG what did not change is kept.
                image->pixels[image->row_bytes * image->height / 3] ^= 0x55;
                encode(image, SL_IMAGE_JPEG, 0);
            }
        }
        sl_image_free(image);
    }
    return 0;
}
