# SPDX-License-Identifier: Apache-2.0
#
# nginx with two workers, under another user where we are root, on loopback
# ports: one per key. Its answer tells who was served how and by which worker.
# Each port is served as conf/nginx.conf has it.
package P11::Nginx;

use strict;
use warnings;

use parent 'P11::Daemon';

use P11::Conf ();
use P11::Test ();

# P11::Nginx->new(ca => FILE of those whose clients are served,
#                 keys => [[CERTIFICATE, KEY], …], env => { … })
sub new {
    my ($class, %how) = @_;
    my $self = $class->SUPER::new(
        name => 'nginx', stop => 'QUIT', env => $how{env} // {},
        ports => scalar @{ $how{keys} },
        complaint => qr/\[(?:emerg|alert|crit|error)\]|exited with .*code/);
    my $dir = $self->dir;
    my $user = P11::Daemon::worker_user();
    my $servers = '';
    my $i = 0;

    for my $key (@{ $how{keys} }) {
        $servers .= P11::Conf::text('nginx.conf',
            'listen 443' => 'listen 127.0.0.1:' . $self->port($i++),
            '/etc/nginx/server.pem' => $key->[0],
            '/etc/nginx/server.key' => $key->[1],
            'root /var/www/html' =>
                'return 200 "$ssl_protocol $ssl_client_s_dn worker $pid\n"');
    }
    P11::Test::spew("$dir/nginx.conf",
        ($user ? "user $user " . P11::Daemon::worker_group() . ";\n" : '')
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

# True when it listens.
sub start {
    my ($self) = @_;
    return $self->SUPER::start
        && P11::Test::wait_for(60, sub { $self->workers == 2 });
}

# Reads its configuration again. True when two new workers replaced the old.
sub reload {
    my ($self) = @_;
    return $self->renew('HUP')
        && P11::Test::wait_for(60, sub { $self->workers == 2 });
}

1;
