// SPDX-License-Identifier: MIT
// tests/base/comma.h: locales that are not C, such as one whose decimal mark is no point.
#ifndef TESTS_BASE_COMMA_H
#define TESTS_BASE_COMMA_H

#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

// Sets one by a name such as "de_DE": of the system's, else one that is made in `folder`. False
// where there is no way to.
static inline bool test_set_locale(const char *folder, const char *name)
{
    char full[32], command[256];
    snprintf(full, sizeof(full), "%s.UTF-8", name);
    if (setlocale(LC_ALL, full))
        return true;
    snprintf(command, sizeof(command), "localedef -c -i %s -f UTF-8 '%s/%s' 2>&1", name, folder,
             full);
    FILE *out = popen(command, "r");
    if (!out || pclose(out) != 0 || setenv("LOCPATH", folder, 1) != 0)
        return false;
    return setlocale(LC_ALL, full) != NULL;
}

static inline bool test_set_comma(const char *folder)
{
    return setlocale(LC_ALL, "fr_FR.UTF-8") || test_set_locale(folder, "de_DE");
}

#endif
