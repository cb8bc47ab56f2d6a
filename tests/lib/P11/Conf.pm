# SPDX-License-Identifier: Apache-2.0
#
# The files of conf/ that users take for their applications, with the names and
# ports of a recipe: what is shipped is what was tried.
package P11::Conf;

use strict;
use warnings;

use P11::Test ();

# P11::Conf::text('nginx.conf', 'listen 443' => 'listen 127.0.0.1:8443', …): the
# file, where each text has been replaced. Dies where one is not in it, once.
sub text {
    my ($name, %instead) = @_;
    my $text = P11::Test::slurp(P11::Test::top() . "/conf/$name");
    my $any = join '|', map { quotemeta } sort keys %instead;
    my %seen;

    # What explains is not what is tried.
    $text = join "\n", grep { !/^\s*#/ } split /\n/, $text;
    $text =~ s/($any)/$seen{$1}++; $instead{$1}/ge;
    for my $was (sort keys %instead) {
        die "conf/$name has not \"$was\", once\n" if ($seen{$was} // 0) != 1;
    }
    return "$text\n";
}

1;
