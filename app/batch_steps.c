// SPDX-License-Identifier: MIT
// app/batch_steps.c: the table of what a batch can do with a picture, and chains of it; the files
// that are made of all pictures.
#include "batch_detect.h"
#include "jobs.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const batch_step *const steps[] = { &batch_step_deblur, &batch_step_classify,
                                           &batch_step_detect };

static const batch_step *find(const char *name, size_t length)
{
    for (size_t i = 0; i < APP_LEN(steps); i++)
        if (strlen(steps[i]->name) == length && memcmp(steps[i]->name, name, length) == 0)
            return steps[i];
    return NULL;
}

bool batch_has_step(const batch *b, const batch_step *step)
{
    for (size_t i = 0; i < b->step_count; i++)
        if (b->step[i] == step)
            return true;
    return false;
}

app_exit batch_add_notes(batch *b, const batch_step *step, json_t *notes)
{
    if (!b->notes)
        b->notes = json_object();
    if (json_object_set_new(b->notes, step->name, notes) == 0)
        return APP_DONE;
    app_error("out of memory");
    return APP_FAILED;
}

static app_exit refuse(const batch *b, const char *text, size_t length)
{
    char known[256] = "";
    for (size_t i = 0; i < APP_LEN(steps); i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "", steps[i]->name);
    }
    return app_usage(b->session->command,
                     "\"%.*s\" is nothing that a batch does; name what to do first, one of %s, or "
                     "several with commas between",
                     (int)(length < 64 ? length : 64), text, known);
}

app_exit batch_write_tables(const batch *b)
{
    app_exit result = APP_DONE;
    for (size_t i = 0; i < b->step_count && result == APP_DONE; i++)
        if (b->table[i])
            result = b->step[i]->table(b, b->table[i]);
    for (size_t i = 0; i < b->step_count && result == APP_DONE; i++)
        if (b->step[i]->tables)
            result = b->step[i]->tables(b);
    return result;
}

app_exit batch_read_steps(batch *b, const char *text)
{
    for (;;) {
        size_t length = strcspn(text, ",");
        const batch_step *step = find(text, length);
        if (!step || b->step_count == BATCH_MAX_STEPS)
            return refuse(b, text, length);
        for (size_t i = 0; i < b->step_count; i++)
            if (b->step[i] == step)
                return app_usage(b->session->command, "%s is named twice", step->name);
        b->step[b->step_count++] = step;
        b->writes_pictures = b->writes_pictures || step->changes_picture;
        if (!text[length])
            return APP_DONE;
        text += length + 1;
    }
}

// ---- what stands where tables, report and log go

typedef struct owner {
    const char *name; // of a file beside the journals
    bool is_ours;
} owner;

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// A run's own table, and the one into which merge joins those of shards.
static void see_run(void *user, const batch_record *r, uint64_t where)
{
    owner *o = user;
    batch_shard shard = { 1, 1 };
    (void)where;
    if (r->state != BATCH_RUN || o->is_ours)
        return;
    if (sscanf(r->name, "%" SCNu64 "/%" SCNu64, &shard.index, &shard.count) != 2)
        shard = (batch_shard) { 1, 1 };
    char *part = batch_table_name(&shard, o->name);
    const char *table = last_part(r->output);
    o->is_ours = strcmp(table, o->name) == 0 || (part && strcmp(table, part) == 0);
    free(part);
}

static bool is_own_table(const batch *b, const char *path)
{
    owner o = { .name = last_part(path) };
    batch_history history;
    if (batch_history_read(b->journals, see_run, &o, &history) == APP_DONE)
        batch_history_free(&history);
    return o.is_ours;
}

static bool is_there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

// A picture, or a link to one.
static bool is_picture(const batch *b, const char *path)
{
    struct stat st;
    return (lstat(path, &st) == 0 && batch_is_input(&b->list, &st)) ||
           (stat(path, &st) == 0 && batch_is_input(&b->list, &st));
}

static app_exit refuse_place(const char *option, const char *path, bool is_input)
{
    app_error(is_input ? "%s%s: is a picture to work on; name another file"
                       : "%s%s: exists and was not made by this batch; name another file or add "
                         "--overwrite",
              option, path);
    return APP_FAILED;
}

app_exit batch_check_kind(const char *option, const char *path)
{
    char *why = app_output_refusal(path, true, true);
    if (!why)
        return APP_DONE;
    app_error("%s%s", option, why);
    free(why);
    return APP_FAILED;
}

static bool is_one(const char *path, const char *other)
{
    return path && other && batch_is_same_place(path, other);
}

app_exit batch_check_apart(const batch *b, const char *path)
{
    const app_values *values = &b->session->values;
    const char *const files[][2] = { { "--log", values->log }, { "--report", values->report } };
    for (size_t i = 0; i < APP_LEN(files); i++)
        if (is_one(path, files[i][1]))
            return app_usage(b->session->command,
                             "%s %s: is a table of the batch, too; name another file", files[i][0],
                             files[i][1]);
    return APP_DONE;
}

static app_exit check_table(const batch *b, const char *path)
{
    bool is_input = is_picture(b, path);
    app_exit result = batch_check_apart(b, path);
    if (result == APP_DONE)
        result = batch_check_kind("", path);
    if (result != APP_DONE)
        return result;
    if (!is_input && (b->session->values.overwrite || !is_there(path) || is_own_table(b, path)))
        return APP_DONE;
    return refuse_place("", path, is_input);
}

// Where a shard's table goes and where merge will put that of all.
static app_exit check_tables(const batch *b, size_t step)
{
    char *whole = batch_table_path(b, b->step[step]);
    app_exit result = check_table(b, b->table[step]);
    if (result == APP_DONE && whole && b->shard.count > 1)
        result = check_table(b, whole);
    free(whole);
    return result;
}

app_exit batch_check_places(const batch *b)
{
    const app_values *values = &b->session->values;
    app_exit result = APP_DONE;
    if (is_one(values->log, values->report))
        result = app_usage(b->session->command, "--report %s: is the --log, too; name another file",
                           values->report);
    for (size_t i = 0; i < b->step_count && result == APP_DONE; i++)
        if (b->table[i])
            result = check_tables(b, i);
    if (result == APP_DONE && batch_has_step(b, &batch_step_detect))
        result = batch_check_tables(b);
    if (result == APP_DONE && values->log && is_picture(b, values->log))
        result = refuse_place("--log ", values->log, true);
    if (result == APP_DONE && values->report)
        result = batch_check_kind("--report ", values->report);
    if (result != APP_DONE || !values->report || !is_there(values->report))
        return result;
    bool is_input = is_picture(b, values->report);
    if (is_input || (!values->overwrite && !batch_is_report(values->report)))
        result = refuse_place("--report ", values->report, is_input);
    return result;
}

// As a run of no shard, which has formats and a table but no steps: whoever looks for shards or
// settings passes over it. Into a journal of its own: a batch may be writing that of a shard.
static app_exit journal_tables(const batch *b, const char *table, json_t *formats)
{
    const batch_shard none = { 0, 1 };
    batch_journal *journal = NULL;
    json_t *root = json_pack("{s:{s:{s:O}}}", "notes", batch_step_detect.name, "formats", formats);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    const batch_record record = { .state = BATCH_RUN,
                                  .settings = b->settings,
                                  .name = "merge",
                                  .output = table,
                                  .detail = text };
    app_exit result = text ? batch_journal_open(b->journals, &none, &journal) : APP_FAILED;
    if (!text)
        app_error("out of memory");
    if (result == APP_DONE && !batch_journal_add(journal, &record)) {
        app_error("%s: cannot be written: %s", b->journals, strerror(batch_journal_error(journal)));
        result = APP_FAILED;
    }
    batch_journal_close(journal);
    free(text);
    json_decref(root);
    return result;
}

app_exit batch_note_tables(const batch *b)
{
    const char *table = NULL;
    json_t *formats = NULL;
    app_exit result = APP_DONE;
    for (size_t i = 0; i < b->step_count; i++)
        if (b->table[i] && !is_own_table(b, b->table[i]))
            table = b->table[i];
    if (batch_has_step(b, &batch_step_detect))
        result = batch_new_tables(b, &formats);
    else
        formats = json_array();
    if (result == APP_DONE && (table || json_array_size(formats)))
        result = journal_tables(b, table, formats);
    json_decref(formats);
    return result;
}
