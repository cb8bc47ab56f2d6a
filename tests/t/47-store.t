#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The store: certificates and their chains, searches by name, label and
# fingerprint, many objects one after the other, and deleting one.
use strict;
use warnings;

use File::Temp ();
use Test::More;
use P11::Cli;
use P11::Count;
use P11::Test;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');
my $token = P11::Token->needs('SoftHSM');
my $dir = scratch();
my $count = P11::Count->new($token);
my %how = (env => $count->token->conf_env);

# ---- certificates: root → middle → leaf, an old root of the same name, and
# one that nobody issued; made by openssl without us

my $number = 0;
sub certificate {
    my ($name, $subject, $issuer, @ext) = @_;
    my $key = "$dir/$name.key";
    openssl(alone(), qw(genpkey -algorithm EC -pkeyopt group:P-256 -out),
            $key) if !-e $key;
    my $ext = spew("$dir/ext", "[e]\n" . join "\n", @ext, '');
    openssl({ env => { OPENSSL_CONF => $how{env}{OPENSSL_CONF} } }, qw(req -new
        -key), $key, '-subj', $subject, '-out', "$dir/csr");
    my $result = openssl(alone(), qw(x509 -req -days 30 -set_serial),
        '0x7f0' . ++$number, '-in', "$dir/csr", '-out', "$dir/$name.crt",
        '-extfile', $ext, '-extensions', 'e', defined $issuer
            ? ('-CA', "$dir/$issuer.crt", '-CAkey', "$dir/$issuer.key")
            : ('-signkey', $key));
    die $result->{err} if $result->{status} != 0;
    openssl(alone(), 'x509', '-in', "$dir/$name.crt", '-outform', 'DER',
            '-out', "$dir/$name.der");
    return;
}

my @ids = ('subjectKeyIdentifier=hash', 'authorityKeyIdentifier=keyid');
my @ca = (@ids, 'basicConstraints=critical,CA:true');
certificate('old', '/O=Test/CN=root', undef, @ca);
certificate('root', '/O=Test/CN=root', undef, @ca);
certificate('middle', '/O=Test/CN=middle', 'root', @ca);
certificate('leaf', '/O=Test/CN=leaf', 'middle', @ids);
certificate('lone', '/O=Test/CN=lone', 'middle', @ids);
certificate('alone', '/O=Test/CN=alone', undef);
my %id = (old => '51', root => '52', middle => '53', leaf => '54',
          alone => '56');
$token->add_certificate("$dir/$_.der", $_, $id{$_}) for sort keys %id;
$token->tool('--write-object', "$dir/leaf.key", '--type', 'privkey',
             '--label', 'leaf', '--id', '54', '--usage-sign');

sub text_of { return scalar slurp("$dir/$_[0].crt") }

# What storeutl writes: the names of the certificates above, and "key".
my %name_of = map { (text_of($_) =~ s/\s//gr => $_) } sort keys %id;
sub listed {
    my ($name, @arguments) = @_;
    my $result = ok_openssl(\%how, $name, 'storeutl', @arguments);
    is_quiet($result, "$name: quietly");
    return join ' ', map { $name_of{ s/\s//gr } // 'key' }
        $result->{out} =~ /(-----BEGIN .*?-----END [^\n]*)/sg;
}

my $leaf = $token->uri(object => 'leaf', type => 'cert');
my $calls = $count->during(sub {
    is(listed('a leaf', $leaf), 'leaf middle root', '… and its chain');
});
is($calls->{C_Login} // 0, 0, '… without a PIN');
is(listed('only certificates', '-certs', $token->uri(object => 'leaf')),
   'leaf middle root', '… without type=');
is(listed('by id', $token->uri(id => '%54', type => 'cert')),
   'leaf middle root', '… the same');
is(listed('a CA', $token->uri(object => 'middle', type => 'cert')),
   'middle', '… is what was named');
is(listed('one that nobody issued',
          $token->uri(object => 'alone', type => 'cert')), 'alone',
   '… has no chain');
like(listed('all', $token->uri(type => 'cert')),
     qr/^(?=.*\broot\b)(?=.*\bold\b)(\w+ ){4}\w+$/, '… once each');
my %unchained = (env => $count->token->conf_env(file => 'unchained.cnf',
    settings => { 'pkcs11-module-certificate-chain' => 'false' }));
my $single = ok_openssl(\%unchained, 'without chains', 'storeutl', $leaf);
is(scalar(() = $single->{out} =~ /BEGIN CERT/g), 1, '… there is one');

# Where applications take it from

my $shown = ok_openssl(\%how, 'x509 -in', 'x509', '-in', $leaf, '-pubkey',
                       '-out', "$dir/shown");
is(slurp("$dir/shown") =~ s/.*(?=-----BEGIN CERT)//sr, text_of('leaf'),
   '… is the leaf');
$calls = $count->during(sub {
    openssl(\%how, 'x509', '-in', $leaf, '-noout');
});
is($calls->{C_FindObjectsInit}, 1, '… for which no chain is looked for')
    or diag(P11::Count::text($calls));
ok_openssl(\%how, 'the public half from a certificate', 'pkey', '-pubin',
    '-in', $token->uri(object => 'middle'), '-pubout', '-out', "$dir/pub");
is(slurp("$dir/pub"), ok_alone('… as openssl has it', 'x509', '-in',
   "$dir/middle.crt", '-noout', '-pubkey')->{out}, '… is that');
ok_openssl(\%how, 'verify by a chain on the token', 'verify', '-CAfile',
    "$dir/root.crt", '-untrusted', $leaf, "$dir/leaf.crt");
openssl_fails(\%unchained, '… not where there is none', qr/unable to get/,
    'verify', '-CAfile', "$dir/root.crt", '-untrusted', $leaf,
    "$dir/leaf.crt");
ok_openssl(\%how, 'verify -CAstore, which searches by subject', 'verify',
    '-no-CAfile', '-no-CApath', '-CAstore', $token->uri(type => 'cert'),
    "$dir/lone.crt");
openssl_fails(\%how, '… not where no issuer is there', qr/unable to get/,
    'verify', '-no-CAfile', '-no-CApath', '-CAstore',
    $token->uri(object => 'leaf', type => 'cert'), "$dir/lone.crt");

# ---- searches

my $all = $token->uri(type => 'cert');
my $both = $token->uri;
my %hash = map {
    my $name = $_;
    my $der = ok_alone("$name: its key", 'x509', '-in', "$dir/$name.crt",
        '-noout', '-pubkey')->{out};
    openssl(alone(), 'pkey', '-pubin', '-in', spew("$dir/$name.pub", $der),
            '-outform', 'DER', '-out', "$dir/$name.spki");
    ($name => { map { my ($md, $what) = split /:/;
        ("$md:$what" => (split ' ', ok_alone("$name: $md of its $what", 'dgst',
            "-$md", '-r', "$dir/$name.$what")->{out})[0]) }
        qw(sha1:spki sha256:spki sha256:der) })
} qw(leaf root);
my ($ski) = ok_alone('a key identifier', 'x509', '-in', "$dir/leaf.crt",
    '-noout', '-ext', 'subjectKeyIdentifier')->{out} =~ /^\s+([0-9A-F:]+)$/m;

for my $case (
    # name, URI, search, what comes
    ['subject', $all, ['-subject', '/O=Test/CN=middle'], 'middle'],
    ['subject, among all objects', $both, ['-subject', '/O=Test/CN=leaf'],
     'leaf'],
    ['subject in other letters', $all, ['-subject', '/O=TEST/CN=Middle'],
     'middle'],
    ['subject of two', $all, ['-subject', '/O=Test/CN=root'],
     qr/^(root old|old root)$/],
    ['subject of none', $all, ['-subject', '/O=Test/CN=none'], ''],
    ['subject, where the URI names another', $leaf,
     ['-subject', '/O=Test/CN=root'], ''],
    ['subject, where the URI names it', $leaf,
     ['-subject', '/O=Test/CN=leaf'], 'leaf'],
    ['issuer and serial', $all,
     [qw(-issuer /O=Test/CN=root -serial 0x7f03)], 'middle'],
    ['issuer, and another serial', $all,
     [qw(-issuer /O=Test/CN=root -serial 0x7f02)], 'root'],
    ['issuer, and none', $all, [qw(-issuer /O=Test/CN=root -serial 1)], ''],
    ['alias', $all, [qw(-alias middle)], 'middle'],
    ['alias, among all', $both, [qw(-alias leaf)], 'key leaf'],
    ['alias, keys only', $both, [qw(-keys -alias leaf)], 'key'],
    ['alias, certificates only', $both, [qw(-certs -alias leaf)], 'leaf'],
    ['alias of none', $both, [qw(-alias none)], ''],
    ['alias, and another label', $leaf, [qw(-alias root)], ''],
    ['fingerprint', $both, ['-fingerprint', $hash{leaf}{'sha256:spki'},
                            '-sha256'], 'key leaf'],
    ['fingerprint by SHA-1', $all, ['-fingerprint', $hash{root}{'sha1:spki'},
                                    '-sha1'], 'root'],
    ['fingerprint of a certificate', $all,
     ['-fingerprint', $hash{root}{'sha256:der'}, '-sha256'], 'root'],
    ['key identifier', $all, ['-fingerprint', $ski =~ s/://gr, '-sha1'],
     'leaf'],
    ['fingerprint of none', $both, ['-fingerprint', '00' x 20, '-sha1'], ''],
    ['fingerprint, where the URI names another',
     $token->uri(object => 'root', type => 'cert'),
     ['-fingerprint', $hash{leaf}{'sha256:spki'}, '-sha256'], ''],
) {
    my ($name, $uri, $search, $want) = @$case;
    my $is = listed("by $name", @$search, $uri);
    ref $want ? like($is, $want, "… comes it") : is($is, $want, '… comes it');
}
$calls = $count->during(sub {
    listed('by subject', '-subject', '/O=Test/CN=middle', $all);
});
is($calls->{C_GetAttributeValue}, 2, '… only what is found is read')
    or diag(P11::Count::text($calls));
is($calls->{C_Login} // 0, 0, '… without a PIN');
openssl_refuses(\%how, 'a fingerprint by a digest that nobody has',
    [qr/"MD4"/], 'storeutl', '-noout', '-fingerprint', '00' x 16, '-md4',
    $all);
openssl_refuses(\%how, 'a search on a token that is not there',
    [qr/no token matches/], 'storeutl', '-noout', '-subject', '/CN=x',
    'pkcs11:token=none');

# ---- very many objects

my $shm = -w '/dev/shm' ? File::Temp->newdir('p11-XXXXXXXX',
    DIR => '/dev/shm') : undef;
my $many = P11::Token->make('SoftHSM', label => 'many',
                            dir => defined $shm ? "$shm" : scratch('many'));
my ($n_public, $n_private) = (200, 40);
ok_run({ env => $many->env }, "$n_public public keys, $n_private private",
       'sh', '-ec', '"$0" "$@" public ' . $n_public
       . '; "$0" "$@" private ' . $n_private,
       builddir() . '/tests/c/many_key', $many->module, 'many', $many->pin);
my $counted = P11::Count->new($many);
my %many = (env => $counted->token->conf_env);

for my $case (
    ['all', '', $n_public + $n_private],
    ['public keys', ';type=public', $n_public],
    ['private keys', ';type=private', $n_private],
) {
    my ($name, $type, $n) = @$case;
    my $result;
    my $calls = $counted->during(sub {
        $result = ok_use_key(\%many, "many: $name",
                             "list=pkcs11:token=many$type");
    });
    my ($got, $grown) = $result->{out} =~ /listed (\d+), grown (-?\d+)/;
    is($got, $n, "… $n come");
    SKIP: {
        skip('a sanitizer keeps what was freed', 1) if sanitizer();
        # Handles, and whatever malloc() leaves between.
        cmp_ok($grown, '<', 2000, '… and none stays in memory');
    }
    # The private ones' halves: some searches, each by id, by label and, since
    # the halves have other ids, for another key of that id; then an index, of
    # the private ones too; else one each.
    my $searches = $type eq ';type=public' ? 1 : 3 + 3 * 8 + 3;
    cmp_ok($calls->{C_FindObjectsInit}, '<=', $searches,
           "… by at most $searches searches");
    cmp_ok($calls->{C_FindObjects}, '<=', $searches + 2 * $n_public / 64 + 2,
           '… in rooms of 64');
    my $reads = $type eq ';type=public' ? $n
        : $n + $n_public + 3 * $n_private + 10;
    cmp_ok($calls->{C_GetAttributeValue}, '<=', $reads,
           "… C_GetAttributeValue: at most $reads")
        or diag(P11::Count::text($calls));
}
$calls = $counted->during(sub {
    ok_use_key(\%many, 'many: the first of all', 'load=pkcs11:token=many');
});
cmp_ok($calls->{C_GetAttributeValue}, '<=', 6,
       '… comes before others are read') or diag(P11::Count::text($calls));

# What comes near is named first, among many, for not much more than a call for
# each of them.
my $near;
$calls = $counted->during(sub {
    $near = openssl_refuses(\%many, 'many: a slip in a label',
        qr/no private key matches/, 'pkey', '-noout', '-in',
        'pkcs11:token=many;object=Many%2037;type=private');
});
is(($near->{entry} =~ /; there is pkcs11:\S*;object=([^;]*);/)[0],
   'many%2037', '… the one that is meant comes first');
is(scalar(() = $near->{entry} =~ /;object=many%20/g), 5, '… of five');
cmp_ok($calls->{C_GetAttributeValue}, '<=', 2 * $n_private + 10,
       '… for so many calls') or diag(P11::Count::text($calls));

# Where nothing is, or it fails on the way

my $empty = P11::Token->make('SoftHSM', label => 'empty');
for my $case (
    ['', qr/no object matches .*; there is no private key on it; store one/],
    [';type=cert', qr/no certificate matches .*; there is no certificate on it/],
    [';type=private', qr/no private key .*; there is no private key on it/],
    [';type=public', qr/no public key .*; there is no public key on it/],
    [';object=x', qr/no object matches .*; there is no private key on it/],
) {
    my ($which, $words) = @$case;
    openssl_refuses({ env => $empty->conf_env }, "an empty token$which",
                    $words, 'storeutl', '-noout', "pkcs11:token=empty$which");
}
my $lies = P11::Count->new($many, lie => '0x100=x03000000');
openssl_fails({ env => $lies->token->conf_env }, 'keys of no known kind',
    qr/error/i, 'storeutl', '-noout', 'pkcs11:token=many;type=private');
my $fails = P11::Count->new($many, fail => 'C_FindObjects#1+=0x30');
refused({ env => $fails->token->conf_env }, 'a search that fails',
    [qr/CKR_DEVICE_ERROR/], 'storeutl', '-noout', 'pkcs11:token=many');
$fails = P11::Count->new($many, fail => 'C_GetAttributeValue#20+=0x30');
refused({ env => $fails->token->conf_env }, 'a read that fails',
    [qr/CKR_DEVICE_ERROR/], 'storeutl', '-noout', 'pkcs11:token=many');

# ---- deleting

$token->keypair('EC:prime256v1', 'pair', '61');
$token->keypair('EC:prime256v1', 'other', '62');
sub kinds_of {
    my ($label) = @_;
    my $seen = run_in({ env => $token->env }, builddir() . '/tests/c/see_key',
        $token->module, 'tok', $token->pin, $label);
    return join ' ', sort map { (split)[0] } split /\n/, $seen->{out};
}

my $has_delete = ok_use_key(\%how, 'use_key', 'sleep=1')
    && use_key(\%how, 'delete=pkcs11:')->{err} !~ /no OSSL_STORE_delete/;
SKIP: {
    skip('OSSL_STORE_delete came with OpenSSL 3.2', 1) if !$has_delete;
    my $pair = $token->uri(object => 'pair');
    for my $case (
        ['a pair', $pair, qr/^(?=.*type=private)(?=.*type=public).*2 objects match/m],
        ['an id of a pair', $token->uri(id => '%61'), qr/2 objects match/],
        ['a whole token', $both, qr/names no object/],
        ['all keys', $token->uri(type => 'private'), qr/names no object/],
        ['an empty id', $token->uri(id => '', type => 'private'),
         qr/names no object|id/],
        ['none', $token->uri(object => 'none', type => 'private'),
         qr/no object matches/],
        ['a class that it has not', $token->uri(object => 'pair',
         type => 'cert'), qr/no object matches/],
        ['another id', $token->uri(object => 'pair', id => '%62'),
         qr/no object matches/],
        ['no such token', 'pkcs11:token=none;object=pair', qr/no token/],
        ['a bad URI', 'pkcs11:tokn=tok;object=pair', qr/"tokn"/],
        ['a wrong PIN', "$pair;type=private?pin-value=4321",
         qr/CKR_PIN_INCORRECT/],
    ) {
        my ($name, $uri, $pattern) = @$case;
        my $calls = $count->during(sub {
            use_key_fails(\%how, "not deleted: $name", $pattern,
                          "delete=$uri");
        });
        is($calls->{C_DestroyObject} // 0, 0, '… nothing is destroyed');
    }
    is(kinds_of('pair'), 'private public', 'all is as it was');

    my $protected = P11::Count->new($token, flags => 0x2);
    use_key_fails({ env => $protected->token->conf_env },
        'not deleted: from a token that is read-only',
        qr/CKR_TOKEN_WRITE_PROTECTED/, "delete=$pair;type=private");
    is($protected->calls('C_Login'), 0, '… which gets no PIN');
    openssl(\%how, qw(genpkey -propquery ?provider=pkcs11 -algorithm EC
        -pkeyopt group:P-256 -pkeyopt pkcs11_token:tok -pkeyopt
        pkcs11_label:stays -pkeyopt pkcs11_destroyable:no -out /dev/null));
    use_key_fails(\%how, 'not deleted: one that is to stay',
        [qr/CKR_ACTION_PROHIBITED/, qr/CKA_DESTROYABLE/],
        'delete=' . $token->uri(object => 'stays', type => 'private'));
    is(kinds_of('stays'), 'private public', '… it does');
    my $refuses = P11::Count->new($token, fail => 'C_DestroyObject=0x30');
    use_key_fails({ env => $refuses->token->conf_env },
        'not deleted: by a token that fails', qr/CKR_DEVICE_ERROR/,
        "delete=$pair;type=private");
    is($refuses->calls('C_DestroyObject'), 1, '… once');
    $token->add_token('second');
    use_key_fails(\%how, 'not deleted: from any of several tokens',
        qr/may be on any of \d+ tokens/, 'delete=pkcs11:object=pair');

    my $calls = $count->during(sub {
        ok_use_key(\%how, 'a private key is deleted',
                   "delete=$pair;type=private");
    });
    is($calls->{C_DestroyObject}, 1, '… by one call');
    is(kinds_of('pair'), 'public', '… and nothing else');
    ok_use_key(\%how, 'the only one of its name', "delete=$pair");
    is(kinds_of('pair'), '', '… is gone, too');
    is(kinds_of('other'), 'private public', '… and others are not');
    ok_use_key(\%how, 'a certificate', "delete=$leaf");
    is(kinds_of('leaf'), 'private', '… goes without its key');
    my %bare = (env => $count->token->bare_env);
    my $result = ok_use_key(\%bare, 'with a PIN that is asked for',
        'provider=default', 'provider=pkcs11', 'answer=' . $token->pin,
        'delete=' . $token->uri(object => 'other', type => 'private'));
    is($result->{out}, "asked\n", '… once');
    is(kinds_of('other'), 'public', '… it is deleted');
}
done_testing();
