#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The token, or the key on it, goes away while an application runs, and comes
# back: the same one is used again without a restart, another one never.
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
my $soft = P11::Token->needs('SoftHSM');
my $no = qr/^pkcs11: \S.*\btoken\b/;

# Keys made elsewhere: they can be put on the token more than once.
sub key_file {
    my ($name) = @_;
    my $pem = scratch() . "/$name.pem";
    for my $command ([qw(genpkey -algorithm EC -pkeyopt group:P-256 -out), $pem],
                     [qw(pkey -in), $pem, qw(-outform DER -out), "$pem.der"],
                     [qw(pkey -pubout -in), $pem, qw(-outform DER -out),
                      "$pem.pub"]) {
        my $result = openssl(@$command);
        die $result->{err} if $result->{status} != 0;
    }
    return $pem;
}

sub put_key {
    my ($token, $pem, $label, $id) = @_;
    for (["$pem.der", 'privkey', '--usage-sign'], ["$pem.pub", 'pubkey']) {
        my ($file, $type, @more) = @$_;
        my $result = $token->tool('--write-object', $file, '--type', $type,
                                  '--label', $label, '--id', $id, @more);
        die $result->{err} if $result->{status} != 0;
    }
    return $token->uri(object => $label, type => 'private');
}

sub take_key {
    my ($token, $label) = @_;
    for my $type (qw(privkey pubkey)) {
        my $result = $token->tool('--delete-object', '--type', $type,
                                  '--label', $label);
        die $result->{err} if $result->{status} != 0;
    }
    return;
}

# ---- the key on the token ----

my ($one, $other) = (key_file('one'), key_file('other'));
my $key = put_key($soft, $one, 'changing', '0a');
my $reference = reference($soft, $key, 'changing');

for my $by ('URI', 'reference') {
    my $name = "a key by $by";
    my $app = P11::Outage->ready({ env => $soft->conf_env },
                                 $by eq 'URI' ? $key : $reference, $name);

    take_key($soft, 'changing');
    $app->refused("$name, deleted: refused",
                  qr/no longer on its token|no such object/, 'sign');
    put_key($soft, $one, 'changing', '0a');
    is($app->until_good(60), 0, "$name, put there again: it signs");

    take_key($soft, 'changing');
    put_key($soft, $other, 'changing', '0a');
    $app->refused("$name, another one in its place: refused",
                  qr/public key differs:.*another public key than/, 'sign');
    $app->refused("$name, another one: again", qr/public key differs/, 'sign');
    $app->refused("$name, another one: in a child", qr/\A\z/, 'fork');

    # The same one beside it, under the same name: of two private objects and
    # two public halves nobody can tell what belongs together.
    put_key($soft, $one, 'changing', '0a');
    $app->refused("$name, both of them: refused", qr/several match/, 'sign');
    take_key($soft, 'changing') for 1 .. 2;
    put_key($soft, $one, 'changing', '0a');
    is($app->until_good(60), 0, "$name, alone again: it signs");

    take_key($soft, 'changing');
    put_key($soft, $one, 'renamed', '0a');
    is($app->until_good(60), 0, "$name, under another label: it signs");
    take_key($soft, 'renamed');
    put_key($soft, $other, 'renamed', '0a');
    $app->refused("$name, another one there: refused", qr/public key differs/,
                  'sign');
    take_key($soft, 'renamed');
    put_key($soft, $one, 'changing', '0a');
    is($app->until_good(60), 0, "$name, as it was: it signs");
    $app->ends_well($name);
}

# ---- the token's files ----

{
    my $name = "the token's files";
    my $app = P11::Outage->ready({ env => $soft->conf_env }, $key, $name);
    for my $round (1, 2) {
        rename "$soft->{dir}/tokens", "$soft->{dir}/away" or die "rename: $!\n";
        mkdir "$soft->{dir}/tokens", 0700 or die "mkdir: $!\n";
        my $answer = $app->tell('sign');
        ok(defined $answer->{ok}, "$name, away, $round: an answer");
        ok($answer->{ok} || $answer->{said} =~ $no,
           "$name, away, $round: a clear one") or $app->show($answer);
        rmdir "$soft->{dir}/tokens" or die "rmdir: $!\n";
        rename "$soft->{dir}/away", "$soft->{dir}/tokens"
            or die "rename: $!\n";
        # SoftHSM is started anew for a key that is missing once a second.
        my $lost = $app->until_good(20);
        ok(defined $lost, "$name, back, $round: it signs")
            or $app->show($app->tell('sign'));
        note("$lost attempts were lost") if $lost;
    }
    $app->ends_well($name);
}

# ---- the device ----

my $device = scratch() . '/device';
my $real_serial = do {
    my $text = $soft->tool('--list-token-slots')->{out};
    $text =~ /serial num\s*:\s*(\S+)/ ? $1 : die "no serial number:\n$text";
};
my $devices = 0;

sub with_device {
    my (%settings) = @_;
    my $count = P11::Count->new($soft, device => $device);
    my $env = $count->token->conf_env(file => 'device' . ++$devices . '.cnf',
                                      settings => \%settings);
    return ($env, $count);
}

# what a call says with the token away
for my $ckr (['CKR_DEVICE_REMOVED', '0x32'], ['CKR_TOKEN_NOT_PRESENT', '0xe0'],
             ['CKR_DEVICE_ERROR', '0x30'],
             ['CKR_SESSION_HANDLE_INVALID', '0xb3']) {
    my ($say, $rv) = @$ckr;
    unlink $device;
    my ($env, $count) = with_device();
    my $app = P11::Outage->ready({ env => $env }, $key, $say);
    for my $round (1, 2) {
        spew($device, "removed=$rv");
        $app->refused("$say, $round: refused", $no, 'sign');
        $app->refused("$say, $round: again", $no, 'sign');
        $app->refused("$say, $round: not loaded either", qr/^pkcs11: no such/,
                      'again');
        # Back, in the same slot and then in another one.
        spew($device, $round == 1 ? '' : 'shift=70000');
        is($app->until_good(60), 0, "$say, $round: back, it signs");
        $app->done("$say, $round: and loads", 'again');
    }
    my $calls = $count->during(sub { $app->tell('sign') });
    is_deeply($calls, { C_SignInit => 1, C_Sign => 1 },
              "$say: with two calls, as before") or diag(
              P11::Count::text($calls));
    $app->ends_well($say);
}

{
    my $name = 'another token in its slot';
    unlink $device;
    my ($env) = with_device();
    my $app = P11::Outage->ready({ env => $env }, $key, $name);
    spew($device, 'removed=0x32');
    $app->refused("$name: away, refused", $no, 'sign');
    spew($device, 'serial=0123456789abcdef');
    $app->refused("$name: refused",
                  qr/no such token:.*\Q$real_serial\E/, 'sign');
    $app->refused("$name: again", qr/no such token/, 'sign');
    spew($device, '');
    is($app->until_good(60), 0, "$name: its own again, it signs");
    $app->ends_well($name);
}
# Its sessions are gone before anybody asks: nobody else's token gets the PIN.
for my $rv ('0x32', '0xb3') {
    my $name = "exchanged between operations, $rv";
    unlink $device;
    my ($env, $count) = with_device();
    my $app = P11::Outage->ready({ env => $env }, $key, $name);
    $count->reset;
    spew($device, "removed=$rv serial=0123456789abcdef");
    $app->refused("$name: refused", $no, 'sign');
    spew($device, 'serial=0123456789abcdef');
    $app->refused("$name: again", qr/no such token/, 'sign');
    is($count->calls('C_Login'), 0, "$name: no PIN was sent");
    spew($device, '');
    is($app->until_good(60), 0, "$name: its own again, it signs");
    $app->ends_well($name);
}
{
    my $name = 'two that cannot be told apart';
    my $twins = P11::Token->make('SoftHSM');
    $twins->add_token($twins->label);
    my $count = P11::Count->new($twins, device => $device);
    my $env = $count->token->conf_env(file => 'twins.cnf');
    my $made = 'pkcs11:token=' . $twins->label . ';object=of-one';
    spew($device, 'serial=0123456789abcdef');
    my $maker = P11::Outage->new({ env => $env }, "$made;type=private");
    $maker->done("$name: a key is made on one of them", "generate $made");
    $maker->ends_well("$name, one made");
    my $app = P11::Outage->ready({ env => $env }, "$made;type=private", $name);
    $count->reset;
    for my $round (1 .. 3) {
        $app->refused("$name, $round: another token is not there",
                      qr/no token matches/, 'again pkcs11:token=none');
        $app->done("$name, $round: it signs", 'sign');
    }
    is(join(' ', map { $count->calls($_) }
                 qw(C_Finalize C_OpenSession C_Login C_Sign)), '0 0 0 3',
       "$name: with the session and the login of before");
    unlink $device;
    $app->ends_well($name);
}
{
    my $name = 'slots get other numbers';
    unlink $device;
    my ($env) = with_device();
    my $app = P11::Outage->ready({ env => $env }, $key, $name);
    for my $shift (100, 5, 0, 7) {
        spew($device, "shift=$shift");
        is($app->until_good(60), 0, "$name: by $shift, it signs");
        $app->done("$name: by $shift, a child signs", 'fork');
        $app->done("$name: by $shift, it loads", 'again');
    }
    $app->ends_well($name);
}

# ---- the module ----

{
    my $name = 'finalised by another part of the application';
    unlink $device;
    my ($env, $count) = with_device();
    my $app = P11::Outage->ready({ env => $env }, $key, $name);
    for my $round (1 .. 3) {
        $app->done("$name, $round: finalised",
                   'finalize ' . $count->token->module);
        is($app->until_good(60), 0, "$name, $round: nothing is lost");
        $app->done("$name, $round: finalised again",
                   'finalize ' . $count->token->module);
        $app->done("$name, $round: a child signs", 'fork');
        $app->done("$name, $round: it loads", 'again');
        $app->done("$name, $round: finalised once more",
                   'finalize ' . $count->token->module);
        $app->refused("$name, $round: no token is there that was not",
                      qr/no token matches(?!.*C_GetSlotList says)/,
                      'again pkcs11:token=none');
        $app->done("$name, $round: it signs", 'sign');
    }
    $app->ends_well($name);
}

{
    my $name = 'finalised before a key is made';
    unlink $device;
    my ($env, $count) = with_device();
    my $app = P11::Outage->new({ env => $env }, $key);
    $app->done("$name: loaded", 'load');
    $app->done("$name: finalised", 'finalize ' . $count->token->module);
    $app->done("$name: it is made",
               'generate pkcs11:token=' . $soft->label . ';object=made');
    $app->done("$name: the key of before signs", 'sign');
    $app->ends_well($name);
}

# ---- sessions that others take ----

{
    my $name = 'no more sessions for a while';
    unlink $device;
    my ($env, $count) = with_device();
    my $app = P11::Outage->ready({ env => $env }, $key, $name);
    # Of all that were asked for, those that were granted.
    my $opened = sub {
        return $count->calls('C_OpenSession')
            - ($count->vain->{C_OpenSession} // 0);
    };
    spew($device, 'full=1');
    my $began = time;
    $app->done("$name: threads start", 'threads 4');
    $app->all_well("$name, with what there is");
    my $seconds = time - $began + 1;
    # They ask about once a second.
    cmp_ok($count->calls('C_OpenSession'), '<=', 10 + 2 * $seconds,
           "$name: and do not ask always");
    spew($device, '');
    ok(wait_for(60, sub { $opened->() > 1 }),
       "$name: more when the others are gone");
    sleep 4;
    cmp_ok($opened->(), '>', 1, "$name: they are there");
    cmp_ok($opened->(), '<=', 4, "$name: one for each thread at most");
    is($count->calls('C_CloseSession'), 0, "$name: which are kept");
    $app->all_well("$name, after it");
    $app->done("$name: they stop", 'stop');
    $app->ends_well($name);
}

done_testing();
