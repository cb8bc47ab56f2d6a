# SPDX-License-Identifier: Apache-2.0
#
# What a recipe of OpenSSL's printed, and how two runs of it differ.
#
# A result is a list of [NAME, STATUS]: NAME is the path of a test that has no
# tests below it ("one > two > three"), STATUS is "ok", "not ok" or "skip".
package P11::Suite::Tap;

use strict;
use warnings;

# Lines of TAP, subtests indented by four blanks each → a result. Tests of a
# subtest come before the line that names it.
sub parse {
    my ($text) = @_;
    my @below;          # [level] → results that wait for their parent's line
    my %seen;

    for my $line (split /\n/, $text) {
        my ($indent, $not, $rest) =
            $line =~ /^((?:    )*)(not )?ok\b(?: \d+)?(.*)$/ or next;
        my $level = length($indent) / 4;
        my $skip = $rest =~ s/\s# skip(?:ped)?\b.*//i;
        my ($name) = $rest =~ /^\s*-?\s*(.*?)\s*$/;
        my $status = $skip ? 'skip' : $not ? 'not ok' : 'ok';
        my @children = map { @{ $_ // [] } } @below[$level + 1 .. $#below];
        $#below = $level if $#below > $level;
        push @{ $below[$level] }, folded($name, $status, @children);
    }
    return [map { [numbered($_->[0], \%seen), $_->[1]] }
                map { @{ $_ // [] } } @below];
}

# A parent's children under its name; the parent itself where it has none, or
# where it failed although none of them did.
sub folded {
    my ($name, $status, @children) = @_;
    my @results = map { ["$name > $_->[0]", $_->[1]] } @children;
    my $failed = grep { $_->[1] eq 'not ok' } @children;
    if (!@children || ($status eq 'not ok' && !$failed)) {
        push @results, [$name, $status];
    }
    return @results;
}

# The second of one name is "name #2".
sub numbered {
    my ($name, $seen) = @_;
    my $n = ++$seen->{$name};
    return $n > 1 ? "$name #$n" : $name;
}

# What was right in the first run and is not in the second, and what is wrong
# in the second only: [NAME, "ok", "skip" or "-", STATUS or "missing"].
sub differences {
    my ($base, $result) = @_;
    my %base = map { $_->[0] => $_->[1] } @$base;
    my %result = map { $_->[0] => $_->[1] } @$result;
    my @differences;

    for my $row (@$base) {
        my ($name, $status) = @$row;
        next if $status ne 'ok' || ($result{$name} // '') eq 'ok';
        push @differences, [$name, 'ok', $result{$name} // 'missing'];
    }
    for my $row (@$result) {
        my ($name, $status) = @$row;
        my $before = $base{$name} // '-';
        next if $status ne 'not ok' || $before =~ /ok$/;
        push @differences, [$name, $before, $status];
    }
    return @differences;
}

# How many of a result are right, wrong, skipped: ("ok" => …, …).
sub totals {
    my ($result) = @_;
    my %totals = (ok => 0, 'not ok' => 0, skip => 0);
    $totals{ $_->[1] }++ for @$result;
    return %totals;
}

1;
