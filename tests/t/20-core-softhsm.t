#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# The core on SoftHSM, without libcrypto in the programs: budgets, sessions,
# logins, fork and exit. What they wrote is judged by OpenSSL's own command.
use strict;
use warnings;

use Test::More;
use P11::Test;
use P11::Count;
use P11::Token;

needs('openssl', 'pkcs11-tool');

# Keys come from files, so that they can be deleted and be there again.
my $keys = scratch('keys');
for my $key (['rsa', 'RSA', 'rsa_keygen_bits:2048'],
             ['other', 'RSA', 'rsa_keygen_bits:2048'],
             ['ec', 'EC', 'ec_paramgen_curve:P-256'],
             ['apart', 'EC', 'ec_paramgen_curve:P-256']) {
    my ($name, $algorithm, $option) = @$key;
    ok_openssl("a key: $name", 'genpkey', '-algorithm', $algorithm,
               '-pkeyopt', $option, '-out', "$keys/$name.pem");
    for my $half ('', '-pubout') {
        openssl('pkey', '-in', "$keys/$name.pem", ($half || ()), '-outform',
                'DER', '-out', "$keys/$name" . ($half ? '-pub' : '') . '.der');
    }
}

sub import_key {
    my ($token, $name, $label, $id, $public_label) = @_;
    my @usage = $name eq 'rsa' ? ('--usage-sign', '--usage-decrypt')
                               : '--usage-derive';
    $token->tool('--write-object', "$keys/$name.der", '--type', 'privkey',
                 '--label', $label, '--id', $id, @usage);
    $token->tool('--write-object', "$keys/$name-pub.der", '--type', 'pubkey',
                 '--label', $public_label // $label, '--id', $id);
    return;
}

# The command that makes the key "rsa" another one, or none.
sub replacement {
    my ($token, $name) = @_;
    my $tool = join ' ', 'pkcs11-tool', '--module', $token->module,
        '--token-label', $token->label, '--login', '--pin', $token->pin;
    my @steps = map {
        "$tool --delete-object --type $_ --id 01 || true"
    } qw(privkey pubkey);
    push @steps, map {
        my ($type, $file) = @$_;
        "$tool --write-object $keys/$file.der --type $type --label rsa --id 01"
    } ['privkey', $name], ['pubkey', "$name-pub"] if defined $name;
    return '{ ' . join('; ', @steps) . '; } >/dev/null 2>&1';
}

sub new_token {
    my $token = P11::Token->needs('SoftHSM', @_);
    import_key($token, 'rsa', 'rsa', '01');
    import_key($token, 'ec', 'ec', '02');
    import_key($token, 'apart', 'apart', '03', 'elsewhere');
    return $token;
}

# A program of tests/c; its TAP is part of ours.
sub program {
    my ($token, $name, %options) = @_;
    my $count = P11::Count->new($token, %options);
    my $what = join ' ', $name, map { "$_ $options{$_}" } sort keys %options;
    my $dir = scratch("run-$what" =~ s/\W+/-/gr);
    my %env = (%{ $count->token->env },
        P11_MODULE => $count->module, P11_PIN => $token->pin,
        P11_SCRATCH => $dir,
        # Who calls exit() in the middle of it leaves things behind.
        ASAN_OPTIONS => join(':', $ENV{ASAN_OPTIONS} // '', 'detect_leaks='
                             . ($name eq 'core_gate_test' ? 0 : 1)),
        P11_SAME_KEY => replacement($token, 'rsa'),
        P11_OTHER_KEY => replacement($token, 'other'),
        P11_NO_KEY => replacement($token));
    my $result = run_in({ env => \%env, dir => $dir },
                        builddir() . "/tests/c/$name");
    my ($plan) = $result->{out} =~ /^1\.\.([1-9]\d*)/m;
    my @ok = $result->{out} =~ /^ok\b/mg;
    ok($result->{status} == 0 && $result->{signal} == 0
           && @ok == ($plan // -1), "$what: " . @ok . ' cases')
        or diag("status $result->{status}, signal $result->{signal}\n",
                grep { !/^ok\b/ } map { "$_\n" }
                split /\n/, $result->{out} . $result->{err});
    return $dir;
}

my $token = new_token();
my $dir = program($token, 'core_budget_test');

spew("$dir/data", "\x01" x 32);
openssl('pkey', '-pubin', '-inform', 'DER', '-in', "$dir/rsa.spki", '-out',
        "$dir/rsa.pub");
my @verify = ('pkeyutl', '-verify', '-pubin', '-inkey', "$dir/rsa.pub",
              '-pkeyopt', 'rsa_padding_mode:pkcs1', '-sigfile',
              "$dir/rsa.sig", '-in');
ok_openssl('the signature is good', @verify, "$dir/data");
spew("$dir/wrong", "\x02" x 32);
openssl_fails('and only for its data', qr/Verification Failure/i, @verify,
              "$dir/wrong");
is(slurp("$dir/rsa.spki"), slurp("$keys/rsa-pub.der"),
    'the public key is byte for byte the one that was imported');
openssl('pkey', '-in', "$keys/ec.pem", '-pubout', '-out', "$keys/ec.pub");
ok_openssl('OpenSSL derives', 'pkeyutl', '-derive', '-inkey', "$keys/ec.pem",
           '-peerkey', "$keys/ec.pub", '-out', "$dir/openssl.z");
is(slurp("$dir/ec.z"), slurp("$dir/openssl.z"), 'and the token the same');

program($token, 'core_pool_test', latency_us => 300);
program($token, 'core_login_test', latency_us => 300);
program($token, 'core_exchange_test');
program($token, 'core_copy_test');
program($token, 'core_restart_test', device => scratch() . '/device');
SKIP: {
    if (sanitizer() eq 'thread') {
        my $why = 'the thread sanitizer sees no fork while threads run';
        diag("core_gate_test is left out: $why");
        skip($why, 2);
    }
    program($token, 'core_gate_test', latency_us => 1000);

    # A module that insists on C_Initialize in every child.
    my $strict = new_token(reset_on_fork => 'true');
    program($strict, 'core_gate_test', latency_us => 500);
}

done_testing();
