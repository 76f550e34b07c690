// SPDX-License-Identifier: MIT
// tests/image/tiff.c: TIFF of every kind that is read, written by libtiff, and of kinds that are
// not. The scene, of any size: red 5x, green 7y, blue 200 - 2x - y, alpha 255 - 3x, all of 255.
#include "made.h"

#include <math.h>
#include <tiffio.h>

typedef struct spec {
    uint32_t width, height;
    uint16_t bits, colours, samples;
    uint16_t extra;       // EXTRASAMPLE_..., of the last sample; samples beyond the colours alone
    uint16_t compression; // 0: none
    bool is_planar, is_tiled;
    uint16_t orientation; // 0: none
    const char *mode;     // NULL: "w"
    uint16_t sample_kind; // 0: unsigned
    uint32_t subfile;     // of the first page; 0: none
    uint32_t second;      // of the second page
    bool has_parts;       // directories of its own, which nothing here writes
    const char *dng;      // its version
    uint32_t pages;       // further ones
    const uint8_t *icc;
    uint32_t icc_size;
} spec;

static bool is_of_inks(const spec *s)
{
    return s->colours == PHOTOMETRIC_SEPARATED;
}

static unsigned colours_of(const spec *s)
{
    return s->colours == PHOTOMETRIC_RGB ? 3 : is_of_inks(s) ? 4 : 1;
}

static unsigned white_of(const spec *s)
{
    return (1u << s->bits) - 1;
}

// Of the picture, 0 to 255.
static unsigned scene(uint32_t x, uint32_t y, unsigned sample)
{
    const unsigned values[4] = { x * 5, y * 7, 200 - 2 * x - y, 255 - 3 * x };
    return values[sample] & 255;
}

static unsigned alpha_at(const spec *s, uint32_t x)
{
    return s->extra ? scene(x, 0, 3) : 255;
}

// As it lies in the file.
static unsigned stored(const spec *s, uint32_t x, uint32_t y, unsigned sample)
{
    const unsigned white = white_of(s);
    if (sample == colours_of(s) && !is_of_inks(s))
        return s->extra ? alpha_at(s, x) * (white / 255) : 1;
    unsigned v =
        s->bits < 8 ? scene(x, y, sample) >> (8 - s->bits) : scene(x, y, sample) * (white / 255);
    if (s->extra == EXTRASAMPLE_ASSOCALPHA)
        v = (unsigned)lround(v * (alpha_at(s, x) / 255.0));
    return s->colours == PHOTOMETRIC_MINISWHITE ? white - v : v;
}

static void put(uint8_t *line, unsigned bits, size_t at, unsigned v)
{
    if (bits == 16)
        ((uint16_t *)(void *)line)[at] = (uint16_t)v;
    else if (bits == 8)
        line[at] = (uint8_t)v;
    else
        line[at * bits / 8] |= (uint8_t)(v << (8 - bits - at * bits % 8));
}

// `count` samples of a line from column x on, zeros beyond the picture.
static void fill(const spec *s, uint8_t *line, uint32_t x, uint32_t y, uint32_t wide,
                 unsigned plane)
{
    for (uint32_t i = 0; i < wide && x + i < s->width && y < s->height; i++)
        if (s->is_planar)
            put(line, s->bits, i, stored(s, x + i, y, plane));
        else
            for (unsigned k = 0; k < s->samples; k++)
                put(line, s->bits, (size_t)i * s->samples + k, stored(s, x + i, y, k));
}

static void set_tags(TIFF *tiff, const spec *s, uint32_t page)
{
    uint16_t palette[3][256];
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, s->width);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, s->height);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, s->bits);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, s->samples);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, s->colours);
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, s->compression ? s->compression : COMPRESSION_NONE);
    TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, s->is_planar ? PLANARCONFIG_SEPARATE : 1);
    if (s->samples > colours_of(s))
        TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, 1, &s->extra);
    if (s->orientation)
        TIFFSetField(tiff, TIFFTAG_ORIENTATION, s->orientation);
    if (s->sample_kind)
        TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, s->sample_kind);
    const uint32_t subfile = page == 0 ? s->subfile : page == 1 ? s->second : 0;
    if (subfile)
        TIFFSetField(tiff, TIFFTAG_SUBFILETYPE, subfile);
    if (s->dng)
        TIFFSetField(tiff, 50706, s->dng);
    if (s->icc)
        TIFFSetField(tiff, TIFFTAG_ICCPROFILE, s->icc_size, s->icc);
    for (unsigned i = 0; i < 256; i++)
        for (unsigned k = 0; k < 3; k++)
            palette[k][i] = (uint16_t)((k == 0 ? i : k == 1 ? 255 - i : i ^ 1) * 257);
    if (s->colours == PHOTOMETRIC_PALETTE)
        TIFFSetField(tiff, TIFFTAG_COLORMAP, palette[0], palette[1], palette[2]);
}

static void write_lines(TIFF *tiff, const spec *s)
{
    const unsigned planes = s->is_planar ? s->samples : 1;
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, 5u);
    uint8_t *line = malloc((size_t)TIFFScanlineSize(tiff));
    for (unsigned plane = 0; plane < planes; plane++)
        for (uint32_t y = 0; y < s->height; y++) {
            memset(line, 0, (size_t)TIFFScanlineSize(tiff));
            fill(s, line, 0, y, s->width, plane);
            ck_assert_int_eq(TIFFWriteScanline(tiff, line, y, (uint16_t)plane), 1);
        }
    free(line);
}

static void write_tiles(TIFF *tiff, const spec *s)
{
    const uint32_t wide = 32, high = 16;
    const unsigned planes = s->is_planar ? s->samples : 1;
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, wide);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, high);
    const size_t row = (size_t)TIFFTileRowSize(tiff);
    uint8_t *tile = malloc(row * high);
    for (unsigned plane = 0; plane < planes; plane++)
        for (uint32_t y = 0; y < s->height; y += high)
            for (uint32_t x = 0; x < s->width; x += wide) {
                memset(tile, 0, row * high);
                for (uint32_t i = 0; i < high; i++)
                    fill(s, tile + i * row, x, y + i, wide, plane);
                ck_assert_int_ge(TIFFWriteTile(tiff, tile, x, y, 0, (uint16_t)plane), 0);
            }
    free(tile);
}

static void make(const char *name, const spec *s)
{
    TIFFSetWarningHandler(NULL);
    TIFF *tiff = TIFFOpen(in_dir(name), s->mode ? s->mode : "w");
    ck_assert_ptr_nonnull(tiff);
    for (uint32_t page = 0; page <= s->pages; page++) {
        set_tags(tiff, s, page);
        if (s->is_tiled)
            write_tiles(tiff, s);
        else
            write_lines(tiff, s);
        ck_assert_int_eq(TIFFWriteDirectory(tiff), 1);
    }
    TIFFClose(tiff);
}

static sl_status load(const char *name, sl_image **out)
{
    return sl_image_load(ctx, in_dir(name), NULL, out);
}

static unsigned sample(const sl_image *image, uint32_t x, uint32_t y, unsigned k)
{
    const void *row = sl_image_row_const(image, y);
    size_t at = (size_t)x * sl_image_channels(image) + k;
    return sl_image_depth(image) == 16 ? ((const uint16_t *)row)[at] : ((const uint8_t *)row)[at];
}

// What inks leave of the light, by the plain formula, of 255.
static double light(uint32_t x, uint32_t y, unsigned k)
{
    return (255 - scene(x, y, k)) * (255 - scene(x, y, 3)) / 255.0;
}

static void check_scene(const spec *s, const sl_image *image)
{
    const unsigned channels = is_of_inks(s) ? 3 : colours_of(s) + (s->extra != 0);
    const double white = sl_image_depth(image) == 16 ? 65535 : 255;
    ck_assert_uint_eq(sl_image_depth(image), is_of_inks(s) || s->bits < 16 ? 8 : 16);
    ck_assert_uint_eq(sl_image_channels(image), channels);
    ck_assert_uint_eq(sl_image_width(image), s->width);
    ck_assert_uint_eq(sl_image_height(image), s->height);
    for (uint32_t y = 0; y < s->height; y++)
        for (uint32_t x = 0; x < s->width; x++)
            for (unsigned k = 0; k < channels; k++) {
                double off = 0, want = scene(x, y, k);
                if (is_of_inks(s))
                    want = light(x, y, k);
                else if (s->extra && k == channels - 1)
                    want = alpha_at(s, x);
                else if (s->bits < 8)
                    want = (scene(x, y, k) >> (8 - s->bits)) * 255.0 / white_of(s);
                if (is_of_inks(s))
                    off = 0.51;
                else if (s->extra == EXTRASAMPLE_ASSOCALPHA) // rounded while it was small
                    off = 255.0 / alpha_at(s, x) * (s->bits == 16 ? 0.01 : 1);
                const double got = sample(image, x, y, k) / white * 255;
                ck_assert_msg(fabs(got - want) <= off + 1e-9, "%u, %u, %u: %g, not %g", x, y, k,
                              got, want);
            }
}

static void round_trip(const spec *s)
{
    sl_image *image;
    make("a.tif", s);
    ck_ok(load("a.tif", &image));
    check_scene(s, image);
    ck_assert_int_eq(sl_image_kind(image), SL_IMAGE_SAME);
    ck_assert_int_eq(image->format, SL_IMAGE_PNG);
    sl_image_free(image);
}

START_TEST(every_layout_of_grey_and_colour)
{
    static const uint16_t colours[] = { PHOTOMETRIC_MINISBLACK, PHOTOMETRIC_MINISWHITE,
                                        PHOTOMETRIC_RGB };
    static const uint16_t extras[] = { 0, EXTRASAMPLE_ASSOCALPHA, EXTRASAMPLE_UNASSALPHA };
    static const uint16_t packed[] = { COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE,
                                       COMPRESSION_PACKBITS };
    for (unsigned i = 0; i < 3 * 3 * 2 * 2 * 2; i++) {
        const unsigned extra = i / 3 % 3;
        spec s = {
            .width = 47, .height = 31, .bits = i / 9 % 2 ? 16 : 8, .colours = colours[i % 3]
        };
        s.samples = (uint16_t)(colours_of(&s) + (extra > 0));
        s.extra = extras[extra];
        s.is_planar = i / 18 % 2;
        s.is_tiled = i / 36 % 2;
        s.compression = packed[i % 4];
        s.mode = i % 5 == 0 ? "wb" : i % 5 == 1 ? "w8" : "wl";
        round_trip(&s);
    }
    round_trip(&(spec) { .width = 1, .height = 1, .bits = 8, .colours = 2, .samples = 3 });
    round_trip(&(spec) {
        .width = 1, .height = 1, .bits = 16, .colours = 1, .samples = 1, .is_tiled = true });
}
END_TEST

START_TEST(inks_become_light)
{
    for (unsigned i = 0; i < 4; i++)
        round_trip(&(spec) { .width = 47,
                             .height = 31,
                             .bits = i % 2 ? 16 : 8,
                             .colours = PHOTOMETRIC_SEPARATED,
                             .samples = 4,
                             .is_tiled = i / 2,
                             .mode = i ? "wb" : "wl" });
}
END_TEST

START_TEST(few_bits_and_palettes)
{
    for (unsigned i = 0; i < 12; i++)
        round_trip(&(spec) { .width = 47,
                             .height = 31,
                             .bits = (uint16_t)(1u << i % 3),
                             .colours = i / 3 % 2,
                             .samples = 1,
                             .is_tiled = i / 6 });
    round_trip(&(spec) { .width = 47,
                         .height = 31,
                         .bits = 1,
                         .colours = 0,
                         .samples = 1,
                         .compression = COMPRESSION_CCITTFAX4 });
    sl_image *image;
    make("p.tif",
         &(spec) {
             .width = 47, .height = 31, .bits = 8, .samples = 1, .colours = PHOTOMETRIC_PALETTE });
    ck_ok(load("p.tif", &image));
    ck_assert_uint_eq(sl_image_channels(image), 3);
    for (uint32_t x = 0; x < 47; x++) {
        ck_assert_uint_eq(sample(image, x, 30, 0), scene(x, 30, 0));
        ck_assert_uint_eq(sample(image, x, 30, 1), 255 - scene(x, 30, 0));
        ck_assert_uint_eq(sample(image, x, 30, 2), scene(x, 30, 0) ^ 1);
    }
    sl_image_free(image);
}
END_TEST

START_TEST(all_orientations_are_turned_upright)
{
    spec s = { .width = 23, .height = 17, .bits = 8, .colours = 2, .samples = 3 };
    for (s.orientation = 1; s.orientation <= 8; s.orientation++) {
        sl_image *image;
        make("o.tif", &s);
        ck_ok(load("o.tif", &image));
        const bool is_turned = s.orientation >= 5;
        const uint32_t w = is_turned ? s.height : s.width, h = is_turned ? s.width : s.height;
        ck_assert_uint_eq(sl_image_width(image), w);
        ck_assert_uint_eq(sl_image_height(image), h);
        ck_assert_uint_eq(image->turned, s.orientation);
        // Where the first row and the first column of the file are: TIFF 6.0, page 36.
        static const int first[9][2] = { { 0, 0 }, { 0, 0 }, { 1, 0 }, { 1, 1 }, { 0, 1 },
                                         { 0, 0 }, { 1, 0 }, { 1, 1 }, { 0, 1 } };
        for (uint32_t y = 0; y < h; y++)
            for (uint32_t x = 0; x < w; x++) {
                uint32_t fx = first[s.orientation][0] ? w - 1 - x : x;
                uint32_t fy = first[s.orientation][1] ? h - 1 - y : y;
                ck_assert_uint_eq(sample(image, x, y, 0), scene(is_turned ? fy : fx, 0, 0));
                ck_assert_uint_eq(sample(image, x, y, 1), scene(0, is_turned ? fx : fy, 1));
            }
        sl_image_free(image);
    }
}
END_TEST

// 48 x 32 pixels; LZW with all that can stand beside pixels, and JPEG.
START_TEST(what_stands_beside_pixels_goes_along)
{
    sl_image *image;
    sl_blob file;
    ck_ok(sl_image_load(ctx, IMAGE_DIR "/flat.tif", NULL, &image));
    ck_assert_uint_eq(image->density_x, 300);
    ck_assert_int_eq(image->density_unit, SL_DENSITY_PER_INCH);
    ck_assert_ptr_nonnull(memmem(image->exif.data, image->exif.size, "softlens", 8));
    ck_assert_ptr_nonnull(memmem(image->exif.data, image->exif.size, "by hand.", 8));
    ck_assert_uint_le(image->exif.size, 160); // nothing of how the pixels lie in the file
    const sl_save_options options = { .format = SL_IMAGE_SAME };
    ck_ok(sl_image_save(ctx, image, in_dir("out.png"), &options));
    sl_image_free(image);
    ck_ok(sl_file_read(ctx, in_dir("out.png"), SIZE_MAX, &file));
    ck_assert_ptr_nonnull(memmem(file.data, file.size, "Maker", 5));
    ck_assert_ptr_nonnull(memmem(file.data, file.size, "adobe:ns:meta/", 14));
    sl_blob_free(&file);
    ck_ok(sl_image_load(ctx, IMAGE_DIR "/lossy.tif", NULL, &image));
    for (uint32_t y = 0; y < 32; y++)
        for (uint32_t x = 0; x < 48; x++)
            for (unsigned k = 0; k < 3; k++)
                ck_assert_int_le(abs((int)sample(image, x, y, k) - (int)scene(x, y, k)), 12);
    sl_image_free(image);
}
END_TEST

START_TEST(a_profile_stays_with_its_colours)
{
    sl_image *image;
    sl_blob icc = made_srgb_profile();
    spec s = { .width = 9,
               .height = 5,
               .bits = 8,
               .colours = 2,
               .samples = 3,
               .icc = icc.data,
               .icc_size = (uint32_t)icc.size };
    make("c.tif", &s);
    ck_ok(load("c.tif", &image));
    ck_assert_uint_eq(image->icc.size, icc.size);
    ck_assert_mem_eq(image->icc.data, icc.data, icc.size);
    sl_image_free(image);
    s.colours = PHOTOMETRIC_MINISBLACK; // whose profile this is not
    s.samples = 1;
    make("c.tif", &s);
    ck_ok(load("c.tif", &image));
    ck_assert_uint_eq(image->icc.size, 0);
    sl_image_free(image);
    sl_blob_free(&icc);
}
END_TEST

static bool is_told_of_pages(const spec *s)
{
    sl_image *image;
    *warning = '\0';
    make("pages.tif", s);
    ck_ok(load("pages.tif", &image));
    check_scene(s, image);
    sl_image_free(image);
    return strstr(warning, "several pictures");
}

START_TEST(pages_and_further_channels_are_told_of)
{
    sl_image *image;
    spec s = { .width = 9, .height = 5, .bits = 8, .colours = 2, .samples = 3 };
    ck_assert(!is_told_of_pages(&s));
    s.pages = 1;
    ck_assert(is_told_of_pages(&s));
    s.mode = "w8";
    ck_assert(is_told_of_pages(&s));
    s.second = FILETYPE_REDUCEDIMAGE; // a smaller copy is no page, but what follows it
    ck_assert(!is_told_of_pages(&s));
    s.pages = 2;
    ck_assert(is_told_of_pages(&s));
    s.subfile = FILETYPE_REDUCEDIMAGE; // alone it is a picture as any other
    s.pages = 0;
    ck_assert(!is_told_of_pages(&s));
    s.samples = 4; // of no stated kind
    make("spot.tif", &s);
    ck_ok(load("spot.tif", &image));
    ck_assert_uint_eq(sl_image_channels(image), 3);
    check_scene(&s, image);
    ck_assert_msg(strstr(warning, "besides its colours"), "%s", warning);
    sl_image_free(image);
}
END_TEST

START_TEST(other_kinds_are_refused)
{
    const spec rgb = { .width = 9, .height = 5, .bits = 8, .colours = 2, .samples = 3 };
    struct {
        const char *what;
        spec s;
    } kinds[] = {
        { "floating-point", { .sample_kind = SAMPLEFORMAT_INT } },
        { "rare compression", { .compression = COMPRESSION_LZMA } },
        { "smaller copy", { .subfile = FILETYPE_REDUCEDIMAGE, .pages = 1 } },
        { "a camera's raw file", { .dng = "\1\4\0\0" } },
        { "a camera's raw file", { .colours = PHOTOMETRIC_CFA, .samples = 1 } },
        { "odd number of bits", { .bits = 4 } },
        { "kind of colours", { .colours = PHOTOMETRIC_ICCLAB } },
        { "with alpha", { .colours = PHOTOMETRIC_PALETTE, .samples = 2, .extra = 2 } },
    };
    for (size_t i = 0; i < SL_ARRAY_LEN(kinds); i++) {
        sl_image *image;
        spec s = kinds[i].s;
        s.width = rgb.width;
        s.height = rgb.height;
        s.bits = s.bits ? s.bits : rgb.bits;
        s.colours = s.colours ? s.colours : rgb.colours;
        s.samples = s.samples ? s.samples : rgb.samples;
        make("k.tif", &s);
        ck_fails(load("k.tif", &image), SL_ERR_UNSUPPORTED, kinds[i].what);
        ck_assert_ptr_null(image);
    }
}
END_TEST

// A TIFF of one directory: entries of four numbers each (tag, type, count, value), `size` bytes.
static sl_status load_made(const uint32_t *entries, unsigned count, size_t size)
{
    sl_image *image;
    uint8_t *file = calloc(size, 1);
    memcpy(file, "II*\0\x8\0\0\0", 8);
    file[8] = (uint8_t)count;
    for (unsigned i = 0; i < count; i++, entries += 4) {
        const uint16_t head[2] = { (uint16_t)entries[0], (uint16_t)entries[1] };
        memcpy(file + 10 + i * 12, head, 4);
        memcpy(file + 14 + i * 12, entries + 2, 8);
    }
    sl_status st = sl_image_load_memory(ctx, file, size, "made", NULL, &image);
    ck_assert_ptr_null(image);
    free(file);
    return st;
}

START_TEST(raw_files_are_told_by_their_directories)
{
    // Sony's first directory has no size; Nikon's is a preview, and further ones are its parts.
    static const uint32_t sony[][4] = { { 0xFE, 4, 1, 1 }, { 0x10F, 2, 4, 0x796E6F53 } };
    static const uint32_t nikon[][4] = { { 0xFE, 4, 1, 1 },   { 0x100, 4, 1, 8 },
                                         { 0x101, 4, 1, 8 },  { 0x102, 3, 1, 8 },
                                         { 0x106, 3, 1, 1 },  { 0x111, 4, 1, 128 },
                                         { 0x117, 4, 1, 64 }, { 0x14A, 4, 1, 512 } };
    const char *want = "made: a camera's raw file; develop it first";
    ck_fails(load_made(sony[0], 2, 600), SL_ERR_UNSUPPORTED, want);
    ck_fails(load_made(nikon[0], 8, 600), SL_ERR_UNSUPPORTED, want);
    ck_fails(load_made(nikon[0], 0, 600), SL_ERR_FORMAT, "made: damaged TIFF");
    static const char phase_one[64] = "II*\0\x14\0\0\0IIIIwaR\0\0\0\0\0\1\0\0\1\4\0\1\0\0\0\x8";
    sl_image *image;
    ck_fails(sl_image_load_memory(ctx, phase_one, sizeof(phase_one), "made", NULL, &image),
             SL_ERR_UNSUPPORTED, want);
}
END_TEST

static void patch(const char *name, const char *what, size_t size, size_t from, const char *to,
                  size_t to_size)
{
    sl_blob file;
    ck_ok(sl_file_read(ctx, in_dir(name), SIZE_MAX, &file));
    uint8_t *at = memmem(file.data, file.size, what, size);
    ck_assert_ptr_nonnull(at);
    memcpy(at + from, to, to_size);
    ck_ok(sl_file_write(ctx, in_dir(name), true, file.data, file.size));
    sl_blob_free(&file);
}

// Little that stands for much: values that share their bytes, tiles larger than the picture, strips
// that are all the same bytes.
START_TEST(little_is_not_made_much)
{
    sl_image *image;
    uint32_t entries[100][4];
    for (uint32_t i = 0; i < 100; i++)
        memcpy(entries[i], (const uint32_t[4]) { 0xC000 + i, 1, 60000, 2000 }, 16);
    ck_fails(load_made(entries[0], 100, 65536), SL_ERR_FORMAT, "longer than the file");
    make("tiles.tif", &(spec) { .width = 64,
                                .height = 16,
                                .bits = 8,
                                .colours = 1,
                                .samples = 1,
                                .is_tiled = true,
                                .compression = COMPRESSION_ADOBE_DEFLATE });
    patch("tiles.tif", "\x43\1\3\0\1\0\0\0", 8, 2, "\4\0\1\0\0\0\0\0\0\1", 10); // 16 Mi high
    ck_fails(load("tiles.tif", &image), SL_ERR_UNSUPPORTED, "tiles much larger than the picture");
    make("strips.tif", &(spec) { .width = 900,
                                 .height = 400,
                                 .bits = 8,
                                 .colours = 1,
                                 .samples = 1,
                                 .compression = COMPRESSION_ADOBE_DEFLATE });
    sl_blob file;
    ck_ok(sl_file_read(ctx, in_dir("strips.tif"), SIZE_MAX, &file));
    TIFF *tiff = TIFFOpen(in_dir("strips.tif"), "r");
    uint64_t *counts = NULL;
    ck_assert_int_eq(TIFFGetField(tiff, TIFFTAG_STRIPBYTECOUNTS, &counts), 1);
    char words[64]; // two of the counts, as they stand in the file
    const uint16_t two[2] = { (uint16_t)counts[1], (uint16_t)counts[2] };
    memcpy(words, two, sizeof(two));
    TIFFClose(tiff);
    uint8_t *at = memmem(file.data, file.size, words, sizeof(two));
    ck_assert_ptr_nonnull(at);
    for (size_t i = 0; i < 60; i++)
        memcpy(at + i * 2, (const uint16_t[1]) { 0xFFFF }, 2);
    ck_assert_uint_lt(file.size, 65535);
    ck_fails(sl_image_load_memory(ctx, file.data, file.size, "strips", NULL, &image), SL_ERR_FORMAT,
             "its pixels take more room than the file has");
    sl_blob_free(&file);
}
END_TEST

// What libtiff only warns of.
START_TEST(damaged_pixels_are_told_of)
{
    sl_image *image;
    sl_blob file;
    const sl_load_options lenient = { .allow_truncated = true };
    ck_ok(sl_file_read(ctx, IMAGE_DIR "/lossy.tif", SIZE_MAX, &file));
    uint8_t *scan = memmem(file.data, file.size, "\xFF\xDA", 2);
    ck_assert_ptr_nonnull(scan);
    memcpy(scan + 60, "\xFF\xD9", 2); // the end of the picture
    ck_fails(sl_image_load_memory(ctx, file.data, file.size, "jpeg", NULL, &image), SL_ERR_FORMAT,
             "jpeg: damaged TIFF: ");
    ck_ok(sl_image_load_memory(ctx, file.data, file.size, "jpeg", &lenient, &image));
    ck_assert_msg(strstr(warning, "parts of it are missing"), "%s", warning);
    sl_image_free(image);
    sl_blob_free(&file);
    make("fax.tif", &(spec) { .width = 200,
                              .height = 60,
                              .bits = 1,
                              .samples = 1,
                              .compression = COMPRESSION_CCITTFAX4 });
    ck_ok(sl_file_read(ctx, in_dir("fax.tif"), SIZE_MAX, &file));
    memset(file.data + 12, 0, 3);
    ck_ok(sl_image_load_memory(ctx, file.data, file.size, "fax", NULL, &image));
    ck_assert_msg(strstr(warning, "fax: some lines of it are damaged"), "%s", warning);
    sl_image_free(image);
    sl_blob_free(&file);
}
END_TEST

// Cut at every byte, and with every byte changed: an error or a picture, nothing else.
static void damage(const char *path)
{
    sl_blob file;
    sl_image *image;
    const sl_load_options few = { .max_pixels = 48 * 32 };
    ck_ok(sl_file_read(ctx, path, SIZE_MAX, &file));
    for (size_t i = 0; i < file.size; i++) {
        uint8_t *cut = malloc(i + 1); // of its own size, for address sanitizer
        memcpy(cut, file.data, i + 1);
        bool ok = sl_image_load_memory(ctx, cut, i + 1, "cut", &few, &image) == SL_OK;
        ck_assert_int_eq(ok, image != NULL);
        sl_image_free(image);
        free(cut);
        file.data[i] ^= 0x5A;
        ok = sl_image_load_memory(ctx, file.data, file.size, "changed", &few, &image) == SL_OK;
        ck_assert_int_eq(ok, image != NULL);
        ck_assert(ok || *sl_ctx_message(ctx));
        sl_image_free(image);
        file.data[i] ^= 0x5A;
    }
    const sl_load_options fewer = { .max_pixels = 48 * 32 - 1 };
    ck_fails(sl_image_load_memory(ctx, file.data, file.size, "large", &fewer, &image), SL_ERR_LIMIT,
             "large: 48x32 pixels; the limit is 1535");
    sl_blob_free(&file);
}

START_TEST(damage_is_an_error_or_a_picture)
{
    damage(IMAGE_DIR "/flat.tif");
    damage(IMAGE_DIR "/lossy.tif");
    make("d.tif", &(spec) { .width = 48,
                            .height = 32,
                            .bits = 16,
                            .colours = 2,
                            .samples = 4,
                            .extra = 1,
                            .is_tiled = true,
                            .is_planar = true,
                            .mode = "w8",
                            .compression = COMPRESSION_LZW });
    damage(in_dir("d.tif"));
    make("d.tif", &(spec) { .width = 48,
                            .height = 32,
                            .bits = 8,
                            .samples = 1,
                            .colours = PHOTOMETRIC_PALETTE,
                            .compression = COMPRESSION_PACKBITS });
    damage(in_dir("d.tif"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("tiff");
    tcase_add_test(tests, every_layout_of_grey_and_colour);
    tcase_add_test(tests, inks_become_light);
    tcase_add_test(tests, few_bits_and_palettes);
    tcase_add_test(tests, all_orientations_are_turned_upright);
    tcase_add_test(tests, what_stands_beside_pixels_goes_along);
    tcase_add_test(tests, a_profile_stays_with_its_colours);
    tcase_add_test(tests, pages_and_further_channels_are_told_of);
    tcase_add_test(tests, other_kinds_are_refused);
    tcase_add_test(tests, raw_files_are_told_by_their_directories);
    tcase_add_test(tests, little_is_not_made_much);
    tcase_add_test(tests, damaged_pixels_are_told_of);
    tcase_add_test(tests, damage_is_an_error_or_a_picture);
    return run_case("image-tiff", tests);
}
