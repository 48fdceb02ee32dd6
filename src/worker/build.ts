import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Settings } from '../model/settings.js';
import type { WorkerBuild } from '../rules/worker-builds.js';
import { version } from '../version.js';

const HASH_DIGITS = 12;
/** The source map at the end names files of the machine that built it; the code in front of it does not. */
const SOURCE_MAP = /\n\/\/# sourceMappingURL=.*\s*$/;

/**
 * The build that this worker tells Temporal; undefined: it has no version. By default version and content of the workflow
 * code, so that workers whose workflows do the same are of the same build, wherever and whenever they were built.
 */
export function workerBuild(
  { workerDeployment: deployment, buildId }: Pick<Settings, 'workerDeployment' | 'buildId'>,
  bundleFile: string,
): WorkerBuild | undefined {
  if (deployment === undefined) return undefined;
  return { deployment, buildId: buildId ?? `${version()}-${contentHash(bundleFile)}` };
}

function contentHash(bundleFile: string): string {
  const code = readFileSync(bundleFile, 'utf8').replace(SOURCE_MAP, '');
  return createHash('sha256').update(code).digest('hex').slice(0, HASH_DIGITS);
}
