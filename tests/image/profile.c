// SPDX-License-Identifier: MIT
// tests/image/profile.c: profiles of colours by their numbers, held to colours worked out here.
#include "../base/run.h"
#include "image/codec.h"

#include <lcms2.h>
#include <math.h>

typedef double matrix[3][3];

static void multiply(const matrix a, const double v[3], double out[3])
{
    for (int i = 0; i < 3; i++)
        out[i] = a[i][0] * v[0] + a[i][1] * v[1] + a[i][2] * v[2];
}

static void invert(const matrix m, matrix out)
{
    double det = 0;
    for (int i = 0; i < 3; i++)
        det += m[0][i] *
               (m[1][(i + 1) % 3] * m[2][(i + 2) % 3] - m[1][(i + 2) % 3] * m[2][(i + 1) % 3]);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            out[j][i] = (m[(i + 1) % 3][(j + 1) % 3] * m[(i + 2) % 3][(j + 2) % 3] -
                         m[(i + 1) % 3][(j + 2) % 3] * m[(i + 2) % 3][(j + 1) % 3]) /
                        det;
}

// Linear light of these primaries, whose white is D65, to XYZ.
static void to_xyz(const double xy[6], matrix out)
{
    const double white[3] = { 0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290 };
    matrix columns, inverse;
    double scale[3];
    for (int c = 0; c < 3; c++) {
        const double x = xy[2 * c], y = xy[2 * c + 1];
        columns[0][c] = x / y;
        columns[1][c] = 1;
        columns[2][c] = (1 - x - y) / y;
    }
    invert(columns, inverse);
    multiply(inverse, white, scale);
    for (int i = 0; i < 3; i++)
        for (int c = 0; c < 3; c++)
            out[i][c] = columns[i][c] * scale[c];
}

static double srgb_light(double v)
{
    return v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
}

static double srgb_sample(double light)
{
    light = light < 0 ? 0 : light > 1 ? 1 : light;
    return light <= 0.0031308 ? light * 12.92 : 1.055 * pow(light, 1 / 2.4) - 0.055;
}

static double light_of(unsigned transfer, double v)
{
    return transfer == 13  ? srgb_light(v)
           : transfer == 4 ? pow(v, 2.2)
           : transfer == 8 ? v
           : v < 0.081     ? v / 4.5
                           : pow((v + 0.099) / 1.099, 1 / 0.45);
}

static const double srgb[6] = { 0.64, 0.33, 0.30, 0.60, 0.15, 0.06 };

// Colours of the profile as sRGB, by lcms and by hand.
static void check_colours(const sl_blob *icc, const double xy[6], unsigned transfer)
{
    static const uint8_t colours[][3] = { { 255, 255, 255 }, { 0, 0, 0 },     { 128, 128, 128 },
                                          { 150, 110, 90 },  { 60, 140, 90 }, { 90, 80, 170 },
                                          { 255, 0, 0 },     { 20, 20, 20 } };
    matrix own, other, back;
    to_xyz(xy, own);
    to_xyz(srgb, other);
    invert(other, back);
    cmsHPROFILE from = cmsOpenProfileFromMem(icc->data, (cmsUInt32Number)icc->size);
    cmsHPROFILE to = cmsCreate_sRGBProfile();
    ck_assert_ptr_nonnull(from);
    cmsHTRANSFORM transform = cmsCreateTransform(from, TYPE_RGB_8, to, TYPE_RGB_8,
                                                 INTENT_RELATIVE_COLORIMETRIC, cmsFLAGS_NOOPTIMIZE);
    for (size_t i = 0; i < SL_ARRAY_LEN(colours); i++) {
        uint8_t got[3];
        double light[3], xyz[3], rgb[3];
        cmsDoTransform(transform, colours[i], got, 1);
        for (int c = 0; c < 3; c++)
            light[c] = light_of(transfer, colours[i][c] / 255.0);
        multiply(own, light, xyz);
        multiply(back, xyz, rgb);
        for (int c = 0; c < 3; c++)
            ck_assert_msg(fabs(got[c] - srgb_sample(rgb[c]) * 255) <= 1.5, "%zu, %d: %d, not %g", i,
                          c, got[c], srgb_sample(rgb[c]) * 255);
    }
    cmsDeleteTransform(transform);
    cmsCloseProfile(from);
    cmsCloseProfile(to);
}

START_TEST(colours_are_what_their_numbers_say)
{
    static const double p3[6] = { 0.680, 0.320, 0.265, 0.690, 0.150, 0.060 };
    static const double bt2020[6] = { 0.708, 0.292, 0.170, 0.797, 0.131, 0.046 };
    static const unsigned transfers[] = { 1, 4, 8, 11, 13, 14 };
    for (size_t i = 0; i < SL_ARRAY_LEN(transfers); i++) {
        sl_blob icc, again;
        ck_ok(sl_icc_of_numbers(ctx, "a.avif", 12, transfers[i], &icc));
        check_colours(&icc, p3, transfers[i]);
        ck_ok(sl_icc_of_numbers(ctx, "a.avif", 12, transfers[i], &again));
        ck_assert_uint_eq(icc.size, again.size);
        ck_assert_mem_eq(icc.data, again.data, icc.size);
        ck_assert_mem_eq(icc.data + 24, "\x07\xEA\0\1\0\1\0\0\0\0\0\0", 12); // not the time of day
        sl_blob_free(&icc);
        sl_blob_free(&again);
        ck_ok(sl_icc_of_numbers(ctx, "a.avif", 9, transfers[i], &icc));
        check_colours(&icc, bt2020, transfers[i]);
        sl_blob_free(&icc);
        const bool is_odd = transfers[i] == 4 || transfers[i] == 8;
        ck_ok(sl_icc_of_numbers(ctx, "a.avif", 1, transfers[i], &icc));
        ck_assert_int_eq(icc.size > 0, is_odd);
        if (is_odd)
            check_colours(&icc, srgb, transfers[i]);
        sl_blob_free(&icc);
    }
}
END_TEST

START_TEST(others_have_none)
{
    static const unsigned numbers[][2] = { { 1, 13 },  { 2, 2 },  { 6, 6 }, { 9, 16 },
                                           { 12, 18 }, { 1, 16 }, { 9, 5 }, { 70000, 70000 } };
    for (size_t i = 0; i < SL_ARRAY_LEN(numbers); i++) {
        sl_blob icc;
        *warning = '\0';
        ck_ok(sl_icc_of_numbers(ctx, "a.avif", numbers[i][0], numbers[i][1], &icc));
        ck_assert_uint_eq(icc.size, 0);
        const bool is_hdr = numbers[i][1] == 16 || numbers[i][1] == 18;
        ck_assert_int_eq(strstr(warning, "a.avif: has HDR colours") != NULL, is_hdr);
        ck_assert_int_eq(strstr(warning, "has wide colours") != NULL, numbers[i][1] == 5);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("profile");
    tcase_add_test(tests, colours_are_what_their_numbers_say);
    tcase_add_test(tests, others_have_none);
    return run_case("image-profile", tests);
}
