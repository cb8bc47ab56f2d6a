#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# References to keys of which the token shows no public half: nothing that
# another key did is given out, whatever is done with it, and the right key does
# everything, in as many calls as ever once it has proved what it is.
use strict;
use warnings;
no warnings 'qw';       # "fork=2,2" is one word

use Test::More;
use P11::Cli;
use P11::Count;
use P11::Test;
use P11::Token;
use P11::UseKey;

needs('pkcs11-tool');
my $token = P11::Token->needs('SoftHSM');
my $dir = scratch();
my %plain = (env => $token->conf_env(file => 'plain.cnf'));
my $data = spew("$dir/data", 'to be signed');
my $hash = spew("$dir/hash", 'h' x 32);
my $secret = spew("$dir/secret", 's' x 48);
my $number = spew("$dir/number", "\0" . 'n' x 255);

# A private RSA key tells its modulus, but not through this.
my $hidden = '0x120@3=none 0x122@3=none 0x129@3=none';
my %ways = (
    'raw RSA' => [lie => $hidden],
    'paddings of its own' => [lie => $hidden, mechanisms => '0x0 0x1 0x9 0xd'],
    'EC' => [lie => $hidden],
);

sub generate {
    my ($kind, $label, $id) = @_;
    return $token->keypair($kind eq 'ec' ? ('EC:prime256v1', $label, $id,
                                            '--usage-sign', '--usage-derive')
                           : ('rsa:2048', $label, $id, '--usage-sign',
                              '--usage-decrypt'));
}

sub forget {
    my ($id, @types) = @_;
    for my $type (@types) {
        my $gone = $token->tool('--delete-object', '--type', $type, '--id',
                                $id);
        die $gone->{err} if $gone->{status} != 0;
    }
    return;
}

# kind => { pem, pub }: a key that is there, without its public half, and one
# that another one has replaced.
sub referred {
    my ($kind, $name, $id) = @_;
    my $uri = generate($kind, $name, $id);
    my %key = (pem => reference($token, "$uri;type=private", $name),
               pub => "$dir/$name.pub");
    ok_openssl(\%plain, "$name: its public half", qw(pkey -pubout -in), $uri,
               '-out', $key{pub});
    return \%key;
}

my (%right, %wrong);
for my $row (['rsa', '01', '02'], ['ec', '03', '04']) {
    my ($kind, $id, $other) = @$row;
    $right{$kind} = referred($kind, "$kind-right", $id);
    forget($id, 'pubkey');
    $wrong{$kind} = referred($kind, "$kind-wrong", $other);
    forget($other, qw(pubkey privkey));
    my $uri = generate($kind, "$kind-wrong", $other);
    $wrong{$kind}{there} = "$dir/$kind-there.pub";
    ok_openssl(\%plain, "$kind: the public half of what is there",
               qw(pkey -pubout -in), $uri, '-out', $wrong{$kind}{there});
    forget($other, 'pubkey');
}

# --- what is done: a name, of which keys, the command; what proves it ---

sub opt { return map { ('-pkeyopt', $_) } @_ }

my @pss = opt(qw(rsa_padding_mode:pss digest:sha256));
my @signatures = (
    ['PKCS#1', 'rsa', opt('digest:sha256')],
    ['PKCS#1 without a digest', 'rsa'],
    ['PSS', 'rsa', @pss, opt('rsa_pss_saltlen:digest')],
    ['PSS with all salt', 'rsa', @pss, opt('rsa_pss_saltlen:max')],
    ['PSS with another MGF1', 'rsa', @pss, opt('rsa_mgf1_md:sha1'), 'raw'],
    ['X9.31', 'rsa', opt(qw(digest:sha256 rsa_padding_mode:x931)), 'raw'],
    ['ECDSA', 'ec'],
    ['ECDSA of a digest', 'ec', opt('digest:sha256')],
);
my @decryptions = (
    ['PKCS#1', opt('rsa_padding_mode:pkcs1')],
    ['OAEP', opt('rsa_padding_mode:oaep')],
);
openssl({}, qw(genpkey -algorithm EC -pkeyopt group:P-256 -out),
        "$dir/peer.pem");
openssl({}, qw(pkey -pubout -in), "$dir/peer.pem", '-out', "$dir/peer.pub");

sub refuses {
    my ($how, $name, @command) = @_;
    my @last = ref $command[-1] ? ${ pop @command } : ();
    unlink "$dir/out";
    openssl_refuses($how, "$name: another key", qr/public key differs/,
                    @command, '-out', "$dir/out", @last);
    ok(!-s "$dir/out", "$name: nothing is given out");
    return;
}

sub sign {
    my ($how, $name, $kind, @options) = @_;
    my @sign = ('pkeyutl', '-sign', '-in', $hash, @options, '-inkey');
    ok_openssl($how, "$name: signs", @sign, $right{$kind}{pem}, '-out',
               "$dir/sig");
    ok_alone("$name: which is good", 'pkeyutl', '-verify', '-in', $hash,
             @options, '-pubin', '-inkey', $right{$kind}{pub}, '-sigfile',
             "$dir/sig");
    refuses($how, $name, @sign, $wrong{$kind}{pem});
    return;
}

sub decrypt {
    my ($how, $name, $in, @options) = @_;
    for my $which (\%right, \%wrong) {
        my $key = $which->{rsa};
        ok_alone("$name: for it", 'pkeyutl', '-encrypt', '-pubin', '-inkey',
                 $key->{pub}, '-in', $in, '-out', "$dir/cipher", @options);
        my @decrypt = ('pkeyutl', '-decrypt', '-in', "$dir/cipher", @options,
                       '-inkey', $key->{pem});
        if ($which == \%right) {
            ok_openssl($how, "$name: decrypts", @decrypt, '-out', "$dir/out");
            is(slurp("$dir/out"), slurp($in), "$name: the message");
            next;
        }
        # OAEP by the token can only be good or bad; and it may be asked for a
        # number that is above the other key's modulus.
        if ($name =~ /own, PKCS/) {
            refuses($how, $name, @decrypt);
            next;
        }
        unlink "$dir/out";
        my $words = $name =~ /^raw/ ? qr/public key differs|:CKR_\w+:/
            : qr/:pkcs11:/;
        openssl_fails($how, "$name: another key", $words, @decrypt,
                      '-out', "$dir/out");
        ok(!-s "$dir/out", "$name: nothing is given out");
    }
    return;
}

for my $name (sort keys %ways) {
    my $count = P11::Count->new($token, @{ $ways{$name} });
    my $how = { env => $count->token->conf_env(
                    file => ($name =~ s/\W+//gr) . '.cnf') };
    my $kind = $name eq 'EC' ? 'ec' : 'rsa';
    for my $row (grep { $_->[1] eq $kind } @signatures) {
        my ($what, undef, @options) = @$row;
        my $raw = @options && $options[-1] eq 'raw' ? pop @options : '';
        next if $raw && $name ne 'raw RSA';
        sign($how, "$name, $what", $kind, @options);
    }
    refuses($how, "$name, a message", 'dgst', '-sha256', '-sign',
            $wrong{$kind}{pem}, \$data);
    if ($kind eq 'ec') {
        my @derive = ('pkeyutl', '-derive', '-peerkey', "$dir/peer.pub",
                      '-inkey');
        ok_openssl($how, 'it agrees', @derive, $right{ec}{pem}, '-out',
                   "$dir/out");
        ok_alone('on the same', qw(pkeyutl -derive -inkey), "$dir/peer.pem",
                 '-peerkey', $right{ec}{pub}, '-out', "$dir/again");
        is(slurp("$dir/out"), slurp("$dir/again"), 'as its peer');
        refuses($how, 'key agreement', @derive, $wrong{ec}{pem});
    } else {
        decrypt($how, "$name, $_->[0]", $secret, @$_[1 .. $#$_])
            for @decryptions;
        # What was made for the key that is there is no proof for the reference.
        ok_alone("$name: made for what is there", qw(pkeyutl -encrypt -pubin
                 -inkey), $wrong{rsa}{there}, '-in', $secret, '-out',
                 "$dir/there", opt('rsa_padding_mode:oaep'));
        use_key_fails($how, "$name: whatever it opens, it does not sign",
                      qr/public key differs/, "load=$wrong{rsa}{pem}",
                      $name eq 'raw RSA' ? () : "open=oaep:$dir/there",
                      'sign');
        decrypt($how, "$name, nothing", $number, opt('rsa_padding_mode:none'))
            if $name eq 'raw RSA';
    }

    # Once proved, in each process, it costs what it costs.
    my $load = "load=$right{$kind}{pem}";
    for my $act ($kind eq 'ec' ? ['sign', qw(C_SignInit C_Sign)]
                 : (['sign', qw(C_SignInit C_Sign)],
                    [$name eq 'raw RSA' ? 'decrypt' : 'oaep',
                     qw(C_DecryptInit C_Decrypt)])) {
        my ($step, @calls) = @$act;
        my $few = $count->during(sub {
            ok_use_key($how, "$name: $step", $load, "$step=2") });
        my $more = $count->during(sub {
            ok_use_key($how, "$name: $step, more", $load, "$step=9") });
        my %extra = map { ($_ => $more->{$_} - ($few->{$_} // 0)) }
            grep { $more->{$_} != ($few->{$_} // 0) } keys %$more;
        is_deeply(\%extra, { map { $_ => 7 } @calls },
                  "$name: $step, two calls each")
            or diag(P11::Count::text(\%extra));
    }
    ok_use_key($how, "$name: in children and threads", $load,
               qw(sign=2 fork=2,2 [ sign=2 ] in=3 [ sign=3 ] sign));
}

# --- which of several it is cannot be told ---

generate('ec', 'several', $_) for '11', '12';
my $several = reference($token, $token->uri(id => '%11', type => 'private'),
                        'several');
my $by_label = do {
    my $uri = $token->uri(object => 'several', type => 'private');
    my $pem = openssl(\%plain, qw(pkey -in), $several)->{out};
    my ($text) = $pem =~ /-----\n(.*)\n-----/s;
    require MIME::Base64;
    my ($claim) = MIME::Base64::decode_base64($text) =~ /(x-public-key=[\w-]+)/;
    my $der = der(0x30, der(0x1a, 'PKCS#11 Provider URI v1.0')
                  . der(0x0c, "$uri?$claim"));
    spew("$dir/by-label.pem", "-----BEGIN PKCS#11 PROVIDER URI-----\n"
         . MIME::Base64::encode_base64($der)
         . "-----END PKCS#11 PROVIDER URI-----\n");
};
my @sign = ('pkeyutl', '-sign', '-in', $hash, '-inkey', $by_label);
ok_openssl(\%plain, 'of two with public halves it takes its own', @sign, '-out',
           "$dir/sig");
forget('12', 'pubkey');
ok_openssl(\%plain, '… and where it alone has one', @sign, '-out', "$dir/sig");
forget('11', 'pubkey');
openssl_refuses(\%plain, '… where none has, nothing is guessed',
                [qr/several match/, qr/public half/], @sign, '-out',
                "$dir/several.sig");
ok(!-s "$dir/several.sig", '… nor signed');
ok_openssl(\%plain, '… by its id it is one', 'pkeyutl', '-sign', '-in', $hash,
           '-inkey', $several, '-out', "$dir/sig");

done_testing();
