// SPDX-License-Identifier: MIT
// app/report.c: the library's JSON reports, laid out for reading.
#include "app.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COLUMNS 12
#define MAX_KEY_WIDTH 32

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

void app_set_text(json_t *object, const char *key, const char *text)
{
    char *utf8 = text ? app_utf8(text) : NULL;
    if (utf8)
        json_object_set_new(object, key, json_string(utf8));
    free(utf8);
}

void app_put_json(json_t *object, size_t flags)
{
    char *text = json_dumps(object, flags);
    if (text)
        app_put_line(text);
    free(text);
    json_decref(object);
}

// A number with the unit that its key speaks of.
static void format_number(const char *key, double x, char *out, size_t size)
{
    if (ends_in(key, "bytes") && x >= 1024)
        snprintf(out, size, x < 1048576 ? "%.1f KiB" : "%.1f MiB",
                 x / (x < 1048576 ? 1024 : 1048576));
    else if (strstr(key, "share"))
        snprintf(out, size, "%.1f %%", 100 * x);
    else if (ends_in(key, "seconds"))
        snprintf(out, size, x < 1 ? "%.2f ms" : "%.2f s", x < 1 ? 1e3 * x : x);
    else
        snprintf(out, size, fabs(x) < 1000 ? "%.4g" : "%.0f", x);
}

// A scalar as people read it. Text comes from files that nobody vouches for.
static void format_scalar(const char *key, const json_t *value, char *out, size_t size)
{
    const char *text = json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "-";
    if (json_is_string(value))
        text = json_string_value(value);
    if (json_is_integer(value) && !ends_in(key, "bytes"))
        snprintf(out, size, "%lld", (long long)json_integer_value(value));
    else if (json_is_number(value))
        format_number(key, json_number_value(value), out, size);
    else if (strlen(text) < size)
        strcpy(out, text);
    else // told to be cut
        snprintf(out, size, "%.*s...", (int)app_cut(text, size - sizeof("...")), text);
    app_one_line(out);
}

// "kept_share" -> "kept share"; "median_seconds" -> "median", as the value has its unit.
static void format_key(const char *key, char *out, size_t size)
{
    size_t length = strlen(key);
    if (ends_in(key, "_seconds") || ends_in(key, "_bytes"))
        length = (size_t)(strrchr(key, '_') - key);
    snprintf(out, size, "%.*s", (int)(length < size ? length : size - 1), key);
    for (char *at = out; *at; at++)
        if (*at == '_')
            *at = ' ';
    app_one_line(out);
}

// An array of flat objects as a table; the first object names the columns.
static void print_table(const json_t *rows, int indent)
{
    const char *keys[MAX_COLUMNS];
    size_t columns = 0, i;
    int widths[MAX_COLUMNS];
    const char *key;
    json_t *value, *row;
    char cell[128];
    json_object_foreach(json_array_get(rows, 0), key, value)
    {
        if (columns == MAX_COLUMNS || json_is_object(value) || json_is_array(value))
            continue;
        keys[columns] = key;
        widths[columns++] = app_columns(key);
    }
    json_array_foreach(rows, i, row)
    {
        for (size_t c = 0; c < columns; c++) {
            format_scalar(keys[c], json_object_get(row, keys[c]), cell, sizeof(cell));
            int own = app_columns(cell);
            widths[c] = own > widths[c] ? own : widths[c];
        }
    }
    for (size_t r = 0; r <= json_array_size(rows); r++) {
        printf("%*s", indent, "");
        for (size_t c = 0; c < columns; c++) {
            value = r ? json_object_get(json_array_get(rows, r - 1), keys[c]) : NULL;
            if (r)
                format_scalar(keys[c], value, cell, sizeof(cell));
            else
                format_key(keys[c], cell, sizeof(cell));
            int gap = widths[c] - app_columns(cell);
            if (c == 0)
                printf("%s%*s", cell, gap, "");
            else
                printf("  %*s%s", gap, "", cell);
        }
        putchar('\n');
    }
}

static void print_object(const json_t *object, int indent);

// Devices, which differ in what there is to tell: a section each, under the name to give for them.
static void print_sections(const json_t *array, int indent)
{
    size_t i;
    json_t *value;
    json_array_foreach(array, i, value)
    {
        char name[128];
        format_scalar("device", json_object_get(value, "device"), name, sizeof(name));
        json_object_del(value, "device");
        printf("%*s%s:\n", indent, "", name);
        print_object(value, indent + 2);
    }
}

static void print_array(const char *key, const json_t *array, int indent)
{
    size_t i;
    json_t *value;
    char cell[1024];
    if (json_object_get(json_array_get(array, 0), "device")) {
        print_sections(array, indent);
        return;
    }
    if (json_is_object(json_array_get(array, 0))) {
        printf("%*s%s:\n", indent, "", key);
        print_table(array, indent + 2);
        return;
    }
    // Words and numbers share a line; sentences, such as the ops of a graph, have their own.
    bool are_lines = false;
    json_array_foreach(array, i, value)
    {
        are_lines = are_lines || (json_is_string(value) && strchr(json_string_value(value), ' '));
    }
    printf("%*s%s:%s", indent, "", key, are_lines ? "\n" : "");
    json_array_foreach(array, i, value)
    {
        format_scalar(key, value, cell, sizeof(cell));
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
    json_object_foreach((json_t *)object, key, value)
    {
        bool is_scalar = !json_is_object(value) && !json_is_array(value);
        if (is_scalar && strlen(key) > width)
            width = strlen(key) < MAX_KEY_WIDTH ? strlen(key) : MAX_KEY_WIDTH;
    }
    json_object_foreach((json_t *)object, key, value)
    {
        char name[128], cell[1024];
        format_key(key, name, sizeof(name) - 1);
        if (json_is_array(value)) {
            print_array(name, value, indent);
        } else if (json_is_object(value) && json_object_size(value)) {
            printf("%*s%s:\n", indent, "", name);
            print_object(value, indent + 2);
        } else if (!json_is_object(value)) {
            format_scalar(key, value, cell, sizeof(cell));
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
    // The file's own words for what stands above already.
    json_object_del(json_object_get(report, "metadata"), "architecture");
    json_object_del(json_object_get(report, "metadata"), "config");
    if (json_number_value(json_object_get(report, "keep_share_asked")) <= 0)
        json_object_del(report, "keep_share_asked"); // nothing was asked
    if (!session->values.quiet)
        print_object(report, 0);
done:
    json_decref(report);
    free(text);
    return result;
}
