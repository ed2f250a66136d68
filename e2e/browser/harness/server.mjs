// A real tidemark-server on a free port of loopback, which a test may kill and start again at the same address.
import { createServer } from 'node:net';
import { Child, run } from './child.mjs';
import { program } from './paths.mjs';

export class Server {
  #child;
  #options;
  /** Chosen by the system at the first start, and the same from then on. */
  port = 0;

  /**
   * `database` and `schemaFile`: what it serves. `allow`: origins whose pages may call it. `web`: folder of the page it serves.
   */
  static async start(options) {
    const server = new Server();
    server.#options = options;
    await server.migrate();
    await server.restart();
    return server;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  get output() {
    return this.#child.output;
  }

  get #env() {
    return { TIDEMARK_DATABASE_URL: this.#options.database };
  }

  #args(...more) {
    return [...more, '--schema', this.#options.schemaFile];
  }

  /** Starts it (again). */
  async restart() {
    const { allow = [], web } = this.#options;
    const args = this.#args('serve', '--listen', `127.0.0.1:${this.port}`);
    for (const origin of allow) args.push('--allow-origin', origin);
    if (web) args.push('--web', web);
    this.#child = new Child(program('tidemark-server'), args, { env: this.#env });
    const [, port] = await this.#child.says(/listening on http:\S+:(\d+)/, 60_000);
    this.port = Number(port);
  }

  /** Brings the database up to the schema. */
  async migrate() {
    await this.#tool('migrate', 'up');
  }

  /** Kills it with SIGKILL. */
  async kill() {
    await this.#child.kill();
  }

  /** Makes a join code, which carries `publicUrl`. */
  async addStation(name, publicUrl = this.url) {
    const output = await this.#tool('station', 'add', name, '--public-url', publicUrl);
    return output.trim().split('\n').pop();
  }

  /** Lets somebody use the fleet page, and returns their token. */
  async addOperator(name) {
    const output = await this.#tool('operator', 'add', name);
    return output.trim().split('\n').pop();
  }

  async revokeOperator(name) {
    await this.#tool('operator', 'revoke', name);
  }

  /** Withdraws a station's token. */
  async revokeStation(name) {
    await this.#tool('station', 'revoke', name);
  }

  /** Applies a bundle that was carried by hand. */
  async importBundle(path) {
    return this.#tool('import', path);
  }

  #tool(...args) {
    return run(program('tidemark-server'), this.#args(...args), { env: this.#env });
  }
}

/** A port that was free a moment ago. */
export async function freePort() {
  const probe = createServer();
  await new Promise((ready) => probe.listen(0, '127.0.0.1', ready));
  const { port } = probe.address();
  await new Promise((closed) => probe.close(closed));
  return port;
}
