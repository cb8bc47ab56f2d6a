#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The lint over tables: what is offered to libcrypto, and rows.
use strict;
use warnings;

use Test::More;
use P11::Test;

for my $program (qw(tables_prov rows_prov)) {
    my $result = ok_run({ env => { OPENSSL_CONF => '/dev/null' } },
                        "$program: all is in order",
                        builddir() . "/tests/c/$program");
    my $n = () = $result->{out} =~ /^ok /mg;
    cmp_ok($n, '>', 200, "$program: $n checks");
}
ok_run({ env => { OPENSSL_CONF => '/dev/null' } },
       'composite signatures, by their functions',
       builddir() . '/tests/c/composite_prov');
done_testing();
