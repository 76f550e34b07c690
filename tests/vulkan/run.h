// SPDX-License-Identifier: MIT
// tests/vulkan/run.h: what the suites of this room's machinery begin and end with: a cache
// directory of their own, no driver object left alive, and a skip where no device can serve.
#ifndef TESTS_VULKAN_RUN_H
#define TESTS_VULKAN_RUN_H

#include "../base/run.h"
#include "spy.h"

#include <sys/wait.h>

#define SKIPPED 77 // as Meson has it

static inline void set_up_vulkan(void)
{
    set_up();
    spy_reset();
    ck_assert_int_eq(setenv("XDG_CACHE_HOME", dir, 1), 0);
}

// Devices pass for tested from here on, which saves seconds: a self-test is not what is tested.
static inline void trust_devices(void)
{
    sl_vk_info *infos;
    size_t count;
    ck_ok(sl_vk_list(ctx, &infos, &count, NULL));
    for (size_t i = 0; i < count; i++)
        sl_vk_verdict_store(ctx, &infos[i], &(sl_vk_verdict) { 0 });
    free(infos);
}

// For spy.change. Such a device does not measure which ways are the fastest either: calls are those
// of what is tested alone.
static inline void has_no_timestamps(VkPhysicalDeviceProperties2 *p)
{
    p->properties.limits.timestampPeriod = 0;
}

static inline void tear_down_vulkan(void)
{
    ck_assert_uint_eq(sl_vk_live_objects(), 0);
    tear_down();
}

static inline bool finds_device(void)
{
    sl_ctx *own = NULL;
    sl_vk_info *infos = NULL;
    size_t count = 0;
    bool found = false;
    if (sl_ctx_new(NULL, &own) == SL_OK && sl_vk_list(own, &infos, &count, NULL) == SL_OK)
        for (size_t i = 0; i < count; i++)
            found = found || !*infos[i].refusal;
    free(infos);
    sl_ctx_free(own);
    return found;
}

// By a process of its own: drivers need not work in the children of one that has used them, and
// every test is such a child.
static inline bool has_device(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(finds_device() ? 0 : 1);
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static inline int run_vulkan(const char *name, TCase *tests)
{
    if (!has_device()) {
        printf("skipped: no Vulkan device can serve here\n");
        return SKIPPED;
    }
    return run_case_with(name, tests, set_up_vulkan, tear_down_vulkan);
}

#endif
