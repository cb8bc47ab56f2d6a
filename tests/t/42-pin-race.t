#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Processes that log in at the same moment. SoftHSM rewrites its token's file at
# each login, and who reads it just then finds no token, no key or no PIN: that
# is ridden out, and none of them fails.
#
# P11_LONG=1 does so a hundred times.
use strict;
use warnings;
no warnings 'qw';       # "fork=30,30" is one word

use POSIX ();
use Test::More;
use P11::Count;
use P11::Test;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');
my $long = $ENV{P11_LONG};
my $at_once = sanitizer() ? 10 : 30;
my $program = builddir() . '/tests/c/use_key';

# They wait at one FIFO, until that is closed. How many ended otherwise than
# well, and what they said.
sub crowd {
    my ($how, $n, @steps) = @_;
    my $fifo = scratch() . '/start';
    unlink $fifo;
    POSIX::mkfifo($fifo, 0600) or die "$fifo: $!\n";
    # Nobody waits for the other end; all have it open before it is closed.
    open my $start, '+<', $fifo or die "$fifo: $!\n";
    my @started = map {
        start_server({ %$how, stdin_file => $fifo }, "use_key$_", $program,
                     @steps)
    } 1 .. $n;
    wait_for(60, sub {
        return @started == grep {
            (readlink("/proc/$_->{pid}/fd/0") // '') eq $fifo
        } @started;
    });
    select undef, undef, undef, sanitizer() ? 2 : 0.15;
    close $start;
    my ($bad, $said) = (0, '');
    for my $one (@started) {
        my $status = P11::Test::reap($one->{pid}, 150);
        if (!defined $status || $status != 0) {
            $bad++;
            $said .= -e $one->{err} ? slurp($one->{err}) : "not begun\n";
        }
        stop_server($one);
        unlink $one->{out}, $one->{err};
    }
    return ($bad, $said);
}

for my $case (
    # name, token's options, rounds, rounds of the long form, steps
    ['processes', {}, 3, 100, sub { (qw(provider=default input), "load=$_[0]",
                                     'sign=2') }],
    ['processes that come from a reference', {}, 1, 50,
     sub { (qw(provider=default input), "load=$_[1]", 'sign=2') }],
    ['workers of three masters', { reset_on_fork => 'true' }, 1, 30,
     sub { ("load=$_[0]", 'input', "fork=$at_once,$at_once", '[', 'sign=2',
            ']') }, 3],
) {
    my ($name, $options, $short_rounds, $long_rounds, $steps, $n) = @$case;
    my $token = P11::Token->needs('SoftHSM', %$options);
    my $uri = $token->keypair('EC:prime256v1', 'key', '01');
    my $count = P11::Count->new($token);
    my $file = reference($token, $uri, 'key');
    my $rounds = $long ? $long_rounds : $short_rounds;
    my ($failed, $said, $done) = (0, '', 0);
    my $calls = $count->during(sub {
        my %how = (env => $count->token->conf_env);
        for (1 .. $rounds) {
            my ($bad, $words) =
                crowd(\%how, $n // $at_once, $steps->($uri, $file));
            $failed += $bad;
            $said .= $words;
            $done += defined $n ? $n * $at_once : $at_once;
        }
    });
    is($failed, 0, "$name: $done logins, $at_once at once, none failed")
        or diag(substr $said, 0, 4000);
    cmp_ok($calls->{C_Login} // 0, '>=', $done, '… each logged in');
    figure("$name: $done logins, $failed failed; C_Login "
           . ($calls->{C_Login} // 0) . ', C_Initialize '
           . ($calls->{C_Initialize} // 0));
}
done_testing();
