// SPDX-License-Identifier: MIT
// app/batch_detect_table.c: what was found in many pictures as one file, made from the journals
// when all is dealt with: in the order of names, and the same however often the batch was
// interrupted and on how many machines.
#include "batch_detect.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct tables {
    const batch *b;
    const char **labels;
    size_t label_count;
    sl_detect_file *file[APP_DETECT_FORMATS];
} tables;

static json_t *names_of(unsigned formats)
{
    json_t *list = json_array();
    for (size_t f = 0; f < APP_DETECT_FORMATS; f++)
        if (formats & BATCH_FORMAT(f))
            json_array_append_new(list, json_string(app_detect_kinds[f].name));
    return list;
}

json_t *batch_table_notes(const batch *b)
{
    return names_of(b->data_formats);
}

// Those that the notes of a run name.
static unsigned formats_in(const json_t *notes)
{
    const json_t *list = json_object_get(json_object_get(notes, batch_step_detect.name), "formats");
    unsigned formats = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        size_t format = name ? app_detect_format(name, strlen(name)) : APP_DETECT_FORMATS;
        if (format < APP_DETECT_FORMATS)
            formats |= BATCH_FORMAT(format);
    }
    return formats;
}

// As asked for now, or by the last run.
static unsigned formats_of_many(const batch *b)
{
    unsigned formats = b->data_formats ? b->data_formats : formats_in(b->notes);
    return formats & ~BATCH_FORMATS_OF_ONE;
}

static char *name_of(const batch *b, const batch_shard *shard, size_t format)
{
    char *whole = batch_join(b->folder, app_detect_kinds[format].many);
    char *own = whole ? batch_table_name(shard, whole) : NULL;
    free(whole);
    return own;
}

bool batch_is_of_tables(const batch *b, const char *name)
{
    unsigned formats = formats_of_many(b);
    const char *ending = strrchr(name, '.');
    bool is_one = (formats & BATCH_FORMAT(SL_DETECT_YOLO)) && // of which there is one a picture
                  (strcmp(name, "data.yaml") == 0 || (ending && strcmp(ending, ".txt") == 0));
    for (size_t f = 0; f < APP_DETECT_FORMATS && !is_one; f++) {
        char *path = formats & BATCH_FORMAT(f) ? name_of(b, &b->shard, f) : NULL;
        is_one = path && strcmp(strrchr(path, '/') + 1, name) == 0;
        free(path);
    }
    return is_one;
}

// ---- what stands where they go

typedef struct owned {
    const batch *b;
    bool is_known;    // once a place was found taken: journals may be long
    unsigned formats; // that a run in this folder, or merge, was asked for: their tables are a
                      // batch's own
} owned;

static void see_run(void *user, const batch_record *r, uint64_t where)
{
    owned *o = user;
    json_t *root = r->state == BATCH_RUN ? json_loads(r->detail, 0, NULL) : NULL;
    (void)where;
    o->formats |= formats_in(json_object_get(root, "notes"));
    json_decref(root);
}

static app_exit find_out(owned *o)
{
    batch_history history;
    if (o->is_known)
        return APP_DONE;
    o->is_known = true;
    app_exit result = batch_history_read(o->b->journals, see_run, o, &history);
    if (result == APP_DONE)
        batch_history_free(&history);
    return result;
}

static app_exit check_place(owned *o, const batch_shard *shard, size_t format)
{
    char *path = name_of(o->b, shard, format);
    bool is_taken = path && !o->b->session->values.overwrite && access(path, F_OK) == 0;
    app_exit result = path ? batch_check_apart(o->b, path) : batch_out_of_memory();
    if (result == APP_DONE && format != SL_DETECT_YOLO) // which is a folder
        result = batch_check_kind("", path);
    if (is_taken && result == APP_DONE)
        result = find_out(o);
    if (is_taken && result == APP_DONE && !(o->formats & BATCH_FORMAT(format))) {
        app_error("%s: exists and was not made by a batch; name another output folder or add "
                  "--overwrite",
                  path);
        result = APP_FAILED;
    }
    free(path);
    return result;
}

// Where a shard's tables go and where merge will put those of all.
app_exit batch_check_tables(const batch *b)
{
    const batch_shard all = { 1, 1 };
    owned o = { .b = b };
    unsigned formats = formats_of_many(b);
    app_exit result = APP_DONE;
    for (size_t f = 0; f < APP_DETECT_FORMATS && result == APP_DONE; f++) {
        if (!(formats & BATCH_FORMAT(f)))
            continue;
        result = check_place(&o, &b->shard, f);
        if (result == APP_DONE && b->shard.count > 1)
            result = check_place(&o, &all, f);
    }
    return result;
}

app_exit batch_new_tables(const batch *b, json_t **formats)
{
    owned o = { .b = b };
    app_exit result = find_out(&o);
    *formats = result == APP_DONE ? names_of(formats_of_many(b) & ~o.formats) : NULL;
    return result;
}

// ---- YOLO's files have names without folders

#define MAX_FLAT 236 // bytes: with ~NUMBER and .txt it is a file's name still, and so is its .part

// The `attempt`th name to try for a picture: "a/b.png" is a__b, then a__b.png, a__b.png~2, ...
// with an ending that the library takes off. A long one is cut.
static char *flat_name(const char *name, unsigned attempt)
{
    char *flat = malloc(2 * strlen(name) + 1), *end = flat, *out = NULL;
    for (const char *at = name; flat && *at; at++) {
        *end++ = *at == '/' ? '_' : *at;
        if (*at == '/')
            *end++ = '_';
    }
    if (!flat)
        return NULL;
    *end = '\0';
    size_t length = app_cut(flat, MAX_FLAT);
    bool is_cut = flat[length] != '\0'; // and with it the ending that would be taken off
    flat[length] = '\0';
    if (attempt == 0 && !is_cut)
        return flat;
    if (attempt <= 1 ? asprintf(&out, "%s.txt", flat) < 0
                     : asprintf(&out, "%s~%u.txt", flat, attempt) < 0)
        out = NULL;
    free(flat);
    return out;
}

static sl_status add_flat(sl_detect_file *file, const char *name, const sl_detections *found)
{
    sl_status status = SL_ERR_EXISTS;
    for (unsigned attempt = 0; status == SL_ERR_EXISTS && attempt < UINT16_MAX; attempt++) {
        char *flat = flat_name(name, attempt);
        status = flat ? sl_detect_file_add(file, flat, found) : SL_ERR_NOMEM;
        free(flat);
    }
    return status;
}

// What a run that was killed here left beside the files that it wrote.
static void remove_flat_parts(const char *path)
{
    char *folder = batch_join(path, "labels"), *yaml = batch_join(path, "data.yaml");
    char **parts = NULL;
    size_t count = 0;
    if (folder && batch_find_files(folder, ".part", &parts, &count))
        for (size_t i = 0; i < count; i++)
            if (strrchr(parts[i], '/')[1] == '.')
                unlink(parts[i]);
    for (size_t i = 0; i < count; i++)
        free(parts[i]);
    free(parts);
    if (yaml)
        batch_remove_parts(yaml);
    free(folder);
    free(yaml);
}

// ---- the files

static app_exit begin(tables *t)
{
    const batch *b = t->b;
    unsigned formats = formats_of_many(b);
    app_exit result = APP_DONE;
    for (size_t f = 0; f < APP_DETECT_FORMATS && result == APP_DONE; f++) {
        if (!(formats & BATCH_FORMAT(f)))
            continue;
        char *path = name_of(b, &b->shard, f);
        if (!path)
            return batch_out_of_memory();
        if (f == SL_DETECT_YOLO)
            remove_flat_parts(path);
        else
            batch_remove_parts(path);
        sl_status status = sl_detect_file_new(b->session->ctx, path, (sl_detect_format)f, t->labels,
                                              t->label_count, true, &t->file[f]);
        if (status != SL_OK)
            result = app_fail(b->session, status);
        free(path);
    }
    return result;
}

static sl_status add(const tables *t, const char *name, const sl_detections *found)
{
    sl_status status = SL_OK;
    for (size_t f = 0; f < APP_DETECT_FORMATS && status == SL_OK; f++)
        if (t->file[f])
            status = f == SL_DETECT_YOLO ? add_flat(t->file[f], name, found)
                                         : sl_detect_file_add(t->file[f], name, found);
    return status;
}

static app_exit add_picture(const tables *t, const batch_picture *p)
{
    batch_record record;
    char *line = NULL;
    app_exit result = APP_DONE;
    if (p->known != BATCH_DONE || !p->record)
        return result;
    bool ok = batch_read_record(&t->b->history, p->record - 1, &record, &line);
    json_t *root = ok ? json_loads(record.detail, 0, NULL) : NULL;
    sl_detections found;
    if (batch_found_read(json_object_get(root, batch_step_detect.name), t->labels, t->label_count,
                         &found)) {
        sl_status status = add(t, p->name, &found);
        if (status != SL_OK)
            result = app_fail(t->b->session, status);
        free(found.items);
    } else {
        app_error("%s: what the journal says of it cannot be read; run the same again with another "
                  "output folder",
                  p->name);
        result = APP_FAILED;
    }
    json_decref(root);
    free(line);
    return result;
}

// A table that cannot be written takes none of the others with it.
static app_exit finish(tables *t, app_exit result)
{
    const bool are_whole = result == APP_DONE;
    for (size_t f = 0; f < APP_DETECT_FORMATS; f++) {
        sl_status status = t->file[f] && are_whole ? sl_detect_file_finish(t->file[f]) : SL_OK;
        if (status != SL_OK)
            result = app_fail(t->b->session, status);
        sl_detect_file_free(t->file[f]);
    }
    return result;
}

app_exit batch_write_detections(const batch *b)
{
    tables t = { .b = b };
    if (!formats_of_many(b))
        return APP_DONE;
    if (!batch_found_labels(b, &t.labels, &t.label_count)) {
        if (t.label_count)
            return batch_out_of_memory();
        app_error("%s: what the last run tells of detect names no labels; run the same batch again",
                  b->journals);
        return APP_FAILED;
    }
    app_exit result = begin(&t);
    for (size_t i = 0; i < b->list.count && result == APP_DONE; i++)
        result = add_picture(&t, &b->list.picture[i]);
    result = finish(&t, result);
    free(t.labels);
    return result;
}
