// SPDX-License-Identifier: MIT
// tests/fuzz/nms.c: Soft-NMS beside the published loop, bit for bit. Two bytes choose the options;
// then come boxes: of five f32 each, or of five bytes each, which overlap and tie more often.
#include "../detect/published.h"

#define MOST 1500

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static sl_scored made[MOST], want[MOST], got[MOST];

static size_t read_boxes(const uint8_t *data, size_t size, bool are_floats)
{
    const size_t each = are_floats ? 5 * sizeof(float) : 5;
    size_t n = size / each < MOST ? size / each : MOST;
    for (size_t i = 0; i < n; i++, data += each) {
        float v[5] = { data[0], data[1], 0, 0, (float)data[4] / 64 };
        v[2] = v[0] + (float)data[2] / 4;
        v[3] = v[1] + (float)data[3] / 4;
        if (are_floats)
            memcpy(v, data, sizeof(v));
        made[i] = (sl_scored) { { v[0], v[1], v[2], v[3] }, v[4], (uint32_t)i };
    }
    return n;
}

static bool is_fit(const sl_scored *box)
{
    const float v[] = { box->box.x1, box->box.y1, box->box.x2, box->box.y2 };
    for (size_t i = 0; i < SL_ARRAY_LEN(v); i++)
        if (!(fabsf(v[i]) <= SL_NMS_MAX_COORDINATE))
            return false;
    return isfinite(box->score);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const float sigmas[] = { 0.5f, 0.3f, 0.01f, 3 }, ious[] = { 0.3f, 0.5f, 0.01f, 0.99f };
    static sl_ctx *at[2];
    if (!at[0] && (sl_ctx_new(&(sl_ctx_options) { .threads = 1, .simd = "portable" }, &at[0]) ||
                   sl_ctx_new(&(sl_ctx_options) { .threads = 1 }, &at[1])))
        abort();
    if (size < 2)
        return 0;
    const sl_nms_options options = { .kind = (sl_nms)(data[0] % 3),
                                     .plus_one = data[0] & 4,
                                     .sigma = sigmas[data[1] % 4],
                                     .iou = ious[data[1] / 4 % 4],
                                     .least = data[1] & 16 ? 0.001f : 0.2f };
    const size_t n = read_boxes(data + 2, size - 2, data[0] & 8);
    size_t count = n, left = n;
    bool fit = true;
    for (size_t i = 0; i < n; i++)
        fit = fit && is_fit(&made[i]);
    memcpy(want, made, sizeof(made));
    memcpy(got, made, sizeof(made));
    sl_status st = sl_soft_nms(at[data[0] >> 4 & 1], got, &count, &options);
    if (st != (fit ? SL_OK : SL_ERR_FORMAT))
        abort();
    if (fit)
        left = published_soft_nms(want, n, &options);
    if (count != left || memcmp(want, got, left * sizeof(*got)) != 0)
        abort();
    return 0;
}
