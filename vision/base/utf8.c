// SPDX-License-Identifier: MIT
// base/utf8.c: text that nobody vouches for, character by character.
#include "base/base.h"

size_t sl_utf8_next(const char *text, uint32_t *code)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const uint8_t *at = (const uint8_t *)text;
    *code = at[0];
    if (at[0] < 0x80)
        return at[0] ? 1 : 0;
    size_t length = at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : 2;
    uint32_t c = at[0] & (0xFFu >> (length + 1));
    *code = SL_REPLACEMENT;
    if (at[0] < 0xC2 || at[0] > 0xF4)
        return 1;
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xC0) != 0x80) // the 0 at the end is none either
            return 1;
        c = c << 6 | (at[i] & 0x3F);
    }
    if (c < least[length] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return 1;
    *code = c;
    return length;
}

char *sl_utf8_copy(sl_ctx *ctx, const char *text)
{
    size_t size = 0;
    uint32_t code = 0;
    if (!sl_mul(strlen(text), 3, &size) || !sl_add(size, 1, &size))
        size = 0;
    char *out = size ? malloc(size) : NULL, *end = out;
    if (!out) {
        sl_fail(ctx, SL_ERR_NOMEM, "out of memory for a name");
        return NULL;
    }
    for (size_t length; (length = sl_utf8_next(text, &code)) > 0; text += length) {
        bool is_bad = length == 1 && code == SL_REPLACEMENT;
        memcpy(end, is_bad ? "\xEF\xBF\xBD" : text, is_bad ? 3 : length);
        end += is_bad ? 3 : length;
    }
    *end = '\0';
    return out;
}

size_t sl_utf8_cut(const char *text, size_t most)
{
    size_t keep = strlen(text);
    if (keep <= most)
        return keep;
    keep = most;
    while (keep > 0 && ((uint8_t)text[keep] & 0xC0) == 0x80)
        keep--;
    return keep;
}

void sl_utf8_skip_mark(const char **text, size_t *size)
{
    if (*size < 3 || memcmp(*text, "\xEF\xBB\xBF", 3) != 0)
        return;
    *text += 3;
    *size -= 3;
}
