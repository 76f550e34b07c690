// SPDX-License-Identifier: MIT
// tests/tensor/hostile.c: checkpoints made by hand to do harm: archives, pickles and tensors that
// claim what is not so.
#include "../base/run.h"

#include "made_zip.h"
#include "tensor/pickle.h"
#include "tensor/tensor.h"

static const uint8_t zeros[1200000];

static sl_status parse(const made_member *members, size_t count, sl_tensor_set **set)
{
    sl_blob file = made_zip(members, count);
    sl_status st = sl_pth_parse(ctx, file.data, file.size, "made", set);
    ck_assert_int_eq(st == SL_OK, *set != NULL);
    sl_blob_free(&file);
    return st;
}

// A checkpoint whose pickle is those bytes, with one storage of 16 bytes.
static sl_status parse_pickle(const void *pickle, size_t size, sl_tensor_set **set)
{
    const made_member members[] = { { .name = "a/data.pkl", .data = pickle, .size = size },
                                    { .name = "a/data/0", .data = zeros, .size = 16 } };
    return parse(members, 2, set);
}

#define PICKLE(text, set) parse_pickle(text, sizeof(text) - 1, set)

// Parts of pickles. A tensor: TENSOR(FLOATS(4), offset, sizes, strides)
#define STORAGE(type, key, numel)                                                                  \
    "((X\7\0\0\0storagectorch\n" type "\nX\1\0\0\0" key "X\3\0\0\0cpu" numel "tQ"
#define FLOATS STORAGE("FloatStorage", "0", "K\4")
#define TENSOR(storage, offset, sizes, strides)                                                    \
    "ctorch._utils\n_rebuild_tensor_v2\n" storage offset sizes strides "\x89N"                     \
    "tR"
#define STATE(value) "\x80\2}X\1\0\0\0w" value "s."
#define BIG "\x8a\10\0\0\0\0\0\0\0\x40" // 2^62

START_TEST(sound_pickles_are_read)
{
    sl_tensor_set *set;
    ck_ok(PICKLE(STATE(TENSOR(FLOATS, "K\0", "K\2K\2\x86", "K\2K\1\x86")), &set));
    const sl_tensor *w = sl_tensor_set_find(set, "w");
    ck_assert(w && sl_shape_equal(&w->shape, &(sl_shape) { 2, { 2, 2 } }) && w->bytes == 16);
    sl_tensor_set_free(set);
    // The same under a dict that holds itself, in a parameter.
    ck_ok(PICKLE("\x80\2}q\0X\5\0\0\0modelh\0sX\1\0\0\0w"
                 "ctorch._utils\n_rebuild_parameter\n(" TENSOR(FLOATS, "K\1", "K\3\x85",
                                                               "K\1\x85") "\x89NtRs.",
                 &set));
    ck_assert_uint_eq(sl_tensor_set_find(set, "w")->bytes, 12);
    sl_tensor_set_free(set);
}
END_TEST

// As in Python, a key that is set again has its last value, and so have those around it.
START_TEST(a_key_has_its_last_value)
{
    static const char text[] = "\x80\2}(X\1\0\0\0aK\1X\1\0\0\0bK\2X\1\0\0\0aK\3u"
                               "X\1\0\0\0cK\4sX\1\0\0\0cK\5s.";
    static const struct {
        const char *key;
        int64_t value;
    } cases[] = { { "a", 3 }, { "b", 2 }, { "c", 5 } };
    sl_arena arena = { 0 };
    const sl_pickle *dict = NULL;
    ck_ok(sl_pickle_parse(ctx, text, sizeof(text) - 1, "made", &arena, &dict));
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        const sl_pickle *value = sl_pickle_get(dict, cases[i].key);
        ck_assert(value && value->kind == SL_PICKLE_INT);
        ck_assert_int_eq(value->integer, cases[i].value);
    }
    ck_assert_ptr_null(sl_pickle_get(dict, "d"));
    ck_assert_ptr_null(sl_pickle_get(sl_pickle_get(dict, "a"), "a"));
    sl_arena_free(&arena);
}
END_TEST

START_TEST(foreign_opcodes_are_refused_by_name)
{
    static const struct {
        uint8_t code;
        const char *name;
    } cases[] = { { 'i', "INST (0x69) at byte 2" },
                  { 'o', "OBJ" },
                  { 0x82, "EXT1" },
                  { 0x97, "NEXT_BUFFER" },
                  { 'I', "INT (0x49" },
                  { 'P', "PERSID" },
                  { 0xff, "unknown (0xff) at byte" },
                  { 0, "unknown (0x00)" } };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        sl_tensor_set *set;
        uint8_t pickle[] = { 0x80, 2, cases[i].code, '\n', '\n', '.' };
        ck_fails(parse_pickle(pickle, sizeof(pickle), &set), SL_ERR_UNSUPPORTED, cases[i].name);
    }
}
END_TEST

START_TEST(damaged_pickles_are_refused)
{
    static const struct {
        const char *text;
        size_t size;
        const char *part;
    } cases[] = {
#define CASE(text, part) { text, sizeof(text) - 1, part }
        CASE("", "no pickle"),
        CASE("}.", "no pickle"),
        CASE("\x80\2", "without STOP"),
        CASE("\x80\2.", "untidy"),
        CASE("\x80\2}}.", "untidy"),
        CASE("\x80\2(}.", "untidy"),
        CASE("\x80\2}(0.", "unnamed"), // sound: POP takes a mark
        CASE("\x80\2}K", "within an opcode"),
        CASE("\x80\2X\xff\xff\xff\xffx", "within a string"),
        CASE("\x80\4\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "within a string"),
        CASE("\x80\2\x8b\xff\xff\xff\x7f", "within a string"),
        CASE("\x80\4\x95\xff\xff\xff\xff\xff\xff\xff\xff", "frame"),
        CASE("\x80\2ctorch", "within a line"),
        CASE("\x80\2ctorch\n", "within a line"),
        CASE("\x80\2t.", "no mark"),
        CASE("\x80\2u.", "no mark"),
        CASE("\x80\2}u.", "no mark"),
        CASE("\x80\2"
             "0.",
             "empty stack"),
        CASE("\x80\2"
             "2.",
             "empty stack"),
        CASE("\x80\2}(\x85.", "empty stack"), // the dict lies under the mark
        CASE("\x80\2}(K\1R.", "empty stack"), // so it does for whatever takes two
        CASE("\x80\2}(b.", "empty stack"),
        CASE("\x80\2}(Q.", "empty stack"),
        CASE("\x80\2}R.", "empty stack"),
        CASE("\x80\2}b.", "empty stack"),
        CASE("\x80\2Q.", "empty stack"),
        CASE("\x80\2q\0.", "empty stack"),
        CASE("\x80\2h\0.", "not kept"),
        CASE("\x80\2}q\0j\xff\xff\xff\xff.", "not kept"),
        CASE("\x80\2}(K\1u.", "without a value"),
        CASE("\x80\2(K\1d.", "without a value"),
        CASE("\x80\2](K\1K\1u.", "no dict"),
        CASE("\x80\2K\1K\1K\1s.", "no dict"),
        CASE("\x80\2}K\1a.", "no list"),
        CASE("\x80\2)K\1a.", "no list"),
        CASE("\x80\4K\1K\1\x93.", "without a name"),
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        sl_tensor_set *set;
        sl_status st = parse_pickle(cases[i].text, cases[i].size, &set);
        ck_assert_msg((st == SL_ERR_FORMAT) && strstr(sl_ctx_message(ctx), cases[i].part),
                      "case %zu (%s): %d, %s", i, cases[i].part, st, sl_ctx_message(ctx));
    }
    sl_tensor_set *set;
    ck_fails(PICKLE("\x80\6}.", &set), SL_ERR_UNSUPPORTED, "protocol 6");
    ck_fails(PICKLE("\x80\1}.", &set), SL_ERR_UNSUPPORTED, "protocol 1");
    ck_fails(PICKLE("\x80\2}r\xff\xff\xff\xff.", &set), SL_ERR_LIMIT, "kept");
}
END_TEST

START_TEST(pickles_that_grow_meet_limits)
{
    static const struct {
        char opcode;
        const char *part;
    } cases[] = { { '(', "marks" }, { 'N', "stack" }, { '2', "stack" } };
    uint8_t *pickle = sl_alloc(ctx, sizeof(zeros), 1);
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        sl_tensor_set *set;
        memset(pickle, cases[i].opcode, sizeof(zeros));
        memcpy(pickle, "\x80\2}", 3);
        ck_fails(parse_pickle(pickle, sizeof(zeros), &set), SL_ERR_LIMIT, cases[i].part);
    }
    free(pickle);
    // Refused by its size alone: these bytes are no deflated stream.
    sl_tensor_set *set;
    const made_member large = { .name = "a/data.pkl",
                                .data = zeros,
                                .size = sizeof(zeros),
                                .method = 8,
                                .claimed_size = (32u << 20) + 1 };
    ck_fails(parse(&large, 1, &set), SL_ERR_LIMIT, "pickle with more than 33554432 bytes");
}
END_TEST

START_TEST(recursion_ends)
{
    sl_tensor_set *set;
    // A list in itself, a dict as its own value, a parameter that wraps itself.
    ck_fails(PICKLE("\x80\2]q\0h\0a.", &set), SL_ERR_FORMAT, "no dict");
    ck_fails(PICKLE("\x80\2}q\0X\5\0\0\0modelh\0s.", &set), SL_ERR_FORMAT, "only \"model\"");
    ck_fails(PICKLE("\x80\2}X\1\0\0\0w"
                    "ctorch._utils\n_rebuild_parameter\nq\0(h\0tq\1Rs.",
                    &set),
             SL_ERR_FORMAT, "only \"w\"");
    ck_fails(PICKLE("\x80\2]q\0(h\0h\0eh\0a(h\0tQ.", &set), SL_ERR_FORMAT, "untidy");
}
END_TEST

START_TEST(tensors_stay_within_their_storage)
{
    static const struct {
        const char *text;
        size_t size;
        sl_status status;
        const char *part;
    } cases[] = {
#define T(storage, offset, sizes, strides, status, part)                                           \
    { STATE(TENSOR(storage, offset, sizes, strides)),                                              \
      sizeof(STATE(TENSOR(storage, offset, sizes, strides))) - 1, status, part }
        T(FLOATS, "K\1", "K\4\x85", "K\1\x85", SL_ERR_FORMAT, "beyond its storage"),
        T(FLOATS, "K\4", "K\1\x85", "K\1\x85", SL_ERR_FORMAT, "beyond its storage"),
        T(FLOATS, "K\0", "K\2\x85", "K\4\x85", SL_ERR_FORMAT, "beyond its storage"),
        T(FLOATS, "K\0", "K\3\x85", BIG "\x85", SL_ERR_FORMAT, "beyond its storage"),
        T(FLOATS, BIG, "K\4\x85", "K\1\x85", SL_ERR_FORMAT, "beyond its storage"),
        T(FLOATS, "J\xff\xff\xff\xff", "K\4\x85", "K\1\x85", SL_ERR_FORMAT, "not described"),
        T(FLOATS, "N", "K\4\x85", "K\1\x85", SL_ERR_FORMAT, "not described"),
        T(FLOATS, "K\0", "K\4\x85", "J\xff\xff\xff\xff\x85", SL_ERR_FORMAT, "from 0 up"),
        T(FLOATS, "K\0", "J\xff\xff\xff\xff\x85", "K\1\x85", SL_ERR_FORMAT, "from 0 up"),
        T(FLOATS, "K\0", "K\4\x85", ")", SL_ERR_FORMAT, "go together"),
        T(FLOATS, "K\0", "K\4", "K\1", SL_ERR_FORMAT, "go together"),
        T(FLOATS, "K\0", BIG "K\2\x86", "K\0K\0\x86", SL_ERR_FORMAT, "beyond any memory"),
        T(FLOATS, "K\0", BIG "K\4\x86", "K\0K\0\x86", SL_ERR_FORMAT, "beyond any memory"),
        T(FLOATS, "K\0", "J\0\0\0\1\x85", "K\0\x85", SL_ERR_LIMIT, "expanded"),
        T(FLOATS, "K\0", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t",
          SL_ERR_LIMIT, "9 dimensions"),
        T(STORAGE("FloatStorage", "0", "K\5"), "K\0", "K\4\x85", "K\1\x85", SL_ERR_FORMAT,
          "another size"),
        T(STORAGE("DoubleStorage", "0", "K\4"), "K\0", "K\4\x85", "K\1\x85", SL_ERR_FORMAT,
          "another size"),
        T(STORAGE("DoubleStorage", "0", BIG), "K\0", "K\4\x85", "K\1\x85", SL_ERR_FORMAT,
          "impossible"),
        T(STORAGE("FloatStorage", "0", "J\xff\xff\xff\xff"), "K\0", "K\4\x85", "K\1\x85",
          SL_ERR_FORMAT, "impossible"),
        T(STORAGE("FloatStorage", "1", "K\4"), "K\0", "K\4\x85", "K\1\x85", SL_ERR_FORMAT,
          "missing"),
        T(STORAGE("FloatStorage", "/", "K\4"), "K\0", "K\4\x85", "K\1\x85", SL_ERR_FORMAT,
          "not described"),
        T(STORAGE("QInt8Storage", "0", "K\4"), "K\0", "K\4\x85", "K\1\x85", SL_ERR_UNSUPPORTED,
          "type that is not read"),
        T("(N", "K\0", "K\4\x85", "K\1\x85", SL_ERR_FORMAT, "not described"),
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        sl_tensor_set *set;
        sl_status st = parse_pickle(cases[i].text, cases[i].size, &set);
        ck_assert_msg(st == cases[i].status && strstr(sl_ctx_message(ctx), cases[i].part) &&
                          strstr(sl_ctx_message(ctx), "tensor w"),
                      "case %zu (%s): %d, %s", i, cases[i].part, st, sl_ctx_message(ctx));
    }
}
END_TEST

START_TEST(foreign_tensors_and_names_are_refused)
{
    sl_tensor_set *set;
    ck_fails(PICKLE(STATE("ctorch._utils\n_rebuild_qtensor\n)R"), &set), SL_ERR_UNSUPPORTED,
             "tensor w is of a kind");
    ck_fails(PICKLE(STATE("ctorch._utils\n_rebuild_parameter\n)R"), &set), SL_ERR_UNSUPPORTED,
             "tensor w is of a kind");
#define W TENSOR(FLOATS, "K\0", "K\4\x85", "K\1\x85")
    ck_fails(PICKLE("\x80\2}X\1\0\0\0w" W "sX\1\0\0\0w" W "s.", &set), SL_ERR_FORMAT,
             "two tensors are named w");
    ck_fails(PICKLE("\x80\2}X\1\0\0\0\x1b" W "s.", &set), SL_ERR_FORMAT, "tensor number 1");
    ck_fails(PICKLE("\x80\2}X\0\0\0\0" W "s.", &set), SL_ERR_FORMAT, "tensor number 1");
    ck_fails(PICKLE("\x80\2}K\1" W "s.", &set), SL_ERR_FORMAT, "tensor number 1");
}
END_TEST

// The names that are to be in a set, sorted.
static void check_names(sl_tensor_set *set, size_t count, const char *first, const char *second)
{
    ck_assert_uint_eq(sl_tensor_set_count(set), count);
    ck_assert_str_eq(sl_tensor_set_at(set, 0)->name, first);
    if (second)
        ck_assert_str_eq(sl_tensor_set_at(set, 1)->name, second);
    sl_tensor_set_free(set);
}

START_TEST(prefixes_go_when_all_have_them)
{
    sl_tensor_set *set;
#define COUNT "X\12\0\0\0n_averaged" TENSOR(STORAGE("LongStorage", "0", "K\2"), "K\0", ")", ")") "s"
#define MODULE_A "X\10\0\0\0module.a" W "s"
#define COMPILED_A "X\13\0\0\0_orig_mod.a" W "s"
    ck_ok(PICKLE("\x80\2}" MODULE_A "X\1\0\0\0b" W "s.", &set));
    check_names(set, 2, "b", "module.a");
    ck_ok(PICKLE("\x80\2}" MODULE_A COMPILED_A ".", &set));
    check_names(set, 2, "_orig_mod.a", "module.a");
    ck_ok(PICKLE("\x80\2}" COMPILED_A ".", &set));
    check_names(set, 1, "a", NULL);
    ck_ok(PICKLE("\x80\2}" COUNT MODULE_A ".", &set));
    check_names(set, 1, "a", NULL);
    ck_ok(PICKLE("\x80\2}" COUNT "X\1\0\0\0b" W "s.", &set)); // a tensor like another
    check_names(set, 2, "b", "n_averaged");
    ck_ok(PICKLE("\x80\2}" COUNT ".", &set));
    check_names(set, 1, "n_averaged", NULL);
}
END_TEST

#define GOOD                                                                                       \
    {                                                                                              \
        .name = "a/data.pkl", .data = "\x80\2}.", .size = 4                                        \
    }

START_TEST(members_are_checked)
{
    static const struct {
        made_member member;
        sl_status status;
        const char *part;
    } cases[] = {
        { { .name = "../evil", .data = "x", .size = 1 }, SL_ERR_FORMAT, "leaves the archive" },
        { { .name = "a/../../evil", .data = "x", .size = 1 }, SL_ERR_FORMAT, "leaves" },
        { { .name = "a/..", .data = "x", .size = 1 }, SL_ERR_FORMAT, "leaves the archive" },
        { { .name = "/etc/passwd", .data = "x", .size = 1 }, SL_ERR_FORMAT, "leaves" },
        { { .name = "..\\evil", .data = "x", .size = 1 }, SL_ERR_FORMAT, "leaves the archive" },
        { { .name = "C:evil", .data = "x", .size = 1 }, SL_ERR_FORMAT, "leaves the archive" },
        { { .name = "", .data = "x", .size = 1 }, SL_ERR_FORMAT, "leaves the archive" },
        { { .name = "a/data.pkl", .data = "x", .size = 1 }, SL_ERR_FORMAT, "have one name" },
        { { .name = "b/data.pkl", .data = "x", .size = 1 }, SL_ERR_FORMAT, "more than one" },
        { { .name = "a/x", .data = "x", .size = 1, .flags = 1 }, SL_ERR_UNSUPPORTED, "encrypted" },
        { { .name = "a/x", .data = "x", .size = 1, .method = 12 },
          SL_ERR_UNSUPPORTED,
          "method 12" },
        { { .name = "a/x", .data = "x", .size = 1, .claimed_size = 2 }, SL_ERR_FORMAT, "claims" },
        { { .name = "a/x", .data = zeros, .size = 99, .claimed_size = 99u << 20, .method = 8 },
          SL_ERR_LIMIT,
          "grow from 99" },
        { { .name = "a/x",
            .data = zeros,
            .size = sizeof(zeros),
            .claimed_size = UINT32_MAX - 1,
            .method = 8 },
          SL_ERR_LIMIT,
          "grow from" },
        { { .name = "a/constants.pkl", .data = "x", .size = 1 },
          SL_ERR_UNSUPPORTED,
          "TorchScript" },
        { { .name = "a/byteorder", .data = "xlittle", .size = 7 }, SL_ERR_UNSUPPORTED, "little" },
        { { .name = "a/byteorder", .data = "little", .size = 6, .bad_crc = true },
          SL_ERR_FORMAT,
          "damaged" },
        { { .name = "a/byteorder", .data = "little", .size = 6, .method = 8 },
          SL_ERR_FORMAT,
          "damaged" },
        { { .name = "a/byteorder", .data = "little", .size = 6 }, SL_ERR_FORMAT, "unnamed" },
        { { .name = "a/..b/c..", .data = "x", .size = 1 }, SL_ERR_FORMAT, "unnamed" }, // harmless
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(cases); i++) {
        sl_tensor_set *set;
        const made_member members[] = { GOOD, cases[i].member };
        sl_status st = parse(members, 2, &set);
        ck_assert_msg(st == cases[i].status && strstr(sl_ctx_message(ctx), cases[i].part),
                      "case %zu (%s): %d, %s", i, cases[i].part, st, sl_ctx_message(ctx));
    }
    sl_tensor_set *set;
    ck_fails(parse(&(made_member) { .name = "a/x", .data = "x", .size = 1 }, 1, &set),
             SL_ERR_FORMAT, "without data.pkl");
    ck_fails(parse(&(made_member)GOOD, 0, &set), SL_ERR_FORMAT, "made:");
    made_member dated = GOOD;
    dated.name = "run_12:30:05/data.pkl";
    ck_fails(parse(&dated, 1, &set), SL_ERR_FORMAT, "unnamed"); // read to its end
}
END_TEST

START_TEST(many_members_do_not_add_up)
{
    static char names[30][8];
    made_member members[30];
    sl_tensor_set *set;
    for (size_t i = 0; i < SL_ARRAY_LEN(members); i++) { // each at the ratio that is allowed
        snprintf(names[i], sizeof(names[i]), "a/%u", (unsigned)i & 63u);
        members[i] = (made_member) {
            .name = names[i], .data = zeros, .size = 1000000, .method = 8, .claimed_size = 200000000
        };
    }
    ck_fails(parse(members, 30, &set), SL_ERR_LIMIT, "4294967296 bytes when unpacked");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("hostile");
    tcase_add_test(tests, sound_pickles_are_read);
    tcase_add_test(tests, a_key_has_its_last_value);
    tcase_add_test(tests, foreign_opcodes_are_refused_by_name);
    tcase_add_test(tests, damaged_pickles_are_refused);
    tcase_add_test(tests, pickles_that_grow_meet_limits);
    tcase_add_test(tests, recursion_ends);
    tcase_add_test(tests, tensors_stay_within_their_storage);
    tcase_add_test(tests, foreign_tensors_and_names_are_refused);
    tcase_add_test(tests, prefixes_go_when_all_have_them);
    tcase_add_test(tests, members_are_checked);
    tcase_add_test(tests, many_members_do_not_add_up);
    return run_case("tensor-hostile", tests);
}
