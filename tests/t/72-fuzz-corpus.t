#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The inputs in tests/data/fuzz, which "make check-fuzz" starts from, go through
# the fuzz targets once more: what was found stays mended.
use strict;
use warnings;

use Test::More;
use P11::Test;

my $data = top() . '/tests/data/fuzz';
my ($list) = slurp(top() . '/tests/tests.am')
    =~ /^fuzz_programs =((?:[^\n]*\\\n)*[^\n]*)/m;
my @targets = $list =~ m{tests/fuzz/(\w+)_fuzz\b}g;
cmp_ok(scalar @targets, '>=', 6, 'there are targets');
is_deeply([map { m{([^/]+)/?$} } grep { -d } glob "$data/*"], \@targets,
          'each has its inputs, and no other');

my $total = 0;
for my $target (@targets) {
    my @inputs = glob "$data/$target/*";
    my $program = builddir() . "/tests/fuzz/${target}_fuzz";
    my $result = run($program, @inputs);
    cmp_ok(scalar @inputs, '>=', 10, "$target: inputs are kept");
    is($result->{out}, @inputs . " inputs\n", '… and all go through')
        or diag("status $result->{status}, signal $result->{signal}",
                substr $result->{err}, -2000);
    $total += @inputs;
}
fails_with({}, 'an input that cannot be read is noticed', qr/cannot be read/,
    builddir() . '/tests/fuzz/der_fuzz', "$data/none");
figure("$total inputs");
done_testing();
