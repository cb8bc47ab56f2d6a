#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# The examples of provider-pkcs11(7) and of the README, as they are printed, on a
# token.
use strict;
use warnings;

use Test::More;
use P11::Test;
use P11::Token;

my $token = P11::Token->needs('SoftHSM');
my $page = slurp(top() . '/doc/provider-pkcs11.7');
my ($examples) = $page =~ /^\.\\" examples: begin$(.*)^\.\\" examples: end$/ms;
my @blocks = $examples =~ /^\.Bd[^\n]*\n(.*?)^\.Ed$/msg;
cmp_ok(scalar @blocks, '>=', 5, 'the page has examples');

# What each prints, where that matters.
my %prints = (
    storeutl => qr/^Total found: 2$/m,
    'rsa_padding_mode' => qr/^Verified OK$/m,
    '-signature' => qr/^Verified OK$/m,
);
my $pin_file = $token->pin_file;
my ($setting) = $blocks[0] =~ /^(P=.*)$/m;
my %how = (env => $token->bare_env, dir => scratch());
for my $block (@blocks) {
    my $script = $block;
    $script =~ s/^\\&//mg;
    $script =~ s/\\-/-/g;
    $script =~ s/\\e$/\\/mg;
    $script = ($setting =~ s/\\-/-/gr) . "\n$script" if $block ne $blocks[0];
    $script =~ s{file:/path}{file:$pin_file}g;
    my ($first) = $block =~ /^openssl (\w+)/m;
    my $result = ok_run(\%how, "the example of openssl $first", 'sh', '-euc',
                        $script);
    for my $word (sort keys %prints) {
        like($result->{out} . $result->{err}, $prints{$word},
             "… $word: and what it prints")
            if index($script, $word) >= 0;
    }
}
my $keys = run_in(\%how, 'openssl', 'storeutl', qw(-provider default -provider
    pkcs11 -keys -noout), $token->uri . "?pin-source=file:$pin_file");
like($keys->{out}, qr/^Total found: 2$/m, 'two keys have been made there');
unlike(slurp(scratch() . '/web.key'), qr/PRIVATE KEY/, 'none in a file');

# ---- the README's five commands: the PIN, which they ask for, is in the URI

my ($listing) = slurp(top() . '/README.md')
    =~ /^## Five commands to try\n(.*?)^## /ms;
my ($code) = $listing =~ /^(    P=.*?)^(?=\S)/ms;
$code =~ s/^    //mg;
$code =~ s{file:/path}{file:$pin_file};
is($code =~ s{('pkcs11:token=tok(?:;object=web;type=private)?)'}
             {$1?pin-source=file:$pin_file'}g, 2, 'two of them ask for a PIN');
my ($settings, @acts) = split /^# .*\n/m, $code;
is(scalar @acts, 5, 'the README has five acts');
$how{dir} = scratch('readme');
spew("$how{dir}/README.md", slurp(top() . '/README.md'));
# On the token are two pairs by now, of the examples above; one of them is
# called web, which is the name that the README takes.
is($token->tool('--delete-object', '--label', 'web', '--type', $_)->{status},
   0, "the other key \"web\" goes: $_") for qw(privkey pubkey);
my @expect = (
    ['is listed', qr/^Total found: 2$/m],
    ['is made'],
    ['has a certificate'],
    ['signs', qr/^Verified OK$/m],
);
for my $i (0 .. $#expect) {
    my ($name, $words) = @{ $expect[$i] };
    my $result = ok_run(\%how, "README: a key $name", 'sh', '-euc',
                        $settings . $acts[$i]);
    like($result->{out}, $words, '… and prints that') if defined $words;
}
like(slurp("$how{dir}/key.pem"), qr/^-----BEGIN PKCS#11 PROVIDER URI/,
     'README: key.pem is a reference');
my $port = free_port();
is($acts[4] =~ s/-accept 4433/-accept 127.0.0.1:$port -naccept 1/, 1,
   'README: it serves, on a port');
my $server = start_server(\%how, 'readme', 'sh', '-euc',
                          $settings . 'exec ' . $acts[4]);
ok(accepts($server), '… is up');
my $answer = ok_run({ stdin => "GET / HTTP/1.0\r\n\r\n", dir => $how{dir} },
    '… and anybody connects', qw(openssl s_client -ign_eof -verify_return_error
    -CAfile cert.pem -connect), "127.0.0.1:$port");
like($answer->{out}, qr/HTTP\/1\.0 200 /, '… and gets a page');
is(stop_server($server, 0), 0, '… after which it ends');

done_testing();
