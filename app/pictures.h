// SPDX-License-Identifier: MIT
// app/pictures.h: the pictures that a command was named, and a thread that decodes them ahead.
#ifndef SL_APP_PICTURES_H
#define SL_APP_PICTURES_H

#include "app.h"

// ---- pictures.c

typedef struct app_pictures {
    char **path; // "-": standard input
    size_t count, capacity;
    size_t failed; // folders that cannot be read or hold no picture; printed
} app_pictures;

// Files as they are named; of folders the pictures in them, by name, with --recursive also those of
// the folders below. Hidden entries are left out; what is no picture is told once a folder, unless
// --quiet. APP_USAGE, APP_FAILED (out of memory): printed.
app_exit app_pictures_find(const app_session *session, int count, char **operands,
                           app_pictures *out);
void app_pictures_free(app_pictures *pictures);

// ---- loader.c

typedef struct app_loader app_loader;

typedef struct app_loaded {
    const char *path;
    sl_image *image; // NULL: failed; else the taker's
    sl_status status;
    char message[2048]; // of the failure
    char warning[512];  // ""
} app_loaded;

// Begins to decode, one picture ahead of the one that is taken last. The session's context is not
// touched, except by app_loader_next with --threads 1, which decodes then and there.
// NULL: out of memory, printed. `pictures` must outlive it.
app_loader *app_loader_start(app_session *session, const app_pictures *pictures);
// The next picture in order; false behind the last.
bool app_loader_next(app_loader *loader, app_loaded *out);
// Ends it, whether all was taken or not; takes NULL. Waits for the picture that is being read.
void app_loader_stop(app_loader *loader);

#endif
