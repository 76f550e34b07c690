// SPDX-License-Identifier: MIT
// app/main.c: softlens, the program: finds the command and runs it.
#include "jobs.h"

#include <string.h>

#define TRACE_START "{\"displayTimeUnit\"" // of no file but what --profile wrote

// With --profile. Of work that failed as a whole there is no trace.
static int run_traced(app_session *session, int count, char **operands)
{
    const app_values *values = &session->values;
    sl_status status = SL_OK;
    if (app_is_stdout(values->profile))
        return app_usage(session->command, APP_NO_STDOUT, "--profile");
    if (values->profile && !app_may_replace(values->profile, "trace", TRACE_START))
        return APP_FAILED;
    if (values->profile)
        status = sl_trace_begin(session->ctx, values->profile, values->overwrite);
    if (status != SL_OK)
        return app_fail(session, status);
    int result = session->command->run(session, count, operands);
    if (!values->profile || (result != APP_DONE && result != APP_SOME_FAILED))
        return result;
    status = sl_trace_write(session->ctx);
    return status == SL_OK ? result : (int)app_fail(session, status);
}

static int run_command(const app_command *command, int argc, char **argv)
{
    app_session session = { .command = command };
    char error[APP_ERROR_BYTES];
    int first = argc;
    if (!app_parse(command, argc, argv, &session.values, &first, error))
        return app_usage(command, "%s", error);
    if (session.values.help) {
        app_print_command_help(stdout, command);
        return APP_DONE;
    }
    if (session.values.quiet && session.values.verbose)
        return app_usage(command, "--quiet and --verbose contradict each other");

    app_catch_signals();
    int result = app_session_open(&session);
    if (result == APP_DONE)
        result = run_traced(&session, argc - first, argv + first);
    app_session_close(&session);
    return result;
}

static int unknown_command(const char *name)
{
    static const app_option own[] = { { .name = "help" }, { .name = "version" }, { .name = NULL } };
    bool is_option = name[0] == '-';
    const char *near =
        is_option ? app_nearest_option(own, name + strspn(name, "-")) : app_nearest_command(name);
    if (near)
        app_error("unknown %s \"%s\"; did you mean %s%s?", is_option ? "option" : "command", name,
                  is_option ? "--" : "softlens ", near);
    else if (is_option)
        app_error("unknown option \"%s\"; options follow a command, see softlens --help", name);
    else
        app_error("unknown command \"%s\"; see softlens --help", name);
    return APP_USAGE;
}

// softlens help [COMMAND]
static int help(int argc, char **argv)
{
    if (argc < 2) {
        app_print_help(stdout);
        return APP_DONE;
    }
    const app_command *command = app_find_command(argv[1]);
    bool is_itself = strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
                     strcmp(argv[1], "-h") == 0;
    if (!command && !is_itself)
        return unknown_command(argv[1]);
    if (command)
        app_print_command_help(stdout, command);
    else
        app_print_help(stdout);
    return APP_DONE;
}

// softlens --list-options [COMMAND], for the tests of completions and manual
static int list_options(int argc, char **argv)
{
    const app_command *command = argc > 1 ? app_find_command(argv[1]) : NULL;
    if (argc > 1 && !command)
        return unknown_command(argv[1]);
    app_list_options(stdout, command);
    return APP_DONE;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        app_error("name a command, such as softlens deblur photo.jpg; see softlens --help");
        return APP_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return help(argc - 1, argv + 1);
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("softlens %s\n", sl_version());
        return APP_DONE;
    }
    if (strcmp(name, "--list-options") == 0)
        return list_options(argc - 1, argv + 1);
    const app_command *command = app_find_command(name);
    return command ? run_command(command, argc - 1, argv + 1) : unknown_command(name);
}

int main(int argc, char **argv)
{
    if (!app_hold_streams())
        return APP_FAILED;
    int result = dispatch(argc, argv);
    if (!app_finish_stdout() && result == APP_DONE)
        result = APP_FAILED;
    if (result == APP_INTERRUPTED)
        app_end_interrupted();
    return result;
}
