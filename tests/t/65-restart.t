#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The token's server ends, freezes, comes late and comes back, while an
# application goes on: it loses the attempts that fall into the outage, each
# with a clear error and in time, and then signs again. Nothing is signed
# wrongly, nobody waits for ever, nobody is ended by SIGPIPE.
use strict;
use warnings;

use Test::More;
use P11::Outage;
use P11::Test;
use P11::Token;
use P11::UseKey;
use Time::HiRes qw(sleep);

needs('pkcs11-tool');
my $threads = sanitizer() ? 4 : 16;
my $away = $ENV{P11_LONG} ? 15 : 5;
my $clear = qr/^pkcs11: \S.*: .*(?:token|module)/;

my $token = P11::Token->needs('P11KitRemote');
# By the module itself: pkcs11-tool reads past its memory with p11-kit's client.
$token->{behind}->keypair('EC:prime256v1', 'ec', '01');
my $reference = reference($token, $token->uri(object => 'ec'), 'ref');
my %how = (env => $token->conf_env);
my $uri = $token->uri(object => 'ec', type => 'private');

# ---- between two operations ----

{
    my $name = 'killed between operations';
    my $app = P11::Outage->ready(\%how, $uri, $name);
    $token->kill;
    $token->start;
    is($app->until_good(60), 0,
       "$name, and there again at once: nothing is lost");
    $token->kill;
    $app->refused("$name, and away: refused", $clear, 'sign');
    $app->refused("$name, and away: again", $clear, 'sign');
    $app->refused("$name, and away: a key is not loaded", $clear, 'again');
    $token->start;
    is($app->until_good(60), 0, "$name, and back: nothing more is lost");
    $app->done("$name: a child signs", 'fork');
    $app->ends_well($name);
}
{
    my $name = 'killed, and a child is the first to know';
    my $app = P11::Outage->ready(\%how, $uri, $name);
    $token->kill;
    $token->start;
    $app->done("$name: it signs", 'fork');
    is($app->until_good(60), 0, "$name: so does its parent");
    $app->ends_well($name);
}
for my $made ('on a token in use', 'on one that is new') {
    my $name = "killed, and first a key is generated $made";
    # It has not asked yet what the token offers.
    my $app = P11::Outage->new(\%how, $uri);
    $app->done("$name: loaded", 'load');
    my $new = $made =~ /new/ ? 'new' : $token->label;
    $token->kill;
    $token->{behind}->add_token($new) if $new ne $token->label;
    $token->start;
    $app->done("$name: it is", "generate pkcs11:token=$new;object=generated");
    $app->done("$name: the key of before signs", 'sign');
    # Why is on its standard error: what generates prints that.
    $app->refused("$name: a second of that name is not", qr/^/,
                  "generate pkcs11:token=$new;object=generated");
    $app->ends_well($name);
}
{
    my $name = 'killed, and first what is not there is sought';
    my $app = P11::Outage->ready(\%how, $uri, $name);
    $token->kill;
    $token->start;
    $app->refused("$name: it is not there",
                  qr/no token matches(?!.*C_GetSlotList says)/,
                  'again pkcs11:token=none;object=ec');
    $app->done("$name: the key of before signs", 'sign');
    $app->ends_well($name);
}
{
    my $name = 'frozen and thawed';
    my $app = P11::Outage->ready(\%how, $uri, $name);
    $token->freeze;
    $app->ask('sign');
    is($app->line(1), undef, "$name: it waits");
    $token->thaw;
    my $answer = $app->answer;
    ok($answer->{ok}, "$name: what waited is signed") or $app->show($answer);
    is($app->until_good(60), 0, "$name: nothing is lost");
    $app->ends_well($name);
}

# ---- started only after the application ----

for my $by ('URI', 'reference') {
    my $name = "server started after the application, by $by";
    $token->kill;
    my $app = P11::Outage->new(\%how, $by eq 'URI' ? $uri : $reference);
    if ($by eq 'URI') {
        $app->refused("$name: not loaded", qr/^pkcs11: \S/, 'load');
        $app->refused("$name: nor at the second time", qr/^pkcs11: \S/,
                      'load');
        $token->start;
        $app->done("$name: loaded", 'load');
    } else {
        $app->done("$name: loaded", 'load');
        $app->refused("$name: does not sign", qr/^pkcs11: \S/, 'sign');
        $token->start;
    }
    is($app->until_good(60), 0, "$name: it signs, nothing more is lost");
    $app->ends_well($name);
}

# ---- under load ----

# What an outage may cost: every attempt that falls into it, and those of the
# threads that were under way when it began or ended. Calls of p11-kit's client
# do not overlap (src/module/quirk.c): else a server that ends between the two
# parts of an answer leaves its other threads waiting for ever.
sub under_load {
    my ($name, $outage) = @_;
    my $app = P11::Outage->ready(\%how, $uri, $name);
    $app->done("$name: $threads threads", "threads $threads");
    $app->all_well("$name, before");
    $outage->($app);
    $app->all_back($name, 60);
    $app->all_well("$name, after it");
    $app->done("$name: stop", 'stop');
    $app->ends_well($name);
    return;
}

sub judge {
    my ($app, $name) = @_;
    my $during = $app->tell('count');
    is($during->{wrong}, 0, "$name: nothing is signed wrongly");
    cmp_ok($during->{longest_ms}, '<', 20000, "$name: nobody waits for long");
    my @unclear = grep { $_ !~ $clear } split /\n/, $during->{said};
    is("@unclear", '', "$name: every error is clear");
    figure("$name: $during->{good} signatures, $during->{bad} lost, longest "
           . "attempt $during->{longest_ms} ms");
    return $during;
}

under_load('killed under load, and there again', sub {
    my ($app) = @_;
    $token->kill;
    $token->start;
    sleep 0.5;
    my $during = judge($app, 'killed under load');
    cmp_ok($during->{bad}, '<=', 20 * $threads,
           'killed under load: few are lost');
});
under_load("away for $away s under load", sub {
    my ($app) = @_;
    $token->kill;
    sleep 0.5;
    # What was signed before may be verified late.
    ok(wait_for(60, sub {
        sleep 0.1;
        return judge($app, 'away under load, at first')->{good} == 0;
    }), 'away under load: they end');
    my %all = (good => 0, bad => 0);
    sleep $away - 0.5;
    ok(wait_for(60, sub {
        my $during = judge($app, 'away under load');
        $all{$_} += $during->{$_} for keys %all;
        sleep 1 if !$all{bad};
        return $all{bad} > 0;
    }), 'away under load: refused');
    is($all{good}, 0, 'away under load: none is signed');
    $token->start;
});
under_load('frozen under load for 2 s', sub {
    my ($app) = @_;
    $token->freeze;
    sleep 2;
    $token->thaw;
    sleep 0.5;
    my $during = judge($app, 'frozen under load');
    is($during->{bad}, 0, 'frozen under load: nothing is lost');
});
my $kills = $ENV{P11_LONG} ? 40 : 5;
under_load("killed $kills times under load", sub {
    my ($app) = @_;
    for (1 .. $kills) {
        $token->kill;
        sleep 0.1;
        $token->start;
        sleep 0.3;
    }
    judge($app, "killed $kills times under load");
});

done_testing();
