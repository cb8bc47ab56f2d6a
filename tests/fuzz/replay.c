/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: NAME_fuzz FILE…
 * Runs the target over each file, as libFuzzer does with files it is given.
 * Prints how many there were.
 */
#include "tests/fuzz/fuzz.h"

#define INPUT_MAX ((size_t)1 << 20)

static bool replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    unsigned char *all = malloc(INPUT_MAX);
    unsigned char *exact = NULL;
    size_t len = 0;
    bool good = false;

    if (file != NULL && all != NULL) {
        len = fread(all, 1, INPUT_MAX, file);
        good = len < INPUT_MAX && !ferror(file);
        exact = good ? malloc(len + (len == 0 ? 1 : 0)) : NULL;
    }
    if (exact != NULL) {
        memcpy(exact, all, len);
        LLVMFuzzerTestOneInput(exact, len);
    } else {
        fprintf(stderr, "%s: cannot be read\n", path);
    }
    free(exact);
    free(all);
    if (file != NULL) {
        fclose(file);
    }
    return exact != NULL;
}

int main(int argc, char **argv)
{
    int n = 0;

    for (int i = 1; i < argc; i++) {
        /* Whoever dies says of what. */
        fprintf(stderr, "%s\n", argv[i]);
        if (!replay(argv[i])) {
            return 1;
        }
        n++;
    }
    printf("%d inputs\n", n);
    return 0;
}
