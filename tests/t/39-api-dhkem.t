#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Key encapsulation with EC keys, and HPKE: what a token's keys encapsulate and
# decapsulate is what the default provider's do, both ways.
use strict;
use warnings;

use List::Util qw(sum0);
use Test::More;
use P11::Count;
use P11::Test;
use P11::Token;

needs_ssl(qw(dhkem_ssl hpke_ssl));
my $dir = scratch();
my $token = P11::Token->needs('SoftHSM');
my $count = P11::Count->new($token);

# --- keys that are known outside of the token, too ---

my @files;      # in the order in which they go there

# Returns the URI that it will have, and its file.
sub twins {
    my ($file) = @_;
    push @files, $file;
    return ($token->uri(id => sprintf '%%00%%%02x', scalar @files), $file);
}

sub made {
    my ($label, $curve) = @_;
    ok_openssl("$label: made", qw(genpkey -algorithm EC -pkeyopt),
               "group:$curve", '-out', "$dir/$label.pem");
    return twins("$dir/$label.pem");
}

# Of a private number, by openssl itself.
sub known {
    my ($label, $curve, $private) = @_;
    my ($conf, $der) = ("$dir/$label.asn1", "$dir/$label.der");
    my %oid = ('P-256' => 'prime256v1', 'P-521' => 'secp521r1');

    spew($conf, "asn1=SEQUENCE:key\n[key]\nversion=INTEGER:1\n"
         . "private=FORMAT:HEX,OCTETSTRING:$private\n"
         . "group=EXPLICIT:0,OID:$oid{$curve}\n");
    ok_openssl("$label: encoded", qw(asn1parse -noout -genconf), $conf, '-out',
               $der);
    ok_openssl("$label: as PKCS#8", qw(pkcs8 -topk8 -nocrypt -inform DER -in),
               $der, '-out', "$dir/$label.pem");
    return twins("$dir/$label.pem");
}

# What is in the file of test vectors.
sub vectors {
    my (@vectors, $name);

    for (split /\n/, slurp(top() . '/tests/data/dhkem-rfc9180')) {
        push @vectors, {} if /^vector/;
        if (/^(\w+) = ?(.*)/) {
            $name = $1;
            $vectors[-1]{$name} = $2;
        } elsif (/^\s+(\w+)$/) {
            $vectors[-1]{$name} .= $1;
        }
    }
    return @vectors;
}

my %pair = map { $_ => [made("r$_", $_), made("s$_", $_)] }
    qw(P-256 P-384 P-521 P-224 secp256k1 brainpoolP256r1);
my @vectors = vectors();
is(scalar(@vectors), 3, 'vectors');
for my $v (@vectors) {
    @{$v}{qw(where curve)} = split / /, $v->{vector};
    for my $key (grep { exists $v->{$_} } qw(skR skS)) {
        $v->{$key} = [known("$v->{where} $key", $v->{curve}, $v->{$key})];
    }
}
my $imported = ok_run({ env => $token->env, stdin => join '', map {
    slurp($_) =~ s/^-----.*$//mgr =~ s/\s+//gr . "\n" } @files },
    'imported', builddir() . '/tests/c/import_key', $token->module,
    $token->label, $token->pin);
unlike($imported->{out}, qr/^-/m, 'all of them')
    or diag($imported->{out} =~ s/\t[^\t]*$//mgr);

# The calls, what was printed, and how often the token agreed on a secret.
sub does {
    my ($what, $how, $program, @arguments) = @_;
    my $on = $how->{count} // $count;
    my $result;
    my $env = $on->token->conf_env(%{ $how->{conf} // {} });
    my $calls = $on->during(sub {
        $result = ok_run({ env => $env }, $what,
                         builddir() . "/tests/c/$program", @arguments);
    });
    diag(grep { /^not ok/ } split /^/, $result->{out});
    my ($done) = $result->{out} =~ /^# by the token: (\d+)/m;
    return ($calls, $result, $done // 0);
}

sub checks { return scalar(() = $_[0]{out} =~ /^ok /mg) }

# Where libcrypto has none of it, we do not offer it.
if (openssl(qw(list -kem-algorithms))->{out} !~ /\bEC\b.*\@ default/) {
    my ($calls) = does('not of this OpenSSL', {}, 'dhkem_ssl', 'absent',
                      @{ $pair{'P-256'} });
    is($calls->{C_DeriveKey} // 0, 0, '… nothing is derived');
    done_testing();
    exit;
}

# --- both ways, in each order of providers ---

my %orders = (
    'default first' => {},
    'ours first' => { file => 'first.cnf', providers => [qw(pkcs11 default)] },
    'ours preferred' => { file => 'preferred.cnf',
                          properties => '?provider=pkcs11' },
);
for my $order (sort keys %orders) {
    # libcrypto loses a key management where it refuses.
    next if $order ne 'ours preferred' && sanitizer();
    my (undef, $result) = does("$order: a sender's key, nothing said", {
        conf => $orders{$order} }, 'dhkem_ssl', 'unasked', @{ $pair{'P-256'} });
    like($result->{out}, $order eq 'ours preferred' ? qr/^# unasked: ours$/m
         : qr/^# unasked: (?:ours|refused)$/m, '… we can, or it is refused');
}
for my $curve ('P-256', 'P-384', 'P-521') {
    for my $order ($curve eq 'P-256' ? sort keys %orders : 'default first') {
        my $what = "$curve, $order";
        my %how = (conf => $orders{$order});
        my ($calls, $result, $done) = does($what, \%how, 'dhkem_ssl', 'all',
                                          @{ $pair{$curve} });
        cmp_ok(checks($result), '>', 100, "$what: many checks");
        cmp_ok($done, '>', 10, "$what: $done by the token");
        is($calls->{C_DeriveKey}, $done, '… each by a C_DeriveKey, what was '
           . 'refused and what is done in software by none');
        is($calls->{C_DestroyObject}, $done, '… and no secret stays there');

        ($calls, $result) = does("$what: software", \%how, 'dhkem_ssl',
                                'software', @{ $pair{$curve} }[1, 3]);
        cmp_ok(checks($result), '>', 30, "$what: checks in software");
        is_deeply($calls, {}, '… without a call');

        ($calls, $result, $done) = does("$what: HPKE", \%how, 'hpke_ssl',
                                       $curve, @{ $pair{$curve} });
        cmp_ok(checks($result), '>', 150, "$what: HPKE, many checks");
        is($calls->{C_DeriveKey}, $done, "… $done by the token");
    }
}

# --- what it takes ---

my %budget = (open => 3, auth => 6, seal => 3);
for my $what (sort keys %budget) {
    my ($few, $many) = map {
        my ($calls) = does("$what, $_ times", {}, 'dhkem_ssl', 'times', $_,
                          $what, @{ $pair{'P-256'} });
        sum0(values %$calls);
    } 1, 11;
    is(($many - $few) / 10, $budget{$what},
       "$what: $budget{$what} calls each time");
}

# --- test vectors of RFC 9180 ---

for my $v (@vectors) {
    my ($calls, undef, $done) = does($v->{vector}, {}, 'dhkem_ssl', 'vector',
        @{ $v->{skR} }, @{ $v->{skS} // $v->{skR} },
        @{$v}{qw(ikmE enc secret)});
    is($done, $v->{skS} ? 3 : 1, "$v->{vector}: by the token");
    is($calls->{C_DeriveKey}, $done, '… indeed');
}

# --- refusals ---

for my $curve ('secp256k1', 'P-224', 'brainpoolP256r1') {
    my ($calls, $result) = does("$curve is refused", {}, 'dhkem_ssl', 'curve',
                                @{ $pair{$curve} });
    my $name = { 'P-224' => 'secp224r1' }->{$curve} // $curve;
    my $n = () = $result->{err}
        =~ /DHKEM has P-256, P-384 and P-521; the key's curve is $name$/mg;
    is($n, 4, '… each time in words') or diag($result->{err});
    is($calls->{C_DeriveKey} // 0, 0, '… without a call');
}

my ($calls, $result) = does('keys on two curves', {}, 'dhkem_ssl', 'other',
    @{ $pair{'P-256'} }[0, 1], @{ $pair{'P-384'} }[2, 3]);
like($result->{err}, qr/the sender's key is not on the curve of the recipient/,
     '… in words');
is($calls->{C_DeriveKey} // 0, 0, '… without a call');

my @denied;
for my $label ('no r', 'no s') {
    my $pem = "$dir/$label.pem";
    ok_openssl({ env => $token->conf_env }, "$label: a key not for deriving",
        qw(genpkey -propquery ?provider=pkcs11 -algorithm EC -out), $pem,
        map { ('-pkeyopt', $_) } 'group:P-256',
        'pkcs11_uri:' . $token->uri(object => $label),
        'pkcs11_key_usage:digitalSignature');
    push @denied, $token->uri(object => $label), "$dir/rP-256.pem";
}
($calls, $result) = does('keys not for deriving', {}, 'dhkem_ssl', 'denied',
                        @denied);
my $n = () = $result->{err}
    =~ /does not permit this key to derive \(CKA_DERIVE\)/g;
is($n, 3, '… each time in words');
is($calls->{C_DeriveKey} // 0, 0, '… without a call');

my $failing = P11::Count->new($token, fail => 'C_DeriveKey#1+=0x30');
($calls, $result) = does('a token that fails', { count => $failing },
                        'dhkem_ssl', 'refused', @{ $pair{'P-256'} });
$n = () = $result->{err} =~ /CKR_DEVICE_ERROR:.*C_DeriveKey/g;
is($n, 2, '… is told of, each time') or diag($result->{err});

# A key on a token does not come of anything that is known.
openssl_refuses({ env => $token->conf_env }, 'a key of dhkem-ikm on the token',
    [qr/cannot be made of dhkem-ikm/, qr/leave it out/], qw(genpkey -propquery
    ?provider=pkcs11 -algorithm EC -pkeyopt group:P-256 -out), "$dir/seed.pem",
    '-pkeyopt', 'hexdhkem-ikm:' . '5a' x 32,
    '-pkeyopt', 'pkcs11_uri:' . $token->uri(object => 'seed'));

# --- the command ---

my $env = { env => $token->conf_env };
my ($uri, $file) = @{ $pair{'P-256'} };
ok_openssl('public half', qw(pkey -pubout -in), $file, '-out',
           "$dir/public.pem");
ok_openssl('pkeyutl encapsulates', qw(pkeyutl -encap -kemop DHKEM -pubin),
           '-inkey', "$dir/public.pem", '-out', "$dir/sealed", '-secret',
           "$dir/secret");
ok_openssl($env, "pkeyutl decapsulates with the token's key",
           qw(pkeyutl -decap -kemop DHKEM -inkey), $uri, '-in', "$dir/sealed",
           '-secret', "$dir/again");
is(slurp("$dir/again"), slurp("$dir/secret"), '… the same secret');
spew("$dir/sealed", substr slurp("$dir/sealed"), 1);
fails_with($env, 'pkeyutl: one octet less', qr/has 64 octets, should have 65/,
           have('openssl'), qw(pkeyutl -decap -kemop DHKEM -inkey), $uri,
           '-in', "$dir/sealed", '-secret', "$dir/less");
done_testing();
