// SPDX-License-Identifier: MIT
// tests/base/ctx.c: the context's options, messages, log and progress.
#include "run.h"

START_TEST(version_has_three_numbers)
{
    int a, b, c;
    ck_assert_int_eq(sscanf(sl_version(), "%d.%d.%d", &a, &b, &c), 3);
    ck_assert(a == SL_VERSION_MAJOR && b == SL_VERSION_MINOR && c == SL_VERSION_PATCH);
}
END_TEST

START_TEST(options_are_checked)
{
    sl_ctx *other = ctx;
    ck_assert_int_eq(sl_ctx_new(&(sl_ctx_options) { .threads = 257 }, &other), SL_ERR_ARGUMENT);
    ck_assert_ptr_null(other);
    ck_assert_int_eq(sl_ctx_new(&(sl_ctx_options) { .simd = "sse9" }, &other), SL_ERR_ARGUMENT);
    ck_assert_int_eq(sl_ctx_new(&(sl_ctx_options) { .simd = "" }, &other), SL_ERR_ARGUMENT);
    ck_assert_int_eq(sl_ctx_new(NULL, &other), SL_OK);
    ck_assert_uint_ge(other->options.threads, 1);
    ck_assert_uint_le(other->options.threads, 256);
    ck_assert_str_eq(other->simd_name, "");
    sl_ctx_free(other);
    char simd[] = "avx2";
    ck_assert_int_eq(sl_ctx_new(&(sl_ctx_options) { .simd = simd, .threads = 3 }, &other), SL_OK);
    simd[0] = 'x'; // the context has its own copy
    ck_assert_str_eq(other->simd_name, "avx2");
    ck_assert_str_eq(other->options.simd, "avx2");
    ck_assert_uint_eq(sl_pool_size(other->pool), 3);
    sl_ctx_free(other);
    sl_ctx_free(NULL);
}
END_TEST

START_TEST(a_failure_leaves_its_sentence)
{
    ck_assert_str_eq(sl_ctx_message(ctx), "");
    ck_assert_int_eq(sl_fail(ctx, SL_ERR_IO, "%s: %d", "first", 1), SL_ERR_IO);
    ck_assert_str_eq(sl_ctx_message(ctx), "first: 1");
    sl_fail(ctx, SL_ERR_FORMAT, "second; %s", sl_ctx_message(ctx));
    ck_assert_str_eq(sl_ctx_message(ctx), "second; first: 1");
    ck_assert_int_eq(sl_fail(NULL, SL_ERR_LIMIT, "nobody hears"), SL_ERR_LIMIT);
    ck_assert_str_eq(sl_ctx_message(NULL), "");
    char longer[5000];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    sl_fail(ctx, SL_ERR_FORMAT, "%s", longer);
    ck_assert_uint_eq(strlen(sl_ctx_message(ctx)), sizeof(ctx->message) - 1);
}
END_TEST

START_TEST(log_reaches_the_callback)
{
    sl_log(ctx, SL_LOG_WARNING, "%d left", 3);
    ck_assert_str_eq(warning, "3 left");
    sl_log(NULL, SL_LOG_WARNING, "nobody hears");
    ck_assert_int_eq(warnings, 1);
    sl_log(ctx, SL_LOG_WARNING, "a\nb\x1B[1m\x7F: \xC3\xA9");
    ck_assert_str_eq(warning, "a b [1m : \xC3\xA9");
}
END_TEST

static bool stop_at_two(void *user, size_t done, size_t total)
{
    *(size_t *)user = total;
    return done < 2;
}

START_TEST(progress_can_cancel)
{
    ck_ok(sl_progress(ctx, 9, 9));
    size_t total = 0;
    ctx->options.progress = stop_at_two;
    ctx->options.progress_user = &total;
    ck_ok(sl_progress(ctx, 1, 7));
    ck_assert_uint_eq(total, 7);
    ck_fails(sl_progress(ctx, 2, 7), SL_ERR_CANCELLED, "2 of 7");
}
END_TEST

START_TEST(seconds_go_forward)
{
    double before = sl_seconds();
    usleep(2000);
    double passed = sl_seconds() - before;
    ck_assert_msg(passed >= 0.002 && passed < 60, "%g s passed", passed);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("ctx");
    tcase_add_test(tests, version_has_three_numbers);
    tcase_add_test(tests, options_are_checked);
    tcase_add_test(tests, a_failure_leaves_its_sentence);
    tcase_add_test(tests, log_reaches_the_callback);
    tcase_add_test(tests, progress_can_cancel);
    tcase_add_test(tests, seconds_go_forward);
    return run_case("base/ctx", tests);
}
