#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Fork while somebody is asked for a PIN: one thread waits in the application's
# callback, another one forks. Parent and child go on, each is asked as often as
# it does not know the PIN, and the token is shown it as often as it must.
use strict;
use warnings;
no warnings 'qw';       # "fork=3,2" is one word

use P11::Everywhere;
use P11::Count;
use P11::Test;
use P11::UseKey;
use Test::More;

needs('pkcs11-tool');
plan(skip_all => 'the thread sanitizer sees no fork while threads run')
    if sanitizer() eq 'thread';

# What happens in the thread that is asked, and until it waits.
sub waits { return ('stall', 'begin=1', '[', @_, ']', 'asked') }

# name, questions, logins, steps; of which KEY becomes "load=…", PIN and WRONG
# "answer=…"; AWAIT waits for TOUCH, which another process does. Logins are of
# a token where a child has to log in again, and of one where it need not. Those
# that log in at once to SoftHSM may have to try again, so children come one
# after the other.
my @rows = (
    ['nobody else needs it', 1, [1, 1],
     qw(PIN), waits(qw(KEY sign=3 free)),
     qw(fork=4,2 [ _exit ] fork=2 [ cleanup exit ] release stop KEY sign)],
    ['each child is asked by itself', 5, [5, 5],
     qw(PIN), waits(qw(KEY sign=3 free)),
     qw(fork=4 [ KEY sign=2 free ] release stop KEY sign)],
    ['and its children are not', 2, [4, 2],
     qw(PIN), waits(qw(KEY sign)),
     qw(fork [ KEY sign fork=2 [ sign=2 ] sign ] release stop)],
    ['a child goes on after the parent has its answer', 2, [2, 2],
     qw(PIN), waits(qw(KEY sign free)),
     qw(adopt fork [ daemon AWAIT KEY sign=2 ] release stop KEY sign
        TOUCH reap)],
    ['a daemon, made meanwhile', 2, [2, 2],
     qw(PIN adopt), waits(qw(KEY sign)),
     qw(fork [ daemon KEY sign=2 free ] reap release stop)],
    ['the parent gets no answer', 2, [1, 1],
     waits(qw(fails [ KEY ])), qw(fork [ PIN KEY sign ] release stop)],
    ['the child gets none', 2, [1, 1],
     qw(PIN), waits(qw(KEY sign=2)),
     qw(fork [ answer= fails [ KEY ] ] release stop)],
    ['two threads wait for one answer, and children for theirs', 3, [3, 3],
     # The other one has come to where it waits, and is not inside libcrypto.
     qw(PIN stall begin=2 [ KEY sign free ] asked sleep=1000
        fork=2 [ in=2 [ KEY sign ] ] release stop)],
    ['forks before, while and after', 2, [4, 2],
     qw(PIN fork [ fork [ _exit ] ]), waits(qw(KEY sign)),
     qw(fork=2 [ _exit ] fork [ KEY ] release stop KEY
        fork=2 [ sign=2 ] sign)],
);

# A wrong PIN counts, with tokens that lock: rows of their own.
my @wrong = (
    ['the child is given a wrong PIN, the parent the right one', 2, [2, 2],
     qw(PIN), waits(qw(KEY sign=2)),
     qw(fork [ WRONG fails [ KEY ] ] release stop)],
    ['both are given the same wrong PIN: it is sent once', 2, [1, 1],
     qw(WRONG), waits(qw(fails [ KEY ])),
     qw(fork [ fails [ KEY ] ] release stop)],
);

my $go = scratch() . '/go';

sub ask {
    my ($t, $where, $key, $row) = @_;
    my ($name, $asked, $logins, @steps) = @$row;
    my $count = P11::Count->new($t->{token});
    my %how = (env => $count->token->conf_env(file => 'asks.cnf',
        settings => { 'pkcs11-module-token-pin' => undef }));
    my %word = (KEY => "load=$key", PIN => 'answer=' . $t->{token}->pin,
                WRONG => 'answer=99999999', AWAIT => "await=$go",
                TOUCH => "run=touch $go");
    unlink $go;
    my $result = ok_use_key(\%how, "$where: $name",
                            map { $word{$_} // $_ } @steps);
    is(() = $result->{out} =~ /^asked$/mg, $asked, "… asked $asked times");
    my $shown = $logins->[$t->{inherits} ? 1 : 0];
    is($count->calls('C_Login'), $shown, "… and shown $shown times")
        or diag(P11::Count::text($count->read));
    return;
}

on_every_token(sub {
    my ($t) = @_;
    my $private = "$t->{key}{RSA};type=private";
    # A reference without its public half: the token is asked, by PEM's
    # callback.
    my $bare = reference($t->{token}, $private, 'bare',
        'pkcs11-module-reference-public-key' => 'false');
    ask($t, 'URI', $private, $_) for @rows, @wrong;
    ask($t, 'reference', $bare, $_) for @rows[0, 1];
    use_key_fails({ env => $t->{token}->conf_env(file => 'none.cnf',
        settings => { 'pkcs11-module-token-pin' => undef }) },
        'where nobody answers, that is said', qr/PIN/,
        'fork', '[', "load=$private", ']');
});

done_testing();
