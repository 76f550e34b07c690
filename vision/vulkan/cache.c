// SPDX-License-Identifier: MIT
// vulkan/cache.c: what is worth keeping about a device from one start to the next: the driver's
// compiled kernels, what was measured, and the verdict of the self-test. What is read may be
// anything: only a file that says it is ours, of this device, driver and program, whole and
// unchanged, is believed.
#include "vulkan/vk.h"

#include <assert.h>
#include <sys/stat.h>

#define MAX_FILE_BYTES ((size_t)256 << 20)

typedef struct header {
    char magic[8];
    char program[16]; // version
    char uuid[40];
    char driver_uuid[40]; // tells builds of one version apart, as distributions patch drivers
    uint32_t vendor, device, driver_version, api_version;
    uint64_t payload_bytes;
    uint64_t checksum; // of the payload
} header;

// No padding: headers are compared as bytes.
static_assert(sizeof(header) == 8 + 16 + 40 + 40 + 4 * 4 + 8 + 8, "the header has holes");

// FNV-1a of 64 bits: for damage, not for malice.
static uint64_t checksum(const uint8_t *data, size_t size)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 1099511628211u;
    return hash;
}

// A kind of file: the ending of its name, and how it begins.
typedef struct kind {
    const char *ending;
    char magic[8];
} kind;

static const kind pipelines = { "pipelines", { 'S', 'L', 'V', 'K', 'P', 'C', '0', '2' } };
static const kind choices = { "choices", { 'S', 'L', 'V', 'K', 'C', 'H', '0', '2' } };
static const kind verdict = { "verdict", { 'S', 'L', 'V', 'K', 'S', 'T', '0', '3' } };

static header make_header(const kind *k, const sl_vk_info *info, const uint8_t *data, size_t bytes)
{
    header h = { .vendor = info->vendor,
                 .device = info->device,
                 .driver_version = info->driver_version,
                 .api_version = info->api_version,
                 .payload_bytes = bytes,
                 .checksum = checksum(data, bytes) };
    memcpy(h.magic, k->magic, sizeof(h.magic));
    snprintf(h.program, sizeof(h.program), "%s", sl_version());
    snprintf(h.uuid, sizeof(h.uuid), "%s", info->uuid);
    snprintf(h.driver_uuid, sizeof(h.driver_uuid), "%s", info->driver_uuid);
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

static char *file_in(const char *dir, const kind *k, const sl_vk_info *info)
{
    return dir ? sl_format(NULL, "%s/vulkan-%s.%s", dir, info->uuid, k->ending) : NULL;
}

// Why it cannot be used; NULL when it can.
static const char *objection(const kind *k, const sl_vk_info *info, const sl_blob *file)
{
    header have;
    if (file->size < sizeof(have))
        return "it is too short";
    memcpy(&have, file->data, sizeof(have));
    const uint8_t *payload = file->data + sizeof(have);
    size_t bytes = file->size - sizeof(have);
    if (have.payload_bytes != bytes)
        return "its length is wrong";
    header want = make_header(k, info, payload, bytes);
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

static void load(sl_ctx *ctx, const kind *k, const sl_vk_info *info, sl_blob *out)
{
    char *dir = directory(), *path = file_in(dir, k, info);
    sl_blob file = { NULL, 0 };
    *out = (sl_blob) { NULL, 0 };
    if (path && read_file(path, &file)) {
        const char *why = objection(k, info, &file);
        if (why)
            sl_log(ctx, SL_LOG_DEBUG, "%s: ignored: %s", path, why);
        else
            sl_blob_copy(NULL, file.data + sizeof(header), file.size - sizeof(header), out);
    }
    sl_blob_free(&file);
    free(path);
    free(dir);
}

static void store(sl_ctx *ctx, const kind *k, const sl_vk_info *info, const void *data,
                  size_t bytes)
{
    char *dir = directory(), *path = file_in(dir, k, info);
    size_t total = 0;
    uint8_t *file = NULL;
    if (!path || !sl_add(bytes, sizeof(header), &total) || total > MAX_FILE_BYTES)
        goto done;
    file = sl_alloc(NULL, total, 1);
    if (!file)
        goto done;
    header h = make_header(k, info, data, bytes);
    memcpy(file, &h, sizeof(h));
    memcpy(file + sizeof(h), data, bytes);
    if (sl_make_dir(NULL, dir) == SL_OK && sl_file_write(NULL, path, true, file, total) == SL_OK)
        sl_log(ctx, SL_LOG_DEBUG, "%s: %zu bytes kept", path, total);
    else
        sl_log(ctx, SL_LOG_DEBUG, "%s: cannot be written; it is made anew next time", path);
done:
    free(file);
    free(path);
    free(dir);
}

// ---- compiled kernels

void sl_vk_cache_load(sl_ctx *ctx, const sl_vk_device *d, sl_blob *out)
{
    load(ctx, &pipelines, &d->info, out);
}

void sl_vk_cache_store(sl_ctx *ctx, const sl_vk_device *d, const void *data, size_t bytes)
{
    store(ctx, &pipelines, &d->info, data, bytes);
}

// ---- verdicts: the checksum of all kernels, then the sentences

static uint64_t checksum_of_kernels(void)
{
    uint64_t sum = 0;
    for (int k = 0; k < SL_VK_KERNEL_COUNT; k++) {
        const sl_vk_shader *shader = sl_vk_shader_get((sl_vk_kernel)k);
        sum = sum * 31 + checksum((const uint8_t *)shader->code, shader->bytes);
    }
    return sum;
}

bool sl_vk_verdict_load(sl_ctx *ctx, const sl_vk_info *info, sl_vk_verdict *out)
{
    sl_blob blob;
    uint64_t kernels;
    load(ctx, &verdict, info, &blob);
    bool is_ours = blob.size == sizeof(kernels) + sizeof(*out);
    if (is_ours) {
        memcpy(&kernels, blob.data, sizeof(kernels));
        memcpy(out, blob.data + sizeof(kernels), sizeof(*out));
        is_ours = kernels == checksum_of_kernels() && memchr(out->why, '\0', SL_VK_WHY_BYTES) &&
                  memchr(out->why_f16, '\0', SL_VK_WHY_BYTES);
    }
    sl_blob_free(&blob);
    if (!is_ours)
        *out = (sl_vk_verdict) { 0 };
    sl_vk_keep_printable(out->why);
    sl_vk_keep_printable(out->why_f16);
    return is_ours;
}

void sl_vk_verdict_store(sl_ctx *ctx, const sl_vk_info *info, const sl_vk_verdict *found)
{
    uint8_t data[sizeof(uint64_t) + sizeof(*found)];
    uint64_t kernels = checksum_of_kernels();
    memcpy(data, &kernels, sizeof(kernels));
    memcpy(data + sizeof(kernels), found, sizeof(*found));
    store(ctx, &verdict, info, data, sizeof(data));
}

// ---- choices: the checksum of all kernels, then the entries

#define MAX_CHOICES 4096u

void sl_vk_choices_load(sl_ctx *ctx, const sl_vk_info *info, sl_vk_choice **out, size_t *count)
{
    sl_blob blob;
    uint64_t kernels = 0;
    *out = NULL;
    *count = 0;
    load(ctx, &choices, info, &blob);
    size_t bytes = blob.size > sizeof(kernels) ? blob.size - sizeof(kernels) : 0;
    if (bytes)
        memcpy(&kernels, blob.data, sizeof(kernels));
    if (bytes && bytes % sizeof(**out) == 0 && bytes / sizeof(**out) <= MAX_CHOICES &&
        kernels == checksum_of_kernels())
        *out = sl_alloc(NULL, bytes, 1);
    if (*out) {
        memcpy(*out, blob.data + sizeof(kernels), bytes);
        *count = bytes / sizeof(**out);
    }
    sl_blob_free(&blob);
}

void sl_vk_choices_store(sl_ctx *ctx, const sl_vk_info *info, const sl_vk_choice *own, size_t count)
{
    sl_vk_choice *kept;
    size_t kept_count, total = 0, used = sizeof(uint64_t);
    uint64_t kernels = checksum_of_kernels();
    sl_vk_choices_load(ctx, info, &kept, &kept_count);
    if (count > MAX_CHOICES || !sl_add(count, kept_count, &total))
        count = kept_count = 0;
    uint8_t *data = sl_alloc(NULL, total * sizeof(*own) + used, 1);
    if (!data)
        goto done;
    memcpy(data, &kernels, sizeof(kernels));
    memcpy(data + used, own, count * sizeof(*own));
    used += count * sizeof(*own);
    for (size_t i = 0; i < kept_count && count + i < MAX_CHOICES; i++)
        if (!sl_vk_choice_find(own, count, &kept[i])) {
            memcpy(data + used, &kept[i], sizeof(*kept));
            used += sizeof(*kept);
        }
    store(ctx, &choices, info, data, used);
done:
    free(data);
    free(kept);
}
