// SPDX-License-Identifier: MIT
// base/number.c: numbers in files, which have a point also where the locale has another mark.
#include "base/base.h"

#include <locale.h>

void sl_number_point(char *text)
{
    static const char own[] = "-+0123456789e";
    const size_t digits = strspn(text, own);
    if (!text[digits])
        return;
    const size_t rest = digits + strcspn(text + digits, own); // the mark may have several bytes
    text[digits] = '.';
    memmove(text + digits + 1, text + rest, strlen(text + rest) + 1);
}

bool sl_number_read(const char *text, double *value)
{
    char *end = NULL;
    locale_t plain = text ? newlocale(LC_ALL_MASK, "C", (locale_t)0) : (locale_t)0;
    if (!plain)
        return false;
    *value = strtod_l(text, &end, plain);
    freelocale(plain);
    return end != text && *end == '\0';
}
