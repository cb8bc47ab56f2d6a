# SPDX-License-Identifier: Apache-2.0
#
# usage: tls.py ACT CA CERTIFICATE KEY [CERTIFICATE KEY …]
#
# A user of Python's ssl who knows nothing of us. Handshakes are between two
# ends in memory, each with a key; the last line is how many there were. Acts:
#
#   loads     16 threads load all keys, 5 times each; no handshake
#   threads   16 threads at once load keys, the first of this process, and shake
#             hands
#   fork      shakes hands, forks while threads do, and while they rest: then
#             the children shake hands with what they inherited
#   used:PORT serves with the first key: two processes that are forked after a
#             first handshake, each with threads; ends by SIGTERM
#   loaded:PORT     that are forked after it is loaded
import os
import signal
import socket
import ssl
import sys
import threading

N_THREADS = 16


def server_side(ca, pair):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_side(ca, pair):
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(*pair)
    return context


def shake_hands(server_context, client_context):
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client_context.wrap_bio(to_client, to_server,
                                    server_hostname='localhost'),
            server_context.wrap_bio(to_server, to_client, server_side=True)]
    for _ in range(10):
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass
        if not ends:
            return
    raise RuntimeError('the handshake does not end')


def in_threads(work):
    """Runs work(i) in all threads at once; raises what one of them raised."""
    failed = []
    barrier = threading.Barrier(N_THREADS)

    def run(i):
        barrier.wait()
        try:
            work(i)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(i,))
               for i in range(N_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def act_loads(ca, pairs):
    def work(_):
        for _ in range(5):
            for pair in pairs:
                server_side(ca, pair)

    in_threads(work)
    return 0


def act_threads(ca, pairs):
    n = 5

    def work(i):
        server = server_side(ca, pairs[i % len(pairs)])
        client = client_side(ca, pairs[(i + 1) % len(pairs)])
        for _ in range(n):
            shake_hands(server, client)

    in_threads(work)
    return N_THREADS * n


def fork_child(work):
    """A child; its end is waited for, and has to be a good one."""
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(1)
    status = os.waitpid(pid, 0)[1]
    if status != 0:
        raise RuntimeError('a child ended with status %#x' % status)


def act_fork(ca, pairs):
    ends = [(server_side(ca, pair), client_side(ca, pair)) for pair in pairs]
    enough = threading.Event()
    done = [0] * 4
    locks = [threading.Lock() for _ in done]
    n_children, n = 6, 5

    def keep_shaking(i):
        while not enough.is_set():
            with locks[i]:
                shake_hands(*ends[i % len(ends)])
            done[i] += 1

    def child(i):
        for _ in range(n):
            shake_hands(*ends[i % len(ends)])
        # Half of them run what is to be run at exit.
        if i % 2:
            os._exit(0)
        enough.set()
        sys.exit(0)

    shake_hands(*ends[0])
    threads = [threading.Thread(target=keep_shaking, args=(i,), daemon=True)
               for i in range(len(done))]
    for thread in threads:
        thread.start()
    for i in range(n_children):
        # Where other threads are inside libcrypto, its locks stay locked in the
        # child, which can do no more than exec.
        fork_child(lambda: os.execv('/bin/true', ['true']))
        for lock in locks:
            lock.acquire()
        fork_child(lambda: child(i))
        for lock in locks:
            lock.release()
    enough.set()
    for thread in threads:
        thread.join()
    return 1 + sum(done) + n_children * n


def serve(listener, context):
    def answer(plain):
        try:
            with context.wrap_socket(plain, server_side=True) as end:
                end.recv(4096)
                end.sendall(b'HTTP/1.1 200 OK\r\n\r\nhere\n')
        except OSError as error:
            print(error, file=sys.stderr, flush=True)

    while True:
        plain, _ = listener.accept()
        threading.Thread(target=answer, args=(plain,), daemon=True).start()


def act_serve(ca, pairs, how, port):
    context = server_side(ca, pairs[0])
    if how == 'used':
        shake_hands(context, client_side(ca, pairs[0]))
    listener = socket.create_server(('127.0.0.1', port), backlog=50)
    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            serve(listener, context)
        children.append(pid)
    signal.sigwait([signal.SIGTERM])
    for pid in children:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
    return 1


def main():
    act, ca = sys.argv[1:3]
    pairs = list(zip(sys.argv[3::2], sys.argv[4::2]))
    if ':' in act:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        how, port = act.split(':')
        print(act_serve(ca, pairs, how, int(port)))
    else:
        print({'loads': act_loads, 'threads': act_threads,
               'fork': act_fork}[act](ca, pairs))


main()
