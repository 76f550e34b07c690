// SPDX-License-Identifier: MIT
// base/processors.c: how many processors this process may use. A container may have less than it
// sees: its share of time is a quota of its control group (cgroup v2), which no affinity shows.
#include "base/base.h"

#include <math.h>
#include <sched.h>
#include <unistd.h>

#define ROOT "/sys/fs/cgroup"

// Of one group: "max 100000" or microseconds of processor time in so many of the clock's.
static double quota_of(const char *path)
{
    long long quota = 0, period = 0;
    FILE *file = fopen(path, "re");
    bool is_limited = file && fscanf(file, "%lld %lld", &quota, &period) == 2;
    if (file)
        fclose(file);
    return is_limited && quota > 0 && period > 0 ? (double)quota / (double)period : INFINITY;
}

double sl_processor_quota(const char *root, const char *group)
{
    static const char name[] = "/cpu.max";
    char path[4096];
    double least = INFINITY;
    int length = snprintf(path, sizeof(path) - sizeof(name), "%s%s", root, group);
    if (length < 0 || (size_t)length >= sizeof(path) - sizeof(name))
        return least;
    char *end = path + length, *first = path + strlen(root);
    for (;; end = strrchr(first, '/')) { // the group, then its parents
        memcpy(end, name, sizeof(name));
        double quota = quota_of(path);
        least = quota < least ? quota : least;
        *end = '\0';
        if (end == first)
            return least;
    }
}

static double own_quota(void)
{
    char line[2048];
    double quota = INFINITY;
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, "0::/", 4) == 0) { // the group of version 2
            line[strcspn(line, "\n")] = '\0';
            quota = sl_processor_quota(ROOT, line + 3);
        }
    if (file)
        fclose(file);
    return quota;
}

unsigned sl_processors(void)
{
    long count = 0;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        count = CPU_COUNT(&set);
    else // more processors than the set has room for
        count = sysconf(_SC_NPROCESSORS_ONLN);
    double quota = ceil(own_quota());
    if (quota < (double)count)
        count = (long)quota;
    return count < 1 ? 1 : (unsigned)count;
}
