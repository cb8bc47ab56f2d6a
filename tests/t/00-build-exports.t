#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# What the built files look like from outside.
use strict;
use warnings;

use Test::More;
use P11::Test;

needs(qw(nm readelf));

my $module = module_file();
my $core = builddir() . '/.libs/libhsm.a';

ok(-e $module, 'the module is built') or BAIL_OUT("$module is missing");

my @exported = map { /\s(\w+)(@@\S+)?$/ ? $1 : () }
    split /\n/, run('nm', '-D', '--defined-only', $module)->{out};
# Linkers add names of a script's versions; sanitizers add their own.
@exported = grep { !/^__(asan|odr_asan|ubsan|sanitizer)/ } @exported;
is_deeply(\@exported, ['OSSL_provider_init'],
    'only OSSL_provider_init is exported');

my $dynamic = run('readelf', '-W', '-d', $module)->{out};
my $program = run('readelf', '-W', '-l', $module)->{out};
like($dynamic, qr/FLAGS_1.*NODELETE/, 'it stays loaded (nodelete)');
like($dynamic, qr/FLAGS.*BIND_NOW|FLAGS_1.*NOW/, 'it is bound at once (now)');
like($program, qr/GNU_RELRO/, 'its tables are read-only (relro)');
unlike($program, qr/GNU_STACK.*RWE/, 'its stack is not executable');
unlike($dynamic, qr/TEXTREL/, 'its code needs no relocation');

my @needed = $dynamic =~ /NEEDED.*\[([^\]]+)\]/g;
ok(!(grep { /^libssl\b/ } @needed), 'it does not need libssl')
    or diag("needed: @needed");
ok((grep { /^libcrypto\b/ } @needed), 'it needs libcrypto');
ok((grep { /^libp11-kit\b/ } @needed), 'it needs p11-kit');

# What libcrypto exports and the core lacks a definition of: there is nothing.
my ($libcrypto) = run('ldd', $module)->{out} =~ m{libcrypto\S* => (\S+)};
SKIP: {
    skip('ldd does not show libcrypto', 1) if !defined $libcrypto;
    my %libcrypto = map { /\s(\w+)(?:@\S*)?$/ ? ($1 => 1) : () }
        split /\n/, run('nm', '-D', '--defined-only', $libcrypto)->{out};
    my @used = grep { $libcrypto{$_} } map { /\sU\s+(\w+)/ ? $1 : () }
        split /\n/, run('nm', '-u', $core)->{out};
    ok(keys %libcrypto > 1000 && !@used, 'the core uses nothing of libcrypto')
        or diag("used: @used");
}

done_testing();
