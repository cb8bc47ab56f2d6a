#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Every other command of openssl that takes a private key: by URI and by a
# reference in PEM. Certificates, revocation lists, time stamps, answers about
# certificates: all are judged by an openssl without us.
use strict;
use warnings;

use Test::More;
use P11::Cli;
use P11::Count;
use P11::Test;
use P11::Token;

needs('pkcs11-tool');
my $dir = scratch();
my $token = P11::Token->needs('SoftHSM');
my $count = P11::Count->new($token);
my $data = spew("$dir/data", join "\n", 1 .. 200);
my $other = spew("$dir/other", join "\n", 1 .. 201);

# One file for all commands, with the provider and without.
my $sections = <<"END";

[name]

[ca]
default_ca = own

[own]
database = $dir/index.txt
serial = $dir/serial
crlnumber = $dir/crlnumber
new_certs_dir = $dir
certificate = $dir/ca.crt
default_md = sha256
default_days = 7
default_crl_days = 7
policy = any
unique_subject = no
rand_serial = yes

[any]
commonName = supplied

[tsa]
default_tsa = stamp

[stamp]
serial = $dir/tsaserial
signer_cert = $dir/tsa.crt
default_policy = 1.2.3.4.1
digests = sha256, sha384
signer_digest = sha256
accuracy = secs:1

[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign, digitalSignature

[stamper]
extendedKeyUsage = critical, timeStamping

[answerer]
extendedKeyUsage = OCSPSigning

[client]
keyUsage = critical, digitalSignature
END
my $conf = $count->token->write_conf(file => 'commands.cnf');
spew($conf, slurp($conf) =~ s/\[name\]\s*\z/$sections/r);
my %how = (env => $count->token->env(OPENSSL_CONF => $conf));
my %plain = (env => { OPENSSL_CONF => spew("$dir/plain.cnf",
    "[req]\ndistinguished_name = name\n$sections") });

# The token made so many signatures, and nothing is on the queue.
sub by_token {
    my ($n, $name, @command) = @_;
    my $result;
    my $calls = $count->during(sub {
        $result = ok_openssl(\%how, $name, @command);
    });
    is_quiet($result, "$name: quietly");
    is($calls->{C_Sign} // 0, $n, "$name: by the token")
        or diag(P11::Count::text($calls));
    return $result;
}

sub ok_plain {
    my ($name, @command) = @_;
    return ok_openssl(\%plain, $name, @command);
}

sub plain_fails {
    my ($name, $patterns, @command) = @_;
    return openssl_fails(\%plain, $name, $patterns, @command);
}

my %key;        # name => [URI, file]
for my $row (['rsa', 'rsa:2048', '01'], ['ec', 'EC:prime256v1', '02']) {
    my ($name, $type, $id) = @$row;
    my $uri = $token->keypair($type, $name, $id);
    my $file = "$dir/$name.pem";
    ok_openssl(\%how, "$name: a reference", 'pkey', '-in', $uri, '-out',
               $file);
    $key{$name} = [$uri, $file];
}
# A request of somebody else.
ok_plain('a stranger', qw(req -new -newkey ec -pkeyopt group:P-256 -nodes
         -subj /CN=stranger -keyout), "$dir/stranger.key", '-out',
         "$dir/stranger.csr");
spew("$dir/tsaserial", "01\n");

sub fresh_database {
    unlink glob "$dir/index* $dir/serial* $dir/crlnumber*";
    spew("$dir/index.txt", '');
    spew("$dir/crlnumber", "01\n");
    return;
}

# --- a whole CA ---

sub authority {
    my ($name, $key, $short) = @_;
    fresh_database();
    by_token(1, "$name: req -x509", 'req', '-x509', '-new', '-key', $key,
             '-subj', '/CN=authority', '-days', 7, '-extensions',
             'authority', '-out', "$dir/ca.crt");
    by_token(1, "$name: ca", 'ca', '-batch', '-notext', '-keyfile', $key,
             '-in', "$dir/stranger.csr", '-out', "$dir/one.crt");
    ok_plain("$name: ca: good", 'verify', '-CAfile', "$dir/ca.crt",
             "$dir/one.crt");
    ok_openssl(\%how, "$name: ca -revoke", 'ca', '-revoke', "$dir/one.crt",
               '-keyfile', $key);
    by_token(1, "$name: ca -gencrl", 'ca', '-gencrl', '-keyfile', $key,
             '-out', "$dir/list.crl");
    ok_plain("$name: crl: verified", 'crl', '-in', "$dir/list.crl", '-noout',
             '-CAfile', "$dir/ca.crt");
    plain_fails("$name: revoked", qr/certificate revoked/, 'verify',
                '-crl_check', '-CAfile', "$dir/ca.crt", '-CRLfile',
                "$dir/list.crl", "$dir/one.crt");
    by_token(1, "$name: x509 -CAkey", 'x509', '-req', '-in',
             "$dir/stranger.csr", '-CA', "$dir/ca.crt", '-CAkey', $key,
             '-days', 7, '-set_serial', 17, '-out', "$dir/two.crt");
    ok_plain("$name: x509: not revoked", 'verify', '-crl_check', '-CAfile',
             "$dir/ca.crt", '-CRLfile', "$dir/list.crl", "$dir/two.crt");
    by_token(1, "$name: ca -gencrl again", 'ca', '-gencrl', '-keyfile', $key,
             '-out', "$dir/newer.crl");
    by_token(1, "$name: crl -gendelta", 'crl', '-in', "$dir/list.crl",
             '-gendelta', "$dir/newer.crl", '-key', $key, '-out',
             "$dir/delta.crl");
    ok_plain("$name: crl -gendelta: verified", 'crl', '-in',
             "$dir/delta.crl", '-noout', '-CAfile', "$dir/ca.crt");
    # From a bundle with a reference in it.
    spew("$dir/bundle.pem", slurp($short) . slurp("$dir/ca.crt"));
    ok_openssl(\%how, "$name: crl2pkcs7", 'crl2pkcs7', '-in',
               "$dir/list.crl", '-certfile', "$dir/bundle.pem", '-out',
               "$dir/bundle.p7");
    like(openssl(\%plain, 'pkcs7', '-in', "$dir/bundle.p7", '-print_certs',
         '-noout')->{out}, qr/CN ?= ?authority/, "$name: crl2pkcs7: all in");
    by_token(1, "$name: ca -selfsign", 'ca', '-batch', '-selfsign',
             '-notext', '-keyfile', $key, '-in', request($name, $key),
             '-out', "$dir/self.crt");
    ok_plain("$name: ca -selfsign: good", 'verify', '-check_ss_sig',
             '-partial_chain', '-trusted', "$dir/self.crt",
             "$dir/self.crt");
    return;
}

sub request {
    my ($name, $key) = @_;
    by_token(1, "$name: req", 'req', '-new', '-key', $key, '-subj',
             '/CN=own', '-out', "$dir/own.csr");
    ok_plain("$name: req: verified", 'req', '-in', "$dir/own.csr",
             '-verify', '-noout');
    return "$dir/own.csr";
}

# --- a signed public key, as browsers made it ---

sub spkac {
    my ($name, $key) = @_;
    by_token(1, "$name: spkac", 'spkac', '-key', $key, '-digest',
             'sha256', '-challenge', 'hello',
             '-out', "$dir/spkac");
    ok_plain("$name: spkac: verified", 'spkac', '-in', "$dir/spkac",
             '-verify', '-noout');
    (my $changed = slurp("$dir/spkac")) =~ s/(.{10})(.)(?=.{8}$)/
        $1 . ($2 eq 'A' ? 'B' : 'A')/ex;
    plain_fails("$name: spkac: changed", qr/Failure|rror/, 'spkac', '-in',
                spew("$dir/changed", $changed), '-verify', '-noout');
    spew("$dir/request.spkac", slurp("$dir/spkac") . "CN=spkac\n");
    by_token(1, "$name: ca -spkac", 'ca', '-batch', '-spkac',
             "$dir/request.spkac", '-keyfile', $key, '-out',
             "$dir/spkac.der");
    ok_plain("$name: ca -spkac: good", 'verify', '-CAfile', "$dir/ca.crt",
             "$dir/spkac.der");
    return;
}

sub issue {
    my ($name, $key, $subject, $extensions, $out) = @_;
    by_token(1, "$name: a request", 'req', '-new', '-key', $key, '-subj',
             "/CN=$subject", '-out', "$out.csr");
    by_token(1, "$name: a certificate", 'x509', '-req', '-in', "$out.csr",
             '-CA', "$dir/ca.crt", '-CAkey', $key, '-days', 7, '-set_serial',
             1 + length $subject, '-extfile', "$dir/plain.cnf",
             '-extensions', $extensions, '-out', $out);
    return;
}

# --- time stamps ---

# It takes the key from a file only, and leaves errors about its settings.
sub time_stamps {
    my ($name, $key, $file) = @_;
    my @reply = ('ts', '-reply', '-config', $conf, '-section', 'stamp',
                 '-queryfile', "$dir/query", '-out', "$dir/stamp", '-inkey');
    issue($name, $key, 'stamper', 'stamper', "$dir/tsa.crt");
    ok_plain("$name: ts: a query", 'ts', '-query', '-data', $data, '-sha256',
             '-cert', '-out', "$dir/query");
    my $calls = $count->during(sub {
        ok_openssl(\%how, "$name: ts -reply", @reply, $file);
    });
    is($calls->{C_Sign}, 1, "$name: ts -reply: by the token");
    my @verify = ('ts', '-verify', '-in', "$dir/stamp", '-CAfile',
                  "$dir/ca.crt", '-data');
    ok_plain("$name: ts: verified", @verify, $data);
    plain_fails("$name: ts: other data", qr/FAILED|imprint/, @verify,
                $other);
    # That ends well, with a stamp that is an error.
    openssl(\%how, @reply, "$dir/stranger.key");
    plain_fails("$name: ts: another key", qr/FAILED|rror/, @verify, $data);
    return;
}

# --- answers about certificates ---

sub answers {
    my ($name, $key) = @_;
    issue($name, $key, 'answerer', 'answerer', "$dir/ocsp.crt");
    my @ask = ('ocsp', '-issuer', "$dir/ca.crt", '-cert', "$dir/one.crt");
    by_token(1, "$name: ocsp: a signed question", @ask, '-signer',
             "$dir/ocsp.crt", '-signkey', $key, '-no_nonce', '-reqout',
             "$dir/question");
    like(openssl(\%plain, 'ocsp', '-reqin', "$dir/question", '-req_text')
         ->{out}, qr/Signature Algorithm/, "$name: ocsp: it is signed");
    by_token(1, "$name: ocsp: an answer", 'ocsp', '-index',
             "$dir/index.txt", '-CA', "$dir/ca.crt", '-reqin',
             "$dir/question", '-rsigner', "$dir/ocsp.crt", '-rkey', $key,
             '-respout', "$dir/answer", '-ndays', 1);
    my @judge = ('ocsp', '-respin', "$dir/answer", '-CAfile',
                 "$dir/ca.crt", '-no_nonce', '-issuer', "$dir/ca.crt", '-cert');
    my $said = ok_plain("$name: ocsp: verified", @judge, "$dir/one.crt");
    like($said->{err}, qr/Response verify OK/, "$name: ocsp: by its key");
    like($said->{out}, qr/: revoked/, "$name: ocsp: revoked");
    my $answer = slurp("$dir/answer");
    substr($answer, 60, 1) ^= "\1";
    my $bad = openssl(\%plain, 'ocsp', '-respin',
        spew("$dir/changed", $answer), '-CAfile', "$dir/ca.crt", '-issuer',
        "$dir/ca.crt", '-cert', "$dir/one.crt");
    unlike($bad->{out} . $bad->{err}, qr/Response verify OK/,
           "$name: ocsp: a changed answer is none");
    return;
}

# --- certificate management, with openssl's own server inside ---

sub management {
    my ($name, $key) = @_;
    my @mock = ('-use_mock_srv', '-srv_cert', "$dir/cmp.crt", '-srv_key',
                $key, '-srv_trusted', "$dir/ca.crt", '-rsp_cert',
                "$dir/two.crt");
    my @client = ('-cert', "$dir/cmp.crt", '-key', $key, '-trusted',
                  "$dir/ca.crt", '-recipient', '/CN=authority',
                  '-unprotected_errors');
    issue($name, $key, 'client', 'client', "$dir/cmp.crt");
    my $help = openssl(\%plain, 'cmp', '-help');
    SKIP: {
        skip('this openssl has no cmp with a server inside', 4)
            if "$help->{out}$help->{err}" !~ /-use_mock_srv/;
        my $result;
        my $calls = $count->during(sub {
            $result = ok_openssl(\%how, "$name: cmp", 'cmp', '-config', '',
                '-cmd', 'cr', '-subject', '/CN=stranger', '-newkey',
                "$dir/stranger.key", '-certout', "$dir/cmp.out", @mock,
                @client);
        });
        is_quiet($result, "$name: cmp: quietly");
        cmp_ok($calls->{C_Sign} // 0, '>=', 2, "$name: cmp: both sides");
        is(openssl(\%plain, 'x509', '-in', "$dir/cmp.out", '-noout',
                   '-fingerprint')->{out},
           openssl(\%plain, 'x509', '-in', "$dir/two.crt", '-noout',
                   '-fingerprint')->{out}, "$name: cmp: the certificate");
    }
    return;
}

# --- what cannot be had ---

sub refuse_all {
    my ($name, $key) = @_;
    openssl_fails(\%how, "$name: pkcs12 does not get it", qr/wrong tag/,
                  'pkcs12', '-export', '-inkey', $key, '-in', "$dir/ca.crt",
                  '-passout', 'pass:x', '-out', "$dir/x.p12");
    ok(!-s "$dir/x.p12", "$name: pkcs12 writes nothing");
    openssl_fails(\%how, "$name: ca: another key", qr/not match|mismatch/,
                  'ca', '-batch', '-keyfile', "$dir/stranger.key", '-in',
                  "$dir/stranger.csr", '-out', "$dir/bad.crt");
    openssl_fails(\%how, "$name: x509: another key", qr/not match|mismatch/,
                  'x509', '-req', '-in', "$dir/stranger.csr", '-CA',
                  "$dir/ca.crt", '-CAkey', "$dir/stranger.key",
                  '-set_serial', 3);
    for my $row (['ca', '-batch', '-in', "$dir/stranger.csr", '-keyfile'],
                 ['spkac', '-key'], ['crl', '-in', "$dir/list.crl",
                  '-gendelta', "$dir/newer.crl", '-key'],
                 ['ocsp', '-issuer', "$dir/ca.crt", '-cert', "$dir/one.crt",
                  '-signer', "$dir/ocsp.crt", '-signkey']) {
        openssl_fails(\%how, "$name: $row->[0]: no such key",
                      qr/no private key matches/, @$row,
                      $token->uri(object => 'none'));
    }
    return;
}

for my $type (sort keys %key) {
    for my $by (0, 1) {
        my $key = $key{$type}[$by];
        my $name = $type . ($by ? ' by file' : ' by URI');
        authority($name, $key, $key{$type}[1]);
        spkac($name, $key);
        time_stamps($name, $key, $key{$type}[1]);
        answers($name, $key);
        management($name, $key);
        refuse_all($name, $key);
    }
}
done_testing();
