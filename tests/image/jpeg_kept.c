// SPDX-License-Identifier: MIT
// tests/image/jpeg_kept.c: a JPEG that is saved as it was loaded keeps the coding of all that did
// not change. The files' coefficients are compared, read by libjpeg itself.
#include "made.h"

#define W 61
#define H 43

static sl_blob photograph(size_t kind, unsigned orientation, uint32_t width, uint32_t height)
{
    const made_jpeg_kind *k = &made_jpeg_kinds[kind];
    uint8_t *rows = made_gradient(width, height, k->in == JCS_GRAYSCALE ? 1 : 3);
    uint32_t exif_size = 0;
    const uint8_t *exif = orientation ? made_exif(orientation, true, &exif_size) : NULL;
    made_jpeg_spec s = { .width = width,
                         .height = height,
                         .in = k->in,
                         .file = k->file,
                         .h = k->h,
                         .v = k->v,
                         .quality = 71,
                         .progressive = k->progressive,
                         .exif = exif,
                         .exif_size = exif_size,
                         .rows = rows };
    sl_blob file = made_jpeg(&s);
    free(rows);
    return file;
}

static sl_blob saved(const sl_image *image, const sl_save_options *options)
{
    sl_save_options o = options ? *options : (sl_save_options) { 0 };
    sl_blob file;
    o.format = SL_IMAGE_JPEG;
    ck_ok(sl_image_encode(ctx, image, "saved", &o, &file));
    ck_assert_mem_eq(file.data + file.size - 2, "\xFF\xD9", 2); // its end, and nothing behind it
    return file;
}

// ---- coefficients

typedef struct coefficients {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors; // libjpeg's own: ends the test
    jvirt_barray_ptr *blocks;
} coefficients;

static void open_coefficients(coefficients *c, const sl_blob *file)
{
    c->jpeg.err = jpeg_std_error(&c->errors);
    jpeg_create_decompress(&c->jpeg);
    jpeg_mem_src(&c->jpeg, file->data, file->size);
    jpeg_read_header(&c->jpeg, TRUE);
    c->blocks = jpeg_read_coefficients(&c->jpeg);
}

static const JCOEF *block_of(coefficients *c, int component, JDIMENSION row, JDIMENSION column)
{
    JBLOCKARRAY rows = c->jpeg.mem->access_virt_barray((j_common_ptr)&c->jpeg, c->blocks[component],
                                                       row, 1, FALSE);
    return rows[0][column];
}

// Pixels of the file as stored, left to right and top to bottom; both ends inside.
typedef struct span {
    uint32_t x0, y0, x1, y1;
} span;

// Whether a block belongs to an MCU that `s` touches.
static bool touches(const coefficients *c, int component, JDIMENSION row, JDIMENSION column,
                    const span *s)
{
    const jpeg_component_info *info = &c->jpeg.comp_info[component];
    uint32_t mcu_w = (uint32_t)c->jpeg.max_h_samp_factor * DCTSIZE;
    uint32_t mcu_h = (uint32_t)c->jpeg.max_v_samp_factor * DCTSIZE;
    uint32_t x = column / (uint32_t)info->h_samp_factor, y = row / (uint32_t)info->v_samp_factor;
    return s && x >= s->x0 / mcu_w && x <= s->x1 / mcu_w && y >= s->y0 / mcu_h &&
           y <= s->y1 / mcu_h;
}

static bool same_values(const JCOEF *a, const JQUANT_TBL *steps_a, const JCOEF *b,
                        const JQUANT_TBL *steps_b)
{
    for (int i = 0; i < DCTSIZE2; i++)
        if (a[i] * steps_a->quantval[i] != b[i] * steps_b->quantval[i])
            return false;
    return true;
}

// No step of the second table is larger than the first's; where nothing changed they are the same.
static void check_tables(const JQUANT_TBL *before, const JQUANT_TBL *after, bool is_changed)
{
    for (int i = 0; i < DCTSIZE2; i++) {
        ck_assert_uint_eq(before->quantval[i] % after->quantval[i], 0);
        if (!is_changed)
            ck_assert_uint_eq(before->quantval[i], after->quantval[i]);
    }
}

// All blocks that no changed pixel touches have the same values. How many others differ.
static unsigned check_blocks(const sl_blob *before, const sl_blob *after, const span *changed)
{
    coefficients a, b;
    unsigned differ = 0;
    open_coefficients(&a, before);
    open_coefficients(&b, after);
    ck_assert_uint_eq(a.jpeg.image_width, b.jpeg.image_width);
    ck_assert_uint_eq(a.jpeg.image_height, b.jpeg.image_height);
    ck_assert_int_eq(a.jpeg.num_components, b.jpeg.num_components);
    ck_assert_int_eq(a.jpeg.jpeg_color_space, b.jpeg.jpeg_color_space);
    ck_assert_int_eq(a.jpeg.progressive_mode, b.jpeg.progressive_mode);
    for (int c = 0; c < a.jpeg.num_components; c++) {
        const jpeg_component_info *info = &a.jpeg.comp_info[c];
        const JQUANT_TBL *steps = b.jpeg.comp_info[c].quant_table;
        check_tables(info->quant_table, steps, changed != NULL);
        for (JDIMENSION row = 0; row < info->height_in_blocks; row++)
            for (JDIMENSION column = 0; column < info->width_in_blocks; column++) {
                bool same = same_values(block_of(&a, c, row, column), info->quant_table,
                                        block_of(&b, c, row, column), steps);
                if (!same && !touches(&a, c, row, column, changed))
                    ck_abort_msg("component %d, block %u, %u: changed", c, column, row);
                differ += !same;
            }
    }
    jpeg_destroy_decompress(&a.jpeg);
    jpeg_destroy_decompress(&b.jpeg);
    return differ;
}

static void check_same_pixels(const sl_image *a, const sl_image *b)
{
    ck_assert_uint_eq(a->width, b->width);
    ck_assert_uint_eq(a->height, b->height);
    ck_assert_mem_eq(a->pixels, b->pixels, a->row_bytes * a->height);
}

// ---- the tests

START_TEST(what_did_not_change_comes_back)
{
    size_t kind = (size_t)_i % MADE_JPEG_KINDS;
    unsigned orientation = (unsigned)((size_t)_i / MADE_JPEG_KINDS); // 0: no EXIF
    sl_blob file = photograph(kind, orientation, W, H);
    sl_image *image = decode_ok(&file, NULL);
    sl_blob again = saved(image, NULL);
    ck_assert_uint_eq(check_blocks(&file, &again, NULL), 0);
    sl_image *second = decode_ok(&again, NULL);
    check_same_pixels(image, second);
    ck_assert_uint_eq(image->exif.size, second->exif.size);
    sl_image_free(image);
    sl_image_free(second);
    sl_blob_free(&file);
    sl_blob_free(&again);
}
END_TEST

// Paints a square of the upright picture; where it lies in the file.
static span painted(sl_image *image, uint32_t *random)
{
    uint32_t x0 = made_random(random) % image->width, y0 = made_random(random) % image->height;
    uint32_t x1 = x0 + made_random(random) % (image->width - x0);
    uint32_t y1 = y0 + made_random(random) % (image->height - y0);
    for (uint32_t y = y0; y <= y1; y++)
        for (uint32_t i = x0 * image->channels; i < (x1 + 1) * image->channels; i++) {
            uint8_t *sample = (uint8_t *)sl_image_row(image, y) + i;
            *sample = (uint8_t)(*sample > 127 ? *sample - 60 : *sample + 60);
        }
    uint32_t right = image->width - 1, bottom = image->height - 1;
    switch (image->turned) {
    case 2:
        return (span) { right - x1, y0, right - x0, y1 };
    case 3:
        return (span) { right - x1, bottom - y1, right - x0, bottom - y0 };
    case 4:
        return (span) { x0, bottom - y1, x1, bottom - y0 };
    case 5:
        return (span) { y0, x0, y1, x1 };
    case 6:
        return (span) { y0, right - x1, y1, right - x0 };
    case 7:
        return (span) { bottom - y1, right - x1, bottom - y0, right - x0 };
    case 8:
        return (span) { bottom - y1, x0, bottom - y0, x1 };
    default:
        return (span) { x0, y0, x1, y1 };
    }
}

static double mean_difference(const sl_image *a, const sl_image *b)
{
    double sum = 0;
    for (size_t i = 0; i < a->row_bytes * a->height; i++)
        sum +=
            a->pixels[i] > b->pixels[i] ? a->pixels[i] - b->pixels[i] : b->pixels[i] - a->pixels[i];
    return sum / (double)(a->row_bytes * a->height);
}

static unsigned first_step(const sl_blob *file)
{
    coefficients c;
    open_coefficients(&c, file);
    unsigned step = c.jpeg.comp_info[0].quant_table->quantval[1];
    jpeg_destroy_decompress(&c.jpeg);
    return step;
}

START_TEST(only_what_changed_is_coded_anew)
{
    size_t kind = (size_t)_i % MADE_JPEG_KINDS;
    uint32_t random = (uint32_t)_i + 1;
    for (unsigned orientation = 0; orientation <= 8; orientation++) {
        uint32_t width = 1 + made_random(&random) % 90, height = 1 + made_random(&random) % 90;
        sl_blob file = photograph(kind, orientation, width, height);
        sl_image *image = decode_ok(&file, NULL), *copy = NULL;
        span changed = painted(image, &random);
        ck_ok(sl_image_clone(ctx, image, &copy)); // results are made so
        sl_blob again = saved(copy, NULL);
        ck_assert_uint_gt(check_blocks(&file, &again, &changed), 0);
        ck_assert_uint_lt(first_step(&again), first_step(&file));
        sl_image *second = decode_ok(&again, NULL);
        ck_assert_uint_eq(second->width, image->width);
        ck_assert_uint_eq(second->height, image->height);
        double far = mean_difference(image, second);
        ck_assert_msg(far < 5, "%ux%u, orientation %u: %g off", width, height, orientation, far);
        sl_image_free(image);
        sl_image_free(copy);
        sl_image_free(second);
        sl_blob_free(&file);
        sl_blob_free(&again);
    }
}
END_TEST

START_TEST(what_lies_between_changes_is_kept)
{
    const made_jpeg_kind *k = &made_jpeg_kinds[_i];
    const unsigned blocks = (unsigned)(k->h * k->v) + (k->in == JCS_GRAYSCALE ? 0 : 2); // of an MCU
    const span row = { 0, 0, 199, 0 };
    sl_blob file = photograph((size_t)_i, 0, 200, 40);
    sl_image *image = decode_ok(&file, NULL);
    image->pixels[0] ^= 128;
    image->pixels[199 * image->channels] ^= 128;
    sl_blob again = saved(image, NULL);
    const unsigned differ = check_blocks(&file, &again, &row);
    ck_assert_msg(differ >= 2 && differ <= 2 * blocks, "%u blocks", differ);
    sl_image_free(image);
    sl_blob_free(&file);
    sl_blob_free(&again);
}
END_TEST

START_TEST(a_quality_codes_all_anew)
{
    sl_blob file = photograph(4, 0, W, H);
    sl_image *image = decode_ok(&file, NULL);
    sl_save_options options = { .quality = 20 };
    sl_blob again = saved(image, &options);
    ck_assert_uint_gt(first_step(&again), 2 * first_step(&file));
    sl_image_free(image);
    sl_blob_free(&file);
    sl_blob_free(&again);
}
END_TEST

// Without EXIF nothing says that a picture lies on its side, so it is turned and coded anew.
START_TEST(without_metadata_it_stands_upright)
{
    sl_blob file = photograph(4, 6, W, H);
    sl_image *image = decode_ok(&file, NULL);
    sl_save_options options = { .strip_metadata = true };
    sl_blob again = saved(image, &options);
    sl_image *second = decode_ok(&again, NULL);
    ck_assert_uint_eq(second->exif.size, 0);
    ck_assert_uint_eq(second->width, H);
    ck_assert_double_lt(mean_difference(image, second), 5);
    ck_assert_uint_lt(first_step(&again), first_step(&file));
    sl_image_free(image);
    sl_image_free(second);
    sl_blob_free(&file);
    sl_blob_free(&again);
}
END_TEST

START_TEST(nothing_is_kept_of_inks_or_damaged_files)
{
    uint8_t *rows = made_gradient(W, H, 4);
    made_jpeg_spec s = { .width = W, .height = H, .in = JCS_CMYK, .file = JCS_CMYK, .rows = rows };
    sl_blob inks = made_jpeg(&s), file = photograph(4, 0, 400, 300);
    sl_image *image = decode_ok(&inks, NULL);
    ck_assert_uint_eq(image->coded.size, 0);
    sl_image_free(image);
    file.size -= 40;
    image = decode_ok(&file, &(sl_load_options) { .allow_truncated = true });
    ck_assert_uint_eq(image->coded.size, 0);
    sl_blob again = saved(image, NULL);
    sl_image *second = decode_ok(&again, NULL);
    ck_assert_double_lt(mean_difference(image, second), 5);
    sl_image_free(image);
    sl_image_free(second);
    sl_blob_free(&inks);
    sl_blob_free(&file);
    sl_blob_free(&again);
    free(rows);
}
END_TEST

// The pixels count, whatever the file beside them is.
START_TEST(another_file_is_not_kept)
{
    sl_blob file = photograph(4, 0, W, H);
    sl_blob others[] = {
        photograph(4, 0, W + 1, H), photograph(4, 0, W, H - 1), photograph(0, 0, W, H), { NULL, 0 }
    };
    ck_ok(sl_blob_copy(ctx, "no JPEG at all", 14, &others[3]));
    for (size_t i = 0; i < SL_ARRAY_LEN(others); i++) {
        sl_image *image = decode_ok(&file, NULL);
        sl_blob_free(&image->coded);
        image->coded = others[i];
        sl_blob again = saved(image, NULL);
        sl_image *second = decode_ok(&again, NULL);
        ck_assert_double_lt(mean_difference(image, second), 5);
        sl_image_free(image);
        sl_image_free(second);
        sl_blob_free(&again);
    }
    sl_blob_free(&file);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("jpeg_kept");
    tcase_add_loop_test(tests, what_did_not_change_comes_back, 0, MADE_JPEG_KINDS * 9);
    tcase_add_loop_test(tests, only_what_changed_is_coded_anew, 0, MADE_JPEG_KINDS * 8);
    tcase_add_loop_test(tests, what_lies_between_changes_is_kept, 0, MADE_JPEG_KINDS);
    tcase_add_test(tests, a_quality_codes_all_anew);
    tcase_add_test(tests, without_metadata_it_stands_upright);
    tcase_add_test(tests, nothing_is_kept_of_inks_or_damaged_files);
    tcase_add_test(tests, another_file_is_not_kept);
    return run_case("image/jpeg_kept", tests);
}
