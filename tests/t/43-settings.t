#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# Every setting takes good values and refuses bad ones, when a token is needed
# and not before; without any settings p11-kit's modules are used.
use strict;
use warnings;

use Test::More;
use P11::Count;
use P11::Test;
use P11::Token;

needs('pkcs11-tool');
my $token = P11::Token->needs('SoftHSM');
my $module = $token->module;
$token->keypair('EC:prime256v1', 'key', '01');
my $uri = $token->uri(object => 'key');
my $with_pin = "$uri?pin-value=" . $token->pin;
my $pin_file = 'file:' . $token->pin_file;
my $data = spew(scratch() . '/data', 'x' x 32);
my $use_key = builddir() . '/tests/c/use_key';
my @load = qw(pkey -noout -in);

sub with {
    my (%settings) = @_;
    return { env => $token->conf_env(settings => \%settings,
                                     file => 'with.cnf') };
}

# A whole openssl.cnf, as it is.
sub with_text {
    my ($text, %env) = @_;
    my $path = spew(scratch() . '/whole.cnf', $text);
    return { env => $token->env(OPENSSL_CONF => $path, %env) };
}

# The file as it is shipped

my $shipped = slurp(top() . '/conf/openssl.cnf.in');
ok_openssl(with_text($shipped, PKCS11_PROVIDER_MODULE => $module),
    'conf/openssl.cnf works as it is shipped', @load, $with_pin);
ok_openssl(with_text($shipped), '… and for software keys without a module',
    'dgst', '-sha256', $data);
my %example = $shipped =~ /^# (pkcs11-module-[\w-]+) = (.*)$/mg;

# name => [[good values], [bad values]]; the examples of the file are good.
my @yes_no = qw(true FALSE yes No on off 1 0);
my @not_bool = ('maybe', '2', 'true false');
my @not_number = ('-1', '1x', '0x10', '4294967296', 'many');
my %rows = (
    path => [[$module], ['/nonexistent/module.so']],
    'init-args' => [[], []],
    'token-pin' => [[$token->pin, $pin_file], [$token->pin_file]],
    'login-behavior' => [[qw(auto always ALWAYS)], [qw(sometimes autoalways)]],
    'cache-pins' => [[@yes_no, 'cache'], [@not_bool, 'auto']],
    'final-try' => [\@yes_no, [@not_bool, 'auto']],
    'max-sessions' => [[0, 1, 4294967295], \@not_number],
    'wait-ms' => [[1000, 3600000], [0, 3600001, @not_number]],
    'call-timeout' => [[0, 60000, 3600000], [3600001, @not_number]],
    env => [['SOFTHSM2_CONF', 'A=1  B_2=x=y', 'HOME NOT_SET'],
            ['=x', '1A=x', 'A-B', 'A;B']],
    'load-default' => [[qw(auto never)], ['always', 'true']],
    'close-at-exit' => [[@yes_no, 'auto'], \@not_bool],
    remote => [[@yes_no, 'auto'], \@not_bool],
    'reference-public-key' => [\@yes_no, \@not_bool],
    'certificate-chain' => [\@yes_no, \@not_bool],
    'tls-rsa-by-token' => [\@yes_no, [@not_bool, 'auto']],
    'block-operations' => [['digest', 'encoder, rand kdf'],
                           ['digests', 'encoder;rand', 'all']],
    log => [['file:stderr,level:1', 'file:/dev/null'],
            ['stderr', 'file:/dev/null,level:0', 'file:/dev/null,level:x',
             'file:/nonexistent/log', 'level:1']],
    'cache-keys' => [[@yes_no, 'auto'], \@not_bool],
    'cache-sessions' => [[0, 5], \@not_number],
    'load-behavior' => [[qw(auto early)], ['late']],
    quirks => [['no-deinit', 'no-operation-state,no-session-callbacks'],
               ['no-such-quirk']],
    'encode-provider-uri-to-pem' => [\@yes_no, \@not_bool],
    'allow-export' => [[0, 1], ['2', 'false']],
    'assume-fips' => [\@yes_no, \@not_bool],
);
is_deeply([sort map { s/^pkcs11-module-//r } keys %example], [sort keys %rows],
    'the file shows every setting that is tried here, and no other');
delete @example{map { "pkcs11-module-$_" } qw(path init-args token-pin log)};

for my $key (sort keys %rows) {
    my ($good, $bad) = @{ $rows{$key} };
    my $name = "pkcs11-module-$key";
    for my $value (@$good, $example{$name} // ()) {
        my $result = ok_openssl(with($name => $value), "$key = $value",
                                @load, $uri);
        is($result->{err}, '', '… silently') if $key ne 'log';
    }
    for my $value (@$bad, '') {
        my $result = openssl_refuses(with($name => $value),
            "$key = $value is refused",
            $key eq 'path' && $value ne '' ? qr/\Q$value\E/ : [qr/\Q$name\E/,
                $value eq '' ? qr/is empty/ : qr/; |cannot|no /],
            @load, $uri);
    }
}
openssl_refuses(with('pkcs11-module-init-args' => 'what SoftHSM refuses'),
    'init-args get to the module', [qr/C_Initialize/, qr/CKR_ARGUMENTS_BAD/],
    @load, $uri);
openssl_refuses(with('pkcs11-module-wait-ms' => 'soon'),
    'a refusal names setting, value and what is allowed',
    [qr/:bad setting:/, qr/pkcs11-module-wait-ms is "soon"/,
     qr/from 1 to 3600000/], @load, $uri);
openssl_refuses(with('pkcs11-module-remote' => 'maybe'), '… the words, too',
    [qr/"maybe"; allowed are true, false, auto/], @load, $uri);

# Inert until a token is used

for my $case (['wait-ms', 'soon'], ['token-pin', $token->pin_file],
              ['log', 'nowhere'], ['env', '=x'], ['path', '/nonexistent'],
              ['quirks', 'odd'], ['remote', 'maybe'], ['pin', '1234']) {
    my ($key, $value) = @$case;
    my $how = with("pkcs11-module-$key" => $value);
    for my $command (
        ['dgst', '-sha256', $data],
        [qw(genpkey -algorithm EC -pkeyopt group:P-256 -out),
         scratch() . '/soft.pem'],
        ['dgst', '-sha256', '-sign', scratch() . '/soft.pem', '-out',
         scratch() . '/soft.sig', $data],
    ) {
        my $result = ok_openssl($how, "a bad $key does not harm $command->[0]",
                                @$command);
        is($result->{err}, '', '… silently');
    }
}

# Names that are wrong

for my $case (
    ['pkcs11-module-pin', '1234', 'pkcs11-module-token-pin'],
    ['pkcs11_module_path', $module, 'pkcs11-module-path'],
    ['module-path', $module, 'pkcs11-module-path'],
    ['pkcs11-module-login-behaviour', 'auto', 'pkcs11-module-login-behavior'],
    ['pkcs11-module-quirk', 'no-deinit', 'pkcs11-module-quirks'],
    ['module1', 'no_section', 'section that is not there'],
) {
    my ($name, $value, $right) = @$case;
    openssl_refuses(with($name => $value), "$name is no setting",
        [qr/"\Q$name\E"/, qr/\Q$right\E/], @load, $uri);
}

# Modules in sections: each its own file, PIN and token

my $count = P11::Count->new($token);
my $other = P11::Token->make('SoftHSM', label => 'other', pin => '567890');
my $copy = scratch() . '/second-module.so';
run('cp', $module, $copy);
$token->add_token('second', '5678');
my $second = bless { %$token, label => 'second', pin => '5678' }, ref $token;
$second->keypair('EC:prime256v1', 'key2', '02');

sub with_modules {
    my ($main, @sections) = @_;
    my $text = "openssl_conf = init\n[init]\nproviders = providers\n"
        . "[providers]\ndefault = on\npkcs11 = pkcs11\n[on]\nactivate = 1\n"
        . "[pkcs11]\nmodule = " . module_file() . "\nactivate = 1\n$main";
    my $tail = '';
    for my $i (1 .. @sections) {
        my ($number, %set) = @{ $sections[$i - 1] };
        $text .= "module$number = section$i\n";
        $tail .= "[section$i]\n"
            . join '', map { "$_ = $set{$_}\n" } sort keys %set;
    }
    return with_text($text . $tail, $count->env);
}

# Both modules see both tokens; the URI says by which one.
my $two = with_modules('',
    [1, path => $count->module, 'token-pin' => $token->pin, name => 'one'],
    [2, path => $copy, 'token-pin' => 'env:SECOND_PIN', name => 'two']);
$two->{env}{SECOND_PIN} = '5678';
my $key2 = $second->uri(object => 'key2');
is_deeply($count->during(sub {
    ok_openssl($two, 'module2 with its PIN', @load, "$key2?module-name=two");
}), {}, '… and module1 is not asked');
is($count->during(sub {
    ok_openssl($two, 'module1 with its PIN', @load, "$uri?module-name=one");
})->{C_Login}, 1, '… by one C_Login');
openssl_refuses($two, 'the PIN of one is not for the other',
    [qr/:CKR_PIN_INCORRECT:/, qr/token "second"/],
    @load, "$key2?module-name=one");
# Tokens that only one of the modules has: each is sent its own module's PIN,
# also where the URI leaves open which token it is.
SKIP: {
    my $nss = P11::Token->make('NSS')
        or skip('NSS is not installed: no second module', 1);
    my $there = $nss->keypair('EC:prime256v1', 'there', '03');
    my ($first, $last) = map { P11::Count->new($_, own => 1) } $token, $nss;
    my %both = (env => { %{ $first->token->env }, %{ $nss->env },
        OPENSSL_CONF => $first->token->write_conf(
            file => 'both.cnf', also => [$last->token]) });
    ok_openssl(\%both, 'a key of the second module, whose token is not named',
               @load, 'pkcs11:object=there;type=private');
    is_deeply([map { $_->calls('C_Login') } $first, $last], [0, 1],
              '… one C_Login, there');
    $_->reset for $first, $last;
    ok_openssl(\%both, '… and one of the first, on one token', @load,
               $token->uri(object => 'key', type => 'private'));
    is_deeply([map { $_->calls('C_Login') } $first, $last], [1, 0],
              '… one C_Login, there');
    # Its module has a PIN, but shows another token, which wants one, too.
    $_->reset for $first, $last;
    openssl_refuses(\%both, '… on one of its two', [qr/:several match:/,
        qr/on any of \d+ tokens/], @load, 'pkcs11:object=key;type=private');
    is_deeply([map { $_->calls('C_Login') } $first, $last], [0, 0],
              '… no C_Login');
}

ok_openssl($two, 'the URI may name the file', @load,
    "$key2?module-path=$copy");
ok_openssl($two, 'a token named is found by the first', @load, $uri);
ok_openssl(with_modules('', [2, path => $module, 'token-pin' => '1234']),
    'numbers may be left out', @load, $uri);
ok_openssl(with_modules("pkcs11-module-path = /nonexistent/module.so\n",
        [1, path => $module, 'token-pin' => '1234']),
    'a module that fails does not hide another', @load, $uri);
openssl_refuses(with_modules("pkcs11-module-path = /nonexistent/module.so\n",
        [1, path => $module]), '… and is told of when nothing is found',
    [qr/:no such token:/, qr{/nonexistent/module\.so}],
    @load, 'pkcs11:token=nowhere;object=key');
for my $case (
    ['no path', qr/module3\.path/, [3, 'token-pin' => '1234']],
    ['an empty path', qr/module1\.path is empty/, [1, path => '']],
    ['a PIN that is a file', qr/module1\.token-pin.*"file:"/,
     [1, path => $module, 'token-pin' => $token->pin_file]],
    ['another name', qr/"module1\.pin".*"module1\.token-pin"/,
     [1, path => $module, pin => '1234']],
    ['number 0', qr/"module0\.path".*from 1 to 16/, [0, path => $module]],
    ['number 17', qr/"module17\.path".*from 1 to 16/, [17, path => $module]],
) {
    my ($name, $pattern, $section) = @$case;
    openssl_refuses(with_modules('', $section), "a section with $name",
        [qr/:bad setting:/, $pattern], @load, $uri);
}

# The environment

ok_openssl({ env => { %{ with('pkcs11-module-path' => '/nonexistent')->{env} },
                      PKCS11_PROVIDER_MODULE => $module } },
    'PKCS11_PROVIDER_MODULE goes before the path', @load, $uri);
openssl_refuses({ env => { %{ with()->{env} },
                           PKCS11_PROVIDER_MODULE => '/nonexistent/m.so' } },
    '… also when it is wrong', qr{/nonexistent/m\.so}, @load, $uri);
openssl_refuses({ env => { %{ with()->{env} },
                           PKCS11_PROVIDER_DEBUG => 'level:9' } },
    'a bad PKCS11_PROVIDER_DEBUG', qr/PKCS11_PROVIDER_DEBUG/, @load, $uri);
my @logs = map {
    my $log = scratch() . "/log$_";
    ok_openssl({ env => { %{ with()->{env} },
                          PKCS11_PROVIDER_DEBUG => "file:$log,level:$_" } },
        "PKCS11_PROVIDER_DEBUG, level $_", @load, $uri);
    -e $log ? slurp($log) : '';
} 1 .. 3;
unlike($logs[0], qr/C_/, 'level 1 has no calls');
like($logs[1], qr/module \S+: Cryptoki/, 'level 2 tells of the module');
like($logs[2], qr/C_FindObjectsInit/, 'level 3 has every call');

# Effects that are seen from outside

my $reference = scratch() . '/reference.pem';
my %length = map {
    ok_openssl(with('pkcs11-module-reference-public-key' => $_),
        "a reference, reference-public-key = $_", 'pkey', '-in', $uri, '-out',
        $reference);
    ($_ => length slurp($reference));
} qw(true false);
cmp_ok($length{true}, '>', $length{false} + 100,
    'it holds the public key or not');
fails_with(with('pkcs11-module-block-operations' => 'store'),
    'without a store no URI is understood', qr/unregistered scheme|Could not/,
    have('openssl'), @load, $uri);
my $kept = { env => { %{ with(
    'pkcs11-module-env' => "SOFTHSM2_CONF=$token->{env}{SOFTHSM2_CONF}"
        )->{env} }, SOFTHSM2_CONF => undef } };
ok_openssl($kept, 'env brings what the module needs', @load, $uri);
openssl_refuses({ env => { %{ with()->{env} },
                           SOFTHSM2_CONF => '/nonexistent' } },
    '… without which it fails', qr/C_Initialize|token/, @load, $uri);
for my $case ([never => 0, 'dgst', '-sha256', $data],
              [never => 0, qw(pkey -pubin -noout -in), $uri],
              [auto => 0, qw(pkey -pubin -noout -in), $uri],
              [always => 1, qw(pkey -pubin -noout -in), $uri]) {
    my ($behavior, $logins, @command) = @$case;
    my $how = { env => $count->token->conf_env(file => 'login.cnf',
        settings => { 'pkcs11-module-login-behavior' => $behavior }) };
    my $calls = $count->during(sub {
        ok_openssl($how, "login-behavior = $behavior: $command[0]", @command);
    });
    is($calls->{C_Login} // 0, $logins, "… C_Login: $logins");
}
openssl_refuses(with('pkcs11-module-login-behavior' => 'never'),
    '… and a private key is not seen', qr/no private key/, @load, $uri);
for my $case ([true => 1], [false => 0]) {
    my ($value, $closed) = @$case;
    my $how = { env => $count->token->conf_env(file => 'close.cnf',
        settings => { 'pkcs11-module-close-at-exit' => $value }) };
    my $calls = $count->during(sub {
        ok_run($how, "close-at-exit = $value", $use_key, "load=$uri", 'sign',
               'exit=0');
    });
    is(($calls->{C_CloseSession} // 0) + ($calls->{C_CloseAllSessions} // 0)
        > 0 ? 1 : 0, $closed, '… closes sessions: ' . $closed);
}
ok_run(with('pkcs11-module-max-sessions' => 1), 'one session for 8 threads',
    $use_key, 'in=8', '[', "load=$uri", 'sign=5', ']');

# No configuration at all

SKIP: {
    my ($known) = grep { slurp($_) =~ /softhsm/ }
        glob '/usr/share/p11-kit/modules/*.module /etc/pkcs11/modules/*.module';
    skip('p11-kit does not know of SoftHSM', 7) if !defined $known;
    my %bare = %{ $token->bare_env };
    delete $bare{PKCS11_PROVIDER_MODULE};
    my %none = (env => \%bare, providers => [qw(default pkcs11)]);
    ok_openssl(\%none, 'no configuration: p11-kit knows the module', @load,
               $with_pin);
    ok_openssl(\%none, '… it signs', 'dgst', '-sha256', '-out',
               scratch() . '/none.sig', '-sign', $with_pin, $data);
    ok_openssl(with(), '… here is its public half', 'pkey', '-in', $uri,
               '-pubout', '-out', scratch() . '/pub.pem');
    ok_openssl('… by which the default provider verifies', 'dgst', '-sha256',
               '-verify', scratch() . '/pub.pem', '-signature',
               scratch() . '/none.sig', $data);
    openssl_refuses(\%none, '… and fails with one error', qr/tokens here/,
                    @load, 'pkcs11:token=nowhere;object=key');
    $none{env} = { %bare, SOFTHSM2_CONF => scratch() . '/nonexistent' };
    openssl_refuses(\%none, '… what a module says is told, and what to do',
        [qr/:no such token:/, qr/"softhsm2": C_Initialize says CKR_GENERAL_/,
         qr/; see the module's own log; may this user read/], @load, $uri);
    my $own = with('pkcs11-module-path' => undef);
    ok_openssl($own, 'a PIN alone is for all that p11-kit knows', @load, $uri);
}

# Several library contexts share what the process has

my $conf = $count->token->write_conf(file => 'several.cnf');
my %several = (env => $count->token->env(OPENSSL_CONF => $conf));
for my $case (
    ['two at once', "load=$uri sign in=1 [ context=$conf [ load=$uri "
        . "load=$key2?pin-value=5678 sign free ] ] sign"],
    ['8 threads', "load=$uri in=8 [ context=$conf [ load=$uri sign=3 free ] ]"],
) {
    my ($name, $steps) = @$case;
    my $calls = $count->during(sub {
        ok_run(\%several, "library contexts: $name", $use_key,
               split ' ', $steps);
    });
    is($calls->{C_Initialize}, 1, '… one C_Initialize');
}
my $args = $count->token->write_conf(file => 'args.cnf',
    settings => { 'pkcs11-module-init-args' => 'others' });
my $clash = ok_run(\%several, 'two that disagree on the module', $use_key,
    "load=$uri", "context=$args", '[', "refused=$uri", ']', 'sign');
like($clash->{err}, qr/already in use.*other init-args/, '… are told so');

done_testing();
