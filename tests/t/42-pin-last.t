#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# A token that grants one last try, or none: no PIN is sent to it, from whichever
# source, unless the setting final-try says so; and a key that is in use when
# that happens. By the counting module's flags, and on openCryptoki, which locks
# in earnest.
use strict;
use warnings;
no warnings 'qw';       # "fork=8,8" is one word

use Test::More;
use P11::Test;
use P11::Token::OpenCryptoki ':world';
use P11::Count;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');
my $wrong = '86427531';
my $wrong_file = spew(scratch() . '/wrong', "$wrong\n");
my $final_words = qr/:last PIN try withheld:.*"\w+" grants one last try.*resets the count/;
my $locked_words = qr/:CKR_PIN_LOCKED:.*"\w+" is locked and was not sent/;

sub how_of {
    my ($count, %settings) = @_;
    return { env => $count->token->conf_env(file => 'last.cnf', settings =>
        { map { ("pkcs11-module-$_" => $settings{$_}) } keys %settings }) };
}

sub words { return scalar(() = $_[0]{err} =~ /$_[1]/g) }

# ---- feigned

my ($FINAL, $LOCKED) = (0x20000, 0x40000);

sub try_feigned {
    my ($token) = @_;
    my $uri = $token->uri(object => 'key');
    my $pin = $token->pin;
    my $file = $token->pin_file;
    my @sources = (
        ['pin-value', "$uri?pin-value=$pin"],
        ['pin-source', "$uri?pin-source=file:$file"],
        ['the setting', $uri, settings => { 'token-pin' => "file:$file" }],
        ['the callback', $uri, steps => ["answer=$pin"]],
    );
    for my $flag ([last => $FINAL, $final_words],
                  [locked => $LOCKED, $locked_words],
                  ['last and locked' => $FINAL | $LOCKED, $locked_words]) {
        my ($state, $bits, $pattern) = @$flag;
        for my $source (@sources) {
            my ($name, $load, %how) = @$source;
            my %settings = ('token-pin' => undef, %{ $how{settings} // {} });
            my $count = P11::Count->new($token, flags => $bits);
            my $result = ok_use_key(how_of($count, %settings),
                "$state: $name", @{ $how{steps} // [] }, 'provider=default',
                'in=4', '[', "refused=$load", ']', 'fork=3,3', '[',
                "refused=$load", ']');
            is($count->calls('C_Login'), 0, '… nothing is sent');
            is(words($result, $pattern), 4 + 3, '… and all are told why')
                or diag($result->{err});
            $count = P11::Count->new($token, flags => $bits);
            my $allowed = use_key(how_of($count, %settings,
                'final-try' => 'true'), @{ $how{steps} // [] },
                "load=$load", 'sign=1');
            my $want = $bits & $LOCKED ? 0 : 1;
            is($count->calls('C_Login'), $want,
               "… with final-try = true: $want");
            is($allowed->{status} == 0 ? 1 : 0, $want,
               $want ? '… and it is used' : '… and it is refused')
                or diag($allowed->{err});
        }
    }
    my $count = P11::Count->new($token, flags => $FINAL);
    openssl_refuses(how_of($count), 'a command', [$final_words, qr/"tok"/],
                    'pkey', '-noout', '-in', $uri);
    is($count->calls('C_Login'), 0, '… sends nothing');
    $count = P11::Count->new($token, flags => $LOCKED);
    openssl_refuses(how_of($count), 'a command, locked', [$locked_words],
                    'pkey', '-noout', '-in', $uri);
    is($count->calls('C_Login'), 0, '… sends nothing');
    $count = P11::Count->new($token, flags => $FINAL | 0x100,
                             keypad_pin => $pin);
    ok_use_key(how_of($count), 'who types at the device may do so',
               "load=$uri", 'sign=1');
    return;
}

# ---- in earnest

sub state_of {
    my ($token) = @_;
    my $list = run_in({ env => $token->env }, 'pkcs11-tool', '--module',
                      $token->module, '--list-token-slots')->{out};
    return $list =~ /user PIN locked/ ? 'locked'
        : $list =~ /final user PIN try/ ? 'final'
        : $list =~ /user PIN count low/ ? 'low' : 'fine';
}

# Somebody else's try, as a command of the shell.
sub try_of {
    my ($token, $pin) = @_;
    return join ' ', 'env -u OPENSSL_CONF', 'pkcs11-tool --module',
        $token->module, '--token-label', $token->label, '--login --pin', $pin,
        '--list-objects', '>/dev/null 2>&1';
}

sub does {
    my ($token, $how, $name, $want, @steps) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($logins, $state, $pattern) = @$want;
    my $count = P11::Count->new($token);
    my $result = ok_use_key(how_of($count, %$how), $name, @steps);
    like($result->{err}, $pattern, '… in these words') if $pattern;
    is($count->calls('C_Login'), $logins, "… C_Login: $logins");
    is(state_of($token), $state, "… the token's count: $state");
    return;
}

sub try_in_earnest {
    my ($token) = @_;
    my $uri = $token->uri(object => 'key');
    my $other = try_of($token, $wrong);
    my $wrong_key = "$uri?pin-source=file:$wrong_file";
    my $right = sub { run('sh', '-c', try_of($token, $token->pin)); return };
    my $twice = "run=$other; $other; true";

    is(state_of($token), 'fine', 'no try is lost');
    does($token, {}, 'a wrong PIN', [1, 'low', qr/CKR_PIN_INCORRECT/],
         'in=16', '[', "refused=$wrong_key", ']');
    run('sh', '-c', $other);
    is(state_of($token), 'final', 'and somebody else has one');
    does($token, {}, 'the same: workers', [0, 'final', $final_words],
         qw(provider=default fork=8,8 [), "refused=$wrong_key", ']');
    does($token, {}, 'the right one: threads', [0, 'final', $final_words],
         'in=16', '[', "refused=$uri", ']');
    does($token, { 'final-try' => 'true' }, 'allowed, and right',
         [1, 'fine'], "load=$uri", 'sign=1', 'in=4', '[', 'sign=1', ']');

    # While a process is logged in, somebody else tries: it goes on; a new
    # login would be the last try, although this PIN was accepted before.
    does($token, {}, 'somebody tries while a key is used',
         [1, 'final', $final_words], "load=$uri", 'sign=1', $twice, 'sign=2',
         qw(fork=4,4 [ fails=1 [ sign ] ] sign=1));
    $right->();
    is(state_of($token), 'fine', 'a right login sets it back');
    does($token, {}, '… and workers log in again', [1 + 2, 'fine'],
         "load=$uri", 'sign=1', $twice, qw(fork=1 [ fails=1 [ sign ] ]),
         'run=' . try_of($token, $token->pin), qw(fork=2,2 [ sign ]));

    does($token, {}, 'locked by somebody else while a key is used',
         [1, 'locked', $locked_words], "load=$uri", 'sign=1',
         "$twice; $other; true", qw(fork=4,4 [ fails=1 [ sign ] ]));
    for my $final ('false', 'true') {
        does($token, { 'final-try' => $final }, "locked, final-try = $final",
             [0, 'locked', $locked_words], 'in=4', '[', "refused=$uri", ']',
             'fork=4,4', '[', "refused=$wrong_key", ']');
    }
    return;
}

my $soft = P11::Token->make('SoftHSM');
my $ock = P11::Token->make('OpenCryptoki');
plan(skip_all => P11::Token->missing('SoftHSM')) if !$soft && !$ock;
subtest 'feigned' => sub {
    plan(skip_all => P11::Token->missing('SoftHSM')) if !$soft;
    $soft->keypair('EC:prime256v1', 'key', '01');
    try_feigned($soft);
};
subtest 'openCryptoki' => sub {
    plan(skip_all => P11::Token->missing('OpenCryptoki')) if !$ock;
    plan(skip_all => 'openCryptoki loses memory of its own') if sanitizer();
    $ock->keypair('rsa:2048', 'key', '01');
    try_in_earnest($ock);
};
done_testing();
