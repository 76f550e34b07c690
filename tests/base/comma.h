// SPDX-License-Identifier: MIT
// tests/base/comma.h: a locale whose decimal mark is no point.
#ifndef TESTS_BASE_COMMA_H
#define TESTS_BASE_COMMA_H

#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

// Sets one: of the system's, else one that is made in `folder`. False where there is no way to.
static inline bool test_set_comma(const char *folder)
{
    char command[256];
    if (setlocale(LC_ALL, "de_DE.UTF-8") || setlocale(LC_ALL, "fr_FR.UTF-8"))
        return true;
    snprintf(command, sizeof(command), "localedef -c -i de_DE -f UTF-8 '%s/de_DE.UTF-8' 2>&1",
             folder);
    FILE *out = popen(command, "r");
    if (!out || pclose(out) != 0 || setenv("LOCPATH", folder, 1) != 0)
        return false;
    return setlocale(LC_ALL, "de_DE.UTF-8") != NULL;
}

#endif
