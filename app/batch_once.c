// SPDX-License-Identifier: MIT
// app/batch_once.c: each picture once: what was named by several names, and what this batch itself
// has written among the pictures.
#include "batch_walk.h"

#include "jobs.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

void batch_walk_leave_out(batch_walk *walk, const char *folder, bool is_sorted)
{
    struct stat st;
    if (!folder || stat(folder, &st) != 0)
        return;
    walk->own[walk->own_count].dev = st.st_dev;
    walk->own[walk->own_count].ino = st.st_ino;
    walk->own[walk->own_count].is_sorted = is_sorted;
    walk->own[walk->own_count++].path = realpath(folder, NULL);
}

void batch_walk_forget(batch_walk *walk)
{
    for (size_t i = 0; i < walk->own_count; i++)
        free(walk->own[i].path);
    free(walk->last_folder);
    free(walk->last_real);
    free(walk->suspect);
}

bool batch_is_drawn(const char *name)
{
    static const char infix[] = ".detected";
    const char *dot = strrchr(name, '.');
    size_t length = sizeof(infix) - 1;
    return dot && (size_t)(dot - name) > length && memcmp(dot - length, infix, length) == 0;
}

// Pictures that are left out have lost their names.
static void drop_nameless(batch_list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++)
        if (list->picture[i].name)
            list->picture[kept++] = list->picture[i];
    list->count = kept;
}

// ---- what a batch made

// Names of one folder mostly follow each other: it is looked up once for all of them.
static const char *real_folder(batch_walk *walk, const char *path)
{
    const char *slash = strrchr(path, '/'), *last = walk->last_folder;
    size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    if (last && strlen(last) == length && memcmp(last, path, length) == 0)
        return walk->last_real;
    free(walk->last_folder);
    free(walk->last_real);
    walk->last_folder = strndup(path, length);
    walk->last_real = walk->last_folder ? realpath(length ? walk->last_folder : ".", NULL) : NULL;
    return walk->last_real;
}

// What is behind the folder's name; NULL: it is not in there.
static const char *below(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    if (length == 1) // the root
        return path + 1;
    if (strncmp(path, folder, length) != 0 || (path[length] && path[length] != '/'))
        return NULL;
    return path + length + (path[length] == '/');
}

// Takes `place`, malloc'ed or NULL.
static bool add_suspect(batch_walk *walk, char *place, bool is_sorted)
{
    char *copy = place ? batch_texts_add(&walk->list->texts, place) : NULL;
    char *slash = copy && is_sorted ? strchr(copy, '/') : NULL;
    free(place);
    if (copy && is_sorted && !slash)
        return true;
    if (copy && walk->suspect_count == walk->suspect_capacity) {
        size_t capacity = walk->suspect_capacity ? 2 * walk->suspect_capacity : 64;
        batch_suspect *grown = reallocarray(walk->suspect, capacity, sizeof(*grown));
        walk->suspect = grown ? grown : walk->suspect;
        walk->suspect_capacity = grown ? capacity : walk->suspect_capacity;
    }
    if (!copy || walk->suspect_count == walk->suspect_capacity)
        return false;
    batch_suspect *s = &walk->suspect[walk->suspect_count++];
    *s = (batch_suspect) { .place = copy, .picture = walk->list->count - 1 };
    if (slash) {
        *slash = '\0';
        s->label = copy;
        s->place = slash + 1;
    }
    return true;
}

bool batch_walk_suspect(batch_walk *walk, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *real = walk->own_count ? real_folder(walk, path) : NULL;
    bool ok = true;
    for (size_t i = 0; i < walk->own_count && real && ok; i++) {
        const char *folder = walk->own[i].path ? below(real, walk->own[i].path) : NULL;
        char *place = NULL;
        if (folder && asprintf(&place, "%s%s%s", folder, *folder ? "/" : "", name) < 0)
            place = NULL;
        if (folder)
            ok = add_suspect(walk, place, walk->own[i].is_sorted);
    }
    return ok;
}

static int by_suspected_place(const void *a, const void *b)
{
    return strcmp(((const batch_suspect *)a)->place, ((const batch_suspect *)b)->place);
}

// The first of that place; its neighbours may be of it, too. NULL: there is none.
static batch_suspect *find_suspect(const batch_walk *walk, const char *place)
{
    size_t first = 0, end = walk->suspect_count;
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (strcmp(walk->suspect[middle].place, place) < 0)
            first = middle + 1;
        else
            end = middle;
    }
    bool is_it = first < walk->suspect_count && strcmp(walk->suspect[first].place, place) == 0;
    return is_it ? &walk->suspect[first] : NULL;
}

static bool was_sorted_into(const batch_record *r, const char *label)
{
    json_t *root = json_loads(r->detail, 0, NULL);
    const json_t *found = json_object_get(root, batch_step_classify.name);
    const char *folder = json_string_value(json_object_get(found, "sorted"));
    bool is_it = folder && strcmp(folder, label) == 0;
    json_decref(root);
    return is_it;
}

static void leave_out(batch_walk *walk, const batch_suspect *s)
{
    batch_picture *p = &walk->list->picture[s->picture];
    if (p->name && walk->list->own++ == 0)
        walk->list->first_own = p->path;
    p->name = NULL;
}

// A picture that lies where it is itself sorted to was made by nobody.
static bool is_made_by(const batch_record *r, const batch_suspect *s, const batch_picture *p)
{
    if (r->state != BATCH_GOOD || !p->name)
        return false;
    return s->label ? strcmp(p->name, r->name) != 0 && was_sorted_into(r, s->label)
                    : *r->output != '\0';
}

static void see_made(void *user, const batch_record *r, uint64_t where)
{
    (void)where;
    batch_walk *walk = user;
    const char *place = *r->output ? r->output : r->name;
    if (r->state != BATCH_GOOD && r->state != BATCH_START)
        return;
    batch_suspect *s = find_suspect(walk, place), *end = walk->suspect + walk->suspect_count;
    for (; s && s < end && strcmp(s->place, place) == 0; s++) {
        if (is_made_by(r, s, &walk->list->picture[s->picture])) {
            leave_out(walk, s);
        } else if (r->state == BATCH_START && !s->label && *r->output &&
                   r->when_ms >= s->begun_ms) {
            s->begun = batch_hash_text(r->name);
            s->begun_ms = r->when_ms;
        }
    }
}

// What was begun is not made by us where somebody else was there first.
static void see_taken(void *user, const batch_record *r, uint64_t where)
{
    (void)where;
    batch_walk *walk = user;
    if (r->state != BATCH_START || *r->output)
        return;
    uint64_t hash = batch_hash_text(r->name);
    for (size_t i = 0; i < walk->suspect_count; i++)
        if (walk->suspect[i].begun == hash && r->when_ms >= walk->suspect[i].begun_ms)
            walk->suspect[i].begun = 0;
}

// Outputs that a killed run left without a last word: few, if any.
static app_exit leave_out_begun(batch_walk *walk, const char *journals)
{
    size_t kept = 0;
    batch_history history;
    for (size_t i = 0; i < walk->suspect_count; i++)
        if (walk->suspect[i].begun && walk->list->picture[walk->suspect[i].picture].name)
            walk->suspect[kept++] = walk->suspect[i];
    walk->suspect_count = kept;
    if (!kept)
        return APP_DONE;
    app_exit result = batch_history_read(journals, see_taken, walk, &history);
    batch_history_free(&history);
    for (size_t i = 0; i < kept && result == APP_DONE; i++)
        if (walk->suspect[i].begun)
            leave_out(walk, &walk->suspect[i]);
    return result;
}

app_exit batch_walk_leave_out_own(batch_walk *walk, const char *journals)
{
    batch_history history;
    if (!walk->suspect_count)
        return APP_DONE;
    qsort(walk->suspect, walk->suspect_count, sizeof(*walk->suspect), by_suspected_place);
    app_exit result = batch_history_read(journals, see_made, walk, &history);
    batch_history_free(&history);
    if (result == APP_DONE)
        result = leave_out_begun(walk, journals);
    drop_nameless(walk->list);
    return result;
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

// Of the names of one file: hard links, and links to it, are pictures of their own.
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
    size_t count = list->inputs.count;
    bool ok = true;
    for (size_t first = 0, end; first < count && ok; first = end) {
        for (end = first + 1;
             end < count && file[end].dev == file[first].dev && file[end].ino == file[first].ino;)
            end++;
        ok = end - first == 1 || drop_places(list, file + first, end - first);
    }
    if (ok)
        drop_nameless(list);
    return ok;
}
