# SPDX-License-Identifier: Apache-2.0
#
# A server of the distribution under a recipe: in the foreground, on loopback
# ports, with its configuration in a folder of its own. P11::Nginx is one.
package P11::Daemon;

use strict;
use warnings;

use IO::Socket::INET;
use P11::Test ();

my $count = 0;

# Whom a server that is root's may give its workers to; undef: we are not root.
sub worker_user {
    return if $> != 0;
    return (grep { defined getpwnam $_ } qw(www-data nobody nginx))[0];
}

sub worker_group {
    my $user = worker_user() // return;
    return scalar getgrgid((getpwnam $user)[3]);
}

# P11::Daemon->new(name => 'apache', ports => N, env => { … }, how…):
#   stop       the signal that ends it [TERM]
#   complaint  pattern of lines that should not be in its log
#   ready      pattern of what its log says when it serves
# The command comes later, by set_command(): it names files in dir().
sub new {
    my ($class, %how) = @_;
    my $dir = P11::Test::scratch($how{name} . ++$count);
    return bless {
        env => {}, stop => 'TERM', complaint => qr/error/i, %how, dir => $dir,
        ports => [map { P11::Test::free_port() } 1 .. $how{ports} // 1],
    }, $class;
}

sub set_command {
    my ($self, @command) = @_;
    $self->{command} = \@command;
    return;
}

sub command { return (@{ $_[0]{command} }, @_[1 .. $#_]) }
sub dir { return $_[0]{dir} }
sub how { return { env => $_[0]{env} } }
sub master { return $_[0]{server}{pid} }
sub port { return $_[0]{ports}[$_[1] // 0] }
sub url { return 'https://127.0.0.1:' . port(@_) . '/' }

# What it wrote to the file "log" in its folder, and to stderr.
sub log {
    my ($self) = @_;
    my @files = grep { defined && -e } "$self->{dir}/log",
        $self->{server} ? @{ $self->{server} }{qw(out err)} : ();
    return join '', map { P11::Test::slurp($_) } @files;
}

sub answers {
    my ($self) = @_;
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                 PeerPort => $self->port, Timeout => 5);
}

# True when it listens.
sub start {
    my ($self) = @_;
    $self->{server} = P11::Test::start_server($self->how, $self->{name},
                                              $self->command);
    my $listens;
    P11::Test::wait_for(60, sub {
        $listens //= $self->answers;
        return !$self->lives || ($listens && $self->is_ready);
    });
    return $listens && $self->lives && $self->is_ready;
}

sub is_ready {
    my ($self) = @_;
    return !defined $self->{ready} || $self->log =~ $self->{ready};
}

# True until it has ended, whether or not somebody has waited for that.
sub lives {
    my ($self) = @_;
    open my $in, '<', '/proc/' . $self->master . '/stat' or return 0;
    return (<$in> // '') =~ /^\d+ \(.*\) [^ZX] /;
}

# Ends it. The wait status.
sub stop {
    my ($self) = @_;
    return P11::Test::stop_server($self->{server}, $self->{stop});
}

# The pids of its children.
sub workers {
    my ($self) = @_;
    my @pids;
    for my $file (glob '/proc/[0-9]*/stat') {
        open my $in, '<', $file or next;
        my $line = <$in> // next;
        # "pid (name) state ppid": of a process that has not ended
        push @pids, $1 if $line =~ /^(\d+) \(.*\) [^Z] (\d+)/
            && $2 == $self->master;
    }
    return @pids;
}

# Sends a signal that makes it read its configuration again. True when none of
# the children that it had is left, and there are others, within so many seconds
# (60).
sub renew {
    my ($self, $signal, $seconds) = @_;
    my %old = map { $_ => 1 } $self->workers;
    kill $signal, $self->master;
    return P11::Test::wait_for($seconds // 60, sub {
        my @now = $self->workers;
        return @now > 0 && !grep { $old{$_} } @now;
    });
}

# The libraries that a process has mapped, by a pattern.
sub has_mapped {
    my ($pid, $pattern) = @_;
    return scalar grep { $_ =~ $pattern }
        split /\n/, P11::Test::slurp("/proc/$pid/maps");
}

# Lines of the log that should not be there.
sub complaints {
    my ($self) = @_;
    return grep { $_ =~ $self->{complaint} } split /\n/, $self->log;
}

1;
