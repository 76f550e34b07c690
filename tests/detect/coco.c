// SPDX-License-Identifier: MIT
// tests/detect/coco.c: reading COCO's annotations and results, what is refused and how it is said,
// and what "labelled" and a choice of categories do to the metrics.
#include "../base/run.h"
#include "detect/detect.h"

#include <math.h>

#define IMAGES                                                                                     \
    "\"images\":[{\"id\":7,\"file_name\":\"b/7.jpg\",\"width\":100,\"height\":50},"                \
    "{\"id\":-3,\"file_name\":\"a.png\",\"width\":64,\"height\":64,\"labelled\":[20]}]"
#define CATEGORIES "\"categories\":[{\"id\":20,\"name\":\"newt\"},{\"id\":10,\"name\":\"owl\"}]"
#define ANNOTATION(rest) "{\"id\":1,\"image_id\":7,\"category_id\":10," rest "}"
#define FILE_WITH(annotations) "{" IMAGES "," CATEGORIES ",\"annotations\":[" annotations "]}"

static sl_status parse(const char *text, sl_coco **out)
{
    return sl_coco_parse(ctx, text, strlen(text), "set.json", out);
}

static void refuses(const char *text, sl_status status, const char *part)
{
    sl_coco *coco = (sl_coco *)1;
    ck_fails(parse(text, &coco), status, part);
    ck_assert_ptr_null(coco);
    ck_assert_msg(strncmp(sl_ctx_message(ctx), "set.json: ", 10) == 0, "%s", sl_ctx_message(ctx));
}

START_TEST(what_is_read)
{
    sl_coco *coco = NULL;
    size_t i = 9;
    ck_ok(parse(FILE_WITH("{\"id\":5,\"image_id\":7,\"category_id\":20,\"bbox\":[1,2.5,3,4],"
                          "\"area\":7.5,\"iscrowd\":1,\"segmentation\":[[1,2,3,4,5,6]]},"
                          "{\"id\":4,\"image_id\":-3,\"category_id\":20,\"bbox\":[1,2,3,4]}"),
                &coco));
    ck_assert_uint_eq(sl_coco_image_count(coco), 2); // sorted by id
    ck_assert_int_eq(sl_coco_image_at(coco, 0)->id, -3);
    ck_assert_str_eq(sl_coco_image_at(coco, 1)->file_name, "b/7.jpg");
    ck_assert(sl_coco_image_at(coco, 1)->width == 100 && sl_coco_image_at(coco, 1)->height == 50);
    ck_assert_ptr_null(sl_coco_image_at(coco, 2));
    ck_assert_uint_eq(sl_coco_category_count(coco), 2);
    ck_assert_str_eq(sl_coco_category_at(coco, 0)->name, "owl");
    ck_assert_ptr_null(sl_coco_category_at(coco, 2));
    ck_assert(sl_coco_find_name(coco, "newt", &i) && i == 1 && !sl_coco_find_name(coco, "n", &i));
    ck_assert(sl_coco_find_category(coco, 10, &i) && i == 0 && !sl_coco_find_image(coco, 0, &i));
    ck_assert_uint_eq(sl_coco_annotation_count(coco), 2); // by image
    const sl_coco_annotation *first = sl_coco_annotation_at(coco, 0);
    ck_assert(first->id == 4 && first->image == 0 && first->area == 12 && !first->is_crowd);
    const sl_coco_annotation *second = sl_coco_annotation_at(coco, 1);
    ck_assert(second->is_crowd && second->area == 7.5 && second->box[1] == 2.5);
    ck_assert_ptr_null(sl_coco_annotation_at(coco, 2));
    ck_assert(sl_coco_is_labelled(coco, 0, 1) && !sl_coco_is_labelled(coco, 0, 0));
    ck_assert(sl_coco_is_labelled(coco, 1, 0) && sl_coco_is_labelled(coco, 1, 1));
    sl_coco_free(coco);
    sl_coco_free(NULL);
}
END_TEST

START_TEST(nothing_in_it)
{
    static const char empty[] = "{\"images\":[],\"categories\":[],\"annotations\":[]}";
    sl_coco *coco = NULL;
    sl_coco_result *results = NULL;
    sl_coco_scores scores;
    size_t count = 9;
    ck_ok(parse(empty, &coco));
    ck_ok(sl_coco_results_parse(ctx, "[]", 2, "none.json", coco, &results, &count));
    ck_assert_uint_eq(count, 0);
    ck_ok(sl_coco_evaluate(ctx, coco, results, 0, &scores));
    ck_assert(scores.ap == -1 && scores.ar_large == -1 && scores.class_count == 0);
    sl_coco_scores_clear(&scores);
    free(results);
    sl_coco_free(coco);
}
END_TEST

START_TEST(a_byte_order_mark_is_none_of_it)
{
    static const char results[] = "\xEF\xBB\xBF[]";
    sl_coco *coco = NULL;
    sl_coco_result *list = NULL;
    size_t count = 9;
    ck_ok(parse("\xEF\xBB\xBF" FILE_WITH(""), &coco));
    ck_assert_uint_eq(sl_coco_image_count(coco), 2);
    ck_ok(sl_coco_results_parse(ctx, results, strlen(results), "none.json", coco, &list, &count));
    ck_assert_uint_eq(count, 0);
    free(list);
    sl_coco_free(coco);
    refuses("\xEF\xBB\xBF", SL_ERR_FORMAT, "not valid JSON");
}
END_TEST

START_TEST(not_coco)
{
    refuses("", SL_ERR_FORMAT, "not valid JSON");
    refuses("nonsense", SL_ERR_FORMAT, "not valid JSON near byte");
    refuses("[]", SL_ERR_FORMAT, "no list \"categories\"");
    refuses("{\"shapes\":[]}", SL_ERR_FORMAT, "no list \"categories\"");
    refuses("{\"categories\":[],\"images\":{},\"annotations\":[]}", SL_ERR_FORMAT, "\"images\"");
    refuses("{\"categories\":[],\"images\":[]}", SL_ERR_FORMAT, "\"annotations\"");
    refuses("{\"categories\":[1],\"images\":[],\"annotations\":[]}", SL_ERR_FORMAT,
            "categories[0] is no object");
    refuses("{\"categories\":[],\"categories\":[],\"images\":[],\"annotations\":[]}", SL_ERR_FORMAT,
            "not valid JSON"); // a key twice
    char deep[400];
    memset(deep, '[', sizeof(deep));
    deep[sizeof(deep) - 1] = '\0';
    refuses(deep, SL_ERR_FORMAT, "nested more than");
}
END_TEST

START_TEST(too_many_values)
{
    const size_t size = ((size_t)1 << 24) + 3;
    sl_coco *coco = NULL;
    char *commas = sl_alloc(ctx, size, 1);
    ck_assert_ptr_nonnull(commas);
    memset(commas, ',', size);
    ck_fails(sl_coco_parse(ctx, commas, size, "set.json", &coco), SL_ERR_LIMIT, "values");
    free(commas);
}
END_TEST

#define WITH_CATEGORIES(list) "{\"images\":[],\"annotations\":[],\"categories\":[" list "]}"

START_TEST(categories_that_do_not_do)
{
    refuses(WITH_CATEGORIES("{\"name\":\"a\"}"), SL_ERR_FORMAT, "categories[0] has no \"id\"");
    refuses(WITH_CATEGORIES("{\"id\":\"1\",\"name\":\"a\"}"), SL_ERR_FORMAT, "integer");
    refuses(WITH_CATEGORIES("{\"id\":1}"), SL_ERR_FORMAT, "no \"name\"");
    refuses(WITH_CATEGORIES("{\"id\":1,\"name\":\"\"}"), SL_ERR_FORMAT, "printable");
    refuses(WITH_CATEGORIES("{\"id\":1,\"name\":\"a\\u001b[2J\"}"), SL_ERR_FORMAT, "printable");
    refuses(WITH_CATEGORIES("{\"id\":1,\"name\":\"a\"},{\"id\":1,\"name\":\"b\"}"), SL_ERR_FORMAT,
            "two categories have the id 1");
    refuses(WITH_CATEGORIES("{\"id\":1,\"name\":\"a\"},{\"id\":2,\"name\":\"a\"}"), SL_ERR_FORMAT,
            "two categories are called \"a\"");
    refuses(WITH_CATEGORIES("{\"id\":99999999999999999999,\"name\":\"a\"}"), SL_ERR_FORMAT,
            "not valid JSON");
}
END_TEST

#define WITH_IMAGES(list) "{\"images\":[" list "],\"annotations\":[]," CATEGORIES "}"
#define WITH_NAME(name)                                                                            \
    WITH_IMAGES("{\"id\":1,\"width\":9,\"height\":9,\"file_name\":\"" name "\"}")
#define AN_IMAGE "{\"id\":1,\"width\":9,\"height\":9,\"file_name\":\"a\""

START_TEST(images_that_do_not_do)
{
    refuses(WITH_IMAGES("{\"file_name\":\"a\"}"), SL_ERR_FORMAT, "images[0] has no \"id\"");
    refuses(WITH_IMAGES("{\"id\":1,\"width\":0,\"height\":9}"), SL_ERR_FORMAT, "\"width\" of 0");
    refuses(WITH_IMAGES("{\"id\":1,\"width\":9,\"height\":1e3}"), SL_ERR_FORMAT, "\"height\"");
    refuses(WITH_IMAGES("{\"id\":1,\"width\":9,\"height\":4294967297}"), SL_ERR_FORMAT,
            "4294967297");
    refuses(WITH_IMAGES("{\"id\":1,\"width\":9,\"height\":9}"), SL_ERR_FORMAT, "\"file_name\"");
    refuses(WITH_NAME("/etc/passwd"), SL_ERR_FORMAT, "relative");
    refuses(WITH_NAME("../a"), SL_ERR_FORMAT, "relative");
    refuses(WITH_NAME("a/../../b"), SL_ERR_FORMAT, "relative");
    refuses(WITH_NAME("a/.."), SL_ERR_FORMAT, "relative");
    refuses(WITH_NAME("a\\n"), SL_ERR_FORMAT, "printable");
    refuses(WITH_NAME(""), SL_ERR_FORMAT, "\"file_name\"");
    refuses(WITH_IMAGES(AN_IMAGE "}," AN_IMAGE "}"), SL_ERR_FORMAT, "two images have the id 1");
    refuses(WITH_IMAGES(AN_IMAGE ",\"labelled\":7}"), SL_ERR_FORMAT, "no list");
    refuses(WITH_IMAGES(AN_IMAGE ",\"labelled\":[10,11]}"), SL_ERR_FORMAT, "entry 1");
    refuses(WITH_IMAGES(AN_IMAGE ",\"labelled\":[\"owl\"]}"), SL_ERR_FORMAT, "entry 0");
    refuses(WITH_IMAGES(AN_IMAGE ",\"labelled\":[10,20,10]}"), SL_ERR_FORMAT, "10 twice");
    sl_coco *coco = NULL;
    ck_ok(parse(WITH_NAME("..a/b..c/...d"), &coco)); // dots alone do no harm
    sl_coco_free(coco);
}
END_TEST

static void refuses_annotation(const char *entry, const char *part)
{
    char text[2048];
    snprintf(text, sizeof(text), FILE_WITH("%s"), entry);
    refuses(text, SL_ERR_FORMAT, part);
}

START_TEST(annotations_that_do_not_do)
{
    refuses_annotation("[]", "annotations[0] is no object");
    refuses_annotation("{\"image_id\":7,\"category_id\":10,\"bbox\":[0,0,1,1]}", "no \"id\"");
    refuses_annotation("{\"id\":1,\"category_id\":10,\"bbox\":[0,0,1,1]}", "\"image_id\"");
    refuses_annotation("{\"id\":1,\"image_id\":8,\"category_id\":10}", "image 8, which is not");
    refuses_annotation("{\"id\":1,\"image_id\":7,\"category_id\":1}", "category 1, which is not");
    refuses_annotation("{\"id\":1,\"image_id\":-3,\"category_id\":10,\"bbox\":[0,0,1,1]}",
                       "image -3 does not have among those \"labelled\"");
    refuses_annotation(ANNOTATION("\"bbox\":[0,0,1]"), "four numbers");
    refuses_annotation(ANNOTATION("\"bbox\":[0,0,1,\"1\"]"), "no number");
    refuses_annotation(ANNOTATION("\"bbox\":[0,0,-1,1]"), "-1 by 1 pixels");
    refuses_annotation(ANNOTATION("\"bbox\":[0,0,1,1e13]"), "1e+13");
    refuses_annotation(ANNOTATION("\"bbox\":[0,0,1,1e999]"), "not valid JSON");
    refuses_annotation(ANNOTATION("\"bbox\":[0,0,1,NaN]"), "not valid JSON");
    refuses_annotation(ANNOTATION("\"bbox\":[101,0,5,5]"), "outside of its picture of 100 by 50");
    refuses_annotation(ANNOTATION("\"bbox\":[10,-9,5,5]"), "outside of its picture");
    refuses_annotation(ANNOTATION("\"bbox\":[0,0,1,1],\"area\":-1"), "negative \"area\"");
    refuses_annotation(ANNOTATION("\"bbox\":[0,0,1,1],\"area\":null"), "\"area\"");
    refuses_annotation(ANNOTATION("\"bbox\":[0,0,1,1],\"iscrowd\":2"), "neither 0 nor 1");
    refuses_annotation(ANNOTATION("\"bbox\":[0,0,1,1],\"iscrowd\":\"0\""), "neither 0 nor 1");
    refuses_annotation(ANNOTATION("\"bbox\":[0,0,1,1]") "," ANNOTATION("\"bbox\":[0,0,2,2]"),
                       "two annotations have the id 1");
    sl_coco *coco = NULL; // a box may reach out of its picture
    ck_ok(parse(FILE_WITH(ANNOTATION("\"bbox\":[-5,-5,200,200],\"iscrowd\":true")), &coco));
    sl_coco_free(coco);
}
END_TEST

START_TEST(results_that_do_not_do)
{
    static const struct {
        const char *text, *part;
    } bad[] = {
        { "{}", "is no list" },
        { "[3]", "results[0] is no object" },
        { "[{\"image_id\":7,\"category_id\":10,\"bbox\":[0,0,1,1]}]", "\"score\"" },
        { "[{\"image_id\":7,\"category_id\":10,\"score\":1}]", "\"bbox\"" },
        { "[{\"image_id\":9,\"category_id\":10,\"bbox\":[0,0,1,1],\"score\":1}]", "image 9" },
        { "[{\"image_id\":7,\"category_id\":11,\"bbox\":[0,0,1,1],\"score\":1}]", "category 11" },
    };
    sl_coco *coco = NULL;
    sl_coco_result *results = NULL;
    size_t count = 0;
    ck_ok(parse(FILE_WITH(""), &coco));
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        ck_fails(sl_coco_results_parse(ctx, bad[i].text, strlen(bad[i].text), "r.json", coco,
                                       &results, &count),
                 SL_ERR_FORMAT, bad[i].part);
        ck_assert(!results && count == 0);
    }
    sl_coco_free(coco);
}
END_TEST

START_TEST(files)
{
    static const char text[] = FILE_WITH(ANNOTATION("\"bbox\":[0,0,10,10]"));
    static const char found[] = "[{\"id\":3,\"image_id\":7,\"category_id\":10,"
                                "\"bbox\":[0,0,10,10],\"score\":0.5}]";
    sl_coco *coco = NULL;
    sl_coco_result *results = NULL;
    size_t count = 0;
    const char *path = in_dir("a.json"), *other = in_dir("r.json");
    ck_fails(sl_coco_read(ctx, path, &coco), SL_ERR_IO, "a.json");
    ck_ok(sl_file_write(ctx, path, false, text, strlen(text)));
    ck_ok(sl_file_write(ctx, other, false, found, strlen(found)));
    ck_ok(sl_coco_read(ctx, path, &coco));
    ck_fails(sl_coco_results_read(ctx, in_dir("no.json"), coco, &results, &count), SL_ERR_IO, "no");
    ck_ok(sl_coco_results_read(ctx, other, coco, &results, &count));
    ck_assert_uint_eq(count, 1);
    ck_assert(results[0].image == 1 && results[0].category == 0 && results[0].score == 0.5);
    free(results);
    sl_coco_free(coco);
}
END_TEST

// A right box in each picture, and one in a picture where its category was not looked for.
static sl_coco_result right_of(const sl_coco *coco, size_t annotation)
{
    const sl_coco_annotation *a = sl_coco_annotation_at(coco, annotation);
    return (sl_coco_result) { .image = a->image,
                              .category = a->category,
                              .box = { a->box[0], a->box[1], a->box[2], a->box[3] },
                              .score = 0.5 };
}

START_TEST(what_was_not_looked_for_does_not_count)
{
    sl_coco *coco = NULL;
    sl_coco_scores scores;
    ck_ok(parse(FILE_WITH(ANNOTATION("\"bbox\":[0,0,10,10]")), &coco));
    sl_coco_result results[] = { right_of(coco, 0), right_of(coco, 0) };
    results[1].score = 0.9; // an owl in image -3, where only newts were looked for
    results[1].image = 0;
    ck_ok(sl_coco_evaluate(ctx, coco, results, 2, &scores));
    ck_assert(fabs(scores.ap - 1) < 1e-9 && scores.ar1 == 1 && scores.ap_large == -1);
    ck_assert(scores.classes[0].truths == 1 && scores.classes[0].found == 1);
    ck_assert(scores.classes[1].ap == -1 && scores.classes[1].truths == 0);
    sl_coco_scores_clear(&scores);
    results[1].image = 1; // beside it, in the image that was searched for all: a false alarm
    results[1].box[0] = 50;
    ck_ok(sl_coco_evaluate(ctx, coco, results, 2, &scores));
    ck_assert(fabs(scores.ap - 0.5) < 1e-9 && scores.ar1 == 0 && scores.ar10 == 1);
    sl_coco_scores_clear(&scores);
    sl_coco_free(coco);
}
END_TEST

START_TEST(some_categories)
{
    const bool owls[] = { true, false }, none[] = { false, false };
    sl_coco *coco = NULL;
    sl_coco_scores scores;
    ck_ok(parse(
        FILE_WITH(ANNOTATION("\"bbox\":[0,0,10,10]") ",{\"id\":2,\"image_id\":7,"
                                                     "\"category_id\":20,\"bbox\":[0,0,10,10]}"),
        &coco));
    sl_coco_result result = right_of(coco, 0);
    ck_ok(sl_coco_evaluate_some(ctx, coco, NULL, &result, 1, &scores));
    ck_assert(fabs(scores.ap50 - 0.5) < 1e-9);
    sl_coco_scores_clear(&scores);
    ck_ok(sl_coco_evaluate_some(ctx, coco, owls, &result, 1, &scores));
    ck_assert(fabs(scores.ap50 - 1) < 1e-9 && scores.classes[1].ap == -1);
    sl_coco_scores_clear(&scores);
    ck_ok(sl_coco_evaluate_some(ctx, coco, none, &result, 1, &scores));
    ck_assert(scores.ap50 == -1 && scores.ar100 == -1);
    sl_coco_scores_clear(&scores);
    sl_coco_free(coco);
}
END_TEST

START_TEST(results_out_of_range)
{
    const sl_coco_result bad[] = { { 2, 0, { 0, 0, 1, 1 }, 1 },
                                   { 0, 2, { 0, 0, 1, 1 }, 1 },
                                   { 0, 0, { NAN, 0, 1, 1 }, 1 },
                                   { 0, 0, { 0, 0, INFINITY, 1 }, 1 },
                                   { 0, 0, { 0, 0, 1, 1 }, NAN } };
    sl_coco *coco = NULL;
    sl_coco_scores scores;
    ck_ok(parse(FILE_WITH(""), &coco));
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        ck_fails(sl_coco_evaluate(ctx, coco, &bad[i], 1, &scores), SL_ERR_ARGUMENT, "detection 0");
        ck_assert_ptr_null(scores.classes);
    }
    sl_coco_free(coco);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("coco");
    tcase_add_test(tests, what_is_read);
    tcase_add_test(tests, nothing_in_it);
    tcase_add_test(tests, a_byte_order_mark_is_none_of_it);
    tcase_add_test(tests, not_coco);
    tcase_add_test(tests, too_many_values);
    tcase_add_test(tests, categories_that_do_not_do);
    tcase_add_test(tests, images_that_do_not_do);
    tcase_add_test(tests, annotations_that_do_not_do);
    tcase_add_test(tests, results_that_do_not_do);
    tcase_add_test(tests, files);
    tcase_add_test(tests, what_was_not_looked_for_does_not_count);
    tcase_add_test(tests, some_categories);
    tcase_add_test(tests, results_out_of_range);
    return run_case("detect-coco", tests);
}
