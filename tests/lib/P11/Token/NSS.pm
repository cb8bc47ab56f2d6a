# SPDX-License-Identifier: Apache-2.0
#
# The software token of NSS, its database in a folder of its own. It wants text
# in C_Initialize, which pkcs11-tool cannot give; the counting module can.
package P11::Token::NSS;

use strict;
use warnings;

use parent 'P11::Token';

use P11::Test ();

my @modules = glob '/usr/lib*/libsoftokn3.so /usr/lib/*/libsoftokn3.so '
    . '/usr/lib*/nss/libsoftokn3.so /usr/lib/*/nss/libsoftokn3.so';
my $count = 0;

sub missing {
    return 'libnss3 is not installed' if !grep { -e } @modules;
    return P11::Test::have('certutil') ? undef
        : 'certutil (libnss3-tools) is not installed';
}

# Options: pin, '' for a token that wants none; iterations: of the function that makes keys from the PIN. By
# NSS's own number each signature of release 3.87 takes 40 ms; undef leaves it.
sub make {
    my ($class, %options) = @_;
    return if defined missing();

    my $dir = P11::Test::scratch('nss' . ++$count);
    my $n = exists $options{iterations} ? $options{iterations} : 1;
    my $self = bless {
        dir    => $dir,
        module => (grep { -e } @modules)[0],
        label  => 'NSS Certificate DB',
        pin    => $options{pin} // '12345678',
        env    => defined $n ? { NSS_MAX_MP_PBE_ITERATION_COUNT => $n,
                                 NSS_MIN_MP_PBE_ITERATION_COUNT => $n } : {},
        settings => { 'pkcs11-module-init-args' =>
            "configdir='sql:$dir/db' certPrefix='' keyPrefix='' "
            . "secmod='secmod.db' flags=" },
    }, $class;
    $self->{tool_module} = P11::Test::builddir()
        . '/tests/c/.libs/count-pkcs11.so';
    $self->{tool_env} = {
        %{ $self->{env} },
        COUNT_MODULE => $self->{module},
        COUNT_INIT_ARGS => $self->{settings}{'pkcs11-module-init-args'},
    };
    mkdir "$dir/db", 0700 or die "$dir/db: $!\n";
    $self->certutil('-N', length $self->{pin} ? ('-f', $self->pin_file)
                                              : '--empty-password');
    return $self;
}

sub certutil {
    my ($self, $command, @arguments) = @_;
    my $result = P11::Test::run_in({ env => $self->{env} },
        P11::Test::have('certutil'), $command, '-d', "sql:$self->{dir}/db",
        @arguments);
    if ($result->{status} != 0) {
        die "certutil $command:\n$result->{out}$result->{err}";
    }
    return;
}

# A certificate in DER. NSS gives it a CKA_ID of its own.
sub add_certificate {
    my ($self, $file, $label, $id) = @_;
    $self->certutil('-A', '-n', $label, '-t', ',,', '-i', $file);
    return $self->uri(object => $label, type => 'cert');
}

1;
