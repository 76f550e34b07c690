// SPDX-License-Identifier: MIT
// app/gallery.c: softlens gallery: looks into a gallery of enrolled classes, and changes it.
#include "app.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const app_option rows[] = {
    { .name = "model",
      .kind = APP_FILE,
      .at = APP_AT(model),
      .value = "FILE",
      .help = "The gallery has to be of this model; threshold then uses its statistics "
              "(default: any model; the threshold is that of classify --only-gallery)" },
    APP_UNKNOWN_RATE_OPTION(
        "For threshold: the share of known pictures that may be called unknown, between 0 "
        "and 1 (default: 0.05)"),
    { .name = "json", .at = APP_AT(json), .help = "Print JSON" },
    APP_COMMON_OPTIONS,
};

typedef struct job {
    app_session *session;
    const char *path;
    sl_model *model; // NULL: none was named
    sl_gallery *gallery;
    char **names; // what follows the action
} job;

static app_exit print_description(const job *j)
{
    char *text = NULL;
    sl_status status = sl_gallery_describe(j->session->ctx, j->gallery, &text);
    if (status != SL_OK)
        return app_fail(j->session, status);
    app_put_line(text);
    free(text);
    return APP_DONE;
}

// What a change has led to.
static app_exit tell(const job *j, const char *what)
{
    if (j->session->values.json)
        return print_description(j);
    size_t pictures = 0, classes = sl_gallery_count(j->gallery);
    for (size_t i = 0; i < classes; i++)
        pictures += sl_gallery_pictures(j->gallery, i);
    app_say(j->session, "%s: %s; %zu %s, %zu %s", j->path, what, classes,
            app_plural(classes, "class", "classes"), pictures,
            app_plural(pictures, "picture", "pictures"));
    return APP_DONE;
}

static void print_classes(const job *j, const json_t *report)
{
    const json_t *list = json_object_get(report, "classes");
    size_t i;
    int width = 0;
    json_t *entry;
    json_array_foreach(list, i, entry)
    {
        int own = app_columns(json_string_value(json_object_get(entry, "label")));
        width = own > width ? own : width;
    }
    size_t classes = json_array_size(list);
    size_t pictures = (size_t)json_integer_value(json_object_get(report, "pictures"));
    app_say(j->session, "%s: %zu %s, %zu %s, of the model %s", j->path, classes,
            app_plural(classes, "class", "classes"), pictures,
            app_plural(pictures, "picture", "pictures"),
            json_string_value(json_object_get(report, "model")));
    json_array_foreach(list, i, entry)
    {
        const char *nearest = json_string_value(json_object_get(entry, "nearest"));
        char apart[512] = "";
        if (nearest)
            snprintf(apart, sizeof(apart), "  %5.1f degrees from %s",
                     json_real_value(json_object_get(entry, "angle_degrees")), nearest);
        const char *label = json_string_value(json_object_get(entry, "label"));
        app_say(j->session, "  %s%*s %5lld%s", label, width - app_columns(label), "",
                (long long)json_integer_value(json_object_get(entry, "pictures")), apart);
    }
}

static app_exit list(job *j)
{
    char *text = NULL;
    json_t *report = NULL;
    if (j->session->values.json)
        return print_description(j);
    sl_status status = sl_gallery_describe(j->session->ctx, j->gallery, &text);
    if (status != SL_OK)
        return app_fail(j->session, status);
    report = json_loads(text, 0, NULL);
    free(text);
    if (!report) {
        app_error("out of memory for the list of classes");
        return APP_FAILED;
    }
    print_classes(j, report);
    json_decref(report);
    return APP_DONE;
}

static app_exit export(job *j)
{
    return print_description(j);
}

static app_exit threshold(job *j)
{
    char *text = NULL;
    sl_status status = sl_gallery_threshold(j->session->ctx, j->gallery, j->model,
                                            j->session->values.unknown_rate, &text);
    return status == SL_OK ? app_print_report(j->session, text) : app_fail(j->session, status);
}

static app_exit check(job *j)
{
    sl_status status = sl_gallery_check(j->session->ctx, j->gallery);
    return status == SL_OK ? tell(j, "every class is what its pictures give")
                           : app_fail(j->session, status);
}

// ---- changes: made under the gallery's lock, and saved

static app_exit save(job *j, sl_status status, const char *what)
{
    if (status == SL_OK)
        status = sl_gallery_save(j->session->ctx, j->gallery, j->path);
    return status == SL_OK ? tell(j, what) : app_fail(j->session, status);
}

static app_exit rename_class(job *j)
{
    char what[1024];
    snprintf(what, sizeof(what), "%s is now %s", j->names[0], j->names[1]);
    return save(j, sl_gallery_rename(j->session->ctx, j->gallery, j->names[0], j->names[1]), what);
}

static app_exit remove_class(job *j)
{
    char what[512];
    snprintf(what, sizeof(what), "%s is removed", j->names[0]);
    return save(j, sl_gallery_remove(j->session->ctx, j->gallery, j->names[0]), what);
}

static app_exit merge(job *j)
{
    char what[4096];
    struct stat own, that;
    sl_gallery *other = NULL;
    if (stat(j->path, &own) == 0 && stat(j->names[0], &that) == 0 && own.st_dev == that.st_dev &&
        own.st_ino == that.st_ino)
        return app_usage(j->session->command, "%s: is the gallery itself; name another one",
                         j->names[0]);
    sl_status status = sl_gallery_open(j->session->ctx, j->names[0], NULL, &other);
    if (status == SL_OK)
        status = sl_gallery_merge(j->session->ctx, j->gallery, other);
    snprintf(what, sizeof(what), "%s is merged in", j->names[0]);
    app_exit result = save(j, status, what);
    sl_gallery_free(other);
    return result;
}

typedef struct action {
    const char *name, *names; // what follows it
    int name_count;
    bool changes;
    app_exit (*run)(job *j);
} action;

static const action actions[] = {
    { "list", "", 0, false, list },
    { "export", "", 0, false, export },
    { "threshold", "", 0, false, threshold },
    { "check", "", 0, false, check },
    { "rename", " OLD NEW", 2, true, rename_class },
    { "remove", " LABEL", 1, true, remove_class },
    { "merge", " OTHER", 1, true, merge },
};

static const action *find_action(const char *name)
{
    for (size_t i = 0; i < APP_LEN(actions); i++)
        if (strcmp(actions[i].name, name) == 0)
            return &actions[i];
    return NULL;
}

static app_exit run_action(job *j, const action *what)
{
    sl_gallery_hold *hold = NULL;
    app_exit result = APP_DONE;
    sl_status status = SL_OK;
    if (j->session->values.model)
        result = app_open_model(j->session, j->session->values.model, &j->model);
    if (result == APP_DONE && what->changes)
        status = sl_gallery_lock(j->session->ctx, j->path, &hold);
    if (result == APP_DONE && status == SL_OK)
        status = sl_gallery_open(j->session->ctx, j->path, j->model, &j->gallery);
    if (status != SL_OK)
        result = app_fail(j->session, status);
    if (result == APP_DONE)
        result = what->run(j);
    sl_gallery_free(j->gallery);
    sl_gallery_unlock(hold);
    sl_model_free(j->model);
    return result;
}

static int gallery(app_session *session, int count, char **operands)
{
    job j = { .session = session, .path = operands[0], .names = operands + 2 };
    const action *what = find_action(count > 1 ? operands[1] : "list");
    if (!what)
        return app_usage(session->command,
                         "gallery does not know \"%s\"; it knows list, export, threshold, check, "
                         "rename, remove and merge",
                         operands[1]);
    if (count > 2 + what->name_count || (count > 1 && count < 2 + what->name_count))
        return app_usage(session->command, "give gallery FILE %s%s", what->name, what->names);
    return run_action(&j, what);
}

const app_command app_gallery = {
    .name = "gallery",
    .summary = "lists, changes and checks enrolled classes",
    .operands = "FILE [ACTION]",
    .operands_min = 1,
    .operands_max = 4,
    .about = "Looks into a gallery that softlens enroll has made, or changes it. ACTION is one of "
             "list (what is done without one), export (as JSON), threshold (where \"unknown\" "
             "begins, found by leaving out one picture at a time), check (whether every class is "
             "what its pictures give), rename OLD NEW, remove LABEL, and merge OTHER (adds the "
             "pictures of another gallery). Two programs that change one gallery wait for each "
             "other.",
    .examples = "softlens gallery my.gallery\n"
                "softlens gallery my.gallery rename racoon raccoon\n"
                "softlens gallery my.gallery merge other.gallery\n"
                "softlens gallery my.gallery threshold --model model.safetensors\n",
    .options = rows,
    .run = gallery,
};
