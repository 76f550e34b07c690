// SPDX-License-Identifier: MIT
// detect/coco.h: between the files coco*.c.
#ifndef SL_DETECT_COCO_H
#define SL_DETECT_COCO_H

#include "detect/detect.h"
#include "tensor/tensor.h"

#include <jansson.h>

#define SL_COCO_MAX_NUMBER 1e12

struct sl_coco {
    sl_arena arena; // names and lists
    sl_coco_image *images;
    sl_coco_category *categories;
    sl_coco_annotation *annotations;
    size_t image_count, category_count, annotation_count;
    uint32_t *by_name; // categories in the order of their names
};

// ---- coco_json.c: fields of entries that nobody vouches for

// Where a message points: entry `i` of the list `list` in the file `path`.
typedef struct sl_coco_entry {
    sl_ctx *ctx;
    const char *path, *list;
    size_t i;
    const json_t *object;
} sl_coco_entry;

// The whole text as JSON, bounded before it is parsed. *out is freed by json_decref.
sl_status sl_coco_json(sl_ctx *ctx, const void *data, size_t size, const char *path, json_t **out);
// SL_ERR_FORMAT unless root[list] is a list of at most 2^24 objects.
sl_status sl_coco_list(sl_ctx *ctx, const char *path, const json_t *root, const char *list,
                       const json_t **out);
sl_status sl_coco_entry_at(sl_ctx *ctx, const char *path, const json_t *entries, const char *list,
                           size_t i, sl_coco_entry *out);
// Always SL_ERR_FORMAT: "PATH: LIST[i] WHAT".
sl_status sl_coco_bad(const sl_coco_entry *entry, const char *what, ...) SL_PRINTF(2, 3);
sl_status sl_coco_id(const sl_coco_entry *entry, const char *key, int64_t *out);
sl_status sl_coco_side(const sl_coco_entry *entry, const char *key, uint32_t *out); // pixels, > 0
// A finite number, up to SL_COCO_MAX_NUMBER of either sign.
sl_status sl_coco_number(const sl_coco_entry *entry, const json_t *value, const char *key,
                         double *out);
// "bbox": four numbers, sides not negative.
sl_status sl_coco_box(const sl_coco_entry *entry, double out[4]);

// The indices of an entry's picture and category.
sl_status sl_coco_owners(const sl_coco_entry *entry, const sl_coco *coco, uint32_t *image,
                         uint32_t *category);

// ---- coco_read.c

// By image, then category, then as they came.
sl_status sl_coco_sort_annotations(sl_ctx *ctx, sl_coco *coco);

// ---- coco_match.c: detections against the truths of one image and category

#define SL_COCO_THRESHOLDS 10 // IoU 0.50:0.05:0.95
#define SL_COCO_AREAS 4       // all, small, medium, large
#define SL_COCO_MOST 100      // detections of an image and category that are looked at

// A detection as it is counted. Bits by threshold, for each range of areas.
typedef struct sl_coco_hit {
    const sl_coco_result *result;
    uint32_t rank; // among those of its image, from 0
    uint16_t met[SL_COCO_AREAS], ignored[SL_COCO_AREAS];
} sl_coco_hit;

// Room that grows with the largest image.
typedef struct sl_coco_scratch {
    double *overlaps; // [hits, truths]
    uint32_t *order;  // [truths]
    uint16_t *taken;  // [truths] bits by threshold
    size_t truths;    // that there is room for, with SL_COCO_MOST hits
} sl_coco_scratch;

// hits: best first, at most SL_COCO_MOST; their met and ignored are filled in. SL_ERR_NOMEM.
sl_status sl_coco_match(sl_ctx *ctx, sl_coco_scratch *scratch,
                        const sl_coco_annotation *const *truths, size_t truth_count,
                        sl_coco_hit *hits, size_t hit_count);
void sl_coco_scratch_free(sl_coco_scratch *scratch);
// Whether a truth counts neither as found nor as missed in a range of areas.
bool sl_coco_is_ignored(const sl_coco_annotation *truth, size_t area);

#endif
