# SPDX-License-Identifier: Apache-2.0
#
# What recipes need beside Test::More: running commands and judging them,
# scratch folders, servers in the background.
package P11::Test;

use strict;
use warnings;

use Cwd ();
use Exporter 'import';
use File::Basename ();
use File::Spec;
use File::Temp ();
use POSIX ();
use Socket ();
use Test::More ();
use Time::HiRes ();

our @EXPORT = qw(
    top builddir module_file sanitizer figure scratch slurp spew
    run run_in ok_run fails_with openssl ok_openssl openssl_fails
    openssl_refuses refusals note_refusal
    start_server stop_server finish_server accepts wait_for soon_like
    free_port
    have needs needs_ssl start_jobs finish_jobs
);

my $top = $ENV{P11_TOP}
    // Cwd::abs_path(File::Basename::dirname(__FILE__) . '/../../..');
my $builddir = $ENV{P11_BUILDDIR} // $top;
my $scratch;
my %servers;        # pid → name
my %running;        # pid → 1: what run_in() waits for
my @refusals;       # [name, entry]
my $owner = $$;

# Programs of the distribution do not know of sanitizers: their runtime has to
# be loaded first. Leaks are looked for in our own programs only.
my %distribution_env = defined $ENV{P11_SANITIZER_RUNTIME}
    ? (LD_PRELOAD => $ENV{P11_SANITIZER_RUNTIME},
       ASAN_OPTIONS => join(':', grep { length } $ENV{ASAN_OPTIONS} // '',
                            'detect_leaks=0'))
    : ();

# A recipe that is interrupted comes to its END, which ends its servers and
# removes its folder. In a world of its own it is process 1, which no signal
# ends that it does not handle.
my @interrupts = grep { ($SIG{$_} // '') ne 'IGNORE' } qw(INT TERM HUP);
$SIG{$_} = \&interrupted for @interrupts;

sub interrupted {
    my ($name) = @_;
    exit 130 if $$ == $owner;
    # A child that a recipe has made by itself.
    $SIG{$name} = 'DEFAULT';
    kill $name, $$;
    return;
}

# In a child: signals end it as they do any process.
sub interrupt_as_usual {
    $SIG{$_} = 'DEFAULT' for @interrupts;
    return;
}

sub top { return $top }
sub builddir { return $builddir }

# The provider as it was built.
sub module_file { return "$builddir/.libs/pkcs11.so" }

# What it was built with: "address", "thread" or "".
sub sanitizer { return $ENV{P11_SANITIZER} // '' }

# What was measured: a long run prints it, prove or not.
sub figure {
    my ($text) = @_;
    return $ENV{P11_LONG} ? Test::More::diag("figure: $text")
                          : Test::More::note($text);
}

# A folder of this recipe's own, removed at its end; kept where KEEP is set.
sub scratch {
    my ($name) = @_;
    if (!defined $scratch) {
        $scratch = File::Temp::tempdir('p11-XXXXXXXX', TMPDIR => 1,
                                       CLEANUP => !$ENV{KEEP});
        chmod 0755, $scratch or die "$scratch: $!\n";
        Test::More::diag("scratch folder: $scratch") if $ENV{KEEP};
    }
    return $scratch if !defined $name;
    my $dir = "$scratch/$name";
    if (!-d $dir) {
        mkdir $dir or die "$dir: $!\n";
    }
    return $dir;
}

sub slurp {
    my ($path) = @_;
    open my $in, '<:raw', $path or die "$path: $!\n";
    local $/;
    my $text = <$in>;
    return $text // '';
}

sub spew {
    my ($path, $text) = @_;
    open my $out, '>:raw', $path or die "$path: $!\n";
    print {$out} $text;
    close $out or die "$path: $!\n";
    return $path;
}

sub have {
    my ($program) = @_;
    for my $dir (File::Spec->path, '/usr/sbin', '/sbin') {
        return "$dir/$program" if -x "$dir/$program";
    }
    return;
}

# Skips the whole recipe where a program is missing.
sub needs {
    for my $program (@_) {
        Test::More::plan(skip_all => "$program is not installed")
            if !have($program);
    }
}

# Likewise where one of ours in tests/c was not built, for want of libssl.
sub needs_ssl {
    for my $program (@_) {
        Test::More::plan(skip_all =>
                         'libssl was not found when this was configured')
            if !-x "$builddir/tests/c/$program";
    }
}

sub is_ours {
    my ($program) = @_;
    return index($program, "$builddir/") == 0;
}

# In the child: the environment, the descriptors, the program.
sub become {
    my ($how, $out, $err, @command) = @_;
    my %env = (is_ours($command[0]) ? () : %distribution_env,
               %{ $how->{env} // {} });

    interrupt_as_usual();
    for my $name (keys %env) {
        if (defined $env{$name}) {
            $ENV{$name} = $env{$name};
        } else {
            delete $ENV{$name};
        }
    }
    if (defined $how->{dir}) {
        chdir $how->{dir} or POSIX::_exit(126);
    }
    open STDIN, '<', $how->{stdin_file} // '/dev/null' or POSIX::_exit(126);
    open STDOUT, '>', $out or POSIX::_exit(126);
    open STDERR, '>', $err or POSIX::_exit(126);
    no warnings 'exec';
    exec { $command[0] } @command or do {
        print STDERR "$command[0]: $!\n";
        POSIX::_exit(127);
    };
}

# Seconds, by a clock that nobody sets.
sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

# Waits for a child, at most so many seconds. Its wait status, or undef after
# having killed it.
sub reap {
    my ($pid, $seconds) = @_;
    my $deadline = now() + $seconds;
    my $nap = 0.001;

    while (waitpid($pid, POSIX::WNOHANG()) == 0) {
        if (now() > $deadline) {
            kill 'KILL', $pid;
            waitpid $pid, 0;
            return;
        }
        Time::HiRes::sleep($nap);
        $nap *= 2 if $nap < 0.05;
    }
    return $?;
}

# run_in({ how }, COMMAND…): how may have env (undef takes a variable away),
# dir, stdin (text), stdin_file, timeout (seconds, 300: nothing takes so long,
# but machines are slow, and sanitizers make them slower).
# Returns { command, status, signal, out, err, timeout, seconds }.
my $run_count = 0;
sub run_in {
    my ($how, @command) = @_;
    my $base = sprintf '%s/run-%d-%d', scratch(), $$, ++$run_count;
    my $began = now();
    my %how = %$how;

    if (defined $how{stdin}) {
        $how{stdin_file} = spew("$base.in", $how{stdin});
    }
    my $pid = fork // die "fork: $!\n";
    become(\%how, "$base.out", "$base.err", @command) if $pid == 0;
    $running{$pid} = 1;
    my $status = reap($pid, $how{timeout} // 300);
    delete $running{$pid};
    my %result = (
        command => join(' ', @command),
        status  => defined $status ? $status >> 8 : -1,
        signal  => defined $status ? $status & 127 : 9,
        timeout => !defined $status,
        out     => slurp("$base.out"),
        err     => slurp("$base.err"),
        seconds => now() - $began,
    );
    unlink glob "$base.*";
    return \%result;
}

sub run { return run_in({}, @_) }

sub show {
    my ($result) = @_;
    my $ended = $result->{timeout} ? 'did not end in time'
        : $result->{signal} ? "ended by signal $result->{signal}"
        : "exit status $result->{status}";
    Test::More::diag("$result->{command}\n$ended");
    for my $what (qw(out err)) {
        my $text = $result->{$what};
        $text = substr($text, 0, 4000) . "\n…" if length $text > 4000;
        Test::More::diag("$what: $text") if length $text;
    }
    return $result;
}

sub split_how {
    my $how = ref $_[0] eq 'HASH' ? shift : {};
    return ($how, @_);
}

# ok_run([{ how },] NAME, COMMAND…): exit status 0, no signal. The result.
sub ok_run {
    my ($how, $name, @command) = split_how(@_);
    my $result = run_in($how, @command);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Test::More::ok($result->{status} == 0 && $result->{signal} == 0, $name)
        or show($result);
    return $result;
}

# fails_with([{ how },] NAME, PATTERN(S), COMMAND…): an exit status that is
# neither 0 nor a crash, and every pattern is in what it says.
sub fails_with {
    my ($how, $name, $patterns, @command) = split_how(@_);
    my @patterns = ref $patterns eq 'ARRAY' ? @$patterns : ($patterns);
    my $result = run_in($how, @command);
    my $said = $result->{out} . $result->{err};
    my @unsaid = grep { $said !~ $_ } @patterns;
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $ok = $result->{status} > 0 && $result->{signal} == 0 && !@unsaid;
    Test::More::ok($ok, $name) or do {
        show($result);
        Test::More::diag("not said: $_") for @unsaid;
    };
    return $result;
}

# openssl([{ how },] COMMAND, ARGUMENTS…); how may have providers => [NAMES],
# which are put behind the command, with where to find ours, and as =>
# [COMMAND…], which runs the openssl command.
sub openssl_command {
    my ($how, $command, @arguments) = @_;
    my @providers = map { ('-provider', $_) } @{ $how->{providers} // [] };
    my %env = (OPENSSL_MODULES => "$builddir/.libs", %{ $how->{env} // {} });
    # OPENSSL_MODULES replaces the only place that is searched: modules of
    # OpenSSL's own (legacy) are not needed here; default and base are built in.
    return ({ %$how, env => \%env },
            @{ $how->{as} // [] }, have('openssl') // 'openssl', $command,
            @providers, @arguments);
}

sub openssl {
    my ($how, @arguments) = split_how(@_);
    my ($new_how, @command) = openssl_command($how, @arguments);
    return run_in($new_how, @command);
}

sub ok_openssl {
    my ($how, $name, @arguments) = split_how(@_);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($new_how, @command) = openssl_command($how, @arguments);
    return ok_run($new_how, $name, @command);
}

sub openssl_fails {
    my ($how, $name, $patterns, @arguments) = split_how(@_);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($new_how, @command) = openssl_command($how, @arguments);
    return fails_with($new_how, $name, $patterns, @command);
}

# openssl_refuses([{ how },] NAME, PATTERN(S), ARGUMENTS…): it fails with one
# entry of ours on the error queue, no more, and every pattern is in that one.
# The result has it as "entry".
sub openssl_refuses {
    my ($how, $name, $patterns, @arguments) = split_how(@_);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($new_how, @command) = openssl_command($how, @arguments);
    my $result = run_in($new_how, @command);
    my @entries = grep { /:pkcs11:/ } split /\n/, $result->{err};
    my @patterns = ref $patterns eq 'ARRAY' ? @$patterns : ($patterns);
    my $entry = $result->{entry} = $entries[0] // '';
    note_refusal($name, $entry);
    my @unsaid = grep { $entry !~ $_ } @patterns;

    Test::More::ok($result->{status} > 0 && $result->{signal} == 0
                   && @entries == 1 && !@unsaid, $name) or do {
        show($result);
        Test::More::diag(@entries . ' entries are ours, not 1')
            if @entries != 1;
        Test::More::diag("not said: $_") for @unsaid;
    };
    return $result;
}

# What openssl_refuses() has seen so far: [NAME, ENTRY] each. P11::Errors
# compares it with doc/errors.md; a recipe may add what another program said.
sub refusals { return @refusals }

sub note_refusal {
    my ($name, $entry) = @_;
    push @refusals, [$name, $entry];
    return;
}

# start_server([{ how },] NAME, COMMAND…): in the background, in a process
# group of its own. { pid, out, err, name }: out and err are files.
sub start_server {
    my ($how, $name, @command) = split_how(@_);
    my $base = sprintf '%s/server-%d-%s', scratch(), ++$run_count, $name;
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        setpgrp 0, 0;
        become($how, "$base.out", "$base.err", @command);
    }
    $servers{$pid} = $name;
    return { pid => $pid, name => $name,
             out => "$base.out", err => "$base.err" };
}

# Ends it: by TERM (or the signal given), after 60 seconds by KILL. The wait
# status, or undef where it had to be killed.
sub stop_server {
    my ($server, $signal) = @_;
    my $pid = $server->{pid};
    return if !delete $servers{$pid};
    kill $signal // 'TERM', $pid;
    my $status = reap($pid, 60);
    kill 'KILL', -$pid;         # what it may have left behind
    return $status;
}

# finish_server(SERVER, SECONDS): it ends by itself. The wait status, or undef
# where it had to be killed.
sub finish_server {
    my ($server, $seconds) = @_;
    my $pid = $server->{pid};
    my $status = reap($pid, $seconds);
    delete $servers{$pid};
    kill 'KILL', -$pid;
    return $status;
}

# start_jobs(N, sub { … }): N processes at once; each calls it with its number
# and ends with the exit status that it returns.
sub start_jobs {
    my ($n, $job) = @_;
    my @pids;
    for my $i (1 .. $n) {
        my $pid = fork // die "fork: $!\n";
        if ($pid == 0) {
            # Not the parent's: its servers and its folder stay.
            interrupt_as_usual();
            POSIX::_exit(eval { $job->($i) } // 255);
        }
        push @pids, $pid;
    }
    return @pids;
}

# Their exit statuses: -1 for one that took longer and was killed.
sub finish_jobs {
    my ($seconds, @pids) = @_;
    return map { my $status = reap($_, $seconds);
                 defined $status ? ($status & 127) || $status >> 8 : -1 } @pids;
}

# Asks every 20 ms until it is true; false after so many seconds.
sub wait_for {
    my ($seconds, $question) = @_;
    my $deadline = now() + $seconds;
    while (!$question->()) {
        return 0 if now() > $deadline;
        Time::HiRes::sleep(0.02);
    }
    return 1;
}

# True when that server, openssl's s_server, takes connections.
sub accepts {
    my ($server) = @_;
    return 1 if wait_for(60, sub { -e $server->{out}
                                   && slurp($server->{out}) =~ /^ACCEPT/m });
    Test::More::diag('no ACCEPT: ', slurp($server->{err}));
    return 0;
}

# soon_like(sub { TEXT }, PATTERN, NAME): what somebody writes matches, soon:
# what a server logs is there after the client has seen the failure.
sub soon_like {
    my ($text, $pattern, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    wait_for(60, sub { $text->() =~ $pattern });
    return Test::More::like($text->(), $pattern, $name);
}

# A loopback port for one server of this recipe. It stays bound here, without
# a listener, so that the kernel gives it to nobody else until the recipe ends;
# who asks for it by number, with SO_REUSEADDR as servers do, gets it.
my @bound;
sub free_port {
    socket my $socket, Socket::PF_INET(), Socket::SOCK_STREAM(), 0
        or die "socket: $!\n";
    setsockopt $socket, Socket::SOL_SOCKET(), Socket::SO_REUSEADDR(), 1
        or die "SO_REUSEADDR: $!\n";
    bind $socket, Socket::pack_sockaddr_in(0, Socket::INADDR_LOOPBACK())
        or die "no free port: $!\n";
    push @bound, $socket;
    return (Socket::unpack_sockaddr_in(getsockname $socket))[0];
}

END {
    if ($$ == $owner) {
        local $?;
        kill 'KILL', keys %running;
        kill 'KILL', -$_, $_ for keys %servers;
        waitpid $_, 0 for keys %servers;
    }
}

1;
