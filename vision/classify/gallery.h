// SPDX-License-Identifier: MIT
// classify/gallery.h: what a gallery is made of. For the files of classify/ alone.
#ifndef SL_CLASSIFY_GALLERY_H
#define SL_CLASSIFY_GALLERY_H

#include "classify/classify.h"

#include <jansson.h>

#define SL_LABEL_BYTES 255
#define SL_HASH_TEXT 65 // SHA-256 in hexadecimal, and a 0

typedef struct sl_gallery_print {
    uint64_t hash;  // of a picture
    size_t picture; // of its class
} sl_gallery_print;

typedef struct sl_gallery_class {
    char *label;
    size_t count;                // pictures: file_count in the file, then those added since
    size_t file_row, file_count; // rows of the samples
    float **added;               // [count - file_count], each [d + C3 + C4]
    size_t added_room;
    const float *file_prototype; // in the file; NULL: pictures were added since
    float *prototype;            // own; then
    sl_gallery_print *prints;    // of its pictures by hash, once one is looked for in it
    size_t print_count, print_room;
    double *sum; // of the embeddings in their order, kept once a picture was added
} sl_gallery_class;

// The tensors of a gallery's file. Rows lie in the file, or in a copy where it is not aligned.
enum {
    SL_GALLERY_PROTOTYPES,
    SL_GALLERY_EMBEDDING,
    SL_GALLERY_POOL3,
    SL_GALLERY_POOL4,
    SL_GALLERY_TENSORS
};
extern const char *const sl_gallery_tensor_names[SL_GALLERY_TENSORS];

struct sl_gallery {
    char *path;                               // for messages
    char *model_name;                         // of the model's file, without folders
    char hash[SL_HASH_TEXT];                  // of its weights, and its views
    char *sight;                              // of sl_soft_config_sight; NULL: nobody noted it
    size_t dimension, pool3_size, pool4_size; // all 0 until there is a picture
    sl_gallery_class *classes;
    size_t count, room;
    json_t *index;      // label -> number of the class
    sl_tensor_set *set; // of the file; NULL: none
    const float *rows[SL_GALLERY_TENSORS];
    float *copies[SL_GALLERY_TENSORS];
    const void *model; // the tensors that the gallery is known to belong to
};

// ---- gallery.c

sl_status sl_gallery_make(sl_ctx *ctx, const char *path, sl_gallery **out); // empty, of no model
bool sl_label_valid(const char *text, size_t size);
// Appends a class without pictures; the label is checked and copied.
sl_status sl_gallery_append(sl_ctx *ctx, sl_gallery *gallery, const char *label);
const float *sl_gallery_prototype(const sl_gallery *gallery, size_t i); // [d]
// Picture k of class i. Logits are NULL.
sl_features sl_gallery_picture(const sl_gallery *gallery, size_t i, size_t k);
// Unit vector along sum, in f32. False: it is shorter than 1e-6 of what `count` units can give.
bool sl_prototype_of(const double *sum, size_t dimension, size_t count, float *out);

// ---- gallery_file.c

sl_status sl_gallery_open_for(sl_ctx *ctx, const char *path, const sl_tensor_set *model,
                              sl_gallery **out);

// ---- gallery_report.c

sl_status sl_gallery_threshold_for(sl_ctx *ctx, const sl_gallery *gallery,
                                   const sl_tensor_set *model, float unknown_rate, char **out);

// ---- gallery_lock.c

// *out, malloc'ed: where the file lies that is meant, through links, so that a link stays one and
// two names are one gallery; `path` itself where there is nothing yet.
sl_status sl_gallery_place(sl_ctx *ctx, const char *path, char **out);

// ---- gallery_twins.c

// Whether class i has the very picture.
sl_status sl_gallery_has_picture(sl_ctx *ctx, const sl_gallery *gallery, size_t i,
                                 const sl_features *f, bool *out);
// Notes what was added to the class, so that the next question is quick, too.
void sl_gallery_note_picture(sl_gallery_class *c, const sl_features *f);

// ---- hash.c

// SHA-256 of the weights: each tensor's name, type, shape and bytes, in the order of names. Tensors
// "reject.*" are left out: statistics may be measured anew without a change of what is seen. Where
// the model wants mirror images too, also how pictures are shown to it. SL_ERR_NOMEM.
sl_status sl_weights_hash(sl_ctx *ctx, const sl_tensor_set *model, char out[SL_HASH_TEXT]);
sl_status sl_gallery_belongs_to(sl_ctx *ctx, const sl_gallery *gallery, const sl_tensor_set *model);
// Whether both were made with one model. SL_ERR_ARGUMENT names both.
sl_status sl_gallery_belong_together(sl_ctx *ctx, const sl_gallery *into, const sl_gallery *from);

#endif
