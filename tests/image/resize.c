// SPDX-License-Identifier: MIT
// tests/image/resize.c: the square that classifiers see equals Pillow's to the bit
// (tools/golden/resize.py), whatever depth and channels the picture has.
#include "made.h"
#include "tensor/tensor.h"

static sl_tensor_set *open_golden(void)
{
    sl_tensor_set *set;
    ck_ok(sl_tensor_set_open(ctx, GOLDEN_DIR "/resize.safetensors", &set));
    return set;
}

// NAME.what, of NAME = WIDTHxHEIGHT-SHORT-CROP; false for other tensors.
static bool read_case(const sl_tensor *t, const char *what, uint32_t size[4])
{
    char end[16];
    return sscanf(t->name, "%ux%u-%u-%u.%15s", &size[0], &size[1], &size[2], &size[3], end) == 5 &&
           strcmp(end, what) == 0;
}

static sl_image *picture_of(uint32_t width, uint32_t height, const uint8_t *rgb)
{
    sl_image *image;
    ck_ok(sl_image_new(ctx, width, height, 3, 8, &image));
    memcpy(image->pixels, rgb, (size_t)width * height * 3);
    return image;
}

START_TEST(small_pictures_equal_pillow)
{
    sl_tensor_set *set = open_golden();
    int cases = 0;
    for (size_t i = 0; i < sl_tensor_set_count(set); i++) {
        const sl_tensor *in = sl_tensor_set_at(set, i);
        uint32_t size[4];
        if (!read_case(in, "in", size))
            continue;
        const sl_tensor *want = sl_tensor_set_at(set, i + 1);
        uint8_t got[16 * 16 * 3];
        sl_image *image = picture_of(size[0], size[1], in->data);
        ck_assert_uint_le(want->bytes, sizeof(got));
        ck_ok(sl_image_centre(ctx, image, size[2], size[3], got));
        ck_assert_msg(memcmp(got, want->data, want->bytes) == 0, "%s", want->name);
        sl_image_free(image);
        cases++;
    }
    ck_assert_int_ge(cases, 13);
    sl_tensor_set_free(set);
}
END_TEST

// As pattern() of the script.
static sl_image *pattern(uint32_t width, uint32_t height)
{
    sl_image *image;
    ck_ok(sl_image_new(ctx, width, height, 3, 8, &image));
    for (uint32_t y = 0; y < height; y++) {
        uint8_t *row = sl_image_row(image, y);
        for (uint32_t x = 0; x < width; x++)
            for (uint32_t c = 0; c < 3; c++)
                row[x * 3 + c] =
                    (uint8_t)((x * 7919 + y * 104729 + c * 31 + (x / 5) * (y / 3) * 13) % 251 +
                              ((x >> 3 ^ y >> 2 ^ c) & 1) * 4);
    }
    return image;
}

static uint64_t fnv1a(const uint8_t *data, size_t size)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ data[i]) * 0x100000001b3u;
    return h;
}

START_TEST(large_pictures_equal_pillow)
{
    sl_tensor_set *set = open_golden();
    static uint8_t got[224 * 224 * 3];
    int cases = 0;
    for (size_t i = 0; i < sl_tensor_set_count(set); i++) {
        const sl_tensor *hash = sl_tensor_set_at(set, i);
        uint32_t size[4];
        if (!read_case(hash, "hash", size))
            continue;
        sl_image *image = pattern(size[0], size[1]);
        ck_assert_uint_le(size[3], 224);
        ck_ok(sl_image_centre(ctx, image, size[2], size[3], got));
        uint64_t want = 0, h = fnv1a(got, (size_t)size[3] * size[3] * 3);
        for (int k = 0; k < 8; k++)
            want |= (uint64_t)((const uint8_t *)hash->data)[k] << 8 * k;
        ck_assert_msg(h == want, "%s", hash->name);
        sl_image_free(image);
        cases++;
    }
    ck_assert_int_ge(cases, 8);
    sl_tensor_set_free(set);
}
END_TEST

// A picture in other clothes: 16 bits whose rounding gives the same, or an opaque alpha.
static sl_image *dressed(const sl_image *from, unsigned channels, unsigned depth)
{
    sl_image *image;
    unsigned colours = channels >= 3 ? 3 : 1;
    ck_ok(sl_image_new(ctx, from->width, from->height, channels, depth, &image));
    for (size_t i = 0; i < (size_t)from->width * from->height; i++)
        for (unsigned c = 0; c < channels; c++) {
            unsigned value = c < colours ? from->pixels[i * 3 + c] : 255;
            if (depth == 8)
                image->pixels[i * channels + c] = (uint8_t)value;
            else
                ((uint16_t *)(void *)image->pixels)[i * channels + c] =
                    (uint16_t)(value * 257 + (value > 0 && value < 255 ? 100 : 0));
        }
    return image;
}

START_TEST(depth_and_channels_do_not_matter)
{
    sl_image *image = pattern(50, 41);
    uint8_t want[16 * 16 * 3], got[16 * 16 * 3];
    ck_ok(sl_image_centre(ctx, image, 19, 16, want));
    for (unsigned depth = 8; depth <= 16; depth += 8)
        for (unsigned channels = 1; channels <= 4; channels++) {
            sl_image *other = dressed(image, channels, depth);
            ck_ok(sl_image_centre(ctx, other, 19, 16, got));
            for (size_t i = 0; i < sizeof(got); i++) // grey is the first channel here
                ck_assert_uint_eq(got[i], want[channels >= 3 ? i : i / 3 * 3]);
            sl_image_free(other);
        }
    sl_image_free(image);
}
END_TEST

START_TEST(what_is_clear_is_mid_grey)
{
    sl_image *image;
    uint8_t got[4 * 4 * 3];
    ck_ok(sl_image_new(ctx, 9, 9, 4, 16, &image));
    ck_ok(sl_image_centre(ctx, image, 5, 4, got));
    for (size_t i = 0; i < sizeof(got); i++)
        ck_assert_uint_eq(got[i], 128);
    sl_image_free(image);
}
END_TEST

// So long that the picture whose short side is 248 would have 10^10 pixels; only the crop is made.
START_TEST(extreme_pictures_cost_no_more)
{
    static uint8_t got[224 * 224 * 3];
    for (int tall = 0; tall < 2; tall++) {
        sl_image *image;
        ck_ok(sl_image_new(ctx, tall ? 1 : 40000000, tall ? 40000000 : 1, 1, 8, &image));
        memset(image->pixels, 77, 40000000);
        ck_ok(sl_image_centre(ctx, image, 248, 224, got));
        for (size_t i = 0; i < sizeof(got); i++)
            ck_assert_uint_eq(got[i], 77);
        sl_image_free(image);
    }
}
END_TEST

// More taps than one block of sums holds, and than 32 bits would: of the negative weights, whose
// lower halves are large.
START_TEST(sums_do_not_overflow)
{
    sl_image *image;
    uint8_t got[3];
    ck_ok(sl_image_new(ctx, 9000, 9000, 1, 8, &image));
    memset(image->pixels, 255, (size_t)9000 * 9000);
    ck_ok(sl_image_centre(ctx, image, 5, 1, got));
    ck_assert_uint_eq(got[0], 255);
    sl_image_free(image);
}
END_TEST

START_TEST(sizes_are_checked)
{
    sl_image *image = pattern(8, 8);
    uint8_t got[3];
    ck_fails(sl_image_centre(ctx, image, 4, 0, got), SL_ERR_ARGUMENT, "crop of 0");
    ck_fails(sl_image_centre(ctx, image, 4, 5, got), SL_ERR_ARGUMENT, "crop of 5");
    ck_fails(sl_image_centre(ctx, image, 65536, 5, got), SL_ERR_ARGUMENT, "65536");
    sl_image_free(image);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("resize");
    tcase_add_test(tests, small_pictures_equal_pillow);
    tcase_add_test(tests, large_pictures_equal_pillow);
    tcase_add_test(tests, depth_and_channels_do_not_matter);
    tcase_add_test(tests, what_is_clear_is_mid_grey);
    tcase_add_test(tests, extreme_pictures_cost_no_more);
    tcase_add_test(tests, sums_do_not_overflow);
    tcase_add_test(tests, sizes_are_checked);
    return run_case("image/resize", tests);
}
