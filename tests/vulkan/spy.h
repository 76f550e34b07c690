// SPDX-License-Identifier: MIT
// tests/vulkan/spy.h: stands between the backend and its loader (ld's --wrap on dlopen and dlsym),
// to make devices worse than they are and calls fail. Everything else goes to the real driver.
#ifndef TESTS_VULKAN_SPY_H
#define TESTS_VULKAN_SPY_H

#include "vulkan/vk.h"

#include <stdatomic.h>

typedef struct spy_state {
    const char *library; // what is opened instead of the loader; "": nothing is found
    const char *missing; // functions that are not there: how their names begin
    void (*change)(VkPhysicalDeviceProperties2 *properties); // what a device says of itself
    bool no_f16, no_device_scope; // no device has it; nor the memory model's device scope
    VkResult failure;             // what failing calls return
    const char *fails;            // the one function that fails; NULL: any that spy.c knows
    atomic_long countdown;        // calls until one fails; negative: none does
    atomic_long drops;  // submissions until all are dropped, though they seem done; negative: none
    VkDeviceSize most;  // bytes of one allocation, more fail; 0: as the driver has it
    size_t cached;      // bytes of a pipeline in a cache that takes no file; 0: as it is
    uint8_t cache_byte; // which these are
    bool idle;          // dispatches are not recorded: results are what memory holds
    bool (*is_idle)(const VkComputePipelineCreateInfo *i); // nor those of such pipelines, at least
    unsigned pause_ms; // more than it needs, for making a pipeline
} spy_state;

extern spy_state spy; // of this process: zeroed, with countdowns of -1, by spy_reset

void spy_reset(void);

#endif
