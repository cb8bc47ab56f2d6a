/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects as they are seen on a token: handle, class, attributes, and of keys
 * the public half, wherever on the token that is.
 */
#ifndef HSM_OBJECT_OBJECT_H
#define HSM_OBJECT_OBJECT_H

#include "src/object/spki.h"

/* All classes, in hsm_search.cls. */
#define HSM_ANY_CLASS ((CK_OBJECT_CLASS)-1)

struct hsm_context;
struct hsm_uri;

struct hsm_search {
    struct hsm_context *ctx;    /* whose hook names curves; NULL: none does */
    struct hsm_bytes id;        /* CKA_ID; empty: any */
    struct hsm_bytes label;     /* CKA_LABEL; empty: any */
    bool no_id, no_label;       /* with an empty one: only what has none */
    struct hsm_bytes subject;   /* CKA_SUBJECT, DER; empty: any */
    struct hsm_bytes issuer;    /* CKA_ISSUER, DER; empty: any */
    CK_OBJECT_CLASS cls;
    bool with_cls;              /* the token is asked for id and cls at once */
    size_t limit;               /* at most so many; 0: all */
};

struct hsm_object {
    CK_OBJECT_HANDLE h;
    CK_OBJECT_CLASS cls;
    unsigned int reissued;      /* of the token, before attrs were read */
    struct hsm_attrs attrs;
    struct hsm_public pub;      /* kt NULL: not known */
    struct hsm_buf cert;        /* of a certificate, when it was read: DER */
};

struct hsm_objects {
    struct hsm_object *v;
    size_t n;
    struct hsm_context *ctx;    /* of the search */
};

#define HSM_OBJECTS_INIT { NULL, 0, NULL }

/* What the URI says of id and label, of which one that is given and empty is
 * the name of what has none. False: it says neither, or only so. */
bool hsm_search_by(struct hsm_search *search, const struct hsm_uri *uri);

/*
 * The matching objects, with their attributes. One search by subject or issuer
 * among the certificates, else by CKA_ID, else by label, else by class; what
 * else is asked for is filtered here: three calls, and one for each object (two
 * for a certificate).
 */
HSM_CHECKED hsm_rc hsm_objects_look(struct hsm_session *s,
                                    const struct hsm_search *search,
                                    struct hsm_objects *out);
void hsm_objects_clear(struct hsm_objects *objects);

/* One object, which must be empty: one call, two for a certificate. ctx: as of
 * a search. */
HSM_CHECKED hsm_rc hsm_object_read(struct hsm_session *s,
                                   struct hsm_context *ctx,
                                   CK_OBJECT_HANDLE h,
                                   struct hsm_object *out);
void hsm_object_clear(struct hsm_object *o);

/*
 * Completes the public half of the private key objects[i], if it is not known:
 * from a public key or certificate with its CKA_ID, among the objects, then
 * on the token; then with its label, unless that has the id of another private
 * key. One that is nowhere stays unknown. An RSA key whose certificate is among
 * the objects, and says so, is for PSS only.
 */
HSM_CHECKED hsm_rc hsm_objects_complete(struct hsm_session *s,
                                        struct hsm_objects *objects,
                                        size_t i);

/* The same among the objects alone; false: it stays unknown. */
bool hsm_objects_match(struct hsm_objects *objects, size_t i);

/* Whether a certificate could say more of the key than its public half does:
 * that it is for PSS only. */
bool hsm_object_may_be_restricted(const struct hsm_object *o);
/*
 * Makes the private key objects[i] one for PSS only, where its certificate is
 * among the objects and says so; or where one with its CKA_ID on the token
 * does: three calls, and two for each such certificate.
 */
HSM_CHECKED hsm_rc hsm_objects_restrict(struct hsm_objects *objects, size_t i);
HSM_CHECKED hsm_rc hsm_objects_look_restriction(struct hsm_session *s,
                                                struct hsm_objects *objects,
                                                size_t i);

/*
 * A public key with explicit EC parameters that ctx's hook knows as a named
 * curve's gets that curve; any other stays as it is.
 */
HSM_CHECKED hsm_rc hsm_public_name_curve(struct hsm_context *ctx,
                                         struct hsm_public *p);

/* What the object's URI says of its type: "private", "public", "cert". */
const char *hsm_object_type(const struct hsm_object *o);

#endif
