// SPDX-License-Identifier: MIT
// detect/: what is done with boxes, once a network has given them: Soft-NMS; and how good they are:
// COCO's annotations, results and metrics. Knows no network. May include base/, image/, tensor/,
// graph/, net/, and of cpu/ the SIMD level and its vectors.
#ifndef SL_DETECT_DETECT_H
#define SL_DETECT_DETECT_H

#include "base/base.h"

// Corners in pixels: x to the right, y down. A box with x2 < x1 or y2 < y1 is empty and overlaps
// nothing.
typedef struct sl_box {
    float x1, y1, x2, y2;
} sl_box;

typedef struct sl_scored {
    sl_box box;
    float score;
    uint32_t label;
} sl_scored;

// ---- nms.c, nms_all.c

#define SL_NMS_MAX_COORDINATE 1e18f // of either sign: areas then stay finite in f32
#define SL_NMS_MAX_BOXES ((size_t)1 << 24)

// All zeros are valid and mean the defaults: gaussian.
typedef struct sl_nms_options {
    sl_nms kind;
    float iou;     // hard, linear: overlap above which a box is touched, below 1; 0: 0.5 and 0.3
    float sigma;   // gaussian; 0: 0.5
    float least;   // a box that falls below goes; 0: 0.001
    bool plus_one; // sides are x2 - x1 + 1, as in the published code; false: x2 - x1
} sl_nms_options;

// Boxes of one class, in place: the survivors in the order of their selection, best first, with
// the scores that are left to them; *count becomes their number. Scores, ties and drops are bit for
// bit those of the published loop (two boxes overlap when both sides of the intersection and its
// area are above 0): a box is dropped only when a selected one overlaps it, and equal scores are
// taken in the order that its exchanges give. SL_NMS_NONE sorts by score, equal ones as they came.
// SL_ERR_FORMAT: NaN, infinite, or a coordinate beyond SL_NMS_MAX_COORDINATE, with the box's index.
// SL_ERR_ARGUMENT: options. SL_ERR_LIMIT: more than SL_NMS_MAX_BOXES. SL_ERR_NOMEM. Whatever fails
// leaves the boxes as they were. Source: arXiv 1704.04503, and its published code.
sl_status sl_soft_nms(sl_ctx *ctx, sl_scored *boxes, size_t *count, const sl_nms_options *options);

// Boxes of all classes, in place: sl_soft_nms on the boxes of each label, then the best `max` by
// score (0: all); equal scores in the order of labels, then of selection.
sl_status sl_nms_all(sl_ctx *ctx, sl_scored *boxes, size_t *count, const sl_nms_options *options,
                     size_t max);

// ---- coco_read.c, coco_parse.c, coco_results.c: ground truth and detections as COCO writes them

typedef struct sl_coco_image {
    int64_t id;
    const char *file_name; // relative, without ".."
    uint32_t width, height;
    // "labelled": indices of the categories that were looked for, ascending. In the others there is
    // no ground truth, and detections there do not count. NULL: all were looked for.
    const uint32_t *labelled;
    size_t labelled_count;
} sl_coco_image;

typedef struct sl_coco_category {
    int64_t id;
    const char *name; // 1 to 256 bytes of UTF-8, unique
} sl_coco_category;

typedef struct sl_coco_annotation {
    int64_t id;
    uint32_t image, category; // indices
    bool is_crowd;
    double box[4]; // x, y, width, height, pixels
    double area;   // as annotated; without one, of the box
} sl_coco_annotation;

// Images and categories are sorted by id, annotations by image, then category, then as they came.
typedef struct sl_coco sl_coco;

// Reads an annotation file: {"images": [...], "categories": [...], "annotations": [...]}, at most
// 256 MiB. Every field is checked: ids are there and unique, names are printable and unique, boxes
// are finite, have no negative side and touch their picture, annotations belong to an image, to a
// category, and to one that was looked for. *out: NULL on failure; freed by sl_coco_free.
// SL_ERR_IO, SL_ERR_FORMAT, SL_ERR_LIMIT, SL_ERR_NOMEM. Source: cocodataset.org, "Data format".
sl_status sl_coco_read(sl_ctx *ctx, const char *path, sl_coco **out);
// The same from bytes, with `name` for messages.
sl_status sl_coco_parse(sl_ctx *ctx, const void *data, size_t size, const char *name,
                        sl_coco **out);
void sl_coco_free(sl_coco *coco); // takes NULL

size_t sl_coco_image_count(const sl_coco *coco);
const sl_coco_image *sl_coco_image_at(const sl_coco *coco, size_t i); // NULL: no such index
size_t sl_coco_category_count(const sl_coco *coco);
const sl_coco_category *sl_coco_category_at(const sl_coco *coco, size_t i);
size_t sl_coco_annotation_count(const sl_coco *coco);
const sl_coco_annotation *sl_coco_annotation_at(const sl_coco *coco, size_t i);

// The index of an id or of a name; false: there is none.
bool sl_coco_find_image(const sl_coco *coco, int64_t id, size_t *i);
bool sl_coco_find_category(const sl_coco *coco, int64_t id, size_t *i);
bool sl_coco_find_name(const sl_coco *coco, const char *name, size_t *i);
// Whether a category was looked for in an image.
bool sl_coco_is_labelled(const sl_coco *coco, size_t image, size_t category);

typedef struct sl_coco_result {
    uint32_t image, category; // indices
    double box[4];            // x, y, width, height, pixels
    double score;
} sl_coco_result;

// Reads detections: a list of {"image_id", "category_id", "bbox", "score"}. *out: malloc'ed.
// SL_ERR_FORMAT: also an image or a category that `coco` does not have.
sl_status sl_coco_results_read(sl_ctx *ctx, const char *path, const sl_coco *coco,
                               sl_coco_result **out, size_t *count);
sl_status sl_coco_results_parse(sl_ctx *ctx, const void *data, size_t size, const char *name,
                                const sl_coco *coco, sl_coco_result **out, size_t *count);

// ---- coco_evaluate.c

typedef struct sl_coco_class {
    double ap, ap50; // -1: the class has no ground truth that counts
    size_t truths;   // boxes that count: no crowds, area below 10^10
    size_t found;    // of them, those that a detection meets at IoU 0.5
} sl_coco_class;

// pycocotools' twelve numbers for boxes, 0..1; -1 where there is no ground truth that counts.
typedef struct sl_coco_scores {
    double ap, ap50, ap75;                // mean over IoU 0.50:0.05:0.95; at 0.50; at 0.75
    double ap_small, ap_medium, ap_large; // by annotated area: to 32^2, to 96^2, beyond
    double ar1, ar10, ar100;              // recall with so many detections an image and class
    double ar_small, ar_medium, ar_large;
    size_t class_count;
    sl_coco_class *classes; // [class_count], as coco's categories
} sl_coco_scores;

// Results in any order; of equal scores the earlier comes first. *out is freed by
// sl_coco_scores_clear, {0} on failure. SL_ERR_ARGUMENT: an index outside of coco, a number that is
// not finite or beyond 10^12. SL_ERR_NOMEM. Source: pycocotools 2.0, COCOeval with iouType "bbox".
sl_status sl_coco_evaluate(sl_ctx *ctx, const sl_coco *coco, const sl_coco_result *results,
                           size_t count, sl_coco_scores *out);
// Over some categories alone: wanted[category]. NULL: all.
sl_status sl_coco_evaluate_some(sl_ctx *ctx, const sl_coco *coco, const bool *wanted,
                                const sl_coco_result *results, size_t count, sl_coco_scores *out);
void sl_coco_scores_clear(sl_coco_scores *scores);

#endif
