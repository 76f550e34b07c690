// SPDX-License-Identifier: MIT
// app/detect_plan.c: what the results of softlens detect are called, and what stands against that.
#include "detect.h"
#include "jobs.h"

#include <stdlib.h>
#include <string.h>

bool app_detect_is_for_many(const app_detect_out *out, size_t format)
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

// How many kinds of data are asked for; with `end`, such as ".json", those whose names end so.
static size_t kinds_asked(const app_detect_out *out, const char *end)
{
    size_t count = 0;
    for (size_t f = 0; f < APP_DETECT_FORMATS; f++)
        count +=
            out->formats[f] && (!end || !strcmp(end, strrchr(app_detect_kinds[f].ending, '.')));
    return count;
}

// Whether a name ends as data that is not asked for: the one or the other is meant.
static app_exit check_ending(const app_detect_out *out, const char *value)
{
    const char *dot = strrchr(value, '.');
    for (size_t f = 0; f < APP_DETECT_FORMATS && dot && !kinds_asked(out, dot); f++)
        if (strcmp(dot, strrchr(app_detect_kinds[f].ending, '.')) == 0)
            return app_usage(out->session->command,
                             "-o %s: no --format that ends so is asked for; add --format %s", value,
                             app_detect_kinds[f].name);
    return APP_DONE;
}

// -o -: the objects of --json are all there is, and what is of files is out of place.
static app_exit check_stdout(const app_session *session)
{
    const app_values *values = &session->values;
    if (!values->json)
        return app_usage(session->command,
                         "-o - prints what is found and writes no files; add --json");
    if (values->format)
        return app_usage(session->command, "-o - prints what --json does; leave --format out, or "
                                           "name a file or folder");
    if (values->overlay_style)
        return app_usage(session->command, "-o - draws nothing; leave --overlay-style out, or name "
                                           "a file or folder");
    return APP_DONE;
}

static app_exit check_stdin(const app_session *session, const app_pictures *pictures)
{
    const char *value = session->values.output;
    for (size_t i = 0; i < pictures->count && (!value || app_names_folder(value)); i++)
        if (app_is_stdin(pictures->path[i]))
            return app_usage(session->command,
                             "- has no name of its own; name the result with -o FILE, or print "
                             "what is found with --json -o -");
    return APP_DONE;
}

// -o is a folder when it is one, or ends in a slash, or is to hold several pictures.
static app_exit read_output(const app_session *session, app_detect_out *out)
{
    const char *value = session->values.output;
    if (value && app_names_folder(value)) {
        size_t length = strlen(value);
        while (length > 1 && value[length - 1] == '/')
            length--;
        out->folder = strndup(value, length);
        out->is_to_be_made = !app_is_directory(value);
        return out->folder ? APP_DONE : app_out_of_memory();
    }
    if (value && !out->is_single)
        return app_usage(session->command,
                         "-o %s: several pictures need a folder; make it, or end it in /", value);
    if (value && !session->values.no_overlay && app_format_of_name(value) == SL_IMAGE_SAME)
        return app_usage(session->command,
                         "-o %s: is the name of a picture; end it in .png or .jpg", value);
    if (value && session->values.no_overlay)
        return check_ending(out, value);
    for (size_t f = 0; f < APP_DETECT_FORMATS; f++)
        if (!value && out->formats[f] && app_detect_is_for_many(out, f))
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
    return dot && dot > name && app_is_picture_name(path) ? (size_t)(dot - path) : strlen(path);
}

// FOLDER/STEM + ending, or beside the picture, or beside what -o names; the one kind of data that
// is asked for, without a picture, has the name that -o gives, unless that is a picture's.
char *app_detect_out_name(const app_detect_out *out, const char *path, const char *ending)
{
    const app_values *values = &out->session->values;
    bool is_beside = out->folder || !values->output;
    const char *of = is_beside ? path : values->output, *dot = strrchr(of, '.');
    size_t stem = stem_length(of), skip = 0;
    char *made = NULL;
    if (!is_beside && values->no_overlay) {
        if (kinds_asked(out, NULL) == 1 && !app_is_picture_name(of))
            return strdup(of);
        if (dot && kinds_asked(out, dot))
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

char *app_detect_many_name(const app_detect_out *out, size_t format)
{
    char *made = NULL;
    return asprintf(&made, "%s/%s", out->folder, app_detect_kinds[format].many) < 0 ? NULL : made;
}

char *app_detect_crop_name(const app_detect_out *out, const char *path, const char *what)
{
    const char *output = out->session->values.output;
    sl_image_format format =
        out->folder || !output ? app_format_of_file(path) : app_format_of_name(output);
    char ending[128];
    snprintf(ending, sizeof(ending), ".%s.detected.%s", what,
             format == SL_IMAGE_PNG ? "png" : "jpg");
    return app_detect_out_name(out, path, ending);
}

char *app_detect_out_picture(const app_detect_out *out, const char *path)
{
    const app_values *values = &out->session->values;
    if (!out->folder && values->output)
        return strdup(values->output);
    return app_derive_path(out->folder, path, "detected", app_format_of_file(path));
}

// ---- what stands against it

#define OF_ALL SIZE_MAX // a name that no single picture has to itself

typedef struct place {
    char *path;
    char *where;    // app_place
    size_t picture; // of app_pictures
    bool is_folder; // as YOLO's data
    bool is_within; // such a folder, which is made when all is found
} place;

typedef struct places {
    place *item;
    size_t count, capacity;
} places;

// Takes its path, malloc'ed or NULL where memory ran out.
static app_exit add_place(places *n, place added)
{
    if (added.path && n->count == n->capacity) {
        size_t capacity = n->capacity ? 2 * n->capacity : 64;
        place *grown = realloc(n->item, capacity * sizeof(*grown));
        if (grown) {
            n->item = grown;
            n->capacity = capacity;
        }
    }
    added.where = added.path ? app_place(added.path) : NULL;
    if (!added.where || n->count == n->capacity) {
        free(added.path);
        free(added.where);
        return app_out_of_memory();
    }
    n->item[n->count++] = added;
    return APP_DONE;
}

// A picture's file in YOLO's folder of many, as the library names it: up to the last dot.
static char *label_name(const app_detect_out *out, const char *path)
{
    const char *name = base_name(path), *dot = strrchr(name, '.');
    int length = (int)(dot && dot > name ? (size_t)(dot - name) : strlen(name));
    char *made = NULL;
    return asprintf(&made, "%s/%s/labels/%.*s.txt", out->folder,
                    app_detect_kinds[SL_DETECT_YOLO].many, length, name) < 0
               ? NULL
               : made;
}

// The data of a picture of its own.
static app_exit name_data(const app_detect_out *out, const char *path, size_t picture, places *n)
{
    app_exit result = APP_DONE;
    for (size_t f = 0; f < APP_DETECT_FORMATS && result == APP_DONE; f++) {
        place of_it = { .picture = picture };
        if (out->formats[f] && !app_detect_is_for_many(out, f)) {
            of_it.path = app_detect_out_name(out, path, app_detect_kinds[f].ending);
            of_it.is_folder = f == SL_DETECT_YOLO;
            result = add_place(n, of_it);
        } else if (out->formats[f] && f == SL_DETECT_YOLO) {
            of_it.path = label_name(out, path);
            of_it.is_within = true;
            result = add_place(n, of_it);
        }
    }
    return result;
}

static app_exit name_all(const app_detect_out *out, const app_pictures *pictures, places *n)
{
    const app_values *values = &out->session->values;
    bool is_cut = values->overlay_style && strcmp(values->overlay_style, "crop") == 0;
    app_exit result = APP_DONE;
    for (size_t i = 0; i < pictures->count && result == APP_DONE; i++) {
        const char *path = pictures->path[i];
        place drawn = { .picture = i };
        if (is_cut) // whatever is found: where the names would be the same
            drawn.path = app_detect_crop_name(out, path, "N-LABEL");
        else if (!values->no_overlay)
            drawn.path = app_detect_out_picture(out, path);
        if (is_cut || !values->no_overlay)
            result = add_place(n, drawn);
        if (result == APP_DONE)
            result = name_data(out, path, i, n);
    }
    for (size_t f = 0; f < APP_DETECT_FORMATS && result == APP_DONE; f++)
        if (out->formats[f] && app_detect_is_for_many(out, f))
            result = add_place(n, (place) { .path = app_detect_many_name(out, f),
                                            .picture = OF_ALL,
                                            .is_folder = f == SL_DETECT_YOLO });
    return result;
}

static int by_where(const void *a, const void *b)
{
    return strcmp(((const place *)a)->where, ((const place *)b)->where);
}

// No two pictures may become one file, and none a file of all.
static app_exit check_collisions(const app_detect_out *out, const app_pictures *pictures, places *n)
{
    if (n->count)
        qsort(n->item, n->count, sizeof(*n->item), by_where);
    for (size_t i = 0; i + 1 < n->count; i++) {
        const place *one = &n->item[i], *other = one + 1;
        if (strcmp(one->where, other->where) != 0)
            continue;
        const char *of_one = one->picture == OF_ALL ? NULL : pictures->path[one->picture];
        const char *of_other = other->picture == OF_ALL ? NULL : pictures->path[other->picture];
        if (!of_one || !of_other)
            return app_usage(
                out->session->command,
                "%s: would be a file of all pictures and also of %s; leave the picture "
                "or the format out",
                one->path,
                of_one     ? of_one
                : of_other ? of_other
                           : "each");
        return app_usage(
            out->session->command,
            "%s and %s would both become %s; softlens batch detect keeps such pictures "
            "apart",
            of_one, of_other, one->path);
    }
    return APP_DONE;
}

// A picture whose results cannot be written is not looked at; the first reason is kept. What is no
// single picture's, or would take the place of another one, stands against all.
static app_exit check_name(const app_detect_out *out, const place *n, char **refusals)
{
    const app_session *session = out->session;
    size_t input = app_identities_at(&out->inputs, n->path);
    app_exit result = app_check_profile(session, n->path);
    if (result != APP_DONE)
        return result;
    if (input != SIZE_MAX && input != n->picture)
        return app_usage(session->command,
                         "%s: is an input and also an output; leave one of them out", n->path);
    char *why = NULL;
    int length = 0;
    if (input != SIZE_MAX)
        length = asprintf(&why, "%s: is the input itself; name another output", n->path);
    else if (!n->is_folder || !app_is_directory(n->path))
        why = app_output_refusal(n->path, session->values.overwrite,
                                 out->is_to_be_made || n->is_within);
    else if (!session->values.overwrite)
        length = asprintf(&why, "%s: exists; name another output or add --overwrite", n->path);
    if (length < 0)
        return app_out_of_memory();
    if (why && n->picture == OF_ALL) {
        app_error("%s", why);
        result = APP_FAILED;
    }
    if (why && n->picture != OF_ALL && !refusals[n->picture])
        refusals[n->picture] = why;
    else
        free(why);
    return result;
}

// Takes the pictures out that are refused, and prints why.
static app_exit drop_refused(app_pictures *pictures, char **refusals)
{
    app_exit result = APP_DONE;
    size_t kept = 0;
    for (size_t i = 0; i < pictures->count; i++) {
        if (!refusals[i] || result != APP_DONE) {
            pictures->path[kept++] = pictures->path[i];
            continue;
        }
        result = app_pictures_fail(pictures, pictures->path[i], refusals[i]);
        refusals[i] = NULL;
        free(pictures->path[i]);
    }
    pictures->count = kept;
    return result;
}

static app_exit check_names(app_detect_out *out, app_pictures *pictures, places *n)
{
    size_t count = pictures->count;
    char **refusals = calloc(count + 1, sizeof(*refusals));
    app_exit result = refusals ? app_identities_of(pictures, &out->inputs) : app_out_of_memory();
    if (result == APP_DONE)
        result = check_collisions(out, pictures, n);
    for (size_t i = 0; i < n->count && result == APP_DONE; i++)
        result = check_name(out, &n->item[i], refusals);
    if (result == APP_DONE)
        result = drop_refused(pictures, refusals);
    for (size_t i = 0; refusals && i < count; i++)
        free(refusals[i]);
    free(refusals);
    return result;
}

app_exit app_detect_out_plan(app_session *session, app_pictures *pictures, app_detect_out *out)
{
    places n = { 0 };
    *out = (app_detect_out) { .session = session,
                              .is_single = pictures->count <= 1,
                              .is_printed = app_is_stdout(session->values.output) };
    if (out->is_printed)
        return check_stdout(session);
    app_exit result = read_formats(session, out);
    // A folder is for many, however many it holds.
    if (session->values.output && app_names_folder(session->values.output))
        out->is_single = false;
    if (result == APP_DONE)
        result = check_stdin(session, pictures);
    if (result == APP_DONE)
        result = read_output(session, out);
    if (result == APP_DONE)
        result = name_all(out, pictures, &n);
    if (result == APP_DONE)
        result = check_names(out, pictures, &n);
    for (size_t i = 0; i < n.count; i++) {
        free(n.item[i].path);
        free(n.item[i].where);
    }
    free(n.item);
    return result;
}
