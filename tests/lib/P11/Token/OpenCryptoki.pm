# SPDX-License-Identifier: Apache-2.0
#
# The software token of openCryptoki. A machine has one, at paths that are
# compiled in, behind a daemon. A recipe that wants it runs in a world of its
# own, where those places are empty: nothing of the machine is touched, no other
# recipe is disturbed, and the daemon ends with the recipe.
package P11::Token::OpenCryptoki;

use strict;
use warnings;

use parent 'P11::Token';

use Cwd ();
use File::Spec;

use P11::Test ();

my @modules = glob '/usr/lib*/pkcs11/libopencryptoki.so '
    . '/usr/lib/*/pkcs11/libopencryptoki.so '
    . '/usr/lib*/opencryptoki/libopencryptoki.so';
my $slot = 3;           # of the software token, in the configuration as shipped
my $world = 'P11_OPENCRYPTOKI_WORLD';
# They are empty in there.
my @places = qw(/run /var/lib/opencryptoki /dev/shm /var/log/opencryptoki);

# What is mounted in there must not show outside. Where nothing is shared, it is
# left at that: in a root of another Debian it could not be changed.
sub unshare {
    my $shared = P11::Test::slurp('/proc/self/mountinfo') =~ / shared:/;
    return (qw(unshare --mount --ipc --pid --fork --kill-child --mount-proc
               --propagation), $shared ? 'private' : 'unchanged');
}

sub missing {
    return 'opencryptoki is not installed'
        if !grep { -e } @modules or !P11::Test::have('pkcsslotd');
    for my $program (qw(pkcsconf pkcs11-tool)) {
        return "$program is not installed" if !P11::Test::have($program);
    }
    return if $ENV{$world};
    return 'openCryptoki needs root: its daemon does' if $> != 0;
    my $try = P11::Test::run(unshare(), 'true');
    return $try->{status} == 0 ? undef
        : "openCryptoki needs namespaces of its own: $try->{err}";
}

# In a recipe, before modules that make things: with ':world' it goes on in a
# world of its own, where that can be had.
sub import {
    my ($class, @tags) = @_;
    enter_world() if grep { $_ eq ':world' } @tags;
    return;
}

sub enter_world {
    return if $ENV{$world} || defined missing();
    $ENV{$world} = 1;
    # The recipe's folder is to be seen in there.
    my $temporary = Cwd::abs_path(File::Spec->tmpdir);
    $ENV{TMPDIR} = '/tmp' if grep { "$temporary/" =~ m{^\Q$_\E/} }
        map { Cwd::abs_path($_) // () } @places;
    # What asked for the namespaces had a folder; END is not run here.
    rmdir P11::Test::scratch();
    exec unshare(), $^X, (map { "-I$_" } @INC), $0, @ARGV
        or die "unshare: $!\n";
}

sub must {
    my (@command) = @_;
    my $result = P11::Test::run(@command);
    if ($result->{status} != 0) {
        die "@command:\n$result->{out}$result->{err}";
    }
    return;
}

sub start_daemon {
    my $pid_file = '/run/pkcsslotd.pid';
    my @folders = map { "$_/swtok" } qw(/run/lock/opencryptoki
                                        /var/lib/opencryptoki);
    for my $place (grep { -d } @places) {
        must('mount', '-t', 'tmpfs', 'none', $place);
    }
    must('mkdir', '-p', '/run/opencryptoki', @folders,
         '/var/lib/opencryptoki/swtok/TOK_OBJ',
         '/var/lib/opencryptoki/HSM_MK_CHANGE');
    # Releases whose daemon drops root have a user for that.
    my $user = defined getpwnam('pkcsslotd') ? 'pkcsslotd' : 'root';
    my @own = grep { -d } '/run/lock/opencryptoki',
        map { "$_/opencryptoki" } qw(/run /var/lib /var/log);
    must('chown', '-R', "$user:pkcs11", @own);
    must('chmod', '-R', 'u=rwX,g=rwX,o=', @own);
    must(P11::Test::have('pkcsslotd'));
    P11::Test::wait_for(60, sub { -s $pid_file
                                  || -s "/run/opencryptoki/pkcsslotd.pid" })
        or die "pkcsslotd did not start\n";
    return;
}

# Options: none. One token a recipe.
sub make {
    my ($class) = @_;
    return if !$ENV{$world} || defined missing();

    my $self = bless {
        dir    => P11::Test::scratch('opencryptoki'),
        module => (grep { -e } @modules)[0],
        label  => 'ock',
        pin    => '13572468',
        so_pin => '76543210',
        # Releases that hash by OpenSSL look for its legacy provider.
        env    => { OPENSSL_MODULES => undef },
    }, $class;
    my @pkcsconf = (P11::Test::have('pkcsconf'), '-c', $slot);
    start_daemon();
    # 87654321 opens a token that is new; it wants its first PINs changed.
    must('pkcs11-tool', '--module', $self->{module}, '--slot', $slot,
         '--init-token', '--label', $self->{label}, '--so-pin', '87654321');
    must(@pkcsconf, '-P', '-S', '87654321', '-n', $self->{so_pin});
    must(@pkcsconf, '-u', '-S', $self->{so_pin}, '-n', '11111111');
    must(@pkcsconf, '-p', '-U', '11111111', '-n', $self->{pin});
    return $self;
}

1;
