#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# PostgreSQL serves sixty at once, each by a process that it forks, with keys on
# a token; psql authenticates with one.
use strict;
use warnings;

use File::Copy ();
use Test::More;
use P11::Conf;
use P11::Count;
use P11::Daemon;
use P11::Site;
use P11::Test;

my ($bin) = sort { ($b =~ /(\d+)/)[0] <=> ($a =~ /(\d+)/)[0] }
    grep { -x "$_/postgres" && -x "$_/initdb" && -x "$_/psql" }
    glob '/usr/lib/postgresql/*/bin';
plan(skip_all => 'PostgreSQL is not installed') if !defined $bin;
plan(skip_all => 'PostgreSQL hangs in bindtextdomain() where a sanitizer is '
     . 'preloaded') if sanitizer();
needs(qw(openssl pkcs11-tool setpriv));

my $site = P11::Site->new;
my $count = $site->count;
my $user = $site->give_to_worker;       # it does not run as root
my $at_once = 60;

# ---- a cluster of its own

my $debug = spew(scratch() . '/debug', '');
my $postgres = P11::Daemon->new(
    name => 'postgresql',
    env => $site->env(PKCS11_PROVIDER_DEBUG => "file:$debug,level:1"),
    stop => 'INT', ready => qr/ready to accept connections/,
    complaint => qr/FATAL|PANIC|terminated by signal/);
my $data = scratch('cluster');
my @as = defined $user ? ('setpriv', '--reuid', $user, '--regid',
                          P11::Daemon::worker_group(), '--clear-groups') : ();
sub give { return defined $user ? chown((getpwnam $user)[2, 3], @_) : 1 }

# The server's certificate and reference become those of a key.
sub serve {
    my ($certificate, $reference) = @_;
    my @to = map { "$data/server.$_" } qw(pem key);
    File::Copy::copy($certificate, $to[0]) or die "copy: $!\n";
    File::Copy::copy($reference, $to[1]) or die "copy: $!\n";
    chmod 0600, $to[1];
    give(@to);
    return;
}

give($data, $debug);
ok_run({ timeout => 600 }, 'a cluster is made', @as, "$bin/initdb", '-D', $data, '-A', 'trust',
       qw(-U tester --no-sync --locale=C --encoding=UTF8));
serve(@{ $site->key('rsa') });
my $conf = slurp("$data/postgresql.conf") . P11::Conf::text('postgresql.conf',
    map { ("/etc/postgresql/server.$_" => "$data/server.$_") } qw(pem key));
spew("$data/postgresql.conf", $conf . <<"END");
listen_addresses = '127.0.0.1'
port = @{[$postgres->port]}
unix_socket_directories = ''
ssl_ca_file = '@{[$site->ca->file]}'
fsync = off
max_connections = 100
END
spew("$data/pg_hba.conf", "hostssl all all 127.0.0.1/32 trust"
     . " clientcert=verify-ca\n");
$postgres->set_command(@as, "$bin/postgres", '-D', $data);

# psql with a key; the client in software knows nothing of us.
sub psql {
    my ($how, $certificate, $key, $query) = @_;
    return ({ env => { %{ $how->{env} }, PGCONNECT_TIMEOUT => 100 } },
            "$bin/psql", '-XAtq', '-c', $query,
            join ' ', 'host=localhost', 'hostaddr=127.0.0.1',
            'port=' . $postgres->port, 'user=tester', 'dbname=postgres',
            'sslmode=verify-full', 'sslrootcert=' . $site->ca->file,
            "sslcert=$certificate", "sslkey=$key");
}
my %soft = (env => { OPENSSL_CONF => '/dev/null' });
my $who = 'select version, client_dn from pg_stat_ssl'
    . ' where pid = pg_backend_pid()';

# ---- it starts, and serves one

my $calls = $count->during(sub {
    $postgres->start or die $postgres->log, "\n";
});
is_deeply($calls, {}, 'PostgreSQL starts without the token');

sub serves_one {
    my ($name) = @_;
    my $result;
    $calls = $count->during(sub {
        my ($how, @psql) = psql(\%soft, @{ $site->client }, $who);
        $result = ok_run($how, "it serves psql by the $name key", @psql);
    });
    is($result->{out}, "TLSv1.3|/CN=client\n", 'and knows the client');
    is($calls->{C_Sign}, 1, 'the token signed, once');
    my $shown = openssl({ %{ $site->ca->plain } }, 's_client', '-brief',
        '-starttls', 'postgres', '-connect', '127.0.0.1:' . $postgres->port,
        '-CAfile', $site->ca->file, '-verify_return_error');
    like($shown->{err}, qr/^Peer certificate: CN ?= ?\Q$name\E$/m,
         'openssl is shown its certificate');
    return;
}
serves_one('rsa');

# ---- many at once

sub serves_many {
    my ($name, $query) = @_;
    my (@failed, $vain);
    ($calls, $vain) = $count->during_and_vain(sub {
        my @pids = start_jobs($at_once, sub {
            my ($how, @psql) = psql(\%soft, @{ $site->client }, $query);
            my $result = run_in($how, @psql);
            return 0 if $result->{status} == 0 && $result->{signal} == 0;
            diag($result->{err});
            return 1;
        });
        @failed = grep { $_ != 0 } finish_jobs(200, @pids);
    });
    is(scalar @failed, 0, "$name: $at_once at once are served")
        or diag(slurp($debug));
    is($calls->{C_Sign}, $at_once, 'with a signature each');
    is($calls->{C_SignInit} - ($vain->{C_SignInit} // 0), $at_once,
       'and no more');
    diag("$name: $at_once open the token $calls->{C_Initialize} times, log in "
         . "$calls->{C_Login} times");
    cmp_ok($calls->{C_Initialize}, '>=', $at_once, 'each opens the token');
    P11::Site::begins_well($calls, $vain, $at_once);
    return;
}
serves_many('rsa', 'select pg_sleep(1)');

serve(@{ $site->key('ec') });
kill 'HUP', $postgres->master;
ok(wait_for(60, sub { $postgres->log =~ /reloading configuration/ }),
   'it is told to reload');
serves_one('ec');
serves_many('ec', 'select pg_sleep(1)');

# ---- psql with a key on the token

my $client = P11::Count->new($site->token);
my %hard = (env => $client->token->conf_env(file => 'client.cnf'));
for my $row (['rsa', $site->add_key('rsa-client', 'rsa:2048')],
             ['ec', $site->add_key('ec-client', 'EC:prime256v1')]) {
    my ($name, $key) = @$row;
    my $result;
    $calls = $client->during(sub {
        my ($how, @psql) = psql(\%hard, @$key, $who);
        $result = ok_run($how, "psql has an $name key", @psql);
    });
    is($result->{out}, "TLSv1.3|/CN=$name-client\n", 'PostgreSQL verified it');
    is($calls->{C_Sign}, 1, 'the token signed, once');
}

# ---- refusals

{
    my ($how, @psql) = psql(\%hard, $site->key('ec-client')->[0],
                            $site->key('rsa-client')->[1], $who);
    fails_with($how, 'psql refuses the reference of another key',
               qr/does not match|mismatch/, @psql);
    my $open = scratch() . '/open.key';
    File::Copy::copy($site->key('ec-client')->[1], $open) or die "copy: $!\n";
    chmod 0644, $open;
    ($how, @psql) = psql(\%hard, $site->key('ec-client')->[0], $open, $who);
    fails_with($how, 'and a reference that others may read',
               qr/private key file .* has group or world access/, @psql);
}
$site->token->tool('--delete-object', '--type', 'privkey', '--id',
                   $site->id('ec'));
$calls = $count->during(sub {
    my ($how, @psql) = psql(\%soft, @{ $site->client }, $who);
    fails_with($how, 'a server whose key was deleted serves nobody', qr/SSL/,
               @psql);
});
is($calls->{C_Sign}, undef, 'nothing was signed');
like(slurp($debug), qr/error: no such object: .*object=ec;/,
     'our log says why');
is_deeply([$postgres->complaints], [], 'PostgreSQL complained of nothing');
is($postgres->stop, 0, 'and ends with exit status 0');

chmod 0644, "$data/server.key";
fails_with($postgres->how, 'PostgreSQL, too, wants a reference for itself',
           qr/private key file .* has group or world access/,
           $postgres->command);
chmod 0600, "$data/server.key";

done_testing();
