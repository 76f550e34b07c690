// SPDX-License-Identifier: MIT
// app/batch_watch.c: --watch: pass after pass over the folders, as pictures arrive in them.
//
// What inotify tells is only that it is time to look again: a pass scans everything and the journal
// knows what is new. So nothing is missed when the kernel's queue runs over or files arrive while
// folders are being listed: every folder is watched before it is read.
#include "batch_detect.h"

#include "jobs.h"

#include <errno.h>
#include <fnmatch.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define TICK_MS 200
#define QUIET_SECONDS 0.5 // after the last event, so that a stream of files makes one pass
#define LONGEST_SECONDS 5 // after the first one, however much goes on
#define GROWING_SECONDS 1 // until files that may still grow are looked at again

app_exit batch_watch_begin(batch *b)
{
    b->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (b->watch >= 0)
        return APP_DONE;
    app_error("--watch: the system has no watch left: %s; end other programs that watch files",
              strerror(errno));
    return APP_FAILED;
}

bool batch_watch_folder(int watch, const char *path)
{
    uint32_t events = IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ATTRIB | IN_ONLYDIR;
    return inotify_add_watch(watch, path, events) >= 0 || errno != ENOSPC;
}

static bool is_called(const char *path, const char *name)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return path && strcmp(slash ? slash + 1 : path, name) == 0;
}

// Tables and the report, which every pass writes where one picture cannot be done: it would call
// for the next pass by that.
static bool is_own(const batch *b, const char *name)
{
    bool is_own = is_called(b->session->values.report, name);
    for (size_t i = 0; i < b->step_count; i++)
        is_own = is_own || is_called(b->table[i], name);
    return is_own || (batch_has_step(b, &batch_step_detect) && batch_is_of_tables(b, name));
}

// The folder's own name is not known here, so that the last part of a pattern has to do: at worst
// there is a pass too many.
static bool is_included(const app_values_list *patterns, const char *name)
{
    for (size_t i = 0; i < patterns->count; i++) {
        const char *slash = strrchr(patterns->item[i], '/');
        if (fnmatch(slash ? slash + 1 : patterns->item[i], name, 0) == 0)
            return true;
    }
    return patterns->count == 0 && app_is_picture_name(name);
}

// Whether it may be a picture or a folder.
static bool is_news(const batch *b, const struct inotify_event *event)
{
    const char *name = event->len ? event->name : "";
    if (!*name) // of a folder itself, or some were lost
        return true;
    if (*name == '.' || is_own(b, name))
        return false;
    return event->mask & IN_ISDIR || is_included(&b->session->values.include, name);
}

// Whether anything happened since.
static bool drain(const batch *b)
{
    _Alignas(struct inotify_event) char events[8192];
    bool any = false;
    ssize_t size;
    while ((size = read(b->watch, events, sizeof(events))) > 0)
        for (ssize_t at = 0; at < size;) {
            const struct inotify_event *event = (const struct inotify_event *)&events[at];
            any = any || is_news(b, event);
            at += (ssize_t)(sizeof(*event) + event->len);
        }
    return any;
}

// Until it is time for a pass. False: interrupted.
static bool wait_for_news(const batch *b)
{
    double began = app_seconds(), first = 0, last = 0;
    struct pollfd watched = { .fd = b->watch, .events = POLLIN };
    while (!app_interrupted()) {
        poll(&watched, 1, TICK_MS); // a signal ends it early, or a tick later
        double now = app_seconds();
        if (drain(b)) {
            first = first > 0 ? first : now;
            last = now;
        }
        if (first > 0 && (now - last > QUIET_SECONDS || now - first > LONGEST_SECONDS))
            return true;
        if (b->growing && now - began > GROWING_SECONDS)
            return true;
    }
    return false;
}

app_exit batch_watch(batch *b, app_exit result, batch_pass_fn pass, int count, char **operands)
{
    while ((result == APP_DONE || result == APP_SOME_FAILED) && wait_for_news(b)) {
        app_exit last = pass(b, count, operands);
        result = last == APP_DONE ? result : last;
    }
    return result;
}
