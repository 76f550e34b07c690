// SPDX-License-Identifier: MIT
// tests/fuzz/options.c: command lines of any bytes. The first byte chooses the command ('0'
// the first, '1' the second, ...); the rest
// are its arguments, each ended by a newline.
#include "app.h"

#include <stdlib.h>
#include <string.h>

#define MAX_WORDS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *words[MAX_WORDS + 1] = { NULL }, error[APP_ERROR_BYTES] = "";
    app_values values;
    int count = 1, first = 0;
    if (size < 1)
        return 0;
    size_t commands = 0;
    while (app_commands[commands])
        commands++;
    const app_command *command = app_commands[(uint8_t)(data[0] - '0') % commands];
    char *text = malloc(size);
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';

    char name[16];
    snprintf(name, sizeof(name), "%s", command->name);
    words[0] = name;
    char *rest = text;
    while (rest && count < MAX_WORDS)
        words[count++] = strsep(&rest, "\n");
    bool ok = app_parse(command, count, words, &values, &first, error);

    // What the commands rely on.
    if (ok && !values.help) {
        if (first < 1 || count - first < command->operands_min ||
            count - first > command->operands_max)
            abort();
        if (values.threads > 256 || values.quality > 100 || values.keep_share > 1 ||
            values.keep_share < 0 || !(values.keep_threshold < 1) || values.tile > 65535 ||
            !(values.unknown_rate < 1) || values.top > 1000000)
            abort();
    }
    if (ok == (error[0] != '\0') || memchr(error, '\0', sizeof(error)) == NULL)
        abort();
    free(text);
    return 0;
}
