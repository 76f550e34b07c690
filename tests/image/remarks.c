// SPDX-License-Identifier: MIT
// tests/image/remarks.c: XMP, IPTC and comments go along.
#include "made.h"

#include "image/codec.h"

#define XMP "http://ns.adobe.com/xap/1.0/\0"
#define MORE_XMP "http://ns.adobe.com/xmp/extension/\0"
#define PHOTOSHOP "Photoshop 3.0\0"
#define RATED                                                                                      \
    "<x:xmpmeta xmp:Rating='5' tiff:Orientation=\"6\"><tiff:Orientation> 8 </tiff:Orientation>"
#define UPRIGHT                                                                                    \
    "<x:xmpmeta xmp:Rating='5' tiff:Orientation=\"1\"><tiff:Orientation> 1 </tiff:Orientation>"
#define SEGMENT(marker, text)                                                                      \
    {                                                                                              \
        marker, text, sizeof(text) - 1                                                             \
    }

static const made_segment written[] = {
    SEGMENT(0xE1, XMP RATED),
    SEGMENT(0xE1, MORE_XMP "0123456789"),
    SEGMENT(0xED, PHOTOSHOP "8BIM\4\4"),
    SEGMENT(0xFE, "a red boat"),
    SEGMENT(0xFE, ""),
};

static sl_blob jpeg_of(const made_segment *segments, size_t count, unsigned orientation)
{
    uint8_t *rows = made_gradient(40, 24, 3);
    made_jpeg_spec s = { .width = 40,
                         .height = 24,
                         .in = JCS_RGB,
                         .file = JCS_YCbCr,
                         .rows = rows,
                         .segments = segments,
                         .segment_count = count };
    if (orientation)
        s.exif = made_exif(orientation, false, &s.exif_size);
    sl_blob file = made_jpeg(&s);
    free(rows);
    return file;
}

static void check_remarks(const sl_image *image, const made_segment *want, size_t count)
{
    sl_remark r;
    size_t at = 0, i = 0;
    for (; sl_remarks_next(&image->remarks, &at, &r); i++) {
        ck_assert_uint_lt(i, count);
        ck_assert_uint_eq(r.marker, want[i].marker);
        ck_assert_uint_eq(r.size, want[i].size);
        if (r.size > 0)
            ck_assert_mem_eq(r.data, want[i].data, r.size);
    }
    ck_assert_uint_eq(i, count);
    ck_assert_uint_eq(at, image->remarks.size);
}

static sl_image *saved(const sl_image *image, const sl_save_options *options)
{
    sl_blob file;
    ck_ok(sl_image_encode(ctx, image, "again", options, &file));
    sl_image *again = decode_ok(&file, NULL);
    sl_blob_free(&file);
    return again;
}

// Coded anew as well as kept.
START_TEST(a_jpeg_keeps_them)
{
    const sl_save_options options = { .format = SL_IMAGE_JPEG, .quality = _i ? 90 : 0 };
    const sl_save_options strip = { .format = SL_IMAGE_JPEG,
                                    .quality = options.quality,
                                    .strip_metadata = true };
    sl_blob file = jpeg_of(written, SL_ARRAY_LEN(written), 0);
    sl_image *image = decode_ok(&file, NULL), *copy = NULL, *again = NULL;
    check_remarks(image, written, SL_ARRAY_LEN(written));
    ck_ok(sl_image_clone(ctx, image, &copy));
    again = saved(copy, &options);
    check_remarks(again, written, SL_ARRAY_LEN(written));
    sl_image_free(again);
    again = saved(image, &strip);
    check_remarks(again, NULL, 0);
    ck_ok(sl_image_forget_pictures(ctx, copy, false));
    check_remarks(copy, NULL, 0);
    ck_assert_uint_eq(copy->coded.size, 0);
    sl_image_free(again);
    sl_image_free(copy);
    sl_image_free(image);
    sl_blob_free(&file);
}
END_TEST

START_TEST(a_png_keeps_xmp)
{
    const sl_save_options png = { .format = SL_IMAGE_PNG },
                          strip = { .format = SL_IMAGE_PNG, .strip_metadata = true },
                          jpeg = { .format = SL_IMAGE_JPEG };
    sl_blob file = jpeg_of(written, SL_ARRAY_LEN(written), 0);
    sl_image *image = decode_ok(&file, NULL);
    for (int round = 0; round < 2; round++) {
        sl_image *again = saved(image, &png);
        check_remarks(again, written, 1);
        sl_image_free(image);
        image = again;
    }
    sl_image *last = saved(image, &jpeg), *bare = saved(image, &strip);
    check_remarks(last, written, 1);
    check_remarks(bare, NULL, 0);
    sl_image_free(bare);
    sl_image_free(last);
    sl_image_free(image);
    sl_blob_free(&file);
}
END_TEST

// XMP has an orientation of its own: it must not turn a picture that is upright.
START_TEST(xmp_turns_nothing_twice)
{
    static const made_segment upright = SEGMENT(0xE1, XMP UPRIGHT);
    static const sl_save_options ways[] = { { .format = SL_IMAGE_JPEG },
                                            { .format = SL_IMAGE_JPEG, .quality = 80 },
                                            { .format = SL_IMAGE_PNG } };
    sl_blob file = jpeg_of(written, 1, 6);
    sl_image *image = decode_ok(&file, NULL);
    ck_assert_uint_eq(image->width, 24);
    for (size_t i = 0; i < SL_ARRAY_LEN(ways); i++) {
        sl_image *again = saved(image, &ways[i]);
        ck_assert_uint_eq(again->width, 24);
        ck_assert_uint_eq(again->turned, i == 0 ? 6 : 1); // kept as it lay in its file
        check_remarks(again, i == 0 ? written : &upright, 1);
        sl_image_free(again);
    }
    sl_image_free(image);
    sl_blob_free(&file);
}
END_TEST

// Neither what is no remark, nor XMP that tells of pictures which are gone.
START_TEST(some_are_not_kept)
{
    static const made_segment segments[] = {
        SEGMENT(0xE1, XMP "<Container:Directory>"),
        SEGMENT(0xE1, MORE_XMP "0123456789"),
        SEGMENT(0xFE, "a red boat"),
        SEGMENT(0xE1, "http://ns.adobe.com/xap/1.0/"),
        SEGMENT(0xED, "Photoshop"),
        SEGMENT(0xE2, "MPF\0II*\0"),
    };
    sl_blob file = jpeg_of(segments, SL_ARRAY_LEN(segments), 0);
    sl_image *image = decode_ok(&file, NULL);
    check_remarks(image, &segments[2], 1);
    ck_assert(image->had_more);
    sl_image_free(image);
    sl_blob_free(&file);
}
END_TEST

// Of a phone's gain map and of some films nothing in the picture tells, but the file behind it.
START_TEST(what_lies_behind_is_missed)
{
    static const struct {
        const char *rest;
        bool had_more;
    } rows[] = {
        { "<HDRGainMap:HDRGainMapVersion>", true },
        { "\xFF\xE2urn:iso:std:iso:ts:21496:-1", true },
        { "MotionPhoto_Data", true },
        { "a smaller picture", false },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
        sl_blob file = jpeg_of(written, 1, 0);
        size_t room = file.size;
        ck_ok(sl_blob_append(ctx, &file, &room, rows[i].rest, strlen(rows[i].rest)));
        sl_image *image = decode_ok(&file, NULL);
        warnings = 0;
        sl_image *again = saved(image, &(sl_save_options) { .format = SL_IMAGE_JPEG });
        ck_assert_int_eq(warnings, rows[i].had_more);
        ck_assert(!rows[i].had_more || strstr(warning, "without the film or gain map"));
        check_remarks(again, written, 1);
        ck_assert(!again->had_more);
        sl_image_free(again);
        sl_image_free(image);
        sl_blob_free(&file);
    }
}
END_TEST

static sl_image *png_with(const made_segment *text)
{
    sl_blob file = made_png(&(made_png_spec) { 1, 1, .type = PNG_COLOR_TYPE_RGB, .depth = 8,
                                               .rows = (const uint8_t *)"abc", .text = text });
    sl_image *image = decode_ok(&file, NULL);
    sl_blob_free(&file);
    return image;
}

START_TEST(texts_of_a_png_are_checked)
{
    static const struct {
        made_segment text;
        const char *xmp; // NULL: none
    } rows[] = {
        { SEGMENT(0, "XML:com.adobe.xmp\0\0\0en\0key\0<x/>"), XMP "<x/>" },
        { SEGMENT(0, "XML:com.adobe.xmp\0\0\0\0\0<x/>"), XMP "<x/>" },
        { SEGMENT(0, "XML:com.adobe.xmp\0\0\0en\0"), NULL },
        { SEGMENT(0, "XML:com.adobe.xmp\0\0\0en"), NULL },
        { SEGMENT(0, "XML:com.adobe.xmp\0\1\0\0\0x"), NULL },
        { SEGMENT(0, "XML:com.adobe.xmp\0\0"), NULL },
        { SEGMENT(0, "Comment\0\0\0\0\0<x/>"), NULL },
        { SEGMENT(0, ""), NULL },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(rows); i++) {
        sl_image *image = png_with(&rows[i].text);
        const made_segment want = { 0xE1, rows[i].xmp, sizeof(XMP) - 1 + 4 };
        check_remarks(image, &want, rows[i].xmp != NULL);
        sl_image_free(image);
    }
    char *much = calloc(70000, 1);
    memcpy(much, "XML:com.adobe.xmp", 17);
    sl_image *image = png_with(&(made_segment) { 0, much, 70000 }); // more than a segment holds
    check_remarks(image, NULL, 0);
    sl_image_free(image);
    free(much);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("remarks");
    tcase_add_loop_test(tests, a_jpeg_keeps_them, 0, 2);
    tcase_add_test(tests, a_png_keeps_xmp);
    tcase_add_test(tests, xmp_turns_nothing_twice);
    tcase_add_test(tests, some_are_not_kept);
    tcase_add_test(tests, what_lies_behind_is_missed);
    tcase_add_test(tests, texts_of_a_png_are_checked);
    return run_case("image/remarks", tests);
}
