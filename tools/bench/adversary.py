"""Clients and strangers that ask for more than they should, all at once, beside honest ones.

Each adversary is a function that goes on until its time is up, whatever becomes of its connections:
to be refused, and to be hung up on, is what it deserves. What counts is how the honest clients fare
meanwhile. `attack` runs them all, each kind in a process of its own, and returns what the honest
ones felt."""
import multiprocessing
import os
import random
import socket
import struct
import threading
import time

MIB = 1 << 20
BIG, UNREAD = b"adversary:big", b"adversary:unread"
HONEST_CLIENTS = 16
HONEST_TIMEOUT = 60  # seconds; an answer that takes longer counts as none


def command(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


class Line:
    """A connection on which one may be refused, hung up on, or left without an answer."""

    def __init__(self, port, until, timeout=2.0):
        self.until = until
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.socket.settimeout(timeout)

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def lines(self, count):
        """Reads until so many line ends have come; the hang-up ends it, too."""
        seen = 0
        while seen < count and time.monotonic() < self.until:
            try:
                data = self.socket.recv(65536)
            except socket.timeout:
                continue
            if not data:
                return
            seen += data.count(b"\n")

    def idle(self, seconds):
        time.sleep(max(0, min(seconds, self.until - time.monotonic())))


# ---- what costs more than it weighs ----

def appends_to_a_large_value(port, until):
    with Line(port, until) as line:
        line.send(command("SET", BIG, b"x" * (8 * MIB - 4096)))
        line.lines(1)
        line.send(command("APPEND", BIG, "y") * 2000)
        line.lines(2000)


def large_value_many_times(port, until):
    with Line(port, until) as line:
        line.send(command("MGET", *[BIG] * 700))
        line.lines(1)
        line.idle(0.2)


def answers_left_unread(port, until):
    with Line(port, until) as line:
        line.send(command("SET", UNREAD, b"u" * MIB))
        line.lines(1)
    lines = [Line(port, until) for _ in range(40)]
    for line in lines:
        try:
            line.send(command("GET", UNREAD) * 200)
        except OSError:
            pass  # no more of it is read
    lines[0].idle(3)
    for line in lines:
        line.socket.close()


def half_commands(port, until):
    lines = [Line(port, until) for _ in range(60)]
    for line in lines:
        try:
            line.send(b"*3\r\n$3\r\nSET\r\n$1\r\nh\r\n$%d\r\n" % (8 * MIB) + b"h" * (8 * MIB - 1))
        except OSError:
            pass
    lines[0].idle(3)
    for line in lines:
        line.socket.close()


def pipeline_read_afterwards(port, until):
    with Line(port, until) as line:
        line.send(command("GET", "adversary:none") * 300000)
        line.lines(300000)


def many_arguments(port, until):
    with Line(port, until) as line:
        pairs = [word for i in range(32768) for word in ("adversary:m%d" % i, i)]
        line.send(command("MSET", *pairs))
        line.lines(1)
    with Line(port, until) as line:
        line.send(command("SET", "adversary:over", b"o" * (17 * MIB)))
        line.lines(1)


def bulk_writes(port, until):
    value = b"b" * 100000

    def one(number):
        with Line(port, until) as line:
            for i in range(50):
                line.send(command("SET", "adversary:bulk%d" % number, value))
                line.lines(1)

    crowd(one, 10)


def larger_bulk_writes(port, until):
    value = b"l" * MIB

    def one(number):
        with Line(port, until) as line:
            line.send(command("SET", "adversary:large%d" % number, value) * 20)
            line.lines(20)

    crowd(one, 30)


def bad_commands(port, until):
    with Line(port, until) as line:
        for _ in range(421):
            line.send(command("NO" + os.urandom(4).hex(), "x" * 100))
            line.lines(1)
    with Line(port, until) as line:
        line.send(b"*-7\r\n\x00\xff" + os.urandom(100) + b"\r\n")
        line.lines(1)


def come_and_go(port, until):
    for _ in range(200):
        with Line(port, until) as line:
            line.send(b"*1\r\n$4\r\nPI")


# ---- strangers at the servers' own ports ----

def strangers(port, until):
    """Half frames, frames of another length than they say, and silence."""
    lines = [Line(port, until) for _ in range(20)]
    for line in lines:
        size = random.choice([4, 16 * MIB - 1, 0xffffffff, 100])
        try:
            line.send(struct.pack("<I", size) + os.urandom(random.randrange(200)))
        except OSError:
            pass
    lines[0].idle(1)
    for line in lines:
        line.socket.close()


AT_CLIENT_PORTS = [appends_to_a_large_value, large_value_many_times, answers_left_unread,
                   half_commands, pipeline_read_afterwards, many_arguments, bulk_writes,
                   larger_bulk_writes, bad_commands, come_and_go]
AT_PEER_PORTS = [strangers]


def crowd(one, count):
    def bear(number):
        try:
            one(number)
        except OSError:
            pass

    threads = [threading.Thread(target=bear, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def go_on(adversary, ports, until):
    """Again and again, at one server after the other."""
    random.shuffle(ports)
    while time.monotonic() < until:
        for port in ports:
            try:
                adversary(port, until)
            except OSError:
                time.sleep(0.05)
            if time.monotonic() >= until:
                break


# ---- the honest ones ----

class Felt:
    """What the honest clients felt: milliseconds of each answer, and the errors."""

    def __init__(self, waits, errors):
        self.waits, self.errors = sorted(waits), errors

    def wait(self, part):
        return self.waits[min(int(len(self.waits) * part), len(self.waits) - 1)]


def honest_client(port, number, until, waits, errors):
    key = b"honest:%d" % number
    count = 0
    with socket.create_connection(("127.0.0.1", port), timeout=HONEST_TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answers = connection.makefile("rb")
        while time.monotonic() < until:
            count += 1
            value = b"%d" % count
            for words, expected in ((command("SET", key, value), b"+OK"),
                                    (command("GET", key), b"$%d" % len(value))):
                began = time.monotonic()
                connection.sendall(words)
                answer = answers.readline().rstrip()
                if answer == expected and answer[:1] == b"$":
                    answer, expected = answers.readline().rstrip(), value
                waits.append((time.monotonic() - began) * 1000)
                if answer != expected:
                    errors.append(answer.decode(errors="replace") or "the connection ended")
                    if not answer:
                        return
                    break  # what was not written need not be read
            time.sleep(0.005)


def honest_clients(ports, until, felt):
    waits, errors = [], []

    def one(number):
        port = ports[number % len(ports)]
        while time.monotonic() < until:
            try:
                honest_client(port, number, until, waits, errors)
            except OSError as error:
                errors.append(str(error))
                time.sleep(0.1)

    crowd(one, HONEST_CLIENTS)
    felt.put((waits, errors))


def attack(client_ports, peer_ports, seconds, only=None):
    """All adversaries (or those named in `only`) for so long; returns what 16 honest clients felt,
    who write and read a key each, through all servers."""
    context = multiprocessing.get_context("fork")
    until = time.monotonic() + seconds
    felt = context.Queue()
    honest = context.Process(target=honest_clients, args=(client_ports, until, felt), daemon=True)
    honest.start()
    adversaries = [context.Process(target=go_on, args=(adversary, list(ports), until), daemon=True)
                   for them, ports in ((AT_CLIENT_PORTS, client_ports), (AT_PEER_PORTS, peer_ports))
                   for adversary in them if only is None or adversary.__name__ in only]
    for process in adversaries:
        process.start()
    try:
        waits, errors = felt.get(timeout=seconds + 2 * HONEST_TIMEOUT)
    finally:
        for process in [*adversaries, honest]:
            process.terminate()
            process.join()
    return Felt(waits, errors)
