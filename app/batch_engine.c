// SPDX-License-Identifier: MIT
// app/batch_engine.c: threads that read and decode, compute, and encode and write at the same time,
// with bounded queues between them and one budget of memory for all pictures on their way.
//
// Few threads and few pictures: one mutex and one condition serve all of it. A picture takes its
// share of the budget before it is decoded and gives it back at the end; shares are given in the
// order in which they are asked for, so that a large picture waits until there is room and the
// small ones behind it do not pass by.
#include "batch.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_JOBS 64
#define MAX_QUEUE (2 * MAX_JOBS)
#define TICK_NS 100000000L

typedef struct queue {
    batch_item *item[MAX_QUEUE];
    size_t count, limit;
    size_t feeders; // threads that may still add
} queue;

typedef struct engine {
    batch *b;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    queue decoded, computed;
    size_t next;   // of b->todo
    uint64_t used; // of the budget
    uint64_t ticket, served;
    size_t settled, running;
    app_exit result;    // APP_DONE: all goes well
    bool is_stopping;   // no picture is begun any more
    char message[2048]; // why, when it was not an interrupt
    double started;
} engine;

// ---- the queues

// False: the engine stops; the item is still the caller's.
static bool put(engine *e, queue *q, batch_item *item)
{
    pthread_mutex_lock(&e->mutex);
    while (q->count == q->limit && !e->is_stopping)
        pthread_cond_wait(&e->changed, &e->mutex);
    bool ok = q->count < q->limit;
    if (ok) {
        q->item[q->count++] = item;
        pthread_cond_broadcast(&e->changed);
    }
    pthread_mutex_unlock(&e->mutex);
    return ok;
}

// NULL: nothing comes any more.
static batch_item *get(engine *e, queue *q)
{
    pthread_mutex_lock(&e->mutex);
    while (q->count == 0 && q->feeders)
        pthread_cond_wait(&e->changed, &e->mutex);
    batch_item *item = q->count ? q->item[0] : NULL;
    if (item) {
        memmove(q->item, q->item + 1, --q->count * sizeof(q->item[0]));
        pthread_cond_broadcast(&e->changed);
    }
    pthread_mutex_unlock(&e->mutex);
    return item;
}

static void leave(engine *e, queue *fed)
{
    pthread_mutex_lock(&e->mutex);
    if (fed)
        fed->feeders--;
    e->running--;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->mutex);
}

// Waits until the budget has room: when nothing else is on its way, whatever it is. False: stopped.
static bool reserve(engine *e, batch_item *item, uint64_t bytes)
{
    pthread_mutex_lock(&e->mutex);
    uint64_t ticket = e->ticket++;
    while (!e->is_stopping &&
           (e->served != ticket || (e->used && bytes > e->b->item_bytes - e->used)))
        pthread_cond_wait(&e->changed, &e->mutex);
    bool ok = !e->is_stopping;
    if (ok) {
        e->used += bytes;
        item->reserved = bytes;
    }
    e->served++;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->mutex);
    return ok;
}

static bool is_stopping(engine *e)
{
    pthread_mutex_lock(&e->mutex);
    bool stops = e->is_stopping;
    pthread_mutex_unlock(&e->mutex);
    return stops;
}

static void stop(engine *e, app_exit result, const char *message)
{
    pthread_mutex_lock(&e->mutex);
    if (e->result == APP_DONE || e->result == APP_INTERRUPTED) {
        e->result = result;
        snprintf(e->message, sizeof(e->message), "%s", message ? message : "");
    }
    e->is_stopping = true;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->mutex);
}

// ---- a picture's end

static void log_item(batch *b, const batch_item *item)
{
    if (!b->log || item->fault == BATCH_DROPPED)
        return;
    json_t *line = json_object();
    app_set_text(line, "picture", item->picture->name);
    app_set_text(line, "path", item->picture->path);
    app_set_text(line, "output", item->output);
    app_set_text(line, "state", item->fault == BATCH_FINE ? "done" : "failed");
    json_object_set_new(line, "seconds", json_real(item->seconds));
    app_set_text(line, "error", item->fault == BATCH_FINE ? NULL : item->message);
    if (item->found)
        json_object_set(line, "found", item->found);
    char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(7));
    // One call: lines of threads stay whole.
    if (!text || fprintf(b->log, "%s\n", text) < 0 || fflush(b->log) != 0)
        batch_lose_log(b, text ? errno : ENOMEM);
    free(text);
    json_decref(line);
}

static bool journal_failure(const batch *b, const batch_item *item)
{
    batch_record record = batch_item_record(b, item, BATCH_BROKEN);
    record.seconds = item->seconds;
    record.hash = item->hash;
    record.detail = item->message;
    return batch_journal_add(b->journal, &record);
}

static void free_item(batch_item *item)
{
    if (item->fd >= 0)
        close(item->fd);
    sl_image_free(item->image);
    json_decref(item->found);
    free(item->output);
    free(item->sort_label);
    free(item);
}

// Says, counts and journals what became of it, and frees it.
static void settle(engine *e, batch_item *item)
{
    batch *b = e->b;
    bool is_journalled = item->fault == BATCH_BAD && journal_failure(b, item);
    log_item(b, item);
    bool failed = item->fault != BATCH_FINE && item->fault != BATCH_DROPPED;
    bool ends = item->fault == BATCH_FATAL || (failed && b->session->values.on_error &&
                                               strcmp(b->session->values.on_error, "stop") == 0);
    pthread_mutex_lock(&e->mutex);
    e->used -= item->reserved;
    e->settled += item->fault != BATCH_DROPPED;
    b->counts.done += item->fault == BATCH_FINE && !item->is_known;
    b->counts.unchanged += item->fault == BATCH_FINE && item->is_unchanged && !item->is_known;
    b->counts.skipped += item->fault == BATCH_FINE && item->is_known;
    b->counts.failed += failed;
    b->counts.journalled += is_journalled;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->mutex);
    if (failed && item->fault != BATCH_FATAL)
        batch_say(b, item->message);
    if (ends)
        stop(e, APP_FAILED, item->message);
    free_item(item);
}

static void drop(engine *e, batch_item *item)
{
    batch_item_fail(item, BATCH_DROPPED, "interrupted");
    settle(e, item);
}

// ---- the threads

static batch_item *begin(engine *e)
{
    batch *b = e->b;
    pthread_mutex_lock(&e->mutex);
    bool ok = !e->is_stopping && e->next < b->todo_count;
    size_t index = ok ? b->todo[e->next++] : 0;
    pthread_mutex_unlock(&e->mutex);
    if (!ok)
        return NULL;
    batch_item *item = calloc(1, sizeof(*item));
    if (item) {
        item->fd = -1;
        item->picture = &b->list.picture[index];
        if (item->picture->target)
            item->output = batch_join(b->folder, item->picture->target);
    }
    if (!item || (item->picture->target && !item->output)) {
        free(item);
        stop(e, APP_FAILED, "out of memory; lower --jobs or --memory");
        return NULL;
    }
    return item;
}

// Done before, and only the file's time is another: the journal learns that.
static bool is_done_before(const batch *b, batch_item *item)
{
    const batch_picture *p = item->picture;
    batch_record record;
    char *line = NULL;
    if (p->known != BATCH_CHANGED || item->fault != BATCH_FINE ||
        !batch_read_record(&b->history, p->record - 1, &record, &line)) {
        free(line);
        return false;
    }
    item->is_known = strcmp(record.hash, item->hash) == 0 && record.size == item->size;
    record.mtime_ns = item->mtime_ns;
    if (item->is_known && !batch_journal_add(b->journal, &record))
        batch_item_fail(item, BATCH_FATAL, "%s: cannot be written: %s", b->journals,
                        strerror(batch_journal_error(b->journal)));
    free(line);
    return item->is_known;
}

static void prepare_item(engine *e, sl_ctx *ctx, batch_item *item)
{
    const batch *b = e->b;
    batch_extent extent = { 0 };
    double start = app_seconds();
    batch_open_item(b, item);
    if (item->fault != BATCH_FINE || is_done_before(b, item)) {
        settle(e, item);
        return;
    }
    batch_peek(item->fd, &extent);
    uint64_t cost = batch_item_cost(b, item, &extent);
    item->seconds = app_seconds() - start;
    if (cost > b->item_bytes) {
        batch_item_fail(item, BATCH_AGAIN,
                        "%s: %llux%llu pixels need %llu MiB on their way, and --memory leaves %llu "
                        "MiB; give it more",
                        item->picture->path, (unsigned long long)extent.width,
                        (unsigned long long)extent.height, (unsigned long long)(cost >> 20),
                        (unsigned long long)(b->item_bytes >> 20));
        settle(e, item);
        return;
    }
    if (!reserve(e, item, cost)) {
        drop(e, item);
        return;
    }
    start = app_seconds();
    batch_decode_item(b, ctx, &extent, item);
    item->seconds += app_seconds() - start;
    if (item->fault != BATCH_FINE)
        settle(e, item);
    else if (!put(e, &e->decoded, item))
        drop(e, item);
}

static void *decode_all(void *arg)
{
    engine *e = arg;
    sl_ctx_options options = { .threads = 1, .log = batch_log, .log_user = e->b };
    sl_ctx *ctx = NULL;
    batch_item *item;
    if (sl_ctx_new(&options, &ctx) != SL_OK)
        stop(e, APP_FAILED, "out of memory; lower --jobs");
    while (ctx && (item = begin(e)))
        prepare_item(e, ctx, item);
    sl_ctx_free(ctx);
    leave(e, &e->decoded);
    return NULL;
}

typedef struct compute_arg {
    engine *engine;
    batch_worker *worker;
} compute_arg;

static void *compute_all(void *arg)
{
    engine *e = ((compute_arg *)arg)->engine;
    batch_worker *worker = ((compute_arg *)arg)->worker;
    batch_item *item;
    sl_status status = worker->is_ready ? SL_OK : batch_worker_prepare(worker);
    if (status == SL_ERR_CANCELLED)
        stop(e, APP_INTERRUPTED, NULL);
    else if (status != SL_OK)
        stop(e, status == SL_ERR_ARGUMENT ? APP_USAGE : APP_FAILED, worker->message);
    while ((item = get(e, &e->decoded))) {
        double start = app_seconds();
        if (status != SL_OK || is_stopping(e)) {
            drop(e, item);
            continue;
        }
        batch_compute_item(worker, item);
        item->seconds += app_seconds() - start;
        if (item->fault != BATCH_FINE)
            settle(e, item);
        else if (!put(e, &e->computed, item))
            drop(e, item);
    }
    leave(e, &e->computed);
    return NULL;
}

static void *write_all(void *arg)
{
    engine *e = arg;
    sl_ctx_options options = { .threads = 1, .log = batch_log, .log_user = e->b };
    sl_ctx *ctx = NULL;
    batch_item *item;
    if (sl_ctx_new(&options, &ctx) != SL_OK)
        stop(e, APP_FAILED, "out of memory; lower --jobs");
    while ((item = get(e, &e->computed))) {
        if (!ctx) {
            drop(e, item);
            continue;
        }
        batch_write_item(e->b, ctx, item);
        settle(e, item);
    }
    sl_ctx_free(ctx);
    leave(e, NULL);
    return NULL;
}

// ---- the main thread looks on

static void draw(engine *e, size_t settled)
{
    app_session *session = e->b->session;
    double seconds = app_seconds() - e->started;
    char label[64];
    snprintf(label, sizeof(label), "%.1f pictures/s",
             (double)settled / (seconds > 0.1 ? seconds : 0.1));
    pthread_mutex_lock(&e->b->print);
    session->progress.label = label;
    app_progress_step(&session->progress, settled, e->b->todo_count);
    session->progress.label = NULL;
    pthread_mutex_unlock(&e->b->print);
}

static void look_on(engine *e)
{
    pthread_mutex_lock(&e->mutex);
    while (e->running) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += TICK_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&e->changed, &e->mutex, &until);
        if (app_interrupted() && !e->is_stopping) {
            e->result = APP_INTERRUPTED;
            e->is_stopping = true;
            pthread_cond_broadcast(&e->changed);
        }
        size_t settled = e->settled;
        pthread_mutex_unlock(&e->mutex);
        draw(e, settled);
        pthread_mutex_lock(&e->mutex);
    }
    pthread_mutex_unlock(&e->mutex);
    app_progress_end(&e->b->session->progress);
}

typedef struct crew {
    pthread_t thread[3 * MAX_JOBS];
    size_t count;
} crew;

// Counts the thread in before it runs. False: it cannot be had.
static bool start(engine *e, crew *c, queue *feeds, void *(*run)(void *), void *arg)
{
    pthread_mutex_lock(&e->mutex);
    e->running++;
    if (feeds)
        feeds->feeders++;
    pthread_mutex_unlock(&e->mutex);
    if (pthread_create(&c->thread[c->count], NULL, run, arg) == 0) {
        c->count++;
        return true;
    }
    leave(e, feeds);
    stop(e, APP_FAILED, "no more threads are to be had; lower --jobs");
    return false;
}

static void run_crew(engine *e, compute_arg *args)
{
    batch *b = e->b;
    size_t jobs = b->session->values.jobs ? (size_t)b->session->values.jobs : 1;
    crew c = { .count = 0 };
    sigset_t all, before;
    e->decoded.limit = e->computed.limit = jobs + b->worker_count;
    sigfillset(&all); // signals are the main thread's
    pthread_sigmask(SIG_SETMASK, &all, &before);
    // Nobody may find a queue empty and unfed before those who feed it are there.
    pthread_mutex_lock(&e->mutex);
    e->decoded.feeders++;
    e->computed.feeders++;
    pthread_mutex_unlock(&e->mutex);
    bool ok = true;
    for (size_t i = 0; i < b->worker_count && ok; i++) {
        args[i] = (compute_arg) { e, &b->worker[i] };
        ok = start(e, &c, &e->computed, compute_all, &args[i]);
    }
    for (size_t i = 0; i < jobs && ok; i++)
        ok = start(e, &c, &e->decoded, decode_all, e) && start(e, &c, NULL, write_all, e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_mutex_lock(&e->mutex);
    e->decoded.feeders--;
    e->computed.feeders--;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->mutex);
    look_on(e);
    for (size_t i = 0; i < c.count; i++)
        pthread_join(c.thread[i], NULL);
    // What nobody took, where threads were missing.
    while (e->decoded.count)
        drop(e, get(e, &e->decoded));
    while (e->computed.count)
        drop(e, get(e, &e->computed));
}

app_exit batch_run(batch *b)
{
    engine e = { .b = b, .started = app_seconds() };
    compute_arg args[MAX_JOBS];
    b->seconds = 0;
    if (b->todo_count == 0)
        return APP_DONE;
    pthread_mutex_init(&e.mutex, NULL);
    pthread_cond_init(&e.changed, NULL);
    app_progress_begin(&b->session->progress, "pictures");
    run_crew(&e, args);
    pthread_cond_destroy(&e.changed);
    pthread_mutex_destroy(&e.mutex);
    b->seconds = app_seconds() - e.started;
    batch_tell_warnings(b);
    if (*e.message)
        app_error("%s", e.message);
    // Interrupted when the last picture was done already is no interruption.
    if (e.result == APP_INTERRUPTED && e.settled == b->todo_count)
        e.result = APP_DONE;
    return e.result;
}
