// SPDX-License-Identifier: MIT
// base/clock.c: time for measurements and deadlines.
#include "base/base.h"

#include <time.h>

double sl_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
