/** What wasm-bindgen writes beside the package's files, for the type check of the sources. */
export { Core } from '../src/core.js';
export default function init(input?: { module_or_path: string | URL | Response | BufferSource }): Promise<unknown>;
