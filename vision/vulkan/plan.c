// SPDX-License-Identifier: MIT
// vulkan/plan.c: a compiled graph: its memory, its command buffers, and how it is run.
#include "vulkan/program.h"

#define TIME_LIMIT 60.0           // seconds that a run may take before the device counts as hung,
#define PIECE_LIMIT 2.0           // and for each of its pieces: none ends in time that takes longer
#define TIME_LIMIT_SOFTWARE 900.0 // on the processor

#define SLOTS 2 // runs that may be under way

// What belongs to one run: its way to the device and back. The arena is all runs', one by one.
typedef struct run_slot {
    sl_vk_buffer upload, readback;
    sl_vk_recording recording;
    VkFence fence;   // of runs in two halves, made by plan_overlap
    uint32_t number; // of the run
    bool is_pending;
} run_slot;

typedef struct vk_plan {
    sl_plan plan;
    sl_vk_device *device;
    sl_vk_program program;
    sl_vk_buffer arena, slots, sizes;
    run_slot run[SLOTS]; // the second one is made by plan_overlap
    unsigned next, last; // slots: of the next run, of the one that is read
    bool *is_stale;      // by input: it was written for the other slot
    sl_vk_copy *in, *out;
    size_t in_count, out_count;
    VkDeviceSize up_bytes, back_bytes;
    VkDeviceSize sizes_at;               // of a profile's copy of the sizes, in readback
    VkDeviceSize number_from, number_to; // of the run's number: in upload, in readback
    uint32_t runs;                       // that were begun
    VkDeviceSize *host_offset;           // by value: in upload for inputs, in readback for outputs
    VkQueryPool queries;                 // while profiling
    uint64_t *ticks;                     // of the queries
} vk_plan;

static sl_vk_recorder recorder_of(const vk_plan *p, unsigned slot)
{
    return (sl_vk_recorder) { .device = p->device,
                              .program = &p->program,
                              .arena = &p->arena,
                              .slots = &p->slots,
                              .sizes = &p->sizes,
                              .upload = &p->run[slot].upload,
                              .readback = &p->run[slot].readback,
                              .in = p->in,
                              .out = p->out,
                              .in_count = p->in_count,
                              .out_count = p->out_count,
                              .sizes_at = p->sizes_at,
                              .number_from = p->number_from,
                              .number_to = p->number_to,
                              .queries = p->queries };
}

// ---- running

static bool is_input(const sl_graph *g, sl_value value)
{
    return g->nodes[g->values[value].producer].op == SL_OP_INPUT;
}

static size_t input_at(const vk_plan *p, sl_value value)
{
    size_t i = 0;
    while (p->in[i].host != p->host_offset[value])
        i++;
    return i;
}

static sl_status plan_write(sl_plan *plan, sl_value value, const void *data)
{
    vk_plan *p = (vk_plan *)plan;
    if (!is_input(plan->graph, value))
        return sl_fail(plan->ctx, SL_ERR_ARGUMENT, "%s is no input",
                       plan->graph->values[value].output);
    uint8_t *to = p->run[p->next].upload.mapped + p->host_offset[value];
    p->is_stale[input_at(p, value)] = false;
    size_t bytes = plan->graph->values[value].bytes;
    if (!sl_vk_is_half(&p->program, value)) {
        memcpy(to, data, bytes);
        return SL_OK;
    }
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        ((uint16_t *)(void *)to)[i] = sl_f32_to_f16(((const float *)data)[i]);
    return SL_OK;
}

static sl_status plan_read(sl_plan *plan, sl_value value, void *data)
{
    const vk_plan *p = (vk_plan *)plan;
    const run_slot *run = &p->run[p->last];
    const sl_vk_buffer *from = is_input(plan->graph, value) ? &run->upload : &run->readback;
    const uint8_t *at = from->mapped + p->host_offset[value];
    size_t bytes = plan->graph->values[value].bytes;
    if (!sl_vk_is_half(&p->program, value)) {
        memcpy(data, at, bytes);
        return SL_OK;
    }
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        ((float *)data)[i] = sl_f16_to_f32(((const uint16_t *)(const void *)at)[i]);
    return SL_OK;
}

// The share of windows that a node computed. next: where to look for its dispatches on.
static double kept_share(const vk_plan *p, uint32_t n, size_t *next)
{
    const sl_vk_program *program = &p->program;
    const sl_node *node = &p->plan.graph->nodes[n];
    const sl_op_info *info = sl_op_get(node->op);
    uint32_t slot = SL_VK_NO_SLOT;
    for (; *next < program->count && program->dispatches[*next].node == n; ++*next)
        if (slot == SL_VK_NO_SLOT)
            slot = program->dispatches[*next].slot;
    if (slot == SL_VK_NO_SLOT)
        return 1;
    uint32_t sizes[4];
    memcpy(sizes, p->run[0].readback.mapped + p->sizes_at + (size_t)slot * sizeof(sizes),
           sizeof(sizes));
    sl_value list = node->in[info->inputs_max - 1];
    return sizes[3] / ((double)p->plan.graph->values[list].shape.dim[0] - 4);
}

// ended: when the host learned that all is done.
static sl_status add_profile(vk_plan *p, double ended)
{
    const sl_graph *g = p->plan.graph;
    const sl_vk_device *d = p->device;
    VkResult result = d->vk.vkGetQueryPoolResults(
        d->device, p->queries, 0, (uint32_t)g->node_count + 1,
        (g->node_count + 1) * sizeof(*p->ticks), p->ticks, sizeof(*p->ticks),
        VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
    if (result != VK_SUCCESS)
        return sl_vk_fail(p->plan.ctx, result, "reading timestamps");
    sl_vk_moment last = { p->ticks[g->node_count], ended };
    if (p->plan.ctx->trace)
        sl_vk_clock_read(d, &last);
    size_t next = 0;
    for (uint32_t n = 0; n < g->node_count; n++) {
        const sl_node *node = &g->nodes[n];
        double share = kept_share(p, n, &next);
        sl_profile_entry *entry = &p->plan.profile[n];
        if (node->op == SL_OP_INPUT)
            continue;
        uint64_t ticks = (p->ticks[n + 1] - p->ticks[n]) & d->timestamp_mask;
        double seconds = 1e-9 * d->timestamp_ns * (double)ticks;
        double macs = sl_node_macs(g, node) * share;
        entry->seconds += seconds;
        entry->macs += macs;
        entry->bytes += sl_node_bytes(g, node, p->program.value_bytes, share);
        sl_plan_trace(&p->plan, node, sl_vk_clock_seconds(d, &last, p->ticks[n]), seconds, macs);
    }
    return SL_OK;
}

// Inputs that nobody wrote since the last submission are what they were.
static void carry_inputs(vk_plan *p)
{
    const run_slot *to = &p->run[p->next], *from = &p->run[(p->next + 1) % SLOTS];
    for (size_t i = 0; i < p->in_count; i++)
        if (p->is_stale[i]) {
            memcpy(to->upload.mapped + p->in[i].host, from->upload.mapped + p->in[i].host,
                   (size_t)p->in[i].bytes);
            p->is_stale[i] = false;
        }
}

static double time_limit(const vk_plan *p)
{
    return p->device->info.type == SL_VK_SOFTWARE ? TIME_LIMIT_SOFTWARE
                                                  : TIME_LIMIT + PIECE_LIMIT * p->program.pieces;
}

// The next one.
static sl_status start_run(vk_plan *p, VkFence fence)
{
    sl_ctx *ctx = p->plan.ctx;
    run_slot *run = &p->run[p->next];
    sl_vk_recorder recorder = recorder_of(p, p->next);
    sl_status st = SL_OK;
    if (!run->recording.is_complete) // recording it for a profile failed
        st = sl_vk_record(ctx, &recorder, &run->recording);
    carry_inputs(p);
    run->number = ++p->runs;
    memcpy(run->upload.mapped + p->number_from, &run->number, sizeof(run->number));
    if (st == SL_OK)
        st = sl_vk_buffer_flush(ctx, p->device, &run->upload);
    if (st == SL_OK)
        st = sl_vk_start(ctx, p->device, run->recording.commands, run->recording.count, fence);
    return st;
}

// Of a device that is lost a wait may succeed all the same, and what is read would be an earlier
// picture's: only a run that was carried out to its end has brought back its number.
static sl_status finish_run(vk_plan *p, const run_slot *run, VkFence fence)
{
    sl_ctx *ctx = p->plan.ctx;
    uint32_t number;
    sl_status st = sl_vk_finish(ctx, p->device, fence, time_limit(p));
    if (st == SL_OK)
        st = sl_vk_buffer_invalidate(ctx, p->device, &run->readback);
    if (st != SL_OK)
        return st;
    memcpy(&number, run->readback.mapped + p->number_to, sizeof(number));
    if (number == run->number)
        return SL_OK;
    p->device->is_lost = true;
    return sl_vk_fail(ctx, VK_ERROR_DEVICE_LOST, "computing");
}

static sl_status plan_run(sl_plan *plan)
{
    vk_plan *p = (vk_plan *)plan;
    sl_status st = start_run(p, p->device->fence);
    if (st == SL_OK)
        st = finish_run(p, &p->run[p->next], p->device->fence);
    double ended = sl_seconds();
    p->last = p->next;
    return st == SL_OK && p->queries && plan->profile ? add_profile(p, ended) : st;
}

// ---- runs in two halves: while one computes, the next one's inputs are written and the last one's
// outputs read. On the device they follow each other, as they share the arena.

static sl_status make_buffers_of(vk_plan *p, run_slot *run)
{
    sl_ctx *ctx = p->plan.ctx;
    sl_status st = sl_vk_buffer_new(ctx, p->device, p->up_bytes, SL_VK_UPLOAD, &run->upload);
    if (st == SL_OK)
        st = sl_vk_buffer_new(ctx, p->device, p->back_bytes, SL_VK_READBACK, &run->readback);
    if (st != SL_OK)
        return st;
    memset(run->readback.mapped + p->number_to, 0, sizeof(run->number)); // which no run has
    return sl_vk_buffer_flush(ctx, p->device, &run->readback);
}

static void free_run(vk_plan *p, run_slot *run)
{
    sl_vk_record_free(p->device, &run->recording);
    sl_vk_buffer_free(p->device, &run->upload);
    sl_vk_buffer_free(p->device, &run->readback);
    sl_vk_fence_free(p->device, &run->fence);
}

static sl_status plan_overlap(sl_plan *plan)
{
    vk_plan *p = (vk_plan *)plan;
    if (p->run[1].recording.commands)
        return SL_OK;
    sl_status st = sl_vk_fence_new(plan->ctx, p->device, &p->run[0].fence);
    if (st == SL_OK)
        st = sl_vk_fence_new(plan->ctx, p->device, &p->run[1].fence);
    if (st == SL_OK)
        st = make_buffers_of(p, &p->run[1]);
    sl_vk_recorder recorder = recorder_of(p, 1);
    if (st == SL_OK)
        st = sl_vk_record_new(plan->ctx, &recorder, &p->run[1].recording);
    if (st != SL_OK) {
        free_run(p, &p->run[1]);
        sl_vk_fence_free(p->device, &p->run[0].fence);
    }
    return st;
}

static sl_status plan_wait(sl_plan *plan)
{
    vk_plan *p = (vk_plan *)plan;
    unsigned slot = p->run[p->next].is_pending ? p->next : (p->next + 1) % SLOTS; // the older one
    run_slot *run = &p->run[slot];
    if (!run->is_pending)
        return SL_OK;
    run->is_pending = false;
    sl_status st = finish_run(p, run, run->fence);
    p->last = slot;
    return st;
}

static sl_status plan_submit(sl_plan *plan)
{
    vk_plan *p = (vk_plan *)plan;
    run_slot *run = &p->run[p->next];
    sl_status st = start_run(p, run->fence);
    if (st != SL_OK)
        return st;
    run->is_pending = true;
    p->next = (p->next + 1) % SLOTS;
    memset(p->is_stale, true, p->in_count * sizeof(*p->is_stale));
    return SL_OK;
}

// ---- profiling: the same commands with timestamps between them

static void drop_queries(vk_plan *p)
{
    if (p->queries && sl_vk_settle(p->device)) {
        p->device->vk.vkDestroyQueryPool(p->device->device, p->queries, NULL);
        sl_vk_count_object(-1);
    }
    p->queries = VK_NULL_HANDLE;
    free(p->ticks);
    p->ticks = NULL;
}

static bool make_queries(vk_plan *p)
{
    const sl_vk_device *d = p->device;
    const VkQueryPoolCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
        .queryType = VK_QUERY_TYPE_TIMESTAMP,
        .queryCount = (uint32_t)p->plan.graph->node_count + 1,
    };
    if (d->timestamp_ns <= 0)
        return false;
    p->ticks = sl_alloc(p->plan.ctx, info.queryCount, sizeof(*p->ticks));
    if (!p->ticks)
        return false;
    if (d->vk.vkCreateQueryPool(d->device, &info, NULL, &p->queries) != VK_SUCCESS) {
        p->queries = VK_NULL_HANDLE;
        return false;
    }
    sl_vk_count_object(1);
    return true;
}

// Without memory or timestamps there is no profile, which the caller sees.
static void plan_profile(sl_plan *plan, bool on)
{
    vk_plan *p = (vk_plan *)plan;
    bool was_on = p->queries != VK_NULL_HANDLE;
    free(plan->profile);
    plan->profile = NULL;
    drop_queries(p);
    while (p->run[0].is_pending || p->run[1].is_pending)
        plan_wait(plan); // what fails now, the next run will tell
    if (p->next == 1) {  // profiles are of the first slot
        for (size_t i = 0; i < p->in_count; i++)
            p->is_stale[i] = !p->is_stale[i];
        p->next = 0;
        carry_inputs(p);
    }
    if (on && make_queries(p))
        plan->profile = sl_alloc(plan->ctx, plan->graph->node_count, sizeof(*plan->profile));
    if (on && !plan->profile)
        drop_queries(p);
    sl_vk_recorder recorder = recorder_of(p, 0);
    if ((was_on || p->queries) &&
        sl_vk_record(plan->ctx, &recorder, &p->run[0].recording) != SL_OK) {
        free(plan->profile); // the next run tries again, without timestamps
        plan->profile = NULL;
        drop_queries(p);
    }
}

// ---- compiling

static void plan_free(sl_plan *plan)
{
    vk_plan *p = (vk_plan *)plan;
    sl_vk_device *d = p->device;
    drop_queries(p);
    while (p->run[0].is_pending || p->run[1].is_pending)
        plan_wait(plan);
    for (unsigned i = 0; i < SLOTS; i++)
        free_run(p, &p->run[i]);
    sl_vk_buffer_free(d, &p->arena);
    sl_vk_buffer_free(d, &p->slots);
    sl_vk_buffer_free(d, &p->sizes);
    sl_vk_program_free(&p->program);
    free(p->in);
    free(p->out);
    free(p->host_offset);
    free(p->is_stale);
    free(plan->profile);
    free(p);
}

static const sl_plan_ops vk_plan_ops = {
    .free = plan_free,
    .write = plan_write,
    .run = plan_run,
    .read = plan_read,
    .profile = plan_profile,
    .overlap = plan_overlap,
    .submit = plan_submit,
    .wait = plan_wait,
};

// Inputs lie behind each other in the upload buffer, outputs in the readback buffer.
static sl_status plan_copies(vk_plan *p)
{
    const sl_graph *g = p->plan.graph;
    p->in = sl_alloc(p->plan.ctx, g->value_count, sizeof(*p->in));
    p->out = sl_alloc(p->plan.ctx, g->value_count, sizeof(*p->out));
    p->host_offset = sl_alloc(p->plan.ctx, g->value_count, sizeof(*p->host_offset));
    p->is_stale = sl_alloc(p->plan.ctx, g->value_count, sizeof(*p->is_stale));
    if (!p->in || !p->out || !p->host_offset || !p->is_stale)
        return SL_ERR_NOMEM;
    for (sl_value v = 1; v < g->value_count; v++) {
        const sl_value_info *info = &g->values[v];
        bool input = is_input(g, v);
        VkDeviceSize *end = input ? &p->up_bytes : &p->back_bytes;
        if (!info->output || info->bytes == 0)
            continue;
        const sl_vk_copy copy = { *end, p->program.memory.value_offset[v],
                                  (p->program.value_bytes[v] + 3) / 4 * 4 };
        p->host_offset[v] = *end;
        *end += sl_vk_align(copy.bytes);
        if (input)
            p->in[p->in_count++] = copy;
        else
            p->out[p->out_count++] = copy;
    }
    return SL_OK;
}

static sl_status make_buffers(vk_plan *p)
{
    sl_ctx *ctx = p->plan.ctx;
    VkDeviceSize slots = p->program.slot_count * sizeof(sl_vk_slot);
    size_t arena = p->program.memory.total;
    sl_status st = plan_copies(p);
    p->sizes_at = p->back_bytes;
    p->number_from = p->up_bytes;
    p->number_to = p->sizes_at + sl_vk_align(16 * p->program.slot_count);
    p->up_bytes = p->number_from + sl_vk_align(sizeof(uint32_t));
    p->back_bytes = p->number_to + sl_vk_align(sizeof(uint32_t));
    if (st == SL_OK)
        st = sl_vk_buffer_new(ctx, p->device, arena > 256 ? arena : 256, SL_VK_DEVICE, &p->arena);
    if (st == SL_OK)
        st = make_buffers_of(p, &p->run[0]);
    if (st == SL_OK) // also what a binding without use is bound to
        st = sl_vk_buffer_new(ctx, p->device, slots ? slots : sizeof(sl_vk_slot), SL_VK_DEVICE,
                              &p->slots);
    if (st == SL_OK && slots)
        st = sl_vk_buffer_new(ctx, p->device, 16 * p->program.slot_count, SL_VK_DEVICE, &p->sizes);
    if (st == SL_OK && slots)
        st = sl_vk_upload(ctx, p->device, &p->slots, 0, p->program.slots, slots);
    return st;
}

static sl_status make_pipelines(vk_plan *p)
{
    const sl_vk_program *program = &p->program;
    sl_vk_pipeline_key *keys = sl_alloc(p->plan.ctx, program->count, sizeof(*keys));
    if (!keys)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < program->count; i++)
        keys[i] = program->dispatches[i].key;
    sl_status st = sl_vk_pipelines_make(p->plan.ctx, p->device, keys, program->count);
    free(keys);
    return st;
}

sl_status sl_vk_compile(sl_ctx *ctx, sl_vk_device *device, const sl_graph *graph,
                        sl_dtype precision, sl_plan **out)
{
    *out = NULL;
    vk_plan *p = sl_alloc(ctx, 1, sizeof(*p));
    if (!p)
        return SL_ERR_NOMEM;
    p->plan = (sl_plan) {
        .ops = &vk_plan_ops, .ctx = ctx, .graph = graph, .clock = sl_vk_clock_name(device)
    };
    p->device = device;
    sl_vk_measure(ctx, device, graph, precision);
    sl_status st = sl_vk_program_new(ctx, device, graph, precision, &p->program);
    if (st == SL_OK)
        st = make_pipelines(p);
    if (st == SL_OK)
        st = sl_vk_weights_upload(&p->program);
    if (st == SL_OK)
        st = make_buffers(p);
    if (st == SL_OK && device->choices.trial)
        st = sl_vk_spoil(ctx, device, &p->arena, &p->run[0].readback);
    sl_vk_recorder recorder = recorder_of(p, 0);
    if (st == SL_OK)
        st = sl_vk_record_new(ctx, &recorder, &p->run[0].recording);
    if (st != SL_OK) {
        sl_vk_weights_forget(device);
        plan_free(&p->plan);
        return st;
    }
    snprintf(p->plan.device, sizeof(p->plan.device), "vulkan:%u (%.36s%s)", device->info.index,
             device->info.name, p->program.half ? ", f16" : "");
    p->plan.memory_bytes = p->program.memory.total;
    p->plan.weight_bytes = sl_vk_weights_bytes(device);
    *out = &p->plan;
    return SL_OK;
}

sl_status sl_vk_memory(sl_ctx *ctx, sl_vk_device *device, const sl_graph *graph, sl_dtype precision,
                       size_t *out)
{
    return sl_vk_program_memory(ctx, device, graph, precision, out);
}
