// SPDX-License-Identifier: MIT
// classify/gallery_lock.c: one writer at a time. The lock is a file of its own, since a gallery's
// file is replaced by every writer, and the file that was locked would no longer be the gallery.
#include "classify/gallery.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define POLL_NANOSECONDS 10000000L
#define LONGEST_NAME (NAME_MAX - 6) // with "." and ".lock" around it

struct sl_gallery_hold {
    char *path;
    int fd;
};

// Whether the locked file is still the one under the name: who had it before may have removed it.
static bool is_current(int fd, const char *path)
{
    struct stat ours, theirs;
    return fstat(fd, &ours) == 0 && stat(path, &theirs) == 0 && ours.st_dev == theirs.st_dev &&
           ours.st_ino == theirs.st_ino;
}

// *taken: false while somebody else has it.
static sl_status try_lock(sl_ctx *ctx, sl_gallery_hold *hold, bool *taken)
{
    *taken = false;
    const int flags = O_CLOEXEC | O_NOFOLLOW;
    hold->fd = open(hold->path, O_RDWR | O_CREAT | flags, 0666);
    if (hold->fd < 0 && errno == EACCES) { // another user's may be waited for all the same
        hold->fd = open(hold->path, O_RDONLY | flags);
        errno = hold->fd < 0 && errno == ENOENT ? EACCES : errno;
    }
    if (hold->fd < 0 && errno == EINTR)
        return SL_OK;
    if (hold->fd < 0)
        return sl_fail(ctx, SL_ERR_IO, "%s: cannot be made to lock the gallery: %s", hold->path,
                       strerror(errno));
    int error = flock(hold->fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    *taken = error == 0 && is_current(hold->fd, hold->path);
    if (*taken)
        return SL_OK;
    close(hold->fd);
    hold->fd = -1;
    if (error && error != EWOULDBLOCK && error != EINTR)
        return sl_fail(ctx, SL_ERR_IO, "%s: cannot lock: %s", hold->path, strerror(error));
    return SL_OK;
}

static sl_status wait_for_lock(sl_ctx *ctx, sl_gallery_hold *hold, const char *path)
{
    bool taken = false, told = false;
    for (;;) {
        sl_status st = try_lock(ctx, hold, &taken);
        if (st != SL_OK || taken)
            return st;
        if (!told)
            sl_log(ctx, SL_LOG_INFO, "%s: waits until another program has saved it", path);
        told = true;
        if (sl_progress(ctx, 0, 0) != SL_OK)
            return sl_fail(ctx, SL_ERR_CANCELLED, "%s: cancelled while another program has it",
                           path);
        nanosleep(&(struct timespec) { .tv_nsec = POLL_NANOSECONDS }, NULL);
    }
}

sl_status sl_gallery_place(sl_ctx *ctx, const char *path, char **out)
{
    struct stat info;
    *out = realpath(path, NULL);
    const int error = errno;
    const bool is_there = !*out && lstat(path, &info) == 0;
    if (is_there && S_ISLNK(info.st_mode))
        return sl_fail(ctx, SL_ERR_IO, "%s: is a link that leads nowhere: %s", path,
                       strerror(error));
    if (is_there) // by now: another program has just saved it
        *out = realpath(path, NULL);
    if (!*out)
        *out = sl_strdup(ctx, path);
    return *out ? SL_OK : SL_ERR_NOMEM;
}

// Long names that begin alike share a lock, which makes them wait and does no harm.
static sl_status lock_place(sl_ctx *ctx, const char *path, sl_gallery_hold *hold)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const size_t keep = sl_utf8_cut(name, LONGEST_NAME);
    hold->path = sl_format(ctx, "%.*s.%.*s.lock", (int)(name - path), path, (int)keep, name);
    return hold->path ? wait_for_lock(ctx, hold, path) : SL_ERR_NOMEM;
}

sl_status sl_gallery_lock(sl_ctx *ctx, const char *path, sl_gallery_hold **out)
{
    char *place = NULL;
    size_t length = strlen(path);
    *out = NULL;
    if (length == 0 || path[length - 1] == '/')
        return sl_fail(ctx, SL_ERR_ARGUMENT, "%s: names no file", path);
    sl_gallery_hold *hold = sl_alloc(ctx, 1, sizeof(*hold));
    if (!hold)
        return SL_ERR_NOMEM;
    hold->fd = -1;
    sl_status st = sl_gallery_place(ctx, path, &place);
    if (st == SL_OK)
        st = lock_place(ctx, place, hold);
    free(place);
    if (st == SL_OK)
        *out = hold;
    else
        sl_gallery_unlock(hold);
    return st;
}

void sl_gallery_unlock(sl_gallery_hold *hold)
{
    if (!hold)
        return;
    if (hold->fd >= 0) {
        unlink(hold->path); // while it is still ours
        close(hold->fd);
    }
    free(hold->path);
    free(hold);
}
