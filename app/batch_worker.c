// SPDX-License-Identifier: MIT
// app/batch_worker.c: what a computing thread of a batch owns: a device, a context, models.
#include "batch.h"

#include <stdlib.h>
#include <string.h>

void batch_say(batch *b, const char *sentence)
{
    pthread_mutex_lock(&b->print);
    app_progress_end(&b->session->progress);
    app_error("%s", sentence);
    pthread_mutex_unlock(&b->print);
}

// What stands behind the file's name, whose folders may be called "Trip: day 1".
static const char *text_of(const char *sentence)
{
    const char *name = sentence, *colon = NULL;
    for (const char *at = sentence; (at = strstr(at, ": ")); at++)
        colon = at;
    for (const char *at = sentence; colon && at < colon; at++)
        if (*at == '/')
            name = at;
    return colon ? strstr(name, ": ") + 2 : sentence;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// But for the numbers in them.
static bool is_same_kind(const char *a, const char *b)
{
    while (*a && (*a == *b || (is_digit(*a) && is_digit(*b)))) {
        bool is_number = is_digit(*a);
        do
            a++;
        while (is_number && is_digit(*a));
        do
            b++;
        while (is_number && is_digit(*b));
    }
    return *a == *b;
}

// Whether a warning is told by itself, or only counted.
static bool is_rare(batch *b, const char *sentence)
{
    const char *text = text_of(sentence);
    size_t i = 0;
    pthread_mutex_lock(&b->print);
    while (i < BATCH_MAX_WARNINGS && b->warned[i].text && !is_same_kind(b->warned[i].text, text))
        i++;
    if (i < BATCH_MAX_WARNINGS && !b->warned[i].text)
        b->warned[i].text = strdup(text);
    if (!b->warned[i].text)
        i = BATCH_MAX_WARNINGS;
    bool is_rare = ++b->warned[i].count <= BATCH_TOLD_WARNINGS;
    pthread_mutex_unlock(&b->print);
    return is_rare;
}

void batch_log(void *user, sl_log_level level, const char *sentence)
{
    batch *b = user;
    const app_values *values = &b->session->values;
    bool is_warning = level == SL_LOG_WARNING;
    char text[2048];
    if (is_warning ? values->quiet : !values->verbose)
        return;
    if (is_warning && !values->verbose && !is_rare(b, sentence))
        return;
    snprintf(text, sizeof(text), "%s%s", is_warning ? "warning: " : "", sentence);
    batch_say(b, text);
}

void batch_tell_warnings(batch *b)
{
    for (size_t i = 0; i < APP_LEN(b->warned); i++) {
        size_t count = b->warned[i].count;
        if (count > BATCH_TOLD_WARNINGS)
            app_error("warning: and %zu more, which --verbose names: %s",
                      count - BATCH_TOLD_WARNINGS,
                      b->warned[i].text ? b->warned[i].text : "of other kinds");
        free(b->warned[i].text);
        b->warned[i].text = NULL;
        b->warned[i].count = 0;
    }
}

static bool on_progress(void *user, size_t done, size_t total)
{
    (void)user;
    (void)done;
    (void)total;
    return !app_interrupted();
}

static sl_status fail(batch_worker *worker, sl_status status)
{
    const char *message =
        worker->ctx ? sl_ctx_message(worker->ctx) : "cannot start the threads; try --threads 1";
    snprintf(worker->message, sizeof(worker->message), "%s", message);
    return status;
}

sl_status batch_worker_prepare(batch_worker *worker)
{
    const batch *b = worker->batch;
    const app_values *values = &b->session->values;
    sl_ctx_options options = { .threads = (unsigned)values->threads,
                               .log = batch_log,
                               .log_user = worker->batch,
                               .progress = on_progress };
    sl_status status = worker->ctx ? SL_OK : sl_ctx_new(&options, &worker->ctx);
    for (size_t i = 0; i < b->step_count && status == SL_OK; i++) {
        if (!worker->model[i])
            status = sl_model_open(worker->ctx, b->model[i], &worker->model[i]);
        if (status == SL_OK && !worker->state[i])
            status = b->step[i]->prepare(worker, worker->model[i], &worker->state[i]);
    }
    worker->is_ready = status == SL_OK;
    return status == SL_OK ? SL_OK : fail(worker, status);
}

app_exit batch_workers_new(batch *b)
{
    const char *devices = b->session->values.device ? b->session->values.device : "";
    b->worker_count = 1;
    for (const char *at = devices; (at = strchr(at, ',')); at++)
        b->worker_count++;
    if (b->worker_count > BATCH_MAX_WORKERS)
        return app_usage(b->session->command, "--device: at most %d devices", BATCH_MAX_WORKERS);
    b->worker = calloc(b->worker_count, sizeof(*b->worker));
    bool ok = b->worker != NULL;
    for (size_t i = 0; ok && i < b->worker_count; i++) {
        size_t length = strcspn(devices, ",");
        b->worker[i].batch = b;
        if (length == 0 && b->worker_count > 1)
            return app_usage(b->session->command, "--device %s: a name is missing between commas",
                             b->session->values.device);
        if (length)
            ok = (b->worker[i].device = strndup(devices, length)) != NULL;
        devices += length + (devices[length] == ',');
    }
    if (!ok)
        app_error("out of memory");
    return ok ? APP_DONE : APP_FAILED;
}

void batch_workers_free(batch *b)
{
    for (size_t i = 0; b->worker && i < b->worker_count; i++) {
        batch_worker *worker = &b->worker[i];
        for (size_t k = 0; k < b->step_count; k++) {
            b->step[k]->finish(worker->state[k]);
            sl_model_free(worker->model[k]);
        }
        sl_ctx_free(worker->ctx);
        free(worker->device);
    }
    free(b->worker);
    b->worker = NULL;
}
