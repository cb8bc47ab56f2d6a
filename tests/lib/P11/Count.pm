# SPDX-License-Identifier: Apache-2.0
#
# Counts of Cryptoki calls, made by tests/c/count_module.c, which tells the
# layout of the file. Counts are taken while programs run: a read of eight
# aligned bytes is one count, whole.
package P11::Count;

use strict;
use warnings;

use File::Copy ();
use P11::Test ();

# In two halves: Perl warns of longer hexadecimal numbers.
my $magic = (0x31544e55 << 32) + 0x4f433131;
my $row_bytes = 64;
my $count = 0;

# Not part of a budget: how a module is opened, not what is done with it.
my %free = map { $_ => 1 } qw(C_GetFunctionList C_GetInfo);

# What the module can feign besides, as tests/c/count_pace.c, count_fault.c and
# count_lie.c tell.
my %feigned = map { ($_ => 'COUNT_' . uc) }
    qw(apart latency_us flags flags_off fail keypad_pin owner parent
       sessions
       manufacturer mechanisms lacks lie refuse one_opening x931
       freeze freeze_file device slow);

# P11::Count->new(TOKEN, OPTIONS…): counts what goes to its module. Options:
#   apart       1: the module gets libraries of its own, as in another process
#   latency_us  microseconds that each call takes longer
#   slow        'C_Sign=200000 …': that these take
#   own         1: settings are the module's own, not in the environment, so
#               that a process can have several such modules
#   flags       CKF_ bits that tokens show besides their own
#   flags_off   and those that they do not show
#   fail        'C_Login=0xa4 C_Sign#2=0x30 …': calls that fail, and how
#   keypad_pin  what is typed at the device when C_Login has no PIN
#   owner       1: no other process than the one that initialises it may call
#   parent      1: children of the process that opens it do not count
#   one_opening 1: no two threads may open sessions at once
#   sessions    how many can be open
#   manufacturer    of the module, which decides about its quirks
#   mechanisms  '0x1 0x3 …': what tokens offer, and nothing else
#   lacks       'C_GetSessionInfo …': functions that are not there
#   refuse      '0x10c …': attributes that no template for a key may have
#   x931        1: CKM_RSA_X9_31 is there, made of raw RSA
#   freeze      'C_Sign …': what does not return while there is a file
#   freeze_file of this name
#   device      a file that tells where the token is, tests/c/count_device.c
#   interfaces  1: it has a list of interfaces alone, functions of 3.0 in it
#   lie         '0x181=short C_FindObjects=more …': results that are made up
sub new {
    my ($class, $token, %options) = @_;
    my $file = P11::Test::scratch() . '/count-' . ++$count;
    # Processes under another user count too, and get here if nowhere else.
    my $module = "$file.so";
    my $which = delete $options{interfaces} ? 'count3-pkcs11' : 'count-pkcs11';
    File::Copy::copy(P11::Test::builddir() . "/tests/c/.libs/$which.so",
                     $module) or die "$module: $!\n";
    P11::Test::spew($file, '');
    chmod 0666, $file or die "$file: $!\n";
    my $self = bless { token => $token, module => $module, file => $file,
                       own => delete $options{own}, options => \%options },
                     $class;
    if ($self->{own}) {
        my %env = $self->settings;
        P11::Test::spew("$module.env",
                        join '', map { "$_=$env{$_}\n" } sort keys %env);
    }
    return $self;
}

sub module { return $_[0]{module} }

sub env {
    my ($self) = @_;
    return $self->{own} ? () : $self->settings;
}

sub settings {
    my ($self) = @_;
    return (COUNT_MODULE => $self->{token}->module,
            COUNT_FILE => $self->{file},
            map { ($feigned{$_} => $self->{options}{$_}) }
                sort keys %{ $self->{options} });
}

# A token like the one counted, but reached through the counting module.
sub token {
    my ($self) = @_;
    my $token = $self->{token};
    return bless { %$token, module => $self->{module},
                   env => { %{ $token->{env} }, $self->env } }, ref $token;
}

# { function → calls }, without those that are 0.
sub read {
    my ($self) = @_;
    my $bytes = P11::Test::slurp($self->{file});
    my %calls;

    return {} if length $bytes < 16;
    my ($found, $n) = unpack 'QQ', $bytes;
    # A process that has just begun is about to say what it is.
    return {} if $found == 0;
    die "$self->{file} is no file of counts\n" if $found != $magic;
    for my $i (0 .. $n - 1) {
        my ($name, $calls) =
            unpack 'Z56Q', substr $bytes, 16 + $i * $row_bytes, $row_bytes;
        $calls{$name} = $calls if $calls > 0;
    }
    return \%calls;
}

# How often one function was called.
sub calls {
    my ($self, $function) = @_;
    return $self->read->{$function} // 0;
}

# (NOW, MOST): how many calls of a function are under way, and how many ever
# were at once.
sub flight {
    my ($self, $function) = @_;
    my $bytes = P11::Test::slurp($self->{file});
    my ($found, $n) = length $bytes < 16 ? (0, 0) : unpack 'QQ', $bytes;
    return (0, 0) if $found != $magic;      # nobody has opened it yet
    for my $i (0 .. $n - 1) {
        my $name = unpack 'Z56', substr $bytes, 16 + $i * $row_bytes, 56;
        next if $name ne $function;
        return unpack 'LL', substr $bytes, 16 + $n * $row_bytes + $i * 8, 8;
    }
    die "$function is not counted\n";
}

# { function → how many of its calls said that they failed, or found nothing }
sub vain {
    my ($self) = @_;
    my $bytes = P11::Test::slurp($self->{file});
    my ($found, $n) = length $bytes < 16 ? (0, 0) : unpack 'QQ', $bytes;
    my %vain;
    return {} if $found != $magic;
    for my $i (0 .. $n - 1) {
        my $name = unpack 'Z56', substr $bytes, 16 + $i * $row_bytes, 56;
        $vain{$name} = unpack 'Q',
            substr $bytes, 16 + $n * ($row_bytes + 8) + $i * 8, 8;
    }
    return \%vain;
}

# All calls that budgets speak of.
sub total {
    my ($self) = @_;
    my $calls = $self->read;
    my $total = 0;
    for my $function (keys %$calls) {
        $total += $calls->{$function} if !$free{$function};
    }
    return $total;
}

# In the module's file, not a new one: programs that run have it mapped.
sub reset {
    my ($self) = @_;
    my $bytes = P11::Test::slurp($self->{file});
    return if length $bytes < 16;
    my (undef, $n) = unpack 'QQ', $bytes;
    open my $out, '+<:raw', $self->{file} or die "$self->{file}: $!\n";
    for my $i (0 .. $n - 1) {
        sysseek $out, 16 + $i * $row_bytes + 56, 0 or die "seek: $!\n";
        syswrite $out, pack 'Q', 0 or die "write: $!\n";
        sysseek $out, 16 + $n * $row_bytes + $i * 8 + 4, 0
            or die "seek: $!\n";
        syswrite $out, pack 'L', 0 or die "write: $!\n";
        sysseek $out, 16 + $n * ($row_bytes + 8) + $i * 8, 0
            or die "seek: $!\n";
        syswrite $out, pack 'Q', 0 or die "write: $!\n";
    }
    close $out;
    return;
}

sub difference {
    my ($before, $after) = @_;
    my %calls;
    for my $function (keys %$after) {
        my $n = $after->{$function} - ($before->{$function} // 0);
        $calls{$function} = $n if $n > 0;
    }
    return \%calls;
}

# What one act calls: the difference, by function.
sub during {
    my ($self, $act) = @_;
    my $before = $self->read;
    $act->();
    return difference($before, $self->read);
}

# The same, and what of it was in vain.
sub during_and_vain {
    my ($self, $act) = @_;
    my $vain = $self->vain;
    my $calls = $self->during($act);
    return ($calls, difference($vain, $self->vain));
}

# "C_Sign 1, C_SignInit 1": for messages.
sub text {
    my ($calls) = @_;
    return join ', ', map { "$_ $calls->{$_}" } sort keys %$calls;
}

1;
