// SPDX-License-Identifier: MIT
// app/help.c: help texts, made from the tables, and what a mistyped name probably meant.
#include "app.h"

#include <string.h>

#define HELP_COLUMNS 80
#define HELP_INDENT 30
#define MAX_NAME 32

const app_command *const app_commands[] = { &app_deblur, &app_detect,  &app_classify, &app_batch,
                                            &app_enroll, &app_gallery, &app_info,     &app_convert,
                                            &app_run,    &app_eval,    &app_bench,    &app_devices,
                                            &app_ebv,    NULL };

const app_command *app_find_command(const char *name)
{
    for (size_t i = 0; app_commands[i]; i++)
        if (strcmp(app_commands[i]->name, name) == 0)
            return app_commands[i];
    return NULL;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

// Edits (insert, delete, replace, swap two neighbours) that turn a into b: the restricted
// Damerau-Levenshtein distance. Names of MAX_NAME and more are far from everything.
static unsigned distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    unsigned d[MAX_NAME][MAX_NAME] = { { 0 } };
    if (n >= MAX_NAME || m >= MAX_NAME)
        return MAX_NAME;
    for (size_t i = 0; i <= n; i++)
        d[i][0] = (unsigned)i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        for (size_t j = 1; j <= m; j++) {
            unsigned replace = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            d[i][j] = least(replace, least(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[n][m];
}

// A third of the name's letters may be wrong, and one always.
static void keep_nearest(const char *typed, const char *name, unsigned *best, const char **nearest)
{
    unsigned allowed = 1 + (unsigned)strlen(name) / 4;
    unsigned d = distance(typed, name);
    if (d <= allowed && d < *best) {
        *best = d;
        *nearest = name;
    }
}

const char *app_nearest_command(const char *name)
{
    unsigned best = MAX_NAME;
    const char *nearest = NULL;
    for (size_t i = 0; app_commands[i]; i++)
        keep_nearest(name, app_commands[i]->name, &best, &nearest);
    keep_nearest(name, "help", &best, &nearest);
    return nearest;
}

const char *app_nearest_option(const app_option *options, const char *name)
{
    unsigned best = MAX_NAME;
    const char *nearest = NULL;
    for (const app_option *row = options; row->name; row++)
        keep_nearest(name, row->name, &best, &nearest);
    return nearest;
}

// Prints words from column `column` on, folding before HELP_COLUMNS at `indent`.
static void print_folded(FILE *file, const char *text, size_t column, size_t indent)
{
    size_t at = column;
    while (*text) {
        size_t word = strcspn(text, " \n");
        if (at > indent && at + 1 + word > HELP_COLUMNS) {
            fprintf(file, "\n%*s", (int)indent, "");
            at = indent;
        } else if (at > indent) {
            fputc(' ', file);
            at++;
        }
        fprintf(file, "%.*s", (int)word, text);
        at += word;
        text += word;
        if (*text == '\n') { // a paragraph's end
            fprintf(file, "\n%*s", (int)indent, "");
            at = indent;
        }
        text += *text != '\0';
    }
    fputc('\n', file);
}

static void print_option(FILE *file, const app_option *row)
{
    char left[64];
    char letter[5] = "    ";
    if (row->letter)
        snprintf(letter, sizeof(letter), "-%c, ", row->letter);
    int length = snprintf(left, sizeof(left), "  %s--%s%s%s", letter, row->name,
                          row->value ? " " : "", row->value ? row->value : "");
    fprintf(file, "%-*s", HELP_INDENT, left);
    if (length >= HELP_INDENT)
        fprintf(file, "\n%*s", HELP_INDENT, "");
    print_folded(file, row->help, HELP_INDENT, HELP_INDENT);
}

void app_print_command_help(FILE *file, const app_command *command)
{
    fprintf(file, "softlens %s: %s\n\n", command->name, command->summary);
    fprintf(file, "Usage: softlens %s %s%s[OPTION]...\n\n", command->name, command->operands,
            *command->operands ? " " : "");
    print_folded(file, command->about, 0, 0);
    fputs("\nOptions:\n", file);
    for (const app_option *row = command->options; row->name; row++)
        print_option(file, row);
    fputs("\nExamples:\n", file);
    for (const char *line = command->examples; *line;) {
        size_t length = strcspn(line, "\n");
        fprintf(file, "  %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

void app_print_help(FILE *file)
{
    fputs("softlens removes local motion blur from photographs, finds objects in them and\n"
          "names what it sees, on this machine.\n\n"
          "Usage: softlens COMMAND [OPTION]... [FILE]...\n\nCommands:\n",
          file);
    for (size_t i = 0; app_commands[i]; i++)
        fprintf(file, "  %-10s%s\n", app_commands[i]->name, app_commands[i]->summary);
    fputs("  help      help on a command: softlens help deblur\n\n"
          "Options:\n"
          "  --help, -h     print this help\n"
          "  --version, -V  print the version\n\n"
          "Examples:\n"
          "  softlens deblur photo.jpg\n"
          "  softlens detect photo.jpg\n"
          "  softlens batch deblur pics/ -o out/\n"
          "  softlens classify photo.jpg\n"
          "  softlens help deblur\n\n"
          "Exit status: 0 all done, 1 failed, 2 wrong use, 3 some images failed,\n"
          "130 interrupted.\n",
          file);
}

void app_list_options(FILE *file, const app_command *command)
{
    if (!command) {
        fputs("--help\n--version\n", file);
        for (size_t i = 0; app_commands[i]; i++)
            fprintf(file, "%s\n", app_commands[i]->name);
        fputs("help\n", file);
        return;
    }
    for (const app_option *row = command->options; row->name; row++) {
        fprintf(file, "--%s\n", row->name);
        if (row->letter)
            fprintf(file, "-%c\n", row->letter);
    }
}
