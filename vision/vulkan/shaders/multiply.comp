// SPDX-License-Identifier: MIT
// Multiply-adds on registers: what arithmetic can do at most. Eight chains of four hide the time
// that one takes; a round is 32 of them in each invocation. Bound in: peak.c
#version 450

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
    uint rounds;
};

layout(std430, binding = 0) readonly buffer X { vec4 x[]; };
layout(std430, binding = 1) writeonly buffer Y { vec4 y[]; };

void main()
{
    uint at = gl_GlobalInvocationID.x;
    vec4 seed = x[at], factor = vec4(0.999), a = seed, b = seed + 1.0, c = seed + 2.0,
         d = seed + 3.0, e = seed + 4.0, f = seed + 5.0, g = seed + 6.0, h = seed + 7.0;
    for (uint i = 0; i < rounds; i++) {
        a = fma(a, factor, seed);
        b = fma(b, factor, seed);
        c = fma(c, factor, seed);
        d = fma(d, factor, seed);
        e = fma(e, factor, seed);
        f = fma(f, factor, seed);
        g = fma(g, factor, seed);
        h = fma(h, factor, seed);
    }
    y[at] = a + b + c + d + (e + f + g + h);
}
