// SPDX-License-Identifier: MIT
// app/pictures.h: the pictures that a command was named, and a thread that decodes them ahead.
#ifndef SL_APP_PICTURES_H
#define SL_APP_PICTURES_H

#include "app.h"
#include "identities.h"

// ---- pictures.c

typedef struct app_pictures {
    char **path; // "-": standard input
    size_t count, capacity;
    // Of those that cannot be had (folders that cannot be read or hold no picture, outputs that
    // cannot be written): what was named, and why not; printed.
    struct app_failure {
        char *path, *why;
    } * failures;
    size_t failed;
} app_pictures;

// Files as they are named; of folders the pictures in them, by name, with --recursive also those of
// the folders below. Hidden entries are left out; what is no picture is told once a folder, unless
// --quiet. APP_USAGE, APP_FAILED (out of memory): printed.
app_exit app_pictures_find(const app_session *session, int count, char **operands,
                           app_pictures *out);
// Keeps and prints a failure. It takes `why`: malloc'ed, NULL where memory ran out. APP_FAILED: out
// of memory, printed.
app_exit app_pictures_fail(app_pictures *pictures, const char *path, char *why);
void app_pictures_free(app_pictures *pictures);

// Which files the pictures are, sorted. APP_FAILED: out of memory, printed.
app_exit app_identities_of(const app_pictures *pictures, app_identities *out);

// ---- loader.c

typedef struct app_loader app_loader;

typedef struct app_loaded {
    const char *path;
    sl_image *image; // NULL: failed; else the taker's
    sl_status status;
    char message[2048];  // of the failure
    char warnings[2048]; // one a line; what is too much is left out
} app_loaded;

// Begins to decode, one picture ahead of the one that is taken last. The session's context is not
// touched, except by app_loader_next with --threads 1, which decodes then and there.
// NULL: out of memory, printed. `pictures` must outlive it.
app_loader *app_loader_start(app_session *session, const app_pictures *pictures);
// The next picture in order; false behind the last. SL_ERR_CANCELLED: interrupted.
bool app_loader_next(app_loader *loader, app_loaded *out);
// Makes `why` the failure of a picture that was read, under its name.
void app_loaded_fail(app_loaded *loaded, const char *why);
// Prints what it was warned of, unless --quiet.
void app_loader_warn(const app_session *session, const app_loaded *loaded);
// Ends it, whether all was taken or not; takes NULL. Waits for the picture that is being decoded,
// but for no pipe.
void app_loader_stop(app_loader *loader);

#endif
