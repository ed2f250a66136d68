/** Tidemark in a browser. What it does and promises stands in index.d.ts and docs/BROWSER.md. */

export { TidemarkError } from './errors.js';
export { Tidemark } from './tidemark.js';
