// SPDX-License-Identifier: MIT
// app/enroll.c: softlens enroll: a class of its own from a few photographs.
#include "jobs.h"
#include "pictures.h"

#include <errno.h>
#include <jansson.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ENOUGH 5 // photographs make a class that holds

static const app_option rows[] = {
    APP_RECURSIVE_OPTION,
    APP_MODEL_OPTION,
    APP_DEVICE_OPTION,
    APP_THREADS_OPTION,
    APP_MAX_PIXELS_OPTION,
    APP_ALLOW_TRUNCATED_OPTION,
    { .name = "json", .at = APP_AT(json), .help = "Print JSON" },
    APP_COMMON_OPTIONS,
};

typedef struct work {
    app_session *session;
    const char *path, *label;
    app_pictures pictures;
    app_loader *loader;
    sl_model *model;
    sl_classify *classify;
    sl_gallery_hold *hold;
    sl_gallery *gallery;
    bool is_new;             // the gallery
    size_t had, done, added; // pictures of the class before; looked at; enrolled
    size_t known;            // that the class had already
    size_t failed;
} work;

static size_t pictures_of(const sl_gallery *gallery, const char *label)
{
    size_t at;
    return sl_gallery_find(gallery, label, &at) ? sl_gallery_pictures(gallery, at) : 0;
}

static app_exit prepare(work *w)
{
    const app_values *values = &w->session->values;
    app_exit result = app_open_model_for(w->session, values->model, "soft", &w->model);
    if (result != APP_DONE)
        return result;
    sl_classify_options options = { .device = values->device };
    sl_status status = sl_classify_new(w->session->ctx, w->model, NULL, &options, &w->classify);
    return status == SL_OK ? APP_DONE : app_fail(w->session, status);
}

// Under the lock: nobody else writes until we have.
static sl_status open_gallery(work *w)
{
    struct stat st;
    sl_ctx *ctx = w->session->ctx;
    sl_status status = sl_gallery_lock(ctx, w->path, &w->hold);
    if (status != SL_OK)
        return status;
    w->is_new = stat(w->path, &st) != 0 && errno == ENOENT;
    status = w->is_new ? sl_gallery_new(ctx, w->model, &w->gallery)
                       : sl_gallery_open(ctx, w->path, w->model, &w->gallery);
    if (status == SL_OK)
        w->had = pictures_of(w->gallery, w->label);
    return status;
}

static void report_failure(work *w, const char *message)
{
    w->failed++;
    app_progress_end(&w->session->progress);
    app_error("%s", message);
}

// A label or gallery that does not fit is wrong for every picture; other failures are this one's.
static sl_status enroll_picture(work *w, app_loaded *loaded)
{
    sl_status status = SL_OK;
    app_loader_warn(w->session, loaded);
    if (loaded->status == SL_ERR_CANCELLED)
        return loaded->status;
    if (!loaded->image) {
        report_failure(w, loaded->message);
        return SL_OK;
    }
    status = sl_classify_enroll(w->classify, w->gallery, w->label, loaded->image);
    if (status == SL_OK)
        w->added++;
    if (status == SL_ERR_EXISTS) {
        w->known++;
        return SL_OK;
    }
    if (status == SL_OK || status == SL_ERR_ARGUMENT)
        return status;
    app_loaded_fail(loaded, sl_ctx_message(w->session->ctx));
    report_failure(w, loaded->message);
    return SL_OK;
}

static app_exit enroll_all(work *w)
{
    app_loaded loaded;
    sl_status status = open_gallery(w);
    app_progress_begin(&w->session->progress, w->label);
    while (status == SL_OK && !app_interrupted() && app_loader_next(w->loader, &loaded)) {
        status = enroll_picture(w, &loaded);
        sl_image_free(loaded.image);
        app_progress_step(&w->session->progress, ++w->done, w->pictures.count);
    }
    app_progress_end(&w->session->progress);
    if (status == SL_OK && app_interrupted())
        status = SL_ERR_CANCELLED;
    if (status == SL_OK && w->added)
        status = sl_gallery_save(w->session->ctx, w->gallery, w->path);
    return status == SL_OK ? APP_DONE : app_fail(w->session, status);
}

// ---- what is said

static void print_json(const work *w)
{
    json_t *object = json_object();
    app_set_text(object, "gallery", w->path);
    app_set_text(object, "label", w->label);
    json_object_set_new(object, "pictures_before", json_integer((json_int_t)w->had));
    json_object_set_new(object, "pictures_added", json_integer((json_int_t)w->added));
    json_object_set_new(object, "pictures_known", json_integer((json_int_t)w->known));
    json_object_set_new(object, "pictures_failed", json_integer((json_int_t)w->failed));
    json_object_set_new(object, "classes", json_integer((json_int_t)sl_gallery_count(w->gallery)));
    json_object_set_new(object, "new_gallery", json_boolean(w->is_new));
    app_put_json(object, JSON_INDENT(2));
}

static void print_done(const work *w)
{
    size_t classes = sl_gallery_count(w->gallery), all = w->had + w->added;
    if (w->session->values.json) {
        print_json(w);
        return;
    }
    if (w->known)
        app_say(
            w->session, "%s: %zu %s of %s and left out", w->path, w->known,
            app_plural(w->known, "picture is a copy of another", "pictures are copies of others"),
            w->label);
    if (w->had || !w->added)
        app_say(w->session, "%s: adds to %s: %zu + %zu pictures", w->path, w->label, w->had,
                w->added);
    else
        app_say(w->session, "%s: %s%s is a new class of %zu %s, %zu %s in all", w->path,
                w->is_new ? "new gallery; " : "", w->label, w->added,
                app_plural(w->added, "picture", "pictures"), classes,
                app_plural(classes, "class", "classes"));
    if (all < ENOUGH)
        app_say(w->session, "%zu %s little to tell it by; add more photographs of it, to %d or so",
                all, app_plural(all, "picture is", "pictures are"), ENOUGH);
    app_say(w->session, "next: softlens classify --gallery %s %sPHOTO", w->path,
            sl_classify_takes_gallery(w->classify) ? "" : "--only-gallery ");
}

// ---- the command

// Whether these are a folder's pictures: it, or a file in it.
static bool is_from(const char *operand, const struct stat *folder)
{
    struct stat st;
    char *copy = strdup(operand);
    const char *from = copy && !app_is_directory(copy) ? dirname(copy) : copy;
    bool is_same =
        from && stat(from, &st) == 0 && st.st_dev == folder->st_dev && st.st_ino == folder->st_ino;
    free(copy);
    return is_same;
}

// A picture or folder where the label belongs means that the gallery or the label was left out;
// but a class may be called as the folder of its pictures is.
static app_exit check_label(const app_session *session, int count, char **operands)
{
    struct stat st;
    const char *label = operands[0];
    bool is_there = stat(label, &st) == 0, is_folder = is_there && S_ISDIR(st.st_mode);
    const bool is_name = !strchr(label, '/') && strcmp(label, ".") != 0 && strcmp(label, "..") != 0;
    for (int i = 1; i < count && is_folder && is_name; i++)
        if (is_from(operands[i], &st))
            return APP_DONE;
    if (is_folder || (is_there && app_is_picture_name(label)))
        return app_usage(session->command, "\"%s\" is a %s, not a label; give %s", label,
                         is_folder ? "folder" : "file", session->command->operands);
    return APP_DONE;
}

static int enroll(app_session *session, int count, char **operands)
{
    work w = { .session = session, .path = operands[0], .label = operands[1] };
    app_exit result = check_label(session, count - 1, operands + 1);
    if (result == APP_DONE)
        result = app_pictures_find(session, count - 2, operands + 2, &w.pictures);
    if (result != APP_DONE)
        return result;
    w.failed = w.pictures.failed;
    if (!w.pictures.count)
        result = APP_FAILED;
    else if (!(w.loader = app_loader_start(session, &w.pictures))) // while the model is made ready
        result = APP_FAILED;
    if (result == APP_DONE)
        result = prepare(&w);
    if (result == APP_DONE)
        result = enroll_all(&w);
    if (result == APP_DONE && (w.added || w.known))
        print_done(&w);
    if (result == APP_DONE && w.failed)
        result = w.added || w.known ? APP_SOME_FAILED : APP_FAILED;
    app_loader_stop(w.loader);
    sl_gallery_free(w.gallery);
    sl_gallery_unlock(w.hold);
    sl_classify_free(w.classify);
    sl_model_free(w.model);
    app_pictures_free(&w.pictures);
    return result;
}

const app_command app_enroll = {
    .name = "enroll",
    .summary = "teaches a gallery a class from a few photographs",
    .operands = "GALLERY LABEL IMAGE|FOLDER...",
    .operands_min = 3,
    .operands_max = INT32_MAX,
    .about =
        "Adds photographs to the class LABEL of a gallery; both are made when they are new. Later "
        "photographs may be added at any time and give the same class as all at once. "
        "softlens classify --gallery then ranks the class together with those that the model "
        "was trained on, or with --only-gallery without them. A gallery serves the model that it "
        "was made with.",
    .examples = "softlens enroll my.gallery raccoon pics/raccoon/\n"
                "softlens enroll my.gallery \"our cat\" a.jpg b.jpg c.jpg d.jpg e.jpg\n"
                "softlens classify --gallery my.gallery photo.jpg\n",
    .options = rows,
    .run = enroll,
};
