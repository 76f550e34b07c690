// SPDX-License-Identifier: MIT
// app/batch_files.c: files that a batch links, copies, hashes and writes beside those of the
// library.
#include "batch.h"

#include "jobs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEP ((size_t)1 << 17)

bool batch_hash_fd(int fd, char hash[BATCH_HASH_BYTES])
{
    struct sha256_ctx sha;
    uint8_t digest[(BATCH_HASH_BYTES - 1) / 2];
    uint8_t *bytes = malloc(STEP);
    off_t at = 0;
    ssize_t got = bytes ? 1 : -1;
    sha256_init(&sha);
    while (got > 0 && !app_interrupted()) {
        got = pread(fd, bytes, STEP, at);
        if (got < 0 && errno == EINTR) {
            got = 1;
            continue;
        }
        if (got > 0)
            sha256_update(&sha, (size_t)got, bytes);
        at += got > 0 ? got : 0;
    }
    sha256_digest(&sha, sizeof(digest), digest);
    *hash = '\0';
    for (size_t i = 0; i < sizeof(digest) && got == 0; i++)
        snprintf(hash + 2 * i, 3, "%02x", digest[i]);
    free(bytes);
    return got == 0;
}

bool batch_hash_file(const char *path, char hash[BATCH_HASH_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && batch_hash_fd(fd, hash);
    if (fd >= 0)
        close(fd);
    return ok;
}

bool batch_is_same_place(const char *path, const char *other)
{
    char *a = app_place(path), *b = app_place(other);
    bool is_same = !a || !b || strcmp(a, b) == 0;
    free(a);
    free(b);
    return is_same;
}

int batch_make_parents(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return 0;
    char *folder = strndup(path, (size_t)(slash - path));
    struct stat st;
    int error = folder ? 0 : ENOMEM;
    if (folder && (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode)))
        error = app_make_dirs(folder);
    free(folder);
    return error;
}

// Of a long name 200 bytes, which leaves room for the rest.
char *batch_temporary(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *out = NULL;
    uint64_t number = 0;
    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
        number = (uint64_t)getpid() << 20 ^ (uint64_t)(app_seconds() * 1e9);
    if (asprintf(&out, "%.*s.%.*s.%016" PRIx64 ".part", (int)(name - path), path,
                 (int)app_cut(name, 200), name, number) < 0)
        return NULL;
    return out;
}

FILE *batch_file_new(const char *path, char **temporary)
{
    *temporary = batch_temporary(path);
    if (!*temporary)
        return NULL;
    int fd = open(*temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file)
        return file;
    int error = errno;
    if (fd >= 0)
        close(fd);
    free(*temporary);
    *temporary = NULL;
    errno = error;
    return NULL;
}

// Where the kernel and the file system can do it without a moment in between, they do.
static int give_free_name(const char *temporary, const char *path)
{
    struct stat st;
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP)
        return errno;
    if (link(temporary, path) == 0) {
        unlink(temporary);
        return 0;
    }
    if (errno != EPERM && errno != ENOSYS && errno != ENOTSUP)
        return errno;
    if (lstat(path, &st) == 0) // no links there: looking first is all that is left
        return EEXIST;
    return rename(temporary, path) == 0 ? 0 : errno;
}

static int give_name(const char *temporary, const char *path, bool replace)
{
    if (!replace)
        return give_free_name(temporary, path);
    return rename(temporary, path) == 0 ? 0 : errno;
}

int batch_file_finish(FILE *file, const char *path, char *temporary, bool replace)
{
    errno = 0;
    bool failed = ferror(file) != 0;
    if (fflush(file) != 0 || fsync(fileno(file)) != 0)
        failed = true;
    int error = failed ? (errno ? errno : EIO) : 0;
    if (fclose(file) != 0 && !error)
        error = errno;
    if (!error)
        error = give_name(temporary, path, replace);
    if (error)
        unlink(temporary);
    free(temporary);
    return error;
}

static int copy_bytes(int from, FILE *to)
{
    char *bytes = malloc(STEP);
    ssize_t got = bytes ? 1 : -1;
    if (!bytes)
        return ENOMEM;
    while (got > 0) {
        got = read(from, bytes, STEP);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0 && fwrite(bytes, 1, (size_t)got, to) != (size_t)got)
            got = -1;
    }
    int error = got < 0 ? errno : 0;
    free(bytes);
    return error;
}

static int copy(const char *from, const char *to, bool replace)
{
    char *temporary = NULL;
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    FILE *file = fd >= 0 ? batch_file_new(to, &temporary) : NULL;
    int error = file ? copy_bytes(fd, file) : errno;
    if (file && error) {
        fclose(file);
        unlink(temporary);
        free(temporary);
    } else if (file) {
        error = batch_file_finish(file, to, temporary, replace);
    }
    if (fd >= 0)
        close(fd);
    return error;
}

static int link_over(const char *from, const char *to)
{
    char *temporary = batch_temporary(to);
    int error = temporary ? 0 : ENOMEM;
    if (temporary && link(from, temporary) != 0)
        error = errno;
    else if (temporary && (error = give_name(temporary, to, true)) != 0)
        unlink(temporary);
    free(temporary);
    return error;
}

int batch_link_or_copy(const char *from, const char *to, bool replace)
{
    struct stat a, b;
    char *real = realpath(from, NULL); // a link of a link would dangle elsewhere
    int error = real ? batch_make_parents(to) : errno;
    if (error)
        goto done;
    if (stat(real, &a) == 0 && lstat(to, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        goto done; // it is that file already; rename would leave both names
    if (replace)
        error = link_over(real, to);
    else if (link(real, to) != 0)
        error = errno;
    if (error && (replace || error != EEXIST))
        error = copy(real, to, replace);
done:
    free(real);
    return error;
}

// ---- what is in a folder

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool add_path(char *path, char ***paths, size_t *count)
{
    char **grown = path ? reallocarray(*paths, *count + 1, sizeof(**paths)) : NULL;
    if (!grown) {
        free(path);
        return false;
    }
    *paths = grown;
    grown[(*count)++] = path;
    return true;
}

bool batch_find_files(const char *folder, const char *ending, char ***paths, size_t *count)
{
    DIR *open_folder = opendir(folder);
    struct dirent *entry;
    bool ok = true;
    *paths = NULL;
    *count = 0;
    if (!open_folder)
        return errno == ENOENT;
    while (ok && (entry = readdir(open_folder))) {
        size_t length = strlen(entry->d_name), tail = strlen(ending);
        if (length > tail && strcmp(entry->d_name + length - tail, ending) == 0)
            ok = add_path(batch_join(folder, entry->d_name), paths, count);
    }
    closedir(open_folder);
    if (*count)
        qsort(*paths, *count, sizeof(**paths), by_text);
    return ok;
}

// The library's temporary files are called as ours are, with fewer letters.
void batch_remove_parts(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *folder = slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
    size_t keep = app_cut(name, 200), count = 0;
    char **parts = NULL;
    if (folder && batch_find_files(folder, ".part", &parts, &count)) {
        for (size_t i = 0; i < count; i++) {
            const char *part = strrchr(parts[i], '/') + 1;
            size_t length = strlen(part), extra = length - strlen(".part");
            if (part[0] == '.' && extra > keep + 2 && strncmp(part + 1, name, keep) == 0 &&
                part[1 + keep] == '.' && !memchr(part + keep + 2, '.', extra - keep - 2))
                unlink(parts[i]);
        }
    }
    for (size_t i = 0; i < count; i++)
        free(parts[i]);
    free(parts);
    free(folder);
}

bool batch_ignores_case(const char *folder)
{
    char *lower = batch_join(folder, ".case.probe"), *upper = batch_join(folder, ".CASE.probe");
    struct stat a, b;
    int fd = lower && upper ? open(lower, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
    bool ignores = fd >= 0 && stat(lower, &a) == 0 && stat(upper, &b) == 0 &&
                   a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    if (fd >= 0) {
        close(fd);
        unlink(lower);
    }
    free(lower);
    free(upper);
    return ignores;
}
