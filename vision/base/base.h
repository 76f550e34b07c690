// SPDX-License-Identifier: MIT
// base/: what every room stands on: the context with its messages, checked arithmetic, memory,
// files, the one thread pool, and the spans of traces. May include softlens.h only.
#ifndef SL_BASE_BASE_H
#define SL_BASE_BASE_H

#include "softlens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SL_PRINTF(text, first) __attribute__((__format__(printf, text, first)))
#define SL_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define SL_ALIGN 64 // bytes: a cache line, and one AVX-512 vector

typedef struct sl_pool sl_pool;
typedef struct sl_trace sl_trace;

struct sl_ctx {
    sl_ctx_options options; // threads resolved, simd copied into simd_name
    char simd_name[16];     // "" when the best of the machine is meant
    sl_pool *pool;          // never NULL
    sl_trace *trace;        // NULL: no spans are kept
    char message[2048];
};

// ---- status.c

// Leaves a sentence (what, where, what to do) in the context and returns `status`. ctx may be NULL.
sl_status sl_fail(sl_ctx *ctx, sl_status status, const char *format, ...) SL_PRINTF(3, 4);
// Spaces stand for control characters: a path may hold any.
void sl_log(sl_ctx *ctx, sl_log_level level, const char *format, ...) SL_PRINTF(3, 4);

// Reports progress. SL_ERR_CANCELLED, with its message, when the caller asked to stop.
sl_status sl_progress(sl_ctx *ctx, size_t done, size_t total);

// ---- memory.c

// Checked arithmetic: false on overflow, and *out is then undefined.
static inline bool sl_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool sl_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

// count * size zeroed bytes, aligned to SL_ALIGN, for free(). NULL with SL_ERR_NOMEM's message on
// overflow or exhaustion. A count of 0 gives a pointer that may be freed.
void *sl_alloc(sl_ctx *ctx, size_t count, size_t size);
// Wishes for large pages under a block that is likely to be written as a whole: fewer faults when
// it is touched first. Small blocks, and systems without such pages, stay as they are.
void sl_wish_large_pages(void *data, size_t bytes);
char *sl_strdup(sl_ctx *ctx, const char *text);
char *sl_format(sl_ctx *ctx, const char *format, ...) SL_PRINTF(2, 3); // malloc'ed

// Bytes on the heap; {NULL, 0} when empty.
typedef struct sl_blob {
    uint8_t *data;
    size_t size;
} sl_blob;

void sl_blob_free(sl_blob *blob);
sl_status sl_blob_copy(sl_ctx *ctx, const void *data, size_t size, sl_blob *out);
// Adds bytes at the end; `capacity` is kept by the caller beside the blob, 0 at first.
sl_status sl_blob_append(sl_ctx *ctx, sl_blob *blob, size_t *capacity, const void *data,
                         size_t size);

// Many small things with one end: freed together. {0} is an empty arena.
typedef struct sl_arena {
    struct sl_arena_block *blocks;
} sl_arena;

void *sl_arena_alloc(sl_ctx *ctx, sl_arena *arena, size_t count, size_t size); // zeroed
char *sl_arena_strdup(sl_ctx *ctx, sl_arena *arena, const char *text);
void sl_arena_free(sl_arena *arena);

// ---- number.c: numbers in text, with a point whatever the locale

// Of a finite number that printf wrote, alone in `text`: puts a point where the locale has its own.
void sl_number_point(char *text);
// *value: the number that is all of `text`. False where it is none, or text is NULL.
bool sl_number_read(const char *text, double *value);

// ---- utf8.c

#define SL_REPLACEMENT 0xFFFDu // stands for what is no character

// The character at `text`: how many bytes it has, 0 at the end. A byte that begins none (overlong,
// surrogate, cut short) counts for itself, and *code is SL_REPLACEMENT.
size_t sl_utf8_next(const char *text, uint32_t *code);
// Any bytes as valid UTF-8 (malloc'ed): each byte that is none becomes U+FFFD. NULL: SL_ERR_NOMEM.
char *sl_utf8_copy(sl_ctx *ctx, const char *text);
// Bytes of a text that is cut after at most `most` of them, and not within a character.
size_t sl_utf8_cut(const char *text, size_t most);
// Goes past the byte order mark that some programs write in front of UTF-8, if there is one.
void sl_utf8_skip_mark(const char **text, size_t *size);

// ---- file.c

// Reads a whole regular file (or pipe) of at most `max_bytes`. SL_ERR_IO, SL_ERR_LIMIT,
// SL_ERR_NOMEM; SL_ERR_CANCELLED, while a pipe has nothing to read.
sl_status sl_file_read(sl_ctx *ctx, const char *path, size_t max_bytes, sl_blob *out);
// Same, of an open file from where it stands to its end; `name` stands in messages.
sl_status sl_file_read_fd(sl_ctx *ctx, int fd, const char *name, size_t max_bytes, sl_blob *out);

// A file mapped read-only. An empty file is SL_ERR_FORMAT, what is no regular file SL_ERR_IO, said
// at once: nobody waits for a writer of a pipe.
typedef struct sl_mapping {
    const uint8_t *data;
    size_t size;
} sl_mapping;

sl_status sl_file_map(sl_ctx *ctx, const char *path, sl_mapping *out);
void sl_file_unmap(sl_mapping *mapping);

// An output file, written beside its target under a temporary name and renamed into place by
// sl_output_commit. Without `overwrite` an existing target is SL_ERR_EXISTS, at open and at commit.
typedef struct sl_output sl_output;

sl_status sl_output_open(sl_ctx *ctx, const char *path, bool overwrite, sl_output **out);
sl_status sl_output_write(sl_output *output, const void *data, size_t size);
// Waits until what was written is on the disk: else a power cut soon after the commit may leave an
// empty file under the name. For what is dear, models and galleries: it takes 7 to 10 ms on an ext4
// disk, which a batch would pay for every picture, box and label.
sl_status sl_output_sync(sl_output *output);
sl_status sl_output_commit(sl_output *output); // frees, whatever the result
void sl_output_discard(sl_output *output);     // frees and leaves nothing; takes NULL

// The whole of it in one call.
sl_status sl_file_write(sl_ctx *ctx, const char *path, bool overwrite, const void *data,
                        size_t size);

sl_status sl_make_dir(sl_ctx *ctx, const char *path); // with parents; an existing one is fine
bool sl_file_exists(const char *path);

// ---- processors.c

// How many a control group (its path from `root` on, such as "/a/b") may keep busy, by the least
// quota of it and its parents; INFINITY where there is none.
double sl_processor_quota(const char *root, const char *group);

// ---- pool.c

// Runs tasks 0 .. count-1, each once, on the pool's threads and the calling one; returns when all
// are done. `worker` is in [0, sl_pool_size) and unique among tasks that run at the same time.
// Tasks must not fail, nor call sl_pool_run. Allocates nothing.
typedef void (*sl_task_fn)(void *arg, size_t task, unsigned worker);

sl_status sl_pool_new(sl_ctx *ctx, unsigned threads, sl_pool **out);
void sl_pool_free(sl_pool *pool);
void sl_pool_run(sl_pool *pool, sl_task_fn fn, void *arg, size_t count);
unsigned sl_pool_size(const sl_pool *pool);

// ---- clock

double sl_seconds(void); // monotonic

// ---- trace.c: spans of time on tracks. Nothing is kept, and next to nothing spent, while ctx has
// no trace. Spans of a track nest; all times are sl_seconds.

#define SL_TRACK_HOST 0u // what the program does; devices come behind it
#define SL_MAX_TRACKS 8u
#define SL_MAX_SPANS ((size_t)1 << 20)

typedef struct sl_span {
    char name[48];
    const char *family; // of an op: its group and its work; NULL: no op
    double start, seconds, macs;
    unsigned track;
} sl_span;

typedef struct sl_track {
    char name[64];
    const char *clock; // how its times come onto the host's clock
} sl_track;

struct sl_trace {
    char *path; // where it will be written
    bool overwrite;
    double started;
    sl_track tracks[SL_MAX_TRACKS];
    unsigned track_count;
    sl_span *spans;
    size_t count, capacity, dropped;
};

sl_status sl_trace_new(sl_ctx *ctx, sl_trace **out);
void sl_trace_free(sl_trace *trace); // takes NULL
// Room for so many spans more, which are then added without an allocation.
void sl_trace_reserve(sl_ctx *ctx, size_t more);
// Only where ctx has a trace: the track of that name, new or not, and a span where there is room.
unsigned sl_trace_track(sl_ctx *ctx, const char *name, const char *clock);
void sl_trace_add(sl_ctx *ctx, const sl_span *span);
// A span of the host, from what sl_trace_start gave until now.
double sl_trace_start(const sl_ctx *ctx);
void sl_trace_end(sl_ctx *ctx, const char *name, double start);
// Between the two no span is kept: of work that nobody asked for, of which one around it tells.
sl_trace *sl_trace_pause(sl_ctx *ctx); // NULL without a trace
void sl_trace_resume(sl_ctx *ctx, sl_trace *paused);

#endif
