// A small web server for the test's own pages: another origin than the Tidemark server's, as an application would have it.
import { readFile, readdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { dist, pages } from './paths.mjs';

const types = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm',
  '.toml': 'text/plain; charset=utf-8', '.json': 'application/json', '.svg': 'image/svg+xml', '.ts': 'text/plain',
};

export class App {
  #server;
  #folders;

  /** `folders`: path prefix to folder, the longest prefix wins; the test pages and the package are always there. */
  static async start(folders = {}) {
    const app = new App();
    app.#folders = Object.entries({ '/tidemark/': dist(), '/': pages, ...folders }).sort(([a], [b]) => b.length - a.length);
    app.#server = createServer((request, response) => app.#answer(request, response));
    await app.restart();
    return app;
  }

  /** Answers (again), at the same origin. */
  async restart() {
    await new Promise((ready) => this.#server.listen(this.port ?? 0, '127.0.0.1', ready));
    this.port = this.#server.address().port;
    this.origin = `http://127.0.0.1:${this.port}`;
  }

  async #answer(request, response) {
    const path = normalize(decodeURIComponent(new URL(request.url, this.origin).pathname));
    const [prefix, folder] = this.#folders.find(([start]) => path.startsWith(start));
    const file = join(folder, path.endsWith('/') ? `${path.slice(prefix.length)}index.html` : path.slice(prefix.length));
    try {
      const content = path === '/files.js' ? await packageFiles() : await readFile(file);
      response.writeHead(200, { 'content-type': types[extname(file)] ?? 'application/octet-stream', 'cache-control': 'no-cache' });
      response.end(content);
    } catch {
      response.writeHead(404, { 'content-type': 'text/plain' });
      response.end(`nothing at ${path}`);
    }
  }

  /** Nothing answers at this origin any more. */
  async close() {
    this.#server.closeAllConnections();
    await new Promise((closed) => this.#server.close(closed));
  }
}

/** What the pages' service worker keeps of the package. */
async function packageFiles() {
  const names = await readdir(dist(), { recursive: true });
  const files = names.filter((name) => /\.(js|wasm)$/.test(name)).map((name) => `tidemark/${name}`);
  return `export const files = ${JSON.stringify(files)};\n`;
}
