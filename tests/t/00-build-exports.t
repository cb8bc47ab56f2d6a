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

unlike($program, qr/^\s*LOAD\s.*\bRWE\b/m,
    'nothing is writable and executable');
unlike($dynamic, qr/\((?:RPATH|RUNPATH)\)/,
    'it looks for libraries where the system does');
like($program, qr/GNU_STACK/, 'it says what stack it needs');

# What the compiler was asked for, seen in what it uses of the C library.
my $uses = run('nm', '-D', '-u', $module)->{out};
like($uses, qr/\b__stack_chk_fail\b/, 'its stack is watched (protector)');
my ($flags) = slurp(builddir() . '/Makefile') =~ /^CFLAGS\s*=(.*)/m;
SKIP: {
    skip('it was built without optimisation', 1) if $flags !~ /-O[123s]/;
    skip('the sanitizers replace that', 1) if length sanitizer();
    like($uses, qr/\b__\w+_chk\b/, 'sizes of buffers are checked (fortify)');
}
unlike($uses, qr/\b(?:gets|strcpy|strcat|sprintf|system|popen|mktemp|tmpnam
                      |exec\w*|posix_spawn\w*)(?:@|\b)/x,
    'no function without bounds, and none that runs a command');

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
