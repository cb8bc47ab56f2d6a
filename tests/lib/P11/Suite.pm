# SPDX-License-Identifier: Apache-2.0
#
# OpenSSL's own tests, run with us: what all suites of tests/openssl/check
# share. Each suite is a package P11::Suite::… with
#
#   targets(SUITE)   what OpenSSL's Makefile has to have built
#   run(SUITE)       runs it, and gives compare() what it found
package P11::Suite;

use strict;
use warnings;

use Fcntl qw(:flock);
use File::Path ();
use P11::Count;
use P11::Suite::Listed;
use P11::Suite::Tap;
use P11::Test ();
use P11::Token;

# P11::Suite->new(NAME, HOME, VERSION, ROWS…): HOME has OpenSSL's source/ and
# build/, ROWS are those of P11::Suite::Listed.
sub new {
    my ($class, $name, $home, $version, @rows) = @_;
    my $logs = P11::Test::builddir() . "/check-openssl.logs/$name";
    File::Path::remove_tree($logs);
    File::Path::make_path($logs);
    # One of a kind at a time: its folders below HOME have fixed names.
    open my $lock, '>', "$home/$name.lock" or die "$home/$name.lock: $!\n";
    flock $lock, LOCK_EX or die "$home/$name.lock: $!\n";
    forget_baseline("$home/baseline/$name", $class->targets($name));
    return bless { lock => $lock, name => $name, home => $home,
                   version => $version,
                   source => "$home/source", build => "$home/build",
                   logs => $logs, passed => 0, failed => [], listed => [],
                   broken => 0, calls => {}, notes => [],
                   rows => [P11::Suite::Listed::rows_of($name, $version,
                                                        @rows)] }, $class;
}

# What was wrong without us for want of a program is tried again where others
# are built for the suite than then.
sub forget_baseline {
    my ($dir, @targets) = @_;
    my $text = join "\n", sort(@targets), '';
    return if -e "$dir/TARGETS" && P11::Test::slurp("$dir/TARGETS") eq $text;
    File::Path::remove_tree($dir);
    File::Path::make_path($dir);
    P11::Test::spew("$dir/TARGETS", $text);
    return;
}

# Others may run it now.
sub unlock {
    my ($self) = @_;
    delete $self->{lock};
    return;
}

sub source { return $_[0]{source} }
sub build { return $_[0]{build} }

# The environment in which OpenSSL's Makefile runs its tests. TOP is the source
# tree or an overlay of it.
sub env {
    my ($self, $top) = @_;
    my $build = $self->build;
    return (SRCTOP => $top, BLDTOP => $build, PERL => $^X, EXE_EXT => '',
            NO_FIPS => 1,
            LD_LIBRARY_PATH => $build, OPENSSL_CONF => "$top/apps/openssl.cnf",
            OPENSSL_CONF_INCLUDE => "$build/test",
            OPENSSL_MODULES => "$build/providers",
            OPENSSL_ENGINES => "$build/engines",
            CTLOG_FILE => "$top/test/ct/log_list.cnf",
            TEST_CERTS_DIR => "$top/test/certs");
}

# Both outputs of a program. They are kept in files, by the name given.
sub output {
    my ($self, $name, $how, @command) = @_;
    my $result = P11::Test::run_in({ timeout => 540, %$how }, @command);
    my $ended = $result->{timeout} ? "not ok - it ended in time\n"
        : $result->{signal} ? "not ok - no signal $result->{signal}\n" : '';
    my $text = "$result->{out}$ended";
    P11::Test::spew("$self->{logs}/$name", $text);
    P11::Test::spew("$self->{logs}/$name.err",
                    "\$ $result->{command}\n$result->{err}");
    return ($text, $result->{err});
}

# The first of the outputs kept.
sub text {
    my ($self, $name) = @_;
    return P11::Test::slurp("$self->{logs}/$name");
}

# A file's text that a function makes, and that is kept with OpenSSL's build:
# what it says without us does not change.
sub baseline {
    my ($self, $name, $function) = @_;
    my $dir = "$self->{home}/baseline/$self->{name}";
    my $file = "$dir/$name";
    if (!-e $file) {
        File::Path::make_path($dir);
        P11::Test::spew("$file.new", $function->());
        rename "$file.new", $file or die "$file: $!\n";
    }
    return P11::Test::slurp($file);
}

# One file's results, without us and with us, as P11::Suite::Tap has them.
sub compare {
    my ($self, $file, $base, $result) = @_;
    my %base = P11::Suite::Tap::totals($base);
    my @differences = P11::Suite::Tap::differences($base, $result);
    $self->{broken} += $base{'not ok'};
    $self->{passed} += $base{ok} - grep { $_->[1] eq 'ok' } @differences;
    for my $difference (@differences) {
        my ($name, undef, $status) = @$difference;
        my $test = "$file: $name";
        my $row = P11::Suite::Listed::take($test, @{ $self->{rows} });
        my $kind = defined $row ? 'listed' : 'failed';
        push @{ $self->{$kind} }, "$test ($status)";
        print "  $kind: $test ($status)\n";
    }
    return;
}

# Rows of the table that nothing was found for: they are wrong by now.
sub unused {
    my ($self) = @_;
    return grep { !$_->{used} } @{ $self->{rows} };
}

sub note {
    my ($self, $note) = @_;
    push @{ $self->{notes} }, $note;
    print "  $note\n";
    return;
}

# A token, counted, and our settings for it: (token, count, settings…).
# Options: as of P11::Count.
sub counted {
    my ($self, %options) = @_;
    my $token = P11::Token->make('SoftHSM')
        // die P11::Token->missing('SoftHSM') . "\n";
    my $count = P11::Count->new($token, %options);
    return ($token, $count,
            'module' => P11::Test::module_file(),
            'pkcs11-module-path' => $count->module,
            'pkcs11-module-token-pin' => 'file:' . $token->pin_file);
}

# What the token did: these functions are shown, and those demanded have to
# have been called.
my @shown = qw(C_Sign C_Decrypt C_DeriveKey C_GenerateKeyPair);
sub done {
    my ($self, $count, %how) = @_;
    my $calls = $count->read;
    $self->{calls} = $calls;
    $self->note("wrong without us, too: $self->{broken}") if $self->{broken};
    for my $function ($ENV{P11_ONLY} ? () : @{ $how{demanded} // [] }) {
        next if $calls->{$function};
        push @{ $self->{failed} }, "the token did no $function";
        print "  failed: the token did no $function\n";
    }
    if ($how{untouched} && $count->total > 0) {
        my $text = P11::Count::text($calls);
        push @{ $self->{failed} }, "the token was touched: $text";
        print "  failed: the token was touched: $text\n";
    }
    return;
}

# The line of a suite.
sub summary {
    my ($self) = @_;
    my %n = map { $_ => scalar @{ $self->{$_} } } qw(failed listed);
    my $calls = join ', ', map { "$_ " . ($self->{calls}{$_} // 0) } @shown;
    return "$self->{name}: $self->{passed} passed, $n{failed} failed, "
        . "$n{listed} listed ($calls)";
}

# The same as a row of doc/openssl-suites.md.
sub figures {
    my ($self) = @_;
    my @calls = map { $self->{calls}{$_} // 0 } @shown;
    return '| ' . join(' | ', $self->{version}, $self->{name}, $self->{passed},
                       scalar @{ $self->{failed} },
                       scalar @{ $self->{listed} }, @calls) . ' |';
}

1;
