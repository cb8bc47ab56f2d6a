#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# A PIN that was refused is not sent again by any thread or child, and to no
# other token: what C_Login is called is counted.
use strict;
use warnings;

use Test::More;
use P11::Count;
use P11::Test;
use P11::Token;

needs('pkcs11-tool');
my $token = P11::Token->needs('SoftHSM');
$token->keypair('EC:prime256v1', 'key', '01');
my $uri = $token->uri(object => 'key');
my $right = "$uri?pin-value=" . $token->pin;
my $wrong = "$uri?pin-value=4711";
my $data = spew(scratch() . '/data', 'x' x 32);
my $use_key = builddir() . '/tests/c/use_key';

sub how_of {
    my ($count, $setting) = @_;
    return { env => $count->token->conf_env(file => 'burn.cnf', settings =>
                 { 'pkcs11-module-token-pin' => $setting }) };
}

# One command

for my $case (
    ['pkey', qw(pkey -noout -in), $wrong],
    ['pkey, a setting', qw(pkey -noout -in), $uri],
    ['pkeyutl', qw(pkeyutl -sign -in), $data, '-inkey', $wrong],
    ['dgst', qw(dgst -sha256 -sign), $wrong, $data],
    ['req', qw(req -x509 -subj /CN=x -key), $wrong],
    ['req, -passin', qw(req -x509 -subj /CN=x -passin pass:9 -key), $uri],
    ['storeutl', 'storeutl', $wrong],
    ['storeutl of all', 'storeutl', $token->uri . '?pin-value=4711'],
    ['genpkey', qw(genpkey -propquery provider=pkcs11 -algorithm EC -pkeyopt
                   group:P-256 -pkeyopt),
     'pkcs11_uri:' . $token->uri(object => 'n') . '?pin-value=4711'],
) {
    my ($name, @command) = @$case;
    my $count = P11::Count->new($token);
    openssl_refuses(
        how_of($count, $name =~ /a setting/ ? '4711' : undef),
        "$name: the PIN is refused", [qr/:CKR_PIN_INCORRECT:/], @command);
    is($count->calls('C_Login'), 1, '… one C_Login');
}

# One process, its threads and its children. The provider is there before the
# first fork, as it is when a server has read its configuration.

for my $case (
    ['20 loads', 1, 1, "repeat=20 [ refused=$wrong ]"],
    ['16 threads', 1, 1, "in=16 [ refused=$wrong ]"],
    ['16 threads, again and again', 1, 1,
     "in=16 [ repeat=5 [ refused=$wrong ] ]"],
    ['8 children at once', 1, 1,
     "provider=default fork=8,8 [ refused=$wrong ]"],
    ['8 children of 4 threads', 1, 1,
     "provider=default fork=8,8 [ in=4 [ refused=$wrong ] ]"],
    ['8 children after their parent', 1, 1,
     "refused=$wrong fork=8,8 [ refused=$wrong ]"],
    ['the parent after a child', 1, 1,
     "provider=default fork=1 [ refused=$wrong ] refused=$wrong"],
    ['grandchildren', 1, 1, 'provider=default fork=3,3 [ fork=3,3 '
        . "[ refused=$wrong ] ]"],
    ['other library contexts', 1, 1,
     "refused=$wrong context=CONF [ refused=$wrong ] "
        . "context=CONF [ refused=$wrong ]"],
    ['two wrong PINs', 2, 2, "repeat=3 [ refused=$wrong refused=${wrong}2 ]"],
    ['a right PIN afterwards', 2, 1, "refused=$wrong load=$right sign=1"],
    ['… in 8 threads', 2, 1,
     "in=8 [ refused=$wrong ] in=8 [ load=$right sign=2 ]"],
    ['… in a child', 2, 1,
     "refused=$wrong fork=1 [ refused=$wrong load=$right sign=1 ]"],
    ['a right PIN in 16 threads', 1, 0, "in=16 [ load=$right sign=2 ]"],
    ['no PIN', 0, 0, "repeat=3 [ refused=$uri ]"],
    ['an empty answer', 0, 0, "answer= repeat=3 [ refused=$uri ]"],
    ['a wrong answer', 1, 1, "answer=4711 repeat=5 [ refused=$uri ]"],
    ['an empty pin-value', 0, 0, "in=4 [ refused=$uri?pin-value= ]"],
) {
    my ($name, $logins, $refusals, $steps) = @$case;
    my $count = P11::Count->new($token);
    my $how = how_of($count, undef);
    $steps =~ s/CONF/$how->{env}{OPENSSL_CONF}/g;
    my $result = ok_run($how, $name, $use_key, split ' ', $steps, -1);
    is($count->calls('C_Login'), $logins, "… C_Login: $logins");
    my @refused = $result->{err} =~ /:CKR_PIN_INCORRECT:/g;
    is(scalar @refused, $refusals, "… refused by the token: $refusals");
    my $told = () = $result->{err} =~ /error:/g;
    my $ours = () = $result->{err} =~ /:pkcs11:/g;
    is($ours, $told, '… and every refusal has its words');
}

# Where each child is a process tree of its own, each has its try: that the
# page of refused PINs is what makes the difference.
my $apart = P11::Count->new($token);
ok_run(how_of($apart, undef), 'children that read the configuration anew',
       $use_key, 'fork=4,1', '[', "refused=$wrong", ']');
is($apart->calls('C_Login'), 4, '… do not know of each other');

# The token has had the PIN, but not told what it thinks of it: it may have
# counted it, and is not sent the same on a guess. One that was accepted is.
my $strict = P11::Token->make('SoftHSM', reset_on_fork => 'true');
my $strict_uri = $strict->keypair('EC:prime256v1', 'key', '01');
for my $value (0x5, 0x30, 0x32, 0xb0) {
    my $name = sprintf 'a wrong PIN that is answered with %#x', $value;
    my $count = P11::Count->new($token, manufacturer => 'Mock',
                                fail => sprintf 'C_Login#1!=%#x', $value);
    ok_run(how_of($count, undef), $name, $use_key, "refused=$wrong");
    is($count->calls('C_Login'), 1, '… C_Login: 1');
    next if $value == 0x5;
    $count = P11::Count->new($strict, manufacturer => 'Mock',
                             fail => sprintf 'C_Login#2=%#x', $value);
    ok_run(how_of($count, $strict->pin), sprintf('one that is known, %#x',
           $value), $use_key, "load=$strict_uri", qw(sign=1 fork=1 [ sign=1 ]));
    is($count->calls('C_Login'), 3, '… C_Login: 3');
}

# Two tokens

$token->add_token('second', '5678');
$token->keypair('EC:prime256v1', 'both', '02');
my $second = bless { %$token, label => 'second', pin => '5678' }, ref $token;
$second->keypair('EC:prime256v1', 'both', '02');

# The tokens that know of a wrong try.
sub warned {
    my $list = run_in({ env => $token->env }, 'pkcs11-tool', '--module',
                      $token->module, '--list-token-slots')->{out};
    my @slots = grep { /user PIN count low|final user PIN try/ }
        split /^Slot /m, $list;
    return join ' ', map { /token label\s*:\s*(\w+)/ } @slots;
}

# What is seen on a token without a login is no reason to send it a PIN: one of
# these has the key, the other one something with its name.
my $hidden = $token->keypair('EC:prime256v1', 'hidden', '03');
$second->keypair('EC:prime256v1', 'hidden', '03');
for my $row ([$token, 'pubkey'], [$second, 'privkey']) {
    my ($where, $type) = @$row;
    is($where->tool('--delete-object', '--type', $type, '--label',
                    'hidden')->{status}, 0, "a key without its $type");
}

ok_run(how_of(P11::Count->new($token), undef), 'a login that succeeds',
       $use_key, "load=$right");
is(warned(), '', 'no token has seen a wrong PIN');
for my $case (
    ['the right PIN for the token that is named', 1, "load=$uri",
     $token->pin, ''],
    ['a key that is seen on one of two tokens', 0,
     'refused=pkcs11:object=key', $token->pin, ''],
    ['one whose name is seen on the other one', 0,
     'refused=pkcs11:object=hidden', $token->pin, ''],
    ['the same with the PIN in the URI', 0,
     'refused=pkcs11:object=hidden?pin-value=' . $token->pin, undef, ''],
    ['the same with the token named (that has no public half)', 1,
     "refused=$hidden", $token->pin, ''],
    ['a key that both tokens have', 0, 'refused=pkcs11:object=both',
     $token->pin, ''],
    ['a key that no token has', 0, 'refused=pkcs11:object=none',
     $token->pin, ''],
    ['all keys of all tokens', 0, 'refused=pkcs11:', $token->pin, ''],
    ['a wrong PIN for the token with the key', 1, "refused=$uri", '4711',
     'tok'],
) {
    my ($name, $logins, $step, $setting, $warned) = @$case;
    my $count = P11::Count->new($token);
    ok_run(how_of($count, $setting), $name, $use_key, $step);
    is($count->calls('C_Login'), $logins, "… C_Login: $logins");
    is(warned(), $warned, '… wrong PINs were seen by: ' . ($warned || 'none'));
}

done_testing();
