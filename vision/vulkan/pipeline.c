// SPDX-License-Identifier: MIT
// vulkan/pipeline.c: compute pipelines, each made once, by all threads, with the driver's cache.
#include "vulkan/vk.h"

typedef struct work {
    sl_vk_device *device;
    sl_vk_pipeline *pipelines; // keys are filled in
    VkResult *results;
} work;

static bool is_same(const sl_vk_pipeline_key *a, const sl_vk_pipeline_key *b)
{
    return a->kernel == b->kernel && a->spec_count == b->spec_count &&
           memcmp(a->spec, b->spec, a->spec_count * sizeof(a->spec[0])) == 0;
}

// Among the first `count`: a device has some hundreds at most.
static const sl_vk_pipeline *find(const sl_vk_device *d, size_t count,
                                  const sl_vk_pipeline_key *key)
{
    for (size_t i = 0; i < count; i++)
        if (is_same(&d->pipelines[i].key, key))
            return &d->pipelines[i];
    return NULL;
}

VkPipeline sl_vk_pipeline_get(const sl_vk_device *d, const sl_vk_pipeline_key *key)
{
    const sl_vk_pipeline *found = find(d, d->pipeline_count, key);
    return found ? found->pipeline : VK_NULL_HANDLE;
}

static VkResult create_cache(sl_vk_device *d, const sl_blob *data)
{
    VkPipelineCacheCreateInfo info = { .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
                                       .initialDataSize = data->size,
                                       .pInitialData = data->data };
    VkResult result = d->vk.vkCreatePipelineCache(d->device, &info, NULL, &d->cache);
    if (result == VK_SUCCESS)
        sl_vk_count_object(1);
    else
        d->cache = VK_NULL_HANDLE;
    return result;
}

// What the driver holds; 0: nothing, or it does not say.
static size_t size_of_cache(const sl_vk_device *d)
{
    size_t bytes = 0;
    return d->vk.vkGetPipelineCacheData(d->device, d->cache, &bytes, NULL) == VK_SUCCESS ? bytes
                                                                                         : 0;
}

static sl_status make_cache(sl_ctx *ctx, sl_vk_device *d)
{
    sl_blob data;
    if (d->cache)
        return SL_OK;
    sl_vk_cache_load(ctx, d, &data);
    bool is_kept = data.size > 0;
    VkResult result = create_cache(d, &data);
    sl_blob_free(&data);
    if (result != VK_SUCCESS && is_kept) { // whatever the driver dislikes in the file
        is_kept = false;
        result = create_cache(d, &(sl_blob) { NULL, 0 });
    }
    // Of data that it does not like a driver may also make an empty cache, and say that all is
    // well.
    if (result == VK_SUCCESS && is_kept)
        d->cache_bytes = size_of_cache(d);
    return result == VK_SUCCESS ? SL_OK : sl_vk_fail(ctx, result, "making a pipeline cache");
}

static sl_status make_layout(sl_ctx *ctx, sl_vk_device *d, uint32_t buffers)
{
    VkDescriptorSetLayoutBinding bindings[SL_VK_MAX_BUFFERS];
    VkPushConstantRange push = { .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
                                 .size = SL_VK_MAX_PUSH };
    if (d->layout[buffers])
        return SL_OK;
    for (uint32_t i = 0; i < buffers; i++)
        bindings[i] = (VkDescriptorSetLayoutBinding) {
            .binding = i,
            .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
            .descriptorCount = 1,
            .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
        };
    VkDescriptorSetLayoutCreateInfo set = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
        .bindingCount = buffers,
        .pBindings = bindings,
    };
    VkPipelineLayoutCreateInfo info = { .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                        .setLayoutCount = 1,
                                        .pSetLayouts = &d->set_layout[buffers],
                                        .pushConstantRangeCount = 1,
                                        .pPushConstantRanges = &push };
    VkResult result = VK_SUCCESS;
    if (!d->set_layout[buffers]) {
        result = d->vk.vkCreateDescriptorSetLayout(d->device, &set, NULL, &d->set_layout[buffers]);
        if (result != VK_SUCCESS) {
            d->set_layout[buffers] = VK_NULL_HANDLE;
            return sl_vk_fail(ctx, result, "making a descriptor layout");
        }
        sl_vk_count_object(1);
    }
    result = d->vk.vkCreatePipelineLayout(d->device, &info, NULL, &d->layout[buffers]);
    if (result != VK_SUCCESS) {
        d->layout[buffers] = VK_NULL_HANDLE;
        return sl_vk_fail(ctx, result, "making a pipeline layout");
    }
    sl_vk_count_object(1);
    return SL_OK;
}

static sl_status make_module(sl_ctx *ctx, sl_vk_device *d, sl_vk_kernel kernel)
{
    const sl_vk_shader *shader = sl_vk_shader_get(kernel);
    VkShaderModuleCreateInfo info = { .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                      .codeSize = shader->bytes,
                                      .pCode = shader->code };
    if (d->module[kernel])
        return SL_OK;
    VkResult result = d->vk.vkCreateShaderModule(d->device, &info, NULL, &d->module[kernel]);
    if (result != VK_SUCCESS) {
        d->module[kernel] = VK_NULL_HANDLE;
        return sl_vk_fail(ctx, result, "loading a kernel");
    }
    sl_vk_count_object(1);
    return SL_OK;
}

static VkResult build(sl_vk_device *d, sl_vk_pipeline *p)
{
    const sl_vk_pipeline_key *key = &p->key;
    VkSpecializationMapEntry entries[SL_VK_MAX_SPEC];
    for (uint32_t i = 0; i < key->spec_count; i++)
        entries[i] = (VkSpecializationMapEntry) { .constantID = i,
                                                  .offset = i * (uint32_t)sizeof(key->spec[0]),
                                                  .size = sizeof(key->spec[0]) };
    VkSpecializationInfo spec = { .mapEntryCount = key->spec_count,
                                  .pMapEntries = entries,
                                  .dataSize = key->spec_count * sizeof(key->spec[0]),
                                  .pData = key->spec };
    const sl_vk_shader *shader = sl_vk_shader_get(key->kernel);
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = d->info.limits.subgroup,
    };
    VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = { .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                   .pNext = shader->by_subgroup ? &subgroup : NULL,
                   .flags = shader->by_subgroup
                                ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT
                                : 0,
                   .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                   .module = d->module[key->kernel],
                   .pName = "main",
                   .pSpecializationInfo = &spec },
        .layout = d->layout[shader->buffers],
    };
    VkResult result =
        d->vk.vkCreateComputePipelines(d->device, d->cache, 1, &info, NULL, &p->pipeline);
    if (result == VK_SUCCESS)
        sl_vk_count_object(1);
    else
        p->pipeline = VK_NULL_HANDLE;
    return result;
}

// The driver locks its cache itself; everything else that is written belongs to the task.
static void build_task(void *arg, size_t task, unsigned worker)
{
    const work *w = arg;
    (void)worker;
    w->results[task] = build(w->device, &w->pipelines[task]);
}

// Room for `more` pipelines behind those there are.
static sl_status reserve(sl_ctx *ctx, sl_vk_device *d, size_t more)
{
    size_t need = 0;
    if (!sl_add(d->pipeline_count, more, &need))
        need = SIZE_MAX; // which nobody can allocate
    if (need <= d->pipeline_capacity)
        return SL_OK;
    sl_vk_pipeline *grown = sl_alloc(ctx, need, sizeof(*grown));
    if (!grown)
        return SL_ERR_NOMEM;
    if (d->pipeline_count)
        memcpy(grown, d->pipelines, d->pipeline_count * sizeof(*grown));
    free(d->pipelines);
    d->pipelines = grown;
    d->pipeline_capacity = need;
    return SL_OK;
}

// Puts the keys that are new, each once, behind the pipelines there are.
static sl_status collect(sl_ctx *ctx, sl_vk_device *d, const sl_vk_pipeline_key *keys, size_t count,
                         size_t *missing)
{
    *missing = 0;
    sl_status st = reserve(ctx, d, count);
    for (size_t i = 0; i < count && st == SL_OK; i++) {
        if (find(d, d->pipeline_count + *missing, &keys[i]))
            continue;
        const sl_vk_shader *shader = sl_vk_shader_get(keys[i].kernel);
        d->pipelines[d->pipeline_count + (*missing)++] = (sl_vk_pipeline) { .key = keys[i] };
        st = make_layout(ctx, d, shader->buffers);
        if (st == SL_OK)
            st = make_module(ctx, d, keys[i].kernel);
    }
    return st;
}

// Keeps those that were built, in their order; the first failure is told.
static sl_status keep(sl_ctx *ctx, sl_vk_device *d, const VkResult *results, size_t count)
{
    sl_vk_pipeline *made = d->pipelines + d->pipeline_count;
    sl_status st = SL_OK;
    for (size_t i = 0; i < count; i++) {
        if (results[i] == VK_SUCCESS) {
            d->pipelines[d->pipeline_count++] = made[i];
            continue;
        }
        if (st == SL_OK) {
            char doing[96];
            snprintf(doing, sizeof(doing), "compiling the kernel %s",
                     sl_vk_shader_get(made[i].key.kernel)->name);
            st = sl_vk_fail(ctx, results[i], doing);
        }
    }
    return st;
}

sl_status sl_vk_pipelines_make(sl_ctx *ctx, sl_vk_device *d, const sl_vk_pipeline_key *keys,
                               size_t count)
{
    size_t missing = 0;
    sl_status st = collect(ctx, d, keys, count, &missing);
    if (st != SL_OK || missing == 0)
        return st;
    st = make_cache(ctx, d);
    if (st != SL_OK)
        return st;
    work w = { .device = d, .pipelines = d->pipelines + d->pipeline_count };
    w.results = sl_alloc(ctx, missing, sizeof(*w.results));
    if (!w.results)
        return SL_ERR_NOMEM;
    double start = sl_seconds();
    sl_pool_run(ctx->pool, build_task, &w, missing);
    st = keep(ctx, d, w.results, missing);
    sl_log(ctx, SL_LOG_DEBUG, "vulkan: %zu kernels compiled in %.2f s", missing,
           sl_seconds() - start);
    free(w.results);
    return st;
}

static void free_cache(sl_vk_device *d)
{
    if (!d->cache)
        return;
    size_t bytes = size_of_cache(d);
    uint8_t *data = NULL;
    if (bytes > d->cache_bytes)
        data = sl_alloc(NULL, bytes, 1);
    if (data && d->vk.vkGetPipelineCacheData(d->device, d->cache, &bytes, data) == VK_SUCCESS)
        sl_vk_cache_store(d->ctx, d, data, bytes);
    free(data);
    d->vk.vkDestroyPipelineCache(d->device, d->cache, NULL);
    sl_vk_count_object(-1);
    d->cache = VK_NULL_HANDLE;
}

void sl_vk_pipelines_free(sl_vk_device *d)
{
    for (size_t i = 0; i < d->pipeline_count; i++) {
        d->vk.vkDestroyPipeline(d->device, d->pipelines[i].pipeline, NULL);
        sl_vk_count_object(-1);
    }
    free(d->pipelines);
    d->pipelines = NULL;
    d->pipeline_count = d->pipeline_capacity = 0;
    free_cache(d);
    for (size_t i = 0; i < SL_VK_KERNEL_COUNT; i++) {
        if (!d->module[i])
            continue;
        d->vk.vkDestroyShaderModule(d->device, d->module[i], NULL);
        sl_vk_count_object(-1);
        d->module[i] = VK_NULL_HANDLE;
    }
    for (size_t i = 0; i <= SL_VK_MAX_BUFFERS; i++) {
        if (d->layout[i]) {
            d->vk.vkDestroyPipelineLayout(d->device, d->layout[i], NULL);
            sl_vk_count_object(-1);
        }
        if (d->set_layout[i]) {
            d->vk.vkDestroyDescriptorSetLayout(d->device, d->set_layout[i], NULL);
            sl_vk_count_object(-1);
        }
        d->layout[i] = VK_NULL_HANDLE;
        d->set_layout[i] = VK_NULL_HANDLE;
    }
}
