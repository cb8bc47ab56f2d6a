/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/store/public.h"

#include <string.h>

/* The same objects, whatever their type. The PIN is the first one's matter. */
static hsm_rc without_type(struct hsm_uri *uri, struct hsm_uri **out)
{
    static const char scheme[] = "pkcs11:", type[] = "type=";
    hsm_auto(hsm_buf) text = HSM_BUF_INIT;
    const char *sep = "", *p = hsm_uri_for_reference(uri) + strlen(scheme);
    size_t n;

    TRY(hsm_buf_printf(&text, "%s", scheme));
    for (; *p != '\0' && *p != '?'; p += n + (p[n] == ';' ? 1 : 0)) {
        n = strcspn(p, ";?");
        if (strncmp(p, type, strlen(type)) != 0) {
            TRY(hsm_buf_printf(&text, "%s%.*s", sep, (int)n, p));
            sep = ";";
        }
    }
    TRY(hsm_buf_printf(&text, "%s", p));
    return hsm_uri_parse((const char *)text.p, out);
}

hsm_rc prov_public_find(struct hsm_context *hsm, struct hsm_uri *uri,
                        bool strangers, struct hsm_items *out)
{
    hsm_autop(hsm_uri) any = NULL;
    struct hsm_cred cred = {
        .uri = strangers ? NULL : uri, .not_of_uri = strangers
    };

    if ((hsm_uri_want(uri) & HSM_WANT_PUBLIC) != 0) {
        return hsm_load(hsm, uri, HSM_WANT_PUBLIC, &cred, out);
    }
    TRY(without_type(uri, &any));
    return hsm_load(hsm, any, HSM_WANT_PUBLIC, &cred, out);
}
