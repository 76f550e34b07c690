// SPDX-License-Identifier: MIT
// app/detect.h: what the files of softlens detect share: where results go, and as what.
#ifndef SL_APP_DETECT_H
#define SL_APP_DETECT_H

#include "app.h"
#include "pictures.h"

#define APP_DETECT_FORMATS 7 // those of sl_detect_format

// The rows of options that softlens eval has, too; the values go through app_detect_options.
#define APP_FIND_OPTIONS                                                                           \
    { .name = "nms",                                                                               \
      .kind = APP_CHOICE,                                                                          \
      .at = APP_AT(nms),                                                                           \
      .value = "KIND",                                                                             \
      .choices = "hard|linear|gaussian|none",                                                      \
      .help =                                                                                      \
          "How boxes that overlap become one: Soft-NMS, gaussian or linear, or hard; none keeps "  \
          "all (default: gaussian)" },                                                             \
        { .name = "iou",                                                                           \
          .kind = APP_REAL,                                                                        \
          .at = APP_AT(iou),                                                                       \
          .value = "T",                                                                            \
          .min = 0,                                                                                \
          .max = 1,                                                                                \
          .help = "Overlap from which hard and linear act, between 0 and 1 (default: 0.5, 0.3)" }, \
        { .name = "sigma",                                                                         \
          .kind = APP_REAL,                                                                        \
          .at = APP_AT(sigma),                                                                     \
          .value = "S",                                                                            \
          .min = 0,                                                                                \
          .max = 100,                                                                              \
          .help = "Width of gaussian, above 0; smaller lets fewer boxes overlap (default: 0.5)" }, \
        { .name = "max",                                                                           \
          .kind = APP_INTEGER,                                                                     \
          .at = APP_AT(most),                                                                      \
          .value = "N",                                                                            \
          .min = 1,                                                                                \
          .max = 100000,                                                                           \
          .help = "Objects of a picture at most (default: 100)" },                                 \
    {                                                                                              \
        .name = "size", .kind = APP_EXTENT, .at = APP_AT(size), .value = "LONGxSHORT", .min = 32,  \
        .max = 4096,                                                                               \
        .help = "Scale pictures to fit into these sides, in pixels (default: the model's)"         \
    }
#define APP_NMS_OPTIONS                                                                            \
    APP_FIND_OPTIONS, APP_TTA_OPTION("flip", "Look a second time, at the mirror image"),           \
    {                                                                                              \
        .name = "tile", .kind = APP_INTEGER, .at = APP_AT(tile), .value = "N", .min = 32,          \
        .max = 65535,                                                                              \
        .help = "Also look at tiles of N by N pixels: for small objects in large pictures"         \
    }

// Rows of softlens detect and of softlens batch.
#define APP_CLASSES_OPTION                                                                         \
    {                                                                                              \
        .name = "classes", .kind = APP_NAME, .at = APP_AT(class_list), .value = "LIST",            \
        .help = "Find these alone, labels with commas between (default: all)"                      \
    }
#define APP_SCORE_OPTION                                                                           \
    {                                                                                              \
        .name = "score", .kind = APP_REAL, .at = APP_AT(score), .value = "S", .min = 0, .max = 1,  \
        .help = "Leave out what is less sure, between 0 and 1 (default: the model's own)"          \
    }
#define APP_REFINE_OPTION                                                                          \
    {                                                                                              \
        .name = "refine", .kind = APP_FILE, .at = APP_AT(refine), .value = "MODEL",                \
        .help = "Name every object anew by what this classifier sees in its box"                   \
    }

// Values that contradict each other: those of APP_FIND_OPTIONS. APP_USAGE: printed.
app_exit app_detect_check(const app_session *session);
// The labels of --classes, in `text`, whose commas become ends; *labels is malloc'ed, NULL where
// none is named. APP_USAGE, APP_FAILED: printed.
app_exit app_detect_classes(const app_session *session, char *text, const char ***labels,
                            size_t *count);

// Of nms, iou, sigma, max, tta, tile, size, score, device and precision.
sl_detect_options app_detect_options(const app_session *session);

// ---- detect_out.c

// By sl_detect_format: as --format names it, what ends a file of one picture, and the file of many.
typedef struct app_detect_kind {
    const char *name, *ending, *many; // many: NULL: one picture a file
} app_detect_kind;
extern const app_detect_kind app_detect_kinds[APP_DETECT_FORMATS];

typedef struct app_detect_file {
    char *path;
    bool is_new; // there was none of that name
} app_detect_file;

typedef struct app_detect_out {
    app_session *session;
    bool formats[APP_DETECT_FORMATS]; // by sl_detect_format
    bool is_single;                   // one picture: results stand beside its overlay
    bool is_printed;                  // -o -: nothing is written, and the rest is empty
    char *folder;       // of -o, without a slash at its end; NULL: beside the pictures
    bool is_to_be_made; // the folder
    sl_detect_file *files[APP_DETECT_FORMATS]; // of many pictures, open until the end
    app_identities inputs;                     // no crop takes the place of one
    app_detect_file *written;                  // what this picture became, in order
    size_t written_count, written_capacity;
    char *refusal; // of a crop of this picture, NULL: none
    bool is_lost;  // a file of many pictures: nothing can be added any more
} app_detect_out;

// Whose name that is, of sl_detect_format; APP_DETECT_FORMATS: nobody's.
size_t app_detect_format(const char *name, size_t length);
// A file of one picture, made whole. On failure the context has the message.
sl_status app_detect_write(sl_ctx *ctx, const char *path, sl_detect_format format, bool overwrite,
                           const char *picture, const sl_detections *found);
// Draws as --overlay-style says; of "crop" there is nothing to draw.
sl_status app_detect_draw(const app_values *values, sl_ctx *ctx, sl_image *image,
                          const sl_detections *found);

// ---- detect_plan.c

// Reads --format and -o, names everything that the pictures will become, and looks for what stands
// against it. Pictures whose results cannot be written are moved to the failures. APP_USAGE,
// APP_FAILED: nothing can be done; printed. Nothing is made.
app_exit app_detect_out_plan(app_session *session, app_pictures *pictures, app_detect_out *out);
// Whether a kind of data is one file of all pictures.
bool app_detect_is_for_many(const app_detect_out *out, size_t format);
// malloc'ed, NULL: out of memory. Where the overlay of a picture goes, something of it with such an
// ending, a file of all pictures.
char *app_detect_out_picture(const app_detect_out *out, const char *path);
char *app_detect_out_name(const app_detect_out *out, const char *path, const char *ending);
char *app_detect_many_name(const app_detect_out *out, size_t format);
// `what`: number and label of the object.
char *app_detect_crop_name(const app_detect_out *out, const char *path, const char *what);

// ---- detect_out.c

// Makes the folder and begins the files of many pictures.
app_exit app_detect_out_begin(app_detect_out *out, const char *const *labels, size_t label_count);
// Begins with the next picture: `written` is empty.
void app_detect_out_next(app_detect_out *out);
// Writes a picture's own files, and adds to those of many. `drawn`: NULL, or the overlay. On
// failure the context has the message.
sl_status app_detect_out_add(app_detect_out *out, const char *path, const sl_detections *found,
                             const sl_image *drawn);
// An object's own picture, the number'th of this one, from 1. SL_ERR_EXISTS: it would take the
// place of an input; `refusal` has the message.
sl_status app_detect_out_crop(app_detect_out *out, const char *path, size_t number,
                              const sl_detection *found, const sl_image *crop);
// This picture failed: takes away what it became, but for files that were there before.
void app_detect_out_undo(app_detect_out *out);
// Renames the files of many pictures into place and says where they are.
app_exit app_detect_out_finish(app_detect_out *out);
void app_detect_out_free(app_detect_out *out);

// ---- detect_say.c

// An object of --json: what was found and written, or (found NULL) why that is not known.
void app_detect_print_json(const app_detect_out *out, const char *path, const sl_detections *found,
                           const char *error);
// What is said for people.
void app_detect_print_table(const app_detect_out *out, const char *path,
                            const sl_detections *found);

#endif
