import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode } from '@temporalio/worker';

/** Bundles the workflow code ahead, so that a worker starts without doing it: run by `npm run build`. */
const quiet = { log() {}, trace() {}, debug() {}, info() {}, warn: console.warn, error: console.error };
const { code } = await bundleWorkflowCode({
  workflowsPath: fileURLToPath(new URL('../../workflows/index.js', import.meta.url)),
  workflowInterceptorModules: [fileURLToPath(new URL('../../workflows/interceptors.js', import.meta.url))],
  logger: quiet,
});
await writeFile(new URL('../../workflow-bundle.js', import.meta.url), code);
