// SPDX-License-Identifier: MIT
// base/processors.c: how many processors this process may use. A container may have less than it
// sees: its share of time is a quota of its control group (cgroup v2), which no affinity shows.
#include "base/base.h"

#include <math.h>
#include <sched.h>
#include <unistd.h>

#define ROOT "/sys/fs/cgroup"

// First line of a small file; false: it cannot be read.
static bool first_line(const char *path, char *line, int size)
{
    FILE *file = fopen(path, "re");
    bool is_there = file && fgets(line, size, file);
    if (file)
        fclose(file);
    return is_there;
}

// Of one group: "max 100000" or microseconds of processor time in so many of the clock's.
static double quota_of(const char *path)
{
    char line[64];
    long long quota = 0, period = 0;
    if (!first_line(path, line, sizeof(line)) || sscanf(line, "%lld %lld", &quota, &period) != 2 ||
        quota <= 0 || period <= 0)
        return INFINITY;
    return (double)quota / (double)period;
}

double sl_processor_quota(const char *root, const char *group)
{
    char path[4096];
    double least = INFINITY;
    int length = snprintf(path, sizeof(path) - sizeof("/cpu.max"), "%s%s", root, group);
    if (length < 0 || (size_t)length >= sizeof(path) - sizeof("/cpu.max"))
        return least;
    for (size_t root_length = strlen(root), at = (size_t)length;; at--) { // the group, its parents
        if (path[at] != '\0' && path[at] != '/')
            continue;
        memcpy(path + at, "/cpu.max", sizeof("/cpu.max"));
        double quota = quota_of(path);
        least = quota < least ? quota : least;
        path[at] = '\0';
        if (at <= root_length)
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
