# SPDX-License-Identifier: Apache-2.0
#
# tests/c/fault_key, which goes through one scenario again and again, each time
# with another fault in a call: its head tells what a case is.
package P11::Fault;

use strict;
use warnings;

use P11::Count;
use P11::Test;
use P11::Token;

my $count = 0;

# P11::Fault->new(OPTIONS…): a SoftHSM token of its own with an RSA and an EC
# key and a certificate, behind a counting module with these options; undef
# where there is no SoftHSM. settings => { … } are the provider's, scenario is
# "use" unless given; for "keep" there is a key that wants its PIN at each use.
sub new {
    my ($class, %options) = @_;
    my $settings = delete $options{settings} // {};
    my $scenario = delete $options{scenario} // 'use';
    my $token = P11::Token->make('SoftHSM') // return;
    my $dir = "$token->{dir}";
    my %uri = (rsa => $token->keypair('rsa:2048', 'rsa', '01'),
               ec => $token->keypair('EC:prime256v1', 'ec', '02'));
    my %how = (env => $token->conf_env(file => 'plain.cnf'));
    if ($scenario eq 'keep') {
        my $made = openssl(\%how, qw(genpkey -propquery ?provider=pkcs11
            -algorithm EC -pkeyopt group:P-256 -pkeyopt pkcs11_token:tok
            -pkeyopt pkcs11_label:always
            -pkeyopt pkcs11_always_authenticate:yes -out), "$dir/always.pem");
        die $made->{err} if $made->{status} != 0;
        $uri{always} = $token->uri(object => 'always');
    }
    for my $key (sort keys %uri) {
        openssl(\%how, 'pkey', '-in', $uri{$key}, '-pubout', '-out',
                "$dir/$key.pub");
    }
    openssl(\%how, qw(req -new -x509 -subj /CN=fault -outform DER -out),
            "$dir/cert.der", '-key', $uri{ec});
    $token->tool('--write-object', "$dir/cert.der", '--type', 'cert',
                 '--id', '02', '--label', 'ec');
    spew("$dir/keys", join '', map { "$uri{$_}\n$dir/$_.pub\n" }
        grep { exists $uri{$_} } qw(rsa ec always));
    return bless { token => $token, uri => \%uri, dir => $dir,
                   settings => $settings, scenario => $scenario,
                   counted => P11::Count->new($token, %options) }, $class;
}

sub counted { return $_[0]{counted} }
sub uri { return $_[0]{uri}{ $_[1] } }

# The result of fault_key with these cases.
sub run_cases {
    my ($self, @cases) = @_;
    my $dir = $self->{dir};
    my ($objects) = grep { -d } glob "$dir/tokens/*";
    my $conf = $self->{counted}->token->write_conf(
        file => 'fault.cnf', settings => $self->{settings});
    my %env = (%{ $self->{counted}->token->env }, OPENSSL_CONF => '/dev/null',
               FAULT_CONF => $conf);

    return run_in({ env => \%env, timeout => 7200 },
        builddir() . '/tests/c/fault_key',
        $self->{scenario}, "$dir/keys", $self->{token}->uri, $objects,
        @cases);
}

# What the scenario calls when nothing fails: { function → calls }.
sub calls {
    my ($self) = @_;
    my $result;
    my $calls = $self->{counted}->during(sub { $result = $self->run_cases('') });
    die "the scenario fails:\n$result->{out}$result->{err}"
        if $result->{status} != 0;
    return $calls;
}

1;
