// SPDX-License-Identifier: MIT
// app/batch_walk.h: what the files share that look for a batch's pictures.
#ifndef SL_APP_BATCH_WALK_H
#define SL_APP_BATCH_WALK_H

#include "batch.h"

typedef struct batch_walk {
    const app_session *session;
    batch_list *list;
    // Folders that the batch itself writes into are not walked.
    size_t own_count;
    struct {
        dev_t dev;
        ino_t ino;
        char *path; // without links; NULL: out of memory
    } own[2];
    char *last_folder; // of the file that was named last, and whether it lies in one of those
    bool is_last_own;
    bool skips_drawn;  // batch_is_drawn
    int64_t newer_ns;  // INT64_MIN: any
    int watch;         // every folder is put on this watch; -1: none
    bool is_unwatched; // where there are more folders than watches
} batch_walk;

// ---- batch_walk.c

// `name` into list->hidden. False: out of memory.
bool batch_list_hide(batch_list *list, const char *name);
// A folder's pictures; `prefix` is put before their names ("" or "x/"). False: out of memory.
bool batch_walk_folder(batch_walk *walk, const char *path, const char *prefix);
bool batch_walk_wants(const batch_walk *walk, const char *path, const char *name,
                      const struct stat *st);

// ---- batch_once.c

// A folder that the batch writes into; NULL and one that is not there are fine.
void batch_walk_leave_out(batch_walk *walk, const char *folder);
void batch_walk_forget(batch_walk *walk);
bool batch_walk_is_within_own(batch_walk *walk, const char *path);
// Whether softlens detect wrote it beside a picture that it looked at.
bool batch_is_drawn(const char *name);
// Pictures that are is_within_own were written by a run before, unless no others were named: then
// they are meant.
void batch_list_leave_out_own(batch_list *list);
// Of a picture that was named twice, however it is spelt, one is kept. Needs list->inputs, before
// anything else is dropped. False: out of memory.
bool batch_list_drop_doubles(batch_list *list);

#endif
