// SPDX-License-Identifier: MIT
// app/jobs.c: pairs every image with its outputs and refuses before the work what would fail after.
#include "jobs.h"
#include "identities.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const infixes[APP_TARGETS] = { "deblurred", "heat", "compare" };
static const char *const option_names[APP_TARGETS] = { "--output", "--heat", "--compare" };

static void refuse(app_job *job, const char *format, ...) APP_PRINTF(2, 3);

// Keeps the first refusal of a job.
static void refuse(app_job *job, const char *format, ...)
{
    va_list args;
    if (job->refusal)
        return;
    va_start(args, format);
    if (vasprintf(&job->refusal, format, args) < 0)
        job->refusal = NULL; // out of memory; the library will meet the same obstacle and say so
    va_end(args);
}

static void look_at_input(app_job *job)
{
    struct stat st;
    if (app_is_stdin(job->input))
        return;
    job->kind = app_format_of_file(job->input);
    if (stat(job->input, &st) != 0) {
        refuse(job, "%s: cannot be read: %s", job->input, strerror(errno));
        return;
    }
    job->is_there = true;
    job->dev = st.st_dev;
    job->ino = st.st_ino;
    if (S_ISDIR(st.st_mode))
        refuse(job, "%s: is a directory; name the images in it", job->input);
}

// The option's value when it names a file, not a directory; NULL otherwise.
static const char *file_named(const char *value)
{
    if (!value || app_is_stdout(value))
        return value;
    return app_names_folder(value) ? NULL : value;
}

// What an option's value can be refused for without looking at any image.
static app_exit check_value(const app_session *session, int target, const char *value, size_t count,
                            sl_image_format format)
{
    const char *file = file_named(value);
    if (!file)
        return APP_DONE;
    const char *option = option_names[target];
    if (app_is_stdout(file) && target != APP_PICTURE)
        return app_usage(session->command, APP_NO_STDOUT, option);
    if (app_is_stdout(file) && session->values.json)
        return app_usage(session->command, "--json and -o - both want standard output");
    if (app_is_stdout(file) && isatty(STDOUT_FILENO))
        return app_usage(session->command, "-o -: standard output is a terminal; redirect it");
    if (count > 1)
        return app_usage(session->command,
                         "%s %s: several images need a directory; make it, or end it in /", option,
                         file);
    sl_image_format named = app_format_of_name(file);
    if (target != APP_PICTURE && named != SL_IMAGE_PNG)
        return app_usage(session->command, "%s %s: is written as PNG; end the name in .png", option,
                         file);
    const char *name = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    if (named == SL_IMAGE_SAME && strchr(name + 1, '.') && format == SL_IMAGE_SAME)
        return app_usage(session->command,
                         "%s %s: %s; end the name in .png or .jpg, or add --format", option, file,
                         app_is_picture_name(file) ? "a kind that is read and not written"
                                                   : "no known kind");
    if (named != SL_IMAGE_SAME && format != SL_IMAGE_SAME && named != format)
        return app_usage(session->command, "%s %s: the name and --format contradict each other",
                         option, file);
    return APP_DONE;
}

static bool name_output(app_job *job, int target, const char *value, sl_image_format format)
{
    const char *file = file_named(value);
    if (target == APP_PICTURE && format == SL_IMAGE_SAME)
        format = job->kind;
    if (target != APP_PICTURE)
        format = SL_IMAGE_PNG;
    job->output[target] =
        file ? strdup(file) : app_derive_path(value, job->input, infixes[target], format);
    return job->output[target] != NULL;
}

// An output's place, and whose it is.
typedef struct place {
    char *name;
    const app_job *job;
    const char *output;
} place;

static int compare_places(const void *a, const void *b)
{
    return strcmp(((const place *)a)->name, ((const place *)b)->name);
}

// No two outputs may have one place.
static app_exit check_collisions(const app_session *session, const app_jobs *jobs)
{
    app_exit result = APP_DONE;
    size_t count = 0;
    place *places = calloc(jobs->count * APP_TARGETS, sizeof(*places));
    if (!places)
        return app_out_of_memory();
    for (size_t i = 0; i < jobs->count && result == APP_DONE; i++) {
        const app_job *job = &jobs->job[i];
        for (int t = 0; t < APP_TARGETS && result == APP_DONE; t++) {
            if (!job->output[t] || job->refusal)
                continue;
            places[count] = (place) { app_place(job->output[t]), job, job->output[t] };
            if (!places[count++].name)
                result = app_out_of_memory();
        }
    }
    if (result == APP_DONE)
        qsort(places, count, sizeof(*places), compare_places);
    for (size_t i = 1; i < count && result == APP_DONE; i++) {
        const place *a = &places[i - 1], *b = &places[i];
        if (strcmp(a->name, b->name) != 0)
            continue;
        if (a->job == b->job)
            result = app_usage(session->command, "%s: is named for two outputs", a->output);
        else
            result = app_usage(session->command, "%s and %s would both become %s", a->job->input,
                               b->job->input, a->output);
    }
    for (size_t i = 0; i < count; i++)
        free(places[i].name);
    free(places);
    return result;
}

// Can the output be written? Refuses the job when not. `value`: of the option that names it.
static void check_output(const app_session *session, app_job *job, int target, const char *value,
                         const app_identities *inputs, app_exit *result)
{
    const char *path = job->output[target];
    if (app_is_stdout(path))
        return;
    bool is_made = value && app_ends_in_slash(value) && !app_is_directory(value);
    struct stat st = { 0 };
    job->existed[target] = lstat(path, &st) == 0;
    bool is_there = job->existed[target] && stat(path, &st) == 0; // through links
    bool is_input = is_there && app_identities_find(inputs, &st) != SIZE_MAX;
    bool is_own = is_there && job->is_there && job->dev == st.st_dev && job->ino == st.st_ino;
    if (is_input && !is_own)
        *result = app_usage(session->command,
                            "%s: is an input and also the output of %s; leave one of them out",
                            path, job->input);
    else if (is_own && target != APP_PICTURE)
        refuse(job, "%s: is the input itself; name another output", path);
    else if (is_own && S_ISREG(st.st_mode) && !session->values.overwrite)
        refuse(job, "%s: is the input itself; name another output or add --overwrite", path);
    else if (!job->refusal)
        job->refusal = app_output_refusal(path, session->values.overwrite, is_made);
}

static app_exit check_outputs(const app_session *session, const app_jobs *jobs,
                              const char *const values[APP_TARGETS])
{
    app_exit result = APP_DONE;
    app_identities inputs;
    if (!app_identities_new(jobs->count, &inputs))
        return app_out_of_memory();
    for (size_t i = 0; i < jobs->count; i++)
        if (jobs->job[i].is_there)
            app_identities_add(&inputs, jobs->job[i].dev, jobs->job[i].ino, i);
    app_identities_sort(&inputs);
    for (size_t i = 0; i < jobs->count && result == APP_DONE; i++) {
        for (int t = 0; t < APP_TARGETS && result == APP_DONE; t++)
            if (jobs->job[i].output[t])
                check_output(session, &jobs->job[i], t, values[t], &inputs, &result);
    }
    app_identities_free(&inputs);
    return result;
}

// Standard input has no name from which one could be made.
static app_exit check_stdin(const app_session *session, int count, char **images,
                            const char *const values[APP_TARGETS])
{
    app_exit result = app_check_stdin(session, count, images);
    for (int i = 0; i < count && result == APP_DONE; i++)
        for (int t = 0; t < APP_TARGETS && result == APP_DONE && app_is_stdin(images[i]); t++)
            if ((t == APP_PICTURE || values[t]) && !file_named(values[t]))
                result = app_usage(session->command,
                                   "- has no name of its own; name the result with %s FILE",
                                   t == APP_PICTURE ? "-o" : option_names[t]);
    return result;
}

app_exit app_jobs_plan(const app_session *session, int count, char **images, app_jobs *out)
{
    const app_values *values = &session->values;
    const char *const targets[APP_TARGETS] = { values->output, values->heat, values->compare };
    app_exit result = APP_DONE;
    *out = (app_jobs) { .count = (size_t)count };
    if (values->format)
        out->format = strcmp(values->format, "png") == 0 ? SL_IMAGE_PNG : SL_IMAGE_JPEG;
    result = check_stdin(session, count, images, targets);
    for (int t = 0; t < APP_TARGETS && result == APP_DONE; t++) {
        result = check_value(session, t, targets[t], out->count,
                             t == APP_PICTURE ? out->format : SL_IMAGE_SAME);
        if (targets[t] && app_ends_in_slash(targets[t]) && !app_is_directory(targets[t]))
            out->make[t] = targets[t];
    }
    if (result != APP_DONE)
        return result;

    out->job = calloc(out->count, sizeof(*out->job));
    if (!out->job)
        return app_out_of_memory();
    for (size_t i = 0; i < out->count; i++) {
        out->job[i].input = images[i];
        look_at_input(&out->job[i]);
        for (int t = 0; t < APP_TARGETS; t++)
            if ((t == APP_PICTURE || targets[t]) &&
                !name_output(&out->job[i], t, targets[t], out->format))
                return app_out_of_memory();
    }
    result = check_collisions(session, out);
    return result == APP_DONE ? check_outputs(session, out, targets) : result;
}

app_exit app_jobs_make_dirs(const app_jobs *jobs)
{
    for (int t = 0; t < APP_TARGETS; t++) {
        int error = jobs->make[t] ? app_make_dirs(jobs->make[t]) : 0;
        if (error) {
            app_error("%s %s: cannot be made: %s; name another directory", option_names[t],
                      jobs->make[t], strerror(error));
            return APP_FAILED;
        }
    }
    return APP_DONE;
}

void app_jobs_free(app_jobs *jobs)
{
    for (size_t i = 0; jobs->job && i < jobs->count; i++) {
        free(jobs->job[i].refusal);
        for (int t = 0; t < APP_TARGETS; t++)
            free(jobs->job[i].output[t]);
    }
    free(jobs->job);
    *jobs = (app_jobs) { 0 };
}
