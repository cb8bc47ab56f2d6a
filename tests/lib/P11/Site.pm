# SPDX-License-Identifier: Apache-2.0
#
# What recipes about servers share: keys on a SoftHSM token, references to them
# and certificates, a counter between, and clients in software that visit.
package P11::Site;

use strict;
use warnings;

use P11::Cert ();
use P11::Conf ();
use P11::Count ();
use P11::Daemon ();
use P11::Test ();
use P11::Token ();

# P11::Site->new(OPTIONS…): a token with the keys "rsa" and "ec", behind a module
# that counts, with options as of P11::Count. Skips the recipe where there is no
# SoftHSM.
sub new {
    my ($class, %options) = @_;
    my $token = P11::Token->needs('SoftHSM');
    my $self = bless {
        token => $token, ca => P11::Cert->new, loads => 0,
        keys => {}, uris => {}, ids => {}, counters => 0,
        how => { env => $token->conf_env(file => 'site.cnf') },
    }, $class;
    my $soft = $self->{ca}->software_key('client', 'EC', 'P-256');
    $self->{client} = [$self->{ca}->issue('client', $soft), $soft];
    $self->add_key('rsa', 'rsa:2048');
    $self->add_key('ec', 'EC:prime256v1');
    $self->count_with(%options);
    return $self;
}

# Another counter, for servers whose env() is asked for from here on.
sub count_with {
    my ($self, %options) = @_;
    $self->{counters}++;
    $self->{owner} = $options{owner};
    return $self->{count} = P11::Count->new($self->{token}, %options);
}

sub token { return $_[0]{token} }
sub count { return $_[0]{count} }
sub ca { return $_[0]{ca} }
sub uri { return $_[0]{uris}{$_[1]} }
sub id { return $_[0]{ids}{$_[1]} }

# A name's [CERTIFICATE, REFERENCE], and of the client who has a key in a file.
sub key { return $_[0]{keys}{$_[1]} }
sub client { return $_[0]{client} }

# One more pair on the token, with its reference and its certificate.
sub add_key {
    my ($self, $name, $type) = @_;
    my $id = sprintf '%02x', 1 + keys %{ $self->{ids} };
    my $uri = $self->{token}->keypair($type, $name, $id) . ';type=private';
    my $reference = write_reference($self->{how}, $uri, "$name.key");
    $self->{ids}{$name} = $id;
    $self->{uris}{$name} = $uri;
    $self->{keys}{$name} = [$self->{ca}->issue($name, $uri, $self->{how}),
                            $reference];
    return $self->{keys}{$name};
}

sub write_reference {
    my ($how, $uri, $file) = @_;
    my $reference = P11::Test::scratch() . "/$file";
    my $result = P11::Test::openssl($how, 'pkey', '-in', $uri, '-out',
                                    $reference);
    die "no reference: $result->{err}" if $result->{status} != 0;
    return $reference;
}

# A name's [CERTIFICATE, REFERENCE], but without the public half, so that who
# loads it opens the token.
sub bare_key {
    my ($self, $name) = @_;
    my %how = (env => $self->{token}->conf_env(file => 'bare.cnf', settings =>
        { 'pkcs11-module-reference-public-key' => 'false' }));
    return [$self->key($name)->[0],
            write_reference(\%how, $self->uri($name), "$name-bare.key")];
}

# Certificate and reference in one file, those of a name or others.
sub bundle {
    my ($self, $name, $key) = @_;
    return P11::Test::spew(P11::Test::scratch() . "/$name-bundle.pem",
        join '', map { P11::Test::slurp($_) } @{ $key // $self->key($name) });
}

# Workers under another user read, write and lock what is the token's, and
# read the PIN. The user, or undef where there is none but us.
sub give_to_worker {
    my ($self) = @_;
    my $user = P11::Daemon::worker_user();
    $self->{token}->open_to_all;
    chown((getpwnam $user)[2, 3], $self->{token}->pin_file) if defined $user;
    return $user;
}

# conf/nginx.cnf for the counted token: it serves every server.
sub conf {
    my ($self, $name) = @_;
    my @variables = (qw(SOFTHSM2_CONF COUNT_MODULE COUNT_FILE),
                     $self->{owner} ? 'COUNT_OWNER' : ());
    return P11::Test::spew($self->{token}->dir . "/$name.cnf",
        P11::Conf::text('nginx.cnf',
            '/usr/lib/softhsm/libsofthsm2.so' => $self->{count}->module,
            'file:/etc/nginx/token.pin' =>
                'file:' . $self->{token}->pin_file,
            'pkcs11-module-env = SOFTHSM2_CONF' =>
                "pkcs11-module-env = @variables"));
}

# The environment of a server that counts.
sub env {
    my ($self, %more) = @_;
    return $self->{count}->token->env(
        OPENSSL_CONF => $self->conf("server$self->{counters}"),
        OPENSSL_MODULES => P11::Test::builddir() . '/.libs', %more);
}

# The client in software, once, by openssl. The result of run().
sub visit {
    my ($self, $port, $version) = @_;
    my ($certificate, $key) = @{ $self->client };
    return P11::Test::openssl(
        { %{ $self->ca->plain }, stdin => "GET / HTTP/1.0\r\n\r\n" },
        's_client', '-connect', "127.0.0.1:$port", '-CAfile', $self->ca->file,
        '-verify_return_error', '-brief', '-ign_eof', '-cert', $certificate,
        '-key', $key, defined $version ? "-tls$version" : ());
}

# True when it was served with the certificate of that name.
sub is_served {
    my ($self, $port, $name, $version) = @_;
    my $result = $self->visit($port, $version);
    return $result->{out} =~ m{^HTTP/1\.1 200}
        && $result->{err} =~ /^Peer certificate: CN ?= ?\Q$name\E$/m;
}

# What visits take of the program that is missing without libssl's headers.
sub can_load {
    return -x P11::Test::builddir() . '/tests/c/tls_client_ssl';
}

# start_load([PORT, …], 'retry'?): for each port a process that visits until
# finish_load(), with a full handshake each time.
sub start_load {
    my ($self, $ports, @retry) = @_;
    my $enough = P11::Test::scratch() . '/enough-' . ++$self->{loads};
    my @out = map { "$enough-$_" } 0 .. $#$ports;
    my @pids = P11::Test::start_jobs(scalar @$ports, sub {
        my $i = $_[0] - 1;
        my $result = P11::Test::run_in(
            { env => { OPENSSL_CONF => '/dev/null' }, timeout => 1200 },
            P11::Test::builddir() . '/tests/c/tls_client_ssl',
            "127.0.0.1:$ports->[$i]", $enough, $self->ca->file,
            @{ $self->client }, @retry);
        P11::Test::spew($out[$i], $result->{out} . $result->{err});
        return $result->{status};
    });
    return { enough => $enough, out => \@out, pids => \@pids };
}

# True when the token has made so many signatures more.
sub goes_on {
    my ($self, $signatures) = @_;
    my $had = $self->count->calls('C_Sign');
    return P11::Test::wait_for(120, sub {
        $self->count->calls('C_Sign') >= $had + $signatures });
}

# begins_well(CALLS, VAIN, WORKERS): what an act called beside signatures, as
# during_and_vain() tells. At most so many processes begin to use the token, each
# logs in once, and calls little more: ten with one key, six for another one, which
# who had begun before may find only now. While others log in, SoftHSM may miss
# the token, its login or a key: then the call is repeated, or the module is
# started anew. The busier the machine, the oftener.
sub begins_well {
    my ($calls, $vain, $workers) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $starts = $calls->{C_Initialize} // 0;
    my $began = $starts - ($calls->{C_Finalize} // 0);
    my $logins = ($calls->{C_Login} // 0) - ($vain->{C_Login} // 0);
    my ($others, $in_vain) = (0, 0);
    $others += $calls->{$_} for grep { !/^C_(?:Sign|SignInit|GetInfo)$|List$/ }
        keys %$calls;
    $in_vain += $_ for values %$vain;
    Test::More::ok($began <= $workers,
                   "$began workers, of at most $workers, began");
    Test::More::ok($began <= $logins && $logins <= $starts,
                   "each logged in once: $logins");
    Test::More::ok($in_vain <= 12 * ($starts + $workers)
                   && $others <= 24 * $starts + 12 * $workers + 8 * $in_vain,
                   'and made not many calls more')
        or Test::More::diag(P11::Count::text($calls), "\nin vain: ",
                            P11::Count::text($vain));
    return;
}

# (how many were served, whether all were, what clients said)
sub finish_load {
    my ($self, $load) = @_;
    P11::Test::spew($load->{enough}, '');
    my @failed = grep { $_ != 0 }
        P11::Test::finish_jobs(120, @{ $load->{pids} });
    my $said = join '', map { -e $_ ? P11::Test::slurp($_) : "no $_\n" }
        @{ $load->{out} };
    my $served = 0;
    $served += $1 while $said =~ /^ok 2 - (\d+) handshakes and answers$/mg;
    return ($served, !@failed, $said);
}

1;
