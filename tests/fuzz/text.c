// SPDX-License-Identifier: MIT
// tests/fuzz/text.c: any bytes as a label, at sizes and widths that the first bytes choose. A mask
// never grows beyond what was asked for; and as a font, where they begin like one.
#include "image/text.h"

#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static sl_ctx *ctx;
static sl_text *texts[3];

// fontconfig's pointers are offsets, which a search for leaks does not understand.
static void end(void)
{
    for (size_t i = 0; i < 3; i++)
        sl_text_free(texts[i]);
    sl_ctx_free(ctx);
}

// No fonts of the system: looking through them takes longer than all the rest.
static void begin(void)
{
    static const unsigned pixels[] = { 1, 13, 40 };
    static const char none[] = "<?xml version=\"1.0\"?><!DOCTYPE fontconfig SYSTEM "
                               "\"fonts.dtd\"><fontconfig></fontconfig>";
    char path[64];
    snprintf(path, sizeof(path), "/tmp/fuzz-fonts-%ld", (long)getpid());
    if (sl_ctx_new(&(sl_ctx_options) { .threads = 1 }, &ctx) != SL_OK ||
        sl_file_write(ctx, path, true, none, sizeof(none) - 1) != SL_OK ||
        setenv("FONTCONFIG_FILE", path, 1) != 0)
        abort();
    for (size_t i = 0; i < 3; i++) {
        sl_mask mask;
        if (sl_text_new(ctx, NULL, pixels[i], &texts[i]) != SL_OK ||
            sl_text_mask(texts[i], "\U000E1234", "", 100, &mask) != SL_OK) // reads the file
            abort();
        free(mask.coverage);
    }
    unlink(path);
    atexit(end);
}

static void draw(sl_text *text, const char *label, uint32_t most)
{
    sl_mask mask;
    if (sl_text_mask(text, label, " 0.50", most, &mask) != SL_OK)
        abort();
    if (mask.width > most || mask.height < sl_text_height(text) ||
        mask.height > 2 * sl_text_height(text) + 1)
        abort();
    free(mask.coverage);
}

static void use_as_font(const uint8_t *data, size_t size)
{
    static char path[64];
    sl_text *text = NULL;
    if (!*path)
        snprintf(path, sizeof(path), "/tmp/fuzz-text-%ld", (long)getpid());
    if (sl_file_write(ctx, path, true, data, size) != SL_OK)
        abort();
    sl_status st = sl_text_new(ctx, path, 20, &text);
    if ((st == SL_OK) != (text != NULL) || (st != SL_OK && !*sl_ctx_message(ctx)))
        abort();
    if (text)
        draw(text, "label", 300);
    sl_text_free(text);
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!ctx)
        begin();
    if (size < 2 || size > 4096)
        return 0;
    if (memcmp(data, "\0\1", 2) == 0 || memcmp(data, "OT", 2) == 0) {
        use_as_font(data, size);
        return 0;
    }
    char *label = malloc(size - 1);
    if (!label)
        return 0;
    memcpy(label, data + 2, size - 2);
    label[size - 2] = '\0';
    draw(texts[data[0] % 3], label, data[1] * 4u);
    free(label);
    return 0;
}
