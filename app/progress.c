// SPDX-License-Identifier: MIT
// app/progress.c: a bar on the terminal for work that takes more than a second.
#include "app.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define BAR_WIDTH 24
#define DELAY_SECONDS 1.0  // shorter work shows no bar
#define REDRAW_SECONDS 0.1 // more often would only flicker

double app_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void app_progress_init(app_progress *progress, bool is_quiet)
{
    const char *term = getenv("TERM");
    bool is_plain = !term || !*term || strcmp(term, "dumb") == 0;
    *progress = (app_progress) { .is_enabled = !is_quiet && !is_plain && isatty(STDERR_FILENO) };
}

void app_progress_begin(app_progress *progress, const char *label)
{
    progress->label = label;
    progress->started = app_seconds();
    progress->drawn = 0;
}

static int terminal_columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

static void draw(app_progress *progress, double now, size_t done, size_t total)
{
    char line[256], left[32] = "";
    if (done) {
        double seconds = (now - progress->started) * (double)(total - done) / (double)done;
        unsigned long whole = (unsigned long)(seconds + 0.5);
        snprintf(left, sizeof(left), ", %lu:%02lu left", whole / 60, whole % 60);
    }
    size_t filled = (size_t)(BAR_WIDTH * (double)done / (double)total);
    int length = snprintf(line, sizeof(line), "[%.*s%.*s] %zu of %zu%s  ", (int)filled,
                          "########################", (int)(BAR_WIDTH - filled),
                          "........................", done, total, left);

    // The name goes last, cut at the terminal's edge: a line that wraps cannot be wiped.
    int room = terminal_columns() - length - 1;
    fprintf(stderr, "\r\033[K%.*s", terminal_columns() - 1, line);
    char label[256];
    snprintf(label, sizeof(label), "%s", progress->label);
    app_one_line(label);
    fwrite(label, 1, app_fitting(label, room), stderr);
    fflush(stderr);
    progress->is_drawn = true;
    progress->drawn = now;
}

bool app_progress_step(void *user, size_t done, size_t total)
{
    app_progress *progress = user;
    if (progress->is_enabled && progress->label && total && done <= total) {
        double now = app_seconds();
        if (now - progress->started > DELAY_SECONDS && now - progress->drawn > REDRAW_SECONDS)
            draw(progress, now, done, total);
    }
    return !app_interrupted();
}

void app_progress_end(app_progress *progress)
{
    if (progress->is_drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    progress->is_drawn = false;
}
