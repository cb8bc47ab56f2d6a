# SPDX-License-Identifier: Apache-2.0
#
# Recipes of OpenSSL's test suite.
#
#   cli      those of the commands that use private keys, which are in the token
#   unused   all of them, with us in every configuration and no key of ours
package P11::Suite::Recipes;

use strict;
use warnings;

use parent 'P11::Suite';

use P11::Suite::Keys;
use P11::Suite::Overlay;
use P11::Suite::Tap;
use P11::Test ();

# smime is in the recipe of cms.
my @commands = qw(rsa ec genrsa dgst pkeyutl rsapss rsaoaep spkac req x509
                  x509_check_cert_pkey verify cms tsa ocsp);
# Configurations that leave the default provider out, or that are tests
# themselves; and those without providers, which are read beside another.
my $not_ours = qr{fips|null|nocache|provider_internal|test_includes|/ct/};

# These insist on a default library context without the default provider, and
# test in one that default.cnf configures: we are in that.
my $empty_default = qr/-test_(?:evp_extra|pkcs12|quicapi|sslapi)$/;

sub targets {
    my ($class, $name) = @_;
    return 'build_sw' if $name eq 'unused';
    return 'apps/openssl', 'util/wrap.pl', 'build_modules',
        map { "test/$_" } qw(ectest fips_version_test ocspapitest pkcs7_test
                             rsa_test rsa_x931_test v3ext x509_test
                             x509_check_cert_pkey_test);
}

sub run {
    my ($self) = @_;
    my $in_token = $self->{name} eq 'cli';
    my @recipes = $self->recipes($in_token ? \@commands : undef);
    my ($token, $count, %settings) = $self->counted;
    # Names of tests have paths in them: both runs are in the same place.
    $self->{tree} = "$self->{home}/tree-$self->{name}";
    my $overlay = P11::Suite::Overlay->new($self->source, $self->{tree});
    my $jobs = $in_token ? 1 : $ENV{P11_JOBS} // 2;
    $self->all($jobs, sub {
        my ($recipe) = @_;
        return $self->baseline($recipe,
                               sub { return $self->recipe($recipe, {}) });
    }, @recipes);

    my $changed = $overlay->change(qr/^(?!.*$not_ours).*\.cnf$/, sub {
        return $_[0] =~ /^\s*openssl_conf\s*=/m
            ? P11::Suite::Overlay::activated($_[0], %settings) : $_[0];
    });
    $self->note("configurations with us: $changed");
    $self->move_keys($overlay, $token) if $in_token;
    my $env = $count->token->env;
    $self->all($jobs, sub { return $self->recipe($_[0], $env) }, @recipes);
    for my $recipe (@recipes) {
        $self->one($recipe, $env);
    }
    $self->done($count, $in_token
                ? (demanded => [qw(C_Sign C_Decrypt C_DeriveKey
                                   C_GenerateKeyPair)])
                : (untouched => 1));
    return;
}

# Calls a function for each recipe, in so many processes.
sub all {
    my ($self, $jobs, $function, @recipes) = @_;
    my @ended = P11::Test::finish_jobs(6 * 3600, P11::Test::start_jobs($jobs,
        sub {
            my ($job) = @_;
            $function->($recipes[$_])
                for grep { $_ % $jobs == $job - 1 } 0 .. $#recipes;
            return 0;
        }));
    die "recipes were not run\n" if grep { $_ != 0 } @ended;
    return;
}

# The keys of all files are moved; what hides our configuration goes.
sub move_keys {
    my ($self, $overlay, $token) = @_;
    my $keys = P11::Suite::Keys->new($token);
    $keys->move($overlay->texts(qr/\.(?:pem|key)$/));
    my $files = $overlay->change(qr/\.(?:pem|key)$/,
                                 sub { return $keys->replaced($_[0]) });
    $overlay->change(qr{recipes/[^/]*\.t$}, sub {
        return $_[0] =~ s/^\s*\$ENV\{OPENSSL_TEST_LIBCTX\}.*$//mgr;
    });
    # What this one generates is generated in the token.
    my $uri = $token->uri;
    $overlay->change(qr{recipes/\d+-test_genrsa\.t$}, sub {
        return $_[0]
            =~ s/('genpkey',)/$1 '-propquery', '?provider=pkcs11',/gr
            =~ s/('-algorithm', 'RSA')/$1, '-pkeyopt', 'pkcs11_uri:$uri'/gr;
    });
    my ($kinds, $left) = $keys->summary;
    $self->note("files with keys in the token: $files");
    $self->note("keys in the token: $kinds");
    $self->note("keys left in files: $left");
    return;
}

# The names of recipes, as "15-test_rsa": those of these commands, or all.
sub recipes {
    my ($self, $commands) = @_;
    my @all = map { m{([^/]+)\.t$} } glob $self->source . '/test/recipes/*.t';
    my %wanted = map { ("test_$_" => 1) } @{ $commands // [] };
    return grep { my $name = s/^\d+-//r;
                  (!$commands || $wanted{$name})
                      && (!$ENV{P11_ONLY} || /$ENV{P11_ONLY}/) } sort @all;
}

# Compares what all() has left in files. What differs is tried once more: two
# recipes at a time, on a machine that does other things, may get in each
# other's way. The second time counts.
sub one {
    my ($self, $recipe, $env) = @_;
    my $base = results($self->baseline($recipe));
    my $result = results($self->text($recipe));
    my @differences = P11::Suite::Tap::differences($base, $result);
    if ($self->{name} eq 'unused' && @differences) {
        $self->note("$recipe, again: $differences[0][0]");
        $result = results($self->recipe($recipe, $env));
    }
    $self->compare($recipe, $base, $result);
    return;
}

# What a recipe prints.
sub recipe {
    my ($self, $recipe, $env) = @_;
    my $results = "$self->{home}/results-$self->{name}";
    mkdir $results;
    my %how = (env => { $self->env($self->{tree}), HARNESS_ACTIVE => 1,
                        HARNESS_VERBOSE => 'yes', RESULT_D => $results,
                        $recipe =~ $empty_default
                        ? (OPENSSL_CONF => $self->source . '/apps/openssl.cnf')
                        : (), %$env },
               dir => $self->build, timeout => 3600);
    my ($out) = $self->output($recipe, \%how, $^X, '-w',
                              "-I$self->{tree}/util/perl",
                              "$self->{tree}/test/recipes/$recipe.t");
    return $out;
}

# One of them draws the name of a folder.
sub results {
    my ($text) = @_;
    return P11::Suite::Tap::parse($text =~ s{\b[A-Za-z0-9]{32}/}{RANDOM/}gr);
}

1;
