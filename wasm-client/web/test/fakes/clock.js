/** Time that passes when the test says so. */
export class FakeClock {
  time = 1_000_000;
  #next = 1;
  #timers = new Map();

  now = () => this.time;
  setTimeout = (fn, ms = 0) => {
    const id = this.#next++;
    this.#timers.set(id, { fn, at: this.time + ms });
    return id;
  };

  clearTimeout = (id) => { this.#timers.delete(id); };

  /** Runs what falls due within `ms`, in its order. */
  async pass(ms) {
    await settle();
    const until = this.time + ms;
    for (;;) {
      const [due] = [...this.#timers].filter(([, { at }]) => at <= until).sort(([, a], [, b]) => a.at - b.at);
      if (!due) break;
      this.#timers.delete(due[0]);
      this.time = Math.max(this.time, due[1].at);
      due[1].fn();
      await settle();
    }
    this.time = until;
    await settle();
  }
}

/** Lets everything that waits for nothing run. */
export async function settle() {
  for (let turns = 0; turns < 20; turns += 1) await new Promise((resume) => { setImmediate(resume); });
}
