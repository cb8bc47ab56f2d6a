# SPDX-License-Identifier: Apache-2.0
#
# A token for a recipe, and how programs get to it. Back ends are below
# P11::Token::; each makes the token and says:
#
#   module      file of the PKCS#11 module
#   label pin so_pin
#   env         { variables that the module needs }
#   settings    { settings that it needs beside path and PIN }
#   tool_module tool_env    [module, env] for pkcs11-tool
#   missing     a function: why it cannot be had here, or undef
package P11::Token;

use strict;
use warnings;

use P11::Test ();

# P11::Token->make(BACKEND, OPTIONS…): a new token, or undef where the back end
# is not installed.
sub make {
    my ($class, $backend, @options) = @_;
    return package_of($backend)->make(@options);
}

sub package_of {
    my ($backend) = @_;
    my $package = "P11::Token::$backend";
    (my $file = "$package.pm") =~ s{::}{/}g;
    require $file;
    return $package;
}

# Why there can be no such token; undef: there can.
sub missing {
    my ($class, $backend) = @_;
    return package_of($backend)->can('missing')->();
}

# Skips the whole recipe where there is no such token.
sub needs {
    my ($class, $backend, @options) = @_;
    my $token = $class->make($backend, @options);
    if (!defined $token) {
        my $why = $class->missing($backend) // "no token of $backend";
        Test::More::plan(skip_all => $why);
    }
    return $token;
}

sub module { return $_[0]{module} }
sub label { return $_[0]{label} }
sub pin { return $_[0]{pin} }
sub dir { return $_[0]{dir} }

# A file with the PIN and a newline, for its owner only.
sub pin_file {
    my ($self) = @_;
    my $path = "$self->{dir}/pin";
    if (!-e $path) {
        P11::Test::spew($path, "$self->{pin}\n");
        chmod 0600, $path or die "$path: $!\n";
    }
    return $path;
}

# The environment: of the module, and without p11-kit's other modules.
sub env {
    my ($self, %more) = @_;
    return { %{ $self->{env} }, %more };
}

# uri(ATTRIBUTES…): uri(object => 'key', type => 'private')
sub uri {
    my ($self, @attributes) = @_;
    my @path;
    unshift @attributes, token => $self->{label};
    while (my ($name, $value) = splice @attributes, 0, 2) {
        $value =~ s{([^A-Za-z0-9._~%-])}{sprintf '%%%02X', ord $1}ge;
        push @path, "$name=$value";
    }
    return 'pkcs11:' . join ';', @path;
}

# Writes an openssl.cnf with this token's module and the settings given:
#   settings    { 'pkcs11-module-…' => value }: undef leaves one out
#   providers   [qw(default pkcs11)]: in the order of activation
#   inactive    1: ours is loaded by who names it, with these settings
#   properties  default property query
#   file        its name [openssl.cnf]
#   also        [TOKENS]: whose modules come behind this one's, in sections of
#               their own; with their PINs, but where a token's "asks" is set
# By default module path and PIN (by file) are set. The name of the file.
sub write_conf {
    my ($self, %how) = @_;
    my @also = @{ $how{also} // [] };
    my %settings = (
        (map { ("module$_" => "module${_}_section") } 1 .. @also),
        'pkcs11-module-path'      => $self->{module},
        'pkcs11-module-token-pin' => 'file:' . $self->pin_file,
        %{ $self->{settings} // {} },
        %{ $how{settings} // {} },
    );
    my @providers = @{ $how{providers} // [qw(default pkcs11)] };
    my $text = "openssl_conf = init\n\n[init]\nproviders = providers\n";

    if (defined $how{properties}) {
        $text .= "alg_section = algorithms\n\n[algorithms]\n"
            . "default_properties = $how{properties}\n";
    }
    $text .= "\n[providers]\n";
    $text .= "$_ = ${_}_section\n" for @providers;
    for my $name (grep { $_ ne 'pkcs11' } @providers) {
        $text .= "\n[${name}_section]\nactivate = 1\n";
    }
    if (grep { $_ eq 'pkcs11' } @providers) {
        $text .= "\n[pkcs11_section]\nmodule = "
            . P11::Test::module_file() . "\n";
        for my $key (sort keys %settings) {
            next if !defined $settings{$key};
            $text .= "$key = $settings{$key}\n";
        }
        $text .= "activate = 1\n" if !$how{inactive};
    }
    $text .= $also[$_ - 1]->module_section("module${_}_section")
        for 1 .. @also;
    # req wants a section of its own, even if it is empty.
    $text .= "\n[req]\ndistinguished_name = name\n\n[name]\n";
    my $path = "$self->{dir}/" . ($how{file} // 'openssl.cnf');
    return P11::Test::spew($path, $text);
}

sub module_section {
    my ($self, $name) = @_;
    my $args = ($self->{settings} // {})->{'pkcs11-module-init-args'};
    return "\n[$name]\npath = $self->{module}\n"
        . (defined $args ? "init-args = $args\n" : '')
        . ($self->{asks} ? '' : 'token-pin = file:' . $self->pin_file . "\n");
}

# The environment for programs that read openssl.cnf: made by write_conf().
sub conf_env {
    my ($self, %how) = @_;
    return $self->env(OPENSSL_CONF => $self->write_conf(%how));
}

# The environment of a program that is given "-provider pkcs11" and no file.
sub bare_env {
    my ($self) = @_;
    my $empty = P11::Test::spew("$self->{dir}/empty.cnf",
        "[req]\ndistinguished_name = name\n\n[name]\n");
    return $self->env(
        OPENSSL_CONF => $empty,
        OPENSSL_MODULES => P11::Test::builddir() . '/.libs',
        PKCS11_PROVIDER_MODULE => $self->{module});
}

# pkcs11-tool on this token, logged in. The result as of P11::Test::run().
sub tool {
    my ($self, @arguments) = @_;
    return P11::Test::run_in({ env => $self->{tool_env} // $self->env },
        'pkcs11-tool', '--module', $self->{tool_module} // $self->{module},
        '--token-label', $self->{label},
        '--login', '--pin', $self->{pin}, @arguments);
}

# keypair(TYPE, LABEL, ID-in-hex, OPTIONS…): as pkcs11-tool names them,
# rsa:2048 or EC:prime256v1. Dies where the token does not make it.
sub keypair {
    my ($self, $type, $label, $id, @options) = @_;
    my $result = $self->tool('--keypairgen', '--key-type', $type,
                             '--label', $label, '--id', $id, @options);
    if ($result->{status} != 0) {
        die "pkcs11-tool made no $type key:\n$result->{err}";
    }
    return $self->uri(object => $label);
}

# A certificate, a file in DER, with a label and an id in hex. Its URI.
sub add_certificate {
    my ($self, $file, $label, $id) = @_;
    my $result = $self->tool('--write-object', $file, '--type', 'cert',
                             '--label', $label, '--id', $id);
    if ($result->{status} != 0) {
        die "pkcs11-tool wrote no certificate:\n$result->{err}";
    }
    return $self->uri(object => $label, type => 'cert');
}

1;
