/* SPDX-License-Identifier: Apache-2.0 */
#include "src/object/find.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/gate.h"

#define BATCH 64
/* No token has so many: a search without end ends here. */
#define OBJECTS_MAX ((size_t)1 << 20)

static hsm_rc append(struct hsm_handles *hs, const CK_OBJECT_HANDLE *h,
                     size_t n)
{
    CK_OBJECT_HANDLE *more;

    if (n == 0) {
        return HSM_OK;
    }
    if (n > SIZE_MAX / sizeof(*more) - hs->n) {
        return hsm_fail_rv(CKR_HOST_MEMORY, "hsm_find");
    }
    more = realloc(hs->h, (hs->n + n) * sizeof(*more));
    if (more == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, "hsm_find");
    }
    memcpy(more + hs->n, h, n * sizeof(*more));
    hs->h = more;
    hs->n += n;
    return HSM_OK;
}

/* One C_FindObjects. end: the module has no more, or the limit is reached. */
static hsm_rc next_batch(struct hsm_session *s, size_t limit,
                         struct hsm_handles *hs, bool *end)
{
    CK_OBJECT_HANDLE batch[BATCH] = { 0 };
    CK_ULONG want = BATCH;
    CK_ULONG got = 0;

    if (limit != 0 && limit - hs->n < want) {
        want = (CK_ULONG)(limit - hs->n);
    }
    TRY(hsm_session_call(s, C_FindObjects, (s->h, batch, want, &got)));
    if (got > want) {
        return hsm_fail(HSM_E_BAD_DATA, "C_FindObjects",
                        "the module returned %lu objects where %lu were "
                        "asked for", got, want);
    }
    /* Some never get on, and give the same ones again and again. */
    if (hs->n >= OBJECTS_MAX
        || (got == BATCH && hs->n >= BATCH
            && memcmp(hs->h + hs->n - BATCH, batch, sizeof(batch)) == 0)) {
        return hsm_fail(HSM_E_BAD_DATA, "C_FindObjects",
                        "the module's search does not end (%zu objects)",
                        hs->n);
    }
    TRY(append(hs, batch, got));
    *end = got < want || (limit != 0 && hs->n >= limit);
    return HSM_OK;
}

/* What was found stays good when only the end of the search fails; what has
 * failed keeps its words. */
static void end_search(struct hsm_session *s)
{
    struct hsm_words words;

    hsm_words_keep(&words);
    if (!hsm_ok(hsm_session_call(s, C_FindObjectsFinal, (s->h)))) {
        s->dirty = true;
    }
    hsm_words_put_back(&words);
}

hsm_rc hsm_find(struct hsm_session *s, struct hsm_attrs *tmpl, size_t limit,
                struct hsm_handles *out)
{
    hsm_auto(hsm_handles) found = HSM_HANDLES_INIT;
    bool end = false;
    hsm_rc rc = hsm_session_call(s, C_FindObjectsInit,
                         (s->h, tmpl->a, tmpl->n));

    if (!hsm_ok(rc)) {
        /* Some operation, or a search of before, is still under way in it. */
        s->dirty = s->dirty || rc.rv == CKR_OPERATION_ACTIVE;
        return rc;
    }
    while (hsm_ok(rc) && !end) {
        rc = next_batch(s, limit, &found, &end);
    }
    if (!hsm_ok(rc)) {
        s->dirty = true;
    }
    end_search(s);
    hsm_token_gave_handles(s->tok);
    if (hsm_ok(rc)) {
        *out = found;
        found = (struct hsm_handles)HSM_HANDLES_INIT;
    }
    return rc;
}

void hsm_handles_clear(struct hsm_handles *hs)
{
    free(hs->h);
    hs->h = NULL;
    hs->n = 0;
}

struct place {
    CK_OBJECT_HANDLE h;
    size_t at;
};

static int by_handle(const void *a, const void *b)
{
    const struct place *x = a;
    const struct place *y = b;

    if (x->h != y->h) {
        return x->h < y->h ? -1 : 1;
    }
    return x->at < y->at ? -1 : 1;
}

static int by_place(const void *a, const void *b)
{
    const struct place *x = a;
    const struct place *y = b;

    return x->at < y->at ? -1 : 1;
}

hsm_rc hsm_handles_unique(struct hsm_handles *hs)
{
    struct place *sorted = calloc(hs->n + 1, sizeof(*sorted));
    size_t n = 0;

    if (sorted == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, "hsm_find");
    }
    for (size_t i = 0; i < hs->n; i++) {
        sorted[i] = (struct place){ hs->h[i], i };
    }
    qsort(sorted, hs->n, sizeof(*sorted), by_handle);
    for (size_t i = 0; i < hs->n; i++) {
        if (i == 0 || sorted[i].h != sorted[i - 1].h) {
            sorted[n++] = sorted[i];
        }
    }
    qsort(sorted, n, sizeof(*sorted), by_place);
    for (size_t i = 0; i < n; i++) {
        hs->h[i] = sorted[i].h;
    }
    hs->n = n;
    free(sorted);
    return HSM_OK;
}
