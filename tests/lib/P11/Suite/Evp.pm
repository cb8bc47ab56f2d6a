# SPDX-License-Identifier: Apache-2.0
#
# evp_test with its data files, and us preferred (?provider=pkcs11).
#
#   evp      the private keys of the data are in the token
#   import   they are imported from the data, so that no token has to be asked
package P11::Suite::Evp;

use strict;
use warnings;

use parent 'P11::Suite';

use P11::Suite::Keys;
use P11::Suite::Overlay;
use P11::Suite::Tap;
use P11::Test ();

my @token_files = map { "evppkey_$_.txt" }
    qw(rsa_common rsa rsa_sigalg ecdsa ecdsa_sigalg ecdh ecc brainpool kas
       mismatch);
# What evp_test says of a test that went wrong.
my $wrong = qr/Source\ of\ above|Succeeded\ but|Expected|Test\ is\ missing
              |\w+\ error/x;

sub targets { return ('test/evp_test', 'providers/legacy.so') }

sub run {
    my ($self) = @_;
    my $in_token = $self->{name} eq 'evp';
    # evp_test leaves the default library context without a hash: a module that
    # hashes by OpenSSL wants one of its own. (Behind p11-kit's server it would
    # have it, too, but the server of 0.24 lets no ECDH pass.)
    my ($token, $count, %settings) = $self->counted(apart => 1);
    $settings{'pkcs11-module-remote'} = 'true';
    my $keys = P11::Suite::Keys->new($token);
    my $dir = $self->source . '/test/recipes/30-test_evp_data';
    my @files = map { s{.*/}{}r } glob "$dir/*.txt";
    my %wanted = map { $_ => 1 } @token_files;
    $keys->move(map { P11::Test::slurp("$dir/$_") } grep { $wanted{$_} } @files)
        if $in_token;
    my %how = (env => { $self->env($self->source), %{ $count->token->env } },
               dir => P11::Test::scratch());
    my $conf = $self->write_conf(%settings);

    for my $file ($in_token ? grep { $wanted{$_} } @files : @files) {
        next if $ENV{P11_ONLY} && $file !~ /$ENV{P11_ONLY}/;
        my $data = P11::Test::slurp("$dir/$file");
        my $base = $self->baseline($file, sub {
            return $self->one($file, $data, \%how, $self->source
                              . '/test/default-and-legacy.cnf');
        });
        my $changed = $in_token ? $keys->replaced($data) : $data;
        my $text = $self->one($file, $changed, \%how, $conf);
        $self->compare($file, results($data, $base), results($changed, $text));
    }
    if ($in_token) {
        my ($kinds, $left) = $keys->summary;
        $self->note("keys in the token: $kinds");
        $self->note("keys left in the data: $left");
    }
    $self->done($count, $in_token
                ? (demanded => [qw(C_Sign C_Decrypt C_DeriveKey)])
                : (untouched => 1));
    return;
}

sub write_conf {
    my ($self, %settings) = @_;
    my $text = P11::Test::slurp($self->source . '/test/default-and-legacy.cnf');
    $text = P11::Suite::Overlay::activated($text, %settings);
    $text = P11::Suite::Overlay::put($text, 'openssl_init',
                                     'alg_section = p11_algorithms');
    $text = P11::Suite::Overlay::put($text, 'p11_algorithms',
                                     'default_properties = ?provider=pkcs11');
    return P11::Test::spew(P11::Test::scratch() . "/$self->{name}.cnf", $text);
}

# What evp_test prints about a file with this text.
sub one {
    my ($self, $name, $text, $how, $conf) = @_;
    my $file = P11::Test::spew(P11::Test::scratch() . "/$name", $text);
    my ($out, $err) = $self->output($name, $how,
        $self->build . '/test/evp_test', '-config', $conf, $file);
    return "$out$err";
}

# The stanzas of a data file that are tests: [first line, "Name = value; …"].
sub stanzas {
    my ($data) = @_;
    my ($number, $start, $in_key, @pairs, @stanzas) = (0, 0, 0);
    for my $line (split(/\n/, $data), '') {
        $number++;
        $in_key = 1 if $line =~ /^-----BEGIN/;
        if ($in_key) {
            $in_key = 0 if $line =~ /^-----END/;
        } elsif ($line eq '') {
            push @stanzas, [$start, join '; ', @pairs]
                if @pairs && $pairs[0] !~ /^(?:Private|Public)Key/;
            @pairs = ();
        } elsif ($line =~ /^([^#=]+?)\s*=\s*(.*?)\s*$/ && $1 ne 'Title') {
            $start = $number if !@pairs;
            push @pairs, "$1 = " . (length $2 > 44 ? substr($2, 0, 40) . '...'
                                    : $2);
        }
    }
    return @stanzas;
}

# Results by stanza. How many errors and tests there were is checked against
# what evp_test says itself: it stops at what it cannot parse.
sub results {
    my ($data, $text) = @_;
    my %failed = map { $_ => 1 } $text =~ /\.txt:(\d+):? $wrong/g;
    my ($tests, $errors) =
        $text =~ /Completed (\d+) tests with (\d+) errors/;
    my (@results, %seen);
    for my $stanza (stanzas($data)) {
        my ($start, $name) = @$stanza;
        push @results, [P11::Suite::Tap::numbered($name, \%seen),
                        delete $failed{$start} ? 'not ok' : 'ok'];
    }
    push @results, ["line $_", 'not ok'] for sort { $a <=> $b } keys %failed;
    my $found = grep { $_->[1] eq 'not ok' } @results;
    push @results, [($tests // 'not all') . ' tests are completed', 'ok'];
    push @results, ["all $errors errors are understood",
                    $errors == $found ? 'ok' : 'not ok'] if $errors;
    return \@results;
}

1;
