#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# A module that lies about lengths, numbers and values, lacks functions, shows
# other flags, mechanisms and limits, or dies in a forked process: the scenario
# of tests/c/fault_key ends right or in a clean failure, and says what is wrong.
use strict;
use warnings;
no warnings 'qw';       # "fork=4,2" is one word

use Test::More;
use P11::Cert;
use P11::Cli;
use P11::Count;
use P11::Fault;
use P11::Test;
use P11::UseKey;

needs('pkcs11-tool');
my $fault = P11::Fault->new(manufacturer => 'Mock')
    // plan(skip_all => 'SoftHSM is not installed');
my $token = $fault->{token};
my $data = spew(scratch() . '/data', 'x' x 32);
$fault->calls;          # dies where the scenario does not work by itself

# All cases at once; each is "ok" or not, and says what failed last.
sub judge {
    my ($name, @cases) = @_;
    my $result = $fault->run_cases(@cases);
    my @bad = $result->{out} =~ /^(not ok .*)$/mg;
    my $good = () = $result->{out} =~ /^ok /mg;
    ok($result->{status} == 0 && $good == @cases && !@bad,
       "$name: " . @cases . ' cases')
        or diag(join "\n", (map { substr $_, 0, 400 } @bad), $result->{err});
    return $result->{out};
}

# --- attributes: CKA, or CKA@CKO ---

my @attributes = (
    ['CKA_CLASS', '0x0'], ['CKA_CLASS of public keys', '0x0@2'],
    ['CKA_TOKEN', '0x1'], ['CKA_LABEL', '0x3'],
    ['CKA_VALUE of certificates', '0x11@1'],
    ['CKA_VALUE of shared secrets', '0x11@4'],
    ['CKA_CERTIFICATE_TYPE', '0x80@1'], ['CKA_KEY_TYPE', '0x100'],
    ['CKA_ID', '0x102'], ['CKA_ID of public keys', '0x102@2'],
    ['CKA_SIGN', '0x108'], ['CKA_DERIVE', '0x10c'], ['CKA_MODULUS', '0x120'],
    ['CKA_PUBLIC_EXPONENT', '0x122'], ['CKA_PUBLIC_KEY_INFO', '0x129'],
    ['CKA_EC_PARAMS', '0x180'], ['CKA_EC_PARAMS of private keys', '0x180@3'],
    ['CKA_EC_POINT', '0x181'], ['CKA_EC_POINT of public keys', '0x181@2'],
    ['CKA_ALWAYS_AUTHENTICATE', '0x202'],
    ['CKA_ALLOWED_MECHANISMS', '0x40000600'],
);
my @lies = (qw(none empty short over huge small),
    'x00', 'x3003', 'x04ff', 'x3084ffffffff', 'x0282', 'x3080',
    'x06082a8648ce3d030107',            # P-256, in the place of what it is not
    'x06052b81040022',                  # P-384
    'x0441' . '04' . 'ff' x 64,         # a point that is on no curve
);
for my $row (@attributes) {
    my ($name, $which) = @$row;
    judge("$name is a lie", map { "pwk:COUNT_LIE=$which=$_" } @lies);
}

# --- results of functions ---

my %words = (
    'C_FindObjects=more' => qr/returned 65 objects where 64/,
    'C_FindObjects=huge' => qr/returned 4611686018427387904 objects/,
    'C_FindObjects=endless' => qr/search does not end/,
    'C_FindObjects=null' => qr/no object matches/,
    'C_GetFunctionList=null' => qr/module cannot be used: C_GetFunctionList/,
    'C_GetSlotList=more' => qr/reports 33 slots, 32 were possible/,
    'C_GetMechanismList=more' => qr/reports \d+ mechanisms, \d+ were/,
    'C_GetMechanismList=huge' => qr/reports 4611686018427387904 mechanisms/,
    'C_Sign=empty' => qr/has 0 bytes/, 'C_Sign=short' => qr/has 63 bytes/,
    'C_Sign=over' => qr/C_Sign: the token says it wrote 65 bytes to 64/,
    'C_Sign=huge' => qr/C_Sign: the token says it wrote 4611686018427387904/,
    'C_Decrypt=empty' => qr/oaep decoding error/,
    'C_Decrypt=short' => qr/oaep decoding error/,
    'C_Decrypt=over' => qr/C_Decrypt: the token says it wrote 257 bytes to 256/,
    'C_Decrypt=huge' =>
        qr/C_Decrypt: the token says it wrote 4611686018427387904/,
    'C_DeriveKey=null' => qr/CKR_OBJECT_HANDLE_INVALID/,
    'C_GenerateKeyPair=null' => qr/could not be deleted again/,
    'C_OpenSession=null' => qr/CKR_SESSION_HANDLE_INVALID/,
    '0x11@4=short' => qr/secret has 16 bytes, a coordinate has 32/,
    '0x11@4=empty' => qr/does not give the shared secret out/,
    '0x181@2=over' => qr/0x181: the module reports 8193 bytes, 8192 were/,
    '0x0@3=huge' => qr/0x0: the module reports 4611686018427387904 bytes/,
    '0x181@2=none' => qr/no point of the curve/,
);
my @told = sort keys %words;
my $said = judge('results that cannot be', map { "pwk:COUNT_LIE=$_" } @told);
for my $lie (@told) {
    my ($line) = $said =~ /^ok \S*LIE=\Q$lie\E: (.*)$/m;
    like($line // '', qr/ fails: .*$words{$lie}/, "$lie: it is said");
}
judge('what does no harm', map { "r:$_" } 'COUNT_LIE=C_FindObjects=twice',
    map({ "COUNT_LACKS=$_" } qw(C_Finalize C_CloseSession C_GetSessionInfo
        C_DestroyObject C_FindObjectsFinal C_GetSlotInfo C_GenerateRandom)),
    map({ "COUNT_FLAGS=$_" } qw(0x2 0x200 0x10000 0x80000)),
    map({ "COUNT_SESSIONS=$_" } 1 .. 3));

# --- functions that are not there, other tokens ---

my @needed = qw(C_Initialize C_GetInfo C_GetSlotList C_GetTokenInfo C_Login
    C_OpenSession C_FindObjectsInit C_FindObjects C_GetAttributeValue
    C_GetMechanismList C_SignInit C_Sign C_DecryptInit C_Decrypt C_DeriveKey
    C_GenerateKeyPair);
$said = judge('functions that are missing',
              map { "pw:COUNT_LACKS=$_" } @needed);
for my $function (@needed) {
    my ($line) = $said =~ /^ok \S*LACKS=$function: (.*)$/m;
    like($line // '', qr/ fails: CKR_FUNCTION_NOT_SUPPORTED: $function\b/,
         "$function: it is named");
}
%words = (
    'MECHANISMS=' => qr/does not offer CKM_ECDSA/,
    'MECHANISMS=0x1 0x1050' => qr/does not offer CKM_ECDSA/,
    'MECHANISMS=0x1041' => qr/does not offer CKM_RSA_PKCS nor CKM_RSA_X_509/,
    'FLAGS_OFF=0x400' => qr/no token matches/,
    'FLAGS_OFF=0x4' => qr/CKR_USER_NOT_LOGGED_IN/,
    'FLAGS=0x20000' => qr/one last try/, 'FLAGS=0x40000' => qr/is locked/,
    'FLAGS=0x100' => qr/C_Login/,
);
@told = sort keys %words;
$said = judge('tokens of other kinds', map { "pw:COUNT_$_" } @told);
for my $kind (@told) {
    my ($line) = $said =~ /^ok pw:COUNT_\Q$kind\E: (.*)$/m;
    like($line // '', qr/ fails: .*$words{$kind}/, "$kind: it is said");
}

# { how } of a module with these options, which is no SoftHSM by its name.
my $n = 0;
sub with {
    my (%options) = @_;
    my $count = P11::Count->new($token, manufacturer => 'Mock', %options);
    return ({ env => $count->token->conf_env(file => 'with' . ++$n . '.cnf',
                  settings => $options{keypad_pin}
                      ? { 'pkcs11-module-token-pin' => undef } : {}) },
            $count);
}

# --- a PIN that is typed at the device ---

my ($keypad, $typed) = with(flags => 0x100, keypad_pin => $token->pin);
ok_use_key($keypad, 'a keypad', map({ 'load=' . $fault->uri($_) } qw(rsa ec)),
           'sign=3', 'in=4', '[', 'sign=3', ']');
is($typed->calls('C_Login'), 1, '… is asked once');
use_key_fails((with(flags => 0x100, keypad_pin => '4321'))[0],
    'a wrong PIN at the keypad', qr/CKR_PIN_INCORRECT/,
    'load=' . $fault->uri('ec'));

# --- limits ---

for my $limit (1, 2, 16) {
    my ($how, $count) = with(sessions => $limit);
    ok_use_key($how, "eight threads and $limit sessions",
               'load=' . $fault->uri('ec'), 'in=8', '[', 'sign=20', ']',
               'derive=2');
    cmp_ok($count->calls('C_OpenSession'), '<=', $limit, '… and no more');
}

# --- certificates ---

my $cert = $token->uri(object => 'ec', type => 'cert');
ok_openssl((with())[0], 'a certificate', 'x509', '-noout', '-in', $cert);
for my $lie (qw(empty short x00 x3003 x3084ffffffff x30820400)) {
    my ($how) = with(lie => "0x11\@1=$lie");
    openssl_refuses($how, "a certificate that is none: $lie",
        [qr/:broken data:/, qr/not an X\.509 certificate/, qr/\Q$cert\E/],
        'x509', '-noout', '-in', $cert);
    my $list = ok_openssl($how, '… does not hide the keys', 'storeutl',
                          '-noout', $token->uri);
    like($list->{out}, qr/^Total found: 4$/m, '… two pairs');
}

# --- a public half that is not the key's ---

my %half = (
    rsa => 'x' . unpack('H*', "\xc1" . "\x55" x 254 . "\x01"),
    ec => 'x' . unpack 'H*', substr(
        do { ok_alone('another point', qw(genpkey -algorithm EC -pkeyopt
                      ec_paramgen_curve:P-256 -out), scratch() . '/other');
             ok_alone('… in DER', qw(pkey -pubout -outform DER -in),
                      scratch() . '/other', '-out', scratch() . '/other.der');
             slurp(scratch() . '/other.der') }, -65),
);
$half{ec} =~ s/^x/x0441/;
for my $case (['rsa', '0x120'], ['ec', '0x181@2']) {
    my ($key, $attribute) = @$case;
    my $ref = reference($token, $fault->uri($key), "true-$key");
    my ($how) = with(lie => "$attribute=$half{$key} 0x129=none 0x11\@1=none");
    openssl_refuses($how, "$key: a reference notices another public key",
        [qr/:public key differs:/, qr/pkcs11:\S*object=$key/],
        'pkeyutl', '-sign', '-inkey', $ref, '-in', $data, '-out',
        scratch() . '/sig');
}

# --- a module that does not survive a fork ---

my $ref = reference($token, $fault->uri('ec'), 'fork');
# As SoftHSM, which several processes log in to at once.
my $count = P11::Count->new($token, owner => 1);
my $owner = { env => $count->token->conf_env(file => 'owner.cnf') };
ok_use_key($owner, 'a parent that has only a reference, children that sign',
           "load=$ref", qw(fork=6,3 [ sign=3 ]));
is($count->calls('C_Sign'), 18, '… in the token');
cmp_ok($count->calls('C_Initialize'), '>=', 6,
       '… each with a module of its own');
use_key_fails($owner, 'where the parent has used the module, it dies',
              qr/a child ended with signal 6/, "load=$ref", 'sign',
              qw(fork [ sign ]));

done_testing();
