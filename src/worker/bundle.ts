import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode } from '@temporalio/worker';
import { workflowBundle } from './workflow-bundle.js';

/** Bundles the workflow code ahead, so that a worker starts without doing it: run by `npm run build`. */
const quiet = { log() {}, trace() {}, debug() {}, info() {}, warn: console.warn, error: console.error };
const bundles = {
  [workflowBundle({ encrypts: false })]: {},
  [workflowBundle({ encrypts: true })]: {
    failureConverterPath: fileURLToPath(new URL('../temporal/encoding-failures.cjs', import.meta.url)),
  },
};
for (const [path, converter] of Object.entries(bundles)) {
  const { code } = await bundleWorkflowCode({
    workflowsPath: fileURLToPath(new URL('../../workflows/index.js', import.meta.url)),
    workflowInterceptorModules: [fileURLToPath(new URL('../../workflows/interceptors.js', import.meta.url))],
    logger: quiet,
    ...converter,
  });
  await writeFile(path, code);
}
