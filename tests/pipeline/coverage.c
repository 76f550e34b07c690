// SPDX-License-Identifier: MIT
// tests/pipeline/coverage.c: what the picture shows of computed windows, pixel for pixel.
#include "scene.h"

#include "pipeline/coverage.h"

static sl_network network;
static float *result; // of the network, [height, width, 3]
static uint8_t *computed;

// By definition: every pixel of every kept window of every block, wherever it was rolled to.
static void mark_computed(uint8_t *keep)
{
    for (uint32_t layer = 0; layer < network.config.layers; layer++)
        for (uint32_t parity = 0; parity < 2; parity++) {
            const sl_block_map *map = &network.maps[layer][parity];
            if (map->blocks == 0)
                continue;
            uint32_t scale = network.config.unshuffle << sl_lmd_layer_level(&network.config, layer);
            uint32_t side = network.config.window * scale;
            uint32_t shift = sl_lmd_shift(&network.config, layer, parity) * scale;
            ck_ok(sl_plan_read(network.plan, map->keep, keep));
            for (uint32_t i = 0; i < network.height / side; i++)
                for (uint32_t j = 0; j < network.width / side; j++)
                    for (uint32_t p = 0; keep[i * (network.width / side) + j] && p < side * side;
                         p++) {
                        uint32_t y = (i * side + p / side + shift) % network.height;
                        uint32_t x = (j * side + p % side + shift) % network.width;
                        computed[y * network.width + x] = 1;
                    }
        }
}

static void run_network(const sl_model *model, const sl_image *image, sl_device *device)
{
    sl_lmd_build build = { .height = image->height, .width = image->width };
    size_t pixels = (size_t)image->height * image->width;
    ck_ok(sl_network_new(ctx, model, device, &build, &network));
    float *input = sl_alloc(ctx, pixels * 3, sizeof(float));
    uint8_t *keep = sl_alloc(ctx, sl_network_max_windows(&network), 1);
    result = sl_alloc(ctx, pixels * 3, sizeof(float));
    computed = sl_alloc(ctx, pixels, 1);
    for (size_t i = 0; i < pixels * 3; i++)
        input[i] = (float)sample(image, (uint32_t)(i / 3 % image->width),
                                 (uint32_t)(i / 3 / image->width), (unsigned)(i % 3)) /
                   65535.0f;
    ck_ok(sl_plan_write(network.plan, network.image, input));
    ck_ok(sl_plan_run(network.plan));
    ck_ok(sl_plan_read(network.plan, network.output, result));
    mark_computed(keep);
    free(input);
    free(keep);
}

static void drop_network(void)
{
    sl_network_free(&network);
    free(result);
    free(computed);
}

// Whether no pixel within 15 of this one was left uncomputed.
static bool is_deep_inside(const sl_image *image, uint32_t x, uint32_t y)
{
    for (int dy = -15; dy <= 15; dy++)
        for (int dx = -15; dx <= 15; dx++) {
            int64_t py = (int64_t)y + dy, px = (int64_t)x + dx;
            bool is_in = py >= 0 && px >= 0 && py < image->height && px < image->width;
            if (is_in && dx * dx + dy * dy <= 225 && !computed[py * image->width + px])
                return false;
        }
    return true;
}

typedef struct tally {
    size_t outside, inside, moved, bad;
    uint32_t bad_x, bad_y;
} tally;

static void check_pixel(const sl_image *image, const sl_image *out, uint32_t x, uint32_t y,
                        tally *t)
{
    bool is_out = !computed[y * image->width + x];
    bool is_deep = !is_out && is_deep_inside(image, x, y), good = true;
    t->outside += is_out;
    t->inside += is_deep;
    for (unsigned k = 0; k < 3; k++) {
        unsigned before = sample(image, x, y, k), after = sample(out, x, y, k);
        double net = (double)result[(y * image->width + x) * 3 + k] * 65535;
        good = good && (!is_out || before == after);
        good = good && (!is_deep || fabs(net - after) <= 1);
        good = good && after >= fmin(net, before) - 1 && after <= fmax(net, before) + 1;
        t->moved += before != after;
    }
    if (!good && t->bad++ == 0) {
        t->bad_x = x;
        t->bad_y = y;
    }
}

static const struct {
    uint32_t scales, depth, unshuffle;
} nets[] = { { 1, 1, 1 }, { 1, 2, 1 }, { 2, 2, 1 }, { 1, 3, 2 } };

// One tile without padding: outside the computed windows the input stays bit for bit, well inside
// them the output is the network's, and in between nothing overshoots.
START_TEST(only_computed_pixels_change)
{
    sl_model *model =
        model_of(nets[_i].scales, nets[_i].depth, nets[_i].unshuffle, TEST_KEEPS_BRIGHT, 30 + _i);
    sl_image *image = scene(192, 192, 3, 16, SCENE_BRIGHT_SPOT, 31), *out;
    sl_device *device;
    sl_deblur *d;
    ck_ok(sl_device_open(ctx, NULL, &device));
    run_network(model, image, device);
    ck_ok(sl_deblur_new(ctx, model, NULL, &d));
    ck_ok(sl_deblur_run(d, image, &out, NULL, NULL));
    tally t = { 0 };
    for (uint32_t y = 0; y < image->height; y++)
        for (uint32_t x = 0; x < image->width; x++)
            check_pixel(image, out, x, y, &t);
    ck_assert_msg(t.bad == 0, "%zu pixels are wrong, the first at (%u,%u)", t.bad, t.bad_x,
                  t.bad_y);
    ck_assert_uint_gt(t.outside, 1000);
    ck_assert_uint_gt(t.inside, 50);
    ck_assert_uint_gt(t.moved, 1000);
    drop_network();
    sl_deblur_free(d);
    sl_device_close(device);
    sl_image_free(image);
    sl_image_free(out);
    sl_model_free(model);
}
END_TEST

// By definition: steps to the nearest pixel that was not computed, a diagonal one counting 4 for 3.
static uint8_t ramp_at(const sl_coverage *c, int x, int y)
{
    int least = SL_RAMP_MAX, reach = SL_RAMP_PIXELS;
    for (int v = y - reach; v <= y + reach; v++)
        for (int u = x - reach; u <= x + reach; u++) {
            bool is_inside = u >= 0 && v >= 0 && u < (int)c->width && v < (int)c->height;
            if (!is_inside || computed[v * (int)c->width + u])
                continue;
            int dx = abs(u - x), dy = abs(v - y);
            int steps = 3 * (dx > dy ? dx : dy) + (dx < dy ? dx : dy);
            least = steps < least ? steps : least;
        }
    return (uint8_t)least;
}

// The spot begins and ends near the edges of what one task makes, and far from them.
START_TEST(ramp_is_distance)
{
    static const uint32_t heights[] = { 96, 112, 240 };
    sl_model *model = model_of(1, 2, 1, TEST_KEEPS_BRIGHT, 43);
    sl_image *image = scene(128, heights[_i], 3, 16, SCENE_BRIGHT_SPOT, 44);
    sl_device *device;
    sl_coverage coverage;
    sl_window_count count = { 0 };
    ck_ok(sl_device_open(ctx, NULL, &device));
    run_network(model, image, device);
    ck_ok(sl_coverage_new(&network, false, &coverage));
    ck_ok(sl_coverage_read(&coverage, &network, &count));
    size_t wrong = 0;
    for (uint32_t y = 0; y < coverage.height; y++)
        for (uint32_t x = 0; x < coverage.width; x++)
            wrong += coverage.ramp[y * coverage.width + x] != ramp_at(&coverage, (int)x, (int)y);
    ck_assert_uint_eq(wrong, 0);
    ck_assert(!coverage.is_empty && !coverage.is_full);
    drop_network();
    sl_coverage_free(&coverage);
    sl_device_close(device);
    sl_image_free(image);
    sl_model_free(model);
}
END_TEST

START_TEST(counts_and_heat_follow_the_maps)
{
    sl_model *model = model_of(1, 3, 1, TEST_KEEPS_BRIGHT, 40);
    sl_image *image = scene(128, 96, 3, 16, SCENE_BRIGHT_SPOT, 41);
    sl_device *device;
    sl_coverage coverage;
    sl_window_count count = { 0 };
    ck_ok(sl_device_open(ctx, NULL, &device));
    run_network(model, image, device);
    ck_ok(sl_coverage_new(&network, true, &coverage));
    ck_ok(sl_coverage_read(&coverage, &network, &count));
    // 3 blocks each in 2 layers of 12 x 16 windows, and in one of 6 x 8.
    ck_assert_double_eq(count.all, 3 * (2 * 12 * 16 + 6 * 8));
    ck_assert(count.computed > 0 && count.computed < count.all);
    ck_assert_uint_eq(coverage.cell, 4);
    double hottest_out = 0, hottest_in = 0, coldest = 1;
    size_t wrong = 0;
    for (uint32_t i = 0; i < coverage.rows * coverage.columns; i++) {
        uint32_t y = i / coverage.columns * 4, x = i % coverage.columns * 4;
        double heat = (double)coverage.heat[i];
        double *hottest = computed[y * 128 + x] ? &hottest_in : &hottest_out;
        wrong += coverage.computed[i] != computed[y * 128 + x];
        *hottest = fmax(heat, *hottest);
        coldest = fmin(heat, coldest);
    }
    ck_assert_uint_eq(wrong, 0);
    ck_assert(coldest >= 0 && hottest_in < 1.00001);
    ck_assert_msg(hottest_in > 0.8 && hottest_out < 0.5, "%g inside, %g outside", hottest_in,
                  hottest_out);
    drop_network();
    sl_coverage_free(&coverage);
    sl_device_close(device);
    sl_image_free(image);
    sl_model_free(model);
}
END_TEST

START_TEST(given_lists_are_spread)
{
    sl_model *model = model_of(1, 2, 1, TEST_KEEPS_RANDOM, 42);
    sl_lmd_build build = { .height = 128, .width = 160, .given_lists = true };
    sl_device *device;
    uint8_t keep[16 * 20];
    ck_ok(sl_device_open(ctx, NULL, &device));
    ck_ok(sl_network_new(ctx, model, device, &build, &network));
    ck_ok(sl_network_give_lists(&network, 0.25));
    ck_ok(sl_network_keep(&network, &network.maps[0][0], keep));
    for (unsigned i = 0; i < sizeof(keep); i += 4)
        ck_assert_uint_eq(keep[i] + keep[i + 1] + keep[i + 2] + keep[i + 3], 1);
    ck_ok(sl_network_give_lists(&network, 1e-9));
    sl_window_count count = { 0 };
    ck_ok(sl_network_count(&network, keep, &count));
    ck_assert_double_eq(count.computed, 6); // one window for each block
    sl_network_free(&network);
    sl_device_close(device);
    sl_model_free(model);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("coverage");
    tcase_add_loop_test(tests, only_computed_pixels_change, 0, SL_ARRAY_LEN(nets));
    tcase_add_loop_test(tests, ramp_is_distance, 0, 3);
    tcase_add_test(tests, counts_and_heat_follow_the_maps);
    tcase_add_test(tests, given_lists_are_spread);
    return run_case("pipeline/coverage", tests);
}
