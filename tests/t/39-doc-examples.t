#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# The examples of provider-pkcs11(7), as they are printed, on a token.
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

done_testing();
