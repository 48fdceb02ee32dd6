import { writeFile } from 'node:fs/promises';
import { bundleWorkflowCode } from '@temporalio/worker';
import { builtProgram } from '../project.js';
import { workflowBundle } from './workflow-bundle.js';

/** Bundles the workflow code ahead, so that a worker starts without doing it: run by `npm run build`. */
const quiet = { log() {}, trace() {}, debug() {}, info() {}, warn: console.warn, error: console.error };
const bundles = {
  [workflowBundle({ encrypts: false })]: {},
  [workflowBundle({ encrypts: true })]: {
    failureConverterPath: builtProgram('src/temporal/encoding-failures.cts'),
  },
};
for (const [path, converter] of Object.entries(bundles)) {
  const { code } = await bundleWorkflowCode({
    workflowsPath: builtProgram('workflows/index.ts'),
    workflowInterceptorModules: [builtProgram('workflows/interceptors.ts')],
    logger: quiet,
    ...converter,
  });
  await writeFile(path, code);
}
