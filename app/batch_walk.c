// SPDX-License-Identifier: MIT
// app/batch_walk.c: folder trees of any size and depth. Links to folders are not followed, so that
// none leads in a circle; what cannot be read is said and counted, and the rest goes on.
#include "batch_walk.h"

#include "jobs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_DEPTH 128 // one open folder each

int64_t batch_time_ns(const struct timespec *time)
{
    int64_t ns;
    if (__builtin_mul_overflow(time->tv_sec, INT64_C(1000000000), &ns) ||
        __builtin_add_overflow(ns, time->tv_nsec, &ns))
        return time->tv_sec < 0 ? INT64_MIN + 1 : INT64_MAX; // INT64_MIN is no time
    return ns;
}

bool batch_list_add(batch_list *list, const char *path, const char *name, const struct stat *st)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 256;
        batch_picture *grown = reallocarray(list->picture, capacity, sizeof(*grown));
        if (!grown)
            return false;
        list->picture = grown;
        list->capacity = capacity;
    }
    batch_picture *p = &list->picture[list->count];
    *p = (batch_picture) { .path = batch_texts_add(&list->texts, path),
                           .size = (uint64_t)st->st_size,
                           .mtime_ns = batch_time_ns(&st->st_mtim),
                           .dev = st->st_dev,
                           .ino = st->st_ino };
    if (!p->path)
        return false;
    // Most names are the end of their paths.
    size_t path_length = strlen(path), length = strlen(name);
    const char *end = length <= path_length ? p->path + path_length - length : "";
    p->name = strcmp(end, name) == 0 ? end : batch_texts_add(&list->texts, name);
    list->count += p->name != NULL;
    return p->name != NULL;
}

bool batch_list_hide(batch_list *list, const char *name)
{
    if (list->hidden_count == list->hidden_capacity) {
        size_t capacity = list->hidden_capacity ? 2 * list->hidden_capacity : 64;
        const char **grown = reallocarray(list->hidden, capacity, sizeof(*grown));
        if (!grown)
            return false;
        list->hidden = grown;
        list->hidden_capacity = capacity;
    }
    const char *copy = batch_texts_add(&list->texts, name);
    if (copy)
        list->hidden[list->hidden_count++] = copy;
    return copy != NULL;
}

// A pattern with a slash is held against the whole name, another against its last part.
static bool matches(const char *pattern, const char *name)
{
    const char *slash = strrchr(name, '/');
    if (strchr(pattern, '/'))
        return fnmatch(pattern, name, FNM_PATHNAME) == 0;
    return fnmatch(pattern, slash ? slash + 1 : name, 0) == 0;
}

static bool matches_any(const app_values_list *patterns, const char *name)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (matches(patterns->item[i], name))
            return true;
    return false;
}

bool batch_walk_wants(const batch_walk *walk, const char *path, const char *name,
                      const struct stat *st)
{
    const app_values *values = &walk->session->values;
    int64_t time = batch_time_ns(&st->st_mtim);
    if (matches_any(&values->exclude, name) || time <= walk->newer_ns)
        return false;
    if (app_is_picture_name(name))
        return !values->include.count || matches_any(&values->include, name);
    return matches_any(&values->include, name) && app_format_of_file(path) != SL_IMAGE_SAME;
}

typedef struct folder {
    batch_walk *walk;
    const char *path, *prefix;
    int fd;
    unsigned depth;
} folder;

static void refuse(batch_walk *walk, const char *path, const char *why)
{
    walk->list->failed++;
    app_error("%s: cannot be read: %s", path, why);
}

static bool walk_folder(const folder *f);

static bool is_own(const batch_walk *walk, const struct stat *st)
{
    for (size_t i = 0; i < walk->own_count; i++)
        if (walk->own[i].dev == st->st_dev && walk->own[i].ino == st->st_ino)
            return true;
    return false;
}

static bool enter(const folder *f, const char *path, const char *name, const struct stat *st)
{
    batch_walk *walk = f->walk;
    char *prefix;
    if (is_own(walk, st) || matches_any(&walk->session->values.exclude, name))
        return true;
    if (f->depth == MAX_DEPTH) {
        refuse(walk, path, "it lies too deep");
        return true;
    }
    folder below = { walk, path, NULL, -1, f->depth + 1 };
    below.fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (below.fd < 0) {
        refuse(walk, path, strerror(errno));
        return true;
    }
    if (asprintf(&prefix, "%s/", name) < 0) {
        close(below.fd);
        return false;
    }
    below.prefix = prefix;
    bool ok = walk_folder(&below);
    free(prefix);
    return ok;
}

static bool note_dangling(batch_list *list, const char *path, const char *name)
{
    if (!batch_list_hide(list, name))
        return false;
    list->skipped++;
    if (list->dangling++ == 0)
        list->first_dangling = batch_texts_add(&list->texts, path);
    return list->first_dangling != NULL;
}

static bool add(batch_list *list, bool is_drawn, const char *path, const char *name,
                const struct stat *st)
{
    if (!is_drawn)
        return batch_list_add(list, path, name, st);
    if (list->drawn++ == 0)
        list->first_drawn = batch_texts_add(&list->texts, path);
    return list->first_drawn != NULL;
}

static bool see(const folder *f, const char *entry)
{
    char *path = batch_join(f->path, entry), *name = NULL;
    struct stat st;
    bool ok = path && asprintf(&name, "%s%s", f->prefix, entry) >= 0;
    if (!ok)
        name = NULL;
    if (ok && fstatat(f->fd, entry, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT) // else it went away meanwhile
            refuse(f->walk, path, strerror(errno));
    } else if (ok && S_ISDIR(st.st_mode)) {
        ok = enter(f, path, name, &st);
    } else if (ok) {
        bool is_link = S_ISLNK(st.st_mode);
        bool is_there = !is_link || fstatat(f->fd, entry, &st, 0) == 0;
        if (is_link && is_there && S_ISDIR(st.st_mode))
            f->walk->list->links++;
        else if (!is_there && batch_walk_wants(f->walk, path, name, &st))
            ok = note_dangling(f->walk->list, path, name);
        else if (!is_there || !S_ISREG(st.st_mode) || !batch_walk_wants(f->walk, path, name, &st))
            f->walk->list->skipped++;
        else
            ok = add(f->walk->list, f->walk->skips_drawn && batch_is_drawn(entry), path, name, &st);
    }
    free(path);
    free(name);
    return ok;
}

// Closes the folder.
static bool walk_folder(const folder *f)
{
    // First the watch, then the look: what arrives in between is seen twice rather than never.
    if (f->walk->watch >= 0 && !batch_watch_folder(f->walk->watch, f->path))
        f->walk->is_unwatched = true;
    DIR *open_folder = fdopendir(f->fd);
    struct dirent *entry = NULL;
    bool ok = true, is_empty = true;
    if (!open_folder) {
        close(f->fd);
        refuse(f->walk, f->path, strerror(errno));
        return true;
    }
    while (ok && !app_interrupted() && (errno = 0, entry = readdir(open_folder)))
        if (entry->d_name[0] != '.') {
            is_empty = false;
            ok = see(f, entry->d_name);
        }
    if (ok && !entry && errno)
        refuse(f->walk, f->path, strerror(errno));
    if (ok && is_empty)
        ok = batch_list_hide(f->walk->list, f->prefix);
    closedir(open_folder);
    return ok;
}

bool batch_walk_folder(batch_walk *walk, const char *path, const char *prefix)
{
    folder top = { walk, path, prefix, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0 };
    if (top.fd < 0) {
        refuse(walk, path, strerror(errno));
        return true;
    }
    return walk_folder(&top);
}
