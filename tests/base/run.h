// SPDX-License-Identifier: MIT
// tests/base/run.h: what every suite of base/ and image/ begins and ends with.
#ifndef TESTS_BASE_RUN_H
#define TESTS_BASE_RUN_H

#include "base/base.h"

#include <check.h>
#include <unistd.h>

static sl_ctx *ctx;
static char dir[64]; // of this test alone, removed afterwards
static char warning[512];
static int warnings;

static inline void keep_warning(void *user, sl_log_level level, const char *sentence)
{
    (void)user;
    if (level != SL_LOG_WARNING)
        return;
    warnings++;
    snprintf(warning, sizeof(warning), "%s", sentence);
}

static inline void new_ctx(void)
{
    sl_ctx_options options = { .threads = 2, .log = keep_warning };
    ck_assert_int_eq(sl_ctx_new(&options, &ctx), SL_OK);
}

// Before a fork: a thread that just starts may hold a lock of the C library or of a sanitizer,
// which nobody opens in the child. new_ctx() afterwards.
static inline void end_ctx(void)
{
    sl_ctx_free(ctx);
    ctx = NULL;
}

static inline void set_up(void)
{
    warnings = 0;
    warning[0] = '\0';
    new_ctx();
    snprintf(dir, sizeof(dir), "/tmp/softlens-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static inline void tear_down(void)
{
    char command[128];
    end_ctx();
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

// dir/name, in a buffer that the next but three calls reuse.
static inline const char *in_dir(const char *name)
{
    static char paths[4][512];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static inline int run_case_with(const char *name, TCase *tests, SFun before, SFun after)
{
    Suite *suite = suite_create(name);
    tcase_set_timeout(tests, 300); // the driver in software compiles for long on a busy machine
    tcase_add_checked_fixture(tests, before, after);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}

static inline int run_case(const char *name, TCase *tests)
{
    return run_case_with(name, tests, set_up, tear_down);
}

#define ck_ok(call)                                                                                \
    do {                                                                                           \
        sl_status ck_ok_status = (call);                                                           \
        ck_assert_msg(ck_ok_status == SL_OK, "%s: status %d, %s", #call, ck_ok_status,             \
                      sl_ctx_message(ctx));                                                        \
    } while (0)

// Fails with that status and a message that has `part` in it.
#define ck_fails(call, status, part)                                                               \
    do {                                                                                           \
        sl_status ck_fails_status = (call);                                                        \
        ck_assert_msg(ck_fails_status == (status) && strstr(sl_ctx_message(ctx), part),            \
                      "%s: status %d, %s", #call, ck_fails_status, sl_ctx_message(ctx));           \
    } while (0)

#endif
