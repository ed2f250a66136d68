// The test pages open without a network, by the package's own helper.
import { files } from '/files.js';
import { precache } from '/tidemark/service-worker.js';

precache({ version: 'test', files: ['./', ...files] });
