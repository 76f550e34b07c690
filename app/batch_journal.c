// SPDX-License-Identifier: MIT
// app/batch_journal.c: the journal that a batch resumes from: lines with checksums, appended.
//
// A line is crc32, state, when, size, mtime, settings, out_size, seconds, hash, name, output, data,
// detail, with tabs between; the checksum covers what stands behind its own tab. A line that is
// torn by a kill, a full disk or a network is told by its checksum and left out. Nothing but
// appending to one file by one writer is asked of the file system.
#include "batch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define HEAD "softlens batch journal 1\n"
#define SYNC_SECONDS                                                                               \
    5.0 // what a machine that loses its power may lose besides the pictures in flight

struct batch_journal {
    char *path;
    int fd, error;
    double synced;
    pthread_mutex_t mutex;
};

static uint32_t checksum(const char *text, size_t length)
{
    return (uint32_t)crc32_z(0, (const Bytef *)text, length);
}

// ---- writing

// Cuts off what a kill tore: everything behind the last whole line.
static bool mend(int fd)
{
    char bytes[4096];
    off_t end = lseek(fd, 0, SEEK_END), at = end;
    while (at > 0) {
        size_t want = at < (off_t)sizeof(bytes) ? (size_t)at : sizeof(bytes);
        if (pread(fd, bytes, want, at - (off_t)want) != (ssize_t)want)
            return false;
        const char *line = memrchr(bytes, '\n', want);
        at -= (off_t)want;
        if (line) {
            at += line - bytes + 1;
            break;
        }
    }
    return end >= 0 && (at == end || ftruncate(fd, at) == 0);
}

// All of it or nothing.
static int append(int fd, const char *text, size_t size)
{
    off_t before = lseek(fd, 0, SEEK_END);
    size_t done = 0;
    while (before >= 0 && done < size) {
        ssize_t put = write(fd, text + done, size - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            int error = put < 0 ? errno : ENOSPC;
            bool is_undone = ftruncate(fd, before) == 0;
            (void)is_undone; // if not, the checksum tells
            return error;
        }
        done += (size_t)put;
    }
    return before >= 0 ? 0 : errno;
}

static app_exit refuse(const char *path, const char *what, int error)
{
    app_error("%s: %s: %s", path, what, strerror(error));
    return APP_FAILED;
}

static app_exit lock_and_mend(batch_journal *j, bool is_merge)
{
    struct stat st;
    // File systems without locks do without; there, two runs of one shard are the user's mistake.
    if (flock(j->fd, LOCK_EX | LOCK_NB) != 0 && (errno == EWOULDBLOCK || errno == EAGAIN)) {
        app_error("%s: another batch is writing there; wait for it%s", j->path,
                  is_merge ? "" : ", or give each one a --shard");
        return APP_FAILED;
    }
    if (!mend(j->fd) || fstat(j->fd, &st) != 0)
        return refuse(j->path, "cannot be mended", errno);
    int error = st.st_size == 0 ? append(j->fd, HEAD, strlen(HEAD)) : 0;
    return error ? refuse(j->path, "cannot be written", error) : APP_DONE;
}

app_exit batch_journal_open(const char *folder, const batch_shard *shard, batch_journal **out)
{
    batch_journal *j = calloc(1, sizeof(*j));
    *out = NULL;
    if (!j || asprintf(&j->path, "%s/%" PRIu64 "-of-%" PRIu64 ".journal", folder, shard->index,
                       shard->count) < 0) {
        free(j);
        app_error("out of memory");
        return APP_FAILED;
    }
    pthread_mutex_init(&j->mutex, NULL);
    j->fd = -1;
    app_exit result = APP_DONE;
    int error = batch_make_parents(j->path);
    if (!error && (j->fd = open(j->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) < 0)
        error = errno;
    result = error ? refuse(j->path, "cannot be made", error) : lock_and_mend(j, shard->index == 0);
    if (result != APP_DONE) {
        batch_journal_close(j);
        return result;
    }
    *out = j;
    return APP_DONE;
}

void batch_journal_close(batch_journal *j)
{
    if (!j)
        return;
    if (j->fd >= 0) {
        fdatasync(j->fd);
        close(j->fd);
    }
    pthread_mutex_destroy(&j->mutex);
    free(j->path);
    free(j);
}

static char *format_record(const batch_record *r, size_t *size)
{
    struct timespec now;
    char *text = NULL;
    FILE *line = open_memstream(&text, size);
    if (!line)
        return NULL;
    clock_gettime(CLOCK_REALTIME, &now);
    fprintf(line,
            "00000000\t%c\t%lld\t%" PRIu64 "\t%" PRId64 "\t%016" PRIx64 "\t%" PRIu64 "\t%.4f\t",
            (char)r->state, now.tv_sec * 1000LL + now.tv_nsec / 1000000, r->size, r->mtime_ns,
            r->settings, r->out_size, r->seconds);
    const char *const texts[] = { r->hash, r->name, r->output, r->data, r->detail };
    for (size_t i = 0; i < APP_LEN(texts); i++) {
        batch_escape(line, texts[i] ? texts[i] : "");
        fputc(i + 1 < APP_LEN(texts) ? '\t' : '\n', line);
    }
    if (fclose(line) != 0) {
        free(text);
        return NULL;
    }
    char sum[9];
    snprintf(sum, sizeof(sum), "%08" PRIx32, checksum(text + 9, *size - 10));
    memcpy(text, sum, 8);
    return text;
}

bool batch_journal_add(batch_journal *j, const batch_record *record)
{
    size_t size = 0;
    char *text = format_record(record, &size);
    pthread_mutex_lock(&j->mutex);
    int error = text ? append(j->fd, text, size) : ENOMEM;
    double now = app_seconds();
    bool sync = !error && now - j->synced > SYNC_SECONDS;
    if (sync)
        j->synced = now;
    if (error && !j->error)
        j->error = error;
    pthread_mutex_unlock(&j->mutex);
    if (sync)
        fdatasync(j->fd);
    free(text);
    return !error;
}

int batch_journal_error(batch_journal *j)
{
    pthread_mutex_lock(&j->mutex);
    int error = j->error;
    pthread_mutex_unlock(&j->mutex);
    return error;
}

bool batch_journal_is_there(const batch_journal *j)
{
    struct stat own, there;
    return fstat(j->fd, &own) == 0 && stat(j->path, &there) == 0 && own.st_dev == there.st_dev &&
           own.st_ino == there.st_ino;
}

// ---- reading

// Splits a line without its newline, in place. False: damaged.
static bool parse(char *line, size_t length, batch_record *r)
{
    char *field[13], *at = line;
    char sum[9];
    if (length < 10 || memchr(line, '\0', length) || line[8] != '\t')
        return false;
    snprintf(sum, sizeof(sum), "%08" PRIx32, checksum(line + 9, length - 9));
    if (memcmp(line, sum, 8) != 0)
        return false;
    for (size_t i = 0; i < APP_LEN(field); i++) {
        field[i] = at;
        at = strchr(at, '\t');
        if (!at != (i + 1 == APP_LEN(field)))
            return false;
        if (at)
            *at++ = '\0';
    }
    for (size_t i = 8; i < APP_LEN(field); i++)
        if (!batch_unescape(field[i]))
            return false;
    *r = (batch_record) { .state = (batch_state)field[1][0],
                          .when_ms = strtoll(field[2], NULL, 10),
                          .size = strtoull(field[3], NULL, 10),
                          .mtime_ns = strtoll(field[4], NULL, 10),
                          .settings = strtoull(field[5], NULL, 16),
                          .out_size = strtoull(field[6], NULL, 10),
                          .seconds = strtod(field[7], NULL),
                          .hash = field[8],
                          .name = field[9],
                          .output = field[10],
                          .data = field[11],
                          .detail = field[12] };
    return true;
}

#define OFFSET_BITS 44 // of `where`: 16 TiB of journal; the journal's number stands above

static app_exit read_journal(batch_history *h, size_t number, batch_record_fn see, void *user)
{
    FILE *file = fopen(h->path[number], "re");
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    uint64_t offset = 0;
    app_exit result = APP_DONE;
    if (!file)
        return refuse(h->path[number], "cannot be read", errno);
    while ((length = getline(&line, &size, file)) > 0) {
        uint64_t where = (uint64_t)number << OFFSET_BITS | offset;
        batch_record record;
        bool is_head = offset == 0;
        offset += (uint64_t)length;
        if (line[length - 1] != '\n')
            break; // being written, or torn
        if (is_head && strcmp(line, HEAD) != 0) {
            app_error("%s: is no journal that this version reads; name another output folder",
                      h->path[number]);
            result = APP_FAILED;
            break;
        }
        line[length - 1] = '\0';
        if (!is_head && parse(line, (size_t)length - 1, &record))
            see(user, &record, where);
        else if (!is_head)
            h->damaged++;
    }
    if (ferror(file))
        result = refuse(h->path[number], "cannot be read", EIO);
    free(line);
    fclose(file);
    return result;
}

app_exit batch_history_read(const char *folder, batch_record_fn see, void *user, batch_history *out)
{
    app_exit result = APP_DONE;
    *out = (batch_history) { 0 };
    if (!batch_find_files(folder, ".journal", &out->path, &out->count))
        return refuse(folder, "cannot be read", errno);
    for (size_t i = 0; i < out->count && result == APP_DONE; i++)
        result = read_journal(out, i, see, user);
    if (result != APP_DONE)
        batch_history_free(out);
    return result;
}

bool batch_read_record(const batch_history *h, uint64_t where, batch_record *out, char **line)
{
    size_t number = where >> OFFSET_BITS, size = 0;
    *line = NULL;
    FILE *file = number < h->count ? fopen(h->path[number], "re") : NULL;
    if (!file)
        return false;
    ssize_t length = -1;
    if (fseeko(file, (off_t)(where & ((UINT64_C(1) << OFFSET_BITS) - 1)), SEEK_SET) == 0)
        length = getline(line, &size, file);
    fclose(file);
    if (length < 1)
        return false;
    (*line)[length - 1] = '\0';
    return parse(*line, (size_t)length - 1, out);
}

void batch_history_free(batch_history *h)
{
    for (size_t i = 0; i < h->count; i++)
        free(h->path[i]);
    free(h->path);
    *h = (batch_history) { 0 };
}
