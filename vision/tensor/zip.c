// SPDX-License-Identifier: MIT
// tensor/zip.c: reads zip archives through libzip, after looking at all that they claim.
#include "tensor/zip.h"

#include <zip.h>

#define MAX_MEMBERS 100000
#define MAX_TOTAL_BYTES ((uint64_t)4 << 30) // unpacked
#define MAX_RATIO 200                       // of deflated members above SMALL_BYTES
#define SMALL_BYTES ((uint64_t)1 << 20)

typedef struct member {
    const char *name; // libzip's
    zip_uint64_t index;
    size_t size;
} member;

struct sl_zip {
    const char *path;
    zip_t *archive;
    member *members; // sorted by name
    size_t count;
};

static sl_status damaged(sl_ctx *ctx, const char *path, zip_error_t *error)
{
    if (zip_error_code_zip(error) == ZIP_ER_MEMORY)
        return sl_fail(ctx, SL_ERR_NOMEM, "%s: out of memory for the archive", path);
    return sl_fail(ctx, SL_ERR_FORMAT, "%s: damaged zip archive (%s); download the file again",
                   path, zip_error_strerror(error));
}

// Nothing is unpacked to disk, but a name like that tells of an archive made to harm. PyTorch names
// the folder after the file, where times of day bring colons: only that of a drive is refused.
static bool is_safe_name(const char *name)
{
    if (name[0] == '\0' || name[0] == '/' || name[1] == ':' || strchr(name, '\\'))
        return false;
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += *part == '/';
        size_t length = strcspn(part, "/");
        if (length == 2 && part[0] == '.' && part[1] == '.')
            return false;
    }
    return true;
}

static sl_status check_sizes(sl_ctx *ctx, sl_zip *zip, size_t number, const zip_stat_t *stat,
                             size_t archive_bytes)
{
    bool stored = stat->comp_method == ZIP_CM_STORE;
    if (!stored && stat->comp_method != ZIP_CM_DEFLATE)
        return sl_fail(ctx, SL_ERR_UNSUPPORTED,
                       "%s: member %zu is compressed by method %u; pack it stored or deflated",
                       zip->path, number, stat->comp_method);
    if (stat->encryption_method != ZIP_EM_NONE)
        return sl_fail(ctx, SL_ERR_UNSUPPORTED, "%s: member %zu is encrypted; decrypt the file",
                       zip->path, number);
    if (stat->comp_size > archive_bytes || (stored && stat->size != stat->comp_size))
        return sl_fail(ctx, SL_ERR_FORMAT,
                       "%s: member %zu claims more bytes than there are; download the file again",
                       zip->path, number);
    if (stat->size > SMALL_BYTES && stat->size / MAX_RATIO > stat->comp_size)
        return sl_fail(ctx, SL_ERR_LIMIT,
                       "%s: member %zu would grow from %llu to %llu bytes when unpacked, which "
                       "looks like an attack; pack it stored if it is not",
                       zip->path, number, (unsigned long long)stat->comp_size,
                       (unsigned long long)stat->size);
    return SL_OK;
}

static sl_status read_directory(sl_ctx *ctx, sl_zip *zip, size_t archive_bytes)
{
    uint64_t total = 0;
    for (size_t i = 0; i < zip->count; i++) {
        zip_stat_t stat;
        const zip_uint64_t needed =
            ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
        const char *name = zip_get_name(zip->archive, i, ZIP_FL_ENC_RAW);
        if (!name || zip_stat_index(zip->archive, i, 0, &stat) != 0 ||
            (stat.valid & needed) != needed)
            return damaged(ctx, zip->path, zip_get_error(zip->archive));
        if (!is_safe_name(name))
            return sl_fail(ctx, SL_ERR_FORMAT,
                           "%s: member %zu has a path that leaves the archive (absolute or with "
                           "\"..\"), so the file is not to be trusted; get it elsewhere",
                           zip->path, i);
        sl_status st = check_sizes(ctx, zip, i, &stat, archive_bytes);
        if (st != SL_OK)
            return st;
        if (stat.size > MAX_TOTAL_BYTES || (total += stat.size) > MAX_TOTAL_BYTES)
            return sl_fail(ctx, SL_ERR_LIMIT,
                           "%s: more than %llu bytes when unpacked; save the weights alone",
                           zip->path, (unsigned long long)MAX_TOTAL_BYTES);
        zip->members[i] = (member) { name, i, (size_t)stat.size };
    }
    return SL_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const member *)a)->name, ((const member *)b)->name);
}

static sl_status sort_members(sl_ctx *ctx, sl_zip *zip)
{
    if (zip->count > 1)
        qsort(zip->members, zip->count, sizeof(*zip->members), by_name);
    for (size_t i = 1; i < zip->count; i++)
        if (strcmp(zip->members[i - 1].name, zip->members[i].name) == 0)
            return sl_fail(ctx, SL_ERR_FORMAT,
                           "%s: members %llu and %llu have one name; download the file again",
                           zip->path, (unsigned long long)zip->members[i - 1].index,
                           (unsigned long long)zip->members[i].index);
    return SL_OK;
}

static sl_status open_archive(sl_ctx *ctx, sl_zip *zip, const void *data, size_t size)
{
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(data, size, 0, &error);
    if (source)
        zip->archive = zip_open_from_source(source, ZIP_RDONLY, &error);
    sl_status st = SL_OK;
    if (!zip->archive) {
        st = damaged(ctx, zip->path, &error);
        zip_source_free(source); // takes NULL
    }
    zip_error_fini(&error);
    return st;
}

sl_status sl_zip_open(sl_ctx *ctx, const void *data, size_t size, const char *path, sl_zip **out)
{
    *out = NULL;
    sl_zip *zip = sl_alloc(ctx, 1, sizeof(*zip));
    if (!zip)
        return SL_ERR_NOMEM;
    zip->path = path;
    sl_status st = open_archive(ctx, zip, data, size);
    if (st != SL_OK)
        goto done;
    zip_int64_t count = zip_get_num_entries(zip->archive, 0);
    if (count < 0 || count > MAX_MEMBERS) {
        st = sl_fail(ctx, SL_ERR_LIMIT, "%s: %lld members, more than the %d allowed", path,
                     (long long)count, MAX_MEMBERS);
        goto done;
    }
    zip->count = (size_t)count;
    zip->members = sl_alloc(ctx, zip->count, sizeof(*zip->members));
    if (!zip->members) {
        st = SL_ERR_NOMEM;
        goto done;
    }
    st = read_directory(ctx, zip, size);
    if (st == SL_OK)
        st = sort_members(ctx, zip);
    if (st != SL_OK)
        goto done;
    *out = zip;
    zip = NULL;
done:
    sl_zip_free(zip);
    return st;
}

void sl_zip_free(sl_zip *zip)
{
    if (!zip)
        return;
    if (zip->archive)
        zip_discard(zip->archive); // frees its source too
    free(zip->members);
    free(zip);
}

size_t sl_zip_count(const sl_zip *zip)
{
    return zip->count;
}

const char *sl_zip_name(const sl_zip *zip, size_t i)
{
    return zip->members[i].name;
}

size_t sl_zip_size(const sl_zip *zip, size_t i)
{
    return zip->members[i].size;
}

bool sl_zip_find(const sl_zip *zip, const char *name, size_t *i)
{
    member key = { .name = name };
    const member *found =
        zip->count ? bsearch(&key, zip->members, zip->count, sizeof(key), by_name) : NULL;
    if (found)
        *i = (size_t)(found - zip->members);
    return found != NULL;
}

sl_status sl_zip_read(sl_ctx *ctx, const sl_zip *zip, size_t i, sl_blob *out)
{
    const member *m = &zip->members[i];
    *out = (sl_blob) { NULL, 0 };
    zip_file_t *file = zip_fopen_index(zip->archive, m->index, 0);
    if (!file)
        return damaged(ctx, zip->path, zip_get_error(zip->archive));
    sl_status st = SL_OK;
    out->data = sl_alloc(ctx, m->size + 1, 1); // one byte more: the CRC is checked at the end
    if (!out->data) {
        st = SL_ERR_NOMEM;
        goto done;
    }
    while (out->size <= m->size) {
        zip_int64_t got = zip_fread(file, out->data + out->size, m->size + 1 - out->size);
        if (got < 0) {
            st = damaged(ctx, zip->path, zip_file_get_error(file));
            goto done;
        }
        if (got == 0)
            break;
        out->size += (size_t)got;
    }
    if (out->size != m->size)
        st = sl_fail(ctx, SL_ERR_FORMAT,
                     "%s: member %llu does not unpack to its %zu bytes; download the file again",
                     zip->path, (unsigned long long)m->index, m->size);
done:
    if (st != SL_OK)
        sl_blob_free(out);
    zip_fclose(file);
    return st;
}
