// SPDX-License-Identifier: MIT
// app/jobs.h: what goes where, decided before any work is done.
#ifndef SL_APP_JOBS_H
#define SL_APP_JOBS_H

#include "app.h"

#include <sys/types.h>

typedef enum app_target { APP_PICTURE, APP_HEAT, APP_COMPARE, APP_TARGETS } app_target;

typedef struct app_job {
    const char *input;
    sl_image_format kind; // told by content, else by name; SAME: neither is known
    bool is_there;        // the input exists; dev and ino say which file it is
    dev_t dev;
    ino_t ino;
    char *refusal;             // why this image will not be worked on; NULL: it will
    char *output[APP_TARGETS]; // NULL: not asked for
    bool existed[APP_TARGETS]; // before we came
} app_job;

typedef struct app_jobs {
    app_job *job;
    size_t count;
    sl_image_format format; // --format; SAME: not given
    // Directories that were named with a final slash and do not exist yet; NULL: none.
    const char *make[APP_TARGETS];
} app_jobs;

// Names every output and looks for what stands against it. APP_USAGE: printed, nothing can be done.
// APP_DONE: jobs without a refusal can go ahead.
app_exit app_jobs_plan(const app_session *session, int count, char **images, app_jobs *out);
// Makes the directories that are missing. Prints what went wrong.
app_exit app_jobs_make_dirs(const app_jobs *jobs);
void app_jobs_free(app_jobs *jobs);

// ---- paths.c

// Of an option, %s, whose value is "-".
#define APP_NO_STDOUT                                                                              \
    "%s -: results are not written to standard output; name a file (./- for one of that name)"
bool app_is_stdin(const char *path);  // "-"
bool app_is_stdout(const char *path); // the same of an output; NULL: no
// Standard input is one picture: refuses it named twice. Prints why.
app_exit app_check_stdin(const app_session *session, int count, char **operands);
// A picture from a file or standard input. On failure the context has the message.
sl_status app_load(sl_ctx *ctx, const char *path, const sl_load_options *options, sl_image **out);

// Whether it ends as pictures do that are read, without regard to case.
bool app_is_picture_name(const char *path);
// "jpg" or "png" by ending; SAME: neither.
sl_image_format app_format_of_name(const char *path);
// What a picture of a kind that is not written is written as, by its first 32 bytes and what they
// lead to; SAME: it is none. As the library has it: what has alpha or no loss as PNG.
sl_image_format app_format_of_foreign(int fd, const unsigned char head[32]);
// Whether the first 32 bytes are those of a TIFF, of more than 4 GiB or less.
bool app_is_tiff(const unsigned char head[32]);
// What describes a HEIC or AVIF picture, at most its first MiB, malloc'ed; NULL: it has none.
unsigned char *app_heif_meta(int fd, size_t *size);
// What it is written as, by the first bytes of a regular file, else by name.
sl_image_format app_format_of_file(const char *path);
// DIRECTORY/STEM.INFIX.EXT, malloc'ed; directory NULL: beside the input. The input's own ending is
// kept when it fits the format.
char *app_derive_path(const char *directory, const char *input, const char *infix,
                      sl_image_format format);
// A name by which the same place is known however it is spelt: links in the directory are resolved,
// the last part need not exist. malloc'ed; NULL: out of memory.
char *app_place(const char *path);
// Why `path` cannot become an output, as far as one sees before; malloc'ed, NULL: it can (or memory
// ran out, and the library will meet the same obstacle and say so). parent_is_made: its directory
// is still to be made.
char *app_output_refusal(const char *path, bool overwrite, bool parent_is_made);
// Whether `path` holds nothing or what begins so, at most 32 bytes: what a slip of the pen would
// replace by something of another kind stays, whatever was asked for. Prints why not.
bool app_may_replace(const char *path, const char *kind, const char *start);
bool app_is_directory(const char *path);
bool app_ends_in_slash(const char *path);
bool app_names_folder(const char *value); // one that is there, or by its slash is meant to be
// Makes a directory and its parents; an existing one is fine. 0 or an errno.
int app_make_dirs(const char *path);

#endif
