// node_peer.js: what node takes for the figures of spec/bench.
//
//     node node_peer.js switch N | spawn batches|once | memory
//         | queue store|stream|ping-pong | event | sleepers
//
// Prints one number, in the unit of the figure. A task is an async function, a switch an
// await; the queue is the simplest one that parks both sides.

"use strict";

const cpu = async (n, fn, unit = 1e9) => {
  const seconds = () => {
    const t = process.cpuUsage();
    return (t.user + t.system) / 1e6;
  };
  const start = seconds();
  await fn();
  return ((seconds() - start) * unit) / n;
};

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Queue {
  constructor(maxsize) {
    this.maxsize = maxsize;
    this.items = [];
    this.head = 0;
    this.getters = [];
    this.putters = [];
  }

  size() {
    return this.items.length - this.head;
  }

  async put(item) {
    while (this.size() >= this.maxsize) {
      await new Promise((resolve) => this.putters.push(resolve));
    }
    this.items.push(item);
    if (this.getters.length > 0) this.getters.shift()();
  }

  async get() {
    while (this.size() === 0) {
      await new Promise((resolve) => this.getters.push(resolve));
    }
    const item = this.items[this.head++];
    if (this.head > 1024) {
      this.items = this.items.slice(this.head);
      this.head = 0;
    }
    if (this.putters.length > 0) this.putters.shift()();
    return item;
  }
}

const figures = {
  async switch(n) {
    const turns = Math.floor(5e6 / n);
    const turn = async () => {
      for (let i = 0; i < turns; i++) await undefined;
    };
    return cpu(n * turns, () => Promise.all(Array.from({length: n}, turn)));
  },

  async spawn(how) {
    const total = 1e6;
    const batch = how === "batches" ? 1000 : total;
    let done = 0;
    const task = async () => {
      await undefined; // a task begins after its spawn
      done++;
    };
    return cpu(total, async () => {
      for (let i = 0; i < total / batch; i++) {
        await Promise.all(Array.from({length: batch}, task));
      }
    });
  },

  async memory() {
    const n = 1e6;
    const before = process.memoryUsage().rss;
    const tasks = Array.from({length: n}, async () => sleep(3600e3));
    await sleep(0);
    return (process.memoryUsage().rss - before) / tasks.length;
  },

  async queue(how) {
    const n = 2e6;
    if (how === "store") {
      const q = new Queue(Infinity);
      return cpu(n, async () => {
        for (let i = 0; i < n; i++) {
          await q.put(i);
          await q.get();
        }
      });
    }
    if (how === "stream") {
      const q = new Queue(128);
      const produce = async () => {
        for (let i = 0; i < n; i++) await q.put(i);
      };
      const consume = async () => {
        for (let i = 0; i < n; i++) await q.get();
      };
      return cpu(n, () => Promise.all([produce(), consume()]));
    }
    const there = new Queue(1);
    const back = new Queue(1);
    const echo = async () => {
      for (let i = 0; i < n / 2; i++) await back.put(await there.get());
    };
    const play = async () => {
      for (let i = 0; i < n / 2; i++) {
        await there.put(i);
        await back.get();
      }
    };
    return cpu(n, () => Promise.all([echo(), play()]));
  },

  async event() {
    let set;
    const event = new Promise((resolve) => (set = resolve));
    const waiters = Array.from({length: 1e5}, async () => {
      await event;
    });
    await sleep(0);
    return cpu(
      1,
      async () => {
        set();
        await Promise.all(waiters);
      },
      1e3,
    );
  },

  async sleepers() {
    return cpu(
      1,
      () => Promise.all(Array.from({length: 2e5}, () => sleep(Math.random() * 1e3))),
      1,
    );
  },
};

const [name, ...args] = process.argv.slice(2);
figures[name](...args).then((n) => {
  console.log(n);
  process.exit(0);
});
