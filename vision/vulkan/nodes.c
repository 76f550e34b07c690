// SPDX-License-Identifier: MIT
// vulkan/nodes.c: whether a graphics card can be there at all, without asking the Vulkan loader: it
// opens every driver on the machine, a tenth of a second that a small picture need not wait for.
#include "vulkan/vk.h"

#ifdef __linux__

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#define MOST_BYTES 256 // of a node's path

// Whoever names drivers by these variables wants them asked.
static bool are_drivers_named(void)
{
    static const char *const names[] = { "VK_DRIVER_FILES", "VK_ICD_FILENAMES",
                                         "VK_ADD_DRIVER_FILES", "VK_LOADER_DRIVERS_SELECT" };
    for (size_t i = 0; i < SL_ARRAY_LEN(names); i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return true;
    }
    return false;
}

static bool has_render_node(const char *root)
{
    char path[MOST_BYTES];
    snprintf(path, sizeof(path), "%s/dev/dri", root);
    DIR *folder = opendir(path);
    bool found = false;
    for (const struct dirent *entry; folder && !found && (entry = readdir(folder));)
        found = strncmp(entry->d_name, "renderD", 7) == 0;
    if (folder)
        closedir(folder);
    return found;
}

bool sl_vk_may_have_card_in(const char *root)
{
    // Of drivers that come without render nodes: NVIDIA's, Windows' for Linux, ARM's, Qualcomm's.
    static const char *const nodes[] = { "nvidiactl", "nvidia0", "dxg", "mali0", "kgsl-3d0" };
    for (size_t i = 0; i < SL_ARRAY_LEN(nodes); i++) {
        char path[MOST_BYTES];
        snprintf(path, sizeof(path), "%s/dev/%s", root, nodes[i]);
        if (access(path, F_OK) == 0)
            return true;
    }
    return has_render_node(root) || are_drivers_named();
}

#else

bool sl_vk_may_have_card_in(const char *root)
{
    (void)root;
    return true;
}

#endif

bool sl_vk_may_have_card(void)
{
    return sl_vk_may_have_card_in("");
}
