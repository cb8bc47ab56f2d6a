#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Keys with CKA_ALWAYS_AUTHENTICATE: a PIN for each operation, from wherever the
# first one came; three calls each; a refused one is sent once; and tokens
# where it is typed at the device.
use strict;
use warnings;

use Test::More;
use P11::Cli;
use P11::Count;
use P11::PinSources;
use P11::Test;
use P11::Token;
use P11::UseKey;

my $pin = 'Geheim-4711';
my $token = P11::Token->needs('SoftHSM', pin => $pin);
my $dir = scratch();
my $file = $token->pin_file;
my $data = spew("$dir/data", 'x' x 32);
for my $row (['RSA', 'rsa', 'bits:2048'], ['EC', 'ec', 'group:P-256']) {
    my ($type, $label, $size) = @$row;
    ok_openssl({ env => $token->conf_env }, "an $type key is made", qw(genpkey
        -propquery ?provider=pkcs11 -algorithm), $type, '-pkeyopt', $size,
        '-pkeyopt', 'pkcs11_token:tok', '-pkeyopt', "pkcs11_label:$label",
        '-pkeyopt', 'pkcs11_always_authenticate:yes', '-out',
        "$dir/$label.pem");
}
my $rsa = $token->uri(object => 'rsa');
my $ec = $token->uri(object => 'ec');

sub how_of {
    my ($count, $source, %settings) = @_;
    return { env => source_env($count->token, $source, %settings) };
}

sub told { return P11::Count::text($_[0]) }

# ---- every source

my $program = builddir() . '/tests/c/use_key';
for my $case (
    pin_sources($pin, $file),
    { name => 'keypad', keypad => $pin },
) {
    my $query = defined $case->{query} ? "?$case->{query}" : '';
    for my $cache (qw(true false)) {
        # An answer that is not kept cannot serve again: see below.
        next if $case->{asked} && $cache eq 'false';
        my $name = $case->{name}
            . ($cache eq 'true' ? '' : ', read anew each time');
        my $count = P11::Count->new($token, $case->{keypad}
            ? (keypad_pin => $case->{keypad}, flags => 0x100) : ());
        my $how = how_of($count, $case, 'pkcs11-module-cache-pins' => $cache);
        my $calls = $count->during(sub {
            my $result = ok_run($how, $name, @{ $case->{as} // [] }, $program,
                @{ $case->{steps} // [] }, "load=$rsa$query", 'sign=3',
                'decrypt=2', 'free', "load=$ec$query", 'sign=2');
            is($result->{out}, "asked\n" x ($case->{asked} // 0),
               '… asked: ' . ($case->{asked} // 0));
        });
        is_deeply([@{$calls}{qw(C_SignInit C_Sign C_DecryptInit C_Decrypt
                                C_Login)}], [5, 5, 2, 2, 1 + 7],
                  '… each operation has its Init, its C_Login and its act')
            or diag(told($calls));
    }
}

# What it costs, once the key is known: three calls, and no more.

my $count = P11::Count->new($token);
my $how = how_of($count, { setting => $pin });
for my $what ('sign', 'decrypt') {
    my @total;
    for my $n (1, 11) {
        my $calls = $count->during(sub {
            ok_use_key($how, "$what $n times", "load=$rsa", "$what=$n");
        });
        push @total, sum_of($calls);
    }
    is($total[1] - $total[0], 30, "… $what: three calls each");
}

# A reference, loaded without the token: somebody is asked when it is loaded.

$count = P11::Count->new($token);
for my $cache (qw(true false)) {
    my $how = how_of($count, {}, 'pkcs11-module-cache-pins' => $cache);
    my $calls = $count->during(sub {
        my $result = ok_use_key($how, "a reference, cache-pins = $cache",
            "answer=$pin", "load=$dir/rsa.pem", 'sign=2', 'decrypt=1');
        is($result->{out}, "asked\n", '… asks once, when it is loaded');
    });
    is($calls->{C_Login}, 1 + 3, '… C_Login: one, and one each');
}

# The command line: -passin, and a terminal

$count = P11::Count->new($token);
ok_openssl(how_of($count, {}), '-passin', qw(pkeyutl -sign -in), $data,
           '-inkey', $ec, '-out', "$dir/sig", '-passin', "pass:$pin");
is($count->calls('C_Login'), 2, '… C_Login: two');
SKIP: {
    skip('script is not installed', 4) if !have('script');
    my $count = P11::Count->new($token);
    my $command = have('openssl')
        . " pkeyutl -sign -in $data -inkey '$ec' -out $dir/sig";
    my $asked = ok_run(how_of($count, {}), 'typed at the terminal',
                       typed($pin, "$dir/screen", $command));
    is(scalar(() = $asked->{out} =~ /PKCS#11 token "tok" PIN:/g), 1,
       '… after one prompt, for two logins');
    is($count->calls('C_Login'), 2, '… C_Login: two');
    unlike($asked->{out}, qr/\Q$pin\E/, '… without echo');
}
ok_openssl({ env => $token->conf_env }, 'the public half', 'pkey', '-in', $ec,
           '-pubout', '-out', "$dir/pub");
ok_alone('what was signed is good', qw(pkeyutl -verify -pubin -inkey),
         "$dir/pub", '-in', $data, '-sigfile', "$dir/sig");

# Threads and children share the PIN, not the session.

$count = P11::Count->new($token);
ok_use_key(how_of($count, { setting => $pin }), '8 threads and 4 children',
    "load=$rsa", qw(sign=1 in=8 [ sign=5 ]), 'fork=4,4',
    qw([ sign=3 ]));
is($count->calls('C_Sign'), 1 + 40 + 12, '… all of them sign');
cmp_ok($count->calls('C_Login'), '>=', 1 + 1 + 40 + 12, '… each with a login');

# ---- refusals

# A source that has another PIN when it is read again, or none.
my $source = "$dir/source";
for my $case (
    ['another PIN', "echo wrong >$source", qr/CKR_PIN_INCORRECT/, 1],
    ['an empty file', "echo >$source", qr/"\S+" is empty/, 0],
    ['a file that is gone', "rm $source", qr/No such file/, 0],
) {
    my ($name, $change, $pattern, $tries) = @$case;
    spew($source, "$pin\n");
    my $count = P11::Count->new($token);
    my $result = ok_use_key(
        how_of($count, {}, 'pkcs11-module-cache-pins' => 'false'),
        "$name: three signatures fail", "load=$rsa?pin-source=file:$source",
        'sign=1', "run=$change", qw(fails=3 [ sign=1 ]));
    is($count->calls('C_Login'), 1 + 1 + $tries,
       "… and the token is asked $tries times");
    like($result->{err}, $pattern, '… in these words');
    like($result->{err}, qr/refused this PIN before/,
         '… and then why it was not sent') if $tries;
    is($count->calls('C_Sign'), 1, '… nothing is signed');
}

# The token refuses what it took a moment ago: that is not tried again.
for my $case (
    # what it says, CKR, calls of C_Login for the three that fail
    ['a wrong PIN', '0xa0', qr/CKR_PIN_INCORRECT/, 1],
    ['a locked PIN', '0xa4', qr/CKR_PIN_LOCKED/, 3],
    ['an expired PIN', '0xa3', qr/CKR_PIN_EXPIRED/, 3],
) {
    my ($name, $ckr, $pattern, $logins) = @$case;
    for my $what ('sign', 'decrypt') {
        my $count = P11::Count->new($token, fail => "C_Login#2+=$ckr");
        my $result = ok_use_key(how_of($count, { setting => $pin }),
            "$name, $what", "load=$rsa", 'fails=3', '[', "$what=1", ']');
        like($result->{err}, $pattern, '… it says so');
        is($count->calls('C_Login'), 1 + $logins, '… C_Login: '
           . "one, and $logins");
        is($count->calls('C_Sign') + $count->calls('C_Decrypt'), 0,
           '… nothing is done');
        my @entries = $result->{err} =~ /:error:/g;
        is(scalar @entries, 3, '… one error each') or diag($result->{err});
    }
}
# Afterwards the session has no operation of before.
my $once = P11::Count->new($token, fail => 'C_Login#2=0xa3');
ok_use_key(how_of($once, { setting => $pin }), 'one that failed once',
    "load=$rsa", qw(fails=1 [ sign=1 ] sign=2 decrypt=1));
is($once->calls('C_Sign'), 2, '… signs the next time');

# Nobody is asked when it signs: what was typed, and was not to be kept, is gone.
$count = P11::Count->new($token);
my $gone = ok_use_key(
    how_of($count, {}, 'pkcs11-module-cache-pins' => 'false'),
    'an answer that is not kept', "answer=$pin", "load=$rsa",
    qw(fails=2 [ sign=1 ]));
is($gone->{out}, "asked\n", '… is asked for once, when the key is loaded');
like($gone->{err}, qr/:no PIN:.*pin-source/, '… and then where it may be');
is($count->calls('C_Login'), 1, '… C_Login: one');

# ---- at the device

my $keypad = P11::Count->new($token, keypad_pin => $pin, flags => 0x100,
                             fail => 'C_Login#2=0xa0');
my $typed = ok_use_key(how_of($keypad, {}), 'mistyped at the device once',
    "load=$rsa", qw(fails=1 [ sign=1 ] sign=2 decrypt=1));
like($typed->{err}, qr/CKR_PIN_INCORRECT/, '… it says so');
is($keypad->calls('C_Login'), 1 + 1 + 3, '… it is typed again for the next');
is($typed->{out}, '', '… and nobody is asked by us');
$keypad = P11::Count->new($token, keypad_pin => $pin, flags => 0x100,
                          fail => 'C_Login#2=0x50');
$typed = ok_use_key(how_of($keypad, {}), 'cancelled at the device',
    "load=$rsa", qw(fails=1 [ sign=1 ] sign=1));
like($typed->{err}, qr/CKR_FUNCTION_CANCELED/, '… it says so');
is($keypad->calls('C_Login'), 3, '… which is not repeated');
$keypad = P11::Count->new($token, keypad_pin => $pin, flags => 0x100);
$typed = ok_use_key(how_of($keypad, { setting => 'wrong' }),
    'a setting that the device makes needless', "load=$rsa?pin-value=wrong",
    'sign=2');
is($keypad->calls('C_Login'), 3, '… no PIN is sent');

done_testing();
