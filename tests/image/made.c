// SPDX-License-Identifier: MIT
// tests/image/made.c: see made.h. Errors here end the test by libpng's and libjpeg's own abort.
#include "made.h"

#include <lcms2.h>

uint32_t made_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

// ---- PNG

typedef struct sink {
    sl_blob blob;
    size_t capacity;
} sink;

static void take(png_structp png, png_bytep data, size_t size)
{
    sink *s = png_get_io_ptr(png);
    if (sl_blob_append(NULL, &s->blob, &s->capacity, data, size) != SL_OK)
        png_error(png, "out of memory");
}

png_color made_palette(unsigned i)
{
    return (png_color) { (png_byte)(i * 53 + 7), (png_byte)(255 - i * 11), (png_byte)(i * i) };
}

uint8_t made_alpha(unsigned i)
{
    return (uint8_t)(i * 37 + 5);
}

size_t made_png_row_bytes(const made_png_spec *spec)
{
    static const unsigned channels[7] = { 1, 0, 3, 1, 2, 0, 4 };
    return ((size_t)spec->width * channels[spec->type] * (unsigned)spec->depth + 7) / 8;
}

static void set_extras(png_structp png, png_infop info, const made_png_spec *spec)
{
    png_color palette[256];
    png_byte alpha[256];
    int colours = 1 << (spec->depth > 8 ? 8 : spec->depth);
    for (unsigned i = 0; i < 256; i++) {
        palette[i] = made_palette(i);
        alpha[i] = made_alpha(i);
    }
    if (spec->type == PNG_COLOR_TYPE_PALETTE)
        png_set_PLTE(png, info, palette, colours);
    if (spec->transparent && spec->type == PNG_COLOR_TYPE_PALETTE)
        png_set_tRNS(png, info, alpha, colours, NULL);
    else if (spec->transparent)
        png_set_tRNS(png, info, NULL, 0,
                     &(png_color_16) { .red = 1, .green = 1, .blue = 1, .gray = 1 });
    if (spec->icc)
        png_set_iCCP(png, info, "profile", 0, spec->icc, spec->icc_size);
    if (spec->srgb)
        png_set_sRGB(png, info, PNG_sRGB_INTENT_SATURATION);
    if (spec->gamma) {
        png_set_gAMA_fixed(png, info, 55556);
        png_set_cHRM_fixed(png, info, 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000);
    }
    if (spec->density[0])
        png_set_pHYs(png, info, spec->density[0], spec->density[1], PNG_RESOLUTION_METER);
    if (spec->exif && !spec->exif_late)
        png_set_eXIf_1(png, info, spec->exif_size, (png_bytep)(uintptr_t)spec->exif);
}

sl_blob made_png(const made_png_spec *spec)
{
    sink s = { { NULL, 0 }, 0 };
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    size_t row_bytes = made_png_row_bytes(spec);
    png_bytep *rows = malloc(spec->height * sizeof(*rows));
    for (uint32_t y = 0; y < spec->height; y++)
        rows[y] = (png_bytep)(uintptr_t)spec->rows + y * row_bytes;
    png_set_write_fn(png, &s, take, NULL);
    png_set_IHDR(png, info, spec->width, spec->height, spec->depth, spec->type, spec->interlace,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    set_extras(png, info, spec);
    png_write_info(png, info);
    if (spec->text)
        png_write_chunk(png, (png_const_bytep) "iTXt", spec->text->data, spec->text->size);
    if (spec->numbers)
        png_write_chunk(png, (png_const_bytep) "cICP", spec->numbers, 4);
    if (spec->frames)
        png_write_chunk(png, (png_const_bytep) "acTL", (uint8_t[8]) { 0, 0, 0, spec->frames }, 8);
    png_write_image(png, rows);
    if (spec->exif && spec->exif_late)
        png_write_chunk(png, (png_const_bytep) "eXIf", spec->exif, spec->exif_size);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    free(rows);
    return s.blob;
}

// ---- JPEG

static void set_jpeg(struct jpeg_compress_struct *jpeg, const made_jpeg_spec *spec)
{
    jpeg->image_width = spec->width;
    jpeg->image_height = spec->height;
    jpeg->in_color_space = spec->in;
    switch (spec->in) {
    case JCS_GRAYSCALE:
        jpeg->input_components = 1;
        break;
    case JCS_UNKNOWN:
        jpeg->input_components = 2;
        break;
    case JCS_CMYK:
        jpeg->input_components = 4;
        break;
    default:
        jpeg->input_components = 3;
    }
    jpeg_set_defaults(jpeg);
    jpeg_set_colorspace(jpeg, spec->file);
    jpeg_set_quality(jpeg, spec->quality ? spec->quality : 95, TRUE);
    for (int c = 0; c < jpeg->num_components; c++)
        jpeg->comp_info[c].h_samp_factor = jpeg->comp_info[c].v_samp_factor = 1;
    if (spec->h) {
        jpeg->comp_info[0].h_samp_factor = spec->h;
        jpeg->comp_info[0].v_samp_factor = spec->v;
    }
    if (spec->no_adobe)
        jpeg->write_Adobe_marker = FALSE;
    if (spec->density[0]) {
        jpeg->density_unit = (UINT8)spec->density_unit;
        jpeg->X_density = (UINT16)spec->density[0];
        jpeg->Y_density = (UINT16)spec->density[1];
    }
    if (spec->progressive)
        jpeg_simple_progression(jpeg);
}

const made_jpeg_kind made_jpeg_kinds[MADE_JPEG_KINDS] = {
    { JCS_GRAYSCALE, JCS_GRAYSCALE, 1, 1, false },
    { JCS_GRAYSCALE, JCS_GRAYSCALE, 2, 2, false },
    { JCS_GRAYSCALE, JCS_GRAYSCALE, 1, 1, true },
    { JCS_RGB, JCS_YCbCr, 1, 1, false },
    { JCS_RGB, JCS_YCbCr, 2, 2, false },
    { JCS_RGB, JCS_YCbCr, 2, 1, true },
    { JCS_RGB, JCS_YCbCr, 1, 2, false },
    { JCS_RGB, JCS_YCbCr, 4, 1, false },
    { JCS_RGB, JCS_RGB, 1, 1, false },
};

sl_blob made_jpeg(const made_jpeg_spec *spec)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char *data = NULL;
    unsigned long size = 0;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &data, &size);
    set_jpeg(&jpeg, spec);
    jpeg_start_compress(&jpeg, TRUE);
    if (spec->exif) {
        uint8_t marker[160] = "Exif\0";
        memcpy(marker + 6, spec->exif, spec->exif_size);
        jpeg_write_marker(&jpeg, JPEG_APP0 + 1, marker, spec->exif_size + 6);
    }
    if (spec->icc)
        jpeg_write_icc_profile(&jpeg, spec->icc, spec->icc_size);
    for (size_t i = 0; i < spec->segment_count; i++)
        jpeg_write_marker(&jpeg, (int)spec->segments[i].marker, spec->segments[i].data,
                          (unsigned)spec->segments[i].size);
    for (uint32_t y = 0; y < spec->height; y++) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)spec->rows +
                       (size_t)y * spec->width * (unsigned)jpeg.input_components;
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    return (sl_blob) { data, size };
}

// ---- metadata

const uint8_t *made_exif(unsigned orientation, bool big, uint32_t *size)
{
    static uint8_t little_tiff[] = { 'I',  'I',  42, 0, 8, 0, 0, 0, 2, 0, 0x00, 0x01,
                                     3,    0,    1,  0, 0, 0, 9, 0, 0, 0,          // ImageWidth 9
                                     0x12, 0x01, 3,  0, 1, 0, 0, 0, 0, 0, 0,    0, // Orientation
                                     0,    0,    0,  0 };
    static uint8_t big_tiff[] = { 'M', 'M', 0, 42, 0, 0, 0, 8, 0, 2,    0x01, 0x00, 0,
                                  3,   0,   0, 0,  1, 0, 9, 0, 0, 0x01, 0x12, 0,    3,
                                  0,   0,   0, 1,  0, 0, 0, 0, 0, 0,    0,    0 };
    uint8_t *tiff = big ? big_tiff : little_tiff;
    tiff[big ? 31 : 30] = (uint8_t)orientation;
    *size = sizeof(little_tiff);
    return tiff;
}

static sl_blob save_profile(cmsHPROFILE profile)
{
    cmsUInt32Number size = 0;
    cmsSaveProfileToMem(profile, NULL, &size);
    sl_blob blob = { malloc(size), size };
    cmsSaveProfileToMem(profile, blob.data, &size);
    cmsCloseProfile(profile);
    return blob;
}

sl_blob made_srgb_profile(void)
{
    return save_profile(cmsCreate_sRGBProfile());
}

sl_blob made_grey_profile(double gamma)
{
    cmsToneCurve *curve = cmsBuildGamma(NULL, gamma);
    sl_blob profile = save_profile(cmsCreateGrayProfile(cmsD50_xyY(), curve));
    cmsFreeToneCurve(curve);
    return profile;
}

// Lightness falls with cyan alone; a and b are neutral.
static int cyan_only(const cmsUInt16Number in[], cmsUInt16Number out[], void *arg)
{
    (void)arg;
    out[0] = (cmsUInt16Number)(65535 - in[0]);
    out[1] = out[2] = 0x8080;
    return TRUE;
}

sl_blob made_cmyk_profile(void)
{
    cmsHPROFILE profile = cmsCreateProfilePlaceholder(NULL);
    cmsSetProfileVersion(profile, 4.3);
    cmsSetDeviceClass(profile, cmsSigOutputClass);
    cmsSetColorSpace(profile, cmsSigCmykData);
    cmsSetPCS(profile, cmsSigLabData);
    cmsPipeline *pipeline = cmsPipelineAlloc(NULL, 4, 3);
    cmsStage *clut = cmsStageAllocCLut16bit(NULL, 3, 4, 3, NULL);
    cmsStageSampleCLut16bit(clut, cyan_only, NULL, 0);
    cmsPipelineInsertStage(pipeline, cmsAT_BEGIN, cmsStageAllocToneCurves(NULL, 4, NULL));
    cmsPipelineInsertStage(pipeline, cmsAT_END, clut);
    cmsPipelineInsertStage(pipeline, cmsAT_END, cmsStageAllocToneCurves(NULL, 3, NULL));
    cmsWriteTag(profile, cmsSigAToB0Tag, pipeline);
    cmsPipelineFree(pipeline);
    return save_profile(profile);
}

uint8_t *made_gradient(uint32_t width, uint32_t height, unsigned channels)
{
    uint8_t *data = malloc((size_t)width * height * channels);
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            for (unsigned c = 0; c < channels; c++)
                data[((size_t)y * width + x) * channels + c] =
                    (uint8_t)(20 + (x * (3 + c) + y * (5 - c)) * 200 /
                                       ((size_t)width * (3 + c) + height * (5 - c)));
    return data;
}

unsigned made_sample(const sl_image *image, uint32_t x, uint32_t y, unsigned k)
{
    const void *row = sl_image_row_const(image, y);
    size_t at = (size_t)x * sl_image_channels(image) + k;
    return sl_image_depth(image) == 16 ? ((const uint16_t *)row)[at] : ((const uint8_t *)row)[at];
}

static bool is_read(const uint8_t *data, size_t size, const char *name)
{
    const sl_load_options few = { .max_pixels = 48 * 32 };
    sl_image *image;
    bool ok = sl_image_load_memory(ctx, data, size, name, &few, &image) == SL_OK;
    ck_assert_int_eq(ok, image != NULL);
    ck_assert(ok || *sl_ctx_message(ctx));
    sl_image_free(image);
    return ok;
}

void made_damage(sl_ctx *context, const char *path)
{
    ctx = context; // every file of a test has its own
    sl_blob file;
    sl_image *image;
    ck_ok(sl_file_read(ctx, path, SIZE_MAX, &file));
    for (size_t i = 0; i < file.size; i++) {
        uint8_t *cut = malloc(i + 1); // of its own size, for address sanitizer
        memcpy(cut, file.data, i + 1);
        bool ok = is_read(cut, i + 1, "cut");
        ck_assert(i + 1 < file.size || ok);
        cut[i] ^= 0x5A;
        is_read(cut, i + 1, "changed");
        free(cut);
        file.data[i] ^= 0x5A;
        is_read(file.data, file.size, "changed");
        file.data[i] ^= 0x5A;
    }
    const sl_load_options fewer = { .max_pixels = 48 * 32 - 1 };
    ck_fails(sl_image_load_memory(ctx, file.data, file.size, "large", &fewer, &image), SL_ERR_LIMIT,
             "large: 48x32 pixels; the limit is 1535");
    sl_blob_free(&file);
}
