#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# Where a PIN comes from, which source goes first, and where it never gets to.
use strict;
use warnings;

use MIME::Base64;
use Test::More;
use P11::Count;
use P11::PinSources;
use P11::Test;
use P11::Token;

needs('pkcs11-tool');
my $pin = 'Geheim-4711';
my $token = P11::Token->needs('SoftHSM', pin => $pin);
$token->keypair('EC:prime256v1', 'key', '01');
my $uri = $token->uri(object => 'key');
my $file = $token->pin_file;
my $dir = scratch();
my $wrong_file = spew("$dir/wrong", "wrong\n");
my $crlf = spew("$dir/crlf", "$pin\r\n");

# A source as P11::PinSources has it, and more of the command line.
sub how_of {
    my ($token, $case) = @_;
    return { env => source_env($token, $case),
             $case->{as} ? (as => $case->{as}) : () };
}

sub load_arguments {
    my ($case) = @_;
    my $query = defined $case->{query} ? "?$case->{query}" : '';
    return ('pkey', '-noout', '-in', "$uri$query", @{ $case->{more} // [] });
}

sub in_folder {
    my ($folder) = @_;
    return ['sh', '-c', 'cd "$0" && exec "$@"', $folder];
}

sub folder_with {
    my ($name) = @_;
    my $folder = scratch() . '/folder';
    mkdir $folder;
    spew("$folder/$name", "wrong\n");
    return $folder;
}

# A file in a folder that nobody may look into, root without this right neither.
sub hidden_file {
    my $folder = scratch() . '/hidden';
    mkdir $folder;
    my $hidden = spew("$folder/pin", "$pin\n");
    chmod 0, $folder or die $!;
    return $hidden;
}

sub without_rights {
    return [] if $> != 0;
    return ['setpriv', '--bounding-set', '-dac_override,-dac_read_search'];
}

# Sources that work

for my $case (
    # Their callback is for programs of ours, -passin is openssl's.
    (grep { !$_->{steps} } pin_sources($pin, $file)),
    { name => 'pin-value, escaped', query => 'pin-value=%47eheim%2D4711' },
    { name => 'pin-source file:///', query => "pin-source=file://$file" },
    { name => 'pin-source, CR and LF', query => "pin-source=file:$crlf" },
    { name => '-passin', more => ['-passin', "pass:$pin"] },
    # A setting is no file for there being one of that name.
    { name => 'the setting, in a folder with a file of that name',
      setting => $pin, as => in_folder(folder_with($pin)) },
    { name => 'pin-value before the setting', query => "pin-value=$pin",
      setting => 'wrong' },
    { name => 'pin-source before the setting', setting => 'wrong',
      query => "pin-source=file:$file" },
    { name => 'the setting before -passin', setting => $pin,
      more => [qw(-passin pass:wrong)] },
    { name => 'pin-value before -passin', query => "pin-value=$pin",
      more => [qw(-passin pass:wrong)] },
) {
    my $count = P11::Count->new($token);
    ok_openssl(how_of($count->token, $case), $case->{name},
               load_arguments($case));
    is($count->calls('C_Login'), 1, '… with one C_Login');
}

# Sources that fail: no other one is tried in their stead.

my $empty = spew("$dir/empty", '');
my $lines = spew("$dir/lines", "$pin\n$pin\n");
my $long = spew("$dir/long", 'x' x 300);

# Settings that mean a place, and would be sent as they stand: whether there is
# such a file plays no part.
my @places = (
    ['the setting is a file without file:', $file, 'file:'],
    ['the setting is a file that is not there', '/nonexistent/pin', 'file:'],
    ['the setting is a path of somebody\'s home', '~/pin', 'file:'],
    ['the setting is a relative path', './pin', 'file:'],
    ['the setting is a relative path upwards', '../pin', 'file:'],
    ['the setting is that of -passin', "pass:$pin", 'file:'],
    ['the setting is FILE:', "FILE:$file", 'file:'],
    ['the setting is Env:', 'Env:MY_PIN', 'env:'],
    ['the setting is FD:', 'FD:3', 'fd:'],
    ['the setting is Credential:', 'Credential:pin', 'credential:'],
);
my $hidden = hidden_file();
my @blind = (@{ without_rights() }, 'test', '!', '-e', $hidden);
my $is_hidden = run(@blind)->{status} == 0;
if ($is_hidden) {
    push @places, ['the setting is a file that cannot be seen', $hidden,
                   'file:', as => without_rights()];
}

for my $case (
    { name => 'a wrong pin-value', query => 'pin-value=wrong', setting => $pin,
      logins => 1, says => qr/:CKR_PIN_INCORRECT:/ },
    { name => 'a wrong file', query => "pin-source=file:$wrong_file",
      setting => $pin, logins => 1, says => qr/:CKR_PIN_INCORRECT:/ },
    { name => 'a wrong setting', setting => 'wrong', logins => 1,
      more => ['-passin', "pass:$pin"], says => qr/:CKR_PIN_INCORRECT:/ },
    { name => 'a wrong -passin', more => [qw(-passin pass:wrong)],
      logins => 1, says => qr/:CKR_PIN_INCORRECT:/ },
    { name => 'an empty pin-value', query => 'pin-value=', setting => $pin,
      says => qr/pin-value/ },
    { name => 'an empty file', query => "pin-source=file:$empty",
      setting => $pin, says => qr/"\Q$empty\E" is empty/ },
    { name => 'a missing file', query => 'pin-source=file:/nonexistent/pin',
      setting => $pin, says => qr{"/nonexistent/pin".*No such file} },
    { name => 'a folder', query => "pin-source=file:$dir", setting => $pin,
      says => qr/"\Q$dir\E" is no file/ },
    { name => 'a file of two lines', query => "pin-source=$lines",
      says => qr/more than one line/ },
    { name => 'a file that is too long', query => "pin-source=$long",
      says => qr/longer than/ },
    { name => 'a host', query => 'pin-source=file://host/pin',
      says => qr/names a host/ },
    { name => 'a relative path', query => 'pin-source=pin',
      says => qr/no absolute file name/ },
    { name => 'a command', query => 'pin-source=%7Ccat%20/etc/passwd',
      says => qr/commands are not run/ },
    { name => 'a variable that is not set', query => 'pin-source=env:NO_PIN',
      setting => $pin, says => qr/"NO_PIN".*not set/ },
    { name => 'an empty variable', query => 'pin-source=env:NO_PIN',
      env => { NO_PIN => '' }, says => qr/"NO_PIN" is empty/ },
    { name => 'a descriptor that is closed', query => 'pin-source=fd:77',
      says => qr/fd:77/ },
    { name => 'no number of a descriptor', query => 'pin-source=fd:x',
      says => qr/number of a file descriptor/ },
    { name => 'no folder of credentials', query => 'pin-source=credential:pin',
      env => { CREDENTIALS_DIRECTORY => undef },
      says => qr/CREDENTIALS_DIRECTORY/ },
    { name => 'a credential elsewhere',
      query => 'pin-source=credential:..%2Fpin',
      env => { CREDENTIALS_DIRECTORY => $dir },
      says => qr/no name of a credential/ },
    (map { my ($name, $setting, $word, %more) = @$_;
           { name => $name, setting => $setting, %more,
             says => qr/pkcs11-module-token-pin begins .*"\Q$word\E"/ } }
         @places),
    { name => 'the setting names no file', setting => 'file:/nonexistent',
      more => ['-passin', "pass:$pin"], says => qr/No such file/ },
    { name => 'an empty -passin', more => [qw(-passin pass:)],
      says => qr/no PIN/ },
) {
    my $count = P11::Count->new($token);
    my $logins = $case->{logins} // 0;
    my $result = openssl_refuses(how_of($count->token, $case),
        "refused: $case->{name}", $case->{says}, load_arguments($case));
    is($count->calls('C_Login'), $logins, "… C_Login: $logins");
    unlike($result->{entry}, qr/\Q$pin\E|wrong[^"]/, '… and no PIN is told');
}
chmod 0700, "$dir/hidden" or die $!;

# The terminal

SKIP: {
    skip('script is not installed', 6) if !have('script');
    my $prompt = 'Enter pass phrase for PKCS#11 token "tok" PIN:';
    my %how = %{ how_of($token, {}) };
    my $command = have('openssl') . " pkey -noout -in '$uri'";
    my @script = ('script', '-qefc', $command, "$dir/screen");
    my $asked = ok_run(\%how, 'the PIN is typed',
                       typed($pin, "$dir/screen", $command));
    my @prompts = $asked->{out} =~ /\Q$prompt\E/g;
    is(scalar @prompts, 1, '… after one prompt, with the words it always has');
    unlike($asked->{out}, qr/\Q$pin\E/, '… without echo');
    fails_with(\%how, 'a wrong one is typed',
               [qr/\Q$prompt\E/, qr/CKR_PIN_INCORRECT/],
               typed('wrong', "$dir/screen", $command));
    $asked = ok_run(how_of($token, { setting => $pin }),
        'with the PIN in a setting', @script);
    unlike($asked->{out}, qr/pass phrase/, '… nobody is asked');
}

# A PIN that is typed at the device

my $CKF_PROTECTED_AUTHENTICATION_PATH = 0x100;
for my $setting (undef, 'wrong') {
    my $keypad = P11::Count->new($token, keypad_pin => $pin,
        flags => $CKF_PROTECTED_AUTHENTICATION_PATH);
    my $result = ok_openssl(how_of($keypad->token, { setting => $setting }),
        'a token with a keypad' . (defined $setting ? ', and a setting' : ''),
        load_arguments({}));
    is($keypad->calls('C_Login'), 1, '… gets one C_Login, and no PIN');
    unlike($result->{err}, qr/pass phrase/, '… nobody is asked');
}
my $mistyped = P11::Count->new($token, keypad_pin => 'wrong',
    flags => $CKF_PROTECTED_AUTHENTICATION_PATH);
openssl_refuses(how_of($mistyped->token, {}), 'a wrong PIN at the device',
    [qr/:CKR_PIN_INCORRECT:/, qr/token "tok"/], load_arguments({}));
is($mistyped->calls('C_Login'), 1, '… is asked for once');

# Where the PIN does not get to

my $log = "$dir/log";
my %logged = (env => {
    %{ $token->conf_env(settings => { 'pkcs11-module-token-pin' => $pin }) },
    PKCS11_PROVIDER_DEBUG => "file:$log,level:3" });
my $reference = "$dir/reference.pem";
my $secret = "$uri?pin-value=$pin";
my %said;
for my $case (
    ['a reference', 'pkey', '-in', $secret, '-out', $reference],
    ['pkey -text', 'pkey', '-in', $secret, '-text', '-noout'],
    ['storeutl -text', 'storeutl', '-text', $secret],
    ['pkey -pubout', 'pkey', '-in', $secret, '-pubout'],
    ['genpkey', qw(genpkey -propquery provider=pkcs11 -algorithm EC -pkeyopt
                   group:P-256 -text -pkeyopt),
     'pkcs11_uri:' . $token->uri(object => 'new') . "?pin-value=$pin"],
) {
    my ($name, @command) = @$case;
    my $result = ok_openssl(\%logged, "$name is written", @command);
    my $text = $result->{out} . $result->{err};
    $text .= slurp($reference) if $name eq 'a reference';
    $text =~ s{-----BEGIN PKCS.*?\n(.*?)-----END[^\n]*}{decode_base64($1)}esg;
    like($text, qr/object=key|object=new|BEGIN PUBLIC/, '… it is there');
    unlike($text, qr/\Q$pin\E/, '… without the PIN');
}
like(slurp($log), qr/C_Login/, 'the log of every call has the login');
unlike(slurp($log), qr/\Q$pin\E/, '… without the PIN');

# A reference that was made elsewhere, with a PIN in it, and is written anew.
sub der {
    my ($tag, $value) = @_;
    my $n = length $value;
    return pack($n < 256 ? 'CCC' : 'CCn', $tag, $n < 256 ? 0x81 : 0x82, $n)
        . $value;
}

sub decoded {
    my ($pem) = @_;
    my ($base64) = $pem =~ /-----BEGIN.*?\n(.*?)-----END/s;
    return decode_base64($base64 // '');
}

my ($public) = decoded(slurp($reference)) =~ /(x-public-key=[\w-]+)/;
my $foreign = spew("$dir/foreign.pem", "-----BEGIN PKCS#11 PROVIDER URI-----\n"
    . encode_base64(der(0x30, "\x1a\x19PKCS#11 Provider URI v1.0"
                        . der(0x0c, "$secret&$public")))
    . "-----END PKCS#11 PROVIDER URI-----\n");
ok_openssl(how_of($token, {}), 'a reference with a PIN in it is read', 'pkey',
    '-in', $foreign, '-out', "$dir/anew.pem");
like(decoded(slurp("$dir/anew.pem")), qr/object=key/, '… and written anew');
unlike(decoded(slurp("$dir/anew.pem")), qr/\Q$pin\E/, '… without it');

ok_openssl(how_of($token, {}), 'a reference keeps where the PIN is',
    'pkey', '-in', "$uri?pin-source=file:$file", '-out', $reference);
ok_openssl(how_of($token, {}), '… and works by that',
    'dgst', '-sha256', '-sign', $reference, '-out', "$dir/sig", $file);
ok_openssl(\%logged, 'the public half for the judge', 'pkey', '-in', $uri,
    '-pubout', '-out', "$dir/pub.pem");
ok_openssl('… which the default provider verifies', 'dgst', '-sha256',
    '-verify', "$dir/pub.pem", '-signature', "$dir/sig", $file);

my $server = start_server({ env => $logged{env} }, 'use_key',
    builddir() . '/tests/c/use_key', "load=$uri",
    qw(sign=1 fork=1 [ sign=1), "await=$dir/seen", ']');
SKIP: {
    skip('the kernel does not tell of children', 2)
        if !-e "/proc/self/task/$$/children";
    my $child;
    ok(wait_for(60, sub {
        ($child) = split ' ', eval {
            slurp("/proc/$server->{pid}/task/$server->{pid}/children") } // '';
        return defined $child;
    }), 'a process with a child') or diag(slurp($server->{err}));
    skip('it has none', 1) if !defined $child;
    my $environ = slurp("/proc/$server->{pid}/environ")
        . slurp("/proc/$child/environ") . slurp("/proc/$child/cmdline");
    ok($environ =~ /PKCS11_PROVIDER_DEBUG/ && $environ !~ /\Q$pin\E/,
       'the environment of a child is without the PIN');
}
spew("$dir/seen", '');
is(stop_server($server, 0), 0, 'both end well') or diag(slurp($server->{err}));

done_testing();
