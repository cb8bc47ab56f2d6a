#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# Apache httpd, with processes and with threads, serves with keys on a token,
# by reference and by URI, and is restarted under load without losing anyone. By
# reference with a module that aborts in another process than the one that
# initialised it.
use strict;
use warnings;

use Test::More;
use P11::Conf;
use P11::Count;
use P11::Daemon;
use P11::Site;
use P11::Test;

needs(qw(apache2 openssl pkcs11-tool));
plan(skip_all => 'libssl was not found when this was configured')
    if !P11::Site::can_load();
my $modules = '/usr/lib/apache2/modules';
plan(skip_all => "no mod_ssl in $modules") if !-e "$modules/mod_ssl.so";

my $site = P11::Site->new;
my $count = $site->count;
my $user = $site->give_to_worker;
my $documents = scratch('documents');
spew("$documents/index.html", "here\n");
my $in_module = qr{/(?:count-\d+|libsofthsm2)\.so};

# Two processes at a time, and no lack of them.
my %limits = (prefork => "MaxRequestWorkers 16\nMaxSpareServers 8",
              event => "MaxRequestWorkers 32\nThreadsPerChild 16\n"
                  . "MinSpareThreads 1\nMaxSpareThreads 32");

# Apache with an MPM, and a port for each [CERTIFICATE, KEY].
sub apache {
    my ($mpm, @keys) = @_;
    my $apache = P11::Daemon->new(
        name => "apache-$mpm", ports => scalar @keys, env => $site->env,
        ready => qr/resuming normal operations/,
        # Not those of how many clients it has.
        complaint => qr/\w:(?:emerg|alert|crit|error)\](?!.*MaxRequestWorkers)
                        |exit\ signal/x);
    my $dir = $apache->dir;
    my $hosts = '';
    for my $i (0 .. $#keys) {
        my $port = $apache->port($i);
        $hosts .= P11::Conf::text('apache.conf',
            'Listen 443' => "Listen 127.0.0.1:$port",
            '*:443' => "127.0.0.1:$port",
            '/etc/apache2/server.pem' => $keys[$i][0],
            '/etc/apache2/server.key' => "\"$keys[$i][1]\"",
            '/var/www/html' => $documents);
    }
    my $load = join '', map { -e "$modules/mod_$_.so"
        ? "LoadModule ${_}_module $modules/mod_$_.so\n" : '' }
        "mpm_$mpm", qw(authz_core dir socache_shmcb ssl);
    my $who = defined $user
        ? "User $user\nGroup " . P11::Daemon::worker_group() . "\n" : '';
    spew("$dir/apache.conf", $load . $who . <<"END" . $hosts);
ServerRoot $dir
ServerName localhost
DefaultRuntimeDir $dir
PidFile $dir/pid
ErrorLog $dir/log
LogLevel info
StartServers 2
$limits{$mpm}
SSLSessionCache none
SSLVerifyClient require
SSLCACertificateFile @{[$site->ca->file]}
DirectoryIndex index.html
END
    $apache->set_command(have('apache2'), '-DFOREGROUND', '-f',
                         "$dir/apache.conf");
    return $apache;
}

# The calls of an act, beside those that sign: of each process that began to use
# the token, and of the parent for each time that it loaded a key by URI.
sub is_modest {
    my ($calls, $vain, $processes, $loads) = @_;
    my $began = $calls->{C_Initialize} // 0;
    my ($others, $in_vain) = (0, 0);
    $in_vain += $_ for values %$vain;
    $others += $calls->{$_} for grep { !/^C_(?:Sign|SignInit|GetInfo)$|List$/ }
        keys %$calls;
    ok($began <= $processes, "$began processes, of $processes, began");
    ok($in_vain <= 12 * $processes
       && $others <= 24 * $began + 6 * ($processes + $loads) + 8 * $in_vain,
       'and made not many calls more')
        or diag(P11::Count::text($calls), "\nin vain: ",
                P11::Count::text($vain));
    return;
}

sub serve_under_load {
    my ($name, $apache, $restarts, $loads) = @_;
    my ($served, $all, $said);
    my %seen = map { $_ => 1 } $apache->workers;
    my ($calls, $vain) = $count->during_and_vain(sub {
        my $load = $site->start_load([map { $apache->port($_) } 0, 1, 1]);
        ok($site->goes_on(30), "$name: clients are served");
        for my $i (1 .. $restarts) {
            ok($apache->renew('USR1'), "$name: graceful restart $i");
            ok($site->goes_on(50), 'and it goes on');
            $seen{$_} = 1 for $apache->workers;
        }
        ($served, $all, $said) = $site->finish_load($load);
    });
    $seen{$_} = 1 for $apache->workers;
    ok($all, "$name: none of $served handshakes was lost") or diag($said);
    is($calls->{C_Sign}, $served, 'one C_Sign for each');
    is($calls->{C_SignInit} - ($vain->{C_SignInit} // 0), $served,
       'after one C_SignInit');
    is_modest($calls, $vain, 2 * keys %seen, $loads);
    return;
}

for my $mpm (grep { -e "$modules/mod_mpm_$_.so" } qw(prefork event)) {
    # ---- by reference: the token is the children's
    $count = $site->count_with(owner => 1);
    my $apache = apache($mpm, map { $site->key($_) } qw(rsa ec));
    my $calls = $count->during(sub {
        $apache->start or die "$mpm: ", $apache->log, "\n";
    });
    is_deeply($calls, {}, "$mpm starts by reference, without the token");
    for my $row (['rsa', 0, '1_2'], ['rsa', 0, '1_3'], ['ec', 1, '1_2'],
                 ['ec', 1, '1_3']) {
        my ($name, $i, $version) = @$row;
        $calls = $count->during(sub {
            ok($site->is_served($apache->port($i), $name, $version),
               "$mpm serves by the $name key, TLS $version");
        });
        is($calls->{C_Sign}, 1, 'which the token did');
    }
    serve_under_load("$mpm by reference", $apache, 3, 0);
    ok(!P11::Daemon::has_mapped($apache->master, $in_module),
       "$mpm: the parent has no module");
    is($apache->stop, 0, "$mpm ends with exit status 0");
    is_deeply([$apache->complaints], [], 'and complained of nothing');

    # ---- by URI: the parent opens it, and forks
    $count = $site->count_with;
    $apache = apache($mpm, map { [$site->key($_)->[0], $site->uri($_)] }
                     qw(rsa ec));
    $calls = $count->during(sub {
        $apache->start or die "$mpm: ", $apache->log, "\n";
    });
    is($calls->{C_Initialize}, 1, "$mpm starts by URI: the parent opens it");
    serve_under_load("$mpm by URI", $apache, 2, 4);
    is($apache->stop, 0, "$mpm ends with exit status 0");
    is_deeply([$apache->complaints], [], 'and complained of nothing');
}

# ---- by URI, with that module: it is the parent's then

$count = $site->count_with(owner => 1);
my $owned = apache('prefork', [$site->key('rsa')->[0], $site->uri('rsa')]);
ok($owned->start, 'Apache starts by URI') or diag($owned->log);
is($count->calls('C_Initialize'), 1, 'the parent has opened the token');
ok(!$site->is_served($owned->port, 'rsa'), 'children cannot serve by it');
ok(wait_for(60, sub { $owned->log =~ /C_\w+ in another process/
                      && $owned->log =~ /exit signal Abort/ }),
   'the module has ended them') or diag($owned->log);
is($count->calls('C_Sign'), 0, 'nothing was signed');
is($owned->stop, 0, 'Apache ends with exit status 0');
$count = $site->count_with;

# ---- refusals: of a URI that fails Apache shows no reason, but our log does

sub does_not_start {
    my ($name, $patterns, @key) = @_;
    my $apache = apache('prefork', [@key]);
    my $debug = $apache->dir . '/debug';
    my $result = run_in(
        { env => { %{ $apache->how->{env} },
                   PKCS11_PROVIDER_DEBUG => "file:$debug,level:1" },
          timeout => 120 }, $apache->command);
    isnt($result->{status}, 0, "Apache does not start with $name")
        or diag($result->{err});
    my $said = $apache->log . (-e $debug ? slurp($debug) : '');
    like($said, $_, 'and says why') for @$patterns;
    return;
}

my $rsa = $site->key('rsa')->[0];
does_not_start('the reference of another key', [qr/AH02565|AH02238|mismatch/],
               $rsa, $site->key('ec')->[1]);
does_not_start('the URI of no key',
               [qr/no private key matches pkcs11:\S*object=other/],
               $rsa, $site->token->uri(object => 'other', type => 'private'));
my $wrong = spew(scratch() . '/wrong-pin', "9999\n");
my $calls = $count->during(sub {
    does_not_start('a wrong PIN', [qr/PIN/],
                   $rsa, $site->uri('rsa') . "?pin-source=file:$wrong");
});
is($calls->{C_Login}, 1, 'which the token was shown once');

done_testing();
