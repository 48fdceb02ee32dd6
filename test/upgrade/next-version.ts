import { execFile } from 'node:child_process';
import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { projectRoot } from '../../src/project.js';
import { temporaryDirectory } from '../support/guard.js';

export const NEXT_VERSION = '99.0.0';

const WORKFLOW = 'dist/workflows/regions/remove-region-groups.js';
/** Before the claim: what runs already is past it, and must stay on its old path. */
const FIRST_STEP = 'const input = guarded(removeRegionGroupsInput, raw);';

/**
 * A build of the version after this one, as a directory of its own: another version number, and a removal of region groups
 * that begins with a step that it did not have before, behind `patched`, or, to see what happens then, without it.
 */
export async function buildNextVersion({ isPatched = true }: { isPatched?: boolean } = {}): Promise<{
  readonly directory: string;
  remove(): Promise<void>;
}> {
  const { path: directory, remove } = temporaryDirectory('next-version');
  const own = (name: string) => join(projectRoot, name);
  cpSync(own('dist'), join(directory, 'dist'), { recursive: true });
  symlinkSync(own('node_modules'), join(directory, 'node_modules'));
  const about = JSON.parse(readFileSync(own('package.json'), 'utf8')) as object;
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ ...about, version: NEXT_VERSION }));
  const file = join(directory, WORKFLOW);
  const source = readFileSync(file, 'utf8');
  if (!source.includes(FIRST_STEP)) throw new Error(`${WORKFLOW} does not begin as it did: ${FIRST_STEP}`);
  const step = isPatched ? `if (patched('next-version')) await sleep(1);` : 'await sleep(1);';
  writeFileSync(
    file,
    `import { patched, sleep } from '@temporalio/workflow';\n${source.replace(FIRST_STEP, `${FIRST_STEP} ${step}`)}`,
  );
  await promisify(execFile)(process.execPath, [join(directory, 'dist/src/worker/bundle.js')]);
  return { directory, remove };
}
