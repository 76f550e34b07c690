// SPDX-License-Identifier: MIT
// pipeline/devices.c: what could compute on this machine, as JSON.
#include "pipeline/choose.h"

#include <jansson.h>

// The processor's name for itself, "" where the system does not tell.
static void processor_name(char *out, size_t size)
{
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen("/proc/cpuinfo", "re");
    out[0] = '\0';
    while (file && !*out && getline(&line, &room, file) > 0) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon)
            snprintf(out, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
    }
    for (char *at = out; *at; at++)
        if (*at < 0x20 || *at > 0x7e)
            *at = '?';
    free(line);
    if (file)
        fclose(file);
}

// chosen: the name of the device that "auto" takes instead; "" for none.
static json_t *cpu_json(sl_ctx *ctx, sl_simd simd, const char *chosen)
{
    char name[128], note[64];
    processor_name(name, sizeof(name));
    snprintf(note, sizeof(note), "auto takes %s", chosen);
    return json_pack("{s:s, s:s, s:s, s:s, s:b, s:i, s:b, s:b, s:s*}", "device", "cpu", "name",
                     *name ? name : "processor", "type", "processor", "simd", sl_simd_name(simd),
                     "bf16", sl_cpu_has_bf16(ctx), "threads", (int)sl_pool_size(ctx->pool),
                     "usable", 1, "chosen_by_auto", !*chosen, "note", *chosen ? note : NULL);
}

// Drivers that know no limit say UINT64_MAX, and JSON's numbers have a sign.
static json_int_t whole(uint64_t n)
{
    return n < INT64_MAX ? (json_int_t)n : INT64_MAX;
}

static json_t *limits_json(const sl_vk_limits *l)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "buffer_range_bytes",
                     whole(l->buffer_range), "allocation_bytes", whole(l->allocation),
                     "alignment_bytes", (json_int_t)l->alignment, "shared_memory_bytes",
                     (json_int_t)l->shared_bytes, "push_constant_bytes", (json_int_t)l->push_bytes,
                     "storage_buffers", (json_int_t)l->storage_buffers, "workgroup",
                     (json_int_t)l->invocations, "subgroup", (json_int_t)l->subgroup);
}

// What is known of a Vulkan device.
typedef struct finding {
    bool is_usable; // by its limits
    bool is_tested;
    bool is_chosen; // by "auto"
    bool is_hidden; // from "auto", which asks no driver where the system names no card
} finding;

// Devices in software are not tested for this: that takes seconds, and "auto" leaves them alone.
static finding find_out(sl_ctx *ctx, sl_vk_info *info)
{
    finding f = { .is_usable = !*info->refusal, .is_hidden = !sl_vk_may_have_card() };
    if (!f.is_usable)
        return f;
    f.is_tested = sl_choose_recall(ctx, info);
    if (!f.is_tested && info->type != SL_VK_SOFTWARE)
        f.is_tested = sl_choose_judge(ctx, info);
    return f;
}

// Why "auto" passes a device by, or does without its f16; NULL where it does neither.
static const char *note_of(const sl_vk_info *info, const finding *f)
{
    if (*info->refusal)
        return info->refusal;
    if (*info->f16_refusal && !f->is_hidden)
        return info->f16_refusal;
    if (f->is_chosen)
        return NULL;
    if (info->type == SL_VK_SOFTWARE)
        return "computes on the processor, slower than cpu";
    if (info->type == SL_VK_OTHER)
        return "does not say what it is";
    return f->is_hidden ? "auto asks no driver, as the system names no graphics card"
                        : "another device is better";
}

static json_t *vulkan_json(const sl_vk_info *info, const finding *f)
{
    char device[32], api[32], matrix[48] = "none";
    uint32_t version = info->api_version; // bits 12 to 21 and 22 to 28: minor, major
    bool has_failed = f->is_tested && *info->refusal;
    snprintf(device, sizeof(device), "vulkan:%u", info->index);
    snprintf(api, sizeof(api), "%u.%u.%u", version >> 22 & 0x7f, version >> 12 & 0x3ff,
             version & 0xfff);
    if (info->matrix.m > 0)
        snprintf(matrix, sizeof(matrix), "%ux%ux%u", info->matrix.m, info->matrix.n,
                 info->matrix.k);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:b, s:s, s:b, s:b, s:s, s:b, s:s*, s:o}",
                     "device", device, "name", info->name, "type", sl_vk_type_name(info->type),
                     "driver", info->driver, "vulkan", api, "uuid", info->uuid, "memory_bytes",
                     whole(info->memory_bytes), "f16", info->f16, "matrix_units", matrix,
                     "timestamps", info->timestamps, "usable", f->is_usable, "self_test",
                     has_failed     ? "failed"
                     : f->is_tested ? "passed"
                                    : "not yet tested",
                     "chosen_by_auto", f->is_chosen, "note", note_of(info, f), "limits",
                     limits_json(&info->limits));
}

// All devices; NULL: out of memory.
static json_t *devices_json(sl_ctx *ctx, sl_simd simd, sl_vk_info *infos, size_t count)
{
    char chosen[32] = "";
    json_t *devices = json_array();
    finding *findings = sl_alloc(ctx, count, sizeof(*findings));
    bool ok = devices && findings;
    for (size_t i = 0; i < count && ok; i++)
        findings[i] = find_out(ctx, &infos[i]);
    size_t best = ok ? sl_vk_best(infos, count, true) : SIZE_MAX;
    if (best != SIZE_MAX && !findings[best].is_hidden) {
        findings[best].is_chosen = true;
        snprintf(chosen, sizeof(chosen), "vulkan:%u", infos[best].index);
    }
    ok = ok && json_array_append_new(devices, cpu_json(ctx, simd, chosen)) == 0;
    for (size_t i = 0; i < count && ok; i++)
        ok = json_array_append_new(devices, vulkan_json(&infos[i], &findings[i])) == 0;
    free(findings);
    if (ok)
        return devices;
    json_decref(devices);
    return NULL;
}

sl_status sl_devices_describe(sl_ctx *ctx, char **out)
{
    sl_simd simd;
    sl_vk_info *infos = NULL;
    size_t count = 0;
    char *reason = NULL;
    *out = NULL;
    sl_status st = sl_cpu_simd(ctx, &simd);
    if (st != SL_OK)
        return st;
    // The processor is there whatever ails a driver.
    if (sl_vk_list(ctx, &infos, &count, &reason) != SL_OK)
        reason = sl_strdup(ctx, sl_ctx_message(ctx));
    if (count == 0 && !reason)
        return SL_ERR_NOMEM;
    json_t *devices = devices_json(ctx, simd, infos, count), *root = json_object();
    bool ok = root && devices && json_object_set(root, "devices", devices) == 0;
    if (count == 0)
        ok = ok && json_object_set_new(root, "no_vulkan", json_string(reason)) == 0;
    if (ok)
        *out = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    json_decref(devices);
    free(infos);
    free(reason);
    return *out ? SL_OK : sl_fail(ctx, SL_ERR_NOMEM, "out of memory while listing the devices");
}
