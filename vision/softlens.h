// SPDX-License-Identifier: MIT
// softlens.h: the public interface of libsoftlens, and the vocabulary that every room of the
// library shares. It includes nothing but the C library and may be included from anywhere.
//
// Conventions. Functions that can fail return sl_status and leave a sentence in the context
// (sl_ctx_message); *out is NULL then. All that fail may fail for want of memory: SL_ERR_NOMEM.
// Objects are freed by their _free function, which takes NULL, malloc'ed text by free(). Options
// are structs, all zeros (`= {0}`, in C++ `= {}`) and NULL mean the defaults; sl_ebv_options alone
// has members without one. No other pointer may be NULL unless its comment says so. The library
// never prints, exits or aborts on input.
//
// Text is UTF-8. Paths are the system's, any bytes: in JSON, metadata and files of results each
// byte of them that is not UTF-8 becomes U+FFFD; messages have them as they are.
//
// Threads. A context, with all that was made ready in it (sl_deblur, sl_classify, sl_detect,
// sl_detect_file), serves one thread at a time; several contexts work side by side. Models, images
// and galleries belong to no context: they outlive the one that made them, and serve others too, in
// several threads at once as long as none changes or frees the object.
//
// Until 1.0 a new minor version may change calls, and add members to structs; a patch may not.
#ifndef SOFTLENS_H
#define SOFTLENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SL_API __attribute__((visibility("default")))
#else
#define SL_API
#endif

// Of this header; sl_version() is that of the library.
#define SL_VERSION_MAJOR 0
#define SL_VERSION_MINOR 1
#define SL_VERSION_PATCH 0

typedef enum sl_status {
    SL_OK = 0,
    SL_ERR_ARGUMENT,    // an option or argument outside its range, a device that is not there
    SL_ERR_IO,          // a file that cannot be opened, read or written
    SL_ERR_EXISTS,      // a file that would be overwritten
    SL_ERR_FORMAT,      // a damaged or malformed file
    SL_ERR_LIMIT,       // larger than a stated limit
    SL_ERR_UNSUPPORTED, // understood, but not something that we do
    SL_ERR_NOMEM,       // out of memory
    SL_ERR_DEVICE,      // a compute device that cannot serve, or that failed
    SL_ERR_CANCELLED,   // the progress callback asked to stop
} sl_status;

typedef enum sl_log_level { SL_LOG_WARNING, SL_LOG_INFO, SL_LOG_DEBUG } sl_log_level;

// Receives one sentence without control characters. Called on the thread that uses the context.
typedef void (*sl_log_fn)(void *user, sl_log_level level, const char *sentence);

// Receives the units of work done, out of `total`. Returning false stops the work: the running call
// ends with SL_ERR_CANCELLED and leaves no file. Called on the thread that uses the context, by
// sl_deblur_run (tiles, times views; thousandths of a picture looked at in several sizes),
// sl_detect_run (tiles, where there are any), sl_detect_evaluate (pictures), sl_ebv_write (steps),
// sl_model_bench (runs), sl_gallery_merge (a class's pictures, now and then), sl_gallery_lock and
// whatever reads a pipe (0 of 0: it waits); nothing else can be cancelled. A number may come more
// than once.
typedef bool (*sl_progress_fn)(void *user, size_t done, size_t total);

typedef struct sl_ctx_options {
    unsigned threads; // 0: one per processor that the process may use; at most 256
    const char *simd; // NULL: best of the machine; or "portable", "avx2", "avx512" at most
    sl_log_fn log;    // NULL: silent
    void *log_user;
    sl_progress_fn progress; // NULL: none
    void *progress_user;
} sl_ctx_options;

typedef struct sl_ctx sl_ctx;

// "0.1.0"
SL_API const char *sl_version(void);

// SL_ERR_ARGUMENT, SL_ERR_NOMEM; there is no sentence then.
SL_API sl_status sl_ctx_new(const sl_ctx_options *options, sl_ctx **out);
SL_API void sl_ctx_free(sl_ctx *ctx);

// The sentence of the last failure in this context, until the next call; "": none, or ctx is NULL.
SL_API const char *sl_ctx_message(const sl_ctx *ctx);

// ---- devices ------------------------------------------------------------------------------------

// A device is named "auto" (what NULL means: the best graphics card, else the processor), "cpu",
// "vulkan" (the best Vulkan device, real ones first), "vulkan:N" (N counts as the Vulkan loader
// does) or by its UUID, 32 hexadecimal digits. One that is not there is SL_ERR_ARGUMENT, with a
// list of those there are; one that cannot serve is SL_ERR_DEVICE.
//
// Before a Vulkan device is used for the first time it computes a small network, which must come
// out as on the processor. What came of it is kept in the user's cache directory until driver or
// library change. "auto" and "vulkan" pass over a device that failed, with a warning, and do
// without the f16 of one that failed in that alone; one that is named exactly computes all the
// same, with a warning.

// JSON text (malloc'ed): every device with its name, type, driver, memory, limits and features,
// whether it is usable, self_test ("passed", "failed", "not yet tested"), and a note why "auto"
// does not choose it, or does without its f16. Graphics cards that were not tested yet are tested
// now, which takes less than a second each. The processor comes first, and always; no_vulkan says
// why there is no other.
SL_API sl_status sl_devices_describe(sl_ctx *ctx, char **out);

// What a network computes in. Sums, means and scores are f32 always. One that the device cannot do
// is SL_ERR_ARGUMENT.
typedef enum sl_precision {
    SL_PRECISION_F32 = 0,
    SL_PRECISION_F16,  // activations and matrices: half the memory; Vulkan devices that have it
    SL_PRECISION_BF16, // what is multiplied by matrices: processors with AVX-512 BF16 (AMD Zen 4)
} sl_precision;

SL_API const char *sl_precision_name(sl_precision precision); // "f32"

// Processors that this process may use at once, by its affinity and its control group's quota; at
// least 1. What a context takes whose options say 0 threads.
SL_API unsigned sl_processors(void);

// ---- images -------------------------------------------------------------------------------------

typedef enum sl_image_format { SL_IMAGE_SAME = 0, SL_IMAGE_PNG, SL_IMAGE_JPEG } sl_image_format;

typedef struct sl_image sl_image;

typedef struct sl_load_options {
    uint64_t max_pixels;  // 0: 200 million
    bool allow_truncated; // a JPEG that ends early is filled with grey instead of refused
} sl_load_options;

typedef struct sl_save_options {
    sl_image_format format; // SL_IMAGE_SAME: by the path's ending, else that of the image loaded;
                            // of one that is not written PNG where it is a TIFF, has alpha or
                            // no loss, else JPEG
    int quality;            // JPEG, 1 to 100; 0: see sl_image_save
    bool overwrite;         // false: an existing file is SL_ERR_EXISTS
    bool strip_metadata;    // leave out EXIF, XMP, IPTC, comments (an ICC profile stays)
} sl_save_options;

// Reads PNG, JPEG, WebP and, where libtiff 4.5 or libheif is found, TIFF (of 8 and 16 bits and
// less, no camera's raw files), HEIC and AVIF, told by content; of several pictures in a file the
// first, no animations. The picture is upright afterwards: EXIF orientation is applied and its tag
// reset. Palettes become RGB(A), 1/2/4-bit grey becomes 8-bit, CMYK becomes RGB. SL_ERR_IO,
// SL_ERR_FORMAT, SL_ERR_LIMIT, SL_ERR_UNSUPPORTED.
SL_API sl_status sl_image_load(sl_ctx *ctx, const char *path, const sl_load_options *options,
                               sl_image **out);

// Same, from an open file or pipe, which is read to its end and stays open; messages say `name`.
SL_API sl_status sl_image_load_fd(sl_ctx *ctx, int fd, const char *name,
                                  const sl_load_options *options, sl_image **out);

// Same, from a file's bytes in memory, which stay the caller's.
SL_API sl_status sl_image_load_memory(sl_ctx *ctx, const void *data, size_t size, const char *name,
                                      const sl_load_options *options, sl_image **out);

// A black picture. channels: 1 grey, 2 grey+alpha, 3 RGB, 4 RGBA; depth: 8 or 16 bits a sample.
// SL_ERR_ARGUMENT: others, or a side of 0. SL_ERR_LIMIT: larger than memory can be.
SL_API sl_status sl_image_new(sl_ctx *ctx, uint32_t width, uint32_t height, unsigned channels,
                              unsigned depth, sl_image **out);

// Writes beside `path` and renames into place. Depth, alpha, ICC profile, EXIF, XMP and resolution
// go along as far as the format has them, from JPEG to JPEG also IPTC and comments; not XMP of over
// 64 KiB in a PNG, nor what tells of further pictures in the file (films, gain maps), which are not
// kept (a warning says so). Of a picture that was turned upright the EXIF's thumbnail and subject
// area go, and what XMP says of regions stays as it was. Of a JPEG that was loaded and is saved as
// one with quality 0, every MCU (8 x 8 to 32 x 32 pixels, as the file has them) whose pixels are
// still as they were read keeps the values of its coefficients, in a file of finer quantisation
// where that was coarser than quality 92, and EXIF keeps its orientation. Other pictures get
// quality 92. SL_ERR_ARGUMENT: a quality outside its range, a format that is not that
// of the path's ending. SL_ERR_UNSUPPORTED: an ending of neither format. SL_ERR_LIMIT: a side
// beyond the 65500 pixels of a JPEG. SL_ERR_EXISTS, SL_ERR_IO.
SL_API sl_status sl_image_save(sl_ctx *ctx, const sl_image *image, const char *path,
                               const sl_save_options *options);
// Whether a path is /dev/stdout or its like, or links to it: what is saved never takes the place of
// those. For who plans many outputs and wants to know before.
SL_API bool sl_stands_for_open_file(const char *path);
// Same, into malloc'ed memory: the bytes that the file would have. SL_IMAGE_SAME: that of the image
// loaded; `overwrite` is not looked at. Messages say `name`.
SL_API sl_status sl_image_save_memory(sl_ctx *ctx, const sl_image *image, const char *name,
                                      const sl_save_options *options, void **data, size_t *size);
SL_API void sl_image_free(sl_image *image);

SL_API uint32_t sl_image_width(const sl_image *image);
SL_API uint32_t sl_image_height(const sl_image *image);
SL_API unsigned sl_image_channels(const sl_image *image);
SL_API unsigned sl_image_depth(const sl_image *image);
// What it was loaded from; new: PNG; what is read and not written: SL_IMAGE_SAME.
SL_API sl_image_format sl_image_kind(const sl_image *image);

// First sample of a row: uint8_t, or native uint16_t at depth 16; channels interleaved.
SL_API void *sl_image_row(sl_image *image, uint32_t y);
SL_API const void *sl_image_row_const(const sl_image *image, uint32_t y);

// Both side by side, a thin gap between, 8-bit RGB, alpha over mid-grey. SL_ERR_LIMIT: too wide.
SL_API sl_status sl_image_compare(sl_ctx *ctx, const sl_image *before, const sl_image *after,
                                  sl_image **out);

// ---- models -------------------------------------------------------------------------------------

// "lmd-vit" deblurs: "Adaptive Window Pruning for Efficient Local Motion Deblurring", ICLR 2024,
// arXiv 2306.14268. "soft" names: SOFT, NeurIPS 2021, arXiv 2110.11945, and SOFT-Norm, IJCV 2024,
// arXiv 2207.03341. "soft-retinanet" finds: RetinaNet, arXiv 1708.02002, on a SOFT.
typedef struct sl_model sl_model;

// Opens a .safetensors model, or a PyTorch checkpoint (.pth, .pt) of a known architecture, told by
// content. Names, shapes and finite values are checked. The file must be a regular one, and stay
// unchanged while open. SL_ERR_IO, SL_ERR_FORMAT: damaged, or no such model. SL_ERR_UNSUPPORTED:
// another architecture or type. SL_ERR_LIMIT.
SL_API sl_status sl_model_open(sl_ctx *ctx, const char *path, sl_model **out);
SL_API void sl_model_free(sl_model *model);

// Where the default model of `architecture` lies: $SOFTLENS_MODELS, a folder, or a file, which is
// then taken whatever it holds; ../models, ../../models, models and ../share/softlens/models from
// the program's own folder; the install prefix; XDG data directories. *out is malloc'ed.
// SL_ERR_ARGUMENT: no such architecture. SL_ERR_IO: lists every place tried, or $SOFTLENS_MODELS
// names nothing that is there.
SL_API sl_status sl_model_find(sl_ctx *ctx, const char *architecture, char **out);
// Where NAME.safetensors lies, such as retina-soft-cells: in the same folders; a $SOFTLENS_MODELS
// that is a file is passed by. SL_ERR_ARGUMENT: more than 64 characters, or others than letters,
// digits and hyphens. SL_ERR_IO, as above.
SL_API sl_status sl_model_find_named(sl_ctx *ctx, const char *name, char **out);

// JSON text (malloc'ed): architecture, config, parameters, file, metadata and, for a picture of
// width x height (0: the model's usual side), padded size and GMAC by part; in these the inverses
// of a SOFT stand apart. With `graph`, also the ops as readable lines. SL_ERR_ARGUMENT: a side
// above 1048576. SL_ERR_LIMIT: one too large for this model.
SL_API sl_status sl_model_describe(sl_ctx *ctx, const sl_model *model, uint32_t width,
                                   uint32_t height, bool graph, char **out);

typedef struct sl_convert_options {
    bool half;           // store matrices as f16
    bool overwrite;      // false: an existing file is SL_ERR_EXISTS
    const char *inverse; // "soft" or "norm": what a SOFT computes; NULL: the file says
    const char *labels;  // a text file, a name a line for every class; NULL: as the file has them
} sl_convert_options;

// Writes the model as safetensors with metadata filled in. SL_ERR_ARGUMENT: the files of SOFT and
// SOFT-Norm are alike, and neither the file nor the options say which this is, or they contradict;
// not a label for every class. SL_ERR_FORMAT: a label that is empty, repeated or unprintable.
SL_API sl_status sl_model_convert(sl_ctx *ctx, const sl_model *model, const char *path,
                                  const sl_convert_options *options);

// ---- deblur -------------------------------------------------------------------------------------

typedef struct sl_deblur_options {
    const char *device;    // NULL: "auto"; see devices, above
    float keep_threshold;  // 0: the model's; else in (0, 1): lower keeps more windows
    bool dense;            // prune nothing
    uint64_t memory_bytes; // what the activations of a tile may take; 0: 512 MiB
    uint32_t tile;         // side of a tile in pixels, rounded up to what the model's windows fit
                           // into, two such units at least; 0: as large as the budget allows
    unsigned views;        // averaged: 1 (or 0) the picture, 2 its mirror image too, 4 both upside
                           // down too; as many times the work
    uint32_t shrink;       // 1: look at the picture as large as it is; 2 to 16: that many times
                           // smaller, enlarge what changes and add it; 0: from a size of some
                           // hundred pixels on in steps of two, as long as finer looks may find
                           // more, and join what they change
    sl_precision precision;
} sl_deblur_options;

typedef struct sl_deblur_report {
    uint32_t width, height;           // of the picture
    uint32_t tile_width, tile_height; // of the last look's canvas, in pixels that were looked at
    uint32_t tiles;                   // of all looks
    unsigned views;                   // of each tile
    uint32_t shrink[5];   // how many times smaller the picture was looked at, look by look; then 0
    double kept_share;    // windows computed / windows, over all blocks and looks
    double blurred_share; // the same of the look that computed most
    double seconds;       // network and compositing, without files
    char device[64];      // "cpu (avx512, 2 threads)"; ", after vulkan:0 failed" where it fell back
    bool fell_back;       // the device failed or was full, now or before: the processor computed
    sl_precision precision;
} sl_deblur_report;

typedef struct sl_deblur sl_deblur;

// Prepares the network; weights are packed here, so that runs only compute. The model and the
// context must outlive *out. SL_ERR_ARGUMENT: an option outside its range, a device that is not
// there. SL_ERR_UNSUPPORTED: the model is no LMD-ViT. SL_ERR_DEVICE.
SL_API sl_status sl_deblur_new(sl_ctx *ctx, const sl_model *model, const sl_deblur_options *options,
                               sl_deblur **out);
SL_API void sl_deblur_free(sl_deblur *deblur);

// *out: the deblurred picture, same size, channels, depth and metadata; bit for bit the input where
// no window was computed (looked at in small: from one small pixel beside it on). heat (may be
// NULL): the windows' blur confidence over the picture, 8-bit RGB. report may be NULL. A device
// without room for a tile gets smaller ones; where the smallest does not fit, or the device fails,
// the picture is begun anew on the processor, and those after it stay there. All of that is warned
// about. SL_ERR_LIMIT: a picture too large, or a budget too small for its smallest tile.
SL_API sl_status sl_deblur_run(sl_deblur *deblur, const sl_image *image, sl_image **out,
                               sl_image **heat, sl_deblur_report *report);

// ---- galleries ----------------------------------------------------------------------------------

// Classes enrolled from photographs. A gallery belongs to the network that looked at them: another
// one, or the same weights with another config, sees other numbers. A class is named by a label: 1
// to 255 bytes of UTF-8 without control characters, and no space at either end (SL_ERR_ARGUMENT).
typedef struct sl_gallery sl_gallery;

// *out: a gallery without classes, for what `model` sees, which must outlive it. Hashes the model's
// weights.
SL_API sl_status sl_gallery_new(sl_ctx *ctx, const sl_model *model, sl_gallery **out);

// *out: the gallery in the file, checked: shapes, counts, labels, finite numbers, unit norms. The
// file is mapped and may be replaced, but not changed, while open. `model` may be NULL: any; else
// it must outlive *out, and a gallery of another model is SL_ERR_ARGUMENT, by name. SL_ERR_IO,
// SL_ERR_FORMAT (damaged), SL_ERR_UNSUPPORTED (a newer version).
SL_API sl_status sl_gallery_open(sl_ctx *ctx, const char *path, const sl_model *model,
                                 sl_gallery **out);
SL_API void sl_gallery_free(sl_gallery *gallery);

// Writes beside `path` and renames into place, over the gallery that is there. What is written
// depends on classes and photographs alone, not on how often it was saved on the way.
// SL_ERR_IO, SL_ERR_NOMEM: the file that was there is still there.
SL_API sl_status sl_gallery_save(sl_ctx *ctx, const sl_gallery *gallery, const char *path);

// Who changes a gallery's file opens, changes and saves it under its lock, so that of two writers
// neither undoes the other's work. Waits while another process, or another holder in this one, has
// it; the progress callback (0 of 0) may end the waiting: SL_ERR_CANCELLED. Readers need no lock.
// A file .NAME.lock, of a long NAME the beginning, lies beside the gallery meanwhile. SL_ERR_IO: it
// cannot be made.
typedef struct sl_gallery_hold sl_gallery_hold;
SL_API sl_status sl_gallery_lock(sl_ctx *ctx, const char *path, sl_gallery_hold **out);
SL_API void sl_gallery_unlock(sl_gallery_hold *hold); // takes NULL

SL_API size_t sl_gallery_count(const sl_gallery *gallery);                // classes
SL_API const char *sl_gallery_label(const sl_gallery *gallery, size_t i); // until it changes
SL_API size_t sl_gallery_pictures(const sl_gallery *gallery, size_t i);   // of class i
SL_API bool sl_gallery_find(const sl_gallery *gallery, const char *label, size_t *i); // i: or NULL

// SL_ERR_ARGUMENT: no class of that label, or one that has the new one already.
SL_API sl_status sl_gallery_rename(sl_ctx *ctx, sl_gallery *gallery, const char *label,
                                   const char *to);
SL_API sl_status sl_gallery_remove(sl_ctx *ctx, sl_gallery *gallery, const char *label);

// Adds every photograph of `from`, another gallery: to the class of that label, or to a new one.
// Those that the class has already are left out. Cancelled, it has merged a part.
// SL_ERR_ARGUMENT: made with another model.
SL_API sl_status sl_gallery_merge(sl_ctx *ctx, sl_gallery *into, const sl_gallery *from);

// JSON text (malloc'ed): file, version, model, its hash, dimension, pictures, and of each class
// label, pictures, and, in a gallery of up to 2048, the nearest other class with its angle in
// degrees.
SL_API sl_status sl_gallery_describe(sl_ctx *ctx, const sl_gallery *gallery, char **out);

// JSON text (malloc'ed): the confidence below which enrolled classes become "unknown" when
// `unknown_rate` of their own pictures may (0: 0.05), found by leaving out one picture at a time,
// what the score is, how many pictures it rests on, and the threshold of the trained classes.
// `model`: whose statistics the score uses; NULL: none, the score is the largest cosine.
// SL_ERR_ARGUMENT: a rate outside 0 to below 1, a gallery of another model. SL_ERR_UNSUPPORTED: a
// model with statistics of classes that have no directions; without any statistics the threshold is
// that of the gallery alone. SL_ERR_FORMAT: its statistics are damaged.
SL_API sl_status sl_gallery_threshold(sl_ctx *ctx, const sl_gallery *gallery, const sl_model *model,
                                      float unknown_rate, char **out);

// What opening does not check: that every prototype is what the pictures of its class give.
// SL_ERR_FORMAT names the first class that is wrong.
SL_API sl_status sl_gallery_check(sl_ctx *ctx, const sl_gallery *gallery);

// ---- classify -----------------------------------------------------------------------------------

// A network ready to name pictures: trained classes by its head, enrolled ones by the cosine with
// their mean direction ("Hyperspherical embedding for novel class classification", arXiv
// 2102.03243), "unknown" by Mahalanobis distances where the model has the statistics (NeurIPS 2018,
// arXiv 1807.03888), else by the largest cosine.
typedef struct sl_classify sl_classify;

typedef struct sl_classify_options {
    const char *device; // NULL: "auto"; see devices, above
    sl_precision precision;
    float unknown_rate; // share of known pictures that may be called unknown, below 1; 0: 0.05;
                        // negative: none, nothing is called unknown
    bool gallery_only;  // the gallery's classes alone: they are ranked, and what is unlike all of
                        // them by its cosines is unknown; wants a gallery
} sl_classify_options;

typedef struct sl_match {
    const char *label;   // the network's or the gallery's: valid while both are
    float cosine;        // of the picture's embedding and the class's direction; NAN: it has none
    float angle_degrees; // arccos of it
    float probability;   // over all classes, trained and enrolled
    bool is_enrolled;
} sl_match;

typedef struct sl_classification {
    size_t count;
    sl_match *matches; // best first
    bool is_unknown;
    float confidence; // higher is surer; NAN where neither model nor gallery can tell
    float threshold;  // below it the picture is unknown; NAN: there is none
    size_t dimension;
    float *embedding; // [dimension], unit norm; NULL: the network has none
    double seconds;   // preprocessing, network and matching
    char device[64];
} sl_classification;

SL_API void sl_classification_free(sl_classification *classification); // takes NULL

// Prepares the network and the gallery (NULL: there is none), which must not change while *out
// lives. Model, gallery and context must outlive *out. SL_ERR_ARGUMENT: a gallery of another model,
// an option outside its range. SL_ERR_UNSUPPORTED: the model is no SOFT, or its head leaves no room
// for a gallery. SL_ERR_FORMAT: its statistics are damaged. SL_ERR_DEVICE.
SL_API sl_status sl_classify_new(sl_ctx *ctx, const sl_model *model, const sl_gallery *gallery,
                                 const sl_classify_options *options, sl_classify **out);
SL_API void sl_classify_free(sl_classify *classify);

// Whether the model's classes can be ranked beside a gallery's: it has directions for them, or none
// of them. Else a gallery wants gallery_only.
SL_API bool sl_classify_takes_gallery(const sl_classify *classify);

// *out: the `top` best classes (all, if there are fewer) of a picture. SL_ERR_ARGUMENT: neither
// model nor gallery has a class. SL_ERR_FORMAT: the network gave what is no number.
SL_API sl_status sl_classify_run(sl_classify *classify, const sl_image *image, size_t top,
                                 sl_classification **out);

// Writes embeddings of pictures, [count, dimension], as .npy of float32. SL_ERR_LIMIT: more than
// memory can hold. SL_ERR_EXISTS, SL_ERR_IO.
SL_API sl_status sl_embeddings_save(sl_ctx *ctx, const char *path, bool overwrite,
                                    const float *embeddings, size_t count, size_t dimension);

// Adds one picture to the class of that label, which is made if it is new. SL_ERR_ARGUMENT: a label
// that is none, a gallery of another model, or the very one that `classify` ranks by, a picture
// that cancels out the others of its class. SL_ERR_EXISTS: the class has the very picture.
// SL_ERR_FORMAT: the network gave what is no number.
SL_API sl_status sl_classify_enroll(sl_classify *classify, sl_gallery *gallery, const char *label,
                                    const sl_image *image);

// ---- detections ---------------------------------------------------------------------------------

// Coordinates are those of the upright picture, in pixels as float: x to the right, y down, from
// the outer corner of the first pixel; the whole picture is 0, 0, width, height. A box says where
// its corners are: x1 <= x2, y1 <= y2. Boxes may reach beyond the picture. What is not finite, or
// the other way round, is SL_ERR_ARGUMENT.

typedef struct sl_detection {
    float x1, y1, x2, y2;
    float score;             // 0..1
    uint32_t category;       // index of class_label among the detector's labels
    const char *label;       // what to call it: class_label, or what a refining classifier says
    const char *class_label; // the detector's own
    float refined;           // probability by the refining classifier; NAN: not refined
} sl_detection;

typedef struct sl_detections {
    size_t count;
    sl_detection *items;       // best first
    uint32_t width, height;    // of the upright picture
    size_t label_count;        // the detector's labels,
    const char *const *labels; // valid while it is
    double seconds;
    char device[64];
    bool fell_back;
} sl_detections;

typedef enum sl_overlay_style {
    SL_OVERLAY_BOXES = 0, // frames with labels
    SL_OVERLAY_LABELS,    // labels alone, at the top of what they name
    SL_OVERLAY_BLUR,      // what was found is made unrecognisable, for good
} sl_overlay_style;

typedef struct sl_overlay_options {
    sl_overlay_style style;
    const char *font; // a font file; NULL: DejaVu Sans, which is part of the library
} sl_overlay_options;

// Draws on the picture, in place and in its depth. The first 21 classes, by index among the
// detector's labels (refined ones: by their text), have colours of their own: seven of Okabe and
// Ito's, which colour-blind people can tell apart, then these lighter, then darker; further classes
// repeat them. Lines and letters are sized by the picture. Grey becomes RGB where something is
// drawn in colour. Glyphs that the font lacks come from the system's fonts, else a box stands for
// them. BLUR also covers a margin of a tenth around each box, and takes everything out of EXIF that
// could hold a picture: thumbnails, maker's notes; and XMP, IPTC and comments. A JPEG is all coded
// anew when it is saved. SL_ERR_ARGUMENT: a box as above, a picture of another size, a style that
// we do not know. SL_ERR_IO, SL_ERR_FORMAT: the font. A picture is drawn on whole or not at all.
SL_API sl_status sl_detections_draw(sl_ctx *ctx, sl_image *image, const sl_detections *found,
                                    const sl_overlay_options *options);

// *out: what is inside the box, whole pixels that it touches, with depth, channels and metadata; of
// EXIF no thumbnail, nor anything else that shows or measures the whole picture, nor XMP, IPTC and
// comments, which are about it. SL_ERR_ARGUMENT: a box outside the picture, or not a box.
SL_API sl_status sl_image_crop(sl_ctx *ctx, const sl_image *image, const sl_detection *found,
                               sl_image **out);

typedef enum sl_detect_format {
    SL_DETECT_JSON = 0, // one picture a file
    SL_DETECT_JSONL,    // a line for every picture
    SL_DETECT_COCO,     // images, categories and annotations with scores, in one file
    SL_DETECT_YOLO,     // a folder: labels/NAME.txt for every picture, and data.yaml
    SL_DETECT_LABELME,  // one picture a file
    SL_DETECT_CVAT,     // XML, "CVAT for images 1.1"
    SL_DETECT_CSV,      // RFC 4180, a line for every object
} sl_detect_format;

// A file of results; for YOLO a folder.
typedef struct sl_detect_file sl_detect_file;

// *out: a file to be, of the detector's labels, which are copied. Nothing has its name before
// sl_detect_file_finish. SL_ERR_ARGUMENT: no such format. SL_ERR_EXISTS: there is such a file, and
// `overwrite` is false. SL_ERR_IO. The context must outlive *out.
SL_API sl_status sl_detect_file_new(sl_ctx *ctx, const char *path, sl_detect_format format,
                                    const char *const *labels, size_t label_count, bool overwrite,
                                    sl_detect_file **out);

// Adds a picture, with or without detections. `picture`: its path as the user named it, any bytes;
// what is not UTF-8 in it becomes U+FFFD. Labels that refining made up are appended to the
// categories in order of appearance. SL_ERR_ARGUMENT: a second picture for JSON or LABELME, a box
// as above, a category beyond the labels. SL_ERR_EXISTS: YOLO names a picture's file by its name
// without ending, and has one of that name already. After these the file is as before. SL_ERR_IO.
SL_API sl_status sl_detect_file_add(sl_detect_file *file, const char *picture,
                                    const sl_detections *found);

// Writes what is left and renames into place. Then only sl_detect_file_free is left to call, and
// after any other failure. SL_ERR_ARGUMENT: JSON or LABELME without a picture. SL_ERR_IO,
// SL_ERR_EXISTS.
SL_API sl_status sl_detect_file_finish(sl_detect_file *file);
SL_API void sl_detect_file_free(sl_detect_file *file); // takes NULL; unfinished: leaves nothing

// ---- detect -------------------------------------------------------------------------------------

// How boxes of one class that overlap come to one ("Soft-NMS", ICCV 2017, arXiv 1704.04503).
typedef enum sl_nms {
    SL_NMS_GAUSSIAN = 0, // every score falls by exp(-overlap^2 / sigma)
    SL_NMS_LINEAR,       // by 1 - overlap, above a threshold
    SL_NMS_HARD,         // what overlaps a better box by more than a threshold goes
    SL_NMS_NONE,
} sl_nms;

typedef struct sl_detect_options {
    const char *device; // NULL: "auto"; see devices, above
    sl_precision precision;
    uint32_t long_side, short_side; // what the picture is scaled to fit into, in pixels, up to
                                    // 4096; 0: the model's
    float score;                    // what is less sure is left out, below 1; 0: the model's, 0.3
    sl_nms nms;
    float iou;     // threshold of linear and hard, below 1; 0: 0.3 and 0.5
    float sigma;   // of gaussian; 0: 0.5
    uint32_t most; // objects of a picture; 0: 100
    bool flip;     // look a second time, at the mirror image
    uint32_t tile; // also look at tiles of that side, 32 pixels of the picture at least, which
                   // overlap by a fifth: for small objects in large pictures; 0: the whole alone
    const char *const *classes; // labels, all others are left out; NULL: all
    size_t class_count;
} sl_detect_options;

// A network ready to find objects.
typedef struct sl_detect sl_detect;

// Model and context must outlive *out. SL_ERR_ARGUMENT: an option outside its range, a label that
// the model has not (the message tells those it has). SL_ERR_UNSUPPORTED: not a detector.
SL_API sl_status sl_detect_new(sl_ctx *ctx, const sl_model *model, const sl_detect_options *options,
                               sl_detect **out);
SL_API void sl_detect_free(sl_detect *detect);

// *out: what is in the picture. SL_ERR_FORMAT: the network gave what is no number, and where.
// SL_ERR_CANCELLED. Where the device fails or is full the processor computes.
SL_API sl_status sl_detect_run(sl_detect *detect, const sl_image *image, sl_detections **out);
SL_API void sl_detections_free(sl_detections *found); // takes NULL

// All labels of the model, valid while the detector is.
SL_API const char *const *sl_detect_labels(const sl_detect *detect, size_t *count);

// Names every object anew: by what the classifier sees in its box, "unknown" included. The labels
// are the classifier's or its gallery's, valid while those are.
SL_API sl_status sl_detections_refine(sl_classify *classify, const sl_image *image,
                                      sl_detections *found);

// JSON text (malloc'ed): COCO's average precision over the pictures of `annotations`, a COCO file,
// whose pictures lie in `images`: AP, AP50, AP75, by size and by class, once with the detector's
// way of joining boxes and once with hard NMS. Of categories those count that both the file and the
// model have. Every candidate takes part, whatever `score` says. An image may have "labelled", the
// ids of the categories that were looked for in it: others are not counted there. SL_ERR_IO,
// SL_ERR_FORMAT: a picture or the file; SL_ERR_ARGUMENT: nothing in common. SL_ERR_CANCELLED.
SL_API sl_status sl_detect_evaluate(sl_detect *detect, const char *annotations, const char *images,
                                    char **out);

// The same numbers, as "scores", of objects that any program found: `results` is COCO's file of
// results, a list of {"image_id", "category_id", "bbox", "score"} by the ids of `annotations`. All
// its categories count; no picture is read. SL_ERR_IO, SL_ERR_FORMAT, SL_ERR_LIMIT: a file.
SL_API sl_status sl_detections_evaluate(sl_ctx *ctx, const char *annotations, const char *results,
                                        char **out);

// ---- Equiangular Basis Vectors ------------------------------------------------------------------

typedef struct sl_ebv_options {
    size_t classes;   // N, 2 to 65536
    size_t dimension; // d, 2 to 65536; N * d at most 2^26
    float alpha;      // the largest |cosine| asked for, below 1; 0: a tenth above the bound
    unsigned steps;   // at most; 0: 2000
    uint64_t seed;    // 0: 42
    bool overwrite;   // false: an existing file is SL_ERR_EXISTS
} sl_ebv_options;

typedef struct sl_ebv_report {
    double alpha;       // asked for, or chosen
    double bound;       // Welch: no N vectors in d dimensions have a smaller largest |cosine|
    double max_cosine;  // |cosine| of two vectors: the largest
    double mean_cosine; // and the mean
    unsigned steps;     // taken; 0: constructed
    bool is_reached;    // max_cosine <= alpha + 0.0001
    double seconds;
} sl_ebv_report;

// Makes `classes` unit vectors in `dimension` dimensions, as nearly orthogonal as `alpha` asks, and
// writes them as tensor "directions" [N,d] f32 with seed, N, d and what was reached as metadata.
// Where the steps run out the best set is written, and a warning says so; one about the bound comes
// first where the request is below it. report may be NULL. Same seed and kind of processor: same
// bytes, whatever the number of threads. SL_ERR_ARGUMENT, SL_ERR_EXISTS, SL_ERR_IO,
// SL_ERR_CANCELLED (no file). Source: "Equiangular Basis Vectors", CVPR 2023, arXiv 2303.11637.
SL_API sl_status sl_ebv_write(sl_ctx *ctx, const char *path, const sl_ebv_options *options,
                              sl_ebv_report *report);

// ---- for researchers ----------------------------------------------------------------------------

typedef struct sl_run_options {
    const char *device;
    float keep_threshold; // as of sl_deblur_options
    bool dense;
    bool composed; // windows op by op instead of the fused block: the reference form
    bool overwrite;
    sl_precision precision;
} sl_run_options;

// One raw tensor through a model. `input`: .npy of float32 [H,W,3]. Files go under `output_dir`,
// which is made if missing. Where the device fails or is full the processor computes.
// An LMD-ViT takes 0..1, padded as in the official evaluation (zeros, centred), and writes
// output.npy [H,W,3] and keep/LAYER.BLOCK.npy (uint8). A SOFT takes pixels that are normalised
// already, as many as they are, and writes stage1.npy to stage4.npy [h,w,C], pool3.npy and
// pool4.npy [C] and, as far as it has them, embedding.npy and logits.npy. A detector takes them
// too, with zeros to the right and below up to multiples of 32, and writes its head's maps on the
// levels P3 to P7: cls_P3.npy .. [h,w,A*K] (logits) and reg_P3.npy .. [h,w,A*4]. The options of
// windows are SL_ERR_ARGUMENT then.
SL_API sl_status sl_model_run(sl_ctx *ctx, const sl_model *model, const char *input,
                              const char *output_dir, const sl_run_options *options);

typedef struct sl_bench_options {
    const char *device;
    uint32_t width, height; // 0: 512, or what the model was made for
    unsigned repeats;       // up to 10000; 0: 5
    float keep_share; // in (0, 1]: this share of windows is kept, evenly; 0: by the predictors
    bool dense;
    sl_precision precision;
} sl_bench_options;

// Times a model on this machine: JSON text (malloc'ed) with the median seconds, the device's own
// measured peak, and per op family seconds, share, GFLOP/s, GB/s and share of that peak. A device
// that fails or is full is a failure here: SL_ERR_DEVICE, SL_ERR_NOMEM.
SL_API sl_status sl_model_bench(sl_ctx *ctx, const sl_model *model, const sl_bench_options *options,
                                char **out);

// ---- traces -------------------------------------------------------------------------------------

// From here on the context keeps what it does and when: files, pictures, runs, and every operation
// on its device. `path` is tried at once, so that it fails before any work: SL_ERR_EXISTS (without
// overwrite), SL_ERR_IO. One at a time: SL_ERR_ARGUMENT.
SL_API sl_status sl_trace_begin(sl_ctx *ctx, const char *path, bool overwrite);

// Ends the trace and writes it, as JSON of Chrome's trace events: ui.perfetto.dev opens it. A
// context freed before writes nothing. SL_ERR_ARGUMENT: none was begun. SL_ERR_IO, SL_ERR_EXISTS.
SL_API sl_status sl_trace_write(sl_ctx *ctx);

#ifdef __cplusplus
}
#endif

#endif
