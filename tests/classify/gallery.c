// SPDX-License-Identifier: MIT
// tests/classify/gallery.c: galleries: made, changed, saved, opened, and what is refused.
#include "classify/gallery.h"

#include "grown.h"

#include <signal.h>
#include <sys/resource.h>

static sl_blob bytes_of(const char *name)
{
    sl_blob blob;
    ck_ok(sl_file_read(ctx, in_dir(name), 1 << 24, &blob));
    return blob;
}

static void check_same_files(const char *a, const char *b)
{
    sl_blob x = bytes_of(a), y = bytes_of(b);
    ck_assert_msg(x.size == y.size && memcmp(x.data, y.data, x.size) == 0, "%s and %s differ", a,
                  b);
    sl_blob_free(&x);
    sl_blob_free(&y);
}

START_TEST(classes_come_and_go)
{
    sl_gallery *g = new_gallery();
    size_t i = 9;
    ck_assert_uint_eq(sl_gallery_count(g), 0);
    add(g, "raccoon", 10, 1);
    add(g, "raccoon", 10, 2);
    add(g, "l\xc3\xb6we", 11, 3);
    add(g, "newt", 12, 4);
    g = reopen(g, "a.gallery");
    ck_assert_uint_eq(sl_gallery_count(g), 3);
    ck_assert_str_eq(sl_gallery_label(g, 1), "l\xc3\xb6we");
    ck_assert_uint_eq(sl_gallery_pictures(g, 0), 2);
    ck_assert(sl_gallery_find(g, "newt", &i) && i == 2 && !sl_gallery_find(g, "newts", NULL));
    ck_assert_ptr_null(sl_gallery_label(g, 3));
    ck_ok(sl_gallery_rename(ctx, g, "raccoon", "procyon"));
    ck_ok(sl_gallery_rename(ctx, g, "newt", "newt"));
    ck_fails(sl_gallery_rename(ctx, g, "raccoon", "x"), SL_ERR_ARGUMENT, "no class \"raccoon\"");
    ck_fails(sl_gallery_rename(ctx, g, "procyon", "newt"), SL_ERR_ARGUMENT, "already");
    ck_fails(sl_gallery_rename(ctx, g, "procyon", ""), SL_ERR_ARGUMENT, "empty");
    ck_ok(sl_gallery_remove(ctx, g, "l\xc3\xb6we"));
    ck_fails(sl_gallery_remove(ctx, g, "l\xc3\xb6we"), SL_ERR_ARGUMENT, "no class");
    ck_assert(sl_gallery_find(g, "newt", &i) && i == 1);
    add(g, "newt", 12, 5); // to rows in the file
    g = reopen(g, "a.gallery");
    ck_assert_uint_eq(sl_gallery_count(g), 2);
    ck_assert_str_eq(sl_gallery_label(g, 0), "procyon");
    ck_assert_uint_eq(sl_gallery_pictures(g, 1), 2);
    ck_ok(sl_gallery_check(ctx, g));
    ck_ok(sl_gallery_remove(ctx, g, "newt"));
    ck_ok(sl_gallery_remove(ctx, g, "procyon"));
    g = reopen(g, "a.gallery"); // without classes
    ck_assert_uint_eq(sl_gallery_count(g), 0);
    add(g, "newt", 12, 5);
    sl_gallery_free(g);
}
END_TEST

START_TEST(later_is_as_at_once)
{
    sl_gallery *once = new_gallery(), *later = new_gallery();
    for (uint64_t k = 0; k < 7; k++)
        add(once, "raccoon", 10, k);
    for (uint64_t k = 0; k < 3; k++)
        add(once, "newt", 12, 100 + k);
    add(once, "owl", 13, 200);
    add(later, "raccoon", 10, 0);
    add(later, "newt", 12, 100);
    for (uint64_t k = 1; k < 7; k++) {
        later = reopen(later, "later.gallery");
        add(later, "raccoon", 10, k);
        if (k < 3)
            add(later, "newt", 12, 100 + k);
    }
    add(later, "owl", 13, 200);
    ck_ok(sl_gallery_save(ctx, once, in_dir("once.gallery")));
    ck_ok(sl_gallery_save(ctx, later, in_dir("later.gallery")));
    check_same_files("once.gallery", "later.gallery");
    later = reopen(later, "later.gallery");
    ck_ok(sl_gallery_save(ctx, later, in_dir("later.gallery"))); // over the file that is open
    check_same_files("once.gallery", "later.gallery");
    sl_gallery_free(once);
    sl_gallery_free(later);
}
END_TEST

START_TEST(prototypes_are_means)
{
    sl_gallery *g = new_gallery();
    double sum[MADE_D] = { 0 }, square = 0;
    for (uint64_t k = 0; k < 5; k++) {
        made_picture p;
        uint64_t seed = k;
        made_draw(10, &seed, &p);
        for (size_t i = 0; i < MADE_D; i++)
            sum[i] += (double)p.embedding[i];
        ck_ok(sl_gallery_add(ctx, g, "raccoon", &p.f));
    }
    for (size_t i = 0; i < MADE_D; i++)
        square += sum[i] * sum[i];
    for (size_t i = 0; i < MADE_D; i++)
        ck_assert_double_eq_tol((double)sl_gallery_prototype(g, 0)[i], sum[i] / sqrt(square), 1e-7);
    sl_gallery_free(g);
}
END_TEST

START_TEST(no_picture_counts_twice)
{
    sl_gallery *g = new_gallery(), *other = new_gallery();
    made_picture p;
    uint64_t seed = 1;
    add(g, "raccoon", 10, 1);
    add(g, "raccoon", 10, 2);
    g = reopen(g, "twice.gallery");
    add(g, "raccoon", 10, 3);
    made_draw(10, &seed, &p);
    ck_fails(sl_gallery_add(ctx, g, "raccoon", &p.f), SL_ERR_EXISTS, "has this picture already");
    seed = 3;
    made_draw(10, &seed, &p);
    ck_fails(sl_gallery_add(ctx, g, "raccoon", &p.f), SL_ERR_EXISTS, "has this picture already");
    ck_ok(sl_gallery_add(ctx, g, "newt", &p.f)); // of another class it may be, too
    add(other, "raccoon", 10, 2);
    add(other, "raccoon", 10, 4);
    ck_ok(sl_gallery_merge(ctx, g, other));
    ck_assert_uint_eq(sl_gallery_pictures(g, 0), 4);
    sl_gallery_free(g);
    sl_gallery_free(other);
}
END_TEST

START_TEST(merging)
{
    sl_gallery *a = new_gallery(), *b = new_gallery(), *both = new_gallery();
    add(a, "raccoon", 10, 1);
    add(b, "newt", 12, 2);
    add(b, "raccoon", 10, 3);
    b = reopen(b, "b.gallery");
    add(both, "raccoon", 10, 1);
    add(both, "newt", 12, 2);
    add(both, "raccoon", 10, 3);
    ck_ok(sl_gallery_merge(ctx, a, b));
    ck_ok(sl_gallery_save(ctx, a, in_dir("a.gallery")));
    ck_ok(sl_gallery_save(ctx, both, in_dir("both.gallery")));
    check_same_files("a.gallery", "both.gallery");
    ck_fails(sl_gallery_merge(ctx, a, a), SL_ERR_ARGUMENT, "into itself");
    made_model other = model;
    other.weight[3] += 1;
    sl_tensor_set *foreign = made_open(&other, in_dir("other.safetensors"));
    sl_gallery *c = NULL;
    ck_ok(sl_gallery_new_for(ctx, foreign, &c));
    ck_fails(sl_gallery_merge(ctx, a, c), SL_ERR_ARGUMENT, "other.safetensors");
    sl_gallery_free(a);
    sl_gallery_free(b);
    sl_gallery_free(c);
    sl_gallery_free(both);
    sl_tensor_set_free(foreign);
}
END_TEST

START_TEST(another_model_is_refused_by_name)
{
    sl_gallery *g = new_gallery(), *got = NULL;
    made_model other = model;
    add(g, "raccoon", 10, 1);
    ck_ok(sl_gallery_save(ctx, g, in_dir("a.gallery")));
    other.weight[0] += 1e-6f;
    sl_tensor_set *foreign = made_open(&other, in_dir("other.safetensors"));
    ck_fails(sl_gallery_open_for(ctx, in_dir("a.gallery"), foreign, &got), SL_ERR_ARGUMENT,
             "was made with the model model.safetensors (");
    ck_assert_ptr_null(got);
    ck_assert_ptr_nonnull(strstr(sl_ctx_message(ctx), "not with other.safetensors ("));
    sl_tensor_set_free(foreign);
    other = model; // statistics are no weights, and a name is only a name
    other.quantiles[1000] += 1;
    foreign = made_open(&other, in_dir("renamed.safetensors"));
    ck_ok(sl_gallery_open_for(ctx, in_dir("a.gallery"), foreign, &got));
    sl_gallery_free(got);
    ck_ok(sl_gallery_open_for(ctx, in_dir("a.gallery"), NULL, &got));
    sl_gallery_free(got);
    sl_gallery_free(g);
    sl_tensor_set_free(foreign);
}
END_TEST

START_TEST(labels_and_features_that_are_none)
{
    static const char *const labels[] = { "",       " newt",      "newt ", "a\tb",
                                          "a\x7f",  "\302\2332J", "\xff",  "\xed\xa0\x80",
                                          "a\nb\n", "\xe2\x82" };
    sl_gallery *g = new_gallery();
    made_picture p;
    uint64_t seed = 1;
    char wide[258];
    made_draw(10, &seed, &p);
    for (size_t i = 0; i < SL_ARRAY_LEN(labels); i++)
        ck_fails(sl_gallery_add(ctx, g, labels[i], &p.f), SL_ERR_ARGUMENT, "label");
    memset(wide, 'w', sizeof(wide));
    wide[256] = '\0';
    ck_fails(sl_gallery_add(ctx, g, wide, &p.f), SL_ERR_ARGUMENT, "too long");
    wide[255] = '\0';
    ck_ok(sl_gallery_add(ctx, g, wide, &p.f));
    sl_features f = p.f;
    f.dimension--;
    ck_fails(sl_gallery_add(ctx, g, "x", &f), SL_ERR_ARGUMENT, "15, 8 and 12");
    f = p.f;
    f.pool3_size = 0;
    ck_fails(sl_gallery_add(ctx, g, "x", &f), SL_ERR_ARGUMENT, "16, 0 and 12");
    f = p.f;
    f.dimension = 0;
    ck_fails(sl_gallery_add(ctx, g, "x", &f), SL_ERR_UNSUPPORTED, "no embedding");
    p.pool4[3] = INFINITY;
    ck_fails(sl_gallery_add(ctx, g, "x", &p.f), SL_ERR_FORMAT, "not finite");
    made_draw(10, &seed, &p);
    p.embedding[2] += 0.1f;
    ck_fails(sl_gallery_add(ctx, g, "x", &p.f), SL_ERR_FORMAT, "norm");
    ck_assert_uint_eq(sl_gallery_count(g), 1);
    sl_gallery_free(g);
}
END_TEST

START_TEST(pictures_that_cancel_out)
{
    sl_gallery *g = new_gallery();
    made_picture p;
    uint64_t seed = 1;
    made_draw(10, &seed, &p);
    ck_ok(sl_gallery_add(ctx, g, "x", &p.f));
    for (size_t i = 0; i < MADE_D; i++)
        p.embedding[i] = -p.embedding[i];
    ck_fails(sl_gallery_add(ctx, g, "x", &p.f), SL_ERR_ARGUMENT, "cancel");
    ck_assert_uint_eq(sl_gallery_pictures(g, 0), 1);
    add(g, "x", 10, 2);
    g = reopen(g, "a.gallery");
    ck_ok(sl_gallery_check(ctx, g));
    sl_gallery_free(g);
}
END_TEST

// Of two alike, each is the other's neighbour and none its own.
START_TEST(twins_are_neighbours)
{
    sl_gallery *g = new_gallery();
    char *text = NULL;
    add(g, "raccoon", 10, 1);
    add(g, "tanuki", 10, 1);
    ck_ok(sl_gallery_describe(ctx, g, &text));
    ck_assert_ptr_nonnull(strstr(text, "\"nearest\": \"raccoon\""));
    ck_assert_ptr_nonnull(strstr(text, "\"nearest\": \"tanuki\""));
    free(text);
    sl_gallery_free(g);
}
END_TEST

START_TEST(many_classes)
{
    sl_gallery *g = new_gallery();
    char label[32];
    size_t i;
    for (size_t c = 0; c < 5000; c++) {
        snprintf(label, sizeof(label), "class %zu", c);
        add(g, label, 20 + c, c);
    }
    g = reopen(g, "a.gallery");
    ck_assert_uint_eq(sl_gallery_count(g), 5000);
    ck_assert(sl_gallery_find(g, "class 4321", &i) && i == 4321);
    ck_ok(sl_gallery_check(ctx, g));
    sl_gallery_free(g);
}
END_TEST

START_TEST(a_full_disk_leaves_the_old_one)
{
    sl_gallery *g = new_gallery(), *got = NULL;
    add(g, "raccoon", 10, 1);
    ck_ok(sl_gallery_save(ctx, g, in_dir("a.gallery")));
    struct rlimit limit = { 1024, 1024 };
    for (uint64_t k = 0; k < 50; k++)
        add(g, "raccoon", 10, 2 + k);
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0); // of this test's process alone
    ck_fails(sl_gallery_save(ctx, g, in_dir("a.gallery")), SL_ERR_IO, "cannot write");
    ck_ok(sl_gallery_open_for(ctx, in_dir("a.gallery"), set, &got));
    ck_assert_uint_eq(sl_gallery_pictures(got, 0), 1);
    sl_gallery_free(got);
    sl_gallery_free(g);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("gallery");
    tcase_add_test(tests, classes_come_and_go);
    tcase_add_test(tests, later_is_as_at_once);
    tcase_add_test(tests, prototypes_are_means);
    tcase_add_test(tests, no_picture_counts_twice);
    tcase_add_test(tests, merging);
    tcase_add_test(tests, another_model_is_refused_by_name);
    tcase_add_test(tests, labels_and_features_that_are_none);
    tcase_add_test(tests, pictures_that_cancel_out);
    tcase_add_test(tests, twins_are_neighbours);
    tcase_add_test(tests, many_classes);
    tcase_add_test(tests, a_full_disk_leaves_the_old_one);
    return run_case_with("classify-gallery", tests, begin, end);
}
