// SPDX-License-Identifier: MIT
// tests/detect/golden.c: COCO's metrics against the numbers that pycocotools gave for the same sets
// (tools/golden/coco.py): at random, and with crowds, ignored areas, ties, more than 100
// detections, nothing to find and nothing found.
#include "../base/run.h"
#include "detect/detect.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>

#define TOLERANCE 1e-9

static sl_coco *read_truth(const json_t *set, const char *name)
{
    sl_coco *coco = NULL;
    char *text = json_dumps(json_object_get(set, "truth"), 0);
    ck_ok(sl_coco_parse(ctx, text, strlen(text), name, &coco));
    free(text);
    return coco;
}

static sl_coco_result *read_results(const json_t *set, const char *name, const sl_coco *coco,
                                    size_t *count)
{
    sl_coco_result *results = NULL;
    char *text = json_dumps(json_object_get(set, "results"), 0);
    ck_ok(sl_coco_results_parse(ctx, text, strlen(text), name, coco, &results, count));
    free(text);
    return results;
}

static void agrees(const char *name, const char *what, double got, const json_t *want)
{
    ck_assert_msg(fabs(got - json_number_value(want)) <= TOLERANCE, "%s: %s is %.12f, not %.12f",
                  name, what, got, json_number_value(want));
}

static void compare(const char *name, const json_t *set, const sl_coco_scores *got)
{
    static const char *const what[] = {
        "AP",  "AP50", "AP75",  "AP small", "AP medium", "AP large",
        "AR1", "AR10", "AR100", "AR small", "AR medium", "AR large"
    };
    const double stats[] = { got->ap,        got->ap50,     got->ap75,      got->ap_small,
                             got->ap_medium, got->ap_large, got->ar1,       got->ar10,
                             got->ar100,     got->ar_small, got->ar_medium, got->ar_large };
    const json_t *want = json_object_get(set, "stats"), *classes = json_object_get(set, "classes");
    ck_assert_uint_eq(json_array_size(want), SL_ARRAY_LEN(stats));
    for (size_t i = 0; i < SL_ARRAY_LEN(stats); i++)
        agrees(name, what[i], stats[i], json_array_get(want, i));
    ck_assert_uint_eq(json_array_size(classes), got->class_count);
    for (size_t c = 0; c < got->class_count; c++) {
        const json_t *of = json_array_get(classes, c);
        agrees(name, "a class's AP", got->classes[c].ap, json_array_get(of, 0));
        agrees(name, "a class's AP50", got->classes[c].ap50, json_array_get(of, 1));
        ck_assert(got->classes[c].found <= got->classes[c].truths);
    }
}

static void run_set(const char *path, const char *name)
{
    size_t count = 0;
    sl_coco_scores scores;
    json_t *set = json_load_file(path, 0, NULL);
    ck_assert_msg(json_is_object(set), "%s", path);
    sl_coco *coco = read_truth(set, name);
    sl_coco_result *results = read_results(set, name, coco, &count);
    ck_ok(sl_coco_evaluate(ctx, coco, results, count, &scores));
    compare(name, set, &scores);
    sl_coco_scores_clear(&scores);
    free(results);
    sl_coco_free(coco);
    json_decref(set);
}

START_TEST(numbers_of_pycocotools)
{
    size_t sets = 0;
    DIR *folder = opendir(GOLDEN_DIR "/coco");
    ck_assert_ptr_nonnull(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        if (strstr(entry->d_name, ".json")) {
            char path[4096];
            snprintf(path, sizeof(path), "%s/coco/%s", GOLDEN_DIR, entry->d_name);
            run_set(path, entry->d_name);
            sets++;
        }
    closedir(folder);
    ck_assert_uint_eq(sets, 22);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("golden");
    tcase_add_test(tests, numbers_of_pycocotools);
    return run_case("detect-golden", tests);
}
