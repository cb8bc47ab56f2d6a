# SPDX-License-Identifier: Apache-2.0
#
# The same on every token there is, local, strict and remote, with keys that are
# there: for recipes about processes and their ends. A recipe that uses it goes
# on in a world of its own first, as P11::Token::OpenCryptoki tells.
package P11::Everywhere;

use strict;
use warnings;

use P11::Token::OpenCryptoki ':world';

use Exporter 'import';
use Test::More ();

use P11::Test;
use P11::Token;
use P11::UseKey;

our @EXPORT = qw(on_every_token steps_on);

# inherits: a child may go on with what its parent had, and is logged in.
my @kinds = (
    { name => 'SoftHSM', backend => ['SoftHSM'], inherits => 1 },
    { name => 'SoftHSM that resets on fork',
      backend => ['SoftHSM', reset_on_fork => 'true'] },
    { name => 'NSS', backend => ['NSS'], inherits => 1 },
    { name => 'openCryptoki', backend => ['OpenCryptoki'] },
    { name => 'p11-kit in front of SoftHSM', backend => ['P11KitRemote'] },
);

# Keys as the token makes them: RSA, EC where it can; REF is a file.
sub keys_on {
    my ($token) = @_;
    my $mechanisms = $token->tool('--list-mechanisms')->{out};
    my %key = (RSA => $token->keypair('rsa:2048', 'rsa', '01'));
    $key{EC} = $mechanisms =~ /^ *ECDSA-KEY-PAIR-GEN/m
        ? $token->keypair('EC:prime256v1', 'ec', '02') : $key{RSA};
    $key{REF} = reference($token, $key{EC}, 'ref');
    return \%key;
}

# on_every_token(sub { my ($t) = @_; … }): a subtest for each kind, where $t has
#   name token inherits
#   key   { RSA, EC, REF }: two URIs (one twice, where there are no curves) and
#         the file of a reference to EC
#   how   to run use_key with
sub on_every_token {
    my ($act) = @_;
    for my $kind (@kinds) {
        Test::More::subtest($kind->{name} => sub {
            my ($backend, @options) = @{ $kind->{backend} };
            my $why = P11::Token->missing($backend);
            # These modules have faults of their own, which a sanitizer ends.
            $why //= "a sanitizer finds faults in the module of $backend"
                if sanitizer() && $backend =~ /^(?:OpenCryptoki|P11KitRemote)$/;
            Test::More::plan(skip_all => $why) if defined $why;
            my $token = P11::Token->make($backend, @options);
            $act->({ %$kind, token => $token, key => keys_on($token),
                     how => { env => $token->conf_env } });
            Test::More::done_testing();
        });
    }
    return;
}

# Steps of which RSA, EC and REF become "load=…" of that token.
sub steps_on {
    my ($t, @steps) = @_;
    return map { defined $t->{key}{$_} ? "load=$t->{key}{$_}" : $_ } @steps;
}

1;
