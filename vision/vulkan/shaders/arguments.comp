// SPDX-License-Identifier: MIT
// Dispatch sizes of the kernels that take a window list, from its count.
#version 450

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
    uint first_slot, slots;
};

struct Slot {
    uint first, chunk;      // windows of the list that the dispatch takes
    uint per_window, tile;  // work of a window, work of a group
    uint y, most;           // most: groups along x, beyond which they lie along z
    uint pad0, pad1;
};

layout(std430, binding = 0) readonly buffer List { int list[]; };
layout(std430, binding = 1) readonly buffer Slots { Slot slots_of[]; };
layout(std430, binding = 2) buffer Sizes { uint sizes[]; }; // [slots, 4]

void main()
{
    if (gl_GlobalInvocationID.x >= slots)
        return;
    uint at = first_slot + gl_GlobalInvocationID.x;
    Slot s = slots_of[at];
    uint windows = uint(clamp(list[0] - int(s.first), 0, int(s.chunk)));
    uint groups = (windows * s.per_window + s.tile - 1) / s.tile;
    uint layers = max(groups / s.most + uint(groups % s.most != 0), 1);
    sizes[4 * at] = groups / layers + uint(groups % layers != 0);
    sizes[4 * at + 1] = s.y;
    sizes[4 * at + 2] = layers;
    sizes[4 * at + 3] = uint(list[0]); // for profiles
}
