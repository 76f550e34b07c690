// SPDX-License-Identifier: MIT
// tests/pipeline/precision.c: f16 beside f32, or bf16 where the processor is named: on a real
// photograph nearly the same picture. SAMPLE and MODEL are the photograph and the model that come
// with the program.
#include "scene.h"

#include "pipeline/pipeline.h"

#define SIDE 128u // of the part that is computed: a device in software takes its time
#define MIN_PSNR 55.0
#define SKIPPED 77

static const char *device_name(void)
{
    const char *name = getenv("SOFTLENS_TEST_DEVICE");
    return name ? name : "vulkan";
}

static sl_precision half(void)
{
    return strcmp(device_name(), "cpu") == 0 ? SL_PRECISION_BF16 : SL_PRECISION_F16;
}

static bool has_half(void)
{
    sl_ctx *own = NULL;
    sl_device *device = NULL;
    bool has = sl_ctx_new(NULL, &own) == SL_OK &&
               sl_device_open(own, device_name(), &device) == SL_OK &&
               sl_device_set_precision(device, half()) == SL_OK;
    if (!has)
        printf("skipped: %s\n", sl_ctx_message(own));
    sl_device_close(device);
    sl_ctx_free(own);
    return has;
}

// The photograph from (left, top) on, in 16 bits: what is compared is not rounded to 8.
static sl_image *part_of_sample(uint32_t left, uint32_t top)
{
    sl_image *photo, *part;
    ck_ok(sl_image_load(ctx, SAMPLE, NULL, &photo));
    ck_assert(photo->width >= left + SIDE && photo->height >= top + SIDE && photo->depth == 8);
    ck_ok(sl_image_new(ctx, SIDE, SIDE, photo->channels, 16, &part));
    for (uint32_t y = 0; y < SIDE; y++) {
        uint16_t *row = sl_image_row(part, y);
        for (uint32_t i = 0; i < SIDE * photo->channels; i++)
            row[i] = (uint16_t)(257 * sample(photo, left + i / photo->channels, top + y,
                                             i % photo->channels));
    }
    sl_image_free(photo);
    return part;
}

static sl_image *deblur(const sl_model *model, const sl_image *image, sl_precision precision)
{
    sl_deblur *d;
    sl_image *out;
    sl_deblur_report report;
    sl_deblur_options options = { .device = device_name(), .precision = precision };
    ck_ok(sl_deblur_new(ctx, model, &options, &d));
    ck_ok(sl_deblur_run(d, image, &out, NULL, &report));
    ck_assert_int_eq(report.precision, precision);
    ck_assert_int_eq(strstr(report.device, "f16") != NULL, precision != SL_PRECISION_F32);
    ck_assert(report.kept_share > 0.2);
    sl_deblur_free(d);
    return out;
}

static double psnr(const sl_image *a, const sl_image *b)
{
    double sum = 0;
    for (uint32_t y = 0; y < a->height; y++)
        for (uint32_t i = 0; i < a->width * a->channels; i++) {
            double d = (double)sample(a, i / a->channels, y, i % a->channels) -
                       sample(b, i / a->channels, y, i % a->channels);
            sum += d * d;
        }
    double mean = sum / ((double)a->width * a->height * a->channels);
    return mean > 0 ? 10 * log10(65535.0 * 65535.0 / mean) : INFINITY;
}

START_TEST(a_photograph_stays_the_same)
{
    static const uint32_t corners[][2] = { { 150, 60 }, { 190, 250 } };
    sl_model *model;
    ck_ok(sl_model_open(ctx, MODEL, &model));
    sl_image *image = part_of_sample(corners[_i][0], corners[_i][1]);
    sl_image *whole = deblur(model, image, SL_PRECISION_F32);
    sl_image *other = deblur(model, image, half());
    double db = psnr(whole, other);
    printf("%s against f32: %.1f dB\n", sl_precision_name(half()), db);
    ck_assert_uint_gt(differing(image, whole), 100); // something was computed,
    ck_assert_uint_gt(differing(whole, other), 0);   // and in two ways
    ck_assert_msg(db > MIN_PSNR, "%.1f dB", db);
    sl_image_free(other);
    sl_image_free(whole);
    sl_image_free(image);
    sl_model_free(model);
}
END_TEST

// The activations of a network of pictures: a little more than half, as pictures stay f32.
START_TEST(half_the_memory)
{
    double bytes[2];
    sl_model *model;
    ck_ok(sl_model_open(ctx, MODEL, &model));
    for (int i = 0; i < 2; i++) {
        sl_bench_options options = { .device = device_name(),
                                     .width = 64,
                                     .height = 64,
                                     .repeats = 1,
                                     .precision = i ? SL_PRECISION_F16 : SL_PRECISION_F32 };
        char *text;
        ck_ok(sl_model_bench(ctx, model, &options, &text));
        ck_assert_ptr_nonnull(
            strstr(text, i ? "\"precision\": \"f16\"" : "\"precision\": \"f32\""));
        ck_assert_int_eq(
            sscanf(strstr(text, "\"memory_bytes\""), "\"memory_bytes\": %lf", &bytes[i]), 1);
        free(text);
    }
    ck_assert_msg(bytes[1] < 0.75 * bytes[0], "%g of %g bytes", bytes[1], bytes[0]);
    sl_model_free(model);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("precision");
    tcase_add_loop_test(tests, a_photograph_stays_the_same, 0, 2);
    if (half() == SL_PRECISION_F16)
        tcase_add_test(tests, half_the_memory);
    return has_half() ? run_case("pipeline/precision", tests) : SKIPPED;
}
