#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Configured for everybody and used by nobody: programs with software keys open
# no module, read nothing of the token, ask no server, and get the same result.
# What that costs them is told.
use strict;
use warnings;

use Test::More;
use P11::Cert;
use P11::Count;
use P11::Nginx;
use P11::Test;
use P11::Token;

needs(qw(pkcs11-tool strace));
plan(skip_all => 'a sanitizer that is preloaded does its own things')
    if defined $ENV{P11_SANITIZER_RUNTIME};
my $probe = run(qw(strace -f -o /dev/null true));
plan(skip_all => "strace may not trace here: $probe->{err}")
    if $probe->{status} != 0;
my $token = P11::Token->needs('SoftHSM');
my $uri = $token->keypair('EC:prime256v1', 'key', '01');
my $count = P11::Count->new($token);
my $dir = scratch();
my $ca = P11::Cert->new;
my $soft = $ca->software_key('soft', 'EC', 'P-256');
my $soft_certificate = $ca->issue('soft', $soft);
my $data = spew("$dir/data", 'x' x 32);

# ---- what a program asks the system for

# What belongs to a token, to p11-kit, or to the module: a name or an address
# in a system call, also of a file that is not there. Ours is no such file,
# and neither is the library that it is linked with.
my @theirs = ($count->module, $token->module, "$token->{dir}/softhsm2.conf",
              "$token->{dir}/tokens", $token->pin_file, 'libsofthsm', 'opensc',
              '/pkcs11/modules', 'pkcs11.conf', 'p11-kit/', 'p11-kit-',
              'pkcs11.modules', '.module"', 'pcscd', $count->{file});

# The lines that speak of these.
sub touched {
    my ($trace) = @_;
    my @lines;
    for my $line (split /\n/, slurp($trace)) {
        my ($call) = $line =~ /^\d+\s+(.*)/;
        next if !defined $call || $call =~ /^execve\(/;
        push @lines, $call if grep { index($call, $_) >= 0 } @theirs;
    }
    return @lines;
}

my $traces = 0;
sub traced {
    my ($how, $name, @command) = @_;
    my $trace = "$dir/trace-" . ++$traces;
    my $result = ok_run($how, $name, 'strace', '-f', '-s', '400', '-o', $trace,
                        '-e', 'trace=%file,%network,socket,connect', @command);
    return ($trace, $result);
}

my $openssl = have('openssl');
# With a module, with those that p11-kit knows, and in front of all others.
my %conf = map {
    my ($name, %how) = @$_;
    $name => $count->token->conf_env(file => "$name.cnf", %how)
} ['module'], ['p11kit', settings => { 'pkcs11-module-path' => undef }],
  ['preferred', providers => [qw(pkcs11 default)],
   properties => '?provider=pkcs11'];
# openssl's files are all there is in the other environment.
my $plain = { env => { OPENSSL_CONF => "$ca->{dir}/plain.cnf",
                       %{ $token->env } } };

my $nginx;
my $curl = have('nginx') && have('curl');
if ($curl) {
    $nginx = P11::Nginx->new(ca => $ca->file, env => $ca->plain->{env},
                             keys => [[$soft_certificate, $soft]]);
    $curl = 0 if !$nginx->start;
}

my $python = 'import ssl; c = ssl.create_default_context();'
    . " c.load_cert_chain('$soft_certificate', '$soft'); print('ready')";
my @programs = (
    # name, why not or undef, what it says, the command
    ['openssl version', undef, qr/^OpenSSL 3/, $openssl, 'version'],
    ['openssl list', undef, qr/^Providers:/,
     $openssl, qw(list -providers)],
    ['a signature in software', undef, qr/^/, $openssl,
     qw(dgst -sha256 -out), "$dir/sig", '-sign', $soft, $data],
    ['a certificate is verified', undef, qr/: OK$/m, $openssl, 'verify',
     '-CAfile', $ca->file, $soft_certificate],
    ['a key is made', undef, qr/PRIVATE KEY/, $openssl,
     qw(genpkey -algorithm EC -pkeyopt group:P-256)],
    ['random octets', undef, qr/^\w{32}$/, $openssl, qw(rand -hex 16)],
    ['curl', $curl ? undef : 'nginx or curl is not there', qr/CN=soft worker/,
     qw(curl --silent --show-error --max-time 60 --noproxy *), '--cacert',
     $ca->file, '--cert', $soft_certificate, '--key', $soft,
     $curl ? $nginx->url : ()],
    ['ssh -V', have('ssh') ? undef : 'ssh is not installed', qr/OpenSSH/,
     have('ssh') // 'ssh', '-V'],
    ['ssh-keygen', have('ssh-keygen') ? undef : 'ssh is not installed',
     qr/SHA256:/, 'sh', '-c', 'rm -f "$0" "$0.pub"; ssh-keygen -q -t ecdsa'
     . ' -N "" -f "$0" && ssh-keygen -lf "$0"', "$dir/ssh"],
    ['Python', -x '/usr/bin/python3' ? undef : 'there is no /usr/bin/python3',
     qr/^ready$/, qw(/usr/bin/python3 -c), $python],
);

for my $program (@programs) {
    my ($name, $why_not, $says, @command) = @$program;
    SKIP: {
        skip("$name: $why_not", 1) if defined $why_not;
        my ($without) = traced($plain, "$name: without us", @command);
        my %before = map { $_ => 1 } touched($without);
        for my $conf (sort keys %conf) {
            # Who prefers us gets keys that cannot be written to a file, and
            # is told how to make others: also ssh-keygen of OpenSSH 10.
            next if $conf eq 'preferred'
                && $name =~ /^(?:a key is made|ssh-keygen)$/;
            my ($trace, $result) = traced({ env => $conf{$conf} },
                "$name: with us, $conf", @command);
            like($result->{out} . $result->{err}, $says, '… does its work');
            like(slurp($trace), qr/"[^"]*\Q$conf.cnf\E"/,
                 '… with our configuration');
            like(slurp($trace), qr/pkcs11\.so"/, '… with us');
            is_deeply([grep { !$before{$_} } touched($trace)], [],
                      '… and nothing of a token is touched');
        }
    }
}
is_deeply($count->read, {}, 'the module was never opened');

# The same eyes see what a key on the token needs.
for my $conf (sort keys %conf) {
    my %how = (env => $conf{$conf});
    my @command = ($openssl, qw(pkeyutl -sign -inkey), $uri, '-in', $data,
                   '-out', "$dir/sig");
    my $trace = "$dir/trace-used-$conf";
    run_in(\%how, 'strace', '-f', '-s', '400', '-o', $trace, '-e',
           'trace=%file,%network', @command);
    my @seen = touched($trace);
    cmp_ok(scalar @seen, '>', 3, "a key on a token is seen, $conf");
    note(join "\n", @seen[0 .. 3]);
}
my $used = $count->read;
is($used->{C_Sign}, 2, 'and the counted module is opened for it, twice')
    or diag(P11::Count::text($used));

# ---- what it costs

# Everything that a program does from its start to its end.
sub instructions {
    my ($how) = @_;
    my $result = ok_run($how, 'counted', qw(valgrind --tool=callgrind
        --callgrind-out-file=/dev/null), $openssl, 'version');
    return ($result->{err} =~ /Collected : (\d+)/)[0] // 0;
}

# KiB that a process has, and those that only it has, after a signature in
# software: it stops there.
sub memory {
    my ($how) = @_;
    my $server = start_server($how, 'memory', builddir() . '/tests/c/use_key',
                              "load=$soft", 'sign', 'pause');
    my $file = "/proc/$server->{pid}/smaps_rollup";
    my $status = "/proc/$server->{pid}/stat";
    my %kib;
    if (wait_for(60, sub { slurp($status) =~ /\) T / })) {
        my $text = slurp($file);
        for my $name (qw(Rss Pss Private_Dirty)) {
            ($kib{$name}) = $text =~ /^$name:\s*(\d+) kB/m;
        }
    }
    kill 'CONT', $server->{pid};
    wait_for(60, sub { slurp($status) =~ /\) Z / });
    is(stop_server($server), 0, 'it ends well');
    return \%kib;
}

my @figures;
SKIP: {
    skip('valgrind is not installed', 3) if !have('valgrind');
    my ($without, $with) = map { instructions($_) }
        $plain, { env => $conf{module} };
    push @figures, sprintf 'openssl version: %.2f million instructions, '
        . '%.2f million with us', $without / 1e6, $with / 1e6;
    # The dynamic linker has most of it: we are linked with p11-kit.
    cmp_ok($with - $without, '<', 4_000_000, 'a start costs little');
}
SKIP: {
    skip('the kernel does not sum up memory', 4)
        if !-e '/proc/self/smaps_rollup';
    my ($without, $with) = map { memory($_) } $plain, { env => $conf{module} };
    my ($more, $own) = map { $with->{$_} - $without->{$_} }
        qw(Rss Private_Dirty);
    push @figures, sprintf 'a process that signs in software: %d KiB, %d KiB '
        . 'with us; %d KiB of it are its own, %d KiB with us',
        $without->{Rss}, $with->{Rss}, $without->{Private_Dirty},
        $with->{Private_Dirty};
    cmp_ok($own, '<', 1024, 'memory of its own is little');
    cmp_ok($more, '<', 8192, 'with that of files it is, too');
}
$nginx->stop if $curl;

diag(join "\n", 'Configured and unused:', @figures);
done_testing();
