// Where things are: what was built, and the browser.
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository. */
export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
/** The npm package's files, as scripts/build-web makes them. */
export const dist = () => built('wasm-client/web/dist', 'scripts/build-web');
/** The examples as a user finds them. */
export const examples = join(root, 'examples');
/** This folder's pages. */
export const pages = join(root, 'e2e/browser/pages');

/** A program of the workspace. TIDEMARK_PROGRAMS names another folder than target/debug. */
export function program(name) {
  return built(join(process.env.TIDEMARK_PROGRAMS ?? 'target/debug', name), 'scripts/test-web');
}

/** The browser: TIDEMARK_CHROMIUM, as scripts/test-web sets it, else what is on the PATH. */
export function chromium() {
  const onPath = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'].flatMap((name) =>
    process.env.PATH.split(delimiter).map((folder) => join(folder, name)));
  const found = [process.env.TIDEMARK_CHROMIUM, ...onPath].find((path) => path && runs(path));
  if (!found) throw new Error('no Chromium or Chrome here; scripts/setup-chromium brings it');
  return found;
}

function runs(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function built(path, script) {
  const whole = resolve(root, path);
  if (!existsSync(whole)) throw new Error(`${path} is not there; ${script} builds it`);
  return whole;
}
