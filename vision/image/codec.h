// SPDX-License-Identifier: MIT
// image/codec.h: what the files of image/ share among themselves.
#ifndef SL_IMAGE_CODEC_H
#define SL_IMAGE_CODEC_H

#include "image/image.h"

// One coded picture in memory. `name` stands in messages.
typedef struct sl_coded {
    const uint8_t *data;
    size_t size;
    const char *name;
    uint64_t max_pixels; // at least 1
    bool allow_truncated;
} sl_coded;

#define SL_JPEG_SEGMENT 65533u         // bytes of data in a segment of a JPEG, at most
#define SL_PNG_XMP "XML:com.adobe.xmp" // key of the text that is XMP
#define SL_PROFILE_LOST "%s: left out: its colour profile is damaged or for other pictures"

// Pixels and metadata as stored: the orientation is still to be applied.
sl_status sl_png_decode(sl_ctx *ctx, const sl_coded *coded, sl_image **out);
// can_keep: whether saving the picture may keep what the file holds; false of damage and of inks.
sl_status sl_jpeg_decode(sl_ctx *ctx, const sl_coded *coded, sl_image **out, bool *can_keep);
// Pictures that are written as JPEG or, where they have alpha or no loss, as PNG. HEIC, AVIF and
// TIFF come turned upright, and `turned` says what the file says. SL_ERR_UNSUPPORTED: an animation,
// a camera's raw file, a rare kind of TIFF, no libheif or libtiff.
sl_status sl_webp_decode(sl_ctx *ctx, const sl_coded *coded, sl_image **out);
sl_status sl_heif_decode(sl_ctx *ctx, const sl_coded *coded, sl_image **out);
sl_status sl_tiff_decode(sl_ctx *ctx, const sl_coded *coded, sl_image **out);

// options: not NULL, quality 0..100.
sl_status sl_png_encode(sl_ctx *ctx, const sl_image *image, const char *name,
                        const sl_save_options *options, sl_blob *out);
sl_status sl_jpeg_encode(sl_ctx *ctx, const sl_image *image, const char *name,
                         const sl_save_options *options, sl_blob *out);

// SL_ERR_LIMIT when the picture has more pixels than `coded` allows. To be called before anything
// of the picture's size is allocated.
sl_status sl_coded_check_size(sl_ctx *ctx, const sl_coded *coded, uint64_t width, uint64_t height);

// Turns the picture upright: `orientation` is that of EXIF, 1 to 8. Density and chroma turn along.
sl_status sl_image_orient(sl_ctx *ctx, sl_image *image, unsigned orientation);
// A turned copy of its pixels, density and chroma alone.
sl_status sl_image_oriented(sl_ctx *ctx, const sl_image *image, unsigned orientation,
                            sl_image **out);

// The EXIF of a picture whose pixels are upright, whatever way they lay in its file.
sl_status sl_exif_upright(sl_ctx *ctx, const sl_image *image, sl_blob *out);

// The EXIF that stands in a TIFF: what its first directory says of the picture and not of how it
// lies in the file, Exif and GPS, without maker's notes, whose offsets would lead nowhere. *out:
// empty where there is none. SL_ERR_NOMEM.
sl_status sl_exif_of_tiff(sl_ctx *ctx, const sl_blob *file, sl_blob *out);

// Remarks (remarks.c): segments of a JPEG one after the other, each a marker, two bytes of length
// (of itself and the data), data.
typedef struct sl_remark {
    unsigned marker;
    const uint8_t *data;
    size_t size;
} sl_remark;

// What a segment of a JPEG is to us. OF_PICTURES: XMP that tells of further pictures behind the end
// of the JPEG, which nothing here keeps.
typedef enum sl_remark_kind {
    SL_REMARK_NONE,
    SL_REMARK_OTHER,
    SL_REMARK_XMP,
    SL_REMARK_XMP_OF_PICTURES,
} sl_remark_kind;

// Whether XMP, or what lies in a file behind the picture, is of such pictures: films, gain maps.
bool sl_tells_of_pictures(const void *data, size_t size);
sl_remark_kind sl_remark_kind_of(const sl_remark *segment);
// *room: as of sl_blob_append.
sl_status sl_remarks_add(sl_ctx *ctx, sl_blob *remarks, size_t *room, const sl_remark *remark);
// The next one from *at on, which begins at 0; false: no more.
bool sl_remarks_next(const sl_blob *remarks, size_t *at, sl_remark *out);
// XMP as a PNG has it, without a JPEG's header; NULL: none.
const uint8_t *sl_remarks_xmp(const sl_blob *remarks, size_t *size);
// Leaves out what is too long for a segment. SL_ERR_NOMEM.
sl_status sl_remarks_add_xmp(sl_ctx *ctx, sl_blob *remarks, const void *xmp, size_t size,
                             const char *name);
// Adds XMP; where it tells of further pictures in the file, the picture knows that it had more
// instead.
sl_status sl_image_add_xmp(sl_ctx *ctx, sl_image *image, const void *xmp, size_t size,
                           const char *name);
// Remarks of a picture whose pixels are upright.
sl_status sl_remarks_upright(sl_ctx *ctx, const sl_image *image, sl_blob *out);

// A row in 8 bits without alpha: grey (channels 1, 2) or RGB (3, 4), laid over `background`.
// True when any pixel was not opaque. out: [width] or [width, 3].
bool sl_image_row_flat(const sl_image *image, uint32_t y, uint8_t background, uint8_t *out);
// Same, of `count` pixels from column `first` on.
bool sl_image_span_flat(const sl_image *image, uint32_t y, uint32_t first, uint32_t count,
                        uint8_t background, uint8_t *out);

// Divides a row's colours by its alpha, which they were multiplied by: channels 2 or 4.
void sl_image_row_straighten(sl_image *image, uint32_t y);

// A profile for colours other than sRGB by their numbers of ITU-T H.273 (profile.c). *out: empty
// for sRGB and what is shown like it, and where a profile of this kind cannot tell of them, as of
// HDR: that is logged, for the picture called `name`. SL_ERR_NOMEM.
sl_status sl_icc_of_numbers(sl_ctx *ctx, const char *name, unsigned primaries_number,
                            unsigned transfer, sl_blob *out);

// CMYK to sRGB by the picture's own ICC profile, or plainly where there is none that fits.
typedef struct sl_cmyk sl_cmyk;

sl_status sl_cmyk_new(sl_ctx *ctx, const sl_blob *icc, sl_cmyk **out);
// cmyk: 0 is no ink, 255 full ink. rgb may not overlap it.
void sl_cmyk_convert(const sl_cmyk *cmyk, const uint8_t *from, uint8_t *rgb, uint32_t pixels);
void sl_cmyk_free(sl_cmyk *cmyk);

#endif
