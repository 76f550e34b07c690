// SPDX-License-Identifier: MIT
// pipeline/find.c: where the shipped models lie.
#include "pipeline/pipeline.h"
#include "pipeline/places.h" // from Meson: SL_INSTALLED_MODELS

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_NAME 64
#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

typedef struct search {
    sl_ctx *ctx;
    bool is_default; // of an architecture, not asked for by name
    char *file_name; // these three malloc'ed
    char *tried;     // one place a line
    char *found;
    sl_status status;
} search;

static bool is_done(const search *s)
{
    return s->found || s->status != SL_OK;
}

static bool is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

// The installed models' place may be one of the data directories, too.
static bool is_noted(const search *s, const char *path)
{
    size_t length = strlen(path);
    for (const char *at = s->tried; at && (at = strstr(at, path)); at++)
        if (at > s->tried && at[-1] == ' ' && (at[length] == '\n' || at[length] == '\0'))
            return true;
    return false;
}

static void note(search *s, const char *path)
{
    if (is_noted(s, path))
        return;
    char *longer = sl_format(s->ctx, "%s\n  %s", s->tried ? s->tried : "", path);
    free(s->tried);
    s->tried = longer;
    if (!longer)
        s->status = SL_ERR_NOMEM;
}

// Takes `path`, malloc'ed or NULL when memory ran out.
static void try_file(search *s, char *path)
{
    if (!path)
        s->status = SL_ERR_NOMEM;
    else if (is_file(path))
        s->found = path;
    else
        note(s, path);
    if (path != s->found)
        free(path);
}

static void try_dir(search *s, const char *dir, const char *below)
{
    if (!is_done(s))
        try_file(s, sl_format(s->ctx, "%s%s/%s", dir, below, s->file_name));
}

static void try_environment(search *s)
{
    const char *place = getenv("SOFTLENS_MODELS");
    if (!place || !*place)
        return;
    // Whoever names a model does not want another one for a slip of the pen.
    if (access(place, F_OK) != 0)
        s->status =
            sl_fail(s->ctx, SL_ERR_IO, "SOFTLENS_MODELS names %s: %s", place, strerror(errno));
    else if (!is_file(place))
        try_dir(s, place, "");
    else if (s->is_default)
        try_file(s, sl_strdup(s->ctx, place));
}

// A program that runs from its build tree finds the models of the source tree, or in a build tree
// that lies elsewhere the links to them; an installed one those beside it, wherever the tree was
// moved. The trees' own names stay out of what gets installed.
static void try_beside_program(search *s)
{
    char program[4096];
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (length <= 0 || is_done(s))
        return;
    program[length] = '\0';
    char *slash = strrchr(program, '/');
    if (!slash)
        return;
    *slash = '\0';
    try_dir(s, program, "/../models");
    try_dir(s, program, "/../../models");
    try_dir(s, program, "/models");
    try_dir(s, program, "/../share/softlens/models");
}

static void try_data_dirs(search *s)
{
    const char *home = getenv("XDG_DATA_HOME"), *dirs = getenv("XDG_DATA_DIRS");
    if (home && *home)
        try_dir(s, home, "/softlens/models");
    else if ((home = getenv("HOME")) && *home)
        try_dir(s, home, "/.local/share/softlens/models");
    if (!dirs || !*dirs)
        dirs = "/usr/local/share:/usr/share";
    while (*dirs && !is_done(s)) {
        size_t length = strcspn(dirs, ":");
        char *dir = length ? sl_format(s->ctx, "%.*s", (int)length, dirs) : NULL;
        if (dir)
            try_dir(s, dir, "/softlens/models");
        else if (length)
            s->status = SL_ERR_NOMEM;
        free(dir);
        dirs += length + (dirs[length] == ':');
    }
}

static const char *default_of(const char *architecture)
{
    static const char *const names[][2] = {
        { "lmd-vit", "lmd-vit-small" },
        { "soft", "soft-small" },
        { "soft-retinanet", "retina-soft-small" },
    };
    for (size_t i = 0; architecture && i < SL_ARRAY_LEN(names); i++)
        if (strcmp(architecture, names[i][0]) == 0)
            return names[i][1];
    return NULL;
}

// Letters, digits and hyphens: a name leads nowhere but into the places that are searched.
static bool is_name(const char *name)
{
    size_t length = name ? strnlen(name, MAX_NAME + 1) : 0;
    return length > 0 && length <= MAX_NAME && strspn(name, NAME_CHARACTERS) == length;
}

static void try_all(search *s)
{
    try_environment(s);
    try_beside_program(s);
    try_dir(s, SL_INSTALLED_MODELS, "");
    try_data_dirs(s);
    if (s->found || s->status != SL_OK)
        return;
    s->status = sl_fail(s->ctx, SL_ERR_IO,
                        "%s was not found; name a model file, or set SOFTLENS_MODELS to %s. "
                        "Places tried:%s",
                        s->file_name, s->is_default ? "one or to its directory" : "its directory",
                        s->tried);
}

static sl_status find(sl_ctx *ctx, const char *name, bool is_default, char **out)
{
    search s = { .ctx = ctx,
                 .is_default = is_default,
                 .file_name = sl_format(ctx, "%s.safetensors", name) };
    s.status = s.file_name ? SL_OK : SL_ERR_NOMEM;
    if (s.status == SL_OK)
        try_all(&s);
    *out = s.found;
    free(s.tried);
    free(s.file_name);
    return s.status;
}

sl_status sl_model_find(sl_ctx *ctx, const char *architecture, char **out)
{
    const char *name = default_of(architecture);
    *out = NULL;
    if (!name)
        return sl_fail(
            ctx, SL_ERR_ARGUMENT,
            "no default model of architecture \"%.64s\"; there is one for: lmd-vit, soft, "
            "soft-retinanet",
            architecture ? architecture : "");
    return find(ctx, name, true, out);
}

sl_status sl_model_find_named(sl_ctx *ctx, const char *name, char **out)
{
    *out = NULL;
    if (!is_name(name))
        return sl_fail(ctx, SL_ERR_ARGUMENT,
                       "\"%.64s\" is no name of a model: letters, digits and hyphens, %d at most",
                       name ? name : "", MAX_NAME);
    return find(ctx, name, false, out);
}
