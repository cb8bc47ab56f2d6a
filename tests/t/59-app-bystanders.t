#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# Programs that read the same openssl.cnf and use no token: ssh, ssh-keygen,
# Python, curl do what they did before, and no token is touched.
use strict;
use warnings;

use Test::More;
use P11::Count;
use P11::Nginx;
use P11::Site;
use P11::Test;

needs(qw(pkcs11-tool openssl));
my $site = P11::Site->new;
my $count = $site->count;
my $python = '/usr/bin/python3';
my @rows = (
    ['default first', providers => [qw(default pkcs11)]],
    ['ours first', providers => [qw(pkcs11 default)]],
    ['ours preferred', providers => [qw(default pkcs11)],
     properties => '?provider=pkcs11'],
);

# The { how } of a program with one of these configurations.
sub how {
    my ($i) = @_;
    my ($name, %how) = @{ $rows[$i] };
    return (env => $count->token->conf_env(%how, file => "order$i.cnf"));
}
my %plain = (env => { OPENSSL_CONF => '/dev/null' });

sub untouched {
    my ($name, $act) = @_;
    my $calls = $count->during($act);
    is_deeply($calls, {}, "$name: no module was called");
    return;
}

SKIP: {
    skip('ssh is not installed', 1) if !have('ssh') || !have('ssh-keygen');
    my $version = run_in(\%plain, 'ssh', '-V');
    for my $i (0 .. $#rows) {
        my $name = $rows[$i][0];
        my %how = how($i);
        my $dir = scratch("ssh$i");
        untouched("$name, ssh", sub {
            my $result = ok_run(\%how, "$name: ssh -V", 'ssh', '-V');
            is($result->{err}, $version->{err}, 'says what it said before');
            $result = run_in({ env => { %{ $how{env} }, LD_DEBUG => 'files' } },
                             'ssh', '-V');
            like($result->{err}, qr{/\.libs/pkcs11\.so}, 'with us loaded');
            # OpenSSH 10 asks for the private half of what it makes, which
            # no key of ours gives away, in software or not.
            my %maker = $name eq 'ours preferred' ? %plain : %how;
            for my $type (qw(rsa ecdsa ed25519)) {
                ok_run(\%maker, "ssh-keygen makes an $type key",
                       'ssh-keygen', '-q', '-t', $type, '-N', '',
                       '-f', "$dir/$type");
                my $public = run_in(\%plain, 'ssh-keygen', '-y', '-f',
                                    "$dir/$type");
                is((split / /, $public->{out})[1],
                   (split / /, slurp("$dir/$type.pub"))[1],
                   'which ssh-keygen without us reads');
                spew("$dir/$type.who", 'me ' . slurp("$dir/$type.pub"));
                spew("$dir/data", "data\n");
                ok_run(\%how, 'it signs', 'ssh-keygen', '-q', '-Y', 'sign',
                       '-f', "$dir/$type", '-n', 'file', "$dir/data");
                my @verify = ('ssh-keygen', '-q', '-Y', 'verify', '-f',
                              "$dir/$type.who", '-I', 'me', '-n', 'file',
                              '-s', "$dir/data.sig");
                ok_run({ %plain, stdin => "data\n" }, 'that verifies without',
                       @verify);
                ok_run({ %how, stdin => "data\n" }, 'and with us', @verify);
                fails_with({ %how, stdin => "other\n" },
                           'other data is refused', qr/./, @verify);
                unlink "$dir/data.sig";
            }
        });
    }
}

SKIP: {
    skip("$python is not installed", 1) if !-x $python;
    my $program = 'import hashlib, hmac, ssl;'
        . ' print(hashlib.sha256(b"x").hexdigest(),'
        . ' hashlib.scrypt(b"x", salt=b"y", n=16, r=1, p=1).hex(),'
        . ' hmac.new(b"k", b"x", "sha1").hexdigest(),'
        . ' len(ssl.create_default_context().get_ciphers()))';
    my $expected = ok_run(\%plain, 'Python', $python, '-c', $program)->{out};
    for my $i (0 .. $#rows) {
        my $name = $rows[$i][0];
        my %how = how($i);
        untouched("$name, Python", sub {
            my $result = ok_run(\%how, "$name: Python", $python, '-c',
                                $program);
            is($result->{out}, $expected, 'computes what it did before');
        });
    }
}

SKIP: {
    skip('nginx and curl are not installed', 1)
        if !have('nginx') || !have('curl');
    skip('curl loads p11-kit, which cannot start where a sanitizer is '
         . 'preloaded', 1) if sanitizer();
    my $key = $site->ca->software_key('web', 'EC', 'P-256');
    for my $i (0 .. $#rows) {
        my $name = $rows[$i][0];
        my %how = how($i);
        my $nginx = P11::Nginx->new(ca => $site->ca->file, %how,
            keys => [[$site->ca->issue('web', $key), $key]]);
        untouched("$name, nginx and curl", sub {
            $nginx->start or die $nginx->log, "\n";
            my ($certificate, $client) = @{ $site->client };
            my $result = ok_run(\%how, "$name: curl and nginx, keys in files",
                qw(curl --silent --show-error --noproxy *), '--cacert',
                $site->ca->file, '--cert', $certificate, '--key', $client,
                $nginx->url);
            like($result->{out}, qr/^TLSv1\.3 CN=client/, 'as before');
            is($nginx->stop, 0, 'nginx ends with exit status 0');
        });
        is_deeply([$nginx->complaints], [], 'and complained of nothing');
    }
}

done_testing();
