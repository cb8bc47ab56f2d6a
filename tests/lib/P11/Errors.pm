# SPDX-License-Identifier: Apache-2.0
#
# doc/errors.md and what the openssl command really says. The page names each
# error by the recipe and the refusal that shows it,
#
#     <!-- 40-error-messages: no such token -->
#
# and the lines behind that are the error's words, indented. A recipe that ends
# with errors_are_on_page() compares them. Where UPDATE_ERRORS is set, as
# build-aux/update-errors does it, they are written anew instead; what the page
# does not have yet is put at its end, where somebody has to say what to do.
package P11::Errors;

use strict;
use warnings;

use Exporter 'import';
use File::Basename ();
use Test::More ();

use P11::Test;

our @EXPORT = qw(errors_are_on_page);

my $width = 76;

# The words of an entry "THREAD:error:NUMBER:pkcs11:FUNCTION:REASON:FILE:LINE:
# TEXT", without what is another at each run or place: reason and text.
sub words {
    my ($entry) = @_;
    my ($reason, $text) = $entry
        =~ /:error:[0-9A-F]+:pkcs11:[^:]*:(.*?):[\w\/.]+\.c:\d+:(.*)$/
        or return $entry;
    my $scratch = scratch();

    $text =~ s/\Q$scratch\E/\/tmp/g;
    $text =~ s/\bserial=[0-9a-f]{16}\b/serial=0123456789abcdef/g;
    $text =~ s/\bcount-\d+\.so\b/module.so/g;
    $text =~ s/("SoftHSM", version 2)\.\d+/$1.6/g;
    $text =~ s/\(as user id 0\)/(as user id 1000)/g;
    $text =~ s{"/\S*/libc\.so\.\d+"}{"/usr/lib/libc.so.6"}g;
    # What is found has no order.
    $text =~ s{((?:pkcs11:model=\S+ ?){2,})(?=;|$)}
              {join ' ', sort split / /, $1}e;
    $text =~ s{("\w+"(?:, "\w+")+)}{join ', ', sort split /, /, $1}ge;
    return "$reason: $text";
}

# In lines of some length, as Markdown shows code.
sub block {
    my ($words) = @_;
    my @lines = ('');
    for my $word (split / /, $words) {
        if (length $lines[-1] && length("$lines[-1] $word") > $width) {
            push @lines, '';
        }
        $lines[-1] .= length $lines[-1] ? " $word" : $word;
    }
    return join '', map { "    $_\n" } @lines;
}

sub mark { return "<!-- $_[0]: $_[1] -->\n" }

# { NAME => lines } of what the page has from this recipe.
sub on_page {
    my ($page, $recipe) = @_;
    my %block;
    while ($page =~ /^<!-- \Q$recipe\E: (.*) -->\n\n((?:    .*\n)*)/mg) {
        $block{$1} = $2;
    }
    return \%block;
}

sub replace {
    my ($file, $recipe, $is, $some) = @_;
    my $page = slurp($file);
    my $has = $some ? {} : on_page($page, $recipe);
    for my $name (sort keys %$is) {
        my $mark = mark($recipe, $name);
        $page =~ s/\Q$mark\E\n(?:    .*\n)*/$mark\n$is->{$name}/
            or $page .= "\n$mark\n$is->{$name}";
    }
    for my $name (grep { !defined $is->{$_} } keys %$has) {
        my $mark = mark($recipe, $name);
        $page =~ s/\Q$mark\E\n(?:    .*\n)*\n?//;
    }
    spew($file, $page);
    Test::More::diag("$file has the words of $recipe");
    return;
}

# Compares what openssl_refuses() has seen so far in this recipe. What was not
# to be seen here (some => 1) may be on the page all the same. What versions of
# OpenSSL see differently (apart => [NAMES]) is not on the page.
sub errors_are_on_page {
    my (%how) = @_;
    my $recipe = File::Basename::basename($0, '.t');
    my $file = top() . '/doc/errors.md';
    my $page = slurp($file);
    my %is = map { ($_->[0] => block(words($_->[1]))) } refusals();
    delete @is{@{ $how{apart} // [] }};

    return replace($file, $recipe, \%is, $how{some}) if $ENV{UPDATE_ERRORS};
    my $has = on_page($page, $recipe);
    my @gone = $how{some} ? () : grep { !defined $is{$_} } sort keys %$has;
    my @other = grep { ($has->{$_} // '') ne $is{$_} } sort keys %is;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Test::More::ok(keys %is && !@gone && !@other,
                   'doc/errors.md has these errors, in their words') or do {
        Test::More::diag("$_: is\n$is{$_}the page has\n",
                         $has->{$_} // "    nothing\n") for @other;
        Test::More::diag("no such error any more: $_") for @gone;
        Test::More::diag('build-aux/update-errors brings it up to date');
    };
    return;
}

1;
