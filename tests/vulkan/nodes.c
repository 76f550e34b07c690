// SPDX-License-Identifier: MIT
// tests/vulkan/nodes.c: a graphics card is looked for where its device node would be, or where
// somebody names drivers. Made folders stand for the system's; no driver is asked.
#include "../base/run.h"
#include "vulkan/vulkan.h"

static const char *const variables[] = { "VK_DRIVER_FILES", "VK_ICD_FILENAMES",
                                         "VK_ADD_DRIVER_FILES", "VK_LOADER_DRIVERS_SELECT" };

static void set_up_nodes(void)
{
    set_up();
    for (size_t i = 0; i < SL_ARRAY_LEN(variables); i++)
        ck_assert_int_eq(unsetenv(variables[i]), 0);
    ck_ok(sl_make_dir(ctx, in_dir("dev/dri")));
}

static void put(const char *name)
{
    ck_ok(sl_file_write(ctx, in_dir(name), true, "", 0));
}

START_TEST(nodes_of_cards_count)
{
    static const char *const nodes[] = {
        "dev/dri/renderD128", "dev/dri/renderD131", "dev/nvidiactl", "dev/nvidia0", "dev/dxg",
        "dev/mali0",          "dev/kgsl-3d0"
    };
    ck_assert(!sl_vk_may_have_card_in(dir));
    for (size_t i = 0; i < SL_ARRAY_LEN(nodes); i++) {
        put(nodes[i]);
        ck_assert_msg(sl_vk_may_have_card_in(dir), "%s", nodes[i]);
        ck_assert_int_eq(unlink(in_dir(nodes[i])), 0);
        ck_assert_msg(!sl_vk_may_have_card_in(dir), "without %s", nodes[i]);
    }
}
END_TEST

// A screen's node alone computes nothing, and a machine may have no dev/dri at all.
START_TEST(other_nodes_do_not_count)
{
    put("dev/dri/card0");
    put("dev/null");
    put("renderD128");
    ck_assert(!sl_vk_may_have_card_in(dir));
    ck_assert(!sl_vk_may_have_card_in(in_dir("nowhere")));
}
END_TEST

START_TEST(named_drivers_count)
{
    for (size_t i = 0; i < SL_ARRAY_LEN(variables); i++) {
        ck_assert_int_eq(setenv(variables[i], "", 1), 0);
        ck_assert_msg(!sl_vk_may_have_card_in(dir), "an empty %s", variables[i]);
        ck_assert_int_eq(setenv(variables[i], "*", 1), 0);
        ck_assert_msg(sl_vk_may_have_card_in(dir), "%s", variables[i]);
        ck_assert_int_eq(unsetenv(variables[i]), 0);
    }
}
END_TEST

START_TEST(the_system_itself_is_asked)
{
    ck_assert(sl_vk_may_have_card() == sl_vk_may_have_card_in(""));
    ck_assert(sl_vk_may_have_card() == sl_vk_may_have_card_in("/"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("nodes");
    tcase_add_test(tests, nodes_of_cards_count);
    tcase_add_test(tests, other_nodes_do_not_count);
    tcase_add_test(tests, named_drivers_count);
    tcase_add_test(tests, the_system_itself_is_asked);
    return run_case_with("vulkan/nodes", tests, set_up_nodes, tear_down);
}
