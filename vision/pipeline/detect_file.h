// SPDX-License-Identifier: MIT
// pipeline/detect_file.h: what the writers of detections share: detect_file.c has what is common to
// all formats, each of the others one kind of them.
#ifndef SL_PIPELINE_DETECT_FILE_H
#define SL_PIPELINE_DETECT_FILE_H

#include "pipeline/detections.h"

// Text that grows.
typedef struct sl_page {
    sl_blob text;
    size_t room;
} sl_page;

// A picture and what was found in it, checked.
typedef struct sl_finding {
    const char *path; // as the user named it
    char *name;       // the same as UTF-8
    const sl_detections *found;
    size_t *categories; // [found->count]: indices of the file's labels
} sl_finding;

// A file of YOLO's folder.
typedef struct sl_note {
    char *path;
    sl_page page;
    bool is_new; // was written, and there was none before
} sl_note;

struct sl_detect_file {
    sl_ctx *ctx;
    sl_detect_format format;
    bool overwrite, is_over; // finished or broken
    char *path;
    char **labels; // UTF-8: the detector's, then those that refining made up
    size_t label_count, label_room;
    size_t own_labels; // the detector's
    sl_output *output; // NULL for YOLO
    size_t pictures, objects;
    sl_page page, more; // not yet written; COCO: images and annotations
    sl_note *notes;     // YOLO, one for each picture
    size_t note_room;
    void *note_names; // tsearch's
};

// What a format does. After SL_ERR_ARGUMENT and SL_ERR_EXISTS of `check` the file is as it was.
typedef struct sl_detect_writer {
    sl_status (*begin)(sl_detect_file *file);                            // may be NULL
    sl_status (*check)(sl_detect_file *file, const sl_finding *finding); // may be NULL
    sl_status (*add)(sl_detect_file *file, const sl_finding *finding);
    sl_status (*end)(sl_detect_file *file); // may be NULL; what is in `page` is written then
    bool is_single;                         // one picture a file
    bool is_stream;                         // `page` is written after every picture
} sl_detect_writer;

extern const sl_detect_writer sl_detect_json, sl_detect_jsonl, sl_detect_coco, sl_detect_labelme;
extern const sl_detect_writer sl_detect_cvat, sl_detect_csv;
extern const sl_detect_writer sl_detect_yolo;

// detect_file.c: text at the end of a page.
sl_status sl_page_put(sl_ctx *ctx, sl_page *page, const char *text);
sl_status sl_page_print(sl_ctx *ctx, sl_page *page, const char *format, ...) SL_PRINTF(3, 4);
// `before`, then the number with 7 digits and a point, whatever the locale, then `after`.
sl_status sl_page_number(sl_ctx *ctx, sl_page *page, const char *before, double value,
                         const char *after);
void sl_page_free(sl_page *page);

// detect_path.c: the picture's path from the directory that the file is in (malloc'ed, UTF-8);
// where either cannot be found, as it was named. NULL: SL_ERR_NOMEM.
char *sl_seen_from(sl_ctx *ctx, const char *file, const char *picture);

// detect_yolo.c
sl_status sl_yolo_open(sl_detect_file *file);
void sl_yolo_free(sl_detect_file *file);

#endif
