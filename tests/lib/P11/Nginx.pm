# SPDX-License-Identifier: Apache-2.0
#
# nginx with two workers, under another user where we are root, on loopback
# ports: one per key. Its answer tells who was served how and by which worker.
# Each port is served as conf/nginx.conf has it.
package P11::Nginx;

use strict;
use warnings;

use IO::Socket::INET;
use P11::Conf ();
use P11::Test ();

my $count = 0;

sub worker_user {
    return if $> != 0;
    return (grep { defined getpwnam $_ } qw(www-data nobody nginx))[0];
}

# P11::Nginx->new(ca => FILE of those whose clients are served,
#                 keys => [[CERTIFICATE, KEY], …], env => { … })
sub new {
    my ($class, %how) = @_;
    my $dir = P11::Test::scratch('nginx' . ++$count);
    my $user = worker_user();
    my $self = bless { dir => $dir, env => $how{env} // {}, ports => [] },
        $class;
    my $servers = '';

    for my $key (@{ $how{keys} }) {
        my $port = P11::Test::free_port();
        push @{ $self->{ports} }, $port;
        $servers .= P11::Conf::text('nginx.conf',
            'listen 443' => "listen 127.0.0.1:$port",
            '/etc/nginx/server.pem' => $key->[0],
            '/etc/nginx/server.key' => $key->[1],
            'root /var/www/html' =>
                'return 200 "$ssl_protocol $ssl_client_s_dn worker $pid\n"');
    }
    P11::Test::spew("$dir/nginx.conf",
        ($user ? "user $user " . getgrgid((getpwnam $user)[3]) . ";\n" : '')
        . <<"END");
worker_processes 2;
daemon off;
pid $dir/pid;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path $dir/tmp;
    proxy_temp_path $dir/tmp;
    fastcgi_temp_path $dir/tmp;
    uwsgi_temp_path $dir/tmp;
    scgi_temp_path $dir/tmp;
    ssl_client_certificate $how{ca};
    ssl_verify_client on;
    ssl_session_cache off;
    error_log $dir/log info;
$servers}
END
    return $self;
}

sub command {
    my ($self, @more) = @_;
    return (P11::Test::have('nginx'), '-p', $self->{dir},
            '-c', "$self->{dir}/nginx.conf", '-e', "$self->{dir}/log", @more);
}

sub how { return { env => $_[0]{env} } }
sub master { return $_[0]{server}{pid} }
sub log { return P11::Test::slurp("$_[0]{dir}/log") }
sub port { return $_[0]{ports}[$_[1] // 0] }
sub url { return 'https://127.0.0.1:' . port(@_) . '/' }

sub answers {
    my ($self) = @_;
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                 PeerPort => $self->port, Timeout => 5);
}

# True when it listens.
sub start {
    my ($self) = @_;
    $self->{server} = P11::Test::start_server($self->how, 'nginx',
                                              $self->command);
    return P11::Test::wait_for(20, sub { $self->answers })
        && P11::Test::wait_for(20, sub { $self->workers == 2 });
}

# Ends it when what it serves is served. The wait status.
sub stop {
    my ($self) = @_;
    return P11::Test::stop_server($self->{server}, 'QUIT');
}

# The pids of its children.
sub workers {
    my ($self) = @_;
    my @pids;
    for my $file (glob '/proc/[0-9]*/stat') {
        open my $in, '<', $file or next;
        my $line = <$in> // next;
        # "pid (name) state ppid": of a process that has not ended
        push @pids, $1 if $line =~ /^(\d+) \(.*\) [^Z] (\d+)/
            && $2 == $self->master;
    }
    return @pids;
}

# Reads its configuration again. True when two new workers replaced the old.
sub reload {
    my ($self) = @_;
    my %old = map { $_ => 1 } $self->workers;
    kill 'HUP', $self->master;
    return P11::Test::wait_for(20, sub {
        my @now = $self->workers;
        return @now == 2 && !grep { $old{$_} } @now;
    });
}

# The libraries that a process has mapped, by a pattern.
sub has_mapped {
    my ($pid, $pattern) = @_;
    return scalar grep { $_ =~ $pattern }
        split /\n/, P11::Test::slurp("/proc/$pid/maps");
}

# Lines of the log that should not be there.
sub complaints {
    my ($self) = @_;
    return grep { /\[(?:emerg|alert|crit|error)\]|exited with .*code/ }
        split /\n/, $self->log;
}

1;
