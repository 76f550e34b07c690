// SPDX-License-Identifier: MIT
// app/detect_out.c: where the results of softlens detect go: overlays, crops, and files of boxes.
#include "detect.h"
#include "jobs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

static app_exit out_of_memory(void)
{
    app_error("out of memory; name fewer pictures at once");
    return APP_FAILED;
}

static bool is_for_many(const app_detect_out *out, size_t format)
{
    return app_detect_kinds[format].many && !out->is_single;
}

// ---- what was asked for

static app_exit read_format(const app_session *session, const char *name, size_t length,
                            app_detect_out *out)
{
    size_t format = app_detect_format(name, length);
    if (format < APP_DETECT_FORMATS) {
        out->formats[format] = true;
        return APP_DONE;
    }
    return app_usage(session->command,
                     "--format %.*s: is none of json, jsonl, coco, yolo, labelme, cvat, csv",
                     (int)(length < 40 ? length : 40), name);
}

static app_exit read_formats(const app_session *session, app_detect_out *out)
{
    const char *list = session->values.format ? session->values.format : "json";
    app_exit result = APP_DONE;
    while (result == APP_DONE) {
        size_t length = strcspn(list, ",");
        result = read_format(session, list, length, out);
        if (!list[length])
            break;
        list += length + 1;
    }
    if (result == APP_DONE && out->formats[SL_DETECT_JSON] && out->formats[SL_DETECT_LABELME])
        result = app_usage(session->command, "--format: json and labelme would both be NAME.json; "
                                             "ask for one of them");
    return result;
}

// -o is a folder when it is one, or ends in a slash, or is to hold several pictures.
static app_exit read_output(const app_session *session, const char *path, app_detect_out *out)
{
    const char *value = session->values.output;
    if (value && (app_ends_in_slash(value) || app_is_directory(value))) {
        size_t length = strlen(value);
        while (length > 1 && value[length - 1] == '/')
            length--;
        out->folder = strndup(value, length);
        out->is_to_be_made = !app_is_directory(value);
        return out->folder ? APP_DONE : out_of_memory();
    }
    if (!value && strcmp(path, "-") == 0)
        return app_usage(session->command, "- has no name of its own; name the result with -o");
    if (value && !out->is_single)
        return app_usage(session->command,
                         "-o %s: several pictures need a folder; make it, or end it in /", value);
    if (value && !session->values.no_overlay && app_format_of_name(value) == SL_IMAGE_SAME)
        return app_usage(session->command,
                         "-o %s: is the name of a picture; end it in .png or .jpg", value);
    for (size_t f = 0; f < APP_DETECT_FORMATS; f++)
        if (!value && out->formats[f] && is_for_many(out, f))
            return app_usage(session->command,
                             "--format %s: is one file of all pictures; say where with -o DIR/",
                             app_detect_kinds[f].name);
    return APP_DONE;
}

// ---- names

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// PATH without the ending of a picture.
static size_t stem_length(const char *path)
{
    const char *name = base_name(path), *dot = strrchr(name, '.');
    bool has_ending = dot && dot > name && app_format_of_name(path) != SL_IMAGE_SAME;
    return has_ending ? (size_t)(dot - path) : strlen(path);
}

// How many kinds of data are asked for; with `end`, such as ".json", those whose names end so.
static size_t kinds_asked(const app_detect_out *out, const char *end)
{
    size_t count = 0;
    for (size_t f = 0; f < APP_DETECT_FORMATS; f++)
        count +=
            out->formats[f] && (!end || !strcmp(end, strrchr(app_detect_kinds[f].ending, '.')));
    return count;
}

// FOLDER/STEM + ending, or beside the picture, or beside what -o names; the one kind of data that
// is asked for, without a picture, has the name that -o gives.
static char *derive(const app_detect_out *out, const char *path, const char *ending)
{
    const app_values *values = &out->session->values;
    bool is_beside = out->folder || !values->output;
    const char *of = is_beside ? path : values->output, *dot = strrchr(of, '.');
    size_t stem = stem_length(of), skip = 0;
    char *made = NULL;
    if (!is_beside && values->no_overlay && dot && kinds_asked(out, dot)) {
        if (kinds_asked(out, NULL) == 1)
            return strdup(of);
        stem = (size_t)(dot - of);
    }
    if (out->folder) {
        skip = (size_t)(base_name(path) - path);
        stem -= skip;
    }
    if (asprintf(&made, "%s%s%.*s%s", out->folder ? out->folder : "", out->folder ? "/" : "",
                 (int)stem, of + skip, ending) < 0)
        return NULL;
    return made;
}

static char *many_name(const app_detect_out *out, size_t format)
{
    char *made = NULL;
    return asprintf(&made, "%s/%s", out->folder, app_detect_kinds[format].many) < 0 ? NULL : made;
}

char *app_detect_out_picture(const app_detect_out *out, const char *path)
{
    const app_values *values = &out->session->values;
    if (!out->folder && values->output)
        return strdup(values->output);
    return app_derive_path(out->folder, path, "detected", app_format_of_file(path));
}

// ---- what stands against it

typedef struct names {
    char **name;
    size_t count, capacity;
} names;

static app_exit add_name(names *n, char *name)
{
    if (name && n->count == n->capacity) {
        size_t capacity = n->capacity ? 2 * n->capacity : 64;
        char **grown = realloc(n->name, capacity * sizeof(*grown));
        if (grown) {
            n->name = grown;
            n->capacity = capacity;
        }
    }
    if (!name || n->count == n->capacity) {
        free(name);
        return out_of_memory();
    }
    n->name[n->count++] = name;
    return APP_DONE;
}

static app_exit name_all(const app_detect_out *out, const app_pictures *pictures, names *n)
{
    const app_values *values = &out->session->values;
    bool is_drawn = !values->no_overlay &&
                    (!values->overlay_style || strcmp(values->overlay_style, "crop") != 0);
    app_exit result = APP_DONE;
    for (size_t i = 0; i < pictures->count && result == APP_DONE; i++) {
        const char *path = pictures->path[i];
        if (is_drawn)
            result = add_name(n, app_detect_out_picture(out, path));
        for (size_t f = 0; f < APP_DETECT_FORMATS && result == APP_DONE; f++)
            if (out->formats[f] && !is_for_many(out, f))
                result = add_name(n, derive(out, path, app_detect_kinds[f].ending));
    }
    for (size_t f = 0; f < APP_DETECT_FORMATS && result == APP_DONE; f++)
        if (out->formats[f] && is_for_many(out, f))
            result = add_name(n, many_name(out, f));
    return result;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static app_exit check_names(const app_session *session, names *n)
{
    struct stat st;
    if (n->count)
        qsort(n->name, n->count, sizeof(*n->name), by_text);
    for (size_t i = 0; i < n->count; i++) {
        const char *name = n->name[i];
        if (i + 1 < n->count && strcmp(name, n->name[i + 1]) == 0)
            return app_usage(session->command,
                             "%s: would be the result of two pictures; take them one by one", name);
        app_exit profile = app_check_profile(session, name);
        if (profile != APP_DONE)
            return profile;
        if (!session->values.overwrite && lstat(name, &st) == 0) {
            app_error("%s: exists; name another output or add --overwrite", name);
            return APP_FAILED;
        }
    }
    return APP_DONE;
}

app_exit app_detect_out_plan(app_session *session, const app_pictures *pictures,
                             app_detect_out *out)
{
    names n = { 0 };
    *out = (app_detect_out) { .session = session, .is_single = pictures->count <= 1 };
    app_exit result = read_formats(session, out);
    // A folder is for many, however many it holds.
    if (session->values.output &&
        (app_ends_in_slash(session->values.output) || app_is_directory(session->values.output)))
        out->is_single = false;
    if (result == APP_DONE)
        result = read_output(session, pictures->count ? pictures->path[0] : "", out);
    if (result == APP_DONE)
        result = name_all(out, pictures, &n);
    if (result == APP_DONE)
        result = check_names(session, &n);
    for (size_t i = 0; i < n.count; i++)
        free(n.name[i]);
    free(n.name);
    return result;
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
        if (!out->formats[f] || !is_for_many(out, f))
            continue;
        char *name = many_name(out, f);
        if (!name)
            return out_of_memory();
        sl_status status =
            sl_detect_file_new(session->ctx, name, (sl_detect_format)f, labels, label_count,
                               session->values.overwrite, &out->files[f]);
        free(name);
        if (status != SL_OK)
            return app_fail(session, status);
    }
    return APP_DONE;
}

static sl_status write_own(app_detect_out *out, size_t format, const char *path,
                           const sl_detections *found)
{
    const app_session *session = out->session;
    char *name = derive(out, path, app_detect_kinds[format].ending);
    if (!name)
        return SL_ERR_NOMEM;
    sl_status status = app_detect_write(session->ctx, name, (sl_detect_format)format,
                                        session->values.overwrite, path, found);
    free(name);
    return status;
}

static sl_status write_picture(const app_detect_out *out, char *name, const sl_image *image)
{
    const app_values *values = &out->session->values;
    if (!name)
        return SL_ERR_NOMEM;
    const sl_save_options options = { .format = app_format_of_name(name),
                                      .quality = (int)values->quality,
                                      .overwrite = values->overwrite,
                                      .strip_metadata = values->strip_metadata };
    sl_status status = sl_image_save(out->session->ctx, image, name, &options);
    free(name);
    return status;
}

sl_status app_detect_out_add(app_detect_out *out, const char *path, const sl_detections *found,
                             const sl_image *drawn)
{
    sl_status status = SL_OK;
    for (size_t f = 0; f < APP_DETECT_FORMATS && status == SL_OK; f++)
        if (out->formats[f] && !is_for_many(out, f))
            status = write_own(out, f, path, found);
    if (status == SL_OK && drawn)
        status = write_picture(out, app_detect_out_picture(out, path), drawn);
    for (size_t f = 0; f < APP_DETECT_FORMATS && status == SL_OK; f++)
        if (out->files[f])
            status = sl_detect_file_add(out->files[f], path, found);
    return status;
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
    char label[64], ending[128];
    size_t length = strnlen(found->label, sizeof(label) - 1);
    while (length > 0 && (found->label[length] & 0xc0) == 0x80) // not in the midst of a character
        length--;
    snprintf(label, sizeof(label), "%.*s", (int)length, found->label);
    plain(label);
    const char *kind = app_format_of_file(path) == SL_IMAGE_PNG ? "png" : "jpg";
    snprintf(ending, sizeof(ending), ".%zu-%s.%s", number, label, kind);
    return write_picture(out, derive(out, path, ending), crop);
}

app_exit app_detect_out_finish(app_detect_out *out)
{
    for (size_t f = 0; f < APP_DETECT_FORMATS; f++) {
        if (!out->files[f])
            continue;
        sl_status status = sl_detect_file_finish(out->files[f]);
        if (status != SL_OK)
            return app_fail(out->session, status);
        app_say(out->session, "%s/%s", out->folder, app_detect_kinds[f].many);
    }
    return APP_DONE;
}

void app_detect_out_free(app_detect_out *out)
{
    for (size_t f = 0; f < APP_DETECT_FORMATS; f++)
        sl_detect_file_free(out->files[f]);
    free(out->folder);
    *out = (app_detect_out) { 0 };
}
