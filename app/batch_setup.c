// SPDX-License-Identifier: MIT
// app/batch_setup.c: what a batch needs to know before it looks at a picture: whether the command
// line makes sense, where things go, which models serve.
#include "batch.h"

#include "jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_MEMORY ((uint64_t)2 << 30)
#define MOST_FOR_TILES ((uint64_t)512 << 20)
#define MOST_JOBS 32                       // as of --jobs
#define PROGRAM_BYTES ((uint64_t)64 << 20) // the program and its threads, without models

static app_exit check_values(batch *b, int count)
{
    const app_values *values = &b->session->values;
    if (count == 0 && !values->files0_from)
        return app_usage(b->session->command, "name folders or pictures, or give --files0-from");
    if (!values->output)
        return app_usage(b->session->command, "say where to write, with -o");
    if (values->watch && (values->files0_from || values->dry_run))
        return app_usage(b->session->command,
                         "--watch looks at folders and works; neither --files0-from nor --dry-run "
                         "goes with it");
    app_exit result = batch_read_formats(b);
    for (size_t i = 0; i < b->step_count && result == APP_DONE; i++)
        result = b->step[i]->check(b);
    return result;
}

// ---- places

char *batch_table_name(const batch_shard *shard, const char *path)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    size_t stem = dot && dot != path ? (size_t)(dot - path) : strlen(path);
    char *out = NULL;
    if (shard->count == 1)
        return strdup(path);
    if (asprintf(&out, "%.*s.%" PRIu64 "-of-%" PRIu64 "%s", (int)stem, path, shard->index,
                 shard->count, path + stem) < 0)
        return NULL;
    return out;
}

char *batch_table_path(const batch *b, const batch_step *step)
{
    char name[64];
    step->table_name(b, name, sizeof(name));
    return b->folder ? batch_join(b->folder, name) : strdup(b->session->values.output);
}

// One table for each step that makes one: in the folder, or the file that -o names.
static app_exit name_tables(batch *b)
{
    const char *first = NULL;
    for (size_t i = 0; i < b->step_count; i++) {
        const batch_step *step = b->step[i];
        if (!step->table)
            continue;
        if (!b->folder && first)
            return app_usage(b->session->command,
                             "-o %s: %s and %s each write a table; name a folder, ending in /",
                             b->session->values.output, first, step->name);
        first = step->name;
        char *path = batch_table_path(b, step);
        b->table[i] = path ? batch_table_name(&b->shard, path) : NULL;
        free(path);
        if (!b->table[i])
            return batch_out_of_memory();
    }
    return APP_DONE;
}

static void forget_places(batch *b)
{
    free(b->folder);
    free(b->journals);
    b->folder = b->journals = NULL;
    for (size_t i = 0; i < BATCH_MAX_STEPS; i++) {
        free(b->table[i]);
        b->table[i] = NULL;
    }
}

app_exit batch_find_places(batch *b)
{
    const char *output = b->session->values.output, *slash = strrchr(output, '/');
    bool is_folder =
        b->writes_pictures || batch_has_step(b, &batch_step_detect) || app_names_folder(output);
    forget_places(b);
    if (is_folder) {
        b->folder = strdup(output);
        while (b->folder && strlen(b->folder) > 1 && app_ends_in_slash(b->folder))
            b->folder[strlen(b->folder) - 1] = '\0';
        b->journals = b->folder ? batch_join(b->folder, BATCH_FOLDER) : NULL;
    } else {
        size_t before = slash ? (size_t)(slash - output) + 1 : 0;
        if (asprintf(&b->journals, "%.*s.%s%s", (int)before, output, output + before,
                     BATCH_FOLDER) < 0)
            b->journals = NULL;
    }
    if (!b->journals)
        return batch_out_of_memory();
    if (is_folder && !app_is_directory(b->folder) && access(b->folder, F_OK) == 0)
        return app_usage(b->session->command, "-o %s: is a file; name a folder", b->folder);
    return name_tables(b);
}

// Pictures inside of the folder that they are written to would be read and written at once.
static app_exit check_inside(const batch *b, int count, char **operands)
{
    char *out = b->writes_pictures ? realpath(b->folder, NULL) : NULL;
    app_exit result = APP_DONE;
    size_t length = out ? strlen(out) : 0;
    for (int i = 0; i < count && out && result == APP_DONE; i++) {
        char *in = app_is_directory(operands[i]) ? realpath(operands[i], NULL) : NULL;
        if (in && strncmp(in, out, length) == 0 &&
            (in[length] == '\0' || in[length] == '/' || length == 1))
            result = app_usage(b->session->command,
                               "%s: lies in the output folder %s; name another output folder",
                               operands[i], b->folder);
        free(in);
    }
    free(out);
    return result;
}

// ---- models

static app_exit architecture_of(batch *b, const char *path, char out[64])
{
    sl_ctx *ctx = b->session->ctx;
    sl_model *model = NULL;
    char *text = NULL;
    sl_status status = sl_model_open(ctx, path, &model);
    if (status == SL_OK)
        status = sl_model_describe(ctx, model, 0, 0, false, &text);
    json_t *root = text ? json_loads(text, 0, NULL) : NULL;
    const char *name = json_string_value(json_object_get(root, "architecture"));
    snprintf(out, 64, "%s", name ? name : "");
    json_decref(root);
    free(text);
    sl_model_free(model);
    return status == SL_OK ? APP_DONE : app_fail(b->session, status);
}

static app_exit take_model(batch *b, const char *given)
{
    char architecture[64], *path = NULL;
    sl_status status = app_find_model(b->session->ctx, given, "", &path);
    app_exit result =
        status == SL_OK ? architecture_of(b, path, architecture) : app_fail(b->session, status);
    size_t i = 0;
    while (result == APP_DONE && i < b->step_count &&
           strcmp(b->step[i]->architecture, architecture) != 0)
        i++;
    if (result == APP_DONE && i == b->step_count)
        result =
            app_usage(b->session->command, "--model %s: a model of architecture %s serves no step",
                      given, architecture);
    else if (result == APP_DONE && b->model[i])
        result = app_usage(b->session->command, "--model %s: %s has another already", given,
                           b->step[i]->name);
    else if (result == APP_DONE) {
        b->model[i] = path;
        path = NULL;
    }
    free(path);
    return result;
}

static app_exit find_models(batch *b)
{
    const app_values_list *given = &b->session->values.models;
    app_exit result = APP_DONE;
    for (size_t i = 0; i < given->count && result == APP_DONE; i++)
        result = take_model(b, given->item[i]);
    for (size_t i = 0; i < b->step_count && result == APP_DONE; i++) {
        sl_status status = SL_OK;
        if (!b->model[i])
            status = sl_model_find(b->session->ctx, b->step[i]->architecture, &b->model[i]);
        if (status != SL_OK)
            result = app_fail(b->session, status);
    }
    for (size_t i = 0; i < b->step_count && result == APP_DONE; i++)
        if (b->step[i]->open)
            result = b->step[i]->open(b);
    return result;
}

// ---- memory

static uint64_t file_bytes(const char *path)
{
    FILE *file = fopen(path, "re");
    off_t end = file && fseeko(file, 0, SEEK_END) == 0 ? ftello(file) : 0;
    if (file)
        fclose(file);
    return end > 0 ? (uint64_t)end : 0;
}

// Each worker has its models, mapped and packed, and a network's activations; pictures on their way
// get what is left.
static app_exit share_memory(batch *b)
{
    uint64_t memory = b->session->values.memory ? b->session->values.memory : DEFAULT_MEMORY;
    uint64_t each = 0, fixed = PROGRAM_BYTES;
    b->tile_bytes = memory / 4 < MOST_FOR_TILES ? memory / 4 : MOST_FOR_TILES;
    for (size_t i = 0; i < b->step_count; i++)
        each += 2 * file_bytes(b->model[i]) + (b->step[i]->changes_picture ? b->tile_bytes : 0);
    each += b->network_bytes + (b->refine ? 2 * file_bytes(b->refine) : 0);
    fixed += each * b->worker_count;
    if (fixed + PROGRAM_BYTES > memory)
        return app_usage(b->session->command,
                         "--memory: %zu %s need %llu MiB before the first picture; give more",
                         b->worker_count, app_plural(b->worker_count, "device", "devices"),
                         (unsigned long long)((fixed + PROGRAM_BYTES) >> 20));
    b->item_bytes = memory - fixed;
    return APP_DONE;
}

app_exit batch_open_log(batch *b)
{
    const char *path = b->session->values.log;
    if (!path || b->log)
        return APP_DONE;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd >= 0)
        b->log = fdopen(fd, "a");
    if (b->log)
        return APP_DONE;
    app_error("--log %s: cannot be written: %s", path, strerror(errno));
    return APP_FAILED;
}

void batch_lose_log(batch *b, int error)
{
    char message[1024];
    pthread_mutex_lock(&b->print);
    bool is_first = !b->log_error;
    if (is_first)
        b->log_error = error ? error : EIO;
    pthread_mutex_unlock(&b->print);
    snprintf(message, sizeof(message), "--log %s: cannot be written: %s; lines of it are missing",
             b->session->values.log, strerror(b->log_error));
    if (is_first)
        batch_say(b, message);
}

app_exit batch_close_log(batch *b, app_exit result)
{
    if (b->log && fclose(b->log) != 0)
        batch_lose_log(b, errno);
    b->log = NULL;
    return b->log_error && result != APP_INTERRUPTED ? APP_FAILED : result;
}

// A picture to be deblurred keeps all processors busy for long, and is decoded beside it. One to be
// labelled may be more work to decode than to look at, or less: whatever waits, all are busy.
static void share_processors(batch *b)
{
    app_values *values = &b->session->values;
    uint64_t jobs = sl_processors();
    if (b->writes_pictures)
        jobs /= 4;
    if (!values->jobs)
        values->jobs = jobs < 1 ? 1 : jobs > MOST_JOBS ? MOST_JOBS : jobs;
}

app_exit batch_setup(batch *b, int count, char **operands)
{
    app_exit result = check_values(b, count);
    if (result == APP_DONE)
        result = batch_read_shard(b->session, &b->shard);
    if (result == APP_DONE)
        result = batch_find_places(b);
    if (result == APP_DONE)
        result = check_inside(b, count, operands);
    if (result == APP_DONE)
        result = batch_workers_new(b);
    if (result == APP_DONE)
        result = find_models(b);
    if (result == APP_DONE)
        result = share_memory(b);
    if (result == APP_DONE)
        result = batch_find_settings(b);
    share_processors(b);
    return result;
}

void batch_setup_free(batch *b)
{
    for (size_t i = 0; i < BATCH_MAX_STEPS; i++)
        free(b->model[i]);
    forget_places(b);
    free(b->settings_text);
    free(b->sorting);
    free(b->refine);
    json_decref(b->notes);
    free(b->todo);
    free(b->by_target);
    if (b->watch >= 0)
        close(b->watch);
}
