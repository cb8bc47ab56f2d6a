# SPDX-License-Identifier: Apache-2.0
#
# The differences that are known and have a reason: tests/openssl/listed.
#
#     SUITE VERSIONS PATTERN
#         why no provider of token keys can pass it, indented
#
# VERSIONS is * or versions of OpenSSL with commas between them, as 3.0,3.5. The
# PATTERN, to the end of the line, is looked for in "FILE: NAME OF THE TEST".
package P11::Suite::Listed;

use strict;
use warnings;

# The rows of a text: { suite, versions, pattern, reason, line, used }.
sub parse {
    my ($text) = @_;
    my (@rows, $number);

    for my $line (split /\n/, $text) {
        $number++;
        next if $line =~ /^\s*(?:#|$)/;
        if ($line =~ /^\s+(.*?)\s*$/) {
            die "listed, line $number: a reason without a row\n" if !@rows;
            $rows[-1]{reason} .= length $rows[-1]{reason} ? " $1" : $1;
            next;
        }
        my ($suite, $versions, $pattern) = $line =~ /^(\S+)\s+(\S+)\s+(.+?)\s*$/
            or die "listed, line $number: SUITE VERSIONS PATTERN is wanted\n";
        push @rows, { suite => $suite, versions => $versions, used => 0,
                      pattern => qr/$pattern/, reason => '',
                      line => $number };
    }
    for my $row (grep { !length $_->{reason} } @rows) {
        die "listed, line $row->{line}: there is no reason\n";
    }
    return @rows;
}

# Those of one suite in one version of OpenSSL.
sub rows_of {
    my ($suite, $version, @rows) = @_;
    my ($minor) = $version =~ /^(\d+\.\d+)/;
    return grep {
        $_->{suite} eq $suite
            && ($_->{versions} eq '*'
                || grep { $_ eq $minor } split /,/, $_->{versions})
    } @rows;
}

# The row that a test is listed in, or undef; the row counts it as used.
sub take {
    my ($test, @rows) = @_;
    for my $row (@rows) {
        next if $test !~ $row->{pattern};
        $row->{used}++;
        return $row;
    }
    return;
}

1;
