// SPDX-License-Identifier: MIT
// app/batch_labels.c: the table of labels, made from the journals when all is dealt with: in the
// order of names, and the same however often the batch was interrupted and on how many machines.
#include "batch.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void put_number(FILE *file, const json_t *number)
{
    fputc(',', file);
    if (json_is_number(number)) // else the field is empty
        fprintf(file, "%.7g", json_number_value(number));
}

static void put_row(FILE *file, const char *name, const json_t *found, size_t rank,
                    const char *error)
{
    const json_t *match = json_array_get(json_object_get(found, "matches"), rank - 1);
    app_put_csv_field(file, name);
    if (rank) {
        const char *label = json_string_value(json_object_get(match, "label"));
        fprintf(file, ",%zu,", rank);
        app_put_csv_field(file, label ? label : "");
        put_number(file, json_object_get(match, "angle_degrees"));
        put_number(file, json_object_get(match, "cosine"));
        put_number(file, json_object_get(match, "probability"));
        fputs(json_is_true(json_object_get(match, "enrolled")) ? ",true" : ",false", file);
    } else {
        fputs(",,,,,,", file);
    }
    fputs(!found                                            ? ","
          : json_is_true(json_object_get(found, "unknown")) ? ",true"
                                                            : ",false",
          file);
    put_number(file, json_object_get(found, "confidence"));
    put_number(file, json_object_get(found, "threshold"));
    fputc(',', file);
    app_put_csv_field(file, error ? error : "");
    fputs("\r\n", file);
}

static void put_csv(FILE *file, const char *name, const json_t *found, const char *error)
{
    size_t count = json_array_size(json_object_get(found, "matches"));
    if (count == 0)
        put_row(file, name, found, 0, error);
    for (size_t rank = 1; rank <= count; rank++)
        put_row(file, name, found, rank, NULL);
}

static void put_json(FILE *file, const char *name, json_t *found, const char *error)
{
    json_t *object = json_object();
    app_set_text(object, "input", name);
    if (found)
        json_object_update(object, found);
    app_set_text(object, "error", error);
    json_dumpf(object, file, JSON_COMPACT | JSON_REAL_PRECISION(7));
    fputc('\n', file);
    json_decref(object);
}

// By the option, by what -o is called, or, where merge joins what shards wrote, by the last run.
static bool is_jsonl(const batch *b)
{
    const char *ending = b->folder ? NULL : strrchr(b->session->values.output, '.');
    const json_t *notes = json_object_get(b->notes, batch_step_classify.name);
    return b->session->values.jsonl || (ending && strcmp(ending, ".jsonl") == 0) ||
           json_is_true(json_object_get(notes, "jsonl"));
}

app_exit batch_note_labels(batch *b)
{
    return batch_add_notes(b, &batch_step_classify, json_pack("{s:b}", "jsonl", is_jsonl(b)));
}

void batch_name_labels(const batch *b, char *out, size_t size)
{
    snprintf(out, size, "labels.%s", is_jsonl(b) ? "jsonl" : "csv");
}

static void put_picture(const batch *b, FILE *file, const batch_picture *p)
{
    batch_record record;
    char *line = NULL;
    if (!p->record || !batch_read_record(&b->history, p->record - 1, &record, &line))
        return;
    bool is_good = record.state == BATCH_GOOD;
    json_t *root = is_good ? json_loads(record.detail, 0, NULL) : NULL;
    json_t *found = json_object_get(root, batch_step_classify.name);
    const char *error = is_good ? NULL : record.detail;
    if (is_jsonl(b))
        put_json(file, p->name, found, error);
    else
        put_csv(file, p->name, found, error);
    json_decref(root);
    free(line);
}

app_exit batch_write_labels(const batch *b, const char *path)
{
    char *temporary = NULL;
    batch_remove_parts(path); // of a run that was killed: the shard's lock is ours
    FILE *file = batch_file_new(path, &temporary);
    int error = file ? 0 : errno;
    if (file) {
        if (!is_jsonl(b))
            fputs("input,rank,label,angle_degrees,cosine,probability,enrolled,unknown,confidence,"
                  "threshold,error\r\n",
                  file);
        for (size_t i = 0; i < b->list.count; i++)
            if (b->list.picture[i].known == BATCH_DONE || b->list.picture[i].known == BATCH_FAILED)
                put_picture(b, file, &b->list.picture[i]);
        error = batch_file_finish(file, path, temporary, true);
    }
    if (error)
        app_error("%s: cannot be written: %s; run the same again when it can", path,
                  strerror(error));
    return error ? APP_FAILED : APP_DONE;
}
