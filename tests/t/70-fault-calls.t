#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Each call that a scenario makes fails once, at its n-th time, with each of a
# list of values; then from some time on; then with the work done. What follows
# is either a clean failure or a right result: tests/c/fault_key judges. Of two
# scenarios: "use" (loading, signatures, decryption, key agreement, key
# generation, a walk through the store), and "keep" (keys that want their PIN at
# each use, key copies, RSA generation, searches, deleting).
#
# P11_LONG=1 takes every CKR_ that there is, and all modules through it all: an
# hour and more. P11_PART, a pattern, takes only the parts whose names match it:
# "a module", "SoftHSM", "version 3, copies", "one session".
use strict;
use warnings;

use Test::More;
use P11::Count;
use P11::Fault;
use P11::Test;

needs('pkcs11-tool');

# One of each class of src/base/result_table.c, and those with a part of their
# own in the code.
my @some = (0x5, 0x30, 0x54, 0x82, 0xb3, 0x101, 0x150, 0x190, 0x80001234);
my @every = (0x1 .. 0x3, 0x5 .. 0xa, 0x10 .. 0x13, 0x1b, 0x20, 0x21,
    0x30 .. 0x32, 0x40 .. 0x42, 0x50, 0x51, 0x54, 0x60, 0x62 .. 0x6a, 0x70,
    0x71, 0x82, 0x90, 0x91, 0xa0 .. 0xa4, 0xb0, 0xb1, 0xb3 .. 0xb8, 0xc0, 0xc1,
    0xd0, 0xd1, 0xe0 .. 0xe2, 0xf0 .. 0xf2, 0x100 .. 0x105, 0x110,
    0x112 .. 0x115, 0x120, 0x121, 0x130, 0x140, 0x141, 0x150, 0x160, 0x170,
    0x180, 0x190, 0x191, 0x1a0, 0x1a1, 0x1b0 .. 0x1b9, 0x200 .. 0x209,
    0x80000000, 0x80001234, 0xffffffff);
my @once = $ENV{P11_LONG} ? @every : @some;
# Besides, what only one function says.
my %own = (
    C_Initialize => [0x191, 0x8], C_GetTokenInfo => [0xe0, 0x3],
    C_OpenSession => [0xb1, 0xe0], C_Login => [0xa0, 0xa4, 0x100, 0x102],
    C_GetAttributeValue => [0x11, 0x12], C_FindObjectsInit => [0x90],
    C_SignInit => [0x60, 0x68, 0x70, 0x90], C_Sign => [0x20, 0x21, 0x32, 0x91],
    C_DecryptInit => [0x60, 0x68, 0x70, 0x90],
    C_Decrypt => [0x20, 0x21, 0x40, 0x41, 0x91],
    C_GenerateKeyPair => [0x13, 0x31, 0x32, 0xd1, 0xe2],
    C_DeriveKey => [0x63, 0x71], C_DestroyObject => [0xb5],
);
# A template and a PIN that were taken all the same.
my %own_late = (C_GenerateKeyPair => 0xd1, C_Login => 0xa0);
my @from_on = $ENV{P11_LONG} ? @every : (0x5, 0x30, 0x54, 0x82, 0xb3, 0x190);
my @late = $ENV{P11_LONG} ? @every : (0x5, 0x30, 0xb3, 0x101);

# What is recovered from: nobody notices.
my $tidies = qr/^C_(?:FindObjectsFinal|CloseSession|Finalize|CopyObject)$/;
my $works = qr/^C_(?:FindObjectsInit|FindObjects|GetAttributeValue|SignInit|
                  Sign|DecryptInit|Decrypt|DeriveKey|GenerateKeyPair)$/x;
my %stale = map { $_ => 1 } 0xb0, 0xb3, 0x101, 0x190;
# An object that is gone is left out of a walk; a PIN that was refused stays
# so.
my %vanished = map { $_ => 1 } 0x60, 0x82, 0xf0, 0x113;
my %refused = map { $_ => 1 } 0xa0, 0xa1, 0xa2;

sub letters {
    my ($function, $value, $scenario) = @_;
    my $letters = '';
    # Deleting one is a step of "keep", with OpenSSL 3.2 and later.
    $letters .= 'r' if $function =~ $tidies
        || ($function eq 'C_DestroyObject' && $scenario ne 'keep')
        || ($function =~ $works && $stale{$value}
            # That a session was closed says nothing of the pair.
            && ($function ne 'C_GenerateKeyPair' || $value != 0xb0))
        || ($function =~ /Init$/ && $value == 0x90);
    # Of a key pair that was just made too, which is not made again.
    $letters .= 'g' if $function eq 'C_GetAttributeValue';
    $letters .= 'w' if $function eq 'C_GetAttributeValue' && $vanished{$value};
    $letters .= 'p' if $function eq 'C_Login' && $refused{$value};
    return $letters;
}

sub cases_once {
    my ($scenario, $function, $n, @given) = @_;
    my %values = map { $_ => 1 } @given ? @given
        : (@once, @{ $own{$function} // [] });
    my @values = sort { $a <=> $b } keys %values;
    return map { my $at = $_;
                 map { sprintf '%s:%s#%d=%#x',
                       letters($function, $_, $scenario), $function, $at, $_
                     } @values } 1 .. $n;
}

# From the first on, and from the last.
sub cases_from_on {
    my ($function, $n, @given) = @_;
    return map { my $at = $_;
                 map { sprintf 'pw:%s#%d+=%#x', $function, $at, $_ }
                     @given ? @given : @from_on
           } 1, $n > 1 ? $n : ();
}

sub cases_late {
    my ($function, $n, @given) = @_;
    my @values = @given ? @given : @late;
    push @values, $own_late{$function} // () if !$ENV{P11_LONG};
    return map { my $at = $_;
                 map { my $stays = $function eq 'C_Login' && $refused{$_};
                       sprintf 'lw%s:%s#%d!=%#x', $stays ? 'p' : '',
                       $function, $at, $_ } @values
           } 1 .. ($n > 3 && !$ENV{P11_LONG} ? 3 : $n);
}

# Two halves of the cases at once, each with a token of its own.
sub in_halves {
    my ($faults, @cases) = @_;
    my @files = map { scratch() . "/half-$_" } 1, 2;
    my @pids = start_jobs(2, sub {
        my ($half) = @_;
        my @mine = @cases[grep { $_ % 2 == $half - 1 } 0 .. $#cases];
        my $result = $faults->[$half - 1]->run_cases(@mine);
        spew($files[$half - 1], $result->{out} . $result->{err});
        return $result->{signal} || $result->{timeout} ? 1 : 0;
    });
    my @ends = finish_jobs(7200, @pids);
    my $text = join '', map { slurp($_) } @files;
    return ($text, grep { $_ != 0 } @ends);
}

# Whether this part is wanted.
sub wanted {
    my ($part) = @_;
    my $pattern = $ENV{P11_PART} // return 1;
    return $part =~ /$pattern/;
}

my %total = map { $_ => 0 } qw(cases failed);

sub judge {
    my ($name, $faults, @cases) = @_;
    my ($text, @bad_ends) = in_halves($faults, @cases);
    my @good = $text =~ /^ok (.*)$/mg;
    my @bad = $text =~ /^(not ok .*)$/mg;
    my $failed = grep { / fails: / } @good;
    $total{cases} += @cases;
    $total{failed} += $failed;
    ok(@good == @cases && !@bad && !@bad_ends,
       sprintf '%s: %d cases, %d of them fail cleanly', $name, scalar @cases,
       $failed) or diag(@bad ? join "\n", map { substr $_, 0, 400 } @bad
                             : $text);
    return;
}

# A module of which nothing is known, SoftHSM as it is known, and a module with
# interfaces (3.0) where keys are copied.
for my $case (['use', 'a module', manufacturer => 'Mock'],
              ['use', 'SoftHSM'],
              ['keep', 'version 3, copies', manufacturer => 'Mock',
               interfaces => 1,
               settings => { 'pkcs11-module-cache-keys' => 'true' }]) {
    my ($scenario, $who, %options) = @$case;
    next if !wanted($who);
    $options{scenario} = $scenario;
    my @faults = map { P11::Fault->new(%options)
        // plan(skip_all => 'SoftHSM is not installed') } 1, 2;
    my $calls = $faults[0]->calls;
    my @functions = sort keys %$calls;
    cmp_ok(scalar @functions, '>=', 16, "$who: the scenario calls a good many");
    # SoftHSM is asked again and again, with pauses, in some of these.
    my $short = $options{manufacturer} || $ENV{P11_LONG} ? 0 : 1;
    # What is made anew in each case takes its time.
    my @few = $scenario eq 'keep' && !$ENV{P11_LONG} ? (0x5, 0xb3, 0x101) : ();

    for my $function (@functions) {
        my $n = $calls->{$function};
        my @once = cases_once($scenario, $function, $short ? 1 : $n, @few);
        judge("$who: $function fails once", \@faults, @once);
        next if $short;
        judge("$who: $function fails for good", \@faults,
              cases_from_on($function, $n, @few[1 .. $#few]));
        judge("$who: $function works and says it does not", \@faults,
              cases_late($function, $n, @few[0 .. $#few - 1]));
    }
}

# Nothing may keep the only session that there is, or give it back unclean.
if (wanted('one session')) {
    my @faults = map {
        P11::Fault->new(manufacturer => 'Mock', sessions => 1,
                        settings => { 'pkcs11-module-wait-ms' => 3000 })
    } 1, 2;
    my $calls = $faults[0]->calls;
    # The module itself loses it when these fail.
    delete @$calls{qw(C_OpenSession C_CloseSession)};
    for my $function (sort keys %$calls) {
        judge("one session: $function fails once", \@faults,
              cases_once('use', $function, $calls->{$function},
                         $ENV{P11_LONG} ? () : (0x5, 0x20, 0xb3, 0x150)));
    }
}

plan(skip_all => "no part is named like $ENV{P11_PART}") if !$total{cases};
figure(sprintf '%d faults: %d clean failures, %d recovered from',
       $total{cases}, $total{failed}, $total{cases} - $total{failed});
done_testing();
