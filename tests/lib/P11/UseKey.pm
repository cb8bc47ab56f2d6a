# SPDX-License-Identifier: Apache-2.0
#
# tests/c/use_key, which does with keys what its arguments say, step by step:
# sign in threads, fork, unload, exit. Its table of steps tells what there is.
package P11::UseKey;

use strict;
use warnings;

use Exporter 'import';
use P11::Test;
use Test::More ();

our @EXPORT = qw(use_key ok_use_key use_key_fails ok_every_time pin_uri
                 reference);

my $program = P11::Test::builddir() . '/tests/c/use_key';

# A child has no threads, but what they had: leaks, to the leak detector.
sub leaks_allowed {
    my ($how, @steps) = @_;
    return $how if !grep { /^(?:threads|begin)=/ } @steps;
    my $options = join ':', grep { defined && length }
        $ENV{ASAN_OPTIONS}, 'detect_leaks=0';
    return { %$how, env => { %{ $how->{env} }, ASAN_OPTIONS => $options } };
}

# use_key({ how }, STEPS…): the result as of P11::Test::run_in().
sub use_key {
    my ($how, @steps) = @_;
    return run_in(leaks_allowed($how, @steps), $program, @steps);
}

sub ok_use_key {
    my ($how, $name, @steps) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return ok_run(leaks_allowed($how, @steps), $name, $program, @steps);
}

# The first step that fails ends it; what it says is matched.
sub use_key_fails {
    my ($how, $name, $patterns, @steps) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return fails_with($how, $name, $patterns, $program, @steps);
}

# ok_every_time({ how }, N, NAME, STEPS…): N processes, one after the other,
# each ends with status 0; those that do not are counted by how they ended.
sub ok_every_time {
    my ($how, $times, $name, @steps) = @_;
    my (%ends, $said);

    for (1 .. $times) {
        my $result = use_key($how, @steps);
        next if $result->{status} == 0 && $result->{signal} == 0;
        $ends{"status $result->{status} signal $result->{signal}"}++;
        $said //= $result->{err};
    }
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::ok(!%ends, "$name: $times of $times") || do {
        Test::More::diag("$ends{$_} of $times: $_") for sort keys %ends;
        Test::More::diag($said);
        0;
    };
}

# A URI with its PIN, for programs without a configuration.
sub pin_uri {
    my ($token, @attributes) = @_;
    return $token->uri(@attributes) . '?pin-value=' . $token->pin;
}

# A file with a reference to the key, its public half included; SETTINGS may
# leave that out.
sub reference {
    my ($token, $uri, $name, %settings) = @_;
    my $file = scratch() . "/$name.pem";
    my $result = openssl({ env => $token->conf_env(file => "$name.cnf",
                                                   settings => \%settings) },
                         'pkey', '-in', $uri, '-out', $file);
    die "no reference to $uri:\n$result->{err}" if $result->{status} != 0;
    return $file;
}

1;
