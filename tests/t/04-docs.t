#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# The pages in doc/ agree with the code, can be shown without complaint, and
# are named by the README. Their examples are tried by 39-doc-examples.
use strict;
use warnings;

use Test::More;
use P11::Test;

my $top = top();
my @pages = map { "$top/doc/$_" } qw(provider-pkcs11.cnf.5 provider-pkcs11.7);

ok_run('the tables are as the rows are', "$top/build-aux/update-doc",
       '--check');

my $rows = ok_run({ env => { OPENSSL_CONF => '/dev/null' } },
    'every row that was compiled is in its page',
    builddir() . '/tests/c/doc_prov', @pages, "$top/doc/errors.md");
diag($rows->{out} =~ /^(not ok.*)$/mg) if $rows->{status} != 0;
cmp_ok(scalar(() = $rows->{out} =~ /^ok /mg), '>', 200, '… many');

# What is wrong is seen.
my $spoilt = spew(scratch() . '/spoilt.5',
    slurp($pages[0]) =~ s/^Default: 30000/X/mr =~ s/final\\-try$/final/mr);
my $seen = run(builddir() . '/tests/c/doc_prov', $spoilt, $pages[1],
               "$top/doc/errors.md");
is_deeply([$seen->{out} =~ /^not ok \d+ - (\S+)/mg],
    [qw(pkcs11-module-final-try pkcs11-module-wait-ms:)],
    'a name or default that is missing is noticed')
    or diag($seen->{out} =~ /^(not ok.*)$/mg);

# Manual pages

for my $show (
    ['groff', qw(groff -ww -mandoc -Kutf8 -Tutf8 -z)],
    ['mandoc', qw(mandoc -Tlint -Wwarning)],
    ['man', qw(man --warnings -Tutf8 --local-file)],
) {
    my ($name, @command) = @$show;
    for my $page (@pages) {
        my ($file) = $page =~ m{([^/]+)$};
        SKIP: {
            skip("$name is not installed", 2) if !have($command[0]);
            skip("a sanitizer finds faults in $name itself", 2)
                if sanitizer();
            # A distribution without manual pages has a "man" that says so.
            my $result = run_in({ env => { MANPAGER => 'cat', MANWIDTH => 80,
                                           MANROFFSEQ => '' } },
                                @command, $page);
            skip("$name only says that it shows no pages here", 2)
                if $result->{out} =~ /minimized|has been minimi[sz]ed/;
            is($result->{status}, 0, "$name shows $file");
            is($result->{err} . ($name eq 'mandoc' ? $result->{out} : ''), '',
               '… without a warning');
        }
    }
}
for my $page (@pages) {
    my @long = grep { length > 80 } split /\n/, slurp($page);
    is_deeply(\@long, [], "$page has no long lines");
}

# Links of the Markdown pages

for my $page (qw(README.md doc/errors.md)) {
    my $text = slurp("$top/$page");
    my ($dir) = $page =~ m{^(.*/)?};
    $dir //= '';
    for my $link ($text =~ /\]\(([^)#\s]+)(?:#[^)]*)?\)/g) {
        next if $link =~ /^\w+:/;
        ok(-e "$top/$dir$link", "$page: $link is there");
    }
    my %anchor = map { (lc($_) =~ s/[^\w -]//gr =~ s/ /-/gr) => 1 }
        $text =~ /^#+ (.*)$/mg;
    for my $link ($text =~ /\]\(#([^)]*)\)/g) {
        ok($anchor{$link}, "$page: #$link is there");
    }
}
my $readme = slurp("$top/README.md");
ok(index($readme, "(doc/$_)") >= 0, "README.md links to doc/$_")
    for qw(provider-pkcs11.7 provider-pkcs11.cnf.5 errors.md);

done_testing();
