// SPDX-License-Identifier: MIT
// app/batch.c: softlens batch: folders of any size, resumable, on one machine or many.
#include "batch.h"

#include "detect.h"
#include "jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIST_OPTION(text, field, what, sentence)                                                   \
    {                                                                                              \
        .name = text, .kind = APP_LIST, .at = APP_AT(field), .value = what, .help = sentence       \
    }

static const app_option rows[] = {
    { .name = "output",
      .letter = 'o',
      .kind = APP_FILE,
      .at = APP_AT(output),
      .value = "DIR|FILE",
      .help = "Write the same tree into DIR, tables beside it; labels alone also into FILE" },
    LIST_OPTION("include", include, "GLOB",
                "Only pictures that match, such as '*.jpg' or 'trip/*'; several times: any of them "
                "(default: names that end as pictures do)"),
    LIST_OPTION("exclude", exclude, "GLOB", "No pictures and folders that match"),
    { .name = "newer",
      .kind = APP_FILE,
      .at = APP_AT(newer),
      .value = "FILE|DATE",
      .help = "Only pictures changed after FILE was, or after a date such as 2026-01-31" },
    { .name = "files0-from",
      .kind = APP_FILE,
      .at = APP_AT(files0_from),
      .value = "FILE",
      .help =
          "Also take the pictures named in FILE, with a zero byte behind each; -: standard input" },
    { .name = "shard",
      .kind = APP_NAME,
      .at = APP_AT(shard),
      .value = "I/N",
      .help = "Only slice I of N; all slices may share one output" },
    { .name = "dry-run",
      .letter = 'n',
      .at = APP_AT(dry_run),
      .help = "Only print what would be done" },
    { .name = "watch",
      .at = APP_AT(watch),
      .help = "Then wait for more pictures in the folders, and take each when it has stopped "
              "growing" },
    { .name = "retry-failed",
      .at = APP_AT(retry_failed),
      .help = "Also try the pictures again that failed before" },
    { .name = "on-error",
      .kind = APP_CHOICE,
      .at = APP_AT(on_error),
      .value = "WHAT",
      .choices = "skip|stop",
      .help = "When a picture fails: skip it and go on, or stop (default: skip)" },
    { .name = "jobs",
      .letter = 'j',
      .kind = APP_INTEGER,
      .at = APP_AT(jobs),
      .value = "N",
      .min = 1,
      .max = 32,
      .help = "Threads that read and decode, and as many that encode and write, 1 to 32 "
              "(default: one for four processors, for labels alone one for each)" },
    { .name = "memory",
      .kind = APP_BYTES,
      .at = APP_AT(memory),
      .value = "SIZE",
      .min = 1 << 28,
      .max = 1ull << 50,
      .help = "What all of it may take, at least 256M (default: 2G)" },
    { .name = "log",
      .kind = APP_FILE,
      .at = APP_AT(log),
      .value = "FILE.jsonl",
      .help = "Append what became of each picture, a JSON object per line" },
    { .name = "report",
      .kind = APP_FILE,
      .at = APP_AT(report),
      .value = "FILE.html",
      .help = "Also write a page about it, to look at in a browser" },
    { .name = "ignore-case",
      .at = APP_AT(ignore_case),
      .help =
          "Let no two outputs differ in upper and lower case alone (default: where the output's "
          "file system demands it)" },
    { .name = "format",
      .kind = APP_NAME,
      .at = APP_AT(format),
      .value = "LIST",
      .help = "Write pictures as png or jpg (default: each one's own kind); what detect found as "
              "json, jsonl, coco, yolo, labelme, cvat, csv, or several with commas between "
              "(default: json)" },
    APP_QUALITY_OPTION(APP_KEPT),
    APP_STRIP_METADATA_OPTION,
    { .name = "min-blur",
      .kind = APP_REAL,
      .at = APP_AT(min_blur),
      .value = "S",
      .min = 0,
      .max = 1,
      .help = "Of pictures of which no more than this share is blurred, between 0 and 1, link or "
              "copy the file as it is" },
    APP_THRESHOLD_OPTION,
    APP_DENSE_OPTION,
    APP_TTA_OPTION("flip|flips", "Let deblur and detect look a second time, at the mirror image "
                                 "(flip); deblur also at both upside down (flips)"),
    APP_SHRINK_OPTION,
    { .name = "tile",
      .kind = APP_INTEGER,
      .at = APP_AT(tile),
      .value = "N",
      .min = 1,
      .max = 65535,
      .help = "Side of deblur's tiles in pixels (default: as large as a quarter of --memory and "
              "512M allow); where nothing is deblurred, let detect also look at tiles of N by N "
              "pixels" },
    { .name = "overlay",
      .at = APP_AT(overlay),
      .help = "Also write each picture with what was found drawn on it" },
    { .name = "overlay-style",
      .kind = APP_CHOICE,
      .at = APP_AT(overlay_style),
      .value = "STYLE",
      .choices = "boxes|labels|blur",
      .help = "Draw boxes with labels, labels alone, or blur what was found (default: boxes)" },
    APP_CLASSES_OPTION,
    APP_SCORE_OPTION,
    APP_FIND_OPTIONS,
    APP_REFINE_OPTION,
    APP_TOP_OPTION,
    { .name = "gallery",
      .letter = 'g',
      .kind = APP_FILE,
      .at = APP_AT(gallery),
      .value = "FILE",
      .help = "Also know the classes of this gallery; see softlens enroll. Where nothing is "
              "classified, name what detect finds anew by it" },
    APP_ONLY_GALLERY_OPTION,
    APP_UNKNOWN_RATE_OPTION(
        "Share of known pictures that may be called unknown, between 0 and 1; higher says "
        "unknown more readily (default: 0.05)"),
    APP_NO_UNKNOWN_OPTION,
    { .name = "jsonl",
      .at = APP_AT(jsonl),
      .help = "Write labels as a JSON object per picture, a line each (default: CSV, unless FILE "
              "ends in .jsonl)" },
    { .name = "sort-into",
      .kind = APP_FILE,
      .at = APP_AT(sort_into),
      .value = "DIR",
      .help = "Also link or copy each picture into DIR/LABEL/" },
    LIST_OPTION(
        "model", models, "FILE",
        "Use this model: a .safetensors or .pth file, or an installed one by its name; of a "
        "chain, one for each step that is to have another (default: the one for each)"),
    { .name = "device",
      .kind = APP_NAME,
      .at = APP_AT(device),
      .value = "NAMES",
      .help = "Where to compute, one or several with commas between, such as vulkan:0,cpu; see "
              "softlens devices (default: auto)" },
    APP_PRECISION_OPTION,
    { .name = "threads",
      .kind = APP_INTEGER,
      .at = APP_AT(threads),
      .value = "N",
      .min = 1,
      .max = 256,
      .help = "Threads that compute for each device, 1 to 256 (default: one per processor)" },
    APP_OVERWRITE_OPTION,
    APP_MAX_PIXELS_OPTION,
    APP_ALLOW_TRUNCATED_OPTION,
    { .name = "json",
      .at = APP_AT(json),
      .help = "Print the sum of it, or what would be done, as a JSON object" },
    APP_COMMON_OPTIONS,
};

// ---- the sum of it

// Pictures that were met and are not worked on.
static size_t left_out(const batch *b)
{
    return b->list.drawn + b->list.own;
}

static void print_summary(const batch *b, bool is_interrupted)
{
    const batch_counts *c = &b->counts;
    double seconds = b->seconds;
    double rate = seconds > 0 ? (double)c->done / seconds : 0;
    if (b->session->values.json) {
        json_t *o = json_object();
        app_set_text(o, "output", b->session->values.output);
        json_object_set_new(o, "pictures", json_integer((json_int_t)b->list.count));
        json_object_set_new(o, "done", json_integer((json_int_t)c->done));
        json_object_set_new(o, "unchanged", json_integer((json_int_t)c->unchanged));
        json_object_set_new(o, "done_before", json_integer((json_int_t)c->skipped));
        json_object_set_new(o, "failed", json_integer((json_int_t)c->failed));
        json_object_set_new(o, "failed_before", json_integer((json_int_t)c->known_failed));
        json_object_set_new(o, "left_out", json_integer((json_int_t)left_out(b)));
        json_object_set_new(o, "folders", json_integer((json_int_t)b->list.folders));
        json_object_set_new(o, "seconds", json_real(seconds));
        json_object_set_new(o, "pictures_per_second", json_real(rate));
        json_object_set_new(o, "interrupted", json_boolean(is_interrupted));
        app_put_json(o, JSON_COMPACT | JSON_REAL_PRECISION(9));
        return;
    }
    char parts[512] = "", *at = parts, *end = parts + sizeof(parts);
    if (c->unchanged)
        at += snprintf(at, (size_t)(end - at), ", %zu of them left as they were", c->unchanged);
    if (c->skipped)
        at += snprintf(at, (size_t)(end - at), ", %zu done before", c->skipped);
    if (c->failed)
        at += snprintf(at, (size_t)(end - at), ", %zu failed", c->failed);
    if (c->known_failed)
        at += snprintf(at, (size_t)(end - at), ", %zu failed before (--retry-failed tries again)",
                       c->known_failed);
    if (c->done)
        snprintf(at, (size_t)(end - at), ", %.*f pictures/s", rate < 10 ? 2 : 0, rate);
    app_say(b->session, "%s: %zu %s done%s", b->session->values.output, c->done,
            app_plural(c->done, "picture", "pictures"), parts);
}

static void print_plan_json(const batch *b)
{
    json_t *o = json_object(), *plan = json_array();
    app_set_text(o, "output", b->session->values.output);
    json_object_set_new(o, "to_do", json_integer((json_int_t)b->todo_count));
    json_object_set_new(o, "done_before", json_integer((json_int_t)b->counts.skipped));
    json_object_set_new(o, "failed", json_integer((json_int_t)b->counts.failed));
    json_object_set_new(o, "failed_before", json_integer((json_int_t)b->counts.known_failed));
    json_object_set_new(o, "no_pictures", json_integer((json_int_t)b->list.skipped));
    json_object_set_new(o, "left_out", json_integer((json_int_t)left_out(b)));
    json_object_set_new(o, "folders", json_integer((json_int_t)b->list.folders));
    for (size_t i = 0; i < b->todo_count; i++) {
        const batch_picture *p = &b->list.picture[b->todo[i]];
        const char *to = p->target ? p->target : p->data;
        char *output = to ? batch_join(b->folder, to) : NULL;
        json_t *one = json_object();
        app_set_text(one, "path", p->path);
        app_set_text(one, "output", output);
        json_array_append_new(plan, one);
        free(output);
    }
    json_object_set_new(o, "plan", plan);
    app_put_json(o, JSON_COMPACT);
}

static void print_plan(const batch *b)
{
    for (size_t i = 0; i < b->todo_count; i++) {
        const batch_picture *p = &b->list.picture[b->todo[i]];
        const char *to = p->target ? p->target : p->data;
        if (to)
            app_say(b->session, "%s -> %s/%s", p->path, b->folder, to);
        else
            app_say(b->session, "%s", p->path);
    }
    char more[64] = "";
    if (left_out(b))
        snprintf(more, sizeof(more), ", %zu left out", left_out(b));
    app_say(b->session, "%zu to do, %zu done before, %zu failed before; %zu %s no pictures%s",
            b->todo_count, b->counts.skipped, b->counts.known_failed, b->list.skipped,
            app_plural(b->list.skipped, "file is", "files are"), more);
}

// ---- a pass: scan, plan, work, tables

static app_exit check_journal(const batch *b, bool is_written)
{
    if (is_written)
        return APP_DONE;
    app_error("%s: cannot be written: %s", b->journals, strerror(batch_journal_error(b->journal)));
    return APP_FAILED;
}

static app_exit journal_run(batch *b, batch_state state)
{
    char shard[64], operands[17], left[32];
    const batch_counts *c = &b->counts;
    snprintf(operands, sizeof(operands), "%016" PRIx64, b->list.operands);
    snprintf(shard, sizeof(shard), "%" PRIu64 "/%" PRIu64, b->shard.index, b->shard.count);
    snprintf(left, sizeof(left), "%zu", c->failed - b->list.failed - c->journalled + b->growing);
    const char *table = NULL;
    for (size_t i = 0; i < b->step_count; i++)
        table = table ? table : b->table[i];
    batch_record record = { .state = state,
                            .size = b->list.total,
                            .mtime_ns = (int64_t)b->list.sum,
                            .settings = b->settings,
                            .out_size = b->list.count,
                            .seconds = b->seconds,
                            .hash = operands,
                            .name = shard,
                            .output = table,
                            .data = state == BATCH_END ? left : NULL,
                            .detail = b->settings_text };
    return check_journal(b, batch_journal_add(b->journal, &record));
}

static void warn(size_t count, const char *first, const char *what)
{
    char more[64] = "";
    if (count > 1)
        snprintf(more, sizeof(more), ", and so are %zu more", count - 1);
    if (count)
        app_error("warning: %s: %s and is left out%s", first, what, more);
}

// Once, also where --watch looks again.
static void warn_of_left_out(const batch *b)
{
    const batch_list *list = &b->list;
    if (b->journal || b->session->values.quiet)
        return;
    warn(list->dangling, list->first_dangling, "leads to no file");
    warn(list->drawn, list->first_drawn, "was drawn by softlens detect");
    warn(list->own, list->first_own, "was made by a batch here");
}

static app_exit look(batch *b, int count, char **operands)
{
    batch_list_free(&b->list); // of the pass before, as is what was counted
    b->counts = (batch_counts) { 0 };
    b->seconds = 0;
    app_exit result = batch_scan(b, count, operands, &b->list);
    bool dry = b->session->values.dry_run;
    if (result == APP_DONE && app_interrupted())
        result = app_fail(b->session, SL_ERR_CANCELLED);
    if (result == APP_DONE)
        warn_of_left_out(b);
    if (result == APP_DONE)
        result = batch_check_places(b);
    if (result == APP_DONE && !dry)
        result = batch_open_log(b);
    if (result == APP_DONE && !dry && !b->journal)
        result = batch_journal_open(b->journals, &b->shard, &b->journal);
    bool ignore_case = b->session->values.ignore_case || (!dry && batch_ignores_case(b->journals));
    if (result == APP_DONE && b->writes_pictures)
        result = batch_name_targets(b->session, ignore_case, &b->list);
    if (result == APP_DONE && b->writes_data)
        result = batch_name_data(ignore_case, &b->list);
    if (result == APP_DONE) {
        batch_keep_shard(&b->shard, &b->list);
        result = batch_plan(b);
    }
    return result;
}

static app_exit write_tables(batch *b)
{
    bool is_known = batch_is_settled(b); // then the tables are as they would be written
    for (size_t i = 0; i < b->step_count; i++)
        is_known =
            is_known && !b->step[i]->tables && (!b->table[i] || access(b->table[i], F_OK) == 0);
    app_exit result = is_known ? APP_DONE : batch_read_history(b);
    if (result == APP_DONE && !is_known)
        result = batch_write_tables(b);
    return result == APP_DONE ? batch_write_report(b) : result;
}

static app_exit conclude(batch *b, app_exit result)
{
    const batch_counts *c = &b->counts;
    if (result == APP_DONE)
        result = write_tables(b);
    if (result == APP_DONE)
        result = check_journal(b, batch_journal_absent(b));
    if (result == APP_DONE)
        result = journal_run(b, BATCH_END);
    if (result == APP_INTERRUPTED)
        app_error("interrupted; the same command goes on from here");
    bool is_cut = result == APP_INTERRUPTED;
    if (result == APP_DONE || c->done || c->failed || (is_cut && b->session->values.json))
        print_summary(b, is_cut);
    return result == APP_DONE && (c->failed || c->known_failed) ? APP_SOME_FAILED : result;
}

// Also with --quiet, which does not tell why there are none before.
static app_exit find_none(const batch *b)
{
    const batch_list *list = &b->list;
    if (list->own)
        app_error("no pictures found but %zu that a batch made here; name another output folder",
                  list->own);
    else if (list->drawn)
        app_error("no pictures found but %zu that softlens detect drew; take them with --include "
                  "'*.detected.*'",
                  list->drawn);
    else if (list->folders && !list->skipped)
        app_error("--files0-from %s: names folders only; name the pictures in them, as find -type "
                  "f does",
                  b->session->values.files0_from);
    else
        app_error("no pictures found; %zu %s of other kinds, see --include", list->skipped,
                  app_plural(list->skipped, "file is", "files are"));
    return APP_FAILED;
}

static app_exit pass(batch *b, int count, char **operands)
{
    app_exit result = look(b, count, operands);
    if (result == APP_INTERRUPTED && b->session->values.json)
        print_summary(b, true);
    if (result != APP_DONE)
        return result;
    if (b->list.count == 0 && b->list.failed == 0 && b->shard.count == 1 && b->watch < 0)
        return find_none(b);
    if (b->session->values.dry_run) {
        if (b->session->values.json)
            print_plan_json(b);
        else
            print_plan(b);
        return b->counts.failed ? APP_SOME_FAILED : APP_DONE;
    }
    if (b->watch >= 0 && b->todo_count == 0)
        return b->counts.failed || b->counts.known_failed ? APP_SOME_FAILED : APP_DONE;
    result = journal_run(b, BATCH_RUN);
    if (result == APP_DONE)
        result = batch_run(b);
    return conclude(b, result);
}

static app_exit work(batch *b, int count, char **operands)
{
    app_exit result = batch_read_steps(b, operands[0]);
    if (result == APP_DONE)
        result = batch_setup(b, count - 1, operands + 1);
    if (result == APP_DONE && b->session->values.watch)
        result = batch_watch_begin(b);
    if (result == APP_DONE)
        result = pass(b, count - 1, operands + 1);
    if (b->watch >= 0)
        result = batch_watch(b, result, pass, count - 1, operands + 1);
    return result;
}

static int run(app_session *session, int count, char **operands)
{
    batch b = { .session = session, .watch = -1, .print = PTHREAD_MUTEX_INITIALIZER };
    bool is_merge = strcmp(operands[0], "merge") == 0;
    const char *const files[][2] = { { "-o", session->values.output },
                                     { "--log", session->values.log },
                                     { "--report", session->values.report } };
    for (size_t i = 0; i < APP_LEN(files); i++)
        if (app_is_stdout(files[i][1]))
            return app_usage(session->command, APP_NO_STDOUT, files[i][0]);
    if (is_merge && count != 2)
        return app_usage(session->command, "merge takes one name: the output of the batch");
    app_exit result = is_merge ? batch_merge(&b, operands[1]) : work(&b, count, operands);
    result = batch_close_log(&b, result);
    batch_workers_free(&b);
    batch_journal_close(b.journal);
    batch_history_free(&b.history);
    batch_list_free(&b.list);
    batch_list_free(&b.absent);
    batch_setup_free(&b);
    return result;
}

const app_command app_batch = {
    .name = "batch",
    .summary = "works through folders of any size, and goes on where it ended",
    .operands = "STEPS FOLDER|IMAGE...",
    .operands_min = 1,
    .operands_max = INT32_MAX,
    .about =
        "STEPS is deblur, detect or classify, or several with commas between: each picture goes "
        "through all of them. Deblurred pictures and what was found in each go into the same tree "
        "under DIR, labels into a table. A "
        "journal in the output tells what is done: the same command again does what is missing or "
        "has changed. softlens batch merge OUTPUT joins what shards did and checks that nothing is "
        "missing.",
    .examples = "softlens batch deblur photos/ -o sharp/\n"
                "softlens batch classify photos/ -o labels.csv --sort-into sorted/\n"
                "softlens batch deblur,classify photos/ -o out/ --min-blur 0.02\n"
                "softlens batch detect photos/ -o out/ --format json,coco --overlay\n"
                "softlens batch deblur photos/ -o sharp/ --shard 3/16\n"
                "softlens batch merge sharp/ --report report.html\n"
                "find . -type f -print0 | softlens batch deblur --files0-from - -o sharp/\n",
    .options = rows,
    .run = run,
};
