# SPDX-License-Identifier: Apache-2.0
#
# A copy of OpenSSL's source tree, as far as its tests read it, in which some
# files are other: configurations that activate us, keys that are in a token.
package P11::Suite::Overlay;

use strict;
use warnings;

use File::Find ();
use File::Path ();
use P11::Test ();

# Folders that are copied; of the others there are links.
my @copied = qw(apps test);

# P11::Suite::Overlay->new(SOURCE, DIR): a copy in DIR, which is made anew.
sub new {
    my ($class, $source, $dir) = @_;
    File::Path::remove_tree($dir);
    mkdir $dir or die "$dir: $!\n";
    opendir my $entries, $source or die "$source: $!\n";
    for my $entry (grep { !/^\.\.?$/ } readdir $entries) {
        if (grep { $_ eq $entry } @copied) {
            system('cp', '-r', "$source/$entry", "$dir/$entry") == 0
                or die "could not copy $source/$entry\n";
        } else {
            symlink "$source/$entry", "$dir/$entry" or die "$entry: $!\n";
        }
    }
    closedir $entries;
    return bless { dir => $dir }, $class;
}

sub dir { return $_[0]{dir} }

# The copied files whose path below the top matches.
sub files {
    my ($self, $pattern) = @_;
    my @files;
    File::Find::find({ no_chdir => 1, wanted => sub {
        push @files, $_
            if -f && substr($_, 1 + length $self->{dir}) =~ $pattern;
    } }, map { "$self->{dir}/$_" } @copied);
    return sort @files;
}

sub texts {
    my ($self, $pattern) = @_;
    return map { P11::Test::slurp($_) } $self->files($pattern);
}

# Each of these files gets the text that the function makes of its text. How
# many are other now.
sub change {
    my ($self, $pattern, $function) = @_;
    my $changed = 0;
    for my $file ($self->files($pattern)) {
        my $text = P11::Test::slurp($file);
        my $new = $function->($text);
        next if $new eq $text;
        P11::Test::spew($file, $new);
        $changed++;
    }
    return $changed;
}

# The lines of a section, without its heading; undef: there is none.
sub section {
    my ($text, $name) = @_;
    return $text =~ /^[ \t]*\[\s*\Q$name\E\s*\][^\n]*\n(.*?)(?=^[ \t]*\[|\z)/ms
        ? $1 : undef;
}

sub value {
    my ($lines, $name) = @_;
    return ($lines // '') =~ /^[ \t]*\Q$name\E[ \t]*=[ \t]*(\S+)/m ? $1 : undef;
}

# Puts a line at the beginning of a section, which it makes where it is not.
sub put {
    my ($text, $name, $line) = @_;
    if (!defined section($text, $name)) {
        return "$text\n[$name]\n$line\n";
    }
    $text =~ s/^([ \t]*\[\s*\Q$name\E\s*\][^\n]*\n)/$1$line\n/m;
    return $text;
}

# A configuration with our provider activated by these settings, beside those
# that it activates, or beside the default one.
sub activated {
    my ($text, %settings) = @_;
    my $init = value($text, 'openssl_conf');
    if (!defined $init) {
        $init = 'p11_init';
        $text = "openssl_conf = $init\n$text";
    }
    my $providers = value(section($text, $init), 'providers');
    if (!defined $providers) {
        $providers = 'p11_providers';
        $text = put($text, $init, "providers = $providers");
        $text = put($text, $providers, 'default = p11_default');
        $text = put($text, 'p11_default', 'activate = 1');
    }
    # Some have a section for the default one that does not activate it.
    my $default = value(section($text, $providers), 'default');
    if (defined $default && !defined value(section($text, $default),
                                           'activate')) {
        $text = put($text, $default, 'activate = 1');
    }
    # Behind the last one: providers are activated in this order.
    my ($lines) = section($text, $providers) =~ /\A(.*\S[^\n]*\n)/s;
    $text =~ s/\Q$lines\E/$lines . "pkcs11 = p11_section\n"/e;
    $text .= "\n[p11_section]\n"
        . join('', map { "$_ = $settings{$_}\n" } sort keys %settings)
        . "activate = 1\n";
    return $text;
}

1;
