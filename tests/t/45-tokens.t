#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The same scenarios on every token there is: rich, poor, old, remote. No token
# gets a setting but its module, its init-args and its PIN.
use strict;
use warnings;
no warnings 'qw';       # "fork=3,2" is one word

use Test::More;
use P11::Test;
use P11::Token::OpenCryptoki ':world';
use P11::Cli;
use P11::Count;
use P11::Token;
use P11::UseKey;

my $dir = scratch();
my $data = spew("$dir/data", join "\n", 1 .. 2000);
my $other = spew("$dir/other", join "\n", 1 .. 1999);
openssl(alone(), qw(dgst -sha256 -binary -out), "$dir/hash", $data);
openssl(alone(), qw(genpkey -algorithm EC -pkeyopt group:P-256 -out),
        "$dir/peer.pem");
openssl({ env => { OPENSSL_CONF => undef } }, qw(req -x509 -new -subj /CN=x
        -key), "$dir/peer.pem", '-out', "$dir/stranger.pem");
openssl(alone(), qw(pkey -pubout -in), "$dir/peer.pem", '-out',
        "$dir/peer.pub");

my @pss = qw(-sigopt rsa_padding_mode:pss -sigopt);
my @mgf1 = (@pss, 'rsa_pss_saltlen:20', qw(-sigopt rsa_mgf1_md:sha1));

# name => [key, digest, options]
my %ways = (
    'PKCS#1' => ['rsa', 'sha256'],
    'PKCS#1 with SHA-384' => ['rsa', 'sha384'],
    'PKCS#1 with SHA3-256' => ['rsa', 'sha3-256'],
    'PSS' => ['rsa', 'sha256', @pss, 'rsa_pss_saltlen:digest'],
    'PSS with SHA-512' => ['rsa', 'sha512', @pss, 'rsa_pss_saltlen:max'],
    'PSS without salt' => ['rsa', 'sha384', @pss, 'rsa_pss_saltlen:0'],
    'PSS with another MGF1' => ['rsa', 'sha256', @mgf1],
    'ECDSA' => ['ec', 'sha256'],
    'ECDSA with SHA-512' => ['ec', 'sha512'],
);
my @rsa = grep { $ways{$_}[0] eq 'rsa' } sort keys %ways;
my @all = sort keys %ways;

# What is said where only a digest is there, and the token must have it all.
my %hashing = (
    rsa => [qr/CKM_RSA_PKCS nor CKM_RSA_X_509/, qr/CKM_SHA256_RSA_PKCS,/],
    ec => [qr/CKM_ECDSA /, qr/CKM_ECDSA_SHA256,/],
);
# CKA_ALLOWED_MECHANISMS, and as what key pkcs11-tool makes it.
my %allowed = (
    rsa => ['rsa:2048', 'SHA256-RSA-PKCS,SHA256-RSA-PKCS-PSS'],
    ec => ['EC:prime256v1', 'ECDSA'],
);

# A token, how it is had, which keys it makes and how they sign. Every way that
# is not in the row is refused, with these words. What releases of a token do
# not have in common, pkcs11-tool asks for.
my @tokens = (
    { name => 'SoftHSM', backend => ['SoftHSM'],
      keys => [qw(rsa ec)], ways => \@all, derives => 1, certificates => 1 },
    { name => 'SoftHSM with raw RSA only',
      backend => ['SoftHSM', mechanisms =>
                  'CKM_RSA_PKCS_KEY_PAIR_GEN,CKM_RSA_X_509'],
      keys => ['rsa'], ways => \@rsa },
    { name => 'SoftHSM that hashes by itself',
      backend => ['SoftHSM', mechanisms => 'CKM_RSA_PKCS_KEY_PAIR_GEN,'
                  . 'CKM_SHA256_RSA_PKCS,CKM_SHA256_RSA_PKCS_PSS'],
      keys => ['rsa'], ways => ['PKCS#1', 'PSS'], no_digest => \%hashing },
    { name => 'NSS that hashes by itself', backend => ['NSS'],
      count => [mechanisms => '0x0 0x1040 0x40 0x43 0x1044'],
      keys => [qw(rsa ec)], ways => ['PKCS#1', 'PSS', 'ECDSA'],
      no_digest => \%hashing, derives => 1 },
    { name => 'SoftHSM with keys that allow little',
      backend => ['SoftHSM'], allowed => \%allowed, keys => [qw(rsa ec)],
      ways => ['PKCS#1', 'PSS', 'ECDSA', 'ECDSA with SHA-512'],
      no_digest => { rsa => $hashing{rsa} } },
    { name => 'NSS', backend => ['NSS'],
      keys => [qw(rsa ec)], ways => \@all, derives => 1, certificates => 1 },
    { name => 'openCryptoki', backend => ['OpenCryptoki'], asked => 1,
      ways => \@all, certificates => 1 },
    { name => 'p11-kit in front of SoftHSM', backend => ['P11KitRemote'],
      asked => 1, ways => \@all, certificates => 1 },
);

my %generate = (
    rsa => [qw(RSA -pkeyopt rsa_keygen_bits:2048), 'CKM_RSA_PKCS_KEY_PAIR_GEN'],
    ec => [qw(EC -pkeyopt group:P-256), 'CKM_EC_KEY_PAIR_GEN'],
);

# What a scenario is given: the row, and with it
#   token count how     to run commands with, counted
#   uri                 { key → URI }
#   file                { key → reference in PEM }, generated
#   pub                 { key → public half in PEM }

sub uri_of {
    my ($t, $key) = @_;
    return $t->{token}->uri(object => $key, id => "\x01$key");
}

sub has {
    my ($t, $list, $what) = @_;
    return scalar grep { $_ eq $what } @{ $t->{$list} };
}

# By pkcs11-tool: keys that allow no other mechanism.
sub make_allowed {
    my ($t) = @_;
    for my $key (@{ $t->{keys} }) {
        my ($type, $mechanisms) = @{ $t->{allowed}{$key} };
        $t->{token}->keypair($type, $key, '01' . unpack('H*', $key),
                             '--allowed-mechanisms', $mechanisms);
        $t->{uri}{$key} = uri_of($t, $key);
        $t->{file}{$key} = "$t->{token}{dir}/$key.pem";
        ok_openssl($t->{how}, "$key: its reference", 'pkey', '-in',
                   $t->{uri}{$key}, '-out', $t->{file}{$key});
    }
    return;
}

sub generate {
    my ($t) = @_;
    return make_allowed($t) if defined $t->{allowed};
    for my $key (sort keys %generate) {
        my ($algorithm, $opt, $value, $mechanism) = @{ $generate{$key} };
        my $file = "$t->{token}{dir}/$key.pem";
        my @command = ('genpkey', '-propquery', 'provider=pkcs11',
                       '-algorithm', $algorithm, $opt, $value, '-pkeyopt',
                       'pkcs11_uri:' . uri_of($t, $key), '-out');

        if (!has($t, 'keys', $key)) {
            openssl_refuses($t->{how}, "$key: cannot be generated",
                            [qr/HSM_E_NO_MECHANISM|does not offer/,
                             qr/\Q$mechanism\E/], @command, "$dir/none.pem");
            next;
        }
        ok_openssl($t->{how}, "$key: is generated", @command, $file);
        openssl_refuses($t->{how}, "$key: not a second one of that name",
                        qr/already has a private key/, @command,
                        "$dir/none.pem");
        $t->{uri}{$key} = uri_of($t, $key);
        $t->{file}{$key} = $file;
    }
    return;
}

sub load {
    my ($t) = @_;
    for my $key (@{ $t->{keys} }) {
        my $pub = $t->{pub}{$key} = "$t->{token}{dir}/$key.pub";
        ok_openssl($t->{how}, "$key: by its URI", 'pkey', '-in',
                   $t->{uri}{$key}, '-pubout', '-out', $pub);
        ok_alone("$key: its public half is one", 'pkey', '-pubin', '-in',
                 $pub, '-noout', '-check');
        my $calls = $t->{count}->during(sub {
            my $again = ok_openssl($t->{how}, "$key: by its reference",
                                   'pkey', '-in', $t->{file}{$key},
                                   '-pubout');
            is($again->{out}, slurp($pub), "$key: is the same");
        });
        is_deeply($calls, {}, "$key: without the token");
    }
    openssl_refuses($t->{how}, 'a key that is not there',
                    qr/no private key matches/, 'pkey', '-noout', '-in',
                    uri_of($t, 'none'));
    return;
}

sub sign_message {
    my ($t, $name, $key, $digest, @options) = @_;
    my @how = ('dgst', "-$digest", @options);
    my $sig = "$dir/signature";

    for my $from ([URI => $t->{uri}{$key}], [reference => $t->{file}{$key}]) {
        my ($by, $in) = @$from;
        my $calls = $t->{count}->during(sub {
            is_quiet(ok_openssl($t->{how}, "$name: by $by", @how, '-sign', $in,
                                '-out', $sig, $data), "$name: quietly");
        });
        is_deeply([@$calls{qw(C_SignInit C_Sign)}], [1, 1],
                  "$name: by one signature of the token")
            or diag(P11::Count::text($calls));
        my @verify = (@how, '-verify', $t->{pub}{$key}, '-signature', $sig);
        ok_alone("$name: it is good", @verify, $data);
        alone_fails("$name: for no other text", qr/Verification failure/i,
                    @verify, $other);
    }
    return;
}

sub sign {
    my ($t) = @_;
    for my $name (@all) {
        my ($key, @how) = @{ $ways{$name} };
        next if !has($t, 'keys', $key);
        if (has($t, 'ways', $name)) {
            sign_message($t, $name, $key, @how);
            next;
        }
        my ($digest, @options) = @how;
        openssl_refuses($t->{how}, "$name: is refused",
                        [qr/does not offer CKM_/, qr/\Q$t->{label}\E/], 'dgst',
                        "-$digest", @options, '-sign', $t->{uri}{$key}, $data);
    }
    return;
}

# A digest that was made elsewhere.
sub sign_digest {
    my ($t) = @_;
    my @opt = qw(-pkeyopt digest:sha256);
    my $sig = "$dir/signature";
    for my $key (@{ $t->{keys} }) {
        my @command = ('pkeyutl', '-sign', '-inkey', $t->{uri}{$key}, '-in',
                       "$dir/hash", @opt, '-out', $sig);
        if (defined $t->{no_digest}{$key}) {
            openssl_refuses($t->{how}, "$key: a digest is refused",
                            $t->{no_digest}{$key}, @command);
            next;
        }
        ok_openssl($t->{how}, "$key: signs a digest", @command);
        my @verify = ('pkeyutl', '-verify', '-pubin', '-inkey',
                      $t->{pub}{$key}, '-sigfile', $sig, @opt, '-in');
        ok_alone("$key: it is good", @verify, "$dir/hash");
        alone_fails("$key: for no other digest", qr/Verification Failure/i,
                    @verify, spew("$dir/wrong", 'x' x 32));
        openssl_fails($t->{how}, "$key: nor is half a digest signed",
                      qr/invalid digest length/, 'pkeyutl', '-sign', '-inkey',
                      $t->{uri}{$key}, '-in', spew("$dir/half", 'x' x 16),
                      @opt);
    }
    return;
}

sub derive {
    my ($t) = @_;
    plan(skip_all => 'the token has no EC keys') if !has($t, 'keys', 'ec');
    my @peer = ('-peerkey', "$dir/peer.pub", '-out', "$dir/secret");
    my @command = ('pkeyutl', '-derive', '-inkey', $t->{uri}{ec}, @peer);

    if (!$t->{derives}) {
        openssl_refuses($t->{how}, 'no key agreement',
                        qr/CKM_ECDH1_DERIVE|CKR_MECHANISM_INVALID/, @command);
        return;
    }
    ok_openssl($t->{how}, 'both sides', @command);
    ok_alone('agree', 'pkeyutl', '-derive', '-inkey', "$dir/peer.pem",
             '-peerkey', $t->{pub}{ec}, '-out', "$dir/secret2");
    is(unpack('H*', slurp("$dir/secret")), unpack('H*', slurp("$dir/secret2")),
       'on the same secret');
    return;
}

sub list {
    my ($t) = @_;
    my $n = @{ $t->{keys} };
    my $list = ok_openssl($t->{how}, 'storeutl', 'storeutl', '-noout',
                          '-keys', $t->{token}->uri);
    my @private = $list->{out} =~ /: Pkey$/mg;
    is(scalar @private, $n, "shows $n keys") or diag($list->{out});
    like(ok_openssl($t->{how}, 'and one alone', 'storeutl', '-noout',
                    "$t->{uri}{rsa};type=private")->{out}, qr/^Total found: 1$/m,
         'when it is asked for');
    return;
}

# CKA_ALWAYS_AUTHENTICATE: some tokens want the PIN for each signature, some
# only store it, and answer to the PIN that they do not know what it is for.
sub always {
    my ($t) = @_;
    my $uri = eval {
        $t->{token}->keypair('rsa:2048', 'always', '0a', '--always-auth');
    };
    # Later releases of openCryptoki refuse what pkcs11-tool sends.
    plan(skip_all => $@ =~ s/\n.*?(rv = \w+).*/ $1/sr)
        if !defined $uri && $t->{asked};
    my ($pub, $sig) = ("$dir/always.pub", "$dir/always.sig");

    ok_openssl($t->{how}, 'its public half', 'pkey', '-in', $uri, '-pubout',
               '-out', $pub);
    my $calls = $t->{count}->during(sub {
        is_quiet(ok_openssl($t->{how}, 'it signs', qw(dgst -sha256 -sign),
                            $uri, '-out', $sig, $data), 'quietly');
    });
    is_deeply([@$calls{qw(C_SignInit C_Login C_Sign)}], [1, 2, 1],
              'after a login of its own') or diag(P11::Count::text($calls));
    my @verify = (qw(dgst -sha256 -verify), $pub, '-signature', $sig);
    ok_alone('it is good', @verify, $data);
    alone_fails('for no other text', qr/Verification failure/i, @verify,
                $other);
    ok_use_key($t->{how}, 'in threads and children', "load=$uri",
               qw(in=3 [ sign=2 ] fork=2 [ sign=2 ] sign));
    return;
}

# One that the key in the token signed itself, put there.
sub certificate {
    my ($t) = @_;
    my ($pem, $der) = ("$dir/cert.pem", "$dir/cert.der");
    ok_openssl($t->{how}, 'a certificate is signed', 'req', '-x509', '-new',
               '-key', $t->{uri}{rsa}, '-subj', '/CN=token', '-out', $pem,
               '-set_serial', '7');
    ok_alone('it verifies', 'verify', '-check_ss_sig', '-CAfile', $pem, $pem);
    return if !$t->{certificates};

    ok_alone('(into DER)', 'x509', '-in', $pem, '-outform', 'DER', '-out',
             $der);
    my $uri = $t->{token}->add_certificate($der, 'cert', '03');
    is(ok_openssl($t->{how}, 'it is read from the token', 'x509', '-in',
                  $uri)->{out}, slurp($pem), 'as it was put there');
    openssl_refuses($t->{how}, 'another is not', qr/no certificate matches/,
                    'x509', '-noout', '-in',
                    $t->{token}->uri(object => 'none', type => 'cert'));
    return;
}

# What others make signatures for: the way to it is theirs.
sub protocols {
    my ($t) = @_;
    my ($cert, $key, $sig) = ("$dir/cert.pem", $t->{uri}{rsa}, "$dir/sig");
    my @raw = qw(-rawin -digest sha256 -in);

    ok_openssl($t->{how}, 'pkeyutl -rawin', 'pkeyutl', '-sign', '-inkey', $key,
               @raw, $data, '-out', $sig);
    ok_alone('it is good', 'pkeyutl', '-verify', '-certin', '-inkey', $cert,
             '-sigfile', $sig, @raw, $data);
    alone_fails('for no other text', qr/Verification Failure/i, 'pkeyutl',
                '-verify', '-certin', '-inkey', $cert, '-sigfile', $sig, @raw,
                $other);
    ok_openssl($t->{how}, 'cms -sign', 'cms', '-sign', '-binary', '-signer',
               $cert, '-inkey', $key, '-outform', 'DER', '-in', $data, '-out',
               "$dir/cms");
    my @cms = (qw(cms -verify -binary -inform DER -purpose any -in),
               "$dir/cms", '-CAfile', $cert, '-content');
    ok_alone('it verifies', @cms, $data, '-out', "$dir/out");
    alone_fails('with no other content', qr/verification failure|digest/i,
                @cms, $other, '-out', "$dir/out");
    tls($t, $_, $cert, $key) for '-tls1_3', '-tls1_2';
    return;
}

sub tls {
    my ($t, $version, $cert, $key) = @_;
    my $port = free_port();
    my ($how, @command) = P11::Test::openssl_command($t->{how}, 's_server',
        '-accept', "127.0.0.1:$port", '-naccept', 2, '-www', '-cert', $cert,
        '-key', $key);
    my $server = start_server($how, 'tls', @command);
    my @client = ('s_client', '-connect', "127.0.0.1:$port", $version,
                  '-verify_return_error', '-CAfile');
    accepts($server);
    my $calls = $t->{count}->during(sub {
        like(ok_alone("$version: a handshake", @client, $cert)->{out},
             qr/Verify return code: 0/, "$version: is verified");
    });
    is($calls->{C_Sign}, 1, "$version: by one signature of the token");
    alone_fails("$version: not by who trusts another", qr/verify error/i,
                @client, "$dir/stranger.pem");
    # After two connections it ends by itself: no signal is sent.
    is(stop_server($server, 0), 0, "$version: the server ends well");
    return;
}

sub wrong_pin {
    my ($t) = @_;
    my $count = P11::Count->new($t->{token});
    my $how = { env => $count->token->conf_env(file => 'wrong.cnf',
        settings => { 'pkcs11-module-token-pin' => '99999999' }) };
    openssl_refuses($how, 'is refused', [qr/:CKR_PIN_INCORRECT:/,
                    qr/\Q$t->{label}\E/], 'dgst', '-sha256', '-sign',
                    $t->{uri}{rsa}, $data);
    is($count->calls('C_Login'), 1, 'after one try');
    ok_openssl($t->{how}, 'the right one still opens it', 'pkey', '-noout',
               '-in', $t->{uri}{rsa});
    return;
}

sub processes {
    my ($t) = @_;
    my @load = map { "load=$t->{uri}{$_}" } @{ $t->{keys} };
    my @refer = map { "load=$t->{file}{$_}" } @{ $t->{keys} };

    ok_use_key($t->{how}, 'copies of contexts', @load, qw(copies pss copies));
    ok_use_key($t->{how}, 'threads', @load, qw(in=4 [ sign=5 ] sign));
    ok_use_key($t->{how}, 'children', @load, qw(sign fork=4,2 [ sign=2 ] sign));
    ok_use_key($t->{how}, 'children of a parent that has not signed', @refer,
               qw(fork=8,8 [ sign=2 ] sign));
    ok_use_key($t->{how}, 'the end after OPENSSL_cleanup()', @load,
               qw(sign free cleanup exit));
    use_key_fails($t->{how}, 'a child that fails is noticed', qr/status 1/,
                  @load, 'fork=1', '[', 'load=/nonexistent', ']');
    return;
}

my @scenarios = (
    ['generating' => \&generate],
    ['loading' => \&load],
    ['signing' => \&sign],
    ['signing digests' => \&sign_digest],
    ['key agreement' => \&derive],
    ['listing' => \&list],
    ['keys that always want a PIN' => \&always],
    ['certificates' => \&certificate],
    ['protocols' => \&protocols],
    ['a wrong PIN' => \&wrong_pin],
    ['threads and processes' => \&processes],
);

sub asked {
    my ($token) = @_;
    my $list = $token->tool('--list-mechanisms')->{out};
    my @keys = ('rsa', $list =~ /^ *ECDSA-KEY-PAIR-GEN/m ? 'ec' : ());
    return (keys => \@keys, derives => scalar($list =~ /^ *ECDH1-DERIVE/m));
}

for my $row (@tokens) {
    subtest $row->{name} => sub {
        my ($backend, @options) = @{ $row->{backend} };
        my $why = P11::Token->missing($backend);
        # These modules have faults of their own, which a sanitizer ends.
        $why //= "a sanitizer finds faults in the module of $backend"
            if sanitizer() && $backend =~ /^(?:OpenCryptoki|P11KitRemote)$/;
        plan(skip_all => $why) if defined $why;

        my $token = P11::Token->make($backend, @options);
        my $count = P11::Count->new($token, @{ $row->{count} // [] });
        my %t = (%$row, $row->{asked} ? asked($token) : (),
                 token => $token, count => $count,
                 label => $token->label,
                 how => { env => $count->token->conf_env });
        for (@scenarios) {
            my ($name, $scenario) = @$_;
            subtest $name => sub { $scenario->(\%t); done_testing() };
        }
        done_testing();
    };
}

done_testing();
