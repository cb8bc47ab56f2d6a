/* SPDX-License-Identifier: Apache-2.0 */
#include "src/base/names.h"

#include <string.h>

static int lower(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static bool same(const char *a, const char *b, size_t len)
{
    size_t i = 0;

    while (i < len && lower(a[i]) == lower(b[i])) {
        i++;
    }
    return i == len;
}

bool hsm_names_have(const char *list, const char *name, size_t len)
{
    while (len > 0) {
        size_t n = strcspn(list, ":");

        if (n == len && same(list, name, len)) {
            return true;
        }
        if (list[n] == '\0') {
            break;
        }
        list += n + 1;
    }
    return false;
}
