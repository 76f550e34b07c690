// SPDX-License-Identifier: MIT
// base/file.c: reading and mapping files, making directories.
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define TICK_MS 50

// A named pipe opens at once, though nobody writes to it yet: wait_for_more() can be interrupted,
// open() cannot. A file that another program holds a lease of is waited for.
static int open_to_read(const char *path)
{
    int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, fd;
    do {
        fd = open(path, flags);
        if (fd < 0 && errno == EWOULDBLOCK)
            flags &= ~O_NONBLOCK;
    } while (fd < 0 && (errno == EINTR || errno == EWOULDBLOCK));
    if (fd >= 0 && (flags & O_NONBLOCK))
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return fd;
}

static sl_status open_input(sl_ctx *ctx, const char *path, int *fd, struct stat *info)
{
    *fd = open_to_read(path);
    if (*fd < 0)
        return sl_fail(ctx, SL_ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    sl_status st = SL_OK;
    if (fstat(*fd, info) != 0)
        st = sl_fail(ctx, SL_ERR_IO, "%s: cannot examine: %s", path, strerror(errno));
    else if (S_ISDIR(info->st_mode))
        st = sl_fail(ctx, SL_ERR_IO, "%s: is a directory; name a file", path);
    if (st != SL_OK)
        close(*fd);
    return st;
}

static sl_status too_large(sl_ctx *ctx, const char *path, size_t max_bytes)
{
    return sl_fail(ctx, SL_ERR_LIMIT,
                   "%s: larger than %zu bytes, the most that is read of such a file", path,
                   max_bytes);
}

// A pipe may be silent for as long as it likes, or never end; whoever waits may want to stop. What
// poll() cannot tell of is read()'s to tell.
static sl_status wait_for_more(sl_ctx *ctx, const char *path, int fd)
{
    struct pollfd input = { .fd = fd, .events = POLLIN };
    for (;;) {
        if (sl_progress(ctx, 0, 0) != SL_OK)
            return sl_fail(ctx, SL_ERR_CANCELLED, "%s: cancelled while it was read", path);
        int ready = poll(&input, 1, TICK_MS);
        if (ready > 0 || (ready < 0 && errno != EINTR))
            return SL_OK;
    }
}

// Reads to the end in growing steps: a pipe has no size, and a file may grow meanwhile.
static sl_status read_all(sl_ctx *ctx, const char *path, int fd, bool is_regular, size_t guess,
                          size_t max_bytes, sl_blob *out)
{
    size_t capacity = guess + 1; // one byte more, to meet the end without growing
    out->data = malloc(capacity);
    if (!out->data)
        return sl_fail(ctx, SL_ERR_NOMEM, "%s: out of memory for %zu bytes", path, capacity);
    for (;;) {
        if (out->size == capacity) {
            size_t wanted = 0;
            uint8_t *grown =
                sl_add(capacity, capacity / 2 + 65536, &wanted) ? realloc(out->data, wanted) : NULL;
            if (!grown)
                return sl_fail(ctx, SL_ERR_NOMEM, "%s: out of memory for %zu bytes", path, wanted);
            out->data = grown;
            capacity = wanted;
        }
        sl_status st = is_regular ? SL_OK : wait_for_more(ctx, path, fd);
        if (st != SL_OK)
            return st;
        ssize_t got = read(fd, out->data + out->size, capacity - out->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return sl_fail(ctx, SL_ERR_IO, "%s: cannot read: %s", path, strerror(errno));
        if (got == 0)
            return SL_OK;
        out->size += (size_t)got;
        if (out->size > max_bytes)
            return too_large(ctx, path, max_bytes);
    }
}

static sl_status read_open(sl_ctx *ctx, const char *path, int fd, const struct stat *info,
                           size_t max_bytes, sl_blob *out)
{
    size_t guess = 65536;
    const bool is_regular = S_ISREG(info->st_mode);
    sl_status st = SL_OK;
    if (is_regular && (uintmax_t)info->st_size > max_bytes)
        st = too_large(ctx, path, max_bytes);
    else if (is_regular && info->st_size > 0)
        guess = (size_t)info->st_size;
    if (st == SL_OK)
        st = read_all(ctx, path, fd, is_regular, guess, max_bytes, out);
    if (st != SL_OK || out->size == 0)
        sl_blob_free(out);
    return st;
}

sl_status sl_file_read(sl_ctx *ctx, const char *path, size_t max_bytes, sl_blob *out)
{
    int fd;
    struct stat info;
    *out = (sl_blob) { NULL, 0 };
    sl_status st = open_input(ctx, path, &fd, &info);
    if (st != SL_OK)
        return st;
    st = read_open(ctx, path, fd, &info, max_bytes, out);
    close(fd);
    return st;
}

sl_status sl_file_read_fd(sl_ctx *ctx, int fd, const char *name, size_t max_bytes, sl_blob *out)
{
    struct stat info;
    *out = (sl_blob) { NULL, 0 };
    if (fstat(fd, &info) != 0)
        return sl_fail(ctx, SL_ERR_IO, "%s: cannot examine: %s", name, strerror(errno));
    if (S_ISDIR(info.st_mode))
        return sl_fail(ctx, SL_ERR_IO, "%s: is a directory; name a file", name);
    return read_open(ctx, name, fd, &info, max_bytes, out);
}

sl_status sl_file_map(sl_ctx *ctx, const char *path, sl_mapping *out)
{
    int fd;
    struct stat info;
    *out = (sl_mapping) { NULL, 0 };
    sl_status st = open_input(ctx, path, &fd, &info);
    if (st != SL_OK)
        return st;
    if (!S_ISREG(info.st_mode)) {
        st = sl_fail(ctx, SL_ERR_IO, "%s: not a regular file; it has to be mapped", path);
    } else if (info.st_size == 0) {
        st = sl_fail(ctx, SL_ERR_FORMAT, "%s: empty file", path);
    } else if ((uintmax_t)info.st_size > SIZE_MAX / 2) {
        st = sl_fail(ctx, SL_ERR_LIMIT, "%s: too large to map", path);
    } else {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            st = sl_fail(ctx, SL_ERR_IO, "%s: cannot map: %s", path, strerror(errno));
        else
            *out = (sl_mapping) { data, (size_t)info.st_size };
    }
    close(fd);
    return st;
}

void sl_file_unmap(sl_mapping *mapping)
{
    if (mapping && mapping->data)
        munmap((void *)(uintptr_t)mapping->data, mapping->size);
    if (mapping)
        *mapping = (sl_mapping) { NULL, 0 };
}

static bool make_one(const char *path)
{
    struct stat info;
    if (mkdir(path, 0777) == 0)
        return true;
    int error = errno;
    // Whatever mkdir objects to (existing, read-only), a directory that is there will do.
    if (stat(path, &info) == 0) {
        if (S_ISDIR(info.st_mode))
            return true;
        error = ENOTDIR;
    }
    errno = error;
    return false;
}

sl_status sl_make_dir(sl_ctx *ctx, const char *path)
{
    if (!*path)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "the name of a directory is empty");
    char *part = sl_strdup(ctx, path);
    if (!part)
        return SL_ERR_NOMEM;
    sl_status st = SL_OK;
    size_t length = strlen(path);
    for (size_t i = 1; i <= length && st == SL_OK; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        part[i] = '\0';
        if (!make_one(part))
            st = sl_fail(ctx, SL_ERR_IO, "%s: cannot make directory: %s", part, strerror(errno));
        part[i] = path[i];
    }
    free(part);
    return st;
}

bool sl_file_exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}
