// SPDX-License-Identifier: MIT
// tests/pipeline/tile.c: tiles cover every canvas, share its pixels fairly, and reflect its border.
#include "../base/run.h"
#include "pipeline/tile.h"

// Adds each tile's weights to the canvas; false for a tile out of place or a weight out of bounds.
static bool add_tiles(const sl_tile_axis *a, uint32_t overlap, float *sums, float *weights)
{
    bool good = true;
    for (uint32_t i = 0; i < a->count; i++) {
        uint32_t origin = sl_tile_origin(a, i), before = i ? sl_tile_origin(a, i - 1) : 0;
        good = good && origin % a->multiple == 0 && origin + a->tile <= a->canvas;
        good = good && (i == 0 || (before < origin && origin + overlap <= before + a->tile));
        if (!good)
            return false;
        sl_tile_weights(a, i, weights);
        for (uint32_t x = 0; x < a->tile; x++) {
            good = good && weights[x] >= 0.0f && weights[x] <= 1.0f;
            sums[origin + x] += weights[x];
        }
        // A border inside the canvas is not shown.
        good = good && (i == 0 || weights[0] == 0.0f);
        good = good && (i + 1 == a->count || weights[a->tile - 1] == 0.0f);
    }
    return good;
}

// limit and overlap in units of the multiple
static void check_axis(uint32_t length, uint32_t multiple, uint32_t most, uint32_t shared)
{
    sl_tile_axis a;
    uint32_t canvas = (length + multiple - 1) / multiple * multiple, limit = most * multiple;
    sl_tile_axis_new(length, canvas, multiple, limit, shared * multiple, &a);
    float *sums = sl_alloc(ctx, canvas, sizeof(float));
    float *weights = sl_alloc(ctx, a.tile, sizeof(float));
    bool good = a.tile % multiple == 0 && a.count >= 1 && a.tile <= canvas;
    good = good && (canvas <= limit ? a.count == 1 && a.tile == canvas : a.tile <= limit);
    good = good && sl_tile_origin(&a, 0) == 0 && sl_tile_origin(&a, a.count - 1) + a.tile == canvas;
    good = good && add_tiles(&a, shared * multiple, sums, weights);
    for (uint32_t x = 0; x < canvas; x++)
        good = good && sums[x] > 0.999999f && sums[x] < 1.000001f;
    ck_assert_msg(good, "length %u, multiple %u, limit %u, overlap %u: tile %u, count %u", length,
                  multiple, limit, shared * multiple, a.tile, a.count);
    free(sums);
    free(weights);
}

START_TEST(tiles_cover_and_share)
{
    static const uint32_t multiples[] = { 8, 64, 128 };
    for (size_t k = 0; k < SL_ARRAY_LEN(multiples); k++)
        for (uint32_t units = 1; units <= 24; units++)
            for (uint32_t most = 2; most <= 9; most++)
                for (uint32_t shared = 1; shared <= most / 2; shared++)
                    check_axis(units * multiples[k] - units % 8, multiples[k], most, shared);
}
END_TEST

// Of an overlap the inner quarter is blended; what lies nearer to a border is of the other tile.
START_TEST(borders_are_never_shown)
{
    enum { TILE = 384, OVERLAP = 128 };
    sl_tile_axis a;
    float first[TILE], second[TILE];
    sl_tile_axis_new(640, 640, 64, TILE, OVERLAP, &a);
    ck_assert(a.count == 2 && a.tile == TILE && sl_tile_origin(&a, 1) == TILE - OVERLAP);
    sl_tile_weights(&a, 0, first);
    sl_tile_weights(&a, 1, second);
    for (int x = 0; x < OVERLAP; x++) {
        const float share = ((float)x + 0.5f - 48) / 32; // 3 / 8 of it and 1 / 4
        const float want = share < 0 ? 0 : share > 1 ? 1 : share;
        ck_assert_float_eq_tol(second[x], want, 1e-5f);
        ck_assert_float_eq_tol(first[TILE - OVERLAP + x], 1 - want, 1e-5f);
    }
}
END_TEST

START_TEST(one_unit_needs_no_overlap)
{
    check_axis(1, 128, 1, 0);
    check_axis(128, 128, 1, 0);
}
END_TEST

// Walks back and forth between the ends, one step at a time.
START_TEST(reflection_walks_to_and_fro)
{
    for (uint32_t length = 1; length <= 9; length++) {
        uint32_t at = 0;
        bool forth = true;
        for (uint64_t i = 0; i < 100; i++) {
            ck_assert_msg(sl_reflect(i, length) == at, "length %u, position %u", length,
                          (unsigned)i);
            if (at + 1 >= length)
                forth = false;
            if (at == 0)
                forth = true;
            if (length > 1)
                at = forth ? at + 1 : at - 1;
        }
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("tile");
    tcase_add_test(tests, tiles_cover_and_share);
    tcase_add_test(tests, borders_are_never_shown);
    tcase_add_test(tests, one_unit_needs_no_overlap);
    tcase_add_test(tests, reflection_walks_to_and_fro);
    return run_case("pipeline/tile", tests);
}
