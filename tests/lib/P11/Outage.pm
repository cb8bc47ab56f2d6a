# SPDX-License-Identifier: Apache-2.0
#
# A dialogue with tests/c/outage_key, an application that goes on signing while
# its token comes and goes.
package P11::Outage;

use strict;
use warnings;

use IO::Handle ();
use IO::Select ();
use P11::Test ();
use POSIX ();
use Test::More ();
use Time::HiRes ();

my $program = P11::Test::builddir() . '/tests/c/outage_key';
my $count = 0;

# P11::Outage->new({ env => {…} }, KEY): runs, and has done nothing yet.
sub new {
    my ($class, $how, $key) = @_;
    my $err = sprintf '%s/outage-%d.err', P11::Test::scratch(), ++$count;
    pipe my $in, my $to or die "pipe: $!\n";
    pipe my $from, my $out or die "pipe: $!\n";
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        # A group of its own: what freezes or kills servers does not mean it.
        my %env = %{ $how->{env} // {} };
        $ENV{$_} = $env{$_} for keys %env;
        open STDIN, '<&', $in or POSIX::_exit(126);
        open STDOUT, '>&', $out or POSIX::_exit(126);
        open STDERR, '>', $err or POSIX::_exit(126);
        exec { $program } $program, $key or POSIX::_exit(127);
    }
    $to->autoflush(1);
    return bless { pid => $pid, owner => $$, to => $to, from => $from,
                   err => $err, rest => '' }, $class;
}

# P11::Outage->ready({ env => {…} }, KEY, NAME): one that has loaded the key and
# signed with it.
sub ready {
    my ($class, $how, $key, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $self = $class->new($how, $key);
    $self->done("$name: loaded", 'load');
    $self->done("$name: signs", 'sign');
    return $self;
}

# A line, or undef where none comes in so many seconds.
sub line {
    my ($self, $seconds) = @_;
    my $deadline = P11::Test::now() + $seconds;
    my $select = IO::Select->new($self->{from});
    my $end;
    while (($end = index $self->{rest}, "\n") < 0) {
        my $left = $deadline - P11::Test::now();
        return if $left <= 0 or !$select->can_read($left);
        sysread($self->{from}, $self->{rest}, 65536, length $self->{rest})
            or return;
    }
    my $line = substr $self->{rest}, 0, $end + 1, '';
    chomp $line;
    return $line;
}

# tell(COMMAND [, SECONDS]): { ok, said (the errors), took (seconds), and what
# the answer has as NAME=NUMBER }; ok is undef where there was no answer.
sub tell {
    my ($self, $command, $seconds) = @_;
    $self->ask($command);
    return $self->answer($seconds);
}

# The first half of that, and the second, of which a part may have come.
sub ask {
    my ($self, $command) = @_;
    local $SIG{PIPE} = 'IGNORE';
    $self->{asked} = P11::Test::now();
    $self->{to}->print("$command\n");
    return;
}

sub answer {
    my ($self, $seconds) = @_;
    my %answer = (said => '');
    while (defined(my $line = $self->line($seconds // 60))) {
        if ($line =~ s/(ok|failed)\.\z//) {
            $answer{ok} = $1 eq 'ok' ? 1 : 0;
            $answer{$1} = $2 while $line =~ /(\w+)=(\d+)/g;
            last;
        }
        $answer{said} .= "$line\n";
    }
    $answer{took} = P11::Test::now() - $self->{asked};
    return \%answer;
}

# done(NAME, COMMAND): it is answered by "ok".
sub done {
    my ($self, $name, $command, $seconds) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $answer = $self->tell($command, $seconds);
    Test::More::ok($answer->{ok}, $name) or $self->show($answer);
    return $answer;
}

# refused(NAME, PATTERN, COMMAND): by "failed", with one entry that matches.
sub refused {
    my ($self, $name, $pattern, $command, $seconds) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $answer = $self->tell($command, $seconds);
    Test::More::ok(defined $answer->{ok} && !$answer->{ok}
                   && $answer->{said} =~ $pattern, $name)
        or $self->show($answer);
    return $answer;
}

# Signs until it works; how many attempts were lost, or undef after so many
# seconds.
sub until_good {
    my ($self, $seconds) = @_;
    my $deadline = P11::Test::now() + $seconds;
    my $lost = 0;
    while (P11::Test::now() < $deadline) {
        my $answer = $self->tell('sign', $seconds);
        return if !defined $answer->{ok};
        return $lost if $answer->{ok};
        $lost++;
        Time::HiRes::sleep(0.02);
    }
    return;
}

# The threads that "threads N" has started: each signs, and none is refused.
# Looks get longer until each has signed in one, as slow as the machine may be.
sub all_well {
    my ($self, $name) = @_;
    my ($bad, $wrong, $answer) = (0, 0);
    for my $pause (0.5, 1, 2, 4, 8, 16) {
        Time::HiRes::sleep($pause);
        $answer = $self->tell('count');
        $bad += $answer->{bad} // 1;
        $wrong += $answer->{wrong} // 1;
        last if $bad || $wrong || $answer->{idle} == 0;
    }
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::is("$bad $wrong " . ($answer->{idle} // 'none'),
                          '0 0 0', "$name: none is refused, all sign")
        || $self->show($answer);
}

# After an outage, for so many seconds at most: until each has signed and none
# was refused in one look, so that what was under way has ended. In those before
# it they may be refused, but none signs wrongly.
sub all_back {
    my ($self, $name, $seconds) = @_;
    my $deadline = P11::Test::now() + $seconds;
    my ($wrong, $pause, $answer, $failing) = (0, 0.3);
    do {
        Time::HiRes::sleep($pause);
        $pause *= 1.3;
        $answer = $self->tell('count');
        $wrong += $answer->{wrong} // 1;
        $failing = ($answer->{bad} // 1) + ($answer->{idle} // 1);
    } while ($failing > 0 && P11::Test::now() < $deadline);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::is("$failing $wrong", '0 0', "$name: it comes back")
        || $self->show($answer);
}

sub show {
    my ($self, $answer) = @_;
    Test::More::diag(join ' ', map { "$_: " . ($answer->{$_} // 'none') }
                     sort keys %$answer);
    Test::More::diag('stderr: ' . P11::Test::slurp($self->{err}));
    return;
}

# Its input ends. The wait status, or undef where it did not end in so many
# seconds; took: how many it needed.
sub end {
    my ($self, $seconds) = @_;
    my $began = P11::Test::now();
    close $self->{to};
    my $status = P11::Test::reap(delete $self->{pid}, $seconds);
    $self->{took} = P11::Test::now() - $began;
    return $status;
}

# Its input ends, and so does it, with success, within so many seconds (20).
sub ends_well {
    my ($self, $name, $seconds) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $status = $self->end($seconds // 20);
    Test::More::is($status, 0, "$name: the application ends well")
        or Test::More::diag(P11::Test::slurp($self->{err}));
    return;
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $!);
    return if !defined $self->{pid} or $self->{owner} != $$;
    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
    return;
}

1;
