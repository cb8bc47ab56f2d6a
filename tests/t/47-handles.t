#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Tokens that give the handle of what is gone to what they find or make next: a
# key that was deleted, here or elsewhere, never signs with another one's, and
# it costs a call to be sure of that only where it may have happened.
use strict;
use warnings;

use Test::More;
use P11::Test;
use P11::Token::OpenCryptoki ':world';
use P11::Count;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');
my $dir = scratch();
my $has_delete = openssl('version')->{out} !~ /^OpenSSL 3\.[01]\./;

# --- what it costs, where the library says that it is such a one ---

subtest 'calls' => sub {
    my $token = P11::Token->make('SoftHSM')
        // plan(skip_all => P11::Token->missing('SoftHSM'));
    my %uri = map { ($_->[1] => $token->keypair(@$_) . ';type=private') }
        ['rsa:2048', 'rsa', '01'], ['EC:prime256v1', 'ec', '02'],
        ['rsa:2048', 'other', '03'];
    for my $key ('rsa', 'ec') {
        my %calls;
        for my $manufacturer ('nobody', 'IBM') {
            my $count = P11::Count->new($token,
                                        manufacturer => $manufacturer);
            my $how = { env => $count->token->conf_env };
            for my $more (0, 1) {
                $calls{$manufacturer}[$more] = $count->during(sub {
                    ok_use_key($how, "$key, $manufacturer: signs",
                               "load=$uri{$key}", 'sign=2', "load=$uri{other}",
                               $more ? 'sign=9' : 'sign=2');
                });
            }
        }
        my ($usual, $wary) = map { $calls{$_}[0] } qw(nobody IBM);
        my %more = map { ($_ => $wary->{$_} - ($usual->{$_} // 0)) }
            grep { $wary->{$_} != ($usual->{$_} // 0) } keys %$wary;
        is_deeply(\%more, { C_GetAttributeValue => 1 },
                  "$key: after another search it is asked what it is")
            or diag(P11::Count::text(\%more));
        my ($few, $many) = @{ $calls{IBM} };
        my %steady = map { ($_ => $many->{$_} - $few->{$_}) }
            grep { $many->{$_} != $few->{$_} } keys %$many;
        is_deeply(\%steady, { C_SignInit => 14, C_Sign => 14 },
                  "$key: once") or diag(P11::Count::text(\%steady));
    }
    done_testing();
};

# --- while others search ---

# The private half of an EC key does not tell the public one: it proves itself,
# whatever is found meanwhile.
subtest 'others search meanwhile' => sub {
    my $token = P11::Token->make('SoftHSM')
        // plan(skip_all => P11::Token->missing('SoftHSM'));
    my ($uri, $other) = map {
        $token->keypair('EC:prime256v1', "ec$_", "0$_", '--usage-sign',
                        '--usage-derive') . ';type=private' } 1, 2;
    my $count = P11::Count->new($token, manufacturer => 'IBM');
    my $calls = $count->during(sub {
        ok_use_key({ env => $count->token->conf_env }, 'it agrees',
                   "load=$uri", 'begin=2', '[', 'repeat=1000', '[',
                   "load=$other", qw(free ] ] derive=300 stop));
    });
    cmp_ok($calls->{C_DeriveKey}, '<=', 3 * 300,
           'with two probes for each at most');
    done_testing();
};

# --- one that does it ---

subtest 'openCryptoki' => sub {
    my $why = P11::Token->missing('OpenCryptoki');
    $why //= 'a sanitizer finds faults in the module' if sanitizer();
    plan(skip_all => $why) if defined $why;
    my $token = P11::Token->make('OpenCryptoki');
    my $how = { env => $token->conf_env };
    my $tool = join ' ', map { "'$_'" } 'pkcs11-tool', '--module',
        $token->module, '--token-label', $token->label, '--login', '--pin',
        $token->pin;
    my $id = 10;

    my $make = sub {
        my ($label) = @_;
        return $token->keypair('rsa:2048', $label, ++$id, '--usage-sign')
            . ';type=private';
    };
    for my $round (1, 2) {
        my ($old, $keep, $new) = map { "$_$round" } qw(old keep new);
        my $uri = $make->($old);
        my $kept = $make->($keep);
        my $elsewhere = join ' && ', map { "$tool $_ >/dev/null" }
            "--delete-object --type privkey --label $old",
            "--delete-object --type pubkey --label $old",
            "--keypairgen --key-type rsa:2048 --usage-sign --label $new"
            . ' --id ' . ++$id;
        my @load = ("load=$uri", $round == 2 ? "load=$kept" : ());
        my $then = $token->uri(object => $new, type => 'private');
        use_key_fails($how, "$round: deleted elsewhere, another made: refused",
                      qr/no longer on its token/, @load, 'sign=2',
                      "run=$elsewhere", "load=$then", 'sign');
        ok_use_key($how, '… others sign', "load=$kept", "load=$then", 'sign=2');
    }
    SKIP: {
        skip('OSSL_STORE_delete() is of OpenSSL 3.2', 2) if !$has_delete;
        my $uri = $make->('mine');
        (my $public = $uri) =~ s/private/public/;
        my $made = $token->uri(object => 'next', id => '%aa');
        use_key_fails($how, 'deleted here, another made: refused',
                      qr/no longer on its token/, "load=$uri", 'sign=2',
                      "delete=$uri", "delete=$public", "generate=$made",
                      'sign');
        ok_use_key($how, '… the other one signs', "load=$made;type=private",
                   'sign=2');
    }
    done_testing();
};

done_testing();
