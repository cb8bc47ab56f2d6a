#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# A PIN on its way from each source to the token: while C_Login does not
# return, afterwards, and in what the process writes and starts. It is in memory
# that is locked and not dumped, and in no log, error, reference, core,
# argument, environment or descriptor.
use strict;
use warnings;

use MIME::Base64;
use Test::More;
use P11::Count;
use P11::Memory;
use P11::PinSources;
use P11::Test;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');
plan(skip_all => 'the sanitizers keep what is freed')
    if defined $ENV{P11_SANITIZER_RUNTIME};
my $why = P11::Memory::missing();
plan(skip_all => $why) if defined $why;
my $pin = 'Geheim-4711-Zitrone';
my $wrong = 'Falsch-4711-Melone';
my $token = P11::Token->needs('SoftHSM', pin => $pin,
                                reset_on_fork => 'true');
my $uri = $token->keypair('EC:prime256v1', 'ec', '01');
my $reference = reference($token, $uri, 'reference');
my $dir = scratch();
my $program = builddir() . '/tests/c/use_key';
my $file = spew("$dir/right", "$pin\n");
my $wrong_file = spew("$dir/wrong", "$wrong\n");
my $frozen = "$dir/frozen";
my $kept = 'locked, not dumped';
my $n = 0;

# In an argument, an environment or a configuration it would be by who gives it.
my @sources = grep { !$_->{shown} } pin_sources($pin, $file);

sub key_of {
    my ($source, $key) = @_;
    return $key . (defined $source->{query} ? "?$source->{query}" : '');
}

# What may be outside: while OpenSSL loads a key, it keeps what it was told, to
# answer the same question once more.
sub outside {
    my ($source, $found, $loading) = @_;
    my %rest = %$found;
    ok(delete $rest{$kept}, '… it is there, locked and not dumped');
    delete $rest{'[heap]'} if $loading && $source->{asked};
    is_deeply(\%rest, {}, '… and nowhere else') or diag(explain($found));
    return;
}

# A process whose logins freeze, while there is the file. It may write a core.
sub frozen_login {
    my ($source, %how) = @_;
    my $count = P11::Count->new($token, freeze => 'C_Login',
                                freeze_file => $frozen);
    my $env = source_env($count->token, $source, %{ $how{settings} // {} });
    my $server = start_server({ env => $env, dir => $how{dir} }, 'use_key',
        'sh', '-c', 'ulimit -c unlimited; exec "$@"', 'sh',
        @{ $source->{as} // [] }, $program, @{ $source->{steps} // [] },
        @{ $how{steps} });
    $server->{count} = $count;
    return $server;
}

sub is_in_login {
    my ($server, $n) = @_;
    my $count = $server->{count};
    ok(wait_for(60, sub { $count->calls('C_Login') >= $n
                          && ($count->flight('C_Login'))[0] > 0 }),
       '… it is in C_Login') or diag(slurp($server->{err}));
    return;
}

sub pauses {
    my ($server) = @_;
    ok(P11::Memory::wait_until_stopped($server->{pid}), '… it goes on')
        or diag(slurp($server->{err}));
    return;
}

# ---- memory, at each moment

my %limits = ('in the calling thread' => {},
              'in a worker thread' => { 'pkcs11-module-call-timeout' => 30000 });
for my $thread (sort keys %limits) {
    for my $source (@sources) {
        my $name = "$source->{name}, $thread";
        note($name);
        spew($frozen, '');
        my $server = frozen_login($source, settings => $limits{$thread},
            steps => ['load=' . key_of($source, $uri), 'pause', 'sign',
                      'pause']);
        is_in_login($server, 1);
        outside($source, P11::Memory::find($server->{pid}, $pin), 1);
        unlink $frozen;
        for my $what ('loaded', 'signed') {
            pauses($server);
            outside($source, P11::Memory::find($server->{pid}, $pin), 0);
            P11::Memory::go_on($server->{pid});
        }
        is(finish_server($server, 60), 0, "$name: ends well");
    }
}

# Where the key is known, the login comes with its first use.
my ($asked) = grep { $_->{asked} } @sources;
my $server = frozen_login($asked, steps => ["load=$reference", 'pause', 'sign',
                                            'free', 'pause']);
spew($frozen, '');
pauses($server);
outside($asked, P11::Memory::find($server->{pid}, $pin), 0);
P11::Memory::go_on($server->{pid});
is_in_login($server, 1);
outside($asked, P11::Memory::find($server->{pid}, $pin), 0);
unlink $frozen;
pauses($server);
outside($asked, P11::Memory::find($server->{pid}, $pin), 0);
P11::Memory::go_on($server->{pid});
is(finish_server($server, 60), 0, 'a reference: ends well');

# A wrong one is gone when it has been refused.
for my $source (grep { !$_->{shown} } pin_sources($wrong, $wrong_file)) {
    my $key = key_of($source, $uri);
    $key =~ s/\?|$/;type=private$&/;
    my $server = frozen_login($source, steps => ["refused=$key", 'pause']);
    pauses($server);
    my $found = P11::Memory::find($server->{pid}, $wrong);
    # It cannot be read again: what was there is remembered.
    delete $found->{$kept} if $source->{as};
    is_deeply($found, {}, "$source->{name}: a wrong one is nowhere")
        or diag(explain($found));
    P11::Memory::go_on($server->{pid});
    is(finish_server($server, 60), 0, '… and the process ends well');
    my $said = slurp($server->{out}) . slurp($server->{err});
    like($said, qr/CKR_PIN_INCORRECT/, '… its error says why');
    unlike($said, qr/\Q$wrong\E/, '… without it');
}
# ---- a core

# The core, or undef. What is still being written is of a process that lives.
sub core_of {
    my ($place, $pid) = @_;
    kill 'ABRT', $pid;
    wait_for(60, sub {
        (eval { slurp("/proc/$pid/stat") } // ') Z') =~ /\) Z/;
    });
    my ($file) = glob "$place/*core*";
    return defined $file ? slurp($file) : undef;
}

sub child_of {
    my ($pid) = @_;
    my @children = split ' ', slurp("/proc/$pid/task/$pid/children");
    return $children[0];
}

sub dumps {
    my ($name, $place, $pid) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $bytes = core_of($place, $pid);
  SKIP: {
        skip('the system wrote no core', 3) if !defined $bytes;
        cmp_ok(length $bytes, '>', 100_000, "$name: a core");
        ok(index($bytes, $program) >= 0, '… with its arguments');
        ok(index($bytes, $pin) < 0, '… without the PIN');
    }
    return;
}

SKIP: {
    my $pattern = slurp('/proc/sys/kernel/core_pattern');
    skip("cores go elsewhere: $pattern", 1) if $pattern =~ m{^[|/]};
    # What OpenSSL keeps while it loads a key is in a core of that moment.
    my @rows = map { [$_, key_of($_, $_->{asked} ? $reference : $uri)] }
        @sources;
    for my $thread (sort keys %limits) {
        for my $row (@rows) {
            my ($source, $key) = @$row;
            my $place = "$dir/core-" . ++$n;
            mkdir $place or die "$place: $!\n";
            spew($frozen, '');
            my $server = frozen_login($source, settings => $limits{$thread},
                dir => $place, steps => ["load=$key", 'sign']);
            is_in_login($server, 1);
            dumps("$source->{name}, $thread", $place, $server->{pid});
            stop_server($server);
        }
    }
    # A child that has it from its parent.
    unlink $frozen;
    my $place = scratch('core-child');
    my $parent = frozen_login($asked, dir => $place,
        steps => ["load=$uri", qw(sign pause fork=1 [ sign ])]);
    pauses($parent);
    spew($frozen, '');
    P11::Memory::go_on($parent->{pid});
    is_in_login($parent, 2);
    my $child = child_of($parent->{pid});
    outside($asked, P11::Memory::find($child, $pin), 0);
    dumps('a child', $place, $child);
    unlink $frozen;
    stop_server($parent);
}

# ---- what it writes, and what it starts

my $others = 'cat /proc/$$/cmdline /proc/$$/environ /proc/$PPID/cmdline '
    . '/proc/$PPID/environ; ls -l /proc/$$/fd';
for my $source (@sources) {
    my $name = $source->{name};
    my $key = key_of($source, $uri);
    my %place = map { ($_ => "$dir/$_-" . ++$n) } qw(log children pem);
    my $env = source_env($token, $source);
    $env->{PKCS11_PROVIDER_DEBUG} = "file:$place{log},level:3";
    my $told = "run={ $others; } >>$place{children}";
    my $result = ok_run({ env => $env }, "$name: signs, and starts others",
        @{ $source->{as} // [] }, $program, @{ $source->{steps} // [] },
        "load=$key", 'sign', $told, 'fork=1', '[', 'sign', $told, ']');
    my $text = ok_openssl({ env => $env, as => $source->{as} },
        "$name: a reference", qw(pkey -text -in), $key, '-out', $place{pem},
        $source->{asked} ? ('-passin', "file:$file") : ());
    my %said = map { ($_ => slurp($place{$_})) } keys %place;
    $said{pem} =~ s{-----BEGIN PKCS.*?\n(.*?)-----END}{decode_base64($1)}es;
    $said{errors} = join '', map { $_->{out} . $_->{err} } $result, $text;
    for my $row ([log => qr/C_Login/], [children => qr/OPENSSL_CONF.*use_key/s],
                 [pem => qr/object=ec/], [errors => qr//]) {
        my ($what, $pattern) = @$row;
        like($said{$what}, $pattern, "… its $what is there");
        unlike($said{$what}, qr/\Q$pin\E/, '… without the PIN');
    }
    # A descriptor on it that a child has, is the application's.
    my @open = $said{children} =~ /-> \Q$file\E$/mg;
    is(scalar @open, $source->{as} ? 2 : 0, '… and no child has the file');
}

done_testing();
