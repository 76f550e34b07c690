// SPDX-License-Identifier: MIT
// app/paths.c: names of files: derived, compared, made.
#include "jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// The ending of a picture's name with its dot, or NULL. ".png" alone is a name, not an ending.
static const char *picture_ending(const char *path, sl_image_format *format)
{
    static const struct {
        const char *ending;
        sl_image_format format; // SAME: is read, not written
    } endings[] = { { ".png", SL_IMAGE_PNG },   { ".jpg", SL_IMAGE_JPEG },
                    { ".jpeg", SL_IMAGE_JPEG }, { ".jpe", SL_IMAGE_JPEG },
                    { ".jfif", SL_IMAGE_JPEG }, { ".webp", SL_IMAGE_SAME },
                    { ".heic", SL_IMAGE_SAME }, { ".heif", SL_IMAGE_SAME },
                    { ".hif", SL_IMAGE_SAME },  { ".avif", SL_IMAGE_SAME },
                    { ".tif", SL_IMAGE_SAME },  { ".tiff", SL_IMAGE_SAME } };
    const char *name = base_name(path), *dot = strrchr(name, '.');
    *format = SL_IMAGE_SAME;
    if (!dot || dot == name)
        return NULL;
    for (size_t i = 0; i < APP_LEN(endings); i++)
        if (strcasecmp(dot, endings[i].ending) == 0) {
            *format = endings[i].format;
            return dot;
        }
    return NULL;
}

bool app_is_picture_name(const char *path)
{
    sl_image_format format;
    return picture_ending(path, &format) != NULL;
}

sl_image_format app_format_of_name(const char *path)
{
    sl_image_format format;
    picture_ending(path, &format);
    return format;
}

sl_image_format app_format_of_file(const char *path)
{
    unsigned char head[32] = { 0 };
    struct stat st;
    // Nothing but a regular file is opened: a pipe would lose its first bytes to us.
    bool is_file = !app_is_stdin(path) && stat(path, &st) == 0 && S_ISREG(st.st_mode);
    int file = is_file ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t got = file >= 0 ? read(file, head, sizeof(head)) : 0;
    sl_image_format foreign = got > 0 ? app_format_of_foreign(file, head) : SL_IMAGE_SAME;
    if (file >= 0)
        close(file);
    if (got >= 8 && memcmp(head, "\x89PNG\r\n\x1a\n", 8) == 0)
        return SL_IMAGE_PNG;
    if (got >= 3 && memcmp(head, "\xff\xd8\xff", 3) == 0)
        return SL_IMAGE_JPEG;
    return foreign == SL_IMAGE_SAME ? app_format_of_name(path) : foreign;
}

char *app_derive_path(const char *directory, const char *input, const char *infix,
                      sl_image_format format)
{
    const char *name = base_name(input);
    sl_image_format own;
    const char *ending = picture_ending(input, &own);
    size_t stem = ending ? (size_t)(ending - name) : strlen(name);
    if (!ending || own != format)
        ending = format == SL_IMAGE_JPEG ? ".jpg" : ".png";
    const char *slash = directory && !app_ends_in_slash(directory) ? "/" : "";
    size_t before = directory ? strlen(directory) : (size_t)(name - input);
    char *path = NULL;
    if (asprintf(&path, "%.*s%s%.*s.%s%s", (int)before, directory ? directory : input, slash,
                 (int)stem, name, infix, ending) < 0)
        return NULL;
    return path;
}

char *app_place(const char *path)
{
    const char *name = base_name(path);
    char *directory = name == path ? strdup(".") : strndup(path, (size_t)(name - path));
    char *real = directory ? realpath(directory, NULL) : NULL;
    char *place = NULL;
    // A directory that is still to be made has no real name; as it is spelt has to do.
    if (directory && asprintf(&place, "%s/%s", real ? real : directory, name) < 0)
        place = NULL;
    free(directory);
    free(real);
    return place;
}

// Why no file can be made in the directory of `path`; malloc'ed, NULL: one can.
static char *parent_refusal(const char *path)
{
    char *directory = strdup(path), *why = NULL;
    char *slash = directory ? strrchr(directory, '/') : NULL;
    if (slash)
        slash[slash == directory] = '\0';
    const char *parent = slash ? directory : ".";
    int length = 0;
    if (directory && access(parent, F_OK) != 0)
        length = asprintf(&why, "%s: cannot be written: there is no directory %s", path, parent);
    else if (directory && !app_is_directory(parent))
        length = asprintf(&why, "%s: cannot be written: %s is not a directory", path, parent);
    else if (directory && access(parent, W_OK | X_OK) != 0)
        length = asprintf(&why, "%s: cannot be written: %s: %s", path, parent, strerror(errno));
    free(directory);
    return length < 0 ? NULL : why;
}

char *app_output_refusal(const char *path, bool overwrite, bool parent_is_made)
{
    struct stat st;
    char *why = NULL;
    int length = 0;
    if (lstat(path, &st) != 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            length = asprintf(&why, "%s: cannot be written: %s", path, strerror(errno));
    } else if (sl_stands_for_open_file(path) || (stat(path, &st) == 0 && !S_ISREG(st.st_mode))) {
        length = asprintf(&why, "%s: is not a regular file; name another output", path);
    } else if (!overwrite) {
        length = asprintf(&why, "%s: exists; name another output or add --overwrite", path);
    }
    if (length < 0)
        return NULL;
    return why || parent_is_made ? why : parent_refusal(path);
}

bool app_may_replace(const char *path, const char *kind, const char *start)
{
    char head[32] = "";
    struct stat st;
    size_t length = strlen(start);
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
        return true; // nothing is lost
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bool is_same = file >= 0 && read(file, head, length) == (ssize_t)length &&
                   memcmp(head, start, length) == 0;
    if (file >= 0)
        close(file);
    if (!is_same)
        app_error("%s: exists and is no %s, so it stays; name another output", path, kind);
    return is_same;
}

bool app_is_stdin(const char *path)
{
    return strcmp(path, "-") == 0;
}

bool app_is_stdout(const char *path)
{
    return path && strcmp(path, "-") == 0;
}

app_exit app_check_stdin(const app_session *session, int count, char **operands)
{
    int piped = 0;
    for (int i = 0; i < count; i++)
        piped += app_is_stdin(operands[i]);
    if (piped > 1)
        return app_usage(session->command, "- is named twice, but standard input is one picture");
    return APP_DONE;
}

sl_status app_load(sl_ctx *ctx, const char *path, const sl_load_options *options, sl_image **out)
{
    return app_is_stdin(path) ? sl_image_load_fd(ctx, STDIN_FILENO, "standard input", options, out)
                              : sl_image_load(ctx, path, options, out);
}

bool app_is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool app_ends_in_slash(const char *path)
{
    size_t length = strlen(path);
    return length > 0 && path[length - 1] == '/';
}

bool app_names_folder(const char *value)
{
    return app_ends_in_slash(value) || app_is_directory(value);
}

int app_make_dirs(const char *path)
{
    char *copy = strdup(path);
    int error = copy ? 0 : ENOMEM;
    for (char *at = copy; copy && !error; at++) {
        char c = *at;
        if ((c != '/' && c != '\0') || at == copy) {
            if (c == '\0')
                break;
            continue;
        }
        *at = '\0';
        if (mkdir(copy, 0777) != 0) {
            error = errno; // which looking at it changes
            if (app_is_directory(copy))
                error = 0;
        }
        *at = c;
        if (c == '\0')
            break;
    }
    free(copy);
    return error;
}
