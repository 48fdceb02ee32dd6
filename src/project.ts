import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The directory of package.json, wherever this runs: from the sources, from `dist`, or as a part of a bundled program. */
export const projectRoot = findRoot(dirname(fileURLToPath(import.meta.url)));

/**
 * What `npm run build` makes from a source file such as `src/node/main.ts`.
 *
 * @throws Error that says how to build when it is not there
 */
export function builtProgram(source: string): string {
  const file = join(projectRoot, 'dist', source.replace(/ts$/, 'js'));
  if (!existsSync(file)) throw new Error(`${file} is not there: build first, with npm run build`);
  return file;
}

function findRoot(directory: string): string {
  if (existsSync(join(directory, 'package.json'))) return directory;
  const parent = dirname(directory);
  if (parent === directory) throw new Error(`no package.json above ${import.meta.url}`);
  return findRoot(parent);
}
