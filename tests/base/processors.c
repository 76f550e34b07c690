// SPDX-License-Identifier: MIT
// tests/base/processors.c: how many processors there are, by affinity and by quota.
#include "run.h"

#include <math.h>
#include <sched.h>

static void put(const char *path, const char *text)
{
    ck_ok(sl_file_write(ctx, path, true, text, strlen(text)));
}

START_TEST(the_least_quota_counts)
{
    char root[] = "/tmp/softlens-cgroup-XXXXXX", path[64];
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(path, sizeof(path), "%s/a/b", root);
    ck_ok(sl_make_dir(ctx, path));
    ck_assert(isinf(sl_processor_quota(root, "/a/b")));
    snprintf(path, sizeof(path), "%s/a/b/cpu.max", root);
    put(path, "max 100000\n");
    ck_assert(isinf(sl_processor_quota(root, "/a/b")));
    put(path, "350000 100000\n");
    ck_assert_double_eq(sl_processor_quota(root, "/a/b"), 3.5);
    ck_assert(isinf(sl_processor_quota(root, "/a")));
    snprintf(path, sizeof(path), "%s/a/cpu.max", root);
    put(path, "50000 100000\n");
    ck_assert_double_eq(sl_processor_quota(root, "/a/b"), 0.5);
    put(path, "0 0\n");
    ck_assert_double_eq(sl_processor_quota(root, "/a/b"), 3.5);
    put(path, "rubbish");
    ck_assert_double_eq(sl_processor_quota(root, "/a/b"), 3.5);
    snprintf(path, sizeof(path), "%s/cpu.max", root);
    put(path, "200000 100000\n");
    ck_assert_double_eq(sl_processor_quota(root, "/a/b"), 2);
    ck_assert_double_eq(sl_processor_quota(root, "/"), 2);
    char command[64];
    snprintf(command, sizeof(command), "rm -r %s", root);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(affinity_counts)
{
    cpu_set_t one, before;
    CPU_ZERO(&one);
    ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    ck_assert_uint_eq(sl_processors(), 1);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(before), &before), 0);
    ck_assert_uint_ge(sl_processors(), 1);
    ck_assert_uint_le(sl_processors(), (unsigned)CPU_COUNT(&before));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("processors");
    tcase_add_test(tests, the_least_quota_counts);
    tcase_add_test(tests, affinity_counts);
    return run_case("base/processors", tests);
}
