// SPDX-License-Identifier: MIT
// vulkan/choices.c: which of several ways is the fastest on a device: what was measured before, by
// this process or an earlier one. Every way computes the same but for rounding, so a file of
// choices that somebody made up costs time at most.
#include "vulkan/program.h"

const sl_vk_choice *sl_vk_choice_find(const sl_vk_choice *choices, size_t count,
                                      const sl_vk_choice *question)
{
    for (size_t i = 0; i < count; i++)
        if (choices[i].question == question->question &&
            memcmp(choices[i].about, question->about, sizeof(question->about)) == 0)
            return &choices[i];
    return NULL;
}

uint32_t sl_vk_size_class(uint64_t size)
{
    uint32_t bits = 0;
    while (size >> bits > 1 && bits < 17) // beyond 131072 rows nothing changes any more
        bits++;
    return bits;
}

bool sl_vk_may_measure(const sl_vk_device *d)
{
    return d->timestamp_ns > 0 && !d->choices.is_off &&
           (d->info.type != SL_VK_SOFTWARE || d->choices.is_forced);
}

void sl_vk_take_usual_ways(sl_vk_device *d)
{
    d->choices.is_off = true;
}

// A draft that cannot note a want goes without.
static void note(sl_vk_program *p, const sl_vk_want *want)
{
    for (size_t i = 0; i < p->want_count; i++)
        if (sl_vk_choice_find(&p->wants[i].question, 1, &want->question))
            return;
    if (sl_vk_grow(p->ctx, (void **)&p->wants, p->want_count, &p->want_capacity,
                   sizeof(*p->wants)) == SL_OK)
        p->wants[p->want_count++] = *want;
}

uint32_t sl_vk_choose(sl_vk_program *p, const sl_vk_want *want)
{
    const sl_vk_choices *known = &p->device->choices;
    const sl_vk_choice *found = NULL;
    if (known->trial)
        found = sl_vk_choice_find(known->trial, 1, &want->question);
    if (!found)
        found = sl_vk_choice_find(known->choices, known->count, &want->question);
    if (found && found->answer < 32 && (want->ways >> found->answer & 1))
        return found->answer;
    bool is_open = (want->ways & (want->ways - 1)) != 0; // more ways than one
    if (p->is_draft && is_open)
        note(p, want);
    return want->usual;
}
