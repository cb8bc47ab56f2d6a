#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# ./quickstart, as a new user starts it: again and again, from anywhere, with
# whatever umask and folder for scratch; what it refuses, and what it leaves.
use strict;
use warnings;

use Test::More;
use P11::Test;

# What the demonstration needs: else it would install packages.
needs(qw(bash curl flock make openssl pkcs11-tool softhsm2-util));
plan(skip_all => 'nginx is not installed')
    if !have('nginx') && !-x '/usr/sbin/nginx';
plan(skip_all => 'a sanitizer would have to be loaded into nginx')
    if sanitizer();
my $missing = run('sh', '-c', 'command -v dpkg-query >/dev/null || exit 0;'
    . ' for p in $(sed -nE "s/^(build|demo) +//p" "$0"); do'
    . ' dpkg-query -W "$p" >/dev/null 2>&1 || echo "$p"; done',
    top() . '/build-aux/packages')->{out};
plan(skip_all => 'packages that it would install: '
     . $missing =~ s/\n/ /gr) if length $missing;

my $quickstart = top() . '/quickstart';
my %env = (P11_BUILDDIR => builddir(), KEEP => undef, P11_TOP => undef);

# { how } of a start with its own folder for scratch, from some other folder.
sub how {
    my ($tmp, $from) = @_;
    return { env => { %env, TMPDIR => $tmp }, dir => $from // '/' };
}

# Nothing of it is left: no folder, no process that was told of it.
sub is_clean {
    my ($name, $tmp) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @files = glob "'$tmp'/p11-quickstart-*";
    is("@files", '', "$name: no folder is left");
    my $processes = sub {
        return grep { index($_, "$tmp/p11-quickstart-") >= 0 }
            map { -r $_ ? eval { slurp($_) } // '' : '' } glob '/proc/*/cmdline';
    };
    ok(wait_for(60, sub { !$processes->() }), "$name: no process, either")
        or diag($processes->());
}

my $plain = scratch('plain');
my $spaced = scratch('a b');
my $private = scratch('private');
chmod 0700, $private;
for my $case (
    ['once', $plain, '022'],
    ['again', $plain, '022'],
    ['with a strict umask', $plain, '077'],
    ['in a folder with a blank', $spaced, '022'],
    ['in a folder of root alone', $private, '027'],
    ['in the folder where one is', $plain, '022', '.'],
) {
    my ($name, $tmp, $umask, $relative) = @$case;
    my $result = ok_run(how($relative // $tmp, $relative && $tmp), $name, 'sh',
                        '-c', "umask $umask; exec \"\$0\"", $quickstart);
    is($result->{err}, '', "$name: no complaint");
    for my $words (qr/keys\s+made in it: ca .*, server .*, client /,
                   qr/curl\s+TLSv1\.3, worker \d+ greets CN=client$/m,
                   qr/curl\s+TLSv1\.2, worker \d+ greets CN=client$/m,
                   qr/proof\s+all 3 keys: .*never extractable$/m,
                   qr/none with a readable private key$/m,
                   qr/^\s+-----BEGIN PKCS#11 PROVIDER URI-----$/m,
                   qr/^Next:\n.*make -C .* install\n.*storeutl/ms) {
        like($result->{out}, $words, "$name: it says so");
    }
    cmp_ok($result->{out} =~ tr/\n//, '<=', 30, "$name: in a screenful");
    is_clean($name, $tmp);
    # It is elsewhere where nginx's workers would not come to it.
    my ($used) = $result->{out} =~ m{^ +token +SoftHSM, .* in (/.*)/tokens$}m;
    ok(defined $used && !-e $used, "$name: its own neither");
}

# Interrupted while nginx is up: a curl that tells, and stays until it was told.
my $bin = scratch('bin');
spew("$bin/curl", <<"END");
#!/bin/sh
: >'$bin/called'
until [ -e '$bin/told' ]; do
    sleep 0.1
done
exit 1
END
chmod 0755, "$bin/curl";
my %slow = %{ how($plain) };
$slow{env} = { %{ $slow{env} }, PATH => "$bin:$ENV{PATH}" };
my $started = start_server(\%slow, 'quickstart', $quickstart);
ok(wait_for(120, sub { -e "$bin/called" }), 'it comes to where nginx is up')
    or diag(slurp($started->{err}));
kill 'TERM', $started->{pid};
spew("$bin/told", '');
is((stop_server($started, 0) // 0) >> 8, 143, '… and is interrupted there');
is_clean('interrupted', $plain);

# What goes wrong is said, by an exit status, too.
spew("$bin/curl", "#!/bin/sh\necho 'no such curl'\nexit 7\n");
fails_with(\%slow, 'a curl that fails', [qr/no such curl/,
           qr/quickstart: TLS 1\.3 between curl and nginx failed\./],
           $quickstart);
is_clean('a curl that fails', $plain);
my $nowhere = scratch() . '/nowhere';
fails_with(how($nowhere), 'no folder for scratch', qr/set TMPDIR to a folder/,
           $quickstart);

my $help = ok_run(how($plain), 'help', $quickstart, '--help');
like($help->{out}, qr/^usage: quickstart .*^ +quickstart check .*KEEP=1/ms,
     '… which tells what there is');
is($help->{err}, '', '… and no more');
my $unknown = fails_with(how($plain), 'an option that is none',
                         qr/^usage: quickstart/, $quickstart, '--frob');
is($unknown->{status}, 2, '… by its own status');
is($unknown->{out}, '', '… on standard error');

SKIP: {
    skip('not root, so there is no other user', 2) if $> != 0;
    skip('setpriv is not installed', 2) if !have('setpriv');
    my @other = qw(setpriv --reuid 65534 --regid 65534 --clear-groups);
    skip('others may not come to where it is', 2)
        if run(@other, 'test', '-r', $quickstart)->{status} != 0;
    my $theirs = scratch('theirs');
    chmod 0777, $theirs;
    fails_with(how($theirs), "somebody else's tree", [
               qr/may not write to \Q@{[builddir()]}\E/,
               qr/to a folder of your own/], @other, $quickstart);
    is_clean("somebody else's tree", $theirs);
}

done_testing();
