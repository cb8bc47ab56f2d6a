# SPDX-License-Identifier: Apache-2.0
#
# A SoftHSM token in a folder of its own; nothing of the system is touched.
package P11::Token::SoftHSM;

use strict;
use warnings;

use parent 'P11::Token';

use P11::Test ();

my @modules = glob '/usr/lib*/softhsm/libsofthsm2.so '
    . '/usr/lib/*/softhsm/libsofthsm2.so '
    . '/usr/local/lib/softhsm/libsofthsm2.so';
my $count = 0;

sub module_file {
    return (grep { -e } @modules)[0];
}

sub missing {
    return 'SoftHSM is not installed'
        if !defined module_file() || !P11::Test::have('softhsm2-util');
    return;
}

# Options: label, pin, so_pin; mechanisms ("ALL", a list to allow, or "-A,B"
# to take away); reset_on_fork, removable (true or false); dir.
sub make {
    my ($class, %options) = @_;
    my $module = module_file();
    return if defined missing();

    my $dir = $options{dir} // P11::Test::scratch('softhsm' . ++$count);
    my $self = bless {
        dir    => $dir,
        module => $module,
        label  => $options{label} // 'tok',
        pin    => $options{pin} // '1234',
        so_pin => $options{so_pin} // '12345678',
        env    => { SOFTHSM2_CONF => "$dir/softhsm2.conf" },
    }, $class;
    mkdir "$dir/tokens";
    chmod 0700, "$dir/tokens" or die "$dir/tokens: $!\n";
    $self->write_softhsm_conf(%options);
    $self->add_token($self->{label});
    return $self;
}

sub write_softhsm_conf {
    my ($self, %options) = @_;
    my $mechanisms = $options{mechanisms} // 'ALL';
    # SoftHSM loses the first name of a list to take away.
    $mechanisms =~ s/^-/-CKM_NONE,/;
    P11::Test::spew("$self->{dir}/softhsm2.conf", join "\n",
        "directories.tokendir = $self->{dir}/tokens",
        'objectstore.backend = file',
        'log.level = ERROR',
        'slots.removable = ' . ($options{removable} // 'false'),
        "slots.mechanisms = $mechanisms",
        'library.reset_on_fork = ' . ($options{reset_on_fork} // 'false'),
        '');
}

# One more token in the same module.
sub add_token {
    my ($self, $label, $pin) = @_;
    my $result = P11::Test::run_in({ env => $self->{env} },
        P11::Test::have('softhsm2-util'), '--init-token', '--free',
        '--label', $label, '--so-pin', $self->{so_pin},
        '--pin', $pin // $self->{pin});
    if ($result->{status} != 0) {
        die "softhsm2-util made no token:\n$result->{out}$result->{err}";
    }
    return;
}

# For processes under another user: they read, write and lock the files.
sub open_to_all {
    my ($self) = @_;
    P11::Test::run('chmod', '-R', 'a+rwX', "$self->{dir}/tokens");
    chmod 0644, "$self->{dir}/softhsm2.conf";
    chmod 0755, $self->{dir};
    return;
}

1;
