// SPDX-License-Identifier: MIT
// tests/fuzz/image_seeds.c: writes small pictures of every kind into a directory, for the fuzzer
// to start from: fuzz-image-seeds DIRECTORY
#include "../image/made.h"

static int written;

static const char text_xmp[] = "XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta tiff:Orientation='3'/>";
static const char jpeg_xmp[] = "http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation='3'/>";
static const made_segment text = { 0, text_xmp, sizeof(text_xmp) - 1 },
                          segment = { 0xE1, jpeg_xmp, sizeof(jpeg_xmp) - 1 };

static void save(const char *directory, const char *kind, const void *data, size_t size)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s-%02d", directory, kind, written++);
    if (sl_file_write(ctx, path, true, data, size) != SL_OK) {
        fprintf(stderr, "%s\n", sl_ctx_message(ctx));
        exit(1);
    }
}

static void make_pngs(const char *directory, const uint8_t *rows)
{
    static const int kinds[][2] = { { 0, 1 }, { 0, 16 }, { 3, 2 }, { 2, 8 }, { 4, 8 }, { 6, 16 } };
    for (unsigned i = 0; i < SL_ARRAY_LEN(kinds); i++) {
        sl_blob icc = made_srgb_profile();
        made_png_spec s = { .width = 9,
                            .height = 5,
                            .type = kinds[i][0],
                            .depth = kinds[i][1],
                            .interlace = i & 1,
                            .rows = rows,
                            .transparent = i < 4,
                            .exif_late = i & 1,
                            .gamma = i == 1,
                            .text = i % 2 ? &text : NULL,
                            .density = { 5, i } };
        s.exif = made_exif(i + 1, i & 1, &s.exif_size);
        if (i == 3) {
            s.icc = icc.data;
            s.icc_size = (uint32_t)icc.size;
        }
        sl_blob file = made_png(&s);
        save(directory, "png", file.data, file.size);
        sl_blob_free(&file);
        sl_blob_free(&icc);
    }
}

static void make_jpegs(const char *directory, const uint8_t *rows)
{
    static const J_COLOR_SPACE kinds[][2] = { { JCS_GRAYSCALE, JCS_GRAYSCALE },
                                              { JCS_RGB, JCS_YCbCr },
                                              { JCS_RGB, JCS_YCbCr },
                                              { JCS_CMYK, JCS_YCCK },
                                              { JCS_CMYK, JCS_CMYK } };
    for (unsigned i = 0; i < SL_ARRAY_LEN(kinds); i++) {
        sl_blob icc = made_cmyk_profile();
        made_jpeg_spec s = { .width = 19,
                             .height = 9,
                             .in = kinds[i][0],
                             .file = kinds[i][1],
                             .progressive = i >= 2,
                             .rows = rows,
                             .density_unit = 1,
                             .density = { 72, 72 },
                             .segments = &segment,
                             .segment_count = i % 2,
                             .h = i == 1 ? 2 : 1,
                             .v = i == 1 ? 2 : 1 };
        s.exif = made_exif(i + 3, i & 1, &s.exif_size);
        if (i == 3) {
            s.icc = icc.data;
            s.icc_size = (uint32_t)icc.size;
        }
        sl_blob file = made_jpeg(&s);
        save(directory, "jpeg", file.data, file.size);
        sl_blob_free(&file);
        sl_blob_free(&icc);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2 || sl_ctx_new(NULL, &ctx) != SL_OK || sl_make_dir(ctx, argv[1]) != SL_OK) {
        fprintf(stderr, "usage: fuzz-image-seeds DIRECTORY\n");
        return 2;
    }
    uint8_t *rows = made_gradient(64, 64, 1);
    make_pngs(argv[1], rows);
    make_jpegs(argv[1], rows);
    free(rows);
    sl_ctx_free(ctx);
    return 0;
}
