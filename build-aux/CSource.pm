# SPDX-License-Identifier: Apache-2.0
# Just enough reading of C for the checkers.
package CSource;

use strict;
use warnings;
use File::Find ();

# The C files below the directories that exist, sorted.
sub files {
    my @found;
    my @dirs = grep { -d } @_;
    return () if !@dirs;
    File::Find::find({ no_chdir => 1, wanted => sub {
        push @found, $_ if /\.[ch]$/ && -f;
    } }, @dirs);
    return sort @found;
}

sub slurp {
    my ($path) = @_;
    open my $in, '<:encoding(UTF-8)', $path or die "$path: $!\n";
    local $/;
    my $text = <$in>;
    close $in;
    return $text;
}

# Comments and the contents of literals become blanks; lines stay lines.
sub blank {
    my ($text) = @_;
    my $keep = sub { my ($s) = @_; $s =~ s/[^\n]/ /g; return $s };
    my $literal = sub {
        my ($s) = @_;
        my $q = substr $s, 0, 1;
        return $q . $keep->(substr $s, 1, -1) . $q;
    };
    $text =~ s{(/\*.*?\*/|//[^\n]*)|("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')}
              {defined $1 ? $keep->($1) : $literal->($2)}gse;
    return $text;
}

# The same without preprocessor directives.
sub without_directives {
    my ($text) = @_;
    $text =~ s{^([ \t]*\#(?:[^\n]*\\\n)*[^\n]*)}
              {my $s = $1; $s =~ s/[^\n]/ /g; $s}gme;
    return $text;
}

1;
