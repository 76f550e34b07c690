// SPDX-License-Identifier: MIT
// app/loader.c: decodes pictures on a thread of its own, with a context of its own, while others
// are looked at: of a photograph, decoding is most of the work.
#include "jobs.h"
#include "pictures.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define AHEAD 2 // pictures that wait to be taken

struct app_loader {
    const app_pictures *pictures;
    sl_load_options options;
    sl_ctx *ctx; // the thread's own, or the session's where there is no thread
    bool has_thread;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t filled, emptied;
    app_loaded slots[AHEAD];
    size_t done, taken; // pictures decoded and handed out
    bool stop;
    app_loaded *current; // where a warning belongs
};

static void keep_warning(void *user, sl_log_level level, const char *sentence)
{
    app_loader *l = user;
    if (level != SL_LOG_WARNING || !l->current)
        return;
    char *all = l->current->warnings, line[1024];
    snprintf(line, sizeof(line), "%s", sentence);
    app_one_line(line); // names may have lines of their own
    size_t length = strlen(all), size = sizeof(l->current->warnings);
    if (strlen(line) + 2 <= size - length)
        snprintf(all + length, size - length, "%s\n", line);
}

void app_loaded_fail(app_loaded *loaded, const char *why)
{
    snprintf(loaded->message, sizeof(loaded->message), "%s: %s%s",
             app_is_stdin(loaded->path) ? "standard input" : loaded->path, why, app_how(why));
}

void app_loader_warn(const app_session *session, const app_loaded *loaded)
{
    const char *at = loaded->warnings;
    for (const char *end; !session->values.quiet && (end = strchr(at, '\n')); at = end + 1)
        app_error("warning: %.*s", (int)(end - at), at);
}

// Whoever takes the pictures waits for us, and a pipe that is read may be silent.
static bool goes_on(void *user, size_t done, size_t total)
{
    app_loader *l = user;
    (void)done;
    (void)total;
    pthread_mutex_lock(&l->mutex);
    bool stop = l->stop;
    pthread_mutex_unlock(&l->mutex);
    return !stop && !app_interrupted();
}

static void decode(app_loader *l, const char *path, app_loaded *out)
{
    *out = (app_loaded) { .path = path };
    l->current = out;
    out->status = app_load(l->ctx, path, &l->options, &out->image);
    if (out->status != SL_OK)
        snprintf(out->message, sizeof(out->message), "%s%s", sl_ctx_message(l->ctx),
                 app_how(sl_ctx_message(l->ctx)));
    l->current = NULL;
}

static void *decode_all(void *arg)
{
    app_loader *l = arg;
    for (size_t i = 0; i < l->pictures->count; i++) {
        pthread_mutex_lock(&l->mutex);
        while (!l->stop && i - l->taken >= AHEAD)
            pthread_cond_wait(&l->emptied, &l->mutex);
        bool stop = l->stop;
        pthread_mutex_unlock(&l->mutex);
        if (stop)
            break;
        decode(l, l->pictures->path[i], &l->slots[i % AHEAD]);
        pthread_mutex_lock(&l->mutex);
        l->done = i + 1;
        pthread_cond_signal(&l->filled);
        pthread_mutex_unlock(&l->mutex);
    }
    return NULL;
}

// Without a thread, or room for its context, the session's own thread decodes.
static void start_thread(app_loader *l)
{
    sl_ctx_options own = {
        .threads = 1, .log = keep_warning, .log_user = l, .progress = goes_on, .progress_user = l
    };
    sigset_t all, before;
    sl_ctx *ctx = NULL;
    if (sl_ctx_new(&own, &ctx) != SL_OK)
        return;
    sl_ctx *session_ctx = l->ctx;
    l->ctx = ctx;
    sigfillset(&all); // signals are the main thread's
    pthread_sigmask(SIG_SETMASK, &all, &before);
    l->has_thread = pthread_create(&l->thread, NULL, decode_all, l) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!l->has_thread) {
        sl_ctx_free(ctx);
        l->ctx = session_ctx;
    }
}

app_loader *app_loader_start(app_session *session, const app_pictures *pictures)
{
    app_loader *l = calloc(1, sizeof(*l));
    if (!l) {
        app_error("out of memory");
        return NULL;
    }
    l->pictures = pictures;
    l->ctx = session->ctx;
    l->options = (sl_load_options) { .max_pixels = session->values.max_pixels,
                                     .allow_truncated = session->values.allow_truncated };
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->filled, NULL);
    pthread_cond_init(&l->emptied, NULL);
    if (session->values.threads != 1)
        start_thread(l);
    return l;
}

bool app_loader_next(app_loader *l, app_loaded *out)
{
    size_t i = l->taken;
    if (i == l->pictures->count)
        return false;
    if (!l->has_thread) {
        decode(l, l->pictures->path[i], out);
        l->taken++;
        return true;
    }
    pthread_mutex_lock(&l->mutex);
    while (l->done <= i)
        pthread_cond_wait(&l->filled, &l->mutex);
    *out = l->slots[i % AHEAD];
    l->slots[i % AHEAD].image = NULL;
    l->taken++;
    pthread_cond_signal(&l->emptied);
    pthread_mutex_unlock(&l->mutex);
    return true;
}

void app_loader_stop(app_loader *l)
{
    if (!l)
        return;
    if (l->has_thread) {
        pthread_mutex_lock(&l->mutex);
        l->stop = true;
        pthread_cond_signal(&l->emptied);
        pthread_mutex_unlock(&l->mutex);
        pthread_join(l->thread, NULL);
        sl_ctx_free(l->ctx);
    }
    for (size_t i = 0; i < AHEAD; i++)
        sl_image_free(l->slots[i].image);
    pthread_mutex_destroy(&l->mutex);
    pthread_cond_destroy(&l->filled);
    pthread_cond_destroy(&l->emptied);
    free(l);
}
