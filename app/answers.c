// SPDX-License-Identifier: MIT
// app/answers.c: what is in the pictures, as a table, JSON, JSON lines or CSV.
#include "answers.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

app_exit app_answers_form(const app_session *session, app_form *out)
{
    const app_values *values = &session->values;
    if (values->json + values->jsonl + values->csv > 1)
        return app_usage(session->command, "--json, --jsonl and --csv contradict each other");
    *out = values->json    ? APP_JSON
           : values->jsonl ? APP_JSON_LINES
           : values->csv   ? APP_CSV
                           : APP_TABLE;
    return APP_DONE;
}

// ---- a table

static void print_match(const app_session *session, const sl_match *match, int width)
{
    char angle[32] = "";
    double percent = 100.0 * (double)match->probability;
    if (!isnan(match->angle_degrees))
        snprintf(angle, sizeof(angle), "%.1f deg", (double)match->angle_degrees);
    app_say(session, "  %s%*s  %9s  %6.*f %%%s", match->label, width - app_columns(match->label),
            "", angle, percent < 10 ? 2 : 1, percent, match->is_enrolled ? "  enrolled" : "");
}

static void print_table(const app_session *session, const char *input,
                        const sl_classification *found)
{
    int width = 0;
    const char *best = found->count ? found->matches[0].label : "nothing";
    if (!found->is_unknown)
        app_say(session, "%s: %s", input, best);
    else
        app_say(session, "%s: unknown (confidence %.4g, below %.4g); what comes nearest:", input,
                (double)found->confidence, (double)found->threshold);
    for (size_t i = 0; i < found->count; i++) {
        int own = app_columns(found->matches[i].label);
        width = own > width ? own : width;
    }
    for (size_t i = 0; i < found->count; i++)
        print_match(session, &found->matches[i], width);
}

// ---- JSON

static json_t *number(float x)
{
    return isfinite(x) ? json_real((double)x) : json_null();
}

static json_t *matches_json(const sl_classification *found)
{
    json_t *matches = json_array();
    for (size_t i = 0; i < found->count; i++) {
        const sl_match *m = &found->matches[i];
        json_t *match = json_object();
        app_set_text(match, "label", m->label);
        json_object_set_new(match, "angle_degrees", number(m->angle_degrees));
        json_object_set_new(match, "cosine", number(m->cosine));
        json_object_set_new(match, "probability", number(m->probability));
        json_object_set_new(match, "enrolled", json_boolean(m->is_enrolled));
        json_array_append_new(matches, match);
    }
    return matches;
}

void app_set_classification(json_t *object, const sl_classification *found)
{
    json_object_set_new(object, "unknown", json_boolean(found->is_unknown));
    json_object_set_new(object, "confidence", number(found->confidence));
    json_object_set_new(object, "threshold", number(found->threshold));
    json_object_set_new(object, "matches", matches_json(found));
}

static json_t *picture_json(const char *input, const sl_classification *found, const char *error)
{
    json_t *object = json_object();
    app_set_text(object, "input", input);
    if (found) {
        app_set_classification(object, found);
        json_object_set_new(object, "seconds", json_real(found->seconds));
        app_set_text(object, "device", found->device);
    }
    app_set_text(object, "error", error);
    return object;
}

// ---- CSV, as of RFC 4180

static void put_number(FILE *line, float x)
{
    fputc(',', line);
    if (isfinite(x)) // else the field is empty
        fprintf(line, "%.7g", (double)x);
}

// A line for a match, or with rank 0 for a picture without any.
static void print_row(const char *input, const sl_classification *found, size_t rank,
                      const char *error)
{
    char *text = NULL;
    size_t size = 0;
    FILE *line = open_memstream(&text, &size);
    if (!line)
        return;
    const sl_match *m = rank ? &found->matches[rank - 1] : NULL;
    app_put_csv_field(line, input);
    if (m) {
        fprintf(line, ",%zu,", rank);
        app_put_csv_field(line, m->label);
        put_number(line, m->angle_degrees);
        put_number(line, m->cosine);
        put_number(line, m->probability);
        fputs(m->is_enrolled ? ",true" : ",false", line);
    } else {
        fputs(",,,,,,", line);
    }
    fputs(!found ? "," : found->is_unknown ? ",true" : ",false", line);
    put_number(line, found ? found->confidence : NAN);
    put_number(line, found ? found->threshold : NAN);
    fputc(',', line);
    app_put_csv_field(line, error ? error : "");
    fputc('\r', line);
    if (fclose(line) == 0)
        app_put_line(text);
    free(text);
}

static void print_rows(const char *input, const sl_classification *found, const char *error)
{
    if (!found || found->count == 0)
        print_row(input, found, 0, error);
    for (size_t rank = 1; found && rank <= found->count; rank++)
        print_row(input, found, rank, NULL);
}

// ---- all of them

void app_answers_begin(const app_session *session, app_form form, app_answers *out)
{
    *out = (app_answers) { .session = session, .form = form };
    if (form == APP_JSON)
        out->pictures = json_array();
    if (form == APP_CSV)
        app_put_line("input,rank,label,angle_degrees,cosine,probability,enrolled,unknown,"
                     "confidence,threshold,error\r");
}

void app_answers_add(app_answers *answers, const char *input, const sl_classification *found,
                     const char *error)
{
    switch (answers->form) {
    case APP_TABLE:
        if (found)
            print_table(answers->session, input, found);
        break;
    case APP_JSON:
        json_array_append_new(answers->pictures, picture_json(input, found, error));
        break;
    case APP_JSON_LINES:
        app_put_json(picture_json(input, found, error), JSON_COMPACT | JSON_REAL_PRECISION(7));
        break;
    case APP_CSV:
        print_rows(input, found, error);
        break;
    }
}

void app_answers_end(app_answers *answers)
{
    if (answers->pictures) {
        json_t *root = json_object();
        json_object_set(root, "pictures", answers->pictures);
        app_put_json(root, JSON_INDENT(2) | JSON_REAL_PRECISION(7));
    }
    json_decref(answers->pictures);
    answers->pictures = NULL;
}
