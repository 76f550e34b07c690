// SPDX-License-Identifier: MIT
// app/interrupt.c: Ctrl-C asks first, so that no half file is left, and insists the second time.
#include "app.h"

#include <signal.h>

static volatile sig_atomic_t interrupted; // by which signal

static void on_signal(int number)
{
    if (interrupted) { // the next one of any ends the program
        signal(number, SIG_DFL);
        raise(number);
    }
    interrupted = number;
}

static void catch_unless_ignored(int number)
{
    struct sigaction old;
    if (sigaction(number, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
        return; // nohup, or a job in the background of a script: stays as the parent wants it
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

void app_catch_signals(void)
{
    catch_unless_ignored(SIGINT);
    catch_unless_ignored(SIGTERM);
    catch_unless_ignored(SIGHUP); // the terminal was closed
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); // past `ulimit -f`, write() says EFBIG instead
}

void app_end_interrupted(void)
{
    if (interrupted != SIGINT)
        return;
    signal(SIGINT, SIG_DFL);
    raise(SIGINT);
}

bool app_interrupted(void)
{
    return interrupted != 0;
}
