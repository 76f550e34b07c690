// SPDX-License-Identifier: MIT
// app/output.c: lines on stdout.
#include "app.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

static int stdout_error; // the first errno that writing met

// Of bytes that could not be written while more were printed: which error it was is not known any
// more, except where a pipe's reader left.
static int earlier_error(void)
{
    struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
    return poll(&out, 1, 0) > 0 && (out.revents & POLLERR) ? EPIPE : EIO;
}

static void flush_stdout(void)
{
    bool has_failed = fflush(stdout) != 0;
    if (!stdout_error && (has_failed || ferror(stdout)))
        stdout_error = has_failed ? errno : earlier_error();
}

void app_put_line(const char *text)
{
    if (puts(text) < 0 && !stdout_error)
        stdout_error = errno; // of a long line, of which flushing what is left says nothing
    flush_stdout();           // whoever reads along sees each picture as it is done
}

void app_put_bytes(const void *data, size_t size)
{
    if (fwrite(data, 1, size, stdout) < size && !stdout_error)
        stdout_error = errno; // likewise
    flush_stdout();
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
    app_one_line(text);
    app_put_line(text);
}

// Columns of the character at *text, which is passed by. Where the C library knows no UTF-8, every
// character takes one.
static int pass_character(const char **text, bool has_utf8)
{
    wchar_t character;
    mbstate_t state = { 0 };
    size_t bytes = has_utf8 ? mbrtowc(&character, *text, strlen(*text), &state) : SIZE_MAX;
    if (bytes < SIZE_MAX - 1) { // neither damaged nor cut short
        int columns = wcwidth(character);
        *text += bytes;
        return columns > 0 ? columns : 0;
    }
    int columns = ((unsigned char)**text & 0xc0) != 0x80;
    ++*text;
    return columns;
}

// Passes by what takes `room` columns at most; how many it takes.
static int pass_columns(const char **text, int room)
{
    static locale_t utf8; // made once: it is read from a file, and galleries have many labels
    static bool is_made;
    int count = 0;
    if (!is_made)
        utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    is_made = true;
    locale_t before = uselocale(utf8); // of no locale: asks, and changes nothing
    while (**text) {
        const char *next = *text;
        int columns = pass_character(&next, utf8);
        if (columns > room - count)
            break;
        count += columns;
        *text = next;
    }
    uselocale(before);
    return count;
}

int app_columns(const char *text)
{
    return pass_columns(&text, INT_MAX);
}

size_t app_fitting(const char *text, int room)
{
    const char *end = text;
    pass_columns(&end, room);
    return (size_t)(end - text);
}

const char *app_plural(size_t count, const char *one, const char *several)
{
    return count == 1 ? one : several;
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

size_t app_cut(const char *text, size_t most)
{
    size_t length = strlen(text);
    if (length > most)
        for (length = most; length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80;)
            length--;
    return length;
}

void app_put_csv_field(FILE *file, const char *text)
{
    char *utf8 = app_utf8(text);
    if (utf8 && !strpbrk(utf8, ",\"\r\n")) {
        fputs(utf8, file);
    } else if (utf8) {
        fputc('"', file);
        for (const char *at = utf8; *at; at++) {
            if (*at == '"')
                fputc('"', file);
            fputc(*at, file);
        }
        fputc('"', file);
    }
    free(utf8);
}

bool app_hold_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        // Open the wrong way round, so that using the stream fails as it does on a closed one.
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) {
            app_error("a standard stream is closed, and /dev/null cannot stand in: %s",
                      strerror(errno));
            return false;
        }
    }
    return true;
}

bool app_stdout_is_lost(void)
{
    return stdout_error != 0;
}

bool app_stdout_has_failed(void)
{
    return stdout_error != 0 && stdout_error != EPIPE;
}

bool app_finish_stdout(void)
{
    flush_stdout();
    bool ok = !app_stdout_has_failed();
    if (!ok)
        app_error("standard output cannot be written: %s; look for a full disk",
                  strerror(stdout_error));
    return ok;
}
