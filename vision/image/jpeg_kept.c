// SPDX-License-Identifier: MIT
// image/jpeg_kept.c: what did not change in a photograph need not be coded a second time. A file
// whose quantisation is coarse gets a finer one whose steps divide the old ones: its coefficients
// have the same values in it, and what is coded anew loses less. As in jpeg_read.c, nothing local
// lives across a longjmp.
#include "image/jpeg.h"

#include <setjmp.h>

#include <jerror.h>

struct sl_jpeg_kept {
    struct jpeg_decompress_struct source, pixels, fresh; // coefficients; rows; coded anew
    struct jpeg_compress_struct coder;
    struct jpeg_error_mgr errors;
    jmp_buf jump;
    sl_ctx *ctx;
    const char *name;
    const sl_image *image;
    jvirt_barray_ptr *blocks;
    uint8_t *row;                // as the file has it
    bool *changed;               // of each MCU in the row
    uint32_t mcu_w, mcu_h, mcus; // pixels; MCUs in a row
    bool is_fine;
    sl_status status;
    sl_blob recoded;
    sl_jpeg_target target;
};

static void on_error(j_common_ptr jpeg)
{
    sl_jpeg_kept *k = jpeg->client_data;
    if (jpeg->err->msg_code == JERR_OUT_OF_MEMORY)
        k->status = sl_fail(k->ctx, SL_ERR_NOMEM, "%s: out of memory", k->name);
    else
        k->status = SL_ERR_UNSUPPORTED;
    longjmp(k->jump, 1);
}

// ---- which MCUs changed

static void start_source(sl_jpeg_kept *k)
{
    const sl_blob *coded = &k->image->coded;
    jpeg_create_decompress(&k->source);
    jpeg_mem_src(&k->source, coded->data, coded->size);
    jpeg_read_header(&k->source, TRUE);
    k->blocks = jpeg_read_coefficients(&k->source);
    k->mcu_w = (uint32_t)k->source.max_h_samp_factor * DCTSIZE;
    k->mcu_h = (uint32_t)k->source.max_v_samp_factor * DCTSIZE;
    k->mcus = (k->image->width + k->mcu_w - 1) / k->mcu_w;
}

static void start_pixels(sl_jpeg_kept *k)
{
    const sl_blob *coded = &k->image->coded;
    jpeg_create_decompress(&k->pixels);
    jpeg_mem_src(&k->pixels, coded->data, coded->size);
    jpeg_read_header(&k->pixels, TRUE);
    k->pixels.out_color_space = k->image->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&k->pixels);
}

static bool fits(const sl_jpeg_kept *k)
{
    const sl_image *image = k->image;
    const struct jpeg_decompress_struct *p = &k->pixels;
    return image->depth == 8 && p->output_width == image->width &&
           p->output_height == image->height && p->output_components == image->channels;
}

// Of the MCUs of the row that begins at y; false: none.
static bool find_changes(sl_jpeg_kept *k, uint32_t y, uint32_t height)
{
    const size_t row_bytes = k->image->row_bytes;
    const size_t mcu_bytes = (size_t)k->mcu_w * k->image->channels;
    bool any = false;
    memset(k->changed, 0, k->mcus * sizeof(*k->changed));
    for (uint32_t r = 0; r < height; r++) {
        const uint8_t *ours = sl_image_row_const(k->image, y + r);
        jpeg_read_scanlines(&k->pixels, &k->row, 1);
        if (memcmp(ours, k->row, row_bytes) == 0)
            continue;
        any = true;
        for (size_t m = 0; m < k->mcus; m++) {
            size_t at = m * mcu_bytes, rest = row_bytes - at;
            rest = rest < mcu_bytes ? rest : mcu_bytes;
            k->changed[m] = k->changed[m] || memcmp(ours + at, k->row + at, rest) != 0;
        }
    }
    return any;
}

// ---- finer steps

// That divisor of `step` whose ratio to `wanted` is nearest to 1.
static UINT16 divisor(unsigned step, unsigned wanted)
{
    unsigned below = step < wanted ? step : wanted, above = wanted;
    while (below > 1 && step % below != 0)
        below--;
    while (above < step && step % above != 0)
        above++;
    bool is_above = above <= step && above * below < wanted * wanted;
    return (UINT16)(is_above ? above : below > 0 ? below : 1);
}

static void multiply(sl_jpeg_kept *k, int component, const UINT16 factors[DCTSIZE2])
{
    const jpeg_component_info *info = &k->source.comp_info[component];
    for (JDIMENSION row = 0; row < info->height_in_blocks; row++) {
        JBLOCKARRAY blocks = k->source.mem->access_virt_barray((j_common_ptr)&k->source,
                                                               k->blocks[component], row, 1, TRUE);
        for (JDIMENSION b = 0; b < info->width_in_blocks; b++)
            for (int i = 0; i < DCTSIZE2; i++) {
                int x = blocks[0][b][i] * factors[i];
                if (x < INT16_MIN || x > INT16_MAX) // no picture has such, a hostile file may
                    ERREXIT(&k->source, JERR_BAD_DCT_COEF);
                blocks[0][b][i] = (JCOEF)x;
            }
    }
}

// New steps of a table; by how much each coefficient grows.
static void refine_table(UINT16 steps[DCTSIZE2], const UINT16 wanted[DCTSIZE2],
                         UINT16 factors[DCTSIZE2])
{
    for (int i = 0; i < DCTSIZE2; i++) {
        UINT16 step = divisor(steps[i], wanted[i]);
        factors[i] = steps[i] / step;
        steps[i] = step;
    }
}

// A table that changed between scans was another one for some component.
static void check_tables(sl_jpeg_kept *k)
{
    for (int c = 0; c < k->source.num_components; c++) {
        const jpeg_component_info *info = &k->source.comp_info[c];
        int t = info->quant_tbl_no;
        if (t < 0 || t >= NUM_QUANT_TBLS || !k->source.quant_tbl_ptrs[t] || !info->quant_table)
            ERREXIT1(&k->source, JERR_NO_QUANT_TABLE, t);
        if (memcmp(k->source.quant_tbl_ptrs[t]->quantval, info->quant_table->quantval,
                   sizeof(info->quant_table->quantval)) != 0)
            ERREXIT1(&k->source, JERR_MISMATCHED_QUANT_TABLE, t);
    }
}

// Quantises about as finely as the usual quality does, or as before. Values stay as they are.
static void refine(sl_jpeg_kept *k)
{
    UINT16 factors[NUM_QUANT_TBLS][DCTSIZE2];
    bool is_refined[NUM_QUANT_TBLS] = { false }; // a table may serve several components
    check_tables(k);
    jpeg_create_compress(&k->coder);
    k->coder.in_color_space = JCS_RGB;
    k->coder.input_components = 3;
    jpeg_set_defaults(&k->coder);
    jpeg_set_quality(&k->coder, SL_DEFAULT_QUALITY, TRUE);
    for (int c = 0; c < k->source.num_components; c++) {
        const jpeg_component_info *info = &k->source.comp_info[c];
        int t = info->quant_tbl_no;
        if (!is_refined[t])
            refine_table(k->source.quant_tbl_ptrs[t]->quantval,
                         k->coder.quant_tbl_ptrs[c > 0]->quantval, factors[t]);
        is_refined[t] = true;
        multiply(k, c, factors[t]);
        *info->quant_table = *k->source.quant_tbl_ptrs[t];
    }
    jpeg_destroy_compress(&k->coder);
    k->is_fine = true;
}

// ---- their new blocks

// Codes the MCUs first..last of the row that begins at y as a picture of their own.
static void code_part(sl_jpeg_kept *k, uint32_t y, uint32_t height, uint32_t first, uint32_t last)
{
    const sl_image *image = k->image;
    uint32_t left = first * k->mcu_w;
    uint64_t right = (uint64_t)(last + 1) * k->mcu_w;
    jpeg_create_compress(&k->coder);
    sl_jpeg_target_set(&k->target, k->ctx, &k->coder, &k->recoded);
    jpeg_copy_critical_parameters(&k->source, &k->coder);
    k->coder.in_color_space = image->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    k->coder.image_width = (right < image->width ? (uint32_t)right : image->width) - left;
    k->coder.image_height = height;
    jpeg_start_compress(&k->coder, TRUE);
    for (uint32_t r = 0; r < height; r++) {
        JSAMPROW row = image->pixels + image->row_bytes * (y + r) + (size_t)left * image->channels;
        jpeg_write_scanlines(&k->coder, &row, 1);
    }
    jpeg_finish_compress(&k->coder);
    jpeg_destroy_compress(&k->coder);
    jpeg_create_decompress(&k->fresh);
    jpeg_mem_src(&k->fresh, k->recoded.data, k->recoded.size);
    jpeg_read_header(&k->fresh, TRUE);
}

// The blocks of the changed ones among the MCUs first..last into the file's own.
static void replace_blocks(sl_jpeg_kept *k, uint32_t y, uint32_t first, uint32_t last)
{
    jvirt_barray_ptr *fresh = jpeg_read_coefficients(&k->fresh);
    for (int c = 0; c < k->source.num_components; c++) {
        const jpeg_component_info *info = &k->source.comp_info[c];
        JDIMENSION wide = (JDIMENSION)info->h_samp_factor, high = (JDIMENSION)info->v_samp_factor;
        JDIMENSION top = y / k->mcu_h * high;
        JBLOCKARRAY from =
            k->fresh.mem->access_virt_barray((j_common_ptr)&k->fresh, fresh[c], 0, high, FALSE);
        JBLOCKARRAY to = k->source.mem->access_virt_barray((j_common_ptr)&k->source, k->blocks[c],
                                                           top, high, TRUE);
        JDIMENSION end = info->width_in_blocks;
        end = end < (last + 1) * wide ? end : (last + 1) * wide;
        for (JDIMENSION r = 0; r < high && top + r < info->height_in_blocks; r++)
            for (JDIMENSION b = first * wide; b < end; b++)
                if (k->changed[b / wide])
                    memcpy(to[r][b], from[r][b - first * wide], sizeof(JBLOCK));
    }
    jpeg_destroy_decompress(&k->fresh);
    sl_blob_free(&k->recoded);
}

static sl_status steps(sl_jpeg_kept *k)
{
    start_source(k);
    start_pixels(k);
    if (!fits(k))
        return SL_ERR_UNSUPPORTED;
    k->row = sl_alloc(k->ctx, k->image->row_bytes, 1);
    k->changed = sl_alloc(k->ctx, k->mcus, sizeof(*k->changed));
    if (!k->row || !k->changed)
        return SL_ERR_NOMEM;
    for (uint32_t y = 0; y < k->image->height; y += k->mcu_h) {
        uint32_t height = k->image->height - y < k->mcu_h ? k->image->height - y : k->mcu_h;
        if (!find_changes(k, y, height))
            continue;
        if (!k->is_fine)
            refine(k);
        uint32_t first = 0, last = k->mcus - 1;
        while (!k->changed[first])
            first++;
        while (!k->changed[last])
            last--;
        code_part(k, y, height, first, last);
        replace_blocks(k, y, first, last);
    }
    jpeg_finish_decompress(&k->pixels);
    return SL_OK;
}

static sl_status run(sl_jpeg_kept *k)
{
    if (setjmp(k->jump))
        return k->status;
    return steps(k);
}

sl_status sl_jpeg_kept_open(sl_ctx *ctx, const sl_image *image, const char *name,
                            sl_jpeg_kept **out)
{
    *out = NULL;
    sl_jpeg_kept *k = calloc(1, sizeof(*k));
    if (!k)
        return sl_fail(ctx, SL_ERR_NOMEM, "%s: out of memory", name);
    k->ctx = ctx;
    k->name = name;
    k->image = image;
    // No word of warnings: the file was read before, and what it was warned of then was harmless.
    k->source.err = k->pixels.err = k->fresh.err = k->coder.err =
        sl_jpeg_errors(&k->errors, on_error);
    k->source.client_data = k->pixels.client_data = k->fresh.client_data = k->coder.client_data = k;
    sl_status st = run(k);
    jpeg_destroy_decompress(&k->pixels);
    if (st == SL_OK)
        *out = k;
    else
        sl_jpeg_kept_free(k);
    return st;
}

void sl_jpeg_kept_free(sl_jpeg_kept *kept)
{
    if (!kept)
        return;
    jpeg_destroy_decompress(&kept->source);
    jpeg_destroy_decompress(&kept->fresh);
    jpeg_destroy_compress(&kept->coder);
    free(kept->row);
    free(kept->changed);
    sl_blob_free(&kept->recoded);
    free(kept);
}

struct jpeg_decompress_struct *sl_jpeg_kept_source(sl_jpeg_kept *kept)
{
    return &kept->source;
}

jvirt_barray_ptr *sl_jpeg_kept_blocks(sl_jpeg_kept *kept)
{
    return kept->blocks;
}
