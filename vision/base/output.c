// SPDX-License-Identifier: MIT
// base/output.c: output files that appear whole under their name, or not at all.
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_LINKS 40 // as the kernel follows

struct sl_output {
    sl_ctx *ctx;
    char *path, *temp;
    int fd;
    bool overwrite;
    sl_status failed; // of the first write that failed: commit must not succeed after it
};

static sl_status already_exists(sl_ctx *ctx, const char *path)
{
    return sl_fail(ctx, SL_ERR_EXISTS, "%s: already exists; name another file or ask to overwrite",
                   path);
}

// Regular where it ends may be, but the link is what would be replaced.
bool sl_stands_for_open_file(const char *path)
{
    char at[PATH_MAX], to[PATH_MAX];
    int length = snprintf(at, sizeof(at), "%s", path);
    for (int steps = 0; steps < MAX_LINKS && length >= 0 && length < (int)sizeof(at); steps++) {
        ssize_t got = readlink(at, to, sizeof(to) - 1);
        if (got < 0)
            return false;
        to[got] = '\0';
        if (strncmp(to, "/proc/", 6) == 0)
            return true;
        const char *slash = strrchr(at, '/');
        size_t keep = *to == '/' || !slash ? 0 : (size_t)(slash - at) + 1;
        length = snprintf(at + keep, sizeof(at) - keep, "%s", to);
        length += (int)keep;
    }
    return false;
}

static sl_status check_target(sl_ctx *ctx, const char *path, bool overwrite)
{
    struct stat info;
    size_t length = strlen(path);
    if (length == 0)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "the name of the output file is empty");
    if (path[length - 1] == '/')
        return sl_fail(ctx, SL_ERR_IO, "%s: names a directory; name a file in it", path);
    if (sl_stands_for_open_file(path))
        return sl_fail(ctx, SL_ERR_IO, "%s: stands for an open file; name a file of its own", path);
    if (stat(path, &info) == 0) {
        if (S_ISDIR(info.st_mode))
            return sl_fail(ctx, SL_ERR_IO, "%s: is a directory; name a file in it", path);
        // Renaming over a device would replace the device itself.
        if (!S_ISREG(info.st_mode))
            return sl_fail(ctx, SL_ERR_IO, "%s: is not a regular file; write to one", path);
    }
    if (!overwrite && sl_file_exists(path))
        return already_exists(ctx, path);
    return SL_OK;
}

static void random_letters(char *letters, size_t count)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567"; // 32: five bits each
    uint64_t bits = 0;
    if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != (ssize_t)sizeof(bits)) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        bits = (uint64_t)now.tv_nsec ^ ((uint64_t)getpid() << 20);
    }
    for (size_t i = 0; i < count; i++, bits >>= 5)
        letters[i] = alphabet[bits & 31];
}

// Creates DIR/.NAME.XXXXXX.part. O_EXCL never follows a link or opens what somebody else put there;
// the mode is left to the umask, unlike mkstemp's.
static sl_status create_temp(sl_output *output)
{
    const char *path = output->path;
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const size_t keep = sl_utf8_cut(name, 200); // leaves room under the usual 255 bytes
    for (int attempt = 0; attempt < 64; attempt++) {
        char letters[7] = { 0 };
        random_letters(letters, 6);
        free(output->temp);
        output->temp = sl_format(output->ctx, "%.*s.%.*s.%s.part", (int)(name - path), path,
                                 (int)keep, name, letters);
        if (!output->temp)
            return SL_ERR_NOMEM;
        output->fd = open(output->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (output->fd >= 0)
            return SL_OK;
        if (errno != EEXIST && errno != EINTR)
            break;
    }
    sl_fail(output->ctx, SL_ERR_IO, "%s: cannot create a file in that directory: %s", path,
            strerror(errno));
    free(output->temp); // not ours to remove
    output->temp = NULL;
    return SL_ERR_IO;
}

// What was shut to others stays so when it is replaced.
static void keep_mode(const sl_output *output)
{
    struct stat old, made;
    if (lstat(output->path, &old) != 0 || !S_ISREG(old.st_mode) || fstat(output->fd, &made) != 0)
        return;
    if (((old.st_mode ^ made.st_mode) & 0777) != 0 && fchmod(output->fd, old.st_mode & 0777) != 0)
        sl_log(output->ctx, SL_LOG_WARNING, "%s: its permissions cannot be kept: %s", output->path,
               strerror(errno));
}

sl_status sl_output_open(sl_ctx *ctx, const char *path, bool overwrite, sl_output **out)
{
    *out = NULL;
    sl_status st = check_target(ctx, path, overwrite);
    if (st != SL_OK)
        return st;
    sl_output *output = calloc(1, sizeof(*output));
    if (!output)
        return sl_fail(ctx, SL_ERR_NOMEM, "%s: out of memory", path);
    output->ctx = ctx;
    output->overwrite = overwrite;
    output->fd = -1;
    output->path = sl_strdup(ctx, path);
    st = output->path ? create_temp(output) : SL_ERR_NOMEM;
    if (st == SL_OK)
        keep_mode(output);
    if (st != SL_OK)
        sl_output_discard(output);
    else
        *out = output;
    return st;
}

sl_status sl_output_write(sl_output *output, const void *data, size_t size)
{
    const uint8_t *from = data;
    while (size > 0 && output->failed == SL_OK) {
        // Linux writes at most 2 GiB at a time; asking for less is portable.
        size_t step = size < ((size_t)1 << 30) ? size : (size_t)1 << 30;
        ssize_t put = write(output->fd, from, step);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            output->failed = sl_fail(output->ctx, SL_ERR_IO, "%s: cannot write: %s", output->path,
                                     strerror(put < 0 ? errno : ENOSPC));
            break;
        }
        from += put;
        size -= (size_t)put;
    }
    return output->failed;
}

sl_status sl_output_sync(sl_output *output)
{
    int error = 0;
    if (output->failed == SL_OK)
        do
            error = fsync(output->fd) == 0 ? 0 : errno;
        while (error == EINTR);
    // A file system that cannot is not the file's fault.
    if (error && error != EINVAL && error != ENOSYS && error != ENOTSUP)
        output->failed =
            sl_fail(output->ctx, SL_ERR_IO, "%s: cannot write: %s", output->path, strerror(error));
    return output->failed;
}

// Gives the temporary file its name unless the name is taken, without a moment in between where
// the kernel and the file system can do that. Returns 0 or an errno value.
static int rename_to_free_name(const char *temp, const char *path)
{
    if (renameat2(AT_FDCWD, temp, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP)
        return errno;
    if (link(temp, path) == 0) {
        unlink(temp);
        return 0;
    }
    if (errno != EPERM && errno != ENOSYS && errno != ENOTSUP)
        return errno;
    if (sl_file_exists(path)) // a file system without links: looking first is all that is left
        return EEXIST;
    return rename(temp, path) == 0 ? 0 : errno;
}

sl_status sl_output_commit(sl_output *output)
{
    sl_status st = output->failed;
    // Network file systems report a full disk only here.
    if (close(output->fd) != 0 && st == SL_OK && errno != EINTR)
        st = sl_fail(output->ctx, SL_ERR_IO, "%s: cannot write: %s", output->path, strerror(errno));
    output->fd = -1;
    if (st == SL_OK) {
        int error = 0;
        if (!output->overwrite)
            error = rename_to_free_name(output->temp, output->path);
        else if (rename(output->temp, output->path) != 0)
            error = errno;
        if (error == EEXIST && !output->overwrite)
            st = already_exists(output->ctx, output->path);
        else if (error)
            st = sl_fail(output->ctx, SL_ERR_IO, "%s: cannot rename the finished file: %s",
                         output->path, strerror(error));
    }
    if (st == SL_OK) { // nothing of that name is ours any more
        free(output->temp);
        output->temp = NULL;
    }
    sl_output_discard(output);
    return st;
}

void sl_output_discard(sl_output *output)
{
    if (!output)
        return;
    if (output->fd >= 0)
        close(output->fd);
    if (output->temp)
        unlink(output->temp);
    free(output->temp);
    free(output->path);
    free(output);
}

sl_status sl_file_write(sl_ctx *ctx, const char *path, bool overwrite, const void *data,
                        size_t size)
{
    sl_output *output = NULL;
    sl_status st = sl_output_open(ctx, path, overwrite, &output);
    if (st != SL_OK)
        return st;
    sl_output_write(output, data, size); // commit reports its failure
    return sl_output_commit(output);
}
