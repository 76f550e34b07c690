// SPDX-License-Identifier: MIT
// app/deblur.c: softlens deblur: photographs in, photographs out.
#include "jobs.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST_LOOKS (sizeof(((sl_deblur_report *)0)->shrink) / sizeof(uint32_t))

static const app_option rows[] = {
    { .name = "output",
      .letter = 'o',
      .kind = APP_FILE,
      .at = APP_AT(output),
      .value = "FILE|DIR",
      .help =
          "Write to FILE, or into DIR when it is a directory or ends in /, or to standard output "
          "when it is - (default: NAME.deblurred.EXT beside the image)" },
    { .name = "format",
      .kind = APP_CHOICE,
      .at = APP_AT(format),
      .value = "KIND",
      .choices = "png|jpg|jpeg",
      .help =
          "Write png or jpg (default: the ending of FILE, else the image's own kind, of TIFF png, "
          "of WebP, HEIC and AVIF jpg or, with alpha or without loss, png)" },
    APP_QUALITY_OPTION(APP_KEPT),
    APP_STRIP_METADATA_OPTION,
    APP_OVERWRITE_OPTION,
    APP_MODEL_OPTION,
    { .name = "heat",
      .kind = APP_FILE,
      .at = APP_AT(heat),
      .value = "FILE.png",
      .help = "Also write where blur was seen; a directory for several images" },
    { .name = "compare",
      .kind = APP_FILE,
      .at = APP_AT(compare),
      .value = "FILE.png",
      .help = "Also write before and after side by side; a directory for several images" },
    APP_THRESHOLD_OPTION,
    APP_DENSE_OPTION,
    APP_TTA_OPTION("flip|flips", "Average with what the mirror image gives (flip), or with both "
                                 "upside down, too (flips): a little better for two or four times "
                                 "the work"),
    APP_SHRINK_OPTION,
    APP_DEVICE_OPTION,
    APP_PRECISION_OPTION,
    APP_PROFILE_OPTION,
    APP_THREADS_OPTION,
    { .name = "memory",
      .kind = APP_BYTES,
      .at = APP_AT(memory),
      .value = "SIZE",
      .min = 1 << 20,
      .max = 1ull << 50,
      .help = "What a tile may take, such as 512M or 2G (default: 512M)" },
    { .name = "tile",
      .kind = APP_INTEGER,
      .at = APP_AT(tile),
      .value = "N",
      .min = 1,
      .max = 65535,
      .help = "Side of a tile in pixels (default: as large as --memory allows)" },
    APP_MAX_PIXELS_OPTION,
    APP_ALLOW_TRUNCATED_OPTION,
    { .name = "json", .at = APP_AT(json), .help = "Print a JSON object per image" },
    APP_COMMON_OPTIONS,
};

// What a run of the command keeps from image to image.
typedef struct work {
    app_session *session;
    app_jobs jobs;
    sl_model *model;
    sl_deblur *deblur;
    size_t failed;
} work;

// ---- what is said about an image

static json_t *looks_json(const sl_deblur_report *report)
{
    json_t *factors = json_array();
    for (size_t i = 0; i < MOST_LOOKS && report->shrink[i]; i++)
        json_array_append_new(factors, json_integer(report->shrink[i]));
    return factors;
}

static void print_json(const app_job *job, const sl_deblur_report *report, const char *error)
{
    json_t *object = json_object();
    app_set_text(object, "input", job->input);
    app_set_text(object, "output", job->output[APP_PICTURE]);
    app_set_text(object, "heat", job->output[APP_HEAT]);
    app_set_text(object, "compare", job->output[APP_COMPARE]);
    if (report) {
        json_object_set_new(object, "width", json_integer(report->width));
        json_object_set_new(object, "height", json_integer(report->height));
        json_object_set_new(object, "kept_share", json_real(report->kept_share));
        json_object_set_new(object, "blurred_share", json_real(report->blurred_share));
        json_object_set_new(object, "seconds", json_real(report->seconds));
        json_object_set_new(object, "tiles", json_integer(report->tiles));
        json_object_set_new(object, "views", json_integer(report->views));
        json_object_set_new(object, "shrink", looks_json(report));
        json_object_set_new(object, "tile_width", json_integer(report->tile_width));
        json_object_set_new(object, "tile_height", json_integer(report->tile_height));
        app_set_text(object, "device", report->device);
        json_object_set_new(object, "fell_back", json_boolean(report->fell_back));
        app_set_text(object, "precision", sl_precision_name(report->precision));
    }
    app_set_text(object, "error", error);
    app_put_json(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
}

// ", looked at 1/4, 1/2 and full size"; nothing where it was full size alone.
static void describe_looks(const sl_deblur_report *report, char *out, size_t size)
{
    size_t count = 0, length = 0;
    while (count < MOST_LOOKS && report->shrink[count])
        count++;
    *out = '\0';
    if (count == 1 && report->shrink[0] == 1)
        return;
    length = (size_t)snprintf(out, size, ", looked at");
    for (size_t i = 0; i < count && length < size; i++) {
        char one[16] = "full";
        if (report->shrink[i] > 1)
            snprintf(one, sizeof(one), "1/%u", report->shrink[i]);
        length += (size_t)snprintf(out + length, size - length, "%s%s",
                                   i == 0           ? " "
                                   : i + 1 == count ? " and "
                                                    : ", ",
                                   one);
    }
    if (length < size)
        snprintf(out + length, size - length, " size");
}

static void print_done(const work *w, const app_job *job, const sl_deblur_report *report)
{
    if (w->session->values.json) {
        print_json(job, report, NULL);
        return;
    }
    if (app_is_stdout(job->output[APP_PICTURE])) // where nothing else belongs
        return;
    double percent = 100 * report->kept_share;
    char looks[64];
    describe_looks(report, looks, sizeof(looks));
    app_say(w->session, "%s: %ux%u%s, %.*f %% of windows computed, %.2f s, %s",
            job->output[APP_PICTURE], report->width, report->height, looks,
            percent > 0 && percent < 1 ? 1 : 0, percent, report->seconds, report->device);
}

// ---- an image

typedef struct pictures {
    sl_image *input, *output[APP_TARGETS];
} pictures;

static sl_status compute(const work *w, const app_job *job, pictures *p, sl_deblur_report *report)
{
    const app_values *values = &w->session->values;
    sl_load_options load = { .max_pixels = values->max_pixels,
                             .allow_truncated = values->allow_truncated };
    sl_ctx *ctx = w->session->ctx;
    sl_status status = app_load(ctx, job->input, &load, &p->input);
    if (status == SL_OK)
        status = sl_deblur_run(w->deblur, p->input, &p->output[APP_PICTURE],
                               job->output[APP_HEAT] ? &p->output[APP_HEAT] : NULL, report);
    if (status == SL_OK && job->output[APP_COMPARE])
        status = sl_image_compare(ctx, p->input, p->output[APP_PICTURE], &p->output[APP_COMPARE]);
    return status == SL_OK && app_interrupted() ? SL_ERR_CANCELLED : status;
}

// What does not arrive is told at the end as for all that is printed.
static sl_status put_picture(const work *w, const sl_image *image, const sl_save_options *options)
{
    void *data = NULL;
    size_t size = 0;
    sl_status status =
        sl_image_save_memory(w->session->ctx, image, "standard output", options, &data, &size);
    if (status == SL_OK)
        app_put_bytes(data, size);
    free(data);
    return status;
}

// The picture itself is written last: when it is there, everything is. When it fails, or does not
// arrive, what was written beside it goes again.
static sl_status save(const work *w, const app_job *job, const pictures *p)
{
    const app_values *values = &w->session->values;
    bool written[APP_TARGETS] = { false };
    sl_status status = SL_OK;
    for (int t = APP_TARGETS - 1; t >= 0 && status == SL_OK; t--) {
        if (!job->output[t])
            continue;
        sl_save_options options = { .format = SL_IMAGE_PNG, .overwrite = values->overwrite };
        if (t == APP_PICTURE) {
            // A name of our own making or without an ending leaves the kind to us.
            sl_image_format named = app_format_of_name(job->output[t]);
            options.format = named != SL_IMAGE_SAME ? named : w->jobs.format;
            options.quality = (int)values->quality;
            options.strip_metadata = values->strip_metadata;
        }
        status = app_is_stdout(job->output[t])
                     ? put_picture(w, p->output[t], &options)
                     : sl_image_save(w->session->ctx, p->output[t], job->output[t], &options);
        written[t] = status == SL_OK && !app_is_stdout(job->output[t]);
    }
    bool is_lost = app_is_stdout(job->output[APP_PICTURE]) && app_stdout_has_failed();
    for (int t = 0; t < APP_TARGETS && (status != SL_OK || is_lost); t++)
        if (written[t] && !job->existed[t])
            unlink(job->output[t]);
    return status;
}

// APP_INTERRUPTED ends the batch; other failures are counted and the next image has its turn.
static app_exit deblur_image(work *w, const app_job *job)
{
    pictures p = { 0 };
    sl_deblur_report report = { 0 };
    app_exit result = APP_DONE;
    app_progress_begin(&w->session->progress, job->input);
    sl_status status = compute(w, job, &p, &report);
    if (status == SL_OK)
        status = save(w, job, &p);
    app_progress_end(&w->session->progress);
    if (status == SL_OK) {
        print_done(w, job, &report);
    } else {
        w->failed++;
        result = app_fail(w->session, status);
        if (w->session->values.json)
            print_json(job, NULL,
                       result == APP_INTERRUPTED ? "interrupted" : sl_ctx_message(w->session->ctx));
    }
    sl_image_free(p.input);
    for (int t = 0; t < APP_TARGETS; t++)
        sl_image_free(p.output[t]);
    return result;
}

// ---- the command

static app_exit check_values(const app_session *session)
{
    const app_values *values = &session->values;
    if (values->dense && values->keep_threshold > 0)
        return app_usage(session->command, "--dense and --keep-threshold contradict each other");
    return APP_DONE;
}

// The trace comes last, and must not take the place of what was done.
static app_exit check_profile(const work *w)
{
    app_exit result = APP_DONE;
    for (size_t i = 0; i < w->jobs.count; i++)
        for (int t = 0; t < APP_TARGETS && result == APP_DONE; t++)
            result = app_check_profile(w->session, w->jobs.job[i].output[t]);
    return result;
}

static void report_refusals(work *w)
{
    for (size_t i = 0; i < w->jobs.count; i++) {
        const app_job *job = &w->jobs.job[i];
        if (!job->refusal)
            continue;
        w->failed++;
        app_error("%s", job->refusal);
        if (w->session->values.json)
            print_json(job, NULL, job->refusal);
    }
}

static app_exit prepare(work *w)
{
    const app_values *values = &w->session->values;
    app_exit result = app_open_model(w->session, values->model, &w->model);
    if (result != APP_DONE)
        return result;
    sl_deblur_options options = {
        .device = values->device,
        .precision = app_precision(w->session),
        .keep_threshold = values->keep_threshold,
        .dense = values->dense,
        .memory_bytes = values->memory,
        .tile = (uint32_t)values->tile,
        .views = app_views(values),
        .shrink = (uint32_t)values->shrink,
    };
    sl_status status = sl_deblur_new(w->session->ctx, w->model, &options, &w->deblur);
    if (status == SL_OK && app_interrupted())
        status = SL_ERR_CANCELLED;
    return status == SL_OK ? app_jobs_make_dirs(&w->jobs) : app_fail(w->session, status);
}

// Nothing more can be done: whoever reads the JSON learns it for each image from `first` on.
static void report_undone(const work *w, size_t first, app_exit result)
{
    char why[512];
    app_why_undone(w->session, result, why, sizeof(why));
    for (size_t i = first; i < w->jobs.count; i++)
        if (!w->jobs.job[i].refusal && w->session->values.json)
            print_json(&w->jobs.job[i], NULL, why);
}

static int deblur(app_session *session, int count, char **images)
{
    work w = { .session = session };
    app_exit result = check_values(session);
    if (result == APP_DONE)
        result = app_jobs_plan(session, count, images, &w.jobs);
    if (result == APP_DONE)
        result = check_profile(&w);
    if (result != APP_DONE)
        goto done;
    report_refusals(&w);
    if (w.failed < w.jobs.count)
        result = prepare(&w);
    size_t next = 0;
    for (; next < w.jobs.count && result == APP_DONE; next++)
        if (!w.jobs.job[next].refusal && deblur_image(&w, &w.jobs.job[next]) == APP_INTERRUPTED)
            result = APP_INTERRUPTED;
    if (result != APP_DONE && result != APP_USAGE)
        report_undone(&w, next, result);
    if (result == APP_DONE && w.failed)
        result = w.failed == w.jobs.count ? APP_FAILED : APP_SOME_FAILED;
done:
    sl_deblur_free(w.deblur);
    sl_model_free(w.model);
    app_jobs_free(&w.jobs);
    return result;
}

const app_command app_deblur = {
    .name = "deblur",
    .summary = "removes local motion blur from photographs",
    .operands = "IMAGE...",
    .operands_min = 1,
    .operands_max = INT32_MAX,
    .about = "Reads PNG, JPEG, WebP and, where libtiff and libheif are installed, TIFF, HEIC and "
             "AVIF images and writes each as NAME.deblurred.EXT beside it, same size, depth and "
             "metadata. Where no motion blur is seen, pixels stay bit for bit as "
             "they were. - reads an image from standard input.",
    .examples = "softlens deblur photo.jpg\n"
                "softlens deblur photo.jpg -o sharp.png --heat heat.png\n"
                "softlens deblur *.jpg -o sharp/ --quality 95\n"
                "softlens deblur photo.jpg --shrink 1\n"
                "softlens deblur photo.jpg --model lmd-vit-base\n"
                "curl -s https://example.org/photo.jpg | softlens deblur - -o - >sharp.jpg\n"
                "softlens deblur --json --memory 2G -- -odd-name.png\n",
    .options = rows,
    .run = deblur,
};
