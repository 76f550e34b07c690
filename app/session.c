// SPDX-License-Identifier: MIT
// app/session.c: a command's context, and what it says when something goes wrong.
#include "jobs.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void app_one_line(char *text)
{
    char *end = text;
    for (const char *at = text; *at; at++) {
        unsigned char c = (unsigned char)*at, next = (unsigned char)at[1];
        if (c == 0xc2 && next >= 0x80 && next < 0xa0) { // U+0080 to U+009F: controls, too
            *end++ = '?';
            at++;
        } else if (c == '\n') {
            *end++ = ' ';
            at += strspn(at + 1, " ");
        } else {
            *end++ = c < 0x20 || c == 0x7f ? '?' : *at;
        }
    }
    *end = '\0';
}

void app_error(const char *format, ...)
{
    char text[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fflush(stdout); // lines keep their order where both streams meet
    app_one_line(text);
    fprintf(stderr, "softlens: %s\n", text);
}

app_exit app_check_safetensors(const app_session *session)
{
    const char *path = session->values.output, *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash : path, '.');
    if (app_is_stdout(path))
        return app_usage(session->command, APP_NO_STDOUT, "--output");
    if (dot && strcmp(dot, ".safetensors") != 0)
        return app_usage(session->command,
                         "--output %s: is written as safetensors; end the name in .safetensors",
                         path);
    return APP_DONE;
}

app_exit app_out_of_memory(void)
{
    app_error("out of memory; name fewer pictures at once");
    return APP_FAILED;
}

app_exit app_usage(const app_command *command, const char *format, ...)
{
    char text[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    size_t length = strlen(text);
    const char *joint = length && text[length - 1] == '?' ? " " : "; ";
    app_error("%s%ssee softlens %s --help", text, joint, command->name);
    return APP_USAGE;
}

static void on_log(void *user, sl_log_level level, const char *sentence)
{
    app_session *session = user;
    bool wanted = level == SL_LOG_WARNING ? !session->values.quiet : session->values.verbose;
    if (!wanted)
        return;
    app_progress_end(&session->progress);
    app_error("%s%s", level == SL_LOG_WARNING ? "warning: " : "", sentence);
}

app_exit app_session_open(app_session *session)
{
    const app_values *values = &session->values;
    app_progress_init(&session->progress, values->quiet);
    sl_ctx_options options = {
        .threads = (unsigned)values->threads,
        .simd = values->simd,
        .log = on_log,
        .log_user = session,
        .progress = app_progress_step,
        .progress_user = &session->progress,
    };
    sl_status status = sl_ctx_new(&options, &session->ctx);
    if (status == SL_OK)
        return APP_DONE;
    if (status == SL_ERR_ARGUMENT)
        return app_usage(session->command, "--threads or --simd is not possible on this machine");
    app_error("cannot start %u threads: out of memory; try --threads 1", options.threads);
    return APP_FAILED;
}

void app_session_close(app_session *session)
{
    sl_ctx_free(session->ctx);
    session->ctx = NULL;
}

app_exit app_check_profile(const app_session *session, const char *path)
{
    const char *profile = session->values.profile;
    if (!profile || !path)
        return APP_DONE;
    char *a = app_place(profile), *b = app_place(path);
    app_exit result = APP_DONE;
    if (a && b && strcmp(a, b) == 0)
        result =
            app_usage(session->command, "--profile %s: is also read or written otherwise", profile);
    free(a);
    free(b);
    return result;
}

sl_precision app_precision(const app_session *session)
{
    const char *name = session->values.precision;
    for (sl_precision p = SL_PRECISION_F16; name && p <= SL_PRECISION_BF16; p++)
        if (strcmp(name, sl_precision_name(p)) == 0)
            return p;
    return SL_PRECISION_F32;
}

unsigned app_views(const app_values *values)
{
    return !values->tta ? 1 : strcmp(values->tta, "flips") == 0 ? 4 : 2;
}

size_t app_top(const app_values *values)
{
    return values->top ? values->top : 5;
}

sl_classify_options app_classify_options(const app_session *session)
{
    const app_values *values = &session->values;
    return (sl_classify_options) { .device = values->device,
                                   .precision = app_precision(session),
                                   .unknown_rate =
                                       values->no_unknown ? -1.0f : values->unknown_rate,
                                   .gallery_only = values->only_gallery };
}

app_exit app_classify_check(const app_session *session)
{
    const app_values *values = &session->values;
    if (values->no_unknown && values->unknown_rate > 0)
        return app_usage(session->command, "--no-unknown and --unknown-rate contradict each other");
    if (values->only_gallery && !values->gallery)
        return app_usage(session->command, "--only-gallery wants a --gallery");
    return APP_DONE;
}

const char *app_how(const char *message)
{
    static const struct {
        const char *end, *how;
    } ways[] = {
        { "ask to overwrite", " with --overwrite" },
        { "if truncated ones are allowed", " (--allow-truncated)" },
        { "look into it as a gallery", " (softlens gallery FILE)" },
    };
    size_t length = strlen(message);
    for (size_t i = 0; i < APP_LEN(ways); i++) {
        size_t end = strlen(ways[i].end);
        if (length >= end && strcmp(message + length - end, ways[i].end) == 0)
            return ways[i].how;
    }
    return "";
}

app_exit app_fail(app_session *session, sl_status status)
{
    app_progress_end(&session->progress);
    if (status == SL_ERR_CANCELLED) {
        app_error("interrupted; nothing is left half-written");
        return APP_INTERRUPTED;
    }
    const char *message = sl_ctx_message(session->ctx);
    app_error("%s%s", *message ? message : "the library failed without saying why",
              app_how(message));
    return status == SL_ERR_ARGUMENT ? APP_USAGE : APP_FAILED;
}

void app_why_undone(const app_session *session, app_exit result, char *out, size_t size)
{
    const char *message = sl_ctx_message(session->ctx);
    if (result == APP_INTERRUPTED)
        message = "interrupted";
    else if (!*message)
        message = "was not looked at";
    snprintf(out, size, "%.*s", (int)app_cut(message, size - 1), message);
    app_one_line(out);
}

// What is no file and has neither folder nor suffix names an installed model.
static bool names_model(const char *given)
{
    size_t length = 0;
    while (isalnum((unsigned char)given[length]) || given[length] == '-')
        length++;
    bool is_file = access(given, F_OK) == 0 && !app_is_directory(given);
    return length > 0 && given[length] == '\0' && !is_file;
}

sl_status app_find_model(sl_ctx *ctx, const char *given, const char *architecture, char **out)
{
    if (!given)
        return sl_model_find(ctx, architecture, out);
    if (names_model(given))
        return sl_model_find_named(ctx, given, out);
    *out = strdup(given);
    return *out ? SL_OK : SL_ERR_NOMEM;
}

app_exit app_open_model(app_session *session, const char *given, sl_model **out)
{
    return app_open_model_for(session, given, "lmd-vit", out);
}

app_exit app_open_model_for(app_session *session, const char *given, const char *architecture,
                            sl_model **out)
{
    char *path = NULL;
    *out = NULL;
    sl_status status = app_find_model(session->ctx, given, architecture, &path);
    if (status == SL_OK)
        status = sl_model_open(session->ctx, path, out);
    free(path);
    return status == SL_OK ? APP_DONE : app_fail(session, status);
}
