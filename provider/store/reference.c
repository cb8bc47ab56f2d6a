/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/store/reference.h"

#include <string.h>

#include <openssl/evp.h>

#include "src/base/der.h"

#define VERSION_TEXT   "PKCS#11 Provider URI v1.0"
#define VERSION_LEN    (sizeof(VERSION_TEXT) - 1)
/* What every version begins with: tells a reference from anything else. */
#define VERSION_FAMILY "PKCS#11 Provider URI v"
#define FAMILY_LEN     (sizeof(VERSION_FAMILY) - 1)

#define BEGIN_MARK "-----BEGIN "
#define END_MARK   "-----END "
#define DASHES     "-----"

/* A URI has at most 64 KiB; and that much again as base64. */
#define DER_MAX    ((size_t)65536 + 64)
#define BASE64_MAX ((DER_MAX + 2) / 3 * 4)
#define BASE64_SET \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

/* --- PEM --- */

/* Lines as BIO_gets() gives them: a long one comes in pieces. */
struct lines {
    BIO *in;
    bool inside;                /* the last piece did not end its line */
    bool at_start;              /* this piece begins a line */
    char text[256];             /* without the white space at its end */
    size_t len;
};

static bool next_piece(struct lines *l)
{
    int n = BIO_gets(l->in, l->text, sizeof(l->text));

    if (n <= 0) {
        return false;
    }
    l->len = (size_t)n;
    l->at_start = !l->inside;
    l->inside = l->text[l->len - 1] != '\n';
    while (l->len > 0 && (unsigned char)l->text[l->len - 1] <= ' ') {
        l->len--;
    }
    l->text[l->len] = '\0';
    return true;
}

/* "-----BEGIN label-----"; label NULL: any. */
static bool is_mark(const struct lines *l, const char *mark, const char *label)
{
    size_t n_mark = strlen(mark), n_dashes = strlen(DASHES);

    if (!l->at_start || l->len < n_mark + n_dashes
        || memcmp(l->text, mark, n_mark) != 0
        || memcmp(l->text + l->len - n_dashes, DASHES, n_dashes) != 0) {
        return false;
    }
    return label == NULL
           || (l->len == n_mark + strlen(label) + n_dashes
               && memcmp(l->text + n_mark, label, strlen(label)) == 0);
}

static bool next_block(struct lines *l)
{
    while (next_piece(l)) {
        if (is_mark(l, BEGIN_MARK, NULL)) {
            return true;
        }
    }
    return false;
}

/* So that whoever reads next stands where it would without us. */
static void pass_over(struct lines *l)
{
    while (next_piece(l)) {
        if (is_mark(l, END_MARK, NULL)) {
            return;
        }
    }
}

static hsm_rc read_base64(struct lines *l, struct hsm_buf *out)
{
    size_t lead;

    while (next_piece(l)) {
        if (is_mark(l, END_MARK, NULL)) {
            return HSM_OK;
        }
        lead = strspn(l->text, " \t");
        if (out->len + l->len > BASE64_MAX) {
            pass_over(l);
            return hsm_fail(HSM_E_BAD_DATA, __func__, "the PEM block \"%s\" "
                            "is longer than any reference",
                            PROV_REFERENCE_LABEL);
        }
        if (lead < l->len) {
            TRY(hsm_buf_append(out, l->text + lead, l->len - lead));
        }
    }
    return hsm_fail(HSM_E_BAD_DATA, __func__, "the PEM block \"%s\" has no "
                    "end line", PROV_REFERENCE_LABEL);
}

/* Strict: what EVP_DecodeBlock() would pass, a "=" inside, is refused. */
static hsm_rc decode_base64(struct hsm_buf *text, struct hsm_buf *out)
{
    size_t n_chars, n_pad, n_bytes = text->len / 4 * 3;

    TRY(hsm_buf_append(text, "", 1));
    n_chars = strspn((const char *)text->p, BASE64_SET);
    n_pad = strspn((const char *)text->p + n_chars, "=");
    if (n_chars == 0 || n_chars + n_pad != text->len - 1 || n_pad > 2
        || (n_chars + n_pad) % 4 != 0) {
        return hsm_fail(HSM_E_BAD_DATA, __func__, "the PEM block \"%s\" is "
                        "not base64", PROV_REFERENCE_LABEL);
    }
    TRY(hsm_buf_reserve(out, out->len + n_bytes));
    if (EVP_DecodeBlock(out->p + out->len, text->p, (int)(text->len - 1))
        != (int)n_bytes) {
        return hsm_fail(HSM_E_BAD_DATA, __func__, "the PEM block \"%s\" "
                        "cannot be decoded", PROV_REFERENCE_LABEL);
    }
    out->len += n_bytes - n_pad;
    return HSM_OK;
}

static hsm_rc read_block(struct lines *l, struct hsm_buf *der)
{
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;

    if (!next_block(l)) {
        return hsm_fail_rv(HSM_E_END, __func__);
    }
    if (!is_mark(l, BEGIN_MARK, PROV_REFERENCE_LABEL)) {
        pass_over(l);
        return hsm_fail_rv(HSM_E_END, __func__);
    }
    TRY(read_base64(l, &text));
    return decode_base64(&text, der);
}

hsm_rc prov_reference_read_pem(BIO *in, struct hsm_buf *der)
{
    struct lines l = { .in = in };
    hsm_rc rc = read_block(&l, der);

    /* Somebody's private key may have passed through. */
    hsm_wipe(l.text, sizeof(l.text));
    return rc;
}

/* --- DER --- */

/* n more bytes; false when there are not that many. */
static bool read_more(BIO *in, struct hsm_buf *buf, size_t n)
{
    size_t got = 0;

    if (!hsm_ok(hsm_buf_reserve(buf, buf->len + n))) {
        return false;
    }
    for (; n > 0; n -= got) {
        if (BIO_read_ex(in, buf->p + buf->len, n, &got) != 1 || got == 0) {
            return false;
        }
        buf->len += got;
    }
    return true;
}

/* A SEQUENCE's header; *len is that of its content. */
static bool read_header(BIO *in, struct hsm_buf *buf, size_t *len)
{
    size_t i, n_octets, value = 0;

    if (!read_more(in, buf, 2) || buf->p[0] != HSM_DER_SEQUENCE) {
        return false;
    }
    if (buf->p[1] < 0x80u) {
        *len = buf->p[1];
        return true;
    }
    n_octets = buf->p[1] & 0x7fu;
    if (n_octets == 0 || n_octets > 3 || !read_more(in, buf, n_octets)) {
        return false;
    }
    for (i = 0; i < n_octets; i++) {
        value = value << 8 | buf->p[2 + i];
    }
    *len = value;
    return true;
}

/* The first element says which kind of structure it is. */
static bool read_family(BIO *in, struct hsm_buf *buf)
{
    size_t at = buf->len;

    return read_more(in, buf, 2 + FAMILY_LEN)
           && buf->p[at] == HSM_DER_VISIBLE && buf->p[at + 1] < 0x80u
           && memcmp(buf->p + at + 2, VERSION_FAMILY, FAMILY_LEN) == 0;
}

/* What is left of a file is read as something else, and hides the error. */
static void pass_to_end(BIO *in)
{
    unsigned char some[256];
    size_t n = 0;

    while (BIO_read_ex(in, some, sizeof(some), &n) == 1 && n > 0) {
    }
}

hsm_rc prov_reference_read_der(BIO *in, struct hsm_buf *der)
{
    hsm_auto(hsm_buf) buf = HSM_BUF_INIT;
    size_t len = 0;

    if (!read_header(in, &buf, &len) || len < 2 + FAMILY_LEN
        || !read_family(in, &buf)) {
        return hsm_fail_rv(HSM_E_END, __func__);
    }
    if (len > DER_MAX || !read_more(in, &buf, len - 2 - FAMILY_LEN)) {
        pass_to_end(in);
        return hsm_fail(HSM_E_BAD_DATA, __func__, "the PKCS#11 reference is "
                        "cut off");
    }
    return hsm_buf_append(der, buf.p, buf.len);
}

static hsm_rc check_version(struct hsm_bytes version)
{
    if (hsm_bytes_equal(version, hsm_bytes_of(VERSION_TEXT, VERSION_LEN))) {
        return HSM_OK;
    }
    return hsm_fail(HSM_E_BAD_DATA, __func__, "the PKCS#11 reference is not "
                    "of the version known here, \"%s\"", VERSION_TEXT);
}

hsm_rc prov_reference_decode(struct hsm_bytes der, struct hsm_uri **out)
{
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;
    struct hsm_bytes seq, version, uri;

    if (!hsm_der_only(der, HSM_DER_SEQUENCE, &seq)
        || !hsm_der_get(&seq, HSM_DER_VISIBLE, &version)) {
        return hsm_fail(HSM_E_BAD_DATA, __func__, "the PKCS#11 reference is "
                        "not the DER structure it has to be");
    }
    TRY(check_version(version));
    if (!hsm_der_only(seq, HSM_DER_UTF8, &uri) || uri.len == 0
        || memchr(uri.p, '\0', uri.len) != NULL) {
        return hsm_fail(HSM_E_BAD_DATA, __func__, "the PKCS#11 reference does "
                        "not hold one URI");
    }
    TRY(hsm_buf_set(&text, uri));
    TRY(hsm_buf_append(&text, "", 1));
    return hsm_uri_parse((const char *)text.p, out);
}

hsm_rc prov_reference_encode(const char *uri, struct hsm_buf *der)
{
    hsm_auto(hsm_buf) seq = HSM_BUF_INIT;

    TRY(hsm_der_put(&seq, HSM_DER_VISIBLE,
                    hsm_bytes_of(VERSION_TEXT, VERSION_LEN)));
    TRY(hsm_der_put(&seq, HSM_DER_UTF8, hsm_bytes_of(uri, strlen(uri))));
    return hsm_der_put(der, HSM_DER_SEQUENCE, hsm_buf_bytes(&seq));
}
