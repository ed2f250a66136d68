// What a test stands on: a database, a server, an origin for its pages, browsers; all of it ended when the test ends.
import { writeFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App } from './app.mjs';
import { createDatabase } from './cluster.mjs';
import { Profile } from './profile.mjs';
import { varied } from './schema.mjs';
import { Server } from './server.mjs';
import { Upstream } from './upstream.mjs';
import { until } from './wait.mjs';
import { Wire } from './wire.mjs';

export class World {
  #ends = [];
  until = until;

  /** Registers with the test `t` what ends it. `schema` of the server and of the pages; `allow`: more origins, `folders`: more of the app. */
  static async make(t, { schema = varied, allow = [], folders, server = true, web } = {}) {
    const world = new World();
    t.after(() => world.#end());
    world.schema = schema;
    world.folder = await world.#ended(await mkdtemp(join(tmpdir(), 'tidemark-web-')), (folder) => rm(folder, { recursive: true, force: true }));
    world.app = await world.#ended(await App.start(folders), (app) => app.close());
    if (server) await world.#startServer([world.app.origin, ...allow], web);
    return world;
  }

  /** Gives the server a newer version of the schema, as its operator does. */
  async evolve(schema) {
    await this.server.kill();
    this.schema = schema;
    await writeFile(this.#schemaFile, schema.toml);
    await this.server.migrate();
    await this.server.restart();
  }

  get #schemaFile() {
    return join(this.folder, 'schema.toml');
  }

  async #startServer(allow, web) {
    const schemaFile = this.#schemaFile;
    await writeFile(schemaFile, this.schema.toml);
    const database = await createDatabase();
    this.server = await this.#ended(await Server.start({ database, schemaFile, allow, web }), (server) => server.kill());
    this.upstream = await this.#ended(await Upstream.connect(database, this.schema.name), (upstream) => upstream.close());
  }

  /** Another browser with a profile of its own. */
  async profile(options) {
    return this.#ended(await Profile.start(options), (profile) => profile.close());
  }

  /** A wire to the server that can be cut. */
  async wire() {
    return this.#ended(await Wire.start(this.server), (wire) => wire.close());
  }

  /** Another origin. */
  async otherApp(folders) {
    return this.#ended(await App.start(folders), (app) => app.close());
  }

  /** What `Tidemark.open` gets, unless a test wants otherwise. */
  options(more = {}) {
    return { name: 'field', schema: this.schema.toml, ...more };
  }

  async #ended(thing, end) {
    this.#ends.push(() => end(thing));
    return thing;
  }

  async #end() {
    const failures = [];
    for (const end of this.#ends.reverse()) await end().catch((error) => failures.push(error));
    if (failures.length > 0) throw new AggregateError(failures, 'the world does not end');
  }
}
