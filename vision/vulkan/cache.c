// SPDX-License-Identifier: MIT
// vulkan/cache.c: the driver's compiled kernels on disk, so that the next start need not compile.
// What is read may be anything: only a file that says it is ours, of this device, driver and
// program, whole and unchanged, reaches the driver.
#include "vulkan/vk.h"

#include <assert.h>
#include <sys/stat.h>

#define MAX_FILE_BYTES ((size_t)256 << 20)

typedef struct header {
    char magic[8];
    char program[16]; // version
    char uuid[40];
    uint32_t vendor, device, driver_version, api_version;
    uint64_t payload_bytes;
    uint64_t checksum; // of the payload
} header;

// No padding: headers are compared as bytes.
static_assert(sizeof(header) == 8 + 16 + 40 + 4 * 4 + 8 + 8, "the header has holes");

// FNV-1a of 64 bits: for damage, not for malice.
static uint64_t checksum(const uint8_t *data, size_t size)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 1099511628211u;
    return hash;
}

static header make_header(const sl_vk_device *d, const uint8_t *data, size_t bytes)
{
    const sl_vk_info *info = &d->info;
    header h = { .magic = { 'S', 'L', 'V', 'K', 'P', 'C', '0', '1' },
                 .vendor = info->vendor,
                 .device = info->device,
                 .driver_version = info->driver_version,
                 .api_version = info->api_version,
                 .payload_bytes = bytes,
                 .checksum = checksum(data, bytes) };
    snprintf(h.program, sizeof(h.program), "%s", sl_version());
    snprintf(h.uuid, sizeof(h.uuid), "%s", info->uuid);
    return h;
}

// malloc'ed; NULL: no place, or no memory for its name. A relative XDG_CACHE_HOME does not count,
// as the specification of such directories has it.
static char *directory(void)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && cache[0] == '/')
        return sl_format(NULL, "%s/softlens", cache);
    return home && home[0] == '/' ? sl_format(NULL, "%s/.cache/softlens", home) : NULL;
}

static char *file_in(const char *dir, const sl_vk_device *d)
{
    return dir ? sl_format(NULL, "%s/vulkan-%s.pipelines", dir, d->info.uuid) : NULL;
}

// Why it cannot be used; NULL when it can.
static const char *objection(const sl_vk_device *d, const sl_blob *file)
{
    header have;
    if (file->size < sizeof(have))
        return "it is too short";
    memcpy(&have, file->data, sizeof(have));
    const uint8_t *payload = file->data + sizeof(have);
    size_t bytes = file->size - sizeof(have);
    if (have.payload_bytes != bytes)
        return "its length is wrong";
    header want = make_header(d, payload, bytes);
    if (have.checksum != want.checksum)
        return "its checksum is wrong";
    return memcmp(&have, &want, sizeof(have)) == 0 ? NULL
                                                   : "another device, driver or version wrote it";
}

// Failures keep quiet, also towards the context's message: nothing that was asked for went wrong.
static bool read_file(const char *path, sl_blob *out)
{
    struct stat info;
    bool is_file = stat(path, &info) == 0 && S_ISREG(info.st_mode);
    return is_file && sl_file_read(NULL, path, MAX_FILE_BYTES, out) == SL_OK;
}

void sl_vk_cache_load(sl_ctx *ctx, const sl_vk_device *d, sl_blob *out)
{
    char *dir = directory(), *path = file_in(dir, d);
    sl_blob file = { NULL, 0 };
    *out = (sl_blob) { NULL, 0 };
    if (path && read_file(path, &file)) {
        const char *why = objection(d, &file);
        if (why)
            sl_log(ctx, SL_LOG_DEBUG, "%s: ignored: %s", path, why);
        else
            sl_blob_copy(NULL, file.data + sizeof(header), file.size - sizeof(header), out);
    }
    sl_blob_free(&file);
    free(path);
    free(dir);
}

void sl_vk_cache_store(sl_ctx *ctx, const sl_vk_device *d, const void *data, size_t bytes)
{
    char *dir = directory(), *path = file_in(dir, d);
    size_t total = 0;
    uint8_t *file = NULL;
    if (!path || !sl_add(bytes, sizeof(header), &total) || total > MAX_FILE_BYTES)
        goto done;
    file = sl_alloc(NULL, total, 1);
    if (!file)
        goto done;
    header h = make_header(d, data, bytes);
    memcpy(file, &h, sizeof(h));
    memcpy(file + sizeof(h), data, bytes);
    if (sl_make_dir(NULL, dir) == SL_OK && sl_file_write(NULL, path, true, file, total) == SL_OK)
        sl_log(ctx, SL_LOG_DEBUG, "%s: %zu bytes of compiled kernels kept", path, total);
    else
        sl_log(ctx, SL_LOG_DEBUG, "%s: cannot be written; kernels are compiled anew next time",
               path);
done:
    free(file);
    free(path);
    free(dir);
}
