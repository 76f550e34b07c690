// SPDX-License-Identifier: MIT
// tests/pipeline/find.c: the default model is found where it should be, in order.
#include "../base/run.h"
#include "pipeline/places.h"

#define FILE_NAME "lmd-vit-small.safetensors"

static char *place(const char *below) // dir/below/FILE_NAME, made
{
    char *path = sl_format(ctx, "%s/%s", dir, below);
    ck_ok(sl_make_dir(ctx, path));
    char *file = sl_format(ctx, "%s/" FILE_NAME, path);
    ck_ok(sl_file_write(ctx, file, true, "x", 1));
    free(path);
    return file;
}

// The search starts from where the program lies, so a copy of this one searches from dir/a/b.
static char *find_from_copy(void)
{
    char *out = NULL;
    size_t size = 0;
    char command[256];
    snprintf(command, sizeof(command), "'%s/a/b/find' --find 2>&1", dir);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    ck_assert_int_ge(getdelim(&out, &size, '\0', pipe), 0);
    ck_assert_int_eq(pclose(pipe), 0);
    return out;
}

static void expect(const char *want)
{
    char *found = find_from_copy();
    ck_assert_str_eq(found, want);
    free(found);
}

static void add_copy(void)
{
    char command[256];
    ck_ok(sl_make_dir(ctx, in_dir("a/b")));
    // Not /proc/self/exe: that would be cp.
    snprintf(command, sizeof(command), "cp /proc/%d/exe '%s/a/b/find'", (int)getpid(), dir);
    ck_assert_int_eq(system(command), 0);
    unsetenv("SOFTLENS_MODELS");
    setenv("XDG_DATA_HOME", in_dir("home"), 1);
    char *dirs = sl_format(ctx, "%s/first::%s/second", dir, dir);
    setenv("XDG_DATA_DIRS", dirs, 1);
    free(dirs);
}

START_TEST(places_are_tried_in_order)
{
    add_copy();
    // From the last to the first, so that each new one must win over all before.
    static const char *const places[] = { "second/softlens/models",
                                          "first/softlens/models",
                                          "home/softlens/models",
                                          "a/b/../share/softlens/models",
                                          "a/b/models",
                                          "a/b/../../models",
                                          "a/b/../models" };
    bool is_installed = sl_file_exists(SL_INSTALLED_MODELS "/" FILE_NAME);
    for (size_t i = 0; i < SL_ARRAY_LEN(places); i++) {
        char *file = place(places[i]);
        if (i >= 3 || !is_installed)
            expect(file);
        free(file);
    }
    char *named = place("named");
    setenv("SOFTLENS_MODELS", in_dir("named"), 1);
    expect(named);
    setenv("SOFTLENS_MODELS", named, 1);
    expect(named);
    free(named);
}
END_TEST

START_TEST(the_message_lists_the_places)
{
    add_copy();
    if (sl_file_exists(SL_INSTALLED_MODELS "/" FILE_NAME))
        return;
    static const char *const places[] = { "/named/",         "a/b/../models",    "a/b/../../models",
                                          "a/b/../share",    "home/softlens",    "first/softlens",
                                          "second/softlens", SL_INSTALLED_MODELS };
    ck_ok(sl_make_dir(ctx, in_dir("named")));
    setenv("SOFTLENS_MODELS", in_dir("named"), 1);
    char *dirs = sl_format(ctx, "%s:%s/first", getenv("XDG_DATA_DIRS"), dir); // one of them again
    setenv("XDG_DATA_DIRS", dirs, 1);
    free(dirs);
    char *message = find_from_copy();
    for (size_t i = 0; i < SL_ARRAY_LEN(places); i++)
        ck_assert_msg(strstr(message, places[i]) != NULL, "%s is not in: %s", places[i], message);
    const char *first = strstr(message, "first/softlens");
    ck_assert_msg(!strstr(first + 1, "first/softlens"), "twice in: %s", message);
    free(message);
}
END_TEST

START_TEST(a_place_that_is_none_is_refused)
{
    char *found;
    setenv("SOFTLENS_MODELS", in_dir("nowhere"), 1);
    ck_fails(sl_model_find(ctx, "soft", &found), SL_ERR_IO, "SOFTLENS_MODELS names ");
    ck_assert_ptr_null(found);
}
END_TEST

START_TEST(architectures_have_their_own)
{
    char *found;
    ck_ok(sl_file_write(ctx, in_dir("soft-small.safetensors"), true, "x", 1));
    setenv("SOFTLENS_MODELS", dir, 1);
    ck_ok(sl_model_find(ctx, "soft", &found));
    ck_assert_str_eq(found, in_dir("soft-small.safetensors"));
    free(found);
}
END_TEST

START_TEST(other_architectures_have_none)
{
    char *found;
    ck_fails(sl_model_find(ctx, "abacus", &found), SL_ERR_ARGUMENT,
             "lmd-vit, soft, soft-retinanet");
    ck_assert_ptr_null(found);
}
END_TEST

START_TEST(others_are_found_by_name)
{
    char *found;
    ck_ok(sl_file_write(ctx, in_dir("soft.safetensors"), true, "x", 1));
    setenv("SOFTLENS_MODELS", dir, 1);
    ck_ok(sl_model_find_named(ctx, "soft", &found)); // which is also an architecture
    ck_assert_str_eq(found, in_dir("soft.safetensors"));
    free(found);
    // One file is the default, and goes by no other name.
    setenv("SOFTLENS_MODELS", in_dir("soft.safetensors"), 1);
    ck_ok(sl_model_find(ctx, "lmd-vit", &found));
    ck_assert_str_eq(found, in_dir("soft.safetensors"));
    free(found);
    ck_fails(sl_model_find_named(ctx, "soft", &found), SL_ERR_IO,
             "soft.safetensors was not found; ");
    ck_assert_ptr_null(found);
}
END_TEST

START_TEST(other_characters_lead_nowhere)
{
    char most[66] = "", *found;
    memset(most, 'a', 65);
    const char *const names[] = { NULL,       "",  "../soft-small", "soft small", "soft.small",
                                  "\xc3\xa4", most };
    ck_ok(sl_make_dir(ctx, in_dir("below")));
    ck_ok(sl_file_write(ctx, in_dir("soft-small.safetensors"), true, "x", 1));
    setenv("SOFTLENS_MODELS", in_dir("below"), 1);
    for (size_t i = 0; i < SL_ARRAY_LEN(names); i++) {
        ck_fails(sl_model_find_named(ctx, names[i], &found), SL_ERR_ARGUMENT,
                 "is no name of a model");
        ck_assert_ptr_null(found);
    }
    ck_fails(sl_model_find_named(ctx, most + 1, &found), SL_ERR_IO,
             "aaa.safetensors was not found; ");
}
END_TEST

// As the copy: prints what was found, or the message.
static int print_found(void)
{
    sl_ctx *own;
    char *found;
    if (sl_ctx_new(NULL, &own) != SL_OK)
        return 1;
    sl_status st = sl_model_find(own, "lmd-vit", &found);
    fputs(st == SL_OK ? found : sl_ctx_message(own), stdout);
    free(found);
    sl_ctx_free(own);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--find") == 0)
        return print_found();
    TCase *tests = tcase_create("find");
    tcase_add_test(tests, places_are_tried_in_order);
    tcase_add_test(tests, the_message_lists_the_places);
    tcase_add_test(tests, a_place_that_is_none_is_refused);
    tcase_add_test(tests, architectures_have_their_own);
    tcase_add_test(tests, other_architectures_have_none);
    tcase_add_test(tests, others_are_found_by_name);
    tcase_add_test(tests, other_characters_lead_nowhere);
    return run_case("pipeline/find", tests);
}
