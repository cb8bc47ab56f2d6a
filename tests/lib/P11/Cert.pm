# SPDX-License-Identifier: Apache-2.0
#
# A CA in files, and certificates of it for keys of any kind. All but the
# request for a token's key is made by openssl without our provider.
package P11::Cert;

use strict;
use warnings;

use P11::Test ();

my $count = 0;

sub do_openssl {
    my ($how, @arguments) = @_;
    my $result = P11::Test::openssl($how, @arguments);
    die "openssl @arguments:\n$result->{err}" if $result->{status} != 0;
    return;
}

# P11::Cert->new: a new CA, in a folder of its own.
sub new {
    my ($class) = @_;
    my $dir = P11::Test::scratch('ca' . ++$count);
    P11::Test::spew("$dir/plain.cnf", <<'END');
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
subjectAltName = DNS:localhost, IP:127.0.0.1
END
    my $self = bless { dir => $dir }, $class;
    do_openssl($self->plain, qw(req -x509 -newkey ec -nodes -days 7
               -pkeyopt ec_paramgen_curve:P-256 -extensions ca),
               '-subj', "/CN=test CA $count",
               '-keyout', "$dir/ca.key", '-out', "$dir/ca.pem");
    return $self;
}

# How to run openssl without any provider of ours.
sub plain {
    my ($self) = @_;
    return { env => { OPENSSL_CONF => "$self->{dir}/plain.cnf" } };
}

sub file { return "$_[0]{dir}/ca.pem" }

# A private key in a file: software_key('client', 'EC', 'P-256').
sub software_key {
    my ($self, $name, $type, $what) = @_;
    my $file = "$self->{dir}/$name.key";
    do_openssl($self->plain, 'genpkey', '-algorithm', $type, '-out', $file,
               '-pkeyopt', $type eq 'EC' ? "ec_paramgen_curve:$what"
                                         : "rsa_keygen_bits:$what");
    return $file;
}

# The certificate's file for a key by file name or, with a token's environment,
# by URI: issue('server', $uri, { env => $token->conf_env }).
sub issue {
    my ($self, $name, $key, $how) = @_;
    my $base = "$self->{dir}/$name";
    do_openssl($how // $self->plain, 'req', '-new', '-key', $key,
               '-subj', "/CN=$name", '-out', "$base.csr");
    do_openssl($self->plain, 'x509', '-req', '-in', "$base.csr",
               '-days', 7, '-CA', "$self->{dir}/ca.pem",
               '-CAkey', "$self->{dir}/ca.key", '-CAcreateserial',
               '-extfile', "$self->{dir}/plain.cnf", '-extensions', 'leaf',
               '-out', "$base.pem");
    return "$base.pem";
}

1;
