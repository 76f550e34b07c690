// SPDX-License-Identifier: MIT
// app.h: what the files of the program share. The program stands on softlens.h alone; it never
// includes a header from a room of the library.
#ifndef SL_APP_APP_H
#define SL_APP_APP_H

#include "softlens.h"

#include <stdio.h>

#define APP_PRINTF(text, first) __attribute__((__format__(printf, text, first)))
#define APP_LEN(a) (sizeof(a) / sizeof((a)[0]))

typedef enum app_exit {
    APP_DONE = 0,
    APP_FAILED = 1,
    APP_USAGE = 2,
    APP_SOME_FAILED = 3, // some images of several
    APP_INTERRUPTED = 130,
} app_exit;

// ---- options.c: one table per command drives parsing, help, completions and the man page's test

// The values of an option that may be given several times.
#define APP_MAX_LIST 64
typedef struct app_values_list {
    size_t count;
    const char *item[APP_MAX_LIST];
} app_values_list;

// What the options of all commands set; an option means the same in every command that has it.
typedef struct app_values {
    bool help, quiet, verbose, json;
    bool overwrite, dense, strip_metadata, allow_truncated, half, composed, graph;
    bool jsonl, csv, recursive, no_unknown, only_gallery, overlay, no_overlay, deblur;
    const char *output, *output_dir, *input, *model, *heat, *compare;
    const char *device, *profile, *gallery, *embedding;
    const char *labels, *refine, *annotations, *images, *results;
    const char *class_list;                          // labels with commas between
    const char *nms, *tta, *overlay_style;           // one of the row's choices
    const char *format, *simd, *precision, *inverse; // one of the row's choices
    uint64_t quality, threads, tile, shrink, max_pixels, memory, repeats, top, most;
    float keep_threshold, keep_share;
    uint32_t size[2]; // width, height
    uint64_t classes, dim, steps, seed;
    float alpha, unknown_rate, score, iou, sigma;
    bool dry_run, retry_failed, watch, ignore_case;
    const char *files0_from, *newer, *shard, *on_error, *report, *log, *sort_into;
    app_values_list include, exclude, models;
    uint64_t jobs;
    float min_blur;
} app_values;

typedef enum app_kind {
    APP_FLAG,
    APP_FILE, // any text but the empty one; a path
    APP_NAME, // any text but the empty one; the library judges it
    APP_LIST, // same as a file, into an app_values_list: the option may be given several times
    APP_CHOICE,
    APP_INTEGER, // min <= n <= max
    APP_REAL,    // min < x < max, or min < x <= max when `closed`
    APP_BYTES,   // digits, then K, M, G or T or nothing
    APP_EXTENT,  // WxH, both from min to max
} app_kind;

typedef struct app_option {
    const char *name; // without dashes; NULL ends a table
    char letter;      // 0: none
    app_kind kind;
    size_t at;           // offset in app_values
    const char *value;   // how help calls the value; NULL for flags
    const char *help;    // one sentence without its full stop
    const char *choices; // "png|jpg", for APP_CHOICE
    uint64_t min, max;
    bool closed;
} app_option;

typedef struct app_session app_session;

typedef struct app_command {
    const char *name;
    const char *summary;  // one line for softlens --help
    const char *operands; // "IMAGE..."
    int operands_min, operands_max;
    const char *about;    // a paragraph or two
    const char *examples; // lines, each "softlens ..."
    const app_option *options;
    int (*run)(app_session *session, int count, char **operands);
} app_command;

extern const app_command app_deblur, app_detect, app_eval, app_classify, app_enroll, app_gallery,
    app_info, app_convert, app_run, app_bench, app_devices, app_ebv, app_batch;
extern const app_command *const app_commands[]; // ends with NULL

#define APP_AT(field) offsetof(app_values, field)

// The rows that every command has; they end its table.
#define APP_COMMON_OPTIONS                                                                         \
    { .name = "quiet", .letter = 'q', .at = APP_AT(quiet), .help = "Print errors only" },          \
        { .name = "verbose", .at = APP_AT(verbose), .help = "Also print what the library does" },  \
        { .name = "help", .letter = 'h', .at = APP_AT(help), .help = "Print this help" },          \
    {                                                                                              \
        .name = NULL                                                                               \
    }

// Rows that several commands share.
#define APP_THREADS_OPTION                                                                         \
    {                                                                                              \
        .name = "threads", .kind = APP_INTEGER, .at = APP_AT(threads), .value = "N", .min = 1,     \
        .max = 256, .help = "Threads, 1 to 256 (default: one per processor)"                       \
    }
#define APP_DEVICE_OPTION                                                                          \
    {                                                                                              \
        .name = "device", .kind = APP_NAME, .at = APP_AT(device), .value = "NAME",                 \
        .help = "Where to compute: auto (the best graphics card, else the processor), cpu, "       \
                "vulkan, or a name that softlens devices tells (default: auto)"                    \
    }
#define APP_PRECISION_OPTION                                                                       \
    {                                                                                              \
        .name = "precision", .kind = APP_CHOICE, .at = APP_AT(precision), .value = "P",            \
        .choices = "f32|f16|bf16",                                                                 \
        .help = "Compute in f32, in f16 on a Vulkan device that has it, or in bf16 on a "          \
                "processor that does (default: f32)"                                               \
    }
#define APP_PROFILE_OPTION                                                                         \
    {                                                                                              \
        .name = "profile", .kind = APP_FILE, .at = APP_AT(profile), .value = "FILE.json",          \
        .help = "Also write when everything was done, to open in ui.perfetto.dev"                  \
    }
#define APP_THRESHOLD_OPTION                                                                       \
    {                                                                                              \
        .name = "keep-threshold", .kind = APP_REAL, .at = APP_AT(keep_threshold), .value = "T",    \
        .min = 0, .max = 1,                                                                        \
        .help =                                                                                    \
            "Compute windows whose blur confidence is above T, between 0 and 1; lower computes "   \
            "more (default: the model's own)"                                                      \
    }
#define APP_DENSE_OPTION                                                                           \
    {                                                                                              \
        .name = "dense", .at = APP_AT(dense), .help = "Compute every window; prune nothing"        \
    }
#define APP_TTA_OPTION(kinds, sentence)                                                            \
    {                                                                                              \
        .name = "tta", .kind = APP_CHOICE, .at = APP_AT(tta), .value = "KIND", .choices = kinds,   \
        .help = sentence                                                                           \
    }
#define APP_SHRINK_MOST 16
#define APP_SHRINK_OPTION                                                                          \
    {                                                                                              \
        .name = "shrink", .kind = APP_INTEGER, .at = APP_AT(shrink), .value = "N", .min = 1,       \
        .max = APP_SHRINK_MOST,                                                                    \
        .help = "Look at pictures N times smaller alone, 1 to 16, and add what changes to the "    \
                "large ones (default: large ones in several sizes, small ones first, and join "    \
                "what they change)"                                                                \
    }
#define APP_OVERWRITE_OPTION                                                                       \
    {                                                                                              \
        .name = "overwrite", .at = APP_AT(overwrite), .help = "Replace files that exist"           \
    }
#define APP_MODEL_OPTION                                                                           \
    {                                                                                              \
        .name = "model", .kind = APP_FILE, .at = APP_AT(model), .value = "FILE",                   \
        .help = "Use this model: a .safetensors or .pth file, or an installed one by its name "    \
                "(default: the one for this command)"                                              \
    }
#define APP_MAX_PIXELS_OPTION                                                                      \
    {                                                                                              \
        .name = "max-pixels", .kind = APP_INTEGER, .at = APP_AT(max_pixels), .value = "N",         \
        .min = 1, .max = 1000000000000, .help = "Refuse larger images (default: 200000000)"        \
    }
#define APP_ALLOW_TRUNCATED_OPTION                                                                 \
    {                                                                                              \
        .name = "allow-truncated", .at = APP_AT(allow_truncated),                                  \
        .help = "Take a JPEG that ends early; what is missing is grey"                             \
    }
#define APP_RECURSIVE_OPTION                                                                       \
    {                                                                                              \
        .name = "recursive", .letter = 'r', .at = APP_AT(recursive),                               \
        .help = "Of a folder, also take the folders in it"                                         \
    }
#define APP_SIZE_OPTION                                                                            \
    {                                                                                              \
        .name = "size", .kind = APP_EXTENT, .at = APP_AT(size), .value = "WxH", .min = 1,          \
        .max = 65535,                                                                              \
        .help = "For a picture of W by H pixels (default: 512x512, or what a SOFT was trained on)" \
    }

#define APP_QUALITY_OPTION(default_)                                                               \
    {                                                                                              \
        .name = "quality", .kind = APP_INTEGER, .at = APP_AT(quality), .value = "N", .min = 1,     \
        .max = 100, .help = "JPEG quality, 1 to 100 (default: " default_ ")"                       \
    }
#define APP_KEPT "92, and what did not change of a JPEG stays as it was coded"
#define APP_STRIP_METADATA_OPTION                                                                  \
    {                                                                                              \
        .name = "strip-metadata", .at = APP_AT(strip_metadata),                                    \
        .help = "Leave out EXIF, XMP, IPTC and comments; the colour profile stays"                 \
    }
#define APP_TOP_OPTION                                                                             \
    {                                                                                              \
        .name = "top", .letter = 'k', .kind = APP_INTEGER, .at = APP_AT(top), .value = "K",        \
        .min = 1, .max = 1000000, .help = "Name the K best classes (default: 5)"                   \
    }
#define APP_NO_UNKNOWN_OPTION                                                                      \
    {                                                                                              \
        .name = "no-unknown", .at = APP_AT(no_unknown),                                            \
        .help = "Name the nearest class whatever the picture shows"                                \
    }
#define APP_ONLY_GALLERY_OPTION                                                                    \
    {                                                                                              \
        .name = "only-gallery", .at = APP_AT(only_gallery),                                        \
        .help = "Know no other classes than those of --gallery"                                    \
    }
#define APP_UNKNOWN_RATE_OPTION(sentence)                                                          \
    {                                                                                              \
        .name = "unknown-rate", .kind = APP_REAL, .at = APP_AT(unknown_rate), .value = "R",        \
        .min = 0, .max = 1, .help = sentence                                                       \
    }

#define APP_ERROR_BYTES 1024

// Reads argv[1..] by the command's table; argv[0] is the command's name. Operands end up at
// argv[*first ..]. False, with a sentence in error[APP_ERROR_BYTES], on the first thing that is
// not understood. Prints nothing.
bool app_parse(const app_command *command, int argc, char **argv, app_values *values, int *first,
               char *error);

// ---- help.c

const app_command *app_find_command(const char *name); // NULL: unknown
const char *app_nearest_command(const char *name);     // NULL: none is near
const char *app_nearest_option(const app_option *options, const char *name);
void app_print_help(FILE *file);
void app_print_command_help(FILE *file, const app_command *command);
void app_list_options(FILE *file, const app_command *command); // NULL: the program's own

// ---- interrupt.c

// From here on the first SIGINT, SIGTERM or SIGHUP only raises a flag; the second one kills. A full
// disk or a closed pipe become errors of write().
void app_catch_signals(void);
bool app_interrupted(void);
// Last of all: a shell ends its loop at Ctrl-C only if what it waits for died of it, which leaves
// status 130, too. Returns after another signal.
void app_end_interrupted(void);

// ---- progress.c: a bar on the terminal

typedef struct app_progress {
    bool is_enabled; // stderr is a terminal and --quiet was not given
    bool is_drawn;
    const char *label;
    double started, drawn; // seconds, monotonic
} app_progress;

double app_seconds(void);
void app_progress_init(app_progress *progress, bool is_quiet);
void app_progress_begin(app_progress *progress, const char *label);
bool app_progress_step(void *user, size_t done, size_t total); // sl_progress_fn; user: app_progress
void app_progress_end(app_progress *progress); // wipes the bar; harmless when there is none

// ---- session.c: a command on its way

struct app_session {
    const app_command *command;
    app_values values;
    sl_ctx *ctx;
    app_progress progress;
};

// Makes the context from the values. Prints what went wrong.
app_exit app_session_open(app_session *session);
void app_session_close(app_session *session);

// Makes one harmless line of whatever a file name or a damaged file smuggled into a sentence.
void app_one_line(char *text);
// Prints "softlens: ..." on stderr: one line, whatever bytes a file name may hold.
void app_error(const char *format, ...) APP_PRINTF(1, 2);
// Same, for a wrong use of a command; points at its help. Returns APP_USAGE.
app_exit app_usage(const app_command *command, const char *format, ...) APP_PRINTF(2, 3);
// Refuses an --output that is -, or is called as something else than safetensors. Prints why.
app_exit app_check_safetensors(const app_session *session);
// Says so. Returns APP_FAILED.
app_exit app_out_of_memory(void);
// Refuses a --profile that would take the place of `path` (NULL is fine). Prints why.
app_exit app_check_profile(const app_session *session, const char *path);
// What --precision says.
sl_precision app_precision(const app_session *session);
// What --tta says of deblurring: views of a picture.
unsigned app_views(const app_values *values);
// What --top says: labels of a picture.
size_t app_top(const app_values *values);
// What the command line says of classifying. app_classify_check: contradictions, printed.
sl_classify_options app_classify_options(const app_session *session);
app_exit app_classify_check(const app_session *session);
// The library knows neither options nor commands: where a message of its says what to ask for, this
// is how to ask, to stand behind it; else "".
const char *app_how(const char *message);
// Prints the context's message. Returns the exit status that goes with it.
app_exit app_fail(app_session *session, sl_status status);
// In a line, what a picture's data say that had no turn because the run ended so.
void app_why_undone(const app_session *session, app_exit result, char *out, size_t size);
// Where the model lies that was asked for: by its path, by the name of an installed one, or, NULL,
// the default one of that architecture. *out is malloc'ed.
sl_status app_find_model(sl_ctx *ctx, const char *given, const char *architecture, char **out);
// Opens it, the default being the one that deblurs. Prints what went wrong.
app_exit app_open_model(app_session *session, const char *given, sl_model **out);
// Same, where the default one is of that architecture.
app_exit app_open_model_for(app_session *session, const char *given, const char *architecture,
                            sl_model **out);

// ---- output.c

// A line on stdout, without control characters from file names; nothing with --quiet.
void app_say(const app_session *session, const char *format, ...) APP_PRINTF(2, 3);
int app_columns(const char *text); // what UTF-8 takes on a terminal: wide characters take two
size_t app_fitting(const char *text, int room); // bytes of what takes that many columns at most
const char *app_plural(size_t count, const char *one, const char *several);
void app_put_line(const char *text); // as it is, whatever --quiet says
void app_put_bytes(const void *data, size_t size);
// A field of CSV as of RFC 4180, with bytes that are not UTF-8 replaced; nothing: out of memory.
void app_put_csv_field(FILE *file, const char *text);
// Copies `text` with bytes that are not UTF-8 replaced by U+FFFD; malloc'ed, NULL: out of memory.
char *app_utf8(const char *text);
// Bytes of a text that is cut after at most `most` of them, and not within a character.
size_t app_cut(const char *text, size_t most);
// Keeps the numbers of standard streams that came closed from files that are opened later; first
// thing in main. False, with an error printed: that cannot be had.
bool app_hold_streams(void);
// Whether nobody reads along any more, or nothing more can be written.
bool app_stdout_is_lost(void);
// Whether what was written did not arrive; a reader that left had enough, which is no failure.
bool app_stdout_has_failed(void);
// Flushes stdout. False, with an error printed, when what was written did not arrive.
bool app_finish_stdout(void);

// ---- report.c

// The library's JSON text on stdout: as it is with --json, otherwise laid out for reading.
app_exit app_print_report(app_session *session, char *text);
// Sets a string of a JSON object, in UTF-8 whatever it is; nothing for NULL.
struct json_t;
void app_set_text(struct json_t *object, const char *key, const char *text);
// Prints it as a line, with these flags of json_dumps, and takes it.
void app_put_json(struct json_t *object, size_t flags);

#endif
