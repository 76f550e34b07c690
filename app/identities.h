// SPDX-License-Identifier: MIT
// app/identities.h: which files the pictures are, to tell whether an output would take the place of
// one, under whatever name.
#ifndef SL_APP_IDENTITIES_H
#define SL_APP_IDENTITIES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

typedef struct app_identity {
    dev_t dev;
    ino_t ino;
    size_t picture;
} app_identity;

typedef struct app_identities {
    app_identity *item; // found once they are sorted
    size_t count;
} app_identities;

// Room for so many, none of them there yet. False: out of memory.
bool app_identities_new(size_t most, app_identities *out);
void app_identities_add(app_identities *identities, dev_t dev, ino_t ino, size_t picture);
void app_identities_sort(app_identities *identities);
// The picture that this file is, or that stands at `path`, through links; SIZE_MAX: none.
size_t app_identities_find(const app_identities *identities, const struct stat *file);
size_t app_identities_at(const app_identities *identities, const char *path);
void app_identities_free(app_identities *identities);

#endif
