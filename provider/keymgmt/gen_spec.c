/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a key on a token is to be: each parameter by itself, then those that
 * contradict each other. No token is touched here.
 */
#include <string.h>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "provider/err.h"
#include "provider/keymgmt/gen_private.h"
#include "provider/keymgmt/softkey.h"
#include "provider/param.h"
#include "src/crypto/mech.h"

#define DEFAULT_RSA_BITS 2048
#define SEPARATORS " ,"
/* YYYY-MM-DD, and without the hyphens [PKCS#11 3.1, 3.8: CK_DATE]. */
#define DATE_CHARS 10
#define DATE_BYTES 8

/* A word of a list, which is not terminated. */
struct word {
    const char *p;
    size_t len;
};

static bool next_word(const char **text, struct word *out)
{
    const char *p = *text + strspn(*text, SEPARATORS);

    out->p = p;
    out->len = strcspn(p, SEPARATORS);
    *text = p + out->len;
    return out->len > 0;
}

static const char *name_of(enum prov_gen_id id)
{
    return prov_gen_rows[id].name;
}

static int usage_fits(const struct prov_gen *gen, struct word w,
                      unsigned int use)
{
    if (use == 0) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s \"%.*s\" is no key usage; say"
                          " digitalSignature, keyEncipherment,"
                          " dataEncipherment, keyAgreement, keyCertSign",
                          name_of(PROV_GEN_USAGE), (int)w.len, w.p);
    }
    if ((use & gen->type->uses) == 0) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s \"%.*s\" is nothing that a key of type %s"
                          " can do; say another, or leave it out",
                          name_of(PROV_GEN_USAGE), (int)w.len, w.p,
                          gen->type->name);
    }
    return 1;
}

/* A type that only signs says so to the token. */
static int read_usage(const struct prov_gen *gen, unsigned int *out)
{
    const char *text = gen->in.own[PROV_GEN_USAGE];
    unsigned int use, all = 0;
    struct word w;

    if (text == NULL) {
        *out = gen->type->uses == HSM_USE_SIGN ? HSM_USE_SIGN : 0;
        return 1;
    }
    while (next_word(&text, &w)) {
        use = prov_gen_usage(w.p, w.len);
        if (!usage_fits(gen, w, use)) {
            return 0;
        }
        all |= use & gen->type->uses;
    }
    if (all == 0) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s is empty; say digitalSignature, or leave it out",
                          name_of(PROV_GEN_USAGE));
    }
    *out = all;
    return 1;
}

/*
 * How the public half is written and agreed with the token is not told, and
 * libcrypto's generators judge it only while they make a key: when it is made,
 * this is too late. Any curve will do.
 */
static int check_manner(const struct prov_gen *gen)
{
    const struct prov_gen_in *in = &gen->in;
    char group[] = "P-256";
    OSSL_PARAM params[3], *p = params;
    EVP_PKEY *soft;
    bool ok;

    *p++ = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group,
                                            0);
    if (in->encoding != NULL) {
        *p++ = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING,
                                                in->encoding, 0);
    }
    *p = OSSL_PARAM_construct_end();
    ERR_set_mark();
    soft = prov_softkey_from_params(gen->ctx, gen->type->name,
                                    EVP_PKEY_KEY_PARAMETERS, params);
    ok = soft != NULL && prov_curve_set_manner(soft, &in->manner);
    EVP_PKEY_free(soft);
    ERR_pop_to_mark();
    return ok || prov_raise(gen->ctx, HSM_E_PARAMETER,
                            "one of %s, %s, %s and %s has a value that OpenSSL"
                            " does not take; leave it out, or say"
                            " named_curve, compressed, named, 0",
                            OSSL_PKEY_PARAM_EC_ENCODING,
                            OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                            OSSL_PKEY_PARAM_EC_GROUP_CHECK_TYPE,
                            OSSL_PKEY_PARAM_USE_COFACTOR_ECDH);
}

static int read_group(const struct prov_gen *gen, struct hsm_keygen *spec)
{
    const struct prov_gen_in *in = &gen->in;
    const char *group = in->group != NULL ? in->group
                                          : gen->type->default_group;

    if (in->encoding != NULL
        && OPENSSL_strcasecmp(in->encoding, OSSL_PKEY_EC_ENCODING_EXPLICIT)
           == 0) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "a key on a token cannot have explicit parameters;"
                          " say -pkeyopt ec_param_enc:named_curve");
    }
    if (in->from_ikm) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "a key on a token cannot be made of %s, which"
                          " somebody knows; leave it out",
                          OSSL_PKEY_PARAM_DHKEM_IKM);
    }
    if (group == NULL) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "no named curve is given; say -pkeyopt group:P-256"
                          " (or another)");
    }
    spec->curve = hsm_curve_by_name(group);
    if (spec->curve == NULL) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "the curve \"%s\" is not supported on tokens; say"
                          " group:P-256 or another",
                          group);
    }
    return check_manner(gen);
}

/* The exponent's octets go to e, which spec then points to. */
static int read_rsa(const struct prov_gen *gen, struct hsm_keygen *spec,
                    struct hsm_buf *e)
{
    const struct prov_gen_in *in = &gen->in;
    int len;

    if (in->primes != 0 && in->primes != 2) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "an RSA key on a token has 2 primes, not %u; leave"
                          " the number out",
                          in->primes);
    }
    if (in->bits != 0 && (in->bits < 512 || in->bits > 16384)) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "an RSA key cannot have %u bits; say 512 to 16384",
                          in->bits);
    }
    spec->bits = in->bits != 0 ? in->bits : DEFAULT_RSA_BITS;
    if (!prov_gen_check_pss(gen, spec->bits)) {
        return 0;
    }
    if (in->e == NULL) {
        return 1;
    }
    if (!BN_is_odd(in->e) || BN_is_one(in->e) || BN_is_negative(in->e)) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "an RSA public exponent is odd and at least 3; say"
                          " 65537");
    }
    len = BN_num_bytes(in->e);
    if (!prov_result(gen->ctx, hsm_buf_reserve(e, (size_t)len))) {
        return 0;
    }
    e->len = (size_t)BN_bn2bin(in->e, e->p);
    spec->exponent = hsm_buf_bytes(e);
    return 1;
}

/* ---- values by kind; each goes to the attributes that it is ---- */

static int ask_for(const struct prov_gen *gen, enum prov_gen_id id,
                   struct hsm_bytes value, struct hsm_keygen *spec)
{
    const struct prov_gen_row *row = &prov_gen_rows[id];
    hsm_rc rc = hsm_attrs_add(&spec->priv_asked, row->type, value);

    if (hsm_ok(rc) && row->half == PROV_GEN_BOTH) {
        rc = hsm_attrs_add(&spec->pub_asked, row->type, value);
    }
    return prov_result(gen->ctx, rc);
}

static int read_flag(const struct prov_gen *gen, enum prov_gen_id id,
                     struct hsm_keygen *spec)
{
    unsigned char octet;
    bool value;

    if (!prov_param_bool(gen->in.own[id], &value)) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s is \"%s\"; say yes or no", name_of(id),
                          gen->in.own[id]);
    }
    octet = value ? 1 : 0;
    return ask_for(gen, id, hsm_bytes_of(&octet, 1), spec);
}

static bool is_date(const char *text)
{
    static const char days[] = { 31, 29, 31, 30, 31, 30,
                                 31, 31, 30, 31, 30, 31 };
    unsigned int number[3] = { 0, 0, 0 };
    unsigned int i, part = 0;

    for (i = 0; i < DATE_CHARS; i++) {
        if (i == 4 || i == 7) {
            part++;
        }
        if ((i == 4 || i == 7) ? text[i] != '-'
                               : text[i] < '0' || text[i] > '9') {
            return false;
        }
        if (i != 4 && i != 7) {
            number[part] = number[part] * 10 + (unsigned int)(text[i] - '0');
        }
    }
    if (text[i] != '\0' || number[0] == 0 || number[1] < 1 || number[1] > 12
        || number[2] < 1 || number[2] > (unsigned int)days[number[1] - 1]) {
        return false;
    }
    /* [ISO 8601] the 29th of February, in years that have one */
    return number[1] != 2 || number[2] < 29
           || (number[0] % 4 == 0
               && (number[0] % 100 != 0 || number[0] % 400 == 0));
}

static int read_date(const struct prov_gen *gen, enum prov_gen_id id,
                     struct hsm_keygen *spec)
{
    const char *text = gen->in.own[id];
    char date[DATE_BYTES];

    if (!is_date(text)) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s \"%s\" is no date; say YYYY-MM-DD",
                          name_of(id), text);
    }
    memcpy(date, text, 4);
    memcpy(date + 4, text + 5, 2);
    memcpy(date + 6, text + 8, 2);
    return ask_for(gen, id, hsm_bytes_of(date, sizeof(date)), spec);
}

static int use_is_missing(const struct prov_gen *gen, struct word w)
{
    const char *usage = name_of(PROV_GEN_USAGE);

    if (gen->in.own[PROV_GEN_USAGE] == NULL) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s \"%.*s\" is for a use that the key has only"
                          " where %s says so; add it, or leave the mechanism"
                          " out", name_of(PROV_GEN_ALLOWED_MECHANISMS),
                          (int)w.len, w.p, usage);
    }
    return prov_raise(gen->ctx, HSM_E_PARAMETER,
                      "%s \"%.*s\" contradicts %s, by which the key does"
                      " nothing of the kind",
                      name_of(PROV_GEN_ALLOWED_MECHANISMS), (int)w.len, w.p,
                      usage);
}

/* What a mechanism is for, and what the key is for, meet. */
static int mech_fits(const struct prov_gen *gen, struct word w,
                     CK_MECHANISM_TYPE type, unsigned int uses)
{
    bool only_pss = strcmp(gen->type->name, "RSA-PSS") == 0;
    const struct prov_gen_mech *mech;
    char number[24];
    const char *name = hsm_mech_name(type, number);

    if (name == number) {
        return 1;               /* a maker's own: the token knows */
    }
    mech = prov_gen_mech_of(name);
    if (mech == NULL || mech->ckk != gen->type->ckk
        || (only_pss && !mech->pss) || (mech->uses & gen->type->uses) == 0) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s \"%.*s\" is nothing for a key of type %s; leave"
                          " it out", name_of(PROV_GEN_ALLOWED_MECHANISMS),
                          (int)w.len, w.p, gen->type->name);
    }
    return (mech->uses & uses) != 0 || use_is_missing(gen, w);
}

/* One that is there twice is the same list. */
static hsm_rc add_mech(struct hsm_buf *list, CK_MECHANISM_TYPE type)
{
    size_t i;

    for (i = 0; i < list->len; i += sizeof(type)) {
        if (memcmp(list->p + i, &type, sizeof(type)) == 0) {
            return HSM_OK;
        }
    }
    return hsm_buf_append(list, &type, sizeof(type));
}

static int read_mechanisms(const struct prov_gen *gen, enum prov_gen_id id,
                           struct hsm_keygen *spec)
{
    const char *text = gen->in.own[id];
    hsm_auto(hsm_buf) list = HSM_BUF_INIT;
    CK_MECHANISM_TYPE type;
    struct word w;

    while (next_word(&text, &w)) {
        if (!hsm_mech_by_name(w.p, w.len, &type)) {
            return prov_raise(gen->ctx, HSM_E_PARAMETER,
                              "%s \"%.*s\" is no mechanism; say its name as in"
                              " PKCS#11, or its number",
                              name_of(id), (int)w.len, w.p);
        }
        if (!mech_fits(gen, w, type, hsm_keygen_usage(spec))
            || !prov_result(gen->ctx, add_mech(&list, type))) {
            return 0;
        }
    }
    if (list.len == 0) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s is empty: the key could do nothing; leave it out"
                          " to allow all", name_of(id));
    }
    return ask_for(gen, id, hsm_buf_bytes(&list), spec);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0'
        : c >= 'a' && c <= 'f' ? c - 'a' + 10
        : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Pairs of digits, with colons between them or without. */
static hsm_rc read_hex(const char *text, struct hsm_buf *out, bool *good)
{
    *good = *text != '\0';
    while (*good && *text != '\0') {
        int high = hex_digit(text[0]);
        int low = high < 0 ? -1 : hex_digit(text[1]);
        unsigned char octet;

        *good = low >= 0;
        if (*good) {
            octet = (unsigned char)(high << 4 | low);
            TRY(hsm_buf_append(out, &octet, 1));
            text += text[2] == ':' && text[3] != '\0' ? 3 : 2;
        }
    }
    return HSM_OK;
}

static int read_id(const struct prov_gen *gen, struct prov_gen_spec *spec)
{
    const char *text = gen->in.own[PROV_GEN_KEY_ID];
    bool good = true;

    if (text == NULL) {
        return 1;
    }
    if (!prov_result(gen->ctx, read_hex(text, &spec->id, &good))) {
        return 0;
    }
    if (!good) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s \"%s\" is not bytes in hexadecimal; say 01 for"
                          " the byte 1", name_of(PROV_GEN_KEY_ID), text);
    }
    spec->core.id = hsm_buf_bytes(&spec->id);
    return 1;
}

static int read_label(const struct prov_gen *gen, struct hsm_keygen *spec)
{
    const char *text = gen->in.own[PROV_GEN_LABEL];

    if (text != NULL && text[0] == '\0') {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s is empty; say a name, or leave it out",
                          name_of(PROV_GEN_LABEL));
    }
    if (text != NULL) {
        spec->label = hsm_bytes_of(text, strlen(text));
    }
    return 1;
}

static int read_storage(const struct prov_gen *gen, bool *session_object)
{
    const char *storage = gen->in.own[PROV_GEN_STORAGE];

    *session_object = storage != NULL && strcmp(storage, "session") == 0;
    if (storage != NULL && !*session_object && strcmp(storage, "token") != 0) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s is \"%s\"; say token or session",
                          name_of(PROV_GEN_STORAGE), storage);
    }
    return 1;
}

static int read_attribute(const struct prov_gen *gen, enum prov_gen_id id,
                          struct hsm_keygen *spec)
{
    switch (prov_gen_rows[id].kind) {
    case PROV_GEN_KIND_BOOL:
        return read_flag(gen, id, spec);
    case PROV_GEN_KIND_DATE:
        return read_date(gen, id, spec);
    case PROV_GEN_KIND_MECHANISMS:
        return read_mechanisms(gen, id, spec);
    default:
        return 1;
    }
}

/* ---- what contradicts something else ---- */

/* It is given, and says this. */
static bool says(const struct prov_gen *gen, enum prov_gen_id id, bool what)
{
    const char *text = gen->in.own[id];
    bool value;

    return text != NULL && prov_param_bool(text, &value) && value == what;
}

static int check_secrecy(const struct prov_gen *gen)
{
    if (!says(gen, PROV_GEN_SENSITIVE, false)) {
        return 1;
    }
    if (!says(gen, PROV_GEN_EXTRACTABLE, true)) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s:no makes a key that can be shown in the clear,"
                          " and one that is not extractable never is; say"
                          " %s:yes too, or leave it out",
                          name_of(PROV_GEN_SENSITIVE),
                          name_of(PROV_GEN_EXTRACTABLE));
    }
    if (says(gen, PROV_GEN_ALWAYS_AUTHENTICATE, true)) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s:yes asks for the PIN each time, and %s:no lets"
                          " the key be read and used without it; say one of"
                          " them", name_of(PROV_GEN_ALWAYS_AUTHENTICATE),
                          name_of(PROV_GEN_SENSITIVE));
    }
    return 1;
}

static int check_lifetime(const struct prov_gen *gen, bool session_object)
{
    const char *start = gen->in.own[PROV_GEN_START_DATE];
    const char *end = gen->in.own[PROV_GEN_END_DATE];

    if (start != NULL && end != NULL && strcmp(end, start) < 0) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s %s is before %s %s; change one of them",
                          name_of(PROV_GEN_END_DATE), end,
                          name_of(PROV_GEN_START_DATE), start);
    }
    if (session_object && says(gen, PROV_GEN_DESTROYABLE, false)) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "%s:no contradicts %s:session, whose keys end with"
                          " the session; leave one of them out",
                          name_of(PROV_GEN_DESTROYABLE),
                          name_of(PROV_GEN_STORAGE));
    }
    return 1;
}

/* The URI may say the same, in its own way. */
static int check_name(const struct prov_gen *gen, enum prov_gen_id id,
                      bool in_uri, struct hsm_bytes uri_value,
                      struct hsm_bytes value)
{
    if (!in_uri || value.len == 0 || hsm_bytes_equal(uri_value, value)) {
        return 1;
    }
    return prov_raise(gen->ctx, HSM_E_PARAMETER,
                      "%s %s is not what %s in %s says; say it once",
                      name_of(id), gen->in.own[id],
                      id == PROV_GEN_LABEL ? "object" : "id",
                      name_of(PROV_GEN_URI));
}

static int check_names(const struct prov_gen *gen, const struct hsm_uri *uri,
                       const struct hsm_keygen *spec)
{
    struct hsm_bytes id = { NULL, 0 }, label = { NULL, 0 };
    bool has_id = hsm_uri_id(uri, &id);
    bool has_label = hsm_uri_label(uri, &label);

    return check_name(gen, PROV_GEN_LABEL, has_label, label, spec->label)
           && check_name(gen, PROV_GEN_KEY_ID, has_id, id, spec->id);
}

/* What the private context's own generator of this type takes tells what the
 * type needs. */
static int read_type(const struct prov_gen *gen, struct prov_gen_spec *spec)
{
    const OSSL_PARAM *takes = EVP_PKEY_CTX_settable_params(gen->inner);

    if ((gen->selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0) {
        return prov_raise(gen->ctx, HSM_E_PARAMETER,
                          "parameters without a key are not made on a token;"
                          " leave the pkcs11_ parameters out");
    }
    spec->core.kt = hsm_keytype_of(gen->type->ckk);
    if (spec->core.kt == NULL) {
        return prov_raise(gen->ctx, CKR_KEY_TYPE_INCONSISTENT,
                          "%s keys cannot be made on a token",
                          gen->type->name);
    }
    return (OSSL_PARAM_locate_const(takes, OSSL_PKEY_PARAM_GROUP_NAME) == NULL
            || read_group(gen, &spec->core))
           && (OSSL_PARAM_locate_const(takes, OSSL_PKEY_PARAM_RSA_BITS) == NULL
               || read_rsa(gen, &spec->core, &spec->exponent));
}

void prov_gen_spec_clear(struct prov_gen_spec *spec)
{
    hsm_attrs_clear(&spec->core.pub_asked);
    hsm_attrs_clear(&spec->core.priv_asked);
    hsm_buf_clear(&spec->exponent);
    hsm_buf_clear(&spec->id);
}

int prov_gen_read(const struct prov_gen *gen, const struct hsm_uri *uri,
                  struct prov_gen_spec *out)
{
    struct hsm_keygen *spec = &out->core;
    int id;

    spec->name_of = prov_gen_name_of;
    if (!read_type(gen, out) || !read_usage(gen, &spec->usage)
        || !read_storage(gen, &spec->session_object) || !read_id(gen, out)
        || !read_label(gen, spec)) {
        return 0;
    }
    for (id = 0; id < PROV_GEN_N; id++) {
        if (gen->in.own[id] != NULL && !read_attribute(gen, id, spec)) {
            return 0;
        }
    }
    return check_secrecy(gen) && check_lifetime(gen, spec->session_object)
           && check_names(gen, uri, spec);
}
