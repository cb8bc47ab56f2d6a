/* SPDX-License-Identifier: Apache-2.0 */
#include "src/module/token.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/log.h"
#include "src/module/quirk.h"

/* A first guess at the number of slots; asked again when there are more. */
#define SLOTS_GUESS 32
/* While processes log in to SoftHSM, it cannot read the token's file. */
#define RACE_ATTEMPTS 6

static void copy_field(char *out, const CK_UTF8CHAR *field, size_t len)
{
    while (len > 0 && (field[len - 1] == ' ' || field[len - 1] == '\0')) {
        len--;
    }
    memcpy(out, field, len);
    out[len] = '\0';
}

static void identify(const CK_TOKEN_INFO *info, struct hsm_identity *id)
{
    copy_field(id->label, info->label, sizeof(info->label));
    copy_field(id->manufacturer, info->manufacturerID,
               sizeof(info->manufacturerID));
    copy_field(id->model, info->model, sizeof(info->model));
    copy_field(id->serial, info->serialNumber, sizeof(info->serialNumber));
}

bool hsm_identity_equal(const struct hsm_identity *a,
                        const struct hsm_identity *b)
{
    return strcmp(a->serial, b->serial) == 0
        && strcmp(a->label, b->label) == 0
        && strcmp(a->model, b->model) == 0
        && strcmp(a->manufacturer, b->manufacturer) == 0;
}

static struct hsm_token *new_token(struct hsm_library *lib,
                                   const CK_TOKEN_INFO *info)
{
    struct hsm_token *tok = hsm_zalloc(sizeof(*tok));

    if (tok == NULL) {
        return NULL;
    }
    tok->lib = lib;
    identify(info, &tok->id);
    hsm_lock_init(&tok->lock);
    atomic_init(&tok->epoch, 1u);
    tok->generation = hsm_library_generation(lib);
    tok->fork_epoch = hsm_fork_epoch();
    return tok;
}

/* The entry with fresh's identity; else fresh is entered. Library locked. */
static struct hsm_token *find_or_enter(struct hsm_library *lib,
                                       struct hsm_token *fresh)
{
    struct hsm_token **at = &lib->tokens;

    while (*at != NULL && !hsm_identity_equal(&(*at)->id, &fresh->id)) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        *at = fresh;
    }
    return *at;
}

/* Enters what a scan found in a slot, or brings the entry up to date. */
static hsm_rc note(struct hsm_library *lib, unsigned int scan,
                   CK_SLOT_ID slot, const CK_TOKEN_INFO *info)
{
    struct hsm_token *fresh = new_token(lib, info);
    struct hsm_token *tok;
    bool moved;

    if (fresh == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, __func__);
    }
    hsm_lock(&lib->lock);
    tok = find_or_enter(lib, fresh);
    moved = tok != fresh && tok->slot != slot;
    if (moved && tok->scan == scan) {
        moved = false;          /* two that cannot be told apart */
    } else {
        tok->slot = slot;
        tok->info = *info;
        tok->seen = hsm_library_generation(lib);
        tok->scan = tok->scan > scan ? tok->scan : scan;
    }
    hsm_unlock(&lib->lock);
    if (tok != fresh) {
        hsm_lock_destroy(&fresh->lock);
        free(fresh);
    }
    if (moved) {
        hsm_token_void(tok);
    }
    return HSM_OK;
}

static unsigned int begin_scan(struct hsm_library *lib)
{
    unsigned int scan;

    hsm_lock(&lib->lock);
    scan = ++lib->scans;
    lib->blanks = 0;
    hsm_unlock(&lib->lock);
    return scan;
}

/* Those that neither this scan nor a later one saw are not there. Not before
 * its end: other threads use the tokens meanwhile. */
static void end_scan(struct hsm_library *lib, unsigned int scan,
                     hsm_rc failed)
{
    hsm_lock(&lib->lock);
    lib->slot_failure = failed;
    for (struct hsm_token *t = lib->tokens; t != NULL; t = t->next) {
        t->seen = t->scan >= scan ? t->seen : 0;
    }
    hsm_unlock(&lib->lock);
}

/* All slots with a token in them; *slots is to be freed. */
static hsm_rc list_slots(struct hsm_library *lib, CK_SLOT_ID **slots,
                         CK_ULONG *n)
{
    CK_ULONG room = SLOTS_GUESS;

    for (;;) {
        CK_SLOT_ID *list = calloc(room, sizeof(*list));
        CK_ULONG count = room;
        hsm_rc rc;

        if (list == NULL) {
            return hsm_fail_rv(CKR_HOST_MEMORY, "C_GetSlotList");
        }
        rc = hsm_call(lib, C_GetSlotList, (CK_TRUE, list, &count));
        if (hsm_ok(rc) && count <= room) {
            *slots = list;
            *n = count;
            return HSM_OK;
        }
        free(list);
        if (rc.rv != CKR_BUFFER_TOO_SMALL || room >= 65536) {
            return !hsm_ok(rc) ? rc
                : hsm_fail(HSM_E_BAD_DATA, "C_GetSlotList",
                           "module \"%s\" reports %lu slots, %lu were "
                           "possible", lib->name, count, room);
        }
        room *= 8;
    }
}

/* Read while it was being written: a failure, or a token without a number. */
static bool is_half_written(hsm_rc rc, const CK_TOKEN_INFO *info)
{
    return rc.rv == CKR_GENERAL_ERROR || rc.rv == CKR_FUNCTION_FAILED
        || (hsm_ok(rc) && (info->flags & CKF_TOKEN_INITIALIZED) != 0
            && (info->serialNumber[0] == ' '
                || info->serialNumber[0] == '\0'));
}

static hsm_rc read_info(struct hsm_library *lib, CK_SLOT_ID slot,
                        CK_TOKEN_INFO *info)
{
    unsigned int tries = lib->quirk->login_race ? RACE_ATTEMPTS : 1;
    hsm_rc rc = hsm_call(lib, C_GetTokenInfo, (slot, info));

    for (unsigned int i = 1; i < tries && is_half_written(rc, info); i++) {
        hsm_pause_apart(i);
        rc = hsm_call(lib, C_GetTokenInfo, (slot, info));
    }
    return rc;
}

/* *failed: why the slot's token could not be asked. */
static hsm_rc look_into(struct hsm_library *lib, unsigned int scan,
                        CK_SLOT_ID slot, hsm_rc *failed)
{
    CK_TOKEN_INFO info;
    hsm_rc rc;

    memset(&info, 0, sizeof(info));
    rc = read_info(lib, slot, &info);
    if (!hsm_ok(rc)) {
        hsm_log(HSM_LOG_INFO, "module %s: slot %lu: %s", lib->name, slot,
                hsm_ckr_row(rc.rv)->name);
        *failed = rc;
        /* Nor would the other slots answer, and each would take that long. */
        return rc.rv == HSM_E_DEAD || rc.rv == HSM_E_CALL_TIMEOUT ? rc
                                                                  : HSM_OK;
    }
    if ((info.flags & CKF_TOKEN_INITIALIZED) == 0) {
        hsm_lock(&lib->lock);
        lib->blanks++;
        hsm_unlock(&lib->lock);
        return HSM_OK;
    }
    return note(lib, scan, slot, &info);
}

/* A token was seen in it last. Library locked. */
static bool is_remembered(const struct hsm_library *lib, CK_SLOT_ID slot)
{
    const struct hsm_token *t = lib->tokens;

    while (t != NULL && t->slot != slot) {
        t = t->next;
    }
    return t != NULL;
}

/* Of two tokens that say the same of themselves the one that is in use is to
 * be found first. The others stay in their order. */
static void remembered_first(struct hsm_library *lib, CK_SLOT_ID *slots,
                             CK_ULONG n)
{
    CK_ULONG n_first = 0;

    hsm_lock(&lib->lock);
    for (CK_ULONG i = 0; i < n; i++) {
        CK_SLOT_ID slot = slots[i];

        if (is_remembered(lib, slot)) {
            memmove(slots + n_first + 1, slots + n_first,
                    (i - n_first) * sizeof(*slots));
            slots[n_first++] = slot;
        }
    }
    hsm_unlock(&lib->lock);
}

hsm_rc hsm_token_scan(struct hsm_library *lib)
{
    CK_SLOT_ID *slots = NULL;
    CK_ULONG n = 0;
    unsigned int scan = begin_scan(lib);
    hsm_rc failed = HSM_OK;
    hsm_rc rc = HSM_OK;

    TRY(list_slots(lib, &slots, &n));
    remembered_first(lib, slots, n);
    for (CK_ULONG i = 0; i < n && hsm_ok(rc); i++) {
        rc = look_into(lib, scan, slots[i], &failed);
    }
    if (hsm_ok(rc)) {
        end_scan(lib, scan, failed);
    }
    free(slots);
    return rc;
}

bool hsm_token_saw_blank(struct hsm_library *lib)
{
    bool saw;

    hsm_lock(&lib->lock);
    saw = lib->blanks > 0;
    hsm_unlock(&lib->lock);
    return saw;
}

hsm_rc hsm_token_scan_failure(struct hsm_library *lib)
{
    hsm_rc failed;

    hsm_lock(&lib->lock);
    failed = lib->slot_failure;
    hsm_unlock(&lib->lock);
    return failed;
}

struct hsm_token *hsm_token_first(struct hsm_library *lib)
{
    struct hsm_token *tok;

    hsm_lock(&lib->lock);
    tok = lib->tokens;
    hsm_unlock(&lib->lock);
    return tok;
}

struct hsm_token *hsm_token_next(struct hsm_token *tok)
{
    struct hsm_token *next;

    hsm_lock(&tok->lib->lock);
    next = tok->next;
    hsm_unlock(&tok->lib->lock);
    return next;
}

/* Whose last user is just going finds it when it takes the lock. */
void hsm_token_keep_pin(struct hsm_token *tok, struct hsm_secret *pin)
{
    struct hsm_secret *old = pin;

    hsm_secret_keep(pin);
    hsm_lock(&tok->lock);
    if (atomic_load(&tok->lib->users) > 0) {
        old = tok->login.pin;
        tok->login.pin = pin;
        tok->login.pin_life = atomic_load(&tok->lib->lives);
    }
    hsm_unlock(&tok->lock);
    hsm_secret_free(old);
}

void hsm_token_forget_pin(struct hsm_token *tok, unsigned int life)
{
    struct hsm_secret *old = NULL;

    hsm_lock(&tok->lock);
    if (life == tok->login.pin_life) {
        old = tok->login.pin;
        tok->login.pin = NULL;
    }
    hsm_unlock(&tok->lock);
    hsm_secret_free(old);       /* which takes a lock of its own */
}

/* Behind a module that only passes calls on, the token says who it is. */
static bool is_softhsm(const struct hsm_token *tok)
{
    return strncmp(tok->id.manufacturer, "SoftHSM", 7) == 0;
}

bool hsm_token_has_login_race(const struct hsm_token *tok)
{
    const struct hsm_quirk *quirk = tok->lib->quirk;

    return quirk->login_race && (!quirk->remote || is_softhsm(tok));
}

void hsm_token_reissued(struct hsm_token *tok)
{
    (void)atomic_fetch_add(&tok->reissued, 1u);
}

void hsm_token_gave_handles(struct hsm_token *tok)
{
    const struct hsm_quirk *quirk = tok->lib->quirk;

    if (quirk->reuses_handles && (!quirk->remote || !is_softhsm(tok))) {
        hsm_token_reissued(tok);
    }
}

bool hsm_token_is_present(struct hsm_token *tok)
{
    bool present;

    hsm_lock(&tok->lib->lock);
    present = tok->seen != 0
        && tok->seen == hsm_library_generation(tok->lib);
    hsm_unlock(&tok->lib->lock);
    return present;
}

CK_SLOT_ID hsm_token_slot(struct hsm_token *tok)
{
    CK_SLOT_ID slot;

    hsm_lock(&tok->lib->lock);
    slot = tok->slot;
    hsm_unlock(&tok->lib->lock);
    return slot;
}

void hsm_token_info(struct hsm_token *tok, CK_TOKEN_INFO *out)
{
    hsm_lock(&tok->lib->lock);
    *out = tok->info;
    hsm_unlock(&tok->lib->lock);
}

hsm_rc hsm_token_refresh_in(struct hsm_token *tok, CK_SLOT_ID slot)
{
    struct hsm_identity id;
    CK_TOKEN_INFO info;

    memset(&info, 0, sizeof(info));
    TRY(read_info(tok->lib, slot, &info));
    identify(&info, &id);
    if (!hsm_identity_equal(&id, &tok->id)) {
        return hsm_fail(HSM_E_NO_TOKEN, "C_GetTokenInfo",
                        "its slot now holds token \"%s\" (serial %s)",
                        id.label, id.serial);
    }
    hsm_lock(&tok->lib->lock);
    tok->info = info;
    tok->seen = hsm_library_generation(tok->lib);
    hsm_unlock(&tok->lib->lock);
    return HSM_OK;
}

hsm_rc hsm_token_refresh(struct hsm_token *tok)
{
    return hsm_token_refresh_in(tok, hsm_token_slot(tok));
}

bool hsm_token_is_gone(struct hsm_token *tok)
{
    bool gone;

    hsm_lock(&tok->lib->lock);
    gone = tok->seen == 0;
    hsm_unlock(&tok->lib->lock);
    return gone;
}

void hsm_token_miss(struct hsm_token *tok, CK_SLOT_ID slot,
                    unsigned int epoch)
{
    hsm_lock(&tok->lib->lock);
    /* Else somebody has found it elsewhere by now. */
    tok->seen = tok->slot == slot ? 0 : tok->seen;
    hsm_unlock(&tok->lib->lock);
    hsm_lock(&tok->lock);
    if (hsm_token_epoch(tok) == epoch) {
        hsm_token_void_locked(tok);
    }
    hsm_unlock(&tok->lock);
}

hsm_rc hsm_token_confirm(struct hsm_token *tok)
{
    hsm_rc rc = hsm_token_refresh(tok);

    if (hsm_ok(rc) || rc.rv == HSM_E_DEAD || rc.rv == HSM_E_REENTERED
        || rc.rv == HSM_E_CALL_TIMEOUT) {
        return rc;
    }
    TRY(hsm_token_scan(tok->lib));
    if (!hsm_token_is_present(tok)) {
        return hsm_fail(HSM_E_NO_TOKEN, "C_GetSlotList",
                        "token \"%s\" (serial %s) is in no slot of module %s",
                        tok->id.label, tok->id.serial, tok->lib->name);
    }
    return HSM_OK;
}

unsigned int hsm_token_epoch(struct hsm_token *tok)
{
    return atomic_load_explicit(&tok->epoch, memory_order_acquire);
}

void hsm_token_void(struct hsm_token *tok)
{
    hsm_lock(&tok->lock);
    hsm_token_void_locked(tok);
    hsm_unlock(&tok->lock);
}

void hsm_token_void_locked(struct hsm_token *tok)
{
    (void)atomic_fetch_add(&tok->epoch, 1u);
    tok->pool.open = 0;
    tok->pool.n_parked = 0;
    tok->pool.keys = 0;
    tok->pool.limit = 0;
    tok->pool.shrunk_until = 0;
    tok->pool.turns = NULL;     /* who is still there queues up again */
    tok->login.logged_in = false;
    hsm_wake(&tok->lock);
}

static int compare_types(const void *a, const void *b)
{
    CK_MECHANISM_TYPE x = *(const CK_MECHANISM_TYPE *)a;
    CK_MECHANISM_TYPE y = *(const CK_MECHANISM_TYPE *)b;

    return (x > y) - (x < y);
}

static hsm_rc read_mechanisms(struct hsm_token *tok, CK_MECHANISM_TYPE **list,
                              CK_ULONG *n)
{
    CK_SLOT_ID slot = hsm_token_slot(tok);
    CK_ULONG room = 0;
    hsm_rc rc;

    TRY(hsm_call(tok->lib, C_GetMechanismList, (slot, NULL, &room)));
    if (room > 65536) {
        return hsm_fail(HSM_E_BAD_DATA, "C_GetMechanismList",
                        "the token reports %lu mechanisms", room);
    }
    *n = room;
    *list = calloc(room + 1, sizeof(**list));
    if (*list == NULL) {
        return hsm_fail_rv(CKR_HOST_MEMORY, "C_GetMechanismList");
    }
    rc = hsm_call(tok->lib, C_GetMechanismList, (slot, *list, n));
    if (hsm_ok(rc) && *n > room) {
        rc = hsm_fail(HSM_E_BAD_DATA, "C_GetMechanismList",
                      "the token reports %lu mechanisms, %lu were possible",
                      *n, room);
    }
    if (!hsm_ok(rc)) {
        free(*list);
        *list = NULL;
        return rc;
    }
    qsort(*list, *n, sizeof(**list), compare_types);
    return HSM_OK;
}

bool hsm_token_is_listed(struct hsm_token *tok)
{
    bool listed;

    hsm_lock(&tok->lock);
    listed = tok->mechanisms != NULL;
    hsm_unlock(&tok->lock);
    return listed;
}

hsm_rc hsm_token_offers(struct hsm_token *tok, CK_MECHANISM_TYPE type,
                        bool *offers)
{
    CK_MECHANISM_TYPE *list = NULL;
    CK_ULONG n = 0;

    if (!hsm_token_is_listed(tok)) {
        TRY(read_mechanisms(tok, &list, &n));
    }
    hsm_lock(&tok->lock);
    if (tok->mechanisms == NULL) {
        tok->mechanisms = list;
        tok->n_mechanisms = n;
        list = NULL;
    }
    *offers = tok->mechanisms != NULL
        && bsearch(&type, tok->mechanisms, tok->n_mechanisms, sizeof(type),
                   compare_types) != NULL;
    hsm_unlock(&tok->lock);
    free(list);
    return HSM_OK;
}
