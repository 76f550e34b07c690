// SPDX-License-Identifier: MIT
// image/tiff_library.c: libtiff, looked for once.
#include "image/tiff_reader.h"

#include <dlfcn.h>
#include <pthread.h>

static sl_tiff_library lib;
static bool is_there;
static char why_not[160];

static void find_library(void)
{
    void *library = dlopen("libtiff.so.6", RTLD_NOW | RTLD_LOCAL);
    is_there = library != NULL;
#define FIND(name)                                                                                 \
    is_there =                                                                                     \
        is_there && (lib.name = (__typeof__(&TIFF##name))dlsym(library, "TIFF" #name)) != NULL;
    SL_TIFF_FUNCTIONS(FIND)
    if (!is_there)
        snprintf(why_not, sizeof(why_not), "%s", dlerror());
}

const sl_tiff_library *sl_tiff_find_library(const char **why)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_library);
    *why = why_not;
    return is_there ? &lib : NULL;
}
