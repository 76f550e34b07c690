// SPDX-License-Identifier: MIT
// app/batch.h: what the files of softlens batch share. A batch goes like this: the folders are
// scanned into a list (batch_scan.c, batch_once.c), every picture gets its place in the output
// (batch_names.c), journals tell what is done already (batch_journal.c, batch_plan.c), the rest
// goes through a pipeline of threads (batch_engine.c) and the steps that were asked for
// (batch_steps.c), and the tables and reports are written from the journals (batch_labels.c,
// batch_report.c).
#ifndef SL_APP_BATCH_H
#define SL_APP_BATCH_H

#include "app.h"
#include "identities.h"

#include <pthread.h>
#include <sys/types.h>

#define BATCH_FOLDER ".softlens" // of the journals, in the output folder
#define BATCH_HASH_BYTES 33      // 128 bits in hexadecimal, with its end

// ---- batch_text.c: strings that live as long as the batch, and ways to write them down

typedef struct batch_text_block batch_text_block;

typedef struct batch_texts {
    batch_text_block *block;
} batch_texts;

char *batch_texts_add(batch_texts *texts, const char *text); // NULL: out of memory
void batch_texts_free(batch_texts *texts);
// Without control characters, tabs and backslashes, and back in place. False: malformed.
void batch_escape(FILE *to, const char *text);
bool batch_unescape(char *text);
uint64_t batch_hash_text(const char *text);     // the same on every machine
char *batch_join(const char *a, const char *b); // a/b, malloc'ed

typedef struct batch batch;

// ---- batch_scan.c, batch_walk.c: which pictures there are

// What is known of a picture, by the journals' last word on it.
typedef enum batch_known {
    BATCH_NEW,     // nothing, or nothing that still holds
    BATCH_BEGUN,   // a run ended while it was under way
    BATCH_CHANGED, // was done, as another file: other size or time
    BATCH_DONE,
    BATCH_FAILED,
} batch_known;

typedef struct batch_picture {
    const char *path;   // as it is opened; NULL: known by a journal alone, which does not tell
    const char *name;   // in the mirrored tree: the journal's key
    const char *target; // in the output folder; NULL: no step writes pictures
    const char *data;   // likewise, of a file of what was found; NULL: none is written
    uint64_t size;
    int64_t mtime_ns;
    dev_t dev;
    ino_t ino;
    uint64_t record;   // where the journals' last word is, plus 1; 0: there is none
    uint64_t done;     // likewise, the last that says that it is done
    int64_t done_ms;   // of that one
    uint64_t settings; // then
    uint64_t out_size; // of the file that was written then; UINT64_MAX: none was
    int64_t when_ms;   // of that word
    int64_t gone_ms;   // of the last that says that it is gone
    int64_t made_ms;   // of the last that says that something was written to the target
    batch_known known;
    // What stands at the target was written by a batch: the picture is done, or was begun by the
    // journals' last word.
    bool is_ours, is_data_ours;
    bool is_begun, is_data_begun;
    bool is_of_another; // likewise, but for another picture that was found, too
    bool is_of_others;  // this one falls to another shard
    bool is_elsewhere;  // the run that told of it was given other folders
} batch_picture;

typedef struct batch_list {
    batch_picture *picture; // by name; behind this shard's, those of others, by name, too
    app_identities inputs;  // all pictures, those of other shards too
    size_t count, capacity;
    size_t failed;              // folders and names that cannot be read; printed
    size_t skipped;             // files that are no pictures
    size_t links;               // to folders, not followed
    size_t dangling;            // of those skipped: links called as pictures are, to no file
    const char *first_dangling; // path
    size_t drawn;               // left out because softlens detect drew them
    const char *first_drawn;    // path
    size_t own;                 // named, and left out because a batch made them
    const char *first_own;      // path
    size_t folders;             // in --files0-from, which takes none
    uint64_t operands;          // hash of what was named; 0: pictures may have come otherwise
    // Names in the tree of folders that have nothing in them ("x/"; "" is all of it), and of links
    // that lead to no file: on a disk that is not there, pictures may be.
    const char **hidden;
    size_t hidden_count, hidden_capacity;
    uint64_t total; // pictures before this shard's were picked
    uint64_t sum;   // of all their names' hashes: shards of one tree agree on it
    batch_texts texts;
} batch_list;

struct stat;
// Takes the operands and --files0-from; but not the folders that the batch writes pictures into
// where they lie in one. APP_USAGE, APP_FAILED: printed.
app_exit batch_scan(const batch *b, int count, char **operands, batch_list *out);
bool batch_is_input(const batch_list *list, const struct stat *st);
void batch_list_free(batch_list *list);
app_exit batch_out_of_memory(void); // APP_FAILED, printed

// Nanoseconds since 1970; of what lies beyond 1677 or 2262, the last that there are.
int64_t batch_time_ns(const struct timespec *time);
bool batch_list_add(batch_list *list, const char *path, const char *name, const struct stat *st);

// ---- batch_names.c

#define BATCH_MAX_SHARDS 100000u

typedef struct batch_shard {
    uint64_t index, count; // 1 / 1: everything
} batch_shard;

app_exit batch_read_shard(const app_session *session, batch_shard *out);
// Gives every picture its target, so that no two are one, also where case is not told apart.
app_exit batch_name_targets(const app_session *session, bool ignore_case, batch_list *list);
// Likewise the files of what was found, NAME.json.
app_exit batch_name_data(bool ignore_case, batch_list *list);
// Keeps the pictures whose names fall to this shard in list->count, and the others behind them.
void batch_keep_shard(const batch_shard *shard, batch_list *list);

// ---- batch_journal.c: what was done, in a log that survives what we do not

typedef enum batch_state {
    BATCH_RUN = 'S',    // a run begins: its settings
    BATCH_END = 'E',    // and ends with every picture dealt with
    BATCH_START = 'B',  // a picture's output is about to be written
    BATCH_GOOD = 'D',   // it is done
    BATCH_BROKEN = 'F', // it cannot be done
    BATCH_GONE = 'G',   // it is no more, or not among those that a run was given
} batch_state;

typedef struct batch_record {
    batch_state state;
    int64_t when_ms; // since 1970; the later word on a picture counts
    uint64_t size;   // of the picture; of BATCH_RUN and _END: pictures in the whole tree
    int64_t mtime_ns;
    uint64_t settings; // hash of the settings, the models' included
    uint64_t out_size; // of the file that was written; UINT64_MAX: none
    double seconds;
    const char *hash;   // of the content, BATCH_HASH_BYTES - 1 digits, or ""; of BATCH_RUN: of
                        // what was named
    const char *name;   // of the picture; of BATCH_RUN and _END: the shard
    const char *output; // the target, or ""
    const char *data;   // the file of what was found, or ""; of BATCH_END: how many of the shard's
                        // pictures are neither done nor journalled as failed, or ""
    const char *detail; // JSON of what was found; of BATCH_BROKEN: why
} batch_record;

typedef struct batch_journal batch_journal;

// The shard's own journal, made if missing, together with the folder; locked against a second run.
// Shard 0 of 1 is merge.
// APP_FAILED: printed.
app_exit batch_journal_open(const char *folder, const batch_shard *shard, batch_journal **out);
void batch_journal_close(batch_journal *journal); // takes NULL
// Appends; any thread. False: it could not be written, and batch_journal_error tells why.
bool batch_journal_add(batch_journal *journal, const batch_record *record);
bool batch_journal_is_there(const batch_journal *journal); // and nobody took it away
int batch_journal_error(batch_journal *journal);           // errno of the first failure; 0: none

// Called with every sound record; its strings live until it returns. `where` serves
// batch_read_record.
typedef void (*batch_record_fn)(void *user, const batch_record *record, uint64_t where);
typedef struct batch_history {
    char **path; // of the folder's journals, by name
    size_t count;
    size_t damaged; // lines
} batch_history;
// Reads the journals of all shards in the folder; one without journals is fine. APP_FAILED:
// printed.
app_exit batch_history_read(const char *folder, batch_record_fn see, void *user,
                            batch_history *out);
// One record again; its strings lie in *line, which the caller frees. False: it is gone.
bool batch_read_record(const batch_history *history, uint64_t where, batch_record *out,
                       char **line);
void batch_history_free(batch_history *history);

// ---- batch_files.c: files beside those of the library

// From its begin to its end. False: it cannot be read, or we were interrupted; the hash is "".
bool batch_hash_fd(int fd, char hash[BATCH_HASH_BYTES]);
bool batch_hash_file(const char *path, char hash[BATCH_HASH_BYTES]);
// Whether the names are of one place, however they are spelt; true where memory is short.
bool batch_is_same_place(const char *path, const char *other);
// Makes the folders above a file. 0 or an errno.
int batch_make_parents(const char *path);
// `to` becomes the same file as `from`, or a copy of it. 0 or an errno: EEXIST where another file
// is there and is not to be replaced.
int batch_link_or_copy(const char *from, const char *to, bool replace);
// DIR/.NAME.LETTERS.part, another one each time: several processes may write to one name. malloc'ed
char *batch_temporary(const char *path);
// Opens a file that will be `path`, and gives it its name or takes it away. 0 or an errno, EEXIST
// as above.
FILE *batch_file_new(const char *path, char **temporary);
int batch_file_finish(FILE *file, const char *path, char *temporary, bool replace);
// The folder's files with that ending, by name, each malloc'ed; a folder that is not there has
// none.
bool batch_find_files(const char *folder, const char *ending, char ***paths, size_t *count);
// Removes what a killed run left of `path` beside it.
void batch_remove_parts(const char *path);
bool batch_ignores_case(const char *folder); // whether the file system there does

// ---- batch_peek.c

typedef struct batch_extent {
    uint64_t width, height;
    unsigned pixel_bytes;    // decoded, at most
    unsigned decoding_bytes; // while it is decoded, where that is more than the pixels
    unsigned file_copies;    // of the file in memory meanwhile, at most; 0: itself alone
    unsigned coded_bytes;    // of its coefficients, at most, while a JPEG is saved that keeps some
} batch_extent;

// What a picture says of itself, without decoding it. False: it does not say.
bool batch_peek(int fd, batch_extent *out);

// ---- batch_steps.c: what can be done with a picture

#define BATCH_MAX_STEPS 4
#define BATCH_MAX_WARNINGS 16  // kinds of them that are counted
#define BATCH_TOLD_WARNINGS 10 // of a kind

struct json_t;

// Why a picture is not done.
typedef enum batch_fault {
    BATCH_FINE = 0,
    BATCH_BAD,     // the picture's own fault: journalled, tried again when asked
    BATCH_AGAIN,   // the world's: the next run tries by itself
    BATCH_FATAL,   // nothing will go better with the next picture
    BATCH_DROPPED, // interrupted: as if it had not been begun
} batch_fault;

// A picture on its way. One thread has it at a time.
typedef struct batch_item {
    batch_picture *picture;
    int fd;        // the open file, until it is decoded; -1
    uint64_t size; // as it was opened
    int64_t mtime_ns;
    char hash[BATCH_HASH_BYTES];
    uint64_t reserved;    // bytes of the budget
    sl_image *image;      // as the last step left it
    struct json_t *found; // what the steps found, by their names
    bool is_unchanged;    // the picture is to stay as it was
    bool is_known;        // done before: only the file's time changed
    char *output;         // full path; NULL: none is written
    char *sort_label;     // --sort-into; malloc'ed, NULL: none
    double seconds;       // of work, without waiting
    batch_fault fault;
    char message[2048];
} batch_item;

// A thread that computes: a device, a context and what the steps prepared in it.
typedef struct batch_worker {
    batch *batch;
    sl_ctx *ctx;
    char *device; // NULL: auto
    sl_model *model[BATCH_MAX_STEPS];
    void *state[BATCH_MAX_STEPS];
    bool is_ready;
    char message[2048]; // why it cannot be made ready
} batch_worker;

typedef struct batch_step {
    const char *name;         // as the user calls it
    const char *architecture; // of its model
    bool changes_picture;     // what comes out is written into the mirrored tree
    // Values of the command line that contradict each other; NULL: none can. Prints.
    app_exit (*check)(const batch *b);
    // Looks into the models that were found; b->notes gets what the tables need. NULL: there is
    // nothing to see. Prints.
    app_exit (*open)(batch *b);
    // Adds what decides its results to the settings. Sets strings and numbers of `object`.
    void (*settings)(const batch *b, struct json_t *object);
    // On the worker's thread, once: the model is open. The message is in the context.
    sl_status (*prepare)(batch_worker *worker, const sl_model *model, void **state);
    void (*finish)(void *state); // takes NULL
    // On the worker's thread: may replace item->image, adds to item->found under the step's name.
    sl_status (*run)(void *state, const batch *b, batch_item *item);
    // On a writing thread, before the picture itself: draws on it at last, writes a file of its
    // own; fails the item. NULL: does nothing.
    void (*emit)(const batch *b, sl_ctx *ctx, batch_item *item);
    // On a writing thread, after the picture itself: 0 or an errno. NULL: writes nothing.
    int (*write)(const batch *b, batch_item *item);
    // The `i`th thing that `found` says is in the picture; NULL: there are no more. NULL: none.
    const char *(*label)(const struct json_t *found, size_t i);
    // When all is dealt with: the table of what was found, from the journals' records of b->list,
    // written to `path`. NULL: none.
    app_exit (*table)(const batch *b, const char *path);
    // How it is called in the output folder, where there is a table.
    void (*table_name)(const batch *b, char *out, size_t size);
    // Likewise several, in the output folder, by names of their own. NULL: none.
    app_exit (*tables)(const batch *b);
} batch_step;

extern const batch_step batch_step_deblur, batch_step_classify, batch_step_detect;

// batch_labels.c: the table of batch_step_classify
app_exit batch_write_labels(const batch *b, const char *path);
void batch_name_labels(const batch *b, char *out, size_t size);
app_exit batch_note_labels(batch *b);        // what batch_merge needs for it
app_exit batch_write_tables(const batch *b); // of all steps
// Whether tables, report and log may be written where they are to be, by what was scanned and by
// the journals. APP_FAILED: printed.
app_exit batch_check_places(const batch *b);
// Refuses a table that --log or --report would be, too. APP_USAGE: printed.
app_exit batch_check_apart(const batch *b, const char *path);
// Whatever --overwrite says: a pipe, a device, or what stands for an open file, as /dev/stdout
// does, would be replaced itself. APP_FAILED: printed.
app_exit batch_check_kind(const char *option, const char *path);
// Tells the journal of the tables that merge is about to write and no run was asked for, so that
// they are known as a batch's own. APP_FAILED: printed.
app_exit batch_note_tables(const batch *b);

// Parts --format into the pictures' kind, which stays in the values, and the data that detect
// writes; looks for options of steps that are not there. Needs the steps. APP_USAGE: printed.
app_exit batch_read_formats(batch *b);

// "deblur" or a chain, "deblur,classify", into b->step. APP_USAGE: printed.
app_exit batch_read_steps(batch *b, const char *text);
bool batch_has_step(const batch *b, const batch_step *step);
// Into b->notes; takes `notes`. APP_FAILED: printed; NULL: memory ran out.
app_exit batch_add_notes(batch *b, const batch_step *step, struct json_t *notes);

// ---- batch.c, batch_setup.c, batch_plan.c: the whole of it

typedef struct batch_counts {
    size_t done, unchanged, failed, known_failed, skipped, begun;
    size_t journalled; // of those that failed
} batch_counts;

struct batch {
    app_session *session;
    const batch_step *step[BATCH_MAX_STEPS];
    size_t step_count;
    char *model[BATCH_MAX_STEPS]; // paths
    bool writes_pictures;
    bool writes_data;       // NAME.json
    unsigned data_formats;  // of detect, a bit for each sl_detect_format
    char *refine;           // path of detect's classifier; NULL: none
    struct json_t *notes;   // by the steps' names: what tables need and results do not depend on
    uint64_t network_bytes; // of a worker, beside its models
    batch_shard shard;
    char *folder; // the mirrored tree's, and that of the journals' folder; NULL: there is none
    char *table[BATCH_MAX_STEPS];    // files; NULL: the step makes none
    char *journals;                  // the folder
    uint64_t tile_bytes, item_bytes; // of --memory
    uint64_t settings;
    char *settings_text;
    uint64_t *sorting; // settings of earlier runs that had the same --sort-into
    size_t sorting_count;
    batch_list list;
    size_t *by_target; // indices of the list's pictures that have one
    size_t target_count;
    uint64_t operands;     // batch_list's, of the run whose records are being read
    batch_list absent;     // pictures of this shard that the journals know and no scan found
    batch_history history; // what the lists' records refer to
    batch_journal *journal;
    FILE *log;
    int log_error;      // errno of the first line that was lost; told
    batch_record ended; // this shard's last BATCH_END, without its strings
    int64_t last_ms;    // of the last word on any picture of the list
    size_t *todo, todo_count;
    batch_counts counts;
    batch_worker *worker; // one for each device
    size_t worker_count;
    double seconds;        // that batch_run took
    int watch;             // inotify's; -1: --watch was not given
    size_t growing;        // pictures that may still be being written
    pthread_mutex_t print; // of what several threads say
    struct {
        char *text; // behind the name; NULL: none
        size_t count;
    } warned[BATCH_MAX_WARNINGS + 1]; // the last: of all kinds for which there was no room
};

// Reads the values, finds places and models, shares the memory; needs the steps. Prints.
app_exit batch_setup(batch *b, int count, char **operands);
app_exit batch_find_places(batch *b); // needs the steps and the shard
// "a/labels.csv" of shard 3/16: "a/labels.3-of-16.csv"; malloc'ed, NULL: out of memory.
char *batch_table_name(const batch_shard *shard, const char *path);
char *batch_table_path(const batch *b, const batch_step *step); // without the shard; malloc'ed
app_exit batch_open_log(batch *b);                              // APP_FAILED: printed
// Any thread: a line could not be written. Said once.
void batch_lose_log(batch *b, int error);
// What the run ends with: a log that is not whole is no success.
app_exit batch_close_log(batch *b, app_exit result);
void batch_setup_free(batch *b);
// Which pictures are done by what the journals say, and which are left: b->todo.
app_exit batch_plan(batch *b);
app_exit batch_read_history(batch *b); // only what the journals say
// --sort-into as the settings have it: UTF-8, no slash at its end. malloc'ed; NULL: none.
char *batch_sort_folder(const batch *b);
// Whether pictures went into the same --sort-into with these settings.
bool batch_sorts_alike(const batch *b, uint64_t settings);
bool batch_is_settled(const batch *b); // nothing happened since this shard ended the last time
// Without a scan: a picture for every record, which batch_judge_records then holds against
// b->settings. False: out of memory.
bool batch_list_add_record(batch_list *list, const batch_record *record, uint64_t where);
void batch_judge_records(batch *b);
app_exit batch_find_settings(batch *b); // needs steps and models

// ---- batch_gone.c

// Of pictures that batch_list_add_record added, one for each name.
void batch_keep_last_words(batch_list *list);
// A record of a picture that is not in the list: into b->absent, if it falls to this shard.
void batch_note_absent(batch *b, const batch_record *record, uint64_t where);
// Tells the journal which pictures are gone by now, and which are there again. What was only not
// looked at is not gone. False: it could not be written.
bool batch_journal_absent(batch *b);

// ---- batch_merge.c, batch_report.c, batch_thumb.c

// Joins what the shards of the batch into `output` did. APP_FAILED: it is not complete; printed.
app_exit batch_merge(batch *b, const char *output);
app_exit batch_write_report(batch *b);  // --report; APP_DONE where it was not asked for
bool batch_is_report(const char *path); // whether a batch wrote it
// A small JPEG of the picture as base64, malloc'ed; NULL: it cannot be made.
char *batch_thumbnail(sl_ctx *ctx, const char *path, const char *scratch);

// ---- batch_watch.c

typedef app_exit (*batch_pass_fn)(batch *b, int count, char **operands);

app_exit batch_watch_begin(batch *b); // before the first pass; APP_FAILED: printed
// False: the system allows no more watches.
bool batch_watch_folder(int watch, const char *path);
// Passes, after the first one ended with `result`, until interrupted or one fails as a whole.
app_exit batch_watch(batch *b, app_exit result, batch_pass_fn pass, int count, char **operands);

// ---- batch_worker.c

#define BATCH_MAX_WORKERS 16

// A sentence on stderr, from any thread.
void batch_say(batch *b, const char *sentence);
// sl_log_fn; user: batch. Of warnings that differ in the file's name and in numbers alone the first
// are told, and in the end how many more there were: thousands of photographs may each come with a
// film.
void batch_log(void *user, sl_log_level level, const char *sentence);
void batch_tell_warnings(batch *b);
// One worker for each device of --device. Printed: APP_FAILED.
app_exit batch_workers_new(batch *b);
sl_status batch_worker_prepare(batch_worker *worker); // on its own thread
void batch_workers_free(batch *b);

// ---- batch_engine.c, batch_work.c

// Does b->todo. APP_DONE: all were dealt with, be it as failures.
app_exit batch_run(batch *b);
// Opens, hashes, measures and decodes.
void batch_open_item(const batch *b, batch_item *item);
uint64_t batch_item_cost(const batch *b, const batch_item *item, const batch_extent *extent);
void batch_decode_item(const batch *b, sl_ctx *ctx, const batch_extent *extent, batch_item *item);
void batch_compute_item(batch_worker *worker, batch_item *item);
void batch_write_item(batch *b, sl_ctx *ctx, batch_item *item);
// What every record of a picture says, as far as it is known when its output is begun.
batch_record batch_item_record(const batch *b, const batch_item *item, batch_state state);
void batch_item_fail(batch_item *item, batch_fault fault, const char *format, ...) APP_PRINTF(3, 4);
// Same, where a file stands in the way at `path`. The journal learns which of its outputs the
// picture has nevertheless, so that the next run does not take that file for its own.
void batch_item_taken(const batch *b, batch_item *item, const char *path, const char *output,
                      const char *data);
// Same, for an output: with `error`, an errno, it shows whether the next picture will go better.
void batch_item_cannot_write(const batch *b, batch_item *item, const char *message, int error);

#endif
