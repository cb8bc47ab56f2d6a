#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# What can be said of a key that is made on a token: the token has it then, as
# it tells without us; what contradicts itself is refused before it is touched;
# an application's callback can cancel.
use strict;
use warnings;

use Test::More;
use P11::Cli;
use P11::Count;
use P11::Errors;
use P11::Test;
use P11::Token;

my $token = P11::Token->needs('SoftHSM');
my $dir = scratch();
my $count = P11::Count->new($token);
my %how = (env => $count->token->conf_env);
my @genpkey = qw(genpkey -propquery ?provider=pkcs11);

sub options { return map { ('-pkeyopt', $_) } @_ }

# The objects of that label as the module itself tells: { class → { … } }.
sub seen {
    my ($label) = @_;
    my $result = run_in({ env => $token->env },
        builddir() . '/tests/c/see_key', $token->module, $token->label,
        $token->pin, $label);
    die "see_key: $result->{err}\n" if $result->{status} != 0;
    return { map { my ($class, @values) = split ' ';
                   ($class => { map { split /=/, $_, 2 } @values }) }
             split /\n/, $result->{out} };
}

# Kept by the token

my @made = (
    # name, algorithm and options, the private half, the public half
    ['plain', ['EC', 'group:P-256'],
     { TOKEN => 1, PRIVATE => 1, SENSITIVE => 1, EXTRACTABLE => 0,
       ALWAYS_AUTHENTICATE => 0, MODIFIABLE => 1, COPYABLE => 1,
       DESTROYABLE => 1, START_DATE => '', END_DATE => '',
       ALLOWED_MECHANISMS => '' }, { TOKEN => 1, PRIVATE => 0 }],
    ['id', ['EC', 'group:P-256', 'pkcs11_id:0aFF'], { ID => '0aff' },
     { ID => '0aff' }],
    ['colons', ['EC', 'group:P-256', 'pkcs11_id:0a:fe'],
     { ID => '0afe' }, { ID => '0afe' }],
    ['extractable', ['RSA', 'pkcs11_extractable:yes'],
     { EXTRACTABLE => 1, SENSITIVE => 1 }, {}],
    ['clear', ['RSA', 'pkcs11_extractable:true',
                      'pkcs11_sensitive:false'],
     { EXTRACTABLE => 1, SENSITIVE => 0 }, {}],
    ['default', ['EC', 'group:P-256', 'pkcs11_extractable:off',
                            'pkcs11_sensitive:on', 'pkcs11_destroyable:1'],
     { EXTRACTABLE => 0, SENSITIVE => 1, DESTROYABLE => 1 }, {}],
    ['always', ['EC', 'group:P-256', 'pkcs11_always_authenticate:yes'],
     { ALWAYS_AUTHENTICATE => 1 }, {}],
    ['mechanisms', ['RSA', 'pkcs11_allowed_mechanisms:CKM_RSA_PKCS_PSS,'
                           . 'rsa_pkcs CKM_RSA_PKCS'],
     { ALLOWED_MECHANISMS => '1,d' }, { ALLOWED_MECHANISMS => '' }],
    ['number', ['EC', 'group:P-256',
                             'pkcs11_allowed_mechanisms:0x1041'],
     { ALLOWED_MECHANISMS => '1041' }, {}],
    ['frozen', ['EC', 'group:P-256', 'pkcs11_modifiable:no',
                'pkcs11_copyable:no', 'pkcs11_destroyable:no'],
     { MODIFIABLE => 0, COPYABLE => 0, DESTROYABLE => 0 },
     { MODIFIABLE => 0, COPYABLE => 0, DESTROYABLE => 0 }],
    ['dates', ['EC', 'group:P-256', 'pkcs11_start_date:2028-02-29',
               'pkcs11_end_date:2028-02-29'],
     # SoftHSM cannot tell those of a private object.
     {}, { START_DATE => '20280229', END_DATE => '20280229' }],
    ['restricted', ['RSA-PSS', 'pkcs11_allowed_mechanisms:CKM_RSA_PKCS_PSS'],
     { ALLOWED_MECHANISMS => 'd', SIGN => 1, DECRYPT => 0 }, {}],
    ['use', ['RSA', 'pkcs11_key_usage:dataEncipherment',
             'pkcs11_allowed_mechanisms:CKM_RSA_PKCS_OAEP'],
     { ALLOWED_MECHANISMS => '9', SIGN => 0, DECRYPT => 1 }, {}],
);
for my $case (@made) {
    my ($label, $options, $private, $public) = @$case;
    my ($algorithm, @options) = @$options;
    my $file = "$dir/$label.pem";
    my $calls = $count->during(sub {
        ok_openssl(\%how, "$label: is made", @genpkey, '-algorithm',
            $algorithm, options(@options, 'pkcs11_token:tok',
                                "pkcs11_label:$label"), '-out', $file);
    });
    is($calls->{C_GenerateKeyPair}, 1, '… at once');
    like(slurp($file), qr/BEGIN PKCS#11 PROVIDER URI/, '… and a reference');
    my $seen = seen($label);
    my %is = map { ($_ => $seen->{private}{$_}) } keys %$private;
    is_deeply(\%is, $private, '… the private half is as asked for')
        or diag(explain($seen));
    %is = map { ($_ => $seen->{public}{$_}) } keys %$public;
    is_deeply(\%is, $public, '… and the public half')
        or diag(explain($seen));
}

# They work, as far as they are to.

my $text = spew("$dir/text", 'x' x 32);
for my $case (['always', 3], ['frozen', 2], ['dates', 2], ['id', 2]) {
    my ($label, $n) = @$case;
    my $calls = $count->during(sub {
        ok_openssl(\%how, "$label: signs", qw(pkeyutl -sign -inkey),
                   "$dir/$label.pem", '-in', $text, '-out', "$dir/sig");
    });
    is($calls->{C_Sign}, 1, '… once');
    is($calls->{C_Login}, $n - 1, "… C_Login: " . ($n - 1));
    openssl(\%how, 'pkey', '-in', "$dir/$label.pem", '-pubout', '-out',
            "$dir/pub");
    ok_alone('… which openssl without us verifies', qw(pkeyutl -verify -pubin
             -inkey), "$dir/pub", '-in', $text, '-sigfile', "$dir/sig");
}
ok_openssl(\%how, 'a mechanism that is allowed', qw(pkeyutl -sign -inkey),
    "$dir/mechanisms.pem", '-in', $text, '-out', "$dir/sig", '-pkeyopt',
    'rsa_padding_mode:pss', '-pkeyopt', 'digest:sha256');
openssl_fails(\%how, 'one that is not', qr/CKM_RSA_PKCS_OAEP/,
    qw(pkeyutl -decrypt -inkey), "$dir/mechanisms.pem", '-in',
    spew("$dir/256", "\0" x 255 . 'x'), '-out', "$dir/sig", '-pkeyopt',
    'rsa_padding_mode:oaep');
openssl_fails(\%how, 'a use that it has not', qr/error/, qw(pkeyutl -sign
    -inkey), "$dir/use.pem", '-in', $text, '-out', "$dir/sig");

# Session objects take all of that, too.

my $program = builddir() . '/tests/c/make_key';
for my $case (
    ['EC', 'group=P-256'],
    ['EC', 'group=P-256', 'pkcs11_extractable:1', 'pkcs11_modifiable=no',
     'pkcs11_start_date=2026-01-01', 'pkcs11_label=short'],
    ['RSA', 'bits:2048', 'pkcs11_allowed_mechanisms=CKM_RSA_PKCS',
     'pkcs11_always_authenticate:1'],
) {
    my ($type, @params) = @$case;
    ok_run(\%how, "a session object: $type @params", $program, $type, 0,
           @params, 'pkcs11_token=tok', 'pkcs11_storage=session');
}
is_deeply(seen('short'), {}, 'it has ended with its process');

# Refused: nothing is called, or nothing is made

my $n_before = () = $token->tool('--list-objects')->{out} =~ /^\w.* Object/mg;
my @unasked = (
    # name, patterns, parameters
    ['an empty label', [qr/pkcs11_label is empty/], 'pkcs11_label:'],
    ['another label', [qr/pkcs11_label other is not what object in/],
     'pkcs11_uri:pkcs11:token=tok;object=one', 'pkcs11_label:other'],
    ['another id', [qr/pkcs11_id 02 is not what id in/],
     'pkcs11_uri:pkcs11:token=tok;id=%01', 'pkcs11_id:02'],
    ['no id', [qr/pkcs11_id ""/], 'pkcs11_id:'],
    ['an id of half a byte', [qr/"123"/, qr/hexadecimal/], 'pkcs11_id:123'],
    ['an id of other letters', [qr/"xy"/], 'pkcs11_id:xy'],
    ['an id that ends in a colon', [qr/"01:"/], 'pkcs11_id:01:'],
    ['neither yes nor no', [qr/pkcs11_extractable is "maybe"/, qr/yes or no/],
     'pkcs11_extractable:maybe'],
    ['shown, and not', [qr/pkcs11_sensitive:no/, qr/pkcs11_extractable:yes/],
     'pkcs11_sensitive:no'],
    ['shown, and expressly not', [qr/pkcs11_extractable:yes/],
     'pkcs11_sensitive:no', 'pkcs11_extractable:no'],
    ['asked for each time, and shown', [qr/pkcs11_always_authenticate:yes/],
     'pkcs11_sensitive:no', 'pkcs11_extractable:yes',
     'pkcs11_always_authenticate:yes'],
    ['for good, and for a session', [qr/pkcs11_destroyable:no/],
     'pkcs11_destroyable:no', 'pkcs11_storage:session'],
    ['no storage', [qr/pkcs11_storage is ""/], 'pkcs11_storage:'],
    ['an end before the start', [qr/2026-01-01 is before/],
     'pkcs11_start_date:2026-01-02', 'pkcs11_end_date:2026-01-01'],
    (map { ["no date: $_", [qr/"\Q$_\E" is no date/],
            "pkcs11_end_date:$_"] }
     qw(2027-02-29 2100-02-29 2027-13-01 2027-00-10 2027-04-31 2027-1-1
        20270101 2027-01-01T00 0000-01-01), ''),
    ['a mechanism that is none', [qr/"CKM_FOO" is no mechanism/],
     'pkcs11_allowed_mechanisms:CKM_ECDSA,CKM_FOO'],
    ['no mechanism', [qr/pkcs11_allowed_mechanisms is empty/],
     'pkcs11_allowed_mechanisms: ,'],
    ['a mechanism of RSA', [qr/"CKM_RSA_PKCS"/, qr/type EC/],
     'pkcs11_allowed_mechanisms:CKM_RSA_PKCS'],
    ['a mechanism that makes keys', [qr/"CKM_EC_KEY_PAIR_GEN"/],
     'pkcs11_allowed_mechanisms:CKM_EC_KEY_PAIR_GEN'],
    ['a mechanism against the use', [qr/contradicts pkcs11_key_usage/],
     'pkcs11_key_usage:keyAgreement', 'pkcs11_allowed_mechanisms:CKM_ECDSA'],
    ['a use that is none', [qr/"fun"/], 'pkcs11_key_usage:fun'],
    # What libcrypto would judge when the pair is made.
    (map { ["none such: $_", [qr/point-format/, qr/does not take/],
            'pkcs11_label:manner', $_] }
     qw(point-format:nonsense encoding:nonsense use-cofactor-flag:7)),
);
my @asked = (
    # … of the token, which is only looked at
    ['a mechanism that it has not', [qr/does not offer CKM_ECDSA_SHA3_512/],
     'pkcs11_token:tok', 'pkcs11_allowed_mechanisms:CKM_ECDSA_SHA3_512'],
    ["a maker's mechanism that it has not", [qr/does not offer 0x80001234/],
     'pkcs11_token:tok', 'pkcs11_allowed_mechanisms:0x80001234'],
    ['an id that is taken', [qr/already has a private key with that id/],
     'pkcs11_token:tok', 'pkcs11_id:0aff'],
    ['a label that is taken', [qr/already has a private key with that label/],
     'pkcs11_token:tok', 'pkcs11_label:dates'],
);
my $file = "$dir/refused.pem";
for my $case (@unasked, @asked) {
    my ($name, $patterns, @options) = @$case;
    my $is_asked = grep { /^pkcs11_token:/ } @options;
    my $calls = $count->during(sub {
        openssl_refuses(\%how, "refused: $name", $patterns, @genpkey,
            qw(-algorithm EC -pkeyopt group:P-256), options(@options),
            '-out', $file);
    });
    is($calls->{C_GenerateKeyPair} // 0, 0, '… nothing is made');
    is(sum_of($calls), 0, '… no token is touched') if !$is_asked;
    ok(!-s $file, '… nor written');
}
for my $case (
    ['a restricted key, and another padding', 'RSA-PSS', [qr/type RSA-PSS/],
     'pkcs11_allowed_mechanisms:CKM_RSA_PKCS'],
    ['an RSA key for what it is made for, and wrapping', 'RSA',
     [qr/"CKM_RSA_AES_KEY_WRAP" is for a use/, qr/pkcs11_key_usage says so/],
     'pkcs11_token:tok', 'pkcs11_allowed_mechanisms:CKM_RSA_AES_KEY_WRAP'],
    ['an EC key, and wrapping', 'EC', [qr/"CKM_ECDH_AES_KEY_WRAP"/, qr/type EC/],
     'group:P-256', 'pkcs11_allowed_mechanisms:CKM_ECDH_AES_KEY_WRAP'],
    ['an RSA key that only decrypts, and PSS', 'RSA',
     [qr/"CKM_RSA_PKCS_PSS" contradicts/], 'pkcs11_key_usage:dataEncipherment',
     'pkcs11_allowed_mechanisms:CKM_RSA_PKCS_PSS'],
) {
    my ($name, $algorithm, $patterns, @options) = @$case;
    openssl_refuses(\%how, "refused: $name", $patterns, @genpkey, '-algorithm',
        $algorithm, options(@options));
}

# A restriction that cannot be written would be lost with the process, and the
# key be one for every padding.

for my $case (
    ['a digest that PSS has no name for', [qr/restricted to PSS with digest MD5;/],
     'rsa_pss_keygen_md:MD5'],
    ['another', [qr/restricted to PSS with digest SM3;/], 'rsa_pss_keygen_md:SM3'],
    ['the two of TLS', [qr/with digest MD5-SHA1;/], 'rsa_pss_keygen_md:MD5-SHA1'],
    ['in MGF1 only', [qr/digest SHA256, MGF1 with MD5;/], 'rsa_pss_keygen_md:SHA256',
     'rsa_pss_keygen_mgf1_md:MD5'],
    ['a salt of less than nothing', [qr/at least -2 octets/],
     'rsa_pss_keygen_saltlen:-2'],
    ['a salt as long as the key', [qr/2048 bits cannot .* least 223 octets/],
     'rsa_pss_keygen_md:SHA256', 'rsa_pss_keygen_saltlen:223'],
    ['a salt too long without a digest', [qr/least 235 octets; say another/],
     'rsa_pss_keygen_saltlen:235'],
    ['a hash too long for the usual salt', [qr/640 bits cannot .* least 20 octets/],
     'rsa_pss_keygen_md:SHA512', 'rsa_keygen_bits:640'],
) {
    my ($name, $patterns, @options) = @$case;
    my $calls = $count->during(sub {
        openssl_refuses(\%how, "RSA-PSS: $name", $patterns, @genpkey,
            qw(-algorithm RSA-PSS), options('pkcs11_uri:pkcs11:token=tok',
                                            @options), '-out', $file);
    });
    is(sum_of($calls), 0, '… no token is touched');
    ok(!-s $file, '… nothing is written');
}
for my $case (
    ['salt', '222', 'SHA256', 'Minimum Salt Length: (0x)?(DE|222)\b'],
    ['mgf1', '20', 'SHA512', 'MGF1 with (SHA2-384|sha384)'],
) {
    my ($name, $salt, $md, $shows) = @$case;
    my $key = "$dir/pss-$name.pem";
    ok_openssl(\%how, "RSA-PSS: $name: the most that fits", @genpkey,
        qw(-algorithm RSA-PSS), options("pkcs11_uri:pkcs11:token=tok",
            "pkcs11_label:pss-$name", "rsa_pss_keygen_md:$md",
            "rsa_pss_keygen_saltlen:$salt",
            $name eq 'mgf1' ? 'rsa_pss_keygen_mgf1_md:SHA384' : ()),
        '-out', $key);
    my $public = openssl(\%how, 'pkey', '-in', $key, '-pubout');
    my $text = openssl(alone(), 'pkey', '-pubin', '-in',
                             spew("$dir/pss-$name.pub", $public->{out}),
                             qw(-noout -text))->{out};
    like($text, qr/$shows/i, '… the file says so, to any openssl');
    $token->tool('--delete-object', '--type', $_, '--label', "pss-$name")
        for qw(privkey pubkey);
}

# A token that does not keep what was asked for, or takes none of it

my $fails = P11::Count->new($token, fail => 'C_GenerateKeyPair=0xd1');
openssl_refuses({ env => $fails->token->conf_env }, 'refused by the token',
    [qr/CKR_TEMPLATE_INCONSISTENT/, qr/pkcs11_copyable/, qr/leave out/],
    @genpkey, qw(-algorithm EC -pkeyopt group:P-256),
    options('pkcs11_token:tok', 'pkcs11_copyable:no'));
# With CKA_DERIVE, which nobody asked for; without; and without CKA_VERIFY.
is($fails->calls('C_GenerateKeyPair'), 3,
   '… after tries without what nobody asked for');
# Refused, it says, and made all the same: the next try would make a second.
my $makes = P11::Count->new($token, fail => 'C_GenerateKeyPair!=0xd1');
openssl_refuses({ env => $makes->token->conf_env }, 'refused, and made',
    [qr/CKR_TEMPLATE_INCONSISTENT/, qr/is there now/, qr/delete it/],
    @genpkey, qw(-algorithm EC -pkeyopt group:P-256),
    options('pkcs11_token:tok', 'pkcs11_id:7e'));
is($makes->calls('C_GenerateKeyPair'), 1, '… made once');
$token->tool('--delete-object', '--type', $_, '--id', '7e')
    for qw(privkey pubkey);
for my $case (
    ['copyable', 'no', '0x171=x01'], ['copyable', 'no', '0x171@2=none'],
    ['allowed_mechanisms', 'CKM_ECDSA', '0x40000600=none'],
    ['allowed_mechanisms', 'CKM_ECDSA', '0x40000600=x4210000000000000'],
    ['end_date', '2027-01-31', '0x111@2=x3230323730313330'],
    ['always_authenticate', 'yes', '0x202=x00'],
) {
    my ($name, $value, $lie) = @$case;
    my $lies = P11::Count->new($token, lie => $lie);
    refused({ env => $lies->token->conf_env }, "not kept: $name ($lie)",
        [qr/without pkcs11_$name as given/, qr/deleted again/],
        @genpkey, qw(-algorithm EC -pkeyopt group:P-256),
        options('pkcs11_token:tok', "pkcs11_$name:$value"));
    is($lies->calls('C_GenerateKeyPair'), 1, '… made once');
    is($lies->calls('C_DestroyObject'), 2, '… and both halves deleted');
}

sub forget {
    my ($id) = @_;
    $token->tool('--delete-object', '--type', $_, '--id', $id)
        for qw(privkey pubkey);
    return;
}

# What nobody asked for: a key that can be had in clear. That the token does not
# tell it is no reason to refuse it.
for my $case (['extractable', '0x162@3=x01', qr/is extractable/],
              ['not sensitive', '0x103@3=x00', qr/is not sensitive/],
              ['untold', '0x162@3=none 0x103@3=none']) {
    my ($name, $lie, $words) = @$case;
    my $lies = P11::Count->new($token, lie => $lie);
    my $how = { env => $lies->token->conf_env };
    my @command = (@genpkey, qw(-algorithm EC -pkeyopt group:P-256),
                   options('pkcs11_token:tok', 'pkcs11_id:7d'));
    if (defined $words) {
        refused($how, "by default: $name", [$words, qr/deleted again/],
                @command);
        is($lies->calls('C_DestroyObject'), 2, '… both halves deleted');
        next;
    }
    ok_openssl($how, "by default: $name", @command, '-out', "$dir/untold.pem");
    is($lies->calls('C_DestroyObject'), 0, '… it stays');
    forget('7d');
}
for my $case (['extractable', '0x162@3=x01', 'pkcs11_extractable:yes'],
              ['not sensitive', '0x103@3=x00 0x162@3=x01',
               'pkcs11_sensitive:no', 'pkcs11_extractable:yes']) {
    my ($name, $lie, @asked) = @$case;
    my $lies = P11::Count->new($token, lie => $lie);
    ok_openssl({ env => $lies->token->conf_env }, "as asked: $name", @genpkey,
               qw(-algorithm EC -pkeyopt group:P-256),
               options(qw(pkcs11_token:tok pkcs11_id:7d), @asked), '-out',
               "$dir/asked.pem");
    forget('7d');
}

# The session went while the pair was made: it may be there, and is, without a
# name that would tell; a second one is not made.
my $else = P11::Token->make('SoftHSM', label => 'else');
my @pair = (@genpkey, qw(-algorithm EC -pkeyopt group:P-256),
            options('pkcs11_token:else'));
my $closes = P11::Count->new($else, fail => 'C_GenerateKeyPair#1!=0xb0');
openssl_fails({ env => $closes->token->conf_env },
    'its session was closed meanwhile', qr/CKR_SESSION_CLOSED/, @pair);
is($closes->calls('C_GenerateKeyPair'), 1, '… one pair');
# And where it was never there, nothing was begun.
my $void = P11::Count->new($else, fail => 'C_GenerateKeyPair#1=0xb3');
ok_openssl({ env => $void->token->conf_env }, 'its session was gone before',
    @pair, '-out', "$dir/again.pem");
is($void->calls('C_GenerateKeyPair'), 2, '… made at the second attempt');

# The callback

for my $case (
    # cancelled at, told, status, calls of C_GenerateKeyPair
    [0, "told 0 0\ntold 0 1\ntold 3 0\nmade\n", 0, 1],
    [1, "told 0 0\nnot made\n", 1, 0],
    [2, "told 0 0\ntold 0 1\nnot made\n", 1, 0],
    [3, "told 0 0\ntold 0 1\ntold 3 0\nmade\n", 0, 1],
) {
    my ($cancel, $told, $status, $n) = @$case;
    my $result;
    my $calls = $count->during(sub {
        $result = run_in(\%how, $program, 'EC', $cancel, 'group=P-256',
                         'pkcs11_token=tok', 'pkcs11_storage=session');
    });
    is($result->{out}, $told, "cancelled at $cancel: what is told");
    is($result->{status}, $status, '… and how it ends') or diag($result->{err});
    is($calls->{C_GenerateKeyPair} // 0, $n, "… C_GenerateKeyPair: $n");
    is(sum_of($calls), 0, '… no token is touched') if $cancel == 1;
    my @entries = grep { /:error:/ } split /\n/, $result->{err};
    is(scalar @entries, $status, '… with ' . ($status ? 'one' : 'no')
       . ' error');
    like($result->{err}, qr/:pkcs11:.*:cancelled:.*callback/,
         '… that says what happened') if $status;
}
my $soft = ok_run(\%how, 'a software key is made', $program, 'RSA', 0,
                  'bits:2048');
like($soft->{out}, qr/^told \d+ \d+\n/, '… and tells of it, as ever');

my $n_after = () = $token->tool('--list-objects')->{out} =~ /^\w.* Object/mg;
is($n_after, $n_before, 'the token holds what it held before');

# One of a kind is enough there.
errors_are_on_page(apart => [map { "refused: $_" } 'shown, and expressly not',
    'an id of other letters', 'an id that ends in a colon', 'no storage',
    "a maker's mechanism that it has not", 'a use that is none',
    'a restricted key, and another padding',
    map { "no date: $_" } qw(2027-02-29 2100-02-29 2027-13-01 2027-00-10
                             2027-1-1 20270101 2027-01-01T00 0000-01-01), '']);
done_testing();
