#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# HAProxy with a master and workers, which are threads of another user, serves
# with keys on a token and is reloaded under load without losing anyone. The
# module aborts in another process than the one that initialised it.
use strict;
use warnings;

use POSIX ();
use Test::More;
use P11::Conf;
use P11::Count;
use P11::Daemon;
use P11::Site;
use P11::Test;

needs(qw(haproxy openssl pkcs11-tool));
plan(skip_all => 'libssl was not found when this was configured')
    if !P11::Site::can_load();
my $site = P11::Site->new(owner => 1);
my $count = $site->count;
my $user = $site->give_to_worker;
my $in_module = qr{/(?:count-\d+|libsofthsm2)\.so};

# HAProxy with a port for each bundle, and more lines for "global".
sub haproxy {
    my ($name, $bundles, @global) = @_;
    my $debug = scratch() . "/debug-$name";
    my $haproxy = P11::Daemon->new(
        name => "haproxy-$name", ports => scalar @$bundles,
        env => $site->env(PKCS11_PROVIDER_DEBUG => "file:$debug,level:1"),
        stop => 'USR1', ready => qr/Loading success/,
        complaint => qr/\[ALERT\]|exited with code (?!0 )/);
    my $dir = $haproxy->dir;
    $haproxy->{debug} = spew($debug, '');
    chown((getpwnam $user)[2, 3], $debug) if defined $user;
    push @global, "user $user", 'group ' . P11::Daemon::worker_group()
        if defined $user;
    my $text = <<"END";
global
    nbthread 2
    stats socket $dir/socket mode 600 expose-fd listeners
@{[map { "    $_\n" } @global]}
defaults
    timeout client 20s
    timeout connect 20s
    timeout server 20s
backend web
    mode http
    http-request return status 200 content-type text/plain string "here"
END
    for my $i (0 .. $#$bundles) {
        $text .= P11::Conf::text('haproxy.cfg',
            'frontend web' => "frontend web$i",
            'bind :443' => 'bind 127.0.0.1:' . $haproxy->port($i),
            '/etc/haproxy/server.pem' => $bundles->[$i] . ' ca-file '
                . $site->ca->file . ' verify required');
    }
    spew("$dir/haproxy.cfg", $text);
    $haproxy->set_command(have('haproxy'), '-Ws', '-f', "$dir/haproxy.cfg",
                          '-p', "$dir/pid");
    return $haproxy;
}

# A signal is lost when the master is still executing itself anew.
sub reload { return $_[0]->renew('USR2', 30) || $_[0]->renew('USR2') }

my $haproxy = haproxy('server', [map { $site->bundle($_) } qw(rsa ec)]);
ok_run($haproxy->how, 'HAProxy accepts a bundle with a reference',
       $haproxy->command('-c'));
my $calls = $count->during(sub {
    $haproxy->start or die $haproxy->log, "\n";
});
is_deeply($calls, {}, 'it starts without the token');
for my $row (['rsa', 0, '1_2'], ['rsa', 0, '1_3'], ['ec', 1, '1_2'],
             ['ec', 1, '1_3']) {
    my ($name, $i, $version) = @$row;
    $calls = $count->during(sub {
        ok($site->is_served($haproxy->port($i), $name, $version),
           "HAProxy serves by the $name key, TLS $version");
    });
    is($calls->{C_Sign}, 1, 'which the token did');
}

my ($served, $all, $said);
my $reloads = 4;
my $vain;
($calls, $vain) = $count->during_and_vain(sub {
    my $load = $site->start_load([map { $haproxy->port($_) } 0, 1, 1]);
    ok($site->goes_on(30), 'clients are served');
    for my $i (1 .. $reloads) {
        ok(reload($haproxy), "reload $i");
        ok($site->goes_on(60), 'and it goes on');
    }
    ($served, $all, $said) = $site->finish_load($load);
});
ok($all, "none of $served handshakes was lost") or diag($said);
is($calls->{C_Sign}, $served, 'one C_Sign for each');
is($calls->{C_SignInit} - ($vain->{C_SignInit} // 0), $served,
   'after one C_SignInit');
P11::Site::begins_well($calls, $vain, $reloads + 1);
ok(!P11::Daemon::has_mapped($haproxy->master, $in_module),
   'the master has no module');
is_deeply([$haproxy->complaints], [], 'HAProxy complained of nothing');

# ---- refusals

# The bundle's file gets the reference of another key.
my $bundle = $site->bundle('rsa');
my $right = slurp($bundle);
spew($bundle, slurp($site->key('rsa')->[0]) . slurp($site->key('ec')->[1]));
fails_with($haproxy->how, 'the reference of another key is refused',
           qr/inconsistencies between private key and certificate/,
           $haproxy->command('-c'));
kill 'USR2', $haproxy->master;
ok(wait_for(60, sub { $haproxy->log =~ /Loading failure/ }),
   'reloaded all the same: that fails');
ok($site->is_served($haproxy->port, 'rsa'), 'and the key serves as before');
spew($bundle, $right);
ok(reload($haproxy), 'reloaded with the right one');
ok($site->is_served($haproxy->port, 'rsa'), 'it serves, too');
is($haproxy->stop, 0, 'HAProxy ends with exit status 0');

SKIP: {
    skip('not root: workers are not shut out', 5) if !defined $user;
    my $shut = haproxy('shut', [$bundle], 'chroot ' . scratch('nowhere'));
    ok($shut->start, 'HAProxy starts in a chroot') or diag($shut->log);
    $calls = $count->during(sub {
        ok(!$site->is_served($shut->port, 'rsa'), 'and cannot serve');
    });
    is($calls->{C_Sign}, undef, 'nothing was signed');
    like(slurp($shut->{debug}),
         qr/error: .*count-1\.so.*No such file or directory/,
         'the log says why');
    is($shut->stop, 0, 'HAProxy ends with exit status 0');
}

my $signed = $count->calls('C_Sign');
# A key that the master has to open the token for: as the module forbids, it is
# the master's then.
my $bare = haproxy('bare', [$site->bundle('bare', $site->bare_key('rsa'))]);
$calls = $count->during(sub { $bare->start });
cmp_ok($calls->{C_Initialize}, '>=', 1,
       'without its public half a reference is the master\'s to open');
ok(!$site->is_served($bare->port, 'rsa'), 'workers cannot serve by it');
ok(wait_for(60, sub { $bare->log =~ /count-pkcs11: C_\w+ in another process/ }),
   'the module has ended them') or diag($bare->log);
is($count->calls('C_Sign'), $signed, 'nothing was signed');
# "Current worker (…) exited with code 134 (Aborted)": so does the master.
my $aborted = 128 + POSIX::SIGABRT();
ok(wait_for(60, sub { $bare->log =~ /worker.* exited with code $aborted/ }),
   'the master has seen it') or diag($bare->log);
is($bare->stop, $aborted << 8, '… and ends with their exit status');

done_testing();
