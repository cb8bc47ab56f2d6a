#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# What tokens do that others do not: refusals that lists of mechanisms do not
# tell of, templates, sessions that run out, points in other clothes, tokens
# without a PIN. Real tokens where there is one, else the counting module feigns
# it in front of SoftHSM. doc/tokens.md has what is known of each.
use strict;
use warnings;
no warnings 'qw';       # "fork=3,2" is one word

use Test::More;
use P11::Test;
use P11::Token::OpenCryptoki ':world';
use P11::Cli;
use P11::Count;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');
my $softhsm = P11::Token->needs('SoftHSM');
my $dir = scratch();
my $data = spew("$dir/data", join "\n", 1 .. 500);
my %uri = (rsa => $softhsm->keypair('rsa:2048', 'rsa', '01') . ';type=private',
           ec => $softhsm->keypair('EC:prime256v1', 'ec', '02')
               . ';type=private');
my $n = 0;

# { how } and the counts of a token that is feigned.
sub feigned {
    my ($token, %options) = @_;
    my $count = P11::Count->new($token, %options);
    return ({ env => $count->token->conf_env(file => 'f' . ++$n . '.cnf') },
            $count);
}

# What SoftHSM does here, and what it says that it does besides.
sub boasts {
    my ($real, $told) = @_;
    my $token = P11::Token->make('SoftHSM', mechanisms =>
                                 "CKM_RSA_PKCS_KEY_PAIR_GEN,$real");
    my $uri = $token->keypair('rsa:2048', 'rsa', '01') . ';type=private';
    return ($uri, feigned($token, mechanisms => "0x0 $told"));
}

# --- a refusal is remembered: the second time costs what it must ---

my $all = '0x1 0x3 0x9 0xd';
for my $row (
    # what it does, what is done, C_…Init in all and acts
    ['CKM_RSA_X_509', ['sign=5'], C_SignInit => 6, C_Sign => 5],
    ['CKM_RSA_X_509', [qw(pss sign=5)], C_SignInit => 6, C_Sign => 5],
    ['CKM_RSA_X_509', [qw(sign=2 pss sign=2)], C_SignInit => 6, C_Sign => 4],
    ['CKM_RSA_X_509', ['decrypt=5'], C_DecryptInit => 5, C_Decrypt => 5],
    ['CKM_RSA_X_509', ['oaep=5'], C_DecryptInit => 5, C_Decrypt => 5],
    ['CKM_RSA_PKCS,CKM_RSA_PKCS_OAEP', ['oaep=5'],
     C_DecryptInit => 6, C_Decrypt => 5],
    ['CKM_RSA_X_509', ['sign', 'fork=2', '[', 'sign=2', ']', 'sign'],
     C_SignInit => 9, C_Sign => 6],
) {
    my ($real, $steps, %want) = @$row;
    my ($uri, $how, $count) = boasts($real, $all);
    ok_use_key($how, "$real alone: @$steps", "load=$uri", @$steps);
    my $calls = $count->read;
    is_deeply({ map { $_ => $calls->{$_} } keys %want }, \%want,
              '… the refusal is not asked for again')
        or diag(P11::Count::text($calls));
}
{
    my ($uri, $how, $count) = boasts('CKM_SHA256_RSA_PKCS', '0x1 0x3');
    openssl_refuses($how, 'where none serves, that is told',
        [qr/:CKR_MECHANISM_INVALID:/, qr/C_SignInit/], 'pkeyutl', '-sign',
        '-inkey', $uri, '-in', spew("$dir/hash", 'x' x 32), '-pkeyopt',
        'digest:sha256', '-out', "$dir/sig");
    is($count->calls('C_SignInit'), 2, '… after both were asked for');
}
# SoftHSM's own: PSS with SHA-3 is refused in C_SignInit.
for my $salt (32, 20) {
    my ($how, $count) = feigned($softhsm);
    my @command = (qw(dgst -sha3-256 -sigopt rsa_padding_mode:pss -sigopt),
                   "rsa_pss_saltlen:$salt");
    ok_openssl($how, "PSS with SHA3-256, salt $salt", @command, '-sign',
               $uri{rsa}, '-out', "$dir/sig", $data);
    ok_openssl($how, '… and its public half', 'pkey', '-in', $uri{rsa},
               '-pubout', '-out', "$dir/pub");
    ok_alone('… is good', @command, '-verify', "$dir/pub", '-signature',
             "$dir/sig", $data);
    alone_fails('… for no other text', qr/Verification failure/i, @command,
                '-verify', "$dir/pub", '-signature', "$dir/sig", "$dir/pub");
    is_deeply([map { $count->calls($_) } qw(C_SignInit C_Sign)], [2, 1],
              '… by the second way');
}
# openCryptoki finds out in C_Sign only that the key does not allow it.
for my $refusal (0x70, 0x71, 0x63, 0x62, 0x54, 0x68) {
    my ($how, $count) = feigned($softhsm,
        fail => sprintf 'C_Sign#1=%#x', $refusal);
    ok_use_key($how, sprintf('C_Sign says %#x', $refusal), "load=$uri{rsa}",
               'sign=3');
    is($count->calls('C_SignInit'), 4, '… and another way serves');
}

# --- templates ---

sub generate {
    my ($label, %pkeyopt) = @_;
    my $uri = $softhsm->uri(object => $label);
    return ('genpkey', '-propquery', 'provider=pkcs11', '-algorithm', 'EC',
            map({ ('-pkeyopt', $_) } 'group:P-256', "pkcs11_uri:$uri"),
            '-out', "$dir/$label.pem");
}

for my $row (['0x10c', 'CKA_DERIVE', 'rsa'], ['0x10a', 'CKA_VERIFY', 'ec'],
             ['0x106 0x107', 'CKA_WRAP', 'rsa'],
             ['0x104', 'CKA_ENCRYPT', 'rsa']) {
    my ($refuse, $name, $type) = @$row;
    my $label = "without $name";
    my ($how, $count) = feigned($softhsm, refuse => $refuse);
    my $uri = $softhsm->uri(object => $label);
    my $log = "$dir/log-$n";
    my @command = ('genpkey', '-propquery', 'provider=pkcs11', '-algorithm',
        $type eq 'rsa' ? ('RSA', '-pkeyopt', 'rsa_keygen_bits:2048',
                          '-pkeyopt', 'pkcs11_key_usage:digitalSignature')
                       : ('EC', '-pkeyopt', 'group:P-256'),
        '-pkeyopt', "pkcs11_uri:$uri", '-out', "$dir/key-$n.pem");
    ok_openssl({ env => { %{ $how->{env} },
                          PKCS11_PROVIDER_DEBUG => "file:$log,level:1" } },
               "a key $label", @command);
    like(slurp($log), qr/made without \Q$name\E/, '… which is told');
    cmp_ok($count->calls('C_GenerateKeyPair'), '>', 1, '… after a refusal');
    ok_use_key({ env => $softhsm->conf_env }, '… it signs',
               "load=$uri;type=private", 'sign=2');
    my $object = object($softhsm, 'Private Key', $label);
    like($object, qr/Access:.*sensitive.*never extractable/s,
         '… and does not leave the token');
}
for my $row (['0x103', 'CKA_SENSITIVE'], ['0x162', 'CKA_EXTRACTABLE'],
             ['0x102', 'CKA_ID'], ['0x108', 'CKA_SIGN']) {
    my ($refuse, $name) = @$row;
    my ($how, $count) = feigned($softhsm, refuse => $refuse);
    openssl_refuses($how, "no key without $name",
        [qr/:CKR_ATTRIBUTE_TYPE_INVALID:/, qr/C_GenerateKeyPair/],
        generate("no $name"));
}
# Twice the same answer for some other reason: nothing is left out for that.
{
    my ($how, $count) = feigned($softhsm, fail => 'C_GenerateKeyPair=0x31');
    openssl_refuses($how, 'a token that is full',
                    [qr/CKR_DEVICE_MEMORY|full/], generate('full'));
    is($count->calls('C_GenerateKeyPair'), 1, '… is asked once');
}

# Shared secrets: what is refused is left out, and not sent again.
for my $row ([refuse => '0x1', 3 + 4, 'CKA_TOKEN'],
             [fail => 'C_DeriveKey#1=0xd0', 1 + 5, 'CKA_VALUE_LEN is wanted'],
             [fail => 'C_DeriveKey#1=0xd1', 1 + 5, 'it is inconsistent']) {
    my ($option, $value, $want, $name) = @$row;
    my ($how, $count) = feigned($softhsm, $option => $value);
    ok_use_key($how, "a shared secret: $name", "load=$uri{ec}", 'derive=5');
    is($count->calls('C_DeriveKey'), $want, "… $want attempts for five");
    is($count->calls('C_DestroyObject'), 5, '… of which five made one');
}
{
    my ($how, $count) = feigned($softhsm, refuse => '0x100');
    use_key_fails($how, 'a shared secret without CKA_KEY_TYPE is none',
        qr/CKR_ATTRIBUTE_TYPE_INVALID/, "load=$uri{ec}", 'derive');
}

# --- OAEP by the token, where it has no raw RSA, and by us where it has ---

my @oaep = map { "rsa_padding_mode:oaep $_" } 'rsa_oaep_md:sha1',
    'rsa_oaep_md:sha256', 'rsa_oaep_md:sha256 rsa_mgf1_md:sha1',
    'rsa_oaep_md:sha384 rsa_oaep_label:6c6162656c', 'rsa_oaep_md:sha512',
    'rsa_oaep_label:6c6162656c';
my $secret = spew("$dir/secret", 'x' x 32);

sub opts { return map { ('-pkeyopt', $_) } split / /, $_[0] }

sub encrypted_for {
    my ($pub, $options) = @_;
    ok_alone("(encrypting, $options)", 'pkeyutl', '-encrypt', '-pubin',
             '-inkey', $pub, '-in', $secret, '-out', "$dir/cipher",
             opts($options));
    return;
}

sub decrypts {
    my ($name, $how, $count, $uri, $pub) = @_;
    for my $options (@oaep) {
        encrypted_for($pub, $options);
        unlink "$dir/out";
        my @command = ('pkeyutl', '-decrypt', '-inkey', $uri, '-in',
                       "$dir/cipher", '-out', "$dir/out");
        my $calls = $count->during(sub {
            is_quiet(ok_openssl($how, "$name: $options", @command,
                                opts($options)), '… quietly');
        });
        is(slurp("$dir/out"), slurp($secret), '… the message');
        is_deeply([@$calls{qw(C_DecryptInit C_Decrypt)}], [1, 1],
                  '… by one decryption of the token')
            or diag(P11::Count::text($calls));
        openssl_fails($how, '… and not with another label', qr/pkcs11|oaep/i,
                      @command, opts("$options rsa_oaep_label:00"));
    }
    return;
}

for my $backend ('NSS', 'OpenCryptoki') {
    subtest "OAEP on $backend" => sub {
        my $why = P11::Token->missing($backend);
        $why //= "a sanitizer finds faults in the module of $backend"
            if sanitizer() && $backend eq 'OpenCryptoki';
        plan(skip_all => $why) if defined $why;
        my $token = P11::Token->make($backend);
        my $uri = $token->keypair('rsa:2048', 'oaep', '01') . ';type=private';
        my $pub = "$dir/$backend.pub";
        ok_openssl({ env => $token->conf_env }, 'its public half', 'pkey',
                   '-in', $uri, '-pubout', '-out', $pub);
        decrypts('as it is', feigned($token), $uri, $pub);
        my ($how, $count) = feigned($token, mechanisms => '0x0 0x9');
        decrypts('without raw RSA', $how, $count, $uri, $pub);
        my $unknown = 'rsa_padding_mode:oaep rsa_oaep_md:blake2s256';
        encrypted_for($pub, $unknown);
        openssl_refuses($how, 'what has no name in Cryptoki is refused',
            qr/does not offer CKM_RSA_X_509 nor CKM_RSA_PKCS_OAEP/, 'pkeyutl',
            '-decrypt', '-inkey', $uri, '-in', "$dir/cipher", opts($unknown));
    };
}

# --- sessions ---

# tpm2-pkcs11 loses sessions that threads open at once.
{
    my ($how, $count) = feigned($softhsm, one_opening => 1,
                                latency_us => 3000);
    ok_use_key($how, 'sessions are opened one after the other',
               "load=$uri{ec}", qw(in=8 [ meet sign=2 ]
               fork=1 [ in=4 [ meet sign ] ]));
    cmp_ok($count->calls('C_OpenSession'), '>', 4, '… for threads at once');
}
for my $code (0x02, 0x31, 0xb1) {
    my ($how, $count) = feigned($softhsm, manufacturer => 'Mock',
        latency_us => 500, fail => sprintf 'C_OpenSession#3+=%#x', $code);
    my $result = ok_use_key($how, sprintf('no third session (%#x)', $code),
                            "load=$uri{ec}", qw(in=8 [ sign=10 ] sign));
    # It is asked for one more each second.
    cmp_ok($count->calls('C_OpenSession'), '<=', 4 + $result->{seconds},
           '… those that are there are waited for');
}
{
    my ($how) = feigned($softhsm, manufacturer => 'Mock',
                        fail => 'C_OpenSession=0x2');
    openssl_refuses($how, 'no session at all', [qr/:CKR_HOST_MEMORY:/,
                    qr/C_OpenSession/], 'pkey', '-in', $uri{ec}, '-noout');
}
# pkcs11-proxy's clients share one login.
{
    my ($how) = feigned($softhsm, fail => 'C_Login!=0x100');
    ok_use_key($how, 'somebody else has logged in', "load=$uri{ec}", 'sign=2');
}
for my $function (qw(C_Sign C_Decrypt C_DeriveKey)) {
    my ($key, $step) = $function eq 'C_DeriveKey' ? ('ec', 'derive')
        : ('rsa', $function eq 'C_Sign' ? 'sign' : 'decrypt');
    my ($how, $count) = feigned($softhsm, fail => "$function#2=0x91");
    ok_use_key($how, "$function: the operation is lost", "load=$uri{$key}",
               "$step=3");
    is($count->calls('C_Login'), 1, '… and the login is not');
}

# --- a token behind a connection that is lost: SIGPIPE, a new start ---

# The processes that a server has forked, one for each client.
sub workers_of {
    my ($server) = @_;
    my @pids;
    for my $file (glob '/proc/[0-9]*/stat') {
        my $stat = eval { slurp($file) } // next;
        my ($pid, $parent) = $stat =~ /^(\d+) \(.*\) \S (\d+)/s or next;
        push @pids, $pid if $parent == $server->{pid};
    }
    return @pids;
}

# No process has that number, or one that has ended.
sub is_gone {
    my ($pid) = @_;
    return (eval { slurp("/proc/$pid/stat") } // '') !~ /^\d+ \(.*\) [^ZX] /s;
}

# Kills them, and waits until they are.
sub kill_all {
    my (@pids) = @_;
    kill 'KILL', @pids;
    ok(wait_for(60, sub { @pids == grep { is_gone($_) } @pids }), 'killed');
    return;
}

# Signs, and goes on when $meanwhile has been done.
sub signs_after {
    my ($token, $uri, $meanwhile) = @_;
    my ($how, $count) = feigned($token);
    my $file = "$dir/done-" . ++$n;
    my $running = start_server($how, 'use_key',
        builddir() . '/tests/c/use_key', "load=$uri", 'sign=2', "await=$file",
        'sign=3');
    ok(wait_for(60, sub { $count->calls('C_Sign') >= 2 }), 'it signs')
        or diag(slurp($running->{err}));
    $meanwhile->();
    spew($file, '');
    my $status = stop_server($running, 0);
    return ($status, slurp($running->{err}));
}

subtest 'p11-kit in front of SoftHSM' => sub {
    my $why = P11::Token->missing('P11KitRemote');
    $why //= 'a sanitizer finds faults in p11-kit' if sanitizer();
    plan(skip_all => $why) if defined $why;
    my $token = P11::Token->make('P11KitRemote');
    my $uri = $token->keypair('rsa:2048', 'far', '01') . ';type=private';
    my $server = $token->{server};
    my ($status, $said) = signs_after($token, $uri, sub {
        my @workers = workers_of($server);
        cmp_ok(scalar @workers, '>', 0, 'a worker serves');
        kill_all(@workers);
    });
    is($status, 0, 'when it dies, its client goes on with another one')
        or diag($said);
    ($status, $said) = signs_after($token, $uri, sub {
        kill_all($server->{pid}, workers_of($server));
    });
    is($status, 1 << 8, 'where there is none, its client fails, alive');
    like($said, qr/error:\S+:pkcs11:.*"tok"/, '… with words')
        or diag($said);
};

# --- what fails keeps its words, though nothing can be tidied up after it ---

{
    my ($how) = feigned($softhsm, lie => 'C_FindObjects=more', fail =>
                        'C_FindObjectsFinal=0x30 C_CloseSession=0x30');
    openssl_fails($how, 'the search is what failed',
                  qr/pkcs11:.*returned 65 objects where 64/,
                  'pkey', '-noout', '-in', $uri{ec});
}

# --- points: raw, as DER says, and as tpm2-pkcs11 writes long ones ---

for my $row (['prime256v1', '0441'], ['secp384r1', '0461'],
             ['secp521r1', '048185']) {
    my ($curve, $header) = @$row;
    my $uri = $softhsm->keypair("EC:$curve", $curve,
                              sprintf '%02x', ++$n);
    my ($point) = object($softhsm, 'Public Key', $curve)
        =~ /^\s+EC_POINT:\s+([0-9a-f]+)$/m;
    $point =~ s/^\Q$header\E//;
    my $read = sub {
        my ($form) = @_;
        my ($how) = feigned($softhsm, lie => "0x181\@2=x$form");
        return ($how, 'pkey', '-in', "$uri;type=private", '-pubout');
    };
    my $want = ok_openssl({ env => $softhsm->conf_env }, $curve, 'pkey',
                          '-in', $uri, '-pubout')->{out};
    my %forms = (raw => $point, DER => "$header$point",
                 $curve eq 'secp521r1' ? ('with a short length' => "0485$point")
                                       : ());
    for my $form (sort keys %forms) {
        my ($how, @command) = $read->($forms{$form});
        is(ok_openssl($how, "… its point, $form", @command)->{out}, $want,
           '… is the same');
    }
    for my $wrong ("0440$point", substr($point, 2), "${point}00",
                   "0486${point}") {
        my ($how, @command) = $read->($wrong);
        openssl_fails($how, '… and no other form', qr/pkcs11:/, @command);
    }
}

# --- tokens without a PIN, slots without a token ---

subtest 'NSS without a password' => sub {
    my $token = P11::Token->make('NSS', pin => '')
        // plan(skip_all => P11::Token->missing('NSS'));
    my $count = P11::Count->new($token);
    my $how = { env => $count->token->conf_env(
        settings => { 'pkcs11-module-token-pin' => undef }) };
    my $uri = $token->uri(object => 'free', id => "\x07");
    ok_openssl($how, 'a key is made', qw(genpkey -propquery provider=pkcs11
               -algorithm EC -pkeyopt group:P-256 -pkeyopt),
               "pkcs11_uri:$uri", '-out', "$dir/free.pem");
    ok_use_key($how, 'it signs', "load=$uri;type=private",
               "load=$dir/free.pem", 'sign=3', 'fork=2', '[', 'sign', ']');
    is($count->calls('C_Login'), 0, 'and nobody logs in');
};

my $empty = P11::Token->make('SoftHSM', label => 'other');
my $made = run_in({ env => $empty->env }, 'pkcs11-tool', '--module',
    $empty->module, '--init-token', '--slot-index', '1', '--label', 'no-pin',
    '--so-pin', '12345678');
is($made->{status}, 0, 'a token whose user has no PIN');
openssl_refuses({ env => $empty->conf_env }, '… it is told',
    [qr/:CKR_USER_PIN_NOT_INITIALIZED:/, qr/token "no-pin"/,
     qr/set a user PIN first/], 'pkey', '-in', 'pkcs11:token=no-pin;object=a',
    '-noout');
openssl_refuses({ env => $empty->conf_env }, 'where there are others',
    [qr/:no such token:/, qr/here: "(?:no-pin", "other|other", "no-pin)"/],
    'pkey', '-noout', '-in', 'pkcs11:token=none;object=a');
run('rm', '-r', glob "$empty->{dir}/tokens/*");
openssl_refuses({ env => $empty->conf_env }, 'one that is not initialised',
    [qr/:no such token:/, qr/tokens here: one that is not initialised yet/],
    'pkey', '-noout', '-in', 'pkcs11:token=other;object=a');

# --- keys that allow one mechanism for decryption ---

my $narrow = $softhsm->keypair('rsa:2048', 'narrow', '77',
    '--allowed-mechanisms', 'RSA-PKCS-OAEP') . ';type=private';
my $narrow_pub = public_key($softhsm, 'narrow');
for my $row (['rsa_padding_mode:oaep'],
             ['rsa_padding_mode:pkcs1', qr/CKM_RSA_X_509 nor CKM_RSA_PKCS /],
             ['rsa_padding_mode:none', qr/does not offer CKM_RSA_X_509 for/]) {
    my ($options, $words) = @$row;
    my ($how, $count) = feigned($softhsm);
    my @command = ('pkeyutl', '-decrypt', '-inkey', $narrow, '-in',
                   "$dir/cipher", '-out', "$dir/out", opts($options));
    encrypted_for($narrow_pub, 'rsa_padding_mode:oaep');
    if (defined $words) {
        openssl_refuses($how, "a key for OAEP alone: not $options", $words,
                        @command);
        is($count->calls('C_DecryptInit'), 0, '… and nothing is tried');
        next;
    }
    ok_openssl($how, "a key for OAEP alone: $options", @command);
    is(slurp("$dir/out"), slurp($secret), '… the message');
}

# --- the page that tells of all this ---

my $page = slurp(top() . '/doc/tokens.md');
my %named = map { $_ => 1 } $page =~ /\b(\d\d-[a-z][a-z0-9-]+)\b/g;
cmp_ok(scalar keys %named, '>', 9, 'doc/tokens.md names recipes');
is_deeply([grep { !-e top() . "/tests/t/$_.t" } sort keys %named], [],
          '… that are there');
for my $row (slurp(top() . '/src/module/quirk.c') =~ /\.name = "(.*)"/g) {
    like($page, qr/\| [^|]*\b\Q$row\E\b[^|]* \|$/m, "… and the row: $row");
}

done_testing();
