// SPDX-License-Identifier: MIT
// tests/tensor/safetensors.c: files written and read back, and headers that lie.
#include "../base/run.h"
#include "../base/sync.h"

#include "tensor/tensor.h"

// A file of that header and so many bytes of data. The caller frees it.
static sl_blob make(const char *header, size_t body)
{
    static const uint8_t zeros[256];
    uint64_t length = strlen(header);
    sl_blob file = { NULL, 0 };
    size_t room = 0;
    ck_ok(sl_blob_append(ctx, &file, &room, &length, 8));
    ck_ok(sl_blob_append(ctx, &file, &room, header, (size_t)length));
    ck_ok(sl_blob_append(ctx, &file, &room, zeros, body));
    return file;
}

#define MOST 6

typedef struct random_file {
    sl_tensor tensors[MOST];
    size_t count;
    char names[MOST][48];
    uint8_t data[MOST][1024];
} random_file;

static void fill(random_file *f)
{
    f->count = (size_t)rand() % (MOST + 1);
    for (size_t t = 0; t < f->count; t++) {
        sl_tensor *tensor = &f->tensors[t];
        size_t elements = 1;
        *tensor = (sl_tensor) { .name = f->names[t],
                                .dtype = (sl_dtype)(rand() % SL_DTYPE_COUNT),
                                .data = f->data[t],
                                .shape.rank = (unsigned)rand() % 4 };
        snprintf(f->names[t], sizeof(f->names[t]), "läyer.%d.\"%zu\"", rand() % 100, t);
        for (unsigned i = 0; i < tensor->shape.rank; i++)
            elements *= tensor->shape.dim[i] = (uint64_t)rand() % 6;
        tensor->bytes = elements * sl_dtype_size(tensor->dtype);
        if (tensor->bytes > sizeof(f->data[t])) {
            tensor->shape.rank = 0;
            tensor->bytes = sl_dtype_size(tensor->dtype);
        }
        for (size_t i = 0; i < tensor->bytes; i++)
            f->data[t][i] = (uint8_t)rand();
    }
}

START_TEST(files_come_back)
{
    static random_file f;
    const sl_meta meta[] = { { "architecture", "lmd-vit" },
                             { "config", "{\"embed_dim\": 32, \"x\": \"\\\"\"}" },
                             { "ünï", "line\nline\ttab" } };
    srand(73);
    for (int turn = 0; turn < 200; turn++) {
        sl_tensor_set *set;
        size_t metas = (size_t)turn % 4;
        fill(&f);
        ck_ok(sl_safetensors_write(ctx, in_dir("x.safetensors"), true, f.tensors, f.count, meta,
                                   metas));
        ck_ok(sl_tensor_set_open(ctx, in_dir("x.safetensors"), &set));
        ck_assert(!sl_tensor_set_is_pth(set));
        ck_assert_uint_eq(sl_tensor_set_count(set), f.count);
        ck_assert_uint_eq(sl_tensor_set_meta_count(set), metas);
        for (size_t i = 0; i < metas; i++) {
            const char *key, *value;
            sl_tensor_set_meta_at(set, i, &key, &value);
            ck_assert_str_eq(sl_tensor_set_meta(set, meta[i].key), meta[i].value);
            ck_assert_str_eq(sl_tensor_set_meta(set, key), value);
        }
        for (size_t i = 0; i < f.count; i++) {
            const sl_tensor *want = &f.tensors[i], *got = sl_tensor_set_find(set, want->name);
            ck_assert_msg(got && got->dtype == want->dtype && got->bytes == want->bytes &&
                              sl_shape_equal(&got->shape, &want->shape) &&
                              memcmp(got->data, want->data, want->bytes) == 0,
                          "turn %d, tensor %zu", turn, i);
            if (i == 0)
                ck_assert_uint_eq((uintptr_t)got->data % 8, 0);
        }
        sl_tensor_set_free(set);
    }
}
END_TEST

#define F32(range) "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":" range "}}"
#define SHAPE(shape) "{\"a\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[0,16]}}"
#define U8(name, range) "\"" name "\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":" range "}"

START_TEST(sound_headers_are_read)
{
    static const char *const headers[] = {
        F32("[0,16]"),
        F32("[0,16]") "      ",
        "{" U8("b", "[8,16]") "," U8("a", "[0,8]") "}", // out of order
        "{\"__metadata__\":{}, " U8("a", "[0,8]") "," U8("b", "[8,16]") "}",
        "{\"e\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[8,8]}," U8("a", "[0,8]") "," U8(
            "b", "[8,16]") "}",
        "{\"a\":{\"dtype\":\"BOOL\",\"shape\":[16],\"data_offsets\":[0,16]}}",
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(headers); i++) {
        sl_tensor_set *set;
        sl_blob file = make(headers[i], 16);
        ck_ok(sl_safetensors_parse(ctx, file.data, file.size, "case", &set));
        ck_assert_ptr_nonnull(sl_tensor_set_find(set, "a"));
        sl_tensor_set_free(set);
        sl_blob_free(&file);
    }
}
END_TEST

START_TEST(hostile_headers_are_refused)
{
    static const struct {
        const char *header;
        sl_status status;
        const char *part;
    } cases[] = {
        { F32("[0,12]"), SL_ERR_FORMAT, "does not fit its 12 bytes" },
        { F32("[0,20]"), SL_ERR_FORMAT, "0 to 20 of 16" },
        { F32("[16,0]"), SL_ERR_FORMAT, "16 to 0" },
        { F32("[-16,0]"), SL_ERR_FORMAT, "-16" },
        { F32("[0,16.0]"), SL_ERR_FORMAT, "data_offsets" },
        { F32("[0,16,16]"), SL_ERR_FORMAT, "data_offsets" },
        { F32("[0]"), SL_ERR_FORMAT, "data_offsets" },
        { F32("\"0,16\""), SL_ERR_FORMAT, "data_offsets" },
        { F32("[0,9223372036854775807]"), SL_ERR_FORMAT, "cut off" },
        { F32("[0,99999999999999999999]"), SL_ERR_FORMAT, "JSON" },
        { SHAPE("[4294967296,4294967296]"), SL_ERR_FORMAT, "does not fit" },
        { SHAPE("[4611686018427387908]"), SL_ERR_FORMAT, "does not fit" }, // times 4 it is 16
        { SHAPE("[-2,-2]"), SL_ERR_FORMAT, "not a size" },
        { SHAPE("[2.0,2]"), SL_ERR_FORMAT, "not a size" },
        { SHAPE("[1,1,1,1,1,1,1,2,2]"), SL_ERR_LIMIT, "9 dimensions" },
        { SHAPE("4"), SL_ERR_FORMAT, "shape" },
        { SHAPE("[[4]]"), SL_ERR_FORMAT, "nested" },
        { "{" U8("a", "[0,8]") "," U8("b", "[4,12]") "}", SL_ERR_FORMAT, "within another" },
        { "{" U8("a", "[0,8]") "," U8("b", "[0,8]") "}", SL_ERR_FORMAT, "within another" },
        { "{" U8("a", "[8,16]") "}", SL_ERR_FORMAT, "after a hole" },
        { "{" U8("a", "[0,8]") "}", SL_ERR_FORMAT, "belong to no tensor" },
        { "{" U8("a", "[0,8]") "," U8("a", "[8,16]") "}", SL_ERR_FORMAT, "JSON" },
        { "{" U8("", "[0,8]") "," U8("a", "[8,16]") "}", SL_ERR_FORMAT, "name of tensor" },
        { "{" U8("\\u001b[2J", "[0,8]") "," U8("a", "[8,16]") "}", SL_ERR_FORMAT, "name of" },
        { "{" U8("a\\u0000b", "[0,8]") "," U8("a", "[8,16]") "}", SL_ERR_FORMAT, "JSON" },
        { "{" U8("\xff", "[0,8]") "," U8("a", "[8,16]") "}", SL_ERR_FORMAT, "JSON" },
        { "{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[16],\"data_offsets\":[0,16]}}",
          SL_ERR_UNSUPPORTED, "F8_E4M3" },
        { "{\"a\":{\"dtype\":1,\"shape\":[16],\"data_offsets\":[0,16]}}", SL_ERR_FORMAT, "dtype" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[16],\"offsets\":[0,16]}}", SL_ERR_FORMAT,
          "offsets" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[16],\"data_offsets\":[0,16],\"x\":1}}",
          SL_ERR_FORMAT, "nothing else" },
        { "{\"a\":1}", SL_ERR_FORMAT, "nothing else" },
        { "{\"__metadata__\":{\"a\":1}}", SL_ERR_FORMAT, "strings" },
        { "{\"__metadata__\":[]}", SL_ERR_FORMAT, "not an object" },
        { F32("[0,16]") "x", SL_ERR_FORMAT, "padded" },
        { F32("[0,16]") "{}", SL_ERR_FORMAT, "JSON" },
        { " " F32("[0,16]"), SL_ERR_FORMAT, "padded" },
        { "[]", SL_ERR_FORMAT, "padded" },
        { "{", SL_ERR_FORMAT, "padded" },
        { "", SL_ERR_FORMAT, "padded" },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        sl_tensor_set *set;
        sl_blob file = make(cases[i].header, 16);
        sl_status st = sl_safetensors_parse(ctx, file.data, file.size, "case", &set);
        ck_assert_msg(st == cases[i].status && strstr(sl_ctx_message(ctx), cases[i].part) && !set,
                      "%s: %d, %s", cases[i].header, st, sl_ctx_message(ctx));
        ck_assert_ptr_eq(strchr(sl_ctx_message(ctx), '\033'), NULL);
        sl_blob_free(&file);
    }
}
END_TEST

START_TEST(huge_headers_are_refused_unread)
{
    sl_tensor_set *set;
    uint64_t length = 100000001;
    uint8_t start[16] = { 0 };
    memcpy(start, &length, 8);
    ck_fails(sl_safetensors_parse(ctx, start, 16, "x", &set), SL_ERR_FORMAT, "at most 100000000");
    length = UINT64_MAX;
    memcpy(start, &length, 8);
    ck_fails(sl_safetensors_parse(ctx, start, 16, "x", &set), SL_ERR_FORMAT, "at most 100000000");
    length = 9;
    memcpy(start, &length, 8);
    ck_fails(sl_safetensors_parse(ctx, start, 16, "x", &set), SL_ERR_FORMAT, "ends within");

    size_t size = 5000000; // of two bytes each would become an object of hundreds
    char *text = malloc(size + 1);
    memset(text, ',', size);
    memcpy(text, "{\"a\":[", 6);
    memcpy(text + size - 2, "]}", 3);
    sl_blob file = make(text, 0);
    ck_fails(sl_safetensors_parse(ctx, file.data, file.size, "x", &set), SL_ERR_LIMIT, "values");
    sl_blob_free(&file);
    memset(text, '[', size);
    memcpy(text, "{", 1);
    memcpy(text + size - 2, "]}", 3);
    file = make(text, 0);
    ck_fails(sl_safetensors_parse(ctx, file.data, file.size, "x", &set), SL_ERR_FORMAT, "nested");
    sl_blob_free(&file);
    free(text);
}
END_TEST

START_TEST(truncated_files_are_refused)
{
    sl_blob file =
        make("{\"__metadata__\":{\"k\":\"v\"}," U8("a", "[0,8]") "," U8("b", "[8,16]") "}   ", 16);
    for (size_t size = 0; size < file.size; size++) {
        sl_blob cut;
        sl_tensor_set *set;
        ck_ok(sl_blob_copy(ctx, file.data, size, &cut));
        sl_status st =
            sl_safetensors_parse(ctx, cut.data ? cut.data : file.data, size, "cut", &set);
        ck_assert_msg(st == SL_ERR_FORMAT && !set, "cut at %zu: %d", size, st);
        sl_blob_free(&cut);
    }
    sl_blob_free(&file);
}
END_TEST

START_TEST(writing_checks_what_it_is_given)
{
    const char *path = in_dir("w.safetensors");
    float x[4] = { 1, 2, 3, 4 };
    sl_tensor t[2] = { { .name = "a", .shape = { 1, { 4 } }, .data = x, .bytes = 16 },
                       { .name = "a", .shape = { 1, { 4 } }, .data = x, .bytes = 16 } };
    char long_name[300];
    memset(long_name, 'n', sizeof(long_name));
    long_name[257] = '\0';
    ck_fails(sl_safetensors_write(ctx, path, false, t, 2, NULL, 0), SL_ERR_ARGUMENT, "two tensors");
    t[1].name = long_name;
    ck_fails(sl_safetensors_write(ctx, path, false, t, 2, NULL, 0), SL_ERR_ARGUMENT, "256");
    t[1].name = "__metadata__";
    ck_fails(sl_safetensors_write(ctx, path, false, t, 2, NULL, 0), SL_ERR_ARGUMENT, "metadata");
    t[1].name = "b";
    t[1].bytes = 12;
    ck_fails(sl_safetensors_write(ctx, path, false, t, 2, NULL, 0), SL_ERR_ARGUMENT, "12 bytes");
    t[1].bytes = 16;
    sl_meta meta[2] = { { "k", "v" }, { "k", "w" } };
    ck_fails(sl_safetensors_write(ctx, path, false, t, 2, meta, 2), SL_ERR_ARGUMENT, "twice");
    meta[1] = (sl_meta) { "l", "\xff" };
    ck_fails(sl_safetensors_write(ctx, path, false, t, 2, meta, 2), SL_ERR_ARGUMENT, "UTF-8");
    ck_assert(!sl_file_exists(path));
    ck_ok(sl_safetensors_write(ctx, path, false, t, 2, meta, 1));
    ck_fails(sl_safetensors_write(ctx, path, false, t, 2, meta, 1), SL_ERR_EXISTS, "exists");
    ck_fails(sl_safetensors_write(ctx, in_dir("no/where"), false, t, 2, meta, 1), SL_ERR_IO,
             "no/where");
}
END_TEST

// A gallery is the work of hours: it is on the disk before the old one goes.
START_TEST(what_is_written_is_synced)
{
    const char *path = in_dir("w.safetensors");
    const float old[] = { 1, 2 }, new[] = { 3, 4 };
    sl_tensor t = { .name = "a", .shape = { 1, { 2 } }, .data = old, .bytes = sizeof(old) };
    sl_tensor_set *set;
    syncs = 0; // the tests before may have run in this process
    ck_ok(sl_safetensors_write(ctx, path, false, &t, 1, NULL, 0));
    ck_assert_int_eq(syncs, 1);
    t.data = new;
    sync_error = EIO;
    ck_fails(sl_safetensors_write(ctx, path, true, &t, 1, NULL, 0), SL_ERR_IO, "cannot write");
    sync_error = 0;
    ck_ok(sl_tensor_set_open(ctx, path, &set));
    ck_assert_mem_eq(sl_tensor_set_find(set, "a")->data, old, sizeof(old));
    sl_tensor_set_free(set);
}
END_TEST

START_TEST(names_are_checked)
{
    static const struct {
        const char *name; // as JSON
        bool valid;
    } cases[] = {
        { "x", true },        { "é", true },      { "日本", true },
        { "😀", true },        { "\\t", false },   { "\\u007f", false },
        { "\\u009b", false }, { "a\\nb", false }, { "\\u00a0", true },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        char header[200];
        sl_tensor_set *set;
        snprintf(header, sizeof(header),
                 "{\"%s\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", cases[i].name);
        sl_blob file = make(header, 1);
        sl_status st = sl_safetensors_parse(ctx, file.data, file.size, "case", &set);
        ck_assert_msg((st == SL_OK) == cases[i].valid, "%s: %s", cases[i].name,
                      sl_ctx_message(ctx));
        sl_tensor_set_free(set);
        sl_blob_free(&file);
    }
}
END_TEST

// A file that nobody could read must not take the place of one that can be read.
START_TEST(headers_too_long_to_read)
{
    enum { COUNT = 17000000 };
    const char *path = in_dir("long.safetensors");
    char *value = sl_alloc(ctx, COUNT + 1, 1);
    sl_tensor_set *set = NULL;
    ck_assert_ptr_nonnull(value);
    memset(value, 1, COUNT); // six bytes each, as JSON has them
    const sl_meta meta = { "classes", value };
    ck_ok(sl_safetensors_write(ctx, path, true, NULL, 0, NULL, 0));
    ck_fails(sl_safetensors_write(ctx, path, true, NULL, 0, &meta, 1), SL_ERR_LIMIT,
             "long.safetensors: names and metadata make a header of 1020000");
    ck_ok(sl_tensor_set_open(ctx, path, &set));
    sl_tensor_set_free(set);
    free(value);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("safetensors");
    tcase_add_test(tests, files_come_back);
    tcase_add_test(tests, sound_headers_are_read);
    tcase_add_test(tests, hostile_headers_are_refused);
    tcase_add_test(tests, huge_headers_are_refused_unread);
    tcase_add_test(tests, truncated_files_are_refused);
    tcase_add_test(tests, writing_checks_what_it_is_given);
    tcase_add_test(tests, what_is_written_is_synced);
    tcase_add_test(tests, names_are_checked);
    tcase_add_test(tests, headers_too_long_to_read);
    return run_case("tensor-safetensors", tests);
}
