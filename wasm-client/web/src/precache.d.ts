/** Types of `tidemark/service-worker.js`. See docs/BROWSER.md, "The page itself without a network". */

export interface PrecacheOptions {
  /** Names this set of files; another one is another set. */
  version: string;
  /** URLs, relative to the service worker's script. With `integrity` (as in `<script integrity>`) a file of another version is not taken for this one's. */
  files: readonly (string | { url: string; integrity: string })[];
  /** The file of the list that answers navigations within the scope to pages that are not in it, when the network does not. Default `'./'`. */
  page?: string;
}

/** Installs the handlers of a service worker that answers from this set of files: all of one version, or nothing. To be called while its script first runs. */
export function precache(options: PrecacheOptions): void;
