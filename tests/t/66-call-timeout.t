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
my $limit_ms = $races ? 1500 : 1000;
# What else a slow machine needs for a refusal. Without the limit it would take
# until the call is let go on: no time would be enough.
my $slack_ms = 10_000;
my $setting = 'pkcs11-module-call-timeout';
my $threads = sanitizer() ? 4 : 16;

my $soft = P11::Token->needs('SoftHSM');
$soft->keypair('EC:prime256v1', 'ec', '01');
$soft->keypair('rsa:2048', 'rsa', '02');

my $frozen = scratch() . '/frozen';
sub freeze { spew($frozen, ''); return }
sub thaw { unlink $frozen; return }

# So many calls have come back from the module: a file is written then, for
# use_key to await. What we do with the answer takes a moment more, and no call.
sub when_answered {
    my ($count, $function, $n, $file) = @_;
    return start_jobs(1, sub {
        wait_for(100, sub {
            $count->calls($function) >= $n
                && ($count->flight($function))[0] == 0;
        }) or return 1;
        spew($file, '');
        return 0;
    });
}

# So many late calls have come back, as our log tells when all is done with their
# answers: a file is written then, too.
sub when_back {
    my ($log, $function, $n, $file) = @_;
    return start_jobs(1, sub {
        wait_for(100, sub {
            my @back = -e $log
                ? slurp($log) =~ /(\Q$function\E has come back)/g : ();
            return @back >= $n;
        }) or return 1;
        spew($file, '');
        return 0;
    });
}
sub log_to { return (PKCS11_PROVIDER_DEBUG => "file:$_[0],level:2") }

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

# Threads are refused: what they had until then, as slow as the machine may be.
sub until_refused {
    my ($app) = @_;
    my %all = (bad => 0, wrong => 0, longest_ms => 0);
    for (1 .. 60) {
        sleep 1.5;
        my $during = $app->tell('count');
        $all{$_} += $during->{$_} for qw(bad wrong);
        $all{longest_ms} = $during->{longest_ms}
            if $during->{longest_ms} > $all{longest_ms};
        last if $all{bad};
    }
    return \%all;
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
    is($app->until_good(60), 0, "$call: thawed, nothing more is lost");
    child_signs($app, $call);
    ok(wait_for(60, sub {
        my $calls = $app->{count}->read;
        ($calls->{C_OpenSession} // 0) - ($calls->{C_CloseSession} // 0) <= 2;
    }), "$call: the sessions left behind were closed")
        or diag(P11::Count::text($app->{count}->read));
    $app->ends_well($call, 60);
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
    ok(wait_for(60, sub { $loaded = $app->tell('load'); $loaded->{ok} }),
       "load, $call: thawed, it is loaded") or $app->show($loaded);
    $app->done("load, $call: and signs", 'sign');
    $app->ends_well("load, $call", 60);
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
        is($app->until_good(60), 0, "$name, $round: thawed, it signs");
    }
    $app->ends_well($name, 60);
}

# ---- a token that has but one session, and does not say so ----

{
    my $name = 'a copy of the key in the only session';
    my $count = P11::Count->new($soft, freeze => 'C_Sign', sessions => 1,
                                freeze_file => $frozen);
    my $app = P11::Outage->new({ env => $count->token->conf_env(
        file => 'parked.cnf', settings => { $setting => $limit_ms,
            'pkcs11-module-cache-keys' => 'true' }) },
        $soft->uri(object => 'rsa', type => 'private'));
    $app->done("$name: loaded", 'load');
    $app->done("$name: signs", 'sign');
    is($count->calls('C_CopyObject'), 1, "$name: it is there");
    for my $round (1, 2) {
        freeze();
        times_out($app, "$name, $round", 'C_Sign');
        my $closed = $count->calls('C_CloseSession');
        thaw();
        ok(wait_for(60, sub { $count->calls('C_CloseSession') > $closed }),
           "$name, $round: thawed, the session is closed");
        is($app->until_good(60), 0, "$name, $round: and it signs");
        is($count->calls('C_CopyObject'), 1 + $round, '… with a new copy');
    }
    $app->tell('count');
    $app->done("$name: threads share it", 'threads 2');
    $app->all_well($name);
    $app->done("$name: they stop", 'stop');
    is($app->end(60), 0, "$name: it ends well") or diag(slurp($app->{err}));
}

# ---- a wrong PIN that takes longer ----

{
    my $name = 'a slow answer to a wrong PIN';
    my $count = P11::Count->new($soft, freeze => 'C_Login',
                                freeze_file => $frozen);
    my $token = $count->token;
    my $key = $soft->uri(object => 'ec', type => 'private');
    my $wrong = "$key?pin-value=97531";
    # The sanitizer's allocator hangs in children of threads.
    my @children = sanitizer() ? ()
        : ('fork=3,3', '[', "refused=$wrong", ']');
    freeze();
    my $answered = scratch() . '/login-answered';
    my $log = scratch() . '/login-log';
    my @watch = when_back($log, 'C_Login', 1, $answered);
    my $result = ok_use_key({ env => { log_to($log), %{ $token->conf_env(
        file => 'slow.cnf', settings => { $setting => $limit_ms }) } } },
        "$name: refused",
        "refused=$wrong", "refused=$wrong", 'in=4', '[', "refused=$wrong", ']',
        @children, "run=rm $frozen", "await=$answered", 'in=4',
        '[', "refused=$wrong", ']', @children,
        "load=$key?pin-value=" . $soft->pin, 'sign=3');
    is((finish_jobs(60, @watch))[0], 0, '… after the answer had come');
    my %said;
    for ([late => qr/within $limit_ms ms/],
         [asked => qr/has this PIN and has not answered yet/],
         [known => qr/refused this PIN before/],
         [told => qr/CKR_PIN_INCORRECT/]) {
        my ($what, $pattern) = @$_;
        $said{$what} = () = $result->{err} =~ /$pattern/g;
    }
    my $n = @children ? 3 : 0;
    is_deeply(\%said, { late => 1, asked => 1 + 4 + $n, known => 4 + $n,
                        told => 0 }, '… everybody is told what is known')
        or diag($result->{err});
    is($count->calls('C_Login'), 1 + 1, '… it was sent once, by whichever '
       . 'process; and the right one');
}

# ---- a PIN that was accepted, and one call that hangs ----

{
    my $name = 'one login of many hangs';
    my $always = $soft->uri(object => 'always', type => 'private');
    my $pin = '?pin-value=' . $soft->pin;
    my $count = P11::Count->new($soft, freeze => 'C_Login',
                                freeze_file => $frozen);
    my $env = $count->token->conf_env(file => 'always.cnf',
                                      settings => { $setting => $limit_ms });
    my $made = openssl({ env => $soft->conf_env }, 'genpkey', '-propquery',
        '?provider=pkcs11', '-algorithm', 'RSA', '-out',
        scratch() . '/always.pem', map { ('-pkeyopt', $_) } 'bits:2048',
        'pkcs11_token:' . $soft->label, 'pkcs11_label:always',
        'pkcs11_always_authenticate:yes');
    is($made->{status}, 0, "$name: a key that asks each time")
        or diag($made->{err});
    my @bad = ('fails=1', '[', 'sign=1', ']');
    my ($log, $back) = map { scratch() . "/always-$_" } qw(log back);
    my @watch = when_back($log, 'C_Login', 2, $back);
    # FRESH lets operations pass for a second: it is over. The frozen call is
    # let go on at the end, so that only the page's memory lets the rest in.
    my $result = ok_use_key({ env => { %$env, log_to($log) } },
        "$name: the rest goes on",
        "load=$always$pin", 'sign=1', 'sleep=1200', "run=touch $frozen",
        @bad, @bad, 'sleep=5100', @bad, "run=rm $frozen", "await=$back",
        'sign=2');
    is((finish_jobs(60, @watch))[0], 0, '… when they have come back');
    my $late = () = $result->{err} =~ /C_Login within $limit_ms ms/g;
    my $asked = () = $result->{err} =~ /has not answered yet/g;
    is("$late $asked", '2 1', '… sent once, and once more after a while')
        or diag($result->{err});
}

# ---- a key that is generated too late ----

{
    my $name = 'a key that comes too late';
    my $count = P11::Count->new($soft, freeze => 'C_GenerateKeyPair',
                                freeze_file => $frozen);
    my $uri = $soft->uri(object => 'late');
    my $there = sub {
        my $seen = run_in({ env => $soft->env },
            builddir() . '/tests/c/see_key', $soft->module, $soft->label,
            $soft->pin, 'late');
        return scalar(() = $seen->{out} =~ /^(?:private|public) /mg);
    };
    freeze();
    my $removed = scratch() . '/late-removed';
    my @watch = when_answered($count, 'C_DestroyObject', 2, $removed);
    my $result = ok_use_key({ env => $count->token->conf_env(
        file => 'late.cnf', settings => { $setting => $limit_ms }) },
        "$name: refused", 'fails=1', '[', "generate=$uri", ']',
        "run=rm $frozen", "await=$removed");
    is((finish_jobs(60, @watch))[0], 0, '… and both halves are removed');
    like($result->{err}, qr/call timed out:.*C_GenerateKeyPair within/,
         '… in these words');
    is($count->calls('C_GenerateKeyPair'), 1, '… it was made');
    is($there->(), 0, '… and taken back, since nobody would know of it');
    ok_use_key({ env => $count->token->conf_env(file => 'late.cnf',
        settings => { $setting => $limit_ms }) }, "$name: the next one",
        "generate=$uri", "load=$uri;type=private", 'sign=2');
    is($there->(), 2, '… is there, once');
    is($soft->tool('--delete-object', '--type', $_, '--label', 'late')
       ->{status}, 0, "… and goes: $_") for 'privkey', 'pubkey';
}

# ---- threads ----

{
    my $name = "$threads threads";
    my $app = application('C_Sign', $soft->uri(object => 'rsa',
                                               type => 'private'));
    $app->done("$name: loaded", 'load');
    $app->done("$name: they start", "threads $threads");
    $app->all_well("$name, before");
    freeze();
    my $during = until_refused($app);
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
    $app->all_back($name, 60);
    $app->all_well("$name, after it");
    $app->done("$name: they stop", 'stop');
    $app->ends_well($name, 60);
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
    $app->ends_well($name, 60);
    cmp_ok($app->{took}, '<', 8, "$name: soon");
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
        is($app->until_good(60), 0, "$name, $round: thawed, it signs");
    }
    $app->done("$name: threads start", "threads $threads");
    sleep 0.5;
    $remote->freeze;
    my $during = until_refused($app);
    cmp_ok($during->{bad}, '>', 0, "$name: threads are refused");
    is($during->{wrong}, 0, "$name: nothing is signed wrongly");
    $remote->thaw;
    $app->all_back("$name, thawed", 60);
    $app->all_well("$name, thawed");
    $app->done("$name: they stop", 'stop');
    $remote->freeze;
    $app->refused("$name: and killed", qr/call timed out/, 'sign');
    $remote->kill;
    $remote->start;
    my $lost = $app->until_good(60);
    ok(defined $lost && $lost <= 2, "$name: started anew, it signs");
    $app->ends_well($name, 60);

    # [how, what, seconds that the end may take]
    for (['limit', \%limited, 8], ['no limit', \%plain, 8]) {
        my ($what, $how, $seconds) = @$_;
        $app = P11::Outage->ready($how, $key, $what);
        $remote->freeze;
        $app->ends_well("$what, frozen", 60);
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
