#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# RSA paddings taken away in software: what comes out, and that good and bad
# ones cost the same instructions, with no branch and no address that depends
# on them.
use strict;
use warnings;

use Test::More;
use P11::Test;

my $program = builddir() . '/tests/c/unpad_prov';
my %how = (env => { OPENSSL_CONF => '/dev/null' });
my $result = ok_run(\%how, 'paddings', $program);
my $n = () = $result->{out} =~ /^ok /mg;
cmp_ok($n, '>', 80, "$n checks");

SKIP: {
    skip 'valgrind is not installed', 1 if !have('valgrind');
    skip 'the sanitizers and valgrind exclude each other', 1
        if defined $ENV{P11_SANITIZER_RUNTIME};
    my $instructions = sub {
        my ($case) = @_;
        my $counted = ok_run(\%how, "$case: counted", 'valgrind',
            '--tool=callgrind', '--callgrind-out-file=/dev/null',
            '--collect-atstart=no', '--toggle-collect=measured', $program,
            'case', $case);
        return ($counted->{err} =~ /Collected : (\d+)/)[0] // 0;
    };
    my %first;
    for my $case (split /\n/, run($program, 'cases')->{out}) {
        my ($kind) = $case =~ /^(\w+)/;
        my $count = $instructions->($case);
        $first{$kind} //= $count;
        cmp_ok($count, '>', 2000, "$case: instructions");
        is($count, $first{$kind}, "$case: as many as any other");
    }
    my $header = grep { -e "$_/valgrind/memcheck.h" }
        qw(/usr/include /usr/local/include);
    skip 'valgrind has no header', 1 if !$header;
    for my $case (qw(pkcs1.good pkcs1.first oaep.good oaep.label tls.good
                     tls.version reject.good reject.first)) {
        ok_run(\%how, "$case: no branch, no address by a secret", 'valgrind',
               '-q', '--error-exitcode=9', $program, 'case', $case);
    }
}
done_testing();
