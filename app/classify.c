// SPDX-License-Identifier: MIT
// app/classify.c: softlens classify: what is in photographs.
#include "answers.h"
#include "pictures.h"

#include "jobs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const app_option rows[] = {
    APP_TOP_OPTION,
    { .name = "gallery",
      .letter = 'g',
      .kind = APP_FILE,
      .at = APP_AT(gallery),
      .value = "FILE",
      .help = "Also know the classes of this gallery; see softlens enroll" },
    APP_ONLY_GALLERY_OPTION,
    APP_UNKNOWN_RATE_OPTION(
        "Share of known pictures that may be called unknown, between 0 and 1; higher says "
        "unknown more readily (default: 0.05)"),
    APP_NO_UNKNOWN_OPTION,
    { .name = "json", .at = APP_AT(json), .help = "Print one JSON document" },
    { .name = "jsonl",
      .at = APP_AT(jsonl),
      .help = "Print a JSON object per picture, a line each" },
    { .name = "csv", .at = APP_AT(csv), .help = "Print CSV, a line per picture and class" },
    { .name = "embedding",
      .kind = APP_FILE,
      .at = APP_AT(embedding),
      .value = "FILE.npy",
      .help = "Also write the embeddings, float32 [answers, d], a row of NaN for what could "
              "not be had" },
    APP_OVERWRITE_OPTION,
    APP_RECURSIVE_OPTION,
    APP_MODEL_OPTION,
    APP_DEVICE_OPTION,
    APP_PRECISION_OPTION,
    APP_THREADS_OPTION,
    APP_MAX_PIXELS_OPTION,
    APP_ALLOW_TRUNCATED_OPTION,
    APP_COMMON_OPTIONS,
};

// What a run of the command keeps from picture to picture.
typedef struct work {
    app_session *session;
    app_pictures pictures;
    app_loader *loader;
    app_answers answers;
    sl_model *model;
    sl_gallery *gallery;
    sl_classify *classify;
    float *embeddings; // [named, dimension], in the order of the answers; NULL: none yet
    size_t named, dimension, done, failed;
} work;

static app_exit check_values(const app_session *session, app_form *form)
{
    const app_values *values = &session->values;
    app_exit result = app_classify_check(session);
    if (result == APP_DONE)
        result = app_answers_form(session, form);
    if (result != APP_DONE || !values->embedding)
        return result;
    if (app_is_stdin(values->embedding))
        return app_usage(session->command, APP_NO_STDOUT, "--embedding");
    char *why = app_output_refusal(values->embedding, values->overwrite, false);
    if (why)
        app_error("%s", why);
    bool is_refused = why || !app_may_replace(values->embedding, "NumPy array", "\x93NUMPY");
    free(why);
    return is_refused ? APP_FAILED : APP_DONE;
}

static app_exit prepare(work *w)
{
    const app_values *values = &w->session->values;
    sl_ctx *ctx = w->session->ctx;
    app_exit result = app_open_model_for(w->session, values->model, "soft", &w->model);
    if (result != APP_DONE)
        return result;
    const sl_classify_options options = app_classify_options(w->session);
    sl_status status = SL_OK;
    if (values->gallery)
        status = sl_gallery_open(ctx, values->gallery, w->model, &w->gallery);
    if (status == SL_OK)
        status = sl_classify_new(ctx, w->model, w->gallery, &options, &w->classify);
    if (status == SL_OK && app_interrupted())
        status = SL_ERR_CANCELLED;
    return status == SL_OK ? APP_DONE : app_fail(w->session, status);
}

// ---- embeddings

// The first picture tells how long they are; rows of pictures that fail stay not a number.
static bool make_rows(work *w, size_t dimension)
{
    size_t count, bytes;
    if (__builtin_mul_overflow(w->named, dimension, &count) ||
        __builtin_mul_overflow(count, sizeof(float), &bytes))
        return false;
    w->embeddings = malloc(bytes);
    w->dimension = dimension;
    for (size_t i = 0; w->embeddings && i < count; i++)
        w->embeddings[i] = NAN;
    return w->embeddings != NULL;
}

static app_exit keep_embedding(work *w, const sl_classification *found)
{
    if (!w->session->values.embedding)
        return APP_DONE;
    if (!w->embeddings && !make_rows(w, found->dimension)) {
        app_error("out of memory for the embeddings of %zu pictures", w->named);
        return APP_FAILED;
    }
    // What cannot be had at all is answered first.
    size_t row = w->pictures.failed + w->done;
    memcpy(w->embeddings + row * w->dimension, found->embedding,
           w->dimension * sizeof(*found->embedding));
    return APP_DONE;
}

static app_exit save_embeddings(work *w)
{
    const app_values *values = &w->session->values;
    if (!w->embeddings)
        return APP_DONE;
    sl_status status = sl_embeddings_save(w->session->ctx, values->embedding, values->overwrite,
                                          w->embeddings, w->named, w->dimension);
    return status == SL_OK ? APP_DONE : app_fail(w->session, status);
}

// ---- a picture

static void report_failure(work *w, const char *path, const char *message)
{
    w->failed++;
    app_progress_end(&w->session->progress);
    app_error("%s", message);
    app_answers_add(&w->answers, path, NULL, message);
}

// A model without classes is wrong for every picture; other failures are this one's, are counted,
// and the next has its turn.
static app_exit classify_picture(work *w, app_loaded *loaded)
{
    size_t top = app_top(&w->session->values);
    sl_classification *found = NULL;
    app_exit result = APP_DONE;
    app_loader_warn(w->session, loaded);
    if (!loaded->image) {
        report_failure(w, loaded->path, loaded->message);
        return APP_DONE;
    }
    sl_status status = sl_classify_run(w->classify, loaded->image, top, &found);
    if (status == SL_OK) {
        result = keep_embedding(w, found);
        if (result == APP_DONE)
            app_answers_add(&w->answers, loaded->path, found, NULL);
    } else if (status == SL_ERR_ARGUMENT) {
        result = app_fail(w->session, status);
    } else {
        app_loaded_fail(loaded, sl_ctx_message(w->session->ctx));
        report_failure(w, loaded->path, loaded->message);
    }
    sl_classification_free(found);
    return result;
}

// Whoever reads along may have had enough, and what cannot be printed need not be found.
static bool is_over(const work *w)
{
    return app_interrupted() || (app_stdout_is_lost() && !w->session->values.embedding);
}

static app_exit classify_all(work *w)
{
    app_exit result = APP_DONE;
    app_loaded loaded;
    bool is_silent = w->answers.form == APP_JSON; // else the answers themselves show the way
    app_progress_begin(&w->session->progress, "pictures");
    while (result == APP_DONE && !is_over(w) && app_loader_next(w->loader, &loaded)) {
        if (is_over(w)) {
            sl_image_free(loaded.image);
            break;
        }
        result = classify_picture(w, &loaded);
        sl_image_free(loaded.image);
        w->done += result == APP_DONE;
        if (is_silent)
            app_progress_step(&w->session->progress, w->done, w->pictures.count);
    }
    app_progress_end(&w->session->progress);
    if (result == APP_DONE && app_interrupted() && w->done < w->pictures.count)
        result = app_fail(w->session, SL_ERR_CANCELLED);
    return result;
}

// Nothing more is done: the answers say so of each picture that has had no turn.
static void report_undone(work *w, app_exit result)
{
    char why[512];
    app_why_undone(w->session, result, why, sizeof(why));
    for (size_t i = w->done; i < w->pictures.count; i++)
        app_answers_add(&w->answers, w->pictures.path[i], NULL, why);
}

static app_exit answer_all(work *w, app_form form)
{
    app_exit result = APP_DONE;
    if (w->pictures.count) {
        w->loader = app_loader_start(w->session, &w->pictures); // while the model is made ready
        result = w->loader ? prepare(w) : APP_FAILED;
    }
    if (result == APP_USAGE)
        return result;
    app_answers_begin(w->session, form, &w->answers);
    for (size_t i = 0; i < w->pictures.failed; i++)
        app_answers_add(&w->answers, w->pictures.failures[i].path, NULL,
                        w->pictures.failures[i].why);
    if (w->pictures.count && result == APP_DONE)
        result = classify_all(w);
    if (result != APP_DONE)
        report_undone(w, result);
    app_answers_end(&w->answers);
    return result == APP_DONE ? save_embeddings(w) : result;
}

static int classify(app_session *session, int count, char **operands)
{
    work w = { .session = session };
    app_form form;
    app_exit result = check_values(session, &form);
    if (result == APP_DONE)
        result = app_pictures_find(session, count, operands, &w.pictures);
    w.named = w.pictures.count + w.pictures.failed;
    w.failed = w.pictures.failed;
    if (result == APP_DONE)
        result = answer_all(&w, form);
    if (result == APP_DONE && w.failed)
        result = w.failed == w.named ? APP_FAILED : APP_SOME_FAILED;
    app_loader_stop(w.loader);
    free(w.embeddings);
    sl_classify_free(w.classify);
    sl_gallery_free(w.gallery);
    sl_model_free(w.model);
    app_pictures_free(&w.pictures);
    return result;
}

const app_command app_classify = {
    .name = "classify",
    .summary = "names what is in photographs, or says that it is unknown",
    .operands = "IMAGE|FOLDER...",
    .operands_min = 1,
    .operands_max = INT32_MAX,
    .about =
        "Looks at the central square of images and prints the best classes: label, "
        "angle to the class, probability. A picture of something else is called unknown. - reads "
        "an image from standard input; of a folder all images are taken, by name. Classes of "
        "your own come from a gallery, which softlens enroll makes.",
    .examples = "softlens classify photo.jpg\n"
                "softlens classify --gallery my.gallery photos/ --recursive\n"
                "softlens classify --gallery my.gallery --only-gallery photos/\n"
                "softlens classify --csv --top 1 photos/ > names.csv\n"
                "curl -s https://example.org/a.jpg | softlens classify -\n",
    .options = rows,
    .run = classify,
};
