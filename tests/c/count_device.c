/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token that is taken out, put into another slot, or exchanged, while
 * programs run: COUNT_DEVICE names a file, which is read again at each call
 * and need not be there. Words in it:
 *
 *      removed=CKR     no slot has a token, its sessions are gone, and calls
 *                      with them say this
 *      shift=N         slots have numbers that are higher by this
 *      left=TEXT       beside shift, their former slots have tokens with this
 *                      serial number in them
 *      serial=TEXT     all tokens have this serial number; where it, or left,
 *                      is another one than before, sessions are gone
 *      full=1          no more sessions are granted
 *      starts=N        no slot has a token before this process has called
 *                      C_Initialize so often: modules may miss one that
 *                      another process writes at that moment
 *
 * Not while threads are inside the module: that loses its sessions for good.
 */
#include "tests/c/count.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOTS_MAX 64

struct device {
    CK_RV removed;
    CK_SLOT_ID shift;
    bool full;
    unsigned long starts;
    char serial[17];
    char left[17];
};

static const char *file;
static const CK_FUNCTION_LIST *module;
static CK_FUNCTION_LIST inner;
static bool is_out;
static char there[2][17];       /* the serial numbers of the last look */
static atomic_ulong starts;
static atomic_int starter;      /* the process that they are counted of */

static struct device look(void)
{
    struct device d = { CKR_OK, 0, false, 0, "", "" };
    char text[256] = "";
    char *at = NULL;
    FILE *in = file != NULL ? fopen(file, "re") : NULL;

    if (in != NULL) {
        text[fread(text, 1, sizeof(text) - 1, in)] = '\0';
        fclose(in);
    }
    if ((at = strstr(text, "removed=")) != NULL) {
        d.removed = strtoul(at + 8, NULL, 0);
    }
    if ((at = strstr(text, "shift=")) != NULL) {
        d.shift = strtoul(at + 6, NULL, 0);
    }
    if ((at = strstr(text, "starts=")) != NULL) {
        d.starts = strtoul(at + 7, NULL, 0);
    }
    if ((at = strstr(text, "serial=")) != NULL) {
        (void)sscanf(at + 7, "%16s", d.serial);
    }
    if ((at = strstr(text, "left=")) != NULL) {
        (void)sscanf(at + 5, "%16s", d.left);
    }
    d.full = strstr(text, "full=1") != NULL;
    return d;
}

static void close_sessions(void)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG n = SLOTS_MAX;

    if (module->C_GetSlotList(CK_TRUE, slots, &n) == CKR_OK) {
        for (CK_ULONG i = 0; i < n; i++) {
            module->C_CloseAllSessions(slots[i]);
        }
    }
}

/* The sessions go with the token, once. */
static void take_out(void)
{
    if (!is_out) {
        close_sessions();
    }
    is_out = true;
}

/* They go, too, where there are other tokens than there were. */
static void exchange(const struct device *d)
{
    if (strcmp(there[0], d->serial) != 0 || strcmp(there[1], d->left) != 0) {
        close_sessions();
    }
    memcpy(there[0], d->serial, sizeof(there[0]));
    memcpy(there[1], d->left, sizeof(there[1]));
}

static void count_start(void)
{
    if (atomic_exchange(&starter, (int)getpid()) != (int)getpid()) {
        starts = 0;
    }
    starts++;
}

static bool is_missed(const struct device *d)
{
    return starts < d->starts;
}

CK_RV count_device_next(enum count_index which)
{
    struct device d;

    if (which == COUNT_C_Initialize) {
        count_start();
    }
    if (file == NULL || which < COUNT_C_GetTokenInfo) {
        return CKR_OK;
    }
    d = look();
    exchange(&d);
    if (d.removed == CKR_OK) {
        is_out = false;
        return which == COUNT_C_OpenSession && d.full ? CKR_SESSION_COUNT
                                                      : CKR_OK;
    }
    take_out();
    return which <= COUNT_C_CloseAllSessions ? CKR_TOKEN_NOT_PRESENT
                                             : d.removed;
}

static CK_RV device_slots(CK_BBOOL present, CK_SLOT_ID *list, CK_ULONG *n)
{
    struct device d = look();
    CK_RV rv = CKR_OK;

    if (d.removed != CKR_OK && present) {
        take_out();
    }
    if (present && (d.removed != CKR_OK || is_missed(&d))) {
        *n = 0;
        return CKR_OK;
    }
    rv = inner.C_GetSlotList(present, list, n);
    for (CK_ULONG i = 0; rv == CKR_OK && list != NULL && i < *n; i++) {
        list[i] += d.shift;
    }
    return rv;
}

/* Where a slot's token is in truth. serial: what it is to have, or "". */
static CK_SLOT_ID truth(const struct device *d, CK_SLOT_ID slot,
                        const char **serial)
{
    CK_SLOT_INFO info;

    *serial = d->serial;
    if (d->left[0] != '\0'
        && inner.C_GetSlotInfo(slot - d->shift, &info) != CKR_OK) {
        *serial = d->left;
        return slot;
    }
    return slot - d->shift;
}

static CK_RV device_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
    return inner.C_GetSlotInfo(slot - look().shift, info);
}

static CK_RV device_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    struct device d = look();
    const char *serial = "";
    CK_SLOT_ID real = truth(&d, slot, &serial);
    CK_RV rv = is_missed(&d) ? CKR_TOKEN_NOT_PRESENT
                             : inner.C_GetTokenInfo(real, info);

    if (rv == CKR_OK && serial[0] != '\0') {
        memset(info->serialNumber, ' ', sizeof(info->serialNumber));
        memcpy(info->serialNumber, serial, strlen(serial));
    }
    return rv;
}

static CK_RV device_mechanisms(CK_SLOT_ID slot, CK_MECHANISM_TYPE *list,
                               CK_ULONG *n)
{
    struct device d = look();
    const char *serial = "";

    return inner.C_GetMechanismList(truth(&d, slot, &serial), list, n);
}

static CK_RV device_open(CK_SLOT_ID slot, CK_FLAGS flags, void *app,
                         CK_NOTIFY notify, CK_SESSION_HANDLE *s)
{
    struct device d = look();
    const char *serial = "";

    return inner.C_OpenSession(truth(&d, slot, &serial), flags, app, notify,
                               s);
}

void count_device_install(CK_FUNCTION_LIST *list, const CK_FUNCTION_LIST *real)
{
    file = count_env("COUNT_DEVICE");
    module = real;
    inner = *list;
    if (file != NULL) {
        list->C_GetSlotList = device_slots;
        list->C_GetSlotInfo = device_slot_info;
        list->C_GetTokenInfo = device_token_info;
        list->C_GetMechanismList = device_mechanisms;
        list->C_OpenSession = device_open;
    }
}
