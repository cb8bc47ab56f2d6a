#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# How many Cryptoki calls each act costs. The numbers are an interface: one
# more is a failure, and so is one less, until the row says so.
use strict;
use warnings;

use Test::More;
use P11::Budget;
use P11::Count;
use P11::Test;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');
my $token = P11::Token->needs('SoftHSM');
my $dir = scratch();
my $rsa = $token->keypair('rsa:2048', 'rsa', '01');
my $ec = $token->keypair('EC:prime256v1', 'ec', '02');

sub private { return $token->uri(id => $_[0], type => 'private') }
my ($rsa_id, $ec_id) = (private('%01'), private('%02'));

# --- nothing for keys that are not in a token ---

my $soft = "$dir/soft.pem";
ok_openssl('a key of software', 'genpkey', '-algorithm', 'EC',
           '-pkeyopt', 'group:P-256', '-out', $soft);
is_deeply(calls_of($token, [], ["load=$soft", 'sign=3', 'verify=3', 'free']),
          {}, 'activated and unused: no call, the module is not even opened');

# --- one act after another ---

my ($rsa_ref, $ec_ref) =
    (reference($token, $rsa_id, 'rsa'), reference($token, $ec_id, 'ec'));
my $on = "load=$rsa_id";
my @rows = (
    # what, before, the act, calls, budget
    ['an RSA signature', [$on, 'sign'], ['sign=10'], 20, 20],
    ['an RSA-PSS signature', [$on, 'pss', 'sign'], ['sign=10'], 20, 20],
    ['an ECDSA signature', ["load=$ec_id", 'sign'], ['sign=10'], 20, 20],
    ['an RSA decryption', [$on, 'decrypt'], ['decrypt=10'], 20, 20],
    ['encryption', [$on, 'sign'], ['encrypt=10'], 0, 0],
    ['verification by RSA', [$on, 'sign'], ['verify=10'], 2, 2],
    ['verification by ECDSA', ["load=$ec_id", 'sign'], ['verify=10'], 2, 2],
    ['key agreement', ["load=$ec_id", 'derive'], ['derive=10'], 30, 30],
    ['a reference to RSA', [$on, 'sign'], ["load=$rsa_ref"], 0, 0],
    ['a reference to EC', [$on, 'sign'], ["load=$ec_ref"], 0, 0],
    ['a reference at first', [], ["load=$ec_ref"], 0, 0],
    ['freeing it', [$on, 'sign'], ['free'], 0, 0],
);
for my $row (@rows) {
    my ($name, $before, $act, $want, $budget) = @$row;
    my $calls = calls_of($token, $before, $act);
    is_budget($name, $calls, $want, $budget);
}

# --- public halves that are elsewhere ---

sub replace_public {
    my ($name, $id, @by) = @_;
    my $uri = $token->keypair('EC:prime256v1', $name, $id);
    my $pub = "$dir/$name.der";
    my $cert = "$dir/$name-cert.der";
    my %how = (env => $token->conf_env);
    ok_openssl(\%how, 'its public half', 'pkey', '-in', $uri, '-pubout',
               '-outform', 'DER', '-out', $pub);
    ok_openssl(\%how, 'a certificate', 'req', '-x509', '-new', '-key', $uri,
               '-subj', "/CN=$name", '-outform', 'DER', '-out', $cert);
    for my $arguments (['--delete-object', '--type', 'pubkey', '--id', $id],
                       ['--write-object', $by[0] eq 'cert' ? $cert : $pub,
                        '--type', @by]) {
        my $result = $token->tool(@$arguments);
        die $result->{err} if $result->{status} != 0;
    }
    return ("$uri;type=private", $pub);
}

for my $row (['moved', 'a1', [qw(pubkey --id a1 --label elsewhere)], 9],
             ['certified', 'a2', [qw(cert --id a2 --label certificate)], 10]) {
    my ($name, $id, $by, $want) = @$row;
    my ($uri, $pub) = replace_public($name, $id, @$by);
    my $calls = calls_of($token, [$on, 'sign'], ["load=$uri"]);
    is_budget("loading a key whose public half is $by->[0] $by->[-1]", $calls,
              $want, 10);
    ok_openssl('in PEM', 'pkey', '-pubin', '-inform', 'DER', '-in', $pub,
               '-out', "$dir/$name.pub");
    ok_use_key({ env => $token->conf_env }, 'which is found', "load=$uri",
               "is=$dir/$name.pub", 'sign');
}

# --- keys that want the PIN at each use ---

my $made = $token->tool(qw(--keypairgen --key-type rsa:2048 --label always
                           --id b1 --always-auth));
is($made->{status}, 0, 'a key with CKA_ALWAYS_AUTHENTICATE');
my $always = private('%b1');
my $calls = calls_of($token, ["load=$always", 'sign'], ['sign=10']);
is_budget('a signature by a key that wants the PIN each time', $calls, 30, 30);
is($calls->{C_Login}, 10, 'one login each');
is_budget('a decryption by such a key',
          calls_of($token, ["load=$always", 'sign'], ['decrypt=10']), 30, 30);
is_budget('verification by such a key',
          calls_of($token, ["load=$always", 'sign'], ['verify=10']), 3, 3);

# --- whole processes ---

my $data = spew("$dir/data", 'x' x 32);
for my $row (['rsa', $rsa_id, 16], ['ec', $ec_id, 16],
             ['a reference', $ec_ref, 16]) {
    my ($name, $key, $want) = @$row;
    my $count = P11::Count->new($token);
    ok_openssl({ env => $count->token->conf_env }, "pkeyutl with $name",
               'pkeyutl', '-sign', '-inkey', $key, '-in', $data,
               '-out', "$dir/sig");
    is_budget("openssl pkeyutl -sign, $name", $count->read, $want, 20);
}

# --- ready again after fork ---

my $strict = P11::Token->make('SoftHSM', reset_on_fork => 'true');
$strict->keypair('EC:prime256v1', 'ec', '02');
for my $row (['a child', $token, 11], ['where fork resets', $strict, 11]) {
    my ($name, $where, $want) = @$row;
    my @before = ("load=$ec_id", 'sign');
    $calls = calls_of($where, \@before, ['fork=10', '[', 'sign', ']']);
    is_budget("ten of $name, to its first signature", $calls, 10 * $want, 120);
    $calls = calls_of($where, [@before, 'fork', '[', 'sign', ']'], ['sign=5']);
    is_budget("$name costs its parent nothing", $calls, 10, 10);
}

tell_figures();
done_testing();
