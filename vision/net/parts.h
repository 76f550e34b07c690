// SPDX-License-Identifier: MIT
// net/parts.h: what the architectures share among themselves: their table, and what they check
// files with. For the files of net/ alone.
#ifndef SL_NET_PARTS_H
#define SL_NET_PARTS_H

#include "net/net.h"

#include <jansson.h>

// ---- architectures: one row each, in the file that builds it; the table is in model.c

typedef struct sl_architecture {
    const char *name; // as in metadata
    // Whether a file that does not say is one of these, by the names of its tensors.
    bool (*is_like)(const sl_tensor_set *set);
    // Reads the configuration, checks the tensors, makes what is made of them.
    sl_status (*open)(sl_ctx *ctx, sl_model *model);
    void (*close)(sl_model *model); // NULL: nothing to free; takes what open left half-done
    // As in metadata, malloc'ed. inverse: what a user says of it, or NULL; with is_final everything
    // must be known: SL_ERR_ARGUMENT.
    sl_status (*config_json)(sl_ctx *ctx, const sl_model *model, const char *inverse, bool is_final,
                             char **out);
    // The picture when none is named, and what sides of a canvas are multiples of.
    void (*sides)(const sl_model *model, uint32_t *width, uint32_t *height, uint32_t *multiple);
    // The network as it costs, for a canvas of that size.
    sl_status (*build)(sl_graph *g, const sl_model *model, uint32_t height, uint32_t width);
} sl_architecture;

const sl_architecture *sl_model_kind(const sl_model *model); // NULL: none was found yet

extern const sl_architecture sl_architecture_lmd;    // lmd_vit.c
extern const sl_architecture sl_architecture_soft;   // soft.c
extern const sl_architecture sl_architecture_retina; // retina.c

// ---- checking tensors (check.c)

// The tensor ROOTNAME; NULL: there is none.
const sl_tensor *sl_find(const sl_tensor_set *set, const char *root, const char *name);

typedef struct sl_checker {
    sl_ctx *ctx;
    const sl_tensor_set *set;
    const char *root; // in front of all names: "", or "backbone."
    size_t seen;      // tensors that were expected and found
} sl_checker;

// NAME is there, floating point, of that shape, and finite.
sl_status sl_expect(sl_checker *k, const char *name, sl_shape want);
sl_status sl_check_finite(sl_checker *k, const sl_tensor *t);
// PREFIX.weight of `shape`, and PREFIX.bias [biases] unless that is 0.
sl_status sl_expect_pair(sl_checker *k, const char *prefix, sl_shape shape, uint64_t biases);

typedef struct sl_pair {
    const char *key;
    sl_shape shape;
    uint64_t biases;
} sl_pair;
// PREFIX.KEY.weight and PREFIX.KEY.bias for each pair.
sl_status sl_expect_pairs(sl_checker *k, const char *prefix, const sl_pair *pairs, size_t count);

static inline sl_shape vector(uint64_t n)
{
    return (sl_shape) { .rank = 1, .dim = { n } };
}

static inline sl_shape matrix(uint64_t rows, uint64_t columns)
{
    return (sl_shape) { .rank = 2, .dim = { rows, columns } };
}

static inline sl_shape kernel(uint64_t a, uint64_t b, uint64_t side)
{
    return (sl_shape) { .rank = 4, .dim = { a, b, side, side } };
}

// ---- reading configurations (config.c): false where the value is another type or out of range

bool sl_read_count(const json_t *value, uint32_t least, uint32_t most, uint32_t *out);
// An array of exactly `wanted` numbers.
bool sl_read_counts(const json_t *value, uint32_t least, uint32_t most, size_t wanted,
                    uint32_t *out);
bool sl_read_real(const json_t *value, double above, double most, float *out);
// What metadata "config" says, an object that the caller releases; *out NULL: there is none.
sl_status sl_config_load(sl_ctx *ctx, const sl_tensor_set *set, json_t **out);
char *sl_config_text(sl_ctx *ctx, json_t *root); // malloc'ed; takes `root`, which may be NULL
bool sl_is_other(float a, float b);              // either is greater
json_t *sl_counts_json(const uint32_t *counts, size_t count); // NULL: out of memory
json_t *sl_reals_json(const float *reals, size_t count);      // likewise

// ---- a SOFT as part of another network: its tensors' names begin with `root`

// soft_config.c: `stated` is what metadata says of it, or NULL. A backbone, with a root, may have a
// head, but no directions; it is of no use.
sl_status sl_soft_config_from(sl_ctx *ctx, const sl_tensor_set *set, const char *root,
                              const json_t *stated, sl_soft_config *out);
json_t *sl_soft_config_object(const sl_soft_config *config); // NULL: out of memory
// Whether its number of landmarks is one that its inverse is defined for.
sl_status sl_soft_check_landmarks(sl_ctx *ctx, const char *path, const sl_soft_config *config);
// soft.c: what a user says of the inverse goes into the config; with is_final it must be known.
sl_status sl_soft_tell_inverse(sl_ctx *ctx, const char *path, const char *inverse, bool is_final,
                               sl_soft_config *config);
// soft_check.c: the tensors that a SOFT of that configuration has; and whether a name is one of
// those that do no harm, counters of a training.
sl_status sl_soft_expect(sl_checker *k, const sl_soft_config *config);
bool sl_is_counter(const char *name);
// soft.c: whether it is known which inverse a model has.
sl_status sl_soft_check_inverse(sl_graph *g, const sl_model *model);
// soft.c: the stages on a picture [H,W,3]; maps [h,w,C], the last without the class token.
sl_status sl_soft_stages(sl_graph *g, const sl_model *model, const char *root, sl_value image,
                         sl_value maps[SL_SOFT_STAGES]);

// ---- parts of a detector

#define SL_BACKBONE "backbone."

// retina_config.c
sl_status sl_retina_config_read(sl_ctx *ctx, sl_model *model); // into ->retina and ->soft
json_t *sl_retina_config_object(const sl_model *model, const sl_soft_config *backbone);
// retina_check.c: names, shapes and types of every tensor, all values finite; and the labels.
sl_status sl_retina_check(sl_ctx *ctx, const sl_model *model);
sl_status sl_retina_weights_make(sl_ctx *ctx, const sl_retina_config *config,
                                 sl_retina_weights *out);
// fpn.c: "neck.": the maps of stages 2 to 4 to those of all levels.
void sl_fpn_build(sl_graph *g, const sl_tensor_set *set, const sl_value stages[3],
                  sl_value levels[SL_RETINA_LEVELS]);
sl_status sl_fpn_expect(sl_checker *k, const uint32_t stages[3], uint32_t channels);
// A convolution PREFIX.weight, PREFIX.bias, of odd side, that keeps sides but for the stride.
sl_value sl_fpn_conv(sl_graph *g, const sl_tensor_set *set, const char *prefix, uint32_t stride,
                     sl_act act, sl_value x);

// labels.c: *json: the lines of a text file as a JSON list, malloc'ed. SL_ERR_IO, SL_ERR_FORMAT (an
// empty line, a name that is repeated or cannot be printed), SL_ERR_ARGUMENT (not one for each of
// the classes), SL_ERR_NOMEM.
sl_status sl_labels_read(sl_ctx *ctx, const char *path, uint32_t classes, char **json);

#endif
