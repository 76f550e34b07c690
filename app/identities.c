// SPDX-License-Identifier: MIT
// app/identities.c: files by device and inode.
#include "identities.h"

#include <stdint.h>
#include <stdlib.h>

bool app_identities_new(size_t most, app_identities *out)
{
    *out = (app_identities) { calloc(most + 1, sizeof(*out->item)), 0 };
    return out->item != NULL;
}

void app_identities_add(app_identities *identities, dev_t dev, ino_t ino, size_t picture)
{
    identities->item[identities->count++] = (app_identity) { dev, ino, picture };
}

static int by_file(const void *a, const void *b)
{
    const app_identity *x = a, *y = b;
    if (x->dev != y->dev)
        return x->dev < y->dev ? -1 : 1;
    return x->ino < y->ino ? -1 : x->ino > y->ino;
}

void app_identities_sort(app_identities *identities)
{
    if (identities->count)
        qsort(identities->item, identities->count, sizeof(*identities->item), by_file);
}

size_t app_identities_find(const app_identities *identities, const struct stat *file)
{
    const app_identity key = { .dev = file->st_dev, .ino = file->st_ino }, *found = NULL;
    if (identities->count)
        found = bsearch(&key, identities->item, identities->count, sizeof(key), by_file);
    return found ? found->picture : SIZE_MAX;
}

size_t app_identities_at(const app_identities *identities, const char *path)
{
    struct stat file;
    return stat(path, &file) == 0 ? app_identities_find(identities, &file) : SIZE_MAX;
}

void app_identities_free(app_identities *identities)
{
    free(identities->item);
    *identities = (app_identities) { 0 };
}
