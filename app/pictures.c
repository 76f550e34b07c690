// SPDX-License-Identifier: MIT
// app/pictures.c: the pictures that files, folders and "-" stand for.
#include "pictures.h"

#include "jobs.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_DEPTH 64
#define TOLD_NAMES 3 // of what was skipped in a folder

// Takes `path`, malloc'ed or NULL where memory ran out.
static app_exit add(app_pictures *p, char *path)
{
    if (path && p->count == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 64;
        char **grown = realloc(p->path, capacity * sizeof(*grown));
        if (!grown) {
            free(path);
            return app_out_of_memory();
        }
        p->path = grown;
        p->capacity = capacity;
    }
    if (!path)
        return app_out_of_memory();
    p->path[p->count++] = path;
    return APP_DONE;
}

app_exit app_pictures_fail(app_pictures *p, const char *path, char *why)
{
    struct app_failure *grown = realloc(p->failures, (p->failed + 1) * sizeof(*grown));
    char *copy = strdup(path);
    if (grown)
        p->failures = grown;
    if (!grown || !copy || !why) {
        free(copy);
        free(why);
        return app_out_of_memory();
    }
    app_error("%s", why);
    grown[p->failed++] = (struct app_failure) { copy, why };
    return APP_DONE;
}

// What a folder held besides pictures.
typedef struct skipped {
    size_t files, folders;
    char names[256]; // of the first files
} skipped;

static void skip_file(skipped *s, const char *name)
{
    size_t used = strlen(s->names);
    if (s->files++ < TOLD_NAMES)
        snprintf(s->names + used, sizeof(s->names) - used, "%s%.60s", used ? ", " : "", name);
}

static void tell_skipped(const app_session *session, const char *folder, const skipped *s)
{
    if (session->values.quiet)
        return;
    if (s->files)
        app_error("%s: %zu %s no pictures, skipped: %s%s", folder, s->files,
                  s->files == 1 ? "file is" : "files are", s->names,
                  s->files > TOLD_NAMES ? ", ..." : "");
    if (s->folders)
        app_error("%s: %zu %s skipped; add --recursive to look into %s", folder, s->folders,
                  s->folders == 1 ? "folder in it is" : "folders in it are",
                  s->folders == 1 ? "it" : "them");
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static app_exit add_folder(const app_session *session, app_pictures *p, const char *folder,
                           int depth);

// An entry of a folder. Links lead to files only: one to a folder may lead in a circle.
static app_exit add_entry(const app_session *session, app_pictures *p, char *path, const char *name,
                          int depth, skipped *s)
{
    struct stat st;
    if (!path)
        return app_out_of_memory();
    bool is_folder = lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
    bool is_file = !is_folder && stat(path, &st) == 0 && S_ISREG(st.st_mode);
    if (is_file && (app_is_picture_name(path) || app_format_of_file(path) != SL_IMAGE_SAME))
        return add(p, path);
    app_exit result = APP_DONE;
    if (!is_folder)
        skip_file(s, name);
    else if (!session->values.recursive || depth >= MAX_DEPTH)
        s->folders++;
    else
        result = add_folder(session, p, path, depth + 1);
    free(path);
    return result;
}

static app_exit add_folder(const app_session *session, app_pictures *p, const char *folder,
                           int depth)
{
    struct dirent **entries = NULL;
    skipped s = { 0 };
    app_exit result = APP_DONE;
    const char *slash = app_ends_in_slash(folder) ? "" : "/";
    int count = scandir(folder, &entries, is_visible, by_bytes);
    if (count < 0) {
        char *why = NULL;
        if (asprintf(&why, "%s: cannot be read: %s", folder, strerror(errno)) < 0)
            why = NULL;
        return app_pictures_fail(p, folder, why);
    }
    for (int i = 0; i < count; i++) {
        char *path = NULL;
        if (result == APP_DONE && asprintf(&path, "%s%s%s", folder, slash, entries[i]->d_name) < 0)
            path = NULL;
        if (result == APP_DONE)
            result = add_entry(session, p, path, entries[i]->d_name, depth, &s);
        free(entries[i]);
    }
    free(entries);
    if (result == APP_DONE)
        tell_skipped(session, folder, &s);
    return result;
}

static app_exit add_operand(const app_session *session, app_pictures *p, const char *name)
{
    if (!app_is_directory(name))
        return add(p, strdup(name));
    size_t before = p->count, failed = p->failed;
    app_exit result = add_folder(session, p, name, 0);
    if (result == APP_DONE && p->count == before && p->failed == failed) {
        char *why = NULL;
        if (asprintf(&why, "%s: holds no picture; name a folder that does", name) < 0)
            why = NULL;
        result = app_pictures_fail(p, name, why);
    }
    return result;
}

app_exit app_pictures_find(const app_session *session, int count, char **operands,
                           app_pictures *out)
{
    *out = (app_pictures) { 0 };
    app_exit result = app_check_stdin(session, count, operands);
    for (int i = 0; i < count && result == APP_DONE; i++)
        result = add_operand(session, out, operands[i]);
    if (result != APP_DONE)
        app_pictures_free(out);
    return result;
}

void app_pictures_free(app_pictures *pictures)
{
    for (size_t i = 0; i < pictures->count; i++)
        free(pictures->path[i]);
    for (size_t i = 0; i < pictures->failed; i++) {
        free(pictures->failures[i].path);
        free(pictures->failures[i].why);
    }
    free(pictures->path);
    free(pictures->failures);
    *pictures = (app_pictures) { 0 };
}

app_exit app_identities_of(const app_pictures *pictures, app_identities *out)
{
    struct stat st;
    if (!app_identities_new(pictures->count, out))
        return app_out_of_memory();
    for (size_t i = 0; i < pictures->count; i++)
        if (!app_is_stdin(pictures->path[i]) && stat(pictures->path[i], &st) == 0)
            app_identities_add(out, st.st_dev, st.st_ino, i);
    app_identities_sort(out);
    return APP_DONE;
}
