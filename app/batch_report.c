// SPDX-License-Identifier: MIT
// app/batch_report.c: --report: one page of HTML that holds all of itself and works offline.
#include "batch.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SHOWN_PICTURES 12
#define SHOWN_FAILURES 1000
#define SHOWN_LABELS 100
#define MAX_LABELS 65536
#define BARS 16
// What every page begins with, and is told by.
#define HEAD                                                                                       \
    "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"                              \
    "<meta name=\"viewport\" content=\"width=device-width\">\n"                                    \
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "                  \
    "style-src 'unsafe-inline'; img-src data:\">\n<title>softlens batch: "

typedef struct shown {
    double share; // of the picture that was changed
    const batch_picture *picture;
} shown;

typedef struct label_count {
    char *label;
    size_t count;
} label_count;

typedef struct report {
    batch *b;
    FILE *file;
    size_t done, failed, linked;
    double seconds;              // of work, over all pictures
    size_t bars[BARS];           // of seconds, by powers of two from 1 ms on
    shown shown[SHOWN_PICTURES]; // most changed first
    size_t shown_count;
    label_count *labels; // by label while counting
    size_t label_count, label_capacity;
} report;

// ---- counting

static int compare_label(const void *key, const void *item)
{
    return strcmp(key, ((const label_count *)item)->label);
}

static void count_label(report *r, const char *label)
{
    label_count *found =
        r->label_count ? bsearch(label, r->labels, r->label_count, sizeof(*found), compare_label)
                       : NULL;
    if (found) {
        found->count++;
        return;
    }
    if (r->label_count == r->label_capacity) {
        size_t capacity = r->label_capacity ? 2 * r->label_capacity : 64;
        label_count *grown =
            capacity <= MAX_LABELS ? reallocarray(r->labels, capacity, sizeof(*grown)) : NULL;
        if (!grown)
            return;
        r->labels = grown;
        r->label_capacity = capacity;
    }
    char *copy = strdup(label);
    size_t at = r->label_count;
    if (!copy)
        return;
    for (; at > 0 && strcmp(r->labels[at - 1].label, label) > 0; at--)
        r->labels[at] = r->labels[at - 1];
    r->labels[at] = (label_count) { copy, 1 };
    r->label_count++;
}

static void keep_most_changed(report *r, const batch_picture *p, double share)
{
    size_t at = r->shown_count < SHOWN_PICTURES ? r->shown_count++ : SHOWN_PICTURES;
    if (at == SHOWN_PICTURES && r->shown[--at].share >= share)
        return;
    for (; at > 0 && r->shown[at - 1].share < share; at--)
        r->shown[at] = r->shown[at - 1];
    r->shown[at] = (shown) { share, p };
}

static void count_found(report *r, const batch_picture *p, const char *detail)
{
    json_t *root = json_loads(detail, 0, NULL);
    const json_t *deblur = json_object_get(root, batch_step_deblur.name);
    bool is_linked = json_is_true(json_object_get(deblur, "unchanged"));
    r->linked += is_linked;
    if (deblur && !is_linked)
        keep_most_changed(r, p, json_number_value(json_object_get(deblur, "blurred_share")));
    for (size_t i = 0; i < r->b->step_count; i++) {
        const batch_step *step = r->b->step[i];
        const json_t *found = json_object_get(root, step->name);
        const char *label;
        for (size_t k = 0; found && step->label && (label = step->label(found, k)); k++)
            count_label(r, label);
    }
    json_decref(root);
}

static void count_picture(report *r, const batch_picture *p)
{
    batch_record record;
    char *line = NULL;
    if (p->known == BATCH_FAILED)
        r->failed++;
    if (p->known != BATCH_DONE || !p->record ||
        !batch_read_record(&r->b->history, p->record - 1, &record, &line)) {
        free(line);
        return;
    }
    r->done++;
    r->seconds += record.seconds;
    double steps = log2(record.seconds * 1000);
    size_t bar = steps > 0 ? (size_t)steps : 0;
    r->bars[bar < BARS ? bar : BARS - 1]++;
    count_found(r, p, record.detail);
    free(line);
}

// ---- the page

static void put_text(FILE *file, const char *text)
{
    char *utf8 = app_utf8(text);
    for (const char *at = utf8 ? utf8 : ""; *at; at++) {
        switch (*at) {
        case '<':
            fputs("&lt;", file);
            break;
        case '>':
            fputs("&gt;", file);
            break;
        case '&':
            fputs("&amp;", file);
            break;
        case '"':
            fputs("&quot;", file);
            break;
        default:
            fputc((unsigned char)*at < 0x20 ? ' ' : *at, file);
        }
    }
    free(utf8);
}

static void put_head(const report *r)
{
    const char *place = r->b->session->values.output;
    fputs(HEAD, r->file);
    put_text(r->file, place);
    fputs("</title>\n<style>\n"
          ":root{color-scheme:light dark}\n"
          "body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 "
          "1rem}\n"
          "h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2.2rem}\n"
          "dl{display:flex;flex-wrap:wrap;gap:1.5rem}dt{font-size:.8rem;opacity:.7}\n"
          "dd{margin:0;font-size:1.3rem;font-variant-numeric:tabular-nums}\n"
          "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem "
          ".25rem 0;border-top:1px solid #8884;vertical-align:top;overflow-wrap:anywhere}\n"
          "td.n{text-align:right;font-variant-numeric:tabular-nums}\n"
          "figure{margin:0 0 1.2rem}figure img{max-width:49%;vertical-align:top}\n"
          "figcaption{font-size:.85rem;overflow-wrap:anywhere}\n"
          "code{overflow-wrap:anywhere}rect{fill:#3b7dd8}svg "
          "text{font-size:9px;fill:currentColor}\n</style>\n<h1>",
          r->file);
    put_text(r->file, place);
    fputs("</h1>\n", r->file);
}

static void put_fact(const report *r, const char *name, const char *format, double value)
{
    fprintf(r->file, "<div><dt>%s</dt><dd>", name);
    fprintf(r->file, strcmp(format, "count") == 0 ? "%.0f" : "%.2f", value);
    fputs("</dd></div>\n", r->file);
}

static void put_facts(const report *r)
{
    const batch_counts *c = &r->b->counts;
    size_t other = r->b->list.count - r->done - r->failed;
    fputs("<dl>\n", r->file);
    put_fact(r, "pictures", "count", (double)r->b->list.count);
    put_fact(r, "done", "count", (double)r->done);
    put_fact(r, "left as they were", "count", (double)r->linked);
    put_fact(r, "failed", "count", (double)r->failed);
    if (other)
        put_fact(r, "neither", "count", (double)other);
    if (r->b->seconds > 0)
        put_fact(r, "pictures/s, last run", "rate", (double)c->done / r->b->seconds);
    if (r->done)
        put_fact(r, "seconds of work a picture", "rate", r->seconds / (double)r->done);
    fputs("</dl>\n", r->file);
}

static void put_bars(const report *r)
{
    size_t most = 1;
    if (!r->done)
        return;
    for (size_t i = 0; i < BARS; i++)
        most = r->bars[i] > most ? r->bars[i] : most;
    fputs("<h2>Time for a picture</h2>\n<svg id=\"times\" viewBox=\"0 0 640 150\" role=\"img\" "
          "aria-label=\"How many pictures took how long\">\n",
          r->file);
    for (size_t i = 0; i < BARS; i++) {
        double height = 110.0 * (double)r->bars[i] / (double)most;
        double least = ldexp(0.001, (int)i);
        fprintf(r->file,
                "<rect x=\"%zu\" y=\"%.1f\" width=\"36\" height=\"%.1f\"><title>%zu</title></rect>",
                i * 40, 120 - height, height, r->bars[i]);
        if (least < 1)
            fprintf(r->file, "<text x=\"%zu\" y=\"138\">%.0f ms</text>\n", i * 40, least * 1000);
        else
            fprintf(r->file, "<text x=\"%zu\" y=\"138\">%.0f s</text>\n", i * 40, least);
    }
    fputs("</svg>\n<p>From the time under a bar to that under the next; reading, computing and "
          "writing, without waiting.</p>\n",
          r->file);
}

static int by_count(const void *a, const void *b)
{
    const label_count *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return strcmp(x->label, y->label);
}

static void put_labels(const report *r)
{
    if (!r->label_count)
        return;
    qsort(r->labels, r->label_count, sizeof(*r->labels), by_count);
    fputs("<h2>What was seen</h2>\n<table id=\"labels\"><tr><th>class<th>how often\n", r->file);
    for (size_t i = 0; i < r->label_count && i < SHOWN_LABELS; i++) {
        fputs("<tr><td>", r->file);
        put_text(r->file, r->labels[i].label);
        fprintf(r->file, "<td class=\"n\">%zu\n", r->labels[i].count);
    }
    fputs("</table>\n", r->file);
    if (r->label_count > SHOWN_LABELS)
        fprintf(r->file, "<p>and %zu classes more</p>\n", r->label_count - SHOWN_LABELS);
}

static void put_failures(const report *r)
{
    size_t told = 0;
    if (!r->failed)
        return;
    fputs("<h2>Failed</h2>\n<table id=\"failures\"><tr><th>picture<th>why\n", r->file);
    for (size_t i = 0; i < r->b->list.count && told < SHOWN_FAILURES; i++) {
        const batch_picture *p = &r->b->list.picture[i];
        batch_record record;
        char *line = NULL;
        if (p->known != BATCH_FAILED)
            continue;
        told++;
        fputs("<tr><td>", r->file);
        put_text(r->file, p->name);
        fputs("<td>", r->file);
        if (batch_read_record(&r->b->history, p->record - 1, &record, &line))
            put_text(r->file, record.detail);
        fputs("\n", r->file);
        free(line);
    }
    fputs("</table>\n", r->file);
    if (r->failed > told)
        fprintf(r->file, "<p>and %zu more</p>\n", r->failed - told);
}

static void put_image(const report *r, const char *path, const char *what)
{
    char *place = batch_join(r->b->journals, "thumbnail.jpg");
    char *scratch = place ? batch_temporary(place) : NULL; // other shards write reports, too
    char *coded = scratch ? batch_thumbnail(r->b->session->ctx, path, scratch) : NULL;
    if (coded)
        fprintf(r->file, "<img alt=\"%s\" src=\"data:image/jpeg;base64,%s\">\n", what, coded);
    free(coded);
    free(scratch);
    free(place);
}

static void put_pictures(const report *r)
{
    if (!r->shown_count)
        return;
    fputs("<h2>Most changed</h2>\n", r->file);
    for (size_t i = 0; i < r->shown_count; i++) {
        const batch_picture *p = r->shown[i].picture;
        char *after = p->target && r->b->folder ? batch_join(r->b->folder, p->target) : NULL;
        fputs("<figure>\n", r->file);
        if (p->path)
            put_image(r, p->path, "before");
        if (after)
            put_image(r, after, "after");
        fputs("<figcaption>", r->file);
        put_text(r->file, p->name);
        fprintf(r->file, ": %.1f %% of its windows computed</figcaption>\n</figure>\n",
                100 * r->shown[i].share);
        free(after);
    }
}

static void put_page(const report *r)
{
    put_head(r);
    put_facts(r);
    put_bars(r);
    put_labels(r);
    put_failures(r);
    put_pictures(r);
    fputs("<h2>Settings</h2>\n<p><code>", r->file);
    put_text(r->file, r->b->settings_text ? r->b->settings_text : "");
    fputs("</code></p>\n</html>\n", r->file);
}

bool batch_is_report(const char *path)
{
    char bytes[sizeof(HEAD) - 1];
    struct stat st;
    // A pipe in its place must not hold us.
    FILE *file = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? fopen(path, "re") : NULL;
    bool is_ours = file && fread(bytes, 1, sizeof(bytes), file) == sizeof(bytes) &&
                   memcmp(bytes, HEAD, sizeof(bytes)) == 0;
    if (file)
        fclose(file);
    return is_ours;
}

app_exit batch_write_report(batch *b)
{
    const char *path = b->session->values.report;
    report r = { .b = b };
    char *temporary = NULL;
    if (!path)
        return APP_DONE;
    for (size_t i = 0; i < b->list.count; i++)
        count_picture(&r, &b->list.picture[i]);
    r.file = batch_file_new(path, &temporary);
    int error = r.file ? 0 : errno;
    if (r.file) {
        put_page(&r);
        error = batch_file_finish(r.file, path, temporary, true);
    }
    for (size_t i = 0; i < r.label_count; i++)
        free(r.labels[i].label);
    free(r.labels);
    if (error)
        app_error("--report %s: cannot be written: %s", path, strerror(error));
    return error ? APP_FAILED : APP_DONE;
}
