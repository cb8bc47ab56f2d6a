#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# What is left in a process's memory, and in its core: PINs are in memory that
# is locked and not dumped while they are of use, and nowhere afterwards; what
# was decrypted or agreed upon is nowhere when the application has wiped it.
use strict;
use warnings;

use Test::More;
use P11::Memory;
use P11::Test;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');
plan(skip_all => 'the sanitizers keep what is freed')
    if defined $ENV{P11_SANITIZER_RUNTIME};
my $why = P11::Memory::missing();
plan(skip_all => $why) if defined $why;
my $pin = 'Geheim-4711-Zitrone';
my $token = P11::Token->needs('SoftHSM', pin => $pin);
my $uri = $token->keypair('EC:prime256v1', 'ec', '01');
my $rsa = $token->keypair('rsa:2048', 'rsa', '02');
my $file = $token->pin_file;
my $dir = scratch();
my $kept = { 'locked, not dumped' => 1 };

# A process that does so; at each "pause" the texts are looked for.
# [{ where => how often } of each text] of each pause.
sub looked_at {
    my ($how, $name, $texts, @steps) = @_;
    my $server = start_server($how, 'use_key',
                              builddir() . '/tests/c/use_key', @steps);
    my $pauses = grep { $_ eq 'pause' } @steps;
    my @found;
    while (@found < $pauses
           && P11::Memory::wait_until_stopped($server->{pid})) {
        push @found, [map { P11::Memory::find($server->{pid}, $_) } @$texts];
        P11::Memory::go_on($server->{pid});
    }
    is(scalar @found, $pauses, "$name: it did what it should")
        or diag(slurp($server->{err}));
    stop_server($server);
    return @found;
}

# ---- PINs, by where they come from

my %none = (settings => { 'pkcs11-module-token-pin' => undef });
for my $case (
    { name => 'a file in the setting', how => $token->conf_env(file => 'a') },
    { name => 'pin-source file:', query => "?pin-source=file:$file",
      how => $token->conf_env(file => 'b', %none) },
    # A descriptor cannot be read again: what was there is kept.
    { name => 'pin-source fd:', query => '?pin-source=fd:0', always => 1,
      how => $token->conf_env(file => 'c', %none) },
) {
    my $name = $case->{name};
    my $query = $case->{query} // '';
    my $always = $case->{always} // 0;
    my $cached = { 'locked, not dumped' => 1 + $always };
    my ($used, $freed, $gone) = looked_at(
        { env => $case->{how}, stdin_file => $file }, $name, [$pin],
        'context=' . $case->{how}{OPENSSL_CONF}, '[', "load=$uri$query",
        'sign', 'pause', 'free', 'pause', ']', 'pause', 'alarm=5');
    is_deeply($used, [$cached], "$name: locked and not dumped");
    is_deeply($freed, [$cached], "$name: when the key is freed, no more");
    is_deeply($gone, [$always ? $kept : {}],
              "$name: with the library context what was cached is gone");
}

# Not kept where the setting says so; a wrong one never.
my ($used) = looked_at({ env => $token->conf_env(file => 'd', settings =>
    { 'pkcs11-module-cache-pins' => 'false' }) }, 'PINs are not cached',
    [$pin], "load=$uri", qw(sign pause));
is_deeply($used, [{}], 'PINs are not cached: it is nowhere');
my $wrong = 'Falsch-4711-Melone';
my $wrong_file = spew("$dir/wrong", "$wrong\n");
my ($refused) = looked_at({ env => $token->conf_env(file => 'e') },
    'a wrong PIN', [$wrong],
    "refused=$uri;type=private?pin-source=file:$wrong_file", 'pause');
is_deeply($refused, [{}], 'a wrong PIN: it is nowhere');

# These are in the application's hands: its arguments, its configuration, and
# what OpenSSL makes of them.
my ($shown) = looked_at({ env => $token->conf_env(file => 'f', %none) },
    'pin-value', [$pin], "load=$uri?pin-value=$pin", qw(sign pause));
ok($shown->[0]{'[stack]'}, 'a pin-value is seen where it is an argument')
    or diag(explain($shown));
# use_key makes itself a copy of that.
cmp_ok($shown->[0]{'[heap]'} // 0, '<=', 1, '… and that is all')
    or diag(explain($shown));

# A child has it from its parent, in memory that is locked again.
my ($child) = looked_at({ env => $token->conf_env(file => 'g') }, 'a parent',
    [$pin], "load=$uri", qw(sign fork=1 [ sign=1 exit ] pause));
is_deeply($child, [$kept], 'a parent whose child has signed: once');

# ---- what was decrypted, and secrets that were agreed upon

my $text = 'plaintext of eighty-one';
my $message = spew("$dir/message", $text);
my %plain = (env => $token->conf_env(file => 'plain'));
my $public = "$dir/rsa.pub";
ok_openssl(\%plain, 'the public half', 'pkey', '-in', $rsa, '-pubout',
           '-out', $public);
my %outside = (env => { OPENSSL_CONF => '/dev/null' });
for my $row (['pkcs1', 'pkcs1'], ['oaep', 'oaep']) {
    my ($name, $padding) = @$row;
    ok_openssl(\%outside, "a message, $name", qw(pkeyutl -encrypt -pubin
               -inkey), $public, '-pkeyopt', "rsa_padding_mode:$padding",
               '-in', $message, '-out', "$dir/$name");
}
my $peer = "$dir/peer.key";
ok_openssl(\%outside, 'a peer', qw(genpkey -algorithm EC -pkeyopt group:P-256
           -out), $peer);
ok_openssl(\%outside, 'its public half', 'pkey', '-in', $peer, '-pubout',
           '-out', "$dir/peer.pub");
ok_openssl(\%plain, 'the public half of ours', 'pkey', '-in', $uri, '-pubout',
           '-out', "$dir/ec.pub");
ok_openssl(\%outside, 'the secret, as the peer has it', 'pkeyutl', '-derive',
           '-inkey', $peer, '-peerkey', "$dir/ec.pub",
           '-out', "$dir/secret");
my $secret = slurp("$dir/secret");
is(length $secret, 32, 'which has 32 octets');

# Of RSASVE the secret is the number itself.
my $number = "\0" . join '', map { chr(1 + $_ * 89 % 255) } 1 .. 255;
ok_openssl(\%outside, 'a number, encapsulated', qw(pkeyutl -encrypt -pubin
           -inkey), $public, qw(-pkeyopt rsa_padding_mode:none -in),
           spew("$dir/number", $number), '-out', "$dir/rsasve");

my @cases = (
    # name, the key, the step, what is looked for
    ['an RSA decryption, PKCS1', $rsa, "open=pkcs1:$dir/pkcs1", $text],
    ['an RSA decryption, OAEP', $rsa, "open=oaep:$dir/oaep", $text],
    ['key agreement', $uri, "agree=$dir/peer.pub", $secret],
    ['RSASVE', $rsa, "unseal=$dir/rsasve", substr $number, 1],
);
if (openssl(qw(list -kem-algorithms))->{out} =~ /\bEC\b.*\@ default/) {
    # What the keys agree on, and the secret that is made of it.
    ok_openssl(\%outside, 'a secret, encapsulated', qw(pkeyutl -encap -kemop
               DHKEM -pubin -inkey), "$dir/ec.pub", '-out', "$dir/dhkem",
               '-secret', "$dir/dhkem.secret");
    my $spki = pack('H*', '3059301306072a8648ce3d020106082a8648ce3d030107'
                    . '034200') . slurp("$dir/dhkem");
    ok_openssl(\%plain, 'what the keys agree on', qw(pkeyutl -derive -inkey),
               $uri, qw(-peerform DER -peerkey), spew("$dir/ephemeral", $spki),
               '-out', "$dir/dhkem.agreed");
    push @cases, ['DHKEM', $uri, "unseal=$dir/dhkem",
                  slurp("$dir/dhkem.secret"), slurp("$dir/dhkem.agreed")];
}
for my $case (@cases) {
    my ($name, $key, $step, @what) = @$case;
    my ($done) = looked_at({ env => $token->conf_env(file => 'work') }, $name,
                           \@what, "load=$key", $step, 'pause');
    is_deeply($done, [map { {} } @what], "$name: nothing of it is left");
}
my ($mine) = looked_at(\%plain, 'an argument', [$text],
                       "load=$uri", 'pause', "exit=$text");
ok($mine->[0]{'[stack]'}, 'the text would be seen');

# ---- a core

SKIP: {
    my $pattern = slurp('/proc/sys/kernel/core_pattern');
    skip("cores go elsewhere: $pattern", 4) if $pattern =~ m{^[|/]};
    my $place = scratch('core');
    my $result = run_in({ env => $token->conf_env(file => 'core'),
        dir => $place }, 'sh', '-c', 'ulimit -c unlimited; exec "$@"', 'sh',
        builddir() . '/tests/c/use_key', "load=$uri", qw(sign abort));
    is($result->{signal}, 6, 'a process aborts');
    my ($core) = glob "$place/*core*";
    skip('the system wrote no core', 3) if !defined $core;
    my $bytes = slurp($core);
    cmp_ok(length $bytes, '>', 100_000, 'and leaves a core');
    ok(index($bytes, "load=$uri") >= 0, '… with its arguments');
    ok(index($bytes, $pin) < 0, '… without the PIN');
}

done_testing();
