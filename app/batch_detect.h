// SPDX-License-Identifier: MIT
// app/batch_detect.h: what the files of a batch's step detect share.
#ifndef SL_APP_BATCH_DETECT_H
#define SL_APP_BATCH_DETECT_H

#include "batch.h"
#include "detect.h"

#define BATCH_FORMAT(f) (1u << (unsigned)(f)) // of batch.data_formats
// Formats that hold one picture, and are written with it; all others are made from the journals.
#define BATCH_FORMATS_OF_ONE (BATCH_FORMAT(SL_DETECT_JSON) | BATCH_FORMAT(SL_DETECT_LABELME))

// ---- batch_detect_options.c

// Options of the step that contradict others. APP_USAGE: printed.
app_exit batch_check_detect(const batch *b);
bool batch_detect_refines(const batch *b);
// What decides what is found, but for the labels of --classes.
sl_detect_options batch_detect_options(const batch *b, const char *device, sl_precision precision);
void batch_detect_settings(const batch *b, struct json_t *object);

// ---- batch_found.c: detections as the journals keep them

struct json_t *batch_found_json(const sl_detections *found); // NULL: out of memory
// Of what batch_found_json made. out->items is malloc'ed, all texts are those of `json` and
// `labels`. When, where and how long it was computed is none of it: files would differ by that.
// False: malformed, or out of memory.
bool batch_found_read(const struct json_t *json, const char *const *labels, size_t label_count,
                      sl_detections *out);
// The detector's labels, a malloc'ed list of texts of b->notes. False: there are none
// (*count is 0), or out of memory.
bool batch_found_labels(const batch *b, const char ***labels, size_t *count);

// ---- batch_detect_table.c: files of many pictures

// What b->notes keeps of the formats asked for.
struct json_t *batch_table_notes(const batch *b);
// Refuses to take the place of files that no batch made. APP_FAILED: printed.
app_exit batch_check_tables(const batch *b);
// Names of the formats that are asked for now and were not by any run before: as the notes keep
// them. APP_FAILED: printed.
app_exit batch_new_tables(const batch *b, struct json_t **formats);
// Whether one of them is called so, or a file in one that is a folder.
bool batch_is_of_tables(const batch *b, const char *name);
app_exit batch_write_detections(const batch *b);

#endif
