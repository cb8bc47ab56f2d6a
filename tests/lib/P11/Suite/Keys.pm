# SPDX-License-Identifier: Apache-2.0
#
# Private keys of files, moved into a token: what is left in the file is a PEM
# reference that names the key and carries its public half.
package P11::Suite::Keys;

use strict;
use warnings;

use MIME::Base64 qw(encode_base64);
use P11::Test ();

# Not those that are encrypted, for there are minus signs in their headers, or
# that are labelled so.
my $private_key = qr/-----BEGIN\ (?:RSA\ |EC\ )?PRIVATE\ KEY-----\n
                     [^-]*-----END\ [A-Z ]*PRIVATE\ KEY-----\n/x;
# Stands before an EC key in the old format, and says what the key says.
my $parameters = qr/-----BEGIN\ EC\ PARAMETERS-----\n
                    [^-]*-----END\ EC\ PARAMETERS-----\n/x;

# P11::Suite::Keys->new(TOKEN): TOKEN as of P11::Token.
sub new {
    my ($class, $token) = @_;
    return bless { token => $token, uri => {}, kinds => {}, left => {} },
        $class;
}

# Moves the private keys of all these texts into the token, as far as it takes
# them: once for all, for opening a token full of keys takes a while.
sub move {
    my ($self, @texts) = @_;
    my %bodies = map { body($_) => 1 } map { /($private_key)/g } @texts;
    my @bodies = grep { !exists $self->{uri}{$_} } sort keys %bodies;
    my $token = $self->{token};
    my $result = P11::Test::run_in(
        { env => $token->env(OPENSSL_CONF => '/dev/null'), timeout => 300,
          stdin => join('', map { "$_\n" } @bodies) },
        P11::Test::builddir() . '/tests/c/import_key', $token->module,
        $token->label, $token->pin);
    my @lines = split /\n/, $result->{out};
    die "import_key: $result->{err}\n"
        if $result->{status} != 0 || @lines != @bodies;
    for my $body (@bodies) {
        my ($id, $kind, $spki) = split /\t/, shift @lines;
        my $moved = $id ne '-';
        my $count = $moved ? $self->{kinds} : $self->{left};
        $count->{$kind}++;
        $self->{uri}{$body} = $moved ? $self->uri($id, $spki) : undef;
    }
    return;
}

# What is between the lines of PEM.
sub body {
    my ($pem) = @_;
    return $pem =~ s/^-----.*$//mgr =~ s/\s+//gr;
}

sub uri {
    my ($self, $id, $spki) = @_;
    (my $claim = $spki) =~ tr{/+=}{_-}d;
    return $self->{token}->uri(id => $id =~ s/(..)/%$1/gr, type => 'private')
        . "?x-public-key=$claim";
}

# A text with each key that was moved replaced.
sub replaced {
    my ($self, $text) = @_;
    $text =~ s{((?:$parameters)?)($private_key)}{
        my $uri = $self->{uri}{ body($2) };
        defined $uri ? reference($uri) : "$1$2" }ge;
    return $text;
}

sub tlv {
    my ($tag, $content) = @_;
    my $n = length $content;
    my $length = $n < 0x80 ? chr $n : $n < 0x100 ? "\x81" . chr $n
        : "\x82" . pack 'n', $n;
    return chr($tag) . $length . $content;
}

# A PEM reference to a URI.
sub reference {
    my ($uri) = @_;
    my $label = 'PKCS#11 PROVIDER URI';
    my $der = tlv(0x30, tlv(0x1a, 'PKCS#11 Provider URI v1.0')
                      . tlv(0x0c, $uri));
    my $body = encode_base64($der, '') =~ s/(.{1,64})/$1\n/gr;
    return "-----BEGIN $label-----\n$body-----END $label-----\n";
}

# "RSA 2048: 12, …": what is in the token, and what stayed in files.
sub summary {
    my ($self) = @_;
    return map { my $count = $self->{$_};
                 join(', ', map { "$_: $count->{$_}" } sort keys %$count)
                     || 'none' } qw(kinds left);
}

1;
