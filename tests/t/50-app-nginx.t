#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# nginx, whose workers are another user's and have lost their environment,
# serves with keys on a token; curl authenticates with one. The module aborts in
# another process than the one that initialised it.
use strict;
use warnings;

use Test::More;
use P11::Cert;
use P11::Conf;
use P11::Count;
use P11::Daemon;
use P11::Nginx;
use P11::Test;
use P11::Token;

needs(qw(nginx curl pkcs11-tool));
my $token = P11::Token->needs('SoftHSM');
my $handshakes = 1000;

# ---- keys on the token, references to them, certificates

my %client_how = (env => $token->conf_env(file => 'client.cnf'));
my $ca = P11::Cert->new;
my %key;
my $id = 0;
for my $row (['rsa', 'rsa:2048'], ['ec', 'EC:prime256v1'],
             ['client', 'EC:prime256v1'], ['other', 'EC:prime256v1']) {
    my ($name, $type) = @$row;
    my $uri = $token->keypair($type, $name, sprintf '%02x', ++$id);
    my $reference = scratch() . "/$name.key";
    ok_openssl(\%client_how, "a reference to the key \"$name\" is written",
               'pkey', '-in', "$uri;type=private", '-out', $reference);
    like(slurp($reference), qr/^-----BEGIN PKCS#11 PROVIDER URI-----/,
         'which is no private key');
    $key{$name} = [$ca->issue($name, "$uri;type=private", \%client_how),
                   $reference];
}
my $soft_key = $ca->software_key('soft', 'EC', 'P-256');
my $soft = [$ca->issue('soft', $soft_key), $soft_key];

# curl loads p11-kit, which cannot start where a sanitizer is preloaded: then
# it runs without, and has its key in a file.
my $sanitized = defined $ENV{P11_SANITIZER_RUNTIME};
my %soft_how = (env => { LD_PRELOAD => undef });
my ($client, @client) = $sanitized
    ? ('soft', \%soft_how, $soft) : ('client', \%client_how, $key{client});
diag('curl has no key on the token here') if $sanitized;

# Workers read, write and lock what is the token's, and read the PIN.
my $worker = P11::Daemon::worker_user();
sub give_to_worker {
    $token->open_to_all;
    chown((getpwnam $worker)[2, 3], $token->pin_file) if defined $worker;
    return;
}
give_to_worker();
diag('not root: workers have our uid') if !defined $worker;

my $count = P11::Count->new($token, owner => 1);
my @variables = qw(SOFTHSM2_CONF COUNT_MODULE COUNT_FILE COUNT_OWNER);

# nginx with both keys, and conf/nginx.cnf for the counted token.
my @served = @key{qw(rsa ec)};
sub nginx {
    my ($name, %instead) = @_;
    my $conf = spew($token->dir . "/$name.cnf", P11::Conf::text('nginx.cnf',
        '/usr/lib/softhsm/libsofthsm2.so' => $count->module,
        'file:/etc/nginx/token.pin' => 'file:' . $token->pin_file,
        'pkcs11-module-env = SOFTHSM2_CONF' =>
            "pkcs11-module-env = @variables", %instead));
    return P11::Nginx->new(
        ca => $ca->file, keys => \@served,
        env => $count->token->env(OPENSSL_CONF => $conf,
                                  OPENSSL_MODULES => builddir() . '/.libs'));
}

sub curl {
    my ($url, $client, @more) = @_;
    return (qw(curl --silent --show-error --max-time 60 --noproxy *),
            '--cacert', $ca->file, '--cert', $client->[0],
            '--key', $client->[1], @more, $url);
}

# ---- it is started: the master opens no module

my $nginx = nginx('server');
ok_run($nginx->how, 'nginx -t accepts the references', $nginx->command('-t'));
ok($nginx->start, 'nginx starts') or BAIL_OUT($nginx->log);
is_deeply($count->read, {}, 'no module was opened for that');

for my $row (map { my $i = $_; map { [$i, $_] } qw(1.2 1.3) } 0, 1) {
    my ($i, $version) = @$row;
    my $server = (qw(RSA EC))[$i];
    my $result = ok_run($client[0],
        "$server server, client key \"$client\", TLS $version",
        curl($nginx->url($i), $client[1], "--tlsv$version",
             '--tls-max', $version));
    like($result->{out}, qr/^TLSv\Q$version\E CN=$client worker/,
         'and nginx knows the client');
}
SKIP: {
    skip('curl has no key on the token here', 1) if $sanitized;
    fails_with(\%client_how, 'a client key of another certificate is refused',
               qr/curl: \(58\)/,
               curl($nginx->url, [$key{client}[0], $key{other}[1]]));
}
{
    my $other = P11::Cert->new;
    my $stranger = $other->software_key('stranger', 'EC', 'P-256');
    my $result = run_in(\%soft_how, curl($nginx->url,
        [$other->issue('stranger', $stranger), $stranger]));
    like($result->{out}, qr/400 Bad Request/, 'a client of another CA, too');
}

my $in_module = qr{/(?:count-\d+|libsofthsm2)\.so};
ok(!P11::Daemon::has_mapped($nginx->master, $in_module),
    'the master has no module');
ok((grep { P11::Daemon::has_mapped($_, $in_module) } $nginx->workers),
    'a worker has');

# ---- it is reloaded, and loses a worker

# Asks until the file "enough" is there; notes each answer: by which key, from
# which worker.
my ($notes, $enough) = map { scratch() . "/$_" } qw(notes enough);
sub keep_asking {
    my ($i) = @_;
    my @who = $i == 1 ? (\%soft_how, $soft) : @client;
    for (my $n = $i; !-e $enough; $n++) {
        my $result = run_in($who[0], curl($nginx->url($n % 2), $who[1]));
        open my $out, '>>', $notes or return 1;
        syswrite $out, $result->{out} =~ /^TLSv1.3 CN=\w+ worker (\d+)/
            ? 'served ' . ($n % 2) . " $1\n"
            : "status $result->{status}: $result->{err}\n";
    }
    return 0;
}
sub answers { return split /\n/, slurp($notes) }

# Three ask while something is done.
sub while_asked {
    my ($act) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    unlink $enough;
    spew($notes, '');
    my @jobs = start_jobs(3, \&keep_asking);
    $act->();
    spew($enough, '');
    is_deeply([finish_jobs(120, @jobs)], [0, 0, 0],
        'those who asked have ended');
    is_deeply([grep { !/^served / } answers()], [],
        'none of ' . answers() . ' requests failed');
    return;
}

while_asked(sub {
    for my $i (1 .. 5) {
        my $had = answers();
        ok($nginx->reload, "reload $i");
        ok(wait_for(120, sub { answers() >= $had + 12 }), 'and it goes on');
    }
});
ok(!P11::Daemon::has_mapped($nginx->master, $in_module),
    'the master still has no module');

my ($victim) = grep { P11::Daemon::has_mapped($_, $in_module) } $nginx->workers;
my %before = map { $_ => 1 } $nginx->workers;
kill 'KILL', $victim;
ok(wait_for(60, sub { !grep({ $_ == $victim } $nginx->workers)
                      && $nginx->workers == 2 }),
    'a worker that was killed is replaced');
my ($new) = grep { !$before{$_} } $nginx->workers;
my @both = $nginx->workers;

# The kernel gives most to one of them: until both have served by both keys.
while_asked(sub {
    ok(wait_for(120, sub {
        my %seen = map { $_ => 1 } answers();
        return !grep { my $worker = $_;
            grep { !$seen{"served $_ $worker"} } 0, 1 } @both;
    }), "and the new one, $new, serves by both keys, as the other does")
        or diag(slurp($notes));
});

# ---- many handshakes, counted

# This client has its key in a file, in two processes.
sub shake_hands {
    my ($n, $port) = @_;
    my @pids = start_jobs(2, sub {
        my $result = run_in(
            { env => { OPENSSL_CONF => '/dev/null' }, timeout => 600 },
            builddir() . '/tests/c/tls_client_ssl', "127.0.0.1:$port", $n / 2,
            $ca->file, @$soft);
        print STDERR $result->{out}, $result->{err} if $result->{status} != 0;
        return $result->{status};
    });
    return finish_jobs(600, @pids);
}

SKIP: {
    skip('libssl was not found when this was configured', 4)
        if !-x builddir() . '/tests/c/tls_client_ssl';
    for my $i (0, 1) {
        my $name = (qw(RSA EC))[$i];
        my @status;
        my $calls = $count->during(sub {
            @status = shake_hands($handshakes, $nginx->port($i));
        });
        is_deeply(\@status, [0, 0],
                  "$name: $handshakes handshakes, none failed");
        is_deeply($calls, { C_SignInit => $handshakes, C_Sign => $handshakes },
                  'with two calls each') or diag(P11::Count::text($calls));
    }
}

is($nginx->stop, 0, 'nginx ends with exit status 0');
my @complaints = grep { !/process $victim exited on signal 9/ }
    $nginx->complaints;
is_deeply(\@complaints, [], 'and complained of nothing');

# ---- workers that cannot get to the token say so

sub cannot_serve {
    my ($name, $server, $pattern) = @_;
    ok($server->start, "nginx starts $name") or diag($server->log);
    fails_with(\%soft_how, 'and does not serve', qr/curl: \(35\)/,
               curl($server->url, $soft));
    soon_like(sub { $server->log }, $pattern, 'but says why');
    is($server->stop, 0, 'and ends with exit status 0');
    unlike($server->log, qr/exited on signal/, 'no worker crashed');
    return;
}

# What the counting module wants of the environment is not there.
cannot_serve('without pkcs11-module-env',
             nginx('bare', 'pkcs11-module-env = SOFTHSM2_CONF' => ''),
             qr/module "\S+\.so" gives no usable function list/);
SKIP: {
    skip('workers have our uid: it cannot be shut out', 5)
        if !defined $worker;
    chmod 0700, $token->dir . '/tokens';
    cannot_serve("with a token that $worker must not read",
                 nginx('shut'),
                 qr/C_Initialize says .* may this user read and lock/);
    give_to_worker();
}

# A key that the master has to open the token for is the master's, to this
# module.
{
    my $bare = scratch() . '/bare.key';
    ok_openssl({ env => $token->conf_env(file => 'bare.cnf', settings =>
                    { 'pkcs11-module-reference-public-key' => 'false' }) },
               'a reference without its public half is written', 'pkey', '-in',
               $token->uri(object => 'rsa', type => 'private'), '-out', $bare);
    @served = [$key{rsa}[0], $bare];
    my $server = nginx('bare-key');
    my $calls = $count->during(sub { $server->start });
    cmp_ok($calls->{C_Initialize}, '>=', 1, 'with it nginx opens the token');
    fails_with(\%soft_how, 'and does not serve', qr/curl: \((?:35|56)\)/,
               curl($server->url, $soft));
    ok(wait_for(60, sub { $server->log =~ /exited on signal 6/ }),
       'the module has ended a worker') or diag($server->log);
    ok(P11::Daemon::has_mapped($server->master, $in_module),
       'the master has it, and lives');
    is($server->stop, 0, 'and ends with exit status 0');
}

done_testing();
