// SPDX-License-Identifier: MIT
// The best `limit` of many scores, of equal ones the first: a radix select on their bits, ten at a
// time from the top, then a compaction in the order of their places. Bound in: candidates.c
//
// A score is 30 bits, as it is at most 1; 0 is none. Every workgroup finds out by itself what the
// histograms so far say: among which bits the last score lies that is kept, and how many are left
// to be taken there.
#version 450

layout(local_size_x = 256) in;

const uint BLOCK = 4096, BINS = 1024, EACH = BLOCK / 256;
const uint CLEAR = 0, SECOND = 1, THIRD = 2, COUNT = 3, GATHER = 4;
layout(constant_id = 0) const uint STEP = CLEAR;

layout(push_constant) uniform Push {
    uint count, limit, blocks; // scores, rows, workgroups of BLOCK scores
};

layout(std430, binding = 0) readonly buffer Keys { uint keys[]; };    // [count]
layout(std430, binding = 1) buffer Histograms { uint histograms[]; }; // [3][BINS]
layout(std430, binding = 2) buffer Blocks { uvec2 block[]; };         // above, at the last score
layout(std430, binding = 3) buffer Chosen { uvec2 chosen[]; };        // place, score
layout(std430, binding = 4) buffer Counts { int counts[]; };          // [4]

shared uint sums[256], bins[BINS];
shared uint digit, passed; // of one histogram: the digit of the last one kept, how many are above
shared uint above_before, ties_before;

// sums becomes its own prefix sum, this invocation's included.
void scan(uint t)
{
    barrier();
    for (uint reach = 1; reach < 256; reach *= 2) {
        uint other = t >= reach ? sums[t - reach] : 0;
        barrier();
        sums[t] += other;
        barrier();
    }
}

// The digit in which the wanted-th best of a histogram lies. Returns how many there are in all.
uint find_digit(uint t, uint level, uint wanted)
{
    uint bin[4], own = 0;
    for (uint i = 0; i < 4; i++) {
        bin[i] = histograms[level * BINS + BINS - 1 - (4 * t + i)];
        own += bin[i];
    }
    barrier();
    sums[t] = own;
    scan(t);
    uint before = sums[t] - own, total = sums[255];
    if (before < wanted && wanted <= sums[t]) {
        uint i = 0;
        while (before + bin[i] < wanted)
            before += bin[i++];
        digit = BINS - 1 - (4 * t + i);
        passed = before;
    }
    barrier();
    return total;
}

struct Cut {
    bool takes_all; // there are not more than `limit`
    uint prefix;    // the highest bits of the last score that is kept
    uint left;      // how many of those with these bits are kept
    uint total;     // scores in all
};

Cut find_cut(uint t, uint levels)
{
    Cut cut = Cut(false, 0, limit, 0);
    for (uint level = 0; level < levels; level++) {
        uint total = find_digit(t, level, cut.left);
        if (level == 0) {
            cut.total = total;
            cut.takes_all = total <= limit;
        }
        if (cut.takes_all)
            return cut;
        cut.prefix = cut.prefix << 10 | digit;
        cut.left -= passed;
    }
    return cut;
}

void clear(uint t)
{
    for (uint i = t; i < 3 * BINS; i += 256)
        histograms[i] = 0;
    if (t < 4)
        counts[t] = 0;
}

// The digits behind the cut's prefix.
void fill_histogram(uint t, uint level)
{
    Cut cut = find_cut(t, level);
    if (cut.takes_all)
        return;
    for (uint b = t; b < BINS; b += 256)
        bins[b] = 0;
    barrier();
    uint first = gl_WorkGroupID.x * BLOCK, end = min(first + BLOCK, count), shift = 20 - 10 * level;
    for (uint i = first + t; i < end; i += 256)
        if (keys[i] != 0 && keys[i] >> (shift + 10) == cut.prefix)
            atomicAdd(bins[keys[i] >> shift & (BINS - 1)], 1u);
    barrier();
    for (uint b = t; b < BINS; b += 256)
        if (bins[b] != 0)
            atomicAdd(histograms[level * BINS + b], bins[b]);
}

bool is_above(Cut cut, uint key)
{
    return cut.takes_all ? key != 0 : key > cut.prefix;
}

bool is_tie(Cut cut, uint key)
{
    return !cut.takes_all && key == cut.prefix;
}

// Of this invocation's scores, which follow each other: ties in the upper half of the bits.
uint count_own(Cut cut, uint first)
{
    uint found = 0;
    for (uint i = first; i < min(first + EACH, count); i++)
        found += uint(is_above(cut, keys[i])) + (uint(is_tie(cut, keys[i])) << 16);
    return found;
}

// What all blocks before this one hold.
void sum_before(uint t)
{
    uint above = 0, ties = 0;
    if (t == 0)
        above_before = ties_before = 0;
    barrier();
    for (uint i = t; i < gl_WorkGroupID.x; i += 256) {
        above += block[i].x;
        ties += block[i].y;
    }
    if (above != 0)
        atomicAdd(above_before, above);
    if (ties != 0)
        atomicAdd(ties_before, ties);
    barrier();
}

void gather(uint t, Cut cut, uint first)
{
    sum_before(t);
    uint own = count_own(cut, first);
    sums[t] = own;
    scan(t);
    uint before = sums[t] - own;
    uint above = above_before + (before & 0xffffu), tie = ties_before + (before >> 16);
    uint strict = limit - cut.left; // how many are above the last score
    for (uint i = first; i < min(first + EACH, count); i++) {
        uint key = keys[i];
        if (is_above(cut, key)) {
            chosen[above++] = uvec2(i, key);
        } else if (is_tie(cut, key)) {
            if (tie < cut.left)
                chosen[strict + tie] = uvec2(i, key);
            tie++;
        }
    }
    if (gl_WorkGroupID.x == 0 && t == 0)
        counts[0] = int(cut.takes_all ? cut.total : limit);
}

void main()
{
    uint t = gl_LocalInvocationIndex, first = gl_WorkGroupID.x * BLOCK + t * EACH;
    if (STEP == CLEAR) {
        clear(t);
    } else if (STEP == SECOND || STEP == THIRD) {
        fill_histogram(t, STEP);
    } else {
        Cut cut = find_cut(t, 3);
        if (STEP == GATHER) {
            gather(t, cut, first);
            return;
        }
        sums[t] = count_own(cut, first);
        scan(t);
        if (t == 0)
            block[gl_WorkGroupID.x] = uvec2(sums[255] & 0xffffu, sums[255] >> 16);
    }
}
