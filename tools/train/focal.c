// SPDX-License-Identifier: MIT
// tools/train/focal.c: the focal loss of a detector and its gradient, in one pass over the logits.
// Compiled at first use by detect_loss.py.
#include <math.h>
#include <stddef.h>

enum { CHUNK = 4096 }; // summed in f32; the sums of chunks in f64

static const float ALPHA = 0.25f; // of what is true; what is not has the rest. Gamma is 2

// `loss`: the sum; dx [n]: its gradient by x. A target is 0 or 1.
void focal(const float *x, const float *target, const float *weight, float *dx, double *loss,
           size_t n)
{
    double sum = 0;
    for (size_t start = 0; start < n; start += CHUNK) {
        size_t end = start + CHUNK < n ? start + CHUNK : n;
        float part = 0;
        for (size_t i = start; i < end; i++) {
            float sign = 2 * target[i] - 1;
            float z = sign * x[i], e = expf(-fabsf(z)); // at most 1: nothing overflows
            float more = 1 / (1 + e), less = e * more, cost = fmaxf(-z, 0) + logf(1 + e);
            float right = z > 0 ? more : less, miss = z > 0 ? less : more;
            float scale = weight[i] * (1 - ALPHA + (2 * ALPHA - 1) * target[i]) * miss * miss;
            part += scale * cost;
            dx[i] = -sign * scale * (2 * right * cost + miss);
        }
        sum += part;
    }
    *loss = sum;
}
