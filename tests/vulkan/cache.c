// SPDX-License-Identifier: MIT
// tests/vulkan/cache.c: the file of compiled kernels: written whole, believed only when it is ours
// and unharmed, and never missed.
#include "run.h"

#include <sys/stat.h>

static sl_vk_device *device;
static char path[512];

static void open_device(void)
{
    ck_ok(sl_vk_open(ctx, "vulkan", &device));
    snprintf(path, sizeof(path), "%s/softlens/vulkan-%s.pipelines", dir, device->info.uuid);
}

static void close_device(void)
{
    sl_vk_close(device);
}

static void store(const char *text)
{
    sl_vk_cache_store(ctx, device, text, strlen(text));
}

// What is loaded; "" for nothing.
static const char *load(void)
{
    static char text[256];
    sl_blob blob;
    sl_vk_cache_load(ctx, device, &blob);
    ck_assert_uint_lt(blob.size, sizeof(text));
    snprintf(text, sizeof(text), "%.*s", (int)blob.size, blob.data ? (char *)blob.data : "");
    sl_blob_free(&blob);
    return text;
}

static sl_blob read_file(void)
{
    sl_blob blob;
    ck_ok(sl_file_read(ctx, path, 1 << 20, &blob));
    return blob;
}

static void write_file(const void *data, size_t size)
{
    ck_ok(sl_file_write(ctx, path, true, data, size));
}

START_TEST(comes_back)
{
    open_device();
    ck_assert_str_eq(load(), "");
    store("kernels");
    ck_assert_str_eq(load(), "kernels");
    store("more kernels");
    ck_assert_str_eq(load(), "more kernels");
    close_device();
    ck_assert_str_eq(sl_ctx_message(ctx), "");
    ck_assert_int_eq(warnings, 0);
}
END_TEST

START_TEST(every_damage_is_seen)
{
    open_device();
    store("kernels");
    sl_blob good = read_file();
    for (size_t size = 0; size < good.size; size++) {
        write_file(good.data, size);
        ck_assert_msg(!*load(), "cut to %zu bytes", size);
    }
    for (size_t bit = 0; bit < 8 * good.size; bit++) {
        good.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        write_file(good.data, good.size);
        ck_assert_msg(!*load(), "bit %zu", bit);
        good.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    uint8_t longer[256] = { 0 };
    ck_assert_uint_lt(good.size, sizeof(longer));
    memcpy(longer, good.data, good.size);
    write_file(longer, good.size + 1);
    ck_assert_str_eq(load(), "");
    write_file(good.data, good.size);
    ck_assert_str_eq(load(), "kernels");
    sl_blob_free(&good);
    close_device();
    ck_assert_int_eq(warnings, 0);
}
END_TEST

START_TEST(foreign_files_are_ignored)
{
    open_device();
    const sl_vk_info own = device->info;
    for (int i = 0; i < 6; i++) {
        if (i == 0)
            device->info.vendor++;
        if (i == 1)
            device->info.device++;
        if (i == 2)
            device->info.driver_version++;
        if (i == 3)
            device->info.api_version++;
        store("theirs");
        if (i == 4) { // another device's file under our name
            device->info.uuid[0] = own.uuid[0] == 'f' ? '0' : 'f';
            store("theirs");
            char other[512];
            snprintf(other, sizeof(other), "%s/softlens/vulkan-%s.pipelines", dir,
                     device->info.uuid);
            ck_assert_int_eq(rename(other, path), 0);
        }
        if (i == 5) { // of another build
            device->info.driver_uuid[0] = own.driver_uuid[0] == 'f' ? '0' : 'f';
            store("theirs");
        }
        device->info = own;
        ck_assert_str_eq(load(), "");
    }
    store("ours");
    ck_assert_str_eq(load(), "ours");
    close_device();
}
END_TEST

START_TEST(odd_places)
{
    open_device();
    ck_ok(sl_make_dir(ctx, in_dir("softlens")));
    ck_assert_int_eq(mkdir(path, 0777), 0);
    ck_assert_str_eq(load(), "");
    store("kernels");
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(mkfifo(path, 0666), 0); // which nobody writes to
    ck_assert_str_eq(load(), "");
    ck_assert_int_eq(unlink(path), 0);

    setenv("XDG_CACHE_HOME", "/dev/null/nowhere", 1);
    ck_assert_str_eq(load(), "");
    store("kernels");
    setenv("XDG_CACHE_HOME", "relative", 1); // does not count
    setenv("HOME", in_dir("home"), 1);
    store("at home");
    ck_assert_str_eq(load(), "at home");
    ck_assert(sl_file_exists(in_dir("home/.cache/softlens")));
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    ck_assert_str_eq(load(), "");
    store("kernels");
    close_device();
    ck_assert_str_eq(sl_ctx_message(ctx), "");
    ck_assert_int_eq(warnings, 0);
}
END_TEST

// ---- verdicts

// What is remembered; NULL for nothing.
static const char *remembered(void)
{
    static sl_vk_verdict verdict;
    bool is_there = sl_vk_verdict_load(ctx, &device->info, &verdict);
    ck_assert(is_there || (!*verdict.why && !*verdict.why_f16));
    return is_there ? verdict.why : NULL;
}

static void remember(const char *why, const char *why_f16)
{
    sl_vk_verdict verdict;
    snprintf(verdict.why, sizeof(verdict.why), "%s", why);
    snprintf(verdict.why_f16, sizeof(verdict.why_f16), "%s", why_f16);
    sl_vk_verdict_store(ctx, &device->info, &verdict);
}

START_TEST(verdicts_come_back)
{
    open_device();
    sl_vk_verdict in_f16;
    ck_assert_ptr_null(remembered());
    remember("", "");
    ck_assert_str_eq(remembered(), "");
    remember("it computes\x1b nonsense", "");
    ck_assert_str_eq(remembered(), "it computes? nonsense");
    remember("", "half of\x1b it");
    ck_assert_str_eq(remembered(), "");
    ck_assert(sl_vk_verdict_load(ctx, &device->info, &in_f16));
    ck_assert_str_eq(in_f16.why_f16, "half of? it");
    store("kernels"); // which are another file
    ck_assert_str_eq(remembered(), "");
    device->info.driver_version++;
    ck_assert_ptr_null(remembered());
    device->info.driver_version--;
    setenv("XDG_CACHE_HOME", "/dev/null/nowhere", 1);
    remember("", "");
    ck_assert_ptr_null(remembered());
    close_device();
    ck_assert_str_eq(sl_ctx_message(ctx), "");
    ck_assert_int_eq(warnings, 0);
}
END_TEST

START_TEST(damaged_verdicts_are_not_believed)
{
    open_device();
    snprintf(path, sizeof(path), "%s/softlens/vulkan-%s.verdict", dir, device->info.uuid);
    remember("wrong", "");
    sl_blob good = read_file();
    for (size_t size = 0; size < good.size; size++) {
        write_file(good.data, size);
        ck_assert_msg(!remembered(), "cut to %zu bytes", size);
    }
    for (size_t bit = 0; bit < 8 * good.size; bit += 5) {
        good.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        write_file(good.data, good.size);
        ck_assert_msg(!remembered(), "bit %zu", bit);
        good.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    store("kernels");
    char pipelines[512];
    snprintf(pipelines, sizeof(pipelines), "%s/softlens/vulkan-%s.pipelines", dir,
             device->info.uuid);
    ck_assert_int_eq(rename(pipelines, path), 0);
    ck_assert_ptr_null(remembered());
    write_file(good.data, good.size);
    ck_assert_str_eq(remembered(), "wrong");
    sl_blob_free(&good);
    close_device();
}
END_TEST

// ---- with pipelines

static const sl_vk_pipeline_key keys[] = {
    { .kernel = SL_VK_SKIP },
    { .kernel = SL_VK_UNSHUFFLE },
    { .kernel = SL_VK_SKIP }, // again
    { .kernel = SL_VK_GATE },
};

START_TEST(pipelines_are_made_once)
{
    open_device();
    ck_assert(!sl_vk_pipeline_get(device, &keys[0]));
    ck_ok(sl_vk_pipelines_make(ctx, device, keys, SL_ARRAY_LEN(keys)));
    size_t alive = sl_vk_live_objects();
    ck_assert_uint_eq(device->pipeline_count, 3);
    VkPipeline skip = sl_vk_pipeline_get(device, &keys[0]);
    ck_assert(skip && sl_vk_pipeline_get(device, &keys[2]) == skip);
    ck_assert(sl_vk_pipeline_get(device, &keys[3]) != skip);
    ck_ok(sl_vk_pipelines_make(ctx, device, keys, SL_ARRAY_LEN(keys)));
    ck_ok(sl_vk_pipelines_make(ctx, device, keys, 0));
    ck_assert_uint_eq(sl_vk_live_objects(), alive);
    ck_assert(sl_vk_pipeline_get(device, &keys[0]) == skip);
    close_device();
}
END_TEST

START_TEST(kept_at_close_and_rebuilt)
{
    open_device();
    ck_ok(sl_vk_pipelines_make(ctx, device, keys, SL_ARRAY_LEN(keys)));
    close_device();
    sl_blob good = read_file(), now;
    ck_assert_uint_gt(good.size, 100);
    write_file("nothing of ours", 15);
    open_device();
    ck_ok(sl_vk_pipelines_make(ctx, device, keys, SL_ARRAY_LEN(keys)));
    close_device();
    now = read_file();
    ck_assert_uint_ge(now.size, good.size / 2);
    ck_assert_mem_eq(now.data, good.data, 120); // the header up to what may differ
    sl_blob_free(&good);
    sl_blob_free(&now);
}
END_TEST

START_TEST(driver_dislikes_the_file)
{
    open_device();
    store("not what a driver writes, but under our seal");
    spy.fails = "vkCreatePipelineCache";
    spy.failure = VK_ERROR_UNKNOWN;
    atomic_store(&spy.countdown, 0);
    ck_ok(sl_vk_pipelines_make(ctx, device, keys, SL_ARRAY_LEN(keys)));
    ck_assert_int_lt(atomic_load(&spy.countdown), 0);
    close_device();
}
END_TEST

// An update of the driver makes it refuse the file without a word.
START_TEST(driver_empties_the_cache)
{
    static const uint8_t bytes[] = { 1, 2, 3, 3 };
    spy.cached = 100;
    for (size_t i = 0; i < SL_ARRAY_LEN(bytes); i++) {
        spy.cache_byte = bytes[i];
        open_device();
        ck_ok(sl_vk_pipelines_make(ctx, device, keys, SL_ARRAY_LEN(keys)));
        close_device();
        sl_blob now = read_file();
        ck_assert_uint_gt(now.size, 32 + 3 * 100);
        ck_assert_uint_eq(now.data[now.size - 1], bytes[i]);
        sl_blob_free(&now);
    }
}
END_TEST

START_TEST(failures_keep_what_was_made)
{
    spy.failure = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    for (long n = 0;; n++) {
        open_device();
        atomic_store(&spy.countdown, n);
        sl_status st = sl_vk_pipelines_make(ctx, device, keys, SL_ARRAY_LEN(keys));
        bool is_over = atomic_exchange(&spy.countdown, -1) >= 0;
        ck_assert_int_eq(st, is_over ? SL_OK : SL_ERR_NOMEM);
        ck_ok(sl_vk_pipelines_make(ctx, device, keys, SL_ARRAY_LEN(keys)));
        ck_assert_uint_eq(device->pipeline_count, 3);
        close_device();
        ck_assert_uint_eq(sl_vk_live_objects(), 0);
        unlink(path); // a cache that is refused is tried again without it
        if (is_over) {
            ck_assert_int_gt(n, 8);
            break;
        }
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("cache");
    tcase_add_test(tests, comes_back);
    tcase_add_test(tests, every_damage_is_seen);
    tcase_add_test(tests, foreign_files_are_ignored);
    tcase_add_test(tests, odd_places);
    tcase_add_test(tests, verdicts_come_back);
    tcase_add_test(tests, damaged_verdicts_are_not_believed);
    tcase_add_test(tests, pipelines_are_made_once);
    tcase_add_test(tests, kept_at_close_and_rebuilt);
    tcase_add_test(tests, driver_dislikes_the_file);
    tcase_add_test(tests, driver_empties_the_cache);
    tcase_add_test(tests, failures_keep_what_was_made);
    return run_vulkan("vulkan-cache", tests);
}
