#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# A call that does not return: with pkcs11-module-call-timeout the application
# has its error in time, which names the call and the setting; what is left
# behind harms nobody, neither at exit nor in a child; and when the token
# answers again, all is as before, with all of its sessions.
use strict;
use warnings;

use Test::More;
use P11::Count;
use P11::Outage;
use P11::Test;
use P11::Token;
use P11::UseKey;
use Time::HiRes qw(sleep);

needs('pkcs11-tool');
# The thread sanitizer is slow, and looks for races: it sees each kind of call.
my $races = sanitizer() eq 'thread';
my $limit_ms = $races ? 1500 : 700;
# What else a slow machine needs for a refusal.
my $slack_ms = sanitizer() ? 8000 : 3000;
my $setting = 'pkcs11-module-call-timeout';
my $threads = sanitizer() ? 4 : 16;

my $soft = P11::Token->needs('SoftHSM');
$soft->keypair('EC:prime256v1', 'ec', '01');
$soft->keypair('rsa:2048', 'rsa', '02');

my $frozen = scratch() . '/frozen';
sub freeze { spew($frozen, ''); return }
sub thaw { unlink $frozen; return }

# An application with a token of which some functions can freeze.
my $apps = 0;
sub application {
    my ($freeze, $key, %settings) = @_;
    my $count = P11::Count->new($soft, freeze => $freeze,
                                freeze_file => $frozen);
    my $token = $count->token;
    my $env = $token->conf_env(
        file => 'app' . ++$apps . '.cnf',
        settings => { $setting => $limit_ms, %settings });
    my $app = P11::Outage->new({ env => $env }, $key // $soft->uri(
        object => 'ec', type => 'private'));
    $app->{count} = $count;
    return $app;
}

sub times_out {
    my ($app, $name, $call, $command) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $answer = $app->refused("$name: refused", 
        qr/^pkcs11: call timed out: \Q$call\E: .*\Q$call\E within $limit_ms ms.*$setting/m,
        $command // 'sign');
    cmp_ok($answer->{took} * 1000, '<', $limit_ms + $slack_ms,
           "$name: in time");
    cmp_ok($answer->{took} * 1000, '>=', $limit_ms - 50,
           "$name: not before it");
    return $answer;
}

# A child of a process that has worker threads.
sub child_signs {
    my ($app, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    SKIP: {
        skip("the sanitizer's allocator hangs in children of threads", 1)
            if sanitizer();
        $app->done("$name: a child signs", 'fork');
    }
    return;
}

# ---- each call that a signature makes ----

for my $call ($races ? 'C_Sign' : qw(C_SignInit C_Sign)) {
    my $app = application($call);
    $app->done("$call: loaded", 'load');
    $app->done("$call: signs", 'sign');
    freeze();
    times_out($app, $call, $call);
    times_out($app, "$call, once more", $call);
    thaw();
    is($app->until_good(10), 0, "$call: thawed, nothing more is lost");
    child_signs($app, $call);
    ok(wait_for(10, sub {
        my $calls = $app->{count}->read;
        ($calls->{C_OpenSession} // 0) - ($calls->{C_CloseSession} // 0) <= 2;
    }), "$call: the sessions left behind were closed")
        or diag(P11::Count::text($app->{count}->read));
    $app->ends_well($call, 10);
}

# ---- and those that bring it up ----

for my $call (qw(C_Initialize C_OpenSession C_Login),
              $races ? () : qw(C_GetSlotList C_GetTokenInfo C_FindObjectsInit
                               C_FindObjects C_GetAttributeValue)) {
    my $app = application($call);
    freeze();
    times_out($app, "load, $call", $call, 'load');
    thaw();
    my $loaded;
    ok(wait_for(10, sub { $loaded = $app->tell('load'); $loaded->{ok} }),
       "load, $call: thawed, it is loaded") or $app->show($loaded);
    $app->done("load, $call: and signs", 'sign');
    $app->ends_well("load, $call", 10);
}

# ---- one session: it is not lost with the call ----

{
    my $name = 'max-sessions = 1';
    my $app = application('C_Sign', undef,
                          'pkcs11-module-max-sessions' => 1);
    $app->done("$name: loaded", 'load');
    for my $round (1 .. ($races ? 1 : 3)) {
        freeze();
        times_out($app, "$name, $round", 'C_Sign');
        thaw();
        is($app->until_good(10), 0, "$name, $round: thawed, it signs");
    }
    $app->ends_well($name, 10);
}

# ---- threads ----

{
    my $name = "$threads threads";
    my $app = application('C_Sign', $soft->uri(object => 'rsa',
                                               type => 'private'));
    $app->done("$name: loaded", 'load');
    $app->done("$name: they start", "threads $threads");
    sleep 0.5;
    my $before = $app->tell('count');
    is("$before->{bad} $before->{wrong} $before->{idle}", '0 0 0',
       "$name: all well before");
    freeze();
    sleep 2.5;
    my $during = $app->tell('count');
    cmp_ok($during->{bad}, '>', 0, "$name: refused while it is frozen");
    cmp_ok($during->{longest_ms}, '<', $limit_ms + $slack_ms,
           "$name: in time");
    SKIP: {
        skip("the sanitizer's allocator hangs in children of threads", 1)
            if sanitizer();
        my $fork = $app->tell('fork');
        cmp_ok($fork->{took} * 1000, '<', $limit_ms + $slack_ms,
               "$name: a child comes to its end meanwhile");
    }
    thaw();
    sleep 2;
    $app->tell('count');
    sleep 1;
    my $after = $app->tell('count');
    is("$after->{bad} $after->{wrong} $after->{idle}", '0 0 0',
       "$name: all well after it") or $app->show($after);
    $app->done("$name: they stop", 'stop');
    $app->ends_well($name, 10);
}

# ---- exit, and fork, with a thread that is stuck for good ----

{
    my $name = 'stuck for good';
    my $app = application('C_Sign');
    $app->done("$name: loaded", 'load');
    freeze();
    times_out($app, $name, 'C_Sign');
    SKIP: {
        skip("the sanitizer's allocator hangs in children of threads", 1)
            if sanitizer();
        my $fork = $app->tell('fork');
        cmp_ok($fork->{took} * 1000, '<', $limit_ms + $slack_ms,
               "$name: a child comes to its end");
    }
    $app->ends_well($name, 10);
    cmp_ok($app->{took}, '<', 2, "$name: at once");
    thaw();
}

# ---- a server that is frozen ----

SKIP: {
    skip('p11-kit is slow under the thread sanitizer, and not judged by it', 1)
        if $races;
    my $remote = P11::Token->make('P11KitRemote')
        or skip('p11-kit is not installed', 1);
    $remote->{behind}->keypair('EC:prime256v1', 'ec', '01');
    my $key = $remote->uri(object => 'ec', type => 'private');
    my %limited = (env => $remote->conf_env(
        file => 'limited.cnf', settings => { $setting => $limit_ms }));
    my %plain = (env => $remote->conf_env);
    my $name = 'frozen server';

    my $app = P11::Outage->ready(\%limited, $key, $name);
    for my $round (1, 2) {
        $remote->freeze;
        times_out($app, "$name, $round", 'C_SignInit');
        $remote->thaw;
        is($app->until_good(10), 0, "$name, $round: thawed, it signs");
    }
    $app->done("$name: threads start", "threads $threads");
    sleep 0.5;
    $remote->freeze;
    sleep 2;
    my $during = $app->tell('count');
    cmp_ok($during->{bad}, '>', 0, "$name: threads are refused");
    is($during->{wrong}, 0, "$name: nothing is signed wrongly");
    $remote->thaw;
    sleep 1.5;
    $app->tell('count');
    sleep 1;
    my $after = $app->tell('count');
    is("$after->{bad} $after->{wrong} $after->{idle}", '0 0 0',
       "$name: thawed, threads sign") or $app->show($after);
    $app->done("$name: they stop", 'stop');
    $remote->freeze;
    $app->refused("$name: and killed", qr/call timed out/, 'sign');
    $remote->kill;
    $remote->start;
    my $lost = $app->until_good(20);
    ok(defined $lost && $lost <= 2, "$name: started anew, it signs");
    $app->ends_well($name, 10);

    # [how, what, seconds that the end may take]
    for (['limit', \%limited, 4], ['no limit', \%plain, 4]) {
        my ($what, $how, $seconds) = @$_;
        $app = P11::Outage->ready($how, $key, $what);
        $remote->freeze;
        $app->ends_well("$what, frozen", 30);
        cmp_ok($app->{took}, '<', $seconds, "$what: soon");
        $remote->thaw;
    }
}

# ---- values ----

openssl_refuses({ env => $soft->conf_env(file => 'bad.cnf',
                                         settings => { $setting => 'soon' }) },
    'a value that is no number', [qr/$setting is "soon"/, qr/from 0 to/],
    'pkey', '-in', $soft->uri(object => 'ec'), '-noout');

done_testing();
