/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Results that the module did not give:
 *      COUNT_FLAGS         CKF_ bits that every token shows besides its own
 *      COUNT_FLAGS_OFF     and those that none shows
 *      COUNT_KEYPAD_PIN    C_Login without a PIN sends this one, as if it had
 *                          been typed at the device; one with a PIN fails
 *      COUNT_SESSIONS      so many sessions can be open; tokens tell it
 *      COUNT_ONE_OPENING   not empty: abort() where two threads open sessions
 *                          at once, which some modules do not survive
 *      COUNT_MANUFACTURER  of the library: by it quirks are known
 *      COUNT_MECHANISMS    CKM CKM …: what tokens offer ("": nothing); others
 *                          C_SignInit does not take either
 *      COUNT_INIT_ARGS     goes to C_Initialize where the caller has no text
 *      COUNT_LACKS         NAME NAME …: functions that are NULL in the list
 *      COUNT_REFUSE        CKA CKA …: attributes that no template for a new key
 *                          may have: CKR_ATTRIBUTE_TYPE_INVALID
 *      COUNT_LIE           WHAT=HOW WHAT=HOW …
 *
 * WHAT is an attribute, CKA or CKA@CKO (of objects of that class), and HOW
 *      none    CK_UNAVAILABLE_INFORMATION and CKR_ATTRIBUTE_TYPE_INVALID
 *      empty   no bytes            short   half of them
 *      over    one byte more than there is room for, and CKR_OK
 *      huge    2^62 bytes, and CKR_OK
 *      small   CKR_BUFFER_TOO_SMALL, whatever the room
 *      xHEX    these bytes
 * or it is a function that has a row in function_lies, with these HOW:
 *      more    more results than there is room for, and CKR_OK
 *      endless full rooms of results, without end
 *      twice   the first result once more
 *      null    handles that are 0, a list of functions that is NULL
 *      empty   a result of no bytes
 *      short   one byte less           over    one more than there is room
 */
#include "tests/c/count.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIES_MAX 8
#define BYTES_MAX 512
#define MECHANISMS_MAX 64
#define ANY_CLASS ((CK_ULONG)-1)

enum how { TRUTH, NONE, EMPTY, SHORT, OVER, HUGE_, SMALL, BYTES, MORE, ENDLESS,
           TWICE, ZERO };

static const struct {
    const char *name;
    enum how how;
} hows[] = {
    { "none", NONE }, { "empty", EMPTY }, { "short", SHORT },
    { "over", OVER }, { "huge", HUGE_ }, { "small", SMALL },
    { "x", BYTES }, { "more", MORE }, { "endless", ENDLESS },
    { "twice", TWICE }, { "null", ZERO },
};

struct lie {
    size_t function;            /* COUNT_N: an attribute */
    CK_ATTRIBUTE_TYPE type;
    CK_ULONG cls;
    enum how how;
    CK_BYTE bytes[BYTES_MAX];
    CK_ULONG len;
};

static CK_FUNCTION_LIST inner;
static const CK_FUNCTION_LIST *module;
static struct lie lies[LIES_MAX];
static size_t n_lies;
static CK_FLAGS flags_on;
static CK_FLAGS flags_off;
static const char *keypad_pin;
static const char *manufacturer;
static unsigned long sessions_max;
static atomic_ulong n_sessions;
static atomic_ulong n_opening;
static CK_MECHANISM_TYPE mechanisms[MECHANISMS_MAX];
static CK_ULONG n_mechanisms;
static bool has_mechanisms;
static char *init_args;

/* ---- what is asked for ---- */

static const char *read_hex(const char *text, struct lie *l)
{
    while (l->len < BYTES_MAX && isxdigit((unsigned char)text[0])
           && isxdigit((unsigned char)text[1])) {
        char byte[] = { text[0], text[1], '\0' };

        l->bytes[l->len++] = (CK_BYTE)strtoul(byte, NULL, 16);
        text += 2;
    }
    return text;
}

static const char *read_how(const char *text, struct lie *l)
{
    for (size_t i = 0; i < sizeof(hows) / sizeof(hows[0]); i++) {
        size_t len = strlen(hows[i].name);

        if (strncmp(text, hows[i].name, len) == 0) {
            l->how = hows[i].how;
            return l->how == BYTES ? read_hex(text + len, l) : text + len;
        }
    }
    count_refuse("COUNT_LIE", text);
}

static const char *read_lie(const char *text, struct lie *l)
{
    size_t len = strcspn(text, "=");
    char *end = NULL;

    l->cls = ANY_CLASS;
    l->function = count_index_of(text, len);
    if (l->function == COUNT_N) {
        l->type = strtoul(text, &end, 0);
        l->cls = *end == '@' ? strtoul(end + 1, &end, 0) : l->cls;
        len = (size_t)(end - text);
    }
    if (text[len] != '=') {
        count_refuse("COUNT_LIE", text);
    }
    text = read_how(text + len + 1, l);
    if (*text != ' ' && *text != '\0') {
        count_refuse("COUNT_LIE", text);
    }
    return text + strspn(text, " ");
}

static unsigned long number_of(const char *variable)
{
    const char *text = count_env(variable);

    return text != NULL ? strtoul(text, NULL, 0) : 0;
}

void count_lie_read(void)
{
    const char *text = count_env("COUNT_LIE");
    const char *list = count_env("COUNT_MECHANISMS");

    flags_on = number_of("COUNT_FLAGS");
    flags_off = number_of("COUNT_FLAGS_OFF");
    sessions_max = number_of("COUNT_SESSIONS");
    keypad_pin = count_env("COUNT_KEYPAD_PIN");
    manufacturer = count_env("COUNT_MANUFACTURER");
    init_args = count_env("COUNT_INIT_ARGS");
    has_mechanisms = list != NULL;
    while (list != NULL && *list != '\0' && n_mechanisms < MECHANISMS_MAX) {
        char *end = NULL;

        mechanisms[n_mechanisms++] = strtoul(list, &end, 0);
        list = end + strspn(end, " ");
    }
    while (text != NULL && *text != '\0') {
        if (n_lies == LIES_MAX) {
            count_refuse("COUNT_LIE", text);
        }
        text = read_lie(text, &lies[n_lies++]);
    }
}

static enum how how_of(enum count_index function)
{
    for (size_t i = 0; i < n_lies; i++) {
        if (lies[i].function == function) {
            return lies[i].how;
        }
    }
    return TRUTH;
}

bool count_lie_tells_null(enum count_index function)
{
    return how_of(function) == ZERO;
}

/* ---- library and token ---- */

static CK_RV lie_initialize(void *given)
{
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };

    if (init_args == NULL) {
        return inner.C_Initialize(given);
    }
    if (given != NULL) {
        memcpy(&args, given, sizeof(args));
    }
    if (args.pReserved == NULL) {
        args.pReserved = (void *)init_args;
    }
    return inner.C_Initialize(&args);
}

static CK_RV lie_info(CK_INFO *info)
{
    CK_RV rv = inner.C_GetInfo(info);

    if (rv == CKR_OK && manufacturer != NULL) {
        memset(info->manufacturerID, ' ', sizeof(info->manufacturerID));
        memcpy(info->manufacturerID, manufacturer,
               strnlen(manufacturer, sizeof(info->manufacturerID)));
    }
    return rv;
}

static CK_RV lie_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    CK_RV rv = inner.C_GetTokenInfo(slot, info);

    if (rv == CKR_OK) {
        info->flags = (info->flags | flags_on) & ~flags_off;
        if (sessions_max > 0) {
            info->ulMaxSessionCount = sessions_max;
        }
    }
    return rv;
}

static CK_RV lie_slots(CK_BBOOL present, CK_SLOT_ID *list, CK_ULONG *n)
{
    CK_ULONG room = *n;
    CK_RV rv = inner.C_GetSlotList(present, list, n);

    if (rv == CKR_OK && list != NULL && how_of(COUNT_C_GetSlotList) == MORE) {
        *n = room + 1;
    }
    return rv;
}

static CK_RV lie_mechanisms(CK_SLOT_ID slot, CK_MECHANISM_TYPE *list,
                            CK_ULONG *n)
{
    CK_ULONG room = *n;
    CK_RV rv = CKR_OK;

    if (!has_mechanisms) {
        rv = inner.C_GetMechanismList(slot, list, n);
    } else {
        *n = n_mechanisms;
        rv = list != NULL && room < n_mechanisms ? CKR_BUFFER_TOO_SMALL : rv;
        if (list != NULL && rv == CKR_OK) {
            memcpy(list, mechanisms, n_mechanisms * sizeof(*list));
        }
    }
    if (rv == CKR_OK && how_of(COUNT_C_GetMechanismList) == HUGE_) {
        *n = (CK_ULONG)1 << 62;
    }
    if (rv == CKR_OK && how_of(COUNT_C_GetMechanismList) == MORE
        && list != NULL) {
        *n = room + 1;
    }
    return rv;
}

static bool has_mechanism(CK_MECHANISM_TYPE type)
{
    for (CK_ULONG i = 0; i < n_mechanisms; i++) {
        if (mechanisms[i] == type) {
            return true;
        }
    }
    return !has_mechanisms;
}

/* One that is not there reaches the module as one that nobody has, so that
 * the call is counted and the session is as after any refusal. */
static CK_RV lie_sign_init(CK_SESSION_HANDLE s, CK_MECHANISM *m,
                           CK_OBJECT_HANDLE key)
{
    CK_MECHANISM nobodys = { (CK_ULONG)-1, NULL, 0 };
    bool has = m == NULL || has_mechanism(m->mechanism);

    return inner.C_SignInit(s, has ? m : &nobodys, key);
}

/* ---- sessions ---- */

static void check_opening(unsigned long others)
{
    const char *one = count_env("COUNT_ONE_OPENING");

    if (one != NULL && *one != '\0' && others > 0) {
        fprintf(stderr, "count-pkcs11: C_OpenSession by two at once\n");
        count_abort();
    }
}

static CK_RV lie_open(CK_SLOT_ID slot, CK_FLAGS flags, void *app,
                      CK_NOTIFY notify, CK_SESSION_HANDLE *s)
{
    CK_RV rv = CKR_SESSION_COUNT;

    check_opening(atomic_fetch_add(&n_opening, 1));
    if (sessions_max == 0
        || atomic_fetch_add(&n_sessions, 1) < sessions_max) {
        rv = inner.C_OpenSession(slot, flags, app, notify, s);
    }
    atomic_fetch_sub(&n_opening, 1);
    if (rv != CKR_OK && sessions_max > 0) {
        atomic_fetch_sub(&n_sessions, 1);
    }
    if (rv == CKR_OK && how_of(COUNT_C_OpenSession) == ZERO) {
        *s = 0;
    }
    return rv;
}

static CK_RV lie_finalize(void *reserved)
{
    CK_RV rv = inner.C_Finalize(reserved);

    if (rv == CKR_OK) {
        atomic_store(&n_sessions, 0);
    }
    return rv;
}

static CK_RV lie_close(CK_SESSION_HANDLE s)
{
    CK_RV rv = inner.C_CloseSession(s);

    if (rv == CKR_OK && sessions_max > 0) {
        atomic_fetch_sub(&n_sessions, 1);
    }
    return rv;
}

static CK_RV lie_login(CK_SESSION_HANDLE s, CK_USER_TYPE user, CK_BYTE *pin,
                       CK_ULONG len)
{
    CK_BYTE typed[64];
    size_t n;

    if (keypad_pin == NULL) {
        return inner.C_Login(s, user, pin, len);
    }
    n = strlen(keypad_pin);
    if (pin != NULL || n > sizeof(typed)) {
        return inner.C_Login(s, user, NULL, 1);
    }
    memcpy(typed, keypad_pin, n);
    return inner.C_Login(s, user, typed, n);
}

/* ---- objects ---- */

static CK_RV lie_find(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *h, CK_ULONG max,
                      CK_ULONG *n)
{
    CK_RV rv = inner.C_FindObjects(s, h, max, n);
    enum how how = how_of(COUNT_C_FindObjects);

    if (rv != CKR_OK || max == 0) {
        return rv;
    }
    if (how == TWICE && *n > 0 && *n < max) {
        h[*n] = h[0];
        *n += 1;
    } else if (how == MORE) {
        *n = max + 1;
    } else if (how == HUGE_) {
        *n = (CK_ULONG)1 << 62;
    } else if (how == ENDLESS) {
        for (; *n < max; *n += 1) {
            h[*n] = 0x7fff0000 + *n;
        }
    } else if (how == ZERO) {
        memset(h, 0, *n * sizeof(*h));
    }
    return rv;
}

static CK_ULONG class_of(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE h)
{
    CK_ULONG cls = ANY_CLASS;
    CK_ATTRIBUTE a = { CKA_CLASS, &cls, sizeof(cls) };

    /* Of the module itself: it is no call of the caller's. */
    return module->C_GetAttributeValue(s, h, &a, 1) == CKR_OK ? cls
                                                              : ANY_CLASS;
}

/* What is said of one attribute, with so much room for it; *rv as the module
 * has left it. */
static void tell(const struct lie *l, CK_ATTRIBUTE *a, CK_ULONG room,
                 CK_RV *rv)
{
    CK_ULONG len = a->ulValueLen;

    if (l->how == NONE || l->how == SMALL) {
        a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        *rv = l->how == NONE ? CKR_ATTRIBUTE_TYPE_INVALID
                             : CKR_BUFFER_TOO_SMALL;
        if (l->how == SMALL && a->pValue == NULL) {
            a->ulValueLen = 16;
            *rv = CKR_OK;
        }
    } else if (l->how == BYTES) {
        bool fits = a->pValue == NULL || room >= l->len;

        a->ulValueLen = fits ? l->len : CK_UNAVAILABLE_INFORMATION;
        if (fits && a->pValue != NULL) {
            memcpy(a->pValue, l->bytes, l->len);
        }
        *rv = fits ? *rv : CKR_BUFFER_TOO_SMALL;
    } else {
        a->ulValueLen = l->how == EMPTY ? 0
            : l->how == SHORT && len != CK_UNAVAILABLE_INFORMATION ? len / 2
            : l->how == HUGE_ ? (CK_ULONG)1 << 62
            : l->how == OVER ? (a->pValue != NULL ? room : len) + 1 : len;
    }
}

static CK_RV lie_attributes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE h,
                            CK_ATTRIBUTE *a, CK_ULONG n)
{
    CK_ULONG room[64];
    CK_RV rv;

    for (CK_ULONG i = 0; i < n && i < 64; i++) {
        room[i] = a[i].ulValueLen;
    }
    rv = inner.C_GetAttributeValue(s, h, a, n);
    if (rv != CKR_OK && rv != CKR_ATTRIBUTE_TYPE_INVALID
        && rv != CKR_ATTRIBUTE_SENSITIVE) {
        return rv;
    }
    for (size_t k = 0; k < n_lies; k++) {
        if (lies[k].function != COUNT_N
            || (lies[k].cls != ANY_CLASS && lies[k].cls != class_of(s, h))) {
            continue;
        }
        for (CK_ULONG i = 0; i < n && i < 64; i++) {
            if (a[i].type == lies[k].type) {
                tell(&lies[k], &a[i], room[i], &rv);
            }
        }
    }
    return rv;
}

/* ---- operations ---- */

static CK_RV lie_length(enum how how, CK_RV rv, CK_ULONG room, CK_ULONG *len)
{
    if (rv == CKR_OK && how != TRUTH) {
        *len = how == EMPTY ? 0 : how == SHORT ? *len - 1
            : how == OVER ? room + 1 : (CK_ULONG)1 << 62;
    }
    return rv;
}

static CK_RV lie_sign(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG in_len,
                      CK_BYTE *out, CK_ULONG *len)
{
    CK_ULONG room = *len;

    return lie_length(how_of(COUNT_C_Sign),
                      inner.C_Sign(s, in, in_len, out, len), room, len);
}

static CK_RV lie_decrypt(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG in_len,
                         CK_BYTE *out, CK_ULONG *len)
{
    CK_ULONG room = *len;

    return lie_length(how_of(COUNT_C_Decrypt),
                      inner.C_Decrypt(s, in, in_len, out, len), room, len);
}

/* The template of this call has an attribute that is refused. */
static bool is_refused(enum count_index which, const CK_ATTRIBUTE *a,
                       CK_ULONG n)
{
    const char *at = count_env("COUNT_REFUSE");
    char *end = NULL;
    bool refused = false;

    for (; at != NULL && *at != '\0' && !refused; at = end) {
        CK_ATTRIBUTE_TYPE type = strtoul(at, &end, 0);

        if (end == at) {
            count_refuse("COUNT_REFUSE", at);
        }
        for (CK_ULONG i = 0; i < n; i++) {
            refused = refused || a[i].type == type;
        }
    }
    if (refused) {
        count_call(which);      /* it does not get to where that is done */
    }
    return refused;
}

static CK_RV lie_derive(CK_SESSION_HANDLE s, CK_MECHANISM *m,
                        CK_OBJECT_HANDLE base, CK_ATTRIBUTE *a, CK_ULONG n,
                        CK_OBJECT_HANDLE *h)
{
    CK_RV rv = is_refused(COUNT_C_DeriveKey, a, n)
        ? CKR_ATTRIBUTE_TYPE_INVALID
        : inner.C_DeriveKey(s, m, base, a, n, h);

    if (rv == CKR_OK && how_of(COUNT_C_DeriveKey) == ZERO) {
        *h = 0;
    }
    return rv;
}

static CK_RV C_GenerateKeyPair_lie(CK_SESSION_HANDLE s, CK_MECHANISM *m,
                                   CK_ATTRIBUTE *pub, CK_ULONG n_pub,
                                   CK_ATTRIBUTE *priv, CK_ULONG n_priv,
                                   CK_OBJECT_HANDLE *h_pub,
                                   CK_OBJECT_HANDLE *h_priv)
{
    CK_RV rv = is_refused(COUNT_C_GenerateKeyPair, pub, n_pub)
        || is_refused(COUNT_C_GenerateKeyPair, priv, n_priv)
        ? CKR_ATTRIBUTE_TYPE_INVALID
        : inner.C_GenerateKeyPair(s, m, pub, n_pub, priv, n_priv, h_pub,
                                  h_priv);

    if (rv == CKR_OK && how_of(COUNT_C_GenerateKeyPair) == ZERO) {
        *h_pub = 0;
        *h_priv = 0;
    }
    return rv;
}

/* ---- the list ---- */

/* Where in the list a function's pointer is. */
static const size_t offsets[COUNT_N] = {
    [COUNT_C_GetFunctionList] =
        offsetof(CK_FUNCTION_LIST, C_GetFunctionList),
#define X(name, params, args) \
    [COUNT_##name] = offsetof(CK_FUNCTION_LIST, name),
    COUNT_ALL(X)
#undef X
};

static void take_away(CK_FUNCTION_LIST *list, const char *name, size_t len)
{
    size_t function = count_index_of(name, len);

    if (function == COUNT_N) {
        count_refuse("COUNT_LACKS", name);
    }
    memset((char *)list + offsets[function], 0, sizeof(list->C_Initialize));
}

static void put_in_front(CK_FUNCTION_LIST *list)
{
    list->C_Initialize = lie_initialize;
    list->C_Finalize = lie_finalize;
    list->C_GetInfo = lie_info;
    list->C_GetTokenInfo = lie_token_info;
    list->C_GetSlotList = lie_slots;
    list->C_GetMechanismList = lie_mechanisms;
    list->C_OpenSession = lie_open;
    list->C_CloseSession = lie_close;
    list->C_Login = lie_login;
    list->C_FindObjects = lie_find;
    list->C_SignInit = lie_sign_init;
    list->C_Sign = lie_sign;
    list->C_Decrypt = lie_decrypt;
    list->C_DeriveKey = lie_derive;
    list->C_GenerateKeyPair = C_GenerateKeyPair_lie;
    if (n_lies > 0) {
        list->C_GetAttributeValue = lie_attributes;
    }
}

void count_lie_install(CK_FUNCTION_LIST *list, const CK_FUNCTION_LIST *real)
{
    const char *lacks = count_env("COUNT_LACKS");

    inner = *list;
    module = real;
    put_in_front(list);
    count_x931_install(list, real);
    while (lacks != NULL && *lacks != '\0') {
        size_t len = strcspn(lacks, " ");

        take_away(list, lacks, len);
        lacks += len;
        lacks += strspn(lacks, " ");
    }
}
