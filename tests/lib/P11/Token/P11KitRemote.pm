# SPDX-License-Identifier: Apache-2.0
#
# A SoftHSM token in another process: p11-kit's server in front of it, and
# p11-kit's client as the module.
package P11::Token::P11KitRemote;

use strict;
use warnings;

use parent 'P11::Token';

use P11::Test ();
use P11::Token::SoftHSM;

my @modules = glob '/usr/lib*/pkcs11/p11-kit-client.so '
    . '/usr/lib/*/pkcs11/p11-kit-client.so';
my $count = 0;

sub missing {
    return 'p11-kit is not installed'
        if !grep { -e } @modules or !P11::Test::have('p11-kit');
    return defined P11::Token::SoftHSM::module_file() ? undef
        : 'SoftHSM is not installed';
}

# Options: as of SoftHSM, which is {behind}; later => 1: the server is not
# started yet.
sub make {
    my ($class, %options) = @_;
    return if defined missing();
    my $behind = P11::Token->make('SoftHSM', %options) // return;

    my $dir = P11::Test::scratch('remote' . ++$count);
    my $socket = "$dir/socket";
    my $self = bless {
        %$behind,
        dir    => $dir,
        module => (grep { -e } @modules)[0],
        behind => $behind,
        socket => $socket,
        env    => { P11_KIT_SERVER_ADDRESS => "unix:path=$socket" },
    }, $class;
    $self->start if !$options{later};
    return $self;
}

# The server, which has a process for each client, is one process group.
sub start {
    my ($self) = @_;
    my $behind = $self->{behind};
    unlink $self->{socket};
    my $server = $self->{server} = P11::Test::start_server(
        { env => $behind->env }, 'p11-kit', P11::Test::have('p11-kit'),
        'server', '-f', '--provider', $behind->module, '-n', $self->{socket},
        'pkcs11:');
    P11::Test::wait_for(60, sub { $self->is_listening })
        or die "p11-kit server: " . P11::Test::slurp($server->{err});
    return;
}

# The socket is there a moment before the server listens (the kernel's
# __SO_ACCEPTCON among its flags). Where that is not told it is taken for so.
sub is_listening {
    my ($self) = @_;
    return 0 if !-S $self->{socket};
    my $sockets = eval { P11::Test::slurp('/proc/net/unix') } // '';
    return $sockets eq ''
        || $sockets =~ /^\S+ \S+ \S+ \w*1\w{4} .* \Q$self->{socket}\E$/m;
}

# With the processes of its clients, which notice nothing before.
sub kill {
    my ($self) = @_;
    my $pid = $self->{server}{pid};
    CORE::kill 'KILL', -$pid;
    P11::Test::stop_server($self->{server}, 'KILL');
    return;
}

sub freeze { return CORE::kill 'STOP', -$_[0]{server}{pid} }
sub thaw { return CORE::kill 'CONT', -$_[0]{server}{pid} }

1;
