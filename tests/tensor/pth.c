// SPDX-License-Identifier: MIT
// tests/tensor/pth.c: checkpoints written by PyTorch (tools/golden/pth.py), and damaged ones.
#include "../base/run.h"

#include "tensor/tensor.h"

#define DATA(name) TEST_DATA "/pth/" name

// Element i of the tensor with that seed, in C order.
static float formula(size_t i, unsigned seed)
{
    return (float)((int)((i * 7 + seed) % 23) - 11);
}

static const sl_tensor *find(const sl_tensor_set *set, const char *name, sl_dtype dtype,
                             sl_shape shape)
{
    char text[96];
    const sl_tensor *tensor = sl_tensor_set_find(set, name);
    ck_assert_msg(tensor != NULL, "%s is missing", name);
    sl_shape_text(&tensor->shape, text, sizeof(text));
    ck_assert_msg(sl_shape_equal(&tensor->shape, &shape), "%s has shape %s", name, text);
    ck_assert_str_eq(sl_dtype_name(tensor->dtype), sl_dtype_name(dtype));
    return tensor;
}

// The tensor holds formula(index(i)) * scale; index NULL: i.
static void check(const sl_tensor_set *set, const char *name, sl_dtype dtype, sl_shape shape,
                  unsigned seed, float scale, size_t (*index)(size_t))
{
    float values[256];
    size_t count;
    const sl_tensor *tensor = find(set, name, dtype, shape);
    ck_assert(sl_shape_elements(&shape, &count) && count <= SL_ARRAY_LEN(values));
    ck_assert_uint_eq(tensor->bytes, count * sl_dtype_size(dtype));
    ck_assert_ptr_nonnull(tensor->data);
    sl_tensor_to_f32(tensor, values);
    for (size_t i = 0; i < count; i++) {
        float want = formula(index ? index(i) : i, seed) * scale;
        ck_assert_msg(values[i] == want, "%s[%zu] is %g, should be %g", name, i, values[i], want);
    }
}

#define SHAPE(rank, ...)                                                                           \
    (sl_shape)                                                                                     \
    {                                                                                              \
        rank,                                                                                      \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

static void check_plain(const char *path)
{
    sl_tensor_set *set;
    ck_ok(sl_tensor_set_open(ctx, path, &set));
    ck_assert_uint_eq(sl_tensor_set_count(set), 4);
    ck_assert(sl_tensor_set_is_pth(set));
    ck_assert_str_eq(sl_tensor_set_path(set), path);
    ck_assert_uint_eq(sl_tensor_set_meta_count(set), 0);
    ck_assert_ptr_null(sl_tensor_set_meta(set, "architecture"));
    check(set, "conv.weight", SL_F32, SHAPE(4, 4, 3, 3, 3), 1, 0.25f, NULL);
    check(set, "conv.bias", SL_F32, SHAPE(1, 4), 2, 0.25f, NULL);
    check(set, "scalar", SL_F32, SHAPE(0, 0), 3, 0.25f, NULL);
    check(set, "empty", SL_F32, SHAPE(2, 0, 5), 4, 0.25f, NULL);
    for (size_t i = 1; i < 4; i++)
        ck_assert_int_lt(strcmp(sl_tensor_set_at(set, i - 1)->name, sl_tensor_set_at(set, i)->name),
                         0);
    ck_assert_ptr_null(sl_tensor_set_at(set, 4));
    ck_assert_ptr_null(sl_tensor_set_find(set, "conv"));
    sl_tensor_set_free(set);
}

START_TEST(state_dicts_are_read)
{
    check_plain(DATA("plain.pth"));
    check_plain(DATA("protocol4.pth"));
    check_plain(DATA("deflated.pth"));
    check_plain(DATA("nested.pth"));
}
END_TEST

START_TEST(training_checkpoints_give_their_ema)
{
    sl_tensor_set *set;
    ck_ok(sl_tensor_set_open(ctx, DATA("training.pth"), &set));
    ck_assert_uint_eq(sl_tensor_set_count(set), 2);
    check(set, "weight", SL_F32, SHAPE(2, 2, 3), 5, 0.25f, NULL);
    check(set, "bias", SL_F32, SHAPE(1, 2), 6, 0.25f, NULL);
    sl_tensor_set_free(set);
}
END_TEST

static size_t transposed(size_t i)
{
    return i % 6 * 8 + i / 6;
}

static size_t sliced(size_t i)
{
    return (1 + i / 2 * 2) * 8 + 2 + i % 2 * 3;
}

static size_t row(size_t i)
{
    return 24 + i;
}

static size_t expanded(size_t i)
{
    return i % 4;
}

static size_t permuted(size_t i)
{
    return i % 6 * 4 + i / 6;
}

// Of mmdetection: the optimizer's states are stepped over, the classes' names are kept.
START_TEST(detectors_bring_their_labels)
{
    sl_tensor_set *set;
    ck_ok(sl_tensor_set_open(ctx, DATA("detector.pth"), &set));
    ck_assert_uint_eq(sl_tensor_set_count(set), 1);
    ck_assert_uint_eq(sl_tensor_set_meta_count(set), 1);
    ck_assert_str_eq(sl_tensor_set_meta(set, "labels"),
                     "[\"person\",\"caf\u00e9 \\\"bar\\\"\",\"\u81ea\u8ee2\u8eca\"]");
    sl_tensor_set_free(set);
    ck_ok(sl_tensor_set_open(ctx, DATA("training.pth"), &set));
    ck_assert_ptr_null(sl_tensor_set_meta(set, "labels"));
    sl_tensor_set_free(set);
}
END_TEST

START_TEST(views_are_made_contiguous)
{
    sl_tensor_set *set;
    ck_ok(sl_tensor_set_open(ctx, DATA("strided.pth"), &set));
    ck_assert_uint_eq(sl_tensor_set_count(set), 7);
    check(set, "transposed", SL_F32, SHAPE(2, 8, 6), 7, 0.25f, transposed);
    check(set, "slice", SL_F32, SHAPE(2, 2, 2), 7, 0.25f, sliced);
    check(set, "row", SL_F32, SHAPE(1, 8), 7, 0.25f, row);
    check(set, "whole", SL_F32, SHAPE(2, 6, 8), 7, 0.25f, NULL);
    check(set, "expanded", SL_F32, SHAPE(2, 5, 4), 8, 0.25f, expanded);
    check(set, "permuted", SL_F32, SHAPE(3, 4, 2, 3), 9, 0.25f, permuted);
    check(set, "parameter", SL_F32, SHAPE(2, 3, 2), 10, 0.25f, NULL);
    const uint8_t *whole = sl_tensor_set_find(set, "whole")->data;
    ck_assert_ptr_eq(sl_tensor_set_find(set, "row")->data, whole + 24 * sizeof(float)); // shared
    sl_tensor_set_free(set);
}
END_TEST

START_TEST(types_are_told_apart)
{
    sl_tensor_set *set;
    ck_ok(sl_tensor_set_open(ctx, DATA("typed.pth"), &set));
    ck_assert_uint_eq(sl_tensor_set_count(set), 8);
    check(set, "half", SL_F16, SHAPE(2, 5, 3), 11, 0.25f, NULL);
    check(set, "bf16", SL_BF16, SHAPE(2, 5, 3), 12, 0.25f, NULL);
    check(set, "double", SL_F64, SHAPE(2, 5, 3), 13, 0.25f, NULL);
    check(set, "int8", SL_I8, SHAPE(2, 5, 3), 15, 1.0f, NULL);
    check(set, "int16", SL_I16, SHAPE(2, 5, 3), 16, 1.0f, NULL);
    check(set, "int32", SL_I32, SHAPE(2, 5, 3), 17, 1.0f, NULL);
    check(set, "int64", SL_I64, SHAPE(2, 5, 3), 18, 1.0f, NULL);
    const uint8_t *truth = find(set, "bool", SL_U8, SHAPE(2, 5, 3))->data;
    for (size_t i = 0; i < 15; i++)
        ck_assert_int_eq(truth[i], formula(i, 14) > 0);
    sl_tensor_set_free(set);
}
END_TEST

START_TEST(other_files_are_refused_with_advice)
{
    sl_tensor_set *set = (sl_tensor_set *)ctx;
    ck_fails(sl_tensor_set_open(ctx, DATA("legacy.pth"), &set), SL_ERR_UNSUPPORTED,
             "_use_new_zipfile_serialization=True");
    ck_assert_ptr_null(set);
    ck_fails(sl_tensor_set_open(ctx, DATA("big-endian.pth"), &set), SL_ERR_UNSUPPORTED,
             "little-endian");
    ck_fails(sl_tensor_set_open(ctx, DATA("no-tensors.pth"), &set), SL_ERR_FORMAT,
             "only \"epoch\", \"model\"");
    ck_fails(sl_tensor_set_open(ctx, DATA("missing.pth"), &set), SL_ERR_IO, "missing.pth");
    ck_ok(sl_file_write(ctx, in_dir("text"), false, "just some text", 14));
    ck_fails(sl_tensor_set_open(ctx, in_dir("text"), &set), SL_ERR_FORMAT, "neither safetensors");
    ck_ok(sl_file_write(ctx, in_dir("pickle"), false, "\x80\x02}.", 4));
    ck_fails(sl_tensor_set_open(ctx, in_dir("pickle"), &set), SL_ERR_UNSUPPORTED, "bare pickle");
    ck_assert_ptr_null(set);
}
END_TEST

START_TEST(truncated_files_fail_in_order)
{
    static const char *const paths[] = { DATA("plain.pth"), DATA("training.pth"),
                                         DATA("deflated.pth") };
    for (size_t p = 0; p < SL_ARRAY_LEN(paths); p++) {
        sl_blob file;
        ck_ok(sl_file_read(ctx, paths[p], 1 << 20, &file));
        for (size_t size = 0; size < file.size; size++) {
            sl_blob cut; // of just that size, so that a sanitizer sees any step beyond
            sl_tensor_set *set;
            ck_ok(sl_blob_copy(ctx, file.data, size, &cut));
            sl_status st = sl_pth_parse(ctx, cut.data ? cut.data : file.data, size, "cut", &set);
            ck_assert_msg(st == SL_ERR_FORMAT, "%s cut at %zu: %d", paths[p], size, st);
            ck_assert_ptr_null(set);
            sl_blob_free(&cut);
        }
        sl_blob_free(&file);
    }
}
END_TEST

START_TEST(flipped_bytes_do_no_harm)
{
    sl_blob file;
    size_t refused = 0;
    ck_ok(sl_file_read(ctx, DATA("strided.pth"), 1 << 20, &file));
    for (size_t i = 0; i < file.size; i++) {
        sl_tensor_set *set;
        file.data[i] ^= (uint8_t)(1u << i % 8);
        sl_status st = sl_pth_parse(ctx, file.data, file.size, "flipped", &set);
        ck_assert_msg((st == SL_OK) == (set != NULL), "byte %zu", i);
        refused += st != SL_OK;
        sl_tensor_set_free(set);
        file.data[i] ^= (uint8_t)(1u << i % 8);
    }
    ck_assert_uint_gt(refused, file.size / 4); // the pickle and the storages are under a CRC
    sl_blob_free(&file);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("pth");
    tcase_add_test(tests, state_dicts_are_read);
    tcase_add_test(tests, training_checkpoints_give_their_ema);
    tcase_add_test(tests, detectors_bring_their_labels);
    tcase_add_test(tests, views_are_made_contiguous);
    tcase_add_test(tests, types_are_told_apart);
    tcase_add_test(tests, other_files_are_refused_with_advice);
    tcase_add_test(tests, truncated_files_fail_in_order);
    tcase_add_test(tests, flipped_bytes_do_no_harm);
    return run_case("tensor-pth", tests);
}
