// SPDX-License-Identifier: MIT
// app/batch_work.c: what the threads of a batch do with a picture: read, compute, write.
#include "batch.h"

#include "jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DEFAULT_PIXELS 200000000u
#define METADATA_BYTES ((uint64_t)64 << 20)
#define UNKNOWN_PIXELS 4000000u // what a file may hold that does not say
#define LEAST_SPACE 65536u      // bytes; a disk with less is full
#define ROWS_SUMMED 1536        // of the floats in which tiles are put together

void batch_item_fail(batch_item *item, batch_fault fault, const char *format, ...)
{
    va_list args;
    if (item->fault != BATCH_FINE)
        return;
    item->fault = fault;
    va_start(args, format);
    vsnprintf(item->message, sizeof(item->message), format, args);
    va_end(args);
}

static uint64_t most_pixels(const batch *b)
{
    const app_values *values = &b->session->values;
    return values->max_pixels ? values->max_pixels : DEFAULT_PIXELS;
}

// As the decoder sees it, which a file with more would not get by: reading it takes long.
static uint64_t most_bytes(const batch *b)
{
    uint64_t pixels = most_pixels(b);
    return pixels < (UINT64_MAX - METADATA_BYTES) / 8 ? 8 * pixels + METADATA_BYTES : UINT64_MAX;
}

void batch_open_item(const batch *b, batch_item *item)
{
    const char *path = item->picture->path;
    struct stat st;
    item->fd =
        open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe in its place must not hold us
    if (item->fd < 0 || fstat(item->fd, &st) != 0) {
        batch_item_fail(item, BATCH_AGAIN, "%s: cannot be read: %s", path, strerror(errno));
        return;
    }
    item->size = (uint64_t)st.st_size;
    item->mtime_ns = batch_time_ns(&st.st_mtim);
    if (!S_ISREG(st.st_mode))
        batch_item_fail(item, BATCH_AGAIN, "%s: is no file any more", path);
    else if (item->size > most_bytes(b))
        batch_item_fail(item, BATCH_BAD,
                        "%s: %llu MiB are more than a picture of %llu pixels needs; leave it out "
                        "with --exclude or raise --max-pixels",
                        path, (unsigned long long)(item->size >> 20),
                        (unsigned long long)most_pixels(b));
    else if (!batch_hash_fd(item->fd, item->hash) && app_interrupted())
        batch_item_fail(item, BATCH_DROPPED, "interrupted");
    else if (!*item->hash)
        batch_item_fail(item, BATCH_AGAIN, "%s: cannot be read: %s", path, strerror(errno));
}

// Whether of a JPEG what did not change stays as it was coded.
static bool keeps_coding(const batch *b)
{
    const app_values *values = &b->session->values;
    return b->writes_pictures && !values->quality && !values->overlay;
}

// The file, the pixels as read, changed and coded again, and the floats of a row of tiles. Where
// coding is kept: the file once more, and at the end the pixels, a copy on its side, coefficients.
// While it is deblurred: the pixels, what becomes of them, and both in smaller sizes (a third of 12
// bytes at most). At least what the decoder takes.
uint64_t batch_item_cost(const batch *b, const batch_item *item, const batch_extent *extent)
{
    uint64_t limit = most_pixels(b);
    uint64_t width = extent->width ? extent->width : 2000,
             height = extent->height ? extent->height : 2000;
    uint64_t bytes = extent->pixel_bytes ? extent->pixel_bytes : 8;
    if (b->session->values.overlay && bytes < 3) // grey is drawn on in colours
        bytes *= 3;
    if (width > limit || height > limit || width * height > limit)
        return item->size; // the decoder will refuse it
    uint64_t cost = width * height * bytes * (b->writes_pictures ? 3 : 1);
    uint64_t kept = width * height * (2 * bytes + extent->coded_bytes);
    if (keeps_coding(b) && kept > cost)
        cost = kept;
    uint64_t looked_at = width * height * (2 * bytes + 4);
    if (batch_has_step(b, &batch_step_deblur) && looked_at > cost)
        cost = looked_at;
    cost += item->size * (keeps_coding(b) ? 3 : 1);
    if (b->writes_pictures)
        cost += width * (height < ROWS_SUMMED ? height : ROWS_SUMMED) * 3 * sizeof(float);
    uint64_t copies = extent->file_copies ? extent->file_copies : 1;
    uint64_t decoding = width * height * extent->decoding_bytes + item->size * copies;
    return decoding > cost ? decoding : cost;
}

static void check_unchanged(batch_item *item)
{
    struct stat st;
    if (fstat(item->fd, &st) != 0 || (uint64_t)st.st_size != item->size ||
        batch_time_ns(&st.st_mtim) != item->mtime_ns)
        batch_item_fail(item, BATCH_AGAIN, "%s: changed while it was read; it will be read again",
                        item->picture->path);
}

// Libraries that are not there stay so while a program runs, and a folder may be full of what they
// read: it is the picture's own fault until somebody says otherwise.
static const char *way_out(const char *message)
{
    return strstr(message, "; install ") ? "; once that is done, add --retry-failed"
                                         : app_how(message);
}

void batch_decode_item(const batch *b, sl_ctx *ctx, const batch_extent *extent, batch_item *item)
{
    const app_values *values = &b->session->values;
    uint64_t pixels = extent->width ? extent->width * extent->height : UNKNOWN_PIXELS;
    sl_load_options options = { .max_pixels = most_pixels(b),
                                .allow_truncated = values->allow_truncated };
    // No more than room was made for. Files that hold more than the picture need this to be read
    // whole: as many bytes are taken as so many pixels could have.
    if (extent->file_copies && pixels < item->size / 8)
        pixels = item->size / 8;
    if (pixels < options.max_pixels)
        options.max_pixels = pixels;
    sl_status status = sl_image_load_fd(ctx, item->fd, item->picture->path, &options, &item->image);
    check_unchanged(item); // what was damaged only because it is being written is not bad
    if (status == SL_ERR_NOMEM || status == SL_ERR_IO)
        batch_item_fail(item, BATCH_AGAIN, "%s", sl_ctx_message(ctx));
    else if (status != SL_OK)
        batch_item_fail(item, BATCH_BAD, "%s%s", sl_ctx_message(ctx), way_out(sl_ctx_message(ctx)));
    close(item->fd);
    item->fd = -1;
}

void batch_compute_item(batch_worker *worker, batch_item *item)
{
    const batch *b = worker->batch;
    item->found = json_object();
    for (size_t i = 0; i < b->step_count && item->fault == BATCH_FINE; i++) {
        sl_status status = b->step[i]->run(worker->state[i], b, item);
        const char *message = sl_ctx_message(worker->ctx);
        if (status == SL_ERR_CANCELLED)
            batch_item_fail(item, BATCH_DROPPED, "interrupted");
        else if (status == SL_ERR_ARGUMENT)
            batch_item_fail(item, BATCH_FATAL, "%s", message);
        else if (status == SL_ERR_NOMEM || status == SL_ERR_DEVICE)
            batch_item_fail(item, BATCH_AGAIN, "%s: %s", item->picture->path, message);
        else if (status != SL_OK)
            batch_item_fail(item, BATCH_BAD, "%s: %s", item->picture->path, message);
    }
    if (!b->writes_pictures) { // nobody wants the pixels any more
        sl_image_free(item->image);
        item->image = NULL;
    }
}

// ---- writing

// Whether the output's place is gone or full: then nothing will go better with the next picture.
static bool is_hopeless(const batch *b, int error)
{
    struct statvfs space;
    if (error == ENOSPC || error == EDQUOT || error == EROFS || error == EIO ||
        batch_journal_error(b->journal) || !batch_journal_is_there(b->journal))
        return true;
    return statvfs(b->journals, &space) == 0 && space.f_blocks &&
           (uint64_t)space.f_bavail * space.f_frsize < LEAST_SPACE;
}

void batch_item_cannot_write(const batch *b, batch_item *item, const char *message, int error)
{
    batch_item_fail(item, is_hopeless(b, error) ? BATCH_FATAL : BATCH_AGAIN, "%s", message);
}

void batch_item_taken(const batch *b, batch_item *item, const char *path, const char *output,
                      const char *data)
{
    batch_record record = batch_item_record(b, item, BATCH_START);
    record.output = output;
    record.data = data;
    batch_journal_add(b->journal, &record); // where it fails, so will the next word
    batch_item_fail(item, BATCH_AGAIN,
                    "%s: was made by somebody else while the batch ran, so %s is left out; move it "
                    "away or add --overwrite",
                    path, item->picture->path);
}

batch_record batch_item_record(const batch *b, const batch_item *item, batch_state state)
{
    const batch_picture *p = item->picture;
    return (batch_record) { .state = state,
                            .size = item->size,
                            .mtime_ns = item->mtime_ns,
                            .settings = b->settings,
                            .out_size = UINT64_MAX,
                            .name = p->name,
                            .output = p->target,
                            .data = p->data };
}

static void begin_output(batch *b, batch_item *item)
{
    const batch_record record = batch_item_record(b, item, BATCH_START);
    if (!batch_journal_add(b->journal, &record))
        batch_item_fail(item, BATCH_FATAL, "%s: cannot be written: %s", b->journals,
                        strerror(batch_journal_error(b->journal)));
}

// What was not there when the batch was planned may be by now, hours later.
static bool may_replace(const batch *b, const batch_item *item)
{
    return b->session->values.overwrite || item->picture->is_ours;
}

// The file as it is, where its kind is what the output's name says and nothing is to be taken out.
static bool link_unchanged(const batch *b, batch_item *item)
{
    const char *from = item->picture->path;
    struct stat st;
    if (!item->is_unchanged || b->session->values.strip_metadata ||
        app_format_of_name(item->output) != sl_image_kind(item->image))
        return false;
    if (stat(from, &st) != 0 || (uint64_t)st.st_size != item->size ||
        batch_time_ns(&st.st_mtim) != item->mtime_ns) {
        batch_item_fail(item, BATCH_AGAIN, "%s: changed meanwhile; it will be read again", from);
        return true;
    }
    int error = batch_link_or_copy(from, item->output, may_replace(b, item));
    char message[1024];
    snprintf(message, sizeof(message), "%s: cannot be written: %s", item->output, strerror(error));
    if (error == EEXIST)
        batch_item_taken(b, item, item->output, NULL, item->picture->data);
    else if (error)
        batch_item_cannot_write(b, item, message, error);
    return true;
}

static void save_picture(const batch *b, sl_ctx *ctx, batch_item *item)
{
    const app_values *values = &b->session->values;
    int error = batch_make_parents(item->output);
    if (error) {
        char message[1024];
        snprintf(message, sizeof(message), "%s: its folder cannot be made: %s", item->output,
                 strerror(error));
        batch_item_cannot_write(b, item, message, error);
        return;
    }
    if (link_unchanged(b, item))
        return;
    sl_save_options options = { .quality = (int)values->quality,
                                .overwrite = may_replace(b, item),
                                .strip_metadata = values->strip_metadata };
    errno = 0;
    sl_status status = sl_image_save(ctx, item->image, item->output, &options);
    if (status == SL_ERR_EXISTS)
        batch_item_taken(b, item, item->output, NULL, item->picture->data);
    else if (status != SL_OK)
        batch_item_cannot_write(b, item, sl_ctx_message(ctx), errno);
}

static void finish_record(batch *b, batch_item *item)
{
    struct stat st;
    char *detail = json_dumps(item->found, JSON_COMPACT | JSON_SORT_KEYS |
                                               JSON_REAL_PRECISION(9)); // floats as they are
    batch_record record = batch_item_record(b, item, BATCH_GOOD);
    record.seconds = item->seconds;
    record.hash = item->hash;
    record.detail = detail;
    if (item->output && stat(item->output, &st) == 0)
        record.out_size = (uint64_t)st.st_size;
    char message[1024];
    snprintf(message, sizeof(message), "%s: is gone as soon as it is written",
             item->output ? item->output : "");
    if (item->output && record.out_size == UINT64_MAX)
        batch_item_cannot_write(b, item, message, ENOENT);
    else if (!detail)
        batch_item_fail(item, BATCH_AGAIN, "%s: out of memory", item->picture->path);
    else if (!batch_journal_add(b->journal, &record))
        batch_item_fail(item, BATCH_FATAL, "%s: cannot be written: %s", b->journals,
                        strerror(batch_journal_error(b->journal)));
    free(detail);
}

void batch_write_item(batch *b, sl_ctx *ctx, batch_item *item)
{
    double start = app_seconds();
    if (!batch_journal_is_there(b->journal)) // what is written now could not be gone on with
        batch_item_fail(item, BATCH_FATAL, "%s: was taken away; the batch ends here", b->journals);
    if ((item->output || item->picture->data) && item->fault == BATCH_FINE)
        begin_output(b, item);
    for (size_t i = 0; i < b->step_count && item->fault == BATCH_FINE; i++)
        if (b->step[i]->emit)
            b->step[i]->emit(b, ctx, item);
    if (item->output && item->fault == BATCH_FINE)
        save_picture(b, ctx, item);
    for (size_t i = 0; i < b->step_count && item->fault == BATCH_FINE; i++) {
        int error = b->step[i]->write ? b->step[i]->write(b, item) : 0;
        char message[1024];
        snprintf(message, sizeof(message), "%s: cannot be written by %s: %s", item->picture->path,
                 b->step[i]->name, strerror(error));
        if (error)
            batch_item_cannot_write(b, item, message, error);
    }
    item->seconds += app_seconds() - start;
    if (item->fault == BATCH_FINE)
        finish_record(b, item);
}
