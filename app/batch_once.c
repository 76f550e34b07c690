// SPDX-License-Identifier: MIT
// app/batch_once.c: each picture once: what was named by several names, and what this batch itself
// has written among the pictures.
#include "batch_walk.h"

#include "jobs.h"

#include <stdlib.h>
#include <string.h>

void batch_walk_leave_out(batch_walk *walk, const char *folder)
{
    struct stat st;
    if (!folder || stat(folder, &st) != 0)
        return;
    walk->own[walk->own_count].dev = st.st_dev;
    walk->own[walk->own_count].ino = st.st_ino;
    walk->own[walk->own_count++].path = realpath(folder, NULL);
}

void batch_walk_forget(batch_walk *walk)
{
    for (size_t i = 0; i < walk->own_count; i++)
        free(walk->own[i].path);
    free(walk->last_folder);
}

static bool is_below(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 &&
           (path[length] == '\0' || path[length] == '/' || length == 1);
}

// Names of one folder mostly follow each other: it is looked up once for all of them.
bool batch_walk_is_within_own(batch_walk *walk, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    const char *last = walk->last_folder;
    if (walk->own_count == 0)
        return false;
    if (last && strlen(last) == length && memcmp(last, path, length) == 0)
        return walk->is_last_own;
    free(walk->last_folder);
    walk->last_folder = strndup(path, length);
    char *real = realpath(length && walk->last_folder ? walk->last_folder : ".", NULL);
    walk->is_last_own = false;
    for (size_t i = 0; i < walk->own_count && real; i++)
        walk->is_last_own =
            walk->is_last_own || (walk->own[i].path && is_below(real, walk->own[i].path));
    free(real);
    return walk->is_last_own;
}

bool batch_is_drawn(const char *name)
{
    static const char infix[] = ".detected";
    const char *dot = strrchr(name, '.');
    size_t length = sizeof(infix) - 1;
    return dot && (size_t)(dot - name) > length && memcmp(dot - length, infix, length) == 0;
}

void batch_list_leave_out_own(batch_list *list)
{
    size_t kept = 0, own = 0;
    for (size_t i = 0; i < list->count; i++)
        own += list->picture[i].is_within_own;
    if (own == list->count)
        return;
    for (size_t i = 0; i < list->count; i++) {
        const batch_picture *p = &list->picture[i];
        if (!p->is_within_own)
            list->picture[kept++] = *p;
        else if (list->own++ == 0)
            list->first_own = p->path;
    }
    list->count = kept;
}

// ---- doubles

typedef struct place {
    char *path;
    batch_picture *picture;
} place;

// The first of a place is the one of the shortest name: of a folder and of a picture in it that
// were both named, what the folder calls it.
static int by_place(const void *a, const void *b)
{
    const place *x = a, *y = b;
    size_t one = strlen(x->picture->name), other = strlen(y->picture->name);
    int order = strcmp(x->path, y->path);
    if (order)
        return order;
    if (one != other)
        return one < other ? -1 : 1;
    return x->picture < y->picture ? -1 : x->picture > y->picture;
}

// Of the names of one file: hard links, and links to it, are pictures of their own. Those to be
// dropped lose their names.
static bool drop_places(batch_list *list, const app_identity *file, size_t count)
{
    place *places = calloc(count, sizeof(*places));
    bool ok = places != NULL;
    for (size_t i = 0; i < count && ok; i++) {
        batch_picture *picture = &list->picture[file[i].picture];
        places[i] = (place) { app_place(picture->path), picture };
        ok = places[i].path != NULL;
    }
    if (ok)
        qsort(places, count, sizeof(*places), by_place);
    for (size_t i = 1; i < count && ok; i++)
        if (strcmp(places[i - 1].path, places[i].path) == 0)
            places[i].picture->name = NULL;
    for (size_t i = 0; i < count && places; i++)
        free(places[i].path);
    free(places);
    return ok;
}

bool batch_list_drop_doubles(batch_list *list)
{
    const app_identity *file = list->inputs.item;
    size_t kept = 0, count = list->inputs.count;
    bool ok = true;
    for (size_t first = 0, end; first < count && ok; first = end) {
        for (end = first + 1;
             end < count && file[end].dev == file[first].dev && file[end].ino == file[first].ino;)
            end++;
        ok = end - first == 1 || drop_places(list, file + first, end - first);
    }
    for (size_t i = 0; i < list->count && ok; i++)
        if (list->picture[i].name)
            list->picture[kept++] = list->picture[i];
    list->count = ok ? kept : list->count;
    return ok;
}
