// SPDX-License-Identifier: MIT
// tests/classify/nomem.c: galleries, matchers and tables while each allocation in turn fails.
#include "../base/nomem.h"
#include "classify/ebv.h"
#include "classify/threshold.h"
#include "made.h"

#include <jansson.h>

static made_model model;
static sl_tensor_set *set;

static void begin(void)
{
    set_up();
    made_defaults(&model);
    set = made_open(&model, in_dir("model.safetensors"));
    json_set_alloc_funcs(__wrap_malloc, free);
}

static void end(void)
{
    json_set_alloc_funcs(__real_malloc, free);
    sl_tensor_set_free(set);
    tear_down();
}

static sl_status add(sl_gallery *g, const char *label, size_t c, uint64_t seed)
{
    made_picture p;
    made_draw(c, &seed, &p);
    return sl_gallery_add(ctx, g, label, &p.f);
}

// Two classes, of two pictures and of one.
static sl_status fill(sl_gallery **out)
{
    sl_status st = sl_gallery_new_for(ctx, set, out);
    if (st == SL_OK)
        st = add(*out, "newt", 10, 1);
    if (st == SL_OK)
        st = add(*out, "newt", 10, 2);
    if (st == SL_OK)
        st = add(*out, "owl", 11, 3);
    return st;
}

static sl_status change_once(void *arg)
{
    sl_gallery *g = NULL;
    (void)arg;
    sl_status st = fill(&g);
    if (st == SL_OK)
        st = sl_gallery_rename(ctx, g, "newt", "great newt");
    if (st == SL_OK)
        st = sl_gallery_remove(ctx, g, "owl");
    if (st == SL_OK)
        st = sl_gallery_check(ctx, g);
    allow_all();
    sl_gallery_free(g);
    return st;
}

START_TEST(changes_survive)
{
    ck_assert_int_ge(exhaust(change_once, NULL), 20);
}
END_TEST

static sl_status describe_once(void *arg)
{
    char *text = NULL, *more = NULL;
    sl_status st = sl_gallery_describe(ctx, arg, &text);
    if (st == SL_OK)
        st = sl_gallery_threshold_for(ctx, arg, NULL, 0, &more);
    allow_all();
    ck_assert((st == SL_OK) == (more != NULL));
    ck_assert(!text || strstr(text, "\"great newt\"") || strstr(text, "\"newt\""));
    free(text);
    free(more);
    return st;
}

static sl_status save_once(void *arg)
{
    const char *path = in_dir("a.gallery");
    sl_gallery_hold *hold = NULL;
    sl_status st = sl_gallery_lock(ctx, path, &hold);
    if (st == SL_OK)
        st = sl_gallery_save(ctx, arg, path);
    sl_gallery_unlock(hold);
    allow_all();
    ck_assert(!sl_file_exists(in_dir(".a.gallery.lock")));
    return st;
}

START_TEST(files_survive)
{
    sl_gallery *g = NULL;
    ck_ok(fill(&g));
    ck_assert_int_ge(exhaust(describe_once, g), 20);
    ck_assert_int_ge(exhaust(save_once, g), 20);
    sl_gallery_free(g);
    // jansson may call a failed allocation a mistake in the text: reading has to fail, or be whole.
    bool failed = true;
    for (long n = 0; failed; n++) {
        failures = 0;
        allowed = n;
        sl_status st = sl_gallery_open_for(ctx, in_dir("a.gallery"), set, &g);
        allow_all();
        failed = failures > 0;
        ck_assert_msg((failed || st == SL_OK) && (st == SL_OK) == (g != NULL), "%ld", n);
        ck_assert(!g || (sl_gallery_count(g) == 2 && sl_gallery_pictures(g, 0) == 2));
        sl_gallery_free(g);
    }
}
END_TEST

// Whether memory runs out or not: no gallery is of another model than it was made with.
static sl_status belong_once(void *arg)
{
    sl_gallery *g = NULL;
    sl_status st = sl_gallery_new_for(ctx, set, &g);
    allow_all();
    ck_assert((st == SL_OK) == (g != NULL));
    if (g)
        ck_ok(sl_gallery_belong_together(ctx, arg, g));
    sl_gallery_free(g);
    return st;
}

static sl_status ask_once(void *arg)
{
    return sl_gallery_belongs_to(ctx, arg, set);
}

START_TEST(identity_survives)
{
    const float weight[4] = { 1, 2, 3, 4 };
    const sl_tensor t = { "weight", SL_F32, { 1, { 4 } }, weight, sizeof(weight) };
    const sl_meta meta = { "config", "{\"mirror\": true, \"resize\": 108}" };
    sl_gallery *g = NULL;
    sl_tensor_set_free(set);
    ck_ok(sl_safetensors_write(ctx, in_dir("mirrored.safetensors"), true, &t, 1, &meta, 1));
    ck_ok(sl_tensor_set_open(ctx, in_dir("mirrored.safetensors"), &set));
    ck_ok(sl_gallery_new_for(ctx, set, &g));
    ck_assert_int_ge(exhaust(belong_once, g), 10);
    g->model = NULL; // as if it came from a file
    ck_assert_int_ge(exhaust(ask_once, g), 5);
    sl_gallery_free(g);
}
END_TEST

typedef struct matching {
    const sl_gallery *gallery;
    const sl_known *known;
} matching;

static sl_status match_once(void *arg)
{
    const matching *m = arg;
    sl_matcher *matcher = NULL;
    sl_classification got = { 0 };
    made_picture p;
    uint64_t seed = 4;
    made_draw(10, &seed, &p);
    sl_status st = sl_matcher_new(ctx, m->known, m->gallery, 0, &matcher);
    if (st == SL_OK)
        st = sl_matcher_rank(matcher, &p.f, 3, &got);
    allow_all();
    ck_assert((st == SL_OK) == (got.count == 3));
    sl_classification_clear(&got);
    sl_matcher_free(matcher);
    return st;
}

START_TEST(matchers_survive)
{
    sl_gallery *g = NULL;
    sl_known *known = NULL;
    sl_known_shape shape = made_shape(&model);
    ck_ok(fill(&g));
    ck_ok(sl_known_new(ctx, set, &shape, &known));
    ck_assert_int_ge(exhaust(match_once, &(matching) { g, known }), 20);
    sl_known_free(known);
    sl_gallery_free(g);
    model.labels = NULL;
    sl_tensor_set_free(set);
    set = made_open(&model, in_dir("model.safetensors"));
    bool failed = true;
    for (long n = 0; failed; n++) { // jansson goes on without the 16th letter of a number
        failures = 0;
        allowed = n;
        sl_status st = sl_known_new(ctx, set, &shape, &known);
        allow_all();
        failed = failures > 0;
        ck_assert_msg((st == SL_OK || (failed && st == SL_ERR_NOMEM)) &&
                          (st == SL_OK) == (known != NULL),
                      "%ld: %s", n, sl_ctx_message(ctx));
        sl_known_free(known);
    }
}
END_TEST

static sl_status table_once(void *arg)
{
    const size_t *classes = arg;
    const char *path = in_dir("t.safetensors");
    const sl_ebv_options options = {
        .classes = *classes, .dimension = 8, .steps = 3, .overwrite = true
    };
    sl_status st = sl_ebv_write(ctx, path, &options, NULL);
    allow_all();
    ck_assert((st == SL_OK) == sl_file_exists(path));
    return st;
}

START_TEST(tables_survive)
{
    ck_assert_int_ge(exhaust(table_once, &(size_t) { 9 }), 10);
    ck_assert_int_eq(remove(in_dir("t.safetensors")), 0);
    ck_assert_int_ge(exhaust(table_once, &(size_t) { 20 }), 15);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("nomem");
    tcase_add_test(tests, changes_survive);
    tcase_add_test(tests, files_survive);
    tcase_add_test(tests, matchers_survive);
    tcase_add_test(tests, identity_survives);
    tcase_add_test(tests, tables_survive);
    return run_case_with("classify-nomem", tests, begin, end);
}
