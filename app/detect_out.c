// SPDX-License-Identifier: MIT
// app/detect_out.c: where the results of softlens detect go: overlays, crops, and files of boxes.
#include "detect.h"
#include "jobs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const app_detect_kind app_detect_kinds[APP_DETECT_FORMATS] = {
    [SL_DETECT_JSON] = { "json", ".json", NULL },
    [SL_DETECT_JSONL] = { "jsonl", ".jsonl", "detections.jsonl" },
    [SL_DETECT_COCO] = { "coco", ".coco.json", "coco.json" },
    [SL_DETECT_YOLO] = { "yolo", ".yolo", "yolo" },
    [SL_DETECT_LABELME] = { "labelme", ".json", NULL },
    [SL_DETECT_CVAT] = { "cvat", ".cvat.xml", "cvat.xml" },
    [SL_DETECT_CSV] = { "csv", ".csv", "detections.csv" },
};

size_t app_detect_format(const char *name, size_t length)
{
    size_t f = 0;
    while (f < APP_DETECT_FORMATS && (strlen(app_detect_kinds[f].name) != length ||
                                      memcmp(app_detect_kinds[f].name, name, length) != 0))
        f++;
    return f;
}

sl_status app_detect_write(sl_ctx *ctx, const char *path, sl_detect_format format, bool overwrite,
                           const char *picture, const sl_detections *found)
{
    sl_detect_file *file = NULL;
    sl_status status =
        sl_detect_file_new(ctx, path, format, found->labels, found->label_count, overwrite, &file);
    if (status == SL_OK)
        status = sl_detect_file_add(file, picture, found);
    if (status == SL_OK)
        status = sl_detect_file_finish(file);
    sl_detect_file_free(file);
    return status;
}

sl_status app_detect_draw(const app_values *values, sl_ctx *ctx, sl_image *image,
                          const sl_detections *found)
{
    const char *style = values->overlay_style ? values->overlay_style : "boxes";
    sl_overlay_options options = { .style = SL_OVERLAY_BOXES };
    if (strcmp(style, "labels") == 0)
        options.style = SL_OVERLAY_LABELS;
    if (strcmp(style, "blur") == 0)
        options.style = SL_OVERLAY_BLUR;
    return sl_detections_draw(ctx, image, found, &options);
}

// ---- writing

app_exit app_detect_out_begin(app_detect_out *out, const char *const *labels, size_t label_count)
{
    app_session *session = out->session;
    int error = out->is_to_be_made ? app_make_dirs(session->values.output) : 0;
    if (error) {
        app_error("-o %s: cannot be made: %s; name another folder", session->values.output,
                  strerror(error));
        return APP_FAILED;
    }
    for (size_t f = 0; f < APP_DETECT_FORMATS; f++) {
        if (!out->formats[f] || !app_detect_is_for_many(out, f))
            continue;
        char *name = app_detect_many_name(out, f);
        if (!name)
            return app_out_of_memory();
        sl_status status =
            sl_detect_file_new(session->ctx, name, (sl_detect_format)f, labels, label_count,
                               session->values.overwrite, &out->files[f]);
        free(name);
        if (status != SL_OK)
            return app_fail(session, status);
    }
    return APP_DONE;
}

void app_detect_out_next(app_detect_out *out)
{
    for (size_t i = 0; i < out->written_count; i++)
        free(out->written[i].path);
    out->written_count = 0;
    free(out->refusal);
    out->refusal = NULL;
}

static bool is_there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

// Takes the name of what was written; where memory runs out it is not told.
static void keep_written(app_detect_out *out, char *name, bool is_new)
{
    if (out->written_count == out->written_capacity) {
        size_t capacity = 2 * out->written_capacity + 8;
        app_detect_file *grown = realloc(out->written, capacity * sizeof(*grown));
        if (!grown) {
            free(name);
            return;
        }
        out->written = grown;
        out->written_capacity = capacity;
    }
    out->written[out->written_count++] = (app_detect_file) { name, is_new };
}

void app_detect_out_undo(app_detect_out *out)
{
    for (size_t i = 0; i < out->written_count; i++)
        if (out->written[i].is_new)
            unlink(out->written[i].path);
}

static sl_status write_own(app_detect_out *out, size_t format, const char *path,
                           const sl_detections *found)
{
    const app_session *session = out->session;
    char *name = app_detect_out_name(out, path, app_detect_kinds[format].ending);
    if (!name)
        return SL_ERR_NOMEM;
    bool is_new = !is_there(name);
    sl_status status = app_detect_write(session->ctx, name, (sl_detect_format)format,
                                        session->values.overwrite, path, found);
    if (status == SL_OK)
        keep_written(out, name, is_new);
    else
        free(name);
    return status;
}

static sl_status write_picture(app_detect_out *out, char *name, const sl_image *image)
{
    const app_values *values = &out->session->values;
    if (!name)
        return SL_ERR_NOMEM;
    const sl_save_options options = { .format = app_format_of_name(name),
                                      .quality = (int)values->quality,
                                      .overwrite = values->overwrite,
                                      .strip_metadata = values->strip_metadata };
    bool is_new = !is_there(name);
    sl_status status = sl_image_save(out->session->ctx, image, name, &options);
    if (status == SL_OK)
        keep_written(out, name, is_new);
    else
        free(name);
    return status;
}

// What is no single picture's cannot go on after a failure; where it stands against this picture
// alone it is as it was.
static sl_status add_to_files(app_detect_out *out, const char *path, const sl_detections *found)
{
    sl_status status = SL_OK;
    for (size_t f = 0; f < APP_DETECT_FORMATS && status == SL_OK; f++)
        if (out->files[f])
            status = sl_detect_file_add(out->files[f], path, found);
    out->is_lost = status != SL_OK && status != SL_ERR_ARGUMENT && status != SL_ERR_EXISTS;
    return status;
}

// YOLO's folder comes last of what is this picture's own: it alone could not be taken away again.
sl_status app_detect_out_add(app_detect_out *out, const char *path, const sl_detections *found,
                             const sl_image *drawn)
{
    sl_status status = SL_OK;
    for (size_t f = 0; f < APP_DETECT_FORMATS && status == SL_OK; f++)
        if (out->formats[f] && f != SL_DETECT_YOLO && !app_detect_is_for_many(out, f))
            status = write_own(out, f, path, found);
    if (status == SL_OK && drawn)
        status = write_picture(out, app_detect_out_picture(out, path), drawn);
    if (status == SL_OK && out->formats[SL_DETECT_YOLO] &&
        !app_detect_is_for_many(out, SL_DETECT_YOLO))
        status = write_own(out, SL_DETECT_YOLO, path, found);
    return status == SL_OK ? add_to_files(out, path, found) : status;
}

// Labels are any text; of a file's name letters and digits are left, and what is not ASCII.
static void plain(char *text)
{
    for (char *at = text; *at; at++) {
        unsigned char c = (unsigned char)*at;
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
        if (!is_letter && !(c >= '0' && c <= '9') && c != '-')
            *at = '_';
    }
}

sl_status app_detect_out_crop(app_detect_out *out, const char *path, size_t number,
                              const sl_detection *found, const sl_image *crop)
{
    char label[64], what[96];
    snprintf(label, sizeof(label), "%.*s", (int)app_cut(found->label, sizeof(label) - 1),
             found->label);
    plain(label);
    snprintf(what, sizeof(what), "%zu-%s", number, label);
    char *name = app_detect_crop_name(out, path, what);
    if (!name || app_identities_at(&out->inputs, name) == SIZE_MAX)
        return write_picture(out, name, crop);
    if (asprintf(&out->refusal, "%s: is an input and also a crop of %s; leave one of them out",
                 name, path) < 0)
        out->refusal = NULL;
    free(name);
    return SL_ERR_EXISTS;
}

// A file that cannot be written takes none of the others with it.
app_exit app_detect_out_finish(app_detect_out *out)
{
    app_exit result = APP_DONE;
    for (size_t f = 0; f < APP_DETECT_FORMATS; f++) {
        if (!out->files[f])
            continue;
        sl_status status = sl_detect_file_finish(out->files[f]);
        if (status != SL_OK)
            result = app_fail(out->session, status);
        else if (!out->session->values.json) // whose lines are objects
            app_say(out->session, "%s/%s", out->folder, app_detect_kinds[f].many);
    }
    return result;
}

void app_detect_out_free(app_detect_out *out)
{
    for (size_t f = 0; f < APP_DETECT_FORMATS; f++)
        sl_detect_file_free(out->files[f]);
    app_detect_out_next(out);
    app_identities_free(&out->inputs);
    free(out->written);
    free(out->folder);
    *out = (app_detect_out) { 0 };
}
