#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# Runs the C programs that tests/tests.am lists as core_tests. They print TAP.
use strict;
use warnings;

use Test::More;
use P11::Test;
use P11::Token;

my ($list) = slurp(top() . '/tests/tests.am')
    =~ /^core_tests =((?:[^\n]*\\\n)*[^\n]*)/m;
my @programs = $list =~ m{tests/c/(\w+)}g;

# Those that need a token take this one; each gets a fresh folder.
my $token = P11::Token->make('SoftHSM');

# The number of cases that passed; -1 where the output is not sound TAP.
sub passed {
    my ($out) = @_;
    my ($plan) = $out =~ /^1\.\.(\d+)/m;
    my @ok = $out =~ /^ok\b/mg;
    my @not_ok = $out =~ /^not ok\b(?!.*# TODO)/mg;
    return -1 if !defined $plan || @not_ok || @ok != $plan;
    return $plan;
}

for my $name (@programs) {
    my $dir = scratch($name);
    my %env = (P11_SCRATCH => $dir);
    if (defined $token) {
        %env = (%env, %{ $token->env }, P11_MODULE => $token->module,
                P11_LABEL => $token->label, P11_PIN => $token->pin);
    }
    my $result = run_in({ env => \%env, dir => $dir, timeout => 300 },
                        builddir() . "/tests/c/$name");
    my $n = passed($result->{out});
    my $ended = $result->{status} == 0 && $result->{signal} == 0;
    if ($ended && $n == 0) {
        my ($why) = $result->{out} =~ /^1\.\.0\s*#\s*SKIP\s*(.*)/mi;
        SKIP: { skip($name . ': ' . ($why // 'skipped'), 1); }
        next;
    }
    ok($ended && $n > 0, "$name: $n cases") or do {
        diag("status $result->{status}, signal $result->{signal}");
        diag(grep { !/^ok\b/ } map { "$_\n" }
             split /\n/, $result->{out} . $result->{err});
    };
}
plan(skip_all => 'no program is listed') if !@programs;
done_testing();
