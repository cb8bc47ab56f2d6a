#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# Each failure has one entry on the error queue, which says what failed, on
# which token and URI, and what to do.
use strict;
use warnings;

use Test::More;
use P11::Count;
use P11::Errors;
use P11::Test;
use P11::Token;

needs('pkcs11-tool');
my $token = P11::Token->needs('SoftHSM');
my $module = $token->module;
$token->keypair('EC:prime256v1', 'key', '01');
$token->keypair('EC:prime256v1', 'twin', '02');
$token->keypair('EC:prime256v1', 'twin', '03');
my $uri = $token->uri(object => 'key');
my %how = (env => $token->conf_env);
my $data = spew(scratch() . '/data', 'x' x 32);

my $n = 0;

# { how } of a configuration with these settings.
sub with {
    my (%settings) = @_;
    return { env => $token->conf_env(settings => \%settings,
                                     file => 'with' . ++$n . '.cnf') };
}

# pkey -noout: a load of the private key, and no more.
sub load_refuses {
    my ($how, $name, $patterns, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return openssl_refuses($how, $name, $patterns, 'pkey', '-noout', '-in',
                           $what // $uri);
}

sub objects {
    my $list = $token->tool('--list-objects')->{out};
    return scalar(() = $list =~ /^\w.*Key Object/mg);
}

ok_openssl(\%how, 'the right PIN, token and key', 'pkey', '-noout', '-in',
           $uri);

# PINs

my $no_pin = with('pkcs11-module-token-pin' => undef);
my $named = qr/\(token "tok", \Q$uri\E\)/;
my $wrong = load_refuses($no_pin, 'wrong PIN',
    [qr/:CKR_PIN_INCORRECT:/, qr/:C_Login /, $named, qr/correct the PIN/],
    "$uri?pin-value=wrong-one");
unlike($wrong->{entry}, qr/wrong-one/, '… which the entry does not repeat');
load_refuses($no_pin, 'no PIN, and nobody to ask',
    [qr/:no PIN:/, qr/token "tok"/, qr/\Q$uri\E/, qr/pin-source/,
     qr/pkcs11-module-token-pin/]);

my $CKF_USER_PIN_FINAL_TRY = 0x20000;
my $CKF_USER_PIN_LOCKED = 0x40000;
for my $case (
    ['locked PIN', { flags => $CKF_USER_PIN_LOCKED }, 0,
     [qr/:CKR_PIN_LOCKED:/, qr/was not sent/, qr/SO PIN or PUK/]],
    ['final try', { flags => $CKF_USER_PIN_FINAL_TRY }, 0,
     [qr/last try/, qr/was not sent/, qr/own tool/]],
    ['a PIN that locks now', { fail => 'C_Login=0xa4' }, 1,
     [qr/:CKR_PIN_LOCKED:/, qr/C_Login/, qr/SO PIN or PUK/]],
    ['an expired PIN', { fail => 'C_Login=0xa3' }, 1,
     [qr/:CKR_PIN_EXPIRED:/, qr/set a new PIN/]],
    # SoftHSM says so, too, while another process logs in: it is asked again.
    ['no user PIN yet', { fail => 'C_Login=0x102' }, undef,
     [qr/:CKR_USER_PIN_NOT_INITIALIZED:/, qr/set a user PIN/]],
    ["a maker's own value", { fail => 'C_Login=0x80001234' }, 1,
     [qr/C_Login/, qr/CKR_0x80001234/, qr/maker/]],
    ['a token that is gone', { fail => 'C_OpenSession=0xe0' }, 0,
     [qr/:CKR_TOKEN_NOT_PRESENT:/, qr/C_OpenSession/, $named,
      qr/put the token in/]],
) {
    my ($name, $options, $logins, $patterns) = @$case;
    my $count = P11::Count->new($token, %$options);
    load_refuses({ env => $count->token->conf_env(file => 'feign.cnf') },
                 $name, [qr/token "tok"/, qr/\Q$uri\E/, @$patterns]);
    is($count->calls('C_Login'), $logins, "… C_Login: $logins")
        if defined $logins;
}
my $final = P11::Count->new($token, flags => $CKF_USER_PIN_FINAL_TRY);
ok_openssl({ env => $final->token->conf_env(file => 'final.cnf', settings =>
                 { 'pkcs11-module-final-try' => 'true' }) },
    'the final try, where it is allowed', 'pkey', '-noout', '-in', $uri);

# Tokens and keys

load_refuses(\%how, 'no such token',
    [qr/:no such token:/, qr/pkcs11:token=other;object=key/,
     qr/tokens here: "tok"/], 'pkcs11:token=other;object=key');
load_refuses(\%how, 'no such library',
    [qr/:no PKCS#11 module:/, qr/pkcs11:token=tok;object=key;library-ver/,
     qr/there is "Implementation of PKCS11" of "SoftHSM", version 2\.\d+;/],
    'pkcs11:token=tok;object=key;library-version=99.5');
my $miss = load_refuses(\%how, 'no such key',
    [qr/:no such object:/, qr/C_FindObjects/, qr/token "tok"/,
     qr/no private key matches pkcs11:token=tok;object=kex /],
    $token->uri(object => 'kex'));
my @near = $miss->{entry} =~ /(pkcs11:\S*object=key;type=private)/g;
is(scalar @near, 1, '… the key that is there is named');
ok_openssl(\%how, '… by a URI that can be used as it is',
    'pkey', '-noout', '-in', $near[0] // 'none');
my $digits = load_refuses(\%how, 'id=1 is not the byte 1',
    [qr/:no such object:/, qr/; id= takes bytes as %XX: id=%01$/],
    $token->uri(id => '1'));
like($digits->{entry}, qr/there is pkcs11:\S*;id=%01;/,
     '… and the key that is meant comes first');
openssl_fails(\%how, 'id=02fF is two bytes', qr/: id=%02%FF$/m, 'pkey',
    '-noout', '-in', $token->uri(id => '02fF'));
for my $id ('123', '0g', 'key', '%01%02%03') {
    my $other = openssl_fails(\%how, "id=$id is no slip", qr/no such object/,
        'pkey', '-noout', '-in', $token->uri(id => $id));
    unlike($other->{err}, qr/takes bytes/, '… and nothing is said of it');
}
ok_openssl(\%how, '… but id=%01 is', 'pkey', '-noout', '-in',
    $token->uri(id => '%01'));
load_refuses(\%how, 'other objects than keys',
    [qr/:bad pkcs11: URI:/, qr/private keys, public keys and certificates/],
    $token->uri(object => 'key', type => 'data'));
openssl_refuses(\%how, 'no such certificate',
    [qr/:no such object:/, qr/no certificate matches/],
    'x509', '-noout', '-in', $token->uri(object => 'key'));

# type= against what is expected
load_refuses(\%how, 'a public key where a private one is expected',
    [qr/:bad pkcs11: URI:/, qr/;type=public names public keys by type=/,
     qr/only private keys are expected/, qr/leave type= out/],
    $token->uri(object => 'key', type => 'public'));
load_refuses(\%how, 'a public key that is not there, either',
    [qr/:no such object:/, qr/no public key matches/, qr/object=key;/],
    $token->uri(object => 'kex', type => 'public'));
load_refuses(\%how, 'a certificate where a private key is expected',
    [qr/:bad pkcs11: URI:/, qr/names certificates/],
    $token->uri(object => 'key', type => 'cert'));
openssl_refuses(\%how, 'a private key where a certificate is expected',
    [qr/:bad pkcs11: URI:/, qr/names private keys/,
     qr/only certificates are expected/],
    'x509', '-noout', '-in', $token->uri(object => 'key', type => 'private'));
ok_openssl(\%how, 'a private key where a public one is expected', 'pkey',
    '-pubin', '-noout', '-in', $token->uri(object => 'key',
                                           type => 'private'));

my $twins = load_refuses(\%how, 'two keys match',
    [qr/:several match:/, qr/2 private keys match/, qr/add id=/],
    $token->uri(object => 'twin'));
my @candidates = $twins->{entry} =~ /(pkcs11:\S*type=private)/g;
is(scalar @candidates, 2, '… both are named');
ok_openssl(\%how, '… by URIs that can be used', 'pkey', '-noout', '-in', $_)
    for @candidates;
# From 3.2 on, pkey then asks for a private key, and shows only that error.
openssl_refuses(\%how, 'two public keys match',
    [qr/:several match:/, qr/2 (?:public|private) keys match/],
    'pkey', '-pubin', '-noout', '-in', $token->uri(object => 'twin'));
my $list = ok_openssl(\%how, 'who names no object gets all',
    'storeutl', '-keys', '-noout', $token->uri);
like($list->{out}, qr/^Total found: 3$/m, '… three');

$token->add_token('second');
my $several = load_refuses(\%how, 'several tokens, and a PIN goes to one only',
    [qr/:several match:/, qr/2 tokens/, qr/PIN/, qr/pkcs11:object=nix /],
    'pkcs11:object=nix');
my @tokens = $several->{entry} =~ /(pkcs11:\S+token=\w+)/g;
is(scalar @tokens, 2, '… both are named');
ok_openssl(\%how, '… by URIs that can be used', 'storeutl', '-noout', $_)
    for grep { /token=tok$/ } @tokens;

# Modules

my $text = spew(scratch() . '/text.so', "no module\n");
my ($libz) = run('ldd', have('openssl'))->{out} =~ m{=> (/\S*libc\.so\S*)};
for my $case (
    ['a missing module', '/nonexistent/module.so',
     [qr/No such file/, qr{/nonexistent/module\.so}]],
    ['a module that is no library', $text, [qr/\Q$text\E/]],
    ['a library that is no module', $libz, [qr/C_GetFunctionList/]],
) {
    my ($name, $path, $patterns) = @$case;
    load_refuses(with('pkcs11-module-path' => $path), $name,
        [qr/:module cannot be used:/, qr/check the file/, @$patterns]);
}
my $broken = P11::Count->new($token, fail => 'C_Initialize=0x5');
load_refuses({ env => $broken->token->conf_env(file => 'broken.cnf') },
    'a module that does not start',
    [qr/C_Initialize/, qr/CKR_GENERAL_ERROR/, qr/count-/]);

# Beside another one that works
load_refuses({ env => { %{ $broken->token->env }, %{ $token->conf_env(
        file => 'beside.cnf', also => [$broken->token]) } } },
    'one of two modules does not start',
    [qr/:no such token:/, qr/tokens here: .*"tok"/,
     qr/; module "\S*count-\S*": C_Initialize says CKR_GENERAL_ERROR; /,
     qr/; see the module's own log; may this user read/],
    'pkcs11:token=other;object=key');

SKIP: {
    skip('not root, so there is no other user', 2) if $> != 0;
    skip('setpriv is not installed', 2) if !have('setpriv');
    my $dir = scratch('private');
    run('cp', $module, "$dir/module.so");
    run('cp', module_file(), scratch() . '/pkcs11.so');
    chmod 0644, "$token->{dir}/empty.cnf";
    my %other = (
        env => { %{ $token->bare_env }, OPENSSL_MODULES => scratch(),
                 PKCS11_PROVIDER_MODULE => "$dir/module.so" },
        providers => [qw(default pkcs11)],
        as => [qw(setpriv --reuid 65534 --regid 65534 --clear-groups)]);
    chmod 0700, $dir;
    load_refuses(\%other, 'a module that this user may not read',
        [qr/:module cannot be used:/, qr/Permission denied/, qr/65534/]);
    chmod 0755, $dir;
    load_refuses(\%other, 'a token that this user may not read',
        [qr/C_\w+/, qr/module|token/]);
}

# Mechanisms

my $poor = P11::Token->make('SoftHSM', mechanisms => '-CKM_ECDSA,'
    . 'CKM_EC_KEY_PAIR_GEN', label => 'poor');
run('cp', '-r', glob("$token->{dir}/tokens/*"), "$poor->{dir}/tokens/");
my %poor = (env => $poor->conf_env);
openssl_refuses(\%poor, 'a token that cannot sign so',
    [qr/:mechanism missing:/, qr/token "tok"/, qr/CKM_ECDSA/, qr/list-mech/],
    'pkeyutl', '-sign', '-inkey', $uri, '-in', $data);
openssl_refuses(\%poor, 'a token that makes no such key',
    [qr/:mechanism missing:/, qr/C_GenerateKeyPair/, qr/token "poor"/,
     qr/CKM_EC_KEY_PAIR_GEN/],
    'genpkey', '-propquery', 'provider=pkcs11', '-algorithm', 'EC',
    '-pkeyopt', 'group:P-256', '-pkeyopt', 'pkcs11_uri:pkcs11:token=poor');

# The default provider

for my $case (
    ['no default provider, by setting', [qw(base pkcs11)],
     { 'pkcs11-module-load-default' => 'never' }],
    ['no default provider, by "null"', [qw(base null pkcs11)], {}],
) {
    my ($name, $providers, $settings) = @$case;
    my $count = P11::Count->new($token);
    load_refuses({ env => $count->token->conf_env(
            providers => $providers, settings => $settings,
            file => 'null.cnf') }, $name,
        [qr/:no default provider:/, qr/activate the default provider/,
         qr/pkcs11-module-load-default/]);
    is($count->calls('C_Login'), 0, '… and no PIN is sent');
}
my $second = P11::Count->new($token, own => 1);
load_refuses({ env => { %{ $second->token->env }, %{ $token->conf_env(
        providers => [qw(base null pkcs11)], also => [$second->token],
        file => 'null2.cnf') } } },
    'no default provider, for two modules',
    [qr/:no default provider:/, qr/activate the default provider/]);
ok_openssl({ env => $token->conf_env(providers => [qw(base pkcs11)],
                                     file => 'base.cnf') },
    'without "default" it works otherwise', 'pkey', '-noout', '-in', $uri);

# URIs

for my $case (
    ['token=tok;objekt=key', qr/"objekt" is unknown/],
    ['token=tok;token=tok', qr/"token" is given twice/],
    ['token=tok;object', qr/"object" has no "="/],
    ['token=tok;;object=key', qr/attribute 2 is empty/],
    ['token=tok;type=privat', qr/"type"/],
    ['token=tok;id=%0', qr/"id"/],
    ['token=tok;object=k%00y', qr/"object"/],
    ['token=tok;module-name=x', qr/"module-name" belongs behind/],
    ['object=key?token=tok', qr/"token" belongs before/],
    ['token=tok;slot-id=first', qr/"slot-id"/],
    ['token=' . 'x' x 33, qr/"token"/],
    ['object=key?pin-value=12&pin-source=file:/x', qr/exclude each other/],
) {
    my ($rest, $pattern) = @$case;
    load_refuses(\%how, "bad URI: $rest",
        [qr/:bad pkcs11: URI:/, $pattern], "pkcs11:$rest");
}
my $leaky = load_refuses(\%how, 'bad URI: a PIN with a separator in it',
    [qr/not shown/, qr/%26/], "$uri?pin-value=12&secret");
unlike($leaky->{entry}, qr/secret/, '… which the entry does not repeat');
load_refuses(\%how, 'a module that is not configured',
    [qr/:no such|:no PKCS#11 module:/, qr/module-name or module-path/],
    "$uri?module-path=/nonexistent/evil.so");

# Making keys

my @generate = (qw(genpkey -propquery provider=pkcs11 -algorithm), 'EC',
                qw(-pkeyopt group:P-256));
my $file = scratch() . '/made.pem';
openssl_refuses(\%how, 'a key that is in no token is not written', [
    qr/:this key is not in a token; say -pkeyopt pkcs11_uri:… to create it there, or drop provider=pkcs11$/],
    @generate, '-out', $file);
ok(!-s $file, '… nothing is');

my $before = objects();
for my $case (
    ['twice told where', [qw(pkcs11_uri:pkcs11:token=tok pkcs11_token:tok)],
     [qr/pkcs11_uri/, qr/pkcs11_token/]],
    ['a use that is none', [qw(pkcs11_token:tok pkcs11_key_usage:fun)],
     [qr/"fun"/, qr/digitalSignature/]],
    ['a use of other keys',
     [qw(pkcs11_token:tok pkcs11_key_usage:keyEncipherment)],
     [qr/"keyEncipherment"/, qr/\bEC\b/]],
    ['no such storage', [qw(pkcs11_token:tok pkcs11_storage:disk)],
     [qr/pkcs11_storage/, qr/"disk"/, qr/session/]],
    ['explicit parameters', [qw(pkcs11_token:tok ec_param_enc:explicit)],
     [qr/explicit/]],
    ['a public key only',
     ['pkcs11_uri:pkcs11:token=tok;object=new;type=public'], [qr/type=/]],
    ['a name that is taken', ["pkcs11_uri:$uri"],
     [qr/token "tok"/, qr/already/, qr/\Q$uri\E/]],
    ['an id that is taken', ['pkcs11_uri:pkcs11:token=tok;id=%01'],
     [qr/token "tok"/, qr/already/]],
    ['a bad URI', ['pkcs11_uri:pkcs11:tokn=tok'], [qr/"tokn"/]],
    ['no such token', ['pkcs11_token:other'], [qr/tokens here/]],
    ['several tokens', ['pkcs11_uri:pkcs11:object=new'], [qr/2 tokens/]],
) {
    my ($name, $options, $patterns) = @$case;
    openssl_refuses(\%how, "generation: $name", $patterns, @generate,
                    map { ('-pkeyopt', $_) } @$options);
}
for my $case (
    ['three primes', [qw(rsa_keygen_primes:3)], [qr/2 primes/]],
    ['an even exponent', [qw(rsa_keygen_pubexp:4)], [qr/odd/]],
) {
    my ($name, $options, $patterns) = @$case;
    openssl_refuses(\%how, "generation: $name", $patterns,
        qw(genpkey -propquery provider=pkcs11 -algorithm RSA),
        map { ('-pkeyopt', $_) } 'pkcs11_token:tok', @$options);
}
is(objects(), $before, 'nothing was created by any of these');

ok_openssl(\%how, 'and a sound request makes one', @generate, '-pkeyopt',
    'pkcs11_uri:pkcs11:token=tok;object=new', '-out', $file);
is(objects(), $before + 2, '… pair, in the token');

errors_are_on_page(some => $> != 0 || !have('setpriv'),
                   apart => ['two public keys match',
                             'no default provider, for two modules']);

done_testing();
