// SPDX-License-Identifier: MIT
// tests/image/strip.c: EXIF without pictures. What shows more than the picture beside it must be
// gone to the last byte; the rest must be what it was.
#include "made.h"

#define SECRET "secret pixels"

// A TIFF structure that grows: directories are laid out by hand, as no writer of ours makes them.
typedef struct tiff {
    uint8_t bytes[8192];
    size_t size;
    bool big;
} tiff;

static void put(tiff *t, size_t at, uint32_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        t->bytes[at + i] = (uint8_t)(v >> 8 * (t->big ? bytes - 1 - i : i));
}

static size_t append(tiff *t, const void *bytes, size_t size)
{
    const size_t at = t->size;
    memcpy(t->bytes + at, bytes, size);
    t->size += size + size % 2;
    return at;
}

typedef struct entry {
    unsigned tag, type, count;
    uint32_t value; // or where it lies
} entry;

static size_t directory(tiff *t, const entry *entries, size_t count, size_t next)
{
    const size_t at = t->size;
    put(t, at, (uint32_t)count, 2);
    for (size_t i = 0; i < count; i++) {
        const size_t e = at + 2 + i * 12;
        const bool is_short = entries[i].type == 3 && entries[i].count == 1;
        put(t, e, entries[i].tag, 2);
        put(t, e + 2, entries[i].type, 2);
        put(t, e + 4, entries[i].count, 4);
        put(t, e + 8, entries[i].value, is_short ? 2 : 4);
    }
    put(t, at + 2 + count * 12, (uint32_t)next, 4);
    t->size += 6 + count * 12;
    return at;
}

#define LENGTH(text) (sizeof(text))
#define SPOT(text) ((uint32_t)append(t, text, sizeof(text)))

static void make(tiff *t, bool big)
{
    memset(t, 0, sizeof(*t));
    t->big = big;
    memcpy(t->bytes, big ? "MM" : "II", 2);
    put(t, 2, 42, 2);
    t->size = 8;
    append(t, "between directories: " SECRET, LENGTH("between directories: " SECRET));
    const entry interop[] = { { 1, 2, 4, 0x523938 } };
    const size_t interop_at = directory(t, interop, 1, 0);
    const entry exif[] = {
        { 0x9003, 2, 20, (uint32_t)append(t, "2021:03:04 05:06:07", 20) },
        { 0x927C, 7, LENGTH(SECRET), SPOT(SECRET) }, // maker's note
        { 0x9214, 3, 2, 0x00100010 },                // where the subject is
        { 0xA002, 4, 1, 4000 },                      // width
        { 0xA005, 4, 1, (uint32_t)interop_at },
        { 0xEEED, 12, 250, (uint32_t)append(t, (const uint8_t[2000]) { SECRET }, 2000) }, // doubles
        { 0xEEEE, 7, 2000, (uint32_t)append(t, (const uint8_t[2000]) { SECRET }, 2000) },
    };
    const size_t exif_at = directory(t, exif, 7, 0);
    const entry gps[] = { { 0, 1, 4, 0x01020304 } };
    const size_t gps_at = directory(t, gps, 1, 0);
    const entry thumbnail[] = { { 0x0201, 4, 1, SPOT(SECRET) }, { 0x0202, 4, 1, LENGTH(SECRET) } };
    const size_t thumbnail_at = directory(t, thumbnail, 2, 0);
    const entry first[] = {
        { 0x0100, 3, 1, 4000 },
        { 0x010F, 2, LENGTH("A maker"), SPOT("A maker") },
        { 0x0112, 3, 1, 1 },
        { 0x014A, 4, 1, (uint32_t)thumbnail_at },
        { 0x02BC, 1, LENGTH(SECRET), SPOT(SECRET) }, // XMP
        { 0x8298, 2, LENGTH("who made it"), SPOT("who made it") },
        { 0x8649, 7, LENGTH(SECRET), SPOT(SECRET) }, // Photoshop's
        { 0x8769, 4, 1, (uint32_t)exif_at },
        { 0x8825, 4, 1, (uint32_t)gps_at },
    };
    const size_t at = directory(t, first, 9, thumbnail_at);
    put(t, 4, (uint32_t)at, 4);
}

static bool has(const sl_blob *blob, const char *text)
{
    return blob->size > 0 && memmem(blob->data, blob->size, text, strlen(text)) != NULL;
}

static sl_blob strip(const void *bytes, size_t size, bool is_resized)
{
    sl_blob from = { (uint8_t *)(uintptr_t)bytes, size }, out, again;
    ck_ok(sl_exif_strip(ctx, &from, is_resized, &out));
    ck_assert_uint_le(out.size, 2 * size + 5000); // by one value
    if (out.size > 0) {                           // clean, but for the room of damaged entries
        ck_ok(sl_exif_strip(ctx, &out, is_resized, &again));
        ck_assert(again.size > 0 && again.size <= out.size);
        sl_blob_free(&again);
    }
    return out;
}

static unsigned number_at(const sl_blob *b, size_t at, size_t bytes, bool big)
{
    unsigned v = 0;
    for (size_t i = 0; i < bytes; i++)
        v |= (unsigned)b->data[at + i] << 8 * (big ? bytes - 1 - i : i);
    return v;
}

// Where the entry of this tag lies in the directory at `at`; 0: there is none.
static size_t find(const sl_blob *b, size_t at, unsigned tag, bool big)
{
    const unsigned count = number_at(b, at, 2, big);
    for (unsigned i = 0; i < count; i++)
        if (number_at(b, at + 2 + i * 12, 2, big) == tag)
            return at + 2 + i * 12;
    return 0;
}

START_TEST(pictures_go_the_rest_stays)
{
    static tiff t;
    const bool big = _i & 1, is_resized = _i & 2;
    make(&t, big);
    ck_assert_ptr_nonnull(memmem(t.bytes, t.size, SECRET, strlen(SECRET)));
    sl_blob b = strip(t.bytes, t.size, is_resized);
    sl_blob again = strip(b.data, b.size, is_resized); // what is clean stays as it is
    ck_assert_uint_eq(again.size, b.size);
    ck_assert_mem_eq(again.data, b.data, b.size);
    sl_blob_free(&again);
    ck_assert(!has(&b, "secret") && !has(&b, "between"));
    ck_assert(has(&b, "A maker") && has(&b, "who made it") && has(&b, "2021:03:04 05:06:07"));
    ck_assert_uint_eq(sl_exif_orientation(b.data, b.size), 1);
    const size_t first = number_at(&b, 4, 4, big);
    ck_assert_uint_eq(number_at(&b, first + 2 + number_at(&b, first, 2, big) * 12, 4, big), 0);
    ck_assert_int_eq(find(&b, first, 0x0100, big) != 0, !is_resized);
    const size_t exif = number_at(&b, find(&b, first, 0x8769, big) + 8, 4, big);
    ck_assert_uint_ne(find(&b, exif, 0x9003, big), 0);
    ck_assert_uint_eq(find(&b, exif, 0x927C, big), 0);
    ck_assert_uint_eq(find(&b, exif, 0xEEED, big), 0);
    ck_assert_uint_eq(find(&b, exif, 0xEEEE, big), 0);
    ck_assert_int_eq(find(&b, exif, 0xA002, big) != 0, !is_resized);
    ck_assert_int_eq(find(&b, exif, 0x9214, big) != 0, !is_resized);
    const size_t interop = number_at(&b, find(&b, exif, 0xA005, big) + 8, 4, big);
    ck_assert_uint_ne(find(&b, interop, 1, big), 0);
    const size_t gps = number_at(&b, find(&b, first, 0x8825, big) + 8, 4, big);
    ck_assert_uint_eq(number_at(&b, find(&b, gps, 0, big) + 8, 4, big), 0x01020304);
    sl_blob_free(&b);
}
END_TEST

START_TEST(what_is_no_exif_goes)
{
    static const char *const none[] = { "", "II", "II*\0\1\0\0", "XX*\0\10\0\0\0\0\0" };
    static const size_t sizes[] = { 0, 2, 7, 10 };
    for (size_t i = 0; i < SL_ARRAY_LEN(none); i++) {
        sl_blob b = strip(none[i], sizes[i], true);
        ck_assert_uint_eq(b.size, 0);
    }
    sl_blob b = strip("II*\0\377\377\377\377\0\0", 10, true);
    ck_assert_uint_eq(b.size, 0);
}
END_TEST

// Cut at any place, and with bytes changed: read within its bounds (the sanitizer tells), and no
// secret comes through where the directories that hold it are known ones.
START_TEST(damage_is_survived)
{
    static tiff t;
    uint32_t state = 5;
    make(&t, _i);
    for (size_t size = 0; size <= t.size; size += 3) {
        uint8_t *copy = malloc(size ? size : 1);
        memcpy(copy, t.bytes, size);
        sl_blob b = strip(copy, size, false);
        ck_assert(!has(&b, "secret"));
        sl_blob_free(&b);
        free(copy);
    }
    for (int turn = 0; turn < 3000; turn++) {
        uint8_t *copy = malloc(t.size);
        memcpy(copy, t.bytes, t.size);
        for (int k = 0; k < 4; k++)
            copy[made_random(&state) % t.size] = (uint8_t)made_random(&state);
        sl_blob b = strip(copy, t.size, true);
        sl_blob_free(&b);
        free(copy);
    }
}
END_TEST

// Many entries that share a value, or a directory, must not become many.
START_TEST(little_does_not_become_much)
{
    static tiff t;
    entry many[300];
    memset(&t, 0, sizeof(t));
    memcpy(t.bytes, "II*", 3);
    t.size = 8;
    const uint32_t at = (uint32_t)append(&t, (const uint8_t[1024]) { 1 }, 1024);
    for (unsigned i = 0; i < 300; i++)
        many[i] = (entry) { 0x5000 + i, 7, 1024, at };
    put(&t, 4, (uint32_t)directory(&t, many, 300, 0), 4);
    sl_blob b = strip(t.bytes, t.size, false);
    ck_assert_uint_eq(b.size, 0);
    for (unsigned i = 0; i < 250; i++)
        many[i] = (entry) { 0x8769, 4, 1, 8 }; // itself
    t.size = 8;
    directory(&t, many, 250, 0);
    put(&t, 4, 8, 4);
    b = strip(t.bytes, t.size, false);
    ck_assert_uint_eq(b.size, 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("strip");
    tcase_add_loop_test(tests, pictures_go_the_rest_stays, 0, 4);
    tcase_add_test(tests, what_is_no_exif_goes);
    tcase_add_loop_test(tests, damage_is_survived, 0, 2);
    tcase_add_test(tests, little_does_not_become_much);
    return run_case("image/strip", tests);
}
