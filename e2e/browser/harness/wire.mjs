// A wire between page and server that a test can cut: a TCP proxy on loopback.
import { connect, createServer } from 'node:net';

export class Wire {
  #server;
  #sockets = new Set();
  #watchers = [];
  /** Bytes that went from the page to the server. */
  sentBytes = 0;
  /** `pass`; `refuse`: connections break at once; `hold-replies`: the server hears everything, and its answers to POSTs are lost. */
  mode = 'pass';

  static async start(target) {
    const wire = new Wire();
    wire.#server = createServer((page) => wire.#join(page, target.port));
    await new Promise((ready) => wire.#server.listen(0, '127.0.0.1', ready));
    wire.port = wire.#server.address().port;
    wire.url = `http://127.0.0.1:${wire.port}`;
    return wire;
  }

  #join(page, port) {
    this.#sockets.add(page);
    page.on('error', () => {}).on('close', () => this.#sockets.delete(page));
    if (this.mode === 'refuse') return page.destroy();
    const server = connect(port, '127.0.0.1');
    this.#sockets.add(server);
    server.on('error', () => page.destroy()).on('close', () => {
      this.#sockets.delete(server);
      page.destroy();
    });
    page.on('close', () => server.destroy());
    // Preflights get their answer, or no POST would follow.
    let posting = false;
    page.on('data', (bytes) => {
      if (/^[A-Z]+ \//.test(bytes.toString('latin1', 0, 16))) posting = bytes.toString('latin1', 0, 5) === 'POST ';
      this.sentBytes += bytes.length;
      server.write(bytes);
      this.#watchers = this.#watchers.filter(({ at, reached }) => this.sentBytes < at || reached());
    });
    server.on('data', (bytes) => {
      if (this.mode === 'pass' || !posting) page.write(bytes);
    });
    return undefined;
  }

  /** Resolves when so many more bytes have gone to the server. */
  sent(bytes) {
    return new Promise((resolve) => {
      this.#watchers.push({ at: this.sentBytes + bytes, reached: () => void resolve() });
    });
  }

  /** Breaks every connection there is, and those to come. */
  cut() {
    this.mode = 'refuse';
    for (const socket of this.#sockets) socket.destroy();
  }

  restore() {
    this.mode = 'pass';
  }

  async close() {
    this.cut();
    await new Promise((closed) => this.#server.close(closed));
  }
}
