// SPDX-License-Identifier: MIT
// pipeline/choose.c: see choose.h.
#include "pipeline/choose.h"

static void refuse(sl_vk_info *info, const char *why)
{
    if (*why)
        snprintf(info->refusal, sizeof(info->refusal), "it failed its self-test: %s", why);
}

bool sl_choose_recall(sl_ctx *ctx, sl_vk_info *info)
{
    char why[SL_VK_WHY_BYTES];
    if (!sl_vk_verdict_load(ctx, info, why))
        return false;
    refuse(info, why);
    return true;
}

bool sl_choose_judge(sl_ctx *ctx, sl_vk_info *info)
{
    char why[SL_VK_WHY_BYTES];
    const char *message = sl_ctx_message(ctx);
    if (sl_selftest_verdict(ctx, info, why) == SL_OK) {
        refuse(info, why);
        return true;
    }
    // It may be busy, or full: another time it may serve.
    snprintf(info->refusal, sizeof(info->refusal), "it cannot be tested: %.*s",
             (int)strcspn(message, ";"), message);
    return false;
}

// ", vulkan:0 NAME (unfit: WHY), ..."
static void list_devices(const sl_vk_info *infos, size_t count, char *out, size_t size)
{
    out[0] = '\0';
    for (size_t i = 0, used = 0; i < count && used < size; i++) {
        bool is_unfit = *infos[i].refusal != '\0';
        used += (size_t)snprintf(out + used, size - used, ", vulkan:%u %s%s%s%s", infos[i].index,
                                 infos[i].name, is_unfit ? " (unfit: " : "", infos[i].refusal,
                                 is_unfit ? ")" : "");
    }
}

sl_status sl_choose_fail(sl_ctx *ctx, const char *name)
{
    sl_vk_info *infos = NULL;
    size_t count = 0;
    char *reason = NULL, list[1600];
    sl_status st = sl_vk_list(ctx, &infos, &count, &reason);
    if (st != SL_OK)
        goto done;
    list_devices(infos, count, list, sizeof(list));
    if (count == 0)
        snprintf(list, sizeof(list), " (%s)", reason);
    st = sl_fail(ctx, SL_ERR_ARGUMENT, "unknown device \"%.64s\"; the devices are: auto, cpu%s",
                 name, list);
done:
    free(infos);
    free(reason);
    return st;
}

// The best of those that serve and passed; SIZE_MAX: none. Warns about those that are better but
// for the test.
static size_t choose(sl_ctx *ctx, sl_vk_info *infos, size_t count, bool real)
{
    for (;;) {
        size_t at = sl_vk_best(infos, count, real);
        if (at == SIZE_MAX)
            return at;
        sl_vk_info *info = &infos[at];
        sl_choose_judge(ctx, info);
        if (!*info->refusal)
            return at;
        sl_log(ctx, SL_LOG_WARNING, "vulkan:%u %s is passed over: %s", info->index, info->name,
               info->refusal);
    }
}

static sl_status fail_unfit(sl_ctx *ctx, const sl_vk_info *infos, size_t count, const char *reason)
{
    char list[1600];
    if (count == 0)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "no device \"vulkan\": %s; compute on the cpu",
                       reason);
    list_devices(infos, count, list, sizeof(list));
    return sl_fail(ctx, SL_ERR_DEVICE,
                   "no fit device for \"vulkan\": %s; compute on the cpu, or name a device that "
                   "failed its self-test exactly",
                   list + 2);
}

sl_status sl_choose_name(sl_ctx *ctx, const char *name, char out[SL_CHOICE_BYTES])
{
    bool is_auto = !name || strcmp(name, "auto") == 0;
    sl_vk_info *infos = NULL;
    size_t count = 0, at = SIZE_MAX;
    char *reason = NULL;
    out[0] = '\0';
    sl_status st = sl_vk_list(ctx, &infos, &count, &reason);
    if (st == SL_OK)
        at = choose(ctx, infos, count, is_auto);
    if (at != SIZE_MAX)
        snprintf(out, SL_CHOICE_BYTES, "vulkan:%u", infos[at].index);
    else if (st == SL_OK && !is_auto)
        st = fail_unfit(ctx, infos, count, reason);
    else if (st != SL_OK && st != SL_ERR_NOMEM && is_auto) {
        sl_log(ctx, SL_LOG_WARNING, "%s", sl_ctx_message(ctx));
        st = SL_OK;
    }
    free(infos);
    free(reason);
    return st;
}
