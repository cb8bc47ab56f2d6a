#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# The counting module counts, from every process, and is otherwise not there.
use strict;
use warnings;

use Test::More;
use P11::Test;
use P11::Count;
use P11::Token;

needs('pkcs11-tool');
my $token = P11::Token->needs('SoftHSM');
$token->keypair('EC:prime256v1', 'counted', '01');

my $count = P11::Count->new($token);
my $counted = $count->token;
my $data = spew(scratch() . '/data', 'x' x 32);

is_deeply($count->read, {}, 'nothing is counted at first');

sub sign {
    my ($through) = @_;
    return $through->tool('--sign', '--mechanism', 'ECDSA', '--id', '01',
                          '--input-file', $data,
                          '--output-file', scratch() . '/signature');
}

my $result = sign($counted);
is($result->{status}, 0, 'pkcs11-tool signs through it')
    or diag($result->{err});
is(-s scratch() . '/signature', 64, 'the signature is there');
is($count->calls('C_Initialize'), 1, 'C_Initialize is counted');
is($count->calls('C_Login'), 1, 'C_Login is counted');
is($count->calls('C_SignInit'), 1, 'C_SignInit is counted');
cmp_ok($count->calls('C_Sign') + $count->calls('C_SignFinal'), '>=', 1,
    'and what follows it');
is($count->calls('C_Verify'), 0, 'what was not called has no count');
cmp_ok($count->total, '>=', 8, 'the total is that of all');

my $calls = $count->during(sub { sign($counted) });
is($calls->{C_SignInit}, 1, 'a second process counts into the same file');
is($count->calls('C_SignInit'), 2, 'whose counts are kept');

my @children = map {
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        run_in({ env => $counted->env }, 'pkcs11-tool', '--module',
               $counted->module, '--list-slots');
        require POSIX;
        POSIX::_exit(0);
    }
    $pid;
} 1 .. 4;
$count->reset;
is($count->calls('C_SignInit'), 0, 'reset makes counts 0');
waitpid $_, 0 for @children;
run_in({ env => $counted->env }, 'pkcs11-tool', '--module', $counted->module,
       '--list-slots');
cmp_ok($count->calls('C_GetSlotList'), '>=', 1, 'and counting goes on');

is_deeply($count->during(sub { sign($token) }), {},
    'the token itself is not counted');

my $slow = P11::Count->new($token, latency_us => 20000);
my $quick_run = sign($counted);
my $slow_run = sign($slow->token);
is($slow_run->{status}, 0, 'with a latency it works as well');
cmp_ok($slow_run->{seconds}, '>=', 0.02 * $slow->total,
    'and each call takes that long');

my $slower = P11::Count->new($token, slow => 'C_SignInit=300000');
$slow_run = sign($slower->token);
is($slow_run->{status}, 0, 'with one that is slow, too');
cmp_ok($slow_run->{seconds}, '>=', 0.3, 'and that one takes that long');
is_deeply([$slower->flight('C_SignInit')], [0, 1],
    'never more than one was under way, and none is now');
is_deeply([$slower->flight('C_Verify')], [0, 0], 'of others none ever was');

# Two at once, which both stay inside as long as a file is there. The second one
# begins when the first one is: pkcs11-tool does not bear that another process
# logs in while it does.
my $file = spew(scratch() . '/frozen', '');
my $frozen = P11::Count->new($token, freeze => 'C_SignInit',
                             freeze_file => $file);
my @jobs;
for my $n (1, 2) {
    push @jobs, start_jobs(1, sub { sign($frozen->token)->{status} });
    ok(wait_for(60, sub { ($frozen->flight('C_SignInit'))[0] == $n }),
        "inside a function that is frozen: $n");
}
unlink $file;
is_deeply([finish_jobs(60, @jobs)], [0, 0], 'both go on when it thaws');
is_deeply([$frozen->flight('C_SignInit')], [0, 2], 'two were at once');

# Settings of its own.
my $own = P11::Count->new($token, own => 1, fail => 'C_SignInit=0x5');
is_deeply({ $own->env }, {}, 'a module with settings of its own');
my $plain = P11::Count->new($token);
my %both = (env => { %{ $own->token->env }, $plain->env });
for my $row ([$own, 1], [$plain, 0]) {
    my ($which, $status) = @$row;
    my $result = run_in(\%both, 'pkcs11-tool', '--module', $which->module,
        '--token-label', $token->label, '--login', '--pin', $token->pin,
        '--sign', '--mechanism', 'ECDSA', '--id', '01', '--input-file', $data,
        '--output-file', scratch() . '/signature');
    is($result->{status}, $status, 'does as they say, and another as its do')
        or diag($result->{err});
}
is($own->calls('C_SignInit') . $plain->calls('C_SignInit'), '11',
    'each counts by itself');
is($own->vain->{C_SignInit} . $plain->vain->{C_SignInit}, '10',
    'and tells that one was in vain');
my ($made, $vain) = $plain->during_and_vain(sub {
    isnt($plain->token->tool('--sign', '--mechanism', 'ECDSA', '--id', '77',
                             '--input-file', $data)->{status}, 0,
         'a key that is not there');
});
cmp_ok($vain->{C_FindObjects} // 0, '>=', 1, 'is a search in vain');
is($vain->{C_Login} // 0, 0, 'after a login that was not');
is($made->{C_Login}, 1, 'which is counted');

fails_with({ env => { COUNT_MODULE => '/nonexistent/module.so' } },
    'a module that is not there is named', qr{/nonexistent/module\.so},
    'pkcs11-tool', '--module', $count->module, '--list-slots');

done_testing();
