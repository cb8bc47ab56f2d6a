# SPDX-License-Identifier: Apache-2.0
#
# ssl_test with OpenSSL's configurations of handshakes, the keys of servers and
# clients being in the token.
package P11::Suite::Ssl;

use strict;
use warnings;

use parent 'P11::Suite';

use P11::Suite::Keys;
use P11::Suite::Overlay;
use P11::Suite::Tap;
use P11::Test ();

sub targets { return ('test/ssl_test', 'providers/legacy.so') }

sub run {
    my ($self) = @_;
    my ($token, $count, %settings) = $self->counted;
    my $overlay = P11::Suite::Overlay->new($self->source,
        P11::Test::scratch() . '/tree');
    $overlay->change(qr{^apps/openssl\.cnf$}, sub {
        return P11::Suite::Overlay::activated($_[0], %settings);
    });
    my $keys = P11::Suite::Keys->new($token);
    $keys->move($overlay->texts(qr{^test/certs/.*\.(?:pem|key)$}));
    $overlay->change(qr{^test/certs/.*\.(?:pem|key)$},
                     sub { return $keys->replaced($_[0]) });
    my ($kinds, $left) = $keys->summary;
    $self->note("keys in the token: $kinds");
    $self->note("keys left in files: $left");

    my @files = map { m{([^/]+)$} }
        glob $self->source . '/test/ssl-tests/*.cnf';
    for my $file (grep { !$ENV{P11_ONLY} || /$ENV{P11_ONLY}/ } @files) {
        my $base = $self->baseline($file, sub {
            return $self->handshakes($file, $self->source, {});
        });
        my $text = $self->handshakes($file, $overlay->dir, $count->token->env);
        $self->compare($file, map { $self->named($file, $_) } $base, $text);
    }
    $self->done($count, demanded => [qw(C_Sign C_Decrypt)]);
    return;
}

sub handshakes {
    my ($self, $file, $top, $env) = @_;
    my %how = (env => { $self->env($top), %$env },
               dir => P11::Test::scratch());
    my ($out) = $self->output($file, \%how, $self->build . '/test/ssl_test',
                              "$top/test/ssl-tests/$file", 'none');
    return $out;
}

# Results: the handshakes are numbered, and the configuration has their names.
sub named {
    my ($self, $file, $text) = @_;
    my $conf = P11::Test::slurp($self->source . "/test/ssl-tests/$file");
    my %names = $conf =~ /^test-(\d+) = (\S+)/mg;
    my $results = P11::Suite::Tap::parse($text);
    for my $row (@$results) {
        $row->[0] =~ s{iteration (\d+)}{$names{$1 - 1} // "iteration $1"}e;
    }
    return $results;
}

1;
