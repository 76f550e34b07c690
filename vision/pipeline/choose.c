// SPDX-License-Identifier: MIT
// pipeline/choose.c: see choose.h.
#include "pipeline/choose.h"

// A device that is right in f32 serves without f16.
static void apply(const sl_vk_verdict *verdict, sl_vk_info *info)
{
    if (*verdict->why)
        snprintf(info->refusal, sizeof(info->refusal), "it failed its self-test: %s", verdict->why);
    if (!*verdict->why_f16)
        return;
    snprintf(info->f16_refusal, sizeof(info->f16_refusal), "its f16 failed the self-test: %s",
             verdict->why_f16);
    info->f16 = false;
    info->matrix = (sl_vk_matrix_shape) { 0 };
}

bool sl_choose_recall(sl_ctx *ctx, sl_vk_info *info)
{
    sl_vk_verdict verdict;
    if (!sl_vk_verdict_load(ctx, info, &verdict))
        return false;
    apply(&verdict, info);
    return true;
}

bool sl_choose_judge(sl_ctx *ctx, sl_vk_info *info)
{
    sl_vk_verdict verdict;
    const char *message = sl_ctx_message(ctx);
    if (sl_selftest_verdict(ctx, info, &verdict) == SL_OK) {
        apply(&verdict, info);
        return true;
    }
    // It may be busy, or full: another time it may serve.
    snprintf(info->refusal, sizeof(info->refusal), "it cannot be tested: %.*s",
             (int)strcspn(message, ";"), message);
    return false;
}

sl_status sl_choose_fail(sl_ctx *ctx, const char *name)
{
    sl_vk_info *infos = NULL;
    size_t count = 0;
    char *reason = NULL, list[SL_VK_TELL_BYTES];
    sl_status st = sl_vk_list(ctx, &infos, &count, &reason);
    if (st != SL_OK)
        goto done;
    sl_vk_tell_devices(infos, count, list, sizeof(list));
    st = sl_fail(ctx, SL_ERR_ARGUMENT, "unknown device \"%.64s\"; the devices are: auto, cpu%s%s%s",
                 name, count ? ", " : " (", count ? list : reason, count ? "" : ")");
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

static sl_status fail_unfit(sl_ctx *ctx, const sl_vk_search *search)
{
    char list[SL_VK_TELL_BYTES];
    if (search->count == 0)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "no device \"vulkan\": %s; compute on the cpu",
                       search->reason);
    sl_vk_tell_devices(search->infos, search->count, list, sizeof(list));
    return sl_fail(ctx, SL_ERR_DEVICE,
                   "no fit device for \"vulkan\": %s; compute on the cpu, or name a device that "
                   "failed its self-test exactly",
                   list);
}

sl_status sl_choose_open(sl_ctx *ctx, bool is_auto, sl_vk_device **out)
{
    sl_vk_search search;
    size_t at = SIZE_MAX;
    *out = NULL;
    if (is_auto && !sl_vk_may_have_card())
        return SL_OK;
    sl_status st = sl_vk_search_new(ctx, &search);
    if (st == SL_OK)
        at = choose(ctx, search.infos, search.count, is_auto);
    if (at != SIZE_MAX)
        st = sl_vk_open_found(ctx, &search, at, out);
    else if (st == SL_OK && !is_auto)
        st = fail_unfit(ctx, &search);
    // Nobody asked for a card: a driver too sick to list its devices, or out of memory, is no
    // reason to fail.
    if (is_auto && st != SL_OK) {
        const char *message = sl_ctx_message(ctx);
        sl_log(ctx, SL_LOG_WARNING, "%.*s; the cpu computes", (int)strcspn(message, ";"), message);
        st = SL_OK;
    }
    sl_vk_search_free(&search);
    return st;
}
