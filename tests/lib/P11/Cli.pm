# SPDX-License-Identifier: Apache-2.0
#
# The openssl command with our provider, and beside it an openssl that has
# never heard of it and judges what came out.
package P11::Cli;

use strict;
use warnings;

use Exporter 'import';
use Test::More ();

use P11::Test;

our @EXPORT = qw(alone der ok_alone alone_fails refused errors object
                 public_key is_quiet sum_of);

# For openssl: no configuration, no provider but its own.
sub alone {
    return { env => { OPENSSL_CONF => '/dev/null' } };
}

sub ok_alone {
    my ($name, @arguments) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return ok_openssl(alone(), $name, @arguments);
}

sub alone_fails {
    my ($name, $patterns, @arguments) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return openssl_fails(alone(), $name, $patterns, @arguments);
}

# Entries of the error queue that a result shows: all, and ours.
sub errors {
    my ($result) = @_;
    my @all = $result->{err} =~ /^([0-9A-F]+:error:.*)$/mg;
    return (\@all, [grep { /^[0-9A-F]+:error:[0-9A-F]+:pkcs11:/ } @all]);
}

# As openssl_fails(), with one entry in the error queue, which is ours.
sub refused {
    my ($how, $name, $patterns, @arguments) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $result = openssl_fails($how, $name, $patterns, @arguments);
    my ($all, $ours) = errors($result);
    Test::More::ok(@$all == 1 && @$ours == 1, "$name: in one error of ours")
        or Test::More::diag($result->{command}, "\n", $result->{err});
    return $result;
}

# Nothing on the error queue.
sub is_quiet {
    my ($result, $name) = @_;
    my ($all) = errors($result);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::is(join("\n", @$all), '', $name);
}

# How many calls P11::Count's during() saw that budgets speak of.
sub sum_of {
    my ($calls) = @_;
    my $sum = 0;
    for my $name (keys %$calls) {
        next if $name =~ /^C_Get(?:FunctionList|Info|Interface)/;
        $sum += $calls->{$name};
    }
    return $sum;
}

# The token's object of that class ("Private Key") and label, in the words of
# pkcs11-tool.
sub object {
    my ($token, $class, $label) = @_;
    my $all = $token->tool('--list-objects')->{out};
    my ($text) = grep { /^$class Object/ && /^\s+label:\s+\Q$label\E$/m }
        split /^(?=\S)/m, $all;
    return $text // '';
}

sub der {
    my ($tag, $content) = @_;
    my $n = length $content;
    my $length = $n < 0x80 ? pack('C', $n)
        : $n < 0x100 ? pack('CC', 0x81, $n) : pack('Cn', 0x82, $n);
    return pack('C', $tag) . $length . $content;
}

# The SubjectPublicKeyInfo of an EC key, from the attributes that pkcs11-tool
# lists: it cannot itself write those of every curve.
sub ec_public {
    my ($list) = @_;
    my ($point) = $list =~ /^\s+EC_POINT:\s+([0-9a-f]+)$/m or return;
    my ($params) = $list =~ /^\s+EC_PARAMS:\s+([0-9a-f]+)/m or return;
    $point =~ s/^04(?:[0-7].|81..|82....)//;     # its OCTET STRING
    my $oid = pack 'H*', '06072a8648ce3d0201';
    return der(0x30, der(0x30, $oid . pack 'H*', $params)
                     . der(0x03, "\0" . pack 'H*', $point));
}

# The public key of a token's object, as pkcs11-tool tells it: a file in PEM,
# written by openssl without us.
sub public_key {
    my ($token, $label) = @_;
    my $file = scratch() . "/public-$label.pem";
    my $der = ec_public(object($token, 'Public Key', $label));

    if (defined $der) {
        spew("$file.der", $der);
    } else {
        $token->tool('--read-object', '--type', 'pubkey', '--label', $label,
                     '--output-file', "$file.der");
    }
    my $pem = openssl(alone(), 'pkey', '-pubin', '-inform', 'DER',
                      '-in', "$file.der", '-out', $file);
    die "no public key $label: $pem->{err}\n" if $pem->{status} != 0;
    return $file;
}

1;
