#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# What "make install" puts where, that it works there, and that "make uninstall"
# takes it away and nothing else.
use strict;
use warnings;

use File::Find ();
use Test::More;
use P11::Test;

needs(qw(make openssl));

my ($modulesdir) = slurp(builddir() . '/Makefile') =~ /^modulesdir = (.+)$/m;
like($modulesdir, qr{^/}, 'modules have a folder');
my ($docdir, $mandir, $prefix) = map {
    my ($dir) = run('make', '-s', '-C', builddir(), '--eval',
                    "show-dir: ; \@echo \$($_)", 'show-dir')->{out} =~ /(.+)/;
    $dir;
} qw(docdir mandir prefix);
like($docdir, qr{^\Q$prefix\E/}, 'documents have one below the prefix');

my $root = scratch('root');
my $module = "$root$modulesdir/pkcs11.so";

sub make {
    my ($target, $destdir) = @_;
    return ('make', '-s', '-C', builddir(), $target, "DESTDIR=$destdir");
}

# All files below the root, sorted, without it.
sub files {
    my @files;
    File::Find::find(sub {
        push @files, substr $File::Find::name, length $root if !-d;
    }, $root);
    return [sort @files];
}

sub mode { return (stat $_[0])[2] & 07777 }

# Somebody else's, which stay.
run('mkdir', '-p', "$root$modulesdir", "$root$docdir");
spew("$root$modulesdir/legacy.so", 'another module');
spew("$root$docdir/local.txt", 'a note');
my @others = ("$modulesdir/legacy.so", "$docdir/local.txt");
my @ours = ("$modulesdir/pkcs11.so", (map { "$docdir/$_" }
            qw(NEWS.md README.md SECURITY.md apache.conf curlrc errors.md
               haproxy.cfg nginx.cnf nginx.conf openssl.cnf postgresql.conf
               reliability.md stunnel.conf tokens.md)),
    "$mandir/man5/provider-pkcs11.cnf.5", "$mandir/man7/provider-pkcs11.7");

for my $time (qw(once again)) {
    ok_run("installed $time", make('install', $root));
    is_deeply(files(), [sort @others, @ours],
              'pkcs11.so alone among the modules, documents, manual pages');
}
ok(slurp($module) eq slurp(module_file()), 'the module is the one built');
is(mode($module) & 022, 0, 'nobody but its owner writes to it');
is(mode($module) & 0444, 0444, 'everybody reads it');
unlike(slurp("$root$docdir/openssl.cnf"), qr/\@\w+\@/,
       'openssl.cnf has its values');

my @list = (qw(list -providers -provider pkcs11));
my %how = (env => { OPENSSL_MODULES => "$root$modulesdir" });
like(ok_openssl(\%how, 'OpenSSL loads it from there', @list)->{out},
     qr/^\s*pkcs11\b.*\bstatus:\s*active/ms, 'and it is active');

my $file = spew(scratch() . '/file', '');
fails_with('no folder to install into: refused', qr/\Q$file\E/,
           make('install', $file));

ok_run('uninstalled', make('uninstall', $root));
is_deeply(files(), [sort @others], 'ours are gone, others stay');
openssl_fails(\%how, 'OpenSSL finds it no more', qr/unable to load provider/,
              @list);
ok_run('uninstalled where there is nothing', make('uninstall', $root));
is_deeply(files(), [sort @others], 'others stay');
unlink "$root$docdir/local.txt";
ok_run('installed where no document is', make('install', $root));
ok(-d "$root$docdir", '… there is a folder of documents');
ok_run('uninstalled from there', make('uninstall', $root));
ok(!-e "$root$docdir", '… which goes');

done_testing();
