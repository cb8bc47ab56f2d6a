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
    my $callgrind = sub {
        my ($name, @what) = @_;
        my $counted = ok_run(\%how, "$name: counted", 'valgrind',
            '--tool=callgrind', '--callgrind-out-file=/dev/null',
            '--collect-atstart=no', '--toggle-collect=measured', $program,
            @what);
        return ($counted, ($counted->{err} =~ /Collected : (\d+)/)[0] // 0);
    };
    my $instructions = sub { ($callgrind->($_[0], 'case', $_[0]))[1] };
    my %first;
    for my $case (split /\n/, run($program, 'cases')->{out}) {
        my ($kind) = $case =~ /^(\w+)/;
        my $count = $instructions->($case);
        $first{$kind} //= $count;
        cmp_ok($count, '>', 2000, "$case: instructions");
        is($count, $first{$kind}, "$case: as many as any other");
    }
    # Encodings at random: as many instructions whichever and however many of
    # them are good.
    my $sets = $ENV{P11_LONG} ? 50 : 3;
    my @many;
    for my $kind (qw(pkcs1 oaep tls reject)) {
        my (%counts, %good);
        for my $seed (map { $_ * 7919 } 1 .. $sets) {
            my ($result, $count) = $callgrind->("$kind, seed $seed", 'many',
                                                "$kind.good", $seed);
            $counts{$count}++;
            $good{ ($result->{out} =~ /^good (\d+)/)[0] // -1 }++;
        }
        is(scalar keys %counts, 1, "$kind: all sets take as many instructions")
            or diag(join ' ', sort keys %counts);
        my ($least, $most) = (sort { $a <=> $b } keys %good)[0, -1];
        if ($kind eq 'reject') {
            is($least, 400, '… and each gives a message');
        } else {
            ok($least > 20 && $most < 380, "… with $least to $most good ones");
            cmp_ok($least, '<', $most, '… not as many in each') if $sets > 1;
        }
        push @many, sprintf '%-7s %d encodings at random, %.1f million '
            . 'instructions in each 400, %d to %d good', $kind, 400 * $sets,
            (keys %counts)[0] / 1e6, $least, $most;
    }
    diag(join "\n", 'Paddings:', @many);
    my $header = grep { -e "$_/valgrind/memcheck.h" }
        qw(/usr/include /usr/local/include);
    skip 'valgrind has no header', 1 if !$header;
    for my $case (qw(pkcs1.good pkcs1.first oaep.good oaep.label tls.good
                     tls.version reject.good reject.first)) {
        ok_run(\%how, "$case: no branch, no address by a secret", 'valgrind',
               '-q', '--error-exitcode=9', $program, 'case', $case);
    }
    for my $case (qw(pkcs1.good pkcs1.long oaep.good oaep.long tls.good
                     reject.good reject.first)) {
        ok_run(\%how, "$case: a buffer that nobody has written is defined",
               'valgrind', '-q', '--error-exitcode=9', $program, 'room',
               $case);
    }
}
done_testing();
