// SPDX-License-Identifier: MIT
// tests/vulkan/memory.c: bytes go to the device and come back; every call that fails is told, and
// leaves nothing behind.
#include "run.h"

#define BYTES ((size_t)20 << 20) // more than two pieces of an upload, and not a multiple of one

static sl_vk_device *open_device(void)
{
    sl_vk_device *d;
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    return d;
}

// Commands that copy all of a buffer back.
static sl_status record_copy(sl_vk_device *d, const sl_vk_buffer *from, const sl_vk_buffer *to,
                             VkCommandBuffer *out)
{
    VkCommandBufferAllocateInfo info = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                         .commandPool = d->commands,
                                         .commandBufferCount = 1 };
    VkCommandBufferBeginInfo begin = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO };
    VkBufferCopy region = { .size = from->bytes };
    VkMemoryBarrier barrier = { .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
                                .dstAccessMask = VK_ACCESS_HOST_READ_BIT };
    VkResult result = d->vk.vkAllocateCommandBuffers(d->device, &info, out);
    if (result == VK_SUCCESS)
        result = d->vk.vkBeginCommandBuffer(*out, &begin);
    if (result != VK_SUCCESS)
        return sl_vk_fail(ctx, result, "recording");
    d->vk.vkCmdCopyBuffer(*out, from->buffer, to->buffer, 1, &region);
    d->vk.vkCmdPipelineBarrier(*out, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0,
                               1, &barrier, 0, NULL, 0, NULL);
    result = d->vk.vkEndCommandBuffer(*out);
    return result == VK_SUCCESS ? SL_OK : sl_vk_fail(ctx, result, "recording");
}

static sl_status read_back(sl_vk_device *d, const sl_vk_buffer *from, uint8_t *data)
{
    sl_vk_buffer back;
    VkCommandBuffer commands;
    sl_status st = sl_vk_buffer_new(ctx, d, from->bytes, SL_VK_READBACK, &back);
    if (st == SL_OK)
        st = record_copy(d, from, &back, &commands);
    if (st == SL_OK)
        st = sl_vk_submit(ctx, d, commands, 60);
    if (st == SL_OK)
        st = sl_vk_buffer_invalidate(ctx, d, &back);
    if (st == SL_OK)
        memcpy(data, back.mapped, back.bytes);
    sl_vk_buffer_free(d, &back);
    return st;
}

START_TEST(bytes_come_back)
{
    static const size_t offsets[] = { 0, 4, 1 << 20 }, sizes[] = { 1, 4096, 8 << 20, BYTES - 7 };
    uint8_t *data = sl_alloc(ctx, BYTES, 1), *want = sl_alloc(ctx, BYTES, 1);
    uint8_t *have = sl_alloc(ctx, BYTES, 1);
    sl_vk_buffer buffer;
    sl_vk_device *d = open_device();
    for (size_t i = 0; i < BYTES; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    ck_ok(sl_vk_buffer_new(ctx, d, BYTES, SL_VK_DEVICE, &buffer));
    ck_assert_ptr_null(buffer.mapped);
    ck_ok(sl_vk_upload(ctx, d, &buffer, 0, want, BYTES)); // zeros
    for (size_t k = 0; k < SL_ARRAY_LEN(sizes); k++)
        for (size_t i = 0; i < SL_ARRAY_LEN(offsets); i++) {
            size_t n = sizes[k] < BYTES - offsets[i] ? sizes[k] : BYTES - offsets[i];
            ck_ok(sl_vk_upload(ctx, d, &buffer, offsets[i], data + k, n - k));
            memcpy(want + offsets[i], data + k, n - k);
            ck_ok(read_back(d, &buffer, have));
            ck_assert_int_eq(memcmp(want, have, BYTES), 0);
        }
    ck_ok(sl_vk_upload(ctx, d, &buffer, BYTES, data, 0));
    sl_vk_buffer_free(d, &buffer);
    sl_vk_buffer_free(d, &buffer); // which is all zeros now
    sl_vk_close(d);
    free(data);
    free(want);
    free(have);
}
END_TEST

START_TEST(places_have_what_they_promise)
{
    sl_vk_device *d = open_device();
    sl_vk_buffer buffer;
    for (int place = SL_VK_DEVICE; place <= SL_VK_READBACK; place++) {
        ck_ok(sl_vk_buffer_new(ctx, d, 100, (sl_vk_place)place, &buffer));
        ck_assert_uint_eq(buffer.bytes, 100);
        ck_assert((buffer.mapped != NULL) == (place != SL_VK_DEVICE));
        ck_ok(sl_vk_buffer_flush(ctx, d, &buffer));
        sl_vk_buffer_free(d, &buffer);
    }
    ck_ok(sl_vk_buffer_new(ctx, d, 0, SL_VK_DEVICE, &buffer));
    sl_vk_buffer_free(d, &buffer);
    sl_vk_close(d);
}
END_TEST

START_TEST(too_much_is_refused)
{
    sl_vk_device *d = open_device();
    sl_vk_buffer buffer;
    const VkDeviceSize sizes[] = { d->info.limits.allocation + 1, (VkDeviceSize)1 << 60,
                                   UINT64_MAX };
    for (size_t i = 0; i < SL_ARRAY_LEN(sizes); i++) {
        ck_fails(sl_vk_buffer_new(ctx, d, sizes[i], SL_VK_DEVICE, &buffer), SL_ERR_NOMEM,
                 "allow less memory");
        ck_assert_ptr_null(buffer.buffer);
    }
    sl_vk_close(d);
}
END_TEST

// ---- blocks

#define MANY 24

// Many small buffers lie in one allocation; what one holds does not touch the others.
START_TEST(buffers_share_blocks)
{
    static const size_t bytes = 1000;
    sl_vk_device *d = open_device();
    sl_vk_buffer buffers[MANY], large;
    uint8_t data[1000], have[1000];
    size_t before = sl_vk_live_objects();
    for (int i = 0; i < MANY; i++)
        ck_ok(sl_vk_buffer_new(ctx, d, bytes, SL_VK_DEVICE, &buffers[i]));
    ck_assert_uint_eq(sl_vk_live_objects(), before + MANY + 1);
    ck_ok(sl_vk_buffer_new(ctx, d, (size_t)40 << 20, SL_VK_DEVICE, &large)); // on its own
    ck_assert_uint_eq(sl_vk_live_objects(), before + MANY + 3);
    for (int i = 0; i < MANY; i++) {
        memset(data, i + 1, bytes);
        ck_ok(sl_vk_upload(ctx, d, &buffers[i], 0, data, bytes));
    }
    VkDeviceSize gap = buffers[3].span.offset;
    sl_vk_buffer_free(d, &buffers[3]);
    ck_ok(sl_vk_buffer_new(ctx, d, bytes, SL_VK_DEVICE, &buffers[3]));
    ck_assert_uint_eq(buffers[3].span.offset, gap);
    memset(data, 4, bytes);
    ck_ok(sl_vk_upload(ctx, d, &buffers[3], 0, data, bytes));
    for (int i = 0; i < MANY; i++) {
        memset(data, i + 1, bytes);
        ck_ok(read_back(d, &buffers[i], have));
        ck_assert_mem_eq(data, have, bytes);
    }
    sl_vk_buffer_free(d, &large);
    for (int i = 0; i < MANY; i++)
        sl_vk_buffer_free(d, &buffers[(i * 7) % MANY]);
    ck_assert_uint_eq(sl_vk_live_objects(), before + 2); // the staging buffer and its block
    sl_vk_close(d);
}
END_TEST

static void allocates_once(VkPhysicalDeviceProperties2 *p)
{
    p->properties.limits.maxMemoryAllocationCount = 1;
}

START_TEST(few_or_small_allocations)
{
    sl_vk_buffer first, second;
    spy.change = allocates_once;
    sl_vk_device *d = open_device();
    ck_ok(sl_vk_buffer_new(ctx, d, 100, SL_VK_DEVICE, &first));
    ck_ok(sl_vk_buffer_new(ctx, d, 100, SL_VK_DEVICE, &second));
    sl_vk_buffer_free(d, &second);
    ck_fails(sl_vk_buffer_new(ctx, d, (size_t)64 << 20, SL_VK_DEVICE, &second), SL_ERR_NOMEM,
             "is exhausted");
    sl_vk_buffer_free(d, &first);
    sl_vk_close(d);
    spy.change = NULL;
    spy.most = 4096; // a usual block is refused
    d = open_device();
    ck_ok(sl_vk_buffer_new(ctx, d, 3000, SL_VK_DEVICE, &first));
    ck_fails(sl_vk_buffer_new(ctx, d, 5000, SL_VK_DEVICE, &second), SL_ERR_NOMEM, "is exhausted");
    ck_ok(sl_vk_buffer_new(ctx, d, 4096, SL_VK_DEVICE, &second));
    sl_vk_buffer_free(d, &first);
    sl_vk_buffer_free(d, &second);
    sl_vk_close(d);
}
END_TEST

// ---- failures

static sl_status use_once(void)
{
    static const uint8_t bytes[100] = { 1, 2, 3 };
    uint8_t back[100];
    sl_vk_device *d;
    sl_vk_buffer buffer = { 0 };
    sl_status st = sl_vk_open(ctx, "vulkan", &d);
    if (st != SL_OK)
        return st;
    st = sl_vk_buffer_new(ctx, d, sizeof(bytes), SL_VK_DEVICE, &buffer);
    if (st == SL_OK)
        st = sl_vk_upload(ctx, d, &buffer, 0, bytes, sizeof(bytes));
    if (st == SL_OK)
        st = read_back(d, &buffer, back);
    sl_vk_buffer_free(d, &buffer);
    sl_vk_close(d);
    ck_assert(st != SL_OK || memcmp(bytes, back, sizeof(bytes)) == 0);
    return st;
}

// Every call in turn fails in this way. Returns how many there were.
static long fail_each(VkResult failure, sl_status status, const char *part)
{
    long smaller = 0; // blocks, where there is no memory for a usual one
    spy.failure = failure;
    for (long n = 0;; n++) {
        atomic_store(&spy.countdown, n);
        sl_status st = use_once();
        ck_assert_uint_eq(sl_vk_live_objects(), 0);
        if (atomic_load(&spy.countdown) >= 0) {
            ck_ok(st);
            return n;
        }
        if (st == SL_OK && failure == VK_ERROR_OUT_OF_DEVICE_MEMORY && ++smaller <= 3)
            continue;
        ck_assert_msg(st == status && strstr(sl_ctx_message(ctx), part), "call %ld: %d, %s", n, st,
                      sl_ctx_message(ctx));
    }
}

START_TEST(every_failure_is_told)
{
    ck_assert_int_gt(fail_each(VK_ERROR_OUT_OF_DEVICE_MEMORY, SL_ERR_NOMEM, "is exhausted"), 15);
    fail_each(VK_ERROR_OUT_OF_HOST_MEMORY, SL_ERR_NOMEM, "out of memory");
    fail_each(VK_ERROR_DEVICE_LOST, SL_ERR_DEVICE, "was lost");
    fail_each(VK_ERROR_UNKNOWN, SL_ERR_DEVICE, "VK_ERROR_UNKNOWN");
    fail_each((VkResult)-12345, SL_ERR_DEVICE, "-12345");
}
END_TEST

// The device answers late: the call fails, what follows finds it at rest again.
START_TEST(late_answers)
{
    sl_vk_device *d = open_device();
    sl_vk_buffer buffer;
    uint8_t bytes[64] = { 5 }, back[64];
    ck_ok(sl_vk_buffer_new(ctx, d, sizeof(bytes), SL_VK_DEVICE, &buffer));
    spy.fails = "vkWaitForFences";
    spy.failure = VK_TIMEOUT;
    atomic_store(&spy.countdown, 0);
    ck_fails(sl_vk_upload(ctx, d, &buffer, 0, bytes, sizeof(bytes)), SL_ERR_DEVICE, "in time");
    ck_assert(sl_vk_settle(d));
    ck_ok(sl_vk_upload(ctx, d, &buffer, 0, bytes, sizeof(bytes)));
    ck_ok(read_back(d, &buffer, back));
    ck_assert_mem_eq(bytes, back, sizeof(bytes));
    sl_vk_buffer_free(d, &buffer);
    sl_vk_close(d);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("memory");
    tcase_add_test(tests, bytes_come_back);
    tcase_add_test(tests, places_have_what_they_promise);
    tcase_add_test(tests, too_much_is_refused);
    tcase_add_test(tests, buffers_share_blocks);
    tcase_add_test(tests, few_or_small_allocations);
    tcase_add_test(tests, every_failure_is_told);
    tcase_add_test(tests, late_answers);
    return run_vulkan("vulkan-memory", tests);
}
