# SPDX-License-Identifier: Apache-2.0
#
# How many Cryptoki calls an act costs, beside what it may cost. The numbers are
# exact: one more is a failure, and so is one less, until the row says so.
package P11::Budget;

use strict;
use warnings;

use Exporter 'import';
use P11::Count ();
use P11::UseKey;
use Test::More ();

our @EXPORT = qw(calls_of total is_budget tell_figures);

my @figures;

# calls_of(TOKEN, [STEPS], [STEPS]): { function → calls } of the second list of
# steps, done after the first.
sub calls_of {
    my ($on, $before, $act) = @_;
    my $count = P11::Count->new($on);
    my %how = (env => $count->token->conf_env);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $first = $count->during(sub {
        ok_use_key(\%how, 'what comes before', @$before) if @$before;
    });
    my $both = $count->during(sub {
        ok_use_key(\%how, "then @$act", @$before, @$act);
    });
    my %calls = map { ($_ => $both->{$_} - ($first->{$_} // 0)) } keys %$both;
    return { map { ($_ => $calls{$_}) } grep { $calls{$_} != 0 } keys %calls };
}

# Without how a module is opened.
sub total {
    my ($calls) = @_;
    my $n = 0;
    for my $function (grep { !/^C_Get(FunctionList|Info)$/ } keys %$calls) {
        $n += $calls->{$function};
    }
    return $n;
}

# The row's number is exact; where the budget allows more it is told.
sub is_budget {
    my ($name, $calls, $want, $budget) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Test::More::is(total($calls), $want, "$name: $want")
        or Test::More::diag(P11::Count::text($calls));
    Test::More::cmp_ok($want, '<=', $budget, "$name: the budget is $budget");
    Test::More::note("$name: ", P11::Count::text($calls));
    push @figures, sprintf '%4d of %3d  %s', total($calls), $budget, $name;
    return;
}

# At the end of a recipe.
sub tell_figures {
    Test::More::diag(join "\n", 'Cryptoki calls, of those in the budget:',
                     @figures);
    return;
}

1;
