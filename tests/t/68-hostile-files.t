#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Files that somebody else has made: a reference cannot load a module or run a
# command, and a PIN is read from what may hold one, and from nothing else.
use strict;
use warnings;

use IO::Socket::UNIX;
use MIME::Base64;
use POSIX ();
use Test::More;
use P11::Count;
use P11::Test;
use P11::Token;

needs('pkcs11-tool');
my $pin = 'Geheim-4711';
my $token = P11::Token->needs('SoftHSM', pin => $pin);
my $uri = $token->keypair('EC:prime256v1', 'key', '01');
my $dir = scratch();
my $count = P11::Count->new($token);
my %how = (env => $count->token->conf_env);
my $data = spew("$dir/data", 'x' x 32);

# ---- references

sub der {
    my ($tag, $value) = @_;
    my $n = length $value;
    return pack('C', $tag) . ($n < 128 ? pack('C', $n)
        : $n < 256 ? pack('CC', 0x81, $n) : pack('Cn', 0x82, $n)) . $value;
}

my $references = 0;
sub reference_to {
    my ($text) = @_;
    return spew("$dir/reference-" . ++$references,
        "-----BEGIN PKCS#11 PROVIDER URI-----\n"
        . encode_base64(der(0x30, "\x1a\x19PKCS#11 Provider URI v1.0"
                            . der(0x0c, $text)))
        . "-----END PKCS#11 PROVIDER URI-----\n");
}

ok_openssl(\%how, 'a reference of ours', 'pkey', '-in', "$uri;type=private",
           '-out', "$dir/good.pem");
my ($base64) = slurp("$dir/good.pem") =~ /-----BEGIN.*?\n(.*?)-----END/s;
my ($public) = decode_base64($base64) =~ /(x-public-key=[\w-]+)/;
ok(defined $public, 'it has a public half');

# A module as good as any other, where nobody has configured it. The dynamic
# linker tells of each file that it opens.
mkdir "$dir/evil" or die;
my $evil = "$dir/evil/evil.so";
spew($evil, slurp($count->module));
symlink $evil, "$dir/evil/link.so" or die;
my $linked = 0;
sub opened {
    my ($how, @command) = @_;
    my $log = "$dir/linker-" . ++$linked;
    my $result = openssl({ %$how, env => { %{ $how->{env} },
        LD_DEBUG => 'files', LD_DEBUG_OUTPUT => $log } }, @command);
    my $text = join '', map { slurp($_) } glob "$log*";
    return ($result, $text);
}

sub sign_with { return ('pkeyutl', '-sign', '-inkey', $_[0], '-in', $data,
                        '-out', "$dir/sig") }

my %p11kit = (env => $token->conf_env(file => 'p11kit.cnf', settings =>
    { 'pkcs11-module-path' => undef }));
my $logins = $count->calls('C_Login');
for my $query ("module-path=$evil", "module-path=$dir/evil/link.so",
               "module-path=$dir/evil", 'module-name=evil',
               'module-name=evil.so', "module-name=$evil",
               "module-name=../../../..$evil") {
    for my $with (['a public half', "&$public"], ['none', '']) {
        my $file = reference_to("$uri;type=private?$query$with->[1]");
        for my $conf (['a module is configured', \%how],
                      ['p11-kit has the modules', \%p11kit]) {
            my $name = "$query, with $with->[0], $conf->[0]";
            my ($result, $files) = opened($conf->[1], sign_with($file));
            ok($result->{status} > 0 && $result->{signal} == 0,
               "$name: refused") or diag($result->{err});
            like($files, qr/pkcs11\.so/, '… by us');
            unlike($files, qr{/evil/}, '… and that file is not opened');
        }
    }
}
is($count->calls('C_Login'), $logins, 'no PIN was sent anywhere');
openssl_refuses(\%how, 'it is told why',
    [qr/no configured module has the module-name or module-path/],
    sign_with(reference_to("$uri;type=private?module-path=$evil&$public")));

# What the administrator has configured is chosen, and the linker tells.
my ($chosen, $files) = opened(\%how, sign_with(reference_to(
    "$uri;type=private?module-path=" . $count->module . "&$public")));
is($chosen->{status}, 0, 'a module that is configured may be chosen')
    or diag($chosen->{err});
like($files, qr/file=\Q@{[ $count->module ]}\E/, '… and its file is opened');
my %configured = (env => { %{ $count->token->conf_env(file => 'evil.cnf',
    settings => { 'pkcs11-module-path' => $evil }) } });
(undef, $files) = opened(\%configured, sign_with("$uri;type=private"));
like($files, qr{file=\S*/evil/evil\.so}, 'so is this one, when configured');

# No command, and no file that is no PIN, whoever wrote the reference.
my $before = $count->read;
my $marker = "$dir/marker";
for my $row (
    ['a command', "%7Ctouch%20$marker", qr/commands are not run/],
    ['a command in a file name', "file:%7Ctouch%20$marker", qr/cannot be/],
    ['a file of many lines', 'file:/etc/passwd', qr/more than one line|longer/],
    ['a library', 'file:' . $token->module, qr/longer|no text/],
    ['the memory of the process', 'file:/proc/self/mem', qr/cannot be|no text/],
    ['its environment', 'file:/proc/self/environ', qr/no text|longer/],
) {
    my ($name, $source, $says) = @$row;
    my $file = reference_to("$uri;type=private?pin-source=$source&$public");
    my $result = openssl_refuses(\%how, "pin-source: $name", $says,
                                 sign_with($file));
    unlike($result->{err}, qr/root:/, '… and what is in it is not shown');
}
ok(!-e $marker, 'nothing was run');
is($count->calls('C_Login'), $before->{C_Login} // 0, 'and no PIN sent');

# Public keys come from anybody: a PIN that such a reference brings would spend
# the token's tries. One that is found needs none, and the setting's is no
# stranger's.
{
    my $conf = $count->token->write_conf;
    my $own = $count->token->write_conf(file => 'own.cnf', settings =>
        { 'pkcs11-module-token-pin' => undef });
    my $one_line = spew("$dir/one-line", "no pin\n");
    my @strange = map { reference_to("$uri-none?$_") } 'pin-value=1111',
        'pin-value=2222', "pin-source=file:$one_line",
        "module-path=@{[ $count->module ]}&pin-value=3333";
    push @strange, reference_to("$uri-none;pin-value=4444");
    my $said;
    my $calls = $count->during(sub {
        $said = ok_run({ env => $count->token->env }, 'public keys of '
            . 'strangers', builddir() . '/tests/c/try_key', '-p', $own,
            @strange);
    });
    is($calls->{C_Login} // 0, 0, '… and no PIN of theirs is sent')
        or diag(P11::Count::text($calls));
    my @lines = split /^/, $said->{out};
    is(grep({ /^0\t1\t\d+\tclean\tno such object/ } @lines), scalar @strange,
       '… but each is told what is not there') or diag($said->{out});

    my $found = reference_to("$uri?pin-value=5555");
    $calls = $count->during(sub {
        $said = ok_run({ env => $count->token->env }, 'one that is there',
            builddir() . '/tests/c/try_key', '-p', $conf, $found);
    });
    like($said->{out}, qr/^1\t0\t/, '… is read');
    is($calls->{C_Login} // 0, 0, '… without a PIN');
    $calls = $count->during(sub {
        ok_run({ env => $count->token->env }, 'where the setting has one',
            builddir() . '/tests/c/try_key', '-p', $conf, @strange);
    });
    is($calls->{C_Login}, 1, '… that is what is sent, and is right');
}

# ---- PIN files

my $log = "$dir/log";
sub read_pin {
    my ($file, $as) = @_;
    my %settings = ('pkcs11-module-token-pin' => "file:$file");
    my %conf = %{ $token->conf_env(file => 'pin.cnf',
                                   settings => \%settings) };
    spew($log, '');
    chmod 0666, $log;
    return ({ env => { %conf, PKCS11_PROVIDER_DEBUG => "file:$log,level:1" },
              timeout => 120, $as ? (as => $as) : () },
            'pkey', '-in', "$uri;type=private", '-noout');
}

sub pin_file {
    my ($name, $text, $mode) = @_;
    my $file = spew("$dir/pin-$name", $text);
    chmod $mode, $file or die "$file: $!\n";
    return $file;
}

my $private = pin_file('private', "$pin\n", 0600);
symlink $private, "$dir/pin-link" or die;
my $warning = qr/PIN file ".*" can be read by everybody: chmod o-r/;
for my $row (['for its owner', $private, 0],
             ['for a group', pin_file('group', "$pin\n", 0640), 0],
             ['for everybody', pin_file('all', "$pin\n", 0644), 1],
             ['a link', "$dir/pin-link", 0],
             ['without a newline', pin_file('bare', $pin, 0400), 0],
             ['with CR and LF', pin_file('crlf', "$pin\r\n", 0600), 0]) {
    my ($name, $file, $warned) = @$row;
    ok_openssl((read_pin($file))[0], "a PIN file $name",
               (read_pin($file))[1 .. 4]);
    my $said = slurp($log);
    ok($warned ? $said =~ $warning : $said !~ /PIN file/,
       $warned ? '… is warned of' : '… is as it should be') or diag($said);
    unlike($said, qr/\Q$pin\E/, '… and is not shown');
}

my $fifo = "$dir/pin-fifo";
POSIX::mkfifo($fifo, 0600) or die "$fifo: $!\n";
my @writer = start_jobs(1, sub { spew($fifo, "$pin\n"); return 0 });
ok_openssl((read_pin($fifo))[0], 'a PIN from a FIFO',
           (read_pin($fifo))[1 .. 4]);
is_deeply([finish_jobs(60, @writer)], [0], '… which was read once');

my $huge = pin_file('huge', '', 0600);
truncate $huge, 1 << 40 or truncate $huge, 1 << 30 or die "$huge: $!\n";
my $socket = IO::Socket::UNIX->new(Local => "$dir/pin-socket", Listen => 1);
symlink "$dir/loop", "$dir/loop" or die;
for my $row (
    ['of a terabyte', $huge, qr/no text|longer than/],
    ['that has no end', '/dev/zero', qr/no text|longer than/],
    ['that is empty', '/dev/null', qr/is empty/],
    ['with a NUL in it', pin_file('nul', "$pin\0\n", 0600), qr/NUL octet/],
    ['with a NUL alone', pin_file('zero', "\0", 0600), qr/NUL octet/],
    ['of a newline', pin_file('newline', "\n", 0600), qr/is empty/],
    ['of two lines', pin_file('lines', "$pin\n$pin", 0600),
     qr/more than one line/],
    ['that is a folder', $dir, qr/is no file/],
    ['that is a socket', $socket ? "$dir/pin-socket" : '/nonexistent',
     qr/cannot be opened/],
    ['that is a link to itself', "$dir/loop", qr/cannot be opened/],
    ['that is not there', "$dir/none", qr/cannot be opened/],
    ['below a file', "$data/pin", qr/cannot be opened/],
) {
    my ($name, $file, $says) = @$row;
    my ($pin_how, @command) = read_pin($file);
    my $result = openssl_refuses($pin_how, "a PIN file $name", $says, @command);
    unlike($result->{err}, qr/\Q$pin\E/, '… and no PIN is shown');
}

SKIP: {
    skip('only root can become somebody else', 14) if $> != 0;
    skip('setpriv is not installed', 14) if !have('setpriv');
    skip('another user cannot reach what was built', 14)
        if run(qw(setpriv --reuid 65534 --clear-groups test -r),
               module_file())->{status} != 0;
    my ($pin_how, @command) = read_pin($private, [have('setpriv'),
        qw(--reuid 65534 --regid 65534 --clear-groups)]);
    $token->open_to_all;
    chmod 0644, "$token->{dir}/pin.cnf";
    my $result = openssl_refuses($pin_how, 'a PIN file of another user',
        qr/cannot be opened: Permission denied/, @command);
    unlike($result->{err}, qr/\Q$pin\E/, '… and no PIN is shown');

    # [name, owner, who reads, warned]
    for my $row (['of a stranger', 65533, 0, 1],
                 ['of a stranger, read by a user', 65533, 65534, 1],
                 ['of this user', 65534, 65534, 0],
                 ['of root, read by a user', 0, 65534, 0]) {
        my ($name, $owner, $user, $warned) = @$row;
        my $file = pin_file("owned-$owner-$user", "$pin\n", 0440);
        chown $owner, 65534, $file or die "$file: $!\n";
        my ($how, @read) = read_pin($file, [have('setpriv'), '--reuid', $user,
            qw(--regid 65534 --clear-groups)]);
        chmod 0644, "$token->{dir}/pin.cnf";
        ok_openssl($how, "a PIN file $name", @read);
        my $said = slurp($log);
        my $words = qr/PIN file "\Q$file\E" belongs to user id $owner, /;
        ok($warned ? $said =~ $words : $said !~ /PIN file/,
           $warned ? '… is warned of' : '… is as it should be')
            or diag($said);
        unlike($said, qr/\Q$pin\E/, '… and is not shown');
    }
}

done_testing();
