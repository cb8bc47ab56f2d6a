#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The end of a process: while threads sign, and in every order of freeing keys,
# unloading providers, OPENSSL_cleanup() and exit. Status 0, no hang.
use strict;
use warnings;

use Test::More;
use P11::Test;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');
my $token = P11::Token->needs('SoftHSM');
my $rsa = $token->keypair('rsa:2048', 'rsa', '01');
my $ec = $token->keypair('EC:prime256v1', 'ec', '02');
my %how = (env => $token->conf_env);
my %bare = (env => $token->bare_env);
my $ref = reference($token, $ec, 'ref');

# --- while threads sign ---

# They sign by contexts that are there: where libcrypto looks for an algorithm,
# or verifies in software, it crashes itself now and then, when another thread
# is in exit().
ok_every_time(\%how, 100, "exit while 4 threads sign, $_->[0]", 'prepared',
              "load=$_->[1]", qw(threads=4 exit))
    for ['EC', $ec], ['RSA', $rsa];
ok_every_time(\%how, 20, 'and the status is what exit() was given',
              'prepared', "load=$ec", "load=$rsa", 'fork', '[',
              qw(threads=4 exit ]));
ok_every_time(\%how, 20, '_exit while 4 threads sign', "load=$ec",
              qw(threads=4 _exit));
is(use_key(\%how, 'prepared', "load=$ec", qw(threads=4 exit=7))->{status},
   7, 'a status that is not 0 stays');

# What is refused without the token is so after the end, too.
ok_use_key(\%how, 'decryptions that are refused', "load=$rsa",
           qw(decrypting junk=3));
ok_use_key(\%how, '… after OPENSSL_cleanup', "load=$rsa",
           qw(decrypting cleanup junk=3 _exit));
# Both have begun when the file is there: see above.
my $begun = scratch() . '/begun';
ok_every_time(\%how, 30, 'exit while 2 threads are refused', "load=$rsa",
              "run=rm -f $begun", qw(begin=2 [ decrypting meet only=0 [),
              "run=touch $begun", qw(] junk=2000000 ]), "await=$begun",
              qw(sleep=20 exit));

# --- orders, activated by openssl.cnf ---

my @ends = ([], ['exit'], ['_exit'], ['cleanup'], [qw(cleanup exit)],
            [qw(cleanup _exit)]);
for my $key (["load=$ec"], ["load=$ref"], ["load=$ec", "load=$rsa"]) {
    my $name = @$key > 1 ? 'two keys' : $key->[0] =~ /pem$/ ? 'ref' : 'ec';
    for my $end (@ends) {
        ok_use_key(\%how, "$name: @$_ @$end", @$key, @$_, @$end)
            for [], ['sign'], ['free'], [qw(sign free)];
    }
    ok_use_key(\%how, "$name: sign cleanup free", @$key,
               qw(sign cleanup free));
}

# --- threads that outlive the main one: their last one ends the process ---

ok_use_key(\%how, "the main thread leaves: @$_", @$_)
    for ["load=$ec", "load=$rsa", qw(sign begin=2 [ sleep=20 sign=2 ] leave)],
        [qw(begin=2 [ sleep=20), "load=$ec", qw(sign=2 free ] leave)],
        ["load=$ec", qw(begin=3 [ sleep=20 sign free ] leave)];

# --- orders, with providers that the application loads ---

my @load = qw(provider=default provider=pkcs11);
my $uri = pin_uri($token, object => 'ec', type => 'private');
my @orders = (
    [qw(sign free unload)],
    [qw(sign unload free)],
    [qw(sign unload)],
    [qw(free unload)],
    [qw(unload free)],
    [qw(sign unload exit)],
    [qw(sign unload _exit)],
    [qw(sign unload cleanup)],
    [qw(sign unload free cleanup)],
    [qw(sign free unload cleanup exit)],
    [qw(sign unload cleanup free)],
);
for my $order (@orders) {
    ok_use_key(\%bare, "loaded by hand: @$order", @load, "load=$uri", @$order);
}
ok_use_key(\%bare, 'alone, which lends the default provider',
           'provider=pkcs11', "load=$uri", qw(sign free unload));
ok_use_key(\%bare, 'loaded and never used', @load, 'unload');
ok_use_key(\%bare, 'loaded, unloaded, used again', 'repeat=20', '[', @load,
           "load=$uri", qw(sign=2 free unload ]));
ok_use_key(\%bare, 'keys outlive their provider', 'provider=default',
           'repeat=20', '[', @load, "load=$uri", qw(sign unload free ]));
use_key_fails(\%bare, 'a key that is not loaded signs nothing',
              qr/no key to sign with/, @load, 'sign');

# --- library contexts ---

my $cnf = $token->write_conf(file => 'context.cnf');
ok_use_key(\%bare, 'a context of its own', "context=$cnf", '[', "load=$uri",
           qw(sign=2 free ]));
ok_use_key(\%bare, 'contexts after one another', 'repeat=10', '[',
           "context=$cnf", '[', "load=$uri", qw(sign free ] ]));
ok_use_key(\%how, 'two contexts, the inner one goes first', "load=$rsa",
           'sign', 'in=1', '[', "context=$cnf", '[', "load=$ec",
           qw(sign free ] ] sign free));
ok_use_key(\%how, 'keys outlive their context', "context=$cnf", '[',
           "load=$ec", qw(sign ] free));
ok_use_key(\%how, 'three contexts, and a fork in the middle',
           "load=$ec", "context=$cnf", '[', "load=$rsa", 'sign',
           "context=$cnf", '[', "load=$ec", 'fork=2', '[', "load=$rsa",
           qw(free ] free ] ]));

# --- programs ---

my $data = spew(scratch() . '/data', 'x' x 32);
my @commands = (
    ['pkey', '-in', $ec, '-noout'],
    ['pkey', '-in', $ref, '-noout'],
    ['pkeyutl', '-sign', '-inkey', $rsa, '-in', $data],
    ['dgst', '-sha256', '-sign', $ec, $data],
    ['storeutl', '-noout', '-keys', $token->uri],
    ['list', '-providers'],
    ['version'],
);
for my $command (@commands) {
    ok_openssl(\%how, "openssl $command->[0] $command->[1]", @$command)
        if @$command > 1;
    for my $providers ([qw(default pkcs11)], [qw(pkcs11 default)],
                       ['pkcs11']) {
        next if $command->[0] eq 'version';
        my %named = (%bare, providers => $providers,
                     stdin => $token->pin . "\n");
        my @arguments = map { $_ =~ /^pkcs11:/
            ? "$_?pin-value=" . $token->pin : $_ } @$command;
        next if grep { $_ eq $ref } @arguments;
        ok_openssl(\%named, "openssl $command->[0] by @$providers",
                   @arguments);
    }
}

done_testing();
