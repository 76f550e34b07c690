// SPDX-License-Identifier: MIT
// tests/detect/nms.c: Soft-NMS bit for bit as the published loop, on random sets at every SIMD
// level; its options, its edges and what it refuses.
#include "../base/run.h"
#include "published.h"
#include "sets.h"

#define MOST 20000

static const char *const levels[] = { "portable", "avx2" };
static sl_scored made[MOST], want[MOST], got[MOST];

// The options that the library's zeros stand for.
static sl_nms_options spelt_out(const sl_nms_options *options)
{
    sl_nms_options full = *options;
    if (full.iou == 0)
        full.iou = full.kind == SL_NMS_HARD ? 0.5f : 0.3f;
    if (full.sigma == 0)
        full.sigma = 0.5f;
    if (full.least == 0)
        full.least = 0.001f;
    return full;
}

// Labels are the boxes' indices, so that equal boxes are told apart.
static void compare(sl_ctx *with, size_t n, const sl_nms_options *options, const char *which)
{
    const sl_nms_options full = spelt_out(options);
    memcpy(want, made, n * sizeof(*made));
    memcpy(got, made, n * sizeof(*made));
    size_t count = n, left = published_soft_nms(want, n, &full);
    sl_status st = sl_soft_nms(with, got, &count, options);
    ck_assert_msg(st == SL_OK, "%s: %s", which, sl_ctx_message(with));
    for (size_t i = 0; i < left && i < count; i++)
        ck_assert_msg(memcmp(&want[i], &got[i], sizeof(*got)) == 0,
                      "%s, kind %d, sigma %g: place %zu of %zu: box %u with %a, not %u with %a",
                      which, (int)full.kind, (double)full.sigma, i, n, got[i].label,
                      (double)got[i].score, want[i].label, (double)want[i].score);
    ck_assert_msg(count == left, "%s: %zu of %zu boxes are left, not %zu", which, count, n, left);
}

static sl_nms_options draw_options(uint64_t *state)
{
    static const float sigmas[] = { 0, 0, 0.3f, 0.25f, 2, 0.001f, 7e-39f };
    static const float ious[] = { 0, 0, 0.1f, 0.45f, 0.9f };
    static const float leasts[] = { 0, 0, 0.05f, 1e-30f };
    return (sl_nms_options) { .kind = (sl_nms)(set_bits(state) % 3),
                              .sigma = sigmas[set_bits(state) % SL_ARRAY_LEN(sigmas)],
                              .iou = ious[set_bits(state) % SL_ARRAY_LEN(ious)],
                              .least = leasts[set_bits(state) % SL_ARRAY_LEN(leasts)],
                              .plus_one = set_bits(state) % 2 };
}

static set_plan draw_plan(uint64_t *state)
{
    static const unsigned scores[] = { 0, 0, 0, 1, 3, 20 };
    static const float sides[] = { 40, 200, 1000, 1000, 100000 };
    return (set_plan) { .kind = (set_kind)(set_bits(state) % SET_KINDS),
                        .scores = scores[set_bits(state) % SL_ARRAY_LEN(scores)],
                        .odd = set_bits(state) % 3 == 0,
                        .side = sides[set_bits(state) % SL_ARRAY_LEN(sides)] };
}

static size_t draw_count(uint64_t *state)
{
    static const unsigned most[] = { 3, 20, 70, 150, 300, 700 };
    return set_bits(state) % (most[set_bits(state) % SL_ARRAY_LEN(most)] + 1);
}

static sl_ctx *at_level(const char *level)
{
    sl_ctx *with = NULL;
    ck_assert_int_eq(sl_ctx_new(&(sl_ctx_options) { .threads = 1, .simd = level }, &with), SL_OK);
    return with;
}

// 10 000 sets at each level. Where checks are many and time is short (CI=true), every fifth: 2 000.
START_TEST(random_sets_agree)
{
    const char *ci = getenv("CI");
    const unsigned step = ci && *ci ? 5 : 1;
    sl_ctx *with[SL_ARRAY_LEN(levels)];
    for (size_t i = 0; i < SL_ARRAY_LEN(levels); i++)
        with[i] = at_level(levels[i]);
    for (unsigned set = 0; set < 10000; set += step) {
        uint64_t state = 1000 + set;
        char which[64];
        const set_plan plan = draw_plan(&state);
        const sl_nms_options options = draw_options(&state);
        const size_t n = draw_count(&state);
        set_fill(&plan, made, n, &state);
        snprintf(which, sizeof(which), "set %u", set);
        for (size_t i = 0; i < SL_ARRAY_LEN(levels); i++)
            compare(with[i], n, &options, which);
    }
    for (size_t i = 0; i < SL_ARRAY_LEN(levels); i++)
        sl_ctx_free(with[i]);
}
END_TEST

// Many blocks, which empty and are closed up on the way.
START_TEST(large_sets_agree)
{
    for (unsigned kind = 0; kind < SET_KINDS; kind++)
        for (unsigned equal = 0; equal < 2; equal++) {
            uint64_t state = 50 + kind;
            char which[64];
            const set_plan plan = { (set_kind)kind, equal ? 50 : 0, kind == SET_SPREAD, 1500 };
            const sl_nms_options options = { .kind = (sl_nms)(kind % 3), .plus_one = equal };
            set_fill(&plan, made, 4000, &state);
            snprintf(which, sizeof(which), "%u, %u", kind, equal);
            compare(ctx, 4000, &options, which);
        }
}
END_TEST

START_TEST(all_equal)
{
    for (size_t i = 0; i < 3000; i++) // nothing overlaps: the exchanges alone decide the order
        made[i] = (sl_scored) { { 20.f * (float)(i % 60), 20.f * (float)(i / 60), 0, 0 },
                                0.5f,
                                (uint32_t)i };
    for (size_t i = 0; i < 3000; i++) {
        made[i].box.x2 = made[i].box.x1 + 10;
        made[i].box.y2 = made[i].box.y1 + 10;
    }
    compare(ctx, 3000, &(sl_nms_options) { 0 }, "apart");
    for (size_t i = 0; i < 3000; i++)
        made[i].box = (sl_box) { 1, 2, 30, 40 };
    for (unsigned kind = 0; kind < 3; kind++)
        compare(ctx, 3000, &(sl_nms_options) { .kind = (sl_nms)kind }, "the same box");
}
END_TEST

static void compare_pair(float y, float sigma)
{
    const sl_nms_options options = { .sigma = sigma, .least = 1e-45f };
    const sl_nms_options full = spelt_out(&options);
    made[0] = (sl_scored) { { 0, 0, 1000, 1000 }, 2, 0 };
    made[1] = (sl_scored) { { 0, y, 1000, 1000 }, 1, 1 };
    memcpy(want, made, 2 * sizeof(*made));
    memcpy(got, made, 2 * sizeof(*made));
    size_t count = 2, left = published_soft_nms(want, 2, &full);
    ck_ok(sl_soft_nms(ctx, got, &count, &options));
    ck_assert_msg(count == left && memcmp(got, want, count * sizeof(*got)) == 0,
                  "sigma %g, y %a: %a, not %a", (double)sigma, (double)y, (double)got[1].score,
                  (double)want[1].score);
}

// The vectors' exp against the C library's: overlaps from all to none, in small steps, and some
// whose exp lies so near to the middle of two f32 that 2^-45 decides.
START_TEST(exponentials_agree)
{
    static const float sigmas[] = { 0.5f, 0.3f, 0.01f, 0.02f, 1, 3, 100 };
    static const float hard[] = { 0x1.4b22f4p+9f, 0x1.8b4eacp+9f, 0x1.f39e6cp+9f };
    for (size_t k = 0; k < SL_ARRAY_LEN(sigmas); k++)
        for (size_t i = 0; i < MOST; i++)
            compare_pair(1000.0f * (float)i / MOST, sigmas[k]);
    for (size_t i = 0; i < SL_ARRAY_LEN(hard); i++)
        compare_pair(hard[i], 0.5f);
}
END_TEST

START_TEST(small_counts)
{
    size_t count = 0;
    ck_ok(sl_soft_nms(ctx, NULL, &count, NULL));
    ck_ok(sl_nms_all(ctx, NULL, &count, NULL, 100));
    ck_assert_uint_eq(count, 0);
    sl_scored one = { { 5, 5, 4, 4 }, -3, 9 }; // neither empty nor below the least goes by itself
    count = 1;
    ck_ok(sl_soft_nms(ctx, &one, &count, NULL));
    ck_assert_uint_eq(count, 1);
    ck_assert(one.score == -3 && one.label == 9);
}
END_TEST

START_TEST(low_scores_stay_until_they_are_met)
{
    sl_scored boxes[] = { { { 0, 0, 10, 10 }, 0.9f, 0 },
                          { { 100, 0, 110, 10 }, 0.0001f, 1 },
                          { { 9, 9, 19, 19 }, 0.0002f, 2 } };
    size_t count = 3;
    ck_ok(sl_soft_nms(ctx, boxes, &count, &(sl_nms_options) { .kind = SL_NMS_HARD }));
    ck_assert_uint_eq(count, 2); // the third overlaps, far below 0.5, and is looked at
    ck_assert_uint_eq(boxes[1].label, 1);
}
END_TEST

START_TEST(conventions_differ)
{
    const sl_scored apart[] = { { { 0, 0, 9, 9 }, 0.9f, 0 }, { { 9.5f, 0, 19, 9 }, 0.8f, 1 } };
    sl_scored boxes[2];
    size_t count = 2;
    memcpy(boxes, apart, sizeof(apart));
    ck_ok(sl_soft_nms(ctx, boxes, &count, NULL));
    ck_assert(boxes[1].score == 0.8f);
    ck_ok(sl_soft_nms(ctx, boxes, &count, &(sl_nms_options) { .plus_one = true }));
    ck_assert(boxes[1].score < 0.8f && boxes[1].score > 0.79f);
}
END_TEST

START_TEST(none_sorts)
{
    sl_scored boxes[100];
    size_t count = 100;
    for (size_t i = 0; i < count; i++)
        boxes[i] = (sl_scored) { { 0, 0, 10, 10 }, (float)((int)(i * 7 % 5) - 2), (uint32_t)i };
    boxes[3].score = -0.0f;
    ck_ok(sl_soft_nms(ctx, boxes, &count, &(sl_nms_options) { .kind = SL_NMS_NONE }));
    ck_assert_uint_eq(count, 100);
    for (size_t i = 1; i < count; i++)
        ck_assert(boxes[i - 1].score > boxes[i].score ||
                  (boxes[i - 1].score == boxes[i].score && boxes[i - 1].label < boxes[i].label));
}
END_TEST

// Against the plain way: each class picked out, softened, sorted by insertion.
static size_t all_plainly(size_t n, size_t max)
{
    const sl_nms_options full = spelt_out(&(sl_nms_options) { 0 });
    size_t total = 0;
    for (uint32_t label = 0; label < 8; label++) {
        size_t count = 0;
        for (size_t i = 0; i < n; i++)
            if (made[i].label == label)
                got[count++] = made[i];
        count = published_soft_nms(got, count, &full);
        for (size_t i = 0; i < count; i++) {
            size_t j = total++;
            for (; j > 0 && want[j - 1].score < got[i].score; j--)
                want[j] = want[j - 1];
            want[j] = got[i];
        }
    }
    return total < max ? total : max;
}

START_TEST(all_classes)
{
    const size_t most[] = { 1, 100, 1000 };
    for (size_t k = 0; k < SL_ARRAY_LEN(most); k++) {
        uint64_t state = 5 + k;
        size_t count = 900;
        const set_plan plan = { SET_CLUSTERED, k == 1 ? 10 : 0, false, 300 };
        set_fill(&plan, made, count, &state);
        for (size_t i = 0; i < count; i++)
            made[i].label = set_bits(&state) % 8;
        size_t left = all_plainly(count, most[k]);
        memcpy(got, made, count * sizeof(*got));
        ck_ok(sl_nms_all(ctx, got, &count, NULL, most[k]));
        ck_assert_uint_eq(count, left);
        ck_assert(memcmp(got, want, left * sizeof(*got)) == 0);
    }
    size_t count = 900, left = all_plainly(900, 900);
    ck_ok(sl_nms_all(ctx, made, &count, NULL, 0));
    ck_assert_uint_eq(count, left);
}
END_TEST

static void refuses(sl_scored bad, const char *part)
{
    sl_scored boxes[] = { { { 0, 0, 9, 9 }, 0.9f, 1 }, bad }, before[2];
    size_t count = 2;
    memcpy(before, boxes, sizeof(boxes));
    ck_fails(sl_soft_nms(ctx, boxes, &count, NULL), SL_ERR_FORMAT, part);
    ck_fails(sl_nms_all(ctx, boxes, &count, NULL, 10), SL_ERR_FORMAT, part);
    ck_assert(count == 2 && memcmp(boxes, before, sizeof(boxes)) == 0);
}

START_TEST(what_is_no_number)
{
    refuses((sl_scored) { { NAN, 0, 1, 1 }, 0.5f, 0 }, "box 1");
    refuses((sl_scored) { { 0, 0, 1, INFINITY }, 0.5f, 0 }, "inf");
    refuses((sl_scored) { { 0, -2e18f, 1, 1 }, 0.5f, 0 }, "-2e+18");
    refuses((sl_scored) { { 0, 0, 1, 1 }, NAN, 0 }, "nan");
    refuses((sl_scored) { { 0, 0, 1, 1 }, -INFINITY, 0 }, "score -inf");
}
END_TEST

START_TEST(options_out_of_range)
{
    const sl_nms_options bad[] = {
        { .kind = (sl_nms)4 }, { .kind = (sl_nms)-1 }, { .iou = 1 },
        { .iou = NAN },        { .iou = -0.1f },       { .sigma = -1 },
        { .sigma = INFINITY }, { .least = -1 },        { .least = NAN }
    };
    sl_scored one = { { 0, 0, 1, 1 }, 1, 0 };
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        size_t count = 1;
        ck_fails(sl_soft_nms(ctx, &one, &count, &bad[i]), SL_ERR_ARGUMENT, "NMS");
        ck_fails(sl_nms_all(ctx, &one, &count, &bad[i], 1), SL_ERR_ARGUMENT, "NMS");
    }
    size_t count = SL_NMS_MAX_BOXES + 1;
    ck_fails(sl_soft_nms(ctx, &one, &count, NULL), SL_ERR_LIMIT, "16777217 boxes");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("nms");
    tcase_add_test(tests, random_sets_agree);
    tcase_add_test(tests, large_sets_agree);
    tcase_add_test(tests, all_equal);
    tcase_add_test(tests, exponentials_agree);
    tcase_add_test(tests, small_counts);
    tcase_add_test(tests, low_scores_stay_until_they_are_met);
    tcase_add_test(tests, conventions_differ);
    tcase_add_test(tests, none_sorts);
    tcase_add_test(tests, all_classes);
    tcase_add_test(tests, what_is_no_number);
    tcase_add_test(tests, options_out_of_range);
    return run_case("detect-nms", tests);
}
