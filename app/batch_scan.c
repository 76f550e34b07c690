// SPDX-License-Identifier: MIT
// app/batch_scan.c: what a batch was given: folders, pictures, and lists of them.
#include "batch_walk.h"

#include "jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 50

app_exit batch_out_of_memory(void)
{
    app_error("out of memory; split the work with --shard or --include");
    return APP_FAILED;
}

// A file's time, or a date in local time.
static app_exit read_newer(const app_session *session, int64_t *out)
{
    static const char *const forms[] = { "%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S" };
    const char *text = session->values.newer;
    struct stat st;
    *out = INT64_MIN;
    if (!text)
        return APP_DONE;
    if (stat(text, &st) == 0) {
        *out = batch_time_ns(&st.st_mtim);
        return APP_DONE;
    }
    for (size_t i = 0; i < APP_LEN(forms); i++) {
        struct tm tm = { .tm_isdst = -1 };
        const char *end = strptime(text, forms[i], &tm);
        time_t seconds = end && !*end ? mktime(&tm) : -1;
        if (seconds != -1) {
            *out = batch_time_ns(&(struct timespec) { .tv_sec = seconds });
            return APP_DONE;
        }
    }
    return app_usage(session->command,
                     "--newer %s: neither a file nor a date such as 2026-01-31 or 2026-01-31T18:30",
                     text);
}

// Where a picture that was named by itself lies in the mirrored tree: as it is named, without what
// leads out of the tree.
static char *tree_name(const char *path)
{
    char *out = malloc(strlen(path) + 1), *end = out;
    while (out && *path) {
        size_t length = strcspn(path, "/");
        bool is_step = length == 0 || (length == 1 && path[0] == '.') ||
                       (length == 2 && path[0] == '.' && path[1] == '.');
        if (!is_step) {
            if (end > out)
                *end++ = '/';
            memcpy(end, path, length);
            end += length;
        }
        path += length + (path[length] == '/');
    }
    if (out)
        *end = '\0';
    return out;
}

// The last part of a folder's name, with a slash; of "." and the like, of where that is. The root
// has none.
static char *prefix_of(const char *path)
{
    char *real = realpath(path, NULL), *out = NULL;
    const char *slash = real ? strrchr(real, '/') : NULL;
    if (!real || !slash || asprintf(&out, "%s%s", slash + 1, slash[1] ? "/" : "") < 0)
        out = NULL;
    free(real);
    return out;
}

static void refuse_file(batch_walk *walk, const char *path, bool is_listed)
{
    int error = errno;
    walk->list->failed++;
    if (is_listed && strchr(path, '\n'))
        app_error("--files0-from: \"%.*s\" and what follows is no file; a zero byte has to stand "
                  "behind each name, as find -print0 writes it",
                  (int)strcspn(path, "\n"), path);
    else
        app_error("%s: cannot be read: %s", path, strerror(error));
}

static bool add_file(batch_walk *walk, const char *path, bool is_listed)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        refuse_file(walk, path, is_listed);
        return true;
    }
    if (!S_ISREG(st.st_mode)) {
        walk->list->failed++;
        app_error("%s: is not a regular file; name pictures or folders", path);
        return true;
    }
    char *name = tree_name(path);
    bool ok = name != NULL;
    if (ok && !batch_walk_wants(walk, path, name, &st))
        walk->list->skipped++;
    else if (ok)
        ok = batch_list_add(walk->list, path, name, &st) && batch_walk_suspect(walk, path);
    free(name);
    return ok;
}

// The same folders and pictures, in whatever order and however they are spelt, have one hash.
static uint64_t hash_operands(const app_values *values, int count, char **operands)
{
    uint64_t hash = 0;
    for (int i = 0; i < count; i++) {
        char *real = realpath(operands[i], NULL);
        hash += batch_hash_text(real ? real : operands[i]);
        free(real);
    }
    return values->files0_from ? 0 : hash;
}

static bool add_operand(batch_walk *walk, const char *path, bool is_one_of_several)
{
    if (!app_is_directory(path))
        return add_file(walk, path, false);
    char *prefix = is_one_of_several ? prefix_of(path) : strdup("");
    bool ok = prefix && batch_walk_folder(walk, path, prefix);
    free(prefix);
    return ok;
}

// A pipe may be silent for as long as it likes; for us it ends with an interrupt.
static ssize_t read_names(void *cookie, char *data, size_t size)
{
    struct pollfd input = { .fd = *(const int *)cookie, .events = POLLIN };
    while (!app_interrupted()) {
        int ready = poll(&input, 1, TICK_MS);
        if (ready > 0 || (ready < 0 && errno != EINTR))
            return read(input.fd, data, size);
    }
    return 0;
}

// A named pipe opens at once, though nobody writes to it yet: reading can be interrupted.
static int open_names(const char *from)
{
    int fd = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0)
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return fd;
}

// A list that find makes tells of folders and of what is in them.
static void tell_folders(const batch_walk *walk)
{
    const app_values *values = &walk->session->values;
    size_t folders = walk->list->folders;
    if (folders && !values->quiet)
        app_error("warning: --files0-from %s: %zu %s passed by; only pictures that are named "
                  "themselves are taken from a list",
                  values->files0_from, folders, app_plural(folders, "folder is", "folders are"));
}

static app_exit add_named(batch_walk *walk)
{
    const char *from = walk->session->values.files0_from;
    int fd = app_is_stdin(from) ? STDIN_FILENO : open_names(from);
    FILE *file = NULL;
    if (fd >= 0)
        file = fopencookie(&fd, "r", (cookie_io_functions_t) { .read = read_names });
    char *path = NULL;
    size_t size = 0;
    bool ok = true;
    if (!file) {
        app_error("--files0-from %s: cannot be read: %s", from, strerror(errno));
        return APP_FAILED;
    }
    while (ok && getdelim(&path, &size, '\0', file) > 0 && !app_interrupted())
        if (*path && app_is_directory(path))
            walk->list->folders++;
        else if (*path)
            ok = add_file(walk, path, true);
    bool failed = ferror(file);
    fclose(file);
    if (fd != STDIN_FILENO)
        close(fd);
    free(path);
    if (failed) {
        app_error("--files0-from %s: cannot be read to its end", from);
        return APP_FAILED;
    }
    tell_folders(walk);
    return ok ? APP_DONE : batch_out_of_memory();
}

static int by_name(const void *a, const void *b)
{
    const batch_picture *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->path, y->path);
}

// Two pictures of one name cannot both be in the output.
static void drop_namesakes(batch_list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        const batch_picture *p = &list->picture[i], *last = &list->picture[kept ? kept - 1 : 0];
        bool is_double = kept && strcmp(last->name, p->name) == 0;
        if (is_double && (last->dev != p->dev || last->ino != p->ino)) {
            app_error("%s: has the same place in the output as %s; batch them one by one", p->path,
                      last->path);
            list->failed++;
        }
        if (!is_double)
            list->picture[kept++] = *p;
    }
    list->count = kept;
}

static bool keep_ids(batch_list *list)
{
    if (!app_identities_new(list->count, &list->inputs))
        return false;
    for (size_t i = 0; i < list->count; i++)
        app_identities_add(&list->inputs, list->picture[i].dev, list->picture[i].ino, i);
    app_identities_sort(&list->inputs);
    return true;
}

bool batch_is_input(const batch_list *list, const struct stat *st)
{
    return app_identities_find(&list->inputs, st) != SIZE_MAX;
}

app_exit batch_scan(const batch *b, int count, char **operands, batch_list *out)
{
    const app_session *session = b->session;
    batch_walk walk = { .session = session, .list = out, .watch = b->watch };
    // As softlens detect does; who asks for some of them by --include means it.
    walk.skips_drawn = batch_has_step(b, &batch_step_detect) && session->values.include.count == 0;
    *out = (batch_list) { 0 };
    app_exit result = read_newer(session, &walk.newer_ns);
    batch_walk_leave_out(&walk, b->writes_pictures ? b->folder : NULL, false);
    batch_walk_leave_out(&walk, session->values.sort_into, true);
    out->operands = hash_operands(&session->values, count, operands);
    int folders = 0;
    for (int i = 0; i < count; i++)
        folders += app_is_directory(operands[i]);
    for (int i = 0; i < count && result == APP_DONE; i++)
        if (!add_operand(&walk, operands[i], folders > 1))
            result = batch_out_of_memory();
    if (result == APP_DONE && session->values.files0_from)
        result = add_named(&walk);
    if (result == APP_DONE && walk.is_unwatched) {
        app_error(
            "--watch: more folders than the system watches; raise fs.inotify.max_user_watches");
        result = APP_FAILED;
    }
    if (result == APP_DONE)
        result = batch_walk_leave_out_own(&walk, b->journals);
    batch_walk_forget(&walk);
    if (out->count)
        qsort(out->picture, out->count, sizeof(*out->picture), by_name);
    bool is_once = count == 1 && !session->values.files0_from; // a walk meets nothing twice
    if (result == APP_DONE && (!keep_ids(out) || (!is_once && !batch_list_drop_doubles(out))))
        result = batch_out_of_memory();
    if (result != APP_DONE) {
        batch_list_free(out);
        return result;
    }
    drop_namesakes(out);
    return APP_DONE;
}

void batch_list_free(batch_list *list)
{
    free(list->picture);
    free(list->hidden);
    app_identities_free(&list->inputs);
    batch_texts_free(&list->texts);
    *list = (batch_list) { 0 };
}
