// SPDX-License-Identifier: MIT
// app/batch_walk.h: what the files share that look for a batch's pictures.
#ifndef SL_APP_BATCH_WALK_H
#define SL_APP_BATCH_WALK_H

#include "batch.h"

// A picture that was named and lies in a folder that the batch writes into: perhaps its own work.
typedef struct batch_suspect {
    const char *place; // as the journals would call it
    const char *label; // of --sort-into, the label's folder that the place is in; else NULL
    size_t picture;
    uint64_t begun; // hash of the picture whose output was begun there last, at begun_ms; 0: none
    int64_t begun_ms;
} batch_suspect;

typedef struct batch_walk {
    const app_session *session;
    batch_list *list;
    // Folders that the batch itself writes into are not walked.
    size_t own_count;
    struct {
        dev_t dev;
        ino_t ino;
        char *path; // without links; NULL: out of memory
        bool is_sorted;
    } own[2];
    char *last_folder, *last_real; // of the file that was named last; the latter without links
    batch_suspect *suspect;
    size_t suspect_count, suspect_capacity;
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
void batch_walk_leave_out(batch_walk *walk, const char *folder, bool is_sorted);
void batch_walk_forget(batch_walk *walk);
// Of the list's last picture, which was named. False: out of memory.
bool batch_walk_suspect(batch_walk *walk, const char *path);
// Whether softlens detect wrote it beside a picture that it looked at.
bool batch_is_drawn(const char *name);
// Of the suspects those that the journals tell of. APP_FAILED: printed.
app_exit batch_walk_leave_out_own(batch_walk *walk, const char *journals);
// Of a picture that was named twice, however it is spelt, one is kept. Needs list->inputs, before
// anything else is dropped. False: out of memory.
bool batch_list_drop_doubles(batch_list *list);

#endif
