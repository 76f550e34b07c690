// SPDX-License-Identifier: MIT
// cpu/select.c: scores of windows -> which are kept, as a map and as a compact list.
#include "cpu/op.h"

#include <math.h>

// softmax(z0, z1)[0] > threshold, in f32: a difference below about 1e-7 is 0.5 exactly and so
// pruned at the usual threshold. NaN compares false: pruned.
static bool keeps(float z0, float z1, float threshold)
{
    return 1.0f / (1.0f + expf(z1 - z0)) > threshold;
}

static void run(const sl_cpu_call *call)
{
    const float *scores = call->in[0];
    int32_t *list = call->out[0];
    uint8_t *keep = call->out[1];
    size_t windows = call->graph->values[call->node->in[0]].bytes / (2 * sizeof *scores);
    int32_t count = 0;
    for (size_t i = 0; i < windows; i++) {
        keep[i] = keeps(scores[2 * i], scores[2 * i + 1], call->node->attr.threshold);
        if (keep[i])
            list[4 + count++] = (int32_t)i;
    }
    list[0] = count;
    list[1] = list[2] = list[3] = 0;
    for (size_t i = (size_t)count; i < windows; i++)
        list[4 + i] = -1; // what a reader of the whole list sees does not depend on earlier runs
}

const sl_cpu_op sl_cpu_select = { .run = run };
