#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# A wrong PIN costs one try, wherever it comes from, however many threads and
# workers have it; none is sent that is empty, or when the token says that it
# is the last try; and one that somebody changes outside costs one, too. What
# the token thinks of it is asked of it by another process: openCryptoki locks
# after three, SoftHSM's calls are counted.
use strict;
use warnings;
no warnings 'qw';       # "fork=8,8" is one word

use Test::More;
use P11::Test;
use P11::Token::OpenCryptoki ':world';
use P11::Cert;
use P11::Count;
use P11::PinSources;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');
my $long = $ENV{P11_LONG};
my $dir = scratch();
my $wrong = '86427531';
my $wrong_file = spew("$dir/wrong", "$wrong\n");
my @empty_files = (spew("$dir/empty", "\n"), spew("$dir/nothing", ''));

# A process of its own that only looks: what the token says of its PIN.
sub said_by {
    my ($token) = @_;
    my $list = run_in({ env => $token->env }, 'pkcs11-tool', '--module',
                      $token->module, '--list-token-slots')->{out};
    my ($mine) = grep { /token label\s*:\s*\Q$token->{label}\E\s/ }
        split /^Slot /m, $list;
    return 'no token' if !defined $mine;
    return $mine =~ /user PIN locked/ ? 'locked'
        : $mine =~ /final user PIN try/ ? 'final'
        : $mine =~ /user PIN count low/ ? 'low' : 'fine';
}

# Likewise, with a PIN: a right one sets the count back.
sub log_in {
    my ($token, $pin) = @_;
    return run_in({ env => $token->env }, 'pkcs11-tool', '--module',
        $token->module, '--token-label', $token->label, '--login', '--pin',
        $pin, '--list-objects')->{status} == 0;
}

sub change_pin {
    my ($token, $from, $to) = @_;
    return join ' ', 'env -u OPENSSL_CONF', 'pkcs11-tool --module',
        $token->module, '--token-label', $token->label, '--login --pin', $from,
        '--change-pin --new-pin', $to, '>/dev/null';
}

# ---- sources: with a wrong PIN, and with an empty one

sub how_of {
    my ($count, $source, %settings) = @_;
    return { env => source_env($count->token, $source, %settings) };
}

# Where processes that log in disturb each other, an accepted PIN goes again.
sub logins_are {
    my ($token, $count, $want) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $got = $count->calls('C_Login');
    return is($got, $want, "… C_Login: $want") if $token->label ne 'tok';
    return cmp_ok($got, '>=', $want, "… C_Login: $want or more");
}

# use_key does so, with a source. The result has { count }.
sub does {
    my ($count, $source, $name, @steps) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $how = $source->{how} // how_of($count, $source);
    my $result = ok_run($how, $name, @{ $source->{as} // [] },
        builddir() . '/tests/c/use_key', @{ $source->{steps} // [] }, @steps);
    $result->{refused} = () = $result->{err} =~ /:CKR_PIN_INCORRECT:/g;
    $result->{before} = () = $result->{err} =~ /refused this PIN before/g;
    return $result;
}

my @shapes = (
    # name, before and behind the step, how many are told
    ['16 threads', ['in=16', '['], [']'], 16],
    ['8 workers', [qw(provider=default fork=8,8 [)], [']'], 8],
    ['8 workers of 2 threads, again and again',
     [qw(provider=default fork=8,8 [ in=2 [ repeat=2 [)], [qw(] ] ])], 32],
);

sub try_sources {
    my ($token, $few) = @_;
    my $uri = $token->uri(object => 'key');
    my ($n, $tried) = (0, 0);
    for my $source (pin_sources($wrong, $wrong_file)) {
        my $with = defined $source->{query} ? "$uri?$source->{query}" : $uri;
        # Each shape with each source in the long form only.
        $n++;
        next if $few && $n % 4 != 1;
        for my $shape ($long ? @shapes : $shapes[$n % @shapes]) {
            my ($way, $before, $behind, $told) = @$shape;
            my $name = "$source->{name}, $way";
            my $count = P11::Count->new($token);
            $tried++;
            is(said_by($token), 'fine', "$name: no try is lost before");
            my $result = does($count, $source, "$name: refused", @$before,
                              "refused=$with", @$behind);
            is($count->calls('C_Login'), 1, '… one C_Login');
            is($result->{refused}, 1, '… one is told what the token says');
            is(said_by($token), 'low', '… and it has seen one');
            ok(log_in($token, $token->pin), '… the right one opens it');
        }
    }
    figure($token->label . ": a wrong PIN in $tried cases, $n sources");
    for my $source (map { pin_sources('', $_) } @empty_files) {
        my $with = defined $source->{query} ? "$uri?$source->{query}" : $uri;
        my $name = "$source->{name}, empty";
        my $count = P11::Count->new($token);
        does($count, $source, "$name: refused", 'in=4', '[', "refused=$with",
             ']', 'fork=2,2', '[', "refused=$with", ']');
        is($count->calls('C_Login'), 0, '… no C_Login');
    }
    is(said_by($token), 'fine', 'no empty one was sent');
    return;
}

# The commands take it by -passin, or by a reference.
sub try_commands {
    my ($token) = @_;
    my $uri = $token->uri(object => 'key');
    my $file = "$dir/" . $token->label . '.pem';
    my $data = spew("$dir/data", 'x' x 32);
    ok_openssl({ env => $token->conf_env }, 'a reference', 'pkey', '-in', $uri,
               '-out', $file);
    # Without one of the key's own, cms ends before it asks for the key.
    my $signer = P11::Cert->new->issue('signer', $file,
                                       { env => $token->conf_env });
    ok_openssl({ env => $token->conf_env }, 'cms: the right one signs', 'cms',
               '-sign', '-signer', $signer, '-inkey', $uri, '-in', $data);
    for my $case (
        ['pkeyutl -passin', qw(pkeyutl -sign -in), $data, '-inkey', $uri,
         '-passin', "pass:$wrong"],
        ['pkeyutl -passin, a reference', qw(pkeyutl -sign -in), $data,
         '-inkey', $file, '-passin', "pass:$wrong"],
        ['dgst -passin', qw(dgst -sha256 -passin), "pass:$wrong", '-sign',
         $uri, $data],
        ['cms -passin', qw(cms -sign -signer), $signer, '-inkey', $uri,
         '-passin', "pass:$wrong", '-in', $data],
    ) {
        my ($name, @command) = @$case;
        my $count = P11::Count->new($token);
        my $result = openssl(how_of($count, {}), @command);
        ok($result->{status} > 0 && $result->{signal} == 0, "$name: refused");
        is($count->calls('C_Login'), 1, '… one C_Login');
        is(said_by($token), 'low', '… and the token has seen one');
        ok(log_in($token, $token->pin), '… the right one opens it');
    }
    return;
}

# ---- keys that want it for each operation

# Their source is read again each time, and has a wrong one by then.
sub try_always {
    my ($token) = @_;
    my $name = 'always';
    my $file = "$dir/" . $token->label . '.always';
    my $log = "$dir/always.log";
    my $made = openssl({ env => $token->conf_env }, qw(genpkey -propquery
        ?provider=pkcs11 -algorithm RSA -pkeyopt bits:2048 -pkeyopt),
        'pkcs11_token:' . $token->label, qw(-pkeyopt pkcs11_label:always
        -pkeyopt pkcs11_always_authenticate:yes -out), "$dir/always.pem");
    my $uri = $token->uri(object => 'always', type => 'private')
        . "?pin-source=file:$file";
    my %settings = ('pkcs11-module-cache-pins' => 'false');
    spew($file, $token->pin . "\n");
    my $try = P11::Count->new($token);
    my $how = how_of($try, {}, %settings);
    $how->{env}{PKCS11_PROVIDER_DEBUG} = "file:$log,level:3";
    my $signed = use_key($how, "load=$uri", 'sign=1');
  SKIP: {
        skip($token->label . ' does not ask for each operation', 1)
            if $made->{status} != 0 || $signed->{status} != 0
            || slurp($log) =~ /C_Login: CKR_USER_(TYPE|ALREADY)/;
        my @bad = qw(fails=1 [ sign=1 ]);
        for my $shape (['16 threads', 16, 'in=16', '[', @bad, ']'],
                       ['8 workers', 8, 'fork=8,8', '[', @bad, ']'],
                       ['8 workers of 2 threads', 16, 'fork=8,8', '[', 'in=2',
                        '[', @bad, ']', ']']) {
            my ($way, $told, @steps) = @$shape;
            spew($file, $token->pin . "\n");
            my $count = P11::Count->new($token);
            is(said_by($token), 'fine', "$name, $way: no try is lost before");
            my $result = does($count, { how => how_of($count, {}, %settings) },
                "$name, $way: refused", "load=$uri", 'sign=1',
                "run=cp $wrong_file $file", @steps);
            is($result->{refused}, 1, '… one is told what the token says');
            is($result->{before}, $told - 1, '… the others that it was said');
            is(said_by($token), 'low', '… and it has seen one');
            ok(log_in($token, $token->pin), '… the right one opens it');
        }
    }
    return;
}

# ---- somebody changes it

sub try_changed {
    my ($token) = @_;
    my $uri = $token->uri(object => 'key', type => 'private');
    my $old = $token->pin;
    my $new = '24681357';
    my $file = "$dir/" . $token->label . '.changing';
    my $with = "$uri?pin-source=file:$file";
    my $there = change_pin($token, $old, $new);
    my @back = ({ env => $token->env }, 'and is changed back', 'sh', '-c',
                change_pin($token, $new, $old));
    my $renew = "echo $new >$file";
    # Whether an acceptance of a moment ago makes a difference, or not.
    for my $pause ('sleep=0', $long ? 'sleep=1200' : ()) {
        for my $case (
            { name => 'a process that is logged in',
              steps => ["run=$there", $pause, 'sign=3', 'in=4', '[',
                        'sign=2', ']'], logins => 1, refused => 0 },
            { name => 'and its file is old', steps => ["run=$there", $pause,
              qw(fork=8,8 [ fails=2 [ sign=1 ] ])], logins => 2,
              refused => 1, before => 15 },
            { name => 'and its file is new',
              steps => ["run=$there; $renew", $pause,
                        qw(fork=8,8 [ sign=2 ] sign=1)],
              logins => 2 + 8, refused => 0 },
            { name => 'and its file is new too late',
              steps => ["run=$there", $pause,
                        qw(fork=1 [ fails=1 [ sign ] ]), "run=$renew",
                        qw(fork=8,8 [ sign=1 ] sign=1)],
              logins => 2 + 8, refused => 1 },
            { name => 'who is asked has the new one', source =>
              { steps => ["answer=$old"] }, load => $uri, logins => 1 + 1 + 4,
              steps => ["run=$there", $pause, "answer=$new", 'fork=4,4', '[',
                        'fails=1', '[', 'sign', ']', "load=$uri", 'sign=2',
                        ']', 'sign=1'], refused => 1, before => 3 },
        ) {
            my $name = "changed outside, $pause: $case->{name}";
            # Slow enough that workers are in their logins together.
            my $count = P11::Count->new($token, latency_us => 3000);
            my $load = $case->{load} // $with;
            spew($file, "$old\n");
            is(said_by($token), 'fine', "$name: no try is lost before");
            my $result = does($count, $case->{source} // {}, $name,
                              "load=$load", 'sign=1', @{ $case->{steps} });
            logins_are($token, $count, $case->{logins});
            is($result->{refused}, $case->{refused},
               "… refusals that are told: $case->{refused}");
            is($result->{before}, $case->{before} // 0,
               '… refused before: ' . ($case->{before} // 0));
            isnt(said_by($token), 'final', '… never two tries');
            ok(log_in($token, $new), '… it was changed');
            ok_run(@back);
        }
    }
    return;
}

# ---- the token

my $soft = P11::Token->make('SoftHSM', pin => '13572468',
                            reset_on_fork => 'true');
my $ock = P11::Token->make('OpenCryptoki');
plan(skip_all => P11::Token->missing('SoftHSM')) if !$soft && !$ock;
for my $row (['SoftHSM', $soft], ['openCryptoki', $ock]) {
    my ($name, $token) = @$row;
    subtest $name => sub {
        plan(skip_all => P11::Token->missing(
                 $name eq 'SoftHSM' ? $name : 'OpenCryptoki')) if !$token;
        plan(skip_all => 'openCryptoki loses memory of its own')
            if $name eq 'openCryptoki' && sanitizer();
        $token->keypair('rsa:2048', 'key', '01');
        ok(log_in($token, $token->pin), 'the right PIN');
        # All of them where it matters more.
        try_sources($token, $ock && $token != $ock && !$long);
        try_commands($token);
        try_always($token);
        try_changed($token);
    };
}
done_testing();
