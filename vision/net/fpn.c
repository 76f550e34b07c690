// SPDX-License-Identifier: MIT
// net/fpn.c: a feature pyramid on the last three stages of a backbone, with neither norms nor
// activations. "Feature Pyramid Networks for Object Detection", arXiv 1612.03144; P6 and P7 as in
// RetinaNet, from the backbone's last stage.
#include "net/parts.h"

#define STAGES 3

sl_value sl_fpn_conv(sl_graph *g, const sl_tensor_set *set, const char *prefix, uint32_t stride,
                     sl_act act, sl_value x)
{
    const sl_tensor *w[] = { sl_find(set, prefix, ".weight"), sl_find(set, prefix, ".bias") };
    const sl_attr attr = { .stride = stride, .pad = (uint32_t)w[0]->shape.dim[2] / 2, .act = act };
    return sl_graph_add(g, SL_OP_CONV2D, prefix, &attr, (sl_value[SL_MAX_INPUTS]) { x }, w, 2);
}

static sl_value convolve(sl_graph *g, const sl_tensor_set *set, const char *kind, unsigned i,
                         uint32_t stride, sl_value x)
{
    char prefix[64];
    snprintf(prefix, sizeof(prefix), "neck.%s_convs.%u.conv", kind, i);
    return sl_fpn_conv(g, set, prefix, stride, SL_ACT_NONE, x);
}

void sl_fpn_build(sl_graph *g, const sl_tensor_set *set, const sl_value stages[STAGES],
                  sl_value levels[SL_RETINA_LEVELS])
{
    sl_value lateral[STAGES];
    for (unsigned i = 0; i < STAGES; i++)
        lateral[i] = convolve(g, set, "lateral", i, 1, stages[i]);
    for (unsigned i = STAGES - 1; i-- > 0;)
        lateral[i] =
            sl_graph_add(g, SL_OP_ADD_NEAREST, "neck", NULL,
                         (sl_value[SL_MAX_INPUTS]) { lateral[i], lateral[i + 1] }, NULL, 0);
    for (unsigned i = 0; i < STAGES; i++)
        levels[i] = convolve(g, set, "fpn", i, 1, lateral[i]);
    levels[3] = convolve(g, set, "fpn", 3, 2, stages[STAGES - 1]);
    levels[4] = convolve(g, set, "fpn", 4, 2, levels[3]);
}

sl_status sl_fpn_expect(sl_checker *k, const uint32_t stages[STAGES], uint32_t channels)
{
    sl_status st = SL_OK;
    for (unsigned i = 0; i < STAGES && st == SL_OK; i++) {
        char name[64];
        snprintf(name, sizeof(name), "neck.lateral_convs.%u.conv", i);
        st = sl_expect_pair(k, name, kernel(channels, stages[i], 1), channels);
    }
    for (unsigned i = 0; i < SL_RETINA_LEVELS && st == SL_OK; i++) {
        char name[64];
        snprintf(name, sizeof(name), "neck.fpn_convs.%u.conv", i);
        uint64_t from = i == STAGES ? stages[STAGES - 1] : channels;
        st = sl_expect_pair(k, name, kernel(channels, from, 3), channels);
    }
    return st;
}
