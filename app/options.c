// SPDX-License-Identifier: MIT
// app/options.c: command lines, read strictly by a command's table.
#include "app.h"

#include <ctype.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_OPTIONS 64
#define LONG_BASE 256 // getopt's value of row i is LONG_BASE + i, out of the way of letters

static const app_option *row_by_letter(const app_option *rows, int letter)
{
    for (const app_option *row = rows; row->name; row++)
        if (row->letter && row->letter == letter)
            return row;
    return NULL;
}

// Digits only: no sign, no space, no exponent, no hexadecimal. Stops at the first other character.
static bool read_digits(const char **text, uint64_t *out)
{
    const char *at = *text;
    uint64_t n = 0;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(n, 10u, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*at - '0'), &n))
            return false;
    bool any = at != *text;
    *text = at;
    *out = n;
    return any;
}

static bool read_integer(const app_option *row, const char *text, uint64_t *out)
{
    uint64_t n;
    if (!read_digits(&text, &n) || *text || n < row->min || n > row->max)
        return false;
    *out = n;
    return true;
}

// Digits with at most one point. The range is checked on the float that the library will see: a
// value that rounds to a bound is on it.
static bool read_real(const app_option *row, const char *text, float *out)
{
    size_t digits = strspn(text, "0123456789");
    size_t rest = text[digits] == '.' ? 1 + strspn(text + digits + 1, "0123456789") : 0;
    if (text[digits + rest] || digits + rest > 32 || digits + (rest ? rest - 1 : 0) == 0)
        return false;
    float x = strtof(text, NULL);
    float max = (float)row->max;
    if (!(x > (float)row->min) || !(row->closed ? x <= max : x < max))
        return false;
    *out = x;
    return true;
}

static bool read_bytes(const app_option *row, const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    uint64_t n;
    if (!read_digits(&text, &n))
        return false;
    if (*text) {
        const char *unit = strchr(units, *text);
        if (!unit || text[1])
            return false;
        uint64_t factor = 1ull << (10 * (unit - units + 1));
        if (__builtin_mul_overflow(n, factor, &n))
            return false;
    }
    if (n < row->min || n > row->max)
        return false;
    *out = n;
    return true;
}

static bool read_extent(const app_option *row, const char *text, uint32_t out[2])
{
    uint64_t width, height;
    if (!read_digits(&text, &width) || *text++ != 'x' || !read_digits(&text, &height) || *text)
        return false;
    if (width < row->min || width > row->max || height < row->min || height > row->max)
        return false;
    out[0] = (uint32_t)width;
    out[1] = (uint32_t)height;
    return true;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);
    while (length) {
        size_t span = strcspn(choices, "|");
        if (span == length && memcmp(choices, text, length) == 0)
            return true;
        if (!choices[span])
            return false;
        choices += span + 1;
    }
    return false;
}

// What a row accepts, for the sentence that refuses something else.
static void describe_accepted(const app_option *row, char *out, size_t size)
{
    unsigned long long min = row->min, max = row->max;
    switch (row->kind) {
    case APP_INTEGER:
        snprintf(out, size, "a whole number from %llu to %llu", min, max);
        break;
    case APP_REAL:
        snprintf(out, size, "a number above %llu and %s %llu, such as 0.5", min,
                 row->closed ? "at most" : "below", max);
        break;
    case APP_BYTES:
        snprintf(out, size, "a size such as 512M or 2G, at least %lluM", min >> 20);
        break;
    case APP_EXTENT:
        snprintf(out, size, "width x height such as 1024x768, each from %llu to %llu", min, max);
        break;
    case APP_CHOICE:
        snprintf(out, size, "one of %s", row->choices);
        break;
    case APP_NAME:
        snprintf(out, size, "a name, such as cpu or vulkan");
        break;
    case APP_LIST:
        snprintf(out, size, "%s, at most %d times", row->value, APP_MAX_LIST);
        break;
    case APP_FLAG:
    case APP_FILE:
        snprintf(out, size, "the name of a file or directory");
        break;
    }
}

static bool add_to_list(const char *text, app_values_list *list)
{
    if (!*text || list->count == APP_MAX_LIST)
        return false;
    list->item[list->count++] = text;
    return true;
}

static bool store(const app_option *row, const char *text, app_values *values, char *error)
{
    void *at = (char *)values + row->at;
    bool ok = true;
    switch (row->kind) {
    case APP_FLAG:
        *(bool *)at = true;
        break;
    case APP_FILE:
    case APP_NAME:
        ok = *text != '\0';
        *(const char **)at = text;
        break;
    case APP_LIST:
        ok = add_to_list(text, at);
        break;
    case APP_CHOICE:
        ok = is_choice(row->choices, text);
        *(const char **)at = text;
        break;
    case APP_INTEGER:
        ok = read_integer(row, text, at);
        break;
    case APP_REAL:
        ok = read_real(row, text, at);
        break;
    case APP_BYTES:
        ok = read_bytes(row, text, at);
        break;
    case APP_EXTENT:
        ok = read_extent(row, text, at);
        break;
    }
    if (!ok) {
        char accepted[128];
        describe_accepted(row, accepted, sizeof(accepted));
        snprintf(error, APP_ERROR_BYTES, "--%s: \"%.200s\" is not understood; give %s", row->name,
                 text, accepted);
    }
    return ok;
}

// `word` is "--name" or "--name=value" as typed.
static void explain_unknown_long(const app_option *rows, const char *word, char *error)
{
    char name[64];
    size_t length = strcspn(word + 2, "=");
    snprintf(name, sizeof(name), "%.*s", (int)(length < 63 ? length : 63), word + 2);

    const app_option *abbreviated[2] = { NULL, NULL };
    int count = 0;
    for (const app_option *row = rows; row->name && count < 2; row++)
        if (strncmp(row->name, name, strlen(name)) == 0)
            abbreviated[count++] = row;
    const char *near = app_nearest_option(rows, name);
    if (count == 2)
        snprintf(error, APP_ERROR_BYTES, "--%s may mean --%s or --%s; spell it out", name,
                 abbreviated[0]->name, abbreviated[1]->name);
    else if (near)
        snprintf(error, APP_ERROR_BYTES, "unknown option --%s; did you mean --%s?", name, near);
    else
        snprintf(error, APP_ERROR_BYTES, "unknown option --%s", name);
}

// Where letters of a word are still to be read, getopt does not tell which word it was.
static bool names_file(char **argv)
{
    for (; *argv; argv++)
        if (argv[0][0] == '-' && access(*argv, F_OK) == 0)
            return true;
    return false;
}

// What getopt_long refused. It leaves in optopt a row's value (a flag that was given a value), a
// letter that no row has, or 0 for a long name that is unknown or short for several.
static void explain_unknown(const app_option *rows, char **argv, char *error)
{
    if (optopt >= LONG_BASE)
        snprintf(error, APP_ERROR_BYTES, "--%s takes no value", rows[optopt - LONG_BASE].name);
    else if (optopt == 0)
        explain_unknown_long(rows, argv[optind - 1], error);
    else if (isgraph(optopt))
        snprintf(error, APP_ERROR_BYTES, "unknown option -%c%s", optopt,
                 names_file(argv) ? "; put names that begin with - after --" : "");
    else
        snprintf(error, APP_ERROR_BYTES, "unknown option; put names that begin with - after --");
}

static void explain_missing_value(const app_option *row, char *error)
{
    char accepted[128];
    describe_accepted(row, accepted, sizeof(accepted));
    snprintf(error, APP_ERROR_BYTES, "--%s needs a value; give %s", row->name, accepted);
}

static bool check_operands(const app_command *command, int count, char *error)
{
    if (count < command->operands_min) {
        snprintf(error, APP_ERROR_BYTES, "%s needs %s", command->name, command->operands);
        return false;
    }
    if (count > 0 && command->operands_max == 0) {
        snprintf(error, APP_ERROR_BYTES, "%s takes no names", command->name);
        return false;
    }
    if (count > command->operands_max) {
        snprintf(error, APP_ERROR_BYTES, "%s takes %s%s and was given %d names", command->name,
                 command->operands_max == 1 && command->operands_min == 1 ? "one " : "at most ",
                 command->operands, count);
        return false;
    }
    return true;
}

bool app_parse(const app_command *command, int argc, char **argv, app_values *values, int *first,
               char *error)
{
    const app_option *rows = command->options;
    struct option longs[MAX_OPTIONS + 1] = { 0 };
    char letters[2 * MAX_OPTIONS + 2] = ":"; // a missing value is ':', not '?'
    size_t letter_count = 1;
    for (size_t i = 0; rows[i].name && i < MAX_OPTIONS; i++) {
        bool has_value = rows[i].kind != APP_FLAG;
        longs[i] = (struct option) { rows[i].name, has_value ? required_argument : no_argument,
                                     NULL, LONG_BASE + (int)i };
        if (rows[i].letter)
            letters[letter_count++] = rows[i].letter;
        if (rows[i].letter && has_value)
            letters[letter_count++] = ':';
    }

    *values = (app_values) { 0 };
    opterr = 0;
    optind = 0; // glibc: start afresh, also after an earlier call that ended halfway
    int got;
    while ((got = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        const app_option *row = NULL;
        if (got == '?') {
            explain_unknown(rows, argv, error);
            return false;
        }
        int which = got == ':' ? optopt : got;
        row = which >= LONG_BASE ? &rows[which - LONG_BASE] : row_by_letter(rows, which);
        if (got == ':') {
            explain_missing_value(row, error);
            return false;
        }
        if (!store(row, optarg, values, error))
            return false;
    }
    *first = optind;
    return values->help || check_operands(command, argc - optind, error);
}
