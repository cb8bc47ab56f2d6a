#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# URIs, references and settings as nobody means them well: hundreds of each are
# refused one after the other in one process, by one entry that says what is
# wrong, and no module is opened for them.
use strict;
use warnings;

use MIME::Base64;
use Test::More;
use P11::Cli;
use P11::Count;
use P11::Test;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');
my $token = P11::Token->needs('SoftHSM');
my $uri = $token->keypair('EC:prime256v1', 'key', '01');
my $count = P11::Count->new($token);
my $dir = scratch('inputs');
my %env = (%{ $count->token->env }, OPENSSL_CONF => '/dev/null');
my $conf = $count->token->write_conf(file => 'hostile.cnf');

# One hash for each input, in their order; dies where it does not come to that.
sub try_key {
    my (@arguments) = @_;
    my $n = @arguments - ($arguments[0] eq '-c' ? 2 : 1);
    my $result = run_in({ env => \%env, timeout => 300 },
                        builddir() . '/tests/c/try_key', @arguments);
    my @lines = split /\n/, $result->{out};
    die "try_key: status $result->{status}, signal $result->{signal}, "
        . scalar(@lines) . " of $n inputs\n" . substr($result->{err}, -2000)
        if $result->{status} != 0 || @lines != $n;
    return map {
        my %got;
        @got{qw(loaded ours others clean words)} = split /\t/, $_, 5;
        \%got;
    } @lines;
}

# The inputs that were not refused by one clean entry like that.
sub wrong_ones {
    my ($inputs, $patterns, @got) = @_;
    return grep { defined } map {
        my ($input, $pattern) = ($inputs->[$_], $patterns->[$_]);
        my $got = $got[$_];
        $got->{loaded} == 0 && $got->{ours} == 1 && $got->{clean} eq 'clean'
            && $got->{words} =~ $pattern
            ? undef : substr($input, 0, 200) . "\n  $got->{loaded} keys, "
                . "$got->{ours} entries, $got->{clean}: "
                . substr($got->{words}, 0, 400) . "\n  not $pattern";
    } 0 .. $#got;
}

# All are refused, each as its pattern says, at this many calls.
sub refused_all {
    my ($name, $least, $calls, $inputs, $patterns, @arguments) = @_;
    my @got;
    my $made = $count->during(sub { @got = try_key(@arguments) });
    my @wrong = wrong_ones($inputs, $patterns, @got);
    my $sum = 0;
    $sum += $_ for values %$made;
    cmp_ok(scalar @got, '>=', $least, "$name: there are many");
    is(scalar @wrong, 0, '… each is refused, with words')
        or diag(join "\n", @wrong[0 .. ($#wrong < 15 ? $#wrong : 15)]);
    is($sum, 0, '… and no module is opened') if !$calls;
    figure(scalar(@got) . " $name");
    return @got;
}

# It must be able to see a success.
my ($good) = try_key($conf, $uri);
is("$good->{loaded} $good->{ours} $good->{others}", '1 0 0', 'a key is loaded');

# --- URIs ---

# name => [a value that is good, in the query?, text?, room in bytes]
my %attributes = (
    token => ['t', 0, 1, 32], manufacturer => ['m', 0, 1, 32],
    serial => ['1', 0, 1, 16], model => ['m', 0, 1, 16],
    'library-manufacturer' => ['l', 0, 1, 32],
    'library-description' => ['d', 0, 1, 32],
    'library-version' => ['1.0', 0, 0], 'slot-id' => ['1', 0, 0],
    'slot-description' => ['s', 0, 1, 64],
    'slot-manufacturer' => ['s', 0, 1, 32],
    object => ['o', 0, 1], id => ['%01', 0, 0], type => ['private', 0, 0],
    'pin-value' => ['1234', 2, 1, 255], 'pin-source' => ['/p', 2, 1],
    'module-name' => ['n', 1, 1], 'module-path' => ['/n.so', 1, 1],
    'x-public-key' => ['MAMCAX8', 1, 0],
);
my (@uris, @uri_words);

sub bad_uri {
    my ($text, $words) = @_;
    push @uris, $text;
    push @uri_words, qr/^bad pkcs11: URI: .*$words/;
    return;
}

for my $name (sort keys %attributes) {
    my ($value, $query, $is_text, $room) = @{ $attributes{$name} };
    my $start = $query ? 'pkcs11:object=o?' : 'pkcs11:';
    my $with = "$start$name=$value";
    my ($and, $quoted) = ($query ? '&' : ';', qr/"\Q$name\E"/);
    bad_uri("$start$name", $quoted);
    bad_uri("$with$and$name=$value", qr/$quoted.*twice/);
    bad_uri("$with$and", qr/empty/);
    bad_uri("$start$and$name=$value", qr/empty/);
    bad_uri($start . uc($name) . "=$value", qr/unknown/);
    bad_uri("$start ${name}=$value", qr/attribute/);
    bad_uri("$start${name} =$value", qr/unknown/);
    bad_uri("$start$name$_", $quoted) for map { "=$value$_" }
        '%', '%4', '%zz', ' ', "\t", "\n", "\x7f", "\x01";
    bad_uri("$start$name=$value%0", $quoted);
    bad_uri("pkcs11:$name=$value", qr/$quoted.*behind/) if $query == 1;
    bad_uri("pkcs11:?$name=$value", qr/$quoted.*before/) if !$query;
    if ($is_text) {
        bad_uri("$with$_", $quoted)
            for '%00', '%ff', "\xff", '%c0%80', '%ed%a0%80', '%f5%80%80%80';
    }
    bad_uri("$start$name=" . 'a' x ($room + 1), qr/$quoted.*$room bytes/)
        if $room;
}
bad_uri("pkcs11:type=$_", qr/"type"/)
    for '', 'Private', 'key', 'private,', 'cert ', '*', '%2a', 'private%00';
bad_uri("pkcs11:slot-id=$_", qr/"slot-id"/)
    for '', '-1', '+1', '0x1', '1e3', '1.0', '18446744073709551616', '9' x 400;
bad_uri("pkcs11:library-version=$_", qr/"library-version"/)
    for '', '1.2.3', '1.', '.1', '256', '1.256', '-1', 'a.b';
bad_uri("pkcs11:?module-path=$_", qr/"module-path"/)
    for '', 'a.so', './a.so', '../../a.so', '~/a.so', 'file:///a.so';
bad_uri("pkcs11:?x-public-key=$_", qr/"x-public-key"/)
    for '', 'A', 'AA==', 'A A', 'A+/A', 'AAAAA', 'AAA%3d';
bad_uri("pkcs11:$_", qr/attribute/)
    for qw(token=a;frob=1 ?frob=1 =a label=a objecttype=private a/b=c
           tok%65n=a //token=a x-=a), '/', '#', '?=';
bad_uri('pkcs11:object=' . 'a' x 70000, qr/64 KiB|too long|longer/);
refused_all('malformed URIs', 250, 0, \@uris, \@uri_words, $conf, @uris);

# What is well-formed, and meant badly. A FIFO without a writer takes its time.
sub fifo {
    my $path = "$dir/fifo";
    require POSIX;
    POSIX::mkfifo($path, 0600) or die "$path: $!\n";
    return $path;
}
my $evil = spew("$dir/evil.so", 'no module');
my $from = $uri =~ s/\?.*//r;
my @hostile = (
    ["$from?module-path=$evil", qr/module-path/],
    ["$from?module-path=/../../..$evil", qr/module-path/],
    ["$from?module-name=..%2f..%2fevil", qr/module-name/],
    map({ ["$from?pin-source=$_", qr/PIN source/] } "file:$dir/none", $dir,
        "file:$dir", '/dev/zero', '/dev/null', '/proc/self/mem',
        $ENV{P11_LONG} ? fifo() : (),
        'env:NO_SUCH_VARIABLE', 'env:', 'fd:', 'fd:-1', 'fd:99999',
        'fd:12345678901234567890', 'http://localhost/pin', 'data:,1234',
        '%7cecho%201234', 'file:' . 'a' x 5000),
    map({ [$token->uri(object => 'none') . ";$_",
           qr/^no such (?:object|token):/] }
        'model=%25s%25n%25n', 'manufacturer=%1b%5b31m', 'id=' . '%ff' x 300,
        'model=%22%27%3b--', 'manufacturer=%e2%80%ae', 'x-vendor=%0a%0d',
        'slot-id=18446744073709551615', 'serial=*', 'model=%2e%2e%2f'),
    map({ ["pkcs11:token=$_;object=key", qr/^no such token:/] } '%25n%25s',
        '%1b%5d0%3bx%07', '%0aerror:0', 'a%0d%0ab', '%e2%80%ae', '%7f'),
    map({ [$token->uri(object => $_), qr/^no such object:/] } '%25n%25s%25p',
        "%1b%5b2J", 'a%0aerror:none', '%e2%80%ae', '%27%20or%201', '..%2f'),
);
refused_all('hostile URIs', 35, 1, [map { $_->[0] } @hostile],
            [map { $_->[1] } @hostile], $conf, map { $_->[0] } @hostile);

# --- references ---

my $label = 'PKCS#11 PROVIDER URI';
my $pem = slurp(reference($token, $uri, 'good'));
my ($base64) = $pem =~ /-----\n(.*?)-----END/s;
my $der = decode_base64($base64);
my (@files, @file_words);

sub armour {
    my ($bytes) = @_;
    return "-----BEGIN $label-----\n" . encode_base64($bytes)
        . "-----END $label-----\n";
}

sub tlv {
    my ($tag, $content) = @_;
    my $n = length $content;
    my $length = $n < 128 ? chr $n : $n < 256 ? pack('CC', 0x81, $n)
        : pack 'Cn', 0x82, $n;
    return chr($tag) . $length . $content;
}

sub bad_pem {
    my ($text, $words) = @_;
    push @files, spew(sprintf('%s/%03d.pem', $dir, scalar @files), $text);
    push @file_words, $words // qr/^(?:broken data|bad pkcs11: URI): /;
    return;
}

my $version = tlv(0x1a, 'PKCS#11 Provider URI v1.0');
my $place = tlv(0x0c, $from);
bad_pem(armour(substr $der, 0, $_))
    for 1 .. 12, map { int(length($der) * $_ / 20) } 3 .. 19;
# Tags and lengths: of the whole, of the version, of the URI.
my $at_version = index $der, "\x1a\x19";
my $at_uri = $at_version + length $version;
for my $at (0 .. 2, $at_version, $at_version + 1, $at_uri .. $at_uri + 2) {
    for my $byte (0, 0x7f, 0x80, 0xff, ord(substr $der, $at, 1) ^ 1) {
        my $broken = $der;
        substr $broken, $at, 1, chr $byte;
        bad_pem(armour($broken)) if $broken ne $der;
    }
}
bad_pem(armour(tlv(0x30, tlv(0x1a, $_) . $place)))
    for '', 'PKCS#11 Provider URI v', 'PKCS#11 Provider URI v2.0',
        'PKCS#11 Provider URI v1.00', 'pkcs#11 provider uri v1.0',
        "PKCS#11 Provider URI v1.0\0", 'x' x 25;
bad_pem(armour(tlv(0x30, $version . tlv(0x0c, $_)))) for '', 'x', $from . "\0",
    "$from\0;object=other", "\xef\xbb\xbf$from", "file:/etc/passwd",
    "$from\xff", @uris[map { $_ * 9 } 0 .. 19];
bad_pem(armour($_)) for tlv(0x31, $version . $place), tlv(0x30, $place),
    tlv(0x30, $version), tlv(0x30, $place . $version),
    tlv(0x30, $version . $version . $place),
    tlv(0x30, $version . $place . $place), tlv(0x30, $version . $place) . "\0",
    tlv(0x30, $version . $place) x 2, tlv(0x30, tlv(0x30, $version . $place)),
    "\x30\x80$version$place\0\0", tlv(0x30, ''), '', "\0" x 100,
    tlv(0x30, $version . tlv(0x1a, $from)), tlv(0x30, tlv(0x0c, 'x') . $place),
    tlv(0x30, $version . tlv(0x0c, "$from?x-public-key=AAAA")),
    tlv(0x30, $version . tlv(0x0c, "$from?x-public-key=MAA"));
(my $no_end = $pem) =~ s/-----END.*//s;
(my $other_end = $pem) =~ s/-----END \Q$label\E/-----END CERTIFICATE/;
bad_pem($_) for $no_end, "-----BEGIN $label-----\n",
    "-----BEGIN $label-----\n-----END $label-----\n",
    "-----BEGIN $label-----\n\n\n-----END $label-----\n",
    map { "-----BEGIN $label-----\n$_-----END $label-----\n" } "$base64=",
        "=$base64", "$base64====\n", "!$base64", "$base64\0\n", "\xff$base64",
        "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n$base64",
        $base64 =~ tr{A-Za-z}{a-zA-Z}r, substr($base64, 1), 'A' x 200000,
        "-----BEGIN $label-----\n$base64", '%' x 64 . "\n", '-' x 64 . "\n";
# Nobody else reads it either.
refused_all('malformed references', 120, 0, \@files, \@file_words, $conf,
            @files);

# --- settings ---

my @values = ('%s%n%s%n', 'x' x 5000, '-1', '1e9', '0x7fffffff', '1 ; 2',
              '18446744073709551616', "\xe2\x80\xae", '..', '|id',
              'true true', 'false,', '/etc/passwd');
# These take any text, each in a way of its own; "path" is found wanting
# when it is opened.
my %free = map { $_ => 1 } qw(init-args token-pin path env log);
my $shipped = slurp(top() . '/conf/openssl.cnf.in');
my @settings = grep { !$free{$_} }
    $shipped =~ /^# pkcs11-module-([\w-]+) = /mg;
my (@conf, @conf_words, @conf_names);

sub bad_conf {
    my ($setting, $value, $words) = @_;
    my $name = $setting =~ /^module\d|^pkcs11/ ? $setting
        : "pkcs11-module-$setting";
    push @conf, $count->token->write_conf(file => 'c' . @conf . '.cnf',
                                          settings => { $name => $value });
    push @conf_names, "$name = $value";
    push @conf_words, $words // qr/^bad setting: .*\Q$name\E/;
    return;
}

for my $setting (@settings) {
    bad_conf($setting, $_,
             qr/^bad setting: .*pkcs11-module-\Q$setting\E.* allowed are/)
        for @values;
}
bad_conf('path', $_, qr/module cannot be used|bad setting/)
    for '%s%n', $dir, '/dev/null', $evil, '/dev/zero', 'x' x 5000;
bad_conf('env', $_) for '=', '=x', '1=2', 'A-B=c', "A;B", '%s', 'A\\$B=c';
bad_conf('log', $_) for 'file:', 'level:99', 'file:/,level:1', 'x' x 5000,
    'file:/dev/null,level:-1', "file:$dir", 'level:18446744073709551616';
bad_conf('token-pin', $_, qr/PIN source|bad setting|no PIN/) for "file:$dir",
    'file:/dev/zero', 'file:', 'env:NO_SUCH_VARIABLE', 'fd:-1', '/etc/passwd',
    'x' x 300;
# Names that nobody thought of cannot be noticed: the core does not list them.
bad_conf($_, 'x', qr/^bad setting: /) for qw(pkcs11_module_max_sessions
    module17.path module0.path module1.name);
refused_all('hostile settings', 200, 1, \@conf_names, \@conf_words, '-c', $uri,
            @conf);
done_testing();
