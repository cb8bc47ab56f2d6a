/* SPDX-License-Identifier: Apache-2.0 */
#include "src/base/job.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Memory of the job's own, aligned for anything. */
struct hsm_job_block {
    struct hsm_job_block *next;
    size_t size;
    unsigned char data[] __attribute__((aligned(16)));
};

/* What goes back to the caller. */
struct hsm_job_back {
    struct hsm_job_back *next;
    void *theirs;
    const void *ours;
    size_t room;                /* bytes */
    const CK_ULONG *n;          /* so many units of it; NULL: all */
    size_t unit;
};

struct room {
    size_t units;
    size_t unit;                /* bytes */
};

/*
 * Where parameters of mechanisms point to more: by their size, and the type
 * where two have the same. Offsets of the pointer and of its length.
 */
static const struct inner {
    CK_MECHANISM_TYPE type;
    size_t size;
    size_t p[2], len[2];        /* p[k] 0: there is no such */
} inners[] = {
    { CKM_RSA_PKCS_OAEP, sizeof(CK_RSA_PKCS_OAEP_PARAMS),
      { offsetof(CK_RSA_PKCS_OAEP_PARAMS, pSourceData) },
      { offsetof(CK_RSA_PKCS_OAEP_PARAMS, ulSourceDataLen) } },
    { CKM_ECDH1_DERIVE, sizeof(CK_ECDH1_DERIVE_PARAMS),
      { offsetof(CK_ECDH1_DERIVE_PARAMS, pSharedData),
        offsetof(CK_ECDH1_DERIVE_PARAMS, pPublicData) },
      { offsetof(CK_ECDH1_DERIVE_PARAMS, ulSharedDataLen),
        offsetof(CK_ECDH1_DERIVE_PARAMS, ulPublicDataLen) } },
    { CKM_ECDH1_COFACTOR_DERIVE, sizeof(CK_ECDH1_DERIVE_PARAMS),
      { offsetof(CK_ECDH1_DERIVE_PARAMS, pSharedData),
        offsetof(CK_ECDH1_DERIVE_PARAMS, pPublicData) },
      { offsetof(CK_ECDH1_DERIVE_PARAMS, ulSharedDataLen),
        offsetof(CK_ECDH1_DERIVE_PARAMS, ulPublicDataLen) } },
    { CKM_AES_GCM, sizeof(CK_GCM_PARAMS),
      { offsetof(CK_GCM_PARAMS, pIv), offsetof(CK_GCM_PARAMS, pAAD) },
      { offsetof(CK_GCM_PARAMS, ulIvLen),
        offsetof(CK_GCM_PARAMS, ulAADLen) } },
};

struct hsm_job *hsm_job_new(const struct hsm_job_row *row,
                            const struct hsm_gate_use *use)
{
    struct hsm_job *j = hsm_zalloc(sizeof(*j));

    if (j != NULL) {
        j->row = row;
        j->real = use->real;
        j->generation = use->generation;
        j->made_in = atomic_load(use->generation);
        j->rv = CKR_OK;
    }
    return j;
}

void hsm_job_free(struct hsm_job *j)
{
    if (j == NULL) {
        return;
    }
    hsm_secret_free(j->secret);
    while (j->backs != NULL) {
        struct hsm_job_back *next = j->backs->next;

        free(j->backs);
        j->backs = next;
    }
    while (j->blocks != NULL) {
        struct hsm_job_block *next = j->blocks->next;

        hsm_wipe(j->blocks->data, j->blocks->size);
        free(j->blocks);
        j->blocks = next;
    }
    free(j);
}

/* Modules read on behind what they were given: p11-kit's client one mechanism
 * behind the list of them. */
#define SLACK 16

/* NULL, and the job has failed, when there is no memory. */
static void *own(struct hsm_job *j, size_t size)
{
    struct hsm_job_block *b = size <= SIZE_MAX / 2
        ? hsm_zalloc(sizeof(*b) + size + SLACK) : NULL;

    if (b == NULL) {
        j->rv = CKR_HOST_MEMORY;
        return NULL;
    }
    b->size = size;
    b->next = j->blocks;
    j->blocks = b;
    return b->data;
}

static void *own_copy(struct hsm_job *j, const void *p, size_t size)
{
    void *copy = p != NULL ? own(j, size) : NULL;

    if (copy != NULL && size > 0) {
        memcpy(copy, p, size);
    }
    return copy;
}

static struct hsm_job_back *new_back(struct hsm_job *j, void *theirs,
                                     const void *ours)
{
    struct hsm_job_back *back = NULL;

    if (theirs == NULL || ours == NULL) {
        return NULL;
    }
    back = hsm_zalloc(sizeof(*back));
    if (back == NULL) {
        j->rv = CKR_HOST_MEMORY;
        return NULL;
    }
    back->theirs = theirs;
    back->ours = ours;
    back->next = j->backs;
    j->backs = back;
    return back;
}

/* All of it. */
static void bring_back(struct hsm_job *j, void *theirs, const void *ours,
                       size_t size)
{
    struct hsm_job_back *back = new_back(j, theirs, ours);

    if (back != NULL) {
        back->room = size;
    }
}

/* As many units as *n says when the call is over, where there is room. */
static void bring_counted(struct hsm_job *j, void *theirs, const void *ours,
                          const CK_ULONG *n, struct room room)
{
    struct hsm_job_back *back = new_back(j, theirs, ours);

    if (back != NULL) {
        back->room = room.units * room.unit;
        back->unit = room.unit;
        back->n = n;
    }
}

void hsm_job_value(struct hsm_job *j, size_t i, CK_ULONG value)
{
    j->a[i].u = value;
}

void hsm_job_in(struct hsm_job *j, size_t i, const void *p, size_t size)
{
    j->a[i].p = own_copy(j, p, size);
}

void hsm_job_pin(struct hsm_job *j, size_t i, const void *p, size_t len)
{
    j->a[i].p = NULL;
    if (p != NULL) {
        j->secret = hsm_secret_new(p, len);
        hsm_secret_lend(j->secret);
        j->rv = j->secret != NULL ? j->rv : CKR_HOST_MEMORY;
        j->a[i].p = j->secret != NULL ? j->secret->text : NULL;
    }
}

void hsm_job_result(struct hsm_job *j, size_t i, void *p, size_t size)
{
    j->a[i].p = own_copy(j, p, size);
    bring_back(j, p, j->a[i].p, size);
}

void hsm_job_out(struct hsm_job *j, size_t i, void *p, CK_ULONG *len,
                 size_t unit)
{
    size_t room = len != NULL && p != NULL ? *len : 0;

    hsm_job_result(j, i + 1, len, sizeof(*len));
    if (room > SIZE_MAX / unit) {
        j->rv = CKR_HOST_MEMORY;
        return;
    }
    j->a[i].p = p != NULL ? own(j, room * unit) : NULL;
    bring_counted(j, p, j->a[i].p, j->a[i + 1].p,
                  (struct room){ room, unit });
}

/* Parameters are plain bytes here: fields are moved in and out of them. */
static void own_inner(struct hsm_job *j, unsigned char *params, size_t p_at,
                      size_t len_at)
{
    void *p = NULL;
    CK_ULONG len = 0;

    memcpy(&p, params + p_at, sizeof(p));
    memcpy(&len, params + len_at, sizeof(len));
    p = own_copy(j, p, len);
    memcpy(params + p_at, &p, sizeof(p));
}

void hsm_job_mechanism(struct hsm_job *j, size_t i, const CK_MECHANISM *m)
{
    CK_MECHANISM *copy = own_copy(j, m, sizeof(*m));

    j->a[i].p = copy;
    if (copy == NULL) {
        return;
    }
    copy->pParameter = own_copy(j, m->pParameter, m->ulParameterLen);
    for (size_t k = 0; k < sizeof(inners) / sizeof(inners[0]); k++) {
        const struct inner *in = &inners[k];

        if (copy->pParameter == NULL || m->mechanism != in->type
            || m->ulParameterLen != in->size) {
            continue;
        }
        for (size_t n = 0; n < 2 && in->p[n] != 0; n++) {
            own_inner(j, copy->pParameter, in->p[n], in->len[n]);
        }
    }
}

static CK_ATTRIBUTE *own_attributes(struct hsm_job *j, size_t i,
                                    const CK_ATTRIBUTE *as, CK_ULONG n)
{
    CK_ATTRIBUTE *copy = n <= SIZE_MAX / sizeof(*as)
        ? own_copy(j, as, n * sizeof(*as)) : NULL;

    j->a[i].p = copy;
    j->a[i + 1].u = n;
    return copy;
}

void hsm_job_template(struct hsm_job *j, size_t i, const CK_ATTRIBUTE *as,
                      CK_ULONG n)
{
    CK_ATTRIBUTE *copy = own_attributes(j, i, as, n);

    for (CK_ULONG k = 0; copy != NULL && k < n; k++) {
        copy[k].pValue = own_copy(j, as[k].pValue, as[k].ulValueLen);
    }
}

void hsm_job_attributes(struct hsm_job *j, size_t i, CK_ATTRIBUTE *as,
                        CK_ULONG n)
{
    CK_ATTRIBUTE *copy = own_attributes(j, i, as, n);

    for (CK_ULONG k = 0; copy != NULL && k < n; k++) {
        size_t room = as[k].pValue != NULL ? as[k].ulValueLen : 0;

        copy[k].pValue = as[k].pValue != NULL ? own(j, room) : NULL;
        bring_back(j, &as[k].ulValueLen, &copy[k].ulValueLen,
                   sizeof(copy[k].ulValueLen));
        bring_counted(j, as[k].pValue, copy[k].pValue, &copy[k].ulValueLen,
                      (struct room){ room, 1 });
    }
}

void hsm_job_deliver(const struct hsm_job *j)
{
    for (const struct hsm_job_back *b = j->backs; b != NULL; b = b->next) {
        size_t size = b->room;

        if (b->n != NULL && *b->n < b->room / b->unit) {
            size = *b->n * b->unit;
        }
        if (size > 0) {
            memcpy(b->theirs, b->ours, size);
        }
    }
}
