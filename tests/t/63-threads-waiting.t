#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Who waits for whom: no operation for the time that the token spends on another
# one, unless sessions run out. Calls are made to stay inside the module; what
# else goes on then is counted, not timed.
use strict;
use warnings;

use Test::More;
use P11::Count;
use P11::Test;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');
my $many = sanitizer() ? 16 : 64;
my $patience = 90;
# Longer than that: who waits for a session while others are kept inside.
my %waits = ('pkcs11-module-wait-ms' => 200_000);

my $soft = P11::Token->needs('SoftHSM');
$soft->add_token('second');
my $second = bless { %$soft, label => 'second' }, ref $soft;
my $ec = $soft->keypair('EC:prime256v1', 'ec', '01');
my $rsa = $soft->keypair('rsa:2048', 'rsa', '02');
my $other = $second->keypair('EC:prime256v1', 'ec', '01');
my $ref = reference($soft, $ec, 'ref');

my $files = 0;
sub file { return scratch() . '/file' . ++$files }

# An application in the background: { pid, out }.
sub begin {
    my ($how, @steps) = @_;
    my $out = file();
    my ($pid) = start_jobs(1, sub {
        my $result = use_key({ %$how, timeout => 250 }, 'alarm=200', @steps);
        spew($out, $result->{out} . $result->{err});
        return $result->{signal} || $result->{status};
    });
    return { pid => $pid, out => $out };
}

sub ends_well {
    my ($app, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is((finish_jobs(260, $app->{pid}))[0], 0, "$name: it ends well")
        or diag(slurp($app->{out}));
    return;
}

# So many calls of the function are in the module at this moment.
sub are_inside {
    my ($count, $function, $n, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return ok(wait_for($patience, sub {
        return ($count->flight($function))[0] == $n;
    }), $name) || diag("$function: " . join ' of ', $count->flight($function));
}

# In all, so many calls of it have returned or are inside.
sub are_made {
    my ($count, $function, $n, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return ok(wait_for($patience, sub { $count->calls($function) >= $n }),
              $name) || diag(P11::Count::text($count->read));
}

# ---- signatures, as many at once as there are sessions ----

# [name, keys, max-sessions or undef, at once]
for my $row (['one key', "load=$ec", undef, $many],
             ['an RSA key', "load=$rsa", undef, $many],
             ['one key', "load=$ec", 16, 16],
             ['one key', "load=$ec", 2, 2],
             ['one key', "load=$ec", 1, 1],
             ['two tokens', "load=$ec $other", 2, 4],
             ['a key by URI and by reference', "load=$ec $ref", 3, 3]) {
    my ($name, $load, $limit, $at_once) = @$row;
    my $frozen = file();
    my $count = P11::Count->new($soft, freeze => 'C_Sign',
                                freeze_file => $frozen);
    my %how = (env => $count->token->conf_env(settings => {
        %waits, defined $limit ? ('pkcs11-module-max-sessions' => $limit)
                               : () }));
    $name = "$many threads, $name, " . ($limit // 'all') . ' sessions';

    spew($frozen, '');
    my $app = begin(\%how, "in=$many", '[', $load, qw(sign free ]));
    are_inside($count, 'C_Sign', $at_once, "$name: $at_once C_Sign at once");
    unlink $frozen;
    ends_well($app, $name);
    is(($count->flight('C_Sign'))[1], $at_once, "$name: never more");
    is($count->calls('C_Sign'), $many, "$name: one for each");
}

# What that comes to: a call that takes long is paid once, not once a thread.
if ($ENV{P11_LONG}) {
    for my $limit (1, 2, 16, 64) {
        my $count = P11::Count->new($soft, slow => 'C_Sign=200000');
        my %how = (env => $count->token->conf_env(
            settings => { 'pkcs11-module-max-sessions' => $limit }));
        my $result = ok_use_key(\%how, "C_Sign takes 200 ms, $limit sessions",
                                "load=$ec", 'alarm=120', "in=$many", '[',
                                qw(sign ]));
        figure(sprintf "%d threads sign once, C_Sign takes 200 ms, "
               . "max-sessions %d: %.2f s", $many, $limit,
               $result->{seconds});
    }
}

# ---- what stays inside, and who signs meanwhile ----

my $signers = 8;
my $each = 5;

# A part of an application: the steps that stay inside are done by thread 0 of
# 9, then $go comes, and the others do theirs.
sub parts {
    my ($go, $stays, @others) = @_;
    return ('in=' . ($signers + 1), '[', 'only=0', '[', @$stays, ']',
            "only=1-$signers", '[', "await=$go", @others, ']', ']');
}

# The same token: [function that stays inside, steps]. Of other keys, another
# token, or this key's own.
my @same = (
    ['C_FindObjectsInit', 'a load', ["load=$rsa", 'sign'], 1],
    ['C_GetAttributeValue', 'a load, later', ["load=$rsa", 'sign'], 1],
    ['C_OpenSession', 'another token that is opened', ["load=$other", 'sign'],
     1],
    ['C_Login', 'a login to another token', ["load=$other", 'sign'], 1],
    ['C_Sign', 'a signature by the same key', ['sign'], 0],
    ['C_DeriveKey', 'a key agreement by the same key', ['derive'], 0],
);
for my $row (@same) {
    my ($function, $name, $stays, $own) = @$row;
    my ($frozen, $begun, $go) = (file(), file(), file());
    my $count = P11::Count->new($soft, freeze => $function,
                                freeze_file => $frozen);
    my %how = (env => $count->token->conf_env);
    # Who signs has a session already: none is to be opened meanwhile.
    my $threads = $function eq 'C_OpenSession' ? 1 : $signers;
    my $signs = $function eq 'C_Sign' ? 0 : $each;
    my $app = begin(\%how, "load=$ec", 'sign',
        'in=' . ($threads + 1), '[', 'only=0', '[', "await=$begun",
        ($own ? 'free' : ()), @$stays, ']', "only=1-$threads", '[',
        "await=$go", $signs ? "sign=$signs" : 'derive=5', ']', ']');
    are_made($count, 'C_Sign', 1, "$name: begun");
    spew($frozen, '');
    spew($begun, '');
    are_inside($count, $function, 1, "$name: $function stays inside");
    spew($go, '');
    if ($signs) {
        are_made($count, 'C_Sign', 1 + $threads * $signs,
                 "$name: others sign meanwhile");
    } else {
        are_made($count, 'C_DeriveKey', $threads * 5,
                 "$name: others agree meanwhile");
    }
    is(($count->flight($function))[0], 1, "$name: $function is still inside");
    unlink $frozen;
    ends_well($app, $name);
}

# ---- another module, which has settings of its own ----

SKIP: {
    my $nss = P11::Token->make('NSS')
        or skip('NSS is not installed: no second module', 1);
    my $key = $nss->keypair('EC:prime256v1', 'apart', '01');
    my %env = (%{ $soft->env }, %{ $nss->env });

    # Only the module that has the token needs to be asked.
    my $one = $soft->uri(object => 'ec', manufacturer => 'SoftHSM project');

    # [what stays inside, others: already at work or for the first time]
    for my $row (['C_Login', 1], ['C_Login', 0], ['C_Initialize', 1],
                 ['C_Initialize', 0],
                 ['C_OpenSession', 0], ['C_FindObjects', 0], ['C_Sign', 0]) {
        my ($function, $at_work) = @$row;
        my $name = "$function of another module"
            . ($at_work ? '' : ', first use');
        my ($frozen, $go) = (file(), file());
        my $count = P11::Count->new($soft, own => 1);
        my $slow = P11::Count->new($nss, own => 1, freeze => $function,
                                   freeze_file => $frozen);
        my %how = (env => { %env, OPENSSL_CONF => $count->token->write_conf(
            also => [$slow->token]) });
        my @load = ("load=$one", 'sign');
        spew($frozen, '');
        my $app = begin(\%how, ($at_work ? @load : ()),
            parts($go, [($at_work ? 'free' : ()), "load=$key", 'sign'],
                  ($at_work ? () : "load=$one"), "sign=$each"));
        are_inside($slow, $function, 1, "$name: stays inside");
        spew($go, '');
        are_made($count, 'C_Sign', $at_work + $signers * $each,
                 "$name: others sign meanwhile");
        is($count->calls('C_Login'), 1, "$name: with a login of their own");
        is(($slow->flight($function))[0], 1, "$name: is still inside");
        unlink $frozen;
        ends_well($app, $name);
        is($slow->calls('C_Sign'), 1, "$name: and then it signs");
    }

    # ---- a question for a PIN ----

    for my $at_work (1, 0) {
        my $name = 'a question for the PIN of another module'
            . ($at_work ? '' : ', first use');
        my ($hold, $go) = (file(), file());
        my $count = P11::Count->new($soft, own => 1);
        my $slow = P11::Count->new($nss, own => 1);
        my $asks = $slow->token;
        $asks->{asks} = 1;
        my %how = (env => { %env, OPENSSL_CONF => $count->token->write_conf(
            also => [$asks]) });
        my @load = ("load=$one", 'sign');
        spew($hold, '');
        my $app = begin(\%how, ($at_work ? @load : ()),
            'answer=' . $nss->pin, "hold=$hold",
            parts($go, [($at_work ? 'free' : ()), "load=$key", 'sign'],
                  ($at_work ? () : "load=$one"), "sign=$each"));
        are_made($slow, 'C_OpenSession', 1, "$name: it comes");
        spew($go, '');
        are_made($count, 'C_Sign', $at_work + $signers * $each,
                 "$name: others sign meanwhile");
        is($slow->calls('C_Login'), 0, "$name: there is no answer yet");
        unlink $hold;
        ends_well($app, $name);
        my @asked = slurp($app->{out}) =~ /^asked$/mg;
        is(@asked, 1, "$name: asked once");
        is($slow->calls('C_Sign'), 1, "$name: and then it signs");
    }

    # ---- a module that comes and goes ----

    my ($frozen, $begun, $go) = (file(), file(), file());
    my $name = 'C_Sign of another module, and C_Finalize';
    my $count = P11::Count->new($nss, own => 1);
    my $slow = P11::Count->new($soft, own => 1, freeze => 'C_Sign',
                               freeze_file => $frozen);
    my $goes = $count->token->write_conf(file => 'goes.cnf');
    my %how = (env => { %env, OPENSSL_CONF => $slow->token->write_conf });
    my $app = begin(\%how, "load=$ec", 'sign', 'in=2', '[',
        'only=0', '[', "await=$begun", 'sign', ']',
        'only=1', '[', "await=$go", 'free', 'repeat=5', '[', "context=$goes",
        '[', "load=$key", qw(sign free ] ] ] ]));
    are_made($slow, 'C_Sign', 1, "$name: begun");
    spew($frozen, '');
    spew($begun, '');
    are_inside($slow, 'C_Sign', 1, "$name: stays inside");
    spew($go, '');
    are_made($count, 'C_Finalize', 5, "$name: ended five times meanwhile");
    is(($slow->flight('C_Sign'))[0], 1, "$name: is still inside");
    unlink $frozen;
    ends_well($app, $name);
    is($count->calls('C_Initialize'), 5, "$name: started five times");
}

# ---- a question on the same token ----

{
    my ($hold, $go) = (file(), file());
    my $name = 'a question for the PIN of the same token';
    my $count = P11::Count->new($soft);
    my %how = (env => $count->token->conf_env(file => 'asks.cnf',
        settings => { 'pkcs11-module-token-pin' => undef }));
    spew($hold, '');
    # A reference asks as it is loaded, whoever has logged in before.
    my $app = begin(\%how, "load=$ec?pin-value=" . $soft->pin, 'sign',
        'answer=' . $soft->pin, "hold=$hold",
        parts($go, ['free', "load=$ref", 'sign'], "sign=$each"));
    are_made($count, 'C_Sign', 1, "$name: begun");
    spew($go, '');
    are_made($count, 'C_Sign', 1 + $signers * $each,
             "$name: others sign meanwhile");
    is($count->calls('C_Sign'), 1 + $signers * $each,
       "$name: there is no answer yet");
    unlink $hold;
    ends_well($app, $name);
    my @asked = slurp($app->{out}) =~ /^asked$/mg;
    is(@asked, 1, "$name: asked once");
    is($count->calls('C_Sign'), 2 + $signers * $each,
       "$name: and then it signs");
}

done_testing();
