// SPDX-License-Identifier: MIT
// tests/tensor/npy.c: arrays written and read back, and headers that lie.
#include "../base/run.h"

#include "tensor/tensor.h"

// An npy file of that version, header text and body. The caller frees it.
static sl_blob make(unsigned version, const char *text, size_t body)
{
    uint8_t start[12] = { 0x93, 'N', 'U', 'M', 'P', 'Y', (uint8_t)version, 0 };
    uint32_t length = (uint32_t)strlen(text);
    static const uint8_t zeros[256];
    sl_blob file = { NULL, 0 };
    size_t room = 0;
    memcpy(start + 8, &length, 4);
    ck_ok(sl_blob_append(ctx, &file, &room, start, version == 1 ? 10 : 12));
    ck_ok(sl_blob_append(ctx, &file, &room, text, length));
    ck_ok(sl_blob_append(ctx, &file, &room, zeros, body));
    return file;
}

#define ROUND_TRIPS 300

START_TEST(arrays_come_back)
{
    srand(71);
    for (int turn = 0; turn < ROUND_TRIPS; turn++) {
        uint8_t data[4096];
        sl_tensor tensor = { .name = "x", .dtype = (sl_dtype)(rand() % SL_DTYPE_COUNT) }, got;
        size_t elements = 1;
        tensor.shape.rank = (unsigned)rand() % 5;
        for (unsigned i = 0; i < tensor.shape.rank; i++)
            elements *= tensor.shape.dim[i] = (uint64_t)rand() % 5;
        for (size_t i = 0; i < sizeof(data); i++)
            data[i] = (uint8_t)rand();
        tensor.data = data;
        tensor.bytes = elements * sl_dtype_size(tensor.dtype);
        ck_assert_uint_le(tensor.bytes, sizeof(data) * 2);
        if (tensor.bytes > sizeof(data))
            continue;
        sl_status st = sl_npy_write(ctx, in_dir("x.npy"), true, &tensor);
        if (tensor.dtype == SL_BF16) {
            ck_fails(st, SL_ERR_UNSUPPORTED, "no type for BF16");
            continue;
        }
        ck_ok(st);
        sl_blob storage;
        ck_ok(sl_npy_read(ctx, in_dir("x.npy"), &storage, &got));
        ck_assert_msg(sl_shape_equal(&tensor.shape, &got.shape) && got.dtype == tensor.dtype &&
                          got.bytes == tensor.bytes && memcmp(got.data, data, got.bytes) == 0,
                      "turn %d: %s of rank %u", turn, sl_dtype_name(tensor.dtype),
                      tensor.shape.rank);
        ck_assert_uint_eq((size_t)((const uint8_t *)got.data - storage.data) % 64, 0);
        sl_blob_free(&storage);
    }
}
END_TEST

START_TEST(every_version_and_spelling_is_read)
{
    static const struct {
        unsigned version;
        const char *text;
        sl_dtype dtype;
        size_t body;
        sl_shape shape;
    } cases[] = {
        { 1,
          "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }    \n",
          SL_F32,
          24,
          { 2, { 3, 2 } } },
        { 2, "{\"shape\":(),\"fortran_order\":False,\"descr\":\"|b1\"}", SL_U8, 1, { 0, { 0 } } },
        { 3,
          "{ 'fortran_order' : False , 'descr' : '<i8' , 'shape' : ( 2 , ) }\n",
          SL_I64,
          16,
          { 1, { 2 } } },
        { 1,
          "{'descr': '|i1', 'fortran_order': False, 'shape': (0, 99), }\n",
          SL_I8,
          0,
          { 2, { 0, 99 } } },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        sl_tensor tensor;
        sl_blob file = make(cases[i].version, cases[i].text, cases[i].body);
        ck_ok(sl_npy_parse(ctx, file.data, file.size, "case", &tensor));
        ck_assert_int_eq(tensor.dtype, cases[i].dtype);
        ck_assert(sl_shape_equal(&tensor.shape, &cases[i].shape));
        ck_assert_uint_eq(tensor.bytes, cases[i].body);
        sl_blob_free(&file);
    }
}
END_TEST

START_TEST(hostile_headers_are_refused)
{
    static const struct {
        const char *text;
        sl_status status;
        const char *part;
    } cases[] = {
        { "{'descr': '<f4', 'fortran_order': True, 'shape': (4,), }", SL_ERR_UNSUPPORTED,
          "ascontiguousarray" },
        { "{'descr': '>f4', 'fortran_order': False, 'shape': (4,), }", SL_ERR_UNSUPPORTED, ">f4" },
        { "{'descr': '|O', 'fortran_order': False, 'shape': (4,), }", SL_ERR_UNSUPPORTED, "|O" },
        { "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,), }", SL_ERR_UNSUPPORTED,
          "records" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }", SL_ERR_FORMAT, "[5]" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", SL_ERR_FORMAT, "[3]" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4), }", SL_ERR_FORMAT, "tuple" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (-4,), }", SL_ERR_FORMAT, "number" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (2 2), }", SL_ERR_FORMAT, "comma" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (,), }", SL_ERR_FORMAT, "number" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4,)", SL_ERR_FORMAT, "comma" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4", SL_ERR_FORMAT, "comma" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
          SL_ERR_FORMAT, "64 bits" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
          SL_ERR_FORMAT, "4294967296" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387905,), }",
          SL_ERR_FORMAT, "4611686018427387905" }, // times 4 it is 4
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,4), }", SL_ERR_LIMIT,
          "dimensions" },
        { "{'descr': '<f4', 'fortran_order': False, }", SL_ERR_FORMAT, "missing" },
        { "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (4,), }",
          SL_ERR_FORMAT, "came before" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), 'x': 1}", SL_ERR_FORMAT,
          "does not belong" },
        { "{'descr': '<f4', 'fortran_order': 0, 'shape': (4,), }", SL_ERR_FORMAT, "True" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), } x", SL_ERR_FORMAT, "after" },
        { "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }\n\n", SL_ERR_FORMAT, "after" },
        { "{'descr': '<f4', 'fortran_order': False 'shape': (4,), }", SL_ERR_FORMAT, "comma" },
        { "{'descr' '<f4', 'fortran_order': False, 'shape': (4,), }", SL_ERR_FORMAT, "colon" },
        { "{'descr': '<f4", SL_ERR_FORMAT, "without an end" },
        { "{'descr': 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", SL_ERR_FORMAT, "does not belong" },
        { "{'descr': '\033[2J', 'fortran_order': False", SL_ERR_FORMAT, "does not belong" },
        { "{descr: 1}", SL_ERR_FORMAT, "string is missing" },
        { "", SL_ERR_FORMAT, "no dict" },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        sl_tensor tensor;
        sl_blob file = make(1 + (unsigned)i % 3, cases[i].text, 16);
        sl_status st = sl_npy_parse(ctx, file.data, file.size, "case", &tensor);
        ck_assert_msg(st == cases[i].status && strstr(sl_ctx_message(ctx), cases[i].part) &&
                          !tensor.data,
                      "%s: %d, %s", cases[i].text, st, sl_ctx_message(ctx));
        sl_blob_free(&file);
    }
}
END_TEST

START_TEST(other_versions_and_lengths_are_refused)
{
    sl_tensor tensor;
    sl_blob storage;
    sl_blob file = make(4, "{}", 0);
    ck_fails(sl_npy_parse(ctx, file.data, file.size, "v", &tensor), SL_ERR_UNSUPPORTED,
             "version 4");
    file.data[6] = 2;
    memset(file.data + 8, 0xff, 4);
    ck_fails(sl_npy_parse(ctx, file.data, file.size, "v", &tensor), SL_ERR_FORMAT, "ends within");
    sl_blob_free(&file);
    char *blank = sl_alloc(ctx, 1, 70001);
    memset(blank, ' ', 70000);
    file = make(2, blank, 0);
    ck_fails(sl_npy_parse(ctx, file.data, file.size, "v", &tensor), SL_ERR_LIMIT, "70000");
    sl_blob_free(&file);
    free(blank);
    ck_fails(sl_npy_parse(ctx, "GIF89a    ", 10, "v", &tensor), SL_ERR_FORMAT, "not an npy");
    ck_fails(sl_npy_read(ctx, in_dir("none.npy"), &storage, &tensor), SL_ERR_IO, "none.npy");
    ck_assert_ptr_null(storage.data);
}
END_TEST

START_TEST(truncated_files_are_refused)
{
    sl_blob file = make(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }\n", 24);
    for (size_t size = 0; size < file.size; size++) {
        sl_blob cut;
        sl_tensor tensor;
        ck_ok(sl_blob_copy(ctx, file.data, size, &cut));
        sl_status st = sl_npy_parse(ctx, cut.data ? cut.data : file.data, size, "cut", &tensor);
        ck_assert_msg(st == SL_ERR_FORMAT, "cut at %zu: %d", size, st);
        sl_blob_free(&cut);
    }
    sl_blob_free(&file);
}
END_TEST

START_TEST(writing_checks_its_tensor)
{
    float x[4] = { 1, 2, 3, 4 };
    sl_tensor tensor = { .name = "x", .shape = { 1, { 5 } }, .data = x, .bytes = 16 };
    ck_fails(sl_npy_write(ctx, in_dir("a.npy"), false, &tensor), SL_ERR_ARGUMENT, "a.npy");
    ck_assert(!sl_file_exists(in_dir("a.npy")));
    tensor.shape.dim[0] = 4;
    ck_ok(sl_npy_write(ctx, in_dir("a.npy"), false, &tensor));
    ck_fails(sl_npy_write(ctx, in_dir("a.npy"), false, &tensor), SL_ERR_EXISTS, "a.npy");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("npy");
    tcase_add_test(tests, arrays_come_back);
    tcase_add_test(tests, every_version_and_spelling_is_read);
    tcase_add_test(tests, hostile_headers_are_refused);
    tcase_add_test(tests, other_versions_and_lengths_are_refused);
    tcase_add_test(tests, truncated_files_are_refused);
    tcase_add_test(tests, writing_checks_its_tensor);
    return run_case("tensor-npy", tests);
}
