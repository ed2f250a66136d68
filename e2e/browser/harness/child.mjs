// Programs as child processes: what they print, and their end, by id.
import { spawn } from 'node:child_process';
import { inTime, patienceMs } from './wait.mjs';

/** What the developer has set must not reach a test. */
export function cleanEnv(more = {}) {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('TIDEMARK_') && name !== 'RUST_LOG');
  return { ...Object.fromEntries(kept), ...more };
}

/** A running program. */
export class Child {
  #process;
  #listeners = [];
  output = '';

  constructor(path, args, { cwd, env } = {}) {
    this.command = [path.split('/').pop(), ...args].join(' ');
    this.#process = spawn(path, args, { cwd, env: cleanEnv(env), stdio: ['pipe', 'pipe', 'pipe'] });
    this.ended = new Promise((resolve, reject) => {
      this.#process.once('error', reject);
      this.#process.once('close', (code, signal) => resolve({ code, signal }));
    });
    this.ended.catch(() => {});
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        this.output += text;
        for (const look of this.#listeners) look();
      });
    }
  }

  /** This process may end before it: it hears of that by its standard input. */
  unref() {
    for (const handle of [this.#process, this.#process.stdin, this.#process.stdout, this.#process.stderr]) handle.unref();
  }

  get pid() {
    return this.#process.pid;
  }

  /** Waits for output that `pattern` matches and returns the match. */
  async says(pattern, limitMs = patienceMs) {
    const found = new Promise((resolve, reject) => {
      const look = () => {
        const match = this.output.match(pattern);
        if (match) resolve(match);
      };
      this.#listeners.push(look);
      this.ended.then(() => reject(new Error(`${this.command} ended before it said ${pattern}:\n${this.output}`)), reject);
      look();
    });
    return inTime(`${this.command} says ${pattern}`, found, limitMs);
  }

  /** SIGKILL, at once. */
  async kill() {
    this.#process.kill('SIGKILL');
    await this.ended;
  }

  /** Ends its standard input and waits for its end. */
  async finish(limitMs = patienceMs) {
    this.#process.stdin.end();
    return inTime(`${this.command} ends`, this.ended, limitMs);
  }
}

/** Runs a program to its end and returns what it printed; an exit code other than 0 is an error with all of it. */
export async function run(path, args, options) {
  const child = new Child(path, args, options);
  const { code } = await child.finish(120_000);
  if (code !== 0) throw new Error(`${child.command} ended with ${code}:\n${child.output}`);
  return child.output;
}
