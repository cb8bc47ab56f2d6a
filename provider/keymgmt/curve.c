/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/keymgmt/curve.h"

#include <limits.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/params.h>

/*
 * Decoding compares field, coefficients, generator, order and cofactor with
 * those of every curve, so that a generator of somebody's choice is no curve
 * of ours.
 */
static int nid_of(struct hsm_bytes params)
{
    const unsigned char *p = params.p;
    EC_GROUP *group = NULL;
    int nid = NID_undef;

    if (params.len > 0 && params.len <= LONG_MAX) {
        group = d2i_ECPKParameters(NULL, &p, (long)params.len);
    }
    if (group != NULL && p == params.p + params.len) {
        nid = EC_GROUP_get_curve_name(group);
    }
    EC_GROUP_free(group);
    return nid;
}

hsm_rc prov_curve_name(void *arg, struct hsm_bytes params,
                       struct hsm_buf *oid)
{
    const ASN1_OBJECT *object = NULL;
    int nid;

    (void)arg;
    ERR_set_mark();
    nid = nid_of(params);
    object = nid != NID_undef ? OBJ_nid2obj(nid) : NULL;
    ERR_pop_to_mark();
    if (object == NULL || OBJ_length(object) == 0) {
        return HSM_OK;
    }
    return hsm_buf_set(oid, hsm_bytes_of(OBJ_get0_data(object),
                                         OBJ_length(object)));
}

int prov_curve_set_manner(EVP_PKEY *soft, const struct prov_curve_manner *m)
{
    int cofactor = m->cofactor;
    OSSL_PARAM params[4], *p = params;

    if (m->point_format != NULL) {
        *p++ = OSSL_PARAM_construct_utf8_string(
            OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, m->point_format, 0);
    }
    if (m->group_check != NULL) {
        *p++ = OSSL_PARAM_construct_utf8_string(
            OSSL_PKEY_PARAM_EC_GROUP_CHECK_TYPE, m->group_check, 0);
    }
    if (cofactor != PROV_CURVE_UNSET) {
        *p++ = OSSL_PARAM_construct_int(OSSL_PKEY_PARAM_USE_COFACTOR_ECDH,
                                        &cofactor);
    }
    *p = OSSL_PARAM_construct_end();
    return p == params || EVP_PKEY_set_params(soft, params) > 0;
}

bool prov_curve_keep_form(EVP_PKEY *soft)
{
    char form[32] = "";
    struct prov_curve_manner m = {
        .point_format = form, .cofactor = PROV_CURVE_UNSET
    };

    return EVP_PKEY_get_utf8_string_param(
               soft, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, form,
               sizeof(form), NULL) > 0
           && prov_curve_set_manner(soft, &m);
}
