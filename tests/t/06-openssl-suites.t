#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# What tests/openssl/check judges by: reading what OpenSSL's tests print, and
# the list of what may differ. The suites themselves take long: make
# check-openssl.
use strict;
use warnings;

use Test::More;
use P11::Suite::Evp;
use P11::Suite::Keys;
use P11::Suite::Listed;
use P11::Suite::Overlay;
use P11::Suite::Tap;
use P11::Test;

# --- TAP ---

my $base = <<'END';
1..4
ok 1 - one
    # Subtest: two
    1..2
    ok 1 - a
        ok 1 - deep
    ok 2 - b
ok 2 - two
ok 3 - three # skip not here
    ok 1
    ok 2 - same
    ok 3 - same
ok 4
okay, this is no test
END

sub parsed { return P11::Suite::Tap::parse(@_) }

sub lines {
    my ($result) = @_;
    return join "\n", map { "$_->[0]: $_->[1]" } @$result;
}

is(lines(parsed($base)), join("\n", 'one: ok', 'two > a: ok',
   'two > b > deep: ok', 'three: skip', ' > : ok', ' > same: ok',
   ' > same #2: ok'), 'tests are read, with the tests below them');
is_deeply({ P11::Suite::Tap::totals(parsed($base)) },
          { ok => 6, 'not ok' => 0, skip => 1 }, 'and counted');

sub differences {
    my ($changed) = @_;
    return join '; ', map { join ',', @$_ }
        P11::Suite::Tap::differences(parsed($base), parsed($changed));
}

is(differences($base), '', 'nothing differs from itself');
is(differences($base =~ s/ok 1 - deep/not ok 1 - deep/r),
   'two > b > deep,ok,not ok', 'a failure below');
is(differences($base =~ s/^ok 2 - two/not ok 2 - two/mr),
   'two,-,not ok', 'a failure although all below is right');
is(differences($base =~ s/ok 1 - one\n//r), 'one,ok,missing', 'none');
is(differences($base =~ s/ok 1 - one/ok 1 - one # SKIP why/r), 'one,ok,skip',
   'one that is skipped');
is(differences($base =~ s/    ok 3 - same\n//r), ' > same #2,ok,missing',
   'one of two with one name');
is(differences("${base}not ok 5 - new\nok 6 - newer\n"), 'new,-,not ok',
   'one that was not there fails');
is(differences($base =~ s/^ok 3 - three # skip.*/not ok 3 - three/mr),
   'three,skip,not ok', 'one that was skipped fails');
$base =~ s/ok 1 - one/not ok 1 - one/;
is(differences($base), '', 'what was wrong before may be wrong');

# --- the list ---

my $list = <<'END';
# a remark
evp * one .* two
    because
    of that
cli 3.0,3.5 ^three
    why not
END
my @rows = P11::Suite::Listed::parse($list);
is(scalar @rows, 2, 'two rows');
is($rows[0]{reason}, 'because of that', 'a reason of two lines');
is(P11::Suite::Listed::take('f: one and two', @rows), $rows[0], 'a test in it');
is(P11::Suite::Listed::take('f: two and one', @rows), undef, 'and one not');
is("$rows[0]{used} $rows[1]{used}", '1 0', 'what is used is known');
for my $row (['evp', '3.0.20', 1], ['cli', '3.5.1', 1], ['cli', '3.6.0', 0],
             ['cli', '30.5', 0], ['ssl', '3.0.20', 0]) {
    my ($suite, $version, $wanted) = @$row;
    is(scalar P11::Suite::Listed::rows_of($suite, $version, @rows), $wanted,
       "rows of $suite in $version");
}
for my $row (["evp * x\n", qr/line 1: there is no reason/],
             ["# x\n  why\n", qr/line 2: a reason without a row/],
             ["evp x\n  why\n", qr/line 1: SUITE VERSIONS PATTERN/],
             ["evp * (\n  why\n", qr/Unmatched/]) {
    my ($text, $pattern) = @$row;
    ok(!eval { P11::Suite::Listed::parse($text); 1 }, 'a list is refused');
    like($@, $pattern, 'and why');
}
my @listed = P11::Suite::Listed::parse(slurp(top() . '/tests/openssl/listed'));
cmp_ok(scalar @listed, '>', 0, 'the list in the tree is read');
is(join(' ', grep { !/^(?:evp|import|cli|ssl|unused)$/ }
        map { $_->{suite} } @listed), '', 'it has suites that there are');

# --- evp_test ---

my $data = <<'END';
Title = A title

# a remark
PrivateKey = K
-----BEGIN PRIVATE KEY-----
AAAA=
-----END PRIVATE KEY-----

Sign = K
Ctrl = digest:SHA1
Input = 00

Verify = K
Result = VERIFY_ERROR

PrivPubKeyPair = K:L
END

sub evp {
    my ($text) = @_;
    return lines(P11::Suite::Evp::results($data, $text));
}

my $good = "Completed 3 tests with 0 errors and 0 skipped\n";
my $three = join "\n", 'Sign = K; Ctrl = digest:SHA1; Input = 00: ok',
    'Verify = K; Result = VERIFY_ERROR: ok', 'PrivPubKeyPair = K:L: ok';
is(evp($good), "$three\n3 tests are completed: ok", 'stanzas that are tests');
is(evp("# x.txt:9: Source of above error; unexpected error X\n"
       . "# x.txt:13: Expected A got B\n" . $good =~ s/0 errors/2 errors/r),
   $three =~ s/00: ok/00: not ok/r =~ s/VERIFY_ERROR: ok/VERIFY_ERROR: not ok/r
   . "\n3 tests are completed: ok\nall 2 errors are understood: ok",
   'errors belong to them');
like(evp($good =~ s/0 errors/1 errors/r),
     qr/^all 1 errors are understood: not ok$/m, 'an error nobody can place');
like(evp("# skipping x.txt:9\n# Reading\n"), qr/^not all tests are completed/m,
     'evp_test may end early');

# --- configurations and keys ---

my %settings = (module => '/m.so');
my $activated = "\n[p11_section]\nmodule = /m.so\nactivate = 1\n";
is(P11::Suite::Overlay::activated("x = 1\n", %settings),
   "openssl_conf = p11_init\nx = 1\n\n[p11_init]\nproviders = p11_providers\n\n"
   . "[p11_providers]\ndefault = p11_default\npkcs11 = p11_section\n\n"
   . "[p11_default]\nactivate = 1\n$activated",
   'a configuration that says nothing of providers');
is(P11::Suite::Overlay::activated("openssl_conf = i\n[ i ]\nproviders = p\n"
                                  . "[p]\nlegacy = l\n[l]\nactivate = 1\n",
                                  %settings),
   "openssl_conf = i\n[ i ]\nproviders = p\n[p]\nlegacy = l\n"
   . "pkcs11 = p11_section\n[l]\nactivate = 1\n$activated", 'and one that does');

like(P11::Suite::Overlay::activated("openssl_conf = i\n[i]\nproviders = p\n"
                                    . "[p]\ndefault = d\n[d]\n# x = 1\n",
                                    %settings),
     qr/^\[d\]\nactivate = 1\n/m, 'the default provider is not lost');

my $pem = "-----BEGIN PRIVATE KEY-----\nAAAA\nBBBB\n"
    . "-----END PRIVATE KEY-----\n";
my $keys = bless { uri => { AAAABBBB => 'pkcs11:object=x' } },
    'P11::Suite::Keys';
my $text = "text\n$pem" . "more\n" . $pem =~ s/AAAA/CCCC/r
    . $pem =~ s/PRIVATE/ENCRYPTED PRIVATE/gr;
my $replaced = $keys->replaced($text);
my $reference = P11::Suite::Keys::reference('pkcs11:object=x');
like($reference, qr/\A-----BEGIN PKCS#11 PROVIDER URI-----\n/, 'a reference');
is($replaced, $text =~ s/\Q$pem\E/$reference/r,
   'a key is replaced where its text is known, and no other');
done_testing();
