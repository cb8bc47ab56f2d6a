# SPDX-License-Identifier: Apache-2.0
#
# What is in the memory of another process, which we may read as its parent:
# secrets that ought to be wiped.
package P11::Memory;

use strict;
use warnings;
no warnings 'portable';         # addresses have more than 32 bits

use POSIX ();

use P11::Test ();

# Largest piece that is read at once; what is looked for may lie across.
my $piece = 1 << 22;

# The writable mappings: [{ from, to, name, flags }], flags as of proc(5)'s
# VmFlags: "lo" is locked, "dd" left out of core dumps.
sub mappings {
    my ($pid) = @_;
    my @maps;
    for my $line (split /\n/, P11::Test::slurp("/proc/$pid/smaps")) {
        if ($line =~ /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)/) {
            push @maps, { from => hex $1, to => hex $2, rights => $3,
                          name => $4, flags => '' };
        } elsif ($line =~ /^VmFlags:\s*(.*)/) {
            $maps[-1]{flags} = " $1 ";
        }
    }
    return grep { $_->{rights} =~ /^rw/ } @maps;
}

sub read_at {
    my ($memory, $at, $n) = @_;
    my $bytes = '';
    sysseek $memory, $at, 0 or return '';
    sysread $memory, $bytes, $n;
    return $bytes // '';
}

# How often a text is in one mapping.
sub times_in {
    my ($memory, $map, $text) = @_;
    my $n = 0;
    for (my $at = $map->{from}; $at < $map->{to}; $at += $piece) {
        my $size = $map->{to} - $at;
        $size = $piece if $size > $piece;
        my $more = $at + $size < $map->{to} ? length($text) - 1 : 0;
        my $bytes = read_at($memory, $at, $size + $more);
        for (my $i = 0; ($i = index $bytes, $text, $i) >= 0; $i++) {
            $n++;
        }
    }
    return $n;
}

# find(PID, TEXT): "locked, not dumped", "[heap]", "[stack]", a file's name or
# "anonymous" => how often it is there.
sub find {
    my ($pid, $text) = @_;
    my %found;
    open my $memory, '<:raw', "/proc/$pid/mem"
        or die "/proc/$pid/mem: $!\n";
    for my $map (mappings($pid)) {
        my $n = times_in($memory, $map, $text) or next;
        my $kept = $map->{flags} =~ / dd /
            ? $map->{flags} =~ / lo / ? 'locked, not dumped' : 'not dumped'
            : length $map->{name} ? $map->{name} : 'anonymous';
        $found{$kept} += $n;
    }
    return \%found;
}

# Why memory of a child cannot be read here, or undef.
sub missing {
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        sleep 60;
        exit 0;
    }
    my $found = eval { find($pid, 'P11::Memory') };
    my $why = $@;
    kill 'KILL', $pid;
    waitpid $pid, 0;
    return defined $found ? undef : "memory of a child cannot be read: $why";
}

# Waits until a child stops: use_key's step "pause". False: it has ended.
sub wait_until_stopped {
    my ($pid) = @_;
    # Each stop is told once, so an earlier one is not taken for this.
    P11::Test::wait_for(60, sub {
        waitpid($pid, POSIX::WNOHANG() | POSIX::WUNTRACED()) != 0;
    });
    my $stat = eval { P11::Test::slurp("/proc/$pid/stat") } // '';
    return $stat =~ /\) T /;
}

# And goes on to its next pause, or to its end.
sub go_on {
    my ($pid) = @_;
    kill 'CONT', $pid;
    return;
}

1;
