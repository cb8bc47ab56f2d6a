#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# curl authenticates with keys on a token; the server, nginx without our
# provider, is who verifies.
use strict;
use warnings;

use Test::More;
use P11::Cert;
use P11::Conf;
use P11::Count;
use P11::Nginx;
use P11::Test;
use P11::Token;

plan(skip_all => 'curl loads p11-kit, which cannot start where a sanitizer '
     . 'is preloaded') if defined $ENV{P11_SANITIZER_RUNTIME};
needs(qw(nginx curl pkcs11-tool));
my $token = P11::Token->needs('SoftHSM');
my $count = P11::Count->new($token);
my %how = (env => $count->token->conf_env);

my $ca = P11::Cert->new;
my $server_key = $ca->software_key('server', 'EC', 'P-256');
my $nginx = P11::Nginx->new(
    ca => $ca->file, env => $ca->plain->{env},
    keys => [[$ca->issue('server', $server_key), $server_key]]);
$nginx->start or BAIL_OUT($nginx->log);

my @keys = (['rsa', 'rsa:2048', '01'], ['ec', 'EC:prime256v1', '02']);
my (%uri, %certificate, %reference);
for my $row (@keys) {
    my ($name, $type, $id) = @$row;
    $uri{$name} = $token->keypair($type, $name, $id) . ';type=private';
    $certificate{$name} = $ca->issue($name, $uri{$name}, \%how);
    $reference{$name} = scratch() . "/$name.key";
    ok_openssl(\%how, "a reference to the $name key is written", 'pkey',
               '-in', $uri{$name}, '-out', $reference{$name});
}

# With a key by conf/curlrc; without one the certificate's file has it.
my $n_files = 0;
sub curl {
    my ($certificate, $key, @more) = @_;
    my @how = ('--cacert', $ca->file, '--cert', $certificate);
    if (defined $key) {
        my $file = spew(scratch() . "/curlrc-$$-" . ++$n_files,
            P11::Conf::text('curlrc', 'ca.pem' => $ca->file,
                            'client.pem' => $certificate,
                            'client.key' => $key));
        @how = ('--config', $file);
    }
    return (qw(curl --silent --show-error --max-time 100 --noproxy *), @how,
            @more, $nginx->url);
}

# ---- by reference: one signature for a request

for my $row (['rsa', '1.2'], ['rsa', '1.3'], ['ec', '1.2'], ['ec', '1.3']) {
    my ($name, $version) = @$row;
    my $result;
    my $calls = $count->during(sub {
        $result = ok_run(\%how, "curl has the $name key, TLS $version",
            curl($certificate{$name}, $reference{$name},
                 "--tlsv$version", '--tls-max', $version));
    });
    like($result->{out}, qr/^TLSv\Q$version\E CN=$name worker/,
         'nginx verified that');
    is($calls->{C_Sign}, 1, 'the token signed, once')
        or diag(P11::Count::text($calls));
    is($calls->{C_Login}, 1, 'and was logged in to once');
}

my $bundle = spew(scratch() . '/bundle.pem',
                  slurp($certificate{ec}) . slurp($reference{ec}));
like(ok_run(\%how, 'certificate and reference may be in one file',
            curl($bundle, undef))->{out}, qr/ CN=ec worker/,
     'nginx verified that');

# ---- by URI

SKIP: {
    my ($major, $minor) = run('curl', '--version')->{out}
        =~ /^curl (\d+)\.(\d+)/;
    skip("curl $major.$minor takes a URI for engines only; 8.12 asks providers",
         2) if $major < 8 || ($major == 8 && $minor < 12);
    my $plain = { env => $token->bare_env };
    my $with_pin = "$uri{ec}?pin-source=file:" . $token->pin_file;
    my $result = ok_run($plain, 'curl takes the URI of a key',
                        curl($certificate{ec}, $with_pin,
                             '--key-type', 'PROV'));
    like($result->{out}, qr/ CN=ec worker/, 'nginx verified that');
}

# ---- many at once

my $n = 20;
my @failed;
my $calls = $count->during(sub {
    my @pids = start_jobs($n, sub {
        my ($i) = @_;
        my $name = $keys[$i % 2][0];
        my $result = run_in(\%how, curl($certificate{$name},
                                        $reference{$name}));
        return 0 if $result->{status} == 0 && $result->{signal} == 0
            && $result->{out} =~ / CN=$name worker/;
        diag("$result->{status} $result->{signal} $result->{err}");
        return 1;
    });
    @failed = grep { $_ != 0 } finish_jobs(200, @pids);
});
is(scalar @failed, 0, "$n at once: all are served, with exit status 0");
is($calls->{C_Sign}, $n, 'each with a signature of the token');

# ---- refusals

# curl shows the reason of an error, and no more of it.
sub is_refused {
    my ($name, $how, $pattern, $certificate, $key, %expected) = @_;
    my $calls = $count->during(sub {
        fails_with($how, "$name is refused", $pattern,
                   curl($certificate, $key));
    });
    is_deeply({ map { $_ => $calls->{$_} // 0 } keys %expected }, \%expected,
              join ', ', map { "$expected{$_} $_" } sort keys %expected)
        or diag(P11::Count::text($calls));
    return;
}

my $wrong = spew(scratch() . '/wrong-pin', "9999\n");
my %wrong_how = (env => $count->token->conf_env(
    file => 'wrong.cnf',
    settings => { 'pkcs11-module-token-pin' => "file:$wrong" }));
is_refused('a wrong PIN', \%wrong_how, qr/curl: \(35\).*PIN/i,
           $certificate{ec}, $reference{ec}, C_Login => 1, C_SignInit => 0);
is_refused('a certificate of another key', \%how, qr/curl: \(58\)/,
           $certificate{rsa}, $reference{ec}, C_Login => 0, C_SignInit => 0);

my %no_module = (env => $count->token->conf_env(
    file => 'none.cnf',
    settings => { 'pkcs11-module-path' => '/nonexistent' }));
is_refused('a module that is not there', \%no_module,
           qr/curl: \(35\).*module/, $certificate{ec}, $reference{ec},
           C_Initialize => 0);
$token->tool('--delete-object', '--type', 'privkey', '--id', '02');
is_refused('a key that was deleted', \%how, qr/curl: \(35\).*no such object/,
           $certificate{ec}, $reference{ec}, C_SignInit => 0);
like(ok_run(\%how, 'the other key is as it was',
            curl($certificate{rsa}, $reference{rsa}))->{out},
     qr/ CN=rsa worker/, 'and nginx verifies it');

is($nginx->stop, 0, 'nginx ends with exit status 0');
is_deeply([$nginx->complaints], [], 'and complained of nothing');

done_testing();
