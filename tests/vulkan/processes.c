// SPDX-License-Identifier: MIT
// tests/vulkan/processes.c: several processes share the files that are kept of a device, at once:
// compiled kernels, the verdict, the choices. Nobody ever sees half a file or another's mistake.
#include "run.h"

#include <sys/wait.h>

#define PROCESSES 4
#define ROUNDS 4

static const sl_vk_pipeline_key keys[] = {
    { .kernel = SL_VK_SKIP },
    { .kernel = SL_VK_UNSHUFFLE },
    { .kernel = SL_VK_GATE },
    { .kernel = SL_VK_COPY },
};

// Whether all that is kept is what one of the processes wrote.
static bool is_sound(sl_ctx *own, const sl_vk_device *d, bool must_be_there)
{
    sl_vk_verdict verdict;
    sl_vk_choice *choices;
    size_t count;
    bool has_verdict = sl_vk_verdict_load(own, &d->info, &verdict);
    bool ok = strspn(verdict.why, "x") == strlen(verdict.why);
    sl_vk_choices_load(own, &d->info, &choices, &count);
    for (size_t i = 0; i < count; i++)
        ok = ok && choices[i].question == SL_VK_WHICH_TILE && choices[i].about[0] < PROCESSES &&
             choices[i].answer == choices[i].about[0] + choices[i].about[1];
    free(choices);
    return ok && (!must_be_there || (has_verdict && count > 0));
}

static bool use_round(sl_ctx *own, uint32_t process, uint32_t round)
{
    sl_vk_device *d;
    sl_vk_verdict verdict = { .why = "xxxx" };
    const sl_vk_choice choice = { SL_VK_WHICH_TILE, { process, round }, process + round };
    if (sl_vk_open(own, "vulkan", &d) != SL_OK)
        return false;
    verdict.why[process] = '\0';
    bool ok = sl_vk_pipelines_make(own, d, &keys[(process + round) % 3], 2) == SL_OK;
    sl_vk_verdict_store(own, &d->info, &verdict);
    sl_vk_choices_store(own, &d->info, &choice, 1);
    ok = ok && is_sound(own, d, true);
    sl_vk_close(d); // stores the kernels
    return ok && sl_vk_live_objects() == 0;
}

static pid_t start(uint32_t process)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    sl_ctx *own = NULL; // with threads of its own
    bool ok = sl_ctx_new(NULL, &own) == SL_OK;
    for (uint32_t round = 0; round < ROUNDS && ok; round++)
        ok = use_round(own, process, round);
    sl_ctx_free(own);
    _exit(ok ? 0 : 1);
}

START_TEST(share_the_files)
{
    pid_t pids[PROCESSES];
    int status;
    end_ctx();
    for (uint32_t i = 0; i < PROCESSES; i++) {
        pids[i] = start(i);
        ck_assert_int_gt(pids[i], 0);
    }
    for (int i = 0; i < PROCESSES; i++) {
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "process %d: %d", i, status);
    }
    new_ctx();
    sl_vk_device *d;
    sl_blob blob;
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    ck_assert(is_sound(ctx, d, true));
    sl_vk_cache_load(ctx, d, &blob);
    ck_assert_uint_gt(blob.size, 0);
    sl_blob_free(&blob);
    ck_ok(sl_vk_pipelines_make(ctx, d, keys, SL_ARRAY_LEN(keys)));
    sl_vk_close(d);
    char command[256]; // nothing is left beside the three files
    snprintf(command, sizeof(command), "[ $(ls -A '%s/softlens' | wc -l) = 3 ]", dir);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("processes");
    tcase_add_test(tests, share_the_files);
    return run_vulkan("vulkan-processes", tests);
}
