"""gevent_peer.py: what gevent takes for the figures of spec/bench.

    python3 gevent_peer.py switch N | spawn batches|once | memory
        | queue store|stream|ping-pong | event | sleepers

Prints one number, in the unit of the figure.
"""

import os
import random
import sys
import time

import gevent
from gevent.event import Event
from gevent.queue import Queue


def cpu(n, fn, unit=1e9):
    start = time.process_time()
    fn()
    return (time.process_time() - start) * unit / n


def switch(n):
    n = int(n)
    turns = 1000000 // n

    def turn():
        gevent.sleep(0)
        for _ in range(turns):
            gevent.sleep(0)

    greenlets = [gevent.spawn(turn) for _ in range(n)]
    gevent.sleep(0)
    return cpu(n * turns, lambda: gevent.joinall(greenlets))


def spawn(how):
    total = 200000
    batch = 1000 if how == "batches" else total

    def task():
        pass

    def run():
        for _ in range(total // batch):
            gevent.joinall([gevent.spawn(task) for _ in range(batch)])

    return cpu(total, run)


def rss():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory():
    n = 100000
    before = rss()
    greenlets = [gevent.spawn(gevent.sleep, 3600) for _ in range(n)]
    gevent.sleep(0)
    gevent.sleep(0)
    return (rss() - before) / len(greenlets)


def store():
    n = 1000000
    q = Queue()

    def run():
        for i in range(n):
            q.put(i)
            q.get()

    return cpu(n, run)


def stream():
    n = 500000
    q = Queue(128)

    def produce():
        for i in range(n):
            q.put(i)

    def consume():
        for _ in range(n):
            q.get()

    return cpu(n, lambda: gevent.joinall([gevent.spawn(produce), gevent.spawn(consume)]))


def ping_pong():
    n = 200000
    there, back = Queue(1), Queue(1)

    def echo():
        for _ in range(n // 2):
            back.put(there.get())

    def play():
        for i in range(n // 2):
            there.put(i)
            back.get()

    return cpu(n, lambda: gevent.joinall([gevent.spawn(echo), gevent.spawn(play)]))


def queue(how):
    return {"store": store, "stream": stream, "ping-pong": ping_pong}[how]()


def event():
    e = Event()
    greenlets = [gevent.spawn(e.wait) for _ in range(100000)]
    gevent.sleep(0)
    gevent.sleep(0)

    def wake():
        e.set()
        gevent.joinall(greenlets)

    return cpu(1, wake, 1e3)


def sleepers():
    random.seed(1)

    def run():
        gevent.joinall([gevent.spawn(gevent.sleep, random.random()) for _ in range(200000)])

    return cpu(1, run, 1)


if __name__ == "__main__":
    print(globals()[sys.argv[1]](*sys.argv[2:]))
    sys.stdout.flush()
    os._exit(0)
