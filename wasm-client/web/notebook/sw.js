/** Keeps every file of the page on the device, so that it opens without a network. The list is made by scripts/build-web. */
import { precache } from './tidemark/service-worker.js';
import { files, version } from './precache.js';

precache({ version, files });
