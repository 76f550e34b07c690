// SPDX-License-Identifier: MIT
// tests/classify/ebv.c: tables of basis vectors, measured in f64 from the file.
#include "classify/ebv.h"

#include "../base/comma.h"
#include "made.h"

#define FILE_NAME "t.safetensors"

static sl_ebv_report r;

static sl_status make_table(const sl_ebv_options *options)
{
    return sl_ebv_write(ctx, in_dir(FILE_NAME), options, &r);
}

// Unit norms, and the cosines that the report and the metadata tell.
static void check_table(size_t n, size_t d)
{
    sl_tensor_set *set = NULL;
    ck_ok(sl_tensor_set_open(ctx, in_dir(FILE_NAME), &set));
    const sl_tensor *t = sl_tensor_set_find(set, "directions");
    ck_assert(t && t->shape.rank == 2 && t->shape.dim[0] == n && t->shape.dim[1] == d);
    float *w = sl_alloc(ctx, n * d, sizeof(*w));
    double max = 0, sum = 0;
    sl_tensor_to_f32(t, w);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double dot = 0;
            for (size_t k = 0; k < d; k++)
                dot += (double)w[i * d + k] * (double)w[j * d + k];
            if (i == j) {
                ck_assert_double_eq_tol(dot, 1, 1e-5);
                continue;
            }
            max = fmax(max, fabs(dot));
            sum += 2 * fabs(dot);
        }
    ck_assert_double_eq_tol(r.max_cosine, max, 1e-6);
    ck_assert_double_eq_tol(r.mean_cosine, sum / (double)(n * (n - 1)), 1e-6);
    ck_assert_double_eq_tol(strtod(sl_tensor_set_meta(set, "max_cosine"), NULL), max, 1e-5);
    ck_assert_str_eq(sl_tensor_set_meta(set, "format"), "softlens-ebv");
    ck_assert_int_eq(atoi(sl_tensor_set_meta(set, "classes")), (int)n);
    ck_assert_ptr_nonnull(sl_tensor_set_meta(set, "seed"));
    ck_assert(r.is_reached == (max <= r.alpha + SL_EBV_TOLERANCE));
    free(w);
    sl_tensor_set_free(set);
}

// n, d of sets that can be constructed
static const size_t exact[][2] = { { 2, 2 },   { 3, 2 },   { 5, 9 },     { 9, 9 },    { 10, 9 },
                                   { 64, 64 }, { 65, 64 }, { 100, 257 }, { 258, 257 } };

START_TEST(constructed)
{
    const size_t n = exact[_i][0], d = exact[_i][1];
    ck_ok(make_table(&(sl_ebv_options) { .classes = n, .dimension = d }));
    check_table(n, d);
    ck_assert(r.is_reached && r.steps == 0);
    double want = n <= d ? 0 : 1 / (double)d;
    ck_assert_double_eq_tol(r.bound, want, 1e-12);
    ck_assert_double_eq_tol(r.max_cosine, want, 1e-6);
    ck_assert_int_eq(warnings, 0);
}
END_TEST

START_TEST(found_by_descent)
{
    ck_ok(make_table(&(sl_ebv_options) { .classes = 200, .dimension = 100, .alpha = 0.085f }));
    check_table(200, 100);
    ck_assert(r.is_reached && r.steps > 0 && r.steps < 1000);
    ck_assert_double_eq_tol(r.bound, sqrt(100.0 / (100 * 199)), 1e-12);
    ck_assert_int_eq(warnings, 0);
}
END_TEST

START_TEST(below_the_bound)
{
    ck_ok(make_table(
        &(sl_ebv_options) { .classes = 50, .dimension = 10, .alpha = 0.1f, .steps = 400 }));
    check_table(50, 10);
    ck_assert(!r.is_reached && r.steps == 400);
    ck_assert_int_eq(warnings, 2); // before, that it cannot be; after, how far it went
    ck_assert_ptr_nonnull(strstr(warning, "the best set is written"));
    // Random vectors have 0.85; what is written has to be near what can be.
    ck_assert_double_lt(r.max_cosine, 1.5 * r.bound);
}
END_TEST

START_TEST(threads_and_seeds)
{
    const sl_ebv_options options = { .classes = 130, .dimension = 40, .steps = 20, .seed = 5 };
    sl_blob first, second;
    ck_ok(make_table(&options));
    ck_ok(sl_file_read(ctx, in_dir(FILE_NAME), 1 << 20, &first));
    sl_ctx *two = ctx, *one = NULL;
    ck_ok(sl_ctx_new(&(sl_ctx_options) { .threads = 1 }, &one));
    ctx = one;
    sl_ebv_options again = options;
    again.overwrite = true;
    ck_ok(make_table(&again));
    ck_ok(sl_file_read(ctx, in_dir(FILE_NAME), 1 << 20, &second));
    ck_assert(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
    sl_blob_free(&second);
    again.seed = 6;
    ck_ok(make_table(&again));
    ck_ok(sl_file_read(ctx, in_dir(FILE_NAME), 1 << 20, &second));
    ck_assert(first.size != second.size || memcmp(first.data, second.data, first.size) != 0);
    sl_blob_free(&second);
    sl_blob_free(&first);
    sl_ctx_free(one);
    ctx = two;
}
END_TEST

START_TEST(metadata_has_points_in_every_locale)
{
    static const char *const keys[] = { "alpha", "max_cosine", "mean_cosine", "bound" };
    sl_tensor_set *set = NULL;
    double value;
    bool has_comma = test_set_comma(dir);
    ck_ok(make_table(&(sl_ebv_options) { .classes = 3, .dimension = 2, .alpha = 0.75f }));
    setlocale(LC_ALL, "C");
    ck_ok(sl_tensor_set_open(ctx, in_dir(FILE_NAME), &set));
    for (size_t i = 0; i < SL_ARRAY_LEN(keys); i++)
        ck_assert_msg(sl_number_read(sl_tensor_set_meta(set, keys[i]), &value), "%s, comma: %d",
                      keys[i], has_comma);
    ck_assert_str_eq(sl_tensor_set_meta(set, "alpha"), "0.75");
    sl_tensor_set_free(set);
}
END_TEST

START_TEST(refused)
{
    static const sl_ebv_options bad[] = {
        { .classes = 1, .dimension = 8 },
        { .classes = 8, .dimension = 1 },
        { .classes = 65537, .dimension = 8 },
        { .classes = 65536, .dimension = 65536 },
        { .classes = 8, .dimension = SIZE_MAX },
        { .classes = 8, .dimension = 4, .alpha = 1 },
        { .classes = 8, .dimension = 4, .alpha = -0.1f },
        { .classes = 8, .dimension = 4, .alpha = NAN },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++)
        ck_assert_int_eq(make_table(&bad[i]), SL_ERR_ARGUMENT);
    ck_fails(make_table(NULL), SL_ERR_ARGUMENT, "give 2 to");
    ck_assert(!sl_file_exists(in_dir(FILE_NAME)));
    ck_ok(sl_file_write(ctx, in_dir(FILE_NAME), false, "x", 1));
    ck_fails(make_table(&(sl_ebv_options) { .classes = 8, .dimension = 4 }), SL_ERR_EXISTS,
             FILE_NAME);
    ck_fails(sl_ebv_write(ctx, in_dir("nowhere/t"),
                          &(sl_ebv_options) { .classes = 8, .dimension = 4 }, NULL),
             SL_ERR_IO, "nowhere");
}
END_TEST

static bool stop_at_five(void *user, size_t done, size_t total)
{
    (void)user;
    ck_assert_uint_eq(total, 100);
    return done < 5;
}

START_TEST(cancelled)
{
    ctx->options.progress = stop_at_five;
    ck_fails(make_table(
                 &(sl_ebv_options) { .classes = 90, .dimension = 8, .alpha = 0.01f, .steps = 100 }),
             SL_ERR_CANCELLED, "5 of 100");
    ck_assert(!sl_file_exists(in_dir(FILE_NAME)));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("ebv");
    tcase_add_loop_test(tests, constructed, 0, SL_ARRAY_LEN(exact));
    tcase_add_test(tests, found_by_descent);
    tcase_add_test(tests, below_the_bound);
    tcase_add_test(tests, threads_and_seeds);
    tcase_add_test(tests, metadata_has_points_in_every_locale);
    tcase_add_test(tests, refused);
    tcase_add_test(tests, cancelled);
    return run_case("classify-ebv", tests);
}
