# SPDX-License-Identifier: Apache-2.0
#
# Every place that a PIN can come from, as rows: recipes go through them.
package P11::PinSources;

use strict;
use warnings;

use Exporter 'import';
use File::Basename qw(basename dirname);

our @EXPORT = qw(pin_sources source_env fd3 typed);

# A command's beginning that gives it descriptor 3 on a file.
sub fd3 {
    my ($path) = @_;
    return ['sh', '-c', 'exec "$@" 3<"$0"', $path];
}

# typed(PIN, SCREEN, COMMAND): a command that runs COMMAND at a terminal, and
# types the PIN when that asks for it and the echo is off. What the terminal
# shows is in the file SCREEN, too.
sub typed {
    my ($pin, $screen, $command) = @_;
    my $script = <<'END';
rm -f "$1" "$1.pid"
waits() {
    ! { grep -qs PIN: "$1" && stty -a <"/proc/$(cat "$1.pid")/fd/0" |
        grep -q ' [-]echo '; }
}
lives() {
    [ ! -s "$1.pid" ] || [ -e "/proc/$(cat "$1.pid")/fd/0" ]
}
{
    while waits "$1" && lives "$1"; do
        sleep 0.05
    done 2>/dev/null
    echo "$2"
} | script -qefc "echo \$\$ >'$1.pid'; exec $0" "$1"
END
    return ('sh', '-c', $script, $command, $screen, $pin);
}

# pin_sources(PIN, FILE): FILE is an absolute name, and has the PIN in a line.
# Each is { name } and some of
#   query    what stands behind the URI's "?"
#   setting  value of pkcs11-module-token-pin
#   env      { variables }
#   as       [COMMAND…] that runs the program
#   steps    [STEPS…] of use_key before the one that loads a key
#   asked    1: it is asked for when a key is loaded, and never later
#   shown    1: who gives it has it in arguments, environment or configuration
sub pin_sources {
    my ($pin, $file) = @_;
    my @places = (
        ['file:', "file:$file"],
        ['env:', 'env:MY_PIN', env => { MY_PIN => $pin }, shown => 1],
        ['fd:', 'fd:3', as => fd3($file)],
        ['credential:', 'credential:' . basename($file),
         env => { CREDENTIALS_DIRECTORY => dirname($file) }],
    );
    my (@queries, @settings);
    for my $place (@places) {
        my ($name, $value, @more) = @$place;
        push @queries, { name => "pin-source $name",
                         query => "pin-source=$value", @more };
        push @settings, { name => "setting: $name", setting => $value, @more };
    }
    return (
        { name => 'pin-value', query => "pin-value=$pin", shown => 1 },
        { name => 'pin-source, a path', query => "pin-source=$file" },
        @queries,
        # A setting without a value is none.
        $pin eq '' ? ()
            : { name => 'setting: the PIN', setting => $pin, shown => 1 },
        @settings,
        { name => 'callback', steps => ["answers=$file"], asked => 1 },
    );
}

# source_env(TOKEN, SOURCE, SETTINGS…): the environment of a program that has it
# from there, and from nowhere else.
sub source_env {
    my ($token, $source, %settings) = @_;
    return {
        %{ $token->conf_env(file => 'source.cnf', settings => {
            'pkcs11-module-token-pin' => $source->{setting}, %settings }) },
        %{ $source->{env} // {} },
    };
}

1;
