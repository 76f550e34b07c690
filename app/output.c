// SPDX-License-Identifier: MIT
// app/output.c: lines and reports on stdout.
#include "app.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COLUMNS 12

static int stdout_error; // the first errno that writing met

static void flush_stdout(void)
{
    if (fflush(stdout) != 0 && !stdout_error)
        stdout_error = errno;
}

void app_put_line(const char *text)
{
    puts(text);
    flush_stdout(); // whoever reads along sees each picture as it is done
}

void app_say(const app_session *session, const char *format, ...)
{
    char text[4096];
    va_list args;
    if (session->values.quiet)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    app_put_line(text);
}

// Bytes of the UTF-8 character at `at`; 0 when it is none (overlong, surrogate, cut short).
static size_t utf8_length(const unsigned char *at)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (at[0] < 0x80)
        return 1;
    size_t length = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4)
        return 0;
    uint32_t code = at[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3f);
    }
    bool is_surrogate = code >= 0xd800 && code <= 0xdfff;
    return code >= least[length] && code <= 0x10ffff && !is_surrogate ? length : 0;
}

char *app_utf8(const char *text)
{
    static const char replacement[] = "\xef\xbf\xbd";
    char *out = malloc(3 * strlen(text) + 1), *end = out;
    if (!out)
        return NULL;
    while (*text) {
        size_t length = utf8_length((const unsigned char *)text);
        memcpy(end, length ? text : replacement, length ? length : 3);
        end += length ? length : 3;
        text += length ? length : 1;
    }
    *end = '\0';
    return out;
}

// A scalar as people read it: whole numbers in full, others with four figures.
static void format_scalar(const json_t *value, char *out, size_t size)
{
    if (json_is_string(value))
        snprintf(out, size, "%s", json_string_value(value));
    else if (json_is_integer(value))
        snprintf(out, size, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(out, size, "%.4g", json_real_value(value));
    else
        snprintf(out, size, "%s", json_is_null(value) ? "-" : json_is_true(value) ? "yes" : "no");
}

// "keep_share" -> "keep share"
static void format_key(const char *key, char *out, size_t size)
{
    snprintf(out, size, "%s", key);
    for (char *at = out; *at; at++)
        if (*at == '_')
            *at = ' ';
}

// An array of flat objects as a table; the first object names the columns.
static void print_table(const json_t *rows, int indent)
{
    const char *keys[MAX_COLUMNS];
    size_t widths[MAX_COLUMNS], columns = 0, i;
    const char *key;
    json_t *value, *row;
    char cell[128];
    json_object_foreach(json_array_get(rows, 0), key, value)
    {
        if (columns == MAX_COLUMNS || json_is_object(value) || json_is_array(value))
            continue;
        keys[columns] = key;
        widths[columns++] = strlen(key);
    }
    json_array_foreach(rows, i, row)
    {
        for (size_t c = 0; c < columns; c++) {
            format_scalar(json_object_get(row, keys[c]), cell, sizeof(cell));
            widths[c] = strlen(cell) > widths[c] ? strlen(cell) : widths[c];
        }
    }
    for (size_t r = 0; r <= json_array_size(rows); r++) {
        printf("%*s", indent, "");
        for (size_t c = 0; c < columns; c++) {
            value = r ? json_object_get(json_array_get(rows, r - 1), keys[c]) : NULL;
            if (r)
                format_scalar(value, cell, sizeof(cell));
            else
                format_key(keys[c], cell, sizeof(cell));
            bool is_left = c == 0;
            printf(is_left ? "%-*s" : "  %*s", (int)widths[c], cell);
        }
        putchar('\n');
    }
}

static void print_array(const char *key, const json_t *array, int indent)
{
    size_t i;
    json_t *value;
    char cell[1024];
    if (json_is_object(json_array_get(array, 0))) {
        printf("%*s%s:\n", indent, "", key);
        print_table(array, indent + 2);
        return;
    }
    // Words and numbers share a line; sentences, such as the ops of a graph, have their own.
    bool are_lines = false;
    json_array_foreach(array, i, value) are_lines =
        are_lines || (json_is_string(value) && strchr(json_string_value(value), ' '));
    printf("%*s%s:%s", indent, "", key, are_lines ? "\n" : "");
    json_array_foreach(array, i, value)
    {
        format_scalar(value, cell, sizeof(cell));
        if (are_lines)
            printf("%*s%s\n", indent + 2, "", cell);
        else
            printf("%s%s", i ? ", " : " ", cell);
    }
    if (!are_lines)
        putchar('\n');
}

static void print_object(const json_t *object, int indent)
{
    const char *key;
    json_t *value;
    size_t width = 0;
    json_object_foreach((json_t *)object, key, value) if (!json_is_object(value) &&
                                                          !json_is_array(value) &&
                                                          strlen(key) > width) width = strlen(key);
    json_object_foreach((json_t *)object, key, value)
    {
        char name[128], cell[1024];
        format_key(key, name, sizeof(name) - 1);
        if (json_is_array(value)) {
            print_array(name, value, indent);
        } else if (json_is_object(value)) {
            printf("%*s%s:\n", indent, "", name);
            print_object(value, indent + 2);
        } else if (json_is_string(value) && strchr(json_string_value(value), '\n')) {
            printf("%*s%s:\n%s\n", indent, "", name, json_string_value(value));
        } else {
            format_scalar(value, cell, sizeof(cell));
            strcat(name, ":");
            printf("%*s%-*s %s\n", indent, "", (int)width + 1, name, cell);
        }
    }
}

app_exit app_print_report(app_session *session, char *text)
{
    app_exit result = APP_DONE;
    json_error_t error;
    json_t *report = NULL;
    if (session->values.json) {
        app_put_line(text);
        goto done;
    }
    report = json_loads(text, 0, &error);
    if (!json_is_object(report)) {
        app_error("the library's report cannot be read: %s", report ? "no object" : error.text);
        result = APP_FAILED;
        goto done;
    }
    if (!session->values.quiet)
        print_object(report, 0);
done:
    json_decref(report);
    free(text);
    return result;
}

bool app_finish_stdout(void)
{
    flush_stdout();
    // A reader that left had enough; that is no failure of ours.
    bool ok = stdout_error == 0 || stdout_error == EPIPE;
    if (!ok)
        app_error("standard output cannot be written: %s; look for a full disk",
                  strerror(stdout_error));
    return ok;
}
